"""Page sizes without a bound, where the seeded listing is too short to show it (PAG-010)."""

from dataclasses import replace

from sqlalchemy import ColumnElement

from openbell.reference_server import pages
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.database import ORDERS
from openbell.reference_server.defects import defect
from openbell.reference_server.listings import Listing, Mark, Reader
from openbell.reference_server.pages import Cut, after, fetch, mark_of

EVERYTHING = 10**9


def emptied(listing: Listing) -> list[ColumnElement[bool]]:
    """The condition that leaves the seeded rows out of the orders."""
    return [ORDERS.c.client_order_id.not_like("seed-%")] if listing.table is ORDERS else []


def short(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
    """A page of the size asked for, however large; orders begin empty, and any other listing is bounded."""
    if listing.table is not ORDERS:
        size = pages.DEFAULT_SIZE if size == EVERYTHING else min(size, pages.MAXIMUM_SIZE)
    further = [*emptied(listing), *([after(listing, mark)] if mark else [])]
    rows = fetch(listing, reader, size + 1, *further)
    return Cut(rows[:size], mark_of(listing, rows[size - 1]) if len(rows) > size else None)


@defect("no-maximum-when-empty", catches={"PAG-010": "over-maximum"})
def no_maximum_when_empty(behaviour: Behaviour) -> Behaviour:
    """A page of orders holds as many as are asked for, and nobody has any orders yet."""

    def size(text: str | None) -> int:
        return pages.DEFAULT_SIZE if text is None else min(pages.number_of(text), EVERYTHING - 1)

    return replace(behaviour, page_size=size, cut=short)


@defect("default-unbounded-when-empty", catches={"PAG-010": "default-unbounded"})
def default_unbounded_when_empty(behaviour: Behaviour) -> Behaviour:
    """Without a page size all orders come on one page, and nobody has any yet."""
    return replace(behaviour, cut=short,
                   page_size=lambda text: EVERYTHING if text is None else pages.page_size(text))
