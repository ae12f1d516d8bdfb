"""The facts of one stream that a timeline of it needs: its connections, what went over them and when, what is missing.

They are kept while the journal is read, bounded, and told anew for each finding, since each cites other events. Holes
are sought only to be shown: no verdict depends on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from openbell.conformance.stream_lives import CLOSE, PING, PONG, Life, Told, Update
from openbell.events import Event, Exchange, Fact, Frame
from openbell.profile import Profile, Stream
from openbell.reports.words import line
from openbell.results import Finding
from openbell.target import countable

MOST_EVENTS = 120_000
MOST_BYTES = 64 * 1024 * 1024
MOST_LANES = 12
NEAR_S = 0.02
OPEN = "open at the end"
NOTED = frozenset({"backlog", "lag", "fault_lost"})
SILENT = {"late": ("idle_start", "idle_end"), "witness-stalled": ("stream_paused", "stream_resumed")}
OTHER = {"error": "warning", "gap": "warning", "snapshot": "warning", "update": "update", "heartbeat": "beat"}
CONTROL = {PING: "ping", PONG: "pong", CLOSE: "close"}

Kind = Literal["handshake", "script", "update", "ping", "pong", "beat", "message", "warning", "close", "fact", "fault",
               "request", "end"]


@dataclass(frozen=True)
class Mark:
    """One event on a lane; `short` names it in little room, `by` is empty for what no side sent."""

    n: int
    at: float
    kind: Kind
    by: str
    short: str
    told: str


@dataclass(frozen=True)
class Span:
    """A stretch of a lane: a client that does not read, or something that is missing between two moments."""

    kind: Literal["paused", "hole", "silence"]
    start: float
    end: float
    told: str


@dataclass(frozen=True)
class Lane:
    """One connection, or (without a number) what the scenario did beside its streams. Times are seconds."""

    conn: int | None
    label: str
    since: str
    start: float
    end: float
    ended: str
    marks: tuple[Mark, ...]
    spans: tuple[Span, ...]


@dataclass
class Traced:
    """The events of one scenario's streams, filled while the journal is read; `left` counts those beyond the bounds."""

    stream: Stream
    most_events: int = MOST_EVENTS
    most_bytes: int = MOST_BYTES
    events: list[Event] = field(default_factory=list)
    size: int = 0
    left: int = 0

    def take(self, event: Event) -> None:
        """Keeps an event of the scenario."""
        size = len(event.payload) if isinstance(event, Frame) else 0
        if len(self.events) >= self.most_events or self.size + size > self.most_bytes:
            self.left += 1
            return
        self.size += size
        self.events.append(event)


