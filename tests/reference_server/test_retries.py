"""Idempotency keys: one order for a key, also when requests overlap; and each way of getting that wrong."""

import asyncio
from typing import Any

import pytest

from openbell.reference_server import idempotency
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import all_benign
from openbell.reference_server.defects import all_defects

DEFECTS = {one.name: one for one in all_defects() if any(check.startswith("IDM") for check in one.catches)}
BENIGN = {one.name: one for one in all_benign() if any(check.startswith("IDM") for check in one.checks)}
ORDERS = "/v1/accounts/acct-pages/orders"


async def submit(caller, key="k", number=1, **members):
    order = {"client_order_id": f"t-{number}", "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "100.00"}
    headers = {} if key is None else {"Idempotency-Key": key}
    return await caller("POST", ORDERS, order | members, headers=headers)


async def kept(caller):
    """How many orders there are."""
    return len((await caller("GET", ORDERS)).json["items"])


async def pages(caller):
    return await caller.login("sacrificial_pages")


async def test_a_retry_gets_the_first_reply(start):
    caller = await pages(start())
    first, again = await submit(caller), await submit(caller)
    assert (first.status, again.status) == (201, 201)
    assert first.content == again.content
    assert first.one("location") == again.one("location")
    assert (first.one("idempotent-replayed"), again.one("idempotent-replayed")) == (None, "true")
    assert first.one("x-correlation-id") != again.one("x-correlation-id")
    assert await kept(caller) == 1


async def test_the_first_reply_stays_when_the_order_changes(start):
    caller = await pages(start())
    first = await submit(caller)
    assert (await caller("DELETE", first.one("location"))).status == 200
    assert (await submit(caller)).content == first.content


async def test_a_key_belongs_to_its_request(start):
    caller = await pages(start())
    await submit(caller)
    got = await submit(caller, quantity="2")
    assert (got.status, got.json["code"]) == (422, "idempotency_mismatch")
    assert await kept(caller) == 1


async def test_a_key_belongs_to_its_client(start):
    caller = await pages(start())
    await submit(caller)
    other = await caller.another("tenant")
    order = {"client_order_id": "t-1", "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "100.00"}
    got = await other("POST", "/v1/accounts/acct-other/orders", order, headers={"Idempotency-Key": "k"})
    assert (got.status, got.one("idempotent-replayed")) == (201, None)


async def test_the_clients_own_id_stays_unique_beside_keys(start):
    caller = await pages(start())
    await submit(caller)
    for key in ("other", None):
        got = await submit(caller, key)
        assert (got.status, got.json["code"]) == (409, "duplicate_order")
    assert await kept(caller) == 1


async def test_a_refusal_leaves_the_key_free(start):
    caller = await pages(start())
    assert (await submit(caller, symbol="NONE")).status == 422
    assert (await submit(caller)).status == 201


async def test_while_the_first_is_worked_on_the_second_is_told(start, monkeypatch):
    going, arrived = asyncio.Event(), asyncio.Event()

    async def assess(key):
        arrived.set()
        await going.wait()

    caller = await pages(start(Behaviour(once=idempotency.OnceParts(assess=assess))))
    first = asyncio.create_task(submit(caller))
    await arrived.wait()
    got = await submit(caller)
    assert (got.status, got.json["code"]) == (409, "in_progress")
    going.set()
    assert (await first).status == 201
    assert (await submit(caller)).one("idempotent-replayed") == "true"


async def test_of_requests_at_once_one_makes_the_order(start):
    caller = await pages(start())
    got = await asyncio.gather(*(submit(caller) for _ in range(5)))
    assert sorted(one.status for one in got) == [201, 409, 409, 409, 409]
    assert await kept(caller) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\u00e9"])
async def test_keys_that_are_none_are_refused(start, key):
    caller = await pages(start())
    order = {"client_order_id": "t-1", "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "100.00"}
    got = await caller("POST", ORDERS, order, headers={"Idempotency-Key": key})
    assert (got.status, got.json["code"]) == (400, "validation")
    assert await kept(caller) == 0


async def test_the_oldest_keys_are_forgotten(start, monkeypatch):
    monkeypatch.setattr(idempotency, "KEPT", 3)
    caller = await pages(start())
    for number in range(5):
        assert (await submit(caller, f"k{number}", number)).status == 201
    assert len(caller.app.world.keys) == 3
    assert (await submit(caller, "k4", 4)).one("idempotent-replayed") == "true"
    assert (await submit(caller, "k0", 0)).status == 409


PROBES: dict[str, Any] = {}


def probe(name):
    def register(function):
        PROBES[name] = function
        return function

    return register


@probe("retry-second-order")
async def second_order(caller):
    await pages(caller)
    first, again = await submit(caller), await submit(caller)
    assert (await submit(caller, key=None, number=2)).status == 201
    assert (await submit(caller, key=None, number=2)).status == 409
    return again.status == 201 and first.json["id"] != again.json["id"] and await kept(caller) == 3


@probe("retry-fails-for-ever")
async def fails_for_ever(caller):
    await pages(caller)
    assert (await submit(caller)).status == 201
    got = [(await submit(caller)).status for _ in range(3)]
    return got == [409] * 3


@probe("retry-another-id")
async def another_id(caller):
    await pages(caller)
    first, again = await submit(caller), await submit(caller)
    members = {name for name in first.json if first.json[name] != again.json[name]}
    return again.status == 201 and members == {"id"} and await kept(caller) == 1


@probe("concurrent-none")
async def concurrent_none(caller):
    await pages(caller)
    got = await asyncio.gather(submit(caller), submit(caller), submit(caller))
    return [one.status for one in got] == [409] * 3 and await kept(caller) == 0


@probe("concurrent-second-order")
async def concurrent(caller):
    await pages(caller)
    got = await asyncio.gather(submit(caller), submit(caller))
    later = await submit(caller)
    assert later.one("idempotent-replayed") == "true"
    return [one.status for one in got] == [201, 201] and await kept(caller) == 2


async def changed(caller):
    """The retry after the order was cancelled, and the first reply."""
    first = await submit(await pages(caller))
    await caller("DELETE", first.one("location"))
    again = await submit(caller)
    assert await kept(caller) == 1
    return first, again


@probe("retry-gets-current-state")
async def current_state(caller):
    first, again = await changed(caller)
    return again.json["id"] == first.json["id"] and again.json["status"] == "cancelled"


@probe("retry-conflict-names-first")
async def names_first(caller):
    first, again = await changed(caller)
    return again.status == 409 and first.json["id"] in again.json["detail"]


def test_every_variant_has_a_probe():
    assert PROBES.keys() == {*DEFECTS, *BENIGN}


@pytest.mark.parametrize("name", sorted(PROBES))
async def test_the_variant_shows(start, name):
    assert await PROBES[name](start({**DEFECTS, **BENIGN}[name].apply(Behaviour())))


@pytest.mark.parametrize("name", sorted(PROBES))
async def test_the_conforming_server_does_not_show_it(start, name):
    assert not await PROBES[name](start())
