"""Hostile stream servers are borne: in bounded time and room, blamed on the right side, and what came first is kept."""

import gzip
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hostile import CANARY, Answer, Asked, Done, Hang, Hostile, Reset, borne, check, problem, reply
from hostile_streams import (
    CLOSE,
    CONT,
    GB,
    KB,
    MB,
    PING,
    TEXT,
    Told,
    accepting,
    again,
    closing,
    frame,
    raw_update,
    streams,
    switched,
    update,
)

from openbell.api import Api
from openbell.journal import Header, Journal
from openbell.loading import load
from openbell.profile import Turn
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.session import Session, Skip
from openbell.stream import MAX_FRAMES, Stream

FIRST = update(1)
SOON_S = 8.0
ROOM = 40 * MB


@asynccontextmanager
async def opened(folder: Path, answer: Callable[[Asked], Answer], **more: Callable[[Asked], Answer],
                 ) -> AsyncIterator[Stream]:
    """A stream to a server that answers so, opened by a scenario's hands; `more` are answers of its REST side."""
    told = Told()
    with Hostile({**told.answers, **{f"/{name}": one for name, one in more.items()}, "/odd": answer}) as server:
        target = load(streams(folder, server.url, ["odd"]))
        journal = Journal(folder / "events.jsonl", Header("0", "run", "2026-01-01T00:00:00+00:00", 0, "t", {}))
        session = Session(target, {"env:HOSTILE_SECRET": CANARY}, journal, Redactor(), 500)
        try:
            stream = await Api(session, "scenario@api", Cost(9, 9)).stream("odd", by="full", label="odd")
            yield stream
            stream.reset()
        finally:
            await session.close_lines()
            journal.close()


def told(folder: Path, kind: str, **wanted: str) -> list[dict[str, object]]:
    """The events of a kind that the journal holds."""
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["kind"] == kind and all(e.get(k) == v for k, v in wanted.items())]


# --- a stream that was open: who ended it, how, by what violation

ENDS: dict[str, tuple[Callable[[Asked], Answer], tuple[str, str, str | None]]] = {
    "1 GB announced": (accepting(FIRST, frame(TEXT, b"{", length=GB)), ("harness", "cap", None)),
    "1 GB streamed": (accepting(FIRST, frame(TEXT, length=GB), again(b"x" * KB)), ("harness", "cap", None)),
    "more than there is": (accepting(FIRST, frame(TEXT, length=2**64 - 1)), ("harness", "cap", None)),
    "endless fragments": (accepting(FIRST, frame(TEXT, b'"', fin=False), again(frame(CONT, b"x" * KB, fin=False))),
                          ("harness", "cap", None)),
    "fragments of one byte": (accepting(FIRST, frame(TEXT, b'"', fin=False), again(frame(CONT, b"x", fin=False))),
                              ("harness", "cap", None)),
    "fragments of nothing": (accepting(FIRST, frame(TEXT, b'"', fin=False), again(frame(CONT, fin=False))),
                             ("harness", "cap", None)),
    "a flood": (accepting(FIRST, again(FIRST)), ("harness", "cap", None)),
    "a flood of large ones": (accepting(FIRST, again(update(1, text="x" * 3 * MB))), ("harness", "cap", None)),
    "a flood of pings": (accepting(FIRST, again(frame(PING, b"x" * 125))), ("harness", "cap", None)),
    "a flood of nothing": (accepting(FIRST, again(frame(TEXT))), ("harness", "cap", None)),
    "wide": (accepting(FIRST, frame(TEXT, b"[" + b"[]," * MB + b"[]]")), ("harness", "cap", None)),
    "masked": (accepting(FIRST, frame(TEXT, b"{}", masked=True)), ("server", "violation", "masking")),
    "invalid UTF-8": (accepting(FIRST, frame(TEXT, b'{"a": "\xff\xfe"}')), ("server", "violation", "utf-8")),
    "UTF-8 that breaks off": (accepting(FIRST, frame(TEXT, b'{"a": "\xc3', fin=False), frame(CONT, b'"}')),
                              ("server", "violation", "utf-8")),
    "a reserved bit": (accepting(FIRST, frame(TEXT, b"{}", rsv=4)), ("server", "violation", "reserved bits")),
    "an opcode that is none": (accepting(FIRST, frame(3, b"{}")), ("server", "violation", "opcode")),
    "a ping of 126 bytes": (accepting(FIRST, frame(PING, b"x" * 126)), ("server", "violation", "too long")),
    "a ping in pieces": (accepting(FIRST, frame(PING, fin=False)), ("server", "violation", "fragmented")),
    "a continuation of nothing": (accepting(FIRST, frame(CONT, b"{}")), ("server", "violation", "continuation")),
    "close 1005": (accepting(FIRST, closing(1005)), ("server", "violation", "status code")),
    "close 65535": (accepting(FIRST, closing(65535)), ("server", "violation", "status code")),
    "half a close code": (accepting(FIRST, frame(CLOSE, b"\3")), ("server", "violation", "too short")),
    "a close reason that is no UTF-8": (accepting(FIRST, closing(1000, b"\xff")), ("server", "violation", "utf-8")),
    "a violation, then a flood": (accepting(FIRST, frame(3), again(FIRST)), ("server", "violation", "opcode")),
    "close, but still connected": (accepting(FIRST, closing(1001, b"bye")), ("server", "close 1001", None)),
    "close, then a flood": (accepting(FIRST, closing(4000), again(FIRST)), ("server", "close 4000", None)),
    "no close": (accepting(FIRST, end=ConnectionError), ("server", "eof", None)),
    "no close, within a frame": (accepting(FIRST, frame(TEXT, b"{", length=9), end=ConnectionError),
                                 ("server", "eof", None)),
    "a reset within a frame": (accepting(FIRST, frame(TEXT, b"{", length=9), end=Reset), ("server", "reset", None)),
}


