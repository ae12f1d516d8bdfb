"""Walks through a listing while others write: six one-sided scripts, and one with the writers unsynchronised.

The harness itself asks for the pages, so it can finish a write before it asks for the next one: no ambiguity, no load
needed. Each script writes in one direction only, since mixed ones cancel out. Ties in the sort key are mandatory:
a cursor without a tie-break loses rows only there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from openbell.api import Api, Made, Reply
from openbell.building import Alter
from openbell.locate import pointer, text
from openbell.paging import Step, first, following, past_end
from openbell.profile import Collection, Page, Profile
from openbell.registry import Claim, Cost, own, scenario, share
from openbell.session import Skip, principal, sacrificial
from openbell.target import Subject, item_id, page_of

SIZE = 5
CORE = 40
EXTRA = 16
TIES = 16
MAX_PAGES = 30
RESTARTS = 3
REFERENCE = "reference"
REFERENCE_PAGES = 8
IDLE = 12
CENT = Decimal("0.01")
BASE = Decimal(100)
MOST = Decimal(10) ** 12
NO_QUERY: Mapping[str, str] = {}


def pager(target: Profile) -> str:
    """The principal whose listing is walked: one set aside for it, else the full one. Raises Skip without any."""
    by = sacrificial(target, "pages") or principal(target)
    if by is None:
        raise Skip("precondition", "the profile has no principal")
    return by


def claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    """The walked collection is owned, and so is the principal that is set aside for it; any other is shared."""
    if by := sacrificial(target, "pages"):
        return own(str(subject)), own(f"principal:{by}")
    return own(str(subject)), share(f"principal:{principal(target)}")


def writable(target: Profile, subject: Subject) -> bool:
    """Whether the harness can put items into the collection and take them out again."""
    collection = target.operation[subject.name].collection
    return bool(collection and collection.insert and collection.leave)


Script = Callable[["Walk"], Awaitable[None]]


@dataclass
class Walk:
    """One walk under way: what was served, and what may be written to."""

    api: Api
    target: Profile
    listing: str
    by: str
    script: str
    pages: list[Reply] = field(default_factory=list)
    served: set[str] = field(default_factory=set)
    extras: list[Made] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    @property
    def collection(self) -> Collection:
        """The collection's table."""
        found = self.target.operation[self.listing].collection
        if found is None:
            raise Skip("precondition", f"{self.listing} is no collection")
        return found

    @property
    def page(self) -> Page:
        """The page dialect."""
        return page_of(self.target, self.listing)

    def edge(self, last: bool) -> Decimal:
        """The key of the newest page's first or last row; BASE where it is no finite number."""
        rows = self.pages[-1].items
        key = self.collection.sort[0].at if self.collection.sort else "/"
        try:
            found = Decimal(text(pointer(rows[-1 if last else 0], key))) if rows else BASE
        except InvalidOperation:
            return BASE
        return found if found.is_finite() and abs(found) < MOST else BASE


async def ask(walk: Walk, step: Step, size: int | None, query: Mapping[str, str]) -> Reply:
    """Asks for one page; the journal's label tells the script and the page's number."""
    page = walk.page
    label = f"walk:{walk.script}:{len(walk.pages) + 1}"
    if step.url is not None:
        reply = await walk.api.call(walk.listing, by=walk.by, label=label, alter=Alter(url=step.url))
    else:
        sized = {page.size: str(size)} if size is not None else {}
        reply = await walk.api.call(walk.listing, by=walk.by, label=label, extra={**query, **sized, **step.query})
    walk.pages.append(reply)
    if reply.ok:
        walk.served |= {item_id(page, row) for row in reply.items} - {""}
    return reply


async def go(walk: Walk, between: Script | None = None, *, size: int | None = SIZE, max_pages: int = MAX_PAGES,
             query: Mapping[str, str] = NO_QUERY) -> str:
    """Walks to the end with `between` after each page, and notes how it ended: end, error, endless, long, restart.

    Progress is judged by new ids, never by the cursor's text. An answer that the data changed starts the walk again,
    the last time without writes; all its starts together ask for `max_pages` pages at most.
    """
    ended, left, restarts = "restart", max_pages, 0
    for restarts in range(RESTARTS):
        walk.pages.clear()
        walk.served.clear()
        ended = await _once(walk, between if restarts < RESTARTS - 1 else None, size, left, query)
        left -= len(walk.pages)
        if ended != "restart" or not left:
            break
    walk.api.note("walk", script=walk.script, pages=[p.exchange.n for p in walk.pages], ended=ended,
                  size=size, query=dict(query), restarts=restarts)
    return ended


