from __future__ import annotations

import json
from dataclasses import replace

import pytest
from made import ended, exchange, fact, frame, profile, recording, said, script

from openbell.conformance.stream_lives import Update
from openbell.conformance.streams_loss import named, nothing_lost
from openbell.events import Exchange
from openbell.profile import Sequence
from openbell.target import Subject

ORDERS = Subject("stream", "orders")
TARGET = profile()
WITHIN = TARGET.stream["orders"].within_s
GAP = {"recovered": False}


def update(n, seq=None):
    return {"type": "update", "epoch": "x", "seq": n if seq is None else seq, "prev": n - 1, "event": f"e{n}",
            "order": {"id": f"o{n}"}}


def write(n, at, **changes):
    """The order of the n-th event, sent at an instant."""
    return exchange(f"live:{n}", 201, {"id": f"o{n}"}, operation="submit_order", at=at, **changes)


def life(conn, start, end, got, *, since=None, epoch="x", side="client", answer="ok", more=()):
    """A life from one instant to another, resumed behind a position, in which some updates come at its middle."""
    place = {} if since is None else {"position": since, "epoch": epoch}
    frames = [frame(update(n) if isinstance(n, int) else n, conn=conn, at=(start + end) / 2) for n in got]
    name = "subscribe" if since is None else "resubscribe"
    return [exchange(f"round:{conn}", 101, conn=conn, at=start),
            replace(script(name, answer, conn=conn, **place), at=start + 0.1), *frames, *more,
            ended(side, conn=conn, at=end)]


def truth(*numbers, make=update):
    rows = [{k: v for k, v in make(n).items() if k != "type"} for n in numbers]
    return exchange("walk:truth:0", 200, {"items": rows}, operation="list_events", at=900.0)


def observed(*events, target=TARGET):
    return list(nothing_lost.judge(recording(*events), target, ORDERS))


def judged(*events, target=TARGET):
    return said(observed(*events, target=target))


def lost(*events, target=TARGET):
    return {o.rule: o.actual for o in observed(*events, target=target) if o.state == "broken"}


FIRST = (write(1, 1.0), *life(1, 0.0, 2.0, [1]))
GAP_2_3 = (write(2, 3.0), write(3, 4.0))
WRITES = (*FIRST, *GAP_2_3, write(4, 11.0))


# --- what is not lost


@pytest.mark.parametrize("events", [
    (*WRITES, *life(2, 10.0, 12.0, [2, 3, 4], since=1), truth(1, 2, 3, 4)),
    (*WRITES, *life(2, 10.0, 12.0, [1, 2, 3, 4], since=1), truth(1, 2, 3, 4)),
    (*WRITES, *life(2, 10.0, 12.0, [2, 3], since=1), truth(1, 2, 3, 4)),
    (*WRITES, *life(2, 10.0, 12.0, [2], since=1), *life(3, 13.0, 14.0, [3, 4], since=2), truth(1, 2, 3, 4)),
    (*FIRST, *GAP_2_3, *life(2, 10.0, 12.0, [2, 3], since=1), truth(1, 2, 3)),
    (*FIRST, *GAP_2_3, *life(2, 10.0, 10.5, [], since=1), *life(3, 11.0, 12.0, [2, 3], since=1), truth(1, 2, 3)),
], ids=["all", "the asked one again", "in flight at the cut", "over two lives", "nothing live", "cut at once"])
def test_nothing_is_lost(events):
    words = judged(*events)
    assert "holds" in words
    assert set(words) <= {"holds", "?vacuous"}


def test_an_update_by_nobody_of_ours_is_no_sample_of_a_gap_yet_it_must_come():
    others = (*FIRST, *life(2, 10.0, 12.0, [2, 3], since=1), truth(1, 2, 3))
    assert judged(*others) == ["?vacuous"]
    assert lost(*FIRST, *life(2, 10.0, 12.0, [3], since=1), truth(1, 2, 3)) == {"lost-in-gap": "lost: 2"}


def test_the_first_life_is_owed_nothing_of_before():
    assert judged(write(1, 1.0), write(2, 3.0), *life(1, 2.0, 60.0, [2]), truth(1, 2)) == []


def test_positions_may_be_strings_and_epochs_may_be_missing():
    def spelled(n):
        return {**update(n, f"{n:03}"), "prev": f"{n - 1:03}", "epoch": None}
    target = profile(stream={"orders": {"sequence": Sequence(at="/seq", id="/event")}})
    told = truth(1, 2, 3, make=spelled)
    events = (write(1, 1.0), *life(1, 0.0, 2.0, [spelled(1)]), *GAP_2_3)
    whole, holed = (life(2, 10.0, 12.0, map(spelled, got), since="001", epoch="") for got in ((2, 3), (3,)))
    assert judged(*events, *whole, told, target=target) == ["holds"]
    assert lost(*events, *holed, told, target=target) == {"lost-in-gap": "lost: 002"}


