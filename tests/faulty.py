"""A small target for tests of faults: orders, a feed, in the clear or over TLS, on the test's own event loop."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trustme
from aiohttp import WSCloseCode, web

from openbell.api import Api
from openbell.events import Event, Fact
from openbell.journal import Header, Journal, read
from openbell.loading import load
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.session import Session

SECRET = "canary-secret-71c0ffee"
PROFILE = """
[target]
name = "faulty"
base_url = "BASE"
allow = ["read", "write", "disrupt"]
max_rate = 5000
control = "read_status"
timeout_s = 2
CA

[credential.full]
stack = [{ kind = "static", header = "Authorization", template = "Bearer {secret}", secret = "env:FAULTY_SECRET" }]

[operation.read_status]
role = "read"
method = "GET"
path = "/v1/status"

[operation.read_order]
role = "read"
method = "GET"
path = "/v1/orders/{id}"
values = { id = "none" }

[operation.submit_order]
role = "create"
method = "POST"
path = "/v1/orders"
body = { reference = "{unique}" }
natural_key = "/reference"
undo = "cancel_order"

[operation.cancel_order]
role = "cancel"
method = "DELETE"
path = "/v1/orders/{id}"
values = { id = "none" }

[stream.feed]
url = "/v1/feed"
subscribe = [{ send = { op = "subscribe" }, expect = { at = "body:/type", equals = "ack" } }]

[stream.feed.classes]
ack = { at = "body:/type", equals = "ack" }
update = { at = "body:/type", equals = "update" }
"""


class Target:
    """What the server was asked and what it holds."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.orders: dict[str, str] = {}
        self.feeds: list[web.WebSocketResponse] = []
        self.transports: list[asyncio.Transport] = []
        self.heard: list[str] = []
        self.large = 0
        self.base = ""
        self.ca = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.method, request.path, dict(request.headers)))
        if request.path == "/v1/feed":
            return await self._feed(request)
        if request.method == "POST":
            reference = (await request.json())["reference"]
            self.orders[str(len(self.orders) + 1)] = reference
            return web.json_response({"id": str(len(self.orders)), "reference": reference}, status=201)
        if request.method == "DELETE":
            self.orders.pop(request.path.rpartition("/")[2], None)
        if self.large:
            return web.Response(body=bytes(self.large))
        return web.json_response({"status": "open"})

    async def _feed(self, request: web.BaseRequest) -> web.StreamResponse:
        feed = web.WebSocketResponse(autoping=True)
        await feed.prepare(request)
        assert request.transport
        self.feeds.append(feed)
        self.transports.append(request.transport)
        async for message in feed:
            self.heard.append(message.data)
            if json.loads(message.data).get("op") == "subscribe":
                await feed.send_json({"type": "ack"})
        return feed

    def kill(self, number: int) -> None:
        """Resets the connection of a feed."""
        sock = self.transports[number].get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transports[number].abort()

    async def publish(self, *numbers: int) -> None:
        """Sends updates to every open feed."""
        for number in numbers:
            for feed in self.feeds:
                with suppress(OSError):
                    await feed.send_json({"type": "update", "seq": number})


@asynccontextmanager
async def target(*, tls: bool = False, folder: Path | None = None) -> AsyncIterator[Target]:
    """A running target; over TLS its certificate is for `localhost` alone."""
    made, context = Target(), None
    if tls and folder:
        ca = trustme.CA()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("localhost").configure_cert(context)
        made.ca = str(folder / "ca.pem")
        ca.cert_pem.write_to_path(made.ca)
    runner = web.ServerRunner(web.Server(made.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.base = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        for feed in made.feeds:
            with suppress(OSError):
                await asyncio.wait_for(feed.close(code=WSCloseCode.GOING_AWAY), 1)
        await runner.cleanup()


@asynccontextmanager
async def hands(made: Target, folder: Path, *, seed: int = 0, name: str = "scenario@api") -> AsyncIterator[Api]:
    """A scenario's hands on it, with a journal in the folder."""
    ca = f'ca_bundle = "{made.ca}"' if made.ca else ""
    (folder / "target.toml").write_text(PROFILE.replace("BASE", made.base).replace("CA", ca, 1))
    redactor = Redactor()
    header = Header("0", "run", "2026-01-01T00:00:00+00:00", seed, "t", {})
    journal = Journal(folder / "events.jsonl", header, redactor.gate)
    session = Session(load(folder / "target.toml"), {"env:FAULTY_SECRET": SECRET}, journal, redactor, 500, seed)
    try:
        yield Api(session, name, Cost(reads=99, writes=99, waits_s=60))
    finally:
        await session.close_lines()
        journal.close()


def events(folder: Path) -> list[Event]:
    """What stands in the journal."""
    return list(read(folder / "events.jsonl"))


def facts(folder: Path, name: str) -> list[dict[str, Any]]:
    """The data of all facts of a name."""
    return [dict(e.data) for e in events(folder) if isinstance(e, Fact) and e.name == name]
