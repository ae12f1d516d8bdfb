"""Rate limits: how a limit refuses, whether it tells the truth about waiting and about what is left.

A limit is exhausted on a principal that nobody else uses. Whether it refuses at all is judged by what its documented
policy can admit between two instants, so a slow harness or a window's boundary never makes it a failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile, pairwise, takewhile
from typing import Any

from openbell.clock import again_at
from openbell.events import Exchange, Message, Recording
from openbell.limits import Quota, quotas, retry_after
from openbell.profile import Limit, Profile
from openbell.registry import (
    MAY,
    MUST,
    SHOULD,
    Level,
    Observation,
    broken,
    check,
    holds,
    traffic_check,
    undecided,
)
from openbell.scenarios.limits import EXTRA_S, MOST_WAIT_S, cap, limits_exhaust
from openbell.target import Subject, edge_made, outcome

CONVENTION = "Conventions: clear rate limits, 429 with Retry-After"
RFC_RETRY = "RFC 9110 10.2.3: Retry-After is delay-seconds or an HTTP-date"
DRAFT = "draft-ietf-httpapi-ratelimit-headers-11"
TWICE = 2
REFUSALS = 3
CONSTANT = 20
SHARE = 0.1
WITHHELD = 0.2
_LEVELS: dict[str, Level] = {"policy-name": MAY}
_REDUCED = (b"temporary-reduced-capacity", b"abnormal-usage-detected")


@dataclass(frozen=True)
class Burst:
    """The requests of one burst up to its first refusal, which is None when it came to its end without one."""

    admitted: tuple[Exchange, ...]
    refusal: Exchange | None


def _bursts(recording: Recording, target: Profile) -> list[Burst]:
    groups: dict[str, list[Exchange]] = {}
    for exchange in recording.exchanges("burst"):
        groups.setdefault(exchange.label.split(":")[1], []).append(exchange)
    return [_burst(group, target) for group in groups.values()]


def _burst(group: list[Exchange], target: Profile) -> Burst:
    end = None if _admitted(target, group[-1]) else group[-1]
    return Burst(tuple(group if end is None else group[:-1]), end)


def _admitted(target: Profile, exchange: Exchange) -> bool:
    return outcome(target, "ok", exchange) and not outcome(target, "throttled", exchange)


def _cached(reply: Message) -> bool:
    """Whether a cache gave the reply: then its fields are of another moment."""
    return any(age != "0" for age in reply.lines("age"))


# --- RL-001


@check("RL-001", title="Over-limit answer is 429 with Retry-After", level=MUST, per="limit", promise="limits.throttled",
       evidence=(limits_exhaust,), minimum=1, sources=(CONVENTION, "RFC 6585 4: 429 Too Many Requests", RFC_RETRY),
       remedy="Answer 429 above the limit, with Retry-After in whole seconds, rounded up, and Cache-Control: no-store.")
def over_limit(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Each burst ends in a 429 whose Retry-After is well formed."""
    bursts = _bursts(recording, target)
    others = [b for b in bursts if b.refusal and _other_refusal(target, b.refusal)]
    for burst in bursts:
        if burst.refusal is None:
            yield _never(burst, target.limit[subject.name])
        elif burst in others:
            yield _wrong_status(burst, bursts, others, recording, target, target.limit[subject.name])
        else:
            yield _refusal(burst.refusal, target)


def _other_refusal(target: Profile, refusal: Exchange) -> bool:
    """A reply that ended the burst and is neither a 429 nor sign of something else."""
    return refusal.status not in {None, 401, 429} and not edge_made(target, refusal)


def _refusal(refusal: Exchange, target: Profile) -> Observation:
    if refusal.reply is None:
        return undecided("no_reply", str(refusal.no_reply), refusal)
    if edge_made(target, refusal):
        return undecided("edge_generated", f"a gateway answered status {refusal.status}", refusal)
    if not outcome(target, "throttled", refusal):
        return undecided("precondition", f"status {refusal.status} is not the outcome throttled", refusal)
    return _answer(refusal, refusal.reply)


def _answer(refusal: Exchange, reply: Message) -> Observation:
    if _cached(reply):
        return broken("cached", "a 429 that no cache stores", f"Age: {reply.field('age')}"[:60], refusal)
    value = retry_after(reply)
    if value is None:
        return broken("retry-after-missing", "429 with Retry-After", "429 without it", refusal)
    if isinstance(value, str):
        return broken("retry-after-malformed", "Retry-After as whole seconds or as an HTTP-date, once", value, refusal)
    return holds(refusal)


