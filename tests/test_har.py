"""HAR files of several tools, whole and broken, to a journal that the same checks judge."""

import base64
import copy
import gzip
import json
from typing import Any

import pytest
from stand_in import PROFILE

from openbell import har
from openbell.events import Exchange, Fact
from openbell.journal import Header, Journal, JournalError, read
from openbell.loading import load
from openbell.run import UnknownCheck, judged
from openbell.wire import MAX_CONTENT

TOKEN = "eyJhbGciOi.canary.8f2c1d7e9a"
SESSION = "canary-session-55aa77bb"
CHROMIUM: dict[str, Any] = {
    "log": {
        "version": "1.2", "creator": {"name": "WebInspector", "version": "537.36"}, "pages": [],
        "entries": [{
            "_initiator": {"type": "script"}, "connection": "44321", "cache": {},
            "startedDateTime": "2026-11-26T03:00:01.500Z", "time": 120.5,
            "timings": {"blocked": -1, "dns": -1, "connect": -1, "send": 0.1, "wait": 100, "receive": 20},
            "request": {
                "method": "GET", "url": "https://api.example.com/orders/17?access_token=" + TOKEN, "httpVersion": "h2",
                "headers": [{"name": ":authority", "value": "api.example.com"}, {"name": ":method", "value": "GET"},
                            {"name": "authorization", "value": "Bearer " + TOKEN}, {"name": "x-empty", "value": ""},
                            {"name": "x-without-value"}, {"name": "cookie", "value": "sid=" + SESSION}],
                "queryString": [], "cookies": [], "headersSize": -1, "bodySize": 0},
            "response": {
                "status": 404, "statusText": "", "httpVersion": "h2",
                "headers": [{"name": "date", "value": "Thu"}, {"name": "date", "value": "26 Nov 2026 03:00:01 GMT"},
                            {"name": "x-trace", "value": "t-1"}, {"name": "set-cookie", "value": "a=1\nb=2"}],
                "content": {"size": 40, "mimeType": "application/json",
                            "text": json.dumps({"code": "not_found", "detail": "no such order", "trace": "t-1",
                                                "echo": SESSION})},
                "redirectURL": "", "headersSize": -1, "bodySize": -1}}]}}


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(PROFILE.replace("BASE", "https://api.example.com"))
    return load(path)


def entry(**changes):
    """A Chromium entry with parts replaced: `request__url="..."`, `response=None`."""
    made = copy.deepcopy(CHROMIUM["log"]["entries"][0])
    for name, value in changes.items():
        *way, last = name.split("__")
        at = made
        for part in way:
            at = at[part]
        at[last] = value
    return made


def saved(tmp_path, *entries, name="a.har"):
    path = tmp_path / name
    path.write_text(json.dumps({"log": {"entries": entries}}))
    return path


def exchanges(tmp_path, *entries, target=None):
    journal = har.to_journal([saved(tmp_path, *entries)], target, (), tmp_path / "out")
    return [e for e in read(journal) if isinstance(e, Exchange)]


def test_an_entry_becomes_an_exchange(tmp_path, target):
    (one,) = exchanges(tmp_path, entry(), target=target)
    assert (one.scenario, one.label, one.origin, one.route, one.principal) == ("har", "har", "har", "direct", None)
    assert (one.operation, one.method, one.status, one.conn, one.no_reply) == ("read_order", "GET", 404, 1, None)
    assert (one.sent, one.done) == (0.0, pytest.approx(0.1205))
    assert one.first == pytest.approx(0.1005)
    assert one.reply.lines("date") == ("Thu, 26 Nov 2026 03:00:01 GMT",)
    assert len(one.reply.lines("set-cookie")) == 2
    names = [name for name, _ in one.request.headers]
    assert names == [b"authorization", b"x-empty", b"cookie"]


