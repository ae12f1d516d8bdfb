"""How the server knows an opening: orders come in from three accounts at once, several a second from each.

That is nothing that a check sends by itself; so variants that wait for the bell show under load alone.
"""

import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from openbell.reference_server.behaviour import AsgiApp, Behaviour
from openbell.reference_server.values import Scope

WINDOW_S, ACCOUNTS, EACH = 1.0, 3, 5


@dataclass
class Bell:
    """Who entered orders within the last second."""

    seen: deque[tuple[float, str]] = field(default_factory=deque)
    rung: float | None = None

    def hear(self, scope: Scope) -> None:
        """Takes a request."""
        parts = scope["path"].split("/")
        if scope["method"] == "POST" and parts[-1] == "orders":
            self.seen.append((time.monotonic(), parts[-2]))
            if self.rings() and self.rung is None:
                self.rung = time.monotonic()

    def rings(self) -> bool:
        """Whether it is an opening."""
        now = time.monotonic()
        while self.seen and self.seen[0][0] < now - WINDOW_S:
            self.seen.popleft()
        most = Counter(account for _, account in self.seen).most_common(ACCOUNTS)
        return len(most) == ACCOUNTS and most[-1][1] >= EACH


def hearing(behaviour: Behaviour, bell: Bell, before: Callable[[Scope], Awaitable[None]] | None = None) -> Behaviour:
    """The behaviour with a bell that hears every request, and something that each request waits for."""

    def wrap(app: AsgiApp) -> AsgiApp:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                bell.hear(scope)
                if before:
                    await before(scope)
            await app(scope, receive, send)

        return wrapped

    return replace(behaviour, wrappers=(*behaviour.wrappers, wrap))
