"""The kill matrix: every check is shown to fail, for the right reason, and to pass what is legal.

Each defect of the reference server is served and checked: the claimed checks must fail by the claimed rules, and no
other check may turn red. Benign variants must pass; null servers must make nothing pass. The gate runs a defect
against its claimed checks and all traffic checks; the full matrix runs every check.
"""

from __future__ import annotations

import asyncio
import os
import secrets as random_secrets
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import click

from openbell.child import child
from openbell.judge import evidence
from openbell.loading import load, secrets
from openbell.profile import Profile
from openbell.reference import PROFILE, SECRET, SHOWN
from openbell.registry import Check, Scenario, all_checks, all_scenarios
from openbell.results import HARNESS_FAILED, NOT_CONFORMING, OK, WRONG_USAGE, Result, Results
from openbell.run import Options, made, run
from openbell.target import subjects

AT_ONCE = 2
QUICK_REQUESTS = 120
RED = ("fail", "warn", "info")


@dataclass(frozen=True)
class Variant:
    """One way in which the reference server is started, and what must come of it."""

    kind: Literal["clean", "defect", "benign", "null"]
    name: str
    catches: Mapping[str, tuple[str, ...]]
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def variants() -> tuple[Variant, ...]:
    """Everything that is to be shown, from the reference server's own registries."""
    from openbell.reference_server.benign import all_benign
    from openbell.reference_server.defects import all_defects
    from openbell.reference_server.nulls import NULLS
    return (Variant("clean", "conforming", {}),
            *(Variant("defect", d.name, d.catches, d.also) for d in all_defects()),
            *(Variant("benign", b.name, {}) for b in all_benign()),
            *(Variant("null", name, {}) for name in NULLS))


def judge_variant(variant: Variant, results: Results) -> Iterator[str]:
    """What is not as it must be, in words."""
    if variant.kind == "null":
        passed = [r.check for r in results.results if r.verdict in {"pass", "error"}]
        if passed or results.exit_code not in {1, 2}:
            yield f"a null server: {', '.join(passed) or 'nothing'} passed or went wrong, exit {results.exit_code}"
        return
    for check, rules in variant.catches.items():
        found = {f.rule for r in results.results if r.check == check and r.verdict in RED for f in r.findings}
        for rule in rules:
            if rule not in found:
                yield f"{check} should fail by {rule}; " + (f"it found {', '.join(sorted(found))}" if found else
                                                            f"it is {_verdicts(check, results)}")
    for result in results.results:
        if result.check not in variant.catches and _wrong(result, variant):
            rules_seen = ", ".join(sorted({f.rule for f in result.findings}))
            yield f"{result.check} on {result.subject} is {result.verdict} ({rules_seen or result.summary})"


def _verdicts(check: str, results: Results) -> str:
    return ", ".join(sorted({f"{r.verdict} ({r.summary})" for r in results.results if r.check == check})) or "not run"


def _wrong(result: Result, variant: Variant) -> bool:
    """Red or an error: neither may come of something else's defect or of a legal variant.

    In the gate a defect's other checks may lack evidence; a legal variant and the clean server leave no MUST undecided.
    What a defect also breaks may be seen, by those rules alone.
    """
    rules = {f.rule for f in result.findings}
    if result.verdict in RED and result.check in variant.also and rules <= set(variant.also[result.check]):
        return False
    undecided = result.verdict == "inconclusive" and result.level == "MUST"
    return result.verdict in {*RED, "error"} or (undecided and variant.kind != "defect")


def selection(variant: Variant, target: Profile, *, full: bool) -> Options:
    """What a variant is checked with: everything, or in the gate its claimed checks and the traffic checks."""
    if full or variant.kind != "defect":
        return Options()
    claimed = [c for c in all_checks() if c.id in variant.catches]
    chosen = {c.id for c in all_checks() if c.traffic} | set(variant.catches)
    return Options(only=tuple(sorted(chosen)), scenarios=_scenarios(claimed, target))


