"""Servers that do nothing right: no check may pass on them."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl

from openbell.reference_server.behaviour import AsgiApp
from openbell.reference_server.bodies import MAXIMUM


def always(status: int) -> AsgiApp:
    """Answers that status and an empty JSON object to everything."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive
        if scope["type"] == "http":
            await reply(send, status, b"{}")

    return app


async def reply(send: Any, status: int, content: bytes) -> None:
    """Sends JSON content."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def said(content: bytes) -> Any:
    """The content as JSON, or as text."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("latin-1")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers 200 with what was asked: the body, or the query as an object."""
    if scope["type"] != "http":
        return
    content, more = b"", True
    while more and len(content) <= MAXIMUM:
        message = await receive()
        content += message.get("body", b"")
        more = bool(message.get("more_body"))
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    await reply(send, 200, json.dumps(said(content) if content else query).encode())


@contextlib.asynccontextmanager
async def refusing(bound: socket.socket) -> AsyncIterator[None]:
    """The port is taken, and nobody listens."""
    del bound
    yield


@contextlib.asynccontextmanager
async def hanging(bound: socket.socket) -> AsyncIterator[None]:
    """Every connection is accepted, and none is ever answered."""
    writers: set[asyncio.StreamWriter] = set()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass

    server = await asyncio.start_server(swallow, sock=bound)
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


Hosted = Callable[[socket.socket], contextlib.AbstractAsyncContextManager[None]]

APPS: dict[str, AsgiApp] = {
    "always-200": always(200),
    "always-404": always(404),
    "always-500": always(500),
    "always-429": always(429),
    "echoes": echo,
}
HOSTED: dict[str, Hosted] = {"refuses": refusing, "hangs": hanging}
NULLS: tuple[str, ...] = (*APPS, *HOSTED)
