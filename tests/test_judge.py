"""Verdicts: what observations amount to, in the presence of everything that may go wrong."""

import json
from dataclasses import replace
from typing import Any

import pytest

from openbell.events import Exchange, Fact, Message
from openbell.journal import Header
from openbell.judge import judge
from openbell.registry import MUST, SHOULD, Check, Cost, broken, check, holds, scenario, traffic_check, undecided
from openbell.results import Results, stale, to_bytes

PROFILE = {"target": {"name": "t", "base_url": "http://127.0.0.1:1", "control": "read"},
           "operation": {"read": {"role": "read", "method": "GET", "path": "/x"}},
           "promise": {"trace.every_reply": "promised"}}
HEADER = Header("0", "run", "2026-11-26T00:00:00+00:00", 1, "t.toml", PROFILE)
COMMON: dict[str, Any] = {"title": "t", "promise": "trace.every_reply", "sources": ("s",), "remedy": "r"}


@scenario(per="api", claims=lambda _t, _s: (), cost=lambda _t, _s: Cost())
async def story(_api, _target, _subject):
    """A scenario that never runs here."""


def scenario_check(*observations, level=MUST, minimum=1) -> Check:
    @check("COR-900", level=level, per="api", evidence=(story,), minimum=minimum, **COMMON)
    def judged(_recording, _target, _subject):
        """Says what it is told to say."""
        yield from observations
    return judged


def fact(name, by="story@api", **data) -> Fact:
    return Fact(1, by, 0.0, name, data)


def exchange(n=1, status=200, route="direct") -> Exchange:
    return Exchange(n, "story@api", "x", "scenario", route, 1, "full", "read", "GET", "http://127.0.0.1:1/x", Message(),
                    status, Message(), None, 0.0, 0.1, 0.2)


END = (exchange(), fact("scenario_end"))


def verdict(*observations, header=HEADER, events=END, **options):
    [result] = judge(header, events, [scenario_check(*observations, **options)])
    return result


def promised(state):
    return replace(HEADER, profile={**PROFILE, "promise": {"trace.every_reply": state} if state else {}})


@pytest.mark.parametrize(("observations", "level", "expected", "reason"), [
    ([holds()], MUST, "pass", None),
    ([holds(), undecided("noisy", "w")], MUST, "pass", None),
    ([holds(), broken("r", "e", "a")], MUST, "fail", None),
    ([broken("r", "e", "a")], SHOULD, "warn", None),
    ([broken("r", "e", "a", level=SHOULD)], MUST, "warn", None),
    ([broken("r", "e", "a", level="MAY")], MUST, "info", None),
    ([broken("r", "e", "a", level=SHOULD), broken("q", "e", "a")], MUST, "fail", None),
    ([], MUST, "inconclusive", "no_sample"),
    ([undecided("noisy", "w")], MUST, "inconclusive", "noisy"),
])
def test_what_observations_amount_to(observations, level, expected, reason):
    result = verdict(*observations, level=level)
    assert (result.verdict, result.reason) == (expected, reason)


def test_too_few_observations_decide_nothing():
    assert verdict(holds(), holds(), minimum=3).verdict == "inconclusive"
    assert verdict(holds(), holds(), holds(), minimum=3).verdict == "pass"


def test_a_failed_control_leaves_everything_undecided():
    result = verdict(broken("r", "e", "a"), events=(fact("control", ok=False, why="status 500"), *END))
    assert (result.verdict, result.reason) == ("inconclusive", "control_failed")
    assert "status 500" in result.summary


def test_promises():
    assert verdict(broken("r", "e", "a"), header=promised("not_promised")).verdict == "not-applicable"
    seen = verdict(broken("r", "e", "a"), header=promised(None))
    assert seen.verdict == "info"
    assert '"trace.every_reply" = "not_promised"' in seen.summary
    assert '= "promised"' in verdict(holds(), header=promised("unknown")).summary


@pytest.mark.parametrize(("events", "expected", "reason"), [
    ((), "inconclusive", "budget"),
    ((exchange(),), "inconclusive", "budget"),
    ((fact("skipped", "(scheduler)", scenario="story@api", reason="not_allowed", why="no"),), "inconclusive",
     "not_allowed"),
    ((fact("scenario_error", error="KeyError"),), "error", None),
])
def test_evidence_that_is_not_whole_is_not_judged(events, expected, reason):
    result = verdict(broken("r", "e", "a"), events=events)
    assert (result.verdict, result.reason) == (expected, reason)


