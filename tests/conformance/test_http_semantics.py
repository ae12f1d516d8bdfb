"""HTTP-001, HTTP-008, HTTP-011 on made-up events, and the invalid bodies that are sent for them."""

import json

import pytest
from made import exchange, fact, profile, recording, said

from openbell.conformance.http_semantics import invalid_refused, status_in_class, truthful_allow
from openbell.scenarios.invalid_input import MOST_BODIES, body_variants
from openbell.scenarios.methods import shared_paths
from openbell.target import Subject

API = Subject("api")
TARGET = profile()
HTML = {"Content-Type": "text/html", "Via": "1.1 edge", "X-Correlation-Id": "a"}


def judged(check, *events, target=TARGET):
    return said(check.judge(recording(*events), target, API))


def seen(one, target=TARGET):
    return said(status_in_class.traffic(one, target, {}))


# --- HTTP-001


def method(name, status, **more):
    fields = {"Allow": more.pop("allow")} if "allow" in more else {}
    return exchange(f"method:{name}", status, {"code": "x"}, method=name, fields={**fields, **more.pop("fields", {})})


GOOD = exchange("control:method")


@pytest.mark.parametrize(("probe", "word"), [
    (method("SEARCH", 405, allow="GET, HEAD"), "holds"),
    (method("SEARCH", 405, allow=""), "holds"),
    (method("SEARCH", 404), "holds"),
    (method("PROPFIND", 501), "holds"),
    (method("OPTIONS", 200), "holds"),
    (method("PUT", 412), "holds"),
    (method("SEARCH", 405), "allow-missing"),
    (method("SEARCH", 405, allow="GET, SEARCH"), "allow-lists-refused"),
    (method("SEARCH", 405, allow="POST"), "allow-lacks-working"),
    (method("SEARCH", 200), "method-accepted"),
    (method("SEARCH", 500), "server-error"),
    (method("SEARCH", None), "?no_reply"),
    (method("SEARCH", 403, fields=HTML), "?edge_generated"),
])
def test_methods(probe, word):
    assert judged(truthful_allow, GOOD, probe, GOOD) == [word]


def test_a_query_that_is_served_says_nothing():
    assert judged(truthful_allow, GOOD, method("QUERY", 200), GOOD) == []


def test_allow_is_compared_with_every_refusal():
    probes = method("SEARCH", 405, allow="GET, HEAD"), method("HEAD", 405, allow="GET")
    assert judged(truthful_allow, GOOD, *probes, GOOD) == ["allow-lists-refused", "holds"]


@pytest.mark.parametrize("controls", [(GOOD, exchange("control:method", 401)), (GOOD, exchange("control:method", None)),
                                      (GOOD,)])
def test_without_its_bracket_nothing_is_decided(controls):
    assert judged(truthful_allow, *controls, method("SEARCH", 405)) == ["?control_failed"]


def orders(label, status=200, **more):
    return exchange(label, status, operation="list_open_orders", **more)


@pytest.mark.parametrize(("allow", "words"), [
    ("GET, HEAD, POST", ["holds"]), ("", ["holds"]), ("GET, HEAD", ["allow-lacks-working"]),
    ("POST", ["allow-lacks-working"]), ("GET, POST, SEARCH", ["holds"])])
def test_allow_has_every_declared_method_of_its_own_path(allow, words):
    probe = orders("method:PROPFIND", 405, method="PROPFIND", fields={"Allow": allow})
    control = method("SEARCH", 405, allow="GET, HEAD")
    assert judged(truthful_allow, GOOD, control, GOOD, orders("control:method"), probe, orders("control:method")) == [
        "holds", *words]


def test_a_write_that_the_harness_may_not_send_is_not_asked_for():
    target = profile(target={"allow": ("read",)})
    probe = orders("method:PROPFIND", 405, method="PROPFIND", fields={"Allow": "GET"})
    assert judged(truthful_allow, orders("control:method"), probe, orders("control:method"), target=target) == ["holds"]


def test_a_path_that_could_not_be_read_decides_nothing_of_the_others():
    failed = [orders("control:method", 404), orders("method:PROPFIND", 405), orders("control:method", 404)]
    assert judged(truthful_allow, GOOD, method("SEARCH", 404), GOOD, *failed) == ["holds", "?control_failed"]


def test_paths_with_several_methods_are_probed_but_none_to_a_single_item():
    assert shared_paths(TARGET, "full") == ("list_open_orders",)
    assert shared_paths(profile(target={"control": "list_open_orders"}), "full") == ()
    assert shared_paths(profile(target={"allow": ("read",)}), "full") == ()


# --- HTTP-008


