"""Undoes what a run left behind, from the facts of its journal alone: after Ctrl-C, a crash or kill -9.

A thing is open when it has an intent and neither an undoing nor a refusal. Where the reply told its id it is undone at
once. Where no reply told, the outcome is unknown: the listing that it would stand in is read, and its natural key is
looked for. A thing is undone when the target says ok to its undoing; where it says that there is no such thing, and
where a listing had to tell of it, the listing is asked whether it is still there. What cleaning sends goes into a
journal of its own, whose facts name the intents of the run's journal, so cleaning may be killed and repeated.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import click

from openbell import __version__
from openbell.api import GONE, Api, CostExceeded, Reply
from openbell.building import Alter, MissingValue, fill, values_of
from openbell.events import Event, Exchange, Fact
from openbell.journal import Header, Journal, JournalError, read
from openbell.locate import pointer, text
from openbell.paging import Step, first, following, past_end
from openbell.profile import Profile
from openbell.redact import Redactor, contains_placeholder
from openbell.registry import Cost
from openbell.session import Session, Skip
from openbell.target import item_id, items, made_id, outcome, page_of

LIMIT_S = 10.0
LANES = 4
MAX_PAGES = 100
SCENARIO = "(cleanup)"
FOUND = "found"


class Unread(Exception):
    """A listing could not be read to its end."""


@dataclass
class Thing:
    """What one intent may have made: its id once known, why it is still there, and why that is in doubt.

    `ok` is set once the target said so to its undoing.
    """

    intent: int
    scenario: str
    operation: str
    by: str
    key: str
    values: Mapping[str, Any]
    id: str = ""
    exchange: int = 0
    refused: bool = False
    left: str = "not tried"
    doubt: str = ""
    ok: bool = False

    def __str__(self) -> str:
        return f"{self.operation} {self.id or 'with the key ' + self.key} by {self.by}"


@dataclass
class Ledger:
    """The open things of a run, as its events and those of earlier cleanings tell."""

    things: dict[int, Thing] = field(default_factory=dict)
    waiting: dict[tuple[str, str], list[Thing]] = field(default_factory=dict)

    def fact(self, fact: Fact) -> None:
        """Takes an intent, or what became of one."""
        data = fact.data
        if fact.name == "intent":
            kept = {k: v for k, v in data["values"].items() if not contains_placeholder(str(v))}
            thing = Thing(fact.n, fact.scenario, data["operation"], data["by"], str(data["key"]), kept)
            self.things[fact.n] = thing
            self.waiting.setdefault((thing.scenario, thing.by), []).append(thing)
        elif fact.name == "throttled":
            self._again(fact.scenario, data["exchange"])
        elif data.get("intent") in self.things:
            thing = self.things[data["intent"]]
            thing.id = str(data.get("id", thing.id))
            if fact.name == "undone":
                del self.things[thing.intent]

    def exchange(self, exchange: Exchange, target: Profile) -> None:
        """Takes the reply to a create: an id makes the thing known, a plain refusal says that there is none."""
        waiting = self.waiting.get((exchange.scenario, str(exchange.principal)), [])
        thing = _asked(waiting, exchange)
        if thing is None or exchange.status is None or exchange.reply is None:
            return
        op = target.operation.get(thing.operation)
        if op and 200 <= exchange.status < 300:
            thing.id = thing.id or made_id(op, exchange.reply.content)
        thing.exchange = exchange.n
        thing.refused = 400 <= exchange.status < 500 and not outcome(target, "duplicate", exchange)
        if not outcome(target, "throttled", exchange):
            waiting.remove(thing)

    def _again(self, scenario: str, exchange: int) -> None:
        """A throttled request is about to be sent once more: its refusal is not the last word."""
        for (name, _), waiting in self.waiting.items():
            for thing in waiting if name == scenario else ():
                thing.refused = thing.refused and thing.exchange != exchange

    def open(self) -> list[Thing]:
        """What may still be there, the newest first."""
        return [t for t in reversed(self.things.values()) if t.id or not t.refused]


def _asked(waiting: Iterable[Thing], exchange: Exchange) -> Thing | None:
    """The thing that a request asked for: the one whose key it carries, else the oldest of its operation."""
    of_operation = [t for t in waiting if exchange.operation in {t.operation, None}]
    sent = exchange.request.content + exchange.url.encode("utf-8", "replace")
    exact = [t for t in of_operation if re.search(re.escape(t.key.encode()) + rb"(?![0-9])", sent)]
    return next(iter(exact or (of_operation if exchange.operation else ())), None)


def replayed(folder: Path, target: Profile) -> tuple[Header, list[Thing]]:
    """The header of a run and what it left open. Raises JournalError or OSError for the run's own journal."""
    reading = read(folder / "events.jsonl")
    ledger = Ledger()
    _replay(ledger, reading, target)
    for path in sorted(folder.glob("cleanup*.jsonl"), key=lambda path: path.stat().st_mtime):
        for event in _readable(path):
            if isinstance(event, Fact) and event.name in {"made", "undone"}:
                ledger.fact(event)
    return reading.header, ledger.open()


