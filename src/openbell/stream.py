"""A stream as a scenario holds it: entered by the profile's scripts, read by what the profile says of its messages.

Every frame is an event of the scenario; so are the facts that frames do not show: that a stream was opened and by what
position it was resumed (`stream_open`), how a script was answered (`stream_script`), how the stream ended
(`stream_end`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from websockets.frames import Frame, Opcode

from openbell.building import filled
from openbell.events import Exchange, Fact, Route
from openbell.frames import By, Ending, Wire
from openbell.locate import NotJSON, parse_json
from openbell.named import token_members
from openbell.profile import MessageClass
from openbell.profile import Stream as Table
from openbell.redact import Leak
from openbell.target import Position, message_class, message_holds, position
from openbell.wire import next_connection

if TYPE_CHECKING:
    from openbell.api import Api
    from openbell.session import Token

Answer = Literal["ok", "refused", "ended", "silent"]
ANSWER_S = 5.0
MAX_FRAMES = 20_000
TICK_S = 0.02
WHOLE = frozenset({Opcode.CONT, Opcode.TEXT, Opcode.BINARY})


@dataclass(frozen=True)
class Received:
    """A whole message: when its last frame came, its class, its JSON value and its bytes."""

    at: float
    kind: MessageClass
    value: Any
    content: bytes


class Stream:
    """One connection of a declared stream."""

    def __init__(self, api: Api, name: str, by: str, label: str, values: Mapping[str, Any], token: Token | None,
                 ) -> None:
        self.api, self.name, self.by, self.label, self.values, self.token = api, name, by, label, values, token
        self.table: Table = api.target.stream[name]
        self.secret = token_members(self.table)
        self.conn = next_connection()
        self.route: Route = api.via.route if api.via else "direct"
        self.handshake: Exchange | None = None
        self.messages: list[Received] = []
        self.pongs: list[bytes] = []
        self.position: Position | None = None
        self.ending: Ending | None = None
        self.failure: Exception | None = None
        self._wire: Wire | None = None
        self._frames = 0
        self._heard = 0
        self._parts: list[tuple[float, int, bytes]] = []
        self._news = asyncio.Event()

    # --- what the wire calls

    def attach(self, wire: Wire) -> None:
        """The connection that the handshake went out on."""
        self._wire = wire

    def abandon(self) -> None:
        """The handshake was not accepted: the connection goes."""
        if self._wire and not self._wire.ended.is_set():
            self._wire.cut()
        self._wire = None

    def took(self, at: float, by: By, frame: Frame) -> bool:
        """Records a frame; False when there is no room for more, or it could not be recorded."""
        try:
            return self._took(at, by, frame)
        except (OSError, Leak) as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> bool:
        """Keeps what went wrong where nobody could be told, for the next who waits for this stream."""
        self.failure = error
        self._news.set()
        return False

    def _took(self, at: float, by: By, frame: Frame) -> bool:
        self._frames += 1
        if by == "server" and frame.opcode is Opcode.PONG:
            self.pongs.append(bytes(frame.data))
        room = self._frames <= MAX_FRAMES
        if room and by == "server" and frame.opcode in WHOLE:
            self._parts.append((at, int(frame.opcode), bytes(frame.data)))
            if frame.fin and (room := self._told()):
                self._message(at, b"".join(part for _, _, part in self._parts))
            if frame.fin:
                self._parts.clear()
        elif room:
            room = self.api.frame(self, at, by, int(frame.opcode), bytes(frame.data))
        self._news.set()
        return room

    def _told(self, *, broken_off: bool = False) -> bool:
        """Records the frames of a message together: a secret may stand across two of them, and is not masked in
        halves, nor where the other half never came. False when there is no room for more."""
        whole = b"".join(part for _, _, part in self._parts)
        redactor = self.api.session.redactor
        masked = redactor.unfinished(whole) if broken_off else redactor.data(whole) if len(self._parts) > 1 else whole
        shown = [part for _, _, part in self._parts] if masked == whole else [b""] * (len(self._parts) - 1) + [masked]
        return all(self.api.frame(self, at, "server", opcode, part)
                   for (at, opcode, _), part in zip(self._parts, shown, strict=True))

    def _message(self, at: float, content: bytes) -> None:
        value = parse_json(content)
        if isinstance(value, NotJSON):
            return
        kind = message_class(self.table, content)
        self.messages.append(Received(at, kind, value, content))
        if kind == "update" and self.table.sequence:
            self.position = position(self.table.sequence, value) or self.position

    def ended(self, ending: Ending) -> None:
        """Notes the end; where a fault on the way has taken effect, it is the harness's doing."""
        if self.api.via and self.api.via.hit(self.conn) and ending.side == "server":
            ending = replace(ending, side="harness")
        self.ending = ending
        try:
            if self._parts:
                self._told(broken_off=True)
            self.note("stream_end", side=ending.side, how=ending.how, violation=ending.violation)
        except (OSError, Leak) as error:
            self._failed(error)
        self._news.set()

    def note(self, name: str, **data: Any) -> Fact:
        """A fact about this stream."""
        return self.api.note(name, conn=self.conn, stream=self.name, by=self.by, label=self.label, **data)

    # --- entering

    async def enter(self, since: Position | None = None) -> Answer:
        """Logs in and subscribes, or resubscribes at a position; how the last step that was taken was answered."""
        answer = await self.login()
        return answer if answer != "ok" else await self.subscribe(since)

    async def login(self, credential: str | None = None) -> Answer:
        """Runs the login script, with the principal's token or the given one."""
        if not self.table.login:
            return "ok"
        token = await self.api.session.credential(self.by, self.token) if credential is None else credential
        return await self._script("login", {"token": token})

    async def subscribe(self, since: Position | None = None, values: Mapping[str, Any] | None = None) -> Answer:
        """Runs the script that subscribes, or resubscribes at a position; `values` go before the principal's."""
        values = values or {}
        if since is None:
            return await self._script("subscribe", values)
        return await self._script("resubscribe", {**since.values(), **values})

    async def _script(self, name: Literal["login", "subscribe", "resubscribe"], values: Mapping[str, Any]) -> Answer:
        turns = {"login": self.table.login, "subscribe": self.table.subscribe, "resubscribe": self.table.resubscribe}
        answer: Answer = "ok"
        shown = {k: values[k] for k in ("position", "epoch", "account") if k in values}
        self.note("stream_script", script=name, answer=None, **shown)
        for turn in turns[name]:
            # What the server says of itself, such as a greeting, may have come before it is asked for.
            seen = self._heard if turn.send is None else len(self.messages)
            if turn.send is not None:
                self.say(filled(turn.send, {**self.values, **values}))
            if turn.expect is not None and answer == "ok":
                answer = await self._answer(turn.expect, seen)
        self.note("stream_script", script=name, answer=answer, **shown)
        return answer

    async def _answer(self, expect: Any, seen: int) -> Answer:
        """The first message since that is the expected one, or an error."""
        found = await self.message(lambda m: m.kind == "error" or message_holds(expect, m.content), ANSWER_S, seen)
        if found is None:
            return "ended" if self.ending else "silent"
        self._heard = 1 + next(i for i, m in enumerate(self.messages) if m is found)
        return "refused" if found.kind == "error" else "ok"

    # --- reading

    async def message(self, test: Callable[[Received], bool], seconds: float, seen: int = 0) -> Received | None:
        """The first message from the `seen`-th on that passes the test; None when none comes in time, or the end."""
        deadline = time.monotonic() + seconds
        while True:
            for received in self.messages[seen:]:
                if test(received):
                    return received
            seen = len(self.messages)
            if self.ending or not await self._more(deadline):
                return None

    async def _more(self, deadline: float) -> bool:
        """Waits for the next frame or the end, until the deadline. Raises what kept a frame from being recorded.

        In short ticks, like every wait: one that is late tells that it was the harness that slept.
        """
        if self.failure:
            raise self.failure
        self._news.clear()
        while not self._news.is_set() and (left := deadline - time.monotonic()) > 0:
            due = time.monotonic() + min(TICK_S, left)
            with suppress(TimeoutError):
                async with asyncio.timeout(due - time.monotonic()):
                    await self._news.wait()
            self.api.ticked(due)
        return self._news.is_set()

    async def pong(self, payload: bytes, seconds: float) -> bool:
        """Whether a Pong with this payload has come, or comes in time."""
        deadline = time.monotonic() + seconds
        while payload not in self.pongs:
            if self.ending or not await self._more(deadline):
                return False
        return True

    async def end(self, seconds: float) -> Ending | None:
        """The end of the stream, if it comes in time."""
        deadline = time.monotonic() + seconds
        while self._wire and not self.ending and await self._more(deadline):
            pass
        return self.ending

    # --- acting

    @property
    def open(self) -> bool:
        """Whether frames may be sent."""
        return self._wire is not None and self._wire.open

    def send(self, opcode: Opcode, payload: bytes, *, fin: bool = True) -> None:
        """Sends one frame, where the stream is still open."""
        if self._wire and self._wire.open:
            self._wire.protocol.send_frame(Frame(opcode, payload, fin))
            self._wire.flush()

    def say(self, message: Any) -> None:
        """Sends a JSON message."""
        self.send(Opcode.TEXT, json.dumps(message).encode())

    def ping(self, payload: bytes) -> None:
        """Sends a Ping of at most 125 bytes."""
        self.send(Opcode.PING, payload)

    def raw(self, data: bytes) -> None:
        """Writes bytes below the protocol: frames that nobody should send."""
        if self._wire and self._wire.open:
            self._wire.transport.write(data)

    def mute(self) -> None:
        """Answers no Ping from now on."""
        if self._wire:
            self._wire.muted = True
        self.note("stream_muted")

    def pause(self) -> None:
        """Stops reading: what the server sends fills the buffers between."""
        if self._wire and not self._wire.ended.is_set():
            self._wire.transport.pause_reading()
        self.note("stream_paused")

    def go_on(self) -> None:
        """Reads again."""
        self.note("stream_resumed")
        if self._wire and not self._wire.ended.is_set():
            self._wire.transport.resume_reading()

    def reset(self) -> None:
        """Ends it without a Close, by a TCP reset."""
        if self._wire and not self._wire.ended.is_set():
            self._wire.cut()

    async def close(self, code: int = 1000) -> None:
        """Ends it by a Close, with a code of one's own."""
        if self._wire:
            await self._wire.close(code)
