"""`openbell check --probe`: one authenticated read per operation, to see whether the profile's locators find anything."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from openbell import __version__
from openbell.api import Api, Reply
from openbell.building import MissingValue
from openbell.events import Message
from openbell.journal import Header, Journal
from openbell.locate import ABSENT, parse_json, pointer
from openbell.profile import SAFE, Profile
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.reports.words import line
from openbell.results import NOT_DECIDED, OK
from openbell.session import Session, Skip, principal
from openbell.target import correlation, envelope, items, page_of

REQUESTS_EACH = 1


@dataclass(frozen=True)
class Probed:
    """What came of one operation: the reply, or why none was asked for."""

    name: str
    reply: Reply | None
    why: str = ""


def probed_operations(target: Profile) -> tuple[str, ...]:
    """The operations that only read, by the profile."""
    return tuple(n for n, op in target.operation.items()
                 if op.role in {"read", "list"} and op.method in SAFE and not op.writes)


async def probe(target: Profile, secrets: Mapping[str, str]) -> int:
    """Sends one read per operation with its default values and shows which locators matched.

    Returns 0, or 2 when nothing answered. The journal is temporary.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = await _asked(target, secrets, Path(folder) / "events.jsonl")
    _show(target, found)
    return OK if any(p.reply and p.reply.status is not None for p in found) else NOT_DECIDED


async def _asked(target: Profile, secrets: Mapping[str, str], path: Path) -> list[Probed]:
    redactor = Redactor()
    profile = json.loads(target.model_dump_json(by_alias=True, exclude_defaults=True))
    journal = Journal(path, Header(__version__, "probe", "", 0, "", profile), redactor.gate)
    session = Session(target, secrets, journal, redactor, target.target.max_rate)
    names = probed_operations(target)
    api = Api(session, "(probe)", Cost(reads=len(names) * REQUESTS_EACH))
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


def _show(target: Profile, found: list[Probed]) -> None:
    rows = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    for column in ("operation", "status", "locators"):
        rows.add_column(column, overflow="fold")
    for probed in found:
        status = probed.reply.status if probed.reply else None
        rows.add_row(Text(probed.name), Text(str(status or "–"), "green" if status and status < 400 else "yellow"),
                     _matches(target, probed))
    out = Console(highlight=False, markup=False, emoji=False)
    out.print(rows)
    answered = sum(1 for p in found if p.reply and p.reply.status is not None)
    out.print(Text(f"\n{answered} of {len(found)} operations answered", "bold"))


def _matches(target: Profile, probed: Probed) -> Text:
    if probed.reply is None or probed.reply.exchange.reply is None:
        return Text(line(probed.why or (probed.reply and probed.reply.exchange.no_reply) or ""), "yellow")
    found = Text()
    for name, said in _locators(target, probed.name, probed.reply, probed.reply.exchange.reply):
        found.append(f"{'✓' if said else '✗'} {name}{f' {said}' if said and said != 'yes' else ''}   ",
                     "green" if said else "red")
    return found


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
            yield "correlation in the body", "yes" if inside else ""
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
