"""A lean HTTP/1.1 client on gevent's sockets: kept-alive connections, requests encoded at once, nothing followed.

It reads what RFC 9112 section 6 says of a message's length (no content, chunked, Content-Length, until the end), and
bounds all of it. A connection that broke while it was idle is not the target's failure: a request that found the
connection closed before one byte of a reply is sent once more, on a new one, if it is safe to repeat.
"""

from __future__ import annotations

import itertools
import socket
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MOST_HEAD = 64 * 1024
MOST_CONTENT = 4 * 1024 * 1024
READ = 64 * 1024
_numbers = itertools.count(1)


class NoReply(Exception):
    """No reply came; the text begins with one word that says how: refused, closed, reset, timeout, garbage, cap."""


@dataclass(slots=True)
class Connection:
    """One connection: its socket, its number, and whether a reply came on it before."""

    socket: socket.socket
    number: int
    used: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A reply: its raw head, its content as it came, and when it was sent, begun and done (monotonic seconds)."""

    status: int
    head: bytes
    content: bytes
    connection: int
    sent: float
    first: float
    done: float

    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """The header lines, in order."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return tuple((name, value.strip()) for name, _, value in lines)


@dataclass
class Pool:
    """The kept-alive connections to one origin; the one used last is used next."""

    url: str
    timeout_s: float
    tls: ssl.SSLContext | None = None
    free: list[Connection] = field(default_factory=list)
    opened: int = 0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.secure = parts.scheme == "https"

    def take(self) -> Connection:
        """A free connection, or a new one. Raises NoReply."""
        if self.free:
            return self.free.pop()
        try:
            made = socket.create_connection((self.host, self.port), self.timeout_s)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.secure:
                made = (self.tls or ssl.create_default_context()).wrap_socket(made, server_hostname=self.host)
        except OSError as error:
            raise NoReply(f"refused: no connection ({type(error).__name__})") from error
        self.opened += 1
        return Connection(made, next(_numbers))

    def send(self, wire: bytes, *, repeatable: bool, bodyless: bool = False) -> Response:
        """Sends one encoded request. `bodyless` is for HEAD. Raises NoReply."""
        connection = self.take()
        try:
            return self._exchange(connection, wire, bodyless)
        except NoReply as error:
            if not (connection.used and repeatable and str(error).startswith(("closed:", "reset:"))):
                raise
        return self._exchange(self.take(), wire, bodyless)

    def _exchange(self, connection: Connection, wire: bytes, bodyless: bool) -> Response:
        sent = time.monotonic()
        try:
            connection.socket.sendall(wire)
            response, reusable = _read(connection, sent, bodyless)
        except BaseException as error:
            connection.socket.close()
            if isinstance(error, OSError):
                raise NoReply(_blame(error)) from error
            raise
        if reusable:
            connection.used = True
            self.free.append(connection)
        else:
            connection.socket.close()
        return response


def _blame(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timeout: the target did not answer in time"
    if isinstance(error, ConnectionError):
        return "reset: the target reset the connection"
    return f"failed: {type(error).__name__}"


def _read(connection: Connection, sent: float, bodyless: bool) -> tuple[Response, bool]:
    """One reply, and whether the connection can be used again."""
    buffer = bytearray()
    end = -1
    first = sent
    while end < 0:
        more = connection.socket.recv(READ)
        if not more:
            raise NoReply("closed: the target closed the connection without a reply" if not buffer else
                          "cut: the target ended the reply early")
        first = first if buffer else time.monotonic()
        buffer += more
        end = buffer.find(b"\r\n\r\n")
        if end < 0 and len(buffer) > MOST_HEAD:
            raise NoReply("cap: the reply's header is larger than the harness reads")
    head = bytes(buffer[:end])
    status = _status(head)
    if 100 <= status < 200:
        raise NoReply("garbage: an informational reply, which was not asked for")
    lower = head.lower()
    if bodyless or status in {204, 304}:
        content, whole = b"", True
    else:
        content, whole = _content(connection.socket, lower, buffer[end + 4:])
    keep = whole and b"\r\nconnection: close" not in lower and head.startswith(b"HTTP/1.1")
    return Response(status, head, content, connection.number, sent, first, time.monotonic()), keep


def _status(head: bytes) -> int:
    try:
        version, code = head.split(b" ", 2)[:2]
        if version.startswith(b"HTTP/1.") and len(code) == 3:
            return int(code)
    except ValueError:
        pass
    raise NoReply("garbage: the target's reply is not HTTP")


def _length(lower: bytes) -> int | None:
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        return None
    text = lower[at + 17:].split(b"\r\n", 1)[0].strip()
    if not text.isdigit():
        raise NoReply("garbage: a Content-Length that is no number")
    return int(text)


def _content(sock: socket.socket, lower: bytes, begun: bytearray) -> tuple[bytes, bool]:
    """The content, and whether its end was told rather than shown by closing."""
    if b"\r\ntransfer-encoding:" in lower and b"chunked" in lower:
        return _chunked(sock, begun), True
    length = _length(lower)
    while (length is None or len(begun) < length) and len(begun) <= MOST_CONTENT:
        more = sock.recv(READ)
        if not more and length is None:
            return bytes(begun), False
        if not more:
            raise NoReply("cut: the target ended the content early")
        begun += more
    if len(begun) > MOST_CONTENT:
        raise NoReply("cap: the content is larger than the harness reads")
    return bytes(begun), len(begun) == length


def _chunked(sock: socket.socket, begun: bytearray) -> bytes:
    out = bytearray()
    while len(out) <= MOST_CONTENT:
        line = _line(sock, begun)
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise NoReply("garbage: a chunk without a size") from None
        if size == 0:
            while _line(sock, begun):
                pass
            return bytes(out)
        while len(begun) < size + 2 and len(out) + len(begun) <= MOST_CONTENT + READ:
            _more(sock, begun)
        out += begun[:size]
        del begun[:size + 2]
    raise NoReply("cap: the content is larger than the harness reads")


def _more(sock: socket.socket, begun: bytearray) -> None:
    more = sock.recv(READ)
    if not more:
        raise NoReply("cut: the target ended the content early")
    begun += more


def _line(sock: socket.socket, begun: bytearray) -> bytes:
    """Takes the bytes before the next line's end."""
    while (end := begun.find(b"\r\n")) < 0:
        if len(begun) > MOST_HEAD:
            raise NoReply("cap: a line is longer than the harness reads")
        _more(sock, begun)
    line = bytes(begun[:end])
    del begun[: end + 2]
    return line
