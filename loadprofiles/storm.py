"""A reconnect storm: streams are held, dropped all at once, and everybody comes back.

Each stream is a greenlet with one socket and the `websockets` library's protocol without its I/O. It is alive once its
script has been answered. After the drop it waits for a random part of a growing time (full jitter) before each try, as
a well-behaved client does; how long it took until it was alive again is its recovery.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import gevent
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from openbell.building import fill, filled
from openbell.handshake import address
from openbell.loadprofiles.shape import Storm
from openbell.loadprofiles.tally import Tally
from openbell.loadprofiles.words import OK
from openbell.profile import Profile, Turn
from openbell.target import message_holds

OPENING = 0.6
READ = 64 * 1024
BUDGET = 64
MOST_MESSAGE = 1024 * 1024


class Refused(OSError):
    """The stream could not be entered; the text is one word or a status."""


@dataclass(frozen=True)
class Place:
    """Which stream is opened, as whom, with which credentials; `headers` and `token` are asked for anew each time."""

    target: Profile
    name: str
    principal: str
    headers: Callable[[], list[list[str]]]
    token: Callable[[], str]


class Line:
    """One open stream. Raises OSError, or what the library raises, when it cannot be had or has ended."""

    def __init__(self, place: Place) -> None:
        table, about = place.target.stream[place.name], place.target.target
        self.values: Mapping[str, Any] = dict(place.target.credential[place.principal].values)
        url = address(about.base_url, fill(table.url, self.values))
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self.socket = socket.create_connection((parts.hostname or "", port), about.timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "https":
            tls = ssl.create_default_context(cafile=about.ca_bundle)
            self.socket = tls.wrap_socket(self.socket, server_hostname=parts.hostname)
        self.protocol = ClientProtocol(parse_uri(url.replace("http", "ws", 1)), max_size=MOST_MESSAGE)
        self.messages: deque[bytes] = deque(maxlen=256)
        self.opened = False
        try:
            self._handshake(place.headers() if table.auth == "handshake" else [])
            for turn in (*table.login, *table.subscribe):
                self._turn(turn, place.token)
        except BaseException:
            self.socket.close()
            raise

    def _handshake(self, headers: list[list[str]]) -> None:
        request = self.protocol.connect()
        for name, value in headers:
            request.headers[name] = value
        self.protocol.send_request(request)
        self._flush()
        while not self.opened:
            self.read()

    def _turn(self, turn: Turn, token: Callable[[], str]) -> None:
        if turn.send is not None:
            said = filled(turn.send, {**self.values, "token": token()})
            self.protocol.send_text(json.dumps(said).encode())
            self._flush()
        deadline = time.monotonic() + (self.socket.gettimeout() or 0.0)
        while turn.expect is not None:
            while self.messages:
                if message_holds(turn.expect, self.messages.popleft()):
                    return
            if time.monotonic() > deadline:
                raise Refused("timeout")
            self.read()

    def read(self) -> None:
        """Takes what has come; pings are answered."""
        data = self.socket.recv(READ)
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if hasattr(event, "status_code"):
                self._answered(event.status_code)
            elif isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.BINARY}:
                self.messages.append(bytes(event.data))
        self._flush()
        if not data or self.protocol.close_expected():
            raise Refused("closed")

    def _answered(self, status: int) -> None:
        if self.protocol.handshake_exc is not None:
            raise Refused(f"status {status}")
        self.opened = True

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.socket.sendall(data)


@dataclass
class Weather:
    """The storm of one worker: `count` streams. `drop_at` and `end` are monotonic seconds, `name` tells the phase."""

    storm: Storm
    place: Place
    count: int
    tally: Tally
    begin: float
    drop_at: float
    end: float
    phases: tuple[str, str]
    seed: int = 0
    lines: set[Line] = field(default_factory=set)
    changes: list[tuple[float, int]] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    held: int = 0
    dropped: bool = False

    def run(self) -> None:
        """Holds the streams, drops them, and lets them come back until the end."""
        greenlets = [gevent.spawn(self._client, i) for i in range(self.count)]
        gevent.sleep(max(0.0, self.drop_at - time.monotonic()))
        self.held, self.dropped, self.drop_at = len(self.lines), True, time.monotonic()
        for line in tuple(self.lines):
            line.socket.close()
        # A greenlet that waits for a socket does not see that it was closed under it: it is told.
        for greenlet in greenlets:
            greenlet.kill(block=False)
        clients = [gevent.spawn(self._again, i) for i in range(self.count)]
        gevent.sleep(max(0.0, self.end - time.monotonic()))
        gevent.killall(clients, block=True, timeout=1)

    def news(self) -> dict[str, Any]:
        """What has changed since the last call."""
        out = {"alive": self.changes, "back": self.back, "held": self.held}
        self.changes, self.back = [], []
        return out

    def _client(self, number: int) -> None:
        opening = self.begin + (self.drop_at - self.begin) * OPENING * number / max(1, self.count)
        gevent.sleep(max(0.0, opening - time.monotonic()))
        self._live(random.Random(f"{self.seed}:{number}"), jitter_first=False, told=True)

    def _again(self, number: int) -> None:
        self._live(random.Random(f"{self.seed}:{number}:again"), jitter_first=True, told=False)

    def _live(self, rng: random.Random, *, jitter_first: bool, told: bool) -> None:
        """Opens the stream, and again whenever it has ended; `told` says that its recovery is known already."""
        wait = self.storm.jitter_s
        pause = jitter_first
        while True:
            if pause:
                gevent.sleep(rng.random() * wait)
            line, began = None, time.monotonic()
            try:
                line = Line(self.place)
                self._up(line, began, told)
                told, wait = True, self.storm.jitter_s
                self._hold(line)
            except Exception as error:  # noqa: BLE001 - whatever a target makes of its stream is a try that missed
                if line is None:
                    self._missed(began, error)
                    wait = min(self.storm.most_s, wait * 2)
            finally:
                self._down(line)
            pause = True

    def _hold(self, line: Line) -> None:
        """Reads for ever; a stream that always has something to read lets the others have their turn."""
        line.socket.settimeout(None)
        for n in range(1 << 62):
            line.read()
            line.messages.clear()
            if n % BUDGET == BUDGET - 1:
                gevent.sleep(0)

    def _up(self, line: Line, began: float, told: bool) -> None:
        now = time.monotonic()
        self.lines.add(line)
        self.changes.append((now - self.begin, 1))
        if not told:
            self.back.append(now - self.drop_at)
        self._tell(now - began, OK)

    def _down(self, line: Line | None) -> None:
        if line in self.lines and line is not None:
            self.lines.discard(line)
            self.changes.append((time.monotonic() - self.begin, -1))
            line.socket.close()

    def _missed(self, began: float, error: Exception) -> None:
        said = str(error) if isinstance(error, Refused) else type(error).__name__
        self._tell(time.monotonic() - began, said)

    def _tell(self, seconds: float, outcome: str) -> None:
        name, phase = f"open stream {self.place.name}", self.phases[self.dropped]
        self.tally.record(("latency", phase, name), seconds)
        self.tally.record(("service", phase, name), seconds)
        self.tally.counts["outcome", phase, name, outcome] += 1
        self.tally.counts["method", name, "WS"] += 1
