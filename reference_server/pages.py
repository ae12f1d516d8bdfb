"""Pages are cut by keyset: a page starts strictly after the (sort key, id) of the last row served.

The cursor's own row may be gone by then, for its key is carried and not looked up.
"""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, tuple_

from openbell.reference_server.listings import Listing, Mark, Reader, Rows, conditions, order
from openbell.reference_server.values import refuse

DEFAULT_SIZE = 50
MAXIMUM_SIZE = 200
NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Cut:
    """The rows of one page, and the place where the next one starts; None on the last page."""

    rows: Rows
    following: Mark | None


def number_of(text: str) -> int:
    """A page size as it was asked for; refuses everything but a whole number from 1 upwards."""
    if not NUMBER.fullmatch(text) or not text.strip("0"):
        raise refuse("bad_page_size")
    return int(text) if len(text) < 10 else 10**9


def page_size(text: str | None) -> int:
    """The effective page size; what is above the maximum is cut down to it."""
    return DEFAULT_SIZE if text is None else min(number_of(text), MAXIMUM_SIZE)


def after(listing: Listing, mark: Mark) -> ColumnElement[bool]:
    """The rows strictly behind a place, in the listing's direction."""
    here = tuple_(listing.table.c[listing.sort], listing.table.c.id)
    return here < tuple_(*mark[:2]) if listing.descending else here > tuple_(*mark[:2])


def mark_of(listing: Listing, row: Any) -> Mark:
    """The place of a row."""
    return (getattr(row, listing.sort), row.id)


def fetch(listing: Listing, reader: Reader, size: int, *further: ColumnElement[bool], offset: int = 0) -> Rows:
    """Up to `size` rows of the listing in its order."""
    query = select(listing.table).where(*conditions(listing), *further).order_by(*order(listing)).limit(size)
    return reader.rows(query.offset(offset) if offset else query)


def cut(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
    """The page of `size` rows that starts behind `mark`; an empty mark means the beginning."""
    rows = fetch(listing, reader, size + 1, *([after(listing, mark)] if mark else []))
    following = mark_of(listing, rows[size - 1]) if len(rows) > size else None
    return Cut(rows[:size], following)


def page_members(items: list[Any], cursor: str | None, total: int) -> dict[str, Any]:
    """The page as JSON members; next_cursor is absent on the last page."""
    link = {} if cursor is None else {"next_cursor": cursor}
    return {"items": items, **link, "total_estimate": total}
