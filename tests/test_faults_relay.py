"""Faults on bytes, by the relay: against a bare server, and by a scenario's hands, in the clear and over TLS."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from faulty import facts, hands, target

from openbell.api import Api
from openbell.faults import (
    Bandwidth,
    BlackHole,
    Calm,
    Cut,
    Delay,
    Fired,
    HalfOpen,
    LoseReply,
    Refuse,
    RelayFault,
    Seen,
    Stall,
    StopReading,
)
from openbell.relay import Relay
from openbell.session import Skip

DATA = random.Random(1).randbytes(200_000)
SOON_S = 5.0
NEVER_S = 0.3

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Way:
    """A relay to a bare server, and what it told."""

    relay: Relay
    fired: list[Fired] = field(default_factory=list)
    ended: asyncio.Queue[Seen] = field(default_factory=asyncio.Queue)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.relay.address())


@asynccontextmanager
async def way(fault: RelayFault, serve: Serve, seed: str = "0") -> AsyncIterator[Way]:
    serving: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        serving.add(task)
        try:
            await serve(reader, writer)
        except ConnectionError:
            assert isinstance(fault, HalfOpen)
        finally:
            writer.transport.abort() if isinstance(fault, StopReading) else writer.close()
    server = await asyncio.start_server(served, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    fired: list[Fired] = []
    ended: asyncio.Queue[Seen] = asyncio.Queue()
    relay = Relay(host, port, fault, seed, fired.append, ended.put_nowait)
    relay.start()
    try:
        yield Way(relay, fired, ended)
    finally:
        await relay.close()
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def sends(_reader, writer) -> None:
    writer.write(DATA)
    await writer.drain()


async def echoes(reader, writer) -> None:
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()


async def got(reader) -> tuple[bytes, str]:
    """All that comes, and how it ends."""
    parts = []
    try:
        while data := await asyncio.wait_for(reader.read(65536), SOON_S):
            parts.append(data)
    except ConnectionResetError:
        return b"".join(parts), "reset"
    return b"".join(parts), "eof"


async def quiet(reader) -> bool:
    """Whether nothing comes, not even an end."""
    reading = asyncio.ensure_future(reader.read(1))
    done, _ = await asyncio.wait({reading}, timeout=NEVER_S)
    reading.cancel()
    return not done


async def test_calm_changes_nothing_and_sees_all():
    async def serve(reader, writer):
        assert await reader.read() == DATA  # the half-close of the client reaches the server
        writer.write(DATA[:7])
    async with way(Calm(), serve) as calm:
        reader, writer = await calm.dial()
        writer.write(DATA)
        writer.write_eof()
        assert await got(reader) == (DATA[:7], "eof")
        seen = await calm.ended.get()
        writer.close()
    assert (seen.up, seen.down, seen.ended) == (len(DATA), 7, "eof")
    assert not calm.fired


@pytest.mark.parametrize("offset", [0, 1, 65_536, 123_457])
@pytest.mark.parametrize(("how", "ends"), [("reset", "reset"), ("close", "eof")])
async def test_a_cut_passes_exactly_so_many_bytes_each_time(how, ends, offset):
    for _ in range(2):
        async with way(Cut(how, offset), sends) as cut:
            reader, writer = await cut.dial()
            assert await got(reader) == (DATA[:offset], ends)
            writer.close()
        assert [(f.fault, f.direction, f.offset) for f in cut.fired] == [("Cut", "down", offset)]


@pytest.mark.parametrize(("how", "ends"), [("reset", "reset"), ("close", "eof")])
async def test_a_cut_on_the_way_up_ends_both_sides(how, ends):
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader, _writer):
        heard.set_result(await got(reader))
    async with way(Cut(how, 1000, "up"), serve) as cut:
        reader, writer = await cut.dial()
        writer.write(DATA[:3000])
        assert await asyncio.wait_for(heard, SOON_S) == (DATA[:1000], ends)
        assert await got(reader) == (b"", ends)
        writer.close()


async def test_a_delay_keeps_the_order_and_comes_late_by_the_lots_of_its_seed():
    lots = random.Random("seed:1:up")
    async with way(Delay(0.02, 0.05), echoes, "seed") as late:
        reader, writer = await late.dial()
        for number in range(5):
            began = time.monotonic()
            writer.write(bytes([number]))
            assert await reader.readexactly(1) == bytes([number])
            assert time.monotonic() - began >= 0.04 + lots.uniform(0, 0.05)
        writer.close()
    assert {f.fault for f in late.fired} == {"Delay"}


async def test_a_delay_is_no_bandwidth():
    async with way(Delay(0.2), sends) as late:
        reader, writer = await late.dial()
        assert await got(reader) == (DATA, "eof")
        writer.close()


async def test_bandwidth_is_bounded():
    async with way(Bandwidth(1_000_000), sends) as slow:
        began = time.monotonic()
        reader, writer = await slow.dial()
        assert await got(reader) == (DATA, "eof")
        assert time.monotonic() - began >= 0.19
        writer.close()


async def test_a_stall_holds_up_and_loses_nothing():
    async with way(Stall(1000, 0.3), sends) as stalled:
        reader, writer = await stalled.dial()
        assert await reader.readexactly(1000) == DATA[:1000]
        began = time.monotonic()
        assert await got(reader) == (DATA[1000:], "eof")
        assert time.monotonic() - began >= 0.25
        writer.close()
    assert [f.offset for f in stalled.fired] == [1000]


async def test_a_black_hole_hides_even_the_end():
    async with way(BlackHole(500), sends) as hole:
        reader, writer = await hole.dial()
        assert await reader.readexactly(500) == DATA[:500]
        seen = await asyncio.wait_for(hole.ended.get(), SOON_S)
        assert (seen.down, seen.ended) == (len(DATA), "eof")
        writer.write(b"into the hole")
        assert await quiet(reader)
        assert seen.up == 0
        writer.close()


async def test_half_open_resets_the_client_and_tells_the_server_nothing():
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        await reader.readexactly(4)
        heard.set_result(await quiet(reader))
        writer.write(DATA)
        await writer.drain()
    async with way(HalfOpen(4, "up"), serve) as half:
        reader, writer = await half.dial()
        writer.write(b"12345")
        assert await got(reader) == (b"", "reset")
        writer.close()
        assert await asyncio.wait_for(heard, SOON_S)
        seen = await asyncio.wait_for(half.ended.get(), SOON_S)
    assert (seen.up, seen.down, seen.ended) == (4, len(DATA), "eof")


async def test_who_is_not_read_cannot_send():
    sending = asyncio.get_running_loop().create_future()

    async def serve(_reader, writer):
        writer.transport.set_write_buffer_limits(0)
        writer.write(bytes(64 * 1024 * 1024))
        sending.set_result(asyncio.ensure_future(writer.drain()))
        await asyncio.Event().wait()
    async with way(StopReading(2000), serve) as deaf:
        reader, writer = await deaf.dial()
        assert await reader.readexactly(2000) == bytes(2000)
        done, _ = await asyncio.wait({await sending}, timeout=NEVER_S)
        assert not done
        assert await quiet(reader)
        [seen] = deaf.relay.witness
        assert seen.down <= 2000 + 64 * 1024
        sending.result().cancel()
        writer.close()


async def test_refusal_is_real_and_can_end():
    async with way(Refuse(), sends) as shut:
        with pytest.raises(ConnectionRefusedError):
            await shut.dial()
        shut.relay.inject(Calm())
        reader, writer = await shut.dial()
        assert await got(reader) == (DATA, "eof")
        writer.close()
    assert [f.fault for f in shut.fired] == ["Refuse"]


async def test_a_fault_can_be_armed_on_open_connections():
    async with way(Calm(), echoes) as open_:
        reader, writer = await open_.dial()
        writer.write(DATA[:100])
        assert await reader.readexactly(100) == DATA[:100]
        open_.relay.inject(Cut("reset", 50), live=True)
        writer.write(DATA[:100])
        assert await got(reader) == (DATA[:50], "reset")
        assert [f.offset for f in open_.fired] == [150]
        writer.close()
        open_.relay.inject(Calm())
        reader, writer = await open_.dial()
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        open_.relay.inject(Cut("close"), live=True)
        assert await got(reader) == (b"", "eof")
        writer.close()


async def test_a_reset_by_the_server_stays_one_and_is_seen():
    async def serve(reader, writer):
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        writer.transport.abort()
    async with way(Calm(), serve) as calm:
        reader, writer = await calm.dial()
        writer.write(b"1")
        assert await got(reader) == (b"", "reset")
        assert (await calm.ended.get()).ended == "reset"
        writer.close()


async def test_a_target_that_cannot_be_reached_resets_the_connection():
    async with way(Calm(), sends) as calm:
        calm.relay._target = calm.relay._refusing.getsockname()
        reader, writer = await calm.dial()
        assert await got(reader) == (b"", "reset")
        writer.close()


# --- by a scenario's hands


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_stream_is_cut_after_exactly_so_many_bytes(tmp_path, tls, how):
    async with (target(tls=tls, folder=tmp_path) as made, hands(made, tmp_path) as api,
                api.through(Cut(how, after_bytes=4000)) as broken):
        stream = await broken.stream("feed", by="full", label="cut")
        assert await stream.enter() == "ok"
        await made.publish(*range(300))
        ending = await stream.end(5)
        [seen] = broken.via.witness
    assert ending
    assert (ending.side, ending.how) == ("harness", "reset" if how == "reset" else "eof")
    assert stream.messages
    assert [m.value["seq"] for m in stream.messages[1:]] == [str(n) for n in range(len(stream.messages) - 1)]
    [fired] = facts(tmp_path, "fault_fired")
    assert (fired["conn"], fired["direction"], fired["offset"]) == (stream.conn, "down", 4000)
    assert seen.down > 4000


@pytest.mark.parametrize("tls", [False, True])
async def test_a_dead_client_is_seen_by_the_server_alone(tmp_path, tls):
    async with (target(tls=tls, folder=tmp_path) as made, hands(made, tmp_path) as api,
                api.through(Calm()) as broken):
        stream = await broken.stream("feed", by="full", label="dead")
        assert await stream.enter() == "ok"
        await broken.via.inject(BlackHole(), live=True)
        stream.say({"op": "unheard"})
        await made.feeds[0].send_json({"type": "update", "seq": 1})
        made.kill(0)
        seen = await broken.via.dropped(stream.conn, SOON_S)
        assert seen
        assert seen.ended == "reset"
        assert stream.ending is None
        assert stream.open
    assert made.heard == ['{"op": "subscribe"}']
    assert len(stream.messages) == 1
    [witness] = facts(tmp_path, "fault_witness")
    assert (witness["conn"], witness["ended"]) == (stream.conn, "reset")


@pytest.mark.parametrize("tls", [False, True])
async def test_a_call_whose_reply_is_cut_is_no_loss_of_the_targets(tmp_path, tls):
    async with target(tls=tls, folder=tmp_path) as made, hands(made, tmp_path) as api:
        direct = await api.call("read_status", by="full", label="direct")
        async with api.through(Cut(after_bytes=0, direction="up")) as broken:
            cut = await broken.call("read_status", by="full", label="cut")
            await broken.via.inject(Calm())
            calm = await broken.call("read_status", by="full", label="calm")
        direct_again = await api.call("read_status", by="full", label="direct")
    assert [r.status for r in (direct, cut, calm, direct_again)] == [200, None, 200, 200]
    assert str(cut.exchange.no_reply).endswith(": on a way to the target that has a fault")
    assert [r.exchange.route for r in (direct, cut, calm, direct_again)] == ["direct", "relay", "relay", "direct"]
    assert direct.exchange.conn == direct_again.exchange.conn
    assert len({direct.exchange.conn, cut.exchange.conn, calm.exchange.conn}) == 3
    assert {headers["Host"] for _, _, headers in made.asked} == {made.base.partition("://")[2]}
    assert direct.exchange.url == calm.exchange.url
    assert direct.exchange.request.headers == calm.exchange.request.headers


async def test_refused_calls_are_told_and_fired(tmp_path):
    async with target() as made, hands(made, tmp_path) as api, api.through(Refuse()) as broken:
        refused = await broken.call("read_status", by="full", label="refused")
        stream = await broken.stream("feed", by="full", label="refused")
    assert str(refused.exchange.no_reply).startswith("refused: ")
    assert stream.handshake
    assert (stream.handshake.status, stream.handshake.route) == (None, "relay")
    assert [f["fault"] for f in facts(tmp_path, "fault_fired")] == ["Refuse", "Refuse"]
    assert not made.asked


async def test_all_ways_share_cost_lots_and_what_was_made(tmp_path):
    async with target() as made, hands(made, tmp_path) as api:
        async with api.through(Calm()) as broken:
            await broken.call("submit_order", by="full", label="made")
            assert broken.random is api.random
        assert [m.id for m in api.made] == ["1"]
        assert (api.spent.writes, broken.spent) == (1, api.spent)
        await api.undo_all()
    assert not made.orders


async def test_a_fault_of_the_other_tool_needs_another_way(tmp_path):
    async with target() as made, hands(made, tmp_path) as api, api.through(Calm()) as broken:
        with pytest.raises(TypeError, match=r"LoseReply .* another one by api\.through"):
            await broken.via.inject(LoseReply())


async def test_behind_a_proxy_of_the_profiles_no_fault_can_be_put(tmp_path):
    async with target() as made, hands(made, tmp_path) as api:
        table = api.target.target.model_copy(update={"proxy": "http://127.0.0.1:1"})
        api.session.target = api.target.model_copy(update={"target": table})
        with pytest.raises(Skip, match=r"target\.proxy"):
            await _opened(api)


async def _opened(api: Api) -> None:
    async with api.through(Calm()):
        pytest.fail("a way was opened")
