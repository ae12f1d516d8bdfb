"""What a load run measured and what that amounts to: the content of `load.json`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbell.loadprofiles.driving import Heard, Offer
from openbell.loadprofiles.health import Health
from openbell.loadprofiles.plan import total
from openbell.loadprofiles.slo import Ground, Rule, Ruling, Verdict, ruling, worst
from openbell.loadprofiles.tally import Distribution, Tally
from openbell.loadprofiles.words import NEVER_STARTED, OK, THROTTLED, UNANSWERED

FORMAT, VERSION = "openbell-load", 1
FINEST_S = 0.05
BANDS = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))


@dataclass(frozen=True)
class Measured:
    """A finished load run."""

    offer: Offer
    heard: Heard
    rules: tuple[Rule, ...]

    @property
    def recovery(self) -> Mapping[str, float | None]:
        """How long the streams took to come back; empty where none were held."""
        return self.heard.streams.recovery(self.offer.streams) if self.offer.streams else {}

    @property
    def planned(self) -> Counter[str]:
        """How many arrivals were planned, by phase."""
        names = [p.name for p in self.offer.plan.profile.phases]
        return Counter(names[a.phase] for a in self.offer.plan.arrivals())

    def health(self) -> Health:
        """The generator's health. Arrivals that it never came to are missing: a worker died, or was ended early."""
        seen = Counter({p: self.heard.tally.pick("lag", p).n for p in self.offer.plan.profile.names})
        missing = {phase: n - seen[phase] for phase, n in self.planned.items() if n > seen[phase]}
        return Health(self.offer.plan, self.heard.tally, self.heard.begin, self.heard.ticks, missing)

    def rulings(self) -> tuple[Ruling, ...]:
        """The verdict on each rule."""
        ground = Ground(self.heard.tally, self.offer.plan.profile.names, self.health().unfit, self.recovery)
        return tuple(ruling(rule, ground) for rule in self.rules)

    def differences(self) -> list[str]:
        """Why not every planned arrival has finished, each with its number."""
        return list(_differences(self))


def _differences(run: Measured) -> Iterator[str]:
    tally, planned = run.heard.tally, run.planned.total()
    due = sum(t[-1]["due"] for t in run.heard.ticks.values() if t)
    if due < planned:
        why = run.heard.reason or "; ".join(f"worker {n + 1}: {w}" for n, w in run.heard.lost.items()) or "unknown"
        yield f"{planned - due} planned arrivals never became due: {why}"
    never = sum(n for k, n in tally.counts.items() if k[0] == "arrival" and k[-1] == NEVER_STARTED)
    if never:
        yield f"{never} arrivals found no free user until the end: the target answered too slowly for {run.offer.users}"
    if silent := sum(n for k, n in tally.counts.items() if k[0] == "arrival" and k[-1] == UNANSWERED):
        yield f"{silent} arrivals had no answer when the run was closed"
    ended = total(e["mark"] for e in run.heard.ends.values())
    whole = len(run.heard.ends) == run.offer.workers and not never and due == planned
    if whole and ended != run.offer.plan.counted[1]:
        yield "the arrivals that were started are not those of the plan"
    substituted = sum(e["substituted"] for e in run.heard.ends.values())
    if substituted:
        yield f"{substituted} arrivals found nothing of their own to act on, and created instead"
    held = sum(run.heard.streams.held.values())
    if held < run.offer.streams:
        yield f"{held} of {run.offer.streams} streams were alive when all were dropped"
    yield from (f"worker {n + 1}: {why}" for n, why in run.heard.lost.items())


def verdict(rulings: Sequence[Ruling]) -> Verdict:
    """The worst of the rules'."""
    return worst(r.verdict for r in rulings)


def to_json(run: Measured) -> dict[str, Any]:
    """The JSON of `load.json`: seconds in the plan and the rules, milliseconds in the summaries."""
    plan, tally, rulings = run.offer.plan, run.heard.tally, run.rulings()
    tally.sorted()
    planned = run.planned
    return {
        "format": FORMAT, "version": VERSION, "verdict": verdict(rulings),
        "rules": [_ruling(r) for r in rulings],
        "begun": round(run.heard.begin + time.time() - time.monotonic(), 3),
        "plan": {"profile": plan.profile.name, "doc": plan.profile.doc, "peak": plan.peak, "duration": plan.duration,
                 "process": plan.process, "seed": plan.seed, "hash": plan.hash, "bell": plan.bell,
                 "arrivals": planned.total(), "workers": run.offer.workers, "users": run.offer.users,
                 "phases": [{"name": n, "begin": a, "end": b} for n, a, b in plan.starts()]},
        "arrivals": {"planned": planned.total(), "started": run.heard.started, "finished": run.heard.finished,
                     "differences": run.differences()},
        "ended_early": run.heard.reason,
        "phases": {name: _phase(run, name, planned[name]) for name in plan.profile.names},
        "operations": [_operation(run, *key) for key in _operations(run)],
        "series": _series(run), "health": run.health().told(), "recovery": dict(run.recovery),
        "sampled": run.heard.sampled,
        "cpu_s": [round(sum(t["cpu"] * t["seconds"] for t in ticks), 3) for ticks in run.heard.ticks.values()],
        "histograms": [[list(k), h.encode().decode()] for k, h in sorted(tally.histograms.items(), key=str)
                       if h.total_count and k[0] in {"latency", "service", "lag"}],
    }


