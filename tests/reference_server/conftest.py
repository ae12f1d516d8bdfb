"""Requests to the reference server without a socket, under a clock that the test moves."""

import base64
import json as jsonlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from openbell.reference_server import calls, gate, oauth
from openbell.reference_server.app import Application, create_app
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.settings import Settings

SECRET = 'pa"ss/wörd+=%-long'


@dataclass(frozen=True)
class Got:
    """A reply as it was sent."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return jsonlib.loads(self.content)


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


def target_of(url: str) -> tuple[str, bytes]:
    path, _, query = url.partition("?")
    return path, query.encode()


@dataclass
class Caller:
    """Calls one application as one client; `token` is renewed by `login`."""

    app: Application
    clock: Clock
    token: str | None = None
    connection: tuple[str, int] = ("127.0.0.1", 50000)
    seen: list[tuple[str, str, Got]] = field(default_factory=list)

    async def __call__(self, method: str, url: str, json: Any = None, **options: Any) -> Got:
        headers = [(k.lower().encode(), v.encode()) for k, v in options.get("headers", {}).items()]
        content = options.get("content", b"")
        if json is not None:
            content = jsonlib.dumps(json).encode()
            headers.append((b"content-type", b"application/json"))
        token = options.get("token", self.token)
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        got = await self.send(method, url, headers, content)
        self.seen.append((method, url, got))
        return got

    async def send(self, method: str, url: str, headers: list[tuple[bytes, bytes]], content: bytes) -> Got:
        path, query = target_of(url)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self.connection,
            "server": ("127.0.0.1", 80),
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        decoded = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent[0]["headers"]]
        return Got(sent[0]["status"], decoded, b"".join(message.get("body", b"") for message in sent[1:]))

    async def login(self, client: str = "full") -> "Caller":
        basic = base64.b64encode(f"{client}:{quote(SECRET, safe='')}".encode()).decode()
        form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {basic}"}
        body = b"grant_type=client_credentials"
        got = await self("POST", "/oauth/token", content=body, headers=form, token=None)
        assert got.status == 200, got.content
        self.token = got.json["access_token"]
        return self

    async def another(self, client: str) -> "Caller":
        return await Caller(self.app, self.clock, connection=("127.0.0.1", 50001)).login(client)

    async def submit(self, number: int, account: str = "acct-pages", **members: Any) -> Got:
        order = {"client_order_id": f"t-{number}", "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "100.00"}
        return await self("POST", f"/v1/accounts/{account}/orders", order | members)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (calls, gate, oauth):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


@dataclass
class Start:
    """Makes callers of fresh applications, and closes these at the end of the test."""

    clock: Clock
    apps: list[Application] = field(default_factory=list)

    def __call__(self, behaviour: Behaviour | None = None) -> Caller:
        app = create_app(behaviour or Behaviour(), Settings(SECRET))
        self.apps.append(app)
        return Caller(app, self.clock)


@pytest.fixture
def start(clock: Clock) -> Iterator[Start]:
    made = Start(clock)
    yield made
    for app in made.apps:
        app.close()
