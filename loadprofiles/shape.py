"""What a load profile is: named phases, each a curve with a mix of operations, relative to peak and duration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Literal

from openbell.loadprofiles.curves import BadCurve, Decay, Line, Segment
from openbell.profile import Role

Curve = Literal["line", "decay"]
Mix = Mapping[Role, float]


@dataclass(frozen=True)
class Phase:
    """One stretch of a profile. `share` is its part of the duration; the rates are parts of the peak.

    `mix` weighs the operations by their role. Two phases may have one name: then they are judged as one.
    """

    name: str
    share: float
    start: float
    end: float
    mix: Mix
    curve: Curve = "line"

    def segment(self, peak: float, duration: float) -> Segment:
        """The curve at that peak (per second) and duration (seconds). Raises BadCurve."""
        made = Line if self.curve == "line" else Decay
        return made(self.share * duration, self.start * peak, self.end * peak)


@dataclass(frozen=True)
class Storm:
    """Streams that are held, dropped all at once, and opened again. `at` is a part of the duration.

    Each stream waits before its first try for a random time up to `jitter_s`, and doubles it up to `most_s`.
    """

    at: float
    jitter_s: float = 0.5
    most_s: float = 8.0


@dataclass(frozen=True)
class LoadProfile:
    """A whole profile. `bell` is the part of the duration after which the first moment that matters comes.

    `slo` are the rules, by phase, that hold where the target's profile gives none of its own.
    """

    name: str
    doc: str
    phases: tuple[Phase, ...]
    bell: float = 0.0
    storm: Storm | None = None
    slo: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the phases, each once, in order."""
        return tuple(dict.fromkeys(p.name for p in self.phases))

    def segments(self, peak: float, duration: float) -> tuple[Segment, ...]:
        """The curve, phase by phase. Raises BadCurve where it offers nothing, or what cannot be offered."""
        if not math.isfinite(peak) or not math.isfinite(duration):
            raise BadCurve("peak and duration must be finite")
        made = tuple(p.segment(peak, duration) for p in self.phases)
        if sum(s.area for s in made) < 1 and not self.storm:
            raise BadCurve(f"{self.name} with a peak of {peak:g} per second for {duration:g} s offers not one arrival")
        return made


TRADING: Mix = {"create": 4, "cancel": 3, "list": 1, "read": 2}
READING: Mix = {"create": 1, "list": 3, "read": 6}
EVEN: Mix = {"create": 2, "cancel": 1, "list": 3, "read": 4}


@cache
def all_shapes() -> dict[str, LoadProfile]:
    """Every load profile of the folder `shapes`, by name: a new file is a new profile."""
    from openbell.loadprofiles import shapes
    modules = [import_module(f"{shapes.__name__}.{found.name}") for found in iter_modules(shapes.__path__)]
    found = [v for m in modules for v in vars(m).values() if isinstance(v, LoadProfile)]
    return {p.name: p for p in sorted(found, key=lambda p: p.name)}