def _wrong_status(burst: Burst, bursts: list[Burst], others: list[Burst], recording: Recording, target: Profile,
                  limit: Limit) -> Observation:
    """Another status is throttling when it came twice, the first time near the limit, and silence cured it."""
    refusal = burst.refusal or burst.admitted[-1]
    cured = [o for o in others if o.refusal and _next_ok(o.refusal, recording, target)]
    if len(cured) >= TWICE and 2 * len(bursts[0].admitted) >= limit.capacity:
        return broken("wrong-status", "429 above the limit",
                      f"status {refusal.status} after {len(burst.admitted)} requests, and success after silence",
                      refusal)
    return undecided("precondition", f"the burst ended with status {refusal.status}", refusal)


def _next_ok(refusal: Exchange, recording: Recording, target: Profile) -> bool:
    after = next((e for e in recording.exchanges("retry") if e.sent > refusal.done), None)
    return after is not None and _admitted(target, after)


def _never(burst: Burst, limit: Limit) -> Observation:
    """What the documented policy can admit at most between the first request and the last reply.

    A window's boundary inside the burst lets twice as much through.
    """
    first, last, count = burst.admitted[0], burst.admitted[-1], len(burst.admitted)
    most = limit.capacity + limit.per_s * (last.done - first.sent)
    windows = limit.model in {"fixed_window", "unknown"}
    if count > 2 * most or (count >= cap(limit) and count > most and not windows):
        return broken("never-throttled", f"a refusal: the policy admits at most {limit.capacity} at once and "
                      f"{limit.per_s:g} per second", f"{count} requests within {last.done - first.sent:.2f} s, all "
                      "admitted", first, last)
    return undecided("budget", f"the limit was not exhausted by {count} requests", first, last)


# --- RL-002


@check("RL-002", title="Retry-After is sufficient", level=MUST, per="limit", promise="limits.retry_after",
       evidence=(limits_exhaust,), minimum=2, sources=(CONVENTION, RFC_RETRY),
       remedy="Count Retry-After from the reply to the first instant at which every exhausted limit admits a request "
              "again, and round up.")
def waiting_is_enough(recording: Recording, target: Profile, _subject: Subject) -> Iterator[Observation]:
    """Who stays silent for as long as Retry-After says, and a second more, is served; judged over several episodes.

    Refused twice is broken. Refused once may be another's doing, but whatever else holds is no pass then.
    """
    seen = sorted(recording.exchanges(), key=lambda e: e.sent)
    probes = [(seen[i - 1], e, seen[:i]) for i, e in enumerate(seen) if i and e.label.startswith("retry:")]
    early = [_undecided_episode(refusal, probe, before, target) for refusal, probe, before in probes]
    failures = [(refusal, probe) for (refusal, probe, _), why in zip(probes, early, strict=True)
                if why is None and outcome(target, "throttled", probe)]
    for (refusal, probe, _), why in zip(probes, early, strict=True):
        if why is not None:
            yield why
        elif (refusal, probe) not in failures:
            if len(failures) != 1:
                yield holds(refusal, probe)
        elif len(failures) < TWICE:
            yield undecided("noisy", "refused once after waiting as asked", refusal, probe)
        else:
            yield _too_short(refusal, probe)
    yield from _not_waited(recording)


def _undecided_episode(refusal: Exchange, probe: Exchange, before: list[Exchange], target: Profile,
                       ) -> Observation | None:
    """Why an episode says nothing about Retry-After; None when it does."""
    if not outcome(target, "throttled", refusal):
        return undecided("precondition", f"the refusal was status {refusal.status}, not the outcome throttled", refusal)
    until = again_at(refusal, before)
    if until is None:
        dated = refusal.reply is not None and not isinstance(retry_after(refusal.reply), str | None)
        return undecided("clock_unknown" if dated else "no_sample",
                         "Retry-After is a date by a clock that no reply tells" if dated
                         else "the refusal carried no usable Retry-After", refusal)
    if probe.sent < until + EXTRA_S / 2:
        return undecided("noisy", "the harness asked again too early", refusal, probe)
    if not (outcome(target, "ok", probe) or outcome(target, "throttled", probe)):
        return undecided("no_reply", probe.no_reply or f"status {probe.status} after waiting", refusal, probe)
    return None


def _too_short(refusal: Exchange, probe: Exchange) -> Observation:
    said = (refusal.reply.field("retry-after") or "")[:60] if refusal.reply else ""
    return broken("retry-after-too-short", f"a success after Retry-After: {said} and {EXTRA_S:g} s more",
                  f"status {probe.status} after {probe.sent - refusal.done:.1f} s of silence", refusal, probe)