def _replay(ledger: Ledger, events: Iterable[Event], target: Profile) -> None:
    for event in events:
        if isinstance(event, Fact) and event.name in {"intent", "made", "undone", "throttled"}:
            ledger.fact(event)
        elif isinstance(event, Exchange):
            ledger.exchange(event, target)


def _readable(path: Path) -> Iterator[Event]:
    """The events of an earlier cleaning, up to where it was killed."""
    try:
        yield from read(path)
    except JournalError:
        return


def _new_journal(folder: Path, header: Header, redactor: Redactor) -> Journal:
    """A journal beside the run's own, under the first name that is free."""
    number = 1
    while True:
        path = folder / ("cleanup.jsonl" if number == 1 else f"cleanup-{number}.jsonl")
        try:
            return Journal(path, header, redactor.gate)
        except FileExistsError:
            number += 1


async def clean(folder: Path, target: Profile, secrets: Mapping[str, str]) -> int:
    """Undoes what the run in `folder` left open, within ten seconds, and says so; how many things are left.

    Raises JournalError or OSError when the run's journal cannot be read.
    """
    things = await cleaned(folder, target, secrets)
    if not things:
        click.echo("nothing is left behind")
        return 0
    for thing in things:
        click.echo(_told(thing))
    left = sum(1 for thing in things if thing.left)
    gone = sum(1 for thing in things if not thing.left and not thing.ok)
    click.echo(f"{len(things) - left - gone} undone, {f'{gone} not there, ' if gone else ''}{left} left")
    return left


def _told(thing: Thing) -> str:
    if thing.left:
        return f"left: {thing} ({thing.left})"
    return f"{'undone' if thing.ok else 'not there'}: {thing}"


async def cleaned(folder: Path, target: Profile, secrets: Mapping[str, str]) -> list[Thing]:
    """`clean` without words: what was open, each with the reason why it is `left`, "" for what is gone."""
    header, things = replayed(folder, target)
    if not things:
        return []
    own = Header(__version__, header.run, datetime.now(UTC).isoformat(timespec="seconds"), header.seed, header.target,
                 header.profile, {"checks": []}, source="cleanup", beside=header.beside)
    redactor = Redactor()
    journal = _new_journal(folder, own, redactor)
    session = Session(target, secrets, journal, redactor, target.target.max_rate, header.seed)
    try:
        await _clean(session, things)
    finally:
        await session.close_lines()
        journal.close()
    return things


async def _clean(session: Session, things: list[Thing]) -> None:
    api = Api(session, SCENARIO, Cost(reads=2 * len(things) * MAX_PAGES, writes=len(things) * LANES), "setup")
    try:
        async with asyncio.timeout(LIMIT_S):
            await _undo_all(api, [t for t in things if t.id])
            await _settle(api, [t for t in things if not t.id])
            await _undo_all(api, [t for t in things if t.id and t.left == FOUND])
            await _settle(api, [t for t in things if t.doubt])
    except TimeoutError:
        for thing in things:
            thing.left = thing.left and f"not done within {LIMIT_S:g} s"


async def _undo_all(api: Api, things: list[Thing]) -> None:
    """Undoes things on a few connections at once; the permits keep the rate."""
    todo = iter(things)

    async def lane(name: str) -> None:
        for thing in todo:
            try:
                thing.left = await _undo(api, thing, name)
            except (Skip, MissingValue, CostExceeded) as error:
                thing.left = str(error)
    await asyncio.gather(*(lane(f"lane {i}") for i in range(LANES)))


async def _undo(api: Api, thing: Thing, lane: str) -> str:
    """Undoes one thing; why it is left, "" when the target said that it is undone."""
    op = api.target.operation.get(thing.operation)
    undo = op.undo if op else None
    if undo is None or thing.by not in api.target.credential:
        return "the profile names no undo operation for it, or not its principal"
    reply = await api.call(undo, by=thing.by, label="undo", lane=lane, **{**thing.values, "id": thing.id})
    said, thing.ok = f"{undo} got {reply.exchange.no_reply or f'status {reply.status}'}", reply.ok
    # Only the target's ok undoes. What it does not know may be gone, or may never have been its own.
    if (reply.status in GONE and not reply.ok) or (thing.left == FOUND and _leaves(api.target, thing, undo)):
        thing.doubt = said
    if not reply.ok or thing.doubt:
        return said
    api.note("undone", intent=thing.intent)
    return ""


