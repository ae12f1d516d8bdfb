"""What the whole run shares: the journal, the redactor, permits, lines, tokens, caps.

Every request of the run goes through `Session.send`: host allowed, credentials on, permit taken, exchange redacted
and appended. A token is learned from its reply before that reply is appended, so no event ever holds one.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import ssl
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openbell.building import Alter, build, with_query
from openbell.events import Exchange, Fact, Frame, Message, Origin
from openbell.journal import Journal
from openbell.locate import parse_json, pointer
from openbell.named import header_names
from openbell.permits import Permits
from openbell.profile import Operation, Profile, Step
from openbell.proxying import Proxy, ProxyLost
from openbell.redact import Redactor
from openbell.registry import Reason
from openbell.wire import MAX_VALUES, Answer, Line, Request

if TYPE_CHECKING:
    from openbell.stream import Stream
    from openbell.via import Via

MAX_TOKEN = 16 * 1024
MAX_TOKEN_REPLY = 64 * 1024
MAX_URL = 64 * 1024
MAX_READ = 64 * 1024 * 1024
VALUE = 150
FRAME = 400
LITTLE = 4096
ON_THE_WAY = "{}: on a way to the target that has a fault"
MAX_LIFETIME_S = 10 * 365 * 86400.0


class Skip(Exception):
    """A scenario cannot go on, through no fault of the target that a check could name."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason: Reason = reason
        self.why = why


class NotAllowed(Skip):
    """The profile does not allow it."""

    def __init__(self, why: str) -> None:
        super().__init__("not_allowed", why)


@dataclass(frozen=True)
class Token:
    """A bearer token by its placeholder, with what its reply said; times in monotonic seconds, lifetime in seconds."""

    principal: str
    placeholder: str
    exchange: int
    sent: float
    done: float
    lifetime_s: float

    def fresh(self, now: float) -> bool:
        """Whether it is safe to use: renewed a quarter of its lifetime ahead, 30 s at most."""
        return now < self.sent + self.lifetime_s - min(30.0, self.lifetime_s / 4)


@dataclass(frozen=True)
class Call:
    """Who sends what, and under which name it is journalled."""

    scenario: str
    label: str
    origin: Origin
    operation: str
    by: str | None
    alter: Alter = field(default_factory=Alter)
    values: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    token: Token | None = None
    via: Via | None = None


