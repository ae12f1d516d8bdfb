"""An event as a reader sees it: every part bounded and visible, JSON indented, other bytes as a hex dump."""

from __future__ import annotations

import re
from dataclasses import dataclass

from openbell.events import Exchange, Fact, Frame, Message
from openbell.locate import NotJSON, parse_json
from openbell.reports.words import line, visible

MOST_CONTENT = 4096
MOST_FIELDS = 60
MOST_PARSED = 256 * 1024
DUMPED = 256


@dataclass(frozen=True)
class Part:
    """One message: header lines, content as text, and a note on what of it is not shown."""

    fields: tuple[tuple[str, str], ...]
    content: str
    note: str


@dataclass(frozen=True)
class Shown:
    """One exchange. `took` is in seconds."""

    n: int
    label: str
    scenario: str
    principal: str
    method: str
    url: str
    path: str
    status: int | None
    no_reply: str
    took: float
    request: Part
    reply: Part | None


@dataclass(frozen=True)
class Seen:
    """One frame or fact: what it is, on which connection, and what it says."""

    n: int
    label: str
    scenario: str
    name: str
    said: str
    content: str
    note: str


OPCODES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


def seen(event: Frame | Fact) -> Seen:
    """The frame or fact, bounded. A Close shows its code and reason."""
    if isinstance(event, Fact):
        label = event.data.get("label") or ""
        said = ", ".join(f"{k}: {v}" for k, v in event.data.items() if k not in {"stream", "label", "way"})
        return Seen(event.n, line(label, 100), line(event.scenario, 100), f"fact {line(event.name, 60)}",
                    line(said, 160), visible(said, MOST_CONTENT), "")
    payload = event.payload
    if event.opcode == 8 and len(payload) >= 2:
        payload = f"{int.from_bytes(payload[:2])} {payload[2:].decode('utf-8', 'replace')}".encode()
    text, cut = _content(payload)
    return Seen(event.n, line(event.label, 100), line(event.scenario, 100),
                f"{OPCODES.get(event.opcode, f'opcode {event.opcode}')} of the {event.by}",
                line(payload[:400].decode("utf-8", "replace"), 160), text,
                f"content cut here: {len(payload):,} bytes in all" if cut else "")


def in_a_line(one: Shown | Seen) -> str:
    """An event for a log: `event 41: text of the server on round:7: {...}`."""
    if isinstance(one, Seen):
        return f"event {one.n}: {one.name}{f' on {one.label}' if one.label else ''}: {one.said or 'empty'}"
    return f"event {one.n}: {one.method} {one.path} ({one.label}): {one.no_reply if one.status is None else one.status}"


def shown(exchange: Exchange) -> Shown:
    """The exchange, bounded."""
    return Shown(
        exchange.n, line(exchange.label, 100), line(exchange.scenario, 100), line(exchange.principal or "", 60),
        line(exchange.method, 40), line(exchange.url, 1500), line(_path(exchange.url), 160),
        exchange.status, line(exchange.no_reply or ""),
        exchange.done - exchange.sent, _part(exchange.request), _part(exchange.reply) if exchange.reply else None)


def _path(url: str) -> str:
    """A URL without its scheme and host."""
    return "/" + url.partition("://")[2].partition("/")[2] if "://" in url else url


def _part(message: Message) -> Part:
    fields = tuple((line(name.decode("latin-1"), 100), line(value.decode("utf-8", "surrogateescape"), 600))
                   for name, value in message.headers[:MOST_FIELDS])
    text, cut = _content(message.content)
    return Part(fields, text, ", ".join(_notes(message, cut=cut)))


def _notes(message: Message, *, cut: bool) -> list[str]:
    """What a reader should know of the content beside its text."""
    more = len(message.headers) - MOST_FIELDS
    return [
        *([f"{more} more header lines"] if more > 0 else []),
        *([f"content cut here: {len(message.content):,} bytes in all"] if cut else []),
        *([f"decoded from {line(message.encoding, 20)}"] if message.encoding else []),
        *(["the harness stopped reading at its cap"] if message.cut else []),
    ]


def _content(content: bytes) -> tuple[str, bool]:
    """The content as text, and whether it was cut."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return dump(content[:DUMPED]), len(content) > DUMPED
    if len(content) <= MOST_PARSED and content[:1] in b"{[" and not isinstance(parse_json(content), NotJSON):
        text = indented(text)
    return visible(text[:MOST_CONTENT], MOST_CONTENT), len(text) > MOST_CONTENT


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_CLOSED = re.compile(r"([{\[])\n *\n *([}\]])")


def indented(text: str) -> str:
    """Valid JSON on indented lines, every token as the target wrote it; not much longer than can be shown."""
    out: list[str] = []
    depth = size = 0
    for match in _TOKEN.finditer(text):
        word = match[0]
        depth += (word in "{[") - (word in "}]")
        new_line = "\n" + "  " * min(depth, 40)
        piece = {":": ": ", ",": "," + new_line, "{": "{" + new_line, "[": "[" + new_line,
                 "}": new_line + "}", "]": new_line + "]"}.get(word, word)
        out.append(piece)
        size += len(piece)
        if size > 2 * MOST_CONTENT:
            break
    return _CLOSED.sub(r"\1\2", "".join(out))


def dump(content: bytes) -> str:
    """Bytes in hexadecimal, sixteen a line, with what is printable beside them."""
    rows = (content[i:i + 16] for i in range(0, len(content), 16))
    return "\n".join(f"{i * 16:06x}  {row.hex(' '):<47}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in row)}"
                     for i, row in enumerate(rows))
