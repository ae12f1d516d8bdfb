"""The parent's side of a load run: starts the workers, feeds them credentials, adds up what they measure.

The parent is the one writer of the journal: the workers' exchanges come redacted and are appended here, and what the
load made and ended is noted as for any scenario, so that it can be undone. Whatever becomes of a worker, what it told
before is kept.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from openbell.child import bare, ended
from openbell.events import Exchange, event_from
from openbell.loading import dumped
from openbell.loadprofiles.plan import LoadPlan
from openbell.loadprofiles.remade import plan_json
from openbell.loadprofiles.tally import Tally
from openbell.redact import Leak
from openbell.session import Call, Session, Skip, Token
from openbell.wire import Request, next_connection

START_S, DRAIN_S, GRACE_S, KILL_S = 30.0, 5.0, 6.0, 3.0
LEAD_S = 0.3
RENEW_S = 0.25
MOST_LINE = 64 * 1024 * 1024
ORDERS = "(load orders)"


class WorkerFailed(Exception):
    """A worker could not be started; nothing was sent as load."""


@dataclass(frozen=True)
class Offer:
    """What is offered: the plan, by how many workers and users, how many exchanges are sampled, whose user classes."""

    plan: LoadPlan
    workers: int = 1
    users: int = 100
    sample: int = 500
    width: float = 0.25
    locustfile: str | None = None
    begin_at: float | None = None
    streams: int = 0
    stream: str = ""
    stream_by: str = ""

    def share(self, what: int, number: int) -> int:
        """One worker's part of a number of things."""
        return what // self.workers + (number < what % self.workers)

    @property
    def principals(self) -> tuple[str, ...]:
        """Everybody whose credentials the workers need."""
        return tuple(dict.fromkeys((*self.plan.principals, *([self.stream_by] if self.streams else []))))


