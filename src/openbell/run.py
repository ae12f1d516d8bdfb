"""The story of a run, told once: plan, execute, judge, write."""

from __future__ import annotations

import asyncio
import os
import secrets as random_secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from openbell import __version__
from openbell.events import Fact
from openbell.journal import Header, Journal, read
from openbell.judge import judge
from openbell.loading import dumped
from openbell.plan import Plan, make_plan
from openbell.profile import Allow, Profile
from openbell.redact import Redactor
from openbell.registry import Check, Scenario, all_checks, all_scenarios
from openbell.results import Results, stale, to_bytes
from openbell.scheduler import Progress, execute, unfinished
from openbell.session import Session

READY_EVERY_S = 0.25


@dataclass(frozen=True)
class Options:
    """What the command line narrows: ids, areas, rate, time, and where results go."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    allow: frozenset[Allow] | None = None
    max_rate: float | None = None
    max_time: float | None = None
    wait_ready: float = 0.0
    seed: int = 0
    accepted: tuple[Mapping[str, Any], ...] = ()
    out: Path = Path("openbell-results")
    folder: Path | None = None
    scenarios: tuple[Scenario, ...] | None = None


@dataclass(frozen=True)
class Run:
    """A finished run: where its files are, its results, and how long it took beside its critical path (seconds).

    `unseen` are operations that answered well and undid nothing that can be read.
    """

    folder: Path
    results: Results
    seconds: float
    critical_path: float
    interrupted: bool = False
    short_secrets: tuple[str, ...] = field(default=())
    unseen: tuple[str, ...] = ()


class OutError(Exception):
    """Results cannot be written where they should go."""

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(f"{folder} cannot be written to: {error.strerror}; --out names another folder")


class UnknownCheck(Exception):
    """A selection names checks that nobody knows."""


def select(options: Options, checks: Iterable[Check] | None = None) -> tuple[Check, ...]:
    """The checks of a selection: ids with `*` at their end match all that begin so. Raises UnknownCheck."""
    known = tuple(all_checks() if checks is None else checks)
    unmatched = [w for w in (*options.only, *options.skip) if not any(_matches(c, w) for c in known)]
    unmatched += [a for a in options.areas if not any(a == c.area for c in known)]
    if unmatched:
        raise UnknownCheck(f"no check matches: {', '.join(unmatched)}; `openbell checks` lists them")
    return tuple(c for c in known
                 if (not options.only or any(_matches(c, w) for w in options.only))
                 and not any(_matches(c, w) for w in options.skip)
                 and (not options.areas or c.area in options.areas))


def _matches(check: Check, wanted: str) -> bool:
    wanted = wanted.upper()
    return check.id.startswith(wanted[:-1]) if wanted.endswith("*") else check.id == wanted


def permitted(target: Profile, options: Options) -> Profile:
    """The profile with no more permissions than the command line leaves: scenarios decide by it what they may do."""
    if options.allow is None:
        return target
    allow = tuple(a for a in target.target.allow if a in options.allow)
    return target.model_copy(update={"target": target.target.model_copy(update={"allow": allow})})


def plan_for(target: Profile, options: Options) -> Plan:
    """The plan of a run; the command line can only narrow what the profile allows."""
    target = permitted(target, options)
    allow = frozenset(target.target.allow)
    rate = min(target.target.max_rate, options.max_rate or target.target.max_rate)
    return make_plan(target, select(options), options.scenarios or all_scenarios(), allow, rate)


def new_run(out: Path) -> tuple[str, Path]:
    """A run's name and its new folder under `out`. Raises OutError."""
    name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-") + random_secrets.token_hex(3)
    folder = out / name
    made(out)
    made(folder)
    return name, folder


