"""Every defect changes what it says, and the conforming server does not show it."""

import base64
import json
import uuid
from typing import Any

import pytest

from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import all_defects

# Those of streams and retries are shown in test_stream_variants.py and test_retries.py, those of fuzzing by the proof;
# what shows under load alone claims no check, and is shown there.
ELSEWHERE = ("WS", "CRD-003", "IDM", "FUZ")
DEFECTS = {one.name: one for one in all_defects()
           if one.catches and not any(check.startswith(ELSEWHERE) for check in one.catches)}
ACCOUNT = "/v1/accounts/acct-full"
UNKNOWN_ORDER = ACCOUNT + "/orders/ord_0"
OPEN = "/v1/accounts/acct-pages/orders?status=open&sort=price"
LIMITED = "/v1/accounts/acct-limits"


async def full(caller):
    return await caller.login()


async def logged_in(caller, url, method="GET", **options):
    return await (await full(caller))(method, url, **options)


async def pages_caller(caller, count=12, rise=0):
    await caller.login("sacrificial_pages")
    for number in range(count):
        await caller.submit(number, price=str(100 + rise * number))
    return caller


async def page(caller, url, cursor=None, size=5):
    return await caller("GET", f"{url}&limit={size}" + ("" if cursor is None else f"&cursor={cursor}"))


async def walk(caller, url=OPEN, between=None, most=12, size=5):
    """The pages' rows, and how it ended: end, error or endless."""
    cursor: str | None = None
    pages: list[Any] = []
    for _ in range(most):
        got = await page(caller, url, cursor, size)
        if got.status != 200:
            return pages, "error"
        pages.append(got.json["items"])
        cursor = got.json.get("next_cursor")
        if cursor is None:
            return pages, "end"
        if between:
            await between(pages)
            between = None
    return pages, "endless"


def ids(pages):
    return [one["id"] for rows in pages for one in rows]


async def cancel_served(caller, pages, index=0):
    assert (await caller("DELETE", f"/v1/accounts/acct-pages/orders/{pages[-1][index]['id']}")).status == 200


async def lost(caller):
    """Whether cancelling a served order loses another one."""
    await pages_caller(caller)
    pages, _ = await walk(caller, between=lambda pages: cancel_served(caller, pages))
    return len(set(ids(pages))) < 12


async def insert_repeats(caller):
    await pages_caller(caller)
    pages, _ = await walk(caller, between=lambda pages: caller.submit(99, price="1"))
    return len(ids(pages)) > len(set(ids(pages)))


async def row_gone(caller):
    await pages_caller(caller)
    return await walk(caller, between=lambda pages: cancel_served(caller, pages, -1))


async def quiet(caller, rise=0):
    await pages_caller(caller, rise=rise)
    return await walk(caller)


async def tampered(caller):
    await full(caller)
    return await page(caller, ACCOUNT + "/orders?status=all", "tampered")


async def foreign(caller):
    await full(caller)
    theirs = await page(await caller.another("tenant"), "/v1/accounts/acct-other/orders?status=all")
    cursor = theirs.json["next_cursor"]
    got = await page(caller, ACCOUNT + "/orders?status=all", cursor)
    return got.status == 200 and {one["account"] for one in got.json["items"]} == {"acct-other"}


async def readable(caller):
    await pages_caller(caller)
    cursor = (await page(caller, OPEN)).json["next_cursor"]
    try:
        return isinstance(json.loads(base64.urlsafe_b64decode(cursor)), dict)
    except ValueError:
        return False


async def throttled(caller, after=0.0):
    """The first refusal within 40 reads, and one read `after` seconds later."""
    await caller.login("sacrificial_limits")
    replies = [await caller("GET", LIMITED) for _ in range(40)]
    caller.clock.now += after
    last = await caller("GET", LIMITED)
    return next((got for got in replies if got.status != 200), None), last


async def retry_after_is(caller, value):
    first, _ = await throttled(caller)
    return first.one("retry-after") == value


async def expired_after(caller, seconds, connection=50000):
    await full(caller)
    await caller("GET", ACCOUNT)
    caller.clock.now += seconds
    caller.connection = ("127.0.0.1", connection)
    return (await caller("GET", ACCOUNT)).status


async def bad_order(caller, **members):
    return await (await full(caller)).submit(1, account="acct-full", **members)


async def remaining(caller):
    await caller.login("sacrificial_limits")
    return [(await caller("GET", LIMITED)).one("ratelimit") for _ in range(3)]


PROBES: dict[str, Any] = {}


