"""ERR-001, ERR-002, ERR-005, ERR-007 on made-up events."""

import time
from dataclasses import replace

import pytest
from made import exchange, headers, profile, recording, said

from openbell.conformance.error_bodies import complete, no_internals, parseable, uniform
from openbell.events import Message
from openbell.profile import Trace
from openbell.target import Subject

TARGET = profile()
PROBLEM = {"type": "https://openbell.invalid/problems/not_found", "title": "Not found", "status": 404,
           "detail": "There is no such order.", "code": "not_found", "correlation_id": "c-1"}
TRACED = {"X-Correlation-Id": "c-1"}
EDGE = {"Content-Type": "text/html", "X-Cache": "MISS"}


def seen(check, one, target=TARGET):
    return said(check.traffic(one, target, {}))


def error(body=PROBLEM, status=404, media=None, **changes):
    fields = {**TRACED, **({"Content-Type": media} if media else {}), **changes.pop("fields", {})}
    return exchange("x", status, body, fields=fields, **changes)


def without(*names):
    return {k: v for k, v in PROBLEM.items() if k not in names}


# --- ERR-001


@pytest.mark.parametrize(("one", "words"), [
    (error(), ["holds"]),
    (error(media="application/json; charset=utf-8"), ["holds"]),
    (error(b"<h1>Not Found</h1>", media="text/html"), ["not-json"]),
    (error(b"{", media="application/json"), ["not-json"]),
    (error([1], media="application/json"), ["not-json"]),
    (error(b"", 401), ["empty"]),
    (error(media="text/plain"), ["wrong-media-type"]),
    (error(b"", 404, method="HEAD"), []),
    (exchange("x", 200, {}), []),
    (exchange("x", None), []),
    (exchange("x", 503, b"<h1>Bad</h1>", fields=EDGE), ["?edge_generated"]),
    (exchange("x", 500, b"<h1>Oops</h1>", fields=EDGE), ["not-json"]),
])
def test_media_types(one, words):
    assert seen(parseable, one) == words


def test_what_the_profile_declares_counts():
    declared = profile(envelope={"default": {"media_types": ("application/xml",), "no_body": (401,)}})
    assert seen(parseable, error(b"<error/>", media="application/xml"), declared) == ["holds"]
    assert seen(parseable, error(b"", 401), declared) == []


# --- ERR-002


@pytest.mark.parametrize(("body", "words"), [
    (PROBLEM, ["holds"]),
    (without("code"), ["code-missing"]),
    ({**PROBLEM, "code": ""}, ["code-missing"]),
    ({**PROBLEM, "code": "Not Found"}, ["code-missing"]),
    (without("detail"), ["message-missing"]),
    ({**PROBLEM, "detail": "not_found"}, ["message-missing"]),
    ({**PROBLEM, "detail": "注文が見つかりません"}, ["holds"]),
    (without("correlation_id"), ["correlation-missing"]),
    ({**PROBLEM, "correlation_id": None}, ["correlation-missing"]),
    ({"detail": "Not Found"}, ["code-missing", "correlation-missing"]),
    (b"<h1>Not Found</h1>", ["code-missing"]),
    (b"", []),
])
def test_members(body, words):
    assert seen(complete, error(body)) == words


def test_about_blank_is_no_code():
    by_type = profile(envelope={"default": {"code": ("/type",)}})
    assert seen(complete, error({**PROBLEM, "type": "about:blank"}), by_type) == ["code-missing"]
    assert seen(complete, error(), by_type) == ["holds"]


def test_oauth_errors_need_no_correlation_id():
    one = error({"error": "invalid_client", "error_description": "The secret is wrong."}, 401,
                media="application/json", operation="issue_token")
    assert seen(complete, one) == ["holds"]


def test_header_only_is_a_warning_where_the_profile_says_so():
    header_only = profile(envelope={"default": {"trace": Trace(header="X-Correlation-Id", header_only=True)}})
    [one] = complete.traffic(error(without("correlation_id")), header_only, {})
    assert (one.rule, one.level) == ("correlation-missing", "SHOULD")
    [lost] = complete.traffic(exchange("x", 404, without("correlation_id")), header_only, {})
    assert (lost.rule, lost.level) == ("correlation-missing", None)


def test_a_profile_without_a_place_decides_nothing():
    silent = profile(envelope={"default": {"trace": Trace()}})
    assert seen(complete, error(), silent) == ["?precondition"]


# --- ERR-005


