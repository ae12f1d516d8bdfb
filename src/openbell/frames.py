"""A WebSocket client that controls the wire: what it answers, what it sends, when it reads, how it ends.

Every frame of either direction is an event, stamped when its bytes arrived. Nothing is answered behind the scenario's
back but pongs, and those only while the client is not muted. How a stream ended, and by whose doing, is a fact. What a
target sends is bounded: a message, the frames of a stream and what a whole run reads have caps, and reaching one is
the harness's own doing, never the target's.
"""

from __future__ import annotations

import asyncio
import codecs
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI, PayloadTooBig
from websockets.frames import CloseCode, Opcode
from websockets.frames import Frame as Raw
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

MAX_MESSAGE = 4 * 1024 * 1024
CLOSE_S = 2.0
MAX_WORDS = 120
ANSWERS = {Opcode.PING: Opcode.PONG, Opcode.CLOSE: Opcode.CLOSE}
LINGER = struct.pack("ii", 1, 0)
By = Literal["client", "server"]
OnFrame = Callable[[float, By, Raw], bool]
OnEnd = Callable[["Ending"], None]


@dataclass(frozen=True)
class Ending:
    """How a connection ended.

    `side` is whose doing it was, `how` is `close CODE`, `reset`, `eof`, `violation` or `cap`; `violation` says
    what the server sent against the protocol, where that ended it.
    """

    side: Literal["client", "server", "harness"]
    how: str
    violation: str | None = None


@dataclass(frozen=True)
class Place:
    """Where to connect: a ws(s) URL for the handshake, and the address that is really dialled, by which socket."""

    url: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    name: str | None = None
    sock: socket.socket | None = None


