"""What a reply says about quotas: Retry-After, and the rate-limit fields in every dialect, told apart by shape.

Field names do not tell the dialect: `RateLimit` is a Dictionary in draft -07 and a List of Items since -08. Values are
untrusted: nothing here raises, and nothing is believed that is not well formed.
Sources: RFC 9110 10.2.3; draft-ietf-httpapi-ratelimit-headers-07 to -11; RFC 9651.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import http_sf

from openbell.events import Exchange, Message

MAX_DIGITS = 12
_DIGITS = re.compile(f"[0-9]{{1,{MAX_DIGITS}}}")
_DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
                   r"\d{4} \d\d:\d\d:\d\d GMT")


def http_date(value: str) -> float | None:
    """Epoch seconds of an IMF-fixdate; None for any other spelling."""
    if not _DATE.fullmatch(value):
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None


def retry_after(reply: Message) -> tuple[float, float] | str | None:
    """Retry-After in seconds from the receipt of the reply, as an interval; a text for a malformed one; None without.

    A date is read by the target's own clock: its Date field, whose second is cut off, gives an interval of a second.
    """
    lines = reply.lines("retry-after")
    if not lines:
        return None
    if len(lines) > 1:
        return f"{len(lines)} field lines"
    if _DIGITS.fullmatch(lines[0]):
        return (float(lines[0]),) * 2
    at = http_date(lines[0])
    if at is None:
        return repr(lines[0][:60])
    now = http_date(reply.field("date") or "")
    return (0.0, 0.0) if now is None else (max(0.0, at - now - 1), max(0.0, at - now))


def wait_of(exchange: Exchange) -> float | None:
    """The longest wait that a reply's Retry-After asks for, in seconds; None without a usable one."""
    value = retry_after(exchange.reply) if exchange.reply else None
    return value[1] if isinstance(value, tuple) else None


@dataclass(frozen=True)
class Quota:
    """One limit as a reply tells it: requests allowed, left, and seconds, as far as they are told."""

    dialect: str
    policy: str
    limit: int | None = None
    remaining: int | None = None
    seconds: int | None = None


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
    return found, faults


def _structured(reply: Message, name: str) -> tuple[str, Any]:
    """The shape (`list`, `dictionary`, `token-names`, `broken` or "") and value of a structured field."""
    value = reply.field(name)
    if value is None:
        return "", None
    try:
        parsed = http_sf.parse(value.encode("utf-8", "replace"), tltype="dictionary" if _dictionary(value) else "list")
    except (ValueError, TypeError, IndexError, RecursionError):
        return "broken", value
    return ("dictionary" if isinstance(parsed, dict) else "list"), parsed


def _dictionary(value: str) -> bool:
    return re.match(r"\s*(limit|remaining|reset)\s*=", value) is not None


def _draft(reply: Message) -> tuple[list[Quota], list[Fault]]:
    shape, value = _structured(reply, "ratelimit")
    policy_shape, policies = _structured(reply, "ratelimit-policy")
    if "broken" in (shape, policy_shape):
        return [], [Fault("syntax", "RateLimit or RateLimit-Policy is no structured field (RFC 9651)")]
    if shape == "dictionary":
        return _draft_07({k: v[0] if isinstance(v, tuple) else v for k, v in value.items()})
    limits, faults = _policies(policies if policy_shape == "list" and shape != "" else [])
    quotas: list[Quota] = []
    for name, parameters in _items(value if shape == "list" else []):
        quota, fault = _item(name, parameters, limits)
        quotas += [quota] if quota else []
        faults += fault
    return quotas, faults


def _items(value: Any) -> list[tuple[Any, dict[str, Any]]]:
    return [(i[0], dict(i[1])) for i in value if isinstance(i, tuple) and len(i) == 2]


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _policies(value: Any) -> tuple[dict[str, int], list[Fault]]:
    limits: dict[str, int] = {}
    faults: list[Fault] = []
    for name, parameters in _items(value):
        if not isinstance(name, str):
            faults.append(Fault("policy-name", f"policy name {str(name)[:40]!r} is no String"))
        if not _count(parameters.get("q")):
            faults.append(Fault("syntax", "a policy without a non-negative integer q"))
        elif "w" in parameters and (not _count(parameters["w"]) or not parameters["w"]):
            faults.append(Fault("syntax", "a policy whose w is no positive integer"))
        else:
            limits[str(name)] = parameters["q"]
    return limits, faults


def _item(name: Any, parameters: dict[str, Any], limits: dict[str, int]) -> tuple[Quota | None, list[Fault]]:
    faults: list[Fault] = []
    if not isinstance(name, str):
        faults.append(Fault("policy-name", f"policy name {str(name)[:40]!r} is no String"))
    left, seconds = parameters.get("r"), parameters.get("t")
    if not _count(left) or not (seconds is None or _count(seconds)):
        return None, [*faults, Fault("syntax", "r (required) and t are non-negative integers")]
    if limits and str(name) not in limits:
        faults.append(Fault("unnamed-policy", f"RateLimit names {str(name)[:40]!r}, RateLimit-Policy does not"))
    limit = limits.get(str(name))
    if limit is not None and left is not None and left > limit:
        faults.append(Fault("remaining-above-limit", f"r={left} of q={limit}"))
    return Quota("draft", str(name), limit, left, seconds), faults


def _draft_07(value: dict[str, Any]) -> tuple[list[Quota], list[Fault]]:
    numbers = [value.get(name) for name in ("limit", "remaining", "reset")]
    if not all(map(_count, numbers)):
        return [], [Fault("syntax", "limit, remaining and reset are non-negative integers")]
    limit, left, seconds = numbers
    return _plain("draft", limit, left, seconds)


def _plain(dialect: str, limit: int | None, left: int | None, seconds: int | None) -> tuple[list[Quota], list[Fault]]:
    over = limit is not None and left is not None and left > limit
    return [Quota(dialect, "", limit, left, seconds)], (
        [Fault("remaining-above-limit", f"remaining {left} of {limit}")] if over else [])


def _fields(reply: Message, dialect: str, prefix: str) -> tuple[list[Quota], list[Fault]]:
    values = [reply.field(f"{prefix}-{name}") for name in ("limit", "remaining", "reset")]
    if values[1] is None and values[0] is None:
        return [], []
    parts = [None if v is None else v.partition(",")[0].partition(";")[0].strip() for v in values]
    if any(p is not None and not _DIGITS.fullmatch(p) for p in parts):
        return [], [Fault("syntax", f"{prefix}-* holds something other than non-negative integers")]
    return _plain(dialect, *(None if p is None else int(p) for p in parts))


def _three_field(reply: Message) -> tuple[list[Quota], list[Fault]]:
    return _fields(reply, "three_field", "ratelimit")


def _x_ratelimit(reply: Message) -> tuple[list[Quota], list[Fault]]:
    found, faults = _fields(reply, "x_ratelimit", "x-ratelimit")
    return (found, faults) if found or faults else _fields(reply, "x_ratelimit", "x-rate-limit")