@pytest.mark.parametrize(("detail", "word"), [
    ('Traceback (most recent call last):\n File "/srv/api/orders.py", line 9, in get', "stack-trace"),
    ("at com.bank.Orders.get(Orders.java:120)", "stack-trace"),
    ("at Bank.Orders.Get() in C:\\src\\Orders.cs:line 12", "stack-trace"),
    ("at Object.get (/app/src/orders.js:12:7)", "stack-trace"),
    ("java.lang.NullPointerException: null", "stack-trace"),
    ("goroutine 12 [running]", "stack-trace"),
    ("SELECT id, price FROM orders WHERE id = 1", "sql-text"),
    ("(sqlite3.OperationalError) no such table: orders", "sql-text"),
    ("ORA-00942 happened", "sql-text"),
    ("cannot open /var/lib/bank/orders.db", "file-path"),
    ("cannot open C:\\bank\\data\\orders.db", "file-path"),
    ("no reply from 10.12.0.7:8443", "internal-address"),
    ("upstream http://172.20.1.9/orders failed", "internal-address"),
    ("db-1.prod.internal refused", "internal-address"),
    ("Please select an account from the list.", "holds"),
    ("See https://docs.example.com/usr/local/errors.py for help.", "holds"),
    ("Version 110.12.0.7 and 172.40.1.9 and 8.8.8.8 are fine.", "holds"),
    ("No order at /v1/accounts/acct-full/orders/ord_1.", "holds"),
    ("Update your client, and delete from your cart what is gone.", "holds"),
])
def test_internals(detail, word):
    assert seen(no_internals, error({**PROBLEM, "detail": detail})) == [word]


def test_an_internal_address_in_a_field():
    assert seen(no_internals, error(fields={"X-Backend": "192.168.3.4"})) == ["internal-address"]
    assert seen(no_internals, error(fields={"Server": "nginx/1.2", "Via": "1.1 10.0.0.1"})) == ["holds"]


def test_what_the_caller_sent_is_no_leak():
    detail = {**PROBLEM, "detail": "No order is named ../../etc/passwd or /etc/ssl/key or 10.0.0.9."}
    sent = error(detail, url="https://api.example.test/v1/orders/..%2Fetc%2Fssl%2Fkey",
                 request=Message(headers({"Host": "10.0.0.9"})))
    assert seen(no_internals, sent) == ["holds"]
    assert seen(no_internals, error(detail)) == ["file-path", "internal-address"]


def test_successes_are_not_looked_at():
    assert seen(no_internals, exchange("x", 200, {"path": "/var/lib/bank/x"})) == []


@pytest.mark.parametrize("piece", ["a.", "SELECT ", "at ", "/a", 'File "', "a/", "1.", "UPDATE x ", "C:\\a\\", "http://"])
def test_hostile_text_takes_no_time(piece):
    began = time.process_time()
    assert list(no_internals.traffic(error((piece * 65536).encode()[:65536]), TARGET, {}))
    assert time.process_time() - began < 5, "a pattern that backtracks without end takes hours"


# --- ERR-007

GOOD = exchange("control:layer")


def layer(name, body=PROBLEM, status=400, **changes):
    return error(body, status, **changes), name


def judged(*layers):
    probes = [replace(one, label=f"layer:{name}") for one, name in layers]
    return said(uniform.judge(recording(GOOD, *probes, GOOD), TARGET, Subject("api")))


USUAL = (layer("route", status=404), layer("parser"), layer("token", status=401))


@pytest.mark.parametrize(("odd", "word"), [
    (layer("query", {**PROBLEM, "errors": [{"pointer": "/a", "message": "no"}]}), "holds"),
    (layer("query", without("code")), "holds"),
    (layer("query", media="text/plain"), "holds"),
    (layer("query", media="application/json"), "schemas-differ"),
    (layer("query", {"detail": "Not Found"}), "schemas-differ"),
    (layer("query", {"error": {"code": "x", "message": "y"}}), "schemas-differ"),
    (layer("query", b"<h1>Not Found</h1>", media="text/html"), "schemas-differ"),
    (layer("query", b""), "?no_sample"),
    (layer("query", {"items": []}, 200), "?no_sample"),
    (layer("query", None, None), "?no_reply"),
    (layer("query", b"<h1>Too large</h1>", 413, media="text/html", fields={"Via": "1.1 edge"}), "?edge_generated"),
    (layer("query", {"error": "invalid_client"}, 401, operation="issue_token"), "?no_sample"),
])
def test_layers(odd, word):
    assert sorted(judged(*USUAL, odd)) == sorted(["holds"] * 3 + [word])


def test_layers_without_a_bracket():
    assert said(uniform.judge(recording(GOOD, error()), TARGET, Subject("api"))) == ["?control_failed"]
