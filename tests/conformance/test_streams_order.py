from __future__ import annotations

from dataclasses import replace

import pytest
from made import exchange, fact, frame, profile, recording, said

from openbell.conformance.streams_order import delivered_as_promised, ordered_without_gaps
from openbell.journal import Header
from openbell.judge import judge
from openbell.profile import Sequence
from openbell.target import Subject

ORDERS = Subject("stream", "orders")
LINKED = profile()
SPARSE = profile(stream={"orders": {"sequence": Sequence(at="/seq", id="/event", epoch="/epoch")}})
STEPPED = profile(stream={"orders": {"sequence": Sequence(at="/seq", id="/event", step=10)}})
ONCE = profile(stream={"orders": {"delivery": "exactly_once"}})
GAP, SNAPSHOT = {"recovered": False}, {"type": "snapshot"}


def at(seq, prev=None, *, conn=1, **members):
    """An update by its position; the link to the one before where one is given."""
    link = {} if prev is None else {"prev": prev}
    return frame({"type": "update", "epoch": "x", "seq": seq, "event": f"e{seq}", **link, **members}, conn=conn)


def chain(*numbers, **members):
    """Updates that each name the one before."""
    return [at(n, p, **members) for p, n in zip((0, *numbers), numbers, strict=False)]


def life(label, *frames, conn=1):
    return [exchange(label, 101, conn=conn), *frames]


def ordered(*frames, target=LINKED):
    return said(ordered_without_gaps.judge(recording(*life("round:0", *frames)), target, ORDERS))


# --- WSR-001


@pytest.mark.parametrize(("frames", "target"), [
    (chain(1, 2, 3), LINKED),
    (chain(7, 11, 300), LINKED),
    (chain("a9", "c1", "b0"), LINKED),
    ([at(1, 0), at(2), at(3, None)], LINKED),
    ([at(1), at(7), at(8)], SPARSE),
    ([at(10), at(20), at(30)], STEPPED),
    ([*chain(1, 2), frame(GAP), *chain(9, 10)[:1], at(10, 9)], LINKED),
    ([at(10), frame(GAP), at(70), at(80)], STEPPED),
    ([*chain(8, 9), frame(GAP), at(3, 2), at(4, 3)], LINKED),
    ([*chain(1, 2, 3), at(2, 1), at(3, 2), at(4, 3)], LINKED),
    ([*chain(8, 9), at(1, 0, epoch="y"), at(2, 1, epoch="y"), at(3, 2, epoch="y")], LINKED),
    ([at(8), at(9), at(1, epoch="y"), at(2, epoch="y")], SPARSE),
    ([at(1, 0), frame({"type": "heartbeat", "seq": 99}), frame(b"{"), frame(b"", opcode=9), at(2, 1)], LINKED),
    ([at(1, 0), frame({"type": "update"}), frame({"type": "update", "seq": None}), at(2, 1)], LINKED),
    ([at("10"), at("20")], STEPPED),
    ([at(1, 0), at(99, 98, conn=2), at(2, 1)], LINKED),
], ids=["dense", "sparse with links", "strings with links", "links missing", "sparse", "steps", "a gap told",
        "told, steps", "told, from before", "repeated from before", "a new epoch", "a new epoch, no links",
        "other frames", "no position", "numbers as strings", "another connection"])
def test_an_order_that_is_kept(frames, target):
    assert set(ordered(*frames, target=target)) == {"holds"}


@pytest.mark.parametrize(("frames", "target", "rule"), [
    ([at(1, 0), at(3, 2)], LINKED, "gap"),
    ([*chain(1, 2), at(4, 3), at(5, 4)], LINKED, "gap"),
    ([at("a", ""), at("c", "b")], LINKED, "gap"),
    ([at(10), at(21)], STEPPED, "gap"),
    ([at(10), at(30)], STEPPED, "gap"),
    ([at("10"), at("30")], STEPPED, "gap"),
    ([at(1, 0), frame(GAP), at(5, 4), at(7, 6)], LINKED, "gap"),
    ([*chain(1, 2), at(4, 3), at(3, 2), at(5, 4)], LINKED, "reversed"),
    ([at("a", ""), at("c", "b"), at("b", "a")], LINKED, "reversed"),
    ([at(3), at(9), at(7)], SPARSE, "reversed"),
    ([at(3), at(9), at(0)], SPARSE, "reversed"),
    ([*chain(1, 2), frame(b'{"type": "update", "epoch": "x", "seq": 4,'), frame(b'"prev": 3}', opcode=0)], LINKED,
     "gap"),
    ([at(8, 7), at(1, 0, epoch="y"), at(3, 2, epoch="y")], LINKED, "gap"),
], ids=["a hole", "then on", "strings", "off the step", "a step over", "strings of steps", "after one told", "swapped",
        "swapped strings", "backwards", "back to zero", "in fragments", "in a new epoch"])
def test_an_order_that_is_broken(frames, target, rule):
    assert {w for w in ordered(*frames, target=target) if w != "holds"} == {rule}


def test_a_repetition_is_not_blamed_on_the_step_before_it():
    assert set(ordered(*chain(1, 2, 3), at(2, 1), at(4, 3))) == {"holds"}


