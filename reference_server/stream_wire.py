"""One stream's connection on websockets' state machine: handshake, pings and pongs, the bounded queue, the ways to end.

The library parses and keeps the state; which pings are answered, what is queued and how it ends is decided here.
"""

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from openbell.reference_server.calls import World
from openbell.reference_server.gate import challenged, granted
from openbell.reference_server.stream_parts import LOGIN_REFUSED, QUEUE
from openbell.reference_server.stream_sessions import Session
from openbell.reference_server.values import Fields, Problem, Refused, Reply, Scope, header

MAXIMUM = 1 << 16
BUFFER = 1 << 15
LOGIN_S = 5.0
CLOSE_S = 5.0
STUCK_S = 10.0
LINGER = struct.pack("ii", 1, 0)
PREFIX = "/v1/stream/"
CHANNELS = ("orders", "market")
KEPT = ("upgrade", "allow", "sec-websocket-version")
DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
logger = logging.getLogger("openbell.reference_server")
quiet = logging.getLogger("openbell.reference_server.websockets")
quiet.addHandler(logging.NullHandler())
quiet.propagate = False


class Machine(ServerProtocol):
    """The library's state machine, which leaves the pongs to us."""

    def send_frame(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.PONG:
            super().send_frame(frame)


class Connection(asyncio.Protocol):
    """One connection from its handshake to its end."""

    def __init__(self, world: World, connections: set[Any]) -> None:
        self.world, self.parts, self.connections = world, world.behaviour.streams, connections
        self.loop = asyncio.get_running_loop()
        self.protocol = Machine(max_size=MAXIMUM, logger=quiet)
        self.session: Session | None = None
        self.scope: Scope = {}
        self.correlation = ""
        self.queue: deque[bytes] = deque()
        self.fragments: list[bytes] = []
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.pings: dict[bytes, float] = {}
        self.pongs: list[bytes] = []
        self.paused = self.over = False
        self.beats, self.busy_at = 0, 0.0

    # --- what asyncio and uvicorn call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection over from HTTP."""
        self.transport = cast("asyncio.Transport", transport)
        self.connections.add(self)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.transport.set_write_buffer_limits(high=BUFFER)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self.protocol.receive_data(data)
        self.take()

    def eof_received(self) -> None:
        """The client sends no more."""
        self.protocol.receive_eof()
        self.take()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        del error
        self.stop()
        self.drop_timers()
        self.connections.discard(self)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self.paused = True

    def resume_writing(self) -> None:
        """What was queued goes out."""
        self.paused = False
        while self.queue and not self.paused:
            self.write(self.queue.popleft())
        self.answer()

    def shutdown(self) -> None:
        """The server ends."""
        self.end(1001, "going away")

    # --- reading

    def take(self) -> None:
        """Acts upon what the state machine made of the bytes, then sends what it has to say."""
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.open(event)
            elif isinstance(event, Frame):
                self.frame(event)
        self.answer()
        self.flush()

    def frame(self, frame: Frame) -> None:
        """One frame of the client."""
        payload = bytes(frame.data)
        if frame.opcode is Opcode.PING:
            self.pongs.append(payload)
        elif frame.opcode is Opcode.PONG:
            self.answered(payload)
        elif frame.opcode in DATA and not self.over:
            self.fragments.append(payload)
            if frame.fin:
                self.message(b"".join(self.fragments))
                self.fragments.clear()

    def message(self, content: bytes) -> None:
        """A whole message; text that is not UTF-8 ends the stream (RFC 6455 section 8.1)."""
        try:
            content.decode()
        except ValueError:
            self.end(1007, "not UTF-8")
            return
        if self.session:
            self.session.received(content)

    # --- the handshake

    def open(self, request: Request) -> None:
        """Accepts the client, or refuses it as any request is refused."""
        self.scope = scope_of(request, self.transport)
        self.correlation = self.world.behaviour.trace(header(self.scope, b"x-correlation-id"))
        try:
            self.session = self.admitted(request)
            self.world.log(self.scope, 101)
        except Refused as refused:
            self.refuse(refused.problem)
        except Exception:  # a part that raises is a 500 without internals, and the log has the rest
            logger.exception("the handshake crashed")
            self.refuse(Problem("internal"))

    def admitted(self, request: Request) -> Session:
        """The session of an accepted handshake; raises Refused."""
        channel = self.scope["path"].removeprefix(PREFIX)
        if not self.scope["path"].startswith(PREFIX) or channel not in CHANNELS:
            raise Refused(Problem("not_found"))
        response = self.protocol.accept(request)
        if response.status_code != 101:
            kept = tuple((name.lower(), text) for name, text in response.headers.raw_items() if name.lower() in KEPT)
            raise Refused(Problem("bad_handshake", fields=kept, status=response.status_code))
        session = Session(self.world, self, channel)
        grant = granted(self.world, self.scope) if channel == "market" else None
        for name, value in self.world.behaviour.trace_fields(self.correlation, 101):
            response.headers[name] = value
        self.protocol.send_response(response)
        self.flush()
        if grant:
            session.enter(grant)
        else:
            self.until("login", self.loop.time() + LOGIN_S)
        self.later("beat", self.parts.next_beat_s(0), self.beat)
        return session

    def refuse(self, problem: Problem) -> None:
        """Answers the handshake with a problem."""
        behaviour = self.world.behaviour
        reply = behaviour.write_error(challenged(self.world, problem), self.correlation)
        fields = (*reply.fields, *behaviour.trace_fields(self.correlation, reply.status))
        self.world.log(self.scope, reply.status)
        self.protocol.send_response(refusal(reply, fields))

    # --- heartbeats

    def answer(self) -> None:
        """Answers the pings of one read; while the socket takes no more they wait, and only the last is kept."""
        if self.paused or self.over:
            del self.pongs[:-1]
            return
        for payload in self.parts.answer_pings(self.pongs):
            self.write(Frame(Opcode.PONG, payload).serialize(mask=False))
        self.pongs.clear()

    def beat(self) -> None:
        """Sends a ping and schedules the next."""
        self.beats += 1
        every = self.parts.next_beat_s(self.beats)
        self.later("beat", every, self.beat)
        if not self.parts.beats_when_busy and self.loop.time() - self.busy_at < every:
            return
        payload = struct.pack("!I", self.beats)
        self.pings[payload] = self.loop.time()
        self.write(Frame(Opcode.PING, payload).serialize(mask=False))
        if "answer" not in self.timers:
            self.await_answer(self.parts.answer_within_s)

    def answered(self, payload: bytes) -> None:
        """A pong answers its ping and those before it."""
        if payload not in self.pings:
            return
        while next(iter(self.pings)) != payload:
            del self.pings[next(iter(self.pings))]
        del self.pings[payload]
        self.until("answer", None)
        if self.pings:
            waited = self.loop.time() - next(iter(self.pings.values()))
            self.await_answer(max(0.0, self.parts.answer_within_s - waited))

    def await_answer(self, seconds: float) -> None:
        self.later("answer", seconds, self.unanswered)

    def unanswered(self) -> None:
        """The client is gone, unless its oldest ping may still lie behind a backlog."""
        waited = self.loop.time() - next(iter(self.pings.values()))
        if self.paused and waited < STUCK_S:
            self.await_answer(self.parts.next_beat_s(0))
        else:
            self.end(self.parts.dead_code, "no pong")

    # --- sending

    @property
    def full(self) -> bool:
        """Whether the queue takes no more."""
        return len(self.queue) >= QUEUE

    def write(self, data: bytes) -> None:
        """Hands bytes to the socket, unless the connection broke a moment ago: asyncio would complain of each."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def put(self, data: bytes) -> None:
        """Sends or queues the bytes of one frame."""
        if self.over:
            return
        self.busy_at = self.loop.time()
        if not self.paused:
            self.write(data)
        elif self.full:
            self.parts.overflow(self, data)
        else:
            self.queue.append(data)

    def requeue(self, *frames: bytes) -> None:
        """Queues these frames in the place of all that is queued."""
        self.queue = deque(frames)

    def flush(self) -> None:
        """Writes what the state machine has to say; after its last word the connection is closed."""
        for data in self.protocol.data_to_send():
            if data:
                self.write(data)
            else:
                self.stop()
                self.transport.close()

    # --- ends

    def end(self, code: int | None, reason: str = "") -> None:
        """Ends the stream by a close with that code; by a reset for None."""
        if self.over:
            return
        self.stop()
        if code is None or self.protocol.state is not State.OPEN:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            self.transport.abort()
            return
        self.protocol.send_close(code, reason)
        self.flush()
        self.later("close", CLOSE_S, self.transport.abort)

    def stop(self) -> None:
        """Nothing is delivered or awaited any more."""
        self.over = True
        self.queue.clear()
        self.drop_timers()
        if self.session:
            self.session.leave()

    def drop_timers(self) -> None:
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()

    def until(self, name: str, moment: float | None) -> None:
        """Sets the moment, in monotonic seconds, at which something ends; None takes it away."""
        if name in self.timers:
            self.timers.pop(name).cancel()
        if moment is None:
            return
        ends: dict[str, Callable[[], None]] = {"login": self.login_late, "token": self.token_ended}
        self.later(name, max(0.0, moment - self.loop.time()), ends[name])

    def later(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Acts after some seconds, once; never for a time without end."""

        def due() -> None:
            self.timers.pop(name, None)
            act()

        if seconds != float("inf"):
            self.timers[name] = self.loop.call_later(seconds, due)

    def login_late(self) -> None:
        self.end(LOGIN_REFUSED, "no login")

    def token_ended(self) -> None:
        if self.session:
            self.session.token_ended()


def scope_of(request: Request, transport: Any) -> Scope:
    """The handshake as the parts of the server see requests."""
    path, _, query = request.path.partition("?")
    fields = [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in request.headers.raw_items()]
    client = transport.get_extra_info("peername")
    return {
        "type": "websocket",
        "method": "GET",
        "path": path,
        "query_string": query.encode("latin-1", "replace"),
        "headers": fields,
        "client": tuple(client[:2]) if client else None,
    }


def refusal(reply: Reply, fields: Fields) -> Response:
    """A reply as the library writes it."""
    length = ("content-length", str(len(reply.content)))
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = ""
    return Response(reply.status, phrase, Headers([*fields, length, ("connection", "close")]), reply.content)
