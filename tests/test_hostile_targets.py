"""Bad input and hostile targets are borne: a verdict in bounded time and memory, never a traceback, nothing leaked."""

import gzip
import itertools
import json
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hostile import (
    CANARY,
    LIMIT,
    TOKEN,
    Answer,
    Asked,
    Done,
    Hang,
    Hostile,
    borne,
    check,
    listing,
    problem,
    profile,
    reply,
)

from openbell.api import Api
from openbell.building import Alter
from openbell.journal import Header, Journal
from openbell.loading import load
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.session import NotAllowed, Session, Skip

MB = 1024 * 1024


# --- the user's own mistakes


def refused(done: Done, *told: str) -> None:
    """Wrong usage: exit 3, everything told, no traceback."""
    assert done.code == 3, done.said
    assert "Traceback" not in done.said
    for words in told:
        assert words in done.said


def test_three_mistakes_are_all_told_and_nothing_is_sent(tmp_path):
    with Hostile() as server:
        path = profile(tmp_path, server.url, a=('control = "read_status"', 'control = "read_statsu"'),
                       b=('page = "cursor"', 'page = "cursors"'),
                       c=('operation = "issue_token"', 'operation = "issue"'))
        done = check(tmp_path, path)
        assert not server.connections
    refused(done, "3 mistakes", "target.control", "operation.list_rows.page", "credential.full.stack.0.operation",
            "read_status", "'cursor'", "'issue_token'")


@pytest.mark.parametrize(("secret", "content", "told"), [
    ("env:HOSTILE_NOWHERE", None, "HOSTILE_NOWHERE is not set"),
    ("file:key", None, "secret file key cannot be read"),
    ("file:.", None, "secret file . cannot be read"),
    ("file:key", b"\xff\xfe", "is not UTF-8"),
    ("file:key", b"canary-in-a-file\x07", "control character"),
])
def test_a_secret_that_cannot_be_used(tmp_path, secret, content, told):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with Hostile() as server:
        done = check(tmp_path, profile(tmp_path, server.url, a=("env:HOSTILE_SECRET", secret)))
        assert not server.connections
    refused(done, told, "credential.full.stack.0.secret")
    assert "canary" not in done.said


# --- a token endpoint that gives no token, or an odd one


def tokens(**members: object) -> Answer:
    return reply(json.dumps({"access_token": TOKEN, **members}).encode())


def token_with(lexeme: bytes) -> bytes:
    return reply(b'{"access_token": "' + TOKEN.encode() + b'", "expires_in": ' + lexeme + b"}")