@pytest.mark.parametrize("case", ENDS)
async def test_how_it_ends_and_by_whose_doing(tmp_path, case, capfd):
    answer, (side, how, violation) = ENDS[case]
    began = time.monotonic()
    async with opened(tmp_path, answer) as stream:
        end = await stream.end(SOON_S)
    assert time.monotonic() - began < SOON_S
    assert end
    assert (end.side, end.how) == (side, how)
    assert (end.violation is None) == (violation is None)
    assert (violation or "") in (end.violation or "")
    assert [m.value["id"] for m in stream.messages[:1]] == ["e1"]
    frames, ends = told(tmp_path, "frame", by="server"), told(tmp_path, "fact", name="stream_end")
    assert json.loads(str(frames[0]["payload"])) == {"seq": 1, "id": "e1"}
    assert len(ends) == 1
    assert len(frames) <= MAX_FRAMES + 1
    assert (tmp_path / "events.jsonl").stat().st_size < ROOM
    assert not capfd.readouterr().err


@pytest.mark.parametrize("end", [ConnectionError, Reset])
@pytest.mark.parametrize("kept", [8, len(CANARY) - 1])
async def test_the_half_of_a_secret_that_came_before_the_end_is_masked(tmp_path, kept, end):
    half = CANARY[:kept].encode()
    async with opened(tmp_path, accepting(FIRST, frame(TEXT, b'{"said": "' + half, fin=False), end=end)) as stream:
        assert await stream.end(SOON_S)
    assert told(tmp_path, "frame", by="server")[-1]["payload"] == '{"said": "⟨full.secret#1⟩'


async def test_the_half_of_a_secret_that_came_before_a_cap_is_masked(tmp_path, monkeypatch):
    long = reply(b'{"said": "' + CANARY.encode() + b'"}')
    async with opened(tmp_path, accepting(FIRST), told=lambda asked: long) as stream:
        monkeypatch.setattr("openbell.wire.MAX_CONTENT", 20)
        with pytest.raises(Skip):
            await stream.api.call("list_told", by="full", label="told")
    [cut] = [e["reply"] for e in told(tmp_path, "exchange", label="told")]
    assert isinstance(cut, dict)
    assert cut["content"] == '{"said": "⟨full.secret#1⟩'


# --- messages that are odd, on a stream that goes on

