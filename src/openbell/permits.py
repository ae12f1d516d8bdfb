"""The run-wide rate: no second of the target's own log holds more requests than the profile allows.

The target may log a request at any instant between its sending and its reply. So a request holds its permit until one
second after its reply: then two requests that are `rate` permits apart are more than a second apart on every log.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque

MARGIN_S = 0.02


class Permits:
    """A fair queue of permits; `rate` is requests per second and may be a fraction."""

    def __init__(self, rate: float) -> None:
        self.free = max(1, math.floor(rate))
        self.hold_s = max(1.0, 1.0 / rate) + MARGIN_S
        self._returned: deque[float] = deque()
        self._taken = 0
        self._turn = asyncio.Lock()
        self._back = asyncio.Event()

    async def take(self) -> None:
        """Waits for a permit; first come, first served."""
        async with self._turn:
            while self._taken >= self.free and not self._expire():
                await self._next()
            self._taken += 1

    def _expire(self) -> bool:
        """Frees the permits whose second is over; whether there was one."""
        now, before = time.monotonic(), self._taken
        while self._returned and self._returned[0] + self.hold_s <= now:
            self._returned.popleft()
            self._taken -= 1
        return self._taken < before

    async def _next(self) -> None:
        """Waits until the oldest returned permit is free, or until one is returned."""
        if self._returned:
            await asyncio.sleep(max(0.0, self._returned[0] + self.hold_s - time.monotonic()))
            return
        self._back.clear()
        await self._back.wait()

    def give_back(self) -> None:
        """A reply came, or will not come: the permit's second begins."""
        self._returned.append(time.monotonic())
        self._back.set()

    def move(self) -> None:
        """Makes the permits ready for another event loop, once nothing waits for them on the old one."""
        self._turn, self._back = asyncio.Lock(), asyncio.Event()
        self._taken = len(self._returned)
