from __future__ import annotations

import pytest
from made import exchange, fact, profile, recording, said

from openbell.conformance.idempotency import one_effect, one_of_many
from openbell.target import Subject

TARGET = profile()
SUBMIT = Subject("operation", "submit_order")
NO_REPLY = {"status": None, "route": "proxy"}


def sent(label, status=201, body=None, **changes):
    return exchange(label, status, body, operation="submit_order", method="POST", **changes)


def page(label):
    return exchange(f"walk:{label}:1", 200, {"items": []}, operation="list_open_orders")


def counted(label, *ids, pages=()):
    return fact("counted", label=label, ids=list(ids), pages=list(pages))


LOST = sent("lost", **NO_REPLY)
SETTLED, AFTER = counted("settled", "ord_1"), counted("after", "ord_1")
MADE, OTHER = {"id": "ord_1", "status": "open"}, {"id": "ord_2"}


def retried(*retries, lost=LOST, settled=SETTLED, after=AFTER):
    """Words on retries: pairs of a status and a body."""
    events = [sent(f"retry:{i}", status, body) for i, (status, body) in enumerate(retries)]
    return judged(one_effect, lost, settled, *events, after)


def judged(check, *events):
    return said(check.judge(recording(*(e for e in events if e)), TARGET, SUBMIT))


# --- IDM-001


@pytest.mark.parametrize("retries", [
    [(201, MADE)] * 3,
    [(200, MADE)],
    [(200, {"id": "ord_1", "status": "filled", "filled_at": "2026-11-26T10:00:00Z"})],
    [(409, {"code": "in_progress"}), (201, MADE)],
    [(425, None), (409, {"code": "duplicate", "existing": "ord_1"})],
    [(503, None), (500, b"no JSON at all"), (201, MADE)],
    [(401, None), (429, {"code": "throttled"}), (200, MADE)],
    [(None, None), (201, MADE)],
], ids=["the result again", "as 200", "the current state", "too early, then the result", "a conflict that names it",
        "errors, then the result", "not let in, then the result", "no answer, then the result"])
def test_a_retry_that_has_one_effect_and_tells_of_it(retries):
    assert retried(*retries) == ["holds"]


@pytest.mark.parametrize(("retries", "after", "rule"), [
    ([(201, OTHER)], counted("after", "ord_1", "ord_2"), "second-effect"),
    ([(None, None)], counted("after", "ord_1", "ord_2"), "second-effect"),
    ([(201, MADE)], counted("after", "ord_1", "ord_2"), "second-effect"),
    ([(201, OTHER)], AFTER, "another-result"),
    ([(201, MADE), (201, OTHER), (201, MADE)], AFTER, "another-result"),
    ([(201, OTHER)], counted("after"), "another-result"),
    ([(201, {"order": "ord_1"})], AFTER, "another-result"),
    ([(202, None)], AFTER, "another-result"),
    ([(201, {"id": None})], AFTER, "another-result"),
    ([(409, {"code": "in_progress"})] * 3, AFTER, "hidden-result"),
    ([(500, None), (500, None)], AFTER, "hidden-result"),
    ([(422, {"code": "key_reused"}), (429, {"code": "throttled"})], AFTER, "hidden-result"),
], ids=["two", "two, unanswered", "two, one told", "another id", "once another id", "another id, not listed",
        "elsewhere", "no content", "null", "in progress for ever", "an error for ever", "refused for ever"])
def test_a_retry_that_has_not(retries, after, rule):
    assert retried(*retries, after=after) == [rule]


def test_a_second_effect_is_seen_though_the_first_reply_was_not_lost():
    assert retried((201, OTHER), lost=sent("lost", 201, MADE), after=counted("after", "ord_1", "ord_2")) == [
        "second-effect"]


@pytest.mark.parametrize(("changes", "reason"), [
    ({"lost": sent("lost", 201, MADE)}, "?vacuous"),
    ({"settled": counted("settled"), "after": AFTER}, "?vacuous"),
    ({"settled": counted("settled"), "after": counted("after")}, "?vacuous"),
    ({"after": counted("after")}, "?precondition"),
], ids=["not lost", "made by the retry", "never made", "no longer listed"])
def test_a_retry_of_which_nothing_is_known(changes, reason):
    assert retried((201, MADE), **changes) == [reason]


@pytest.mark.parametrize("retries", [
    [(None, None)] * 3, [(401, None), (429, {"code": "throttled"})], [(429, {"code": "throttled"}), (None, None)],
])
def test_a_retry_that_was_not_let_in(retries):
    assert retried(*retries) == ["?no_reply"]


