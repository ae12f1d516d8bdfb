"""The run behind pytest: the same engine as `openbell check`, on its own event loop in its own thread.

Items wait for their evidence; the journal's events feed a fold, so that a scenario check is judged as soon as its
scenarios have ended. The final results are those that the run writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from openbell.cleaning import cleaned
from openbell.events import Event
from openbell.journal import read
from openbell.judge import Fold
from openbell.permits import Permits
from openbell.profile import Profile
from openbell.registry import Check, all_checks
from openbell.results import Result, Results
from openbell.run import Options, Run, judged, run, write_results
from openbell.session import Session
from openbell.target import Subject

END_S = 60.0


@dataclass(frozen=True)
class Setup:
    """What a run needs: the profile, where it came from, its secrets by reference, and the options."""

    target: Profile
    source: str
    secrets: Mapping[str, str]
    options: Options


@dataclass
class Engine:
    """One run in its own thread; results may be asked for from another."""

    setup: Setup
    changed: threading.Condition = field(default_factory=threading.Condition)
    fold: Fold | None = None
    run: Run | None = None
    failure: str = ""
    ended: bool = False
    left: int = 0
    _stopping: bool = False
    _session: Session | None = None
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _task: asyncio.Task[Run] | None = None

    def start(self, checks: tuple[str, ...]) -> None:
        """Starts the run of some checks."""
        self._thread = threading.Thread(target=self._work, args=(checks,), name="openbell", daemon=True)
        self._thread.start()

    @property
    def results(self) -> Results | None:
        """The results of the whole run, once it has ended."""
        return self.run.results if self.run else None

    @property
    def permits(self) -> Permits | None:
        """The permits of the run, for those who go on at its rate when it has ended."""
        return self._session.permits if self._session else None

    def _work(self, checks: tuple[str, ...]) -> None:
        try:
            self.run = asyncio.run(self._run(checks))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told by every item that waits for it
            self.failure = f"the run failed: {type(error).__name__}: {str(error)[:300]}"
        finally:
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    async def _run(self, checks: tuple[str, ...]) -> Run:
        given = self.setup
        options = replace(given.options, only=checks)
        work = run(given.target, given.source, given.secrets, options, on_session=self._attach)
        self._loop, self._task = asyncio.get_running_loop(), asyncio.create_task(work)
        done = await self._task
        if done.interrupted:
            self.left = sum(1 for thing in await cleaned(done.folder, given.target, given.secrets) if thing.left)
        return done

    def _attach(self, session: Session) -> None:
        self._session = session
        self.fold = Fold(read(session.journal.path).header, all_checks())
        session.journal.listen(self._feed)
        if self._stopping:
            self._cancel()

    def _feed(self, event: Event) -> None:
        with self.changed:
            if self.fold:
                self.fold.feed(event)
            self.changed.notify_all()

    def result(self, check: Check, subject: Subject) -> Result | None:
        """Waits for the evidence of one check on one subject; None when there is no run, or it failed before."""
        if self._thread is None:
            return None
        with self.changed:
            self.changed.wait_for(lambda: self.ended or (
                check.judge is not None and self.fold is not None and self.fold.ready(check, subject)))
            if not self.ended and self.fold:
                return self.fold.result(check, subject)
        return found(self.results, check, subject)

    def wait(self) -> None:
        """Waits for the end of the run; at once when it was never started."""
        if self._thread:
            self._thread.join()

    def stop(self) -> None:
        """Ends a run that is still going; what it has is judged and written."""
        self._stopping = True
        if self._thread is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop may end at this moment
            if self._loop and not self.ended:
                self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(END_S)

    def _cancel(self) -> None:
        """A run without a journal yet is cancelled when it has one, and one with a closed journal not any more: so
        every run writes its results."""
        if self._task and self._session and not self._session.journal.closed:
            self._task.cancel()


@dataclass
class Judging:
    """A finished journal in place of a run."""

    journal: Path
    checks: tuple[Check, ...]
    results: Results | None = None
    failure: str = ""

    def start(self, _checks: tuple[str, ...]) -> None:
        """Judges the journal and writes `results.json` beside it."""
        try:
            self.results = judged(self.journal, self.checks)
            write_results(self.journal.parent, self.results)
        except Exception as error:  # noqa: BLE001 - told by every item, never as a traceback
            self.failure = f"{type(error).__name__}: {str(error)[:300]}"

    def result(self, check: Check, subject: Subject) -> Result | None:
        """The result of one check on one subject; None when the journal could not be judged."""
        return found(self.results, check, subject)

    def wait(self) -> None:
        """Nothing to wait for."""

    def stop(self) -> None:
        """Nothing to end."""


def found(results: Results | None, check: Check, subject: Subject) -> Result | None:
    """The result of one check on one subject."""
    every = results.results if results else ()
    return next((r for r in every if r.check == check.id and r.subject == str(subject)), None)