def probe(name):
    return lambda function: PROBES.setdefault(name, function)


def said(name, test, url, method="GET", **options):
    """A probe that tests one reply."""

    async def shows(caller):
        return bool(test(await logged_in(caller, url, method, **options)))

    PROBES[name] = shows


said("allow-missing", lambda got: got.status == 405 and got.one("allow") is None, ACCOUNT, "QUERY")
said("allow-lists-refused", lambda got: "QUERY" in got.one("allow"), ACCOUNT, "QUERY")
said("allow-lacks-working", lambda got: got.status == 405 and got.one("allow") == "HEAD", ACCOUNT, "QUERY")
said("allow-reads-only", lambda got: got.one("allow") == "GET, HEAD", ACCOUNT + "/orders", "PROPFIND")
said("method-fails", lambda got: got.status == 500, ACCOUNT, "QUERY")
said("method-accepted", lambda got: got.status == 200, ACCOUNT, "PROPFIND")
said("anonymous-forbidden", lambda got: got.status == 403, ACCOUNT, token=None)
said("anonymous-crashes", lambda got: got.status == 500, ACCOUNT, token=None)
said("challenge-malformed", lambda got: got.one("www-authenticate") == '"openbell"', ACCOUNT, token=None)
said("challenge-with-error", lambda got: "error=" in got.one("www-authenticate"), ACCOUNT, token=None)
said("bad-token-forbidden", lambda got: got.status == 403, ACCOUNT, token="x" * 43)
said("token-error-unsaid", lambda got: "error=" not in got.one("www-authenticate"), ACCOUNT, token="x" * 43)
said("file-path", lambda got: "/srv/orders" in got.json["detail"], UNKNOWN_ORDER)
said("policy-name-token", lambda got: '"' not in got.one("ratelimit"), ACCOUNT)
said("policy-unnamed", lambda got: got.one("ratelimit").startswith('"another"'), ACCOUNT)
said("limit-crashes", lambda got: got.status == 500, ACCOUNT + "/orders?limit=abc")
said("error-in-success", lambda got: got.status == 200 and got.json["success"] is False, UNKNOWN_ORDER)
said("status-460", lambda got: got.status == 460, UNKNOWN_ORDER)
said("html-404", lambda got: got.content.startswith(b"<!doctype"), "/nowhere")
said("empty-401", lambda got: got.status == 401 and not got.content, ACCOUNT, token=None)
said("json-as-text", lambda got: got.one("content-type").startswith("text/"), ACCOUNT + "/orders?limit=0")
said("correlation-missing-404", lambda got: "correlation_id" not in got.json, UNKNOWN_ORDER)
said("code-missing-404", lambda got: got.json["type"] == "about:blank" and "code" not in got.json, UNKNOWN_ORDER)
said("message-equals-code", lambda got: got.json["detail"] == got.json["code"], UNKNOWN_ORDER)
said("stack-trace", lambda got: "Traceback" in got.json["detail"], ACCOUNT + "/orders?limit=0")
said("sql-text", lambda got: "SELECT" in got.json["detail"], UNKNOWN_ORDER)
said("internal-address", lambda got: "10.12.0.7" in got.json["detail"], UNKNOWN_ORDER)
said("router-404", lambda got: got.json == {"detail": "Not Found"}, "/nowhere")
said("correlation-missing-on-401", lambda got: not got.all("x-correlation-id"), ACCOUNT, token=None)
said("correlation-missing-on-200", lambda got: not got.all("x-correlation-id"), ACCOUNT)
said("correlation-twice", lambda got: len(set(got.all("x-correlation-id"))) == 2, ACCOUNT)
said("correlation-empty", lambda got: got.all("x-correlation-id") == [""], ACCOUNT)
said(
    "correlation-differs",
    lambda got: uuid.UUID(got.json["correlation_id"]) != uuid.UUID(got.one("x-correlation-id")),
    UNKNOWN_ORDER,
)
said("challenge-missing", lambda got: got.status == 401 and not got.all("www-authenticate"), ACCOUNT, token=None)
said("unprotected-balances", lambda got: got.status == 200, ACCOUNT + "/balances", token=None)
said("any-token", lambda got: got.status == 200, ACCOUNT, token="x" * 43)
said("malformed-token-crashes", lambda got: got.status == 500, ACCOUNT, token="x")
said("limit-syntax", lambda got: got.one("ratelimit") == "default;r=-1;t=soon", ACCOUNT)
said("remaining-above-limit", lambda got: int(got.one("ratelimit").split(";")[1][2:]) > 2000, ACCOUNT)
said("dialects-contradict", lambda got: got.all("x-ratelimit-limit") == ["4000"], ACCOUNT)
said("no-maximum", lambda got: len(got.json["items"]) == 10_000, ACCOUNT + "/transactions?limit=1000000")
said("negative-size", lambda got: got.status == 200, ACCOUNT + "/transactions?limit=-1")
said("default-unbounded", lambda got: len(got.json["items"]) == 10_000, ACCOUNT + "/transactions")


