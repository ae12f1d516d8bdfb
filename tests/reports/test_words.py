"""What reports say of results in a line: rows of those that are alike, what was seen, the verdict in a sentence."""

import pytest

from openbell.reports.words import alike, reason_of, seen, suggested, told
from openbell.results import Finding, Result, Results


def result(check, verdict, *rules, reason=None, summary="said", subject="api"):
    found = tuple(Finding(rule, "", "", ()) for rule in rules)
    return Result(check, "", "", "MUST", subject, verdict, reason, summary, {}, found, (), "", "", None)


def results(*found, **changes):
    return Results(**{"suite": "0", "pack": None, "target": "t", "run": "r", "results": found} | changes)


def undecided(number, why="the control failed"):
    return result(f"PAG-{number:03}", "inconclusive", reason="control_failed", summary=why)


def test_many_that_say_the_same_share_a_row():
    bad = result("ERR-001", "fail", "empty")
    rows = alike([*map(undecided, range(4)), undecided(9, "otherwise"), bad])
    assert [len(row) for row in rows] == [1, 4, 1]
    assert told(rows[0]) == ("ERR-001", "api", "empty")
    assert told(rows[1]) == ("4 results", "PAG-000 …", "control_failed: the control failed")


def test_a_few_and_those_with_findings_keep_their_own():
    assert [len(row) for row in alike(map(undecided, range(3)))] == [1, 1, 1]
    assert [len(row) for row in alike(result(f"ERR-00{n}", "fail", "empty") for n in range(5))] == [1] * 5


def test_what_a_silent_profile_should_say_is_told_also_where_something_is_broken():
    line = '"pages.no_loss" = "not_promised"'
    assert seen(result("PAG-002", "info", "skipped", summary=line)) == f"skipped: {line}"
    assert seen(result("PAG-002", "fail", "skipped", "again")) == "again, skipped"


def test_a_silent_profile_gets_one_row_and_the_lines_to_paste():
    silent = [result(f"PAG-00{n}", "info", summary=f"the profile is silent; it suggests {n}") for n in (1, 2, 3, 4)]
    broken = result("PAG-003", "info", "repeated", summary="the profile is silent; and broken")
    assert [told(row)[2] for row in alike([*silent, broken])] == [
        "the profile is silent", "repeated: the profile is silent; and broken"]
    assert suggested([*silent, broken, result("PAG-006", "info", "x", summary="a MAY"), result("PAG-007", "pass")]) == {
        "pages.complete": "promised", "pages.no_loss": "promised", "pages.no_duplicates": "not_promised",
        "pages.order": "promised"}


@pytest.mark.parametrize(("found", "sentence"), [
    ((result("A", "pass"),), "Everything that must hold was seen to hold."),
    ((result("A", "fail", "x"), undecided(1)), "1 of 2 results fail; 1 that must hold could not be decided."),
    ((result("A", "error"),), "1 could not be judged, by a fault of the harness."),
    ((), "Nothing was judged.")])
def test_the_verdict_is_told_in_a_sentence(found, sentence):
    assert reason_of(results(*found)) == sentence


def test_a_run_whose_profile_promises_nothing_says_why_nothing_is_decided():
    silent = results(result("A", "info"), result("B", "not-applicable"))
    assert silent.conforms is None
    assert "[promise]" in reason_of(silent)
