"""Conformance under load: what is judged while the load goes on, and what broke only then.

Before the load the same checks run in quiet, in a run of their own; during it their scenarios run from the bell on,
beside the sampled traffic. A rule that is broken under load and was not in quiet broke only under load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from openbell.judge import evidence
from openbell.plan import Plan
from openbell.profile import Profile
from openbell.registry import Check, all_checks, all_scenarios
from openbell.results import Results
from openbell.run import Options, Run, plan_for, run
from openbell.scheduler import Progress, execute
from openbell.session import Session

BESIDE_RATE = 60.0
SCENARIO_CHECKS = frozenset({"PAG-002", "PAG-003", "RL-001", "RL-002", "RL-004", "WSR-001", "WSR-002", "WSR-003"})


def chosen(*, scenarios: bool) -> tuple[Check, ...]:
    """The checks of a load run: those of any traffic, and where scenarios run beside it those that they show."""
    return tuple(c for c in all_checks() if c.traffic or (scenarios and c.id in SCENARIO_CHECKS))


def options(seed: int, *, scenarios: bool) -> Options:
    """The same as a run's options. What goes on beside the load must be little against it."""
    checks = chosen(scenarios=scenarios)
    needed = {s.name for s in evidence(checks)} if scenarios else set()
    return Options(only=tuple(c.id for c in checks), seed=seed, max_rate=BESIDE_RATE,
                   scenarios=tuple(s for s in all_scenarios() if s.control or s.name in needed))


async def in_quiet(target: Profile, source: str, known: Mapping[str, str], asked: Options, folder: Path) -> Run:
    """Runs the checks before the load, into `folder`, which is there. Raises OSError."""
    return await run(target, source, known, replace(asked, folder=folder))


def parts(target: Profile, asked: Options) -> tuple[Plan, Plan]:
    """The controls, which go before the load, and what goes on during it."""
    whole = plan_for(target, asked)
    controls = tuple(i for i in whole.run if i.scenario.control)
    others = tuple(i for i in whole.run if not i.scenario.control)
    return Plan(controls, (), whole.rate), Plan(others, whole.kept_back, whole.rate)


async def beside(plan: Plan, session: Session, bell: float, end: float) -> None:
    """Runs the scenarios from the bell to the load's end (monotonic seconds); what is unfinished then is a fact."""
    await asyncio.sleep(max(0.0, bell - time.monotonic()))
    await execute(plan, session, Progress(), max(1.0, end - time.monotonic()))


def broken(results: Results) -> dict[tuple[str, str, str], tuple[int, ...]]:
    """What is broken, by check, subject and rule, with the first events that show it."""
    found: dict[tuple[str, str, str], tuple[int, ...]] = {}
    for result in results.results:
        for finding in result.findings:
            found.setdefault((result.check, result.subject, finding.rule), finding.events)
    return found


def only_under_load(quiet: Results | None, loaded: Results) -> list[dict[str, Any]]:
    """What broke under load and not in quiet; nothing can be said without the quiet run."""
    return list(_only(broken(quiet), loaded)) if quiet else []


def _only(before: Mapping[tuple[str, str, str], object], loaded: Results) -> Iterator[dict[str, Any]]:
    verdicts = {(r.check, r.subject): r for r in loaded.results}
    for (check, subject, rule), events in broken(loaded).items():
        if (check, subject, rule) not in before:
            result = verdicts[check, subject]
            yield {"check": check, "title": result.title, "subject": subject, "rule": rule, "events": list(events),
                   "verdict": result.verdict}
