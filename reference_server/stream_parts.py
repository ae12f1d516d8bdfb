"""The replaceable parts of the streams, with defaults that conform.

The policy, as documented: a consumer has a queue of 32 messages behind its socket's buffers; when that is full the
stream ends with close 1013. The last 32 updates of an account can be replayed. Who does not answer a ping within a
second is gone (close 1011), unless the ping itself may still lie behind a backlog.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from openbell.reference_server.settings import Client
from openbell.reference_server.tokens import Grant
from openbell.reference_server.values import Json

QUEUE = 32
RETENTION = 32
BEAT_S = 0.5
ANSWER_S = 2.0
LOGIN_REFUSED, TOO_SLOW, DEAD = 4401, 1013, 1011
POSITIONS = frozenset({"position_too_old", "position_unknown", "epoch_changed"})


@dataclass(frozen=True)
class After:
    """The position that a client resumes at."""

    epoch: str
    seq: int


@dataclass(frozen=True)
class Log:
    """What an account's events allow: their epoch, the newest position, and how many came after the client's."""

    epoch: str
    head: int
    behind: int


class Consumer(Protocol):
    """A subscribed connection, as what publishes sees it."""

    @property
    def full(self) -> bool:
        """Whether the queue takes no more."""

    def put(self, data: bytes) -> None:
        """Sends or queues the bytes of one frame."""

    def requeue(self, *frames: bytes) -> None:
        """Queues these frames in the place of all that is queued."""

    def end(self, code: int | None, reason: str = "") -> None:
        """Ends the stream by a close with that code; by a reset for None."""


def answer_pings(payloads: Sequence[bytes]) -> Sequence[bytes]:
    """The payloads of the pongs for the pings that came in one read (RFC 6455 section 5.5.3)."""
    return payloads


def next_beat_s(number: int) -> float:
    """Seconds until the next ping, after so many."""
    del number
    return BEAT_S


def close_slow(consumer: Consumer, data: bytes) -> None:
    """What is done when a queue is full and one more message is due."""
    del data
    consumer.end(TOO_SLOW, "too slow")


def may_subscribe(client: Client | None, account: str, resuming: bool) -> str | None:
    """The code of the refusal, if any."""
    del resuming
    if client is None:
        return "unauthenticated"
    return None if client.account == account else "forbidden"


def refuse_position(after: After, log: Log) -> str | None:
    """The code of the refusal of a position, if any."""
    if after.epoch != log.epoch:
        return "epoch_changed"
    if after.seq > log.head:
        return "position_unknown"
    return "position_too_old" if log.behind > RETENTION else None


def replay(own: list[Json], missed: list[Json]) -> list[Json]:
    """The updates that a resumed stream begins with: `own` is that of the client's position, `missed` are the later."""
    del own
    return missed


@dataclass(frozen=True)
class StreamParts:
    """How the streams do each thing that a convention speaks about. A code of None is a reset."""

    # heartbeats
    answer_pings: Callable[[Sequence[bytes]], Sequence[bytes]] = answer_pings
    next_beat_s: Callable[[int], float] = next_beat_s
    beats_when_busy: bool = True
    answer_within_s: float = ANSWER_S
    dead_code: int | None = DEAD
    # access
    may_subscribe: Callable[[Client | None, str, bool], str | None] = may_subscribe
    closes: Callable[[str], int | None] = lambda code: None
    ends: Callable[[Grant], float] = lambda grant: grant.expires
    # positions
    number: Callable[[int], int] = lambda last: last + 1
    refuse_position: Callable[[After, Log], str | None] = refuse_position
    replay: Callable[[list[Json], list[Json]], list[Json]] = replay
    outgoing: Callable[[Json], Sequence[Json]] = lambda update: (update,)
    goes_live: Callable[[bool], bool] = lambda resumed: True
    # consumers
    overflow: Callable[[Consumer, bytes], None] = close_slow
    held_up: Callable[[Iterable[Consumer]], bool] = lambda consumers: False
