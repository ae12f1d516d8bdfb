"""Listings by page number and by offset: right while nobody writes, shifted by writes exactly as arithmetic says."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from counted_server import MECHANISMS, SAYS, Counted, counted, counting
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from page_server import READ_ONLY, SUBJECT, decided, observed, record, rules

from openbell.conformance.cursors import opaque, page_size_limits
from openbell.conformance.pages_quiet import complete, ordered
from openbell.conformance.pages_under_writes import cursor_row_gone, no_repeats, no_skips
from openbell.conformance.walks import during, moved_forward, walks, writes
from openbell.events import Recording
from openbell.profile import Profile
from openbell.registry import Check
from openbell.scenarios.cursors import cursor_tampering
from openbell.scenarios.pages import REFERENCE, pages_cursor_row, pages_one_sided
from openbell.scenarios.pages_quiet import pages_quiet

few = settings(max_examples=4, derandomize=True, deadline=None, database=None,
               suppress_health_check=[HealthCheck.too_slow])
seeds = given(seed=st.integers(0, 2**32))
LEAST = 5
mechanisms = pytest.mark.parametrize("mechanism", MECHANISMS)


def filled(server: Counted, rows: int = 260) -> Counted:
    server.rows["owner"] = {f"owner-{i:03}": Decimal(i // 7) for i in range(rows)}
    return server


def read_only(target: Profile) -> Profile:
    return target.model_copy(update={"target": READ_ONLY.target})


# --- while nobody writes


@mechanisms
@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("check", [complete, ordered, page_size_limits], ids=lambda c: c.id)
@few
@given(seed=st.integers(0, 2**32), first=st.sampled_from([None, 0, 1]), beyond=st.sampled_from([200, 400, 404, 422]),
       maximum=st.sampled_from([7, 20, 200]), declared=st.sampled_from([200, None]), rows=st.sampled_from([0, 260]))
def test_a_quiet_listing_is_never_broken_and_is_decided(
        mechanism: str, says: str, check: Check, seed: int, first: int | None, beyond: int, maximum: int,
        declared: int | None, rows: int) -> None:
    """Whatever the largest page really is, also where the profile says that it is larger."""
    target = counting(mechanism, says, first, maximum=declared)
    server = counted(seed, mechanism=mechanism, first=first, beyond=beyond, maximum=maximum, default=min(50, maximum))
    recording = record(check.evidence[0], filled(server, 260 if check is page_size_limits else rows // 13), target)
    assert rules(check, recording, target) == set()
    assert decided(check, recording, target) >= check.minimum
    assert {f.data["ended"] for f in recording.facts("walk") if f.data["script"] != "look"} <= {"end"}


@mechanisms
@seeds
@few
def test_a_listing_that_may_only_be_read_is_walked_as_it_is(mechanism: str, seed: int) -> None:
    target = read_only(counting(mechanism))
    recording = record(pages_quiet, filled(counted(seed, mechanism=mechanism), 60), target)
    for check in (complete, ordered):
        assert rules(check, recording, target) == set()
        assert decided(check, recording, target) >= check.minimum


WRONG: list[tuple[str, dict[str, Any], str, Check, str]] = [
    ("rows-left-out", {"shift": 1}, "nothing", complete, "incomplete"),
    ("rows-again", {"shift": -1}, "nothing", complete, "duplicate"),
    ("rows-again", {"shift": -1}, "nothing", ordered, "order-broken"),
    ("ties-shuffled", {"salted": True}, "nothing", ordered, "walks-differ"),
    ("ties-shuffled", {"salted": True}, "nothing", complete, "duplicate"),
    ("position-ignored", {"deaf": True}, "nothing", complete, "endless"),
    ("total-too-low", {"short_total": 9}, "total", complete, "incomplete"),
    ("crash-at-the-end", {"beyond": 500}, "nothing", complete, "next-after-end"),
    ("refusal-of-what-was-told", {"beyond": 404, "short_total": -9}, "total", complete, "next-after-end"),
    ("no-maximum", {"maximum": None}, "nothing", page_size_limits, "over-maximum"),
    ("no-default", {"default": None}, "nothing", page_size_limits, "default-unbounded"),
    ("negative-accepted", {"negative": True}, "nothing", page_size_limits, "negative-accepted"),
]


@mechanisms
@pytest.mark.parametrize(("name", "parts", "says", "check", "rule"), WRONG, ids=lambda v: v if isinstance(v, str)
                         else getattr(v, "id", ""))
@few
@seeds
def test_a_wrong_listing_is_broken_by_the_declared_rule(
        name: str, mechanism: str, parts: dict[str, Any], says: str, check: Check, rule: str, seed: int) -> None:
    target = counting(mechanism, says)
    server = counted(seed, mechanism=mechanism, **parts)
    recording = record(check.evidence[0], filled(server) if check is page_size_limits else server, target)
    assert rule in rules(check, recording, target)


@mechanisms
@pytest.mark.parametrize("shift", [0, -1])
@few
@seeds
def test_what_others_write_meanwhile_breaks_nothing_and_passes_nothing(mechanism: str, shift: int, seed: int) -> None:
    """A quiet listing is not taken on trust: here someone else puts rows in and takes rows out."""
    rnd, server = random.Random(seed), filled(counted(seed, mechanism=mechanism, shift=shift), 90)

    def write() -> None:
        rows = server.rows["owner"]
        if rnd.random() < 0.3:
            rows.pop(rnd.choice(sorted(rows)))
        if rnd.random() < 0.3:
            rows[f"new-{rnd.randbytes(4).hex()}"] = Decimal(rnd.randint(0, 12))
    server.before = write
    target = read_only(counting(mechanism))
    recording = record(pages_quiet, server, target)
    for check in (complete, ordered):
        assert rules(check, recording, target) == set()
        assert decided(check, recording, target) == 0
        assert "noisy" in {o.reason for o in observed(check, recording, target)}


@mechanisms
def test_a_bound_above_all_rows_is_not_seen(mechanism: str) -> None:
    target = read_only(counting(mechanism))
    recording = record(page_size_limits.evidence[0], filled(counted(1, mechanism=mechanism, maximum=None), 30), target)
    assert decided(page_size_limits, recording, target) == 0
    assert rules(page_size_limits, recording, target) == set()
    assert {o.reason for o in observed(page_size_limits, recording, target) if o.state == "undecided"} == {"vacuous"}


@mechanisms
def test_nothing_is_asked_of_cursors_that_are_not_there(mechanism: str) -> None:
    target = counting(mechanism)
    assert cursor_tampering.subjects(target) == ()
    assert opaque.sources_of(target, SUBJECT) == ()
    assert str(opaque.exempt(target, SUBJECT)).startswith("the caller counts")


# --- while the harness writes between the pages


def subjects_of(check: Check, recording: Recording, target: Profile) -> Counter[str]:
    """The items that a check speaks of, broken or not seen both before and after."""
    found = [o for o in observed(check, recording, target) if o.state != "holds"]
    return Counter((o.expected or o.actual).split()[0] for o in found)


@mechanisms
@pytest.mark.parametrize("says", SAYS)
@few
@given(seed=st.integers(0, 2**32), beyond=st.sampled_from([200, 404]))
def test_writes_skip_and_repeat_exactly_the_rows_that_arithmetic_says(mechanism: str, says: str, seed: int,
                                                                      beyond: int) -> None:
    target = counting(mechanism, says)
    server = counted(seed, mechanism=mechanism, beyond=beyond if says == "nothing" else 200)
    recording = record(pages_one_sided, server, target)
    lost, again = Counter[str](), Counter[str]()
    history = writes(recording)
    for walk, truth in zip(walks(recording, target, SUBJECT), server.truths, strict=True):
        if walk.script != REFERENCE:
            touched = {w.item for w in during(walk, history)}
            lost += Counter(truth.lost - truth.served - touched)
            again += Counter(truth.again - {i for i, seen in walk.servings().items() if moved(seen, target)})
    assert subjects_of(no_skips, recording, target) == lost
    assert subjects_of(no_repeats, recording, target) == again
    assert lost.total() >= LEAST
    assert again.total() >= LEAST
    assert {"skipped"} == rules(no_skips, recording, target)
    assert {"repeated"} == rules(no_repeats, recording, target)


def moved(seen: list[Any], target: Profile) -> bool:
    """Whether an item came again because it was moved ahead."""
    collection = target.operation[SUBJECT.name].collection
    assert collection
    return moved_forward(seen, collection.sort)


@mechanisms
@pytest.mark.parametrize(("script", "check"), [
    ("insert_behind", no_repeats), ("leave_behind", no_skips), ("move_back", no_repeats), ("move_forward", no_skips),
    ("leave_ahead", None)])
def test_each_script_shifts_by_its_own_sign(mechanism: str, script: str, check: Check | None) -> None:
    target, rule = counting(mechanism), {no_repeats: "repeated", no_skips: "skipped"}
    recording = record(pages_one_sided, counted(2, mechanism=mechanism), target)
    pages = {n for f in recording.facts("walk") if f.data["script"] == script for n in f.data["pages"]}
    found = {o.rule for c in (no_repeats, no_skips) for o in observed(c, recording, target)
             if o.state == "broken" and pages & set(o.events)}
    assert found == ({rule[check]} if check else set())


@mechanisms
@few
@seeds
def test_a_row_that_leaves_pulls_the_next_ones_behind_the_position(mechanism: str, seed: int) -> None:
    target = counting(mechanism)
    recording = record(pages_cursor_row, counted(seed, mechanism=mechanism), target)
    assert rules(cursor_row_gone, recording, target) == {"cursor-row-skip"}


@mechanisms
def test_a_position_that_is_never_understood_decides_nothing_about_loss(mechanism: str) -> None:
    """The second page is refused: whether that is the end cannot be known, unless the profile says how it is told."""
    server = counted(3, mechanism=mechanism, beyond=404, shift=10**6)
    recording = record(pages_one_sided, server, counting(mechanism))
    for check in (no_skips, no_repeats):
        assert rules(check, recording, counting(mechanism)) == set()
        assert decided(check, recording, counting(mechanism)) == 0
