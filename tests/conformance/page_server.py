"""Simulated servers for the proof of the pagination checks, and a stand-in for the Api that the scenarios drive.

A server is a `Server` with a way to cut pages (`Cut`). It runs on a clock of its own: every call takes random time, and
takes effect at a random instant within it. Cursors are random handles of the server's memory unless `readable`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from openbell.api import Made, Reply
from openbell.events import Event, Exchange, Fact, Message, Recording
from openbell.profile import Profile
from openbell.registry import Check, Cost, Observation, Scenario
from openbell.session import Skip
from openbell.target import Subject

Row = tuple[Decimal, str]
Mark = Any
Answer = tuple[int, Any]

SUBJECT = Subject("collection", "list_orders")
PAGE = {"next": "body:/next_cursor", "default": 50, "maximum": 200}
TARGET = Profile.model_validate({
    "target": {"name": "simulated", "base_url": "http://127.0.0.1:1", "allow": ["read", "write"]},
    "credential": {
        "owner": {"role": "full", "sacrificial": ["pages"], "values": {"account": "acct-owner"}},
        "tenant": {"role": "other_tenant", "values": {"account": "acct-tenant"}},
    },
    "page": {"cursor": PAGE},
    "outcome": {"restart": {"status": [409], "all": [{"at": "body:/code", "equals": "list_changed"}]}},
    "operation": {
        "list_orders": {
            "role": "list", "method": "GET", "path": "/orders", "page": "cursor",
            "collection": {
                "insert": "submit", "leave": "cancel", "move": "amend", "key": "price",
                "sort": [{"at": "/price", "type": "decimal"}, {"at": "/id"}],
                "sorts": {"ascending": {"sort": "price"}, "descending": {"sort": "-price"}},
            },
        },
        "list_fills": {"role": "list", "method": "GET", "path": "/fills", "page": "cursor"},
        "submit": {"role": "create", "method": "POST", "path": "/orders", "undo": "cancel"},
        "amend": {"role": "amend", "method": "PATCH", "path": "/orders/{id}"},
        "cancel": {"role": "cancel", "method": "DELETE", "path": "/orders/{id}"},
    },
})
READ_ONLY = TARGET.model_copy(update={"target": TARGET.target.model_copy(update={"allow": ("read",)})})


class Refused(Exception):
    """The server answers with an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class View:
    """What a cut may look at: the rows in order, and the server's randomness and count of writes."""

    rows: list[Row]
    size: int
    rnd: random.Random
    version: int
    after: Callable[[Row, Row], bool]


Cut = Callable[[View, Mark], tuple[list[Row], Mark]]


def keyset(view: View, mark: Mark) -> tuple[list[Row], Mark]:
    """The right way: strictly after the last row's key and id; None as the next mark is the end."""
    rest = [r for r in view.rows if mark is None or view.after(r, mark)]
    return rest[:view.size], rest[view.size - 1] if len(rest) > view.size else None


@dataclass
class Server:
    """A listing per principal, with the parts that may be right or wrong."""

    cut: Cut
    rnd: random.Random
    maximum: int | None = 200
    default: int | None = 50
    clamps: bool = True
    zero: bool = False
    negative: bool = False
    readable: bool = False
    trusts_account: bool = False
    bound: bool = True
    bad_cursor: str = "refuse"
    constant: bool = False
    unique_keys: bool = False
    rows: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    marks: dict[str, tuple[str, str, Mark]] = field(default_factory=dict)
    version: int = 0

    def listing(self, by: str, op: str, query: Mapping[str, str]) -> Answer:
        """One page."""
        size = self.size(query.get("limit"))
        token = query.get("cursor")
        account, mark = (by, None) if token is None else self.opened(by, op, token)
        descending = query.get("sort", "").startswith("-")
        owned = self.rows.get(account, {}) if op == "list_orders" else {f"fill-{i}": Decimal(i) for i in range(9)}
        rows = sorted(((price, item) for item, price in owned.items()), reverse=descending)
        view = View(rows, size, self.rnd, self.version, (lambda a, b: a < b) if descending else (lambda a, b: a > b))
        page, following = self.cut(view, mark)
        body: dict[str, Any] = {"items": [{"id": item, "price": str(price)} for price, item in page]}
        if following is not None:
            body["next_cursor"] = self.sealed(account, op, following, token)
        return 200, body

    def size(self, text: str | None) -> int:
        """The page size of a query."""
        if text is None:
            return self.default or 10**9
        try:
            asked = int(text)
        except ValueError:
            raise Refused(400, "bad_page_size") from None
        if asked < 0 and self.negative:
            return self.default or 50
        if asked == 0 and self.zero:
            return self.default or 50
        if asked < 1 or (self.maximum and asked > self.maximum and not self.clamps):
            raise Refused(400, "bad_page_size")
        return min(asked, self.maximum or asked)

    def sealed(self, account: str, op: str, mark: Mark, token: str | None) -> str:
        """A cursor for a mark."""
        if self.readable:
            inside = {"account": f"acct-{account}", "after": [str(part) for part in mark]}
            return base64.urlsafe_b64encode(json.dumps(inside).encode()).decode().rstrip("=")
        handle = token if self.constant and token else self.rnd.randbytes(12).hex()
        self.marks[handle] = (account, op, mark)
        return handle

    def opened(self, by: str, op: str, token: str) -> tuple[str, Mark]:
        """Whose listing a cursor continues, and where."""
        try:
            account, listing, mark = self._read(op, token)
        except (KeyError, ValueError, TypeError):
            return self._unknown(by)
        if self.trusts_account:
            return account, mark
        if listing != op or (self.bound and account != by):
            return self._unknown(by)
        return by, mark

    def _read(self, op: str, token: str) -> tuple[str, str, Mark]:
        if not self.readable:
            return self.marks[token]
        inside = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        try:
            mark = (Decimal(inside["after"][0]), inside["after"][1])
        except ArithmeticError:
            raise ValueError("no number") from None
        return inside["account"].removeprefix("acct-"), op, mark

    def _unknown(self, by: str) -> tuple[str, Mark]:
        if self.bad_cursor == "first-page":
            return by, None
        raise Refused(500 if self.bad_cursor == "crash" else 400, "bad_cursor")

    def write(self, by: str, op: str, params: Mapping[str, Any]) -> Answer:
        """One write."""
        rows = self.rows.setdefault(by, {})
        self.version += 1
        if op == "submit":
            item = "ord_" + self.rnd.randbytes(6).hex()
            rows[item] = Decimal(params["price"]) + (Decimal(self.version) / 10**6 if self.unique_keys else 0)
            return 201, {"id": item, "price": str(rows[item])}
        if params["id"] not in rows:
            raise Refused(404, "not_found")
        if op == "cancel":
            del rows[params["id"]]
        else:
            rows[params["id"]] = Decimal(params["price"])
        return 200, {"id": params["id"]}


