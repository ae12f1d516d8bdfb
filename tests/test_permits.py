"""The rate holds on the target's own log, whatever the latency."""

import asyncio
import time

from openbell.permits import Permits


async def test_no_second_holds_more_than_the_rate():
    """The worst log stamps an early request at its reply and a late one at its sending."""
    permits, spans = Permits(5), []

    async def request(latency: float) -> None:
        await permits.take()
        sent = time.monotonic()
        await asyncio.sleep(latency)
        spans.append((sent, time.monotonic()))
        permits.give_back()
    await asyncio.gather(*(request(0.003 * (i % 4)) for i in range(12)))
    spans.sort()
    assert len(spans) == 12
    assert all(late[0] - early[1] > 1 for early, late in zip(spans, spans[5:], strict=False))


async def test_a_fraction_is_a_rate_too():
    permits = Permits(0.5)
    assert permits.free == 1
    assert permits.hold_s > 2
