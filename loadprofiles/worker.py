"""One worker of a load run, in a process of its own: gevent, Locust, the engine. The parent is asyncio.

It reads JSON lines on stdin: `setup`, `credentials` (again whenever they change), `go`, `stop`, `bye`; the end of stdin
ends it. It writes JSON lines on stdout: `ready`, `tick` (what was measured since the last), `exchange`, `end`, or
`failed`. Credentials travel on stdin alone.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import resource
import ssl
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.fileobject import FileObjectPosix
from locust import User
from locust.env import Environment

from openbell.loading import parse
from openbell.loadprofiles.clock import best_clock
from openbell.loadprofiles.encoding import credential_lines
from openbell.loadprofiles.engine import Engine
from openbell.loadprofiles.lean import Pool
from openbell.loadprofiles.processor import Processor
from openbell.loadprofiles.remade import plan_from
from openbell.loadprofiles.sampling import Sampler
from openbell.loadprofiles.storm import Place, Weather
from openbell.loadprofiles.users import DeclaredUser, Desk, install
from openbell.named import header_names
from openbell.redact import Redactor

TICK_S = 0.5
DRAIN_S = 5.0
MOST_LINES = 5000
SPARE_FILES = 64


class CannotRun(Exception):
    """The worker cannot do what it was set up for."""


@dataclass
class Talk:
    """The lines from and to the parent."""

    waiting: deque[bytes] = field(default_factory=deque)
    more: Event = field(default_factory=Event)
    lost: int = 0

    def say(self, line: dict[str, Any]) -> None:
        """Puts a line in the queue; samples are dropped, and counted, when the parent does not keep up."""
        if len(self.waiting) > MOST_LINES and "exchange" in line:
            self.lost += 1
            return
        self.waiting.append(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self.more.set()

    def write(self) -> None:
        """Writes for ever, without ever blocking the other greenlets."""
        out = FileObjectPosix(sys.stdout.fileno(), "wb", bufsize=0, closefd=False)
        while True:
            self.more.wait()
            self.more.clear()
            while self.waiting:
                _write_all(out, self.waiting[0])
                self.waiting.popleft()

    def flush(self, within_s: float) -> None:
        """Waits until everything is written."""
        deadline = time.monotonic() + within_s
        while self.waiting and time.monotonic() < deadline:
            gevent.sleep(0.01)

    def lines(self) -> Iterator[dict[str, Any]]:
        """The parent's lines."""
        for line in FileObjectPosix(sys.stdin.fileno(), "rb", closefd=False):
            yield json.loads(line)


