"""Cursors carry no meaning for their holder and no authority; page sizes have a default and a bound."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from openbell.conformance.walks import walks
from openbell.events import Exchange, Recording, labelled
from openbell.profile import Page, Profile
from openbell.registry import MUST, SHOULD, Observation, Reason, broken, check, holds, undecided
from openbell.scenarios.cursors import (
    OPAQUE,
    OWNER,
    STRANGER,
    UNBOUNDED,
    counted,
    cursor_tampering,
    handle,
    page_sizes,
    sizes,
    unsealed,
)
from openbell.scenarios.pages_quiet import paged
from openbell.target import Subject, item_id, items, next_cursor, outcome, page_of

AIP_158 = "AIP-158: a page token must be opaque and URL-safe, and must not give authority"
OWASP = "OWASP API Security 2023, API1: object-level authorisation"
# Whose rows must not be among those that a probe got, and who got them.
TAKERS: Mapping[str, tuple[str, str]] = {"tamper:foreign": (OWNER, STRANGER), "tamper:edited": (STRANGER, OWNER)}


@dataclass(frozen=True)
class Seen:
    """What a principal's own pages showed, and whether that is all there is."""

    ids: frozenset[str]
    whole: bool


@check("PAG-007", title="Cursors are opaque, tamper-evident and carry no authority", level=MUST, per="collection",
       promise="pages.opaque", evidence=(cursor_tampering,), minimum=3, where=paged, exempt=counted,
       sources=(AIP_158, OWASP),
       remedy="Seal the cursor with an authenticated cipher, with the principal, the path and the query as associated "
              "data, and answer 400 to whatever does not open.")
