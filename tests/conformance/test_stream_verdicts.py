"""What a verdict must not rest on: the harness's own doings, and what was never asked for or never shown."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
from made import ended, exchange, fact, frame, profile, recording, said, script
from websockets.frames import Frame, Opcode

from openbell.api import Api
from openbell.conformance import fuzzing
from openbell.conformance.idempotency import one_effect, one_of_many
from openbell.conformance.streams_access import data_to_its_owner
from openbell.conformance.streams_heartbeat import dead_client_dropped
from openbell.conformance.streams_order import delivered_as_promised
from openbell.conformance.streams_positions import bound_to_principal, refused_openly
from openbell.conformance.streams_slow import slow_consumer
from openbell.frames import Ending
from openbell.fuzz import fuzz
from openbell.journal import Header, Journal
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.scenarios.streams_access import trespassing
from openbell.session import Session, Skip
from openbell.stream import Stream
from openbell.target import Subject

TARGET = profile()
API, SUBMIT, ORDERS = Subject("api"), Subject("operation", "submit_order"), Subject("stream", "orders")
NEWS = fact("news", label="news", id="o9", heard=True, conn=9)
ERROR = frame({"type": "error", "code": "unauthenticated"})
CAPPED = fact("stream_end", conn=1, side="harness", how="cap", violation=None)


def judged(check, subject, *events):
    return said(check.judge(recording(*events), TARGET, subject))


# --- who is asked for what


def test_another_whose_own_login_fails_shows_nothing_of_what_it_may_read():
    refused = (ERROR, script("login", "refused"))
    assert judged(data_to_its_owner, ORDERS, exchange("other", 101), *refused, NEWS) == ["?control_failed"]
    assert judged(bound_to_principal, ORDERS, exchange("foreign:own", 101), *refused, NEWS) == ["?control_failed"]
    assert judged(data_to_its_owner, ORDERS, exchange("invalid", 101), *refused, NEWS) == ["holds"]


@pytest.mark.parametrize(("url", "account"), [("/v1/stream/{account}", "acct-streams"), ("/v1/stream", "acct-other")])
async def test_another_asks_for_the_owners_channel_also_where_the_url_names_it(monkeypatch, url, account):
    asked = []

    async def shaken(_session, call, stream, **_options):
        asked.append((call.by, call.values["account"], stream))

    monkeypatch.setattr("openbell.api.upgrade", shaken)
    target = profile(stream={"orders": {"url": url}}, credential={"streams": {"values": {"account": "acct-streams",
                                                                                         "label": "ours"}}})
    session = SimpleNamespace(target=target, seed=0, unique=lambda: "u", streams={})
    await trespassing(Api(session, "made", Cost(reads=1)), ORDERS, "tenant", "other")
    (by, used, stream), = asked
    assert (by, used, stream.values["account"]) == ("tenant", account, "acct-other")


@pytest.mark.parametrize("answer", ["refused", "silent", "ended"])
@pytest.mark.parametrize("label", ["retained", "future"])
def test_a_position_that_was_never_asked_for_is_neither_refused_nor_accepted(answer, label):
    assert judged(refused_openly, ORDERS, exchange(label, 101), ERROR, script("login", answer), NEWS) == [
        "?precondition"]


def test_what_the_harness_did_not_read_is_no_silence():
    asked = script("resubscribe", "silent", position=1, epoch="x")
    assert judged(refused_openly, ORDERS, exchange("future", 101), asked, CAPPED, NEWS) == ["?budget"]
    assert judged(bound_to_principal, ORDERS, exchange("foreign:own", 101), CAPPED, NEWS) == ["?budget"]


def test_a_server_that_fails_on_a_position_has_not_refused_it():
    end = fact("stream_end", conn=1, side="server", how="close 1011", violation=None)
    asked = script("resubscribe", "ended", position=1, epoch="x")
    assert judged(refused_openly, ORDERS, exchange("future", 101), asked, end, NEWS) == ["internal-error"]
    assert judged(refused_openly, ORDERS, exchange("future", 101), asked, ended("server"), NEWS) == ["holds"]


# --- a client that no longer answers


@pytest.mark.parametrize(("pinged", "end", "word"), [
    (1.0, None, "dead-client-kept"), (6.4, None, "dead-client-kept"), (7.0, None, "?vacuous"),
    (1.0, 3.0, "holds"), (1.0, 1.5, "?precondition")])
def test_a_dead_client_was_one_only_where_an_answer_was_due(pinged, end, word):
    events = [exchange("idle", 101, conn=1, at=0.0), exchange("muted", 101, conn=2, at=0.0),
              frame(conn=2, opcode=9, at=pinged), replace(fact("idle_alive", conn=1, alive=True), at=9.0),
              *([replace(ended("server", conn=2), at=end)] if end else [])]
    assert judged(dead_client_dropped, ORDERS, *events) == [word]


# --- a slow consumer


def slow(*after, end=None, caught_up=None, beside=()):
    """A slow consumer that has read an update, stops, and reads again at 20 s, beside one that goes on."""
    witness = [exchange("witness:0", 101, conn=2, at=0.0), *(beside or (quote(i, i, conn=2) for i in range(1, 22)))]
    events = [exchange("slow", 101, conn=1, at=0.0), quote(1, 1), replace(fact("stream_paused", conn=1), at=10.0),
              *witness, replace(fact("backlog", wanted=9, got=[9]), at=19.9),
              replace(fact("stream_resumed", conn=1), at=20.0), *after, *([end] if end else []),
              replace(fact("slow_end", conn=1, caught_up=caught_up), at=24.0)]
    return said(slow_consumer.judge(recording(*events), TARGET, Subject("stream", "market")))


def quote(n, at, **changes):
    return frame({"type": "update", "epoch": "x", "seq": n, "prev": n - 1, "event": f"q{n}"}, at=float(at), **changes)


def test_what_lay_in_buffers_is_not_all_that_a_slow_consumer_is_owed():
    assert slow(quote(2, 20.1), quote(3, 20.2), caught_up=False) == ["never-again"]
    assert slow(quote(2, 20.1), quote(3, 23.9), caught_up=False) == ["?budget"]
    assert slow(quote(2, 20.1), end=replace(CAPPED, at=20.2), caught_up=False) == ["?budget"]
    assert slow(quote(2, 20.1), quote(3, 20.2), caught_up=True) == ["holds"]


@pytest.mark.parametrize(("how", "at", "word"), [
    ("close 1013", 20.5, "holds"), ("reset", 20.5, "holds"), ("violation", 20.5, "corrupted"),
    ("close 1013", 9.5, "?precondition"), ("close 4401", 23.5, "?precondition")])
def test_what_end_of_a_slow_consumer_is_an_answer(how, at, word):
    end = replace(fact("stream_end", conn=1, side="server", how=how, violation="invalid opcode: 0x3"), at=at)
    assert slow(quote(2, 20.1), end=end, caught_up=False) == [word]


@pytest.mark.parametrize(("how", "word"), [("close 4401", "?precondition"), ("close 1001", "?precondition"),
                                           ("close 1013", "witness-stalled"), ("reset", "witness-stalled")])
def test_a_witness_that_the_server_ends_and_says_why_is_not_stalled(how, word):
    end = replace(fact("stream_end", conn=2, side="server", how=how, violation=None), at=12.0)
    assert slow(beside=(quote(1, 11, conn=2), end)) == [word]


# --- one effect


def counted(label, *ids):
    return fact("counted", label=label, ids=list(ids), pages=[])


def sent(label, status, body=None, **changes):
    return exchange(label, status, body, operation="submit_order", method="POST", **changes)


@pytest.mark.parametrize(("listed", "word"), [(("o1", "o1"), "holds"), (("o1", "o2"), "second-effect"),
                                              (("", ""), "second-effect")])
def test_a_row_that_a_listing_shows_twice_is_no_second_effect(listed, word):
    lost = sent("lost", None, route="proxy")
    assert judged(one_effect, SUBMIT, lost, counted("settled", "o1"), sent("retry:0", 201, {"id": "o1"}),
                  counted("after", *listed)) == [word]
    both = [sent(f"once:0:{i}", 201, {"id": "o1"}, at=1.0, took=0.1) for i in range(2)]
    assert judged(one_of_many, SUBMIT, *both, counted("count:0", *listed)) == [word]


@pytest.mark.parametrize(("status", "ids", "word"), [
    (None, ("o1",), "?no_reply"), (None, (), "?no_reply"), (409, ("o1",), "none-succeeds")])
def test_the_one_that_succeeds_may_be_one_whose_reply_was_lost(status, ids, word):
    both = [sent(f"once:0:{i}", code, at=1.0, took=0.1) for i, code in enumerate((409, status))]
    assert judged(one_of_many, SUBMIT, *both, counted("count:0", *ids)) == [word]


def test_an_id_that_no_text_can_be_written_with_is_no_error_of_the_check():
    lost = sent("lost", None, route="proxy")
    assert judged(one_effect, SUBMIT, lost, counted("settled", "\ud800"), sent("retry:0", 409, {"id": 1}),
                  counted("after", "\ud800")) == ["hidden-result"]


# --- fuzzing


@pytest.mark.parametrize(("status", "word"), [(404, "holds"), (501, "holds"), (500, "?precondition"),
                                              (503, "?precondition"), (200, "broken")])
def test_a_server_that_fails_has_not_refused(status, word):
    found = fact("fuzz_finding", check="ignored_auth", operation="GET /v1/status", title="T", said="s", exchanges=[1])
    words = judged(fuzzing.authentication, API, exchange("fuzz:coverage", status), found)
    assert words == [word.replace("broken", "authentication-ignored")]


# --- the harness's own lateness, while a stream is awaited


@pytest.mark.parametrize(("blocked_s", "told"), [(0.0, 0), (0.3, 1)])
async def test_a_harness_that_sleeps_while_it_waits_for_a_stream_says_so(blocked_s, told):
    notes = []
    session = SimpleNamespace(target=TARGET, seed=0, note=lambda _scenario, name, data: notes.append((name, data)))
    stream = Stream(Api(session, "made", Cost()), "orders", "streams", "idle", {}, None)
    asyncio.get_running_loop().call_soon(time.sleep, blocked_s)
    assert not await stream.pong(b"", 0.05)
    late = [data["seconds"] for name, data in notes if name == "lag"]
    assert (len(late), all(s >= blocked_s - 0.1 for s in late)) == (told, True)


# --- secrets


@pytest.mark.parametrize("ends", [True, False])
def test_a_secret_that_is_sent_in_two_fragments_is_masked(ends):
    secret, redactor, kept = "canary-5f1e9c7a-secret", Redactor(), []
    redactor.learn(secret, "full", "token")
    session = SimpleNamespace(target=TARGET, seed=0, redactor=redactor, note=lambda *_: None,
                              frame=lambda f, _fields: kept.append(redactor.data(f.payload)) or True)
    stream = Stream(Api(session, "made", Cost()), "orders", "streams", "idle", {}, None)
    text = json.dumps({"type": "update", "seq": 1, "said": secret}).encode()
    for start, part in ((0, text[:-12]), (1, text[-12:])):
        stream.took(1.0, "server", Frame(Opcode.CONT if start else Opcode.TEXT, part, fin=bool(start) and ends))
    stream.ended(Ending("server", "eof"))
    assert len(kept) == 2
    assert b"canary" not in b"|".join(kept)
    assert "full.token" in b"".join(kept).decode()
    assert [m.content for m in stream.messages] == ([text] if ends else [])


@pytest.mark.parametrize(("parts", "kept"), [
    ((b'{"said": "canary-5f1e9', b"c7a-sec"), (b"", b'{"said": "MASK')),
    ((b'{"said": "canary-5',), (b'{"said": "MASK',)),
    ((b'{"said": "', b"canary-5f1e9c7a-secret and canary-5f"), (b"", b'{"said": "MASK and MASK')),
    ((b'{"said": "canary-',), (b'{"said": "canary-',)),
    ((b'{"said": "canary-5f1e9', b'"}'), (b'{"said": "canary-5f1e9', b'"}')),
], ids=["two parts", "eight characters", "once more", "seven", "no secret after all"])
def test_a_secret_whose_end_never_came_is_masked(parts, kept):
    redactor, frames = Redactor(), []
    redactor.learn("canary-5f1e9c7a-secret", "full", "token")
    session = SimpleNamespace(target=TARGET, seed=0, redactor=redactor, note=lambda *_: None,
                              frame=lambda f, _fields: frames.append(redactor.data(f.payload)) or True)
    stream = Stream(Api(session, "made", Cost()), "orders", "streams", "idle", {}, None)
    for n, part in enumerate(parts):
        stream.took(1.0, "server", Frame(Opcode.CONT if n else Opcode.TEXT, part, fin=False))
    stream.ended(Ending("server", "reset"))
    assert frames == [one.replace(b"MASK", "⟨full.token#1⟩".encode()) for one in kept]


def test_fragments_without_a_secret_are_kept_as_they_came():
    kept = []
    session = SimpleNamespace(target=TARGET, seed=0, redactor=Redactor(), note=lambda *_: None,
                              frame=lambda f, _fields: kept.append((f.opcode, f.payload)) or True)
    stream = Stream(Api(session, "made", Cost()), "orders", "streams", "idle", {}, None)
    for opcode, part, fin in ((Opcode.TEXT, b"{", False), (Opcode.PING, b"", True), (Opcode.CONT, b"}", True)):
        stream.took(1.0, "server", Frame(opcode, part, fin=fin))
    assert kept == [(9, b""), (1, b"{"), (0, b"}")]


# --- content


DEEPEST = "[" * 900 + "]" * 900


@pytest.mark.parametrize(("first", "again", "word"), [
    ("1.5", "1.50", "holds"), ("1e2", "100", "holds"), ("1", "2", "changed-content"), ("[1, 2.0]", "[1, 2]", "holds"),
    ("1", "true", "changed-content"), ("[1]", "[1, 2]", "changed-content"),
    ("1e99999999999999999999", "1e99999999999999999998", "changed-content"),
    ('{"a":' * 900 + "1" + "}" * 900, '{"a":' * 900 + "2" + "}" * 900, "holds"), (DEEPEST, DEEPEST, "holds"),
    ('{"a": {"b": 1}}', '{"a": {"b": 2}}', "changed-content"),
], ids=lambda v: v[:12])
def test_what_comes_again_is_the_same_however_it_is_written(first, again, word):
    text = b'{"type": "update", "epoch": "x", "seq": 1, "event": "e1", "x": %s}'
    events = [e for n, x in enumerate((first, again)) for e in (
        exchange(f"round:{n}", 101, conn=n), frame(text % x.encode(), conn=n))]
    assert judged(delivered_as_promised, ORDERS, *events) == ["holds", word]


# --- scenarios that cannot go on


@pytest.mark.parametrize("sent_", [3, 0])
async def test_what_was_found_before_a_token_could_not_be_renewed_is_kept(monkeypatch, sent_):
    notes = []

    async def talked(talk, _folder):
        talk.sent = sent_
        raise Skip("precondition", "no token for fuzz")

    monkeypatch.setattr("openbell.fuzz._talked", talked)
    api = SimpleNamespace(note=lambda name, **data: notes.append((name, data)))
    with nullcontext() if sent_ else pytest.raises(Skip, match="no token"):
        await fuzz(api, TARGET, TARGET.fuzz)
    assert notes == ([("fuzz_lost", {"why": "no token for fuzz", "requests": 3})] if sent_ else [])


async def test_a_stream_that_wants_a_greeting_and_no_token_needs_no_credential(tmp_path):
    target = profile(credential={"streams": {"stack": ()}})
    journal = Journal(tmp_path / "events.jsonl", Header("0", "run", "2026-01-01T00:00:00+00:00", 0, "t", {}))
    secrets = {step.secret: "canary-5f1e9c7a" for c in target.credential.values() for step in c.stack}
    try:
        assert await Session(target, secrets, journal, Redactor(), 5).credential("streams") == ""
    finally:
        journal.close()
