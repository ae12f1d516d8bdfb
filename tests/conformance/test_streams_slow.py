from __future__ import annotations

from dataclasses import replace

import pytest
from made import ended, exchange, fact, frame, profile, recording, said

from openbell.conformance.streams_slow import slow_consumer
from openbell.profile import Sequence
from openbell.target import Subject

MARKET = Subject("stream", "market")
TARGET = profile()
SPARSE = profile(stream={"market": {"sequence": Sequence(at="/seq", id="/event")}})
STEPPED = profile(stream={"market": {"sequence": Sequence(at="/seq", id="/event", step=10)}})
UNNUMBERED = profile(stream={"market": {"sequence": None}})
WITHIN = TARGET.stream["market"].within_s
PAUSED, RESUMED = 10.0, 20.0
GAP = {"type": "gap"}
WANTED = 1000


def update(n, prev=None, **members):
    link = {} if prev is None else {"prev": prev}
    return {"type": "update", "epoch": "x", "seq": n, "event": f"q{n}", **link, **members}


def linked(*numbers):
    return [update(n, n - 1) for n in numbers]


def witness(*at, conn=1):
    """A stream beside it that gets an update at each of the instants."""
    return [exchange(f"witness:{conn}", 101, conn=conn, at=0.0),
            *(frame(update(i + 1, i), conn=conn, at=t) for i, t in enumerate(at))]


BUSY = witness(*(9.0 + 2 * i for i in range(7)))


def judged(*after, before=(), beside=BUSY, got=(WANTED, WANTED), target=TARGET, more=(), slow="slow"):
    """A slow consumer that got some messages before it stopped, and others once it read again."""
    events = [exchange(slow, 101, conn=5, at=1.0), *(frame(m, conn=5, at=9.5) for m in before),
              replace(fact("stream_paused", conn=5), at=PAUSED), *beside,
              replace(fact("backlog", wanted=WANTED, got=list(got)), at=RESUMED - 0.1),
              replace(fact("stream_resumed", conn=5), at=RESUMED),
              *(frame(m, conn=5, at=RESUMED + 0.1) if isinstance(m, dict) else m for m in after), *more]
    return said(slow_consumer.judge(recording(*events), target, MARKET))


@pytest.mark.parametrize(("before", "after"), [
    (linked(1, 2), [ended("server", conn=5, at=RESUMED)]),
    (linked(1, 2), [*linked(3, 4, 5), ended("server", conn=5, at=RESUMED)]),
    (linked(1, 2), [replace(fact("stream_end", conn=5, side="server", how="reset", violation=None), at=RESUMED)]),
    (linked(1, 2), [*linked(3, 4), GAP, update(90, 89)]),
    (linked(1, 2), [*linked(3), {"type": "error", "code": "too_slow"}, update(90, 89)]),
    (linked(1, 2), linked(3, 4, 5, 6)),
    ([], linked(3, 4)),
    ([update("a", ""), update("b", "a")], [update("c", "b")]),
    ([update(1, 0), GAP, update(50, 49)], linked(51, 52)),
    (linked(7, 8), [update(1, 0, epoch="y"), update(2, 1, epoch="y")]),
    (linked(1), [update(2), update(3, 2)]),
    (linked(1, 2), [update(2, 1), *linked(3, 3, 4)]),
], ids=["closed", "some, then closed", "a reset", "a gap told", "an error told", "everything", "nothing before",
        "strings", "a gap told before", "a new epoch", "links missing", "sent again"])
def test_a_slow_consumer_that_is_handled_openly(before, after):
    assert judged(*after, before=before) == ["holds"]


@pytest.mark.parametrize(("before", "after", "rule", "target"), [
    (linked(1, 2), linked(9, 10), "unmarked-gap", TARGET),
    (linked(1, 2), linked(3, 4, 9), "unmarked-gap", TARGET),
    (linked(1, 2), [*linked(9), ended("server", conn=5, at=21.0)], "unmarked-gap", TARGET),
    ([update("a", "")], [update("c", "b")], "unmarked-gap", TARGET),
    ([update(10)], [update(30)], "unmarked-gap", STEPPED),
    ([update("10")], [update("30")], "unmarked-gap", STEPPED),
    ([GAP, *linked(1, 2)], linked(9), "unmarked-gap", TARGET),
    (linked(1, 2), [], "never-again", TARGET),
    (linked(1, 2), [{"type": "subscribed"}], "never-again", TARGET),
    (linked(1, 2), [ended("client", conn=5, at=23.1)], "never-again", TARGET),
], ids=["at once", "later", "before its end", "strings", "steps", "strings of steps", "told too early", "nothing",
        "no data", "until we left"])
