"""What every report is made of: the results, the events that prove them, the walks and the streams that are drawn.

The journal is read twice, since what a walk was is told after its pages; never is all of it held. What is kept is
bounded: findings a rule, events a finding, walks, pages, rows.
"""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openbell.events import Event, Exchange, Fact
from openbell.journal import Header, JournalError, Reading, read
from openbell.loading import ProfileError, parse
from openbell.profile import Profile
from openbell.reports.evidence import Seen, Shown, seen, shown
from openbell.reports.streams import Timeline, lanes, timeline, traced_streams
from openbell.reports.streams import Traced as TracedStreams
from openbell.reports.walks import DRAWN, Drawing, Traced, draw, traced
from openbell.results import FORMAT, VERDICTS, VERSION, Finding, Result, Results

PER_RULE = 5
PER_FINDING = 12
PER_RESULT = 60
MOST_WALKS = 5000
Place = tuple[int, int]


@dataclass(frozen=True)
class Material:
    """Everything that a report may show. Pictures are keyed by (result, finding), evidence by event number."""

    results: Results
    header: Header | None = None
    evidence: Mapping[int, Shown | Seen] = field(default_factory=dict)
    drawings: Mapping[Place, Drawing] = field(default_factory=dict)
    timelines: Mapping[Place, Timeline] = field(default_factory=dict)
    requests: int = 0
    seconds: float | None = None
    critical_path: float | None = None
    damage: str | None = None


def gather(folder: Path) -> Material:
    """Reads a run's folder. Raises OSError without results that this version reads."""
    results = load_results(folder / "results.json")
    try:
        return _with_journal(results, read(folder / "events.jsonl"))
    except FileNotFoundError:
        return Material(results, damage="the journal events.jsonl is not in this folder: no exchange can be shown")
    except JournalError as error:
        return Material(results, damage=str(error).removeprefix(f"{folder}/"))


def load_results(path: Path) -> Results:
    """The results of `results.json`, findings bounded. Raises OSError."""
    try:
        data = json.loads(path.read_bytes())
        return _results(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OSError(errno.EINVAL, "no results of a version that can be read", str(path)) from error


def _results(data: Mapping[str, Any]) -> Results:
    if (data["format"], data["version"]) != (FORMAT, VERSION):
        raise ValueError("format or version")
    return Results(data["suite"], data["pack"], data["target"], data["run"],
                   tuple(_result(r) for r in data["results"]), tuple(data["stale"]), data["torn"])


def _result(data: Mapping[str, Any]) -> Result:
    findings = tuple(Finding(f["rule"], f["expected"], f["actual"], tuple(f["events"])) for f in data["findings"])
    if data["verdict"] not in VERDICTS:
        raise ValueError(f"no verdict: {data['verdict']!r}")
    return Result(**dict(data) | {"findings": tuple(_bounded(findings)), "sources": tuple(data["sources"])})


def _bounded(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The first few findings of each rule, and not more than a page can hold."""
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.rule] += 1
        if seen[finding.rule] <= PER_RULE and seen.total() <= PER_RESULT:
            yield finding


def places(results: Results) -> Iterator[tuple[Place, Result, Finding]]:
    """Every finding with its place."""
    for i, result in enumerate(results.results):
        for j, finding in enumerate(result.findings):
            yield (i, j), result, finding


@dataclass
class _Pass:
    """What the first reading finds; of the `cited` events, the scenarios."""

    cited: frozenset[int]
    scenarios: dict[int, str] = field(default_factory=dict)
    walks: list[Fact] = field(default_factory=list)
    writes: list[Fact] = field(default_factory=list)
    requests: int = 0
    end: Mapping[str, Any] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        if event.n in self.cited:
            self.scenarios[event.n] = event.scenario
        if isinstance(event, Exchange):
            self.requests += 1
        elif isinstance(event, Fact) and event.name == "walk" and len(self.walks) < MOST_WALKS:
            self.walks.append(event)
        elif isinstance(event, Fact) and event.name == "write" and len(self.writes) < MOST_WALKS * 4:
            self.writes.append(event)
        elif isinstance(event, Fact) and event.name == "run_end":
            self.end = event.data


def _with_journal(results: Results, reading: Reading) -> Material:
    first = _Pass(frozenset(n for _, _, finding in places(results) for n in finding.events))
    damage = _fed(reading, first.take)
    target = _profile(reading.header)
    found = {place: traced(result.check, result.subject, finding, first.walks, first.writes, target)
             for place, result, finding in places(results) if target and result.check in DRAWN}
    walks: dict[Place, Traced] = {place: walk for place, walk in found.items() if walk}
    told = dict(_streams(results, first))
    streams = traced_streams(told.values(), target) if target else {}
    evidence: dict[int, Shown | Seen] = {}
    wanted = set(_wanted(results, walks))

    def second(event: Event) -> None:
        if isinstance(event, Exchange):
            for walk in walks.values():
                walk.take(event)
        if event.scenario in streams:
            streams[event.scenario].take(event)
        if event.n in wanted:
            evidence[event.n] = shown(event) if isinstance(event, Exchange) else seen(event)
    _fed(reading, second)
    drawings = {place: drawing for place, walk in walks.items() if (drawing := draw(walk))}
    seconds, path = (first.end.get(name) for name in ("seconds", "critical_path"))
    return Material(results, reading.header, evidence, drawings, _timelines(results, told, streams), first.requests,
                    seconds, path, damage or reading.torn)


def _streams(results: Results, first: _Pass) -> Iterator[tuple[Place, str]]:
    """The scenario of each finding about a stream, by what it cites."""
    for place, result, finding in places(results):
        names = (first.scenarios.get(n, "") for n in finding.events)
        name = next((n for n in names if n.endswith(f"@{result.subject}")), None)
        if name and result.subject.startswith("stream:"):
            yield place, name


def _timelines(results: Results, told: Mapping[Place, str], streams: Mapping[str, TracedStreams]) -> dict[
        Place, Timeline]:
    found = {name: lanes(one) for name, one in streams.items()}
    drawn = {place: timeline(found[told[place]], result.subject, finding, streams[told[place]].left)
             for place, result, finding in places(results) if told.get(place) in found}
    return {place: one for place, one in drawn.items() if one}


def _fed(reading: Reading, take: Any) -> str | None:
    """Feeds the events up to where the journal is damaged, and says where."""
    try:
        for event in reading:
            take(event)
    except JournalError as error:
        return str(error).removeprefix(f"{reading.path.parent}/")
    return None


def _profile(header: Header) -> Profile | None:
    try:
        return parse(header.profile, header.target)
    except ProfileError:
        return None


def _wanted(results: Results, walks: Mapping[Place, Traced]) -> Iterator[int]:
    for place, _, finding in places(results):
        yield from finding.events[:PER_FINDING]
        if place in walks:
            yield from finding.events[:200]


def proof(material: Material, place: Place, finding: Finding) -> tuple[Shown | Seen, ...]:
    """The events that prove a finding, in order; of too many, those where a drawn walk goes wrong."""
    numbers = finding.events
    drawing = material.drawings.get(place)
    if drawing and len(numbers) > PER_FINDING:
        numbers = tuple(n for n in numbers if n in drawing.focus) or numbers
    kept = sorted(numbers[:PER_FINDING])
    return tuple(material.evidence[n] for n in kept if n in material.evidence)