def test_secrets_are_masked_wherever_they_stand(tmp_path, target):
    other = entry(request__url=f"https://api.example.com/orders/{SESSION}", response__content__text=f"so: {TOKEN}")
    journal = har.to_journal([saved(tmp_path, other, entry())], target, (), tmp_path / "out")
    kept = journal.read_text()
    assert TOKEN not in kept
    assert SESSION not in kept
    assert "⟨foreign." in kept


def test_the_header_holds_what_judging_needs(tmp_path, target):
    path = saved(tmp_path, entry())
    header = read(har.to_journal([path], target, ("COR-001",), tmp_path / "out")).header
    assert (header.source, header.selection, header.started) == (
        "har", {"checks": ["COR-001"]}, "2026-11-26T03:00:01+00:00")
    assert header.profile["target"]["name"] == "stand-in"
    assert str(path) in header.target


def test_the_journal_is_whole_and_judged_as_any_other(tmp_path, target):
    bad = entry(response__headers=[])
    journal = har.to_journal([saved(tmp_path, *([entry()] * 10), bad)], target, (), tmp_path / "out")
    results = judged(journal)
    assert results.torn is None
    verdict = {r.check: r for r in results.results}
    assert verdict["COR-001"].verdict == "fail"
    assert verdict["COR-001"].findings[0].rule == "missing-on-404"
    assert all(c.check not in {"PAG-002", "CRD-001"} for c in results.results)


def test_without_a_profile_nothing_is_promised_and_the_most_frequent_host_is_judged(tmp_path):
    elsewhere = entry(request__url="https://cdn.example.net/x.js")
    path = saved(tmp_path, entry(), elsewhere, entry())
    journal = har.to_journal([path], None, (), tmp_path / "out")
    found = [e for e in read(journal) if isinstance(e, Exchange)]
    assert [e.operation for e in found] == [None, None]
    header = read(journal).header
    assert header.profile["target"]["base_url"] == "https://api.example.com:443"
    assert "promise" not in header.profile
    results = judged(journal)
    assert {r.verdict for r in results.results} <= {"info", "inconclusive"}
    fact = next(e for e in read(journal) if isinstance(e, Fact))
    assert fact.data["left_out"] == {"cdn.example.net:443": 1}


def test_traffic_of_other_hosts_is_left_out(tmp_path, target):
    found = exchanges(tmp_path, *[entry(request__url="https://fonts.example.net/f")] * 3, entry(), target=target)
    assert [e.operation for e in found] == ["read_order"]


def test_a_recording_of_another_deployment_is_taken_as_the_targets(tmp_path, target):
    (one,) = exchanges(tmp_path, entry(request__url="http://127.0.0.1:9999/orders"), target=target)
    assert one.operation == "list_orders"


@pytest.mark.parametrize(("content", "kept"), [
    ({"text": base64.b64encode(b"\x00\xff").decode(), "encoding": "base64"}, b"\x00\xff"),
    ({"text": '{"a": 1}', "encoding": "base64"}, b'{"a": 1}'),
    ({"text": base64.b64encode(gzip.compress(b"inside")).decode(), "encoding": "base64"}, b"inside"),
    ({"text": "half \ud83d pair"}, "half � pair".encode()),
    ({"text": "😀"}, "😀".encode()),
    ({"text": 17}, b""), ({}, b""), (None, b""), ("text", b""),
])
def test_contents_of_all_kinds(tmp_path, content, kept):
    (one,) = exchanges(tmp_path, entry(response__content=content, response__bodySize=0))
    assert one.reply.content == kept


def test_a_content_that_the_tool_did_not_keep_is_cut_and_not_empty(tmp_path):
    (one,) = exchanges(tmp_path, entry(response__content={"size": 900}))
    assert (one.reply.content, one.reply.cut, one.reply.wire_length) == (b"", True, 900)


def test_a_coding_that_could_hide_secrets_is_not_kept(tmp_path):
    coded = [{"name": "content-encoding", "value": "br"}]
    content = {"text": base64.b64encode(b"\x8b\x03\x80hidden\x03").decode(), "encoding": "base64"}
    (one,) = exchanges(tmp_path, entry(response__headers=coded, response__content=content))
    assert (one.reply.content, one.reply.cut) == (b"", True)