async def whole(api: Api, listing: str, by: str, script: str, max_pages: int) -> Walk:
    """Reads a listing in the largest pages. Raises Skip where it does not end."""
    walk = Walk(api, api.target, listing, by, script)
    ended = await go(walk, size=walk.page.maximum, max_pages=max_pages)
    if ended != "end":
        raise Skip("precondition", f"{listing} could not be read to its end: {ended}")
    return walk


async def _once(walk: Walk, between: Script | None, size: int | None, max_pages: int, query: Mapping[str, str],
                ) -> str:
    step, idle = first(walk.page), 0
    for _ in range(max_pages):
        before = len(walk.served)
        reply = await ask(walk, step, size, query)
        if reply.outcome("restart"):
            return "restart"
        if not reply.ok:
            return "end" if past_end(walk.target, step, reply.exchange) else "error"
        further = following(walk.page, step, reply.exchange, size)
        if further is None:
            return "end"
        step = further
        # An empty page with a next is legal, so a chain of them counts less than pages that only repeat rows.
        idle = 0 if len(walk.served) > before else idle + (4 if reply.items else 1)
        if idle >= IDLE:
            return "endless"
        if between and len(walk.pages) <= EXTRA // 2:
            await between(walk)
    return "long"


async def reference(walk: Walk) -> int | None:
    """Reads the listing in the largest pages: what it shows with nothing going on, and to nobody's disadvantage.

    Returns how many items it holds; None where that is not known.
    """
    look = Walk(walk.api, walk.target, walk.listing, walk.by, REFERENCE)
    ended = await go(look, size=walk.page.maximum, max_pages=REFERENCE_PAGES, query=ascending(walk.collection))
    return len(look.served) if ended == "end" else None


# --- writes between the pages, each a fact that names its exchange, the item and the kind


async def insert(walk: Walk, price: Decimal | None = None, label: str = "write:insert") -> Made | None:
    """Puts one item into the listing, with a chosen key where the target lets the caller choose."""
    collection = walk.collection
    params: dict[str, Any] = {} if price is None or not collection.key else {collection.key: str(price)}
    earlier = walk.api.newest()
    reply = await walk.api.call(str(collection.insert), by=walk.by, label=label, lane="writer", **params)
    made = walk.api.newest() if reply.ok else None
    if made is earlier:
        made = None
    walk.made += [made] if made else []
    _note(walk, "insert", made.id if made else "", reply)
    return made


async def leave(walk: Walk, made: Made) -> None:
    """Takes one item out of the listing."""
    reply = await walk.api.undo(made, "write:leave", lane="writer")
    walk.made = [m for m in walk.made if m is not made]
    _note(walk, "leave", made.id, reply)


async def move(walk: Walk, made: Made, price: Decimal) -> None:
    """Changes an item's key."""
    collection = walk.collection
    changed: dict[str, Any] = {"id": made.id, str(collection.key): str(price)}
    reply = await walk.api.call(str(collection.move), by=walk.by, label="write:move", lane="writer", **changed)
    _note(walk, "move", made.id, reply)


def _note(walk: Walk, kind: str, item: str, reply: Reply) -> None:
    """A refusal says that nothing happened, unless it says that the item is not what we think it is."""
    status = reply.status or 0
    refused = 400 <= status < 500 and (kind == "insert" or status not in {404, 409, 410})
    outcome = "ok" if reply.ok else "fail" if refused else "unknown"
    walk.api.note("write", kind=kind, item=item, exchange=reply.exchange.n, outcome=outcome, script=walk.script)


def _extra(walk: Walk, *, served: bool) -> Made | None:
    """A spare item that was served already, or was not yet; it is taken from the spares."""
    fit = [m for m in walk.extras if (m.id in walk.served) == served]
    if not fit:
        return None
    chosen = walk.api.random.choice(fit)
    walk.extras.remove(chosen)
    return chosen


async def insert_behind(walk: Walk) -> None:
    """A new item before everything on the newest page."""
    await insert(walk, walk.edge(last=False) - CENT)


async def insert_ahead(walk: Walk) -> None:
    """A new item tied with the boundary, and one just after it."""
    await insert(walk, walk.edge(last=True))
    await insert(walk, walk.edge(last=True) + CENT)


async def leave_behind(walk: Walk) -> None:
    """An item that was served leaves."""
    if made := _extra(walk, served=True):
        await leave(walk, made)


async def leave_ahead(walk: Walk) -> None:
    """An item that was not served yet leaves."""
    if made := _extra(walk, served=False):
        await leave(walk, made)


