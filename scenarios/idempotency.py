"""The same request with the same key: after a reply that was lost, again and again, and many at a time.

What was really made is told by the listing, by the natural key that every one of these requests carries.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from openbell.api import Api, Reply
from openbell.building import Alter
from openbell.faults import LoseReply
from openbell.locate import pointer, text
from openbell.profile import Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.scenarios.pages import whole
from openbell.session import Skip, principal, sacrificial
from openbell.target import Subject, item_id

RETRIES = 3
ROUNDS = 3
AT_ONCE = 10
MAX_PAGES = 40


def keyed(target: Profile, subject: Subject) -> bool:
    """Whether the operation makes something, takes a key, and what it made can be found by its natural key."""
    op = target.operation[subject.name]
    return bool(op.role == "create" and op.idempotency and op.natural_key and listing(target, subject.name))


def listing(target: Profile, name: str) -> str | None:
    """The listing in which an operation's things stand."""
    return next((n for n, op in target.operation.items() if op.collection and op.collection.insert == name), None)


def buyer(target: Profile) -> str:
    """Who sends the requests: a principal set aside for streams, where few other things are made, else the full one."""
    return sacrificial(target, "streams") or str(principal(target))


def claims(target: Profile, _subject: Subject) -> tuple[Claim, ...]:
    """The principal, shared."""
    return (share(f"principal:{buyer(target)}"),)


@dataclass(frozen=True)
class _Same:
    """One request that is sent more than once: its operation, who sends it, its unique value and its key."""

    operation: str
    by: str
    unique: str

    async def send(self, api: Api, label: str, *, fresh: bool = False) -> Reply:
        told = api.target.operation[self.operation].idempotency
        if told is None:
            raise Skip("precondition", f"{self.operation} takes no key")
        key = f'"{self.unique}"' if told.quoted else self.unique
        return await api.call(self.operation, by=self.by, label=label, fresh=fresh, lane="same", patient=False,
                              alter=Alter(headers={told.header: key}), unique=self.unique)

    async def count(self, api: Api, label: str) -> list[str]:
        """The ids of what the listing holds under the natural key. Raises Skip where it cannot be read."""
        walk = await whole(api, str(listing(api.target, self.operation)), self.by, label, MAX_PAGES)
        rows = [row for page in walk.pages for row in page.items if self._mine(api, row)]
        ids = [item_id(walk.page, row) for row in rows]
        api.note("counted", label=label, ids=ids, pages=[p.exchange.n for p in walk.pages if
                                                         any(self._mine(api, row) for row in p.items)])
        return ids

    def _mine(self, api: Api, row: Any) -> bool:
        return text(pointer(row, api.target.operation[self.operation].natural_key or "/")) == self.unique

    def adopt(self, api: Api, ids: list[str]) -> None:
        """What no reply told of is undone all the same."""
        known = {made.id for made in api.made}
        lost = [made for made in api.unknown if made.values["unique"] == self.unique]
        for made, id_ in zip(lost, [i for i in ids if i not in known] or ids[:1] * len(lost), strict=False):
            api.found(made, id_)


@scenario(per="operation", where=keyed, claims=claims, allow=("read", "write", "disrupt"),
          cost=lambda _target, _subject: Cost(reads=2 * MAX_PAGES, writes=2 * RETRIES + 4))
async def retry_after_lost_reply(api: Api, target: Profile, subject: Subject) -> None:
    """A request whose reply is lost on its way; what it made is looked for, and then it is sent again with its key."""
    same = _Same(subject.name, buyer(target), api.session.unique())
    async with api.through(LoseReply()) as lossy:
        await same.send(lossy, "lost")
    await same.count(api, "settled")
    for number in range(RETRIES):
        await same.send(api, f"retry:{number}", fresh=number == 1)
    same.adopt(api, await same.count(api, "after"))


@scenario(per="operation", where=keyed, claims=claims, allow=("read", "write"),
          cost=lambda _target, _subject: Cost(reads=ROUNDS * MAX_PAGES, writes=2 * ROUNDS * AT_ONCE))
async def concurrent_duplicates(api: Api, target: Profile, subject: Subject) -> None:
    """The same request on many connections at once, with one key; some rounds, each with its count."""
    for number in range(ROUNDS):
        same = _Same(subject.name, buyer(target), api.session.unique())
        await asyncio.gather(*(same.send(api, f"once:{number}:{i}", fresh=True) for i in range(AT_ONCE)))
        same.adopt(api, await same.count(api, f"count:{number}"))
