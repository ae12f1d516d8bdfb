"""How each defect shows: probes of what one reply says, and what all probes use."""

import base64
import json
import uuid
from typing import Any

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


def taken(name, change):
    """A probe that a token is taken though it was changed."""

    async def shows(caller):
        await full(caller)
        return (await caller("GET", ACCOUNT, token=change(caller.token))).status == 200

    PROBES[name] = shows


taken("token-prefix", lambda token: token[:-1])
taken("token-case-ignored", str.swapcase)
taken("token-suffix-ignored", lambda token: token + "x")
taken("token-prefix-ignored", lambda token: "x" + token)
taken("token-end-unread", lambda token: token[:-1])


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
