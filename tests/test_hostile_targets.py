"""Bad input and hostile targets are borne: a verdict in bounded time and memory, never a traceback, nothing leaked."""

import gzip
import itertools
import json
import socket
import zlib
from collections.abc import Callable, Iterator

import pytest
from hostile import TOKEN, Answer, Asked, Done, Hang, Hostile, borne, check, problem, profile, reply

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
                       b=('page = "cursor"', 'page = "cursors"'), c=('operation = "issue_token"', 'operation = "issue"'))
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


@pytest.mark.parametrize("case", NO_TOKEN)
def test_a_token_endpoint_that_gives_none(tmp_path, case):
    with Hostile({"/token": NO_TOKEN[case]}) as server:
        done = check(tmp_path, profile(tmp_path, server.url))
        assert {asked.path for asked in server.asked} == {"/token"}
    borne(done, 10)
    assert done.code == 2
    assert not done.leaks(BIG[:60])


@pytest.mark.parametrize("lexeme", [b"0", b"-60", b"1e400", b"315360000", b'"soon"', b"0.001", b"[]"])
def test_an_odd_lifetime(tmp_path, lexeme):
    with Hostile({"/token": lambda asked: token_with(lexeme)}) as server:
        done = check(tmp_path, profile(tmp_path, server.url), "--skip", "PAG-*")
        assert sum(asked.path == "/token" for asked in server.asked) < 100
    borne(done, 15)


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


def page(rows: list[object], cursor: str | None) -> bytes:
    return reply(json.dumps({"items": rows, "next_cursor": cursor}).encode())


def nested(depth: int) -> bytes:
    return b'{"items": ' + b"[" * depth + b"]" * depth + b"}"


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
    "gzip bomb": lambda asked: reply(gzip.compress(b"0" * (100 * MB), 9), 200, "Content-Encoding: gzip"),
    "deflate bomb": lambda asked: reply(zlib.compress(b"[" * (100 * MB), 9), 200, "Content-Encoding: deflate"),
    "bomb in a bomb": lambda asked: reply(gzip.compress(gzip.compress(b"0" * (100 * MB))), 200,
                                          "Content-Encoding: gzip, gzip"),
    "invalid UTF-8": lambda asked: reply(b'{"items": [{"id": "\xc3\x28\xff"}]}'),
    "invalid UTF-8 in fields": lambda asked: [reply().replace(b"X-Trace: ", b"X-Trace: \xff\xfe\xc3\x28")],
    "lone surrogates": lambda asked: page([{"id": "\ud800"}], "\udfff"),
    "10,000 headers": lambda asked: reply(b"{}", 200, *(f"X-{i}: a" for i in range(10_000))),
    "100 MB of headers": lambda asked: reply(b"{}", 200, *(f"X-{i}: {'a' * 60_000}" for i in range(1_700))),
    "NaN": lambda asked: reply(b'{"items": [{"id": NaN}], "next_cursor": NaN}'),
    "duplicate keys": lambda asked: reply(b'{"items": [{"id": 1, "id": 2}], "items": []}'),
    "nested 100,000 deep": lambda asked: reply(nested(100_000)),
    "nested 900 deep": lambda asked: reply(nested(900)),
    "nested ids": lambda asked: reply(b'{"items": [{"id": ' + b"[" * 800 + b"]" * 800 + b'}], "next_cursor": "a"}'),
    "huge numbers": lambda asked: reply(b'{"items": [{"id": ' + b"9" * 100_000 + b'}, {"id": 1e400}]}'),
    "a cursor of 1 MB": lambda asked: page([ROW], "c" * MB),
    "a cursor that is no text": lambda asked: page([ROW], {"a": [1]}),
    "a list for a page": lambda asked: reply(b"[1, null]"),
    "rows that are none": lambda asked: page([None, 5, "x", [], {"id": None}, {}], None),
    "an odd status": lambda asked: reply(b"{}", 999),
    "early hints without end": lambda asked: itertools.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n", 1_000_000),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_listing_that_is_hostile(tmp_path, case):
    with Hostile({"/rows": ROWS[case]}) as server:
        done = check(tmp_path, profile(tmp_path, server.url), "--skip", "CRD-*")
    borne(done)
