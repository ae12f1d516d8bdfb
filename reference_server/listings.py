"""A listing is what is paged: rows of a table for a principal, filtered, in a total order (sort key, id)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, func, select

Mark = tuple[Any, ...]
Rows = Sequence[Row[Any]]


@dataclass(frozen=True)
class Listing:
    """account: whose rows, None for data of everybody. where: further equalities. query: filter and order as text."""

    table: Table
    sort: str
    descending: bool
    principal: str
    path: str
    query: str
    account: str | None = None
    where: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Reader:
    """What cutting a page may ask of the database: rows, one number, and a count of writes to an account."""

    rows: Callable[[Select[Any]], Rows]
    number: Callable[[Select[Any]], int]
    version: Callable[[str | None], int]


def conditions(listing: Listing) -> list[ColumnElement[bool]]:
    """The rows that belong to the listing, wherever the cursor stands."""
    columns = listing.table.c
    own = [] if listing.account is None else [columns.account == listing.account]
    return [*own, *(columns[name] == value for name, value in listing.where)]


def order(listing: Listing) -> list[ColumnElement[Any]]:
    """The total order: the sort key, ties by id in the same direction."""
    columns = [listing.table.c[listing.sort]]
    if listing.sort != "id":
        columns.append(listing.table.c.id)
    return [column.desc() if listing.descending else column.asc() for column in columns]


def total(listing: Listing, reader: Reader) -> int:
    """How many rows the listing has now."""
    return reader.number(select(func.count()).select_from(listing.table).where(*conditions(listing)))
