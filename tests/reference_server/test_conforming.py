"""The server without any variant: what each convention promises."""

import base64
import json
import re
import uuid
from collections import Counter

import pytest

from openbell.reference_server import bodies
from openbell.reference_server.values import Refused

ACCOUNT = "/v1/accounts/acct-full"
PAGES = "/v1/accounts/acct-pages/orders"
ORDER = {"client_order_id": "x", "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "1.00"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def problem(got, status, code):
    assert (got.status, got.json["code"]) == (status, code), got.content
    assert got.one("content-type") == "application/problem+json"
    assert got.json["type"] == f"https://openbell.invalid/problems/{code}"
    assert got.json["status"] == status
    assert got.json["correlation_id"] == got.one("x-correlation-id")
    assert " " in got.json["detail"]
    return got


async def test_tokens_are_given_for_basic_and_form(start):
    caller = start()
    assert len((await caller.login()).token) >= 32
    form = b"grant_type=client_credentials&client_id=full&client_secret=pa%22ss%2Fw%C3%B6rd%2B%3D%25-long"
    got = await caller("POST", "/oauth/token", content=form, headers=FORM, token=None)
    assert got.json["token_type"] == "Bearer"
    assert got.json["expires_in"] == 6
    assert got.one("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("basic", "form", "status", "error"),
    [
        ("full:wrong", b"grant_type=client_credentials", 401, "invalid_client"),
        ("nobody:wrong", b"grant_type=client_credentials", 401, "invalid_client"),
        ("full:wrong", b"grant_type=client_credentials&client_secret=x", 400, "invalid_request"),
        ("full:pa%22ss%2Fw%C3%B6rd%2B%3D%25-long", b"grant_type=password", 400, "unsupported_grant_type"),
        ("full:pa%22ss%2Fw%C3%B6rd%2B%3D%25-long", b"", 400, "invalid_request"),
        ("full:wrong", b"a=1&a=2", 400, "invalid_request"),
    ],
)
async def test_token_errors_have_their_own_form(start, basic, form, status, error):
    encoded = base64.b64encode(basic.encode()).decode()
    headers = {"Authorization": f"Basic {encoded}", "Content-Type": "application/x-www-form-urlencoded"}
    got = await start()("POST", "/oauth/token", content=form, headers=headers, token=None)
    assert (got.status, got.json["error"]) == (status, error)
    assert (got.one("www-authenticate") is not None) == (status == 401)
    assert got.one("x-correlation-id")


async def test_unknown_routes_and_wrong_methods_are_problems(start):
    caller = await start().login()
    problem(await caller("GET", "/v2/accounts"), 404, "not_found")
    for method, url, allowed in (("QUERY", ACCOUNT + "/orders", "GET, HEAD, POST"), ("GET", "/oauth/token", "POST")):
        assert problem(await caller(method, url), 405, "method_not_allowed").one("allow") == allowed


async def test_who_brings_no_token_is_challenged_before_anything_else(start):
    caller = start()
    got = problem(await caller("POST", ACCOUNT + "/orders", content=b"{", headers=JSON), 401, "unauthenticated")
    assert got.one("www-authenticate") == 'Bearer realm="openbell"'
    assert got.one("ratelimit") is None
    problem(await caller("GET", "/v1/accounts?access_token=x"), 401, "unauthenticated")


async def test_bad_and_expired_tokens(start):
    caller = await start().login()
    got = problem(await caller("GET", "/v1/accounts", token="x" * 43), 401, "invalid_token")
    assert 'error="invalid_token"' in got.one("www-authenticate")
    problem(await caller("GET", f"/v1/accounts?access_token={caller.token}"), 400, "invalid_request")
    caller.clock.now += 5.99
    assert (await caller("GET", "/v1/accounts")).status == 200
    caller.clock.now += 0.01
    problem(await caller("GET", "/v1/accounts"), 401, "token_expired")


async def test_rights(start):
    caller = await start().login("read_only")
    problem(await caller("POST", ACCOUNT + "/orders", content=b"{"), 403, "forbidden")
    problem(await caller("GET", "/v1/accounts/acct-other"), 404, "not_found")
    assert (await caller("GET", ACCOUNT)).json["id"] == "acct-full"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "malformed_json"),
        (b"\xff", JSON, 400, "malformed_json"),
        (b"[" * 100_000, JSON, 400, "malformed_json"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (b'{"a": 1, "a": 1}', JSON, 400, "validation"),
        (b'{"a": NaN}', JSON, 400, "validation"),
        (b"[]", JSON, 422, "validation"),
        (b" " * ((1 << 20) + 1), JSON, 413, "body_too_large"),
        (b"", JSON | {"Content-Length": "2000000"}, 413, "body_too_large"),
        (json.dumps(ORDER | {"quantity": 1}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"quantity": "0"}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"quantity": "1000001"}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"price": "0.00"}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"price": "-1"}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"price": "1.00001"}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"price": None}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"side": "hold"}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"symbol": "NONE"}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"client_order_id": "\ud800"}).encode(), JSON, 422, "validation"),
        (json.dumps(ORDER | {"client_order_id": "x" * 65}).encode(), JSON, 422, "validation"),
    ],
)
async def test_bad_input_creates_nothing(start, content, headers, status, code):
    caller = await start().login()
    before = (await caller("GET", ACCOUNT + "/orders")).json["total_estimate"]
    problem(await caller("POST", ACCOUNT + "/orders", content=content, headers=headers), status, code)
    assert (await caller("GET", ACCOUNT + "/orders")).json["total_estimate"] == before


