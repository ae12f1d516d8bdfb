"""Locust's users under our arrivals: its own classes, weights and tasks, started when an arrival is due.

Locust gives a user its next task when the one before has ended and the wait is over. Here the wait is for an arrival:
`install` puts the engine's queue where the wait would be. Nothing in a user's class changes; its `wait_time` is not
asked. Every request, whatever client made it, passes the environment's request event, where its latency is corrected
to the instant at which it was due: Locust's own statistics, web page and CSV show that too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gevent import getcurrent
from locust import User, task
from locust.env import Environment
from locust.event import EventHook
from locust.user.task import TaskSet

from openbell.loadprofiles.chaining import Made
from openbell.loadprofiles.encoding import Template, template
from openbell.loadprofiles.engine import Engine, Job
from openbell.loadprofiles.lean import NoReply, Pool, Response
from openbell.loadprofiles.sampling import Sampler, as_exchange
from openbell.loadprofiles.words import OK, THROTTLED
from openbell.profile import SAFE, Profile
from openbell.target import outcome

_own_next, _own_wait = TaskSet.execute_next_task, TaskSet.wait


class IntendedEvent(EventHook):
    """The request event, with latencies from the intended start."""

    def __init__(self, engine: Engine, before: EventHook) -> None:
        super().__init__()
        self._handlers = before._handlers  # noqa: SLF001 - Locust's own listeners stay where they are
        self.engine = engine

    def fire(self, *, reverse: bool = False, **request: Any) -> None:
        """Measures the request for the arrival that made it, and passes it on."""
        job = self.engine.jobs.get(getcurrent())
        if job is not None and not self.engine.over:
            service_s = float(request["response_time"]) / 1e3
            said = request.get("context", {}).get("outcome") or _outcome(request)
            name, counts = str(request["name"]), self.engine.tally.counts
            counts["bytes", name] += int(request.get("response_length") or 0)
            counts["method", name, str(request["request_type"])] += 1
            request["response_time"] = self.engine.measured(job, name, service_s, said) * 1e3
        super().fire(reverse=reverse, **request)


def _outcome(request: dict[str, Any]) -> str:
    status = getattr(request.get("response"), "status_code", None)
    if status == 429:
        return THROTTLED
    failure = request.get("exception")
    return OK if failure is None else f"status {status}" if status else type(failure).__name__


def _engine(tasks: TaskSet) -> Engine | None:
    found: Engine | None = getattr(tasks.user.environment, "openbell_engine", None)
    return found


def _next(self: TaskSet) -> None:
    engine, waiting = _engine(self), self._task_queue[0]
    if engine is None or isinstance(self.user, DeclaredUser) or _is_set(waiting):
        _own_next(self)
        return
    job = engine.take()
    try:
        _own_next(self)
    finally:
        engine.done(job)


def _is_set(waiting: Any) -> bool:
    """Whether the next task is a set of tasks, whose own tasks wait for arrivals."""
    return isinstance(waiting, type) and issubclass(waiting, TaskSet)


def _wait(self: TaskSet) -> None:
    if _engine(self) is None:
        _own_wait(self)


def install(environment: Environment, engine: Engine) -> None:
    """Puts an environment's users under the engine; call it before any user is made."""
    TaskSet.execute_next_task = _next  # type: ignore[method-assign]
    TaskSet.wait = _wait  # type: ignore[method-assign]
    environment.openbell_engine = engine  # type: ignore[attr-defined]
    environment.events.request = IntendedEvent(engine, environment.events.request)


class Desk:
    """What the declared users of a worker share: connections, credentials, templates, what was made, the sample."""

    def __init__(self, target: Profile, pool: Pool, sampler: Sampler, stamp: str) -> None:
        self.target, self.pool, self.sampler, self.stamp = target, pool, sampler, stamp
        self.credentials: dict[str, bytes] = {}
        self.made = Made(target)
        self.substituted = 0
        self._templates: dict[tuple[str, str], Template] = {}
        throttled = target.outcome.get("throttled")
        self._throttled = throttled.status if throttled and throttled.status else (429,)
        self._says_ok_in_body = "ok" in target.outcome

    def template(self, operation: str, principal: str) -> Template:
        """The operation's template as the principal calls it. Raises MissingValue."""
        key = operation, principal
        if key not in self._templates:
            self._templates[key] = template(self.target, operation, principal)
        return self._templates[key]

    def subject(self, operation: str, principal: str) -> tuple[str, str]:
        """The operation that is sent, and the id that it is about. Where nothing of the principal's own is open yet,
        one request still goes out, and makes something."""
        if not self.template(operation, principal).needs_id:
            return operation, ""
        ends = self.target.operation[operation].role == "cancel"
        found = self.made.take(principal) if ends else self.made.look(principal)
        if found is not None:
            return operation, found
        self.substituted += 1
        return next(iter(self.made.creates), operation), "none"

    def outcome(self, operation: str, response: Response, wire: bytes, principal: str) -> str:
        """`ok`, `throttled`, or the status."""
        if response.status < 400 and not self._says_ok_in_body:
            return OK if 200 <= response.status < 300 else f"status {response.status}"
        seen = as_exchange(self.target, operation, principal, "", wire, response)
        if response.status in self._throttled and outcome(self.target, "throttled", seen):
            return THROTTLED
        return OK if outcome(self.target, "ok", seen) else f"status {response.status}"

    def settle(self, operation: str, principal: str, item: str, unique: str, response: Response | None, said: str,
               ) -> None:
        """Keeps what was made, forgets what has ended."""
        op = self.target.operation[operation]
        if op.role == "create" and said == OK and response:
            self.made.created(operation, op, principal, unique, response.content)
        elif op.role == "cancel" and item:
            if said == OK:
                self.made.ended(item)
            elif said == THROTTLED or response is None:
                self.made.put_back(principal, item)


class DeclaredUser(User):
    """Sends the target's declared operations as the arrivals say, one after another."""

    abstract = True

    @task
    def arrive(self) -> None:
        """Arrivals until the user is stopped: one request each."""
        desk: Desk = self.environment.openbell_desk
        engine: Engine = self.environment.openbell_engine
        fire = self.environment.events.request.fire
        while True:
            job = engine.take()
            try:
                send(desk, job, fire)
            finally:
                engine.done(job)


def send(desk: Desk, job: Job, fire: Callable[..., None]) -> None:
    """Sends the arrival's operation and fires the request event."""
    principal, number = job.arrival.principal, job.arrival.number
    operation, item = desk.subject(job.arrival.operation, principal)
    form = desk.template(operation, principal)
    unique = "" if form.fixed else f"ob-{desk.stamp}-{number:09d}"
    wire = form.wire(b"" if form.public else desk.credentials.get(principal, b""), unique, item)
    response: Response | None = None
    failure: Exception | None = None
    try:
        response = desk.pool.send(wire, repeatable=form.method in SAFE, bodyless=form.method == "HEAD")
        said = desk.outcome(operation, response, wire, principal)
    except NoReply as error:
        failure, said = error, str(error).partition(":")[0]
    desk.settle(operation, principal, item, unique, response, said)
    service_s = response.done - response.sent if response else time.monotonic() - job.start
    fire(request_type=form.method, name=operation, response_time=service_s * 1e3,
         response_length=len(response.content) if response else 0, context={"outcome": said}, response=response,
         exception=failure or (None if said == OK else Unwell(said)))
    if desk.sampler.wants(job, said):
        desk.sampler.offer(job, operation, form.filled_url(unique, item), wire, response, failure)


class Unwell(Exception):
    """A reply that is not the outcome `ok`."""
