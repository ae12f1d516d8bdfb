from __future__ import annotations

import pytest
from made import exchange, fact, profile, recording, said

from openbell.conformance.expiry import token_ends
from openbell.scenarios.expiry import expiring, margin, polls, token_expiry, watched
from openbell.target import Subject

TARGET = profile(credential={"expiry": {"role": "full"}})
LIFE = fact("lifetime", sent=0.0, done=0.1, lifetime_s=4.0, leeway_s=12.0, exchange=1)
LATE = 17.2
NO = {"code": "token_expired"}
CONTROL = exchange("control:new", at=30.0)


def ok(label, at, **changes):
    return exchange(label, 200, {"items": []}, at=at, **changes)


def no(label, at, status=401, **changes):
    return exchange(label, status, NO, at=at, **changes)


ALIVE = (ok("kept:start", 0.2), ok("fresh:start", 0.3, conn=2), ok("kept:half", 2.0), ok("kept:before", 2.6),
         ok("fresh:before", 2.7, conn=3))


def judged(*events, target=TARGET, life=LIFE):
    return said(token_ends.judge(recording(life, *events), target, Subject("principal", "expiry")))


def after(*replies):
    """Probes from 4.4 s on, twice a second: pairs of what the fresh and the kept-alive connection got."""
    return tuple(event for i, (fresh, kept) in enumerate(replies) for event in (
        fresh(f"fresh:after:{i}", 4.4 + i / 2, conn=10 + i), kept(f"kept:after:{i}", 4.45 + i / 2)))


@pytest.mark.parametrize("end", [
    after((no, no)),
    after(*[(ok, ok)] * 20, (no, no)),
    after((ok, no), (no, no)),
    (no("fresh:after:0", 14.5, conn=9), no("kept:after:0", 14.6)),
], ids=["at once", "ten seconds of leeway", "not together", "late in the leeway"])
def test_a_token_that_ends_in_time(end):
    assert judged(*ALIVE, *end, CONTROL) == ["holds"] * 3


@pytest.mark.parametrize(("events", "rule"), [
    ((*ALIVE, ok("fresh:after:0", LATE, conn=9), ok("kept:after:0", LATE)), "outlives-expiry"),
    ((*ALIVE, no("fresh:after:0", LATE, conn=9), ok("kept:after:0", LATE)), "outlives-expiry"),
    ((*ALIVE, *after((no, ok), (no, ok))), "kept-alive-outlives"),
    ((*ALIVE[:2], no("kept:half", 2.1), *after((no, no))), "refused-early"),
    ((*ALIVE[:4], no("fresh:before", 2.7, conn=3), *after((no, no))), "refused-early"),
])
def test_each_broken_rule(events, rule):
    assert [w for w in judged(*events, CONTROL) if w[0] != "?" and w != "holds"] == [rule]


@pytest.mark.parametrize("events", [
    (*ALIVE, ok("kept:after:0", LATE - 0.2), no("fresh:after:1", LATE, conn=9), no("kept:after:1", LATE)),
    (*ALIVE, no("kept:warm:1", 3.5), *after((no, no))),
    (*ALIVE, *after((no, ok), (no, no))),
    (*ALIVE, no("fresh:after:0", 4.4, conn=9), ok("kept:after:0", 4.5, conn=7), no("fresh:after:1", 4.9, conn=10),
     ok("kept:after:1", 5.0, conn=7), no("fresh:after:2", 5.4, conn=11), no("kept:after:2", 5.5, conn=7)),
    (*ALIVE, no("fresh:after:0", 4.4, conn=9), ok("kept:after:0", 4.5), ok("fresh:after:1", 4.9, conn=10),
     ok("kept:after:1", 5.0), no("fresh:after:2", 5.4, conn=11), no("kept:after:2", 5.5)),
], ids=["sent within the leeway", "refused in the last second", "outlived once", "another connection", "nodes differ"])
def test_what_must_not_be_flagged(events):
    assert set(judged(*events, CONTROL)) <= {"holds", "?noisy"}


@pytest.mark.parametrize(("events", "reason"), [
    ((*ALIVE, *after((no, no))), "?control_failed"),
    ((*ALIVE, *after((no, no)), no("control:new", 9.0)), "?control_failed"),
    ((no("kept:start", 0.2), *after((no, no)), CONTROL), "?control_failed"),
    ((*ALIVE, *after((no, no)), CONTROL, ok("anonymous", 31.0)), "?precondition"),
    ((*ALIVE[:2], exchange("kept:before", None, at=2.6), *after((no, no)), CONTROL), "?noisy"),
    ((*ALIVE, exchange("fresh:after:0", None, at=LATE), exchange("kept:after:0", 503, at=LATE), CONTROL), "?no_reply"),
])
def test_what_cannot_be_decided(events, reason):
    words = judged(*events)
    assert reason in words
    assert set(words) <= {"holds", reason}


def test_an_early_end_of_a_shared_principal_may_be_due_to_a_newer_token():
    shared = profile(credential={"expiry": {"sacrificial": ()}})
    events = (*ALIVE[:2], no("kept:half", 2.0), *after((no, no)), CONTROL)
    assert judged(*events, target=shared) == ["?precondition", "holds", "holds"]


def test_without_a_token_nothing_is_decided():
    assert judged(life=fact("other")) == ["?control_failed"]


@pytest.mark.parametrize(("lifetime", "seconds"), [(4, 1), (12, 3), (40, 5), (120, 5), (2, 1)])
def test_the_last_seconds_in_which_a_refusal_is_not_early(lifetime, seconds):
    assert margin(lifetime) == seconds


@pytest.mark.parametrize("leeway", [0, 1, 5, 10, 12, 60, 120])
def test_polls_are_sparse_and_end_when_the_leeway_is_over(leeway):
    instants = list(polls(100.0, leeway))
    assert instants == sorted(instants)
    assert 100 + leeway + 1 < instants[-1] < 100 + leeway + 1.5
    assert len(instants) <= 30


def test_the_principal_that_is_watched():
    assert expiring(TARGET) == "expiry"
    none = profile(credential={"expiry": {"sacrificial": ()}})
    assert expiring(none) == "full"
    assert expiring(profile(credential={"expiry": {"stack": ()}})) is None
    assert [s.name for s in token_expiry.subjects(TARGET)] == ["expiry"]
    assert not watched(TARGET, Subject("principal", "full"))


def test_a_long_lifetime_is_not_planned_for_and_a_public_control_says_nothing():
    step = TARGET.credential["expiry"].stack[0]
    long = profile(credential={"expiry": {"stack": (step.model_copy(update={"lifetime_s": 3600.0}),)}})
    subject = Subject("principal", "expiry")
    assert token_expiry.cost(long, subject).waits_s == 0.0
    assert token_expiry.cost(TARGET, subject).waits_s == step.lifetime_s + step.leeway_s + 2
    assert token_expiry.cost(long, subject).longest_wait_s == 120 + step.leeway_s + 2
    assert token_expiry.needs(TARGET, subject) is None
    assert "public" in token_expiry.needs(profile(operation={"list_positions": {"public": True}}), subject)