OPAQUE = profile(stream={"orders": {"sequence": Sequence(at="/seq", id="/event", epoch="/epoch")}})
VACUOUS = "?vacuous"


@pytest.mark.parametrize(("frames", "target", "words"), [
    ([at("b"), at("c"), at("a")], OPAQUE, [VACUOUS, VACUOUS]),
    ([at("b"), at("c")], STEPPED, [VACUOUS]),
    ([at("b"), at("c", "b"), at("d")], LINKED, ["holds", VACUOUS]),
    ([at("b"), at(7), at(8), at("c")], OPAQUE, [VACUOUS, "holds", VACUOUS]),
    ([at("b"), frame(GAP), at("c"), at("d")], OPAQUE, [VACUOUS]),
    ([at("b"), at("b")], OPAQUE, []),
], ids=["strings", "steps of what nobody counts", "a link missing", "numbers between", "a gap told", "repeated"])
def test_positions_that_cannot_be_compared_tell_no_order(frames, target, words):
    assert ordered(*frames, target=target) == words


def verdict(promise, **links):
    """The whole verdict on a stream of 40 updates whose positions are strings."""
    sequence = {"at": "/seq", "id": "/event", **{name: f"/{at}" for name, at in links.items()}}
    target = LINKED.model_dump(mode="json", by_alias=True, exclude_none=True)
    target["stream"]["orders"]["sequence"] = sequence
    header = Header("0", "run", "2026-11-26T00:00:00+00:00", 1, "t", target | {"promise": {"streams.order": promise}})
    story = "stream_cut_and_resume@stream:orders"
    updates = (at(f"p{n}", f"p{n - 1}") for n in range(40))
    events = recording(*life("round:0", *updates), fact("scenario_end"))
    found = judge(header, (replace(e, scenario=story) for e in events), [ordered_without_gaps])
    return next((r.verdict, r.reason) for r in found if r.subject == str(ORDERS))


@pytest.mark.parametrize(("promise", "links", "expected"), [
    ("promised", {}, ("inconclusive", "vacuous")),
    ("promised", {"previous": "prev"}, ("pass", None)),
    ("not_promised", {}, ("not-applicable", None)),
])
def test_a_stream_of_strings_passes_only_with_links(promise, links, expected):
    assert verdict(promise, **links) == expected


def test_lives_are_judged_alone_and_only_those_of_the_rounds():
    events = [*life("round:0", *chain(1, 2)), *life("round:1", at(7, 6, conn=2), at(8, 7, conn=2), conn=2),
              *life("control", at(1, 0, conn=3), at(9, 8, conn=3), conn=3)]
    assert said(ordered_without_gaps.judge(recording(*events), LINKED, ORDERS)) == ["holds", "holds"]


@pytest.mark.parametrize("frames", [[], [at(1, 0)], [frame(GAP)]])
def test_less_than_two_updates_have_no_order(frames):
    assert ordered(*frames) == []


def test_a_stream_without_positions_has_none():
    assert ordered(at(1), at(3), target=profile(stream={"orders": {"sequence": None}})) == []


# --- WSR-003


def delivered(*lives, told=(), target=LINKED):
    events = [e for n, frames in enumerate(lives) for e in life(f"round:{n}", *frames, conn=n + 1)]
    walk = [exchange("walk:truth:0", 200, {"items": list(told)}, operation="list_events")] if told else []
    return said(delivered_as_promised.judge(recording(*events, *walk), target, ORDERS))


def row(seq, event, **members):
    return {"epoch": "x", "seq": seq, "event": event, **members}


@pytest.mark.parametrize(("lives", "told", "target"), [
    ([chain(1, 2)], (), LINKED),
    ([chain(1, 2), [at(2, 1, conn=2), at(3, 2, conn=2)]], (), LINKED),
    ([[at(1, order={"id": "o", "n": 1})], [at(1, conn=2, order={"id": "o"}, replayed=True)]], (), LINKED),
    ([[at(1)], [at(1, conn=2, epoch="y", event="e9")]], (), LINKED),
    ([[at(1, event="e9")], [at(2, conn=2, event="e8", corrects="e9")]], (), LINKED),
    ([[at(1)]], (row(1, "e1"), row(2, "e2")), LINKED),
    ([[at(1)]], (row(1, None),), LINKED),
    ([[at(1, event=None), at(2, event=None)]], (), LINKED),
    ([[at(1)], [at(2, conn=2)]], (), ONCE),
    ([[at("1")], [at(1, conn=2)]], (), SPARSE),
    ([[frame({"type": "update", "event": "e1"}), frame({"type": "update", "event": "e1"})], [frame(b"{", conn=2)]], (),
     LINKED),
], ids=["once", "again after a resume", "other members", "another epoch", "a correction", "as told", "no id told",
        "no ids", "exactly once", "a string and a number", "no positions"])
def test_what_is_delivered_as_promised(lives, told, target):
    assert set(delivered(*lives, told=told, target=target)) <= {"holds"}


