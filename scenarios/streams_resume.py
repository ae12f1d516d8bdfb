"""Streams that are cut and resumed: at random points while updates are made, and at positions that nobody can serve."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from openbell.api import Api
from openbell.faults import Cut
from openbell.profile import Profile, Sequence
from openbell.profile import Stream as Table
from openbell.registry import Cost, scenario
from openbell.scenarios.pages import Walk
from openbell.scenarios.streams import (
    TRUTH_PAGES,
    claims,
    claims_alone,
    entered,
    heard,
    lasting,
    needs,
    news,
    publish,
    read_truth,
    settled,
    streamer,
    truthful,
)
from openbell.scenarios.streams_access import trespassing
from openbell.session import Token, principal
from openbell.stream import Received, Stream
from openbell.target import Position, Subject, position

ROUNDS = 30
HALF = 0.5
LIVE = 2
GAP = 1
LAST = 3
MOST_BYTES = 3000
MOST_RETAINED = 200
AHEAD = 1_000_000
BACK = 3
AGAIN = 10
TWICE = 2
ENDED_S = 5.0


def resumes(target: Profile, subject: Subject) -> bool:
    """Whether the stream can be resumed at a position, and there is a truth to judge it by."""
    stream = target.stream[subject.name]
    return truthful(target, subject) and stream.resume == "replay" and bool(stream.resubscribe)


# --- cut at random points


@dataclass(frozen=True)
class _Place:
    """Where the next life goes on, and whether this one was open and yet delivered nothing in time."""

    since: Position | None
    dry: bool = False


async def _write(api: Api, subject: Subject, count: int, label: str) -> None:
    for _ in range(count):
        await publish(api, subject, label)


async def _life(api: Api, way: Api, subject: Subject, label: str, since: Position | None, *, wait: bool) -> _Place:
    """One connection on a way of its own: subscribed or resumed, an update made, and reset, at once or when the update
    has come, unless the way cut it before."""
    stream = await way.stream(subject.name, by=streamer(api.target, subject), label=label)
    answer = await stream.enter(since) if stream.open else "ended"
    dry = answer == "silent"
    if answer == "ok":
        made = await publish(api, subject, "live:after")
        dry = wait and not await heard(stream, made, stream.table.within_s) and stream.ending is None
    stream.reset()
    await stream.end(ENDED_S)
    return _Place(None if answer == "refused" else stream.position or since, dry)


async def _round(api: Api, subject: Subject, number: int, since: Position | None) -> _Place:
    """One life while updates are made, and then updates while there is none."""
    label, writing = f"round:{number}", asyncio.create_task(_write(api, subject, LIVE, f"live:{number}"))
    try:
        if since is None or number % 2:
            wait = since is None or api.random.random() < HALF
            place = await _life(api, api, subject, label, since, wait=wait)
        else:
            fault = Cut(api.random.choice(("reset", "close")), after_bytes=api.random.randint(1, MOST_BYTES))
            async with api.through(fault) as broken:
                place = await _life(api, broken, subject, label, since, wait=True)
    finally:
        await writing
    await _write(api, subject, GAP, f"gap:{number}")
    return place


async def _last(api: Api, subject: Subject, since: Position | None) -> None:
    """The life that nobody cuts: it ends when the last update has come, or would have had to."""
    by = streamer(api.target, subject)
    stream = await api.stream(subject.name, by=by, label="round:last", token=await lasting(api, by))
    if not stream.open or await stream.enter(since) != "ok":
        return
    for _ in range(LAST):
        made = await publish(api, subject, "live:last")
    await heard(stream, made, stream.table.within_s)
    stream.note("watched", position=stream.position.position if stream.position else "")


# --- what was delivered, delivered again


def told_by(target: Profile, subject: Subject, walk: Walk) -> list[Position]:
    """The positions that the truth tells of, in its order."""
    sequence = target.stream[subject.name].sequence or Sequence(at="/", id="/")
    return [at for page in walk.pages for row in page.items if (at := position(sequence, row))]


async def _again(api: Api, target: Profile, subject: Subject, told: list[Position]) -> None:
    """Resumes twice at one position a little before the last that was told, well within what is retained: each time
    what has been delivered before is delivered again. Each ends when the last of it has come, or would have had to."""
    table, by = target.stream[subject.name], streamer(target, subject)
    back = min(AGAIN, (table.retention or 2 * AGAIN) // 2, len(told) - 1)
    for number in range(TWICE if back > 0 else 0):
        stream = await api.stream(subject.name, by=by, label=f"again:{number}")
        if not stream.open or await stream.enter(told[-1 - back]) != "ok":
            return
        came = await stream.message(lambda m: _stands(m, table, told[-1]), table.within_s)
        stream.reset()
        await stream.end(ENDED_S)
        if came is None:
            return


def _stands(message: Received, table: Table, place: Position) -> bool:
    """Whether a message is the update of a place."""
    at = position(table.sequence, message.value) if table.sequence and message.kind == "update" else None
    return at is not None and (at.position, at.epoch) == (place.position, place.epoch)


WRITES = ROUNDS * (LIVE + 1 + GAP) + LAST


@scenario(per="stream", where=resumes, claims=claims, needs=needs, allow=("read", "write", "disrupt"),
          cost=lambda _target, _subject: Cost(reads=ROUNDS + 2 + TRUTH_PAGES + TWICE, writes=2 * WRITES))
async def stream_cut_and_resume(api: Api, target: Profile, subject: Subject) -> None:
    """Thirty lives, cut at random points by the client or on the way to it, while updates are made; each is resumed at
    the last position that was read. Then the truth, and what was delivered last once more."""
    place = _Place(None)
    for number in range(ROUNDS):
        place = await _round(api, subject, number, place.since)
        if place.dry:
            break
    await _last(api, subject, place.since)
    walk = await read_truth(api, subject)
    await _again(api, target, subject, told_by(target, subject, walk))


# --- from positions that cannot be served, and from one that can


def forged(sequence: Sequence, retention: int | None, told: list[Position]) -> Iterator[tuple[str, Position]]:
    """Names of positions, and how each is made from the positions of the truth, in their order."""
    last = told[-1]
    if retention and retention < len(told):
        yield "retained", told[-retention]
    if retention and retention + 1 < len(told):
        yield "too_old", told[-retention - 2]
    yield "future", replace(last, position=str(int(last.position) + AHEAD) if last.number else last.position + "x")
    if sequence.epoch:
        yield "epoch", replace(last, epoch=last.epoch + "x")


async def _resumed(api: Api, subject: Subject, label: str, since: Position, token: Token | None) -> Stream:
    stream = await api.stream(subject.name, by=streamer(api.target, subject), label=label, token=token)
    if stream.open:
        await stream.enter(since)
    return stream


async def _foreign(api: Api, target: Profile, subject: Subject, since: Position) -> list[Stream]:
    """Another principal resumes where the stream's own stands: on its own channel, and on the other's."""
    tenant = principal(target, "other_tenant")
    if tenant is None:
        return []
    own = await api.stream(subject.name, by=tenant, label="foreign:own")
    if own.open:
        await own.enter(since)
    return [own, await trespassing(api, subject, tenant, "foreign:other", since)]


def retained(target: Profile, subject: Subject) -> int:
    """How many updates must be made to leave the retention behind; a few where that takes too many."""
    retention = target.stream[subject.name].retention
    return (retention if retention and retention <= MOST_RETAINED else 0) + BACK


@scenario(per="stream", where=resumes, claims=claims_alone, needs=needs, allow=("read", "write"),
          cost=lambda target, subject: Cost(reads=10 + TRUTH_PAGES, writes=2 * retained(target, subject) + 4))
async def stream_positions(api: Api, target: Profile, subject: Subject) -> None:
    """Resumes at the oldest position that is retained, at one that is too old, from the future, of an epoch that never
    was, and at one of another principal; then a control gets an update."""
    table, by = target.stream[subject.name], streamer(target, subject)
    await _write(api, subject, retained(target, subject), "earlier")
    walk = await read_truth(api, subject)
    sequence = table.sequence or Sequence(at="/", id="/")
    told = told_by(target, subject, walk)
    token = await lasting(api, by)
    control = await entered(api, subject, "control", token=token)
    probes = [await _resumed(api, subject, label, since, token)
              for label, since in forged(sequence, table.retention, told)] if told else []
    if told:
        probes += await _foreign(api, target, subject, told[-BACK])
    await news(api, subject, control, "news")
    await settled(*probes)
