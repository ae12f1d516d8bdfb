"""What no WebSocket server should send, as answers of `hostile.Hostile`, and a profile with streams to it."""

import base64
import hashlib
import itertools
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostile import Answer, Asked, profile, reply

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def switched(asked: Asked, *fields: str, accept: str | None = None) -> bytes:
    """A 101 that accepts the handshake, or says that it does."""
    key = next((line.partition(b":")[2].strip() for line in asked.head.splitlines()
                if line.lower().startswith(b"sec-websocket-key:")), b"")
    right = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Accept: {accept or right}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = False,
          length: int | None = None) -> bytes:
    """A frame as bytes. `length` is what it announces, where that is not what it has."""
    size = len(payload) if length is None else length
    mark = 128 * masked
    head = bytes([128 * fin | rsv << 4 | opcode])
    if size < 126:
        head += bytes([mark | size])
    elif size < 1 << 16:
        head += struct.pack(">BH", mark | 126, size)
    else:
        head += struct.pack(">BQ", mark | 127, size)
    return head + (b"\1\2\3\4" + bytes(b ^ (i % 4 + 1) for i, b in enumerate(payload)) if masked else payload)


def closing(code: int, reason: bytes = b"") -> bytes:
    """A Close frame with any code and any bytes for a reason."""
    return frame(CLOSE, struct.pack(">H", code) + reason)


def update(seq: Any, **members: Any) -> bytes:
    """An update as the profile's streams have them."""
    return frame(TEXT, json.dumps({"seq": seq, "id": f"e{seq}", **members}).encode())


def raw_update(seq: bytes, more: bytes = b"") -> bytes:
    """An update whose position is written as it is."""
    return frame(TEXT, b'{"seq": ' + seq + b', "id": "e"' + more + b"}")


def accepting(*parts: bytes | Callable[[], Iterator[bytes]], end: type[Exception] | None = None,
              ) -> Callable[[Asked], Answer]:
    """Accepts the handshake, sends the parts, and then ends the connection or goes on in silence."""
    def answer(asked: Asked) -> Iterator[bytes]:
        yield switched(asked)
        for part in parts:
            yield from [part] if isinstance(part, bytes) else part()
        if end:
            raise end
    return answer


def again(part: bytes, size: int = 64 * KB, most: int = GB) -> Callable[[], Iterator[bytes]]:
    """A part over and over, in pieces of some size, up to a bound that no test reaches."""
    piece = part * max(1, size // len(part))
    return lambda: itertools.repeat(piece, most // len(piece))


# --- a profile with streams of which everything is promised

WRITES = """
[operation.make]
role = "create"
method = "POST"
path = "/made"
body = { key = "{unique}" }
undo = "unmake"

[operation.unmake]
role = "cancel"
method = "DELETE"
path = "/made/{id}"
values = { id = "none" }

[operation.list_told]
role = "list"
method = "GET"
path = "/told"
page = "cursor"
"""
STREAM = """
[stream.NAME]
url = "/NAME"
resubscribe = [{ send = { after = "{position}" } }]
heartbeat = { by = "both", kind = "ping", every_s = 0.2, answer_within_s = 0.2 }
sequence = { at = "/seq", id = "/id", previous = "/prev" }
published = { by = "make", key = "/key", truth = "list_told" }
resume = "replay"
retention = 2
delivery = "at_least_once"
slow = "close"
within_s = 0.5
grace_s = 0
busy = BUSY
buffer_bytes = 65536
"""


def streams(folder: Path, base_url: str, names: Iterable[str], *, busy: bool = False, more: str = "") -> Path:
    """A profile with one more stream at each path."""
    tables = "".join(STREAM.replace("NAME", name).replace("BUSY", str(busy).lower()) for name in names)
    return profile(folder, base_url, WRITES + tables + more, a=('["read"]', '["read", "write", "disrupt"]'))


@dataclass
class Told:
    """A server's REST side: it makes what it is asked to, gives it back, and tells of it by positions of its choice."""

    positions: Callable[[int], Any] = int
    answers: dict[str, Callable[[Asked], Answer]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers |= {"/made": self._make, "/told": self._tell}

    def _make(self, _asked: Asked) -> bytes:
        self.made.append(f"m{len(self.made)}")
        body = reply(json.dumps({"id": self.made[-1]}).encode(), 201)
        self.answers[f"/rows/{self.made[-1]}"] = self.answers[f"/made/{self.made[-1]}"] = lambda asked: body
        return body

    def _tell(self, _asked: Asked) -> bytes:
        rows = [{"seq": self.positions(i), "id": f"e{i}", "key": made} for i, made in enumerate(self.made[-20:])]
        return reply(json.dumps({"items": rows, "next_cursor": None}).encode())
