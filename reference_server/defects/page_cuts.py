"""Pages cut wrongly (PAG-001, PAG-002, PAG-003, PAG-004, PAG-006)."""

import hashlib
import secrets
from dataclasses import replace

from sqlalchemy import ColumnElement, and_, or_, select

from openbell.reference_server import pages
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.listings import Listing, Mark, Reader, conditions
from openbell.reference_server.pages import Cut, after, cut, fetch, mark_of
from openbell.reference_server.values import refuse

WHOLE = 100_000


def at_or_after(listing: Listing, mark: Mark) -> ColumnElement[bool]:
    """The rows behind a place and the row at it."""
    columns = listing.table.c
    here = and_(columns[listing.sort] == mark[0], columns.id == mark[1])
    return or_(here, after(listing, mark))


@defect("boundary-row-again", catches={"PAG-001": "duplicate", "PAG-003": "repeated", "PAG-004": "order-broken"})
def boundary_row_again(behaviour: Behaviour) -> Behaviour:
    """The next page starts at the cursor's row and not after it (>= for >)."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        rows = fetch(listing, reader, size + 1, *([at_or_after(listing, mark)] if mark else []))
        return Cut(rows[:size], mark_of(listing, rows[size - 1]) if len(rows) > size else None)

    return replace(behaviour, cut=wrong)


@defect("next-dropped", catches={"PAG-001": "incomplete"},
        also={"PAG-002": "skipped", "PAG-004": "ties-lost", "PAG-006": "cursor-row-skip"})
def next_dropped(behaviour: Behaviour) -> Behaviour:
    """After the third page there is no next, whatever is left."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        number = mark[2] if mark else 1
        right = cut(listing, mark, size, reader)
        following = None if right.following is None or number >= 3 else (*right.following, number + 1)
        return Cut(right.rows, following)

    return replace(behaviour, cut=wrong)


@defect("endless", catches={"PAG-001": "endless"}, also={"PAG-003": "repeated"})
def endless(behaviour: Behaviour) -> Behaviour:
    """The last page's next leads to the first page again."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        right = cut(listing, mark, size, reader)
        return Cut(right.rows, right.following or ())

    return replace(behaviour, cut=wrong)


@defect("next-after-end", catches={"PAG-001": "next-after-end"})
def next_after_end(behaviour: Behaviour) -> Behaviour:
    """The last page has a next, which leads to an error."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        if mark == ("end",):
            raise refuse("bad_cursor")
        right = cut(listing, mark, size, reader)
        return Cut(right.rows, right.following or ("end",))

    return replace(behaviour, cut=wrong)


