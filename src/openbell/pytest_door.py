"""Checks as pytest items: one for each check and subject, collected from the registry before anything is sent.

The run starts when pytest has deselected what it was told to, with the checks that are left. Users' own async tests
get `target` and `api`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from openbell.accepted import AcceptedError, load_accepted
from openbell.api import Api
from openbell.hands import Hands
from openbell.journal import JournalError, read
from openbell.loading import ProfileError, load, parse, secrets
from openbell.profile import Profile
from openbell.pytest_engine import Engine, Judging, Setup
from openbell.registry import Check
from openbell.results import Result, Results
from openbell.run import Options, UnknownCheck, select
from openbell.target import Subject

PASSES = frozenset({"pass", "warn", "info", "accepted"})


def opened(config: pytest.Config) -> Door:
    """The plugin for one pytest session. Raises UsageError with every mistake of profile, secrets and options."""
    option, here = config.option, config.invocation_params.dir
    try:
        if option.openbell_journal:
            return _journal(here / option.openbell_journal, tuple(option.openbell_only))
        return _run(option, here)
    except (ProfileError, AcceptedError, UnknownCheck, JournalError) as error:
        raise pytest.UsageError(str(error)) from None
    except OSError as error:
        raise pytest.UsageError(f"{error.filename}: {error.strerror}") from None


def _journal(path: Path, only: tuple[str, ...]) -> Door:
    header = read(path).header
    checks = select(Options(only=only))
    chosen = header.selection.get("checks")
    checks = tuple(c for c in checks if chosen is None or c.id in chosen)
    return Door(parse(header.profile, header.target), checks, Judging(path, checks), None)


def _run(option: Any, here: Path) -> Door:
    path = here / option.openbell_target
    target = load(path, option.openbell_base_url)
    accepted = load_accepted(here / option.openbell_accepted) if option.openbell_accepted else ()
    options = Options(only=tuple(option.openbell_only), max_rate=option.openbell_max_rate,
                      seed=option.openbell_seed or 0, accepted=accepted,
                      out=here / (option.openbell_out or "openbell-results"))
    checks = select(options)
    known = {} if option.collectonly else secrets(target, os.environ, path.parent)
    setup = Setup(target, option.openbell_target, known, options)
    return Door(target, checks, Engine(setup), setup)


class Door:
    """The hooks and fixtures of one pytest session with a target or a journal."""

    def __init__(self, target: Profile, checks: tuple[Check, ...], engine: Engine | Judging, setup: Setup | None,
                 ) -> None:
        self.profile = target
        self.checks = checks
        self.engine = engine
        self.setup = setup
        self.hands: Hands | None = None

    # --- collecting

    def pytest_report_header(self) -> str:
        """What is checked."""
        kind = "journal of" if isinstance(self.engine, Judging) else "target"
        return printable(f"openbell: {kind} {self.profile.target.name} at {self.profile.target.base_url}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, config: pytest.Config,
                                      items: list[pytest.Item]) -> None:
        """Adds the checks behind the user's own tests, before anything is deselected; traffic checks come last."""
        for name in sorted({marker for check in self.checks for marker in _markers(check)}):
            config.addinivalue_line("markers", f"{name}: openbell checks of this area or level")
        collector = Checks.from_parent(session, name="openbell", nodeid="openbell", door=self)
        own: list[pytest.Item | pytest.Collector] = list(collector.collect())
        session.ihook.pytest_collectreport(report=pytest.CollectReport("openbell", "passed", None, own))
        items += [item for item in own if isinstance(item, pytest.Item)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Starts the run with the checks that are left, when anything is to be run at all."""
        checks = tuple(dict.fromkeys(i.check.id for i in session.items if isinstance(i, CheckItem)))
        option = session.config.option
        broken = session.testsfailed and not option.continue_on_collection_errors
        if checks and not (option.collectonly or option.setupplan or option.setuponly or broken):
            self.engine.start(checks)

    # --- ending

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Ends a run that nobody waits for any more; a stale accepted entry fails the session."""
        ended_early = session.shouldfail or session.shouldstop or session.exitstatus == pytest.ExitCode.INTERRUPTED
        try:
            if not ended_early:
                self.engine.wait()
        except KeyboardInterrupt:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        self.engine.stop()
        if self.hands:
            self.hands.close()
        stale = self.engine.results.stale if self.engine.results else ()
        if stale and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Where the results are, what is stale, and what was left behind."""
        lines = [*_told(self.engine), *(self.hands.told() if self.hands else ())]
        if lines:
            terminalreporter.write_sep("=", "openbell")
            for line in lines:
                terminalreporter.write_line(printable(line))

    # --- for the users' own tests

    @pytest.fixture(scope="session")
    def target(self) -> Profile:
        """The target's profile."""
        return self.profile

    @pytest_asyncio.fixture
    async def api(self, request: pytest.FixtureRequest) -> AsyncIterator[Api]:
        """Hands on the target: journalled, at the run's rate, and what the test made is undone at its end."""
        if self.setup is None:
            pytest.fail("the fixture api needs --openbell-target: a journal cannot be called", pytrace=False)
        # The rate holds for the whole session, so a user's test waits for the run.
        await asyncio.to_thread(self.engine.wait)
        if self.hands is None:
            permits = self.engine.permits if isinstance(self.engine, Engine) else None
            self.hands = Hands(self.setup, [c.id for c in self.checks if c.traffic], permits)
        async with self.hands.api(request.node.nodeid) as api:
            yield api


def _told(engine: Engine | Judging) -> Iterable[str]:
    if engine.failure:
        yield engine.failure
    results = engine.results
    if results is None:
        return
    folder = engine.journal.parent if isinstance(engine, Judging) else engine.run.folder if engine.run else Path()
    counts = ", ".join(f"{n} {verdict}" for verdict, n in results.counts.items() if n)
    yield f"{_word(results)}: {counts or 'nothing was judged'}"
    yield from (f"accepted, but not seen: {entry}" for entry in results.stale)
    if results.torn:
        yield f"the journal is torn: {results.torn}"
    if isinstance(engine, Engine) and engine.run and engine.run.interrupted:
        yield "the run was ended early" + (
            f"; {engine.left} things are left behind: openbell cleanup {folder}" if engine.left else "")
    yield f"results: {folder / 'results.json'}"


def _word(results: Results) -> str:
    return {True: "conforms", False: "does not conform", None: "not decided"}[results.conforms]


# --- nodes


def _markers(check: Check) -> tuple[str, ...]:
    return "openbell", check.area, check.level.lower()


class Checks(pytest.Collector):
    """All checks of the session, each on each of its subjects."""

    def __init__(self, *, door: Door, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.door = door

    def collect(self) -> Iterable[pytest.Item]:
        """The items; traffic checks last, for they wait for the whole run."""
        for check in sorted(self.door.checks, key=lambda c: (c.traffic is not None, c.id)):
            for subject in check.subjects(self.door.profile):
                yield CheckItem.from_parent(self, name=f"{check.id}[{subject}]", check=check, subject=subject)


class NotMet(Exception):
    """A check is not fulfilled, or not decided; the text tells all."""


class CheckItem(pytest.Item):
    """One check on one subject."""

    def __init__(self, *, check: Check, subject: Subject, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check = check
        self.subject = subject
        for name in _markers(check):
            self.add_marker(name)

    def runtest(self) -> None:
        """Waits for the evidence and takes the verdict."""
        checks = self.parent
        if not isinstance(checks, Checks):
            raise TypeError("a check is collected by Checks")
        engine = checks.door.engine
        result = engine.result(self.check, self.subject)
        if result is None:
            raise NotMet(engine.failure or "the run gave no result for this check")
        self.user_properties.append(("openbell_verdict", result.verdict))
        if result.verdict == "not-applicable":
            pytest.skip(printable(result.summary))
        if result.verdict not in PASSES and not (result.verdict == "inconclusive" and result.level != "MUST"):
            raise NotMet(story(result))
        if result.verdict != "pass":
            self.add_report_section("call", "openbell", story(result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """The story of the failure, never a traceback."""
        del style
        if isinstance(excinfo.value, NotMet):
            return str(excinfo.value)
        return printable(f"openbell failed: {excinfo.typename}: {str(excinfo.value)[:300]}")

    def reportinfo(self) -> tuple[str, int | None, str]:
        """The item's place: checks stand in no file of the user's."""
        return "openbell", None, self.name


def story(result: Result) -> str:
    """What a person needs to believe a verdict and to mend its cause."""
    lines = [f"{result.level} {result.check} on {result.subject}: {result.title}",
             f"{result.verdict}{f' ({result.reason})' if result.reason else ''}: {result.summary}"]
    for finding in result.findings:
        lines += [f"  rule      {finding.rule}", f"  expected  {_indented(finding.expected)}",
                  f"  actual    {_indented(finding.actual)}",
                  f"  events    {', '.join(map(str, finding.events[:20]))}"]
    if result.accepted:
        lines.append(f"accepted: {', '.join(result.accepted['rules'])} {result.accepted.get('reason', '')}".rstrip())
    lines += [f"remedy: {result.remedy}", f"reproduce: {result.reproduce}"]
    return "\n".join(map(printable, "\n".join(lines).split("\n")))


def _indented(text: str) -> str:
    return text[:2000].replace("\n", "\n            ")


def printable(text: str) -> str:
    """One line in which nothing that the target sent can move a cursor or hide."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
