"""Histories of a stream as arithmetic: publications, cuts in mid-stream, resumes, refusals outside the retention.

The server is conforming but for one planted fault. What its client lost is kept by the simulation itself, which knows
what each connection was owed, and the checks must say the same of nothing but the events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import ended, exchange, frame, profile, recording, script

from openbell.conformance.streams_loss import nothing_lost
from openbell.conformance.streams_order import delivered_as_promised, ordered_without_gaps
from openbell.events import Event
from openbell.profile import Sequence
from openbell.target import Subject

ORDERS = Subject("stream", "orders")
LINKED = profile()
DENSE = profile(stream={"orders": {"sequence": Sequence(at="/seq", id="/event", epoch="/epoch", step=1)}})
WITHIN = LINKED.stream["orders"].within_s
TICK = 0.01
Row = dict[str, Any]
Fault = Callable[[list[Row], list[Row], bool], list[Row]]


@dataclass(frozen=True)
class Life:
    """Updates made before it, and on it; how many messages are read before it is cut; whether the asked one is sent
    once more."""

    gap: int
    live: int
    read: int
    repeat: bool = False


@dataclass(frozen=True)
class Kind:
    """How the stream numbers and spells its positions, and what it keeps."""

    linked: bool = True
    text: bool = False
    step: int = 1
    retention: int | None = None
    fragments: bool = False


@dataclass
class World:
    """The server's log, what the client has read, and what it was owed: places in the log."""

    kind: Kind
    fault: Fault
    log: list[Row] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    got: set[int] = field(default_factory=set)
    owed: set[int] = field(default_factory=set)
    since: int | None = None
    start: int = 0
    now: float = 0.0
    conn: int = 0

    def tick(self, seconds: float = TICK) -> float:
        self.now += seconds
        return self.now

    def spell(self, number: int) -> Any:
        return f"{number:05}" if self.kind.text else number

    def publish(self, count: int) -> None:
        for _ in range(count):
            i = len(self.log)
            before, number = i * self.kind.step, (i + 1) * self.kind.step
            link = {"prev": self.spell(before)} if self.kind.linked else {}
            self.log.append({"epoch": "x", "seq": self.spell(number), "event": f"e{i}", "order": {"id": f"o{i}"},
                             **link})
            self.events.append(exchange("live", 201, {"id": f"o{i}"}, operation="submit_order", at=self.tick(),
                                        took=TICK / 4))

    def live(self, life: Life, *, last: bool = False) -> None:
        """One connection, and what it is owed: all behind the asked position up to the newest that was read, or, where
        it lasts, up to the newest that was made."""
        self.publish(life.gap)
        self.conn += 1
        known = len(self.log)
        self.events.append(exchange(f"round:{self.conn}", 101, conn=self.conn, at=self.tick(), took=TICK / 4))
        if self.refused(known):
            return
        asked, first = self.since, known if self.since is None else self.since + 1
        self.answer("ok")
        self.start = known if asked is None else self.start
        self.publish(life.live)
        sent = self.fault(self.log[first:known], self.log[known:], asked is not None)
        repeated = [self.log[asked]] if life.repeat and asked is not None else []
        for row in [*repeated, *sent][:None if last else life.read]:
            self.read(row)
        newest = len(self.log) - 1 if last else max(self.got, default=-1)
        self.owed |= set(range(self.start, newest + 1))
        self.events.append(ended("client", conn=self.conn, at=self.tick(WITHIN + 1 if last else TICK)))

    def refused(self, known: int) -> bool:
        """Whether the asked position is older than what is kept; the client then starts anew."""
        kept = self.kind.retention
        if kept is None or self.since is None or known - 1 - self.since <= kept:
            return False
        self.answer("refused")
        self.since = None
        self.events.append(ended("server", conn=self.conn, at=self.tick()))
        return True

    def answer(self, answer: str) -> None:
        at = {} if self.since is None else {"position": self.log[self.since]["seq"], "epoch": "x"}
        said = script("subscribe" if self.since is None else "resubscribe", answer, conn=self.conn, **at)
        self.events.append(replace(said, at=self.tick()))

    def read(self, row: Row) -> None:
        content = json.dumps({"type": "update", **row}).encode()
        half = len(content) // 2 if self.kind.fragments else len(content)
        for part, opcode in ((content[:half], 1), (content[half:], 0)):
            if part:
                self.events.append(frame(part, opcode=opcode, conn=self.conn, at=self.tick()))
        self.since = int(row["order"]["id"][1:])
        self.got.add(self.since)

    @property
    def lost(self) -> set[int]:
        """The numbers of what was owed and never read."""
        return {(i + 1) * self.kind.step for i in self.owed - self.got}

    def seen(self, check: Any) -> list[Any]:
        truth = exchange("walk:truth:0", 200, {"items": self.log}, operation="list_events", at=self.tick())
        target = LINKED if self.kind.linked else DENSE
        return list(check.judge(recording(*self.events, truth), target, ORDERS))


def conforming(missed: list[Row], live: list[Row], resumed: bool) -> list[Row]:
    return [*missed, *live]


