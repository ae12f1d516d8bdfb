"""From the command line and the profile to what will be offered; every mistake is told at once, nothing sent before."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from openbell.loading import Mistakes, Problem
from openbell.loadprofiles.curves import BadCurve
from openbell.loadprofiles.driving import Offer
from openbell.loadprofiles.plan import BadMix, LoadPlan, Process, choices
from openbell.loadprofiles.shape import LoadProfile, all_shapes
from openbell.loadprofiles.slo import WHOLE, BadRule, Rule, checked, parse_rule
from openbell.profile import Load, Profile

SLICES, FINEST_S = 160, 0.25
FEWEST_USERS, MOST_USERS, SPARE_FILES = 10, 2000, 64
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    shape: str
    peak: float
    duration: float
    seed: int = 0
    process: Process = "poisson"
    workers: int = 1
    users: int | None = None
    sample: int = 500
    slo: tuple[str, ...] = ()
    abort: tuple[str, ...] = ()
    locustfile: Path | None = None
    start_at: str | None = None


@dataclass(frozen=True)
class Ready:
    """A load that may be offered, with its rules, and those that end it early."""

    offer: Offer
    rules: tuple[Rule, ...]
    aborts: tuple[Rule, ...]


class BadLoad(Mistakes):
    """A load that cannot be offered."""


def ready(target: Profile, asked: Asked) -> Ready:
    """Checks all of it. Raises BadLoad with every mistake."""
    problems: list[Problem] = []
    shape = all_shapes().get(asked.shape)
    if shape is None:
        raise BadLoad("load", [Problem("PROFILE", f"no load profile {asked.shape!r}",
                                       f"one of: {', '.join(all_shapes())}")])
    if target.load is None:
        raise BadLoad("load", [Problem("load", "the target's profile has no table [load]",
                                       "it names the principals and the operations that a load may use")])
    problems += _allowed(target, target.load, shape, asked)
    plan = _plan(target, target.load, shape, asked, problems)
    operations = None if asked.locustfile else target.load.operations
    rules, aborts = _rules(target, shape, asked, operations, problems)
    problems += _places(asked, plan)
    if problems or plan is None:
        raise BadLoad("load", problems)
    if not asked.locustfile and (made := creating(target, plan)) > target.load.max_created:
        raise BadLoad("load", [Problem("load.max_created", f"the plan may create {made}, {target.load.max_created} are "
                                       "allowed", "raise it, or lower --peak or --duration")])
    offer = Offer(plan, asked.workers, _users(asked), asked.sample, slice_s(asked.duration),
                  str(asked.locustfile.resolve()) if asked.locustfile else None)
    if shape.storm:
        name = target.load.stream or next(iter(target.stream))
        offer = replace(offer, streams=round(asked.peak), stream=name,
                        stream_by=target.stream[name].principal or target.load.principals[0])
    return Ready(offer, rules, aborts)


def slice_s(duration: float) -> float:
    """The seconds of a slice of the charts."""
    return max(FINEST_S, duration / SLICES)


def _users(asked: Asked) -> int:
    """Users enough for one second of the peak: then a slow reply takes none from another arrival."""
    peak = min(asked.peak, MOST_USERS) if asked.peak > 0 else 0.0
    return asked.users or max(FEWEST_USERS, math.ceil(peak))


def _allowed(target: Profile, load: Load, shape: LoadProfile, asked: Asked) -> Iterator[Problem]:
    if "load" not in target.target.allow:
        yield Problem("target.allow", "the profile does not allow a load", 'add "load" to target.allow')
    if asked.peak > load.max_rate and not shape.storm:
        yield Problem("--peak", f"{asked.peak:g} per second is above load.max_rate = {load.max_rate:g}",
                      "lower it, or raise the cap in the profile")
    if shape.storm and asked.peak > load.max_streams:
        yield Problem("--peak", f"{asked.peak:g} streams are more than load.max_streams = {load.max_streams}",
                      "lower it, or raise the cap in the profile")
    if shape.storm and not target.stream:
        yield Problem("stream", "the target's profile has no stream", f"{shape.name} holds and drops streams")
    writes = [n for n in load.operations if n in target.operation and target.operation[n].writes]
    if writes and "write" not in target.target.allow:
        yield Problem("load.operations", f"{', '.join(writes)} write, which the profile does not allow",
                      'leave them out, or add "write" to target.allow')


def _plan(target: Profile, load: Load, shape: LoadProfile, asked: Asked, problems: list[Problem]) -> LoadPlan | None:
    offered = {name: (target.operation[name].role, weight) for name, weight in load.operations.items()}
    try:
        mix = () if asked.locustfile else choices(shape, offered)
        return LoadPlan(shape, asked.peak, asked.duration, asked.process, asked.seed, mix, load.principals)
    except BadMix as error:
        problems.append(Problem("load.operations", str(error), "name an operation for the phase's roles"))
    except BadCurve as error:
        problems.append(Problem("--peak, --duration", str(error)))
    return None


def _rules(target: Profile, shape: LoadProfile, asked: Asked, operations: Iterable[str] | None,
           problems: list[Problem]) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    given: Mapping[str, tuple[str, ...]] = target.slo.get(shape.name) or shape.slo
    problems += [Problem(f"slo.{name}", "no such load profile", f"one of: {', '.join(all_shapes())}")
                 for name in set(target.slo) - set(all_shapes())]
    places = [] if asked.slo else [(f"slo.{shape.name}.{phase}.{i}", text, phase) for phase, texts in given.items()
                                   for i, text in enumerate(texts)]
    places += [(f"--slo {i + 1}", text, WHOLE) for i, text in enumerate(asked.slo)]
    stops = [(f"--abort {i + 1}", text, WHOLE) for i, text in enumerate(asked.abort)]
    return (tuple(_read(places, shape, operations, problems)), tuple(_read(stops, shape, operations, problems)))


def _read(places: list[tuple[str, str, str]], shape: LoadProfile, operations: Iterable[str] | None,
          problems: list[Problem]) -> Iterator[Rule]:
    known = None if operations is None else list(operations)
    for path, text, phase in places:
        try:
            rule = parse_rule(text, phase)
        except BadRule as error:
            problems.append(Problem(path, str(error)))
            continue
        problems += [Problem(path, wrong) for wrong in checked([rule], shape.names, known)]
        yield rule


def _places(asked: Asked, plan: LoadPlan | None) -> Iterator[Problem]:
    if asked.locustfile and not asked.locustfile.is_file():
        yield Problem("--locustfile", f"{asked.locustfile} is no file")
    if plan and asked.workers > max(1, plan.expected):
        yield Problem("--workers", f"{asked.workers} workers for {plan.expected:.0f} arrivals", "ask for fewer")
    streams = round(asked.peak) if plan and plan.profile.storm else 0
    needed = sum(-(-n // max(1, asked.workers)) for n in (_users(asked), streams)) + SPARE_FILES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        yield Problem("--users", f"a worker needs {needed} file descriptors, the system gives {hard}",
                      f"raise it with `ulimit -n`, ask for fewer users{' and streams' if streams else ''}, or for more "
                      "--workers")
    if asked.start_at:
        try:
            bell_at(asked.start_at)
        except ValueError:
            yield Problem("--start-at", f"{asked.start_at!r} is no time",
                          "such as 09:30:00, or 2026-11-26T09:30:00+01:00")


def bell_at(text: str, now: datetime | None = None) -> float:
    """The bell's instant in seconds since the epoch: a time of today or, where it is past, of tomorrow; or a whole
    instant. Raises ValueError."""
    now = now or datetime.now().astimezone()
    if "T" in text or " " in text:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.astimezone()).timestamp()
    time = datetime.strptime(text, "%H:%M:%S" if text.count(":") == 2 else "%H:%M").time()  # noqa: DTZ007
    found = now.replace(hour=time.hour, minute=time.minute, second=time.second, microsecond=0)
    return (found if found > now else found + timedelta(days=1)).timestamp()


def creating(target: Profile, plan: LoadPlan) -> int:
    """How many things the plan may create: its creates, and its arrivals that may find nothing of their own."""
    needs = {name for name, op in target.operation.items() if op.role == "create" or "{id}" in op.path}
    return sum(a.operation in needs for a in plan.arrivals())


def on_loopback(target: Profile) -> bool:
    """Whether the target is this very machine."""
    return urlsplit(target.target.base_url).hostname in LOOPBACK