async def test_a_lone_surrogate_and_nul_in_paths_are_unknown_resources(start):
    caller = await start().login()
    problem(await caller("GET", ACCOUNT + "/orders/\x00"), 404, "not_found")
    problem(await caller("GET", "/v1/instruments/" + "x" * 5000), 404, "not_found")


async def test_the_life_of_an_order(start):
    caller = await start().login("sacrificial_pages")
    made = await caller.submit(1, price="10.5")
    assert made.status == 201
    assert re.fullmatch(r"ord_[0-9a-f]{24}", made.json["id"])
    assert (made.json["price"], made.json["status"], made.json["revision"]) == ("10.50", "open", 1)
    place = made.one("location")
    problem(await caller.submit(1), 409, "duplicate_order")
    changed = await caller("PATCH", place, {"price": "11.25", "quantity": "7"})
    assert (changed.json["price"], changed.json["quantity"], changed.json["revision"]) == ("11.25", "7", 2)
    assert (await caller("GET", place)).json == changed.json
    problem(await caller("PATCH", place, {}), 422, "validation")
    assert (await caller("DELETE", place)).json["status"] == "cancelled"
    problem(await caller("DELETE", place), 409, "order_closed")
    problem(await caller("PATCH", place, {"price": "1"}), 409, "order_closed")
    assert (await caller("GET", place + "/executions")).json["executions"] == []


async def test_a_market_order_is_executed_at_once(start):
    caller = await start().login("sacrificial_pages")
    made = await caller.submit(1, type="market", price=None, quantity="10")
    assert made.json["status"] == "filled"
    done = (await caller("GET", made.one("location") + "/executions")).json["executions"]
    assert 1 <= len(done) <= 3
    assert sum(int(one["quantity"]) for one in done) == 10


async def test_another_client_neither_sees_nor_touches_an_order(start):
    caller = await start().login("sacrificial_pages")
    identity = (await caller.submit(1)).json["id"]
    other = await caller.another("tenant")
    for method in ("GET", "DELETE"):
        problem(await other(method, f"/v1/accounts/acct-pages/orders/{identity}"), 404, "not_found")
        problem(await other(method, f"/v1/accounts/acct-other/orders/{identity}"), 404, "not_found")


async def test_preferences_are_guarded_by_their_tag(start):
    caller = await start().login()
    place = ACCOUNT + "/preferences"
    first = await caller("GET", place)
    tag = first.one("etag")
    assert (await caller("GET", place, headers={"If-None-Match": tag})).status == 304
    problem(await caller("PUT", place, first.json, headers={"If-Match": '"other"'}), 412, "precondition_failed")
    changed = await caller("PATCH", place, {"language": "de"}, headers={"If-Match": tag})
    assert changed.json == first.json | {"language": "de"}
    problem(await caller("PUT", place, first.json, headers={"If-Match": tag}), 412, "precondition_failed")
    problem(await caller("PUT", place, {"language": "de"}), 422, "validation")
    assert (await caller("PUT", place, first.json)).json == first.json


async def walk(caller, url, size):
    found, cursor = [], None
    while True:
        got = await caller("GET", f"{url}limit={size}" + (f"&cursor={cursor}" if cursor else ""))
        assert got.status == 200
        found += got.json["items"]
        cursor = got.json.get("next_cursor")
        if cursor is None:
            assert "next_cursor" not in got.json
            return found


@pytest.mark.parametrize("sort", ["booked_at", "-booked_at"])
async def test_ten_thousand_transactions_in_a_total_order(start, sort):
    caller = await start().login()
    found = await walk(caller, f"{ACCOUNT}/transactions?sort={sort}&", 200)
    keys = [(one["booked_at"], one["id"]) for one in found]
    assert len(found) == len(set(keys)) == 10_000
    assert keys == sorted(keys, reverse=sort.startswith("-"))
    assert Counter(one["booked_at"] for one in found).most_common(1)[0][1] >= 300


@pytest.mark.parametrize("sort", ["price", "-price", "created_at", "-created_at"])
async def test_a_walk_survives_the_loss_of_its_cursors_row(start, sort):
    caller = await start().login("sacrificial_pages")
    made = [(await caller.submit(number, price="100")).json["id"] for number in range(12)]
    url = f"{PAGES}?status=open&sort={sort}&limit=5"
    first = (await caller("GET", url)).json
    await caller("DELETE", f"{PAGES}/{first['items'][-1]['id']}")
    await caller.submit(99, price="1")
    second = (await caller("GET", f"{url}&cursor={first['next_cursor']}")).json
    third = (await caller("GET", f"{url}&cursor={second['next_cursor']}")).json
    served = [one["id"] for page in (first, second, third) for one in page["items"]]
    assert set(made) <= set(served)
    assert len(served) == len(set(served))