def test_a_large_content_is_cut_at_the_cap_after_masking(tmp_path):
    text = "x" * (MAX_CONTENT - 5) + TOKEN
    (one,) = exchanges(tmp_path, entry(response__content={"text": text}))
    assert one.reply.cut
    assert len(one.reply.content) == MAX_CONTENT
    assert TOKEN[:5].encode() not in one.reply.content


@pytest.mark.parametrize("changes", [
    {"time": -1}, {"time": None}, {"time": "fast"}, {"time": 1e300}, {"time": float("nan")}, {"timings": None},
    {"timings__receive": -1}, {"startedDateTime": None}, {"startedDateTime": "yesterday"},
    {"startedDateTime": "2026-11-26T03:00:01"}, {"startedDateTime": "2026-11-26T03:00:01.123456789+01:00"},
    {"connection": 7}, {"request__headers": None}, {"request__headers": {"a": "b"}}, {"request__headers": [3, {}]},
    {"request__postData": {"params": [{"name": "a", "value": "b"}, {}]}}, {"request__postData": 3},
    {"response__headers": None}, {"response__status": 10**30}, {"response__bodySize": "x"}, {"cache": None},
    {"request__url": "https://api.example.com:443/orders/\ud800"}, {"response__headers": [{"name": "a\ud800",
                                                                                            "value": "\udfff"}]},
])
def test_what_tools_get_wrong_is_tolerated(tmp_path, target, changes):
    found = exchanges(tmp_path, entry(**changes), target=target)
    assert len(found) == 1
    assert 0 <= found[0].sent <= found[0].done
    assert judged(tmp_path / "out" / "events.jsonl").results


@pytest.mark.parametrize("response", [None, {}, {"status": 0}, {"status": "200"}, {"status": -1}])
def test_no_reply_is_a_fact_of_its_own(tmp_path, response):
    (one,) = exchanges(tmp_path, entry(response=response))
    assert (one.status, one.reply, one.no_reply) == (None, None, "har: the recording holds no reply")


def test_what_is_no_http_exchange_is_left_out(tmp_path):
    odd = [entry(request__url="data:text/plain,x"), entry(request__url="wss://api.example.com/s"),
           entry(request__method="GET /x"), entry(request__url="https://[bad/"), entry(_fromCache="disk"),
           {}, None, 3, {"request": None}]
    assert len(exchanges(tmp_path, *odd, entry())) == 1


def test_several_files_are_one_journal_in_the_order_of_their_ends(tmp_path, target):
    late = saved(tmp_path, entry(startedDateTime="2026-11-26T03:00:09Z"), name="late.har")
    early = saved(tmp_path, entry(startedDateTime="2026-11-26T04:00:00+01:00"), name="early.har")
    found = [e for e in read(har.to_journal([late, early], target, (), tmp_path / "out")) if isinstance(e, Exchange)]
    assert [e.sent for e in found] == [0.0, 9.0]
    assert len({e.conn for e in found}) == 2


def test_a_mitmproxy_dump_with_a_form(tmp_path):
    posted = {"mimeType": "application/x-www-form-urlencoded", "text": f"grant_type=x&client_secret={TOKEN}",
              "params": [{"name": "grant_type", "value": "x"}, {"name": "client_secret", "value": TOKEN}]}
    for data in (posted, {k: v for k, v in posted.items() if k != "text"}):
        (one,) = exchanges(tmp_path, entry(request__method="POST", request__postData=data, request__headers=[]))
        assert one.request.content.startswith(b"grant_type=x&client_secret=")
        assert TOKEN.encode() not in one.request.content


