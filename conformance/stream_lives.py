"""What a recording tells of each connection of a stream: one life, from its handshake to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from openbell.events import Exchange, Fact, Frame, Recording, labelled
from openbell.locate import NotJSON, Number, parse_json, pointer, text
from openbell.profile import MessageClass, Profile, Sequence, Stream
from openbell.scenarios.streams import TRUTH
from openbell.target import items, message_class, page_of, position

TURN_S = 0.02
DEEP = 100
PING, PONG, CLOSE, CONTINUATION = 9, 10, 8, 0
DATA = frozenset({1, 2})


@dataclass(frozen=True)
class Told:
    """A whole message of the server: the frame that ended it, its class, its value."""

    frame: Frame
    kind: MessageClass
    value: Any


@dataclass(frozen=True)
class Update:
    """An update by its place, its identity, and the position that it says came before ("" where it says none).

    `event` is the frame that ended it, or the exchange of the page on which the truth tells of it.
    """

    event: Frame | Exchange
    position: str
    epoch: str
    id: str
    previous: str
    value: Any

    @property
    def place(self) -> tuple[str, str]:
        """The epoch and the position in it."""
        return self.epoch, self.position


def _update(event: Frame | Exchange, value: Any, sequence: Sequence) -> Update | None:
    at = position(sequence, value)
    previous = text(pointer(value, sequence.previous)) if sequence.previous else ""
    return Update(event, at.position, at.epoch, text(pointer(value, sequence.id)), previous, value) if at else None


@dataclass(frozen=True)
class Life:
    """One connection: its handshake, its frames, its facts."""

    conn: int
    handshake: Exchange
    frames: tuple[Frame, ...]
    facts: tuple[Fact, ...]

    @property
    def label(self) -> str:
        """The label that the scenario gave it."""
        return self.handshake.label

    def by(self, side: str, opcode: int) -> tuple[Frame, ...]:
        """Frames of one side and kind."""
        return tuple(f for f in self.frames if f.by == side and f.opcode == opcode)

    def fact(self, name: str) -> Fact | None:
        """The first fact of a name."""
        return next((f for f in self.facts if f.name == name), None)

    @property
    def end(self) -> Fact | None:
        """How and when it ended; None while it was open."""
        return self.fact("stream_end")

    def script(self, *names: str) -> Fact | None:
        """How the last of the scripts of these names was answered; None where none was run to its end."""
        found = [f for f in self.facts if f.name == "stream_script" and f.data["script"] in names and f.data["answer"]]
        return found[-1] if found else None

    @property
    def entered(self) -> Fact | None:
        """The fact that it was subscribed, or resubscribed; None where that was not answered with success."""
        found = self.script("subscribe", "resubscribe")
        return found if found and found.data["answer"] == "ok" else None

    def messages(self, stream: Stream) -> Iterator[Told]:
        """The server's whole messages that are JSON; the fragments of one are joined."""
        parts: list[Frame] = []
        for frame in (*self.frames, None):
            if frame is not None and (frame.by != "server" or frame.opcode not in {*DATA, CONTINUATION}):
                continue
            if parts and (frame is None or frame.opcode != CONTINUATION):
                content = b"".join(f.payload for f in parts)
                value = parse_json(content)
                if not isinstance(value, NotJSON):
                    yield Told(parts[-1], message_class(stream, content), value)
                parts = []
            if frame is not None:
                parts.append(frame)

    def updates(self, stream: Stream) -> tuple[Update, ...]:
        """The updates that say where they stand."""
        sequence = stream.sequence
        if sequence is None:
            return ()
        found = (_update(m.frame, m.value, sequence) for m in self.messages(stream) if m.kind == "update")
        return tuple(u for u in found if u)


def truth(recording: Recording, target: Profile, stream: Stream) -> tuple[Update, ...]:
    """What the target tells over REST of what it published, in the listing's order."""
    if stream.sequence is None or stream.published is None or stream.published.truth is None:
        return ()
    page = page_of(target, stream.published.truth)
    found = (_update(e, row, stream.sequence) for e in recording.exchanges(f"walk:{TRUTH}") for row in items(page, e))
    return tuple(u for u in found if u)


def same_content(a: Any, b: Any) -> bool:
    """Whether two values agree in all members that both have. A number may be written in more than one way; what is
    nested deeper than `DEEP` is not looked at."""
    pairs = [(a, b, 0)]
    while pairs:
        one, other, depth = pairs.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            pairs += [(one[k], other[k], depth + 1) for k in one.keys() & other.keys() if depth < DEEP]
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pairs += [(x, y, depth + 1) for x, y in zip(one, other, strict=True) if depth < DEEP]
        elif one != other and not _same_number(one, other):
            return False
    return True


def _same_number(a: Any, b: Any) -> bool:
    """Whether two JSON numbers, as they were written, are one number."""
    if not (isinstance(a, Number) and isinstance(b, Number)):
        return False
    try:
        return Decimal(a) == Decimal(b)
    except InvalidOperation:
        return False


def lives(recording: Recording, label: str = "") -> tuple[Life, ...]:
    """The connections that were opened, in order, on whatever route; all of them, or those of a label."""
    found: dict[int, tuple[Exchange, list[Frame], list[Fact]]] = {}
    for event in recording:
        if isinstance(event, Exchange) and event.status == 101 and labelled(event.label, label):
            found[event.conn] = (event, [], [])
    for event in recording:
        if isinstance(event, Frame) and event.conn in found:
            found[event.conn][1].append(event)
        elif isinstance(event, Fact) and event.data.get("conn") in found:
            found[event.data["conn"]][2].append(event)
    return tuple(Life(conn, shake, tuple(frames), tuple(facts)) for conn, (shake, frames, facts) in found.items())


def life_of(recording: Recording, label: str) -> Life | None:
    """The first connection of a label that was opened."""
    return next(iter(lives(recording, label)), None)


def lag(recording: Recording) -> float:
    """The worst seconds by which the harness itself was late."""
    return max((float(f.data["seconds"]) for f in recording.facts("lag")), default=0.0)


def earliest(recording: Recording, at: float) -> float:
    """The earliest instant at which what was read at an instant can have come: before the harness itself was late."""
    late = (f.at - float(f.data["seconds"]) for f in recording.facts("lag")
            if f.at - float(f.data["seconds"]) <= at <= f.at + TURN_S)
    return min(late, default=at)
