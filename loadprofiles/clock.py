"""Waking at an instant, to the microsecond, without spinning.

gevent's own timers go through epoll and are rounded to a millisecond. A timerfd with an absolute instant of the
monotonic clock is one more file descriptor in the same epoll, and is not. Spinning with `gevent.sleep(0)` would be
exact too and spoil the measurement: replies are then read late.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import time

import gevent
from gevent import get_hub

MONOTONIC, ABSOLUTE = 1, 1


class SleepClock:
    """gevent's own timers: where there is no timerfd."""

    def until(self, instant: float) -> None:
        """Waits until that monotonic second."""
        if (left := instant - time.monotonic()) > 0:
            gevent.sleep(left)

    def close(self) -> None:
        """Nothing to close."""


class TimerfdClock:
    """One timerfd in the hub's loop. Raises OSError where the system has none."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._buffer = ctypes.create_string_buffer(32)
        self._watcher = get_hub().loop.io(self._fd, 1)

    def until(self, instant: float) -> None:
        """Waits until that monotonic second."""
        if instant <= time.monotonic():
            return
        seconds = int(instant)
        struct.pack_into("qqqq", self._buffer, 0, 0, 0, seconds, int((instant - seconds) * 1e9) + 1)
        # Setting it again forgets an expiry that was not read.
        self._libc.timerfd_settime(self._fd, ABSOLUTE, self._buffer, None)
        get_hub().wait(self._watcher)

    def close(self) -> None:
        """Closes the descriptor."""
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


Clock = SleepClock | TimerfdClock


def best_clock() -> Clock:
    """The finest clock that the system has."""
    if sys.platform == "linux":
        try:
            return TimerfdClock()
        except (OSError, AttributeError):
            pass
    return SleepClock()
