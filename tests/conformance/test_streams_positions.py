from __future__ import annotations

import pytest
from made import ended, exchange, fact, frame, profile, recording, said, script

from openbell.conformance.streams_positions import bound_to_principal, refused_openly
from openbell.profile import Sequence
from openbell.target import Subject

ORDERS = Subject("stream", "orders")
TARGET = profile()
NEWS = fact("news", label="news", id="o9", heard=True, conn=9)
UNHEARD = fact("news", label="news", id="o9", heard=False, conn=9)
REFUSED = {"type": "error", "code": "position_unknown"}
SUBSCRIBED = {"type": "subscribed", "recovered": True}


def update(n, **members):
    return {"type": "update", "epoch": "x", "seq": n, "prev": n - 1, "event": f"e{n}", "order": {"id": f"o{n}"},
            **members}


def truth(*numbers):
    rows = [{k: v for k, v in update(n).items() if k != "type"} for n in numbers]
    return exchange("walk:truth:0", 200, {"items": rows}, operation="list_events")


TOLD = truth(1, 2, 3, 4, 5)


def probe(label, *messages, at=2, epoch="x", answer="ok", conn=1, end=None):
    frames = [m if not isinstance(m, dict) else frame(m, conn=conn) for m in messages]
    answered = script("resubscribe", answer, conn=conn, position=at, epoch=epoch)
    return [exchange(label, 101, conn=conn), *frames, answered, *([ended(end, conn=conn)] if end else [])]


def judged(*events, news=NEWS, told=TOLD, target=TARGET):
    return said(refused_openly.judge(recording(told, *events, news), target, ORDERS))


# --- WSR-005

FORGED = [("too_old", 2, "x"), ("future", 1_000_005, "x"), ("epoch", 5, "xx")]


@pytest.mark.parametrize(("label", "at", "epoch"), FORGED)
@pytest.mark.parametrize(("messages", "more"), [
    ([REFUSED], {"answer": "refused"}),
    ([], {"answer": "ended", "end": "server"}),
    ([], {"answer": "ok", "end": "server"}),
    ([{"type": "subscribed", "recovered": False}], {}),
    ([SUBSCRIBED, {"recovered": False}, update(6)], {}),
    ([REFUSED], {"answer": "silent"}),
], ids=["an error", "a close", "accepted, then closed", "a gap", "a gap later", "an error later"])
def test_what_is_refused_openly(label, at, epoch, messages, more):
    assert judged(*probe(label, *messages, at=at, epoch=epoch, **more)) == ["holds"]


@pytest.mark.parametrize(("label", "at", "epoch", "rule"), [
    ("too_old", 2, "x", "too-old-silent"), ("future", 1_000_005, "x", "future-silent"),
    ("epoch", 5, "xx", "epoch-ignored")])
@pytest.mark.parametrize(("messages", "more"), [
    ([SUBSCRIBED], {}),
    ([SUBSCRIBED, update(9)], {}),
    ([SUBSCRIBED, update(4), update(5)], {}),
    ([], {"answer": "silent"}),
    ([SUBSCRIBED, frame(b"not JSON"), frame(b"", opcode=9)], {"end": "client"}),
    ([SUBSCRIBED], {"end": "harness"}),
], ids=["accepted", "live edge", "in part", "no answer", "beats", "ended by the harness"])
def test_what_is_accepted_without_a_word(label, at, epoch, rule, messages, more):
    events = probe(label, *messages, at=at, epoch=epoch, **more)
    assert judged(*events) == [rule]
    assert judged(*events, news=UNHEARD) == ["?control_failed"]
    assert judged(*events, news=fact("other")) == ["?control_failed"]


def test_more_may_be_kept_than_was_promised():
    assert judged(*probe("too_old", SUBSCRIBED, update(3), update(4), update(5))) == ["holds"]
    parts = [frame(b'{"type": "update", "epoch": "x", "seq"'), frame(b': 3, "event": "e3"}', opcode=0)]
    assert judged(*probe("too_old", SUBSCRIBED, *parts)) == ["holds"]


@pytest.mark.parametrize(("messages", "more", "word"), [
    ([SUBSCRIBED, update(3), update(4), update(5)], {}, "holds"),
    ([SUBSCRIBED, update(2), update(3)], {}, "holds"),
    ([SUBSCRIBED, update(3)], {"end": "server"}, "holds"),
    ([REFUSED], {"answer": "refused"}, "refused-within-retention"),
    ([], {"answer": "ended", "end": "server"}, "refused-within-retention"),
    ([{"type": "subscribed", "recovered": False}], {}, "refused-within-retention"),
    ([SUBSCRIBED, update(9)], {}, "?precondition"),
    ([SUBSCRIBED], {}, "?precondition"),
    ([], {"answer": "silent"}, "?precondition"),
], ids=["served", "with the asked one", "served, then closed", "refused", "closed", "a gap", "live edge", "nothing",
        "no answer"])
