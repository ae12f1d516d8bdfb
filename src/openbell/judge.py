"""One fold over events: observations to verdicts.

Live and offline feed the same fold, and it reads nothing but the header and the events: the same journal, judged
elsewhere or a year later, gives the same results. The worst wins: an error of the harness is never a pass, and a
failed control leaves everything undecided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from openbell.events import Event, Exchange, Fact, Recording
from openbell.journal import Header
from openbell.loading import parse
from openbell.profile import Profile
from openbell.promises import State
from openbell.registry import MUST, Check, Level, Observation, Scenario
from openbell.results import Finding, Result, Verdict, in_force, reproduce
from openbell.target import Subject

KEPT = 5
_VERDICT: dict[Level, Verdict] = {"MUST": "fail", "SHOULD": "warn", "MAY": "info"}
_RANK = {"MUST": 0, "SHOULD": 1, "MAY": 2}


@dataclass
class Tally:
    """What was seen for one check and one subject: counts, the first findings of each rule, the worst level."""

    counts: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)
    levels: set[Level] = field(default_factory=set)
    error: str | None = None

    def add(self, observation: Observation, level: Level) -> None:
        """Counts one observation."""
        self.counts[observation.state] += 1
        if observation.state == "broken":
            self.rules[observation.rule] += 1
            self.levels.add(observation.level or level)
            if self.rules[observation.rule] <= KEPT:
                self.findings.append(Finding(observation.rule, observation.expected, observation.actual,
                                             observation.events))
        elif observation.state == "undecided" and observation.reason:
            self.reasons[observation.reason] += 1
            self.why.setdefault(observation.reason, observation.actual)

    def take(self, observations: Iterator[Observation], level: Level) -> None:
        """Counts all observations of one call; an exception in the check is the harness's error."""
        try:
            for observation in observations:
                self.add(observation, level)
        except Exception as error:  # noqa: BLE001 - whatever a check raises is the verdict `error`, never a crash
            self.error = f"the check raised {type(error).__name__}: {str(error)[:200]}"


def judge(header: Header, events: Iterable[Event], checks: Iterable[Check]) -> Iterator[Result]:
    """Results of all selected checks, by check and subject, from a journal's header and events."""
    fold = Fold(header, checks)
    for event in events:
        fold.feed(event)
    yield from fold.results()