def _ruling(found: Ruling) -> dict[str, Any]:
    rule = found.rule
    return {"rule": rule.text, "phase": rule.phase, "measure": rule.measure, "operation": rule.operation or None,
            "limit": rule.limit, "verdict": found.verdict, "measured": found.measured, "low": found.low,
            "high": found.high, "samples": found.samples, "why": found.why}


def outcomes(run: Measured, *begin: str | int) -> Counter[str]:
    """How many had each outcome, of the counts whose key begins so."""
    found: Counter[str] = Counter()
    for key, count in run.heard.tally.counts.items():
        if key[: len(begin)] == begin:
            found[str(key[-1])] += count
    return found


def _told(counts: Counter[str]) -> dict[str, int]:
    return {"ok": counts[OK], "throttled": counts[THROTTLED],
            "errors": counts.total() - counts[OK] - counts[THROTTLED]}


def _phase(run: Measured, name: str, planned: int) -> dict[str, Any]:
    counts = outcomes(run, "arrival", name)
    return {"planned": planned, **_told(counts),
            "by_outcome": dict(sorted(counts.items())),
            "latency_ms": run.heard.tally.pick("latency", name).summary(),
            "service_ms": run.heard.tally.pick("service", name).summary()}


def _operations(run: Measured) -> list[tuple[str, str]]:
    order = {name: i for i, name in enumerate(run.offer.plan.profile.names)}
    found = {(str(k[1]), str(k[2])) for k in run.heard.tally.histograms if k[0] == "latency"}
    return sorted(found, key=lambda key: (order[key[0]], key[1]))


def _operation(run: Measured, phase: str, name: str) -> dict[str, Any]:
    tally = run.heard.tally
    return {"phase": phase, "operation": name, **_told(outcomes(run, "outcome", phase, name)),
            "latency_ms": tally.pick("latency", phase, name).summary(),
            "service_ms": tally.pick("service", phase, name).summary()}


def _series(run: Measured) -> dict[str, Any]:
    """What the charts show, by slice of the intended time: counts, and latencies and lags in milliseconds. `cpu`,
    `idle` and `line` are the worst of all workers: shares of a processor, and arrivals that waited for a user."""
    tally, width, health = run.heard.tally, run.offer.width, run.health()
    planned = run.offer.plan.bins(width)
    places = range(len(planned))
    ended = [outcomes(run, "ended", i) for i in places]
    bands, services, lags = ([tally.pick(name, i) for i in places] for name in ("band", "serviceband", "lagband"))
    worst_of = (("cpu", max), ("idle", min), ("line", max))
    return {"width": width, "planned": planned, "started": [tally.counts["started", i] for i in places],
            "ok": [c[OK] for c in ended], "throttled": [c[THROTTLED] for c in ended],
            "errors": [_told(c)["errors"] for c in ended],
            **{name: _milliseconds(bands, p) for name, p in BANDS},
            **{f"service_{name}": _milliseconds(services, p) for name, p in BANDS},
            "alive": _alive(run), "lag_p99": _milliseconds(lags, 0.99),
            **{name: [pick(seen) if seen else None for seen in health.over(name, width, len(planned))]
               for name, pick in worst_of}}


def _milliseconds(slices: Sequence[Distribution], p: float) -> list[float | None]:
    return [round(s.percentile(p) * 1e3, 3) if s.n else None for s in slices]


def _alive(run: Measured) -> list[tuple[float, int]]:
    """How many streams were alive, from each second on at which that changed, no finer than a chart can show."""
    found: dict[float, int] = {}
    count = 0
    for second, change in sorted(run.heard.streams.changes):
        count += change
        found[round(second / FINEST_S) * FINEST_S] = count
    return [(round(second, 3), n) for second, n in found.items()]


def named(run: Measured) -> dict[str, Any]:
    """What Locust's CSV shows, by name of a request; the last one is the sum of all."""
    tally = run.heard.tally
    found: dict[str, Any] = {}
    for name in sorted({k[2] for k in tally.histograms if k[0] == "latency"}, key=str):
        methods = [str(k[2]) for k in tally.counts if k[:2] == ("method", name)]
        counts = Counter({k[-1]: 0 for k in tally.counts})
        for key, n in tally.counts.items():
            if key[0] == "outcome" and key[2] == name:
                counts[key[-1]] += n
        found[str(name)] = {"method": methods[0] if methods else "", "bytes": tally.counts["bytes", name],
                            "requests": counts.total(), "failures": counts.total() - counts[OK],
                            "latency": tally.pick("latency", last=str(name))}
    found["Aggregated"] = {"method": "", "latency": tally.pick("latency"),
                           **{m: sum(f[m] for f in found.values()) for m in ("bytes", "requests", "failures")}}
    return found


def history(run: Measured) -> Iterator[tuple[int, int, int, Tally]]:
    """What Locust's history shows, slice by slice: its number, arrivals due in it that have ended, those of them that
    failed or were throttled, and the latencies of all until then, in one histogram."""
    until = Tally()
    for place in range(len(run.offer.plan.bins(run.offer.width))):
        counts = outcomes(run, "ended", place)
        if found := run.heard.tally.histograms.get(("band", place)):
            until.add(("band",), found)
        yield place, counts.total(), counts.total() - counts[OK], until


def write(path: Path, data: Mapping[str, Any]) -> None:
    """Writes `load.json` in one step."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", "utf-8")
    part.replace(path)
