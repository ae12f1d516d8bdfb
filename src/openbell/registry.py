"""How a check and a scenario are declared, and how those in the house are found.

A scenario acts and never asserts; a check asserts and never acts. Both are frozen values made by a decorator and found
by looking through the modules of their room: a new file is a new check, and nothing is listed twice.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from openbell.events import Event, Exchange, Recording
from openbell.profile import Allow, Kind, Profile
from openbell.promises import PROMISES
from openbell.target import Subject, subjects

if TYPE_CHECKING:
    from openbell.api import Api

Level = Literal["MUST", "SHOULD", "MAY"]
MUST: Level = "MUST"
SHOULD: Level = "SHOULD"
MAY: Level = "MAY"
Reason = Literal["no_sample", "control_failed", "edge_generated", "noisy", "budget", "shared_quota", "clock_unknown",
                 "vacuous", "precondition", "no_reply", "not_allowed"]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing seen: it holds, is broken, or is undecided; by which rule; which events show it.

    `level` lowers the check's own level for this one rule.
    """

    state: Literal["holds", "broken", "undecided"]
    rule: str = ""
    expected: str = ""
    actual: str = ""
    events: tuple[int, ...] = ()
    reason: Reason | None = None
    level: Level | None = None


def _numbers(events: Iterable[Event]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(event.n for event in events))


def holds(*events: Event) -> Observation:
    """The requirement was seen to hold."""
    return Observation("holds", events=_numbers(events))


def broken(rule: str, expected: str, actual: str, *events: Event, level: Level | None = None) -> Observation:
    """The requirement was seen to be broken, by a rule whose name never changes."""
    return Observation("broken", rule, expected, actual, _numbers(events), None, level)


def undecided(reason: Reason, why: str, *events: Event) -> Observation:
    """It could not be decided, for one of the reasons, and why."""
    return Observation("undecided", reason, "", why, _numbers(events), reason)


# --- claims and cost: what the scheduler must know before anything is sent


@dataclass(frozen=True)
class Claim:
    """A resource (`api`, `principal:x`, `collection:x`, `limit:x`) that is shared or owned."""

    resource: str
    own: bool = False


def share(resource: str) -> Claim:
    """Others may use the resource too."""
    return Claim(resource)


def own(resource: str) -> Claim:
    """Nobody else may use the resource meanwhile."""
    return Claim(resource, own=True)


@dataclass(frozen=True)
class Cost:
    """What a scenario may send at most, and how long it must wait (seconds).

    `budget_s` bounds the waits where what the target says decides their length; else `waits_s` does.
    """

    reads: int = 0
    writes: int = 0
    waits_s: float = 0.0
    budget_s: float = 0.0

    @property
    def requests(self) -> int:
        """Reads and writes together."""
        return self.reads + self.writes

    @property
    def longest_wait_s(self) -> float:
        """The seconds that its waits may take together."""
        return max(self.waits_s, self.budget_s)


Where: TypeAlias = Callable[[Profile, Subject], bool]
Needs: TypeAlias = Callable[[Profile, Subject], str | None]


def everywhere(_target: Profile, _subject: Subject) -> bool:
    """Every subject of the kind."""
    return True


def nothing_needed(_target: Profile, _subject: Subject) -> None:
    """No precondition."""


@dataclass(frozen=True)
class Scenario:
    """An async function that drives the target for one subject, and what it claims, needs and costs."""

    name: str
    doc: str
    per: Kind
    run: Callable[[Api, Profile, Subject], Coroutine[Any, Any, None]]
    claims: Callable[[Profile, Subject], tuple[Claim, ...]]
    allow: frozenset[Allow]
    needs: Needs
    cost: Callable[[Profile, Subject], Cost]
    where: Where
    control: bool = False

    def instance(self, subject: Subject) -> str:
        """The name under which the events of one subject's run stand in the journal."""
        return f"{self.name}@{subject}"

    def subjects(self, target: Profile) -> tuple[Subject, ...]:
        """The subjects that it is run for."""
        return tuple(s for s in subjects(target, self.per) if self.where(target, s))


Judge: TypeAlias = Callable[[Recording, Profile, Subject], Iterator[Observation]]
TrafficJudge: TypeAlias = Callable[[Exchange, Profile, dict[str, Any]], Iterator[Observation]]