async def all_on_one(caller, count, query):
    """Whether so many orders come on one page."""
    await pages_caller(caller, count)
    return len((await caller("GET", OPEN + query)).json["items"]) == count


@probe("no-maximum-when-empty")
async def no_maximum_when_empty(caller):
    return await all_on_one(caller, 201, "&limit=1000000")


@probe("default-unbounded-when-empty")
async def default_unbounded_when_empty(caller):
    return await all_on_one(caller, 51, "")


@probe("clamped-input")
async def clamped_input(caller):
    return (await bad_order(caller, quantity="1000001")).status == 201


@probe("correlation-repeated")
async def correlation_repeated(caller):
    await full(caller)
    one, two = await caller("GET", ACCOUNT), await caller("GET", ACCOUNT)
    return one.one("x-correlation-id") == two.one("x-correlation-id")


@probe("token-prefix")
async def token_prefix(caller):
    await full(caller)
    return (await caller("GET", ACCOUNT, token=caller.token[:-1])).status == 200


@probe("token-case-ignored")
async def token_case_ignored(caller):
    await full(caller)
    return (await caller("GET", ACCOUNT, token=caller.token.swapcase())).status == 200


@probe("token-suffix-ignored")
async def token_suffix_ignored(caller):
    await full(caller)
    return (await caller("GET", ACCOUNT, token=caller.token + "x")).status == 200


@probe("token-prefix-ignored")
async def token_prefix_ignored(caller):
    await full(caller)
    return (await caller("GET", ACCOUNT, token="x" + caller.token)).status == 200


@probe("token-end-unread")
async def token_end_unread(caller):
    await full(caller)
    return (await caller("GET", ACCOUNT, token=caller.token[:-1])).status == 200


@probe("query-token-renamed")
async def query_token_renamed(caller):
    await full(caller)
    return (await caller("GET", f"{ACCOUNT}?token={caller.token}", token=None)).status == 200


@probe("query-token")
async def query_token(caller):
    await full(caller)
    return (await caller("GET", f"{ACCOUNT}?access_token={caller.token}", token=None)).status == 200


@probe("token-in-link")
async def token_in_link(caller):
    link = (await logged_in(caller, ACCOUNT)).one("link")
    return link is not None and caller.token in link


@probe("token-never-expires")
async def token_never_expires(caller):
    return await expired_after(caller, 1e6, connection=50002) == 200


@probe("token-cached-per-connection")
async def token_cached_per_connection(caller):
    return await expired_after(caller, 7) == 200 and await expired_after(caller, 7, connection=50002) == 401


@probe("token-expires-early")
async def token_expires_early(caller):
    return await expired_after(caller, 3.5) == 401


@probe("boundary-row-again")
async def boundary_row_again(caller):
    pages, _ = await quiet(caller)
    return pages[1][0] == pages[0][-1]


@probe("next-dropped")
async def next_dropped(caller):
    await pages_caller(caller, 18)
    pages, ended = await walk(caller)
    return ended == "end" and len(ids(pages)) == 15


@probe("endless")
async def endless(caller):
    return (await quiet(caller))[1] == "endless"


@probe("next-after-end")
async def next_after_end(caller):
    pages, ended = await quiet(caller)
    return ended == "error" and len(set(ids(pages))) == 12


@probe("lone-last-row-lost")
async def lone_last_row_lost(caller):
    await pages_caller(caller, 11)
    pages, ended = await walk(caller)
    return ended == "end" and len(ids(pages)) == 10


@probe("sealed-offset")
async def sealed_offset(caller):
    return await lost(caller)


@probe("offset-cursor")
async def offset_cursor(caller):
    return await lost(caller) and await readable(await caller.login("sacrificial_pages"))


@probe("row-dropped")
async def row_dropped(caller):
    pages, ended = await quiet(caller)
    return ended == "end" and len(ids(pages)) == 11


@probe("sort-key-only")
async def sort_key_only(caller):
    pages, ended = await quiet(caller)
    return ended == "end" and len(ids(pages)) == 5


