from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made import exchange, headers

from openbell.events import Message
from openbell.limits import MOST_S, Quota, RetryAfter, http_date, quotas, retry_after, wait_of

LATER = "Thu, 26 Nov 2026 10:00:09 GMT"
NOW = "Thu, 26 Nov 2026 10:00:00 GMT"
NAMES = ("Retry-After", "Date", "RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining",
         "RateLimit-Reset", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Rate-Limit-Remaining")


def reply(*pairs):
    return Message(headers(pairs))


@pytest.mark.parametrize(("value", "epoch"), [
    (LATER, 1795687209.0), ("Thu, 26 Nov 2026 10:00:09 UTC", None), ("Thursday, 26-Nov-26 10:00:09 GMT", None),
    ("Thu, 99 Nov 2026 10:00:09 GMT", None), ("Thu, 26 Nov 0000 10:00:09 GMT", None), ("2026-11-26T10:00:09Z", None),
])
def test_dates(value, epoch):
    assert http_date(value) == epoch


@pytest.mark.parametrize(("fields", "said"), [
    ([], None),
    ([("Retry-After", "0")], RetryAfter(0.0)),
    ([("Retry-After", " 12 ")], RetryAfter(12.0)),
    ([("Retry-After", "9" * 5000)], RetryAfter(MOST_S)),
    ([("Retry-After", LATER), ("Date", NOW)], RetryAfter(9.0, 1795687209.0)),
    ([("Retry-After", NOW), ("Date", LATER)], RetryAfter(0.0, 1795687200.0)),
    ([("Retry-After", LATER)], RetryAfter(None, 1795687209.0)),
    ([("Retry-After", "soon")], "'soon'"), ([("Retry-After", "-1")], "'-1'"), ([("Retry-After", "0.5")], "'0.5'"),
    ([("Retry-After", "1, 2")], "'1, 2'"), ([("Retry-After", "")], "''"), ([("Retry-After", "٣")], "'٣'"),
    ([("Retry-After", "1"), ("Retry-After", "1")], "2 field lines"),
])
def test_retry_after(fields, said):
    assert retry_after(reply(*fields)) == said


@pytest.mark.parametrize(("fields", "seconds"), [
    ([("Retry-After", "3")], 3.0), ([("Retry-After", "1.2")], 2.0), ([("Retry-After", "5, 70")], 70.0),
    ([("Retry-After", "5"), ("Retry-After", "7")], 7.0), ([("Retry-After", "soon")], None), ([], None),
    ([("Retry-After", "-5")], None), ([("Retry-After", LATER), ("Date", NOW)], 9.0), ([("Retry-After", LATER)], None),
])
def test_a_wait_that_is_polite_to_any_value(fields, seconds):
    assert wait_of(exchange(status=429, fields=tuple(fields))) == seconds


def test_no_reply_asks_for_no_wait():
    assert wait_of(exchange(status=None)) is None


@pytest.mark.parametrize(("fields", "found"), [
    ([("RateLimit-Policy", '"a";q=20;w=2'), ("RateLimit", '"a";r=5;t=1')], [Quota("draft", "a", 20, 5, 1)]),
    ([("RateLimit", '"a";r=5')], [Quota("draft", "a", None, 5)]),
    ([("RateLimit", '"a";r=0;vendor="x"')], [Quota("draft", "a", None, 0)]),
    ([("RateLimit", '"a";r=5'), ("RateLimit", '"b";r=6')],
     [Quota("draft", "a", None, 5), Quota("draft", "b", None, 6)]),
    ([("RateLimit", '"a";a=5;w=30')], [Quota("draft", "a", None, 5, 30)]),
    ([("RateLimit-Policy", '"a";q=9;qu="content-bytes"'), ("RateLimit", '"a";r=5')],
     [Quota("draft", "a", 9, 5, None, "content-bytes")]),
    ([("RateLimit-Policy", "100;w=10"), ("RateLimit", "limit=100, remaining=50, reset=5")],
     [Quota("draft", "", 100, 50, 5)]),
    ([("RateLimit-Limit", "100, 100;w=10"), ("RateLimit-Remaining", "50"), ("RateLimit-Reset", "5"),
      ("RateLimit-Policy", "100;w=10")], [Quota("three_field", "", 100, 50, 5)]),
    ([("X-RateLimit-Limit", "100"), ("X-RateLimit-Remaining", "5"), ("X-RateLimit-Reset", "1795687209")],
     [Quota("x_ratelimit", "", 100, 5)]),
    ([("X-RateLimit-Remaining", "5"), ("X-RateLimit-Reset", "1795687209000000000")],
     [Quota("x_ratelimit", "", None, 5)]),
    ([("X-RateLimit-Remaining", "5"), ("X-RateLimit-Reset", LATER)], [Quota("x_ratelimit", "", None, 5)]),
    ([("X-RateLimit-Remaining", "5"), ("X-RateLimit-Reset", "2026-11-26T10:00:09+00:00")],
     [Quota("x_ratelimit", "", None, 5)]),
    ([("X-Rate-Limit-Remaining", "5")], [Quota("x_ratelimit", "", None, 5)]),
    ([("RateLimit-Policy", '"a";q=20')], []),
    ([("X-RateLimit-Reset", "1")], []),
    ([], []),
])
def test_every_dialect_is_read(fields, found):
    assert quotas(reply(*fields)) == (found, [])


@pytest.mark.parametrize(("fields", "rules"), [
    ([("RateLimit", "default;r=-1;t=soon")], ["syntax"]),
    ([("RateLimit", '"a"')], ["syntax"]), ([("RateLimit", '"a";r=1.5')], ["syntax"]),
    ([("RateLimit", '"a";r=?1')], ["syntax"]), ([("RateLimit", '"a";r=1;t=-1')], ["syntax"]),
    ([("RateLimit", '"a";r=9999999999999999')], ["syntax"]), ([("RateLimit", '"a";r=5 trailing')], ["syntax"]),
    ([("RateLimit", "limit=1, remaining=-1, reset=1")], ["syntax"]), ([("RateLimit", "limit=1")], ["syntax"]),
    ([("RateLimit-Policy", '"a"')], ["syntax"]), ([("RateLimit-Policy", '"a";q=1;w=0')], ["syntax"]),
    ([("RateLimit-Policy", "limit=5")], ["syntax"]), ([("RateLimit-Policy", "é")], ["syntax"]),
    ([("RateLimit", "default;r=1")], ["policy-name"]),
    ([("RateLimit-Policy", "default;q=5"), ("RateLimit", '"default";r=1')], ["policy-name"]),
    ([("RateLimit-Policy", '"a";q=5'), ("RateLimit", '"b";r=1')], ["unnamed-policy"]),
    ([("RateLimit-Policy", '"a";q=5'), ("RateLimit", '"a";r=6')], ["remaining-above-limit"]),
    ([("RateLimit", "limit=1, remaining=2, reset=1")], ["remaining-above-limit"]),
    ([("X-RateLimit-Limit", "5"), ("X-RateLimit-Remaining", "6")], ["remaining-above-limit"]),
    ([("X-RateLimit-Remaining", "-1")], ["syntax"]), ([("X-RateLimit-Remaining", "1.5")], ["syntax"]),
    ([("X-RateLimit-Remaining", "5"), ("X-RateLimit-Remaining", "6")], ["syntax"]),
    ([("X-RateLimit-Remaining", "5"), ("X-RateLimit-Reset", "soon")], ["syntax"]),
    ([("RateLimit-Remaining", "9" * 5000)], ["syntax"]),
    ([("RateLimit-Policy", '"a";q=20'), ("RateLimit", '"a";r=5'), ("X-RateLimit-Limit", "20"),
      ("X-RateLimit-Remaining", "9")], ["dialects-contradict"]),
    ([("RateLimit-Policy", '"a";q=20'), ("RateLimit", '"a";r=5'), ("X-RateLimit-Limit", "40"),
      ("X-RateLimit-Remaining", "5")], ["dialects-contradict"]),
])
def test_every_fault_has_its_rule(fields, rules):
    assert [fault.rule for fault in quotas(reply(*fields))[1]] == rules


def test_a_legacy_pair_that_agrees_with_one_of_several_policies_is_no_contradiction():
    fields = [("RateLimit-Policy", '"burst";q=20;w=1, "day";q=5000;w=86400'), ("RateLimit", '"burst";r=5, "day";r=900'),
              ("X-RateLimit-Limit", "20"), ("X-RateLimit-Remaining", "4"), ("X-RateLimit-Reset", "1795687209000")]
    assert quotas(reply(*fields))[1] == []


VALUES = st.one_of(st.text(max_size=40), st.text('"abrqtw;=, ()?@%:*0123456789.-\\', max_size=40),
                   st.sampled_from([LATER, '"a";r=1;t=2', "limit=1, remaining=1, reset=1", "5, 7", "1e9", "NaN"]))


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8))
@example([("Retry-After", "9" * 70000), ("X-RateLimit-Limit", "9" * 70000), ("X-RateLimit-Reset", "9" * 70000)])
@example([("RateLimit", '"a";r=@99999999999999')])
def test_nothing_that_a_target_sends_raises(fields):
    message = reply(*fields)
    retry_after(message)
    quotas(message)
    wait = wait_of(exchange(status=429, fields=tuple(fields)))
    assert wait is None or 0 <= wait <= MOST_S
