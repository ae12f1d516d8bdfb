"""Rate curves and their exact inversion.

A segment offers arrivals at a rate r(t). Its cumulative rate R(t) is the integral of r from 0 to t: the number of
arrivals that are due by then. The arrival with number x is due at the t with R(t) = x. Both kinds of segment invert in
closed form, so an arrival's instant has no step size and no accumulated error:

    Line   r(t) = a + s t                R(t) = a t + s t^2 / 2         t = 2 x / (a + sqrt(a^2 + 2 s x))
    Decay  r(t) = a e^(-k t)             R(t) = a (1 - e^(-k t)) / k    t = -log(1 - k x / a) / k

The quadratic's root is written so that nothing cancels where the slope is small, and s = 0 needs no case of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


class BadCurve(ValueError):
    """A rate curve that offers nothing, or what cannot be offered."""


def _checked(seconds: float, *rates: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        raise BadCurve(f"a segment lasts {seconds} s; it must last longer than 0 s, and end")
    for rate in rates:
        if not (math.isfinite(rate) and rate >= 0):
            raise BadCurve(f"a rate of {rate} per second; it must be 0 or more, and finite")


@dataclass(frozen=True)
class Line:
    """A rate (per second) that goes evenly from `start` to `end` within `seconds`. Raises BadCurve."""

    seconds: float
    start: float
    end: float

    def __post_init__(self) -> None:
        _checked(self.seconds, self.start, self.end)

    @property
    def area(self) -> float:
        """How many arrivals the whole segment offers."""
        return self.seconds * (self.start + self.end) / 2

    def rate(self, t: float) -> float:
        """The rate at second `t` of the segment."""
        return self.start + (self.end - self.start) * t / self.seconds

    def inverse(self, x: float) -> float:
        """The second at which arrival `x` of the segment is due, 0 <= x <= area."""
        if x <= 0:
            return 0.0
        slope = (self.end - self.start) / self.seconds
        root = math.sqrt(max(0.0, self.start * self.start + 2 * slope * x))
        return min(self.seconds, 2 * x / (self.start + root))


@dataclass(frozen=True)
class Decay:
    """A rate that goes exponentially from `start` to `end`, both above 0. Raises BadCurve."""

    seconds: float
    start: float
    end: float

    def __post_init__(self) -> None:
        _checked(self.seconds, self.start, self.end)
        if self.start <= 0 or self.end <= 0:
            raise BadCurve("an exponential decay never reaches 0: both of its rates must be above 0")

    @property
    def constant(self) -> float:
        """k, per second."""
        return math.log(self.start / self.end) / self.seconds

    @property
    def area(self) -> float:
        """How many arrivals the whole segment offers."""
        k = self.constant
        return self.start * self.seconds if k == 0 else -self.start * math.expm1(-k * self.seconds) / k

    def rate(self, t: float) -> float:
        """The rate at second `t` of the segment."""
        return self.start * math.exp(-self.constant * t)

    def inverse(self, x: float) -> float:
        """The second at which arrival `x` of the segment is due, 0 <= x <= area."""
        k = self.constant
        t = x / self.start if k == 0 else -math.log1p(-min(k * x / self.start, 1.0 - 1e-15)) / k
        return min(self.seconds, max(0.0, t))


Segment = Line | Decay