def test_what_a_proxy_may_have_made_is_no_retry():
    assert judged(one_effect, LOST, SETTLED, sent("retry:0", 201, OTHER, route="proxy"), AFTER) == []


@pytest.mark.parametrize("missing", range(4))
def test_without_all_of_its_evidence_nothing_is_said(missing):
    events = [LOST, SETTLED, sent("retry:0", 201, MADE), AFTER]
    assert judged(one_effect, *events) == ["holds"]
    assert judged(one_effect, *events[:missing], *events[missing + 1:]) == []


def test_a_second_effect_cites_the_requests_and_the_page_that_shows_both():
    events = recording(LOST, SETTLED, sent("retry:0", 201, OTHER), page("settled"), page("after"),
                       counted("after", "ord_1", "ord_2", pages=[5]))
    found, = one_effect.judge(events, TARGET, SUBMIT)
    assert (found.expected, found.actual) == ("one effect", "2: ord_1, ord_2")
    assert found.events == (1, 3, 5, 6)


# --- IDM-003

BUSY = {"code": "in_progress"}


def at_once(*replies, apart=0.0, ids=("ord_1",), number=0):
    """A round: statuses with bodies of requests that take 0.1 s and were sent so many seconds apart; its count."""
    return (*(sent(f"once:{number}:{i}", status, body, at=1.0 + 10 * number + apart * i, took=0.1)
              for i, (status, body) in enumerate(replies)), counted(f"count:{number}", *ids))


@pytest.mark.parametrize("replies", [
    [(201, MADE)] * 10,
    [(201, MADE)] + [(409, BUSY)] * 9,
    [(409, BUSY)] * 9 + [(200, MADE)],
    [(None, None), (503, None), (201, MADE)],
    [(429, {"code": "throttled"})] * 8 + [(201, MADE), (401, None)],
], ids=["all the same", "one and conflicts", "the last", "failures beside it", "some not let in"])
def test_one_of_many(replies):
    assert judged(one_of_many, *at_once(*replies)) == ["holds"]
    assert judged(one_of_many, *at_once(*replies, apart=0.09)) == ["holds"]


@pytest.mark.parametrize(("replies", "ids", "rule"), [
    ([(201, MADE), (201, OTHER)], ("ord_1", "ord_2"), "second-effect"),
    ([(201, MADE), (None, None)], ("ord_1", "ord_2"), "second-effect"),
    ([(409, BUSY)] * 10, (), "none-succeeds"),
    ([(409, BUSY)] * 10, ("ord_1",), "none-succeeds"),
    ([(500, None), (429, {"code": "throttled"})], (), "none-succeeds"),
], ids=["two", "two, one told", "conflicts for all", "made and not told", "an error"])
def test_many_that_have_not_one_effect(replies, ids, rule):
    assert judged(one_of_many, *at_once(*replies, ids=ids)) == [rule]


@pytest.mark.parametrize(("round_", "reason"), [
    (at_once((201, MADE), (201, MADE), (201, MADE), apart=0.2), "?vacuous"),
    (at_once((201, MADE), (201, MADE), apart=0.1), "?vacuous"),
    (at_once((201, MADE)), "?vacuous"),
    (at_once(), "?vacuous"),
    (at_once((None, None), (None, None)), "?no_reply"),
    (at_once((429, {"code": "throttled"}), (401, None)), "?no_reply"),
    (at_once((201, MADE), (409, BUSY), ids=()), "?precondition"),
], ids=["one after another", "back to back", "one", "none", "no answers", "not let in", "not listed"])
def test_many_of_which_nothing_is_known(round_, reason):
    assert judged(one_of_many, *round_) == [reason]


def test_two_effects_are_two_though_nothing_overlapped():
    assert judged(one_of_many, *at_once((201, MADE), (201, OTHER), apart=1.0, ids=("ord_1", "ord_2"))) == [
        "second-effect"]


def test_each_round_is_judged_by_its_own_requests():
    rounds = (*at_once((201, MADE), (409, BUSY)), *at_once((201, MADE), (201, MADE), apart=0.2, number=1),
              *at_once((201, MADE), (201, OTHER), ids=("ord_1", "ord_2"), number=10))
    assert judged(one_of_many, *rounds) == ["holds", "?vacuous", "second-effect"]
    assert judged(one_of_many, *rounds[:2]) == []
