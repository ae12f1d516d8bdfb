"""The target's clock, as its Date fields tell it against ours.

A Date is the target's time at an instant between our request and its reply, its fraction cut off. Servers often write
the text once a second, so it may be a second older still. Each reply bounds the difference from both sides, and all
bounds hold at once (RFC 9110 6.6.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from openbell.events import Exchange
from openbell.limits import RetryAfter, http_date, retry_after

STALE_S = 1.0


@dataclass(frozen=True)
class Offset:
    """The target's epoch seconds minus our monotonic seconds, as an interval."""

    low: float
    high: float

    def latest(self, epoch: float) -> float:
        """The latest monotonic second at which the target's clock reaches an epoch second."""
        return epoch - self.low

    def earliest(self, epoch: float) -> float:
        """The earliest monotonic second at which the target's clock reaches an epoch second."""
        return epoch - self.high


def offset_of(exchanges: Iterable[Exchange]) -> Offset | None:
    """The offset that every reply agrees with, cached ones left out.

    None without a usable Date, and when the bounds contradict: the clock jumped, or there are several.
    """
    dates = [(date, e) for e in exchanges if (date := _date(e)) is not None]
    if not dates:
        return None
    low = max(date - e.done for date, e in dates)
    high = min(date + 1 + STALE_S - e.sent for date, e in dates)
    return Offset(low, high) if low <= high else None


def _date(exchange: Exchange) -> float | None:
    if exchange.reply is None or exchange.reply.lines("age"):
        return None
    lines = exchange.reply.lines("date")
    return http_date(lines[0]) if len(lines) == 1 else None


def again_at(refusal: Exchange, seen: Iterable[Exchange]) -> float | None:
    """The monotonic second until which a refusal asks for silence; a date is read by the target's own clock.

    None where its Retry-After does not say, or says it by a clock that nobody knows.
    """
    value = retry_after(refusal.reply) if refusal.reply else None
    if not isinstance(value, RetryAfter):
        return None
    if value.at is not None and (offset := offset_of(seen)):
        return max(refusal.done, offset.latest(value.at))
    return None if value.seconds is None else refusal.done + value.seconds