def made(folder: Path) -> None:
    """Makes a folder to write into. Raises OutError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutError(folder, error) from error


async def run(target: Profile, source: str, secrets: Mapping[str, str], options: Options,
              progress: Progress | None = None, on_session: Callable[[Session], None] = lambda session: None) -> Run:
    """Runs the plan against the target, judges the journal, writes `events.jsonl` and `results.json`.

    Raises OutError when there is no folder for its files, OSError when they cannot be written. A cancelled run is
    closed and judged like any other.
    """
    target = permitted(target, options)
    plan = plan_for(target, options)
    progress = progress or Progress()
    folder = options.folder or new_run(options.out)[1]
    redactor = Redactor()
    journal = Journal(folder / "events.jsonl", _header(target, source, folder, options), redactor.gate)
    session = Session(target, secrets, journal, redactor, plan.rate, options.seed)
    on_session(session)
    unseen = _unseen(journal)
    progress.critical_path = plan.critical_path()
    progress.begun = began = time.monotonic()
    interrupted = False
    try:
        await _ready(session, options.wait_ready)
        progress.begun = began = time.monotonic()
        await execute(plan, session, progress, options.max_time)
    except asyncio.CancelledError:
        interrupted = True
        unfinished(session, progress, "budget", "the run was interrupted")
    finally:
        await session.close_lines()
    seconds = time.monotonic() - began
    path = actual_path(plan, journal.path)
    session.note("(run)", "run_end", {"seconds": round(seconds, 3), "critical_path": round(path, 3)})
    journal.close()
    results = judged(folder / "events.jsonl")
    write_results(folder, results)
    return Run(folder, results, seconds, path, interrupted, redactor.short, tuple(sorted(unseen)))


def _unseen(journal: Journal) -> set[str]:
    """The operations whose undoing had no visible effect, as they are noted."""
    found: set[str] = set()

    def listen(event: object) -> None:
        if isinstance(event, Fact) and event.name == "undo_unseen":
            found.add(str(event.data["operation"]))
    journal.listen(listen)
    return found


def _header(target: Profile, source: str, folder: Path, options: Options) -> Header:
    return Header(
        suite=__version__, run=folder.name, started=datetime.now(UTC).isoformat(timespec="seconds"), seed=options.seed,
        target=source, profile=dumped(target),
        selection={"checks": [c.id for c in select(options)]}, accepted=options.accepted,
        beside=beside(target, source, folder))


def beside(target: Profile, source: str, folder: Path) -> str:
    """Where the profile's secret files are, from a run's folder: so it names no place on this machine alone."""
    files = any(step.secret.startswith("file:") for c in target.credential.values() for step in c.stack)
    return os.path.relpath(Path(source).resolve().parent, folder.resolve()) if files else ""


async def _ready(session: Session, patience_s: float) -> None:
    """Waits until the target accepts connections, up to `patience_s` seconds."""
    deadline = time.monotonic() + patience_s
    parts = session.target.target.base_url.partition("://")[2].partition("/")[0]
    host, _, port = parts.partition(":")
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection(host, int(port or 443))
        except OSError:
            await asyncio.sleep(min(READY_EVERY_S, max(0.0, deadline - time.monotonic())))
        else:
            writer.close()
            return


def actual_path(plan: Plan, journal: Path) -> float:
    """The critical path with the waits and requests that were really made, in seconds."""
    weights: dict[str, float] = {}
    for event in read(journal):
        if isinstance(event, Fact) and event.name == "scenario_end":
            weights[event.scenario] = event.data["waited"] + event.data["requests"] / plan.rate
    return plan.critical_path({i.name: weights.get(i.name, 0.0) for i in plan.run})


def judged(journal: Path, checks: Iterable[Check] | None = None) -> Results:
    """Judges a journal. Raises JournalError or OSError."""
    reading = read(journal)
    header = reading.header
    found = tuple(judge(header, reading, all_checks() if checks is None else checks))
    return Results(header.suite, header.pack, header.profile["target"]["name"], header.run, found,
                   stale(header, found), reading.torn)


def write_results(folder: Path, results: Results) -> None:
    """Writes `results.json` in one step: a reader never sees half of it."""
    part = folder / ".results.json.part"
    part.write_bytes(to_bytes(results))
    part.replace(folder / "results.json")
