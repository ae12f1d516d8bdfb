"""What a recording tells of each connection of a stream: one life, from its handshake to its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from openbell.events import Exchange, Fact, Frame, Recording, labelled
from openbell.locate import NotJSON, parse_json, pointer, text
from openbell.profile import MessageClass, Stream
from openbell.target import message_class, position

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
    """An update by its position, epoch, identity, and the position that it says came before ("" where it says none)."""

    frame: Frame
    position: str
    epoch: str
    id: str
    previous: str
    value: Any


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
        told = ((m, position(sequence, m.value)) for m in self.messages(stream) if m.kind == "update")
        return tuple(Update(m.frame, at.position, at.epoch, text(pointer(m.value, sequence.id)),
                            text(pointer(m.value, sequence.previous)) if sequence.previous else "", m.value)
                     for m, at in told if at)


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


def lag(recording: Recording) -> float:
    """The worst seconds by which the harness itself was late."""
    return max((float(f.data["seconds"]) for f in recording.facts("lag")), default=0.0)