def _not_waited(recording: Recording) -> Iterator[Observation]:
    for fact in recording.facts("too_long"):
        whose = "Retry-After asks for" if fact.data["asked"] else "without a usable Retry-After, the policy refills in"
        yield undecided("budget", f"{whose} {fact.data['seconds']:g} s; at most {MOST_WAIT_S:g} s are waited for", fact)


# --- RL-003


@traffic_check("RL-003", title="Rate-limit fields parse under one declared dialect", level=SHOULD,
               promise="limits.fields", minimum=10,
               sources=(f"{DRAFT} 3, 4: syntax; q and r are required", "RFC 9651 4.2: field lines are combined"),
               remedy="Write RateLimit and RateLimit-Policy as Lists of Strings with integer parameters; let all "
                      "dialects be computed from the same bucket at the same instant.")
def limit_fields(exchange: Exchange, _target: Profile, _memory: dict[str, Any]) -> Iterator[Observation]:
    """Whatever rate-limit fields a reply carries are well formed and do not contradict one another."""
    if exchange.reply is None or _cached(exchange.reply):
        return
    found, faults = quotas(exchange.reply)
    for fault in faults:
        yield broken(fault.rule, "well-formed rate-limit fields that agree", fault.wrong, exchange,
                     level=_LEVELS.get(fault.rule))
    if found and not faults:
        yield holds(exchange)


# --- RL-004


@check("RL-004", title="Remaining tells the truth in isolation", level=SHOULD, per="limit", promise="limits.remaining",
       evidence=(limits_exhaust,), minimum=2, sources=(f"{DRAFT} 4.1.1, 6, 8.3: r is no guarantee",),
       remedy="Compute what is left from the same bucket that decides, after this request was charged.")
