"""The facts of one walk that a picture of it needs: its pages, the writes around them, the item that went wrong.

They are kept while the journal is read, bounded, and put in the listing's order. Keys are read only to find an item's
place in that order: no verdict depends on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal, TypeAlias
from urllib.parse import quote_plus

from openbell.events import Exchange, Fact
from openbell.locate import parse_json, pointer, text
from openbell.profile import Page, Profile, SortKey
from openbell.results import Finding
from openbell.target import item_id, items, page_of

SKIP = "cursor-row-skip"
DRAWN = ("PAG-002", "PAG-003", "PAG-006")
MOST_PAGES = 80
MOST_ROWS = 500
MOST_WRITES = 400
NEAR = 2

Kind = Literal["lost", "repeated", "gone"]
Spot: TypeAlias = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Served:
    """One page: when it was asked for, how it answered, what stood on it; at which position where those are counted."""

    n: int
    sent: float
    status: int | None
    spots: tuple[Spot, ...]
    at: str = ""


@dataclass(frozen=True)
class Mark:
    """One write: what it did to which item, and when."""

    n: int
    kind: str
    sent: float
    spot: Spot


@dataclass
class Traced:
    """The walk of one finding, filled while the journal is read."""

    kind: Kind
    item: str
    script: str
    ended: str
    page: Page
    sort: tuple[SortKey, ...]
    pages: dict[int, Served | None]
    writes: dict[int, tuple[str, str]]
    marks: dict[int, Mark] = field(default_factory=dict)

    def take(self, exchange: Exchange) -> None:
        """Keeps what the exchange says of the walk, if it belongs to it."""
        if exchange.n in self.pages:
            rows = items(self.page, exchange)[:MOST_ROWS]
            spots = tuple((item_id(self.page, row), self._key(row)) for row in rows)
            at = position_of(self.page, exchange.url) if self.page.counted else ""
            self.pages[exchange.n] = Served(exchange.n, exchange.sent, exchange.status, spots, at)
        elif exchange.n in self.writes:
            kind, item = self.writes[exchange.n]
            row = parse_json(exchange.reply.content) if exchange.reply else None
            self.marks[exchange.n] = Mark(exchange.n, kind, exchange.sent, (item, self._key(row)))

    def _key(self, row: object) -> tuple[str, ...]:
        return tuple(text(pointer(row, part.at))[:200] for part in self.sort)


def position_of(page: Page, url: str) -> str:
    """The counted position that a URL asks for, such as `offset 10`; "" without one."""
    found = re.search(rf"[?&]{re.escape(quote_plus(page.put))}=([0-9]{{1,12}})(?:&|$)", url)
    return f"{page.mechanism} {found[1]}" if found else ""


_KINDS: dict[str, Kind] = {"PAG-002": "lost", "PAG-003": "repeated", "PAG-006": "gone"}


def traced(check: str, subject: str, finding: Finding, facts: Sequence[Fact], writes: Sequence[Fact],
           target: Profile) -> Traced | None:
    """What must be read to draw a finding: the walk that shares most events with it; None when there is none."""
    listing = subject.partition(":")[2]
    operation = target.operation.get(listing)
    walk = max((f for f in facts if f.scenario.endswith(f"@{subject}")),
               key=lambda f: len(set(finding.events) & set(f.data["pages"])), default=None)
    if operation is None or not operation.page or walk is None or not set(finding.events) & set(walk.data["pages"]):
        return None
    numbers = list(walk.data["pages"])
    own = [f for f in writes if f.scenario == walk.scenario]
    item = _item(finding, own)
    wanted = {f.data["exchange"]: (str(f.data["kind"]), str(f.data["item"])) for f in own
              if numbers[0] < f.data["exchange"] <= numbers[-1] or f.data["item"] == item
              or f.data["exchange"] in finding.events}
    collection = operation.collection
    kind: Kind = "lost" if finding.rule == SKIP else _KINDS[check]
    return Traced(kind, item, str(walk.data["script"]), str(walk.data["ended"]),
                  page_of(target, listing), collection.sort if collection else (),
                  dict.fromkeys(numbers[:MOST_PAGES]), dict(sorted(wanted.items())[:MOST_WRITES]))


def _item(finding: Finding, writes: Iterable[Fact]) -> str:
    """The item that a finding is about: what it says should be served, or was not; else the one that left."""
    if finding.rule == SKIP:
        return finding.actual.rpartition("such as ")[2]
    left = next((str(f.data["item"]) for f in writes
                 if f.data["exchange"] in finding.events and f.data["kind"] == "leave"), "")
    word = finding.expected.partition(" is served")[0] if " is served" in finding.expected else ""
    return word or left


@dataclass(frozen=True)
class Drawing:
    """What the picture shows. `order` gives each spot its place; `focus` names the events where it goes wrong."""

    walk: Traced
    pages: tuple[Served, ...]
    marks: tuple[tuple[Mark, ...], ...]
    order: dict[Spot, int]
    place: int | None
    hits: tuple[int, ...]
    turn: int
    focus: frozenset[int]


def draw(walk: Traced) -> Drawing | None:
    """The picture's facts; None when no page of the walk could be read."""
    pages = tuple(page for page in walk.pages.values() if page)
    if not pages:
        return None
    marks = sorted(walk.marks.values(), key=lambda mark: mark.sent)
    order = _order(walk, [*(s for p in pages for s in p.spots), *(m.spot for m in marks if any(m.spot[1]))])
    spot = _spot(walk, pages, marks)
    hits = tuple(i for i, page in enumerate(pages) if any(s[0] == walk.item for s in page.spots))
    place = order.get(spot) if spot else None
    turn = _turn(walk, pages, order, place, hits)
    between = tuple(tuple(m for m in marks if _gap(m, pages) == i) for i in range(len(pages) + 1))
    focus = {p.n for i, p in enumerate(pages) if abs(i - turn) <= NEAR or i in hits}
    focus |= {m.n for m in marks if abs(_gap(m, pages) - turn) <= 1 or m.spot[0] == walk.item}
    return Drawing(walk, pages, between, order, place, hits, turn, frozenset(focus))


