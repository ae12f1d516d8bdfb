"""Whether the generator can be trusted: it must have been there when an arrival was due.

A phase is unfit for a verdict when the generator itself was late, when a worker used up its processor, or when no
processor that it may run on had time left. The first is measured on every arrival; the others say why, and catch
what the first cannot: a generator that was late in reading replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openbell.loadprofiles.plan import LoadPlan
from openbell.loadprofiles.tally import Tally

LATE_S = 0.005
LATE_PART = 0.1
LATE_SHARE_S = 0.1
USED_UP = 0.9
LEFT = 0.05


@dataclass
class Health:
    """What the workers' ticks told, and when each phase was (monotonic seconds)."""

    plan: LoadPlan
    tally: Tally
    begin: float
    ticks: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)

    def spans(self, phase: str) -> list[tuple[float, float]]:
        """When the phase was."""
        return [(self.begin + a, self.begin + b) for name, a, b in self.plan.starts() if name == phase]

    def share(self, phase: str, member: str, worker: int) -> float | None:
        """A share that a worker's ticks told, averaged over the phase; None where nothing was told."""
        total = weight = 0.0
        for tick in self.ticks.get(worker, ()):
            if tick[member] is None:
                continue
            part = sum(max(0.0, min(b, tick["at"]) - max(a, tick["at"] - tick["seconds"]))
                       for a, b in self.spans(phase))
            total, weight = total + part * tick[member], weight + part
        return total / weight if weight else None

    def over(self, member: str, width: float, count: int) -> list[list[float]]:
        """What the ticks told of each of `count` slices of `width` seconds: all values of all workers."""
        found: list[list[float]] = [[] for _ in range(count)]
        for tick in (tick for told in self.ticks.values() for tick in told if tick[member] is not None):
            end = (tick["at"] - self.begin) / width
            for place in range(max(0, int(end - tick["seconds"] / width)), min(count, int(end) + 1)):
                found[place].append(tick[member])
        return found

    def late_s(self, phase: str) -> float:
        """The 99th percentile of how late arrivals were started, in seconds."""
        return self.tally.pick("lag", phase).percentile(0.99)

    def unfit(self, phase: str, limit: float | None) -> str | None:
        """Why the phase's measurements cannot be trusted for a rule with that limit (seconds), if so.

        A share of errors has no such limit: what matters to it is the rate, second by second.
        """
        if missed := self.missing.get(phase, 0):
            return f"the generator never came to start {missed} of its arrivals"
        if not self.tally.pick("lag", phase).n:
            return None
        allowed = LATE_SHARE_S if limit is None else max(LATE_S, LATE_PART * limit)
        if (late := self.late_s(phase)) > allowed:
            return f"the generator was late: p99 {late * 1e3:.1f} ms, at most {allowed * 1e3:g} ms is allowed"
        return self._starved(phase)

    def _starved(self, phase: str) -> str | None:
        for worker in self.ticks:
            used, left = self.share(phase, "cpu", worker), self.share(phase, "idle", worker)
            if used is not None and used > USED_UP:
                return f"worker {worker + 1} used {used:.0%} of a processor: it cannot do more"
            if left is not None and left < LEFT:
                return (f"the generator was starved: the processors of worker {worker + 1} were idle for {left:.1%} "
                        f"of the phase, at least {LEFT:.0%} is needed")
        return None

    def told(self) -> dict[str, Any]:
        """The health of each phase, as JSON: shares of 1, milliseconds."""
        return {phase: self._told(phase) for phase in self.plan.profile.names}

    def _told(self, phase: str) -> dict[str, Any]:
        def shares(member: str) -> list[float | None]:
            found = [self.share(phase, member, worker) for worker in self.ticks]
            return [None if s is None else round(s, 4) for s in found]
        lag = self.tally.pick("lag", phase)
        return {"lag_ms": {name: round(lag.percentile(p) * 1e3, 3) for name, p in (("p50", 0.5), ("p99", 0.99))},
                "cpu": shares("cpu"), "idle": shares("idle"), "unfit": self.unfit(phase, None)}
