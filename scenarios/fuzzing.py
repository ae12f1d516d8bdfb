"""Schemathesis, from the target's own OpenAPI document."""

from __future__ import annotations

from openbell.api import Api
from openbell.fuzz import fuzz
from openbell.profile import Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.session import Skip
from openbell.target import Subject

DOCUMENT = 2


def described(target: Profile, _subject: Subject) -> bool:
    """Whether the profile says how the target is fuzzed."""
    return target.fuzz is not None


def claims(target: Profile, _subject: Subject) -> tuple[Claim, ...]:
    """The principal that fuzzing uses."""
    return (share(f"principal:{target.fuzz.principal}"),) if target.fuzz else ()


def cost(target: Profile, _subject: Subject) -> Cost:
    """Every request may be a read or a write, and every write may have to be undone."""
    budget = target.fuzz.budget if target.fuzz else 0
    return Cost(reads=budget + DOCUMENT, writes=2 * budget)


@scenario(per="api", where=described, claims=claims, cost=cost)
async def schema_fuzzing(api: Api, target: Profile, _subject: Subject) -> None:
    """Requests that the OpenAPI document allows and forbids, in the order that a seed decides, up to a budget."""
    if target.fuzz is None:
        raise Skip("precondition", "the profile has no [fuzz]")
    api.origin = "fuzz"
    await fuzz(api, target, target.fuzz)
