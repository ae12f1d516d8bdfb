"""From a load profile to arrivals: what is due when, as whom, and on which worker.

One seeded sequence of draws belongs to a plan. Every worker goes through the whole of it and keeps each arrival whose
number is its own modulo the number of workers: so the union is the same for any number of workers. Arrivals are either
evenly spaced along the curve (`uniform`: the k-th is due where the cumulative rate is k - 1/2) or a Poisson process
(the gaps of the cumulative rate are exponential with mean 1), which is what independent callers make.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

from openbell.loadprofiles.curves import BadCurve, Segment
from openbell.loadprofiles.shape import LoadProfile, Mix

Process = Literal["poisson", "uniform"]
MOST = 5_000_000
NOTHING = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One arrival: its number from 0, its instant in seconds after the start, its phase, its operation, its principal.

    `chance` is a number in [0, 1) for what the one who executes it still has to choose.
    """

    number: int
    at: float
    phase: int
    operation: str
    principal: str
    chance: float

    def mark(self) -> int:
        """64 bits that stand for the arrival; the sum of all marks stands for a set of arrivals, in any order."""
        text = f"{self.phase}\0{self.operation}\0{self.principal}".encode()
        packed = struct.pack("<qd", self.number, self.at) + text
        return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")


def total(marks: Iterable[int]) -> int:
    """The mark of a set of arrivals; that of a union is the sum of its parts'."""
    return sum(marks) & (2**64 - 1)


@dataclass(frozen=True)
class Weighted:
    """Names with weights, drawn by a number in [0, 1)."""

    names: tuple[str, ...]
    bounds: tuple[float, ...]

    def draw(self, chance: float) -> str:
        """One of the names; NOTHING where there is none."""
        return self.names[bisect(self.bounds, chance * self.bounds[-1])] if self.names else NOTHING


def weighted(weights: Mapping[str, float]) -> Weighted:
    """A choice among the names whose weight is above 0."""
    kept = {name: weight for name, weight in weights.items() if weight > 0}
    return Weighted(tuple(kept), tuple(accumulate(kept.values())))


@dataclass(frozen=True)
class LoadPlan:
    """A load profile at a peak (per second) and a duration (seconds), with its operations and its principals.

    `operations` holds the choice of each phase. Raises BadCurve, also for more than MOST arrivals.
    """

    profile: LoadProfile
    peak: float
    duration: float
    process: Process = "poisson"
    seed: int = 0
    operations: tuple[Weighted, ...] = ()
    principals: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", self.profile.segments(self.peak, self.duration))
        if self.expected > MOST:
            raise BadCurve(f"the curve offers {self.expected:.0f} arrivals; at most {MOST} are planned in one run")

    @property
    def expected(self) -> float:
        """The number of arrivals that the curve offers, on average for a Poisson process."""
        return sum(s.area for s in self.segments)

    @property
    def bell(self) -> float:
        """The bell, in seconds after the start."""
        return self.profile.bell * self.duration

    def starts(self) -> Iterator[tuple[str, float, float]]:
        """Name, first and last second of each phase."""
        begin = 0.0
        for phase, segment in zip(self.profile.phases, self.segments, strict=True):
            yield phase.name, begin, begin + segment.seconds
            begin += segment.seconds

    def arrivals(self, index: int = 0, workers: int = 1) -> Iterator[Arrival]:
        """The arrivals of one worker, in order."""
        return (a for a in self._all() if a.number % workers == index)

    def _all(self) -> Iterator[Arrival]:
        rng = random.Random(self.seed)
        for number, (at, phase) in enumerate(self._instants(rng)):
            operation = self.operations[phase].draw(rng.random()) if self.operations else NOTHING
            principal = self.principals[int(rng.random() * len(self.principals))] if self.principals else NOTHING
            yield Arrival(number, at, phase, operation, principal, rng.random())

    def _instants(self, rng: random.Random) -> Iterator[tuple[float, int]]:
        poisson = self.process == "poisson"
        gap: Callable[[], float] = (lambda: rng.expovariate(1.0)) if poisson else (lambda: 1.0)
        due, before, begin = gap() if poisson else 0.5, 0.0, 0.0
        for phase, segment in enumerate(self.segments):
            area = segment.area
            while due - before <= area:
                yield begin + segment.inverse(due - before), phase
                due += gap()
            before, begin = before + area, begin + segment.seconds

    @cached_property
    def counted(self) -> tuple[int, int]:
        """How many arrivals there are, and the mark of them all."""
        count, marks = 0, 0
        for arrival in self._all():
            count, marks = count + 1, marks + arrival.mark()
        return count, total((marks,))

    @property
    def hash(self) -> str:
        """The plan's digest: the same plan, seed and mix have the same, whatever the number of workers."""
        data = {"profile": self.profile.name, "peak": self.peak, "duration": self.duration, "process": self.process,
                "seed": self.seed, "principals": self.principals, "count": self.counted[0], "mark": self.counted[1],
                "phases": [(n, a, b) for n, a, b in self.starts()],
                "operations": [(w.names, w.bounds) for w in self.operations]}
        return "sha256:" + hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def bins(self, width: float) -> list[int]:
        """How many arrivals are planned in each `width` seconds."""
        counts = [0] * (int(self.duration / width) + 1)
        for arrival in self._all():
            counts[int(arrival.at / width)] += 1
        return counts


class BadMix(ValueError):
    """A mix that the target cannot serve."""


def choices(profile: LoadProfile, operations: Mapping[str, tuple[str, float]]) -> tuple[Weighted, ...]:
    """The choice of each phase. `operations` gives the role and the weight of each operation under load.

    A role's weight is shared among its operations; a role that the target has no operation for is left out. Raises
    BadMix for a phase that is left with nothing.
    """
    made = tuple(_choice(p.mix, operations) for p in profile.phases)
    if bare := [p.name for p, w in zip(profile.phases, made, strict=True) if not w.names]:
        raise BadMix(f"no operation of the target fits the mix of {', '.join(dict.fromkeys(bare))}")
    return made


def _choice(mix: Mix, operations: Mapping[str, tuple[str, float]]) -> Weighted:
    roles: dict[Any, float] = {}
    for role, weight in operations.values():
        roles[role] = roles.get(role, 0.0) + weight
    return weighted({name: mix.get(role, 0.0) * weight / roles[role]  # type: ignore[call-overload]
                     for name, (role, weight) in operations.items() if roles[role] > 0})
