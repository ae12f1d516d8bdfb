"""HTTP as it is: exact request targets, raw header lines, nothing hidden, everything bounded.

No redirect is followed, no request is sent again, no proxy comes from the environment, nothing is decoded by the
library. A line is one kept-alive connection; its number changes when the connection does. Whatever goes wrong becomes
`no_reply`, which says whose doing it was.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import socket
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from openbell.events import Headers, Message

MAX_CONTENT = 4 * 1024 * 1024
MAX_VALUES = 100_000
MAX_FIELD = 16 * 1024
MAX_FIELDS = 1000
LARGE = 512 * 1024
AGENT = "openbell/0.1"
_numbers = itertools.count(1)


def next_connection() -> int:
    """A number for a new connection."""
    return next(_numbers)


FAILURES = (TimeoutError, OSError, ValueError, aiohttp.ClientError, http_exceptions.HttpProcessingError)


@dataclass(frozen=True)
class Request:
    """A request as it goes out: absolute URL, header fields in order, content."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What came of a request, not yet redacted; times in monotonic seconds."""

    conn: int
    status: int | None
    request: Message
    reply: Message | None
    no_reply: str | None
    sent: float
    first: float | None
    done: float


class Detour(Protocol):
    """Another way to the target: the request stays as it is, name and Host included, and is dialled elsewhere."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What the other end of the way is trusted by; None where that is the target itself."""

    async def reach(self, url: str) -> tuple[str, int]:
        """The host and port that is dialled for a URL. Raises OSError."""

    def socket(self, conn: int) -> socket.socket:
        """What is dialled with, for a connection of this number."""


def _tracing(line: Line) -> aiohttp.TraceConfig:
    async def created(_session: object, _context: SimpleNamespace, _params: object) -> None:
        line.conn = line.conn if line.detour else next_connection()
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(created)
    return trace


class Line:
    """One connection to the target, opened when first used; requests on it go one after another."""

    def __init__(self, timeout_s: float, tls: ssl.SSLContext | bool = True, proxy: str | None = None,
                 detour: Detour | None = None) -> None:
        self.conn = 0
        self.detour = detour
        self._lock = asyncio.Lock()
        self._timeout = timeout_s
        self._proxy = proxy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=(detour and detour.tls) or tls, keepalive_timeout=3600,
                                           socket_factory=self._socket if detour else None),
            auto_decompress=False, trust_env=False, trace_configs=[_tracing(self)],
            cookie_jar=aiohttp.DummyCookieJar(), requote_redirect_url=False,
            max_line_size=MAX_FIELD, max_field_size=MAX_FIELD, max_headers=MAX_FIELDS,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"))
        # The library sends idempotent requests a second time by itself when a kept-alive connection is reset.
        self._session._retry_connection = False  # noqa: SLF001

    async def send(self, request: Request, permit: Callable[[], Awaitable[None]]) -> Answer:
        """Sends one request when the line and a permit are free; never raises for what the target does."""
        async with self._lock:
            await permit()
            sent = time.monotonic()
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._exchange(request, sent)
            except FAILURES as error:
                return Answer(self.conn, None, _sent(request), None, _blame(error, self._timeout), sent, None,
                              time.monotonic())

    async def _exchange(self, request: Request, sent: float) -> Answer:
        url, headers, name = await self._around(request)
        async with self._session.request(
            request.method, url, headers=headers, data=_body(request.content), server_hostname=name,
            allow_redirects=False, proxy=self._proxy, timeout=aiohttp.ClientTimeout(total=None),
        ) as response:
            first = time.monotonic()
            raw, cut = await _content(response)
            done = time.monotonic()
            if cut:
                response.close()
            reply = sparse(decoded(tuple(response.raw_headers), raw, cut=cut))
            return Answer(self.conn, response.status, _sent(request, response), reply, None, sent, first, done)

    async def _around(self, request: Request) -> tuple[URL, tuple[tuple[str, str], ...], str | None]:
        """What is asked of the library: on a detour another address, with the target's Host and name."""
        url = URL(request.url, encoded=True)
        if self.detour is None:
            return url, request.headers, None
        host, port = await self.detour.reach(request.url)
        named = any(name.lower() == "host" for name, _ in request.headers)
        first = () if named else (("Host", urlsplit(request.url).netloc.rpartition("@")[2]),)
        return url.with_host(host).with_port(port), (*first, *request.headers), url.host

    def _socket(self, _address: Any) -> socket.socket:
        if self.detour is None:
            raise TypeError("a line without a detour lets the library make its sockets")
        self.conn = next_connection()
        return self.detour.socket(self.conn)

    async def close(self) -> None:
        """Closes the connection."""
        await self._session.close()


