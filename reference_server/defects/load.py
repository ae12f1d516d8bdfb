"""Violations that show while the bell rings, under load alone: a check without load passes them, so they claim none."""

import asyncio
import time
from dataclasses import replace
from itertools import count

from openbell.reference_server import limits, problems
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.bell import Bell, hearing
from openbell.reference_server.correlation import HEADER
from openbell.reference_server.defects import defect
from openbell.reference_server.limits import Bucket, Draw
from openbell.reference_server.replies import on_reply, without
from openbell.reference_server.settings import Quota
from openbell.reference_server.values import Problem, Reply, Scope

STALL_S, SLOW_S, PENALTY_S = 2.0, 0.6, 30.0
EVERY_500, EVERY_LOST = 3, 4
TRAIL = "openbell.trail"


@defect("stall-at-bell", catches={})
def stall_at_bell(behaviour: Behaviour) -> Behaviour:
    """For two seconds from the first ring nobody gets an answer."""
    bell = Bell()

    async def before(scope: Scope) -> None:
        del scope
        if bell.rung is not None:
            await asyncio.sleep(max(0.0, bell.rung + STALL_S - time.monotonic()))

    return hearing(behaviour, bell, before)


@defect("slow-under-burst", catches={})
def slow_under_burst(behaviour: Behaviour) -> Behaviour:
    """While the bell rings every answer takes more than half a second."""
    bell = Bell()

    async def before(scope: Scope) -> None:
        del scope
        if bell.rings():
            await asyncio.sleep(SLOW_S)

    return hearing(behaviour, bell, before)


@defect("500s-at-bell", catches={})
def fails_at_bell(behaviour: Behaviour) -> Behaviour:
    """While the bell rings every third order entry is a 500, in the proper form of an error."""
    bell, turn = Bell(), count(1)

    def change(scope: Scope, reply: Reply) -> Reply:
        if scope["method"] != "POST" or reply.status != 201 or not bell.rings() or next(turn) % EVERY_500:
            return reply
        failed = problems.write_error(Problem("internal"), scope[TRAIL].correlation)
        kept = tuple(f for f in reply.fields if f[0] not in {"content-type", "content-length", "location"})
        return replace(failed, fields=(*failed.fields, *kept))

    return hearing(replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change))), bell)


@defect("correlation-id-dropped-under-load", catches={})
def correlation_dropped(behaviour: Behaviour) -> Behaviour:
    """While the bell rings every fourth reply has no correlation id."""
    bell, turn = Bell(), count(1)

    def change(scope: Scope, reply: Reply) -> Reply:
        del scope
        return without(reply, HEADER) if bell.rings() and not next(turn) % EVERY_LOST else reply

    return hearing(replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change))), bell)


@defect("limiter-lies-under-concurrency", catches={})
def limiter_lies(behaviour: Behaviour) -> Behaviour:
    """While the bell rings, who used the quota up is refused for half a minute, whatever Retry-After says."""
    bell = Bell()

    def draw(bucket: Bucket, quota: Quota, now: float) -> Draw:
        if bucket.refused and now < bucket.at + PENALTY_S and bell.rings():
            return Draw(replace(bucket, refused=bucket.refused + 1), admitted=False)
        return limits.draw(bucket if bucket.refused == 0 else replace(bucket, refused=0), quota, now)

    return hearing(replace(behaviour, draw=draw), bell)
