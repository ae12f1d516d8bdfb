"""A sample of the load's exchanges, redacted where the bytes are first held, for the traffic checks to judge."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from openbell.events import Exchange, Message, event_json
from openbell.loadprofiles.encoding import sent_message
from openbell.loadprofiles.engine import Job
from openbell.loadprofiles.lean import Response
from openbell.loadprofiles.words import OK
from openbell.profile import Profile
from openbell.redact import Redactor
from openbell.wire import decoded, sparse

SCENARIO = "(load)"
FAILURES = 40
MOST_CONTENT = 256 * 1024


def as_exchange(target: Profile, operation: str, principal: str, label: str, wire: bytes, response: Response | None,
                *, url: str = "", no_reply: str | None = None, sent: float = 0.0) -> Exchange:
    """A request and its reply as an event, not redacted and without a number."""
    reply = None
    if response:
        content = response.content[:MOST_CONTENT]
        reply = sparse(decoded(response.fields(), content, cut=len(content) < len(response.content)))
    return Exchange(
        n=0, scenario=SCENARIO, label=label, origin="load", route="direct",
        conn=response.connection if response else 0, principal=principal, operation=operation,
        method=target.operation[operation].method, url=url, request=sent_message(wire),
        status=response.status if response else None, reply=reply, no_reply=no_reply,
        sent=response.sent if response else sent, first=response.first if response else None,
        done=response.done if response else time.monotonic())


class Sampler:
    """Every `stride`-th arrival of the plan, and of each phase the first few that did not go well."""

    def __init__(self, target: Profile, phases: tuple[str, ...], stride: int, redactor: Redactor,
                 give: Callable[[dict[str, Any]], None]) -> None:
        self.target, self.phases, self.stride, self.redactor, self.give = target, phases, stride, redactor, give
        self._failures: Counter[tuple[str, str]] = Counter()

    def wants(self, job: Job, said: str) -> bool:
        """Whether the arrival's exchange belongs to the sample."""
        if said == OK:
            return job.arrival.number % self.stride == 0
        phase = self.phases[job.arrival.phase]
        self._failures[phase, said] += 1
        return job.arrival.number % self.stride == 0 or self._failures[phase, said] <= FAILURES

    def offer(self, job: Job, operation: str, url: str, wire: bytes, response: Response | None,
              failure: Exception | None) -> None:
        """Takes the exchange."""
        label = f"{self.phases[job.arrival.phase]}:{job.arrival.number}"
        seen = as_exchange(self.target, operation, job.arrival.principal, label, wire, response, url=url,
                           no_reply=str(failure) if failure else None, sent=job.start)
        self.give({"exchange": event_json(self._clean(seen))})

    def _clean(self, seen: Exchange) -> Exchange:
        return replace(seen, url=self.redactor.url(seen.url), request=self._masked(seen.request),
                       reply=self._masked(seen.reply) if seen.reply else None)

    def _masked(self, message: Message) -> Message:
        return replace(message, headers=self.redactor.headers(message.headers),
                       content=self.redactor.data(message.content))
