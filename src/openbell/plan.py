"""What a run will do, before anything is sent: which scenarios, what they cost, what keeps the others back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from openbell.judge import evidence
from openbell.profile import Allow, Profile
from openbell.registry import Check, Claim, Cost, Reason, Scenario
from openbell.target import Subject

TOKEN_SLACK = 2


@dataclass(frozen=True)
class Instance:
    """A scenario for one subject."""

    scenario: Scenario
    subject: Subject
    claims: tuple[Claim, ...]
    cost: Cost

    @property
    def name(self) -> str:
        """Its name in the journal."""
        return self.scenario.instance(self.subject)

    def seconds(self, rate: float) -> float:
        """How long it takes at least: its waits, and its requests over the rate."""
        return self.cost.waits_s + self.cost.requests / rate


@dataclass(frozen=True)
class KeptBack:
    """An instance that will not run, and why."""

    name: str
    reason: Reason
    why: str


@dataclass(frozen=True)
class Plan:
    """Instances to run, in order of start; those kept back; the rate in requests per second."""

    run: tuple[Instance, ...]
    kept_back: tuple[KeptBack, ...]
    rate: float

    @property
    def cost(self) -> Cost:
        """The sum over all instances."""
        return Cost(sum(i.cost.reads for i in self.run), sum(i.cost.writes for i in self.run),
                    sum(i.cost.waits_s for i in self.run))

    def critical_path(self, weights: dict[str, float] | None = None) -> float:
        """Seconds of the longest chain under own-claims, controls first; `weights` replaces the planned seconds."""
        weigh = {i.name: i.seconds(self.rate) for i in self.run} | (weights or {})
        controls = sum(weigh[i.name] for i in self.run if i.scenario.control)
        others = [i for i in self.run if not i.scenario.control]
        chains = [_chain(resource, others, weigh) for resource in {c.resource for i in others for c in i.claims}]
        longest = max([*chains, *(weigh[i.name] for i in others)], default=0.0)
        return controls + longest


def _chain(resource: str, instances: Iterable[Instance], weigh: dict[str, float]) -> float:
    """Owners of a resource follow one another; those that share it run beside one another, before or after."""
    owners, sharers = [0.0], [0.0]
    for instance in instances:
        for claim in instance.claims:
            if claim.resource == resource:
                (owners if claim.own else sharers).append(weigh[instance.name])
    return sum(owners) + max(sharers)


def make_plan(target: Profile, checks: Iterable[Check], scenarios: Iterable[Scenario], allow: frozenset[Allow],
              rate: float) -> Plan:
    """The plan for a selection of checks; controls always run, and traffic checks ask for every scenario."""
    checks, scenarios = tuple(checks), tuple(scenarios)
    traffic = any(c.traffic for c in checks)
    wanted = {s.name for s in (scenarios if traffic else evidence(checks))}
    run: list[Instance] = []
    kept: list[KeptBack] = []
    for scenario in scenarios:
        if not (scenario.control or scenario.name in wanted):
            continue
        for subject in scenario.subjects(target):
            back = _kept_back(scenario, subject, target, allow)
            if back:
                kept.append(back)
            else:
                claims, cost = scenario.claims(target, subject), scenario.cost(target, subject)
                run.append(Instance(scenario, subject, claims, cost))
    order = sorted(run, key=lambda i: (not i.scenario.control, -i.seconds(rate)))
    return Plan(tuple(order), tuple(kept), rate)


def _kept_back(scenario: Scenario, subject: Subject, target: Profile, allow: frozenset[Allow]) -> KeptBack | None:
    name = scenario.instance(subject)
    if missing := sorted(scenario.allow - allow):
        return KeptBack(name, "not_allowed", f"needs the permission {' and '.join(missing)} (target.allow)")
    why = scenario.needs(target, subject)
    return KeptBack(name, "precondition", why) if why else None


def tokens(target: Profile, seconds: float) -> int:
    """How many token requests a run of some seconds makes at most, over all principals with an OAuth step."""
    steps = [s for c in target.credential.values() for s in c.stack if s.kind == "oauth2"]
    return sum(TOKEN_SLACK + int(2 * seconds / s.lifetime_s) for s in steps)
