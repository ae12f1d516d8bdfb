"""The reference server on a real port, and clients of its streams that control their wire; every wait is bounded."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from websockets.frames import Frame, Opcode

from openbell.frames import Ending, Place, dial
from openbell.reference_server.app import Application, create_app
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.serve import serving
from openbell.reference_server.settings import CLIENTS, Settings

SECRET = "a secret of the tests"
WAIT_S = 10.0


@dataclass
class Peer:
    """One client: what it got, and how the connection ended."""

    wire: Any = None
    frames: list[tuple[float, Frame]] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    ending: Ending | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def took(self, at: float, by: str, frame: Frame) -> bool:
        if by == "server":
            self.frames.append((at, frame))
            if frame.opcode is Opcode.TEXT:
                self.messages.append(json.loads(bytes(frame.data)))
            self.news.set()
        return True

    def ended(self, ending: Ending) -> None:
        self.ending = ending
        self.news.set()

    def payloads(self, opcode: Opcode) -> list[bytes]:
        return [bytes(frame.data) for _, frame in self.frames if frame.opcode is opcode]

    @property
    def updates(self) -> list[Any]:
        return [one for one in self.messages if one["type"] == "update"]

    @property
    def seqs(self) -> list[int]:
        return [one["seq"] for one in self.updates]

    async def until(self, test: Any) -> Any:
        """What the test gives, as soon as it gives something."""
        async with asyncio.timeout(WAIT_S):
            while not (found := test()):
                self.news.clear()
                await self.news.wait()
        return found

    async def end(self) -> str:
        found: Ending = await self.until(lambda: self.ending)
        return found.how

    def say(self, **message: Any) -> None:
        self.send(Opcode.TEXT, json.dumps(message).encode())

    def send(self, opcode: Opcode, payload: bytes) -> None:
        self.wire.protocol.send_frame(Frame(opcode, payload))
        self.wire.flush()

    async def ask(self, **message: Any) -> Any:
        """Says it, and gives the next message that is no update."""
        seen = len(self.messages)
        self.say(**message)
        found = await self.until(lambda: self.ending or [m for m in self.messages[seen:] if m["type"] != "update"])
        return found.how if isinstance(found, Ending) else found[0]

    async def barrier(self) -> None:
        """Everything that the server had sent before has been read."""
        seen = len(self.payloads(Opcode.PONG))
        self.send(Opcode.PING, b"barrier")
        await self.until(lambda: self.ending or len(self.payloads(Opcode.PONG)) > seen)

    async def subscribe(self, account: str = "acct-streams", after: Any = None) -> Any:
        place = {} if after is None else {"after": {"epoch": after["epoch"], "seq": after["seq"]}}
        return await self.ask(op="subscribe", channel="orders", account=account, **place)

    async def login(self, token: str) -> Any:
        return await self.ask(op="login", token=token)

    async def closed(self) -> None:
        await self.wire.close()


@dataclass
class Served:
    """A running server, with what a test needs of it."""

    app: Application
    url: str
    http: aiohttp.ClientSession
    peers: list[Peer] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    made: int = 0

    async def token(self, client: str = "streams") -> str:
        if client not in self.tokens:
            form = {"grant_type": "client_credentials", "client_id": client, "client_secret": SECRET}
            async with self.http.post(f"{self.url}/oauth/token", data=form) as got:
                self.tokens[client] = (await got.json())["access_token"]
        return self.tokens[client]

    async def bearer(self, client: str = "streams") -> dict[str, str]:
        return {"Authorization": f"Bearer {await self.token(client)}"}

    async def orders(self, count: int = 1, client: str = "streams", headers: Any = None, **members: Any) -> list[Any]:
        """Submits orders one after another; gives status, content and fields of each."""
        replies = []
        url, sent = f"{self.url}/v1/accounts/{CLIENTS[client].account}/orders", await self.bearer(client)
        for _ in range(count):
            self.made += 1
            order = {"client_order_id": f"t-{self.made}", "symbol": "AAPL", "side": "buy", "quantity": "1"}
            body = order | {"price": "100.00"} | members
            async with self.http.post(url, json=body, headers=sent | (headers or {})) as got:
                replies.append((got.status, await got.json(), got.headers))
        return replies

    async def get(self, path: str, client: str = "streams") -> Any:
        async with self.http.get(self.url + path, headers=await self.bearer(client)) as got:
            return await got.json()

    async def peer(
        self, path: str = "orders", *, muted: bool = False, token: str | None = None, **options: Any
    ) -> Peer:
        """A client whose handshake was answered."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        place = Place(f"ws://{host}:{port}/v1/stream/{path}", host, int(port))
        headers = () if token is None else (("Authorization", f"Bearer {token}"),)
        made = Peer()
        made.wire = await dial(place, headers, made.took, made.ended, muted=muted, **options)
        self.peers.append(made)
        async with asyncio.timeout(WAIT_S):
            await made.wire.answered
        return made

    async def subscriber(self, after: Any = None, client: str = "streams", **options: Any) -> Peer:
        """A client that is logged in and subscribed to its account's orders."""
        made = await self.peer(**options)
        assert (await made.login(await self.token(client)))["type"] == "logged_in"
        got = await made.subscribe(CLIENTS[client].account, after)
        assert got["type"] == "subscribed", got
        return made

    async def listener(self, **options: Any) -> Peer:
        """A client that gets quotes."""
        made = await self.peer("market", token=await self.token(), **options)
        got = await made.ask(op="subscribe", channel="market")
        assert got["type"] == "subscribed", got
        return made


@asynccontextmanager
async def served(behaviour: Behaviour | None = None, *, lifetime_s: float = 60.0, **settings: Any) -> Any:
    """Serves inside the block; ends every client at its end."""
    app = create_app(behaviour or Behaviour(), Settings(SECRET, lifetime_s, **settings))
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    try:
        async with serving({"": app}) as urls, aiohttp.ClientSession(timeout=timeout) as http:
            running = Served(app, urls[""], http)
            try:
                yield running
            finally:
                for peer in running.peers:
                    if not peer.wire.ended.is_set():
                        peer.wire.cut()
                        await peer.wire.ended.wait()
    finally:
        app.close()
