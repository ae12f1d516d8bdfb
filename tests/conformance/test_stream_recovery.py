"""Order, loss and delivery of a stream that is cut and resumed, beside a server that is nothing but arithmetic."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import said
from stream_server import ORDERS, Story, observed, opened, spoken, told, update

from openbell.conformance.streams_loss import nothing_lost
from openbell.conformance.streams_order import delivered_as_promised, ordered_without_gaps

CHECKS = (ordered_without_gaps, nothing_lost, delivered_as_promised)
ROUNDS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.booleans()), min_size=3, max_size=8)


def story(rounds, spoil=lambda rows, _missed: rows, step=1):
    found = Story(step, spoil)
    for live, gap, repeat in rounds:
        found.life(live, repeat=repeat)
        found.publish(gap, "gap")
    found.life(3, lasts=10.0)
    return found


def broken(check, found):
    return {o.rule: o.actual for o in observed(check, ORDERS, *found.whole()) if o.state == "broken"}


@given(ROUNDS, st.sampled_from([1, 1, 3]))
@settings(max_examples=60, deadline=None)
def test_a_conforming_stream_breaks_nothing(rounds, step):
    found = story(rounds, step=step)
    for check in CHECKS:
        seen = observed(check, ORDERS, *found.whole())
        assert {o.state for o in seen} == {"holds"}, [o for o in seen if o.state != "holds"]
    assert len(observed(nothing_lost, ORDERS, *found.whole())) == len(rounds)


def once(change):
    """A fault that strikes the second life only."""
    calls = []

    def spoil(rows, missed):
        calls.append(rows)
        return change(rows, missed) if len(calls) == 2 else rows
    return spoil


FAULTS = {
    "live edge": (lambda rows, missed: rows[missed:], nothing_lost, "lost-in-gap"),
    "off by one": (lambda rows, missed: rows[1:] if missed else rows, nothing_lost, "lost-in-gap"),
    "lost in mid-stream": (lambda rows, _missed: rows[:1] + rows[2:], nothing_lost, "lost-live"),
    "dropped": (lambda rows, _missed: rows[:1] + rows[2:], ordered_without_gaps, "gap"),
    "reversed": (lambda rows, _missed: [rows[1], rows[0], *rows[2:]], ordered_without_gaps, "reversed"),
    "twice": (lambda rows, _missed: [*rows, rows[-1]], delivered_as_promised, "duplicate-in-session"),
    "new ids": (lambda rows, _missed: [{**rows[0], "event": "evt_new"}, *rows[1:]], delivered_as_promised, "new-id"),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
@given(ROUNDS)
@settings(max_examples=25, deadline=None)
def test_each_fault_breaks_its_rule(fault, rounds):
    change, check, rule = FAULTS[fault]
    rounds = [(max(live, 2), gap, repeat) for live, gap, repeat in rounds]
    found = story(rounds, once(change))
    assert set(broken(check, found)) == {rule}


def numbers(actual):
    found = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", actual):
        found |= set(range(int(first), int(last or first) + 1))
    return found


@given(ROUNDS)
@settings(max_examples=60, deadline=None)
def test_what_was_lost_is_named_and_nothing_else(rounds):
    found = story(rounds, lambda rows, missed: rows[missed:])
    actual = broken(nothing_lost, found)["lost-in-gap"]
    assert numbers(actual) == {r["seq"] for r in found.rows if r["seq"] >= min(found.delivered)} - set(found.delivered)


def test_a_stream_that_beats_and_delivers_nothing_loses_live():
    found = story([(2, 1, False), (2, 1, False)])
    last = Story(1, lambda _rows, _missed: [], found.rows, found.events, found.delivered, found.now, found.since, 4)
    last.life(2, lasts=10.0)
    assert set(broken(nothing_lost, last)) == {"lost-live"}


def test_a_gap_that_is_marked_is_no_loss():
    found = story([(2, 1, False)])
    conn = max(e.conn for e in found.events if hasattr(e, "conn"))
    first = next(e for e in found.events if getattr(e, "conn", 0) == conn)
    shown = [e for e in found.whole() if not (getattr(e, "payload", b"") and e.conn == conn)]
    mark = spoken("round:1", conn, first.done + 0.001, {"type": "subscribed", "recovered": False})
    assert said(observed(nothing_lost, ORDERS, *shown, mark))[-1] == "?precondition"


def test_a_truth_that_lags_decides_nothing():
    found = story([(2, 1, False)])
    behind = [*found.whole()]
    found.rows.clear()
    assert set(said(observed(nothing_lost, ORDERS, *behind[:-1], found.whole()[-1]))) == {"?precondition"}


def test_nothing_made_in_the_gap_proves_nothing():
    found = Story()
    found.life(2)
    found.life(2)
    assert said(observed(nothing_lost, ORDERS, *found.whole())) == ["?vacuous"]


def one_life(*messages):
    return [opened("round:0", 5, 0.0), told("stream_script", 0.01, conn=5, script="subscribe", answer="ok"),
            *(spoken("round:0", 5, 0.1 + i / 10, m) for i, m in enumerate(messages))]


@pytest.mark.parametrize(("messages", "expected"), [
    ([update(1), update(2), update(3)], ["holds", "holds"]),
    ([update(1), update(3)], ["gap"]),
    ([update(1), update(3, step=2)], ["holds"]),
    ([update(1), {"type": "subscribed", "recovered": False}, update(9)], []),
    ([update(1), update(1), update(2)], ["holds"]),
    ([update(1), update(1, epoch="e2")], []),
    ([update(2), b"\xff", b"[1]", b"{}", update(3)], ["holds"]),
    ([update(1), {"type": "update", "seq": None}, update(2)], ["holds"]),
    ([], []),
])
def test_steps_within_a_life(messages, expected):
    assert said(observed(ordered_without_gaps, ORDERS, *one_life(*messages))) == expected


def test_a_message_in_fragments_is_one_message():
    whole = one_life(update(1), update(2), update(3))
    raw = whole[3].payload
    parts = [spoken("round:0", 5, 0.2, raw[:9]), spoken("round:0", 5, 0.21, raw[9:], opcode=0)]
    assert said(observed(ordered_without_gaps, ORDERS, *whole[:3], *parts, whole[4])) == ["holds", "holds"]


@pytest.mark.parametrize(("second", "expected"), [
    (update(1), "duplicate-in-session"), (update(1, event="other"), "new-id"),
    (update(2), "holds"),
])
def test_deliveries_within_a_life(second, expected):
    assert said(observed(delivered_as_promised, ORDERS, *one_life(update(1), second))) == ["holds", expected]


def test_an_event_whose_content_changes_is_not_the_same():
    first = one_life(update(1, kind="submitted"))
    again = [opened("round:1", 6, 2.0),
             told("stream_script", 2.1, conn=6, script="resubscribe", answer="ok", position=0),
             spoken("round:1", 6, 2.2, update(1, kind="filled"))]
    assert said(observed(delivered_as_promised, ORDERS, *first, *again)) == ["holds", "changed-content"]
