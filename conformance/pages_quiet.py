"""Pagination while nobody writes: a walk ends, serves everything once, and in one order.

The judgement does not trust that it is quiet. Only an item that was served before and after a walk counts as missing
from it; a row that moved forward may come twice; two orders are compared over rows that did not change. A position that
the caller counts shifts with whatever is written before it: there the whole listing must have stayed as it was. Text is
never compared for order, since collations differ; numbers and times are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from openbell.conformance.walks import (
    Key,
    Row,
    Walk,
    before,
    collection_of,
    moved_forward,
    quiet,
    shown,
    unmoved,
    walks,
    witnessed,
    writes,
)
from openbell.events import Recording
from openbell.profile import Page, Profile, SortKey
from openbell.registry import MUST, Observation, Reason, broken, check, holds, undecided
from openbell.scenarios.pages import REFERENCE
from openbell.scenarios.pages_quiet import paged, pages_quiet
from openbell.target import Subject, outcome, page_of

DESCENDING = "descending"
FEWEST_PAGES = 3
SHIFTS = frozenset({"duplicate", "incomplete", "endless", "order-broken", "ties-lost"})
TWO_KEYS = 2
GATEWAY = frozenset({502, 503, 504})

AIP_158 = "AIP-158: an empty next_page_token is the only sign of the end; pages may be short or empty"
ZALANDO = "Zalando RESTful API guidelines, rules 160 and 248: cursors; no next link on the last page"
CURSORS = "Conventions: cursor-based pagination, consistent sorting"


@check("PAG-001", title="The chain of cursors ends, and its pages together hold every item once", level=MUST,
       per="collection", promise="pages.complete", evidence=(pages_quiet,), minimum=3, where=paged,
       sources=(AIP_158, ZALANDO),
       remedy="Fetch one row more than the page holds: if it is there, give a next, else none. Start the next page "
              "strictly after the last row served, by sort key and id together.")
def complete(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Whatever the page size: no item is missing, none comes twice, the chain ends, and its end is no error.

    A listing that is too long to be walked whole is judged as far as it was walked, by the keys that its rows show.
    """
    every = tuple(walks(recording, target, subject))
    if every and not any(len(w.pages) >= FEWEST_PAGES for w in every):
        yield undecided("vacuous", f"no walk had {FEWEST_PAGES} pages", *every[0].exchanges())
        return
    page = page_of(target, subject.name)
    found = _whole(every, target, page, collection_of(target, subject).sort)
    yield from _unshifted(found, page, every, writes(recording))


def _unshifted(found: Iterable[Observation], page: Page, every: tuple[Walk, ...], own: Iterable[str],
               ) -> Iterator[Observation]:
    """What was found. Where positions are counted and the listing changed meanwhile, what a shift explains is not
    broken, and what holds beside it shows nothing."""
    found = tuple(found)
    if not (page.counted and any(one.rule in SHIFTS for one in found)) or quiet(every, REFERENCE, own):
        yield from found
        return
    for one in found:
        if one.rule in SHIFTS:
            yield replace(undecided("noisy", "the listing changed while it was walked, so counted positions shifted"),
                          events=one.events)
        elif one.state != "holds":
            yield one


def _whole(every: tuple[Walk, ...], target: Profile, page: Page, sort: tuple[SortKey, ...]) -> Iterator[Observation]:
    for walk in every:
        due = _due(walk, every, sort)
        missing = sorted(due - set(walk.servings()))
        if walk.ended == "endless":
            yield broken("endless", f"an end of the chain {_sized(walk)}",
                         f"the last of {len(walk.pages)} pages brought nothing new, and "
                         f"{'none was the end' if page.counted else 'each had a next'}", *walk.exchanges())
        elif walk.ended in {"error", "restart"}:
            yield _broke_off(walk, target, page, missing)
        else:
            yield from _union(walk, missing, sort, known=walk.ended == "end" or bool(due))