async def move_forward(walk: Walk) -> None:
    """A served item moves ahead of the cursor."""
    if made := _extra(walk, served=True):
        await move(walk, made, walk.edge(last=True) + 3)


async def move_back(walk: Walk) -> None:
    """An item that was not served yet moves behind the cursor."""
    if made := _extra(walk, served=False):
        await move(walk, made, walk.edge(last=False) - 3)


KEYED: tuple[Script, ...] = (insert_behind, insert_ahead, leave_behind, leave_ahead, move_forward, move_back)
APPENDED: tuple[Script, ...] = (insert_behind, leave_behind, leave_ahead)
TAIL: tuple[Script, ...] = (insert_ahead, leave_behind, leave_ahead)


def scripts(collection: Collection) -> tuple[Script, ...]:
    """The scripts that the collection's writes allow."""
    possible = {"key": KEYED, "head": APPENDED, "tail": TAIL}[collection.insert_at]
    return tuple(s for s in possible if collection.move or s not in (move_forward, move_back))


def _cost(target: Profile, subject: Subject) -> Cost:
    collection = target.operation[subject.name].collection or Collection()
    walks = len(scripts(collection)) + 1
    return Cost(reads=walks * MAX_PAGES + (walks + 1) * REFERENCE_PAGES, writes=2 * CORE + walks * 2 * EXTRA)


@scenario(per="collection", where=writable, allow=("read", "write"), claims=claims, cost=_cost)
async def pages_one_sided(api: Api, target: Profile, subject: Subject) -> None:
    """Fixtures with ties; then one walk per script, each with one kind of write between its pages; then a walk with
    writers that do not wait for it."""
    by = pager(target)
    fixture = Walk(api, target, subject.name, by, "fixtures")
    await fill(fixture, CORE)
    await reference(fixture)
    for script in scripts(fixture.collection):
        walk = Walk(api, target, subject.name, by, script.__name__)
        if script not in (insert_behind, insert_ahead):
            walk.extras = await fill(walk, EXTRA // 2)
        await go(walk, script, query=ascending(walk.collection))
        await reference(walk)
        await _tidy(walk)
    await _concurrent(api, target, subject, by)
    await reference(fixture)


def ascending(collection: Collection) -> dict[str, str]:
    """The query of the listing's ascending order."""
    return dict(collection.sorts.get("ascending", {}))


async def fill(walk: Walk, count: int, ties: int | None = None) -> list[Made]:
    """Items spread evenly over the key's range, the first `ties` of them tied (unless given, `TIES` in `CORE`)."""
    ties, spread = count * TIES // CORE if ties is None else ties, CORE // count
    made = [await insert(walk, BASE + (10 if i < ties else i * spread), "fixture") for i in range(count)]
    return [m for m in made if m]


async def _tidy(walk: Walk) -> None:
    """Takes out what the walk made and did not take out, so that the listing does not grow from walk to walk."""
    for made in tuple(walk.made):
        await leave(walk, made)


async def _concurrent(api: Api, target: Profile, subject: Subject, by: str) -> None:
    """Writers on their own connection that do not wait for the pages; they stop with the walk."""
    walk = Walk(api, target, subject.name, by, "concurrent")
    ended = asyncio.Event()

    async def write() -> None:
        for i in range(EXTRA):
            if ended.is_set():
                return
            made = await insert(walk, BASE + i)
            if made and i % 2:
                await leave(walk, made)
    writer = asyncio.create_task(write())
    try:
        await go(walk, query=ascending(walk.collection))
    finally:
        ended.set()
        await writer


@scenario(per="collection", where=writable, allow=("read", "write"), claims=claims,
          cost=lambda _target, _subject: Cost(reads=2 * MAX_PAGES + 3 * REFERENCE_PAGES, writes=40))
async def pages_cursor_row(api: Api, target: Profile, subject: Subject) -> None:
    """On the second page with rows, the row that the cursor points to leaves; in another walk all its rows do."""
    by = pager(target)
    fixture = Walk(api, target, subject.name, by, "fixtures")
    made = {m.id: m for m in await fill(fixture, 20)}
    await reference(fixture)
    for name, rows in (("cursor_row", slice(-1, None)), ("whole_page", slice(None))):
        walk = Walk(api, target, subject.name, by, name)

        async def between(walk: Walk, rows: slice = rows) -> None:
            if walk.pages[-1].items and len(walk.pages) > 1 and not any(p.items for p in walk.pages[1:-1]):
                for row in walk.pages[-1].items[rows]:
                    gone = made.pop(item_id(walk.page, row), None)
                    if gone:
                        await leave(walk, gone)
        await go(walk, between, query=ascending(walk.collection))
        await reference(walk)

