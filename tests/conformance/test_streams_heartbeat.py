from __future__ import annotations

from dataclasses import replace

import pytest
from made import ended, exchange, fact, frame, profile, recording, said

from openbell.conformance.streams_heartbeat import dead_client_dropped, pings_answered, server_heartbeat
from openbell.target import Subject

TARGET = profile(stream={"orders": {}})
ORDERS = Subject("stream", "orders")
EVERY = 0.5
ALLOWED = 1.5


def judged(check, *events):
    return said(check.judge(recording(*events), TARGET, ORDERS))


def lag(seconds, at):
    return replace(fact("lag", seconds=seconds), at=at)


# --- WSH-002

SHAKE = exchange("idle", 101, conn=1, at=0.0)


def ping(payload, at, by="client"):
    return frame(payload, opcode=9, by=by, at=at)


def pong(payload, at):
    return frame(payload, opcode=10, at=at)


@pytest.mark.parametrize("events", [
    (ping(b"", 1.0), pong(b"", 1.1)),
    (ping(b"x" * 125, 1.0), pong(b"x" * 125, 5.9)),
    (ping(b"1", 1.0), ping(b"2", 1.0), ping(b"3", 1.0), pong(b"3", 1.2)),
    (ping(b"1", 1.0), ping(b"2", 1.1), pong(b"1", 1.2), pong(b"2", 1.3)),
    (ping(b"1", 1.0), frame(b'{"type":', at=1.1), pong(b"1", 1.2), frame(b'"x"}', opcode=0, at=1.3)),
    (pong(b"beat", 0.5), ping(b"1", 1.0), pong(b"1", 1.1), pong(b"", 2.0)),
    (ping(b"1", 1.0), lag(2.0, 6.5), pong(b"1", 6.5)),
], ids=["empty", "longest", "three answered by one", "each", "between fragments", "unasked pongs", "read late"])
def test_pings_that_are_answered(events):
    assert set(judged(pings_answered, SHAKE, *events)) == {"holds"}


@pytest.mark.parametrize(("events", "expected"), [
    ((ping(b"1", 1.0),), ["no-pong"]),
    ((ping(b"1", 1.0), pong(b"", 1.1)), ["no-pong"]),
    ((ping(b"1", 1.0), pong(b"2", 1.1)), ["no-pong", "altered-payload"]),
    ((pong(b"1", 0.9), ping(b"1", 1.0)), ["no-pong"]),
    ((ping(b"1", 1.0), pong(b"1", 1.1), ping(b"2", 2.0)), ["holds", "no-pong"]),
    ((ping(b"1", 1.0), pong(b"1", 6.5)), ["no-pong"]),
    ((ping(b"1", 1.0), ping(b"2", 60.0), pong(b"2", 60.1)), ["no-pong", "holds"]),
    ((ping(b"2", 1.0), ping(b"1", 1.1), pong(b"2", 1.2)), ["holds", "no-pong"]),
    ((ping(b"1", 1.0), ended("server", at=2.5)), ["no-pong"]),
], ids=["none", "emptied", "altered", "before it", "the second", "late", "by one a minute later", "an older one",
        "time enough before its end"])
def test_pings_that_are_not(events, expected):
    assert judged(pings_answered, SHAKE, *events) == expected


@pytest.mark.parametrize(("events", "reason"), [
    ((ping(b"1", 1.0), ended("server", at=1.5)), "?precondition"),
    ((ping(b"1", 1.0), ended("harness", at=5.0)), "?precondition"),
    ((ping(b"1", 1.0), ended("client", at=5.0)), "?precondition"),
    ((ping(b"1", 1.0), lag(3.0, 4.0)), "?noisy"),
])
def test_pings_of_which_nothing_is_known(events, reason):
    assert judged(pings_answered, SHAKE, *events) == [reason]


def test_pings_on_no_stream_or_none_at_all():
    assert judged(pings_answered) == []
    assert judged(pings_answered, SHAKE) == []
    assert judged(pings_answered, exchange("idle", 403, at=0.0), ping(b"1", 1.0)) == []


# --- WSH-003

START, END = fact("idle_start", conn=1), fact("idle_end", conn=1)