LIFE = st.builds(Life, gap=st.integers(0, 4), live=st.integers(0, 4), read=st.integers(0, 9), repeat=st.booleans())
LIVES = st.lists(LIFE, min_size=1, max_size=7)
KIND = st.one_of(
    st.builds(Kind, text=st.booleans(), step=st.integers(1, 7), retention=st.sampled_from([None, None, 2, 5]),
              fragments=st.booleans()),
    st.builds(Kind, linked=st.just(False), text=st.booleans(), retention=st.sampled_from([None, 2])))
LASTING = st.builds(Kind, text=st.booleans(), step=st.integers(1, 7), fragments=st.booleans())


def history(kind: Kind, lives: list[Life], fault: Fault = conforming) -> World:
    """A first life that reads something, lives that are cut anywhere, and one with a gap before it that lasts."""
    world = World(kind, fault)
    for life in (Life(1, 2, 2), *lives):
        world.live(life)
    world.live(Life(3, 3, 9), last=True)
    return world


def broken(world: World, check: Any) -> dict[str, str]:
    return {o.rule: o.actual for o in world.seen(check) if o.state == "broken"}


def numbers(actual: str, step: int) -> set[int]:
    """The numbers that runs such as `3-9, 12` name."""
    runs = re.findall(r"(\d+)(?:-(\d+))?", actual)
    return {n for first, last in runs for n in range(int(first), int(last or first) + 1, step)}


def named(world: World) -> set[int]:
    return set().union(*(numbers(actual, world.kind.step) for actual in broken(world, nothing_lost).values()))


@given(KIND, LIVES)
@settings(max_examples=80, deadline=None)
def test_a_conforming_server_breaks_nothing(kind, lives):
    world = history(kind, lives)
    assert world.lost == set()
    for check in (ordered_without_gaps, nothing_lost, delivered_as_promised):
        assert broken(world, check) == {}
    assert {o.state for o in world.seen(ordered_without_gaps)} == {"holds"}
    assert {o.reason for o in world.seen(nothing_lost) if o.state != "holds"} <= {"vacuous"}


LOSING: dict[str, Fault] = {
    "live edge": lambda missed, live, resumed: live,
    "off by one": lambda missed, live, resumed: [*missed[1:], *live],
    "the newest missed": lambda missed, live, resumed: [*missed[:-1], *live],
    "zombie": lambda missed, live, resumed: [] if resumed else live,
    "replay and no more": lambda missed, live, resumed: missed if resumed else live,
    "the first live": lambda missed, live, resumed: [*missed, *live[1:]],
    "every third": lambda missed, live, resumed: [r for r in (*missed, *live) if int(r["event"][1:]) % 3],
}


@pytest.mark.parametrize("fault", LOSING)
@given(KIND, LIVES)
@settings(max_examples=30, deadline=None)
def test_exactly_what_was_lost_is_named(fault, kind, lives):
    world = history(kind, lives, LOSING[fault])
    assert named(world) == world.lost


@pytest.mark.parametrize(("fault", "rules"), [
    ("live edge", {"lost-in-gap"}), ("off by one", {"lost-in-gap"}), ("the newest missed", {"lost-live"}),
    ("zombie", {"lost-in-gap", "lost-live"}), ("replay and no more", {"lost-live"}),
    ("every third", {"lost-in-gap", "lost-live"}),
])
@given(LASTING)
@settings(max_examples=15, deadline=None)
def test_what_is_lost_is_lost_by_its_rule(fault, rules, kind):
    world = history(kind, [Life(3, 3, 9), Life(3, 3, 9)], LOSING[fault])
    assert set(broken(world, nothing_lost)) == rules
    assert world.lost


BREAKING: dict[str, tuple[Fault, Any, str]] = {
    "every third": (LOSING["every third"], ordered_without_gaps, "gap"),
    "reversed": (lambda missed, live, resumed: [*missed[::-1], *live], ordered_without_gaps, "reversed"),
    "live before replay": (lambda missed, live, resumed: [*live, *missed], ordered_without_gaps, "reversed"),
    "twice": (lambda missed, live, resumed: [r for r in (*missed, *live) for _ in range(2)], delivered_as_promised,
              "duplicate-in-session"),
    "new ids": (lambda missed, live, resumed: [*({**r, "event": f"new-{r['event']}"} for r in missed), *live],
                delivered_as_promised, "new-id"),
}


@pytest.mark.parametrize("fault", BREAKING)
@given(LASTING, LIVES)
@settings(max_examples=20, deadline=None)
def test_each_fault_breaks_its_rule(fault, kind, lives):
    change, check, rule = BREAKING[fault]
    assert rule in broken(history(kind, lives, change), check)


@given(LASTING, LIVES)
@settings(max_examples=15, deadline=None)
def test_what_is_sent_twice_or_renamed_is_not_lost(kind, lives):
    for fault in ("twice", "new ids"):
        assert broken(history(kind, lives, BREAKING[fault][0]), nothing_lost) == {}
