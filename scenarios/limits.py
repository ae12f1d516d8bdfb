"""One limit driven to exhaustion, several times, with silence as long as it asks for in between.

On one connection, one request after another: a limit of concurrent requests would refuse more than that. Nobody else
uses the principal meanwhile, and nothing is sent before the time that Retry-After names is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from openbell.api import Api, Reply
from openbell.clock import again_at
from openbell.events import Exchange
from openbell.limits import wait_of
from openbell.profile import Limit, Profile
from openbell.registry import Claim, Cost, own, scenario
from openbell.session import Skip, sacrificial
from openbell.target import Subject

EPISODES = 5
ENOUGH = 2
MOST_REQUESTS = 2000
MOST_WAIT_S = 30.0
EXTRA_S = 1.0


def cap(limit: Limit) -> int:
    """How many requests one burst sends at most."""
    return min(3 * limit.capacity, MOST_REQUESTS)


def refill_s(limit: Limit) -> float:
    """Seconds after which the documented policy admits again: its next token, else its window."""
    return (1 if limit.model == "token_bucket" else limit.capacity) / limit.per_s


def _needs(target: Profile, subject: Subject) -> str | None:
    if sacrificial(target, "limits") is None:
        return 'no principal is set aside for limits (credential.NAME.sacrificial = ["limits"])'
    probe = target.operation[target.limit[subject.name].probe]
    return f"the probe of limit.{subject.name} is a write" if probe.writes else None


def _claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    claims = (own(f"principal:{sacrificial(target, 'limits')}"), own(str(subject)))
    return claims if target.limit[subject.name].scope == "principal" else (*claims, own("api"))


def _cost(target: Profile, subject: Subject) -> Cost:
    limit = target.limit[subject.name]
    wait = min(MOST_WAIT_S, math.ceil(refill_s(limit)) + EXTRA_S)
    return Cost(reads=EPISODES * (cap(limit) + 1), waits_s=ENOUGH * wait,
                budget_s=EPISODES * (MOST_WAIT_S + 2 * EXTRA_S))


@dataclass
class _Driver:
    """One limit under test, and what was sent so far."""

    api: Api
    limit: Limit
    by: str
    seen: list[Exchange] = field(default_factory=list)

    async def ask(self, label: str) -> Reply:
        reply = await self.api.call(self.limit.probe, by=self.by, label=label, patient=False)
        self.seen.append(reply.exchange)
        return reply


@scenario(per="limit", claims=_claims, needs=_needs, cost=_cost)
async def limits_exhaust(api: Api, target: Profile, subject: Subject) -> None:
    """Bursts until refused, stays silent for as long as it is told to, asks once; and the same again.

    Three bursts are enough where each silence was; one that was not asks for another that decides.
    """
    limit = target.limit[subject.name]
    driver = _Driver(api, limit, str(sacrificial(target, "limits")))
    _reachable(api.session.permits.free / api.session.permits.hold_s, limit)
    held = failed = 0
    stop: Reply | None = None
    for episode in range(EPISODES):
        stop = stop or await _burst(driver, episode)
        if stop is None or failed >= ENOUGH or (held >= ENOUGH and not failed):
            break
        if not await _silence(driver, stop.exchange):
            break
        probe = await driver.ask(f"retry:{episode}")
        stop = probe if refuses(probe) else None
        held, failed = held + (stop is None), failed + (stop is not None)


def _reachable(rate: float, limit: Limit) -> None:
    """A bucket that fills faster than the run may ask is never empty."""
    if rate <= limit.per_s or limit.capacity / (1 - limit.per_s / rate) > cap(limit):
        raise Skip("budget", f"at {rate:g} requests per second a limit of {limit.capacity}, refilled at "
                             f"{limit.per_s:g} per second, is not exhausted within {cap(limit)} requests")


async def _burst(driver: _Driver, episode: int) -> Reply | None:
    """Asks until it is refused, and returns that reply; None when the cap was reached first."""
    replies = await driver.api.burst(driver.limit.probe, cap(driver.limit), by=driver.by, label=f"burst:{episode}",
                                     until=refuses)
    driver.seen += [reply.exchange for reply in replies]
    return replies[-1] if refuses(replies[-1]) else None


def refuses(reply: Reply) -> bool:
    """Whether a reply ends a burst: it is no success, or it is one that the profile calls throttled."""
    return not reply.ok or reply.outcome("throttled")


async def _silence(driver: _Driver, refusal: Exchange) -> bool:
    """Stays silent as asked for, else for as long as the documented policy needs; False when that is too long."""
    asked = again_at(refusal, driver.seen)
    until = refusal.done + (wait_of(refusal) or refill_s(driver.limit)) if asked is None else asked
    if until - refusal.done > MOST_WAIT_S:
        driver.api.note("too_long", exchange=refusal.n, seconds=round(until - refusal.done, 3), asked=asked is not None)
        return False
    await driver.api.until(until + EXTRA_S, "the limit asked for silence")
    return True