def remaining_is_true(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """While a lone client drives a limit to exhaustion, what is left falls, and is next to nothing at the refusal; and
    once nothing is left, little more than the refill is served. One burst that says otherwise leaves it undecided.
    """
    told = [b for b in _bursts(recording, target) if b.refusal and outcome(target, "throttled", b.refusal)]
    limit = target.limit[subject.name]
    samples = [e for b in told for e in b.admitted if _usable(e)]
    if len(samples) >= CONSTANT and _constant(samples):
        yield broken("remaining-constant", "what is left falls while a limit is used up",
                     f"the same value on {len(samples)} replies, though the limit was exhausted {len(told)} times",
                     samples[0], samples[-1])
        return
    seen = [_lie(burst, limit) or _exhaustion(burst, limit) for burst in told]
    lies = [one for one in seen if one.state == "broken"]
    doubted = lies or [one for one in seen if one.reason == "noisy"]
    for one in seen:
        if one.state == "broken" and not _repeated(one, lies, told):
            yield replace(undecided("noisy", one.actual), events=one.events)
        elif one.state != "holds" or not doubted:
            yield one


def _repeated(one: Observation, lies: Sequence[Observation], told: Sequence[Burst]) -> bool:
    """A refusal with some left counts when three bursts show it, what is withheld when all do, three at least."""
    alike = sum(other.rule == one.rule for other in lies)
    return alike >= REFUSALS and (one.rule == "refused-with-remaining" or alike == len(told))


def _usable(exchange: Exchange) -> list[Quota]:
    """The quotas of a reply that count requests and say what is left, believably; none of a cached reply."""
    if exchange.reply is None or _cached(exchange.reply):
        return []
    return [q for q in quotas(exchange.reply)[0] if q.remaining is not None and q.unit in {"requests", "request"}
            and (q.limit is None or q.remaining <= q.limit)]


def _constant(samples: Sequence[Exchange]) -> bool:
    """Whether no quota of any reply ever moved; another limit's quota, told beside it, need not."""
    values: dict[tuple[str, str], set[int | None]] = {}
    for exchange in samples:
        for quota in _usable(exchange):
            values.setdefault((quota.dialect, quota.policy), set()).add(quota.remaining)
    return all(len(v) == 1 for v in values.values())


def _announced(refusal: Exchange | None) -> bool:
    """A refusal that says it is not about the quota may come while some is left."""
    return refusal is not None and refusal.reply is not None and any(w in refusal.reply.content for w in _REDUCED)


def _own(exchange: Exchange, limit: Limit) -> list[int]:
    """What a reply says is left of this very limit, as far as it can be told from others that are told beside it."""
    return [q.remaining or 0 for q in _usable(exchange) if q.limit in {None, limit.capacity}]


def _steps(burst: Burst, limit: Limit) -> list[tuple[int, float]]:
    """From each reply to the next: by how much what is left of this limit rose, and by how much it may have."""
    told = [(min(own), e) for e in burst.admitted if (own := _own(e, limit))]
    return [(new - old, limit.per_s * (later.done - one.sent) + 1) for (old, one), (new, later) in pairwise(told)]


def _cost(burst: Burst, limit: Limit) -> int:
    """What one request takes at most, as what is left tells; with less than that left a refusal is right."""
    return 1 if _several(burst, limit) else max((-rise for rise, _ in _steps(burst, limit)), default=1)


def _several(burst: Burst, limit: Limit) -> bool:
    """Whether what is left rises by more than time explains, and more often than by one new window: several counters,
    each of which tells of itself."""
    return sum(rise > refill for rise, refill in _steps(burst, limit)) > 1


def _left(burst: Burst, limit: Limit) -> float | None:
    """The smallest share that any quota of the refusal says is left, where 1 and less than a request takes are as good
    as 0; None when none says."""
    enough = max(1, _cost(burst, limit) - 1)
    found = _usable(burst.refusal) if burst.refusal else []
    return min(((q.remaining or 0) / q.limit if (q.remaining or 0) > enough else 0 for q in found if q.limit),
               default=None)


def _promised(burst: Burst, cost: int) -> int:
    """What the last reply that says so had promised beyond what was served after it; the smallest of several quotas
    counts, for any of them may refuse."""
    for later, exchange in enumerate(reversed(burst.admitted)):
        if found := _usable(exchange):
            return min(q.remaining or 0 for q in found) - later * cost
    return 0


def _overstated(burst: Burst, limit: Limit) -> int:
    """How many requests were promised and refused; 0 where that can be explained: by several counters, by the cost of
    a request, or because the quota is of another size than the documented one, and so another limit's."""
    cost = _cost(burst, limit)
    promised, told = _promised(burst, cost), any(_own(e, limit) for e in burst.admitted)
    return promised if told and not _several(burst, limit) and promised > max(1, cost - 1) else 0


def _withheld(burst: Burst, limit: Limit) -> float:
    """How many requests were served, beyond the refill, after a reply that said that nothing is left."""
    tail = list(takewhile(lambda e: not any(_own(e, limit)), reversed(burst.admitted)))[::-1]
    empty = list(dropwhile(lambda e: not _own(e, limit), tail))
    return len(empty) - 1 - limit.per_s * (empty[-1].done - empty[0].sent) if empty else 0


def _lie(burst: Burst, limit: Limit) -> Observation | None:
    """What a burst says of what is left that cannot be so; None when it may be."""
    shown = (*burst.admitted[-1:], *((burst.refusal,) if burst.refusal else ()))
    left, more = _left(burst, limit), _overstated(burst, limit)
    expected = f"less than {SHARE:.0%} is left when a limit refuses"
    if _announced(burst.refusal):
        return None
    if left is not None and left >= SHARE:
        return broken("refused-with-remaining", expected,
                      f"a refusal while {left:.0%} of the quota is said to be left", *shown)
    if more >= SHARE * limit.capacity:
        return broken("refused-with-remaining", expected, f"a refusal where {more} more were said to be left", *shown)
    if (served := _withheld(burst, limit)) >= max(TWICE, WITHHELD * limit.capacity):
        return broken("served-with-none-left", f"less than {WITHHELD:.0%} is served after nothing is said to be left",
                      f"{served:.0f} requests more than were refilled", *shown)
    return None


def _exhaustion(burst: Burst, limit: Limit) -> Observation:
    """Whether next to nothing is said to be left around the refusal, by the last reply before it and by its own."""
    shown = (*burst.admitted[-1:], *((burst.refusal,) if burst.refusal else ()))
    if _announced(burst.refusal) and (_left(burst, limit) or 0) >= SHARE:
        return undecided("noisy", "the refusal says that it is not about the quota", *shown)
    last = max((min(q.remaining or 0 for q in found) for e in shown if (found := _usable(e))), default=None)
    if last is None:
        return undecided("no_sample", "no reply near the refusal says what is left", *shown)
    if last > max(1, SHARE * limit.capacity, _cost(burst, limit) - 1):
        return undecided("noisy", f"{last} were said to be left just before the refusal", *shown)
    return holds(*shown)