def traced_streams(scenarios: Iterable[str], target: Profile) -> dict[str, Traced]:
    """What must be read to draw timelines, by the scenarios that findings cite, such as `stream_idle@stream:orders`."""
    names = [s for s in dict.fromkeys(scenarios) if s.partition("@stream:")[2] in target.stream]
    share = max(1, len(names))
    return {name: Traced(target.stream[name.partition("@stream:")[2]], MOST_EVENTS // share, MOST_BYTES // share)
            for name in names}


# --- the lanes of a scenario


def lanes(one: Traced) -> tuple[Lane, ...]:
    """The scenario's own lane and one of each connection that was tried, in the order of their handshakes."""
    tried: dict[int, tuple[Exchange, list[Frame], list[Fact]]] = {
        e.conn: (e, [], []) for e in one.events if isinstance(e, Exchange) and _handshake(e)}
    beside: list[Mark] = []
    for event in one.events:
        conn = event.data.get("conn") if isinstance(event, Fact) else event.conn
        parts = tried.get(conn) if isinstance(conn, int) else None
        if isinstance(event, Frame) and parts:
            parts[1].append(event)
        elif isinstance(event, Fact) and parts:
            parts[2].append(event)
        elif isinstance(event, Fact):
            beside.append(_fact(event, "fact"))
        elif isinstance(event, Exchange) and not _handshake(event):
            beside.append(_request(event))
    found = (_lane(Life(conn, parts[0], tuple(parts[1]), tuple(parts[2])), one) for conn, parts in tried.items())
    return (*_beside(beside), *sorted(found, key=lambda lane: lane.start))


def _handshake(exchange: Exchange) -> bool:
    return exchange.status == 101 or exchange.request.field("Upgrade") is not None


def _request(e: Exchange) -> Mark:
    came = str(e.status or "no reply")
    return Mark(e.n, e.sent, "request", "", came, f"{line(e.label, 40)}: {line(e.operation or e.method, 40)}, {came}")


def _beside(marks: Sequence[Mark]) -> Iterator[Lane]:
    if marks:
        yield Lane(None, "scenario", "", marks[0].at, max(m.at for m in marks), "", tuple(marks), ())


def _lane(life: Life, one: Traced) -> Lane:
    """The marks, the stretches and the end of one connection."""
    shake, end = life.handshake, life.end
    told = {m.frame.n: m for m in life.messages(one.stream)}
    updates = {u.event.n: u for u in life.updates(one.stream)}
    marks = [Mark(shake.n, shake.done, "handshake", "client", str(shake.status or "no reply"),
                  f"handshake: {line(shake.no_reply or shake.status, 80)}")]
    marks += [_frame(f, told.get(f.n), updates.get(f.n)) for f in life.frames]
    marks += [m for f in life.facts if (m := _noted(f))]
    last = end.at if end else max(m.at for m in marks)
    since = next((str(f.data["position"]) for f in life.facts if f.data.get("script") == "resubscribe"
                  and "position" in f.data), "")
    spans = (*_paused(life, last), *_holes(life, tuple(updates.values()), since))
    return Lane(life.conn, line(life.label, 60), line(since, 40), shake.sent, last, _ended(life),
                tuple(sorted(marks, key=lambda m: (m.at, m.n))), spans)


def _ended(life: Life) -> str:
    shake, end = life.handshake, life.end
    if shake.status != 101:
        return f"refused: {shake.status}" if shake.status else line(f"no handshake: {shake.no_reply}", 80)
    return line(f"{end.data.get('side')}: {end.data.get('how')}", 80) if end else OPEN


def _frame(frame: Frame, told: Told | None, update: Update | None) -> Mark:
    kind: Kind = CONTROL.get(frame.opcode) or (OTHER.get(told.kind) if told else None) or "message"  # type: ignore[assignment]
    name = kind if frame.opcode in CONTROL or frame.by == "client" or told is None else told.kind
    short = line(update.position, 24) if update else name
    return Mark(frame.n, frame.at, kind, frame.by, short,
                f"{name} {short if update else ''} of the {frame.by}, {len(frame.payload):,} bytes")


def _noted(fact: Fact) -> Mark | None:
    """A fact of a connection as a mark; None for what is no event of the stream."""
    if fact.name == "stream_script":
        at = f" at {line(fact.data['position'], 24)}" if "position" in fact.data else ""
        said = f"{line(fact.data.get('script'), 24)}{at}: {line(fact.data.get('answer'), 24)}"
        return Mark(fact.n, fact.at, "script", "client", said, said) if fact.data.get("answer") else None
    if fact.name == "stream_token" and isinstance(fact.data.get("end"), float):
        return Mark(fact.n, fact.data["end"], "fact", "", "token ends", "the token's end and the grace behind it")
    if fact.name == "stream_end":
        return Mark(fact.n, fact.at, "end", "", "end", line(f"{fact.data.get('side')}: {fact.data.get('how')}", 80))
    return None if fact.name == "fault_witness" else _fact(fact, "fault" if fact.name == "fault_fired" else "fact")


def _fact(fact: Fact, kind: Kind) -> Mark:
    name = line(fact.data.get("fault", "fault") if kind == "fault" else fact.name, 40).removeprefix("stream_")
    said = ", ".join(f"{k} {v}" for k, v in fact.data.items() if k not in {"conn", "stream", "by", "label", "way"})
    return Mark(fact.n, fact.at, kind, "", name, line(f"{fact.name}: {line(said, 80)}", 120))


def _paused(life: Life, last: float) -> Iterator[Span]:
    starts = [f for f in life.facts if f.name == "stream_paused"]
    stops = [f.at for f in life.facts if f.name == "stream_resumed"]
    for fact in starts:
        until = next((at for at in stops if at >= fact.at), last)
        yield Span("paused", fact.at, until, f"the client read nothing for {until - fact.at:.1f} s")


def _holes(life: Life, updates: Sequence[Update], since: str) -> Iterator[Span]:
    """Where an update does not stand behind the one before it, or behind the position that was asked for."""
    asked = (f.at for f in life.facts if f.data.get("script") == "resubscribe")
    last, at, seen = since, next(asked, life.handshake.done), {since} - {""}
    for update in updates:
        when = update.event.at if isinstance(update.event, Frame) else at
        if seen and update.position not in seen and (lost := _lost(last, update, seen)):
            yield Span("hole", min(at, when - NEAR_S) if at >= when else at, when, lost)
        last, at = update.position, when
        seen.add(last)


def _lost(last: str, update: Update, seen: set[str]) -> str:
    """The positions between the last one and an update, in words; nothing where none are."""
    if update.previous:
        if update.previous in seen or not _behind(last, update.previous):
            return ""
        first = str(int(last) + 1) if countable(last) else f"behind {last}"
        return line(first if first == update.previous else f"{first}–{update.previous}", 40)
    if not (countable(last) and countable(update.position)):
        return ""
    low, high = int(last) + 1, int(update.position) - 1
    return "" if high < low else f"{low}–{high}" if high > low else str(low)


def _behind(last: str, previous: str) -> bool:
    return not (countable(last) and countable(previous)) or int(previous) > int(last)


# --- the timeline of a finding


@dataclass(frozen=True)
class Timeline:
    """What the picture shows: lanes around those that a finding cites, from `start` to `end` (seconds).

    `cited` holds the finding's events; `focus` is the lane where it goes wrong; `before` and `after` count the
    connections that are not shown, `later` the cited events outside of what is shown, `left` those that were not kept.
    """

    rule: str
    told: str
    stream: str
    lanes: tuple[Lane, ...]
    focus: int
    cited: frozenset[int]
    start: float
    end: float
    before: int
    after: int
    later: int
    left: int
    counts: Mapping[Kind, int]


def timeline(found: Sequence[Lane], stream: str, finding: Finding, left: int = 0) -> Timeline | None:
    """The picture's facts for a finding; None where nothing was tried."""
    cited = frozenset(finding.events)
    conns = [lane for lane in found if lane.conn is not None]
    if not conns:
        return None
    hit = [i for i, lane in enumerate(conns) if any(m.n in cited for m in lane.marks)]
    focus = _focus(conns, cited)
    chosen = _chosen(len(conns), focus, hit)
    start, end = min(conns[i].start for i in chosen), max(conns[i].end for i in chosen)
    shown = [_silenced(conns[i], finding, conns, focused=i == focus) for i in chosen]
    beside = [_within(lane, start, end, cited) for lane in found if lane.conn is None]
    every = (*(lane for lane in beside if lane.marks), *shown)
    seen = {m.n for lane in every for m in lane.marks}
    counts = Counter(m.kind for lane in shown for m in lane.marks)
    return Timeline(finding.rule, finding.actual, stream, every, every.index(shown[chosen.index(focus)]), cited,
                    start, end, sum(i < chosen[0] for i in range(len(conns))),
                    len(conns) - len(chosen) - chosen[0], len(cited - seen), left, counts)


def _focus(conns: Sequence[Lane], cited: frozenset[int]) -> int:
    """The lane of the last cited frame or handshake, else of the last cited fact, else the last one."""
    hits = [(m.kind not in {"fact", "script", "fault"}, m.n, i) for i, lane in enumerate(conns) for m in lane.marks
            if m.n in cited]
    return max(hits)[2] if hits else len(conns) - 1


def _chosen(count: int, focus: int, hit: Sequence[int]) -> list[int]:
    """Up to so many lanes: that of the focus, those that are cited, and their neighbours."""
    wanted = sorted(range(count), key=lambda i: (i != focus, i not in hit, abs(i - focus)))
    return sorted(wanted[:MOST_LANES])


def _within(lane: Lane, start: float, end: float, cited: frozenset[int]) -> Lane:
    """The scenario's own marks in the time that is shown: requests, and of facts those that tell something here."""
    kept = tuple(m for m in lane.marks if start <= m.at <= end
                 and (m.kind == "request" or m.n in cited or m.short in NOTED))
    return Lane(None, lane.label, "", start, end, "", kept, ())


def _silenced(lane: Lane, finding: Finding, conns: Sequence[Lane], *, focused: bool) -> Lane:
    """The lane with its longest silence marked, where silence is what is wrong."""
    if not focused or finding.rule not in SILENT:
        return lane
    first, last = (_fact_at(conns, name) for name in SILENT[finding.rule])
    if first is None or last is None:
        return lane
    heard = [m.at for m in lane.marks if m.by == "server" and first <= m.at <= last
             and (finding.rule == "late" or m.kind == "update")]
    start, end = max(pairwise([first, *heard, last]), key=lambda pair: pair[1] - pair[0])
    span = Span("silence", start, end, f"nothing for {end - start:.2f} s")
    return Lane(lane.conn, lane.label, lane.since, lane.start, lane.end, lane.ended, lane.marks, (*lane.spans, span))


def _fact_at(conns: Sequence[Lane], name: str) -> float | None:
    short = name.removeprefix("stream_")
    return next((m.at for lane in conns for m in lane.marks if m.kind == "fact" and m.short == short), None)