def _body(content: bytes) -> bytes | io.BytesIO | None:
    """The library warns of large bytes, and where warnings are errors the request would never leave."""
    return (io.BytesIO(content) if len(content) > LARGE else content) or None


def _sent(request: Request, response: aiohttp.ClientResponse | None = None) -> Message:
    pairs = response.request_info.headers.items() if response else request.headers
    headers = tuple((k.encode(), v.encode("utf-8", "surrogateescape")) for k, v in pairs)
    return Message(headers, request.content, len(request.content))


async def _content(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The content's bytes on the wire up to the cap, and whether the cap cut it."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk[: MAX_CONTENT - size])
        size += len(chunk)
        if size > MAX_CONTENT:
            return b"".join(chunks), True
    return b"".join(chunks), False


def decoded(headers: Headers, raw: bytes, *, cut: bool = False) -> Message:
    """The content with gzip or deflate taken off, declared or not, up to the cap; the rest is cut.

    Undeclared compression is taken off as well, so that no secret hides in it; content that cannot be decoded stays.
    """
    declared = (Message(headers).field("content-encoding") or "").strip().lower()
    zipped = raw[:2] == b"\x1f\x8b"
    if not raw or not (zipped or declared == "deflate"):
        return Message(headers, raw, len(raw), cut)
    unpacker = zlib.decompressobj(47 if zipped else -15 if raw[0] & 15 != 8 else 15)
    try:
        content = unpacker.decompress(raw, MAX_CONTENT)
    except zlib.error:
        return Message(headers, raw, len(raw), cut)
    if not zipped and not unpacker.eof and not unpacker.unconsumed_tail:
        return Message(headers, raw, len(raw), cut)
    return Message(headers, content, len(raw), cut or bool(unpacker.unconsumed_tail), "gzip" if zipped else "deflate")


def sparse(message: Message) -> Message:
    """Content whose values would take many times its size once parsed is cut like content that is too long."""
    many = message.content.count(b",") > MAX_VALUES
    return replace(message, content=message.content[:MAX_VALUES], cut=True) if many else message


_BLAME: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (TimeoutError, "timeout: the target did not answer within {timeout:g} s"),
    (aiohttp.ClientConnectorError, "refused: no connection ({kind})"),
    (aiohttp.ServerDisconnectedError, "closed: the target closed the connection without a reply"),
    (aiohttp.ClientPayloadError, "cut: the target ended the content early"),
    ((http_exceptions.LineTooLong,), "cap: the reply's header is larger than the harness reads"),
    ((aiohttp.ClientResponseError, http_exceptions.HttpProcessingError), "garbage: the target's reply is not HTTP"),
    ((ConnectionResetError, aiohttp.ClientOSError), "reset: the target reset the connection"),
    (aiohttp.InvalidURL, "unsendable: the request cannot be written as HTTP"),
)


def _blame(error: Exception, timeout_s: float) -> str:
    """Why no reply came, with the side that caused it; the library's own words may quote secrets and stay out."""
    cause = error.__cause__ if isinstance(error, aiohttp.ClientResponseError) and error.__cause__ else error
    said = next((words for kinds, words in _BLAME if isinstance(cause, kinds)), "failed: {kind}")
    return said.format(timeout=timeout_s, kind=type(error).__name__)
