"""What a reply says about quotas: Retry-After, and the rate-limit fields in every dialect, told apart by shape.

Field names do not tell the dialect: `RateLimit` is a Dictionary in draft -07 and a List of Items since -08. Values are
untrusted: nothing here raises, and nothing is believed that is not well formed.
Sources: RFC 9110 10.2.3; draft-ietf-httpapi-ratelimit-headers-03 to -11 and its pull request 166; RFC 9651.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import http_sf

from openbell.events import Exchange, Message

MOST_S = 1e12
_DIGITS = re.compile("[0-9]+")
_COUNT = re.compile("[0-9]{1,15}")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{{2}}) ({'|'.join(_MONTHS)}) ([0-9]{{4}}) "
                   r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")


def http_date(value: str) -> float | None:
    """Epoch seconds of an IMF-fixdate; None for any other spelling."""
    parts = _DATE.fullmatch(value)
    if parts is None:
        return None
    day, month, year, hour, minute, second = parts.groups()
    date = int(year), _MONTHS.index(month) + 1, int(day)
    try:
        return datetime(*date, int(hour), int(minute), int(second), tzinfo=UTC).timestamp()
    except ValueError:
        return None


# --- Retry-After


@dataclass(frozen=True)
class RetryAfter:
    """A well-formed Retry-After: the longest wait from the receipt in seconds, and the epoch second of a date.

    `seconds` is None for a date in a reply that does not tell the target's own time.
    """

    seconds: float | None
    at: float | None = None


def retry_after(reply: Message) -> RetryAfter | str | None:
    """What Retry-After says; a text for a malformed one; None without one. A huge number is well formed."""
    lines = reply.lines("retry-after")
    if not lines:
        return None
    if len(lines) > 1:
        return f"{len(lines)} field lines"
    if _DIGITS.fullmatch(lines[0]):
        return RetryAfter(_seconds(lines[0]))
    at = http_date(lines[0])
    if at is None:
        return repr(lines[0][:60])
    now = http_date(reply.field("date") or "")
    return RetryAfter(None if now is None else max(0.0, at - now), at)


def _seconds(number: str) -> float:
    return min(float(math.ceil(min(float(number), MOST_S))), MOST_S)


def wait_of(exchange: Exchange) -> float | None:
    """The longest wait in seconds that can be read into a reply's Retry-After, rounded up; None without any.

    It is for being polite: doubled and fractional values, which no check accepts, are waited for as well.
    """
    if exchange.reply is None:
        return None
    value = retry_after(exchange.reply)
    if isinstance(value, RetryAfter):
        return value.seconds
    parts = (exchange.reply.field("retry-after") or "").split(",")
    return max((_seconds(p.strip()) for p in parts if _NUMBER.fullmatch(p.strip())), default=None)


# --- the rate-limit fields


@dataclass(frozen=True)
class Quota:
    """One limit as a reply tells it: requests allowed, left, and seconds, as far as they are told."""

    dialect: str
    policy: str
    limit: int | None = None
    remaining: int | None = None
    seconds: int | None = None
    unit: str = "requests"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a rate-limit field: the rule, and the words for a person."""

    rule: str
    wrong: str


def quotas(reply: Message) -> tuple[list[Quota], list[Fault]]:
    """All quotas that a reply tells, in every dialect that it uses, and all faults of their fields."""
    found: list[Quota] = []
    faults: list[Fault] = []
    for read in (_draft, _three_field, _x_ratelimit):
        quota, fault = read(reply)
        found += quota
        faults += fault
    return found, [*faults, *(map(_over, filter(_above, found))), *_contradictions(found)]


def _above(quota: Quota) -> bool:
    return quota.limit is not None and quota.remaining is not None and quota.remaining > quota.limit


def _over(quota: Quota) -> Fault:
    return Fault("remaining-above-limit", f"{quota.remaining} left of {quota.limit}")


def _contradictions(found: list[Quota]) -> Iterator[Fault]:
    """Two dialects on one reply agree when one quota of each is the same limit with the same rest, give or take 1."""
    dialects: dict[str, list[Quota]] = {}
    for quota in found:
        dialects.setdefault(quota.dialect, []).append(quota)
    for (one, left), (other, right) in combinations(dialects.items(), 2):
        if not any(_agree(a, b) for a in left for b in right):
            yield Fault("dialects-contradict", f"{one} says {_told(left)}, {other} says {_told(right)}")


def _agree(a: Quota, b: Quota) -> bool:
    same_limit = None in (a.limit, b.limit) or a.limit == b.limit
    return same_limit and (a.remaining is None or b.remaining is None or abs(a.remaining - b.remaining) <= 1)


def _told(found: list[Quota]) -> str:
    return ", ".join(f"{q.remaining} of {q.limit}" for q in found[:3])


# --- the draft: a Dictionary in -07, Lists of Items since -08


_DICTIONARY = re.compile(r"\s*(limit|remaining|reset)\s*=")


def _structured(reply: Message, name: str, shape: str = "list") -> Any:
    """The value of a structured field, () without the field, None when it is no structured field of that shape."""
    value = reply.field(name)
    if value is None:
        return ()
    try:
        return http_sf.parse(value.encode("utf-8", "replace"), tltype=shape)
    except (ValueError, OverflowError, RecursionError):
        return None