def test_fragments_are_one_update_and_what_is_no_json_is_none():
    parts = [frame(b'{"type": "update", "epoch": "x", "seq"', conn=2, at=11.0),
             frame(b"beat", conn=2, at=11.0, opcode=9),
             frame(b': 2, "event": "e2"}', conn=2, at=11.1, opcode=0), frame(b"{", conn=2, at=11.2),
             frame({"type": "update"}, conn=2, at=11.3), frame({"type": "update", "seq": None}, conn=2, at=11.3)]
    assert judged(*FIRST, write(2, 3.0), *life(2, 10.0, 12.0, [], since=1, more=parts), truth(1, 2)) == ["holds"]


# --- what is lost


@pytest.mark.parametrize(("lives", "rule", "actual"), [
    (life(2, 10.0, 12.0, [4], since=1), "lost-in-gap", "lost: 2-3"),
    (life(2, 10.0, 12.0, [3, 4], since=1), "lost-in-gap", "lost: 2"),
    (life(2, 10.0, 12.0, [2, 4], since=1), "lost-live", "lost: 3"),
    (life(2, 10.0, 60.0, [2, 3], since=1), "lost-live", "lost: 4"),
    (life(2, 10.0, 60.0, [], since=1, more=[frame({"type": "heartbeat"}, conn=2, at=50.0)]), "lost-in-gap",
     "lost: 2-3"),
    ([*life(2, 10.0, 10.4, [], since=1), *life(3, 10.5, 12.0, [4], since=1)], "lost-in-gap", "lost: 2-3"),
], ids=["live edge", "off by one", "a hole", "the last", "zombie", "over a life of nothing"])
def test_each_loss_is_named(lives, rule, actual):
    assert lost(*WRITES, *lives, truth(1, 2, 3, 4))[rule] == actual


def test_a_zombie_loses_what_is_made_live_too():
    assert lost(*WRITES, *life(2, 10.0, 60.0, [], since=1), truth(1, 2, 3, 4)) == {
        "lost-in-gap": "lost: 2-3", "lost-live": "lost: 4"}


@pytest.mark.parametrize(("got", "actual"), [([], "lost: 1-2"), ([2], "lost: 1")])
def test_a_first_life_is_owed_what_is_made_while_it_is_subscribed(got, actual):
    assert lost(write(1, 1.0), write(2, 1.5), *life(1, 0.0, 60.0, got), truth(1, 2)) == {"lost-live": actual}


def test_what_was_lost_on_many_connections_is_one_observation_that_cites_some():
    writes = [write(n, 10.0 * n) for n in range(1, 41)]
    lives = [e for n in range(1, 41) for e in life(n, 10 * n + 1, 10 * n + 9, [n] if n % 2 else [],
                                                   since=None if n == 1 else n - 1)]
    events = recording(*writes, *lives, truth(*range(1, 41)))
    broken = [o for o in nothing_lost.judge(events, TARGET, ORDERS) if o.state == "broken"]
    assert [o.rule for o in broken] == ["lost-in-gap"]
    assert broken[0].actual == "lost: " + ", ".join(str(n) for n in range(2, 41, 2))
    assert len(broken[0].events) <= 9
    assert {type(events[n - 1]).__name__ for n in broken[0].events} == {"Exchange"}


def resumed_by(*payloads, early=()):
    """A life that is resumed behind 1 by what the client says, and whose updates are 3 and 4."""
    began = replace(fact("stream_script", conn=2, script="resubscribe", answer=None, position=1, epoch="x"), at=10.0)
    said_ = [frame(one, conn=2, at=10.05, by="client") for one in payloads]
    shake, *rest = life(2, 10.0, 12.0, [3, 4], since=1)
    login = frame({"op": "login"}, conn=2, at=10.0, by="client")
    return [shake, login, *(frame(update(n), conn=2, at=10.0) for n in early), began, *said_, *rest]


ASKS, SUBSCRIBES = {"op": "subscribe", "after": {"seq": 1}}, {"op": "choose", "channel": "orders"}


@pytest.mark.parametrize(("said_", "early", "cited"), [
    ([ASKS], (), ASKS), ([SUBSCRIBES, ASKS], (), ASKS), ([ASKS], (9,), ASKS)])
def test_a_loss_is_shown_by_what_asked_and_what_came_first_after_it(said_, early, cited):
    events = recording(*WRITES, *resumed_by(*said_, early=early), truth(1, 2, 3, 4))
    [broken] = [o for o in nothing_lost.judge(events, TARGET, ORDERS) if o.state == "broken"]
    asked, first = (events[n - 1] for n in broken.events[:2])
    assert (asked.by, json.loads(asked.payload)) == ("client", cited)
    assert (first.by, json.loads(first.payload)["seq"]) == ("server", 3)


