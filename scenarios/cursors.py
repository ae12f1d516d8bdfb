"""What a listing does with cursors that it never gave to the caller, and with page sizes out of range.

Every altered cursor stands between two that are as the target gave them; each probe uses a cursor of its own, since
some targets let one be used only once.
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openbell.api import Api, Reply
from openbell.paging import first, following
from openbell.profile import Page, Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.scenarios.pages import Walk, claims, fill, go, pager
from openbell.scenarios.pages_quiet import own_fixtures, paged, quiet_claims
from openbell.session import Skip, principal
from openbell.target import Subject, page_of

OPAQUE = frozenset({"token", "url"})
SMALL = 2
FIXTURES, TIED = 6, 3
PROBES = 8
LOOK_PAGES = 4
OTHER_LISTINGS = 3
OWNER, STRANGER = "owner", "stranger"
DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
GARBAGE = ("abc", "-1", "9" * 40)


def handle(page: Page, following: str) -> tuple[str, str] | None:
    """The query parameter and the value that lead to the next page; None where a next URL has no parameter."""
    if page.mechanism != "url":
        return page.put, following
    try:
        pairs = parse_qsl(urlsplit(following).query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return None
    return max((p for p in pairs if p[1]), key=lambda pair: (pair[0] == page.put, len(pair[1])), default=None)


def unsealed(cursor: str) -> str | None:
    """The printable text inside base64, of either alphabet; None where there is none."""
    bare = cursor.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        plain = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except ValueError:
        return None
    return plain if plain.isprintable() and plain else None


@dataclass(frozen=True)
class Hand:
    """Who probes which listing; `owner` is the principal whose cursors are used."""

    api: Api
    target: Profile
    listing: str
    owner: str

    @property
    def page(self) -> Page:
        """The page dialect."""
        return page_of(self.target, self.listing)

    async def ask(self, label: str, cursor: tuple[str, str] | None = None, by: str | None = None) -> Reply:
        """One small page, by a cursor or from the start."""
        query = {self.page.size: str(SMALL)} | ({cursor[0]: cursor[1]} if cursor else {})
        return await self.api.call(self.listing, by=by or self.owner, label=label, extra=query)

    async def first(self) -> tuple[str, str]:
        """A fresh cursor. Raises Skip where the listing has no second page."""
        reply = await self.ask("cursor:first")
        found = handle(self.page, reply.next) if reply.next else None
        if found is None:
            raise Skip("precondition", f"{self.listing} gave no cursor to a second page of {SMALL}: "
                       f"{reply.exchange.no_reply or f'status {reply.status}'}")
        return found

    async def probe(self, label: str, alter: Callable[[str], str | None], by: str | None = None) -> None:
        """An altered cursor, then the same one unaltered; nothing where it cannot be altered so."""
        name, value = await self.first()
        altered = alter(value)
        if altered is None:
            return
        await self.ask(f"tamper:{label}", (name, altered), by)
        await self.ask("cursor:control", (name, value))


def flipped(cursor: str, at: int) -> str:
    """The cursor with another character at one place, the next greater base64 digit where there is one.

    So a readable position moves on rather than back to the start.
    """
    old = DIGITS.find(cursor[at])
    new = DIGITS[old + 1] if 0 <= old < len(DIGITS) - 1 else DIGITS[old - 1] if old > 0 else "A"
    return cursor[:at] + new + cursor[at + 1:]


def _claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    stranger = principal(target, "other_tenant")
    return (*quiet_claims(target, subject), *((share(f"principal:{stranger}"),) if stranger else ()))


def counted(target: Profile, subject: Subject) -> str | None:
    """Why a listing has no cursors at all: its positions are counted by the caller. None where it may have some."""
    page = page_of(target, subject.name)
    return f"the caller counts ({page.mechanism}): the listing has no cursors" if page.counted else None


def cursored(target: Profile, subject: Subject) -> bool:
    """Whether a collection is paged otherwise than by counting."""
    return paged(target, subject) and counted(target, subject) is None


def _cost(target: Profile, subject: Subject) -> Cost:
    return Cost(reads=2 + 3 * PROBES + 2 * LOOK_PAGES + OTHER_LISTINGS,
                writes=2 * FIXTURES * own_fixtures(target, subject))


@scenario(per="collection", where=cursored, claims=_claims, cost=_cost)
async def cursor_tampering(api: Api, target: Profile, subject: Subject) -> None:
    """Cursors with a character changed, cut, made up, of another listing, of another principal, and edited."""
    owner = pager(target)
    if own_fixtures(target, subject):
        await fill(Walk(api, target, subject.name, owner, "fixtures"), FIXTURES, TIED)
    hand = Hand(api, target, subject.name, owner)
    if hand.page.mechanism not in OPAQUE:
        await _garbage(hand)
        return
    await hand.ask("cursor:control", await hand.first())
    for part in (1, 2, 3):
        await hand.probe(f"flip-{part}", lambda c, part=part: flipped(c, len(c) * part // 4))  # type: ignore[misc]
    await hand.probe("cut", lambda c: c[: len(c) // 2] or None)
    await hand.probe("made-up", lambda c: base64.urlsafe_b64encode(api.random.randbytes(24)).decode())
    other = await _other_listing(hand)
    await hand.probe("other-listing", lambda c: other)
    if stranger := principal(target, "other_tenant"):
        await _foreign(hand, stranger)


async def _garbage(hand: Hand) -> None:
    """Where the caller makes the position itself: values that are none."""
    await hand.ask("cursor:control")
    for number, value in enumerate(GARBAGE):
        await hand.ask(f"tamper:made-up-{number}", (hand.page.put, value))
    await hand.ask("cursor:control")


async def _other_listing(hand: Hand) -> str | None:
    """A cursor of another listing; None without one."""
    others = [n for n, op in hand.target.operation.items()
              if n != hand.listing and op.method == "GET" and op.page in hand.target.page
              and page_of(hand.target, n).mechanism in OPAQUE]
    for name in others[:OTHER_LISTINGS]:
        page = page_of(hand.target, name)
        reply = await hand.api.call(name, by=hand.owner, label="cursor:other", extra={page.size: str(SMALL)})
        if found := handle(page, reply.next) if reply.next else None:
            return found[1]
    return None


async def _foreign(hand: Hand, stranger: str) -> None:
    """What both principals see of their own; then the owner's cursor in the stranger's hand, and an edited one."""
    for name, by in ((OWNER, hand.owner), (STRANGER, stranger)):
        await go(Walk(hand.api, hand.target, hand.listing, by, name), size=hand.page.maximum, max_pages=LOOK_PAGES)
    await hand.probe("foreign", lambda c: c, by=stranger)
    mine, theirs = (hand.target.credential[p].values for p in (hand.owner, stranger))
    swap = {value: theirs[name] for name, value in mine.items() if theirs.get(name, value) != value}
    await hand.probe("edited", lambda c: edited(c, swap))


def edited(cursor: str, swap: dict[str, str]) -> str | None:
    """A base64 JSON cursor with the owner's values swapped for another principal's; None where there is none."""
    try:
        inside = json.loads(unsealed(cursor) or "")
    except (ValueError, RecursionError):
        return None
    changed = _swapped(inside, swap)
    if changed == inside:
        return None
    text = base64.urlsafe_b64encode(json.dumps(changed, separators=(",", ":")).encode()).decode()
    return text if cursor.endswith("=") else text.rstrip("=")


def _swapped(value: Any, swap: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _swapped(member, swap) for name, member in value.items()}
    if isinstance(value, list):
        return [_swapped(member, swap) for member in value]
    return swap.get(value, value) if isinstance(value, str) else value


# --- page sizes

SIZES = {"one": "1", "zero": "0", "negative": "-1", "word": "abc", "huge": "1000000"}
CONTROL_SIZE = 5
LOOKS = 2
MOST_ROWS = 250
UNBOUNDED = frozenset({"none", "above", "huge"})


def sizes(page: Page) -> dict[str, str | None]:
    """The probes: name and page size, None for a request without one."""
    declared = {"maximum": str(page.maximum), "above": str(page.maximum + 1)} if page.maximum else {}
    return {"none": None} | declared | SIZES


def roomy(page: Page) -> int:
    """How many rows a listing needs so that neither the largest page nor the default one holds them all."""
    return max(page.maximum or 0, page.default or 0) + 1


def _rows_to_make(page: Page, room: int) -> int:
    """As many rows as show the maximum, else as many as show the default; none where that is too much to create."""
    return next((n for n in (roomy(page), (page.default or 0) + 1) if n <= min(room, MOST_ROWS)), 0)


def _sizes_claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    """The listing that may be filled is owned, and read last: what others wrote is in it by then."""
    return (*claims(target, subject), share(f"principal:{principal(target)}"))


def _sizes_cost(target: Profile, subject: Subject) -> Cost:
    made = _rows_to_make(page_of(target, subject.name), MOST_ROWS) * own_fixtures(target, subject)
    return Cost(reads=len(SIZES) + len(UNBOUNDED) + 5 + 2 * LOOKS, writes=2 * made)


@scenario(per="collection", where=paged, claims=_sizes_claims, cost=_sizes_cost)
async def page_sizes(api: Api, target: Profile, subject: Subject) -> None:
    """The first page without a size, with the largest, with more, and with sizes that are none; where pages are
    counted also the page after those that may hold everything. A listing that is too short is filled, where allowed."""
    page = page_of(target, subject.name)
    by = await _longest(api, target, subject)
    probes = {"control": str(min(CONTROL_SIZE, page.maximum or CONTROL_SIZE))}
    for name, size in [*probes.items(), *sizes(page).items(), *probes.items()]:
        query = {} if size is None else {page.size: size}
        reply = await api.call(subject.name, by=by, label=f"size:{name}", extra=query)
        if name in UNBOUNDED and page.counted:
            await _beyond(api, reply, by, name, query)


async def _longest(api: Api, target: Profile, subject: Subject) -> str:
    """The principal whose listing is longer than any page may be; else the one whose listing could be filled, or is
    the longest."""
    page, writer = page_of(target, subject.name), pager(target)
    found: dict[str, int] = {}
    for by in dict.fromkeys((principal(target) or writer, writer)):
        look = Walk(api, target, subject.name, by, "look")
        await go(look, size=page.maximum, max_pages=LOOKS)
        found[by] = len(look.served)
        if found[by] >= roomy(page):
            return by
    if not own_fixtures(target, subject):
        return max(found, key=lambda by: found[by])
    # Half of what may still be created is left to the scenarios that run beside this one.
    missing = _rows_to_make(page, found[writer] + api.room // 2) - found[writer]
    if missing > 0:
        await fill(Walk(api, target, subject.name, writer, "fixtures"), missing, missing)
    return writer


async def _beyond(api: Api, reply: Reply, by: str, name: str, query: Mapping[str, str]) -> None:
    """The page after one that may hold everything; nothing where it says that it does."""
    listing = str(reply.exchange.operation)
    page = page_of(api.target, listing)
    size = int(query[page.size]) if query else None
    step = following(page, first(page), reply.exchange, size) if reply.ok else None
    if step:
        await api.call(listing, by=by, label=f"beyond:{name}", extra={**query, **step.query})
