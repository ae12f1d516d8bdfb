from __future__ import annotations

from email.utils import formatdate

import pytest
from made import exchange, fact, profile, recording, said

from openbell.conformance.rate_limits import limit_fields, over_limit, remaining_is_true, waiting_is_enough
from openbell.scenarios.limits import cap, limits_exhaust, refill_s
from openbell.target import Subject


def limited(**reads):
    """The profile with a bucket of 20 that is refilled at 10 per second, but for what is said here."""
    return profile(limit={"reads": {"model": "token_bucket", "capacity": 20, "per_s": 10.0, **reads}})


TARGET = limited()
READS = Subject("limit", "reads")
EPOCH = 1_795_000_000
THROTTLED = {"code": "throttled"}
HTML = {"content-type": "text/html"}
AFTER = {"retry-after": "1"}
MARK = {"x-correlation-id": "1"}


def told(left, quota=20):
    return {"ratelimit-policy": f'"reads";q={quota};w=2', "ratelimit": f'"reads";r={left};t=1'}


def burst(episode=0, count=20, at=0.0, end=AFTER, status=429, body=THROTTLED, left=None, gap=0.01):
    """`count` successes and then the refusal, which has the fields `end`; None ends it without one."""
    left = left or (lambda i: told(count - 1 - i))
    events = [exchange(f"burst:{episode}:{i}", 200, {}, at=at + i * gap, took=0.005, fields=left(i))
              for i in range(count)]
    refusal = exchange(f"burst:{episode}:{count}", status, body, at=at + count * gap, fields=end or {})
    return [*events, *([] if end is None else [refusal])]


def judge(check, *events, target=TARGET):
    return said(check.judge(recording(*events), target, READS))


def rules(words):
    return {w for w in words if w != "holds" and not w.startswith("?")}


# --- RL-001


@pytest.mark.parametrize("end", [
    AFTER, {"retry-after": "9" * 40}, {"retry-after": formatdate(EPOCH, usegmt=True)}, {**AFTER, "age": "0"}])
def test_a_429_with_retry_after_holds(end):
    assert judge(over_limit, *burst(end=end)) == ["holds"]


@pytest.mark.parametrize(("end", "rule"), [
    ({"x": "y"}, "retry-after-missing"), ({"retry-after": "soon"}, "retry-after-malformed"),
    ({"retry-after": "-1"}, "retry-after-malformed"), ({"retry-after": "0.5"}, "retry-after-malformed"),
    ((("retry-after", "1"), ("retry-after", "1")), "retry-after-malformed"), ({**AFTER, "age": "9"}, "cached"),
])
def test_what_a_429_must_not_look_like(end, rule):
    assert judge(over_limit, *burst(end=end)) == [rule]


@pytest.mark.parametrize("status", [503, 403, 500, 200])
def test_another_status_that_silence_cures_twice_is_throttling(status):
    target = profile(outcome={"throttled": {"status": (429, 200)}})
    body = THROTTLED if status == 200 else {"code": "unavailable"}
    events = [e for n in range(2) for e in (*burst(n, at=10.0 * n, status=status, body=body),
                                            exchange(f"retry:{n}", at=10.0 * n + 5))]
    assert judge(over_limit, *events, target=target) == ["wrong-status"] * 2


@pytest.mark.parametrize("events", [
    [*burst(status=503), exchange("retry:0", at=5.0)],
    [*burst(status=503), exchange("retry:0", 503, at=5.0), exchange("retry:1", 503, at=9.0)],
    [e for n in range(2) for e in (*burst(n, 3, at=10.0 * n, status=500), exchange(f"retry:{n}", at=10.0 * n + 5))],
], ids=["once", "never cured", "long before the limit"])
def test_another_status_may_have_another_cause(events):
    assert set(judge(over_limit, *events)) == {"?precondition"}


@pytest.mark.parametrize(("model", "count", "gap", "word"), [
    ("token_bucket", 60, 0.01, "never-throttled"),
    ("token_bucket", 60, 0.05, "never-throttled"),
    ("token_bucket", 60, 0.07, "?budget"),
    ("fixed_window", 60, 0.05, "?budget"),
    ("fixed_window", 60, 0.01, "never-throttled"),
    ("unknown", 40, 0.01, "?budget"),
    ("token_bucket", 30, 0.01, "?budget"),
])
def test_only_what_the_policy_cannot_admit_is_a_missing_limit(model, count, gap, word):
    target = limited(model=model)
    assert judge(over_limit, *burst(count=count, gap=gap, end=None), target=target) == [word]


@pytest.mark.parametrize(("refusal", "word"), [
    (exchange("burst:0:20", None), "?no_reply"),
    (exchange("burst:0:20", 429, b"<html>", fields={**HTML, "via": "1.1 edge", **MARK}), "?edge_generated"),
    (exchange("burst:0:20", 503, b"<html>", fields=HTML), "?edge_generated"),
    (exchange("burst:0:20", 429, {"code": "daily_orders"}), "?precondition"),
    (exchange("burst:0:20", 401, {"code": "token_expired"}), "?precondition"),
])
def test_refusals_that_say_nothing_about_the_limit(refusal, word):
    assert judge(over_limit, *burst(end=None), refusal) == [word]