class Fold:
    """The state of judging: traffic is judged as it comes, scenarios when their recording is whole."""

    def __init__(self, header: Header, checks: Iterable[Check]) -> None:
        self.header = header
        self.target: Profile = parse(header.profile, header.target)
        chosen = header.selection.get("checks")
        self.checks = tuple(c for c in checks if chosen is None or c.id in chosen)
        self._traffic = [(c, Tally(), dict[str, Any]()) for c in self.checks if c.traffic]
        self._recordings: dict[str, list[Event]] = {
            name: [] for c in self.checks for s in c.subjects(self.target) for name in c.sources_of(self.target, s)}
        self._ended: set[str] = set()
        self._skipped: dict[str, tuple[str, str]] = {}
        self._errors: dict[str, str] = {}
        self._control: str | None = None

    def feed(self, event: Event) -> None:
        """Takes the next event of the journal."""
        if isinstance(event, Fact):
            self._fact(event)
        elif isinstance(event, Exchange) and event.route == "direct":
            for check, tally, memory in self._traffic:
                if check.traffic and self._state(check) != "not_promised":
                    tally.take(check.traffic(event, self.target, memory), check.level)
        kept = self._recordings.get(event.scenario)
        if kept is not None:
            kept.append(event)

    def _fact(self, fact: Fact) -> None:
        match fact.name:
            case "control":
                self._control = None if fact.data["ok"] else str(fact.data["why"])
            case "skipped":
                self._skipped[str(fact.data["scenario"])] = (str(fact.data["reason"]), str(fact.data["why"]))
            case "scenario_error":
                self._errors[fact.scenario] = str(fact.data["error"])
            case "scenario_end":
                self._ended.add(fact.scenario)

    def _state(self, check: Check) -> State:
        return self.target.promise.get(check.promise, "unknown")

    def results(self) -> Iterator[Result]:
        """All results, by check id, then in the profile's order of subjects."""
        tallies = {c.id: t for c, t, _ in self._traffic}
        for check in self.checks:
            for subject in check.subjects(self.target):
                tally = tallies.get(check.id) or self.scenario_tally(check, subject)
                yield self._result(check, subject, tally)

    def ready(self, check: Check, subject: Subject) -> bool:
        """Whether all evidence of a scenario check is in."""
        return all(n in self._ended or n in self._skipped for n in check.sources_of(self.target, subject))

    def scenario_tally(self, check: Check, subject: Subject) -> Tally:
        """Judges one scenario check on the recording of its scenarios."""
        tally = Tally()
        names = check.sources_of(self.target, subject)
        tally.error = next((self._errors[n] for n in names if n in self._errors), None)
        for name in names:
            if name not in self._ended and name not in self._errors:
                reason, why = self._skipped.get(name, ("budget", "the scenario did not finish"))
                tally.reasons[reason] += 1
                tally.why[reason] = why
        whole = [e for n in names if n in self._ended for e in self._recordings[n]]
        if check.judge and whole and self._state(check) != "not_promised":
            recording = Recording(tuple(sorted(whole, key=lambda e: e.n)))
            tally.take(check.judge(recording, self.target, subject), check.level)
        return tally

    def result(self, check: Check, subject: Subject) -> Result:
        """The result of one scenario check as things stand."""
        return self._result(check, subject, self.scenario_tally(check, subject))

    def _result(self, check: Check, subject: Subject, tally: Tally) -> Result:
        verdict, reason, summary = self._verdict(check, subject, tally)
        entry = self._acceptance(check, subject, verdict, tally, reason)
        return Result(
            check=check.id, title=check.title, area=check.area, level=check.level, subject=str(subject),
            verdict="accepted" if entry else verdict, reason=reason, summary=summary,
            observed={s: tally.counts[s] for s in ("holds", "broken", "undecided")},
            findings=tuple(sorted(tally.findings, key=lambda f: (f.rule, f.events))) if verdict in _BROKEN else (),
            sources=check.sources, remedy=check.remedy, accepted=entry,
            reproduce=reproduce(self.header, check.id))

    def _verdict(self, check: Check, subject: Subject, tally: Tally) -> tuple[Verdict, str | None, str]:
        state = self._state(check)
        if why := _not_promised(state) or check.exempt(self.target, subject):
            return "not-applicable", None, why
        if self._control is not None:
            return "inconclusive", "control_failed", f"the control failed: {self._control}"
        if tally.error:
            return "error", None, tally.error
        if state == "unknown" and (tally.counts["broken"] or tally.counts["holds"] >= check.minimum):
            word = "not_promised" if tally.counts["broken"] else "promised"
            return "info", None, f'the profile is silent; what was seen suggests "{check.promise}" = "{word}"'
        if tally.counts["broken"]:
            worst = min(tally.levels, key=_RANK.__getitem__)
            return _VERDICT[worst], None, _broken(tally)
        return _undecided(check, tally) or ("pass", None, _counted(tally.counts["holds"]))

    def _acceptance(self, check: Check, subject: Subject, verdict: Verdict, tally: Tally, reason: str | None,
                    ) -> dict[str, Any] | None:
        """The entry in force that covers exactly these rules; an undecided MUST is covered by its reason."""
        undecided = verdict == "inconclusive" and check.level == MUST
        if verdict not in _BROKEN and not undecided:
            return None
        rules = {reason} if undecided else set(tally.rules)
        for entry in self.header.accepted:
            same = entry["check"] == check.id and entry["subject"] == str(subject)
            if same and set(entry["rules"]) == rules and in_force(entry, self.header.started):
                return dict(entry)
        return None


_BROKEN = ("fail", "warn", "info")


def _not_promised(state: State) -> str | None:
    return "the profile says that the API does not promise it" if state == "not_promised" else None


def _broken(tally: Tally) -> str:
    return ", ".join(f"{rule} ({count}×)" for rule, count in sorted(tally.rules.items()))


def _counted(held: int) -> str:
    return f"{held} observations hold" if held != 1 else "1 observation holds"


def _undecided(check: Check, tally: Tally) -> tuple[Verdict, str | None, str] | None:
    if tally.counts["holds"] >= check.minimum:
        return None
    reason = tally.reasons.most_common(1)[0][0] if tally.reasons else "no_sample"
    few = f"{tally.counts['holds']} of at least {check.minimum} observations"
    why = tally.why.get(reason)
    return "inconclusive", reason, f"{why} ({few})" if why else few


def evidence(checks: Iterable[Check]) -> tuple[Scenario, ...]:
    """The scenarios that a set of checks needs, each once."""
    return tuple({s.name: s for c in checks for s in c.evidence}.values())
