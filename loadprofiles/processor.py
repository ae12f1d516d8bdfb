"""How much of the processors this process has used, and how much of them others have: whether it can have been late.

On Linux the idle time of exactly those processors that the process may run on is read as well: where none was left,
the process had to share, and its own clock cannot be trusted to have been there in time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
IDLE, WAITING = 4, 5


class Processor:
    """Shares of one processor since the last look."""

    def __init__(self) -> None:
        self._before = self._look()

    def _look(self) -> tuple[float, float, float | None]:
        return time.monotonic(), time.process_time(), idle_s()

    def since(self) -> dict[str, float | None]:
        """`cpu`: what this process used, of one processor. `idle`: what nobody used, of all that it may run on, or
        None where the system does not tell."""
        (wall, own, idle), (wall0, own0, idle0) = now, before = self._look(), self._before
        self._before = now
        seconds = max(now[0] - before[0], 1e-9)
        told = idle is not None and idle0 is not None
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        left = (idle - idle0) / seconds / count if told and idle is not None and idle0 is not None else None
        return {"seconds": round(wall - wall0, 4), "cpu": round((own - own0) / seconds, 4),
                "idle": None if left is None else round(left, 4)}


def idle_s() -> float | None:
    """Idle seconds of the processors that this process may run on, since the system's start."""
    try:
        allowed = {f"cpu{n}" for n in os.sched_getaffinity(0)}
        lines = [line.split() for line in STAT.read_text("ascii").splitlines()]
    except (OSError, AttributeError, ValueError):
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    found = [(int(line[IDLE]) + int(line[WAITING])) / ticks for line in lines if line and line[0] in allowed]
    return sum(found) if found else None