ODD = {
    "nested 100,000 deep": frame(TEXT, b"[" * 100_000 + b"]" * 100_000),
    "nested 900 deep": raw_update(b"2", b', "x": ' + b"[" * 900 + b"]" * 900),
    "1e999999": raw_update(b"1e999999"),
    "5,000 digits": raw_update(b"9" * 5000),
    "NaN": raw_update(b"NaN"),
    "duplicate members": frame(TEXT, b'{"seq": 2, "seq": 3}'),
    "lone surrogates": raw_update(b'"\\ud800"'),
    "no JSON": frame(TEXT, b"lorem"),
    "empty": frame(TEXT),
    "UTF-8 in pieces": frame(TEXT, b'{"a": "\xc3', fin=False) + frame(CONT, b'\xa4"}'),
    "binary that is no UTF-8": frame(2, b"\xff\xfe"),
}


@pytest.mark.parametrize("case", ODD)
async def test_odd_messages_end_nothing(tmp_path, case):
    async with opened(tmp_path, accepting(FIRST, ODD[case], update(7))) as stream:
        last = await stream.message(lambda m: m.value == {"seq": "7", "id": "e7"}, SOON_S)
        assert last
        assert stream.open
        if stream.position:
            stream.say(stream.position.values())
            assert stream.open


async def test_a_greeting_is_heard_however_early_it_comes(tmp_path):
    turns = (Turn(expect={"at": "body:/hello", "present": True}), Turn(expect={"at": "body:/hello", "equals": "again"}))
    greeting = frame(TEXT, b'{"hello": "once"}') + frame(TEXT, b'{"hello": "again"}')
    async with opened(tmp_path, accepting(greeting)) as stream:
        assert await stream.message(lambda m: m.value == {"hello": "again"}, SOON_S)
        stream.table = stream.table.model_copy(update={"subscribe": turns})
        assert await stream.subscribe() == "ok"


async def test_a_pong_is_recorded_behind_its_ping(tmp_path):
    async with opened(tmp_path, accepting(frame(PING, b"a") + frame(PING, b"b") + FIRST)) as stream:
        assert await stream.message(lambda m: m.kind == "update", SOON_S)
    frames = [(f["by"], f["opcode"], f["payload"]) for f in told(tmp_path, "frame")]
    assert frames[:4] == [("server", 9, "a"), ("client", 10, "a"), ("server", 9, "b"), ("client", 10, "b")]


# --- handshakes

BOMB = gzip.compress(b"0" * (100 * MB))


def broken_off(part: bytes, end: type[Exception]) -> Callable[[Asked], Answer]:
    """Sends a part of an answer, and ends the connection."""
    def answer(_asked: Asked) -> Iterable[bytes]:
        yield part
        raise end
    return answer


HANDSHAKES: dict[str, tuple[Callable[[Asked], Answer], int | str]] = {
    "429": (lambda asked: problem(429, "throttled", "Retry-After: 7"), 429),
    "503": (lambda asked: reply(b"busy", 503, "Retry-After: 7"), 503),
    "503 with a bomb": (lambda asked: reply(BOMB, 503, "Content-Encoding: gzip"), 503),
    "503 without a length": (lambda asked: b"HTTP/1.1 503 Busy\r\n\r\nbusy", "timeout"),
    "503 without end": (lambda asked: itertools.chain([b"HTTP/1.1 503 Busy\r\n\r\n"], again(b"x")()), "cap"),
    "200": (lambda asked: reply(), 200),
    "302": (lambda asked: reply(b"", 302, "Location: http://elsewhere.test/odd"), 302),
    "another accept": (lambda asked: switched(asked, accept="bm90aGluZw=="), "garbage"),
    "an extension that nobody asked for": (lambda asked: switched(asked, "Sec-WebSocket-Extensions: x"), "garbage"),
    "a header of 1 MB": (lambda asked: switched(asked, "X-A: " + "a" * MB), "cap"),
    "10,000 headers": (lambda asked: switched(asked, *("X-A: a" for _ in range(10_000))), "cap"),
    "headers without end": (lambda asked: itertools.chain([b"HTTP/1.1 101 Sw\r\n"], again(b"X-A: b\r\n")()), "cap"),
    "no HTTP": (lambda asked: b"\x16\x03\x01 lorem ipsum\r\n\r\n" * 100, "garbage"),
    "closed at once": (lambda asked: None, "closed"),
    "closed within": (broken_off(b"HTTP/1.1 101 Switching", ConnectionError), "closed"),
    "reset within": (broken_off(b"HTTP/1.1 101 Switching", Reset), "reset"),
    "silence": (lambda asked: Hang, "timeout"),
    "silence within": (lambda asked: b"HTTP/1.1 101 Switching", "timeout"),
}


