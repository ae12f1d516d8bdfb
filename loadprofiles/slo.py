"""Rules about a load run, and when they can be decided.

    [phase:] measure[(operation)] < limit        p99(create_order) < 250ms      errors < 0.1%      recovery < 30s

Latencies count from the intended start; `service_p99` from the sending. A percentile's bounds come from the order
statistics alone, with no assumption about its distribution: the value of rank r is above the p-quantile with the
probability that at most r - 1 of n values lie below it, which is binomial. A share's bounds are Wilson's. Both are
one-sided at 95 %. A rule passes when even the upper bound keeps the limit, fails when even the lower one breaks it, and
is inconclusive else: too few samples are no pass. Where the generator was late or starved, it is invalid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from openbell.loadprofiles.tally import Distribution, Tally
from openbell.loadprofiles.words import OK, THROTTLED

Verdict = Literal["pass", "fail", "inconclusive", "invalid"]
WORST: tuple[Verdict, ...] = ("fail", "invalid", "inconclusive", "pass")
EXIT: Mapping[Verdict, int] = {"pass": 0, "fail": 1, "inconclusive": 2, "invalid": 2}
CONFIDENCE, Z = 0.95, 1.6449
WHOLE = "*"
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "%": 0.01}
RULE = re.compile(
    r"\s*(?:(?P<phase>[\w*-]+)\s*:)?\s*(?P<measure>service_p\d+(?:\.\d+)?|p\d+(?:\.\d+)?|max|errors|throttled"
    r"|recovery(?:50|99)?)\s*(?:\((?P<operation>[^()]{1,200})\))?\s*(?P<sign><=?)\s*(?P<limit>\d+(?:\.\d+)?)\s*"
    r"(?P<unit>us|ms|s|%)\s*")
SHARES = frozenset({"errors", "throttled"})
EXAMPLE = "such as `open: p99(submit_order) < 250ms`, `errors < 0.1%`, `recovery < 30s`"


class BadRule(ValueError):
    """A rule that cannot be read, or that names what there is not; the text says what would be right."""


@dataclass(frozen=True)
class Rule:
    """One rule. `limit` is in seconds, or a share of 1."""

    text: str
    phase: str
    measure: str
    operation: str
    strict: bool
    limit: float

    @property
    def part(self) -> float:
        """The percentile, as a part of 1."""
        return float(self.measure.rpartition("p")[2]) / 100

    def kept(self, value: float) -> bool:
        """Whether a value keeps the limit."""
        return value < self.limit if self.strict else value <= self.limit


@dataclass(frozen=True)
class Ruling:
    """A rule's verdict, with what was measured and its bounds (seconds, or a share), from how many samples."""

    rule: Rule
    verdict: Verdict
    measured: float | None
    low: float | None
    high: float | None
    samples: int
    why: str


def parse_rule(text: str, phase: str = WHOLE) -> Rule:
    """The rule of a text; `phase` is where it stands when it names none. Raises BadRule."""
    found = RULE.fullmatch(text)
    if not found:
        raise BadRule(f"{text!r} is no rule; {EXAMPLE}")
    rule = Rule(text.strip(), found["phase"] or phase, found["measure"], (found["operation"] or "").strip(),
                found["sign"] == "<", float(found["limit"]) * UNITS[found["unit"]])
    if (rule.measure in SHARES) != (found["unit"] == "%"):
        raise BadRule(f"{text!r}: {rule.measure} is measured in {'%' if rule.measure in SHARES else 'us, ms or s'}")
    if re.search(r"p[\d.]+$", rule.measure) and not 0 < rule.part < 1:
        raise BadRule(f"{text!r}: a percentile lies between p0 and p100")
    return rule


def checked(rules: Iterable[Rule], phases: Iterable[str], operations: Iterable[str] | None) -> Iterator[str]:
    """What rules name and is not there: a phase, an operation (None where any may come)."""
    phases, known = tuple(phases), None if operations is None else set(operations)
    for rule in rules:
        if rule.phase not in {WHOLE, *phases}:
            yield f"{rule.text!r} names the phase {rule.phase!r}; there are {', '.join(phases)}, and * for all"
        if rule.operation and known is not None and rule.operation not in known:
            yield f"{rule.text!r} names the operation {rule.operation!r}; the load offers {', '.join(sorted(known))}"


@dataclass(frozen=True)
class Ground:
    """What rules are judged on. `unfit` tells of each phase why its measurements cannot be trusted, if so.

    `recovery` holds the seconds until 50, 99 and 100 % of the streams were back; None where they never were.
    """

    tally: Tally
    phases: tuple[str, ...]
    unfit: Callable[[str, float | None], str | None]
    recovery: Mapping[str, float | None]


def ruling(rule: Rule, ground: Ground) -> Ruling:
    """The verdict on one rule."""
    verdict, measured, low, high, n, why = _measured(rule, ground)
    limit = None if rule.measure in SHARES else rule.limit
    phases = ground.phases if rule.phase == WHOLE else (rule.phase,)
    unfit = next(filter(None, (ground.unfit(p, limit) for p in phases)), None)
    if unfit:
        return Ruling(rule, "invalid", measured, low, high, n, unfit)
    return Ruling(rule, verdict, measured, low, high, n, why)


