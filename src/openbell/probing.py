"""`openbell check --probe`: one read per operation, to see whether the profile's locators find anything."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from openbell import __version__
from openbell.api import Api, Reply
from openbell.building import MissingValue
from openbell.events import Message
from openbell.journal import Header, Journal
from openbell.loading import dumped
from openbell.locate import ABSENT, parse_json, pointer
from openbell.profile import SAFE, Profile
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.reports.words import line
from openbell.session import Session, Skip, principal
from openbell.target import correlation, envelope, items, page_of


@dataclass(frozen=True)
class Probed:
    """What came of one operation: the reply, or why none was asked for."""

    name: str
    reply: Reply | None
    why: str = ""

    @property
    def status(self) -> int | None:
        """The status; None when nothing answered."""
        return self.reply.status if self.reply else None

    @property
    def ok(self) -> bool:
        """Whether it answered, and well."""
        return self.reply is not None and self.reply.ok

    @property
    def silence(self) -> str:
        """Why nothing answered."""
        return self.reply.exchange.no_reply or "" if self.reply else self.why


def probed_operations(target: Profile) -> tuple[str, ...]:
    """The operations that only read, by the profile."""
    return tuple(n for n, op in target.operation.items()
                 if op.role in {"read", "list"} and op.method in SAFE and not op.writes)


async def probed(target: Profile, secrets: Mapping[str, str]) -> list[Probed]:
    """Sends one read per operation with its default values; the journal is temporary."""
    with tempfile.TemporaryDirectory() as folder:
        return await _asked(target, secrets, Path(folder) / "events.jsonl")


async def _asked(target: Profile, secrets: Mapping[str, str], path: Path) -> list[Probed]:
    redactor = Redactor()
    journal = Journal(path, Header(__version__, "probe", "", 0, "", dumped(target)), redactor.gate)
    session = Session(target, secrets, journal, redactor, target.target.max_rate)
    names = probed_operations(target)
    api = Api(session, "(probe)", Cost(reads=len(names)))
    try:
        return [await _ask(api, name) for name in names]
    finally:
        await session.close_lines()
        journal.close()


async def _ask(api: Api, name: str) -> Probed:
    try:
        by = principal(api.target) or next(iter(api.target.credential), "")
        return Probed(name, await api.call(name, by=by, label="probe", patient=False))
    except (Skip, MissingValue) as skip:
        return Probed(name, None, str(skip))


def locators(target: Profile, probed: Probed) -> Iterator[tuple[str, str]]:
    """Each locator that should match what came, and what it found: "" for nothing. Empty without a reply."""
    if probed.reply and probed.reply.exchange.reply:
        yield from _locators(target, probed.name, probed.reply, probed.reply.exchange.reply)


def _locators(target: Profile, name: str, reply: Reply, message: Message) -> Iterator[tuple[str, str]]:
    """Each locator that should match such a reply, and what it found: "" for nothing."""
    shape, body = envelope(target, reply.exchange), parse_json(message.content)
    header, inside = correlation(shape, reply.exchange)
    failed = (reply.status or 0) >= 400
    if shape.trace.header and (failed or shape.trace.on == "every"):
        yield "correlation", "yes" if any(header) else ""
    if failed:
        yield "code", "yes" if any(pointer(body, at) is not ABSENT for at in shape.code) else ""
        yield "message", "yes" if any(pointer(body, at) is not ABSENT for at in shape.message) else ""
        if shape.trace.body and not shape.trace.header_only:
            yield "correlation in body", "yes" if inside else ""
    elif target.operation[name].page:
        yield from _page(target, name, reply, body)


def _page(target: Profile, name: str, reply: Reply, body: object) -> Iterator[tuple[str, str]]:
    page = page_of(target, name)
    rows = items(page, reply.exchange)
    listed = isinstance(pointer(body, page.items), list)
    yield "items", str(len(rows)) if listed else ""
    if page.next:
        yield "next", "yes" if reply.next else "(last page)" if listed and len(rows) < (page.default or 50) else ""
    if page.total:
        yield "total", line(reply.get(page.total), 20) if reply.get(page.total) is not ABSENT else ""