class Wire(asyncio.Protocol):
    """One connection on the library's state machine."""

    def __init__(self, url: str, headers: tuple[tuple[str, str], ...], on_frame: OnFrame, on_end: OnEnd, *,
                 muted: bool = False) -> None:
        self.muted = muted
        self.over = False
        self.ended = asyncio.Event()
        self.answered: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self.protocol = ClientProtocol(parse_uri(url), max_size=MAX_MESSAGE)
        self.request = self.protocol.connect()
        for name, value in headers:
            self.request.headers[name] = value
        self._side: Literal["client", "harness"] | None = None
        self._cut = False
        self._own: list[Raw] | None = None
        self._text = codecs.getincrementaldecoder("utf-8")()
        self._is_text = False
        self._wrong: Exception | None = None
        self._leaving = False
        self._on_frame, self._on_end = on_frame, on_end
        self._send_frame, self.protocol.send_frame = self.protocol.send_frame, self._send  # type: ignore[method-assign]

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake goes out."""
        self.transport: Any = transport
        self.protocol.send_request(self.request)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Bytes of the server."""
        if self.over or self._wrong:
            return
        self._own = []
        self.protocol.receive_data(data)
        self._take(time.monotonic())

    def eof_received(self) -> None:
        """The server sends no more."""
        self.protocol.receive_eof()
        self._take(time.monotonic())

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._answer(None)
        if self.protocol.handshake_exc is None and self.protocol.state is not State.CONNECTING:
            self._on_end(self._ending(error))
        self.ended.set()

    def _answer(self, response: Response | None) -> None:
        """Tells whoever still waits for the answer to the handshake."""
        if not self.answered.done():
            self.answered.set_result(response)

    def _take(self, now: float) -> None:
        own, self._own = self._own or [], None
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self._answer(event)
            elif isinstance(event, Raw) and not self.over and not self._wrong:
                self._frame(now, event, own)
        for frame in own if not self.over else ():
            self._on_frame(now, "client", frame)
        if self.protocol.handshake_exc is not None:
            self._answer(None)
        self.flush()
        self._finish()

    def _frame(self, now: float, frame: Raw, own: list[Raw]) -> None:
        """Hands on a frame of the server, and behind it what the state machine has already answered."""
        if not self._on_frame(now, "server", frame):
            self.over = True
            self.cut("harness")
            return
        if own and own[0].opcode is ANSWERS.get(frame.opcode):
            self._on_frame(now, "client", own.pop(0))
        # RFC 6455 8.1: text that is not UTF-8 fails the connection. The state machine leaves that to its user.
        self._is_text = frame.opcode is Opcode.TEXT or (self._is_text and frame.opcode is not Opcode.BINARY)
        if self._is_text and frame.opcode in {Opcode.TEXT, Opcode.CONT}:
            try:
                self._text.decode(frame.data, frame.fin)
            except UnicodeDecodeError as error:
                self._wrong = error
                self.protocol.fail(CloseCode.INVALID_DATA)

    def _finish(self) -> None:
        """Ends a connection that has failed at once (RFC 6455 7.1.7), one that the server closed when it does not."""
        wrong = self._wrong or self.protocol.parser_exc
        if wrong and not isinstance(wrong, EOFError):
            self.transport.abort()
        elif self.protocol.close_rcvd and not self._leaving:
            self._leaving = True
            asyncio.get_running_loop().call_later(CLOSE_S, self.transport.abort)

    def _ending(self, error: Exception | None) -> Ending:
        wrong, said = self._wrong or self.protocol.parser_exc, self.protocol.close_rcvd
        if self.over or isinstance(wrong, PayloadTooBig):
            return Ending("harness", "cap")
        if wrong and not isinstance(wrong, EOFError):
            return Ending("server", "violation", str(wrong)[:MAX_WORDS])
        lost = "reset" if self._cut or isinstance(error, ConnectionError) else "eof"
        how = f"close {int(said.code)}" if said else lost
        first = said and self.protocol.close_rcvd_then_sent
        return Ending("server" if first or not self._side else self._side, how)

    # --- what the stream does with it

    def _send(self, frame: Raw) -> None:
        if frame.opcode is Opcode.PONG and self.muted:
            return
        if self._own is None:
            self._on_frame(time.monotonic(), "client", frame)
        else:
            self._own.append(frame)
        self._send_frame(frame)

    def flush(self) -> None:
        """Writes what the state machine has to say."""
        for data in self.protocol.data_to_send():
            if self.transport.is_closing():
                return
            if data:
                self.transport.write(data)
            else:
                self.transport.close()

    @property
    def open(self) -> bool:
        """Whether frames may be sent."""
        return self.protocol.state is State.OPEN and not self.ended.is_set()

    def cut(self, side: Literal["client", "harness"] = "client") -> None:
        """Resets the connection, without a Close."""
        self._side, self._cut = self._side or side, True
        with_socket = self.transport.get_extra_info("socket")
        if with_socket is not None and not self.transport.is_closing():
            with_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.transport.abort()

    async def close(self, code: int = 1000) -> None:
        """Says Close and waits for the other side, for a while."""
        if self.open:
            self._side = self._side or "client"
            self.protocol.send_close(code)
            self.flush()
            self.transport.resume_reading()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.ended.wait()
        except TimeoutError:
            self.cut()
            await self.ended.wait()


async def dial(place: Place, headers: tuple[tuple[str, str], ...], on_frame: OnFrame, on_end: OnEnd,
               *, muted: bool = False, receive_buffer: int | None = None) -> Wire:
    """A connection whose handshake has gone out. Raises OSError, and ValueError for a URL that is none."""
    loop = asyncio.get_running_loop()
    try:
        made = Wire(place.url, headers, on_frame, on_end, muted=muted)
    except InvalidURI as error:
        raise ValueError(str(error)) from error
    found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    family, kind, proto, _, address = found[0]
    sock = place.sock or socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await loop.sock_connect(sock, address)
        await loop.create_connection(lambda: made, sock=sock, ssl=place.tls,
                                     server_hostname=place.name if place.tls else None)
    except BaseException:
        sock.close()
        raise
    return made