class Session:
    """One run against one target."""

    def __init__(self, target: Profile, secrets: Mapping[str, str], journal: Journal, redactor: Redactor,
                 rate: float, seed: int = 0) -> None:
        self.target = target
        self.journal = journal
        self.redactor = redactor
        self.permits = Permits(rate)
        self.seed = seed
        self.created = 0
        self._room = MAX_READ
        self._secrets = secrets
        self._raw: dict[str, str] = {}
        self._tokens: dict[str, Token] = {}
        self._minting: dict[str, asyncio.Lock] = {}
        self._lines: dict[tuple[str, ...], Line] = {}
        self.streams: dict[str, list[Stream]] = {}
        self._proxy: Proxy | None = None
        self._starting = asyncio.Lock()
        self.tls: ssl.SSLContext | bool = (
            ssl.create_default_context(cafile=target.target.ca_bundle) if target.target.ca_bundle else True)
        self._hosts = {urlsplit(target.target.base_url).netloc, *target.target.hosts}
        self.stamp = uuid.uuid4().hex[:10]
        self._counter = itertools.count(1)
        redactor.heed(header_names(target))
        for name, credential in target.credential.items():
            for step in credential.stack:
                redactor.learn(secrets[step.secret], name, "secret")

    def note(self, scenario: str, name: str, data: Mapping[str, Any]) -> Fact:
        """Appends a fact."""
        clean = redacted(self.redactor, data)
        return self.journal.append(Fact(0, scenario, time.monotonic(), name, clean))

    def unique(self) -> str:
        """A value that no other call of any run has."""
        return f"ob-{self.stamp}-{next(self._counter)}"

    def line(self, *key: str, via: Via | None = None) -> Line:
        """The kept-alive connection of a key, opened when first used. What goes another way has keys of its own."""
        key = (key[0], via.name, *key[1:]) if via else key
        if key not in self._lines:
            self._lines[key] = self.new_line(via)
        return self._lines[key]

    def new_line(self, via: Via | None = None) -> Line:
        """A connection of its own; the caller closes it."""
        return Line(self.target.target.timeout_s, self.tls, self.target.target.proxy, via)

    async def proxy(self) -> Proxy:
        """mitmproxy's child, started when first asked for. Raises ProxyLost; one that is lost is not started again."""
        async with self._starting:
            if self._proxy is None:
                self._proxy = Proxy()
                await self._proxy.start(self.target.target.ca_bundle)
        if self._proxy.lost:
            raise ProxyLost(self._proxy.lost)
        return self._proxy

    async def close_way(self, scenario: str, way: str) -> None:
        """Ends the streams and connections of one way, streams by a reset."""
        for stream in [s for s in self.streams.get(scenario, ()) if s.api.via and s.api.via.name == way]:
            stream.reset()
            await stream.end(1.0)
        for key in [k for k in self._lines if k[:2] == (scenario, way)]:
            await self._lines.pop(key).close()

    async def close_lines(self, *prefix: str) -> None:
        """Closes the connections whose key begins so, and the streams."""
        for scenario in [k for k in self.streams if k in prefix or not prefix]:
            for stream in self.streams.pop(scenario):
                await stream.close()
        for key in [k for k in self._lines if k[: len(prefix)] == prefix]:
            await self._lines.pop(key).close()
        if not prefix and self._proxy:
            await self._proxy.close()

    async def send(self, call: Call, line: Line) -> Exchange:
        """Sends one request and appends its exchange. Raises Skip for what the profile or a token does not allow."""
        op = self.target.operation[call.operation]
        request = self._built(call, op)
        if call.by and not call.alter.anonymous and not op.public:
            request = await self.authorised(request, call)
        answer = await line.send(request, self.permits.take)
        self.permits.give_back()
        return self._append(call, op, request, answer)

    async def pass_on(self, call: Call, request: Request, line: Line, *, authorised: bool) -> Exchange:
        """Sends a request that another tool made, to an allowed host. Raises Skip like `send`."""
        parts = urlsplit(request.url)
        self.allow_host(parts.netloc, parts.scheme)
        request = await self.authorised(request, call) if authorised else request
        answer = await line.send(request, self.permits.take)
        self.permits.give_back()
        return self.exchanged(call, call.operation or None, request, answer)

    def _built(self, call: Call, op: Operation) -> Request:
        """The request, to a host that is allowed; what the target gave for it (cursor, link, id) may be anything."""
        try:
            request = build(self.target, op, call.values, call.extra, call.alter)
            parts = urlsplit(request.url)
        except ValueError as error:
            raise Skip("precondition", f"{call.operation}: what the target gave makes no URL") from error
        if len(request.url) > MAX_URL:
            raise Skip("precondition", f"{call.operation}: what the target gave makes a URL over {MAX_URL} characters")
        self.allow_host(parts.netloc, parts.scheme)
        return request

    def allow_host(self, netloc: str, scheme: str) -> None:
        """Raises NotAllowed for a host that is not the target's, and for one that is asked in the clear."""
        if netloc not in self._hosts:
            raise NotAllowed(f"the host {netloc[:100]!r} is neither the target's nor in target.hosts")
        if scheme not in {"https", "wss"} and self.target.target.base_url.startswith("https:"):
            raise NotAllowed(f"the target is asked over https, not over {scheme[:20]!r}")

    def _read(self, reply: Message) -> Message:
        """The reply while the run has room for it: all that a run reads is kept until it is judged."""
        self._room -= len(reply.content) + VALUE * reply.content.count(b",")
        room = self._room >= 0 or len(reply.content) <= LITTLE
        return reply if room else replace(reply, content=reply.content[:LITTLE], cut=True)

    def _append(self, call: Call, op: Operation, request: Request, answer: Answer) -> Exchange:
        """Redacts and appends; a token is learned first, and one that is too large to be learned is left out."""
        if op.role == "token" and answer.reply and len(answer.reply.content) > MAX_TOKEN_REPLY:
            answer = replace(answer, reply=replace(answer.reply, content=b"", cut=True))
        if op.role == "token" and answer.reply and call.by:
            self._learn(call.by, answer.reply)
        return self.exchanged(call, None if call.alter.path is not None else call.operation, request, answer)

    def exchanged(self, call: Call, operation: str | None, request: Request, answer: Answer) -> Exchange:
        """Redacts and appends an exchange."""
        return self.journal.append(Exchange(
            n=0, scenario=call.scenario, label=call.label, origin=call.origin,
            route=call.via.route if call.via else "direct", conn=answer.conn, principal=call.by, operation=operation,
            method=request.method, url=self.redactor.url(request.url, call.alter.query_token),
            request=self._clean(answer.request), status=answer.status,
            reply=self._read(self._clean(answer.reply)) if answer.reply else None,
            no_reply=_blamed(answer.no_reply, call),
            sent=answer.sent, first=answer.first, done=answer.done))

    def frame(self, frame: Frame, members: Iterable[str] = ()) -> bool:
        """Redacts and appends a frame; False, and no more than its beginning, when the run has no room for it.

        `members` are those that hold the token in a message of the harness's own.
        """
        payload, values = self.redactor.sent(frame.payload, members), frame.payload.count(b",")
        if values <= MAX_VALUES:
            self._room -= FRAME + 2 * len(payload) + VALUE * values
        room = values <= MAX_VALUES and self._room >= 0
        self.journal.append(replace(frame, payload=payload if room else payload[:LITTLE]))
        return room

    def _clean(self, message: Message) -> Message:
        return replace(message, headers=self.redactor.headers(message.headers),
                       content=(self.redactor.unfinished if message.cut else self.redactor.data)(message.content))

    def _learn(self, principal: str, reply: Message) -> str | None:
        """The placeholder of the token in a reply; None when there is none that could be sent."""
        value = pointer(parse_json(reply.content), "/access_token")
        if not isinstance(value, str) or not value:
            return None
        placeholder = self.redactor.learn(value, principal, "token")
        if len(value) <= MAX_TOKEN and value.isascii() and value.isprintable():
            self._raw[placeholder] = value
            return placeholder
        return None

    # --- credentials

    async def authorised(self, request: Request, call: Call) -> Request:
        """The request with the principal's stack of credentials on it."""
        principal = str(call.by)
        for step in self.target.credential[principal].stack:
            value = await self._value(principal, step, call)
            if call.alter.credential:
                value = call.alter.credential(value)
                self.redactor.learn(value, principal, "altered")
            if call.alter.query_token:
                return replace(request, url=with_query(request.url, {call.alter.query_token: value}))
            template = "Bearer {secret}" if step.kind == "oauth2" else "Basic {secret}" if step.kind == "basic" else (
                step.template)
            field_line = (step.header, template.replace("{secret}", value))
            if step.header not in call.alter.headers:
                request = replace(request, headers=(*request.headers, field_line))
        return request

    async def credential(self, principal: str, token: Token | None = None) -> str:
        """The value that a login message carries: the first credential of the principal's stack; "" without one."""
        call = Call("", "", "setup", "", principal, token=token)
        stack = self.target.credential[principal].stack
        return await self._value(principal, stack[0], call) if stack else ""

    async def _value(self, principal: str, step: Step, call: Call) -> str:
        if step.kind == "static":
            return self._secrets[step.secret]
        if step.kind == "basic":
            return self._basic(principal, step)
        token = call.token or await self.token(principal)
        return self._raw[token.placeholder]

    def _basic(self, principal: str, step: Step) -> str:
        secret = self._secrets[step.secret]
        user_and_password = f"{secret}:" if step.client_id is None else f"{step.client_id}:{secret}"
        pair = base64.b64encode(user_and_password.encode()).decode()
        self.redactor.learn(pair, principal, "basic")
        return pair

    async def token(self, principal: str) -> Token:
        """The principal's token, fetched by one caller at a time and renewed ahead of its expiry."""
        async with self._minting.setdefault(principal, asyncio.Lock()):
            token = self._tokens.get(principal)
            if token is None or not token.fresh(time.monotonic()):
                token = self._tokens[principal] = await self.mint(principal)
            return token

    async def mint(self, principal: str) -> Token:
        """A new token of the principal's first OAuth step. Raises Skip when the endpoint gives none."""
        step = next(s for s in self.target.credential[principal].stack if s.kind == "oauth2")
        exchange = await self._fetch(principal, step, self.target.operation[str(step.operation)])
        placeholder = self._issued(exchange)
        if placeholder is None:
            came = exchange.no_reply or f"status {exchange.status} without a usable access_token"
            raise Skip("precondition", f"no token for {principal}: {came}")
        token = Token(principal, placeholder, exchange.n, exchange.sent, exchange.done, _lifetime(exchange, step))
        self.note("(credentials)", "token", {"principal": principal, "token": placeholder, "exchange": exchange.n,
                                             "lifetime_s": token.lifetime_s})
        return token

    def _issued(self, exchange: Exchange) -> str | None:
        value = pointer(parse_json(exchange.reply.content), "/access_token") if exchange.reply else None
        return value if isinstance(value, str) and value in self._raw else None

    async def _fetch(self, principal: str, step: Step, op: Operation) -> Exchange:
        values = {"client_id": step.client_id or "", "scope": step.scope or ""}
        form = dict(op.body or {"grant_type": "client_credentials"}) | ({"scope": step.scope} if step.scope else {})
        headers: dict[str, str | None] = {}
        if step.client_auth == "basic":
            headers["Authorization"] = "Basic " + self._basic(principal, step)
        else:
            form |= {"client_id": step.client_id, "client_secret": self._secrets[step.secret]}
        sent = op.model_copy(update={"body": form, "form": True, "public": True})
        call = Call("(credentials)", f"token:{principal}", "setup", str(step.operation), principal,
                    Alter(headers=headers), values)
        request = build(self.target, sent, call.values, call.extra, call.alter)
        answer = await self.line("(credentials)", principal).send(request, self.permits.take)
        self.permits.give_back()
        return self._append(call, sent, request, answer)