def _gap(mark: Mark, pages: Sequence[Served]) -> int:
    """How many pages had been asked for when a write was sent: 0 is before the walk."""
    return sum(1 for page in pages if page.sent <= mark.sent)


def _order(walk: Traced, spots: Iterable[Spot]) -> dict[Spot, int]:
    """The place of each spot in the listing's order; without a sort key, the order in which they came."""
    found = list(dict.fromkeys(spots))
    for i, part in reversed(list(enumerate(walk.sort))):
        number = _number if part.type in {"decimal", "integer"} else _no_number
        values = {spot: (number(spot[1][i]), spot[1][i]) for spot in found}
        found.sort(key=values.__getitem__, reverse=part.descending)
    return {spot: place for place, spot in enumerate(found)}


def _no_number(_value: str) -> Decimal:
    return Decimal(0)


def _number(value: str) -> Decimal:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return Decimal(0)
    return number if number.is_finite() else Decimal(0)


def _spot(walk: Traced, pages: Sequence[Served], marks: Sequence[Mark]) -> Spot | None:
    """Where the traced item stands: as it was served, else as its last write left it."""
    served = [s for p in pages for s in p.spots if s[0] == walk.item]
    written = [m.spot for m in marks if m.spot[0] == walk.item and any(m.spot[1])]
    return next(iter([*served[:1], *written[-1:]]), None)


def _turn(walk: Traced, pages: Sequence[Served], order: dict[Spot, int], place: int | None,
          hits: tuple[int, ...]) -> int:
    """The page at which the walk goes wrong."""
    if walk.kind == "repeated" and len(hits) > 1:
        return hits[1]
    if walk.kind == "gone":
        return min(2, len(pages) - 1)
    after = (i for i, p in enumerate(pages) if place is not None and any(order[s] > place for s in p.spots))
    return next(after, len(pages) - 1)