class SimulatedApi:
    """What scenarios use of the Api, over a simulated server; `flaky` is the share of writes without a clear answer."""

    def __init__(self, server: Server, target: Profile, cost: Cost, flaky: float = 0.0) -> None:
        self.server = server
        self.target = target
        self.cost = cost
        self.flaky = flaky
        self.random = random.Random(server.rnd.random())
        self.events: list[Event] = []
        self.made: list[Made] = []
        self.now = 0.0
        self.reads = self.writes = 0

    def _pass(self) -> float:
        self.now += self.random.expovariate(100) + 1e-6
        return self.now

    async def _turns(self) -> None:
        """Lets writers that do not wait come in between."""
        for _ in range(self.random.randint(0, 2)):
            await asyncio.sleep(0)
        self._pass()

    async def call(self, op: str, *, by: str, label: str, extra: Mapping[str, str] | None = None,
                   **params: Any) -> Reply:
        operation = self.target.operation[op]
        self.reads, self.writes = self.reads + (not operation.writes), self.writes + operation.writes
        assert self.reads <= self.cost.reads, "the scenario reads more than its cost"
        assert self.writes <= self.cost.writes, "the scenario writes more than its cost"
        sent = self._pass()
        await self._turns()
        status, body = self._answered(op, by, extra or {}, params)
        await self._turns()
        content = json.dumps(body).encode()
        reply = Message(((b"content-type", b"application/json"),), content) if status else None
        exchange = Exchange(
            len(self.events), "scenario", label, "scenario", "direct", 1, by, op, operation.method,
            "http://127.0.0.1:1" + operation.path, Message(), status, reply, None if status else "timeout", sent,
            self.now, self._pass())
        self.events.append(exchange)
        if operation.role == "create" and status == 201:
            self.made.append(Made(0, op, by, body["id"], {}))
        return Reply(exchange, self.target)

    def _answered(self, op: str, by: str, query: Mapping[str, str], params: Mapping[str, Any],
                  ) -> tuple[int | None, Any]:
        writes = self.target.operation[op].writes
        lost = writes and self.random.random() < self.flaky
        if lost and self.random.random() < 0.5:
            return (400, {"code": "refused"}) if self.random.random() < 0.5 else (None, {})
        try:
            answer = self.server.write(by, op, params) if writes else self.server.listing(by, op, query)
        except Refused as refused:
            return refused.status, {"code": refused.code}
        return (None, {}) if lost else answer

    async def undo(self, made: Made, label: str = "undo", lane: str = "") -> Reply:
        reply = await self.call("cancel", by=made.by, label=label, lane=lane, id=made.id)
        self.made = [m for m in self.made if m is not made]
        return reply

    @property
    def room(self) -> int:
        return self.target.target.max_created - len(self.made)

    def newest(self) -> Made | None:
        return self.made[-1] if self.made else None

    def note(self, name: str, **data: Any) -> None:
        self.events.append(Fact(len(self.events), "scenario", self._pass(), name, data))


def record(scenario: Scenario, server: Server, target: Profile = TARGET, flaky: float = 0.0) -> Recording:
    """The recording of a real scenario against a simulated server; what it made is undone, as the scheduler does."""
    api: Any = SimulatedApi(server, target, scenario.cost(target, SUBJECT), flaky)

    async def whole() -> None:
        await scenario.run(api, target, SUBJECT)
        for made in tuple(api.made):
            await api.undo(made)
    try:
        asyncio.run(whole())
    except Skip as skip:
        api.note("skipped", reason=skip.reason, why=skip.why)
    return Recording(tuple(api.events))


def observed(check: Check, recording: Recording, target: Profile = TARGET) -> list[Observation]:
    """The observations of a check."""
    assert check.judge is not None
    return list(check.judge(recording, target, SUBJECT))


def rules(check: Check, recording: Recording, target: Profile = TARGET) -> set[str]:
    """The rules that a check finds broken."""
    return {o.rule for o in observed(check, recording, target) if o.state == "broken"}


def decided(check: Check, recording: Recording, target: Profile = TARGET) -> int:
    """How many observations of a check hold."""
    return sum(o.state == "holds" for o in observed(check, recording, target))
