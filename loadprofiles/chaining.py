"""What the load made, so that cancels find orders of their own, and what was made can be told and undone."""

from __future__ import annotations

from collections import deque
from typing import Any

from openbell.profile import Operation, Profile
from openbell.target import made_id

MOST_OPEN = 20_000
ENDS = frozenset({"cancel"})


class Made:
    """The open things of one worker, by principal, the oldest first."""

    def __init__(self, target: Profile) -> None:
        self.creates = {name: op for name, op in target.operation.items() if op.role == "create"}
        self.endings = {op.undo for op in self.creates.values()}
        self._open: dict[str, deque[str]] = {}
        self._made: list[list[Any]] = []
        self._undone: list[str] = []

    def take(self, principal: str) -> str | None:
        """The principal's oldest open thing, for the one who ends it; None where there is none."""
        waiting = self._open.get(principal)
        return waiting.popleft() if waiting else None

    def look(self, principal: str) -> str | None:
        """The principal's newest open thing, which stays."""
        waiting = self._open.get(principal)
        return waiting[-1] if waiting else None

    def put_back(self, principal: str, item: str) -> None:
        """It was not ended after all."""
        self._open.setdefault(principal, deque()).append(item)

    def created(self, operation: str, op: Operation, principal: str, unique: str, content: bytes) -> None:
        """Takes the id from the reply to a create."""
        found = made_id(op, content)
        if found and len(found) <= 512:
            self._open.setdefault(principal, deque(maxlen=MOST_OPEN)).append(found)
            self._made.append([operation, principal, found, unique])

    def ended(self, item: str) -> None:
        """It is gone."""
        self._undone.append(item)

    def news(self) -> dict[str, Any]:
        """What was made and what was ended since the last call."""
        out = {"made": self._made, "undone": self._undone}
        self._made, self._undone = [], []
        return out