def test_a_journal_in_which_nothing_asks_shows_the_handshake():
    events = recording(*WRITES, *life(2, 10.0, 12.0, [3, 4], since=1), truth(1, 2, 3, 4))
    [broken] = [o for o in nothing_lost.judge(events, TARGET, ORDERS) if o.state == "broken"]
    assert [events[n - 1].label for n in broken.events[:1]] == ["round:2"]
    assert isinstance(events[broken.events[0] - 1], Exchange)


# --- what is told, and what cannot be known


@pytest.mark.parametrize("mark", [GAP, {"recovered": False, "type": "subscribed"}])
def test_a_gap_that_is_told_is_no_loss(mark):
    events = (*WRITES, *life(2, 10.0, 60.0, [mark, 4], since=1), truth(1, 2, 3, 4))
    assert judged(*events) == ["?precondition"]


@pytest.mark.parametrize(("events", "words"), [
    ((*WRITES, *life(2, 10.0, 12.0, [2, 3, 4], since=1), truth(1, 2, 3)), ["?precondition"]),
    ((*WRITES, *life(2, 10.0, 12.0, [4], since=1), truth()), ["?precondition"]),
    ((*FIRST, *GAP_2_3, *life(2, 10.0, 12.0, [4], since=1)), ["?precondition"]),
    ((*FIRST, *life(2, 10.0, 12.0, [], since=1), truth(1)), ["?vacuous"]),
    ((*FIRST, write(2, 1.99), *life(2, 10.0, 12.0, [2], since=1), truth(1, 2)), ["?vacuous"]),
    ((*FIRST, write(2, 9.995), *life(2, 10.0, 12.0, [2], since=1), truth(1, 2)), ["?vacuous"]),
], ids=["one is not told", "an empty truth", "no truth", "nothing made", "made before the end", "made while it began"])
def test_what_cannot_be_decided(events, words):
    assert judged(*events) == words


@pytest.mark.parametrize("answer", ["refused", "silent", "ended"])
def test_a_life_that_was_not_entered_says_nothing(answer):
    assert judged(*FIRST, *GAP_2_3, *life(2, 10.0, 60.0, [], since=1, answer=answer), truth(1, 2, 3)) == []


def test_time_that_the_harness_was_late_by_is_not_the_servers():
    zombie = life(2, 10.0, 10.0 + WITHIN + 2, [], since=1)
    events = (*FIRST, write(2, 11.0), *zombie, truth(1, 2))
    assert lost(*events) == {"lost-live": "lost: 2"}
    assert judged(*events, replace(fact("lag", seconds=1.5), at=14.0)) == ["?vacuous"]


@pytest.mark.parametrize("side", ["harness", "server", "client"])
def test_whoever_ends_a_life_is_owed_no_more_than_was_due(side):
    early = (*FIRST, *GAP_2_3, *life(2, 10.0, 10.2, [], since=1, side=side), *life(3, 11.0, 12.0, [2, 3], since=1))
    assert judged(*early, truth(1, 2, 3)) == ["?vacuous", "holds"]


def test_lives_that_are_over_before_anything_comes_prove_nothing():
    empty = [e for n in range(2, 9) for e in life(n, 10.0 * n, 10.0 * n + 1, [1], since=1)]
    assert judged(*FIRST, *GAP_2_3, *empty, truth(1, 2, 3)) == ["?vacuous"] * 7


def test_requests_that_failed_or_tell_no_id_made_nothing_that_is_owed():
    refused = exchange("live:9", 422, {"id": "o9"}, operation="submit_order", at=3.0)
    unnamed = exchange("live:8", 202, operation="submit_order", at=3.1)
    unanswered = exchange("live:7", None, operation="submit_order", at=3.2)
    told = truth(1, 2, make=lambda n: update(n) if n == 1 else {**update(n), "order": None})
    events = (*FIRST, refused, unnamed, unanswered, *life(2, 10.0, 60.0, [], since=1), told)
    assert judged(*events) == ["?vacuous"]


def test_without_a_stream_or_its_lives_nothing_is_said():
    assert judged(*GAP_2_3, truth(2, 3)) == []
    assert judged(exchange("round:1", 503, at=0.0), truth(1)) == []


@pytest.mark.parametrize(("lost_", "words"), [
    ([], ""), ([0], "a"), ([0, 1], "a-b"), ([0, 2, 3, 4], "a, c-e"), ([1, 3], "b, d")])
def test_positions_are_named_in_runs(lost_, words):
    told = tuple(Update(exchange(), p, "", p, "", {}) for p in "abcde")
    assert named(told, lost_) == words
