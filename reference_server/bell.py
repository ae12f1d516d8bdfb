"""How the server knows an opening: orders of three accounts are accepted at once, several a second of each.

That is nothing that a check causes by itself, whatever it sends that is refused; so variants that wait for the bell
show under load alone.
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
    """Whose orders were accepted within the last second."""

    seen: deque[tuple[float, str]] = field(default_factory=deque)
    rung: float | None = None

    def hear(self, scope: Scope, status: int) -> None:
        """Takes a request and the status of its reply."""
        parts = scope["path"].split("/")
        if status == 201 and scope["method"] == "POST" and parts[-1] == "orders":
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
    """The behaviour with a bell that hears every reply, and something that each request waits for."""

    def wrap(app: AsgiApp) -> AsgiApp:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            async def heard(message: Any) -> None:
                if message["type"] == "http.response.start":
                    bell.hear(scope, message["status"])
                await send(message)

            if before and scope["type"] == "http":
                await before(scope)
            await app(scope, receive, heard)

        return wrapped

    return replace(behaviour, wrappers=(*behaviour.wrappers, wrap))