def _draft(reply: Message) -> tuple[list[Quota], list[Fault]]:
    shape = "dictionary" if _DICTIONARY.match(reply.field("ratelimit") or "") else "list"
    value, policies = _structured(reply, "ratelimit", shape), _structured(reply, "ratelimit-policy")
    faults = [Fault("syntax", f"{name} is no structured field (RFC 9651)")
              for name, parsed in (("RateLimit", value), ("RateLimit-Policy", policies)) if parsed is None]
    if isinstance(value, dict):
        found, more = _draft_07(value)
        return found, faults + more
    limits, more = _policies(policies or ())
    faults += more
    found = []
    for name, parameters in value or ():
        quota, more = _item(name, dict(parameters), limits)
        found += quota
        faults += more
    return found, faults


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _name(name: Any) -> tuple[str, list[Fault]]:
    """A policy's name; a Token or any other type stands in the place of a String in many servers."""
    shown = str(name)[:60]
    return shown, [] if isinstance(name, str) else [Fault("policy-name", f"the policy name {shown!r} is no String")]


def _policies(value: Any) -> tuple[dict[str, Mapping[str, Any]], list[Fault]]:
    """Policies by name with their parameters, and the faults. In the form before -08 the quota stands as the item."""
    found: dict[str, Mapping[str, Any]] = {}
    faults: list[Fault] = []
    for item, parameters in value:
        before_08 = _is_count(item)
        name, misnamed = ("", []) if before_08 else _name(item)
        quota, window = item if before_08 else parameters.get("q"), parameters.get("w", 1)
        found.setdefault(name, parameters)
        if not _is_count(quota):
            faults.append(Fault("syntax", "a policy without a non-negative integer q"))
        elif not _is_count(window) or not window:
            faults.append(Fault("syntax", "a policy whose w is no positive integer"))
        else:
            faults += misnamed
    return found, faults


def _item(item: Any, parameters: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]],
          ) -> tuple[list[Quota], list[Fault]]:
    """One item of RateLimit. Pull request 166 writes `a` and `w` where -08 to -11 write `r` and `t`."""
    left, seconds = ((parameters.get("r"), parameters.get("t")) if "r" in parameters or "a" not in parameters
                     else (parameters["a"], parameters.get("w")))
    if not _is_count(left) or not (seconds is None or _is_count(seconds)):
        return [], [Fault("syntax", "r (required) and t are non-negative integers")]
    name, faults = _name(item)
    if policies and name not in policies:
        faults.append(Fault("unnamed-policy", f"RateLimit names {name!r}, RateLimit-Policy does not"))
    policy = policies.get(name, {})
    limit = policy["q"] if _is_count(policy.get("q")) else None
    return [Quota("draft", name, limit, left, seconds, str(policy.get("qu", "requests")))], faults


def _draft_07(value: Mapping[str, Any]) -> tuple[list[Quota], list[Fault]]:
    limit, left, seconds = (value[name][0] if name in value else None for name in ("limit", "remaining", "reset"))
    if not all(map(_is_count, (limit, left, seconds))):
        return [], [Fault("syntax", "limit, remaining and reset are non-negative integers")]
    return [Quota("draft", "", limit, left, seconds)], []


# --- three fields: drafts -03 to -06, and the X- names that vendors use


def _fields(reply: Message, dialect: str, prefix: str) -> tuple[list[Quota], list[Fault]]:
    limit, left, reset = (reply.lines(f"{prefix}-{name}") for name in ("limit", "remaining", "reset"))
    if not limit and not left:
        return [], []
    # Drafts up to -06 let a list of policies follow the limit in force.
    first = tuple(line.partition(",")[0].partition(";")[0].strip() for line in limit)
    for name, lines in (("Limit", first), ("Remaining", left)):
        if len(set(lines)) > 1 or not all(map(_COUNT.fullmatch, lines)):
            return [], [Fault("syntax", f"{prefix}-{name} is {', '.join(lines)[:60]!r}, no non-negative integer")]
    if len(set(reset)) > 1 or not all(map(_is_reset, reset)):
        return [], [Fault("syntax", f"{prefix}-Reset is {', '.join(reset)[:60]!r}, neither a number nor a date")]
    return [Quota(dialect, "", _int(first), _int(left), _delta(reset))], []


def _int(lines: tuple[str, ...]) -> int | None:
    return int(lines[0]) if lines else None


def _is_reset(value: str) -> bool:
    """Seconds, an epoch in any unit, an HTTP date or an RFC 3339 time."""
    return _NUMBER.fullmatch(value) is not None or http_date(value) is not None or _is_time(value)


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _delta(lines: tuple[str, ...]) -> int | None:
    """Seconds from now; a number too large for that is an epoch, and left alone."""
    small = bool(lines) and _DIGITS.fullmatch(lines[0]) is not None and len(lines[0]) < 10
    return int(lines[0]) if small else None


def _three_field(reply: Message) -> tuple[list[Quota], list[Fault]]:
    return _fields(reply, "three_field", "RateLimit")


def _x_ratelimit(reply: Message) -> tuple[list[Quota], list[Fault]]:
    found, faults = _fields(reply, "x_ratelimit", "X-RateLimit")
    return (found, faults) if found or faults else _fields(reply, "x_ratelimit", "X-Rate-Limit")