def _union(walk: Walk, missing: list[str], sort: tuple[SortKey, ...], *, known: bool) -> Iterator[Observation]:
    twice = {i: seen for i, seen in walk.servings().items() if len(seen) > 1 and not moved_forward(seen, sort)}
    for item, seen in twice.items():
        pages = [number + 1 for number, _ in seen]
        yield broken("duplicate", f"{item} once", f"on the pages {_listed(pages)} of the walk {_sized(walk)}",
                     *(walk.pages[number].exchange for number, _ in seen))
    if missing:
        yield broken("incomplete", f"every item, whatever the page size (here {_sized(walk)})",
                     f"{len(missing)} missing, such as {missing[0]}, though served before and after", *walk.exchanges())
    if not twice and not missing:
        yield holds(*walk.exchanges()) if known else undecided(
            "budget", f"{len(walk.pages)} pages {_sized(walk)} did not reach the end", *walk.exchanges()[-1:])


def _broke_off(walk: Walk, target: Profile, page: Page, missing: list[str]) -> Observation:
    """What follows a page is an error: at the end of the listing, or with items still to come."""
    last = walk.pages[-1].exchange
    reason = _excused(walk, target)
    if reason:
        return undecided(reason, f"the walk {walk.script} ended with {last.no_reply or f'status {last.status}'}", last)
    came = f"page {len(walk.pages)} got status {last.status}"
    if missing:
        return broken("incomplete", f"every item ({_sized(walk)})", f"{came}, with {len(missing)} items still to come",
                      *walk.exchanges())
    expected, led = ("an end that the last page tells, or an empty page", "") if page.counted else (
        "no next on the last page", ", by the next of the page before")
    return broken("next-after-end", expected, came + led, *walk.exchanges()[-2:])


def _excused(walk: Walk, target: Profile) -> Reason | None:
    """Why the error that ended a walk says nothing of its cursors; None when it does."""
    last = walk.pages[-1].exchange
    if last.status is None or walk.ended == "restart":
        return "no_reply"
    if outcome(target, "throttled", last):
        return "shared_quota"
    if last.status in GATEWAY:
        return "edge_generated"
    aside = any(outcome(target, name, last) for name in ("unauthenticated", "expired", "forbidden"))
    return "precondition" if aside or len(walk.pages) == 1 else None


def _due(walk: Walk, every: tuple[Walk, ...], sort: tuple[SortKey, ...]) -> set[str]:
    """The items that the walk should have served: all that were there, or, where it was cut short on purpose, all
    whose key comes before its last row's. In a listing that is not in its declared order keys tell nothing of that."""
    seen = witnessed(walk, every)
    if walk.ended != "long":
        return set(seen)
    rows, ordered = walk.rows(), ordering(sort)
    if not rows or any(_backwards(walk, sort)):
        return set()
    reverse = walk.script == DESCENDING
    return {item for item, row in seen.items() if before(row.key, rows[-1].key, ordered, reverse=reverse)}


# --- order


@check("PAG-004", title="The order across pages is total and stable", level=MUST, per="collection",
       promise="pages.order", evidence=(pages_quiet,), minimum=3, where=paged,
       sources=(CURSORS, "AIP-132: ordering by the natural comparator of the field"),
       remedy="ORDER BY the sort key and then a unique id, and compare both in the cursor.")
