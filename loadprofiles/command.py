"""`openbell load`: ask, plan, offer, judge, report: the story of a load run told once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from openbell import __version__, cleaning
from openbell.journal import Header, Journal
from openbell.loading import Mistakes, dumped, load, secrets
from openbell.loadprofiles import conforming, screen
from openbell.loadprofiles.asked import Asked, Ready, bell_at, on_loopback, ready
from openbell.loadprofiles.driving import Drive, Heard, WorkerFailed
from openbell.loadprofiles.measured import Measured, history, named, to_json, write
from openbell.loadprofiles.shape import all_shapes
from openbell.loadprofiles.slo import EXIT, Ground, ruling
from openbell.profile import Profile
from openbell.redact import Redactor
from openbell.reports import write_all
from openbell.reports.load import write_load
from openbell.results import HARNESS_FAILED, INTERRUPTED, NOT_CONFORMING, NOT_DECIDED, OK, WRONG_USAGE, Results
from openbell.run import Options, OutError, beside, judged, new_run, write_results
from openbell.scheduler import Progress, execute
from openbell.session import Session, Skip

FEWEST_TO_ABORT = 100
MOST_LEFT = 10


@dataclass(frozen=True)
class Finished:
    """A load run with its files: what was measured, what the sampled traffic amounts to."""

    folder: Path
    data: Mapping[str, Any]
    results: Results
    interrupted: bool


def load_run(profile: str | None, path: Path | None, values: Mapping[str, Any]) -> int:
    """The command. Gives the exit code."""
    if values["list"]:
        screen.show_shapes(all_shapes().values())
        return OK
    if profile is None or path is None:
        click.echo("openbell load PROFILE TARGET: both are needed; --list shows the load profiles", err=True)
        return WRONG_USAGE
    try:
        target = load(path, values["base_url"])
        asked = Asked(shape=profile, **{k: values[k] for k in (
            "peak", "duration", "seed", "process", "workers", "users", "sample", "slo", "abort", "locustfile",
            "start_at")})
        found = ready(target, asked)
        if values["plan"]:
            screen.show_plan(target, found)
            return OK
        known = secrets(target, os.environ, path.parent)
    except Mistakes as error:
        click.echo(str(error), err=True)
        return WRONG_USAGE
    if not _agreed(target, found, values["yes"]):
        return WRONG_USAGE
    checks = conforming.options(asked.seed, scenarios=values["scenarios"])
    task = Task(target, str(path), known, found, asked, checks, values["scenarios"] and values["quiet"])
    return _told(task, values["out"])


def _told(task: Task, out: Path) -> int:
    """The run, or why nothing can be written of it."""
    try:
        return asyncio.run(_run(task, out))
    except OutError as error:
        click.echo(str(error), err=True)
        return WRONG_USAGE


def _agreed(target: Profile, found: Ready, yes: bool) -> bool:
    """Whether somebody said that this load may be offered; on this very machine, and in CI, nobody need."""
    if yes or os.environ.get("CI") or on_loopback(target):
        return True
    screen.show_plan(target, found)
    if sys.stdin.isatty():
        return click.confirm("Offer this load?", err=True)
    click.echo("a load on another machine needs --yes (or CI in the environment)", err=True)
    return False


@dataclass(frozen=True)
class Task:
    """One load run to be made: the target and its secrets, what is offered, which checks go on beside it."""

    target: Profile
    source: str
    known: Mapping[str, str]
    found: Ready
    asked: Asked
    checks: Options
    quiet: bool


async def _run(task: Task, out: Path) -> int:
    _, folder = new_run(out)
    quiet = None
    if task.quiet:
        screen.say("the same checks in quiet first")
        (folder / "quiet").mkdir()
        quiet = await conforming.in_quiet(task.target, task.source, task.known, task.checks, folder / "quiet")
        if quiet.interrupted:
            await cleaning.cleaned(folder / "quiet", task.target, task.known)
            return INTERRUPTED
    redactor = Redactor()
    journal = Journal(folder / "events.jsonl", _header(task, folder), redactor.gate)
    rate = conforming.parts(task.target, task.checks)[0].rate
    session = Session(task.target, task.known, journal, redactor, rate, task.asked.seed)
    try:
        heard = await _offered(session, task)
    except (WorkerFailed, Skip) as error:
        click.echo(f"the load could not be offered: {error}", err=True)
        return HARNESS_FAILED if isinstance(error, WorkerFailed) else NOT_DECIDED
    finally:
        await session.close_lines()
        journal.close()
    try:
        done = _closed(folder, task.found, heard, quiet.results if quiet else None)
    except OSError as error:
        click.echo(f"the results cannot be written: {error.strerror} ({folder})", err=True)
        return HARNESS_FAILED
    left = [thing for thing in await cleaning.cleaned(folder, task.target, task.known) if thing.left]
    for thing in left[:MOST_LEFT]:
        click.echo(f"left: {thing} ({thing.left})")
    screen.show_finished(done.folder, done.data, done.results, len(left))
    if heard.unwritten:
        click.echo(heard.unwritten, err=True)
        return HARNESS_FAILED
    return exit_code(done)


def _header(task: Task, folder: Path) -> Header:
    return Header(suite=__version__, run=folder.name, started=datetime.now(UTC).isoformat(timespec="seconds"),
                  seed=task.asked.seed, target=task.source, profile=dumped(task.target),
                  selection={"checks": list(task.checks.only)}, source="load",
                  beside=beside(task.target, task.source, folder))


async def _offered(session: Session, task: Task) -> Heard:
    """The controls, then the load, with the scenarios beside it. Raises WorkerFailed and Skip."""
    plan, begin = task.found.offer.plan, None
    controls, others = conforming.parts(task.target, task.checks)
    await execute(controls, session, Progress())
    if task.asked.start_at:
        begin = time.monotonic() + bell_at(task.asked.start_at) - time.time() - plan.bell
    drive = Drive(session, replace(task.found.offer, begin_at=begin), lambda heard: None)
    if others.run:
        drive.beside = lambda at: conforming.beside(others, session, at + plan.bell, at + plan.duration)
    with screen.live(task.found.offer) as shown:
        drive.on_tick = _watch(task.found, shown)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, drive.stop, "interrupted")
        try:
            return await drive.run()
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


def _watch(found: Ready, shown: Callable[[Heard], None]) -> Callable[[Heard], str | None]:
    """Shows each tick, and says why the run is to be ended, if so."""
    def tick(heard: Heard) -> str | None:
        shown(heard)
        if not found.aborts or heard.finished < FEWEST_TO_ABORT:
            return None
        ground = Ground(heard.tally, found.offer.plan.profile.names, lambda phase, limit: None, {})
        broken = next((r for r in found.aborts if ruling(r, ground).verdict == "fail"), None)
        return f"aborted: {broken.text}" if broken else None
    return tick


def _closed(folder: Path, found: Ready, heard: Heard, quiet: Results | None) -> Finished:
    """Judges and writes. What was measured is written before the traffic is judged."""
    run = Measured(found.offer, heard, found.rules)
    data = to_json(run)
    write(folder / "load.json", data)
    results = judged(folder / "events.jsonl")
    write_results(folder, results)
    data["conformance"] = {"quiet": quiet is not None, "only_under_load": conforming.only_under_load(quiet, results)}
    write(folder / "load.json", data)
    write_all(folder)
    write_load(folder, data, results, named(run), history(run))
    return Finished(folder, data, results, heard.reason == "interrupted")


def exit_code(done: Finished) -> int:
    """130, 1, 4, 2, 0, the first that applies. What the sampled traffic leaves undecided is no verdict on the load."""
    if done.interrupted:
        return INTERRUPTED
    verdict = EXIT[done.data["verdict"]]
    conforming = done.results.exit_code
    if NOT_CONFORMING in {verdict, conforming}:
        return NOT_CONFORMING
    if conforming == HARNESS_FAILED:
        return HARNESS_FAILED
    return verdict