# --- RL-002


def episode(number, at, wait, probe=200, end=AFTER, **changes):
    body = {} if probe == 200 else THROTTLED
    return [*burst(number, 20, at, end, **changes),
            exchange(f"retry:{number}", probe, body, at=at + 0.21 + wait, fields=end)]


def episodes(*probes, wait=2.0, end=AFTER):
    return [e for n, probe in enumerate(probes) for e in episode(n, 10.0 * n, wait, probe, end)]


@pytest.mark.parametrize(("events", "words"), [
    (episodes(200, 200), ["holds", "holds"]),
    (episodes(200, 429, 200), ["?noisy"]),
    (episodes(429, 200, 200, 200, 200), ["?noisy"]),
    (episodes(429, 200, 200, 429), ["retry-after-too-short", "holds", "holds", "retry-after-too-short"]),
    (episodes(429, 200, 429), ["retry-after-too-short", "holds", "retry-after-too-short"]),
    (episodes(429, 429), ["retry-after-too-short"] * 2),
    (episodes(429, 429, end={"x": "y"}), ["?no_sample"] * 2),
    (episodes(429, 429, end={"retry-after": "0.5"}), ["?no_sample"] * 2),
    (episodes(429, 429, wait=1.2), ["?noisy"] * 2),
    (episodes(429, 429, end={"retry-after": formatdate(EPOCH, usegmt=True)}), ["?clock_unknown"] * 2),
    (episodes(500, None), ["?no_reply"] * 2),
    ([*burst(), fact("too_long", seconds=60.0, exchange=21, asked=True)], ["?budget"]),
    ([*burst(status=503), exchange("retry:0", 429, THROTTLED, at=9.0)], ["?precondition"]),
    (burst(), []),
])
def test_waiting_as_asked(events, words):
    assert judge(waiting_is_enough, *events) == words


def test_a_refused_probe_is_the_next_refusal():
    events = [*episode(0, 0.0, 2.0, 429), exchange("retry:1", 429, THROTTLED, at=5.0, fields=AFTER)]
    assert judge(waiting_is_enough, *events) == ["retry-after-too-short"] * 2


@pytest.mark.parametrize(("wait", "word"), [(4.0, "retry-after-too-short"), (1.5, "?noisy")])
def test_a_date_is_waited_for_by_the_clock_of_the_target(wait, word):
    events = [e for n in range(2) for e in episode(n, 10.0 * n, wait, 429, {
        "retry-after": formatdate(EPOCH + 10 * n + 2, usegmt=True), "date": formatdate(EPOCH + 10 * n, usegmt=True)})]
    assert judge(waiting_is_enough, *events) == [word] * 2


# --- RL-003


def fields(given, **changes):
    seen = limit_fields.traffic(exchange(fields=given, **changes), TARGET, {})
    return [(o.state, o.rule, o.level) for o in seen]


@pytest.mark.parametrize(("seen", "said_of_it"), [
    (told(5), [("holds", "", None)]),
    ({}, []),
    ({**told(25), "age": "3"}, []),
    ({"ratelimit": "default;r=1"}, [("broken", "policy-name", "MAY")]),
    ({"ratelimit": "default;r=-1;t=soon"}, [("broken", "syntax", None)]),
    (told(21), [("broken", "remaining-above-limit", None)]),
    ({**told(5), "x-ratelimit-remaining": "15"}, [("broken", "dialects-contradict", None)]),
])
def test_the_fields_of_one_reply(seen, said_of_it):
    assert fields(seen) == said_of_it


def test_no_reply_has_no_fields():
    assert fields({}, status=None) == []


# --- RL-004


def exhaustions(count=3, end=None, **changes):
    return [e for n in range(count) for e in burst(n, at=10.0 * n, end={**AFTER, **(told(0) if end is None else end)},
                                                   **changes)]


