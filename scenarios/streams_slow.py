"""A consumer that stops reading, until more has been sent than all buffers on the way can hold, and its neighbours."""

from __future__ import annotations

from openbell.api import Api
from openbell.profile import Profile
from openbell.profile import Stream as Table
from openbell.registry import Cost, scenario
from openbell.scenarios.streams import claims, entered, lasting, needs, streamer
from openbell.session import Skip
from openbell.stream import Received, Stream
from openbell.target import Position, Subject, position

MOST_S = 60.0
STEP_S = 0.1
WITNESSES = 2
RECEIVE_BUFFER = 4096
PATIENCE = 5


def busy(target: Profile, subject: Subject) -> bool:
    """Whether the stream sends by itself, so that a backlog can be had."""
    return target.stream[subject.name].busy


def sent_to(stream: Stream, since: int) -> int:
    """The bytes of the updates that a stream got from the `since`-th message on."""
    return sum(len(m.content) for m in stream.messages[since:] if m.kind == "update")


@scenario(per="stream", where=busy, claims=claims, needs=needs,
          cost=lambda _target, _subject: Cost(reads=4, budget_s=MOST_S))
async def stream_slow(api: Api, target: Profile, subject: Subject) -> None:
    """One consumer with a small buffer stops reading, two others go on; then it reads again."""
    table = target.stream[subject.name]
    token = await lasting(api, streamer(target, subject))
    witnesses = [await entered(api, subject, f"witness:{i}", token=token) for i in range(WITNESSES)]
    slow = await entered(api, subject, "slow", token=token, receive_buffer=RECEIVE_BUFFER)
    for stream in (*witnesses, slow):
        if not await stream.message(lambda m: m.kind == "update", table.within_s):
            raise Skip("precondition", f"stream.{subject.name} sent nothing at all: it is not busy")
    slow.pause()
    await _backlog(api, witnesses, table.buffer_bytes, table.within_s)
    edge = witnesses[0].position
    seen = len(slow.messages)
    slow.go_on()
    slow.note("slow_end", bytes=table.buffer_bytes, caught_up=await _catches_up(slow, edge, seen))


async def _catches_up(slow: Stream, edge: Position | None, seen: int) -> bool | None:
    """Whether it gets as far as the witness was, or a word that something is missing, before it falls silent or the
    time is over; None where positions do not tell."""
    for _ in range(PATIENCE):
        before = len(slow.messages)
        if await slow.message(lambda m: _caught_up(slow.table, m, edge), slow.table.within_s, seen):
            return True
        if edge is None or slow.ending or len(slow.messages) == before:
            break
    return None if edge is None else False


async def _backlog(api: Api, witnesses: list[Stream], wanted: int, within_s: float) -> None:
    """Waits until every witness got the wanted bytes, or one of them nothing for too long."""
    since = [len(w.messages) for w in witnesses]
    stalled, before = 0.0, [0] * len(witnesses)
    for _ in range(round(MOST_S / STEP_S)):
        got = [sent_to(w, n) for w, n in zip(witnesses, since, strict=True)]
        if min(got) >= wanted or stalled > within_s + STEP_S:
            break
        stalled = stalled + STEP_S if any(a == b for a, b in zip(got, before, strict=True)) else 0.0
        before = got
        await api.wait(STEP_S, "a backlog grows")
    api.note("backlog", wanted=wanted, got=[sent_to(w, n) for w, n in zip(witnesses, since, strict=True)])


def _caught_up(table: Table, received: Received, edge: Position | None) -> bool:
    """Whether a message tells that something is missing, or is an update from where the witness stood, or later."""
    at = position(table.sequence, received.value) if table.sequence and received.kind == "update" else None
    further = at and edge and at.number and edge.number and int(at.position) >= int(edge.position)
    return received.kind in {"gap", "snapshot", "error"} or bool(at and (further or at == edge))
