"""A stream's server and its client as pure values: a history of updates, lives that are cut and resumed, and the truth.

What a life delivers goes through `spoil`, so that one fault can be planted in an otherwise conforming story.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from made import exchange, profile, recording

from openbell.events import Event, Exchange, Fact, Frame
from openbell.registry import Check, Observation
from openbell.target import Subject

TARGET = profile()
ORDERS, MARKET = Subject("stream", "orders"), Subject("stream", "market")
EPOCH = "e1"
TICK = 0.01
Row = dict[str, Any]
Spoil = Callable[[list[Row], int], list[Row]]


def update(seq: int, step: int = 1, **members: Any) -> Row:
    """One update of the reference profile's form."""
    return {"type": "update", "channel": "orders", "epoch": EPOCH, "seq": seq, "prev": seq - step,
            "event": f"evt_{seq}", "order": {"id": f"ord_{seq}"}, **members}


def spoken(label: str, conn: int, at: float, message: Any, by: str = "server", opcode: int = 1) -> Frame:
    """A message as a frame; bytes go as they are."""
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return Frame(0, "made", label, "direct", conn, at, "client" if by == "client" else "server", opcode, payload)


def told(name: str, at: float, **data: Any) -> Fact:
    """A fact at an instant."""
    return Fact(0, "made", at, name, data)


def opened(label: str, conn: int, at: float, status: int | None = 101, **changes: Any) -> Exchange:
    """A handshake."""
    return exchange(label, status, conn=conn, at=at, took=TICK / 4, operation=None, **changes)


def observed(check: Check, subject: Subject, *events: Event) -> list[Observation]:
    """What a check says of events."""
    assert check.judge
    return list(check.judge(recording(*events), TARGET, subject))


@dataclass
class Story:
    """Lives of one stream. Positions grow by `step`."""

    step: int = 1
    spoil: Spoil = lambda rows, _since: rows
    rows: list[Row] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    now: float = 0.0
    since: int | None = None
    lives: int = 0

    def tick(self, seconds: float = TICK) -> float:
        self.now += seconds
        return self.now

    def publish(self, count: int, label: str) -> None:
        """Makes updates."""
        for _ in range(count):
            seq = (len(self.rows) + 1) * self.step
            self.rows.append(update(seq, self.step))
            self.events.append(exchange(f"{label}:{self.lives}", 201, {"id": f"ord_{seq}"}, at=self.tick(),
                                        took=TICK / 4, operation="submit_order", method="POST"))

    def life(self, live: int, *, repeat: bool = False, lasts: float = TICK) -> None:
        """A connection: subscribed or resumed, then `live` updates; `repeat` sends the resumed position once more."""
        label, conn, since = f"round:{self.lives}", 10 + self.lives, self.since
        self.events.append(opened(label, conn, self.tick()))
        at = {"position": since, "epoch": EPOCH} if since is not None else {}
        script = "subscribe" if since is None else "resubscribe"
        self.events.append(told("stream_script", self.tick(), conn=conn, script=script, answer="ok", **at))
        known = len(self.rows) * self.step if since is None else since
        first = len(self.rows)
        self.publish(live, "live")
        due = [r for r in self.rows if r["seq"] > known]
        missed = len([r for r in due if r["seq"] <= first * self.step])
        again = [r for r in self.rows if r["seq"] == since] if repeat else []
        for row in [*again, *self.spoil(due, missed)]:
            self.events.append(spoken(label, conn, self.tick(), row))
            self.delivered.append(row["seq"])
            self.since = row["seq"]
        self.events.append(told("stream_end", self.tick(lasts), conn=conn, side="client", how="reset", violation=None))
        self.lives += 1

    def whole(self) -> list[Event]:
        """Everything, the truth last."""
        rows = [{k: v for k, v in r.items() if k != "type"} for r in self.rows]
        page = exchange("walk:truth:1", 200, {"items": rows}, at=self.tick(), operation="list_events")
        return [*self.events, page]