@dataclass
class Streams:
    """What became of the streams: (second, change) pairs, seconds until each was back, how many were held."""

    changes: list[tuple[float, int]] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)

    def recovery(self, count: int) -> dict[str, float | None]:
        """Seconds until 50, 99 and 100 % of `count` streams were back; None where they never were."""
        came = sorted(self.back)
        needed = {part: -(-count * part // 100) for part in (50, 99, 100)}
        return {str(part): came[n - 1] if len(came) >= n else None for part, n in needed.items()}


@dataclass
class Heard:
    """What the workers told. `lost` names what went wrong with a worker; `reason` why the run was ended early."""

    tally: Tally = field(default_factory=Tally)
    ticks: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    ends: dict[int, dict[str, Any]] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    begin: float = 0.0
    reason: str | None = None
    unwritten: str | None = None
    streams: Streams = field(default_factory=Streams)
    sampled: int = 0
    refused: int = 0

    @property
    def started(self) -> int:
        """How many arrivals were started."""
        return sum(t[-1]["started"] for t in self.ticks.values() if t)

    @property
    def finished(self) -> int:
        """How many arrivals have ended with an answer, or with the fact that there was none."""
        return sum(t[-1]["finished"] for t in self.ticks.values() if t)


@dataclass
class Worker:
    """One child: its process, and whether it is ready."""

    number: int
    process: asyncio.subprocess.Process
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, line: dict[str, Any]) -> None:
        """Sends a line; a child that is gone reads nothing."""
        if self.process.stdin and not self.process.stdin.is_closing():
            with suppress(ConnectionError, RuntimeError):
                self.process.stdin.write(json.dumps(line).encode() + b"\n")


class Drive:
    """One load run."""

    def __init__(self, session: Session, offer: Offer, on_tick: Callable[[Heard], str | None]) -> None:
        self.session, self.offer, self.on_tick = session, offer, on_tick
        self.heard = Heard()
        self.workers: list[Worker] = []
        self.stopping = asyncio.Event()
        self.beside: Callable[[float], Coroutine[Any, Any, None]] | None = None
        self._connections: dict[tuple[int, int], int] = {}
        self._intents: dict[str, int] = {}
        self._told: dict[str, list[list[str]]] = {}
        self._tokens: dict[str, Token] = {}

    def stop(self, reason: str) -> None:
        """Ends the run early: what is in flight gets five seconds."""
        if not self.stopping.is_set():
            self.heard.reason = reason
            self.stopping.set()

    async def run(self) -> Heard:
        """The whole run. Raises WorkerFailed before anything is sent."""
        try:
            await self._hire()
            reading = [asyncio.create_task(self._read(w)) for w in self.workers]
            try:
                await self._ready()
                await self._going()
            finally:
                await self._dismiss(reading)
        finally:
            await asyncio.gather(*(ended(w.process, KILL_S) for w in self.workers))
        return self.heard

    async def _hire(self) -> None:
        for number in range(self.offer.workers):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "openbell.loadprofiles.child", stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
                limit=MOST_LINE, env=bare("HOME", "VIRTUAL_ENV", "SSL_CERT_FILE"))
            self.workers.append(Worker(number, process))
            self.heard.ticks[number] = []
        for worker in self.workers:
            worker.tell({"setup": self._setup(worker.number)})
        await self._credentials()

    def _setup(self, number: int) -> dict[str, Any]:
        offer, target = self.offer, self.session.target
        return {"profile": dumped(target), "plan": plan_json(offer.plan), "index": number, "workers": offer.workers,
                "width": offer.width, "users": max(1, offer.share(offer.users, number)), "stamp": self.session.stamp,
                "stride": max(1, round(offer.plan.expected / max(1, offer.sample))),
                "patience_s": target.target.timeout_s + DRAIN_S, "locustfile": offer.locustfile,
                "streams": offer.share(offer.streams, number), "stream": offer.stream, "stream_by": offer.stream_by}

    async def _credentials(self) -> None:
        """Tells the workers each principal's header lines, with the placeholders of what is secret in them."""
        found = await asyncio.gather(*map(self._lines, self.offer.principals))
        lines = dict(zip(self.offer.principals, found, strict=True))
        if lines == self._told:
            return
        self._told = lines
        tokens = {}
        if (by := self.offer.stream_by) and self.session.target.credential[by].stack:
            tokens[by] = await self.session.credential(by, self._tokens.get(by))
        text = "\n".join([*(value for pairs in lines.values() for _, value in pairs), *tokens.values()])
        said = {"credentials": {"lines": lines, "tokens": tokens,
                                "secrets": self.session.redactor.standing_in(text)}}
        for worker in self.workers:
            worker.tell(said)

    async def _lines(self, principal: str) -> list[list[str]]:
        """A principal's header lines. A token is renewed once half of its life is over: a reply that takes long, or a
        target that stalls, must not make it expire on the way."""
        token = self._tokens.get(principal)
        oauth = any(step.kind == "oauth2" for step in self.session.target.credential[principal].stack)
        if oauth and (token is None or time.monotonic() > token.sent + token.lifetime_s / 2):
            token = self._tokens[principal] = await self.session.mint(principal)
        call = Call("(credentials)", "", "setup", "", principal, token=token)
        base = Request("GET", self.session.target.target.base_url)
        return [list(f) for f in (await self.session.authorised(base, call)).headers]

    async def _ready(self) -> None:
        waits = [asyncio.wait_for(w.ready.wait(), START_S) for w in self.workers]
        for worker, came in zip(self.workers, await asyncio.gather(*waits, return_exceptions=True), strict=True):
            if isinstance(came, BaseException) or worker.number in self.heard.lost:
                why = self.heard.lost.get(worker.number, "it did not start in time")
                raise WorkerFailed(f"worker {worker.number + 1} of {len(self.workers)}: {why}")

    async def _going(self) -> None:
        offer = self.offer
        self.heard.begin = begin = max(time.monotonic() + LEAD_S, offer.begin_at or 0.0)
        self.session.note("(load)", "load_begin", {"begin": begin, "bell": begin + offer.plan.bell,
                                                   "end": begin + offer.plan.duration})
        for worker in self.workers:
            worker.tell({"go": begin})
        beside = asyncio.create_task(self.beside(begin) if self.beside else asyncio.sleep(0))
        renewing = asyncio.create_task(self._renew())
        ended = asyncio.create_task(self._all_ended())
        stopped = asyncio.create_task(self.stopping.wait())
        patience = self.session.target.target.timeout_s + DRAIN_S + GRACE_S
        longest = begin + offer.plan.duration + patience - time.monotonic()
        try:
            await asyncio.wait({ended, stopped}, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                for worker in self.workers:
                    worker.tell({"stop": True})
                await asyncio.wait({ended}, timeout=GRACE_S)
            elif not self.heard.lost:
                await asyncio.wait({beside})
        finally:
            for task in (renewing, ended, stopped, beside):
                task.cancel()
            await asyncio.gather(renewing, ended, stopped, beside, return_exceptions=True)
        for worker in self.workers:
            if not worker.ended.is_set():
                self.heard.lost.setdefault(worker.number, "it did not end in time")

    async def _all_ended(self) -> None:
        for worker in self.workers:
            await worker.ended.wait()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            # A target that gives no token now is asked again; what its replies amount to is measured anyway.
            with suppress(Skip, OSError):
                await self._credentials()

    async def _dismiss(self, reading: list[asyncio.Task[None]]) -> None:
        for worker in self.workers:
            worker.tell({"bye": True})
            if worker.process.stdin:
                worker.process.stdin.close()
        _, late = await asyncio.wait(reading, timeout=KILL_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    async def _read(self, worker: Worker) -> None:
        """Takes a worker's lines until it is gone."""
        out = worker.process.stdout
        try:
            while out and (line := await out.readline()):
                self._take(worker, json.loads(line))
        except (ValueError, TypeError, KeyError):
            self.heard.lost.setdefault(worker.number, "it said what cannot be understood")
        finally:
            if not worker.ended.is_set():
                self.heard.lost.setdefault(worker.number, "it died in mid-run")
            worker.ready.set()
            worker.ended.set()

    def _take(self, worker: Worker, line: dict[str, Any]) -> None:
        match line:
            case {"tick": tick}:
                self._tick(worker, tick)
            case {"exchange": data}:
                self._kept(lambda: self._sample(worker, data))
            case {"ready": True}:
                worker.ready.set()
            case {"end": end}:
                self.heard.ends[worker.number] = end
                worker.ended.set()
            case {"failed": why}:
                self.heard.lost[worker.number] = self.session.redactor.text(str(why))[:500]

    def _tick(self, worker: Worker, tick: dict[str, Any]) -> None:
        self.heard.tally.merge(tick.pop("tally"))
        made, undone = tick.pop("made"), tick.pop("undone")
        self._kept(lambda: self._orders(made, undone))
        if streams := tick.pop("streams"):
            self.heard.streams.changes += [(at, change) for at, change in streams["alive"]]
            self.heard.streams.back += streams["back"]
            self.heard.streams.held[worker.number] = streams["held"]
        self.heard.ticks[worker.number].append(tick)
        if reason := self.on_tick(self.heard):
            self.stop(reason)

    def _kept(self, keep: Callable[[], None]) -> None:
        """Writes to the journal. When that fails the run is ended, and what was measured is kept all the same."""
        if self.session.journal.closed:
            return
        try:
            keep()
        except OSError as error:
            # What is torn now must stay the end of the file.
            self.session.journal.closed = True
            self.heard.unwritten = f"the journal cannot be written: {error.strerror}"
            self.stop(self.heard.unwritten)

    def _orders(self, made: list[list[str]], undone: list[str]) -> None:
        """Notes what the load made and ended, as for every create: so it can be undone, also after a kill."""
        for operation, principal, item, unique in made:
            fact = self.session.note(ORDERS, "intent", {
                "operation": operation, "by": principal, "key": unique, "values": {"unique": unique},
                "undo": self.session.target.operation[operation].undo})
            self.session.note(ORDERS, "made", {"intent": fact.n, "id": item})
            self._intents[item] = fact.n
        for item in undone:
            if (intent := self._intents.pop(item, None)) is not None:
                self.session.note(ORDERS, "undone", {"intent": intent})

    def _sample(self, worker: Worker, data: dict[str, Any]) -> None:
        event = event_from(data)
        if not isinstance(event, Exchange):
            raise TypeError("no exchange")
        key = worker.number, event.conn
        number = self._connections.setdefault(key, 0) or next_connection()
        self._connections[key] = number
        try:
            self.session.journal.append(replace(event, conn=number))
            self.heard.sampled += 1
        except Leak:
            self.heard.refused += 1
