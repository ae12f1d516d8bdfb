"""How a walk through a listing goes on: the one place that knows what comes after a page.

A cursor or a next URL is taken from the reply. A page's number or a row's offset is the caller's own arithmetic: it
counts the pages, or the rows that were served. Where such a listing ends is what the profile says: by its `next`, its
`end` or its `total`. Without these, or where a reply does not tell, the end is an empty page, or one that holds fewer
rows than were asked for and than an earlier page held: so a size that the target cuts down ends nothing early. Who can
only guess may ask for one page too many, and a refusal of that is the end as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from openbell.events import Exchange
from openbell.locate import text
from openbell.profile import Page, Profile
from openbell.target import countable, ended, items, next_cursor, outcome, told


@dataclass(frozen=True)
class Step:
    """How one page is asked for, and what came before it: pages, rows, and the most rows that one page held.

    `url` is asked for as it is; `guessed` says that the page before did not tell whether there is one.
    """

    query: Mapping[str, str]
    url: str | None = None
    pages: int = 0
    rows: int = 0
    fullest: int = 0
    guessed: bool = False


def first(page: Page) -> Step:
    """The first page; a position that is counted is said, for not every target has a default."""
    return Step({page.put: _position(page, 0, 0)} if page.counted else {})


def following(page: Page, step: Step, exchange: Exchange, size: int | None) -> Step | None:
    """The page after the one that a step asked for in that size; None at the end."""
    if page.counted:
        return _counted(page, step, exchange, size)
    cursor = next_cursor(page, exchange)
    if cursor is None:
        return None
    return Step({}, cursor) if page.mechanism == "url" else Step({page.put: cursor})


def past_end(target: Profile, step: Step, exchange: Exchange) -> bool:
    """Whether a refusal says no more than that the guessed page does not exist."""
    return step.guessed and outcome(target, "bad_cursor", exchange)


def _position(page: Page, pages: int, rows: int) -> str:
    start = page.first if page.first is not None else int(page.mechanism == "number")
    return str(start + (pages if page.mechanism == "number" else rows))


def _counted(page: Page, step: Step, exchange: Exchange, size: int | None) -> Step | None:
    came = len(items(page, exchange))
    pages, rows = step.pages + 1, step.rows + came
    more = _more(page, exchange, rows)
    if not (_full(step, came, size) if more is None else more):
        return None
    return Step({page.put: _position(page, pages, rows)}, None, pages, rows, max(step.fullest, came), more is None)


def _more(page: Page, exchange: Exchange, rows: int) -> bool | None:
    """Whether a page tells that rows follow those served so far; None where it does not."""
    if page.next:
        return next_cursor(page, exchange) not in {None, "false"}
    if page.end:
        return not ended(page, exchange)
    total = text(told(page, page.total, exchange)) if page.total else ""
    # A total beyond an empty page would have the same page asked for again and again.
    return rows < int(total) if countable(total) and items(page, exchange) else None


def _full(step: Step, came: int, size: int | None) -> bool:
    return came > 0 and (came >= step.fullest or (size is not None and came >= size))
