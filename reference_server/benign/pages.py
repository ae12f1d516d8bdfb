"""Legal ways of cutting pages and of ending a listing."""

import secrets
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from openbell.reference_server import cursors, pages
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import benign
from openbell.reference_server.cursors import Moment, Sealing
from openbell.reference_server.listings import Listing, Mark, Reader, Rows
from openbell.reference_server.pages import Cut, cut, fetch, mark_of
from openbell.reference_server.replies import on_reply
from openbell.reference_server.values import Reply, Scope, refuse

WHOLE = 100_000
KEPT = 64


@benign("short-page", checks=("PAG-001",))
def short_page(behaviour: Behaviour) -> Behaviour:
    """Every second page holds fewer rows than were asked for, and has a next."""

    def legal(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        number = mark[2] if mark else 1
        found = cut(listing, mark, size if number % 2 else max(1, size // 2), reader)
        return Cut(found.rows, None if found.following is None else (*found.following, number + 1))

    return replace(behaviour, cut=legal)


@benign("empty-page", checks=("PAG-001",))
def empty_page(behaviour: Behaviour) -> Behaviour:
    """The second page is empty and has a next."""

    def legal(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        if len(mark) == 3:
            return Cut((), mark[:2])
        found = cut(listing, mark, size, reader)
        return Cut(found.rows, found.following if mark or found.following is None else (*found.following, "empty"))

    return replace(behaviour, cut=legal)


@benign("final-empty-page", checks=("PAG-001",))
def final_empty_page(behaviour: Behaviour) -> Behaviour:
    """A page with rows always has a next, so that the last page is empty."""

    def legal(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        rows = cut(listing, mark, size, reader).rows
        return Cut(rows, mark_of(listing, rows[-1]) if rows else None)

    return replace(behaviour, cut=legal)


def ending(behaviour: Behaviour, end: str | None) -> Behaviour:
    """The behaviour whose last page has that for a next."""

    def members(items: list[Any], cursor: str | None, total: int) -> dict[str, Any]:
        return {"items": items, "next_cursor": end if cursor is None else cursor, "total_estimate": total}

    return replace(behaviour, page_members=members)


@benign("next-null", checks=("PAG-001",))
def next_null(behaviour: Behaviour) -> Behaviour:
    """The last page's next is null."""
    return ending(behaviour, None)


@benign("next-empty", checks=("PAG-001",))
def next_empty(behaviour: Behaviour) -> Behaviour:
    """The last page's next is the empty string."""
    return ending(behaviour, "")


@benign("constant-handle", checks=("PAG-001", "PAG-002", "PAG-007"))
def constant_handle(behaviour: Behaviour) -> Behaviour:
    """The cursor is a handle whose text never changes; the server keeps the place."""
    places: OrderedDict[tuple[str, bytes], Mark] = OrderedDict()

    def legal(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        handle = mark[2] if mark else secrets.token_urlsafe(24)
        found = cut(listing, mark, size, reader)
        return Cut(found.rows, None if found.following is None else (*found.following, handle))

    def seal(mark: Mark, listing: Listing, moment: Moment) -> str:
        del moment
        keep(places, (mark[2], cursors.binding(listing)), mark)
        return str(mark[2])

    def unseal(text: str, listing: Listing, moment: Moment) -> tuple[Listing, Mark]:
        del moment
        place = places.get((text, cursors.binding(listing)))
        if place is None:
            raise refuse("bad_cursor")
        return listing, place

    return replace(behaviour, cut=legal, sealing=Sealing(seal, unseal))


def keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Keeps a value; the oldest are forgotten beyond a fixed number."""
    kept[key] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)


@benign("snapshot", checks=("PAG-002", "PAG-003"))
def snapshot(behaviour: Behaviour) -> Behaviour:
    """The whole walk shows the rows of its first moment: later ones never, cancelled ones still."""
    walks: OrderedDict[str, Rows] = OrderedDict()

    def legal(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        walk, start = (mark[0], int(mark[1])) if mark else (secrets.token_hex(12), 0)
        if not mark:
            keep(walks, walk, fetch(listing, reader, WHOLE))
        if walk not in walks:
            raise refuse("cursor_expired")
        rows, end = walks[walk], start + size
        return Cut(rows[start:end], (walk, end) if end < len(rows) else None)

    return replace(behaviour, cut=legal)


@benign("list-changed", checks=("PAG-002", "PAG-003", "PAG-006"))
def list_changed(behaviour: Behaviour) -> Behaviour:
    """A cursor is good only while nobody writes; then 409 list_changed says to start again."""

    def legal(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        version = reader.version(listing.account)
        if mark and mark[2] != version:
            raise refuse("list_changed")
        found = cut(listing, mark, size, reader)
        return Cut(found.rows, None if found.following is None else (*found.following, version))

    return replace(behaviour, cut=legal)


def collection_only(listing: Listing) -> bytes:
    """Binds a cursor to what is listed and in which order, not to whose it is."""
    return f"{listing.table.name}\n{listing.query}".encode()


@benign("foreign-cursor-own-data", checks=("PAG-007",))
def foreign_cursor_own_data(behaviour: Behaviour) -> Behaviour:
    """Another client's cursor is accepted, but it is a place in the caller's own rows."""

    def seal(mark: Mark, listing: Listing, moment: Moment) -> str:
        return cursors.seal_with(collection_only, mark, listing, moment)

    def unseal(text: str, listing: Listing, moment: Moment) -> tuple[Listing, Mark]:
        return cursors.open_with(collection_only, text, listing, moment)

    return replace(behaviour, sealing=Sealing(seal, unseal))


@benign("limit-rejected", checks=("PAG-010",))
def limit_rejected(behaviour: Behaviour) -> Behaviour:
    """A page size above the maximum is a 400 and not cut down."""

    def size(text: str | None) -> int:
        if text is not None and pages.number_of(text) > pages.MAXIMUM_SIZE:
            raise refuse("bad_page_size", "The limit may be 200 at most.")
        return pages.page_size(text)

    return replace(behaviour, page_size=size)


@benign("limit-zero-default", checks=("PAG-010",))
def limit_zero_default(behaviour: Behaviour) -> Behaviour:
    """A page size of 0 means the default (AIP-158), and the document says that 0 is allowed."""

    def change(scope: Scope, reply: Reply) -> Reply:
        told = scope["path"] == "/openapi.json"
        return replace(reply, content=reply.content.replace(b'"minimum": 1', b'"minimum": 0')) if told else reply

    return replace(behaviour, page_size=lambda text: pages.page_size(None if text == "0" else text),
                   wrappers=(*behaviour.wrappers, on_reply(change)))