def test_a_check_that_raises_is_an_error_of_the_harness():
    def raising():
        yield holds()
        raise ValueError("boom")
    assert verdict(*[]).verdict == "inconclusive"

    @check("COR-901", level=MUST, per="api", evidence=(story,), minimum=1, **COMMON)
    def judged(_recording, _target, _subject):
        """Raises."""
        yield from raising()
    [result] = judge(HEADER, END, [judged])
    assert result.verdict == "error"
    assert Results("0", None, "t", "r", (result,)).exit_code == 4


def test_traffic_checks_see_direct_exchanges_only():
    @traffic_check("COR-902", level=MUST, minimum=1, **COMMON)
    def judged(seen, _target, memory):
        """Counts."""
        memory["n"] = memory.get("n", 0) + 1
        yield broken("r", "e", str(memory["n"]), seen)
    [result] = judge(HEADER, [exchange(1), exchange(2, route="proxy"), exchange(3)], [judged])
    assert [f.events for f in result.findings] == [(1,), (3,)]


def test_the_first_five_findings_of_a_rule_are_kept_and_all_are_counted():
    result = verdict(*(broken("r", "e", str(i)) for i in range(9)))
    assert [f.actual for f in result.findings] == ["0", "1", "2", "3", "4"]
    assert result.observed["broken"] == 9


def entry(*rules, subject="api", expires=None):
    return {"check": "COR-900", "subject": subject, "rules": list(rules), **({"expires": expires} if expires else {})}


@pytest.mark.parametrize(("accepted", "expected"), [
    (entry("r"), "accepted"), (entry("q"), "fail"), (entry("r", "q"), "fail"), (entry("r", subject="limit:x"), "fail"),
    (entry("r", expires="2026-11-26"), "accepted"), (entry("r", expires="2026-11-25"), "fail"),
])
def test_what_is_accepted_is_exactly_these_rules_and_in_force(accepted, expected):
    header = replace(HEADER, accepted=(accepted,))
    result = verdict(broken("r", "e", "a"), header=header)
    assert result.verdict == expected
    assert bool(stale(header, [result])) == (expected == "fail")
    code = Results("0", None, "t", "r", (result,), stale(header, [result])).exit_code
    assert code == (1 if expected == "fail" else 2)


@pytest.mark.parametrize(("expires", "told"), [
    ("2026-11-25", ": it has expired, its last day was 2026-11-25"), ("2026-11-26", ""), (None, "")])
def test_an_expired_entry_says_that_it_is_and_when(expires, told):
    header = replace(HEADER, accepted=(entry("q", expires=expires),))
    assert stale(header, [verdict(broken("r", "e", "a"), header=header)]) == (f"COR-900 on api (q){told}",)


def test_an_undecided_must_can_be_accepted_by_its_reason():
    assert verdict(undecided("budget", "w"), header=replace(HEADER, accepted=(entry("budget"),))).verdict == "accepted"


@pytest.mark.parametrize(("verdicts", "code", "conforms"), [
    (["pass"], 0, True), (["pass", "warn", "info", "not-applicable"], 0, True), (["pass", "fail"], 1, False),
    (["pass", "inconclusive"], 2, None), (["error", "inconclusive"], 4, None), (["fail", "error"], 1, False),
    (["not-applicable"], 2, None), ([], 2, None),
])
def test_exit_codes(verdicts, code, conforms):
    found = verdict(holds())
    results = Results("0", None, "t", "r", tuple(replace(found, verdict=v) for v in verdicts))
    assert (results.exit_code, results.conforms) == (code, conforms)
    assert sum(results.counts.values()) == len(verdicts)


def test_the_same_journal_gives_the_same_bytes():
    def once():
        return to_bytes(Results("0", None, "t", "r", (verdict(broken("r", "e", "a"), holds()),)))
    assert once() == once()


def test_a_lone_surrogate_of_the_target_does_not_stop_the_results():
    found = verdict(broken("r", "e", "an id of \ud800"))
    text = to_bytes(Results("0", None, "t", "r", (found,)))
    assert json.loads(text)["results"][0]["findings"][0]["actual"] == "an id of \ud800"
    assert text.decode("utf-8")