def by_offset(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
    """The page at an offset."""
    offset = int(mark[0]) if mark else 0
    rows = fetch(listing, reader, size + 1, offset=offset)
    return Cut(rows[:size], (offset + size,) if len(rows) > size else None)


@defect("sealed-offset", catches={"PAG-002": "skipped", "PAG-003": "repeated"}, also={"PAG-006": "cursor-row-skip"})
def sealed_offset(behaviour: Behaviour) -> Behaviour:
    """The cursor is opaque, but what it hides is an offset."""
    return replace(behaviour, cut=by_offset)


@defect("row-dropped", catches={"PAG-002": "skipped", "PAG-001": "incomplete"},
        also={"PAG-004": "ties-lost", "PAG-006": "cursor-row-skip"})
def row_dropped(behaviour: Behaviour) -> Behaviour:
    """The second page leaves out its first row."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        number = mark[2] if mark else 1
        right = cut(listing, mark, size, reader)
        following = None if right.following is None else (*right.following, number + 1)
        return Cut(right.rows[1:] if number == 2 else right.rows, following)

    return replace(behaviour, cut=wrong)


@defect("sort-key-only", catches={"PAG-004": "ties-lost", "PAG-001": "incomplete", "PAG-002": "skipped"},
        also={"PAG-006": "cursor-row-skip"})
def sort_key_only(behaviour: Behaviour) -> Behaviour:
    """The cursor holds the sort key without a tie-break: ties across a boundary are lost."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        key = listing.table.c[listing.sort]
        behind = [key < mark[0] if listing.descending else key > mark[0]] if mark else []
        rows = fetch(listing, reader, size + 1, *behind)
        return Cut(rows[:size], mark_of(listing, rows[size - 1]) if len(rows) > size else None)

    return replace(behaviour, cut=wrong)


@defect("ties-shuffled", catches={"PAG-004": "walks-differ"})
def ties_shuffled(behaviour: Behaviour) -> Behaviour:
    """Ties come in another order in every walk, though within one walk nothing is lost."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        walk = mark[0] if mark else secrets.token_hex(8)

        def place(row: object) -> tuple[object, str]:
            key, identity = mark_of(listing, row)
            return key, hashlib.sha256(f"{walk}{identity}".encode()).hexdigest()

        ordered = sorted(fetch(listing, reader, WHOLE), key=place, reverse=listing.descending)
        rest = [row for row in ordered if not mark or beyond(place(row), tuple(mark[1:]), listing)]
        return Cut(rest[:size], (walk, *place(rest[size - 1])) if len(rest) > size else None)

    return replace(behaviour, cut=wrong)


def beyond(place: tuple[object, str], mark: Mark, listing: Listing) -> bool:
    """Whether a place is behind another in the listing's direction."""
    return place < mark if listing.descending else place > mark


@defect("pages-reversed", catches={"PAG-004": "order-broken"}, also={"WSR-005": "refused-within-retention"})
def pages_reversed(behaviour: Behaviour) -> Behaviour:
    """Every page after the first has its rows the other way round, so that the order breaks at its boundary."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        right = cut(listing, mark, size, reader)
        return Cut(right.rows[::-1], right.following) if mark else right

    return replace(behaviour, cut=wrong)


def looked_up(listing: Listing, mark: Mark, reader: Reader) -> Mark | None:
    """The present place of the row that the cursor names; None when it is no longer in the listing."""
    rows = reader.rows(select(listing.table).where(*conditions(listing), listing.table.c.id == mark[0]))
    return mark_of(listing, rows[0]) if rows else None


def by_row(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
    """The page behind a place, with a following mark that names only the row."""
    right = pages.cut(listing, mark, size, reader)
    return Cut(right.rows, None if right.following is None else right.following[1:])


@defect("cursor-row-error", catches={"PAG-006": "cursor-row-error"},
        also={"PAG-002": "skipped", "PAG-003": "repeated"})
def cursor_row_error(behaviour: Behaviour) -> Behaviour:
    """The cursor names a row, which is looked up; when it has left the listing, that is an error."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        place = looked_up(listing, mark, reader) if mark else ()
        if place is None:
            raise refuse("bad_cursor")
        return by_row(listing, place, size, reader)

    return replace(behaviour, cut=wrong)


@defect("cursor-row-skip", catches={"PAG-006": "cursor-row-skip"}, also={"PAG-002": "skipped", "PAG-003": "repeated"})
def cursor_row_skip(behaviour: Behaviour) -> Behaviour:
    """When the cursor's row has left the listing, the row behind it is taken for it, and is not served."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        gone = mark and looked_up(listing, mark[1:], reader) is None
        rows = fetch(listing, reader, size + 2, *([after(listing, mark)] if mark else []))[1 if gone else 0 :]
        return Cut(rows[:size], mark_of(listing, rows[size - 1]) if len(rows) > size else None)

    return replace(behaviour, cut=wrong)


@defect("cursor-row-restart", catches={"PAG-006": "cursor-row-restart"},
        also={"PAG-002": "skipped", "PAG-003": "repeated"})
def cursor_row_restart(behaviour: Behaviour) -> Behaviour:
    """The cursor names a row, which is looked up; when it has left the listing, the walk starts over."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        place = looked_up(listing, mark, reader) if mark else ()
        return by_row(listing, place or (), size, reader)

    return replace(behaviour, cut=wrong)
