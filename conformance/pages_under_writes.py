"""Pagination while others write: what the stable core must survive.

Sound under every semantics that a cursor may claim (keyset or snapshot): only items that nothing touched during the
walk are judged, so a failure is a logical contradiction and needs no repetition.
"""

from __future__ import annotations

from collections.abc import Iterator

from openbell.conformance.walks import (
    Key,
    PageRead,
    Row,
    Walk,
    Write,
    before,
    collection_of,
    core,
    during,
    moved_forward,
    rows_of,
    shown,
    sort_key,
    walks,
    witnessed,
    writes,
)
from openbell.events import Exchange, Recording
from openbell.profile import Profile, SortKey
from openbell.registry import MUST, Observation, Reason, broken, check, holds, undecided
from openbell.scenarios.pages import REFERENCE, pages_cursor_row, pages_one_sided, writable
from openbell.target import Subject, outcome

FEWEST_CORE = 20
SECOND, REFUSED = 2, 400
_UNSEEN = "{} was not seen in the listing both before and after the walk: it may not belong there any more"

CURSORS = "Conventions: cursor-based pagination, consistent during concurrent writes"
ZALANDO = "Zalando RESTful API guidelines, rule 160: offsets and wrongly built cursors duplicate or miss entries"
REMEDY = ("Page by a keyset: WHERE (sort key, id) > (the last row's) ORDER BY sort key, id. Seal both values in the "
          "cursor; never seal an offset.")


@check("PAG-002", title="No stable item is skipped while others write", level=MUST, per="collection",
       promise="pages.no_loss", evidence=(pages_one_sided,), minimum=2, where=writable, sources=(CURSORS, ZALANDO),
       remedy=REMEDY)
