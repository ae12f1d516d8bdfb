"""Legal behaviours under load."""

import asyncio
import time
from dataclasses import replace
from typing import Any

from openbell.reference_server import limits
from openbell.reference_server.behaviour import AsgiApp, Behaviour
from openbell.reference_server.bell import Bell, hearing
from openbell.reference_server.benign import benign
from openbell.reference_server.limits import Bucket, Draw
from openbell.reference_server.settings import Quota

BURST, BURST_REFILL = 40, 25.0
COLD_S, COLD_DELAY_S = 1.0, 0.3


@benign("burst-429", checks=("RL-001",))
def burst_429(behaviour: Behaviour) -> Behaviour:
    """While the bell rings, writes have a burst of 60 and 40 more a second: the rest gets 429 and Retry-After."""
    bell = Bell()

    def draw(bucket: Bucket, quota: Quota, now: float) -> Draw:
        tight = replace(quota, capacity=min(quota.capacity, BURST), refill=min(quota.refill, BURST_REFILL))
        return limits.draw(bucket, tight if quota.name == "writes" and bell.rings() else quota, now)

    return hearing(replace(behaviour, draw=draw), bell)


@benign("slow-first-second", checks=())
def slow_first_second(behaviour: Behaviour) -> Behaviour:
    """The caches are cold: for a second from its first request the server takes 0.3 s longer."""
    first: list[float] = []

    def wrap(app: AsgiApp) -> AsgiApp:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            first[:] = first or [time.monotonic()]
            if scope["type"] == "http" and time.monotonic() < first[0] + COLD_S:
                await asyncio.sleep(COLD_DELAY_S)
            await app(scope, receive, send)

        return wrapped

    return replace(behaviour, wrappers=(*behaviour.wrappers, wrap))
