"""What the profile says about a subject or a reply: subjects, outcomes, envelopes, operations.

Checks ask for outcomes by name, never for a status code alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from openbell.events import Exchange, Message
from openbell.locate import ABSENT, Number, all_hold, locate, parse_json, pointer, text
from openbell.profile import (
    Envelope,
    Kind,
    MessageClass,
    Operation,
    Outcome,
    Page,
    Predicate,
    Profile,
    Sequence,
    Stream,
)

UNDECLARED = "(undeclared)"

# The statuses that an outcome has where the profile says nothing of it.
STANDARD: Mapping[str, Outcome] = {
    "ok": Outcome(status=tuple(range(200, 300))),
    "unauthenticated": Outcome(status=(401,)),
    "expired": Outcome(status=(401,)),
    "forbidden": Outcome(status=(403,)),
    "not_found": Outcome(status=(404,)),
    "throttled": Outcome(status=(429,)),
    "bad_cursor": Outcome(status=(400, 404, 410, 422)),
    "bad_page_size": Outcome(status=(400, 422)),
    "duplicate": Outcome(status=(409,)),
    "restart": Outcome(status=(999,)),
    "error": Outcome(status=tuple(range(400, 600))),
}


@dataclass(frozen=True, order=True)
class Subject:
    """What a verdict is about; written `api`, or `kind:name`."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


def subjects(target: Profile, kind: Kind) -> tuple[Subject, ...]:
    """All subjects of one kind, from the profile alone, in its order."""
    names: Mapping[Kind, Any] = {
        "operation": target.operation,
        "collection": [name for name, op in target.operation.items() if op.collection],
        "stream": target.stream,
        "principal": target.credential,
        "limit": target.limit,
    }
    return (Subject("api"),) if kind == "api" else tuple(Subject(kind, name) for name in names[kind])


def outcome(target: Profile, name: str, exchange: Exchange) -> bool:
    """Whether a reply is the named outcome; False without a reply. Raises KeyError for a name nobody defined."""
    wanted = target.outcome.get(name) or STANDARD[name]
    if exchange.status is None or exchange.reply is None:
        return False
    if wanted.status and exchange.status not in wanted.status:
        return False
    return all_hold([p.model_dump(by_alias=True) for p in wanted.all], exchange.status, exchange.reply)


def operation(target: Profile, exchange: Exchange) -> Operation | None:
    """The operation of an exchange; None for undeclared traffic."""
    return target.operation.get(exchange.operation or "")


def made_id(operation: Operation, content: bytes) -> str:
    """The id in the content of a reply to a create; "" without one."""
    return text(pointer(parse_json(content), operation.id or "/id"))


def envelope(target: Profile, exchange: Exchange) -> Envelope:
    """The error envelope that the exchange's operation uses."""
    op = operation(target, exchange)
    return target.envelope.get(op.envelope if op else "default") or Envelope()


def page_of(target: Profile, name: str) -> Page:
    """The page dialect of a listing. Raises KeyError where it has none."""
    return target.page[target.operation[name].page or ""]


def items(page: Page, exchange: Exchange) -> list[Any]:
    """The rows of one page; empty where there are none."""
    rows = pointer(parse_json(exchange.reply.content), page.items) if exchange.reply else ABSENT
    return rows if isinstance(rows, list) else []


def item_id(page: Page, row: Any) -> str:
    """The row's id as text; "" without one."""
    return text(pointer(row, page.id))


def next_cursor(page: Page, exchange: Exchange) -> str | None:
    """What leads to the next page; None at the end. The end test comes from the profile alone."""
    value = told(page, page.next, exchange) if page.next and not ended(page, exchange) else ABSENT
    return text(value) or None


def told(page: Page, at: str, exchange: Exchange) -> Any:
    """What a page says at a locator, or ABSENT."""
    return locate(at, exchange.status, exchange.reply or Message(), page.items)