def test_a_retained_position(messages, more, word):
    assert judged(*probe("retained", *messages, **more)) == [word]


def test_a_retained_position_is_not_held_against_a_server_that_serves_nobody():
    assert judged(*probe("retained", REFUSED, answer="refused"), news=UNHEARD) == ["?control_failed"]


def test_positions_may_be_strings_without_epochs():
    target = profile(stream={"orders": {"sequence": Sequence(at="/event", id="/event")}})
    events = probe("too_old", SUBSCRIBED, update(3), at="e2", epoch="")
    assert judged(*events, target=target) == ["holds"]
    assert judged(*probe("too_old", SUBSCRIBED, update(4), at="e2", epoch=""), target=target) == ["too-old-silent"]


@pytest.mark.parametrize("sparse", [{"seq": None}, {"type": "update"}])
def test_updates_without_a_position_prove_nothing(sparse):
    assert judged(*probe("future", SUBSCRIBED, {**update(9), **sparse} if "seq" in sparse else sparse)) == [
        "future-silent"]


def test_only_the_probes_are_judged_each_alone():
    events = [*probe("control", SUBSCRIBED), *probe("too_old", REFUSED, answer="refused", conn=2),
              *probe("future", SUBSCRIBED, conn=3), exchange("epoch", 503, conn=4)]
    assert judged(*events) == ["holds", "future-silent"]


# --- WSR-006


def foreign(*messages, name="own", status=101, news=NEWS, told=TOLD, target=TARGET):
    events = recording(told, exchange(f"foreign:{name}", status), *(frame(m) for m in messages), news)
    return said(bound_to_principal.judge(events, target, ORDERS))


OWN = {"event": "f1", "order": {"id": "mine"}}


@pytest.mark.parametrize(("messages", "more"), [
    ([], {"status": 401}),
    ([], {"status": 101}),
    ([REFUSED], {"name": "other"}),
    ([SUBSCRIBED, update(3, **OWN), update(4, event="f2", order={"id": "o4x"})], {}),
    ([update(3, event=None, order={"id": "mine"})], {}),
    ([update(3, order={"id": "mine"})], {}),
    ([{"type": "update", "order": {"id": "mine"}}, {"type": "heartbeat"}], {}),
], ids=["no handshake", "nothing", "refused", "its own at such positions", "its own without ids",
        "ids that are counted for each", "no positions"])
def test_what_is_not_anothers(messages, more):
    assert foreign(*messages, **more) == ["holds"]


def test_an_update_without_an_id_is_not_that_of_a_truth_without_ids():
    rows = [{"epoch": "x", "seq": 3, "event": None, "order": None}]
    told = exchange("walk:truth:0", 200, {"items": rows}, operation="list_events")
    assert foreign(update(3, event=None, order=None), told=told) == ["holds"]


@pytest.mark.parametrize("messages", [
    [update(3)],
    [SUBSCRIBED, update(7, **OWN), update(4, event="e4")],
    [update(9)],
    [{"type": "update", "order": {"id": "o9"}}],
], ids=["replayed", "among its own", "the news", "the news without a position"])
@pytest.mark.parametrize("name", ["own", "other"])
def test_what_is_anothers(messages, name):
    assert foreign(*messages, name=name) == ["foreign-position"]


def test_a_leak_shows_without_a_control():
    assert foreign(update(3), news=UNHEARD) == ["foreign-position"]
    assert foreign(update(3), news=fact("other")) == ["foreign-position"]


@pytest.mark.parametrize("news", [UNHEARD, fact("other")])
@pytest.mark.parametrize("status", [101, 403, None])
def test_nothing_is_known_where_the_owner_got_nothing(news, status):
    assert foreign(status=status, news=news) == ["?control_failed"]


@pytest.mark.parametrize("status", [None, 200, 429, 503])
def test_a_handshake_that_was_not_answered_is_no_refusal(status):
    assert foreign(status=status) == ["?no_reply"]


def test_without_a_probe_nothing_is_said():
    assert said(bound_to_principal.judge(recording(TOLD, exchange("control", 101), NEWS), TARGET, ORDERS)) == []