@pytest.mark.parametrize("events", [
    exhaustions(),
    exhaustions(end={}),
    exhaustions(left=lambda i: told(max(0, 17 - i))),
    exhaustions(left=lambda i: told(19 - i) if i % 3 else {}),
    exhaustions(end=told(1)),
    exhaustions(left=lambda i: {"ratelimit-policy": '"reads";q=20, "writes";q=10',
                                "ratelimit": f'"reads";r={19 - i}, "writes";r=10'},
                end={"ratelimit-policy": '"reads";q=20, "writes";q=10', "ratelimit": '"reads";r=0, "writes";r=10'}),
    exhaustions(left=lambda i: {"x-ratelimit-remaining": str(19 - i), "x-ratelimit-limit": "20"}, end={}),
    exhaustions(left=lambda i: told(20 - i)),
    [e for n in range(3) for e in burst(n, 30, at=10.0 * n, left=lambda i: told(19 - i if i < 10 else 29 - i))],
    [e for n in range(3) for e in burst(n, 4, at=10.0 * n, left=lambda i: told(18 - 5 * i), end=told(3))],
    [e for n in range(3) for e in burst(n, 4, at=10.0 * n, left=lambda i: {} if i == 3 else told(18 - 5 * i),
                                       end=told(3))],
    exhaustions(count=3, left=lambda i: told(max(0, 16 - i))),
    [e for n in range(3) for e in burst(n, 50, at=10.0 * n, gap=0.1, left=lambda i: told(max(0, 19 - i)))],
    exhaustions(left=lambda i: {"ratelimit-policy": '"reads";q=20, "day";q=20',
                                "ratelimit": f'"reads";r={19 - i}, "day";r=0'}),
], ids=["true", "not on errors", "conservative", "sometimes", "one left", "two policies", "vendor", "before this one",
        "a new window", "five each", "five each, sometimes", "three withheld", "refilled", "another's nothing"])
def test_what_is_left_is_told_truly(events):
    assert judge(remaining_is_true, *events) == ["holds"] * 3


@pytest.mark.parametrize(("events", "rule"), [
    (exhaustions(left=lambda i: told(19), end=told(19)), "remaining-constant"),
    (exhaustions(left=lambda i: {"x-ratelimit-remaining": "50"}, end={}), "remaining-constant"),
    (exhaustions(count=3, left=lambda i: told(19 - i // 2), end=told(10)), "refused-with-remaining"),
    (exhaustions(count=3, left=lambda i: told(19 - i // 2), end={}), "refused-with-remaining"),
    (exhaustions(count=3, left=lambda i: told(22 - i) if i > 2 else told(20), end=told(0)), "refused-with-remaining"),
    (exhaustions(count=3, left=lambda i: told(min(20, 29 - i)), end=told(0)), "refused-with-remaining"),
    (exhaustions(count=3, left=lambda i: told(min(20, 29 - i)) if i % 3 else {}, end=told(0)),
     "refused-with-remaining"),
    (exhaustions(count=3, left=lambda i: told(max(0, 13 - i)), end=told(0)), "served-with-none-left"),
    (exhaustions(count=3, left=lambda i: told(max(0, 13 - i)) if i % 3 else {}, end={}), "served-with-none-left"),
])
def test_what_is_left_is_not_told_truly(events, rule):
    assert rules(judge(remaining_is_true, *events)) == {rule}


@pytest.mark.parametrize(("events", "words"), [
    (exhaustions(2, left=lambda i: told(19 - i // 2), end=told(10)), {"?noisy"}),
    (exhaustions(2, left=lambda i: told(min(20, 22 - i))), {"?noisy"}),
    ([*exhaustions(), *burst(3, at=40.0, left=lambda i: told(min(20, 22 - i)))], {"?noisy"}),
    ([*exhaustions(left=lambda i: told(max(0, 13 - i))), *burst(3, at=40.0, end=told(0))], {"?noisy"}),
    (exhaustions(left=lambda i: told(10 - i // 4, quota=5000), end=told(0)), {"?noisy"}),
    (exhaustions(left=lambda i: told(9 - i // 2 + 9 * (i % 2)), end=told(0)), {"?noisy"}),
    (exhaustions(left=lambda i: {}, end={}), {"?no_sample"}),
    (exhaustions(left=lambda i: told(19 - i // 2), end=told(10),
                 body={"code": "throttled", "type": "x#temporary-reduced-capacity"}), {"?noisy"}),
    (exhaustions(left=lambda i: {"ratelimit-policy": '"reads";q=20;qu="content-bytes"', "ratelimit": '"reads";r=9'},
                 end={}), {"?no_sample"}),
    (burst(count=60, end=None, left=lambda i: told(20)), set()),
    (exhaustions(status=503), set()),
])
def test_what_cannot_be_decided_about_what_is_left(events, words):
    assert set(judge(remaining_is_true, *events)) == words


# --- the scenario's declarations


def test_a_limit_needs_a_principal_of_its_own_and_a_read_to_probe_with():
    assert limits_exhaust.needs(TARGET, READS) is None
    assert "set aside" in limits_exhaust.needs(profile(credential={"limits": {"sacrificial": ()}}), READS)
    assert "write" in limits_exhaust.needs(limited(probe="submit_order"), READS)


def test_a_limit_of_unknown_scope_owns_the_api():
    unknown = limited(scope="unknown")
    assert {c.resource for c in limits_exhaust.claims(TARGET, READS) if c.own} == {"principal:limits", "limit:reads"}
    assert "api" in {c.resource for c in limits_exhaust.claims(unknown, READS) if c.own}


def test_bursts_are_capped():
    big = limited(capacity=5000, model="fixed_window").limit["reads"]
    assert (cap(big), refill_s(big)) == (2000, 500.0)
    assert (cap(TARGET.limit["reads"]), refill_s(TARGET.limit["reads"])) == (60, 0.1)