@pytest.mark.parametrize(("lives", "told", "target", "rule"), [
    ([[at(1), at(1)]], (), LINKED, "duplicate-in-session"),
    ([[at(1), at(2), at(1)]], (), LINKED, "duplicate-in-session"),
    ([[at(1), at(2, event="e1")]], (), LINKED, "duplicate-in-session"),
    ([[at(1, event=None), at(1, event=None)]], (), LINKED, "duplicate-in-session"),
    ([[at(1)], [at(1, conn=2, event="new")]], (), LINKED, "new-id"),
    ([[at(1)], [at(1, conn=2, event=None)]], (), LINKED, "new-id"),
    ([[at(1, event="new")]], (row(1, "e1"),), LINKED, "new-id"),
    ([[at(1)], [at(1, conn=2)]], (), ONCE, "repeated"),
    ([[at(1, price="1")], [at(1, conn=2, price="2")]], (), LINKED, "changed-content"),
    ([[at(1, order={"id": "o", "n": [1]})], [at(1, conn=2, order={"id": "o", "n": [2]})]], (), LINKED,
     "changed-content"),
], ids=["at once", "later", "at another position", "without ids", "a new id", "no id", "another than told",
        "exactly once", "other content", "deep"])
def test_what_is_not(lives, told, target, rule):
    words = delivered(*lives, told=told, target=target)
    assert [w for w in words if w != "holds"] == [rule]


def asked_again(*frames, target=LINKED, **once):
    """What is said of one life, and of one that asked for the same again."""
    first = life("round:last", at(1, **once), at(2, 1, **once))
    events = recording(*first, *life("again:0", *frames, conn=2))
    return [w for w in said(delivered_as_promised.judge(events, target, ORDERS)) if w != "holds"]


@pytest.mark.parametrize(("again", "words"), [
    ([at(1, conn=2, order={"quantity": "1"}), at(2, 1, conn=2, order={"quantity": "1"})], []),
    ([at(1, conn=2, order={"quantity": "7"}), at(2, 1, conn=2, order={"quantity": "7"})], ["changed-content"] * 2),
    ([at(2, 1, conn=2, event="new")], ["new-id"]),
    ([at(2, 1, conn=2), at(2, 1, conn=2)], ["duplicate-in-session"]),
    ([at(3, 2, conn=2)], []),
    ([], []),
], ids=["the same", "altered", "a new id", "twice", "news", "nothing"])
@pytest.mark.parametrize("target", [LINKED, ONCE], ids=["at least once", "exactly once"])
def test_what_is_asked_for_again_is_the_same_again(again, words, target):
    assert asked_again(*again, target=target, order={"quantity": "1"}) == words


def test_a_number_may_be_written_otherwise_when_it_comes_again():
    assert asked_again(frame(b'{"type": "update", "epoch": "x", "seq": 1, "event": "e1", "price": 1.0}', conn=2),
                       price=1) == []


def test_the_order_of_what_is_asked_for_again_is_not_judged_twice():
    events = [*life("round:0", *chain(1, 2)), *life("again:0", at(2, 1, conn=2), at(1, 0, conn=2), conn=2)]
    assert said(ordered_without_gaps.judge(recording(*events), LINKED, ORDERS)) == ["holds"]


@pytest.mark.parametrize(("named", "once", "again", "words"), [
    (["/sent_at"], {"sent_at": 1}, {"sent_at": 2}, []),
    (["/sent_at"], {"sent_at": 1}, {"sent_at": {"s": 2}}, []),
    (["/meta/sent", "/meta/n"], {"meta": {"sent": 1, "n": 1, "x": 1}}, {"meta": {"sent": 2, "n": 2, "x": 1}}, []),
    (["/meta"], {"meta": {"sent": 1}}, {}, []),
    (["/hops/0/at"], {"hops": [{"at": 1, "by": "a"}]}, {"hops": [{"at": 2, "by": "a"}]}, []),
    ([], {"sent_at": 1}, {"sent_at": 2}, ["changed-content"]),
    (["/sent"], {"sent_at": 1}, {"sent_at": 2}, ["changed-content"]),
    (["/sent_at"], {"sent_at": 1, "price": "1"}, {"sent_at": 2, "price": "2"}, ["changed-content"]),
    (["/meta/sent"], {"meta": {"sent": 1, "x": 1}}, {"meta": {"sent": 2, "x": 2}}, ["changed-content"]),
    (["/hops/0/at"], {"hops": [{"at": 1}]}, {"hops": [{"at": 2}, {"at": 3}]}, ["changed-content"]),
], ids=["a time", "of another kind", "two, nested", "left out", "in an array", "not named", "another name",
        "and a price", "beside it", "another length"])
def test_what_belongs_to_a_delivery_is_what_the_profile_names(named, once, again, words):
    target = profile(stream={"orders": {"per_delivery": tuple(named)}})
    seen = delivered([at(1, **once)], [at(1, conn=2, **again)], target=target)
    assert [w for w in seen if w != "holds"] == words


def test_nothing_delivered_is_nothing_seen():
    assert delivered() == []
    assert delivered([]) == []
    assert delivered([at(1)], target=profile(stream={"orders": {"sequence": None}})) == []
