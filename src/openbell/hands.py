"""The fixture `api`: hands on the target for users' own tests, in one journal that `openbell cleanup` reads."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from openbell import __version__
from openbell.api import Api
from openbell.journal import Header, Journal
from openbell.loading import dumped
from openbell.permits import Permits
from openbell.pytest_engine import Setup
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.run import beside, new_run
from openbell.session import Session

WITHOUT_END = Cost(reads=10**9, writes=10**9, waits_s=math.inf)


class Hands:
    """What the tests of one pytest session share: a journal, a redactor, the rate. Tests run one after another."""

    def __init__(self, setup: Setup, checks: list[str], permits: Permits | None) -> None:
        self._setup = setup
        options = setup.options
        name, self._folder = new_run(options.out)
        self._redactor = Redactor()
        header = Header(__version__, name, datetime.now(UTC).isoformat(timespec="seconds"), options.seed, setup.source,
                        dumped(setup.target), {"checks": checks}, source="pytest",
                        beside=beside(setup.target, setup.source, self._folder))
        self._journal = Journal(self._folder / "events.jsonl", header, self._redactor.gate)
        most = setup.target.target.max_rate
        self._permits = permits or Permits(min(most, options.max_rate or most))
        self._created = 0
        self._left = 0

    @asynccontextmanager
    async def api(self, name: str) -> AsyncIterator[Api]:
        """Hands for one test, on its event loop; what it made is undone when it ends."""
        setup = self._setup
        session = Session(setup.target, setup.secrets, self._journal, self._redactor, 1.0, setup.options.seed)
        self._permits.move()
        session.permits = self._permits
        session.created = self._created
        api = Api(session, name, WITHOUT_END)
        try:
            yield api
        finally:
            try:
                await api.undo_all()
            finally:
                self._created = session.created
                self._left += len(api.made)
                await session.close_lines()

    def told(self) -> Iterable[str]:
        """Where the journal is, and what the tests left behind."""
        yield f"journal of the tests that used api: {self._journal.path}"
        if self._left:
            yield f"{self._left} things are left behind: openbell cleanup {self._folder}"

    def close(self) -> None:
        """Ends the journal."""
        self._journal.close()