Seen = tuple[Verdict, float | None, float | None, float | None, int, str]


def _measured(rule: Rule, ground: Ground) -> Seen:
    if rule.measure in SHARES:
        return _share(rule, ground.tally)
    if rule.measure.startswith("recovery"):
        return _recovery(rule, ground.recovery)
    metric = "service" if rule.measure.startswith("service") else "latency"
    begin = (metric,) if rule.phase == WHOLE else (metric, rule.phase)
    return _percentile(rule, ground.tally.pick(*begin, last=rule.operation))


def _percentile(rule: Rule, seen: Distribution) -> Seen:
    if not seen.n:
        return "inconclusive", None, None, None, 0, "nothing was measured"
    if rule.measure == "max":
        return ("pass" if rule.kept(seen.most) else "fail"), seen.most, None, None, seen.n, ""
    measured = seen.percentile(rule.part)
    low_rank, high_rank = ranks(seen.n, rule.part)
    low = seen.at_rank(low_rank) if low_rank else None
    high = seen.at_rank(high_rank) if high_rank else None
    if low is not None and not rule.kept(low):
        return "fail", measured, low, high, seen.n, ""
    if high is not None and rule.kept(high):
        return "pass", measured, low, high, seen.n, ""
    need = math.ceil(math.log(1 - CONFIDENCE) / math.log(rule.part))
    why = f"{rule.measure} needs at least {need} samples to pass" if high is None else "the bounds lie on both sides"
    return "inconclusive", measured, low, high, seen.n, why


@lru_cache(maxsize=4096)
def ranks(n: int, part: float) -> tuple[int, int]:
    """The ranks whose values bound the `part`-quantile of n values below and above, each with 95 %; 0 where no rank
    does. From the binomial distribution, summed from its upper end; by the normal one where that is long."""
    spread = math.sqrt(n * part * (1 - part))
    if n * min(part, 1 - part) > 200:
        low, high = math.floor(n * part - Z * spread), math.ceil(n * part + Z * spread) + 1
        return max(0, low), high if high <= n else 0
    return _low_rank(n, part), _high_rank(n, part)


def _log_pmf(n: int, k: int, part: float) -> float:
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(part)
            + (n - k) * math.log1p(-part))


def _high_rank(n: int, part: float) -> int:
    """The smallest r with P(X <= r - 1) >= 95 %."""
    above, r = 0.0, n + 1
    while r > 1 and above + math.exp(_log_pmf(n, r - 1, part)) <= 1 - CONFIDENCE:
        above += math.exp(_log_pmf(n, r - 1, part))
        r -= 1
    return r if r <= n else 0


def _low_rank(n: int, part: float) -> int:
    """The largest r with P(X >= r) >= 95 %."""
    below, r = 0.0, 0
    while r < n and below + math.exp(_log_pmf(n, r, part)) <= 1 - CONFIDENCE:
        below += math.exp(_log_pmf(n, r, part))
        r += 1
    return r


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's one-sided 95 % bounds of a share."""
    if not n:
        return 0.0, 1.0
    p, zz = k / n, Z * Z
    centre, half = p + zz / (2 * n), Z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    return max(0.0, (centre - half) / (1 + zz / n)), min(1.0, (centre + half) / (1 + zz / n))


def _share(rule: Rule, tally: Tally) -> Seen:
    counts = {"errors": 0, "throttled": 0, "all": 0}
    for key, count in tally.counts.items():
        if not _about(key, rule):
            continue
        counts["all"] += count
        said = str(key[-1])
        counts["throttled"] += count if said == THROTTLED else 0
        counts["errors"] += count if said not in {OK, THROTTLED} else 0
    k, n = counts[rule.measure], counts["all"]
    if not n:
        return "inconclusive", None, None, None, 0, "nothing was measured"
    low, high = wilson(k, n)
    if not rule.kept(low):
        return "fail", k / n, low, high, n, f"{k} of {n}"
    if rule.kept(high):
        return "pass", k / n, low, high, n, f"{k} of {n}"
    why = "the bounds lie on both sides" if k else f"none of {n}, which is too few to tell"
    return "inconclusive", k / n, low, high, n, why


def _about(key: tuple[str | int, ...], rule: Rule) -> bool:
    kind = "outcome" if rule.operation else "arrival"
    return (key[0] == kind and rule.phase in {WHOLE, key[1]}
            and (not rule.operation or key[2] == rule.operation))


def _recovery(rule: Rule, recovery: Mapping[str, float | None]) -> Seen:
    part = rule.measure.removeprefix("recovery") or "100"
    if part not in recovery:
        return "inconclusive", None, None, None, 0, "no streams were held"
    took = recovery[part]
    if took is None:
        return "fail", None, None, None, 1, f"{part} % of the streams never came back"
    return ("pass" if rule.kept(took) else "fail"), took, took, took, 1, ""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of all; without any it is inconclusive."""
    return min(verdicts, key=WORST.index, default="inconclusive")