@pytest.mark.parametrize("size", ["0", "-1", "abc", "1.5", "", "%2B5", "00"])
async def test_bad_page_sizes(start, size):
    problem(await (await start().login())("GET", f"{ACCOUNT}/orders?limit={size}"), 400, "bad_page_size")


@pytest.mark.parametrize(("size", "count"), [(None, 50), ("1", 1), ("201", 200), ("9" * 5000, 200)])
async def test_page_sizes(start, size, count):
    query = "" if size is None else f"?limit={size}"
    got = await (await start().login())("GET", f"{ACCOUNT}/transactions{query}")
    assert len(got.json["items"]) == count
    assert got.json["total_estimate"] == 10_000


async def test_cursors_are_bound_opaque_and_mortal(start):
    caller = await start().login()
    url = f"{ACCOUNT}/transactions?sort=booked_at&limit=2"
    cursor = (await caller("GET", url)).json["next_cursor"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    assert b"txn" not in base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for place in range(len(cursor)):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        problem(await caller("GET", f"{url}&cursor={changed}"), 400, "bad_cursor")
    for other in (cursor[:-1], cursor + "A", "x", "", "%00", "é"):
        problem(await caller("GET", f"{url}&cursor={other}"), 400, "bad_cursor")
    problem(await caller("GET", f"{ACCOUNT}/transactions?sort=-booked_at&cursor={cursor}"), 400, "bad_cursor")
    problem(await caller("GET", f"{ACCOUNT}/orders?cursor={cursor}"), 400, "bad_cursor")
    reader = await caller.another("read_only")
    problem(await reader("GET", f"{url}&cursor={cursor}"), 400, "bad_cursor")
    caller.clock.now += 600
    problem(await (await caller.login())("GET", f"{url}&cursor={cursor}"), 400, "cursor_expired")


async def test_buckets_run_dry_and_fill_again(start):
    caller = await start().login("sacrificial_limits")
    url = "/v1/accounts/acct-limits"
    left = [(await caller("GET", url)).one("ratelimit") for _ in range(20)]
    assert left == [f'"reads";r={number};t=1' for number in range(19, -1, -1)]
    refused = problem(await caller("GET", url), 429, "throttled")
    assert refused.one("retry-after") == "1"
    assert refused.one("ratelimit-policy") == '"reads";q=20;w=5'
    assert refused.one("cache-control") == "no-store"
    assert (await caller.submit(1, account="acct-limits")).one("ratelimit") == '"writes";r=9;t=1'
    caller.clock.now += 1
    assert (await caller("GET", url)).one("ratelimit") == '"reads";r=3;t=1'


async def test_requests_without_a_valid_token_cost_nothing(start):
    caller = await start().login("sacrificial_limits")
    for _ in range(30):
        await caller("GET", "/v1/accounts/acct-limits", token="x")
    assert (await caller("GET", "/v1/accounts")).one("ratelimit") == '"reads";r=19;t=1'


async def test_correlation_ids(start):
    caller = await start().login()
    offered = str(uuid.uuid4())
    assert (await caller("GET", "/nowhere", headers={"X-Correlation-Id": offered})).json["correlation_id"] == offered
    replies = [await caller("GET", "/v1/status", headers={"X-Correlation-Id": "x\r\ny"}) for _ in range(50)]
    assert len({uuid.UUID(got.one("x-correlation-id")) for got in replies}) == 50


async def test_a_crash_shows_nothing_of_the_inside(start, monkeypatch, caplog):
    caller = await start().login()
    monkeypatch.setattr(type(caller.app.world.store), "one", lambda *_: 1 / 0)
    got = problem(await caller("GET", ACCOUNT), 500, "internal")
    assert b"division" not in got.content
    assert "read_account crashed" in caplog.text


async def test_head_is_a_get(start):
    caller = await start().login()
    assert (await caller("HEAD", ACCOUNT)).status == 200


async def test_the_same_seed_gives_the_same_data(start):
    one, two = await start().login(), await start().login()
    urls = (ACCOUNT + "/orders", ACCOUNT + "/transactions", "/v1/instruments", ACCOUNT + "/positions")
    for url in urls:
        left, right = (await one("GET", url)).json, (await two("GET", url)).json
        assert {**left, "next_cursor": ""} == {**right, "next_cursor": ""}


async def test_a_body_that_is_cut_off_is_not_taken_for_whole(start):
    messages = iter([{"type": "http.request", "body": b"{}", "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    with pytest.raises(Refused, match="malformed_json"):
        await bodies.read({"headers": []}, receive)