@probe("ties-shuffled")
async def ties_shuffled(caller):
    first, second = (await quiet(caller))[0], (await walk(caller))[0]
    assert sorted(ids(first)) == sorted(ids(second))
    return ids(first) != ids(second)


@probe("pages-reversed")
async def pages_reversed(caller):
    pages, _ = await quiet(caller, rise=1)
    return [rows[0]["price"] for rows in pages] == ["100.00", "109.00", "111.00"]


@probe("cursor-row-error")
async def cursor_row_error(caller):
    return (await row_gone(caller))[1] == "error"


@probe("cursor-row-restart")
async def cursor_row_restart(caller):
    pages, _ = await row_gone(caller)
    return pages[1][0] == pages[0][0]


@probe("cursor-row-skip")
async def cursor_row_skip(caller):
    pages, ended = await row_gone(caller)
    return ended == "end" and len(set(ids(pages))) == 11


@probe("tampered-first-page")
async def tampered_first_page(caller):
    return (await tampered(caller)).status == 200


@probe("tampered-crashes")
async def tampered_crashes(caller):
    return (await tampered(caller)).status == 500


@probe("cursor-carries-account")
async def cursor_carries_account(caller):
    return await foreign(caller)


@probe("retry-after-missing")
async def retry_after_missing(caller):
    return await retry_after_is(caller, None)


@probe("retry-after-soon")
async def retry_after_soon(caller):
    return await retry_after_is(caller, "soon")


@probe("retry-after-negative")
async def retry_after_negative(caller):
    return await retry_after_is(caller, "-1")


@probe("retry-after-fraction")
async def retry_after_fraction(caller):
    return await retry_after_is(caller, "0.5")


@probe("refusal-cached")
async def refusal_cached(caller):
    return (await throttled(caller))[0].one("age") == "7"


@probe("throttled-503")
async def throttled_503(caller):
    return (await throttled(caller))[0].status == 503


@probe("never-throttled")
async def never_throttled(caller):
    return (await throttled(caller))[0] is None


@probe("retry-after-too-short")
async def retry_after_too_short(caller):
    first, last = await throttled(caller, after=2)
    return first.one("retry-after") == "1" and last.status == 429


@probe("remaining-constant")
async def remaining_constant(caller):
    return len(set(await remaining(caller))) == 1


async def told_until_refused(caller):
    """What each reply says is left, the refusal's last."""
    await caller.login("sacrificial_limits")
    told = []
    for _ in range(40):
        got = await caller("GET", LIMITED)
        told.append(int(got.one("ratelimit").split(";")[1][2:]))
        if got.status == 429:
            return told
    return []


@probe("remaining-three-more")
async def remaining_three_more(caller):
    return (await told_until_refused(caller))[-3:] == [4, 3, 0]


@probe("remaining-ten-more")
async def remaining_ten_more(caller):
    told = await told_until_refused(caller)
    return (told[0], *told[-2:]) == (20, 10, 0)


@probe("remaining-held-back")
async def remaining_held_back(caller):
    return (await told_until_refused(caller))[14:] == [0] * 7


@probe("retry-after-short-at-times")
async def retry_after_short_at_times(caller):
    (first, last), (_, later) = await throttled(caller, after=2), await throttled(caller, after=4)
    return (first.one("retry-after"), last.status, later.status) == ("1", 429, 200)


@probe("refused-with-remaining")
async def refused_with_remaining(caller):
    return (await throttled(caller))[0].one("ratelimit") == '"reads";r=10;t=1'


def test_every_defect_has_a_probe_and_says_what_it_is():
    assert PROBES.keys() == DEFECTS.keys()
    for one in DEFECTS.values():
        assert one.doc.endswith(".")
        assert one.catches
        assert all(rules and all(rules) for rules in one.catches.values())


CRASHES = {"limit-crashes", "tampered-crashes", "malformed-token-crashes", "anonymous-crashes"}


@pytest.mark.parametrize("name", sorted(DEFECTS))
async def test_the_defect_shows(start, name, caplog):
    assert await PROBES[name](start(DEFECTS[name].apply(Behaviour())))
    assert ("crashed" in caplog.text) == (name in CRASHES)


@pytest.mark.parametrize("name", sorted(DEFECTS))
async def test_the_conforming_server_does_not_show_it(start, name):
    assert not await PROBES[name](start())


@pytest.mark.parametrize("name", ["sealed-offset", "offset-cursor"])
async def test_offsets_repeat_rows_when_one_is_inserted_before_them(start, name):
    assert await insert_repeats(start(DEFECTS[name].apply(Behaviour())))
    assert not await insert_repeats(start())