def test_a_slow_consumer_that_is_not(before, after, rule, target):
    assert judged(*after, before=before, target=target) == [rule]


@pytest.mark.parametrize(("later", "message", "expected"), [
    (WITHIN - 0.5, {"type": "error", "code": "too_slow"}, "holds"),
    (WITHIN + 0.5, {"type": "error", "code": "token_expired"}, "?precondition"),
    (WITHIN + 0.5, GAP, "holds"),
], ids=["soon", "an error long after", "a gap long after"])
def test_an_error_after_a_long_silence_is_no_answer(later, message, expected):
    told = frame(message, conn=5, at=RESUMED + 0.1 + later)
    over = ended("server", conn=5, at=RESUMED + 0.2 + later)
    assert judged(*linked(3, 4), told, over, before=linked(1, 2)) == [expected]


def test_fragments_beats_and_what_is_no_json():
    parts = [frame(b'{"type": "update", "epoch": "x", "seq": 3,', conn=5), frame(b"", conn=5, opcode=9),
             frame(b'"prev": 2, "event": "q3"}', conn=5, opcode=0), frame(b"{", conn=5)]
    assert judged(*parts, before=linked(1, 2)) == ["holds"]
    assert judged(*parts, before=linked(1)) == ["unmarked-gap"]


@pytest.mark.parametrize(("target", "before", "after"), [
    (SPARSE, [update(1), update(7)], [update(90), update(91)]),
    (UNNUMBERED, [update(1)], [update(90), update(91)]),
    (TARGET, [{"type": "update"}], [{"type": "update"}, {"type": "update", "seq": None}]),
], ids=["sparse numbers", "no numbers", "members missing"])
def test_updates_that_cannot_tell_what_is_missing_decide_nothing(target, before, after):
    assert judged(*after, before=before, target=target) == ["?vacuous"]


def test_steps_that_are_whole_hold():
    assert judged(update(20), update(30), before=[update(10)], target=STEPPED) == ["holds"]


@pytest.mark.parametrize("at", [(), (9.0,), (11.0, 12.0), (13.5, 19.9), (10.5, 13.4, 16.6, 19.0)],
                         ids=["none", "none meanwhile", "none any more", "late", "a hole"])
def test_a_witness_that_is_stalled(at):
    assert judged(*linked(3), before=linked(1, 2), beside=witness(*at)) == ["witness-stalled"]


def test_each_witness_that_is_stalled_is_told():
    beside = [*witness(11.0), *witness(*range(9, 23), conn=2), *witness(12.0, conn=3)]
    assert judged(before=linked(1), beside=beside) == ["witness-stalled", "witness-stalled"]


def test_acks_and_beats_do_not_keep_a_witness_alive():
    beats = [frame({"type": "subscribed"}, conn=1, at=t) for t in range(10, 21)]
    pings = [frame(b"", conn=1, opcode=9, at=t) for t in range(10, 21)]
    assert judged(*linked(3), before=linked(1, 2), beside=[*witness(), *beats, *pings]) == ["witness-stalled"]


@pytest.mark.parametrize(("changes", "reason"), [
    ({"got": (WANTED, WANTED - 1)}, "?vacuous"),
    ({"got": ()}, "?vacuous"),
    ({"more": (replace(fact("lag", seconds=WITHIN / 2 + 0.1), at=15.0),)}, "?noisy"),
    ({"beside": [*witness(11.0), ended("harness", at=11.5)]}, "?budget"),
    ({"more": (ended("harness", conn=5, at=RESUMED),)}, "?budget"),
])
def test_what_cannot_be_decided(changes, reason):
    assert judged(before=linked(1, 2), **changes) == [reason]


def test_without_the_one_that_is_slow_nothing_is_said():
    assert judged(*linked(3), slow="other") == []
    assert said(slow_consumer.judge(recording(exchange("slow", 101, conn=5), *BUSY), TARGET, MARKET)) == []