def no_skips(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """An item that was there before the first page, and that nothing touched until the last, is served."""
    history = writes(recording)
    every = tuple(walks(recording, target, subject))
    for walk in (w for w in every if w.script != REFERENCE):
        if stopped := _stopped(walk):
            yield stopped
            continue
        stable, seen, served = dict(core(walk, history)), witnessed(walk, every), walk.servings()
        lost = [item for item in stable if item not in served]
        for item in lost:
            made = stable[item]
            yield broken("skipped", f"{item} is served: it was there before the walk and nothing touched it",
                         _lost_story(walk, item, made, target, subject, history), *_evidence(walk, made, history),
                         ) if item in seen else undecided("precondition", _UNSEEN.format(item), made.exchange)
        if not lost:
            yield holds(*walk.exchanges()) if len(stable) >= FEWEST_CORE else undecided(
                "vacuous", f"only {len(stable)} items stayed untouched during the walk {walk.script}",
                *walk.exchanges())


@check("PAG-003", title="No stable item is served twice while others write", level=MUST, per="collection",
       promise="pages.no_duplicates", evidence=(pages_one_sided,), minimum=2, where=writable,
       sources=(CURSORS, ZALANDO), remedy=REMEDY)
def no_repeats(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """An item is served twice only if its sort key moved forward between the two."""
    sort = collection_of(target, subject).sort
    history = writes(recording)
    for walk in (w for w in walks(recording, target, subject) if w.script != REFERENCE):
        twice = [(item, seen) for item, seen in walk.servings().items() if len(seen) > 1]
        wrong = [(item, seen) for item, seen in twice if not _explained(seen, sort, history.get(item, ()))]
        for item, seen in wrong:
            first, second = seen[0], seen[1]
            yield broken("repeated", f"{item} is served once: its sort key did not move",
                         _twice_story(walk, item, first, second, history),
                         walk.pages[first[0]].exchange, walk.pages[second[0]].exchange,
                         *_between(walk, first[0], second[0], history))
        if not wrong:
            yield _stopped(walk) or holds(*walk.exchanges())


@check("PAG-006", title="A walk goes on when the cursor's own row has gone", level=MUST, per="collection",
       promise="pages.cursor_row", evidence=(pages_cursor_row,), minimum=2, where=writable, sources=(CURSORS, ZALANDO),
       remedy="Keep the sort key's values in the cursor, not the row's id: never look the row up again.")
def cursor_row_gone(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """After the row that the cursor points to has left, the next page follows, from the same place; or the target says
    that the walk must start again, and then it comes to its end."""
    history = writes(recording)
    every = tuple(walks(recording, target, subject))
    for walk in (w for w in every if w.script != REFERENCE):
        gone = [w for w in during(walk, history) if w.kind == "leave" and w.outcome == "ok"]
        if walk.restarts and walk.ended == "end" and not gone:
            yield holds(*walk.exchanges())
            continue
        if not gone or gone[-1].ends > walk.pages[-1].exchange.sent:
            yield undecided("vacuous", f"no row left during the walk {walk.script}", *walk.exchanges())
            continue
        seen = witnessed(walk, every)
        yield _still_there(walk, gone, every) or _after_gone(
            walk, target, gone, {item for item, _ in core(walk, history) if item in seen})


def _still_there(walk: Walk, gone: list[Write], every: tuple[Walk, ...]) -> Observation | None:
    """Why the rows cannot be taken for gone; None when the first whole look after the walk shows none of them. One
    that was cut short shows that only of rows which a look before the walk showed."""
    looks = [w for w in every if w.script == REFERENCE]
    look = next((w for w in looks if w.start >= walk.end and w.ended in {"end", "long"}), None)
    if look is None:
        return undecided("precondition", "the listing was not read again: whether the row left is not known",
                         *(w.exchange for w in gone))
    before_it = {item for w in looks if w.end <= walk.start for item in w.servings()}
    if left := [w for w in gone if w.item in look.servings()]:
        return undecided("precondition", f"the row did not leave: {left[0].exchange.method} got status "
                         f"{left[0].exchange.status}, and {left[0].item} is still listed afterwards", left[0].exchange)
    if look.ended == "long" and not {w.item for w in gone} <= before_it:
        return undecided("precondition", "the listing is too long to see whether the row left", gone[-1].exchange)
    return None


def _after_gone(walk: Walk, target: Profile, gone: list[Write], stable: set[str]) -> Observation:
    at = next(i for i, p in enumerate(walk.pages) if p.exchange.sent >= gone[-1].ends)
    page, earlier = walk.pages[at], {r.id for p in walk.pages[:at] for r in p.rows}
    following = next((p.rows for p in walk.pages[at:] if p.rows), ())
    events = (walk.pages[at - 1].exchange, *(w.exchange for w in gone), page.exchange)
    expected = "the page after the row that left, by a 2xx"
    if walk.ended == "restart" or page.exchange.status is None or outcome(target, "throttled", page.exchange):
        return undecided("no_reply", "the target asked to start again or to wait, or did not answer", *events)
    if not outcome(target, "ok", page.exchange):
        return broken("cursor-row-error", expected, f"status {page.exchange.status}", *events)
    if {r.id for r in following} & earlier & stable:
        return broken("cursor-row-restart", expected, "rows that were served before: the walk started over", *events)
    if stopped := _stopped(walk):
        return stopped
    missing = stable - set(walk.servings())
    if missing:
        return broken("cursor-row-skip", expected, f"{len(missing)} untouched rows were served on no page, such as "
                      f"{min(missing)}", *events)
    return holds(*events)


# --- the story of a failure, in at most six steps


def _stopped(walk: Walk) -> Observation | None:
    """A walk that did not reach its end decides nothing about loss; nor does one of which page 2 was refused, since
    that may be the end of a listing whose pages are counted, or a position that the target does not understand."""
    last = walk.pages[-1].exchange
    if walk.ended == "end" and not (len(walk.pages) == SECOND and (last.status or 0) >= REFUSED):
        return None
    came = last.no_reply or f"status {last.status}"
    reason: Reason = "no_reply" if last.status is None else "precondition"
    return undecided(reason, f"the walk {walk.script} ended early ({walk.ended}: {came})", last)


def _explained(seen: list[tuple[int, Row]], sort: tuple[SortKey, ...], made: tuple[Write, ...]) -> bool:
    """Whether the item moved ahead of the cursor between its servings, or we moved it and cannot see where to."""
    blind = any(not row.key for _, row in seen) and any(w.kind == "move" for w in made)
    return blind or moved_forward(seen, sort)


def _between(walk: Walk, page: int, later: int, history: dict[str, tuple[Write, ...]]) -> list[Exchange]:
    since, until = walk.pages[page].exchange.sent, walk.pages[later].exchange.done
    return [w.exchange for w in during(walk, history) if since < w.begins < until][:3]


def _gap(walk: Walk, key: Key, sort: tuple[SortKey, ...]) -> int:
    """The number of the first page whose last row comes after the lost item; the last page when none does."""
    for number, page in enumerate(walk.pages):
        if page.rows and key and before(key, page.rows[-1].key, sort):
            return number
    return len(walk.pages) - 1


def _lost_story(walk: Walk, item: str, made: Write, target: Profile, subject: Subject,
                history: dict[str, tuple[Write, ...]]) -> str:
    sort = collection_of(target, subject).sort
    key = _key_when_made(made, target, subject)
    number = _gap(walk, key, sort)
    earlier = during(walk, history)
    cause = [w for w in earlier if w.ends < walk.pages[number].exchange.sent][-1:]
    steps = [f"{item} {shown(key)} was made before the walk {walk.script} began"]
    if number:
        steps.append(f"page {number} ended with {_last(walk.pages[number - 1])}")
    steps += [_told(w, walk) for w in cause]
    steps += [f"page {number + 1} began with {_first(walk.pages[number])}",
              f"{item} belongs there, and was served on none of {len(walk.pages)} pages"]
    return _numbered(steps)


def _twice_story(walk: Walk, item: str, first: tuple[int, Row], second: tuple[int, Row],
                 history: dict[str, tuple[Write, ...]]) -> str:
    cause = [w for w in during(walk, history)
             if w.begins > walk.pages[first[0]].exchange.sent and w.ends < walk.pages[second[0]].exchange.sent]
    steps = [f"page {first[0] + 1} served {item} {shown(first[1].key)}"]
    steps += [_told(w, walk) for w in cause[-2:]]
    steps.append(f"page {second[0] + 1} served {item} {shown(second[1].key)} again")
    return _numbered(steps)


def _told(write: Write, walk: Walk) -> str:
    after = sum(1 for p in walk.pages if p.exchange.done <= write.begins)
    verb = {"insert": "was inserted", "leave": "left the listing", "move": "moved"}[write.kind]
    return f"after page {after}, {write.item} {verb} ({write.exchange.method} {write.exchange.status})"


def _key_when_made(made: Write, target: Profile, subject: Subject) -> Key:
    return sort_key(rows_of(made.exchange), collection_of(target, subject).sort)


def _first(page: PageRead) -> str:
    return f"{page.rows[0].id} {shown(page.rows[0].key)}" if page.rows else "no rows"


def _last(page: PageRead) -> str:
    return f"{page.rows[-1].id} {shown(page.rows[-1].key)}" if page.rows else "no rows"


def _numbered(steps: list[str]) -> str:
    return "\n".join(f"{i}. {step}" for i, step in enumerate(steps[:6], 1))


def _evidence(walk: Walk, made: Write, history: dict[str, tuple[Write, ...]]) -> tuple[Exchange, ...]:
    return (made.exchange, *walk.exchanges(), *(w.exchange for w in during(walk, history)))
