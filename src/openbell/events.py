"""What a run leaves behind: exchanges, frames and facts.

An event is a frozen value, already redacted. Times are seconds of the harness's monotonic clock; the clock of the
target is never used to order events. A recording is a filter over the journal, nothing more.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, overload

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
Origin = Literal["scenario", "control", "setup", "fuzz", "load", "har", "proxy"]
Route = Literal["direct", "relay", "proxy"]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """Header lines as they stood on the wire and the decoded content.

    `wire_length` counts the content's bytes on the wire; `cut` says that the harness stopped reading at its cap;
    `encoding` is the coding that was taken off (`""` for none).
    """

    headers: Headers = ()
    content: bytes = b""
    wire_length: int = 0
    cut: bool = False
    encoding: str = ""

    def lines(self, name: str) -> tuple[str, ...]:
        """All values of one field, one per header line, in order; names compare without case."""
        wanted = name.lower().encode()
        size = len(wanted)
        return tuple([v.decode("utf-8", "replace").strip()
                      for k, v in self.headers if len(k) == size and k.lower() == wanted])

    def field(self, name: str) -> str | None:
        """The field's value, its lines joined by a comma (RFC 9110 5.3); None without the field."""
        lines = self.lines(name)
        return ", ".join(lines) if lines else None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request with its reply, or with the fact that none came (`no_reply` says why, and whose doing)."""

    n: int
    scenario: str
    label: str
    origin: Origin
    route: Route
    conn: int
    principal: str | None
    operation: str | None
    method: str
    url: str
    request: Message
    status: int | None
    reply: Message | None
    no_reply: str | None
    sent: float
    first: float | None
    done: float


@dataclass(frozen=True, slots=True)
class Frame:
    """One WebSocket message or control frame, in either direction; `conn` is its handshake's connection."""

    n: int
    scenario: str
    label: str
    route: Route
    conn: int
    at: float
    by: Literal["client", "server"]
    opcode: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Fact:
    """What a scenario or the scheduler knows and the wire does not show."""

    n: int
    scenario: str
    at: float
    name: str
    data: Mapping[str, Any]


Event: TypeAlias = Exchange | Frame | Fact


@dataclass(frozen=True, slots=True)
class Recording(Sequence[Event]):
    """Events in journal order, with the filters that checks ask for."""

    events: tuple[Event, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Recording: ...
    def __getitem__(self, index: int | slice) -> Event | Recording:
        return Recording(self.events[index]) if isinstance(index, slice) else self.events[index]

    def __len__(self) -> int:
        return len(self.events)

    def where(self, keep: Callable[[Event], bool]) -> Recording:
        """The events that `keep` accepts."""
        return Recording(tuple(filter(keep, self.events)))

    def exchanges(self, label: str = "") -> Iterator[Exchange]:
        """Direct exchanges whose label is `label` or starts with `label:`; all of them without one."""
        for event in self.events:
            if isinstance(event, Exchange) and event.route == "direct" and labelled(event.label, label):
                yield event

    def facts(self, name: str) -> Iterator[Fact]:
        """Facts of one name."""
        return (e for e in self.events if isinstance(e, Fact) and e.name == name)


def labelled(label: str, wanted: str) -> bool:
    """Whether a label is the wanted one or one of its numbered kin (`page:3` is a `page`)."""
    return not wanted or label == wanted or label.startswith(wanted + ":")


# --- the JSON form: one line per event; content as text, or as {"base64": ...} when it is not UTF-8

_KINDS: Mapping[type[Event], str] = {Exchange: "exchange", Frame: "frame", Fact: "fact"}
_CLASSES: Mapping[str, type[Event]] = {kind: cls for cls, kind in _KINDS.items()}
_NAMES = {cls: tuple(f.name for f in fields(cls)) for cls in (Exchange, Frame, Fact, Message)}


def content_json(content: bytes) -> JSON:
    """Bytes as JSON: text when UTF-8, else base64 in an object."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def content_bytes(value: Any) -> bytes:
    """The reverse of `content_json`."""
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def _message_json(message: Message | None) -> JSON:
    if message is None:
        return None
    return {
        "headers": [[k.decode("utf-8", "surrogateescape"), v.decode("utf-8", "surrogateescape")]
                    for k, v in message.headers],
        "content": content_json(message.content), "wire_length": message.wire_length, "cut": message.cut,
        "encoding": message.encoding,
    }


def _message(value: Any) -> Message | None:
    if value is None:
        return None
    headers = tuple((k.encode("utf-8", "surrogateescape"), v.encode("utf-8", "surrogateescape"))
                    for k, v in value["headers"])
    return Message(headers, content_bytes(value["content"]), value["wire_length"], value["cut"], value["encoding"])


_WRITE: Mapping[str, Callable[[Any], JSON]] = {
    "request": _message_json, "reply": _message_json, "payload": content_json}
_READ: Mapping[str, Callable[[Any], Any]] = {"request": _message, "reply": _message, "payload": content_bytes}


def event_json(event: Event) -> dict[str, Any]:
    """One event as a JSON object; its member `kind` is exchange, frame or fact."""
    out: dict[str, Any] = {"kind": _KINDS[type(event)]}
    for name in _NAMES[type(event)]:
        value = getattr(event, name)
        out[name] = _WRITE[name](value) if name in _WRITE else value
    return out


def event_from(data: Mapping[str, Any]) -> Event:
    """The event of one JSON object. Raises KeyError or ValueError for what is not one."""
    cls = _CLASSES[data["kind"]]
    return cls(*(_READ[name](data[name]) if name in _READ else data[name] for name in _NAMES[cls]))


def numbered(event: Event, n: int) -> Event:
    """The same event with its place in the journal."""
    return replace(event, n=n)