def _leaves(target: Profile, thing: Thing, undo: str) -> bool:
    """Whether what is undone leaves the listing."""
    return any(o.collection and o.collection.insert == thing.operation and o.collection.leave == undo
               for o in target.operation.values())


# --- what only a listing can tell: ids of which no reply told, and whether what is in doubt is gone


async def _settle(api: Api, things: list[Thing]) -> None:
    groups: dict[tuple[str, str, str], list[Thing]] = {}
    for thing in things:
        try:
            groups.setdefault(_place(api.target, thing), []).append(thing)
        except (Skip, MissingValue, KeyError) as error:
            thing.left = _unsettled(thing, error)
    for (listing, by, _), members in groups.items():
        missing = _wanted(members)
        try:
            await _search(api, listing, by, missing)
        except (Skip, MissingValue, CostExceeded, Unread) as error:
            for thing in chain(*missing.values()):
                thing.left = _unsettled(thing, error)
        else:
            for thing in chain(*missing.values()):
                thing.left = ""
                api.note("undone", intent=thing.intent, why=f"{listing} does not hold it")


def _unsettled(thing: Thing, error: Exception) -> str:
    return f"{thing.doubt or 'unknown outcome'}: {error}"


def _wanted(things: Iterable[Thing]) -> dict[str, list[Thing]]:
    """Things by what a listing's row would tell of them: the id, or the natural key where no reply told an id."""
    found: dict[str, list[Thing]] = {}
    for thing in things:
        found.setdefault(thing.id or thing.key, []).append(thing)
    return found


def _place(target: Profile, thing: Thing) -> tuple[str, str, str]:
    """The listing in which a thing would stand, who reads it, and its path. Raises Skip where there is none."""
    op = target.operation.get(thing.operation)
    name = next((n for n, o in target.operation.items() if o.collection and o.collection.insert == thing.operation), "")
    if op is None or not (op.natural_key or thing.id) or not name or thing.by not in target.credential:
        raise Skip("precondition", "the profile names no listing or no natural_key to look for it")
    listing = target.operation[name]
    return name, thing.by, fill(listing.path, values_of(listing, target.credential[thing.by], thing.values))


async def _search(api: Api, listing: str, by: str, missing: dict[str, list[Thing]]) -> None:
    """Walks the listing until nothing is missing. Raises Unread where it does not come to the end."""
    some = next(iter(missing.values()))[0]
    page, op = page_of(api.target, listing), api.target.operation[some.operation]
    async for rows in _pages(api, listing, by, some):
        for row in rows:
            id_ = item_id(page, row)
            for name in (id_, text(pointer(row, op.natural_key or "/"))):
                for thing in missing.pop(name, ()):
                    _met(api, listing, thing, id_)
        if not missing:
            return


def _met(api: Api, listing: str, thing: Thing, id_: str) -> None:
    """The listing holds a thing: it is known by its id now, or it was not undone after all."""
    thing.left = f"{thing.doubt}, and {listing} still holds it" if thing.doubt else FOUND
    if not thing.id:
        thing.id = id_
        api.note("made", intent=thing.intent, id=id_)


async def _pages(api: Api, listing: str, by: str, thing: Thing) -> AsyncIterator[list[Any]]:
    """The rows of each page, to the listing's end. Raises Unread where that is not reached."""
    page = page_of(api.target, listing)
    step: Step | None = first(page)
    for _ in range(MAX_PAGES):
        if step is None:
            return
        reply = await _page(api, listing, by, thing, step)
        if past_end(api.target, step, reply.exchange):
            return
        if not reply.ok:
            raise Unread(f"{listing} got {reply.exchange.no_reply or f'status {reply.status}'}")
        yield items(page, reply.exchange)
        step = following(page, step, reply.exchange, page.maximum)
    if step is not None:
        raise Unread(f"{listing} is longer than {MAX_PAGES} pages")


async def _page(api: Api, listing: str, by: str, thing: Thing, step: Step) -> Reply:
    page = page_of(api.target, listing)
    if step.url is not None:
        return await api.call(listing, by=by, label="search", alter=Alter(url=step.url), **thing.values)
    size = {page.size: str(page.maximum)} if page.maximum else {}
    return await api.call(listing, by=by, label="search", extra={**size, **step.query}, **thing.values)
