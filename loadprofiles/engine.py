"""Starts arrivals when they are due, whatever became of those before: an open model, one engine in each worker.

A Locust user is a session that takes jobs. An arrival that finds no idle user waits in line and is never dropped: its
latency counts from the instant at which it was *due*, its service time from the sending. So a target that stalls
cannot hide it: with the pool too small the line grows, and the latencies with it.

Every planned arrival ends in exactly one of: answered (well or not), unanswered at the end, never started.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from openbell.loadprofiles.clock import Clock
from openbell.loadprofiles.plan import Arrival, total
from openbell.loadprofiles.tally import Tally
from openbell.loadprofiles.words import NEVER_STARTED, SILENT, UNANSWERED

LOOK_S = 0.02


class Job:
    """An arrival on its way. `first` holds until its first request was measured."""

    __slots__ = ("arrival", "due", "first", "slice", "start")

    def __init__(self, arrival: Arrival, due: float, place: int) -> None:
        self.arrival, self.due, self.slice, self.start, self.first = arrival, due, place, 0.0, True


class Engine:
    """The arrivals of one worker. `phases` are the plan's names, `width` the seconds of a slice of the chart."""

    def __init__(self, arrivals: Iterable[Arrival], phases: tuple[str, ...], width: float, clock: Clock) -> None:
        self.arrivals, self.phases, self.width, self.clock = arrivals, phases, width, clock
        self.tally = Tally()
        self.waiting: deque[Job] = deque()
        self.ready = Semaphore(0)
        self.jobs: dict[Any, Job] = {}
        self.due = self.started = self.finished = self.longest_line = 0
        self.mark = 0
        self.stopped = Event()
        self.over = False

    def run(self, begin: float, last: float, patience_s: float) -> None:
        """Starts every arrival at `begin` plus its instant, and waits until all have ended, or `patience_s` after the
        monotonic second `last`, or five seconds after `stopped`."""
        scheduler = gevent.spawn(self._schedule, begin)
        gevent.wait([scheduler, self.stopped], count=1)
        scheduler.kill()
        deadline = max(last, time.monotonic()) + patience_s
        while self.finished < self.due and time.monotonic() < deadline:
            gevent.sleep(LOOK_S)
            if self.stopped.is_set():
                deadline = min(deadline, time.monotonic() + patience_s)
        self._close()

    def _schedule(self, begin: float) -> None:
        record, phases = self.tally.record, self.phases
        for arrival in self.arrivals:
            due = begin + arrival.at
            self.clock.until(due)
            late = time.monotonic() - due
            place = int(arrival.at / self.width)
            self.due += 1
            record(("lag", phases[arrival.phase]), late)
            record(("lagband", place), late)
            self.waiting.append(Job(arrival, due, place))
            self.ready.release()
            self.longest_line = max(self.longest_line, len(self.waiting))

    def told(self) -> dict[str, Any]:
        """How far it is, at this monotonic second."""
        return {"at": time.monotonic(), "due": self.due, "started": self.started, "finished": self.finished,
                "line": len(self.waiting)}

    @property
    def started_mark(self) -> int:
        """The mark of all arrivals that were started."""
        return total((self.mark,))

    # --- for users

    def take(self) -> Job:
        """The next arrival, waited for; `done` ends it."""
        self.ready.acquire()
        job = self.waiting.popleft()
        job.start = time.monotonic()
        self.started += 1
        self.mark += job.arrival.mark()
        self.tally.counts["started", job.slice] += 1
        self.jobs[gevent.getcurrent()] = job
        return job

    def done(self, job: Job) -> None:
        """The arrival has ended."""
        if self.jobs.pop(gevent.getcurrent(), None):
            if job.first:
                self.measured(job, job.arrival.operation or "(none)", None, SILENT)
            self.finished += 1

    def measured(self, job: Job, name: str, service_s: float | None, outcome: str) -> float:
        """Notes a request of an arrival and gives its latency in seconds. Only the first counts from when the arrival
        was due; those after it, from their own sending."""
        record, phase = self.tally.record, self.phases[job.arrival.phase]
        latency = time.monotonic() - job.due if job.first or service_s is None else service_s
        if job.first:
            job.first = False
            record(("band", job.slice), latency)
            if service_s is not None:
                record(("serviceband", job.slice), service_s)
            self.tally.counts["ended", job.slice, outcome] += 1
            self.tally.counts["arrival", phase, outcome] += 1
        record(("latency", phase, name), latency)
        if service_s is not None:
            record(("service", phase, name), service_s)
        self.tally.counts["outcome", phase, name, outcome] += 1
        return latency

    def _close(self) -> None:
        """Those that have no answer yet took at least until now; those that never started, too."""
        self.over = True
        for job in self.jobs.values():
            if job.first:
                self.measured(job, job.arrival.operation or "(none)", None, UNANSWERED)
        self.jobs.clear()
        for job in self.waiting:
            self.measured(job, job.arrival.operation or "(none)", None, NEVER_STARTED)
        self.waiting.clear()
