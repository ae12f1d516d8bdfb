"""Runs the plan: controls first, then everything that may overlap at once, so that a run costs its longest wait.

Two instances overlap unless one owns what the other claims. The longest goes first. Every decision is a fact.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from openbell.api import Api
from openbell.building import MissingValue
from openbell.events import Event, Exchange, Fact
from openbell.plan import Instance, Plan
from openbell.registry import Claim, Reason
from openbell.session import Session, Skip

State = Literal["waiting", "running", "done", "skipped", "failed"]


@dataclass
class Progress:
    """Where a run stands; a view may look at it at any time."""

    states: dict[str, State] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    critical_path: float = 0.0
    requests: int = 0
    on_change: Callable[[str, State], None] = lambda name, state: None

    def set(self, name: str, state: State) -> None:
        """Notes a change."""
        self.states[name] = state
        if state == "running":
            self.started[name] = time.monotonic()
        elif name in self.started:
            self.seconds[name] = time.monotonic() - self.started[name]
        self.on_change(name, state)

    def count(self, event: Event) -> None:
        """Counts the requests among the journal's events."""
        self.requests += isinstance(event, Exchange)


def conflict(a: tuple[Claim, ...], b: tuple[Claim, ...]) -> bool:
    """Whether two sets of claims keep their holders from overlapping; everybody shares the api."""
    a, b = (*a, Claim("api")), (*b, Claim("api"))
    return any(x.resource == y.resource and (x.own or y.own) for x in a for y in b)


async def execute(plan: Plan, session: Session, progress: Progress, max_time: float | None = None) -> None:
    """Runs every instance of the plan; whatever does not finish is a fact with its reason."""
    for back in plan.kept_back:
        _skipped(session, back.name, back.reason, back.why)
    for instance in plan.run:
        progress.set(instance.name, "waiting")
    todo = list(plan.run)
    try:
        async with asyncio.timeout(max_time):
            failed = await _controls([i for i in todo if i.scenario.control], session, progress)
            if not failed:
                await _overlapping([i for i in todo if not i.scenario.control], session, progress)
    except TimeoutError:
        failed = None
    reason: tuple[Reason, str] = ("control_failed", "the control failed") if failed else (
        "budget", f"--max-time {max_time:g} s was over") if max_time else ("budget", "the run ended")
    unfinished(session, progress, *reason)


def unfinished(session: Session, progress: Progress, reason: Reason, why: str) -> None:
    """Notes every instance that has not finished as skipped."""
    for name, state in progress.states.items():
        if state in {"waiting", "running"}:
            _skipped(session, name, reason, why)
            progress.set(name, "skipped")


def _skipped(session: Session, name: str, reason: Reason, why: str) -> None:
    session.note("(scheduler)", "skipped", {"scenario": name, "reason": reason, "why": why})


async def _controls(controls: list[Instance], session: Session, progress: Progress) -> bool:
    """Runs the controls one after another; whether one of them failed."""
    verdicts: list[bool] = []
    whys: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Fact) and event.name == "control":
            verdicts.append(bool(event.data["ok"]))
        elif isinstance(event, Fact) and event.name == "skipped":
            whys.append(str(event.data["why"]))
    session.journal.listen(listen)
    for instance in controls:
        await _run(instance, session, progress)
    if controls and (len(verdicts) < len(controls)):
        session.note("(scheduler)", "control", {"ok": False, "why": ": ".join(["it could not be run", *whys[:1]])})
        return True
    return not all(verdicts)


async def _overlapping(todo: list[Instance], session: Session, progress: Progress) -> None:
    running: dict[asyncio.Task[None], Instance] = {}
    try:
        while todo or running:
            for instance in tuple(todo):
                if not any(conflict(instance.claims, other.claims) for other in running.values()):
                    todo.remove(instance)
                    running[asyncio.create_task(_run(instance, session, progress))] = instance
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
                del running[task]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _run(instance: Instance, session: Session, progress: Progress) -> None:
    """One instance: its events, its own undoing, and the fact of how it ended."""
    api = Api(session, instance.name, instance.cost, "control" if instance.scenario.control else "scenario")
    progress.set(instance.name, "running")
    try:
        try:
            await instance.scenario.run(api, session.target, instance.subject)
        finally:
            if not _cancelled():
                await api.undo_all()
    except (Skip, MissingValue) as skip:
        reason: Reason = skip.reason if isinstance(skip, Skip) else "precondition"
        _skipped(session, instance.name, reason, str(skip))
        progress.set(instance.name, "skipped")
    except Exception as error:  # noqa: BLE001 - whatever a scenario raises is the verdict `error`, never a crash
        session.note(instance.name, "scenario_error", {"error": f"{type(error).__name__}: {str(error)[:300]}"})
        progress.set(instance.name, "failed")
    else:
        api.note("scenario_end", waited=round(api.spent.waited, 3), requests=api.spent.reads + api.spent.writes)
        progress.set(instance.name, "done")
    finally:
        with contextlib.suppress(OSError):
            await session.close_lines(instance.name)


def _cancelled() -> bool:
    task = asyncio.current_task()
    return bool(task and task.cancelling())