def _scenarios(claimed: Iterable[Check], target: Profile) -> tuple[Scenario, ...]:
    """The claimed checks' evidence; for a claimed traffic check, every quick scenario as well."""
    claimed = tuple(claimed)
    names = {s.name for s in evidence(claimed)}
    if any(c.traffic for c in claimed):
        names |= {s.name for s in all_scenarios() if _quick(s, target)}
        names |= {s.name for s in all_scenarios() if "limit" in s.name and any(c.id.startswith("RL") for c in claimed)}
    return tuple(s for s in all_scenarios() if s.control or s.name in names)


def _quick(scenario: Scenario, target: Profile) -> bool:
    costs = [scenario.cost(target, s) for s in subjects(target, scenario.per) if scenario.where(target, s)]
    return all(c.waits_s == 0 and c.requests <= QUICK_REQUESTS for c in costs)


@dataclass(frozen=True)
class Shown:
    """What came of one variant."""

    variant: Variant
    problems: tuple[str, ...]
    seconds: float
    results: Results


def prove(*, full: bool, only: tuple[str, ...], out: Path) -> int:
    """Runs the matrix and tells it. Exit code 0 when it holds, 1 when it does not, 3 for unknown names."""
    chosen = [v for v in variants() if not only or v.name in only]
    if missing := set(only) - {v.name for v in chosen}:
        click.echo(f"no such defect, variant or null server: {', '.join(sorted(missing))}", err=True)
        return WRONG_USAGE
    made(out)
    shown = asyncio.run(_all(chosen, out, full=full))
    caught = {c for s in shown if s.variant.kind == "defect" and not s.problems for c in s.variant.catches}
    uncaught = sorted({c.id for c in all_checks()} - caught) if not only else []
    bad = [s for s in shown if s.problems]
    for check in uncaught:
        click.echo(f"{check} has no defect that it catches", err=True)
    click.echo(f"{len(shown) - len(bad)} of {len(shown)} as they must be; {len(caught)} of {len(all_checks())} checks "
               f"proved able to fail")
    if any(r.verdict == "error" for s in bad for r in s.results.results):
        return HARNESS_FAILED
    return NOT_CONFORMING if bad or uncaught else OK


async def _all(chosen: list[Variant], out: Path, *, full: bool) -> list[Shown]:
    """Every variant in one of a few processes, so that judging one run never holds up another."""
    secret = random_secrets.token_urlsafe(24)
    pool = ProcessPoolExecutor(AT_ONCE, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    with tempfile.TemporaryDirectory(dir=out, prefix="prove-") as folder:
        arguments = ["--stdin-ends", *(word for v in chosen for word in ("--matrix", str(v)))]
        async with child("openbell.reference_server", arguments, {SECRET: secret}) as said:
            urls: dict[str, str] = said["ready"]

            async def one(variant: Variant) -> Shown:
                shown = await asyncio.get_running_loop().run_in_executor(
                    pool, _one, variant, urls[str(variant)], secret, Path(folder), full)
                _tell(shown)
                return shown
            try:
                return await asyncio.gather(*map(one, chosen))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _one(variant: Variant, url: str, secret: str, out: Path, full: bool) -> Shown:
    target = load(PROFILE, url)
    if variant.kind == "null":
        target = target.model_copy(update={"target": target.target.model_copy(update={"timeout_s": 3.0})})
    known = secrets(target, {**os.environ, SECRET: secret}, PROFILE.parent)
    folder = out / variant.name
    folder.mkdir()
    began = time.monotonic()
    options = replace(selection(variant, target, full=full), folder=folder)
    done = asyncio.run(run(target, SHOWN, known, options))
    return Shown(variant, tuple(judge_variant(variant, done.results)), time.monotonic() - began, done.results)


def _tell(shown: Shown) -> None:
    """One line for a variant, and one for each problem."""
    caught = ", ".join(f"{c} by {' and '.join(r)}" for c, r in shown.variant.catches.items())
    word = "ok  " if not shown.problems else "FAIL"
    click.echo(f"{word} {shown.variant!s:<42} {shown.seconds:5.1f} s  {caught}")
    for problem in shown.problems:
        click.echo(f"       {problem}")