BIG = "t0k" * (MB // 3)
NO_TOKEN: dict[str, Callable[[Asked], Answer]] = {
    "closed": lambda asked: None,
    "hangs": lambda asked: Hang,
    "html": lambda asked: reply(b"<html>sign in</html>", 200, media="text/html"),
    "empty": lambda asked: reply(b"{}"),
    "list": lambda asked: reply(b"[]"),
    "number": lambda asked: reply(b'{"access_token": 5}'),
    "big": lambda asked: tokens(access_token=BIG),
    "newline": lambda asked: tokens(access_token=f"{TOKEN}\r\nX-Injected: 1"),
}


LIFETIMES = (b"0", b"-60", b"1e400", b"315360000", b'"soon"', b"0.001", b"[]")


def side_by_side(run: Callable[[Path, Any], Any], cases: Iterable[Any], factory: pytest.TempPathFactory) -> list[Any]:
    """Several runs at once: they mostly start and wait."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda case: run(factory.mktemp("run"), case), cases))


def test_a_token_endpoint_that_gives_none(tmp_path_factory):
    def run(folder: Path, case: str) -> tuple[Done, set[str]]:
        with Hostile({"/token": NO_TOKEN[case]}) as server:
            return check(folder, profile(folder, server.url)), {asked.path for asked in server.asked}
    for done, paths in side_by_side(run, NO_TOKEN, tmp_path_factory):
        borne(done, 15)
        assert done.code == 2
        assert paths == {"/token"}
        assert not done.leaks(BIG[:60])


def test_an_odd_lifetime(tmp_path_factory):
    def run(folder: Path, lexeme: bytes) -> tuple[Done, int]:
        with Hostile({"/token": lambda asked: token_with(lexeme)}) as server:
            done = check(folder, profile(folder, server.url), "--skip", "PAG-*")
            return done, sum(asked.path == "/token" for asked in server.asked)
    for done, minted in side_by_side(run, LIFETIMES, tmp_path_factory):
        borne(done, 20)
        assert 0 < minted < 100
        assert done.verdicts("AUT-001") == {"pass"}


def test_a_token_endpoint_that_turns_bad(tmp_path):
    turns = itertools.count(1)
    with Hostile({"/token": lambda asked: token_with(b"0.001") if next(turns) < 9
                  else tokens(access_token=f"{next(turns)}{BIG}")}) as server:
        done = check(tmp_path, profile(tmp_path, server.url))
        assert [asked for asked in server.asked if asked.path == "/rows"]
    borne(done, 15)
    assert not done.leaks(BIG[:60])


# --- a target that does not answer, or answers nonsense


def test_a_target_that_is_down(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = check(tmp_path, profile(tmp_path, f"http://127.0.0.1:{free.getsockname()[1]}"))
    borne(done, 10)
    assert done.code == 2


def body_of(size: int, piece: bytes = b"x") -> Iterator[bytes]:
    yield reply(b"", length=size)
    part = piece * (MB // len(piece))
    for _ in range(size // len(part)):
        yield part


def page(rows: list[object], cursor: object) -> bytes:
    return reply(json.dumps({"items": rows, "next_cursor": cursor}).encode())


def nested(depth: int) -> bytes:
    return b'{"items": ' + b"[" * depth + b"]" * depth + b"}"


@cache
def zipped() -> bytes:
    return gzip.compress(b"0" * (100 * MB))


def wide(count: int) -> bytes:
    """A body that takes far more memory once it is parsed."""
    return b'{"items": [' + b"[]," * count + b'[]], "next_cursor": "%d"}' % next(COUNTER)


COUNTER = itertools.count(1)
ROW = {"id": "1"}
ROWS: dict[str, Callable[[Asked], Answer]] = {
    "hangs": lambda asked: Hang,
    "closes": lambda asked: None,
    "garbage": lambda asked: b"\x16\x03\x01 lorem ipsum\r\n\r\n" * 100,
    "half a head": lambda asked: [b"HTTP/1.1 200 OK\r\nContent-Type: appl", b""],
    "wrong length": lambda asked: reply(b"{}", length=-5),
    "100 MB": lambda asked: body_of(100 * MB),
    "100 MB of JSON": lambda asked: body_of(100 * MB, b"[[]],"),
    "wide": lambda asked: reply(wide(MB)),
    "endless, no new ids": lambda asked: page([ROW], f"c{next(COUNTER)}"),
    "endless, new ids": lambda asked: page([{"id": str(next(COUNTER))}], f"c{next(COUNTER)}"),
    "endless, empty": lambda asked: page([], f"c{next(COUNTER)}"),
    "cyclic": lambda asked: page([{"id": asked.query("cursor") or "0"}],
                                 str((int(asked.query("cursor") or 0) + 1) % 3)) if asked.query("cursor").isdigit()
    or not asked.query("cursor") else problem(400, "bad_cursor"),
    "redirects to itself": lambda asked: reply(b"", 302, f"Location: {asked.target}"),
    "gzip bomb": lambda asked: reply(zipped(), 200, "Content-Encoding: gzip"),
    "deflate bomb": lambda asked: reply(zlib.compress(b"[" * (20 * MB), 9), 200, "Content-Encoding: deflate"),
    "bomb in a bomb": lambda asked: reply(gzip.compress(zipped()), 200,
                                          "Content-Encoding: gzip, gzip"),
    "invalid UTF-8": lambda asked: reply(b'{"items": [{"id": "\xc3\x28\xff"}]}'),
    "invalid UTF-8 in fields": lambda asked: [reply().replace(b"X-Trace: ", b"X-Trace: \xff\xfe\xc3\x28")],
    "lone surrogates": lambda asked: page([{"id": "\ud800"}], "\udfff"),
    "10,000 headers": lambda asked: reply(b"{}", 200, *(f"X-{i}: a" for i in range(10_000))),
    "20 MB of headers": lambda asked: reply(b"{}", 200, *(f"X-{i}: {'a' * 15_000}" for i in range(1_400))),
    "a header of 1 MB": lambda asked: reply(b"{}", 200, f"X-A: {'a' * MB}"),
    "NaN": lambda asked: reply(b'{"items": [{"id": NaN}], "next_cursor": NaN}'),
    "duplicate keys": lambda asked: reply(b'{"items": [{"id": 1, "id": 2}], "items": []}'),
    "nested 100,000 deep": lambda asked: reply(nested(100_000)),
    "nested 900 deep": lambda asked: reply(nested(900)),
    "nested ids": lambda asked: reply(b'{"items": [{"id": ' + b"[" * 800 + b"]" * 800 + b'}], "next_cursor": "a"}'),
    "huge numbers": lambda asked: reply(b'{"items": [{"id": ' + b"9" * 100_000 + b'}, {"id": 1e400}]}'),
    "a cursor of 1 MB": lambda asked: page([ROW], "c" * MB),
    "a cursor that is no text": lambda asked: page([ROW], {"a": [1]}),
    "much that is new": lambda asked: page([{"id": str(next(COUNTER)), "text": "x" * 3 * MB}], f"c{next(COUNTER)}"),
    "many that are new": lambda asked: page([{"id": next(COUNTER)} for _ in range(90_000)], f"c{next(COUNTER)}"),
    "a list for a page": lambda asked: reply(b"[1, null]"),
    "rows that are none": lambda asked: page([None, 5, "x", [], {"id": None}, {}], None),
    "an odd status": lambda asked: reply(b"{}", 999),
    "early hints without end": lambda asked: itertools.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n", 10_000_000),
}


HEAVY = ("100 MB", "100 MB of JSON", "wide", "gzip bomb", "deflate bomb", "bomb in a bomb", "20 MB of headers",
         "a cursor of 1 MB", "much that is new", "many that are new")
SILENT = ("hangs", "half a head", "early hints without end")
HARMLESS = {"invalid UTF-8 in fields", "rows that are none"}


def test_listings_that_are_too_much_all_at_once(tmp_path):
    names = {f"odd_{i}": case for i, case in enumerate(ROWS) if case in HEAVY}
    with Hostile({f"/{name}": ROWS[case] for name, case in names.items()}) as server:
        done = check(tmp_path, profile(tmp_path, server.url, "".join(map(listing, names))), "--skip", "CRD-*")
        assert {asked.path[1:] for asked in server.asked} >= set(names)
    borne(done, 60)
    assert "fail" not in done.verdicts("PAG-004"), "the harness's own cap is not the target's loss"


@pytest.mark.parametrize("case", ["wide", "much that is new", "many that are new", "deflate bomb"])
def test_a_listing_that_is_too_much(tmp_path, case):
    with Hostile({"/rows": ROWS[case]}) as server:
        done = check(tmp_path, profile(tmp_path, server.url), "--only", "PAG-*")
        assert [asked for asked in server.asked if asked.path == "/rows"]
    borne(done)


def test_listings_that_are_hostile_each_in_its_way(tmp_path):
    names = {f"odd_{i}": case for i, case in enumerate(ROWS) if case not in (*HEAVY, *SILENT)}
    with Hostile({f"/{name}": ROWS[case] for name, case in names.items()}) as server:
        path = profile(tmp_path, server.url, "".join(map(listing, names)))
        done = check(tmp_path, path, "--skip", "CRD-*")
        assert {asked.path[1:] for asked in server.asked} >= set(names)
    borne(done, 60)
    complete = {r["subject"].removeprefix("collection:list_"): r["verdict"] for r in done.results()["results"]
                if r["check"] == "PAG-001"}
    assert {case for name, case in names.items() if complete[name] == "pass"} <= HARMLESS


def test_listings_that_never_answer(tmp_path):
    names = {f"odd_{i}": case for i, case in enumerate(SILENT)}
    with Hostile({f"/{name}": ROWS[case] for name, case in names.items()}) as server:
        path = profile(tmp_path, server.url, "".join(map(listing, names)), a=("timeout_s = 0.5", "timeout_s = 0.2"))
        done = check(tmp_path, path, "--only", "PAG-*")
    borne(done, 20)
    assert done.verdicts("PAG-001") == {"inconclusive"}


# --- a target that leads elsewhere


LINKS = ("http://{elsewhere}/rows?c=1", "//{elsewhere}/rows?c=2", "http://user:pw@{host}/rows", "http://[::1",
         "file:///etc/passwd", "ftp://{host}/rows", "http://{host}@{elsewhere}/", "\\\\{elsewhere}\\rows")


def test_nothing_is_sent_to_another_host(tmp_path):
    with Hostile() as elsewhere, Hostile() as server:
        hosts = {"elsewhere": elsewhere.url.removeprefix("http://"), "host": server.url.removeprefix("http://")}
        links = {f"link_{i}": link.format(**hosts) for i, link in enumerate(LINKS)}
        for name, link in links.items():
            server.answers[f"/{name}"] = lambda asked, link=link: page([ROW], link)
        for status in (301, 302, 303, 307, 308):
            links[f"to_{status}"] = ""
            server.answers[f"/to_{status}"] = lambda asked, status=status: reply(
                b"", status, f"Location: {elsewhere.url}/rows")
        urls = '\n[page.urls]\nmechanism = "url"\n'
        path = profile(tmp_path, server.url, urls + "".join(listing(name, "urls") for name in links))
        done = check(tmp_path, path, "--skip", "CRD-*")
        assert {asked.path[1:] for asked in server.asked} >= set(links)
        assert not elsewhere.connections
    borne(done, 60)


def test_a_token_endpoint_that_redirects_elsewhere(tmp_path):
    with Hostile() as elsewhere:
        to = f"Location: {elsewhere.url}/token"
        with Hostile({"/token": lambda asked: reply(b"", 307, to)}) as server:
            done = check(tmp_path, profile(tmp_path, server.url))
        assert not elsewhere.connections
    borne(done, 10)


async def in_process(folder, base_url, call) -> None:
    """One call with a scenario's hands."""
    target = load(profile(folder, base_url))
    redactor = Redactor()
    journal = Journal(folder / "events.jsonl", Header("0", "run", "2026-01-01T00:00:00+00:00", 0, "t", {}))
    session = Session(target, {"env:HOSTILE_SECRET": CANARY}, journal, redactor, 500)
    try:
        await call(Api(session, "scenario@api", Cost(9, 9)))
    finally:
        await session.close_lines()
        journal.close()


async def test_a_link_from_https_to_http_is_refused(tmp_path):
    async def call(api):
        await api.call("list_rows", by="full", label="page", alter=Alter(url="http://127.0.0.1:9/rows"))
    with pytest.raises(NotAllowed, match="https"):
        await in_process(tmp_path, "https://127.0.0.1:9", call)


# --- limits that lie


FIELDS = (
    ("X-RateLimit-Limit: -5", "X-RateLimit-Remaining: -1"),
    (f"X-RateLimit-Limit: {10**30}", f"X-RateLimit-Remaining: {10**30}", f"X-RateLimit-Reset: {10**30}"),
    ("X-RateLimit-Limit: 5.5", "X-RateLimit-Remaining: 1e400"),
    ("RateLimit-Limit: 5", "RateLimit-Limit: 6", "RateLimit-Remaining: 1", "RateLimit-Remaining: 2"),
    ("X-RateLimit-Limit: 5", "X-RateLimit-Remaining: 5", "RateLimit-Limit: 90", "RateLimit-Remaining: 1"),
    ("X-RateLimit-Limit: 5", "X-RateLimit-Remaining: 50"),
    (f'RateLimit: "a";r={10**30};t=-1', 'RateLimit-Policy: "a";q=1.5'),
    ("RateLimit: " + "(" * 10_000,),
    ("Retry-After: " + "9" * 10_000,),
)


def test_rate_limit_fields_that_lie(tmp_path):
    turns = itertools.cycle(FIELDS)
    with Hostile({"/rows": lambda asked: reply(b'{"items": []}', 200, *next(turns))}) as server:
        done = check(tmp_path, profile(tmp_path, server.url), "--skip", "CRD-*")
    borne(done)
    assert done.verdicts("RL-003") == {"warn"}
    assert done.rules("RL-003") == {"syntax", "dialects-contradict", "remaining-above-limit"}


# Retry-After, then the verdicts of RL-001 (well formed) and RL-002 (sufficient), and the rules of RL-001.
WAITS = {
    "a year": (("Retry-After: 31536000",), "pass", "inconclusive", set()),
    "forever": ((f"Retry-After: {10**30}",), "pass", "inconclusive", set()),
    "a far date": (("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT",), "pass", "inconclusive", set()),
    "negative": (("Retry-After: -1",), "fail", "inconclusive", {"retry-after-malformed"}),
    "a word": (("Retry-After: soon",), "fail", "inconclusive", {"retry-after-malformed"}),
    "fractional": (("Retry-After: 0.5",), "fail", "inconclusive", {"retry-after-malformed"}),
    "doubled": (("Retry-After: 1", "Retry-After: 0"), "fail", "inconclusive", {"retry-after-malformed"}),
}


def limited(folder: Path, fields: tuple[str, ...]) -> Done:
    turns = itertools.count(1)
    with Hostile({"/limited": lambda asked: problem(429, "throttled", *fields) if next(turns) % 7 == 0
                  else reply()}) as server:
        return check(folder, profile(folder, server.url, LIMIT), "--only", "RL-001", "--only", "RL-002")


@pytest.fixture(scope="module")
def limits(tmp_path_factory) -> dict[str, Done]:
    """The runs against all limits."""
    return dict(zip(WAITS, side_by_side(limited, [fields for fields, *_ in WAITS.values()], tmp_path_factory),
                    strict=True))


@pytest.mark.parametrize("case", WAITS)
def test_a_limit_that_lies_about_waiting(limits, case):
    _, well_formed, sufficient, rules = WAITS[case]
    borne(limits[case])
    assert limits[case].verdicts("RL-001") == {well_formed}
    assert limits[case].verdicts("RL-002") == {sufficient}
    assert limits[case].rules("RL-001") == rules


def test_a_year_is_not_waited_outside_a_limit_either(tmp_path):
    with Hostile({"/rows": lambda asked: problem(429, "throttled", "Retry-After: 31536000")}) as server:
        done = check(tmp_path, profile(tmp_path, server.url), "--skip", "CRD-*")
    borne(done, 10)
    assert done.verdicts("PAG-001") == {"inconclusive"}


async def test_patience_has_an_end(tmp_path):
    async def call(api):
        api.spent.patience = 2.5
        await api.call("list_rows", by="full", label="page")
    with Hostile({"/rows": lambda asked: problem(429, "throttled", "Retry-After: 2")}) as server:
        with pytest.raises(Skip, match="throttled"):
            await in_process(tmp_path, server.url, call)
        assert sum(asked.path == "/rows" for asked in server.asked) == 2
