"""What a recording says of walks through a listing: pages as intervals, items as histories of keys.

A page is read at one instant between its request and its reply. A write takes effect at one instant between its
request and its reply, or, when no clear answer came, at any later instant or never. Everything is judged by those
intervals, on the harness's clock alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, TypeAlias

from openbell.events import Exchange, Recording
from openbell.locate import parse_json, pointer, text
from openbell.profile import Collection, Profile, SortKey
from openbell.target import Subject, item_id, items, page_of

FOREVER = float("inf")
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """An item as a page showed it; `key` is () when it cannot be read."""

    id: str
    key: Key
    at: Any


@dataclass(frozen=True)
class PageRead:
    """One page: its exchange and its rows."""

    exchange: Exchange
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Walk:
    """One walk: its script, its pages in order, how it ended, and how often the target asked to start it again."""

    script: str
    pages: tuple[PageRead, ...]
    ended: str
    size: int | None
    query: tuple[tuple[str, str], ...]
    restarts: int = 0

    @property
    def start(self) -> float:
        """When the first page was asked for."""
        return self.pages[0].exchange.sent

    @property
    def end(self) -> float:
        """When the last page had come."""
        return self.pages[-1].exchange.done

    def servings(self) -> dict[str, list[tuple[int, Row]]]:
        """Where each item was served: page number from 0, and the row."""
        found: dict[str, list[tuple[int, Row]]] = {}
        for number, page in enumerate(self.pages):
            for row in page.rows:
                if row.id:
                    found.setdefault(row.id, []).append((number, row))
        return found

    def rows(self) -> list[Row]:
        """All rows in the order in which they were served."""
        return [row for page in self.pages for row in page.rows]

    def exchanges(self) -> tuple[Exchange, ...]:
        """The exchanges of its pages."""
        return tuple(page.exchange for page in self.pages)


@dataclass(frozen=True)
class Write:
    """One write to an item: `insert`, `leave` or `move`; its outcome ok, fail or unknown; its interval of effect."""

    kind: str
    item: str
    outcome: str
    exchange: Exchange

    @property
    def begins(self) -> float:
        """The earliest instant of effect."""
        return self.exchange.sent

    @property
    def ends(self) -> float:
        """The latest instant of effect."""
        return self.exchange.done if self.outcome == "ok" else FOREVER


def _exchanges(recording: Recording) -> dict[int, Exchange]:
    return {e.n: e for e in recording.exchanges()}


def collection_of(target: Profile, subject: Subject) -> Collection:
    """The subject's collection table."""
    return target.operation[subject.name].collection or Collection()


def walks(recording: Recording, target: Profile, subject: Subject) -> Iterator[Walk]:
    """Every walk of the recording that has pages, in order."""
    by_number = _exchanges(recording)
    sort = collection_of(target, subject).sort
    for fact in recording.facts("walk"):
        reads = [by_number[n] for n in fact.data["pages"] if n in by_number]
        pages = tuple(PageRead(e, _rows(e, target, subject, sort)) for e in reads)
        if pages:
            query = tuple(sorted(fact.data.get("query", {}).items()))
            yield Walk(str(fact.data["script"]), pages, str(fact.data["ended"]), fact.data.get("size"), query,
                       int(fact.data.get("restarts", 0)))


def _rows(exchange: Exchange, target: Profile, subject: Subject, sort: tuple[SortKey, ...]) -> tuple[Row, ...]:
    page = page_of(target, subject.name)
    return tuple(Row(item_id(page, row), sort_key(row, sort), row) for row in items(page, exchange))


def writes(recording: Recording) -> dict[str, tuple[Write, ...]]:
    """The history of each item that was written to, in order."""
    by_number = _exchanges(recording)
    found: dict[str, list[Write]] = {}
    for fact in recording.facts("write"):
        data = fact.data
        if data["exchange"] in by_number and data["outcome"] != "fail":
            found.setdefault(str(data["item"]), []).append(
                Write(str(data["kind"]), str(data["item"]), str(data["outcome"]), by_number[data["exchange"]]))
    return {item: tuple(history) for item, history in found.items()}


