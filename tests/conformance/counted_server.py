"""Simulated servers whose pages are asked for by number or by offset, right and wrong, and profiles that say so."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from page_server import PAGE, TARGET, Answer, Refused, Row, Server, keyset

from openbell.profile import Page, Profile

MECHANISMS = ("number", "offset")
SAYS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "total": {"total": "body:/total"},
    "next": {"next": "body:/next"},
    "more": {"end": {"at": "body:/more", "equals": False}},
}


def counting(mechanism: str, says: str = "nothing", first: int | None = None, **page: Any) -> Profile:
    """The simulated target, with pages that are counted."""
    table = {**PAGE, "mechanism": mechanism, "put": "at", "first": first, "next": None, **SAYS[says], **page}
    return TARGET.model_copy(update={"page": {"cursor": Page.model_validate(table)}})


@dataclass
class Truth:
    """What one walk was served, and what it lost or got again: by the positions alone, whatever the walk says."""

    served: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    last: Row | None = None

    def take(self, rows: list[Row], at: int, page: list[Row]) -> None:
        """A page that begins at a position: rows before it that come after the last one served are lost."""
        if self.last:
            self.lost |= {item for price, item in rows[:at] if (price, item) > self.last}
        self.again |= {item for _, item in page if item in self.served}
        self.served |= {item for _, item in page}
        self.last = page[-1] if page else self.last


@dataclass
class Counted(Server):
    """A listing that is cut at a position, and how it answers behind its last row: an empty page, or a status.

    `shift` is by how many rows the pages after the first begin too late; `salted` gives each request an order of ties
    of its own; `deaf` gives the first page for every position; `short_total` leaves rows out of the total.
    """

    mechanism: str = "offset"
    first: int | None = None
    beyond: int = 200
    shift: int = 0
    salted: bool = False
    deaf: bool = False
    short_total: int = 0
    before: Callable[[], None] | None = None
    truths: list[Truth] = field(default_factory=list)

    def listing(self, by: str, _op: str, query: Mapping[str, str]) -> Answer:
        if self.before:
            self.before()
        size = self.size(query.get("limit"))
        rows = self.ordered(by, descending=query.get("sort", "").startswith("-"))
        at = 0 if self.deaf else self.position(query, size)
        at += self.shift if at else 0
        page, more = rows[at:at + size], at + size < len(rows)
        self.truths += [] if at else [Truth()]
        self.truths[-1].take(rows, at, page)
        if at and not page and self.beyond != 200:
            raise Refused(self.beyond, "bad_cursor")
        return 200, {"items": [{"id": item, "price": str(price)} for price, item in page],
                     "total": len(rows) - self.short_total, "more": more, "next": "/further" if more else None}

    def ordered(self, by: str, *, descending: bool) -> list[Row]:
        """All rows of a principal."""
        rows = sorted(((price, item) for item, price in self.rows.get(by, {}).items()), reverse=descending)
        salt = self.rnd.random()
        return sorted(rows, key=lambda r: (-r[0] if descending else r[0], random.Random(f"{salt}{r[1]}").random()),
                      ) if self.salted else rows

    def position(self, query: Mapping[str, str], size: int) -> int:
        """How many rows come before the page that a query asks for."""
        start = self.first if self.first is not None else int(self.mechanism == "number")
        told = int(query.get("at", start)) - start
        if told < 0:
            raise Refused(400, "bad_cursor")
        return told * size if self.mechanism == "number" else told


def counted(seed: int, **parts: Any) -> Counted:
    """A server with parts of its own."""
    return Counted(keyset, random.Random(seed), **parts)