def idle(*frames, start=1.0, end=4.0, more=()):
    return judged(server_heartbeat, SHAKE, replace(START, at=start), *frames, replace(END, at=end), *more)


def beats(*times):
    return [ping(b"", at, by="server") for at in times]


@pytest.mark.parametrize("frames", [
    beats(1.5, 2.0, 2.5, 3.0, 3.5),
    beats(2.5, 3.9),
    [pong(b"", 2.0), pong(b"", 3.0)],
    [frame({"type": "update"}, at=t) for t in (1.2, 2.4, 3.6)],
    [frame({"type": "heartbeat"}, at=2.2), frame(b"not JSON", at=3.2)],
], ids=["each", "as late as tolerated", "pongs", "data instead", "messages"])
def test_beats_in_time(frames):
    assert idle(*frames) == ["holds"]


@pytest.mark.parametrize("frames", [
    [], beats(1.5), beats(3.5), beats(1.2, 2.8), [ping(b"", t / 2) for t in range(2, 8)],
], ids=["none", "none later", "none at first", "a hole", "only the client's"])
def test_beats_that_are_late(frames):
    assert idle(*frames) == ["late"]


@pytest.mark.parametrize(("frames", "more", "reason"), [
    (beats(1.5), (ended("server", at=2.0),), "?precondition"),
    (beats(1.5), (ended("harness", at=2.0),), "?precondition"),
    (beats(1.5, 3.4), (lag(1.6, 3.39),), "?noisy"),
])
def test_beats_of_which_nothing_is_known(frames, more, reason):
    assert idle(*frames, more=more) == [reason]


def test_an_end_after_the_window_excuses_nothing():
    assert idle(more=(ended("client", at=4.5),)) == ["late"]
    assert idle(*beats(2.0, 3.0), more=(ended("client", at=4.5),)) == ["holds"]


def test_no_window_is_no_sample():
    assert judged(server_heartbeat, SHAKE, *beats(1.0)) == []
    assert judged(server_heartbeat, replace(START, at=1.0), replace(END, at=4.0)) == []


# --- WSH-004

MUTED = exchange("muted", 101, conn=2, at=0.1)
PINGED = ping(b"", 1.0, by="server")


def muted(*events, alive=True, more=(), pings=True):
    told = replace(fact("idle_alive", conn=1, alive=alive), at=9.0)
    asked = (replace(PINGED, conn=2),) if pings else ()
    return judged(dead_client_dropped, SHAKE, MUTED, PINGED, *asked, *events, told, *more)


@pytest.mark.parametrize("how", ["close 1011", "close 4408", "reset", "eof"])
def test_a_dead_client_is_dropped_in_whatever_way(how):
    end = replace(fact("stream_end", conn=2, side="server", how=how, violation=None), at=4.0)
    assert muted(end) == ["holds"]


@pytest.mark.parametrize("events", [
    (),
    (frame({"type": "update"}, conn=2, at=8.0),),
    (ended("client", conn=2, at=9.5),),
    (ended("harness", conn=2, at=9.5),),
    (ended("server", conn=2, at=9.5),),
], ids=["kept", "data goes on", "closed by us", "capped later", "too late"])
def test_a_dead_client_is_kept(events):
    assert muted(*events) == ["dead-client-kept"]


@pytest.mark.parametrize(("found", "reason"), [
    (lambda: muted(ended("server", conn=2, at=4.0), alive=False), "?control_failed"),
    (lambda: muted(ended("server", conn=2, at=4.0), ended("server", conn=1, at=4.1)), "?control_failed"),
    (lambda: muted(alive=False), "?control_failed"),
    (lambda: muted(pings=False), "?vacuous"),
    (lambda: muted(ended("harness", conn=2, at=4.0)), "?budget"),
    (lambda: muted(more=(lag(0.6, 5.0),)), "?noisy"),
])
def test_a_dead_client_of_which_nothing_is_known(found, reason):
    assert found() == [reason]


def test_without_both_clients_nothing_is_said():
    told = replace(fact("idle_alive", conn=1, alive=True), at=9.0)
    assert judged(dead_client_dropped, SHAKE, told) == []
    assert judged(dead_client_dropped, MUTED, told) == []
    assert judged(dead_client_dropped, SHAKE, MUTED) == []
