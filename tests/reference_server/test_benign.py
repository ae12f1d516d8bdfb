"""Every benign variant differs in what it says, and loses nothing."""

from typing import Any

import pytest

from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import all_benign

# Those of streams and retries are shown in test_stream_variants.py and test_retries.py, those of load under load.
ELSEWHERE = ("WS", "CRD-003", "IDM")
VARIANTS = {one.name: one for one in all_benign() if not any(check.startswith(ELSEWHERE) for check in one.checks)
            and not one.apply.__module__.endswith((".load", ".streams"))}
ACCOUNT = "/v1/accounts/acct-full"
LIMITED = "/v1/accounts/acct-limits"
OPEN = "/v1/accounts/acct-pages/orders?status=open&sort=price&limit=5"
ORDER = {"client_order_id": "x", "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "1"}


async def get(caller, url=ACCOUNT, method="GET", client="full", **options):
    return await (await caller.login(client))(method, url, **options)


async def walk(caller, between=None):
    """The pages of the open orders, as replies."""
    await caller.login("sacrificial_pages")
    pages: list[Any] = []
    url: str | None = OPEN
    while url and len(pages) < 20:
        pages.append(await caller("GET", url))
        assert pages[-1].status in {200, 409}, pages[-1].content
        cursor = pages[-1].json.get("next_cursor")
        url = f"{OPEN}&cursor={cursor}" if cursor else None
        if between and len(pages) == 1:
            await between(pages[0].json["items"])
    return pages


async def filled(caller, count=12):
    await caller.login("sacrificial_pages")
    for number in range(count):
        assert (await caller.submit(number)).status == 201
    return caller


def sizes(pages):
    return [len(got.json["items"]) for got in pages]


async def refused(caller):
    await caller.login("sacrificial_limits")
    replies = [await caller("GET", LIMITED) for _ in range(30)]
    return replies, next(got for got in replies if got.status == 429)


async def told(caller):
    got = await get(caller)
    return {name: got.all(name) for name, _ in got.headers if "ratelimit" in name}


async def odd_methods(caller):
    return (await get(caller, method="QUERY")).status


async def empty_allow(caller):
    return (await get(caller, method="QUERY")).one("allow") == ""


async def invalid(caller):
    return (await get(caller, ACCOUNT + "/orders", "POST", json=ORDER | {"quantity": "0"})).status == 400


async def unknown_members(caller):
    return (await get(caller, ACCOUNT + "/orders", "POST", json=ORDER | {"more": 1})).status == 400


async def last_next(caller):
    return (await walk(await filled(caller)))[-1].json.get("next_cursor", "absent")


async def constant_handle(caller):
    return len({got.json.get("next_cursor") for got in await walk(await filled(caller))}) == 2


async def snapshot(caller):
    await filled(caller)

    async def write(_):
        await caller.submit(99, price="200")

    return sizes(await walk(caller, write)) == [5, 5, 2]


async def list_changed(caller):
    await filled(caller)

    async def write(_):
        await caller.submit(99, price="200")

    got = (await walk(caller, write))[-1]
    return got.status == 409 and got.json["code"] == "list_changed"


async def foreign_cursor(caller):
    await caller.login()
    other = await caller.another("tenant")
    cursor = (await other("GET", "/v1/accounts/acct-other/orders?limit=5")).json["next_cursor"]
    got = await caller("GET", f"{ACCOUNT}/orders?limit=5&cursor={cursor}")
    return got.status == 200 and {one["account"] for one in got.json["items"]} == {"acct-full"}


async def leeway(caller):
    await caller.login()
    caller.clock.now += 15.9
    inside = (await caller("GET", ACCOUNT)).status
    caller.clock.now += 0.2
    return inside == 200 and (await caller("GET", ACCOUNT)).status == 401


async def forbidden(caller):
    return (await get(caller, ACCOUNT + "/orders", "POST", client="read_only", json={})).status == 404


async def date_told(caller):
    return "GMT" in (await refused(caller))[1].one("retry-after")


async def twice(caller):
    return (await refused(caller))[1].one("retry-after") == "2"


async def not_on_errors(caller):
    replies, last = await refused(caller)
    return not last.all("ratelimit") and bool(replies[0].all("ratelimit"))


async def sometimes(caller):
    return len({bool(got.all("ratelimit")) for got in (await refused(caller))[0][:6]}) == 2


async def errors_free(caller):
    await caller.login("sacrificial_limits")
    for _ in range(30):
        await caller("GET", LIMITED + "/orders/none")
    return (await caller("GET", LIMITED)).one("ratelimit") == '"reads";r=19;t=1'


async def conservative(caller):
    return (await refused(caller))[0][0].one("ratelimit") == '"reads";r=17;t=1'


async def one_more(caller):
    return [got.status for got in (await refused(caller))[0]].count(200) == 21


async def vendor(caller):
    return (await told(caller))["ratelimit"] == ['"reads";r=1999;t=1;acme-tier="gold"']


async def lines(caller):
    return len((await told(caller))["ratelimit"]) == 2


async def x_fields(caller):
    return set(await told(caller)) == {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


async def draft_07(caller):
    return (await told(caller))["ratelimit"] == ["limit=2000, remaining=1999, reset=1"]


async def three_fields(caller):
    return set(await told(caller)) == {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


async def limit_status(caller, size):
    return (await get(caller, f"{ACCOUNT}/orders?limit={size}")).status


async def is_equal(found, expected):
    return await found == expected


SHOWS = {
    "odd-methods-404": lambda caller: is_equal(odd_methods(caller), 404),
    "odd-methods-501": lambda caller: is_equal(odd_methods(caller), 501),
    "empty-allow": empty_allow,
    "invalid-400": invalid,
    "unknown-members-refused": unknown_members,
    "next-null": lambda caller: is_equal(last_next(caller), None),
    "next-empty": lambda caller: is_equal(last_next(caller), ""),
    "constant-handle": constant_handle,
    "snapshot": snapshot,
    "list-changed": list_changed,
    "foreign-cursor-own-data": foreign_cursor,
    "limit-rejected": lambda caller: is_equal(limit_status(caller, 201), 400),
    "limit-zero-default": lambda caller: is_equal(limit_status(caller, 0), 200),
    "expiry-leeway": leeway,
    "forbidden-as-404": forbidden,
    "retry-after-date": date_told,
    "retry-after-generous": twice,
    "limit-fields-not-on-errors": not_on_errors,
    "limit-fields-sometimes": sometimes,
    "errors-cost-nothing": errors_free,
    "remaining-conservative": conservative,
    "served-at-zero": one_more,
    "limit-vendor-parameters": vendor,
    "limit-several-lines": lines,
    "x-ratelimit": x_fields,
    "ratelimit-draft-07": draft_07,
    "ratelimit-three-fields": three_fields,
}
PAGE_SIZES = {"short-page": [5, 2, 5], "empty-page": [5, 0, 5, 2], "final-empty-page": [5, 5, 2, 0]}


def test_every_variant_is_shown_and_says_what_it_is():
    assert {*SHOWS, *PAGE_SIZES} == VARIANTS.keys()
    for one in VARIANTS.values():
        assert one.doc
        assert one.checks


@pytest.mark.parametrize("name", sorted(SHOWS))
async def test_the_variant_shows(start, name):
    assert await SHOWS[name](start(VARIANTS[name].apply(Behaviour())))
    assert not await SHOWS[name](start())


@pytest.mark.parametrize("name", sorted(PAGE_SIZES))
async def test_the_variant_cuts_its_pages(start, name):
    pages = await walk(await filled(start(VARIANTS[name].apply(Behaviour()))))
    assert sizes(pages) == PAGE_SIZES[name]


@pytest.mark.parametrize("name", sorted(VARIANTS))
async def test_nothing_is_lost_repeated_or_out_of_order(start, name):
    pages = await walk(await filled(start(VARIANTS[name].apply(Behaviour())), 18))
    found = [one["id"] for got in pages for one in got.json["items"]]
    assert found == sorted(set(found))
    assert len(found) == 18
