"""What a stream's server is not to be blamed for: pongs unasked, an end that came first, a cap of the harness's own."""

import pytest
from made import exchange, fact, profile, recording, said

from openbell.conformance.streams_heartbeat import pings_answered
from openbell.conformance.streams_order import ordered_without_gaps
from openbell.conformance.streams_slow import slow_consumer
from openbell.events import Event, Fact, Frame
from openbell.registry import Check
from openbell.target import Subject

PING, PONG, TEXT = 9, 10, 1
ORDERS, MARKET = Subject("stream", "orders"), Subject("stream", "market")


def frame(label: str, conn: int, at: float, by: str, opcode: int, payload: bytes) -> Frame:
    return Frame(0, "made", label, "direct", conn, at, "client" if by == "client" else "server", opcode, payload)


def ended(conn: int, at: float, side: str, how: str) -> Fact:
    return Fact(0, "made", at, "stream_end", {"conn": conn, "side": side, "how": how, "violation": None})


def judged(check: Check, subject: Subject, *happened: Event) -> list[str]:
    assert check.judge
    return said(check.judge(recording(*happened), profile(), subject))


def pinged(*answers: Event) -> list[str]:
    shake = exchange("idle", 101, conn=5, at=0.5)
    return judged(pings_answered, ORDERS, shake, frame("idle", 5, 1.0, "client", PING, b"one"), *answers)


@pytest.mark.parametrize(("answers", "expected"), [
    ((frame("idle", 5, 1.1, "server", PONG, b"unasked"), frame("idle", 5, 1.2, "server", PONG, b"one")), ["holds"]),
    ((frame("idle", 5, 1.1, "server", PONG, b"other"),), ["no-pong", "altered-payload"]),
    ((ended(5, 1.1, "server", "close 1001"),), ["?precondition"]),
    ((ended(5, 3.0, "server", "close 4401"),), ["no-pong"]),
    ((ended(5, 1.1, "client", "eof"),), ["?precondition"]),
    ((ended(5, 60.0, "client", "eof"),), ["no-pong"]),
])
def test_a_ping_and_what_came_of_it(answers, expected):
    assert pinged(*answers) == expected


@pytest.mark.parametrize(("side", "expected"), [("harness", "?budget"), ("server", "witness-stalled")])
def test_a_witness_that_the_harness_cut_is_not_stalled(side, expected):
    found = judged(
        slow_consumer, MARKET,
        exchange("witness:0", 101, conn=5, at=0.1), exchange("slow", 101, conn=6, at=0.2),
        Fact(0, "made", 1.0, "stream_paused", {"conn": 6}), ended(5, 1.5, side, "cap"),
        fact("backlog", wanted=9, got=[1]), Fact(0, "made", 60.0, "stream_resumed", {"conn": 6}))
    assert found == [expected]


def test_a_flood_of_updates_is_judged():
    text = b'{"type": "update", "seq": %d, "event": "e%d", "epoch": "x", "prev": %d}'
    told = [frame("round:1", 5, 1.0 + i, "server", TEXT, text % (i + 1, i + 1, i)) for i in range(16_000)]
    found = judged(ordered_without_gaps, ORDERS, exchange("round:1", 101, conn=5, at=0.1), *told)
    assert found == ["holds"] * 15_999


@pytest.mark.parametrize("position", ["9" * 5000, "²", "1e999999"])
def test_a_position_that_nobody_counts_is_no_error(position):
    updates = [frame("round:1", 5, 1.0 + i, "server", TEXT,
                     f'{{"type": "update", "seq": "{position}{i}", "event": "e{i}", "epoch": "x"}}'.encode())
               for i in range(3)]
    found = judged(ordered_without_gaps, ORDERS, exchange("round:1", 101, conn=5, at=0.1), *updates)
    assert found == ["?vacuous", "?vacuous"]
