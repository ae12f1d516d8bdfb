"""The client against servers that misbehave: bounded, never a traceback, blame on the right side."""

import asyncio
import gzip
import zlib
from contextlib import asynccontextmanager

import pytest

from openbell.wire import MAX_CONTENT, Line, Request, decoded


async def free() -> None:
    """A permit that is always there."""


@asynccontextmanager
async def raw_server(*answers: bytes | None, hang: bool = False):
    """Answers each request on a connection with the next bytes; None closes without a word."""
    todo = iter(answers)
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                answer = next(todo, None)
                if hang:
                    await asyncio.Event().wait()
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"Connection: close" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()


async def send(base: str, path: str = "/", timeout_s: float = 5, method: str = "GET", count: int = 1):
    line = Line(timeout_s)
    try:
        return [await line.send(Request(method, base + path), free) for _ in range(count)]
    finally:
        await line.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  one\r\nx-a: two\r\n\r\n{}"


async def test_raw_lines_and_exact_target():
    async with raw_server(OK) as (base, seen):
        [answer] = await send(base, "/a%2Fb%28?x=%7e&y=a+b")
    assert seen[0].startswith(b"GET /a%2Fb%28?x=%7e&y=a+b HTTP/1.1\r\n")
    assert answer.reply.lines("x-A") == ("one", "two")
    assert answer.reply.field("X-A") == "one, two"
    assert answer.sent <= answer.first <= answer.done


async def test_a_kept_alive_connection_keeps_its_number_and_a_lost_one_does_not():
    async with raw_server(OK, OK) as (base, _):
        first, second = await send(base, count=2)
        [other] = await send(base)
    assert first.conn == second.conn
    assert other.conn != first.conn


async def test_nothing_is_sent_twice_when_the_target_closes():
    async with raw_server(OK, None, OK) as (base, seen):
        first, second = await send(base, count=2)
    assert first.status == 200
    assert second.no_reply.startswith("closed: the target")
    assert len(seen) == 2


@pytest.mark.parametrize(("answer", "blame"), [
    (b"lorem ipsum dolor\r\n\r\n", "garbage: the target"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{}", "cut: the target"),
    (b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(10000)) + b"\r\n", "garbage: the target"),
    (None, "closed: the target"),
])
async def test_blame(answer, blame):
    async with raw_server(answer) as (base, _):
        [got] = await send(base)
    assert got.status is None
    assert got.no_reply.startswith(blame), got.no_reply


async def test_a_target_that_hangs_is_given_up_in_time():
    async with raw_server(hang=True) as (base, _):
        [got] = await send(base, timeout_s=0.2)
    assert got.no_reply == "timeout: the target did not answer within 0.2 s"
    assert got.done - got.sent < 2


async def test_a_target_that_is_down():
    async with raw_server() as (base, _):
        pass
    [got] = await send(base)
    assert got.no_reply.startswith("refused: no connection")


async def test_a_huge_body_is_cut_at_the_cap():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_CONTENT * 3)
    async with raw_server(head + b"x" * (MAX_CONTENT * 3)) as (base, _):
        [got] = await send(base)
    assert got.reply.cut
    assert len(got.reply.content) == MAX_CONTENT


def test_a_compression_bomb_stays_small():
    bomb = gzip.compress(b"0" * (MAX_CONTENT * 20))
    message = decoded(((b"Content-Encoding", b"gzip"),), bomb)
    assert message.cut
    assert len(message.content) == MAX_CONTENT
    assert message.wire_length == len(bomb)


@pytest.mark.parametrize(("declared", "raw", "encoding"), [
    (b"gzip", gzip.compress(b"secret"), "gzip"),
    (b"", gzip.compress(b"secret"), "gzip"),
    (b"deflate", zlib.compress(b"secret"), "deflate"),
    (b"gzip", b"secret", ""),
    (b"deflate", b"secret", ""),
])
def test_content_is_stored_decoded_whether_declared_or_not(declared, raw, encoding):
    message = decoded(((b"Content-Encoding", declared),), raw)
    assert message.content == b"secret"
    assert message.encoding == encoding


def test_empty_content_with_an_encoding():
    assert decoded(((b"Content-Encoding", b"gzip"),), b"").content == b""