def _blamed(no_reply: str | None, call: Call) -> str | None:
    """Why no reply came; on a way with a fault, the target is not to blame."""
    return ON_THE_WAY.format(no_reply.partition(":")[0]) if no_reply and call.via else no_reply


def _lifetime(exchange: Exchange, step: Step) -> float:
    """`expires_in` of a token reply in seconds, or the profile's lifetime where it is missing or no lifetime at all."""
    value = pointer(parse_json(exchange.reply.content), "/expires_in") if exchange.reply else None
    try:
        lifetime = float(str(value))
    except ValueError:
        return step.lifetime_s
    return lifetime if 0 < lifetime <= MAX_LIFETIME_S else step.lifetime_s


def redacted(redactor: Redactor, data: Any) -> Any:
    """Facts are redacted like everything else: every string in them."""
    if isinstance(data, str):
        return redactor.text(data)
    if isinstance(data, Mapping):
        return {k: redacted(redactor, v) for k, v in data.items()}
    return [redacted(redactor, v) for v in data] if isinstance(data, list | tuple) else data


def sacrificial(target: Profile, purpose: str) -> str | None:
    """The principal that may be used up for a purpose; None without one."""
    return next((n for n, c in target.credential.items() if purpose in c.sacrificial), None)


def principal(target: Profile, role: str = "full") -> str | None:
    """The first principal of a role that is not set aside for a purpose, else any of that role."""
    found: list[tuple[bool, str]] = [(bool(c.sacrificial), n) for n, c in target.credential.items() if c.role == role]
    return min(found, key=lambda f: f[0])[1] if found else None