def invalid(*statuses, contradicts=True, body=None, fields=()):
    """The control, the tries of one variant (events 2, 3, ...), its fact, the control."""
    tries = [exchange(f"invalid:abc:{i}", status, body or {"code": "x"}, fields=fields)
             for i, status in enumerate(statuses)]
    told = fact("invalid", variant="abc", said="the size abc", contradicts=contradicts,
                exchanges=list(range(2, 2 + len(tries))))
    return judged(invalid_refused, GOOD, *tries, told, GOOD)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 414, 415, 422, 431])
def test_any_refusal_will_do(status):
    assert invalid(status) == ["holds"]


@pytest.mark.parametrize(("statuses", "words"), [
    ((500, 500, 500), ["server-error"]),
    ((502, 500, 504), ["server-error"]),
    ((500, 400), ["?noisy"]),
    ((500, 500, 400), ["?noisy"]),
    ((503, 503, 503), ["?noisy"]),
    ((201,), ["invalid-accepted"]),
    ((None,), ["?no_reply"]),
    ((429,), ["?shared_quota"]),
    ((401,), ["?precondition"]),
])
def test_invalid_input(statuses, words):
    throttled = {"code": "throttled"} if statuses == (429,) else None
    assert invalid(*statuses, body=throttled) == words


def test_what_a_tolerant_server_may_ignore_is_not_judged():
    assert invalid(200, contradicts=False) == []


def test_a_refusal_under_a_2xx_is_the_business_of_another_check():
    assert invalid(200, body={"success": False, "error": "NO"}) == []


def test_a_firewall_is_not_the_api():
    assert invalid(403, fields=HTML) == ["?edge_generated"]


BODY = {"client_order_id": "ob-1", "symbol": "AAPL", "quantity": 10, "price": "100.00", "day": "2026-01-05", "legs": []}


def test_every_body_differs_from_the_valid_one():
    variants = body_variants(BODY)
    assert len({v.name for v in variants}) == len(variants) <= MOST_BODIES
    assert all(v.content != json.dumps(BODY).encode() for v in variants)
    assert {"huge-quantity", "below-price", "nan-quantity", "objects"} <= {v.name for v in variants}
    assert "huge-symbol" not in {v.name for v in variants}


def test_what_contradicts_is_no_object_or_has_a_member_of_another_kind():
    for variant in body_variants(BODY):
        try:
            value = json.loads(variant.content)
        except (ValueError, RecursionError):
            assert variant.contradicts
            continue
        if variant.contradicts and isinstance(value, dict):
            assert any(value.get(name) != member for name, member in BODY.items())


def test_free_text_alone_is_never_an_amount():
    names = [v.name for v in body_variants({"note": "12", "account_id": "34", "flag": True})]
    assert not [name for name in names if name.startswith(("huge", "below", "text", "nan"))]


# --- HTTP-011


@pytest.mark.parametrize(("status", "body", "word"), [
    (200, {"items": []}, "holds"),
    (201, {"id": "1", "error": "limit reached"}, "holds"),
    (200, {"id": "op-1", "status": "failed", "error": {"code": "X"}}, "holds"),
    (200, {"error": [], "result": {"a": 1}}, "holds"),
    (200, {"code": "0", "msg": "", "data": [1]}, "holds"),
    (200, {"items": [{"success": False}]}, "holds"),
    (207, {"errors": [{"code": "X"}]}, "holds"),
    (404, {"code": "x"}, "holds"),
    (204, None, "holds"),
    (200, {"success": False, "error": "INSUFFICIENT_FUNDS"}, "error-in-success"),
    (200, {"error": {"code": "X"}, "data": None}, "error-in-success"),
    (200, {"errors": [{"message": "no"}]}, "error-in-success"),
    (460, {"code": "x"}, "unregistered-status"),
    (520, {"code": "x"}, "unregistered-status"),
    (299, {}, "unregistered-status"),
])
def test_statuses(status, body, word):
    assert seen(exchange("x", status, body)) == [word]


def test_a_problem_document_is_no_success():
    problem = {"Content-Type": "application/problem+json"}
    assert seen(exchange("x", 200, {"a": 1}, fields=problem)) == ["error-in-success"]


def test_content_after_204():
    assert seen(exchange("x", 204, None, fields={"Content-Length": "12"})) == ["content-after-204"]
    assert seen(exchange("x", 204, None, fields={"Content-Length": "0"})) == ["holds"]


def test_an_edge_has_its_own_statuses():
    assert seen(exchange("x", 522, b"<html>", fields=HTML)) == ["?edge_generated"]


def test_no_reply_is_not_traffic():
    assert seen(exchange("x", None)) == []