def core(walk: Walk, history: Mapping[str, tuple[Write, ...]]) -> Iterator[tuple[str, Write]]:
    """The stable core: items whose insert was answered before the walk began, and that nothing touched until it ended.

    Each comes with its insert. An item with a write of unknown outcome is not core.
    """
    for item, made in history.items():
        early = [w for w in made if w.begins < walk.end]
        if item and [w.kind for w in early] == ["insert"] and early[0].ends < walk.start:
            yield item, early[0]


def unmoved(row: Row, other: Row) -> bool:
    """Whether two showings of an item have the same key; where none can be read, the same content."""
    return row.key == other.key if row.key and other.key else bool(row.at == other.at)


def witnessed(walk: Walk, others: Iterable[Walk]) -> dict[str, Row]:
    """The items that were served in the same place before the walk began and after it ended.

    What is not witnessed may never have been in the listing, may have moved, or someone else took it out.
    """
    earlier: dict[str, Row] = {}
    later: dict[str, Row] = {}
    for page in (page for other in others for page in other.pages):
        if page.exchange.done <= walk.start:
            earlier |= {row.id: row for row in page.rows if row.id}
        elif page.exchange.sent >= walk.end:
            later = {row.id: row for row in page.rows} | later
    return {item: row for item, row in earlier.items() if item in later and unmoved(row, later[item])}


def quiet(every: Sequence[Walk], script: str, own: Iterable[str]) -> bool:
    """Whether nothing changed in the listing from the first walk of one script to its last, as far as can be seen:
    both show the same rows, and if those are all there are, no other walk shows more but what is our own."""
    looks = [{row.id: row for row in w.rows()} for w in every if w.script == script]
    if len(looks) < 2 or looks[0].keys() != looks[-1].keys():
        return False
    known = {*looks[0], *own}
    return all(unmoved(row, looks[-1][item]) for item, row in looks[0].items()) and (
        any(w.ended != "end" for w in every) or all(known >= w.servings().keys() for w in every))


def during(walk: Walk, history: Mapping[str, tuple[Write, ...]]) -> list[Write]:
    """The writes that were sent during the walk, in order."""
    found = [w for made in history.values() for w in made if walk.start < w.begins < walk.end]
    return sorted(found, key=lambda w: w.begins)


def moved_forward(seen: Sequence[tuple[int, Row]], sort: tuple[SortKey, ...]) -> bool:
    """Whether several servings of one item are legal: each on a later page, and with a greater key, than the last.

    Whoever moved it: the keys that the pages show tell it. A key that cannot be read tells nothing.
    """
    return all(page < later and before(first.key, second.key, sort)
               for (page, first), (later, second) in pairwise(seen))


def key_of_item(row: Any, part: SortKey) -> Any:
    """One part of a sort key, comparable with its like; None when it cannot be read."""
    value = text(pointer(row, part.at))
    try:
        match part.type:
            case "decimal":
                found: Any = Decimal(value)
                return None if found.is_nan() else found
            case "integer":
                return int(value) if len(value) <= 40 else None
            case "time":
                at = datetime.fromisoformat(value)
                return at if at.tzinfo else at.replace(tzinfo=UTC)
            case _:
                return value
    except (ValueError, InvalidOperation):
        return None


def sort_key(row: Any, sort: tuple[SortKey, ...]) -> Key:
    """The row's whole sort key; () when any part cannot be read."""
    parts = tuple(key_of_item(row, part) for part in sort)
    return () if any(p is None for p in parts) else parts


def before(a: Key, b: Key, sort: tuple[SortKey, ...], *, reverse: bool = False) -> bool:
    """Whether key `a` comes strictly before `b` in the declared order."""
    for x, y, part in zip(a, b, sort, strict=False):
        if x != y:
            return bool((x < y) != (part.descending != reverse))
    return False


def shown(key: Key) -> str:
    """A sort key for people."""
    return "(" + ", ".join(str(part) for part in key) + ")"


def rows_of(exchange: Exchange) -> Any:
    """The parsed content of a page's reply."""
    return parse_json(exchange.reply.content) if exchange.reply else None
