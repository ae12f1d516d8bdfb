"""What must come of a variant: what it claims is found, what it also breaks may be, and nothing else is red."""

import pytest

from openbell.proof import Variant, judge_variant, variants
from openbell.registry import all_checks
from openbell.results import Finding, Result, Results

DEFECT = Variant("defect", "pages-lost", {"PAG-002": ("skipped",)}, {"PAG-006": ("cursor-row-skip",)})


def result(check, verdict, *rules):
    found = tuple(Finding(rule, "", "", ()) for rule in rules)
    return Result(check, "", "", "MUST", "api", verdict, None, "", {}, found, (), "", "", None)


def problems(variant, *results):
    return list(judge_variant(variant, Results("0", None, "target", "run", results)))


CAUGHT = result("PAG-002", "fail", "skipped")


@pytest.mark.parametrize("other", [
    result("PAG-006", "pass"), result("PAG-006", "fail", "cursor-row-skip"), result("PAG-006", "inconclusive")])
def test_what_a_defect_also_breaks_may_be_seen(other):
    assert problems(DEFECT, CAUGHT, other) == []


@pytest.mark.parametrize("other", [
    result("PAG-006", "fail", "cursor-row-skip", "cursor-row-error"), result("PAG-006", "error"),
    result("PAG-001", "fail", "incomplete"), result("PAG-001", "warn", "incomplete")])
def test_nothing_else_may_be_red(other):
    assert len(problems(DEFECT, CAUGHT, other)) == 1


@pytest.mark.parametrize("seen", [
    result("PAG-002", "fail", "another"), result("PAG-002", "pass"), result("PAG-002", "inconclusive")])
def test_what_it_claims_must_be_found(seen):
    assert len(problems(DEFECT, seen)) == 1


def test_a_legal_variant_leaves_nothing_undecided():
    assert problems(Variant("benign", "odd", {}), result("PAG-002", "pass")) == []
    assert problems(Variant("benign", "odd", {}), result("PAG-002", "inconclusive"))


def test_a_null_server_makes_nothing_pass():
    null = Variant("null", "always-200", {})
    assert problems(null, result("PAG-002", "inconclusive")) == []
    assert problems(null, result("PAG-002", "inconclusive"), result("PAG-001", "pass"))


def test_variants_name_checks_that_are_there_and_none_twice():
    known = {check.id for check in all_checks()}
    for variant in variants():
        assert {*variant.catches, *variant.also} <= known
        assert not variant.catches.keys() & variant.also.keys()