def opaque(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """A cursor that the target did not give for this listing is refused, or leads only to what the caller may see."""
    page = page_of(target, subject.name)
    seen = _seen(recording, target, subject)
    exchanges = tuple(recording.exchanges())
    if page.mechanism in OPAQUE:
        yield from _readable(page, exchanges)
    for at, probe in enumerate(exchanges):
        if labelled(probe.label, "tamper"):
            before = next((e for e in exchanges[at::-1] if e.label == "cursor:control"), None)
            after = next((e for e in exchanges[at:] if e.label == "cursor:control"), None)
            first = next((e for e in exchanges[at::-1] if e.label == "cursor:first"), None)
            yield _excused(target, probe, before, after) or _tampered(target, page, probe, first, after, seen)


def _tampered(target: Profile, page: Page, probe: Exchange, first: Exchange | None, control: Exchange | None,
              seen: Mapping[str, Seen]) -> Observation:
    what = probe.label.partition(":")[2]
    around = [e for e in (first, probe, control) if e]
    if _crashed(probe):
        return broken("server-error", f"a refusal of the cursor ({what})", f"status {probe.status}", *around)
    if not outcome(target, "ok", probe) or page.mechanism not in OPAQUE:
        return holds(*around)
    if probe.label in TAKERS:
        return _taken(page, probe, *(seen.get(name, Seen(frozenset(), False)) for name in TAKERS[probe.label]))
    rows = _ids(page, probe)
    if first and control and rows and rows == _ids(page, first) != _ids(page, control):
        return broken("first-page", f"a refusal of the cursor ({what})",
                      f"status {probe.status} with the first page again: a client would loop", *around)
    return holds(*around)


def _taken(page: Page, probe: Exchange, theirs: Seen, own: Seen) -> Observation:
    """A foreign cursor may lead to the caller's own rows, and to no others."""
    foreign = sorted(set(_ids(page, probe)) & theirs.ids - own.ids)
    if not foreign:
        return holds(probe)
    if not own.whole:
        return undecided("vacuous", "the caller's own listing was not read to its end", probe)
    return broken("foreign-data", "a refusal, or the caller's own rows",
                  f"{len(foreign)} rows that only the other principal's listing holds, such as {foreign[0]}", probe)


def _excused(target: Profile, probe: Exchange, *controls: Exchange | None) -> Observation | None:
    """A probe without an answer, or not between two controls that worked, decides nothing."""
    reason: Reason
    if any(c is None or not outcome(target, "ok", c) for c in controls):
        reason = "control_failed"
        why = "the same request without alteration did not work before and after"
    elif probe.status is None:
        reason, why = "no_reply", str(probe.no_reply)
    elif outcome(target, "throttled", probe):
        reason, why = "shared_quota", "throttled"
    else:
        return None
    return undecided(reason, f"{probe.label}: {why}", probe)


def _crashed(probe: Exchange) -> bool:
    return probe.status is not None and probe.status >= 500


def _seen(recording: Recording, target: Profile, subject: Subject) -> dict[str, Seen]:
    """Of the owner and the stranger: the ids that their own listing showed by their own cursors."""
    found: dict[str, Seen] = {}
    for walk in walks(recording, target, subject):
        if walk.script in {OWNER, STRANGER}:
            found[walk.script] = Seen(frozenset(walk.servings()), walk.ended == "end")
    return found


def _ids(page: Page, exchange: Exchange) -> list[str]:
    return [item_id(page, row) for row in items(page, exchange)]


_POSITION = re.compile(r"[0-9]{1,18}|[\w.\[\]-]{1,60}[=:][\x20-\x7e]{1,400}")


def readable(cursor: str) -> str | None:
    """What a cursor says to whoever looks: JSON, a number or a name with a value, as it is or in base64."""
    for plain in (cursor, unsealed(cursor)):
        if plain and (_POSITION.fullmatch(plain) or _container(plain)):
            return plain
    return None


def _container(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _readable(page: Page, exchanges: tuple[Exchange, ...]) -> Iterator[Observation]:
    first = next((e for e in exchanges if e.label == "cursor:first"), None)
    following = next_cursor(page, first) if first else None
    cursor = handle(page, following) if following else None
    if first and cursor:
        plain = readable(cursor[1])
        yield holds(first) if plain is None else broken(
            "readable", "a cursor that says nothing to its holder", f"it reads {plain[:120]!r}", first, level=SHOULD)


# --- page sizes


@check("PAG-010", title="Page sizes have a default and a maximum, and invalid ones are refused", level=MUST,
       per="collection", promise="pages.size_limits", evidence=(page_sizes,), minimum=4, where=paged,
       sources=("AIP-158: no size or 0 means the default; too large is cut down; negative is an error",
                "OWASP API Security 2023, API4: unrestricted resource consumption"),
       remedy="Read the size once, in one place: absent means the default, above the maximum means the maximum or 400, "
              "and anything but a whole number from 1 is 400.")
def page_size_limits(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """No page holds more than the maximum, whatever was asked for; the default is bounded; a negative is refused.

    Where one page may hold all rows no bound can be seen, and whatever else holds is no pass.
    """
    page = page_of(target, subject.name)
    found = [*_of_sizes(recording, target, page)]
    bounded = {name for name, seen in found if seen.state == "holds"}
    unseen = UNBOUNDED & sizes(page).keys() - bounded
    yield from (seen for _, seen in found if not unseen or seen.state != "holds")


def _of_sizes(recording: Recording, target: Profile, page: Page) -> Iterator[tuple[str, Observation]]:
    """What each probe says, by its name."""
    controls = tuple(recording.exchanges("size:control"))
    for name in sizes(page):
        for probe in recording.exchanges(f"size:{name}"):
            further = next(iter(recording.exchanges(f"beyond:{name}")), None)
            if found := _excused(target, probe, *(controls or (None,))) or _sized(target, page, name, probe, further):
                yield name, found


def _more(page: Page, probe: Exchange, further: Exchange | None) -> bool:
    """Whether there are rows that a page does not hold: it says so, or the next one shows it."""
    if not page.counted:
        return next_cursor(page, probe) is not None
    return further is not None and not set(_ids(page, further)) <= set(_ids(page, probe))


def _sized(target: Profile, page: Page, name: str, probe: Exchange, further: Exchange | None) -> Observation | None:
    rows = len(items(page, probe))
    bound, rule = (page.default or page.maximum, "default-unbounded") if name == "none" else (
        page.maximum, "over-maximum")
    asked = f"with the page size {sizes(page)[name]}" if name != "none" else "without a page size"
    if _crashed(probe):
        return broken("server-error", f"a page or a refusal {asked}", f"status {probe.status}", probe)
    if not outcome(target, "ok", probe):
        return undecided("precondition", f"status {probe.status} {asked}", probe) if name in {
            "none", "one", "maximum"} else holds(probe)
    if bound is not None and rows > bound:
        return broken(rule, f"at most {bound} rows {asked}", f"{rows} rows", probe)
    if name == "negative":
        return broken("negative-accepted", f"a refusal {asked}", f"status {probe.status} with {rows} rows", probe)
    if name in UNBOUNDED and not _more(page, probe, further):
        return undecided("vacuous", f"all {rows} rows fit on one page {asked}: no bound can be seen", probe)
    # AIP-158 says nothing of a size that is no number; ignoring it is neither right nor wrong here.
    return None if name == "word" else holds(probe)
