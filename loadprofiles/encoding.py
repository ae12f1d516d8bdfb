"""From an operation to the bytes of a request, fast: what does not change between two calls is encoded once."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from openbell.building import Alter, build, values_of
from openbell.events import Headers, Message
from openbell.profile import Profile
from openbell.wire import Request

UNIQUE, ID = "openbell-unique-0", "openbell-id-0"
MARK = b"openbell-credentials-0"


@dataclass(frozen=True)
class Template:
    """An encoded request with the places of the unique value and of the id left open."""

    method: str
    target: str
    url: str
    fields: tuple[tuple[bytes, bytes], ...]
    content: bytes
    needs_id: bool
    public: bool = False
    begin: bytes = b""
    end: bytes = b""

    @property
    def fixed(self) -> bool:
        """Whether nothing but the credentials changes between two calls."""
        return bool(self.begin)

    def wire(self, credentials: bytes, unique: str, item: str) -> bytes:
        """The bytes of one request. `credentials` are whole header lines."""
        if self.begin:
            return self.begin + credentials + self.end
        content = self.content
        if content:
            content = content.replace(UNIQUE.encode(), unique.encode())
            content = content.replace(ID.encode(), json.dumps(item)[1:-1].encode())
        target = self.target.replace(UNIQUE, quote(unique, safe="")).replace(ID, quote(item, safe=""))
        lines = b"".join(b"%s: %s\r\n" % line for line in self.fields).replace(UNIQUE.encode(), unique.encode())
        length = b"Content-Length: %d\r\n" % len(content) if content or self.method not in {"GET", "HEAD"} else b""
        return b"%s %s HTTP/1.1\r\n%s%s%s\r\n%s" % (self.method.encode(), target.encode(), lines, credentials, length,
                                                content)

    def filled_url(self, unique: str, item: str) -> str:
        """The absolute URL of one request."""
        return self.url.replace(UNIQUE, quote(unique, safe="")).replace(ID, quote(item, safe=""))


def template(target: Profile, operation: str, principal: str) -> Template:
    """The template of an operation as a principal calls it. Raises MissingValue."""
    op = target.operation[operation]
    values: dict[str, Any] = {"unique": UNIQUE, **values_of(op, target.credential.get(principal), {"id": ID})}
    request = build(target, op, values, {}, Alter())
    if op.idempotency and op.role == "create":
        name = op.idempotency.header
        value = f'"{UNIQUE}"' if op.idempotency.quoted else UNIQUE
        request = Request(request.method, request.url, (*request.headers, (name, value)), request.content)
    parts = urlsplit(request.url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = (("Host", parts.netloc), *request.headers)
    needs = ID in request.url or ID.encode() in request.content
    made = Template(request.method, path, request.url,
                    tuple((k.encode(), v.encode("utf-8", "surrogateescape")) for k, v in fields), request.content,
                    needs, op.public)
    whole = made.wire(MARK, UNIQUE, ID)
    if needs or UNIQUE.encode() in whole:
        return made
    begin, _, end = whole.partition(MARK)
    return replace(made, begin=begin, end=end)


def credential_lines(lines: list[list[str]]) -> bytes:
    """Header lines as they go out."""
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in lines)


def sent_message(wire: bytes) -> Message:
    """The request that was sent, as an event holds it."""
    head, _, content = wire.partition(b"\r\n\r\n")
    return Message(header_lines(head), content, len(content))


def header_lines(head: bytes) -> Headers:
    """The header lines of an encoded message."""
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return tuple((name, value.strip()) for name, _, value in lines)
