from __future__ import annotations

from dataclasses import replace

import pytest
from made import ended, exchange, fact, frame, profile, recording, said

from openbell.conformance.streams_access import data_to_its_owner, stream_ends_with_token
from openbell.target import Subject

ORDERS = Subject("stream", "orders")
TARGET = profile()
NEWS = fact("news", label="published", id="ord_1", heard=True, conn=9)
UNHEARD = fact("news", label="published", id="ord_1", heard=False, conn=9)


def update(order="ord_1", **changes):
    return frame({"type": "update", "seq": 7, "event": "e7", "order": {"id": order}}, **changes)


# --- WSH-006


def probed(*events, news=NEWS):
    return said(data_to_its_owner.judge(recording(*events, news), TARGET, ORDERS))


def handshake(label, status=101):
    return exchange(label, status)


@pytest.mark.parametrize("events", [
    (handshake("anonymous", 401),),
    (handshake("invalid", 403),),
    (handshake("other", 404),),
    (handshake("anonymous"), ended("server")),
    (handshake("invalid"), frame({"type": "error", "code": "unauthenticated"}), ended("server")),
    (handshake("anonymous"), frame({"type": "logged_in"}), frame({"type": "heartbeat"}), frame(b"not JSON")),
    (handshake("anonymous"), update(by="client")),
    (handshake("other"), update("ord_other"), frame({"type": "update", "order": None})),
    (handshake("other"), frame({"type": "update"}), frame({"type": "update", "order": ["ord_1"]})),
], ids=["401", "403", "404", "accepted and closed", "an error and a close", "no data", "our own words", "its own data",
        "missing members"])
def test_data_for_nobody_else(events):
    assert probed(*events) == ["holds"]


@pytest.mark.parametrize(("events", "rule"), [
    ((handshake("anonymous"), update()), "data-without-login"),
    ((handshake("anonymous"), update("ord_of_anybody")), "data-without-login"),
    ((handshake("invalid"), frame({"type": "logged_in"}), update(), ended("server")), "data-without-login"),
    ((handshake("other"), update("ord_other"), update("ord_1")), "data-of-another"),
    ((handshake("anonymous"), frame(b'{"type": "upd'), frame(b"", opcode=9), frame(b'ate"}', opcode=0)),
     "data-without-login"),
], ids=["anonymous", "anything", "before the close", "another's", "in fragments"])
def test_data_for_others(events, rule):
    assert probed(*events) == [rule]
    assert probed(*events, news=UNHEARD) == [rule]


@pytest.mark.parametrize(("events", "news", "reason"), [
    ((handshake("anonymous"),), UNHEARD, "?control_failed"),
    ((handshake("anonymous"),), fact("other"), "?control_failed"),
    ((handshake("other"), update()), fact("other"), "?control_failed"),
    ((handshake("anonymous"), ended("harness")), NEWS, "?budget"),
    ((handshake("invalid", None),), NEWS, "?no_reply"),
    ((handshake("invalid", 429),), NEWS, "?no_reply"),
    ((handshake("invalid", 503),), NEWS, "?no_reply"),
    ((handshake("invalid", 200),), NEWS, "?no_reply"),
])
def test_data_of_which_nothing_is_known(events, news, reason):
    assert probed(*events, news=news) == [reason]


def test_each_probe_is_judged_and_a_control_is_none():
    events = (exchange("anonymous", 401), exchange("invalid", 101, conn=2), exchange("other", 101, conn=3),
              exchange("control", 101, conn=9), update(conn=9), update(conn=3))
    assert probed(*events) == ["holds", "holds", "data-of-another"]
    assert probed(exchange("control", 101, conn=9), update(conn=9)) == []


def test_a_snapshot_is_data_too():
    target = profile(stream={"orders": {"classes": {"snapshot": TARGET.stream["orders"].classes["error"]}}})
    events = recording(handshake("anonymous"), frame({"type": "error"}), NEWS)
    assert said(data_to_its_owner.judge(events, target, ORDERS)) == ["data-without-login"]


# --- CRD-003

TOKEN = replace(fact("stream_token", conn=1, sent=0.0, lifetime_s=6.0, end=7.1, exchange=1), at=0.2)
HELD = exchange("held", 101, at=0.1)
LATER = replace(NEWS, at=7.7)


def held(*events, news=LATER):
    return said(stream_ends_with_token.judge(recording(HELD, TOKEN, *events, news), TARGET, ORDERS))


@pytest.mark.parametrize("events", [
    (update(at=3.0), ended("server", at=6.5)),
    (update(at=7.0), ended("server", at=7.0)),
    (ended("server", at=5.5),),
    (ended("server", at=60.0),),
    (frame({"type": "error", "code": "token_expired"}, at=6.2), frame({"type": "heartbeat"}, at=7.6)),
    (frame({"type": "logged_in"}, at=7.5), ended("client", at=7.9)),
    (frame(b"", opcode=9, at=7.5), frame(b"not JSON", at=7.6)),
], ids=["closed", "data in the grace", "at most a second early", "closed later", "asked to log in", "no data",
        "beats only"])
def test_a_stream_that_ends_with_its_token(events):
    assert held(*events) == ["holds"]


@pytest.mark.parametrize("events", [
    (update(at=7.2),), (update(at=7.6), ended("server", at=7.7)), (update("ord_any", at=7.7), ended("client", at=7.9)),
])
def test_a_stream_that_outlives_its_token(events):
    assert held(*events) == ["outlives-token"]
    assert held(*events, news=replace(UNHEARD, at=7.7)) == ["outlives-token"]


@pytest.mark.parametrize(("events", "news", "reason"), [
    ((), replace(UNHEARD, at=7.7), "?control_failed"),
    ((), fact("other"), "?control_failed"),
    ((ended("server", at=3.0),), LATER, "?precondition"),
    ((ended("harness", at=3.0),), LATER, "?budget"),
    ((ended("harness", at=7.3),), LATER, "?budget"),
    ((update(at=7.2), replace(fact("lag", seconds=0.6), at=7.3)), LATER, "?noisy"),
])
def test_a_stream_of_which_nothing_is_known(events, news, reason):
    assert held(*events, news=news) == [reason]


def test_without_a_token_or_a_stream_nothing_is_said():
    assert said(stream_ends_with_token.judge(recording(HELD, LATER), TARGET, ORDERS)) == []
    assert said(stream_ends_with_token.judge(recording(TOKEN, LATER), TARGET, ORDERS)) == []
