"""Faults on the way to the target: frozen values that say what goes wrong, where, and how often.

Those of the relay work on bytes, below TLS, and know nothing of HTTP: they cut, hold up and swallow. Those of the proxy
work on single exchanges and messages, and end TLS to do so; never judge close codes, frames, limits or latency through
it. A fault that counts bytes takes effect with the first byte beyond `after_bytes`, counted on each connection and in
one direction: `down` is from the target to the client, `up` the other way. TLS's own bytes count. Nothing here draws
lots but `Delay`, from the run's seed: the same values cut the same bytes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from openbell.events import JSON, Route

Direction = Literal["up", "down"]
How = Literal["reset", "close"]


# --- on bytes: the relay


@dataclass(frozen=True)
class Calm:
    """Nothing goes wrong: the way itself, for a control and for its witness."""


@dataclass(frozen=True)
class Cut:
    """Both sides' connections end: by a reset, or in order (FIN), after this many bytes."""

    how: How = "reset"
    after_bytes: int = 0
    direction: Direction = "down"


@dataclass(frozen=True)
class Delay:
    """All bytes of both directions come later, by up to `jitter` seconds more, in order. For new connections."""

    seconds: float
    jitter: float = 0.0


@dataclass(frozen=True)
class Bandwidth:
    """Each direction passes so many bytes per second."""

    bytes_per_s: float


@dataclass(frozen=True)
class Stall:
    """One direction passes nothing for a while, then goes on."""

    after_bytes: int = 0
    seconds: float = 1.0
    direction: Direction = "down"


@dataclass(frozen=True)
class BlackHole:
    """Nothing passes any more, not even an end; both sides' bytes are taken, and neither learns of it."""

    after_bytes: int = 0
    direction: Direction = "down"


@dataclass(frozen=True)
class HalfOpen:
    """The client's connection is reset, and the target is not told: half-open in the words of RFC 9293, 3.5.1."""

    after_bytes: int = 0
    direction: Direction = "down"


@dataclass(frozen=True)
class StopReading:
    """One direction's sender is not read any more, so that its bytes fill the buffers between."""

    after_bytes: int = 0
    direction: Direction = "down"


@dataclass(frozen=True)
class Refuse:
    """New connections are refused."""


RelayFault: TypeAlias = Calm | Cut | Delay | Bandwidth | Stall | BlackHole | HalfOpen | StopReading | Refuse


# --- on exchanges and messages: mitmproxy


@dataclass(frozen=True)
class LoseReply:
    """The request is executed and its reply is lost.

    It hits the `nth` exchange of an operation (of any, with "") and the `times` - 1 that follow it.
    """

    operation: str = ""
    nth: int = 1
    times: int = 1


@dataclass(frozen=True)
class InjectStatus:
    """The request never reaches the target; it is answered with this status, header lines and content."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    operation: str = ""
    nth: int = 1
    times: int = 1


@dataclass(frozen=True)
class DelayReply:
    """The request is executed and its reply comes so many seconds late."""

    seconds: float
    operation: str = ""
    nth: int = 1
    times: int = 1


Which: TypeAlias = int | Mapping[str, Any]


@dataclass(frozen=True)
class DropMessage:
    """A message of a stream is lost.

    `which` is its number in its direction on the connection, from 1, or a predicate in the words of the profile
    (`{"at": "body:/type", "equals": "update"}`); `times` bounds how many are hit on the whole way.
    """

    which: Which = 1
    direction: Direction = "down"
    times: int = 1


@dataclass(frozen=True)
class DelayMessage:
    """A message comes late, and with it all that follows on its connection, in both directions."""

    seconds: float
    which: Which = 1
    direction: Direction = "down"
    times: int = 1


@dataclass(frozen=True)
class DuplicateMessage:
    """A message comes twice; the second one behind what had already arrived."""

    which: Which = 1
    direction: Direction = "down"
    times: int = 1


@dataclass(frozen=True)
class ReplaceMessage:
    """A message comes with other content."""

    content: str
    which: Which = 1
    direction: Direction = "down"
    times: int = 1


ProxyFault: TypeAlias = (
    LoseReply | InjectStatus | DelayReply | DropMessage | DelayMessage | DuplicateMessage | ReplaceMessage)
Fault: TypeAlias = RelayFault | ProxyFault


def kind(fault: Fault) -> str:
    """Its name in facts."""
    return type(fault).__name__


def route(fault: Fault) -> Route:
    """The way that a fault is on: `relay`, or `proxy` for mitmproxy."""
    return "relay" if isinstance(fault, RelayFault) else "proxy"


def parameters(fault: Fault) -> dict[str, JSON]:
    """Every parameter by its name, as JSON."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(fault).items()}


@dataclass(frozen=True)
class Fired:
    """A fault took effect: when (monotonic seconds), on which connection, and after how many bytes of a direction.

    `peer` is the port that the client's connection came from. Faults of the proxy count no bytes.
    """

    fault: str
    at: float
    peer: int | None
    direction: Direction | None = None
    offset: int | None = None


@dataclass
class Seen:
    """What the other side of one relayed connection really sent and got, in bytes, and how the target ended it.

    `ended` is `eof` or `reset` by the target's own doing, else None; times are monotonic seconds.
    """

    peer: int
    opened: float
    up: int = 0
    down: int = 0
    ended: Literal["eof", "reset"] | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Reached:
    """An exchange that the target answered, whatever the client got of it. A stream's handshake is one."""

    peer: int
    at: float
    method: str
    status: int
