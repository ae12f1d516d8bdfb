"""The only thing a scenario can act with: calls, bursts, notes, waits; its caps and its intents.

Before each write that makes something, the fact `intent` is appended; what was made and undone follows it. So cleaning
up needs nothing but the journal, also after a kill. An intent without an exchange is an unknown outcome.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from openbell.building import Alter, values_of
from openbell.events import JSON, Exchange, Fact, Frame, Origin
from openbell.faults import Fault
from openbell.frames import By
from openbell.handshake import upgrade
from openbell.limits import wait_of
from openbell.locate import ABSENT, locate, parse_json, pointer, text
from openbell.profile import SAFE, Profile
from openbell.registry import Cost
from openbell.session import Call, NotAllowed, Session, Skip, Token
from openbell.stream import Stream
from openbell.target import items, made_id, match_operation, next_cursor, outcome, page_of
from openbell.via import Via, opened
from openbell.wire import Request

PATIENCE_S = 30.0
WHOLE_PATIENCE_S = 120.0
TRIES = 4
TICK_S = 0.02
LATE_S = 0.1
GONE = frozenset({404, 409, 410})


class CostExceeded(Exception):
    """A scenario wanted to send or wait more than it declared: a mistake of the scenario."""


@dataclass(frozen=True)
class Reply:
    """An exchange with the eyes of the profile."""

    exchange: Exchange
    target: Profile

    @property
    def status(self) -> int | None:
        """The status code; None when no reply came."""
        return self.exchange.status

    @property
    def ok(self) -> bool:
        """Whether it is the outcome `ok`."""
        return self.outcome("ok")

    def outcome(self, name: str) -> bool:
        """Whether it is the named outcome."""
        return outcome(self.target, name, self.exchange)

    def get(self, at: str) -> Any:
        """What stands at a locator, or ABSENT."""
        reply = self.exchange.reply
        return locate(at, self.exchange.status, reply) if reply else ABSENT

    @property
    def items(self) -> list[Any]:
        """The rows of a page."""
        return items(page_of(self.target, str(self.exchange.operation)), self.exchange)

    @property
    def next(self) -> str | None:
        """What the reply gives to lead on; None at the end, without a page, or where pages are counted."""
        return next_cursor(page_of(self.target, str(self.exchange.operation)), self.exchange) if self.ok else None


@dataclass(frozen=True)
class Made:
    """Something that a scenario created and that can be undone."""

    intent: int
    operation: str
    by: str
    id: str
    values: Mapping[str, Any]


@dataclass
class Spent:
    """What one scenario has sent, waited (seconds), made and opened, on all ways together."""

    reads: int = 0
    writes: int = 0
    waited: float = 0.0
    patience: float = WHOLE_PATIENCE_S
    throttled: int = 0
    ways: int = 0
    made: list[Made] = field(default_factory=list)
    unknown: list[Made] = field(default_factory=list)


class Api:
    """One scenario's hands on the target. `via` is the way that its calls and streams go; None for the direct one."""

    def __init__(self, session: Session, scenario: str, cost: Cost, origin: Origin = "scenario",
                 spent: Spent | None = None, via: Via | None = None) -> None:
        self.session = session
        self.target = session.target
        self.scenario = scenario
        self.cost = cost
        self.origin: Origin = origin
        self.spent = spent or Spent()
        self.made, self.unknown = self.spent.made, self.spent.unknown
        self.via = via
        self.random = random.Random(f"{session.seed}:{scenario}")

    async def call(self, op: str, *, by: str, label: str, fresh: bool = False, lane: str = "",
                   alter: Alter | None = None, extra: Mapping[str, str] | None = None, token: Token | None = None,
                   patient: bool = True, **params: Any) -> Reply:
        """Sends one operation as a principal and returns what came.

        `fresh` opens a connection of its own; `lane` names another kept-alive one; `alter` makes it a probe; `extra`
        are query parameters; `token` is used instead of the principal's current one. A throttled reply is waited out
        and stays in the record, unless not `patient`. Raises Skip where the profile or the plan forbids it.
        """
        operation = self.target.operation[op]
        alter = alter or Alter()
        values = {"unique": self.session.unique(), **values_of(operation, self.target.credential.get(by), params)}
        intent = self._intend(op, by, values) if operation.role == "create" and not alter.anonymous else None
        call = Call(self.scenario, label, self.origin, op, by, alter, values, extra or {}, token, self.via)
        for left in reversed(range(TRIES if patient else 1)):
            self._pay(writes=operation.writes if alter.method is None else alter.method not in SAFE)
            reply = Reply(await self._send(call, fresh=fresh, lane=lane), self.target)
            if not left or not reply.outcome("throttled"):
                break
            await self._sit_out(reply)
        # The harness's own cap is never the target's loss: what was cut cannot be walked on from.
        if reply.exchange.reply and reply.exchange.reply.cut:
            raise Skip("budget", f"{op} answered with more than the harness reads, in a reply or in a run")
        if intent:
            self._keep(Made(intent.n, op, by, "", values), reply)
        return reply

    async def _send(self, call: Call, *, fresh: bool, lane: str) -> Exchange:
        line = self.session.new_line(self.via) if fresh else self.session.line(self.scenario, str(call.by), lane,
                                                                               via=self.via)
        try:
            return await self.session.send(call, line)
        finally:
            if fresh:
                await line.close()
            if self.via:
                await self.via.settled()

    async def _sit_out(self, reply: Reply) -> None:
        """Waits as long as a 429 outside a limit scenario asks for, within patience and plan."""
        self.spent.throttled += 1
        seconds = wait_of(reply.exchange) or 1.0
        self.spent.patience -= seconds
        if seconds > PATIENCE_S or self.spent.patience < 0:
            raise Skip("shared_quota", f"throttled for {seconds:.0f} s outside a limit scenario")
        self.note("throttled", exchange=reply.exchange.n, seconds=seconds)
        await asyncio.sleep(seconds)

    def _pay(self, *, writes: bool) -> None:
        spent = self.spent
        spent.reads, spent.writes = spent.reads + (not writes), spent.writes + writes
        if spent.reads > self.cost.reads or spent.writes > self.cost.writes:
            if spent.throttled:
                raise Skip("shared_quota", f"throttled {spent.throttled} times: the plan has no requests left")
            raise CostExceeded(f"{self.scenario} sent more than its cost of {self.cost.reads} reads and "
                               f"{self.cost.writes} writes")

    async def pass_on(self, request: Request, *, by: str, label: str, authorised: bool) -> Exchange:
        """Sends a request that another tool made; the principal's credentials go on where `authorised`.

        It is of the operation that its method and path belong to, and counts like a call: against the cost, and with an
        intent where it creates. Raises Skip where the profile forbids it.
        """
        name = match_operation(self.target, request.method, request.url) or ""
        op = self.target.operation.get(name)
        self._pay(writes=op.writes if op else request.method not in SAFE)
        values = {"unique": self.session.unique()}
        if op:
            values |= values_of(op, self.target.credential[by], {})
            key = text(pointer(parse_json(request.content), op.natural_key)) if op.natural_key else ""
            values["unique"] = key or values["unique"]
        intent = self._intend(name, by, values) if op and op.role == "create" else None
        call = Call(self.scenario, label, self.origin, name, by)
        exchange = await self.session.pass_on(call, request, self.session.line(self.scenario, by, "passed"),
                                              authorised=authorised)
        if intent:
            self._keep(Made(intent.n, name, by, "", values), Reply(exchange, self.target))
        return exchange

    async def burst(self, op: str, count: int, *, by: str, label: str, until: Callable[[Reply], bool] | None = None,
                    **params: Any) -> list[Reply]:
        """Sends an operation up to `count` times in a row on one connection, without patience; stops after the first
        reply for which `until` is true."""
        replies: list[Reply] = []
        for i in range(count):
            replies.append(await self.call(op, by=by, label=f"{label}:{i}", patient=False, **params))
            if until and until(replies[-1]):
                break
        return replies

    async def stream(self, name: str, *, by: str, label: str, alter: Alter | None = None, token: Token | None = None,
                     muted: bool = False, receive_buffer: int | None = None, **params: Any) -> Stream:
        """Opens a declared stream as a principal; it still has to be entered. The handshake counts as a read.

        `stream.handshake` is its exchange: without a status 101 the stream never opened. `muted` answers no Ping from
        the first frame on; `receive_buffer` bounds what the system holds for a client that does not read, in bytes.
        """
        self._pay(writes=False)
        credential = self.target.credential.get(by)
        values = {"unique": self.session.unique(), **(credential.values if credential else {}), **params}
        stream = Stream(self, name, by, label, values, token)
        self.session.streams.setdefault(self.scenario, []).append(stream)
        call = Call(self.scenario, label, self.origin, "", by, alter or Alter(), values, {}, token, self.via)
        await upgrade(self.session, call, stream, muted=muted, receive_buffer=receive_buffer)
        return stream

    @asynccontextmanager
    async def through(self, fault: Fault) -> AsyncIterator[Api]:
        """Hands whose calls and streams go a way with a fault on it; tokens are still fetched directly.

        They share this scenario's cost and what it made; `via` of them is the way. Raises Skip where the way cannot
        be had, and at its end where it was lost meanwhile: nothing that came of it can be judged then.
        """
        self.spent.ways += 1
        via = await opened(self.session, self.scenario, self.spent.ways, fault)
        broken = Api(self.session, self.scenario, self.cost, self.origin, self.spent, via)
        broken.random = self.random
        try:
            try:
                yield broken
            finally:
                await via.close()
        except Exception as error:
            if via.lost:
                raise Skip("precondition", via.lost) from error
            raise
        if via.lost:
            raise Skip("precondition", via.lost)

    def frame(self, stream: Stream, at: float, by: By, opcode: int, payload: bytes) -> bool:
        """Appends a frame of a stream; False when the run has no room for more."""
        return self.session.frame(Frame(0, self.scenario, stream.label, stream.route, stream.conn, at, by, opcode,
                                        payload), stream.secret if by == "client" else ())

    async def mint(self, by: str) -> Token:
        """A new token of the principal's own, never renewed. It counts as a read."""
        self._pay(writes=False)
        return await self.session.mint(by)

    def note(self, name: str, **data: JSON) -> Fact:
        """Appends a fact."""
        return self.session.note(self.scenario, name, data)

    async def wait(self, seconds: float, why: str) -> None:
        """Waits, as declared in the scenario's cost, and says so in the journal. Raises CostExceeded beyond it."""
        if seconds <= 0:
            return
        self.spent.waited += seconds
        if self.spent.waited > self.cost.longest_wait_s + 0.5:
            raise CostExceeded(f"{self.scenario} waits longer than its cost of {self.cost.longest_wait_s:g} s")
        self.note("wait", seconds=round(seconds, 3), why=why)
        await self._sleep(time.monotonic() + seconds)

    async def _sleep(self, until: float) -> None:
        """Sleeps in short ticks: one that is late tells how far the harness itself lags behind."""
        while (left := until - time.monotonic()) > 0:
            due = time.monotonic() + min(TICK_S, left)
            await asyncio.sleep(due - time.monotonic())
            self.ticked(due)

    def ticked(self, due: float) -> None:
        """Notes by how much the harness itself was late for an instant, where that is much."""
        late = time.monotonic() - due
        if late > LATE_S:
            self.note("lag", seconds=round(late, 3))

    async def until(self, instant: float, why: str) -> None:
        """Waits for an instant of the monotonic clock."""
        await self.wait(instant - time.monotonic(), why)

    # --- intents and their undoing

    def _intend(self, op: str, by: str, values: Mapping[str, Any]) -> Fact:
        if self.session.created >= self.target.target.max_created:
            raise NotAllowed(f"target.max_created = {self.target.target.max_created} is used up")
        self.session.created += 1
        kept = {k: v for k, v in values.items() if isinstance(v, str | int | float)}
        return self.note("intent", operation=op, by=by, key=values["unique"], values=kept,
                         undo=self.target.operation[op].undo)

    def _keep(self, made: Made, reply: Reply) -> None:
        if reply.exchange.status is None:
            self.unknown.append(made)
        elif reply.ok and reply.exchange.reply:
            self.found(made, made_id(self.target.operation[made.operation], reply.exchange.reply.content))

    def found(self, made: Made, id_: str) -> None:
        """Notes the id of what was made: told by the reply, or by a listing where no reply came."""
        if id_:
            self.note("made", intent=made.intent, id=id_)
            self.made.append(replace(made, id=id_))

    @property
    def room(self) -> int:
        """How many things this run may still create."""
        return max(0, self.target.target.max_created - self.session.created)

    def newest(self) -> Made | None:
        """What the last successful create made."""
        return self.made[-1] if self.made else None

    async def undo(self, made: Made, label: str = "undo", lane: str = "") -> Reply:
        """Undoes one thing; what is already gone counts as undone."""
        undo = str(self.target.operation[made.operation].undo)
        reply = await self.call(undo, by=made.by, label=label, lane=lane, **{**made.values, "id": made.id})
        if reply.ok or reply.status in GONE:
            self.note("undone", intent=made.intent)
            self.made[:] = [m for m in self.made if m != made]
        return reply

    async def undo_all(self) -> None:
        """Undoes all that this scenario made and did not undo."""
        for made in tuple(self.made):
            await self.undo(made)
