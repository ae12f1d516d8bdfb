"""The control undoes what it made, and says so where that had no effect that can be seen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from made import exchange, profile

from openbell.api import Made, Reply
from openbell.scenarios.control import control
from openbell.target import Subject

TARGET = profile()
OPEN, CANCELLED = {"id": "ord_1", "status": "open"}, {"id": "ord_1", "status": "cancelled"}
ANSWERS: dict[str, tuple[int, Any]] = {"control": (200, [1]), "control:unknown": (404, {}),
                                       "control:create": (201, OPEN), "control:read-back": (200, OPEN)}


class Hands:
    """What the control uses of the Api: each call is answered by its label."""

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self.answers = ANSWERS | answers
        self.sent: list[str] = []
        self.facts: dict[str, dict[str, Any]] = {}

    async def call(self, op: str, *, by: str, label: str, **_: Any) -> Reply:
        self.sent.append(label)
        status, body = self.answers[label]
        return Reply(replace(exchange(label, status, body, operation=op), n=len(self.sent), principal=by), TARGET)

    async def undo(self, made: Made, label: str = "undo") -> Reply:
        return await self.call("cancel_order", by=made.by, label=label)

    def newest(self) -> Made:
        return Made(1, "submit_order", "full", "ord_1", {})

    def note(self, name: str, **data: Any) -> None:
        self.facts[name] = data


@pytest.mark.parametrize(("undone", "after", "unseen"), [
    ((200, CANCELLED), (200, OPEN), True),
    ((204, None), (200, OPEN), True),
    ((200, CANCELLED), (200, CANCELLED), False),
    ((204, None), (404, {}), False),
    ((204, None), (500, {}), False),
    ((409, {}), (200, OPEN), False),
])
def test_an_undo_without_effect_is_a_fact(undone: Any, after: Any, unseen: bool) -> None:
    hands: Any = Hands({"undo": undone, "control:undone": after})
    asyncio.run(control.run(hands, TARGET, Subject("api", "")))
    assert hands.facts["control"] == {"ok": True, "why": None}
    assert ("undo_unseen" in hands.facts) == unseen
    assert not unseen or hands.facts["undo_unseen"] == {"operation": "cancel_order", "id": "ord_1", "exchange": 5}
    assert len([s for s in hands.sent if s != "undo"]) <= control.cost(TARGET, Subject("api", "")).reads