@dataclass(frozen=True)
class Check:
    """A pure function from events and target to observations, with its requirement's metadata.

    `evidence` names the scenarios whose recording it sees; a traffic check has none and sees every direct exchange.
    `exempt` tells why a subject, by what the profile says of it, has nothing that the requirement is about.
    """

    id: str
    title: str
    level: Level
    promise: str
    sources: tuple[str, ...]
    remedy: str
    doc: str
    minimum: int
    per: Kind = "api"
    evidence: tuple[Scenario, ...] = ()
    judge: Judge | None = None
    traffic: TrafficJudge | None = None
    where: Where = everywhere
    exempt: Needs = nothing_needed
    area: str = field(default="")

    def subjects(self, target: Profile) -> tuple[Subject, ...]:
        """The subjects that it gives a verdict on."""
        return tuple(s for s in subjects(target, self.per) if self.where(target, s))

    def sources_of(self, target: Profile, subject: Subject) -> tuple[str, ...]:
        """The instances of its evidence for one subject."""
        found = ((s, subject if s.per == self.per else Subject("api")) for s in self.evidence)
        return tuple(s.instance(about) for s, about in found if s.where(target, about))


AREAS: Mapping[str, str] = {
    "HTTP": "http-semantics", "ERR": "error-bodies", "COR": "correlation", "PAG": "pagination", "RL": "rate-limits",
    "AUT": "authentication", "CRD": "credential-lifecycle", "WSH": "stream-heartbeat", "WSR": "stream-recovery",
    "IDM": "idempotency", "FUZ": "fuzzing",
}


def _area(check_id: str, promise: str) -> str:
    if promise not in PROMISES:
        raise ValueError(f"{check_id} names no known promise: {promise!r}")
    return AREAS[check_id.partition("-")[0]]


def scenario(*, per: Kind, claims: Callable[[Profile, Subject], tuple[Claim, ...]],
             cost: Callable[[Profile, Subject], Cost], allow: Iterable[Allow] = ("read",),
             needs: Needs = nothing_needed, where: Where = everywhere, control: bool = False,
             ) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Scenario]:
    """Declares a scenario; its name and description are the function's."""
    def declare(run: Callable[..., Coroutine[Any, Any, None]]) -> Scenario:
        return Scenario(run.__name__, (run.__doc__ or "").strip(), per, run, claims, frozenset(allow), needs, cost,
                        where, control)
    return declare


def check(check_id: str, *, title: str, level: Level, per: Kind, promise: str, evidence: tuple[Scenario, ...],
          minimum: int, sources: tuple[str, ...], remedy: str, where: Where = everywhere,
          exempt: Needs = nothing_needed) -> Callable[[Judge], Check]:
    """Declares a check over the recording of its scenarios, for one subject at a time."""
    def declare(judge: Judge) -> Check:
        return Check(check_id, title, level, promise, sources, remedy, (judge.__doc__ or "").strip(), minimum, per,
                     evidence, judge=judge, where=where, exempt=exempt, area=_area(check_id, promise))
    return declare


def traffic_check(check_id: str, *, title: str, level: Level, promise: str, minimum: int, sources: tuple[str, ...],
                  remedy: str) -> Callable[[TrafficJudge], Check]:
    """Declares a check over every direct exchange; it sees one at a time, and a small memory of its own."""
    def declare(judge: TrafficJudge) -> Check:
        return Check(check_id, title, level, promise, sources, remedy, (judge.__doc__ or "").strip(), minimum,
                     traffic=judge, area=_area(check_id, promise))
    return declare


T = TypeVar("T")


def _declared(package: str, kind: type[T]) -> Iterator[T]:
    """Every value of one kind that stands in the modules of a room, in the modules' order."""
    room = importlib.import_module(package)
    for info in sorted(pkgutil.iter_modules(room.__path__), key=lambda info: info.name):
        for value in vars(importlib.import_module(f"{package}.{info.name}")).values():
            if isinstance(value, kind):
                yield value


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check, by id. Raises ValueError when two share one."""
    found = {(c.id, id(c)): c for c in _declared("openbell.conformance", Check)}.values()
    if len({c.id for c in found}) != len(found):
        raise ValueError("two checks share an id")
    return tuple(sorted(found, key=lambda c: c.id))


@cache
def all_scenarios() -> tuple[Scenario, ...]:
    """Every scenario, the controls first, then by name. Raises ValueError when two share one."""
    found = {(s.name, id(s)): s for s in _declared("openbell.scenarios", Scenario)}.values()
    if len({s.name for s in found}) != len(found):
        raise ValueError("two scenarios share a name")
    return tuple(sorted(found, key=lambda s: (not s.control, s.name)))