def ordered(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Keys never go back, ties come in a repeatable order, and no tie is lost where a page ends."""
    sort = collection_of(target, subject).sort
    every = tuple(walks(recording, target, subject))
    if every and not any(len(w.pages) >= FEWEST_PAGES for w in every):
        yield undecided("vacuous", f"no walk had {FEWEST_PAGES} pages", *every[0].exchanges())
        return
    whole = [w for w in every if w.ended in {"end", "long"}]
    for walk in (w for w in every if w not in whole):
        yield undecided("precondition", f"the walk {walk.script} did not reach its end ({walk.ended})",
                        *walk.exchanges()[-1:])
    found = [*_unshifted(_in_order(whole, every, sort), page_of(target, subject.name), every, writes(recording))]
    width = len(ordering(sort))
    if width and len({row.key[:width] for walk in whole for row in walk.rows()}) < TWO_KEYS:
        yield from (o for o in found if o.state == "broken")
        yield undecided("vacuous", "all rows have the same key: no order can be seen",
                        *(walk.pages[0].exchange for walk in whole[:1]))
    else:
        yield from found


def _in_order(whole: list[Walk], every: tuple[Walk, ...], sort: tuple[SortKey, ...]) -> Iterator[Observation]:
    for walk in whole:
        found = [*_backwards(walk, sort), *_lost_ties(walk, every, sort)]
        yield from found or [holds(*walk.exchanges())]
    upwards = [w for w in whole if w.script != DESCENDING]
    for one, other in pairwise(upwards):
        yield from _differing(one, other)


def ordering(sort: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
    """The leading parts of the sort key that compare alike everywhere: those before the first text."""
    first_text = next((i for i, part in enumerate(sort) if part.type == "text"), len(sort))
    return sort[:first_text]


def _backwards(walk: Walk, sort: tuple[SortKey, ...]) -> Iterator[Observation]:
    """The first place where a row does not come strictly after the one before it."""
    parts, reverse = ordering(sort), walk.script == DESCENDING
    rows = [(number, row) for number, page in enumerate(walk.pages) for row in page.rows]
    for (page, one), (later, other) in pairwise(rows):
        same = bool(one.id) and one.id == other.id and one.key == other.key
        if same or before(other.key, one.key, parts, reverse=reverse):
            yield broken("order-broken", f"{'descending' if reverse else 'the declared'} order, strictly",
                         f"{_told(one)} on page {page + 1}, then {_told(other)} on page {later + 1}",
                         walk.pages[page].exchange, walk.pages[later].exchange)
            return


def _lost_ties(walk: Walk, every: tuple[Walk, ...], sort: tuple[SortKey, ...]) -> Iterator[Observation]:
    """Items that are missing although rows with the same key stand where a page ends."""
    width = len(ordering(sort))
    served, seen, due = walk.servings(), witnessed(walk, every), _due(walk, every, sort)
    for number, page in enumerate(walk.pages[:-1]):
        key: Key = page.rows[-1].key[:width] if page.rows else ()
        lost = sorted(i for i in due if i not in served and key and seen[i].key[:width] == key)
        if lost:
            yield broken("ties-lost", f"all rows with the key {shown(key)}, at which page {number + 1} ends",
                         f"{len(lost)} of them on no page, such as {lost[0]}", *walk.exchanges()[number:number + 2])
            return


def _differing(one: Walk, other: Walk) -> Iterator[Observation]:
    """Two walks serve the rows that did not change in the same order."""
    first, second = _unchanged(one, other), _unchanged(other, one)
    at = next((i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b), None)
    if at is not None:
        yield broken("walks-differ", "the same order in every walk",
                     f"row {at + 1} was {first[at]} in pages of {one.size or 'default size'}, then {second[at]} in "
                     f"pages of {other.size or 'default size'}", *one.exchanges()[:3], *other.exchanges()[:3])
    elif len(first) >= FEWEST_PAGES:
        yield holds(*one.exchanges(), *other.exchanges())


def _unchanged(walk: Walk, other: Walk) -> list[str]:
    """The ids in the order in which a walk served them first, of the rows that the other shows in the same place."""
    mine, theirs = ({item: seen[0][1] for item, seen in w.servings().items()} for w in (walk, other))
    return [item for item, row in mine.items() if item in theirs and unmoved(row, theirs[item])]


def _told(row: Row) -> str:
    return f"{row.id} {shown(row.key)}"


def _sized(walk: Walk) -> str:
    return f"in pages of {walk.size}" if walk.size else "in pages of default size"


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:6]))