@pytest.mark.parametrize("case", HANDSHAKES)
async def test_a_handshake_that_is_refused_or_none(tmp_path, case, capfd):
    answer, expected = HANDSHAKES[case]
    began = time.monotonic()
    async with opened(tmp_path, answer) as stream:
        assert stream.handshake
        assert not stream.open
    assert time.monotonic() - began < SOON_S
    why = stream.handshake.no_reply
    assert expected == (why.partition(":")[0] if why else stream.handshake.status)
    assert len([e for e in told(tmp_path, "exchange") if e["label"] == "odd"]) == 1
    assert not told(tmp_path, "fact", name="stream_end"), "a stream that never was has no end"
    assert not capfd.readouterr().err


# --- whole runs

def run(folder: Path, cases: dict[str, Callable[[Asked], Answer]], told_: Told | None = None, *,
        busy: bool = False, only: tuple[str, ...] = ("WSH-*", "WSR-*", "CRD-003"), timeout_s: float = 5,
        ) -> tuple[Done, dict[tuple[str, str], dict[str, object]]]:
    """`openbell check` with a stream for each case; the results by case and check."""
    names = {f"odd_{i}": case for i, case in enumerate(cases)}
    rest = told_ or Told()
    rest.answers.update({f"/{name}": cases[case] for name, case in names.items()})
    with Hostile(rest.answers) as server:
        path = streams(folder, server.url, names, busy=busy)
        path.write_text(path.read_text().replace("timeout_s = 0.5", f"timeout_s = {timeout_s}"))
        done = check(folder, path, *(word for one in only for word in ("--only", one)), timeout=180)
    found = done.results()["results"]
    return done, {(names[r["subject"].partition(":")[2]], r["check"]): r for r in found}


def test_streams_that_end_badly(tmp_path):
    cases = {name: answer for name, (answer, (side, _, _)) in ENDS.items() if side == "server"}
    done, found = run(tmp_path, cases)
    borne(done, 90)
    assert "socket.send" not in done.said
    red = {(check, r["verdict"]) for (_, check), r in found.items() if r["verdict"] in {"fail", "error"}}
    assert red <= {("WSH-006", "fail")}, "an update without a credential is all that these show"


def test_streams_that_are_too_much(tmp_path):
    cases = {name: answer for name, (answer, (side, _, _)) in ENDS.items() if side == "harness"}
    done, found = run(tmp_path, cases, busy=True)
    borne(done, 120)
    assert "socket.send" not in done.said
    red = {(check, r["verdict"]) for (_, check), r in found.items() if r["verdict"] in {"fail", "error"}}
    assert red <= {("WSH-006", "fail")}, "the harness's own caps are not the target's silence"


def test_streams_that_never_were(tmp_path):
    done, found = run(tmp_path, {name: answer for name, (answer, _) in HANDSHAKES.items()},
                      only=("WSH-*", "WSR-005"), timeout_s=0.5)
    borne(done, 120)
    assert {r["verdict"] for (_, check), r in found.items() if check != "WSH-006"} == {"inconclusive"}
    assert done.code == 2


def test_positions_that_nobody_counts(tmp_path):
    odd = (b"9" * 5000, b'"\\ud800"', b'"\xc2\xb2"', b"1e999999", b"[" * 900 + b"]" * 900)
    positions = [b'{"seq": %b, "id": "e%d", "prev": %b}' % (seq, n, seq) for n, seq in enumerate(odd * 2)]
    rest = Told()
    rest.answers["/told"] = lambda asked: reply(b'{"items": [%b]}' % b", ".join(positions))
    done, found = run(tmp_path, {"odd": accepting(*(frame(TEXT, one) for one in positions))}, rest, busy=True,
                      only=("WSR-*",))
    borne(done, 120)
    assert "pass" not in {r["verdict"] for (_, check), r in found.items() if check in {"WSR-001", "WSR-002"}}
