from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import exchange

from openbell.clock import STALE_S, again_at, offset_of

EPOCH = 1_795_000_000


def dated(at, took, date, **fields):
    return exchange("burst:0:0", at=at, took=took, fields={"date": formatdate(date, usegmt=True), **fields})


def test_one_reply_bounds_the_offset_from_both_sides():
    offset = offset_of([dated(10.0, 0.5, EPOCH + 10)])
    assert (offset.low, offset.high) == (EPOCH - 0.5, EPOCH + 1 + STALE_S)
    assert offset.latest(EPOCH + 20) == 20.5
    assert offset.earliest(EPOCH + 20) == 20.0 - 1 - STALE_S


@given(true=st.floats(EPOCH, EPOCH + 1), stale=st.floats(0, STALE_S),
       replies=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=8))
def test_the_truth_is_always_inside(true, stale, replies):
    seen = [dated(at, took, int(true + at + took * when - stale)) for at, took, when in replies]
    offset = offset_of(seen)
    assert offset is not None
    assert offset.low - 1e-6 <= true <= offset.high + 1e-6


@pytest.mark.parametrize("seen", [
    [], [exchange(fields={})], [exchange(status=None)], [exchange(fields={"date": "yesterday"})],
    [dated(1, 0, EPOCH, age="5")], [exchange(fields=(("date", formatdate(EPOCH, usegmt=True)),) * 2)],
    [dated(1, 0.1, EPOCH), dated(2, 0.1, EPOCH + 3600)],
], ids=["none", "no date", "no reply", "no date at all", "cached", "doubled", "two clocks"])
def test_no_offset(seen):
    assert offset_of(seen) is None


@pytest.mark.parametrize(("fields", "until"), [
    ({"retry-after": "7"}, 8.0),
    ({"retry-after": formatdate(EPOCH + 9, usegmt=True), "date": formatdate(EPOCH + 1, usegmt=True)}, 9.0),
    ({"retry-after": formatdate(EPOCH - 9, usegmt=True), "date": formatdate(EPOCH + 1, usegmt=True)}, 1.0),
    ({"retry-after": formatdate(EPOCH + 9, usegmt=True)}, None),
    ({"retry-after": "soon"}, None),
    ({}, None),
])
def test_until_when_a_refusal_asks_for_silence(fields, until):
    refusal = exchange("burst:0:1", 429, at=0.5, took=0.5, fields=fields)
    assert again_at(refusal, [refusal]) == until


def test_a_date_is_read_by_the_clock_of_all_replies():
    refusal = exchange("burst:0:1", 429, at=5.9, took=0.1, fields={"retry-after": formatdate(EPOCH + 9, usegmt=True)})
    assert again_at(refusal, [dated(1.0, 0.0, EPOCH + 1), refusal]) == 9.0


def test_two_clocks_leave_the_date_of_the_refusal_itself():
    at, now = formatdate(EPOCH + 9, usegmt=True), formatdate(EPOCH + 6, usegmt=True)
    refusal = exchange("burst:0:1", 429, at=6.0, took=0.0, fields={"retry-after": at, "date": now})
    assert again_at(refusal, [dated(1.0, 0.0, EPOCH - 3600), refusal]) == 9.0
