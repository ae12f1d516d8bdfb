"""One token through its life: used on a kept-alive connection and on fresh ones, before its end and after it.

A server may look at a token once per connection, or keep what it learned of it in a cache: so both kinds of
connection are asked at about the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openbell.api import Api, Reply
from openbell.building import Alter
from openbell.profile import Profile, Step
from openbell.registry import Claim, Cost, own, scenario, share
from openbell.session import Skip, Token, principal, sacrificial
from openbell.target import Subject

MOST_S = 120.0
SETTLE_S = 0.25
EVERY_S = 0.5
FIRST_POLLS = 4
WARM_S = 2.0
WARM = 3
POLLS = 30


def expiring(target: Profile) -> str | None:
    """The principal whose token is watched: one set aside for it, else the full one; None without an OAuth step."""
    by = sacrificial(target, "expiry") or principal(target)
    return by if by is not None and oauth_step(target, by) else None


def oauth_step(target: Profile, by: str) -> Step | None:
    """The principal's first step that fetches a token."""
    return next((s for s in target.credential[by].stack if s.kind == "oauth2"), None)


def margin(lifetime_s: float) -> float:
    """The last seconds of a token's life, in which a refusal is not early."""
    return min(5.0, max(1.0, lifetime_s / 4))


def watched(target: Profile, subject: Subject) -> bool:
    """Whether it is the principal whose token is watched."""
    return subject.name == expiring(target)


def _needs(target: Profile, _subject: Subject) -> str | None:
    control = target.operation[str(target.target.control)]
    return f"{target.target.control} is public: it says nothing about tokens" if control.public else None


def _claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    resource = f"principal:{subject.name}"
    return (own(resource) if target.credential[subject.name].sacrificial else share(resource),)


def _cost(target: Profile, subject: Subject) -> Cost:
    step = oauth_step(target, subject.name)
    if step is None:
        return Cost()
    whole = step.lifetime_s + step.leeway_s + 2
    return Cost(reads=9 + WARM + 2 * POLLS, waits_s=whole if step.lifetime_s <= MOST_S else 0.0,
                budget_s=MOST_S + step.leeway_s + 2)


@dataclass(frozen=True)
class _Life:
    """A token under watch; its end is counted from the latest instant at which it can have been issued."""

    api: Api
    token: Token
    by: str
    operation: str
    leeway_s: float

    @property
    def end(self) -> float:
        return self.token.done + self.token.lifetime_s

    async def kept(self, when: str) -> Reply:
        return await self.api.call(self.operation, by=self.by, label=f"kept:{when}", lane="kept", token=self.token,
                                   patient=False)

    async def fresh(self, when: str) -> Reply:
        return await self.api.call(self.operation, by=self.by, label=f"fresh:{when}", fresh=True, token=self.token,
                                   patient=False)


@scenario(per="principal", where=watched, claims=_claims, needs=_needs, cost=_cost)
async def token_expiry(api: Api, target: Profile, subject: Subject) -> None:
    """Uses one token until it ends, and on, until both kinds of connection refuse it or its leeway is over."""
    step = oauth_step(target, subject.name)
    if step is None:
        raise Skip("precondition", f"{subject.name} has no oauth2 step")
    token = await api.mint(subject.name)
    _affordable(token, step)
    api.note("lifetime", sent=token.sent, done=token.done, lifetime_s=token.lifetime_s, leeway_s=step.leeway_s,
             exchange=token.exchange)
    life = _Life(api, token, subject.name, str(target.target.control), step.leeway_s)
    await _before(life)
    await _after(life)
    await api.call(life.operation, by=life.by, label="control:new", token=await api.mint(life.by), patient=False)
    await api.call(life.operation, by=life.by, label="anonymous", alter=Alter(anonymous=True), patient=False)


def _affordable(token: Token, step: Step) -> None:
    """Waiting has an end: a longer lifetime decides nothing."""
    if token.lifetime_s > MOST_S or step.leeway_s > MOST_S:
        raise Skip("budget", f"a token lives {token.lifetime_s:g} s and {step.leeway_s:g} s of leeway; a sandbox "
                             f"lifetime (and leeway) of at most {MOST_S:g} s would decide it")


async def _before(life: _Life) -> None:
    """At the start, at half of its life, just before the last seconds, and then so that the connection stays."""
    token, api = life.token, life.api
    await life.kept("start")
    await life.fresh("start")
    await api.until(token.sent + token.lifetime_s / 2, "half of the token's life")
    await life.kept("half")
    last = token.sent + token.lifetime_s - margin(token.lifetime_s)
    await api.until(last - min(0.5, token.lifetime_s / 10), "just before the token's last seconds")
    await life.kept("before")
    await life.fresh("before")
    for number in range(1, WARM):
        if last + number * WARM_S < life.end:
            await api.until(last + number * WARM_S, "a connection that idles would be closed")
            await life.kept(f"warm:{number}")


def polls(end: float, leeway_s: float) -> Iterator[float]:
    """When to ask after the end: often at first, then in steps of a twentieth of the leeway, last when it is over."""
    at, last = end + SETTLE_S, end + leeway_s + 1 + SETTLE_S
    for number in range(POLLS - 1):
        if at >= last:
            break
        yield at
        at += EVERY_S if number + 1 < FIRST_POLLS else max(EVERY_S, leeway_s / 20)
    yield last


async def _after(life: _Life) -> None:
    """Asks on both kinds of connection until both refuse, or the kept-alive one is accepted twice in spite of that."""
    outlived = 0
    for number, at in enumerate(polls(life.end, life.leeway_s)):
        await life.api.until(at, "the token's end")
        fresh, kept = await life.fresh(f"after:{number}"), await life.kept(f"after:{number}")
        outlived += refused(fresh) and kept.ok
        if refused(fresh) and (refused(kept) or outlived > 1):
            return


def refused(reply: Reply) -> bool:
    """Whether a token was refused as one that has expired."""
    return reply.outcome("expired") or reply.status == 401