def ended(page: Page, exchange: Exchange) -> bool:
    """Whether a page is the last by the profile's own test."""
    return bool(page.end) and all_hold([_dumped(page.end)], exchange.status, exchange.reply or Message())


def correlation(envelope: Envelope, exchange: Exchange) -> tuple[tuple[str, ...], str]:
    """The correlation ids of a reply: the values of the header's lines, and the id in an error body ("" without)."""
    reply, trace = exchange.reply or Message(), envelope.trace
    header = reply.lines(trace.header) if trace.header else ()
    body = text(pointer(parse_json(reply.content), trace.body)) if trace.body else ""
    return header, body


# Where proxies in front of an API answer by themselves, and the fields by which they give themselves away.
EDGE_STATUSES = frozenset({403, 413, 429, 431, 499, 502, 503, 504, *range(520, 531)})
EDGE_FIELDS = ("via", "x-cache", "cf-ray", "x-amz-cf-id", "x-served-by")


def edge_made(target: Profile, exchange: Exchange) -> bool:
    """Whether a proxy in front of the API seems to have made a reply: HTML, and its mark or no correlation id."""
    reply = exchange.reply
    if reply is None or exchange.status not in EDGE_STATUSES:
        return False
    trace = envelope(target, exchange).trace
    unmarked = trace.header is not None and not reply.field(trace.header)
    return media_type(reply) == "text/html" and (unmarked or any(reply.field(n) is not None for n in EDGE_FIELDS))


def media_type(message: Message) -> str:
    """The media type of a message in lower case, without its parameters; "" without one."""
    return (message.field("content-type") or "").partition(";")[0].strip().lower()


# --- streams


MAX_DIGITS = 40


@dataclass(frozen=True)
class Position:
    """Where an update stands: its position, and the epoch in which it counts ("" without epochs)."""

    position: str
    epoch: str = ""
    number: bool = True

    def values(self) -> dict[str, Any]:
        """What a script is filled with; a position that came as a number goes back as one."""
        return {"position": int(self.position) if self.number else self.position, "epoch": self.epoch}


def position(sequence: Sequence, value: Any) -> Position | None:
    """The position of an update; None where it has none."""
    at = pointer(value, sequence.at)
    if at is ABSENT or at is None:
        return None
    epoch = text(pointer(value, sequence.epoch)) if sequence.epoch else ""
    return Position(text(at), epoch, isinstance(at, Number) and countable(text(at)))


def countable(position: str) -> bool:
    """Whether a position is a whole number of a size that anything counts to."""
    return position.isascii() and position.isdigit() and len(position) <= MAX_DIGITS


def message_class(stream: Stream, content: bytes) -> MessageClass:
    """The first class of the profile whose test holds; without a test for updates, what is left is an update."""
    message = Message(content=content)
    found = next((name for name, test in stream.classes.items() if _test(test, message)), None)
    return found or ("control" if "update" in stream.classes else "update")


def message_holds(test: Predicate, content: bytes) -> bool:
    """Whether a predicate is true of a message."""
    return _test(test, Message(content=content))


def _test(test: Predicate, message: Message) -> bool:
    return all_hold([_dumped(test)], None, message)


@lru_cache(maxsize=512)
def _dumped(test: Predicate) -> dict[str, Any]:
    return test.model_dump(by_alias=True)


@lru_cache(maxsize=512)
def path_pattern(path: str) -> re.Pattern[str]:
    """What the paths of a template are matched by, below the base URL's and without a query."""
    parts = re.split(r"\{[^}]*\}", path.partition("?")[0])
    return re.compile("[^/]+".join(map(re.escape, parts)))


def match_operation(target: Profile, method: str, url: str) -> str | None:
    """The declared operation that a foreign request belongs to, by method and path; fixed path segments go first."""
    path = urlsplit(url).path
    base = urlsplit(target.target.base_url).path
    if not path.startswith(base):
        return None
    found = [(op.path.count("{"), name) for name, op in target.operation.items()
             if op.method == method and path_pattern(op.path).fullmatch(path[len(base):])]
    return min(found)[1] if found else None
