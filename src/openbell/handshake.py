"""The opening of a stream: an HTTP request like any other, with its exchange, until the target switches protocols."""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import SecurityError
from websockets.http11 import Response

from openbell.building import fill
from openbell.events import Headers, Message
from openbell.frames import Place, Wire, dial
from openbell.session import Call, Session
from openbell.stream import Stream
from openbell.wire import AGENT, Answer, Request, decoded

SWITCHED = 101
NO_ANSWER: tuple[tuple[type[Exception], str], ...] = (
    (SecurityError, "cap: the answer to the handshake is larger than the harness reads"),
    (EOFError, "closed: the target closed the connection without a whole answer to the handshake"),
    (Exception, "garbage: the answer to the handshake is not HTTP"),
)
SILENT = "timeout: no whole answer to the handshake"
RESET = "reset: the target reset the connection before it had answered the handshake"
NO_HANDSHAKE = "garbage: a 101 that is no valid handshake"


def address(base_url: str, url: str) -> str:
    """The http(s) URL of a stream: a path below the base URL, or a ws(s) URL of its own."""
    return base_url + url if url.startswith("/") else url.replace("ws", "http", 1)


async def upgrade(session: Session, call: Call, stream: Stream, *, muted: bool, receive_buffer: int | None) -> None:
    """Sends the handshake and appends its exchange; the stream is open where the status is 101.

    Raises Skip for what the profile or a token does not allow.
    """
    request = await _request(session, call, stream)
    await session.permits.take()
    sent = monotonic()
    try:
        async with asyncio.timeout(session.target.target.timeout_s):
            wire = await dial(await _place(session, request.url, stream), request.headers, stream.took, stream.ended,
                              muted=muted, receive_buffer=receive_buffer)
            stream.attach(wire)
            answer = _answer(stream, wire, await wire.answered, sent)
    except (OSError, ValueError) as error:
        why = SILENT if isinstance(error, TimeoutError) else "refused: no connection"
        answer = Answer(stream.conn, None, Message(_lines(request.headers)), None, why, sent, None, monotonic())
        stream.abandon()
    finally:
        session.permits.give_back()
    stream.handshake = session.exchanged(call, None, request, answer)
    if answer.status != SWITCHED:
        stream.abandon()


async def _request(session: Session, call: Call, stream: Stream) -> Request:
    """The GET with what the profile and the principal put on it."""
    table, target = stream.table, session.target.target
    url = address(target.base_url, fill(table.url, call.values))
    parts = urlsplit(url)
    session.allow_host(parts.netloc, parts.scheme)
    headers = {"User-Agent": AGENT, **target.headers, **{k: v for k, v in call.alter.headers.items() if v is not None}}
    request = Request("GET", url, tuple(headers.items()))
    if table.auth != "handshake" or call.alter.anonymous:
        return request
    return await session.authorised(request, call)


async def _place(session: Session, url: str, stream: Stream) -> Place:
    parts = urlsplit(url)
    host = parts.hostname or ""
    tls: ssl.SSLContext | None = None
    if parts.scheme == "https":
        tls = session.tls if isinstance(session.tls, ssl.SSLContext) else ssl.create_default_context()
    ws, via = url.replace("http", "ws", 1), stream.api.via
    if via is None:
        return Place(ws, host, parts.port or (443 if tls else 80), tls, host)
    address, port = await via.reach(url)
    return Place(ws, address, port, tls and (via.tls or tls), host, via.socket(stream.conn))


def _answer(stream: Stream, wire: Wire, response: Response | None, sent: float) -> Answer:
    request = Message(_lines(wire.request.headers.raw_items()))
    now = monotonic()
    if response is None:
        return Answer(stream.conn, None, request, None, _blame(wire.protocol.handshake_exc), sent, None, now)
    content = bytes(response.body or b"")
    reply = decoded(_lines(response.headers.raw_items()), content)
    if response.status_code == SWITCHED and wire.protocol.handshake_exc is not None:
        return Answer(stream.conn, None, request, None, NO_HANDSHAKE, sent, now, now)
    return Answer(stream.conn, response.status_code, request, reply, None, sent, now, now)


def _blame(wrong: Exception | None) -> str:
    """Why no answer came: the harness's own cap is not the target's garbage."""
    cause = wrong.__cause__ if wrong and isinstance(wrong.__cause__, Exception) else wrong
    return next((words for kind, words in NO_ANSWER if isinstance(cause, kind)), RESET)


def _lines(pairs: Any) -> Headers:
    return tuple((k.encode(), v.encode("utf-8", "surrogateescape")) for k, v in pairs)
