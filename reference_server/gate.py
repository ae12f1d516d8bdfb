"""Who may pass: the token, then the quota, then the account, then the right to write; all before the body is looked at.

A request without a valid token costs nothing, and a refused one neither.
"""

import time
from dataclasses import dataclass, replace

from openbell.reference_server.calls import World
from openbell.reference_server.limits import Bucket, Draw
from openbell.reference_server.operations import Operation
from openbell.reference_server.settings import CLIENTS, Client, Quota
from openbell.reference_server.tokens import Grant
from openbell.reference_server.values import Fields, Problem, Refused, Scope, header, refuse

MISSING = Bucket(float("inf"), 0.0)


@dataclass(slots=True)
class Trail:
    """What becomes known of a request on its way, for its reply and for the log."""

    correlation: str
    client: str | None = None
    charged: Quota | None = None


def granted(world: World, scope: Scope) -> Grant:
    """The grant of the token that the request carries; raises Refused."""
    token = world.behaviour.read_credential(scope)
    grant: Grant | None = world.behaviour.find_grant(token, world.grants)
    if grant is None:
        raise refuse("invalid_token")
    if world.behaviour.expired(grant, time.monotonic(), scope):
        raise refuse("token_expired")
    return grant


def authenticate(world: World, scope: Scope) -> Client:
    """The client whose token the request carries; raises Refused."""
    return CLIENTS[granted(world, scope).client]


def charge(world: World, client: Client, quota: Quota, trail: Trail) -> None:
    """Takes the request from the client's quota, or refuses it with the time to wait."""
    place = (client.name, quota.name)
    drawn = world.behaviour.draw(world.buckets.get(place, MISSING), quota, time.monotonic())
    world.buckets[place] = drawn.bucket
    trail.charged = quota
    if not drawn.admitted:
        wait = world.behaviour.retry_after(drawn.bucket, quota)
        raise Refused(Problem("throttled", fields=() if wait is None else (("retry-after", wait),)))


def settle(world: World, trail: Trail, status: int) -> Fields:
    """Gives the token back where such a reply costs nothing; the limit fields of the reply."""
    if trail.client is None or trail.charged is None:
        return ()
    quota, place = trail.charged, (trail.client, trail.charged.name)
    bucket = world.buckets[place]
    if status != 429 and not world.behaviour.counts(status):
        bucket = world.buckets[place] = replace(bucket, tokens=min(float(quota.capacity), bucket.tokens + 1))
    fields = world.behaviour.limit_fields(Draw(bucket, admitted=status != 429), quota)
    return world.behaviour.limit_fields_shown(status, fields)


def admit(world: World, operation: Operation, scope: Scope, trail: Trail) -> Client:
    """The client, when it may do the operation on the path's account."""
    account = scope["path_params"].get("account")
    if operation.name in world.behaviour.unprotected and header(scope, b"authorization") is None:
        return next((client for client in CLIENTS.values() if client.account == account), CLIENTS["read_only"])
    client = authenticate(world, scope)
    trail.client = client.name
    charge(world, client, client.write_quota if operation.writes else client.read_quota, trail)
    if account not in {None, client.account}:
        raise refuse("not_found")
    if operation.writes and not client.writes:
        raise refuse("forbidden")
    return client


def challenged(world: World, problem: Problem) -> Problem:
    """The problem with the challenge that belongs to it (RFC 9110 section 11.6.1), if any."""
    challenge = world.behaviour.challenge(problem)
    return problem if challenge is None else replace(problem, fields=(*problem.fields, ("www-authenticate", challenge)))
