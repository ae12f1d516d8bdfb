"""Right and wrong ways in which a listing can be cut into pages."""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from page_server import Mark, Refused, Row, Server, View, keyset

Make = Callable[[random.Random], Server]
Page = tuple[list[Row], Mark]


def plain(rnd: random.Random) -> Server:
    return Server(keyset, rnd)


def cutting(cut: Callable[[View, Mark], Page], **parts: Any) -> Make:
    return lambda rnd: Server(cut, rnd, **parts)


def having(**parts: Any) -> Make:
    return lambda rnd: Server(keyset, rnd, **parts)


# --- right ways to cut pages


def snapshot(view: View, mark: Mark) -> Page:
    at, rows = mark or (0, tuple(view.rows))
    end = at + view.size
    return list(rows[at:end]), (end, rows) if end < len(rows) else None


def short(view: View, mark: Mark) -> Page:
    view.size = view.rnd.randint(min(2, view.size), view.size)
    return keyset(view, mark)


def empty(view: View, mark: Mark) -> Page:
    """Now and then an empty page that has a next."""
    was_empty, last = mark or (False, None)
    if not was_empty and view.rnd.random() < 0.3:
        return [], (True, last)
    page, following = keyset(view, last)
    return page, following and (False, following)


def last_empty(view: View, mark: Mark) -> Page:
    page, _ = keyset(view, mark)
    return page, page[-1] if page else None


def starting_again(view: View, mark: Mark) -> Page:
    """Refuses to go on once anything was written."""
    version, last = mark or (view.version, None)
    if version != view.version:
        raise Refused(409, "list_changed")
    page, following = keyset(view, last)
    return page, following and (view.version, following)


RIGHT: dict[str, Make] = {
    "keyset": plain,
    "keyset-without-ties": having(unique_keys=True),
    "snapshot": cutting(snapshot),
    "short-pages": cutting(short),
    "empty-pages": cutting(empty),
    "final-empty-page": cutting(last_empty),
    "constant-handle": having(constant=True),
    "foreign-cursor-in-own-data": having(bound=False),
    "above-maximum-refused": having(clamps=False),
    "zero-is-default": having(zero=True),
}


# --- wrong ways


def offset(view: View, mark: Mark) -> Page:
    at = mark or 0
    end = at + view.size
    return view.rows[at:end], end if end < len(view.rows) else None


def at_least(view: View, mark: Mark) -> Page:
    rest = [r for r in view.rows if mark is None or not view.after(mark, r)]
    return rest[:view.size], rest[view.size - 1] if len(rest) > view.size else None


def key_only(view: View, mark: Mark) -> Page:
    rest = [r for r in view.rows if mark is None or view.after((r[0], ""), (mark[0], ""))]
    return rest[:view.size], rest[view.size - 1] if len(rest) > view.size else None


def numbered(change: Callable[[View, int, list[Row], Mark], Page]) -> Callable[[View, Mark], Page]:
    """Keyset, with pages counted from 1 and changed by their number."""
    def cut(view: View, mark: Mark) -> Page:
        number, last = mark or (1, None)
        page, following = change(view, number, *keyset(view, last))
        return page, None if following is None else (number + 1, following)
    return cut


def row_dropped(_view: View, number: int, page: list[Row], following: Mark) -> Page:
    return page[1:] if number == 2 else page, following


def next_dropped(_view: View, number: int, page: list[Row], following: Mark) -> Page:
    return page, None if number == 3 else following


def backwards(_view: View, number: int, page: list[Row], following: Mark) -> Page:
    return page[::-1] if number > 1 else page, following


# A place before all rows: upwards, what follows it is the first page.
LOWEST: Row = (Decimal(-1), "")


def endless(view: View, mark: Mark) -> Page:
    page, following = keyset(view, mark)
    return page, following or LOWEST


def error_after_end(view: View, mark: Mark) -> Page:
    if mark == LOWEST:
        raise Refused(500, "internal")
    page, following = keyset(view, mark)
    return page, following or LOWEST


def row_looked_up(missing: Callable[[View], Page]) -> Callable[[View, Mark], Page]:
    def cut(view: View, mark: Mark) -> Page:
        return keyset(view, mark) if mark is None or mark in view.rows else missing(view)
    return cut


def gone(_view: View) -> Page:
    raise Refused(400, "bad_cursor")


def from_the_start(view: View) -> Page:
    return keyset(view, None)


def ties_shuffled(view: View, mark: Mark) -> Page:
    """Each walk has its own order of ties, and keeps to it."""
    salt, last = mark or (view.rnd.random(), None)
    rank = {row: (row[0], random.Random(f"{salt}{row[1]}").random()) for row in view.rows}
    rows = sorted(view.rows, key=rank.__getitem__, reverse=view.rows != sorted(view.rows))
    at = 0 if last is None else rows.index(last) + 1
    page = rows[at:at + view.size]
    return page, (salt, page[-1]) if at + view.size < len(rows) else None