@pytest.mark.parametrize(("content", "why"), [
    (b"", "not JSON"), (b"{", "not JSON"), (b"\xff\xfe\x00", "not JSON"), (b"[" * 100_000, "not JSON"),
    (b"[]", "no list log.entries"), (b'{"log": 3}', "no list log.entries"), (b'{"log": {}}', "no list log.entries"),
    (b'{"log": {"entries": {}}}', "no list log.entries"), (b'{"log": {"entries": []}}', "holds 0 entries"),
    (b'{"log": {"entries": [1]}}', "holds no HTTP exchange"),
])
def test_what_is_no_har_is_told_with_its_name(tmp_path, content, why):
    path = tmp_path / "odd.har"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"odd\.har") as error:
        har.to_journal([path], None, (), tmp_path / "out")
    assert why in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(har, "MAX_FILE", 1000)
    with pytest.raises(JournalError, match="HAR files of at most"):
        har.to_journal([saved(tmp_path, entry())], None, (), tmp_path / "out")


def test_a_selection_that_traffic_cannot_fulfil_is_refused(tmp_path):
    with pytest.raises(JournalError, match="they need a run"):
        har.to_journal([saved(tmp_path, entry())], None, ("PAG-002",), tmp_path / "out")
    with pytest.raises(UnknownCheck):
        har.to_journal([saved(tmp_path, entry())], None, ("NO-1",), tmp_path / "out")


@pytest.mark.parametrize("value", ["scenario", "exchange", "origin-har", "no_reply", "wire_length", "direct", "https"])
def test_a_foreign_secret_that_reads_like_the_journals_words_does_no_harm(tmp_path, target, value):
    content = {"text": json.dumps({"password": value, "client_secret": "api.example.com", "x": value})}
    (one,) = exchanges(tmp_path, entry(response__content=content), target=target)
    assert one.operation == "read_order"
    assert judged(tmp_path / "out" / "events.jsonl").results


def test_without_a_folder_a_new_one_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = har.to_journal([saved(tmp_path, entry())], None, (), None)
    assert path.parent.parent.name == "openbell-results"
    assert read(path).header.run == path.parent.name


def test_a_har_journal_may_be_made_anew_but_a_runs_is_never_overwritten(tmp_path):
    for _ in range(2):
        exchanges(tmp_path, entry())
    run = tmp_path / "run"
    run.mkdir()
    journal(run / "events.jsonl")
    with pytest.raises(JournalError, match="the journal of a run stands there"):
        har.to_journal([saved(tmp_path, entry())], None, (), run)


def journal(path):
    made = Journal(path, Header("0", "r", "2026-01-01T00:00:00+00:00", 0, "p.toml", {"log": 1}))
    made.close()
    return path


@pytest.mark.parametrize(("content", "expected"), [
    (json.dumps(CHROMIUM), True), (json.dumps(CHROMIUM, indent=4), True), ("\ufeff \n" + json.dumps(CHROMIUM), True),
    ("[]", False), ("", False), ('{"format": "openbell-results"}', False), ('{"kind":"header","log":1', True),
])
def test_a_har_is_told_by_its_beginning(tmp_path, content, expected):
    path = tmp_path / "file"
    path.write_text(content, encoding="utf-8")
    assert har.looks_like(path) is expected


def test_a_journal_never_looks_like_a_har(tmp_path):
    assert har.looks_like(journal(tmp_path / "events.jsonl")) is False


def test_a_journal_is_copied_once(tmp_path):
    source, out = journal(tmp_path / "events.jsonl"), tmp_path / "out"
    copy_ = har.copied(source, out)
    assert copy_.read_bytes() == source.read_bytes()
    assert har.copied(source, out) == copy_
    assert har.copied(copy_, out) == copy_
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "events.jsonl"
    journal(other)
    other.write_bytes(other.read_bytes().replace(b'"r"', b'"s"'))
    with pytest.raises(JournalError, match="another journal"):
        har.copied(other, out)
    with pytest.raises(JournalError, match="not an openbell journal"):
        har.copied(saved(tmp_path, entry()), tmp_path / "new")
    assert not (tmp_path / "new").exists()
