"""The document says what the server does: every reply of a tour is declared, with its fields, and fits its schema."""

import re
from typing import Any

import jsonschema
import pytest

ACCOUNT = "/v1/accounts/acct-full"
ORDER = {"client_order_id": "tour", "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "1.00"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
REQUIRED = ("X-Correlation-Id", "Cache-Control", "WWW-Authenticate", "Retry-After", "Location", "ETag")


async def tour(caller):
    """Most operations with most of their refusals; the caller remembers them."""
    await caller("POST", "/oauth/token", content=b"", headers=FORM, token=None)
    await caller("POST", "/oauth/token", content=b"grant_type=client_credentials", headers=FORM, token=None)
    await caller.login()
    urls = ("", "/balances", "/positions", "/transactions", "/orders", "/events", "/preferences", "/orders/none")
    for token in (caller.token, None, "x"):
        for url in ("/v1/status", "/openapi.json", "/v1/accounts", "/v1/instruments", "/v1/instruments/AAPL"):
            await caller("GET", url, token=token)
        for url in urls:
            await caller("GET", ACCOUNT + url, token=token)
    for query in ("limit=0", "limit=3", "cursor=x", "sort=x"):
        await caller("GET", f"{ACCOUNT}/orders?{query}")
    place = (await caller("POST", ACCOUNT + "/orders", ORDER)).one("location")
    bodies: tuple[Any, ...] = (ORDER, ORDER | {"quantity": "0"}, [], ORDER | {"client_order_id": "m", "type": "market"})
    for body in bodies:
        await caller("POST", ACCOUNT + "/orders", body)
    for order in (ORDER | {"client_order_id": "once"}, ORDER | {"client_order_id": "once"}, ORDER):
        await caller("POST", ACCOUNT + "/orders", order, headers={"Idempotency-Key": "tour"})
    await caller("POST", ACCOUNT + "/orders", content=b"{", headers={"Content-Type": "application/json"})
    await caller("POST", ACCOUNT + "/orders", content=b"x" * 2_000_000, headers={"Content-Type": "application/json"})
    await caller("POST", ACCOUNT + "/orders", content=b"x")
    for method, change in (("GET", None), ("PATCH", {"price": "2"}), ("DELETE", None), ("DELETE", None), ("PATCH", {})):
        await caller(method, place, change)
    await caller("GET", place + "/executions")
    await caller("PUT", ACCOUNT + "/preferences", {"language": "de", "currency": "EUR", "notifications": True})
    await caller("PATCH", ACCOUNT + "/preferences", {"language": "en"}, headers={"If-Match": '"x"'})
    caller.clock.now += 5
    await caller("GET", ACCOUNT)


def operation_of(document, method, url):
    path = url.partition("?")[0]
    fitting = [one for one in document["paths"] if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", one), path)]
    return document["paths"][fitting[0]][method.lower()]


def check(document, operation, got):
    declared = operation["responses"][str(got.status)]
    media_type = (got.one("content-type") or "").partition(";")[0]
    if operation["operationId"] == "read_document" and got.status == 200:
        return
    schema: dict[str, Any] = {**declared["content"][media_type]["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(got.json)
    sent = {name.title() for name, _ in got.headers} - {"Content-Type", "Content-Length"}
    named = {name.title() for name in declared["headers"]}
    assert sent - named == set()
    missing = {name for name in declared["headers"] if name in REQUIRED and name.title() not in sent}
    assert missing == set()


@pytest.fixture
async def toured(start):
    caller = start()
    await tour(caller)
    return caller


async def test_every_reply_is_declared(toured):
    document = (await toured("GET", "/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    for method, url, got in toured.seen:
        check(document, operation_of(document, method, url), got)
    assert {got.status for _, _, got in toured.seen} >= {200, 201, 400, 401, 404, 409, 412, 413, 415, 422}


async def test_every_operation_is_in_the_document_and_only_public_ones_need_no_token(toured):
    document = (await toured("GET", "/openapi.json")).json
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert len(operations) == 20
    public = {one["operationId"] for one in operations if one["security"] == []}
    assert public == {"issue_token", "read_status", "read_document"}
    touched = {operation_of(document, method, url)["operationId"] for method, url, _ in toured.seen}
    assert {one["operationId"] for one in operations} == touched


async def test_every_schema_is_a_schema(toured):
    document = (await toured("GET", "/openapi.json")).json
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
