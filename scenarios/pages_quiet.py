"""Walks through a listing in which nobody writes: with small, middle and the largest pages, up and down.

A listing into which the harness can write gets fixtures with ties, at least three pages full of them: a cursor without
a tie-break loses rows only there. Any other listing is walked as it is.
"""

from __future__ import annotations

from openbell.api import Api
from openbell.profile import Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.scenarios.pages import (
    REFERENCE_PAGES,
    SIZE,
    Walk,
    ascending,
    claims,
    fill,
    go,
    pager,
    reference,
    writable,
)
from openbell.session import Skip, principal, sacrificial
from openbell.target import Subject

FIXTURES = 20
TIED = 16
SMALL, SMALL_PAGES = 2, 40
MIDDLE, MIDDLE_PAGES = 10, 20


def paged(target: Profile, subject: Subject) -> bool:
    """Whether the collection has a page dialect."""
    return target.operation[subject.name].page in target.page


def own_fixtures(target: Profile, subject: Subject) -> bool:
    """Whether the harness may fill the listing for itself."""
    return writable(target, subject) and "write" in target.target.allow


def quiet_claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    """What is filled is owned; what is only read is shared."""
    if own_fixtures(target, subject):
        return claims(target, subject)
    return share(str(subject)), share(f"principal:{sacrificial(target, 'pages') or principal(target)}")


def _cost(target: Profile, subject: Subject) -> Cost:
    own = own_fixtures(target, subject)
    return Cost(reads=SMALL_PAGES + 5 * MIDDLE_PAGES + 2 * REFERENCE_PAGES, writes=2 * FIXTURES * own)


@scenario(per="collection", where=paged, claims=quiet_claims, cost=_cost)
async def pages_quiet(api: Api, target: Profile, subject: Subject) -> None:
    """The whole listing in the largest pages; then in small ones, twice in middle ones, and downwards where it can be
    sorted so; in pages that leave one item for the last; then in the largest again. Nothing is written meanwhile."""
    walk = Walk(api, target, subject.name, pager(target), "fixtures")
    size = MIDDLE
    if own_fixtures(target, subject):
        size = SIZE
        made = await fill(walk, FIXTURES, TIED)
        if len(made) < FIXTURES:
            raise Skip("precondition", f"only {len(made)} of {FIXTURES} fixtures could be made")
    up, down = ascending(walk.collection), walk.collection.sorts.get("descending")
    items = await reference(walk)
    await go(_named(walk, "small"), size=SMALL, max_pages=SMALL_PAGES, query=up)
    for name in ("first", "again"):
        await go(_named(walk, name), size=size, max_pages=MIDDLE_PAGES, query=up)
    if down:
        await go(_named(walk, "descending"), size=size, max_pages=MIDDLE_PAGES, query=down)
    await go(_named(walk, "default"), size=None, max_pages=MIDDLE_PAGES, query=up)
    if items and (odd := one_over(items, walk.page.maximum or items)):
        await go(_named(walk, "one_over"), size=odd, max_pages=MIDDLE_PAGES, query=up)
    await reference(walk)


def one_over(items: int, most: int) -> int | None:
    """The largest page size that leaves one item for the last of a few pages; None without any."""
    fit = (size for size in range(min(most, items - 1), 1, -1) if items % size == 1)
    return next((size for size in fit if items // size < MIDDLE_PAGES), None)


def _named(walk: Walk, name: str) -> Walk:
    return Walk(walk.api, walk.target, walk.listing, walk.by, name)