def _write_all(out: Any, line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[out.write(view):]


class Worker:
    """One worker's run."""

    def __init__(self, talk: Talk, setup: dict[str, Any]) -> None:
        self.talk, self.setup = talk, setup
        self.target = parse(setup["profile"], "the profile")
        self.plan = plan_from(setup["plan"])
        self.redactor = Redactor()
        self.redactor.heed(header_names(self.target))
        phases = tuple(p.name for p in self.plan.profile.phases)
        arrivals = self.plan.arrivals(setup["index"], setup["workers"])
        self.engine = Engine(arrivals, phases, setup["width"], best_clock())
        self.environment = Environment(user_classes=self._classes(), host=self.target.target.base_url,
                                       catch_exceptions=True)
        install(self.environment, self.engine)
        self.desk = self._desk(phases)
        self.environment.openbell_desk = self.desk  # type: ignore[attr-defined]
        self.runner = self.environment.create_local_runner()
        if not setup.get("locustfile"):
            # Nobody looks at Locust's own statistics of the declared users: they cost more than the measurement.
            self.environment.events.request._handlers.clear()  # noqa: SLF001
        self.processor = Processor()
        self.weather: Weather | None = None
        self.said: dict[str, Any] = {}
        _room_for(setup["users"] + setup["streams"])

    def _desk(self, phases: tuple[str, ...]) -> Desk:
        about = self.target.target
        tls = ssl.create_default_context(cafile=about.ca_bundle) if about.base_url.startswith("https") else None
        pool = Pool(about.base_url, about.timeout_s, tls)
        sampler = Sampler(self.target, phases, self.setup["stride"], self.redactor, self.talk.say)
        return Desk(self.target, pool, sampler, self.setup["stamp"])

    def _classes(self) -> list[type[User]]:
        if not self.setup.get("locustfile"):
            return [type("Declared", (DeclaredUser,), {})]
        found = user_classes(Path(self.setup["locustfile"]))
        if not found:
            raise CannotRun(f"{self.setup['locustfile']}: no Locust user class in it")
        return found

    def hire(self) -> None:
        """Starts the users and waits until they are there."""
        self.runner.start(self.setup["users"], spawn_rate=max(1000, self.setup["users"]), wait=False)
        deadline = time.monotonic() + 30
        while self.runner.user_count < self.setup["users"] and time.monotonic() < deadline:
            gevent.sleep(0.01)
        gevent.sleep(0.05)
        if not self.runner.user_count:
            raise CannotRun("no Locust user could be started")

    def credentials(self, said: dict[str, Any]) -> None:
        """Takes credentials; what is secret in them is learnt first."""
        for value, placeholder in said["secrets"].items():
            self.redactor.adopt(value, placeholder)
        self.said = said
        self.desk.credentials.update({name: credential_lines(lines) for name, lines in said["lines"].items()})

    def run(self, begin: float) -> None:
        """The whole run, with a tick twice a second and the last one at its end."""
        ticking = gevent.spawn(self._tick_for_ever)
        patience = DRAIN_S if self.engine.stopped.is_set() else self.setup["patience_s"]
        storm = gevent.spawn(self._weather(begin).run) if self.setup["streams"] else None
        self.engine.run(begin, begin + self.plan.duration, patience)
        if storm:
            gevent.wait([storm, self.engine.stopped], count=1)
            storm.kill()
        ticking.kill()
        self.tick()
        self.talk.say({"end": {"lost_samples": self.talk.lost, "connections": self.desk.pool.opened,
                               "substituted": self.desk.substituted, "stopped": self.engine.stopped.is_set(),
                               "longest_line": self.engine.longest_line, "mark": self.engine.started_mark}})

    def _weather(self, begin: float) -> Weather:
        """The streams of this worker."""
        storm, setup, principal = self.plan.profile.storm, self.setup, self.setup["stream_by"]
        if storm is None:
            raise CannotRun("this load profile holds no streams")
        place = Place(self.target, setup["stream"], principal, lambda: self.said["lines"][principal],
                      lambda: self.said["tokens"][principal])
        self.weather = Weather(storm, place, setup["streams"], self.engine.tally, begin,
                               begin + storm.at * self.plan.duration, begin + self.plan.duration,
                               (self.plan.profile.phases[0].name, self.plan.profile.phases[-1].name),
                               setup["index"])
        return self.weather

    def _tick_for_ever(self) -> None:
        while True:
            gevent.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        """Says what is new."""
        self.talk.say({"tick": {**self.engine.told(), "tally": self.engine.tally.delta(), **self.processor.since(),
                                **self.desk.made.news(),
                                "streams": self.weather.news() if self.weather else None}})


def _room_for(connections: int) -> None:
    """Raises CannotRun where the system gives too few file descriptors; takes what it gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + SPARE_FILES
    if soft < needed <= hard or (hard == resource.RLIM_INFINITY and soft < needed):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    elif soft < needed:
        raise CannotRun(f"{connections} users and streams need {needed} file descriptors and the system gives {hard}: "
                        f"raise it with `ulimit -n`, or ask for fewer")


def user_classes(path: Path) -> list[type[User]]:
    """The user classes of a Locust file. Raises CannotRun when it cannot be imported."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CannotRun(f"{path}: no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CannotRun(f"{path}: {type(error).__name__}: {error}") from error
    found = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, User) and v is not User]
    return [c for c in found if not c.abstract and c.__module__ == path.stem]


def main() -> None:
    """Does what the parent says until it has ended."""
    logging.disable(logging.CRITICAL)
    talk = Talk()
    gevent.spawn(talk.write)
    try:
        _serve(talk)
    except CannotRun as error:
        talk.say({"failed": str(error)})
    except Exception as error:  # noqa: BLE001 - the parent tells it; a traceback could show a secret
        talk.say({"failed": f"{type(error).__name__}: {str(error)[:300]}"})
    talk.flush(DRAIN_S)
    os._exit(0)


def _serve(talk: Talk) -> None:
    lines = talk.lines()
    worker = Worker(talk, next(lines)["setup"])
    worker.credentials(next(lines)["credentials"])
    worker.hire()
    talk.say({"ready": True})
    running: Any = None
    for line in lines:
        if "credentials" in line:
            worker.credentials(line["credentials"])
        elif "go" in line:
            running = gevent.spawn(worker.run, line["go"])
        elif "stop" in line:
            worker.engine.stopped.set()
        elif "bye" in line:
            break
    del running
