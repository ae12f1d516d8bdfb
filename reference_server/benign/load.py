"""Legal behaviours under load."""

import asyncio
import time
from dataclasses import replace

from openbell.reference_server import limits
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.bell import Bell, hearing
from openbell.reference_server.benign import benign
from openbell.reference_server.limits import Bucket, Draw
from openbell.reference_server.settings import Quota
from openbell.reference_server.values import Scope

BURST, BURST_REFILL = 20, 10.0
COLD_S, COLD_DELAY_S = 1.0, 0.3


@benign("burst-429", checks=("RL-001",))
def burst_429(behaviour: Behaviour) -> Behaviour:
    """While the bell rings, writes have a burst of 20 and 10 more a second: the rest gets 429 and Retry-After."""
    bell = Bell()

    def draw(bucket: Bucket, quota: Quota, now: float) -> Draw:
        tight = replace(quota, capacity=min(quota.capacity, BURST), refill=min(quota.refill, BURST_REFILL))
        return limits.draw(bucket, tight if quota.name == "writes" and bell.rings() else quota, now)

    return hearing(replace(behaviour, draw=draw), bell)


@benign("slow-first-second", checks=())
def slow_first_second(behaviour: Behaviour) -> Behaviour:
    """The caches are cold: for a second from the first ring every answer takes 0.3 s longer."""
    bell = Bell()

    async def before(scope: Scope) -> None:
        del scope
        if bell.rung is not None and time.monotonic() < bell.rung + COLD_S:
            await asyncio.sleep(COLD_DELAY_S)

    return hearing(behaviour, bell, before)
