"""Faults on single exchanges and messages, by mitmproxy in its child; and what becomes of those who lose the child."""

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from faulty import SECRET, Target, events, facts, hands, target
from serving import CANARY, PROFILE, reference_server, spellings
from serving import SECRET as REFERENCE
from websockets.utils import accept_key

from openbell import proxying
from openbell.api import Api
from openbell.events import Exchange
from openbell.faults import (
    DelayMessage,
    DelayReply,
    DropMessage,
    DuplicateMessage,
    Fault,
    InjectStatus,
    LoseReply,
    ReplaceMessage,
)
from openbell.loading import load
from openbell.run import Options, run
from openbell.session import Skip

SOON_S = 5.0
END_S = 10.0


@pytest.mark.parametrize("tls", [False, True])
async def test_a_lost_reply_belongs_to_a_request_that_was_executed(tmp_path, tls):
    async with (target(tls=tls, folder=tmp_path) as made, hands(made, tmp_path) as api,
                api.through(LoseReply("submit_order")) as broken):
        assert (await broken.call("read_status", by="full", label="before")).status == 200
        lost = await broken.call("submit_order", by="full", label="lost")
        again = await broken.call("submit_order", by="full", label="again")
        witness = broken.via.witness
        direct = await api.call("read_status", by="full", label="direct")
    assert (lost.status, again.status) == (None, 201)
    assert lost.exchange.no_reply == "closed: on a way to the target that has a fault"
    assert {e.exchange.route for e in (lost, again)} == {"proxy"}
    assert len(made.orders) == 2
    assert [(w.method, w.status) for w in witness] == [("GET", 200), ("POST", 201), ("POST", 201)]
    [fault], [fired] = facts(tmp_path, "fault"), facts(tmp_path, "fault_fired")
    assert fault["parameters"] == {"operation": "submit_order", "nth": 1, "times": 1}
    assert (fired["conn"], fired["status"]) == (lost.exchange.conn, 201)
    assert {headers["Host"] for _, _, headers in made.asked} == {made.base.partition("://")[2]}
    assert direct.exchange.conn not in {lost.exchange.conn, again.exchange.conn}
    assert {n.lower() for _, _, headers in made.asked for n in headers} == {
        n.decode().lower() for e in (direct, lost) for n, _ in e.exchange.request.headers} | {
        "content-length", "content-type"}


async def test_faults_hit_the_exchanges_that_they_name(tmp_path):
    async with (target() as made, hands(made, tmp_path) as api,
                api.through(LoseReply("read_order", nth=2, times=2)) as broken):
        orders = [await broken.call("read_order", by="full", label=f"{n}", id=f"a/{n}") for n in range(5)]
        status = await broken.call("read_status", by="full", label="other")
    assert [r.status for r in orders] == [200, None, None, 200, 200]
    assert status.status == 200


async def test_an_injected_status_never_reaches_the_target(tmp_path):
    fault = InjectStatus(503, (("Retry-After", "7"), ("X-Made", "up")), '{"made": "up"}')
    async with target() as made, hands(made, tmp_path) as api, api.through(fault) as broken:
        injected = await broken.call("read_status", by="full", label="injected")
        real = await broken.call("read_status", by="full", label="real")
        witness = broken.via.witness
    assert (injected.status, injected.get("header:Retry-After"), injected.get("body:/made")) == (503, "7", "up")
    assert real.status == 200
    assert len(made.asked) == len(witness) == 1
    [fired] = facts(tmp_path, "fault_fired")
    assert fired["status"] == 503


async def test_a_reply_can_be_late(tmp_path):
    async with target() as made, hands(made, tmp_path) as api, api.through(DelayReply(0.3)) as broken:
        late = await broken.call("read_status", by="full", label="late")
        [reached] = broken.via.witness
    assert late.status == 200
    assert late.exchange.done - reached.at >= 0.3
    assert made.asked


async def test_another_fault_can_be_injected_and_counts_anew(tmp_path):
    async with target() as made, hands(made, tmp_path) as api, api.through(LoseReply()) as broken:
        seen = [await broken.call("read_status", by="full", label="a")]
        await broken.via.inject(InjectStatus(418, nth=2))
        seen += [await broken.call("read_status", by="full", label=label) for label in "bcd"]
    assert [r.status for r in seen] == [None, 200, 418, 200]
    assert [f["fault"] for f in facts(tmp_path, "fault")] == ["LoseReply", "InjectStatus"]
    assert len(made.asked) == 3


# --- messages

DOWN: list[tuple[Fault, list[str]]] = [
    (DropMessage(3), ["0", "2", "3"]),
    (DropMessage({"at": "body:/seq", "equals": 1}), ["0", "2", "3"]),
    (DropMessage({"at": "body:/type", "equals": "update"}, times=2), ["2", "3"]),
    (DropMessage(2, direction="up"), ["0", "1", "2", "3"]),
    (ReplaceMessage('{"type": "update", "seq": 77}', which=2), ["77", "1", "2", "3"]),
]


@pytest.mark.parametrize(("fault", "seqs"), DOWN)
@pytest.mark.parametrize("tls", [False, True])
async def test_single_messages_are_lost_or_replaced(tmp_path, fault, seqs, tls):
    async with (target(tls=tls, folder=tmp_path) as made, hands(made, tmp_path) as api,
                api.through(fault) as broken):
        stream = await broken.stream("feed", by="full", label="feed")
        assert await stream.enter() == "ok"
        stream.say({"op": "said"})
        await made.publish(0, 1, 2, 3)
        assert await stream.message(lambda m: m.value.get("seq") == "3", SOON_S)
        stream.ping(b"behind")
        assert await stream.pong(b"behind", SOON_S)
        await stream.close()
    assert [m.value["seq"] for m in stream.messages if m.kind == "update"] == seqs
    assert made.heard == ['{"op": "subscribe"}'] + ['{"op": "said"}'] * (fault != DropMessage(2, direction="up"))
    fired = facts(tmp_path, "fault_fired")
    assert {f["conn"] for f in fired} == {stream.conn}
    assert len(fired) == fault.times
    assert {getattr(e, "route", "proxy") for e in events(tmp_path)} == {"proxy"}


async def test_a_message_can_come_twice(tmp_path):
    async with target() as made, hands(made, tmp_path) as api, api.through(DuplicateMessage(3)) as broken:
        stream = await broken.stream("feed", by="full", label="feed")
        assert await stream.enter() == "ok"
        await made.publish(0, 1)
        assert await stream.message(lambda _: len(stream.messages) == 4, SOON_S)
    assert [m.value.get("seq") for m in stream.messages] == [None, "0", "1", "1"]


async def test_a_message_can_be_late_and_holds_up_what_follows(tmp_path):
    async with target() as made, hands(made, tmp_path) as api, api.through(DelayMessage(0.3, which=2)) as broken:
        stream = await broken.stream("feed", by="full", label="feed")
        assert await stream.enter() == "ok"
        began = time.monotonic()
        await made.publish(0, 1)
        assert await stream.message(lambda m: m.value.get("seq") == "1", SOON_S)
        assert stream.messages[1].at - began >= 0.3
    assert [m.value.get("seq") for m in stream.messages] == [None, "0", "1"]


# --- the child


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def _kill(api: Api) -> None:
    proxy = await api.session.proxy()
    assert proxy._process
    proxy._process.kill()
    await proxy._process.wait()


async def _loses_it(api: Api) -> None:
    async with api.through(LoseReply("submit_order")) as broken:
        await broken.call("read_status", by="full", label="before")
        await _kill(api)
        await broken.call("read_status", by="full", label="after")


async def test_a_child_that_dies_is_told_and_what_was_recorded_stays(tmp_path):
    async with target() as made, hands(made, tmp_path) as api:
        with pytest.raises(Skip, match="the fault proxy was lost during the scenario: its process ended") as told:
            await _loses_it(api)
        assert told.value.reason == "precondition"
        with pytest.raises(Skip, match="could not be had: its process ended"):
            await _loses_it(api)
        assert (await api.call("read_status", by="full", label="direct")).status == 200
    exchanges = [e for e in events(tmp_path) if isinstance(e, Exchange)]
    assert [(e.label, e.status) for e in exchanges] == [("before", 200), ("after", None), ("direct", 200)]
    assert len(facts(tmp_path, "fault_lost")) == 2


@pytest.mark.parametrize(("module", "why"), [
    ("openbell.no_such_module", "its process ended"), ("http.server", "it was not ready within 0.5 s")])
async def test_a_child_that_cannot_start_is_told_once(tmp_path, monkeypatch, module, why):
    monkeypatch.setattr(proxying, "MODULE", module)
    monkeypatch.setattr(proxying, "START_S", 0.5)
    monkeypatch.setattr(proxying, "END_S", 0.2)
    async with target() as made, hands(made, tmp_path) as api:
        for _ in range(2):
            with pytest.raises(Skip, match="the fault proxy could not be had: " + why):
                await _loses_it(api)
        assert not made.asked
        proxy = api.session._proxy
    assert proxy
    assert proxy._process
    assert not _alive(proxy._process.pid)
    assert not proxy._folder.exists()


async def test_one_child_for_all_ways_and_none_without_need(tmp_path):
    async with target() as made, hands(made, tmp_path) as api:
        await api.call("read_status", by="full", label="direct")
        assert api.session._proxy is None
        async with api.through(LoseReply("read_status")) as one, api.through(InjectStatus(418)) as other:
            seen = await asyncio.gather(one.call("read_status", by="full", label="one"),
                                        other.call("read_status", by="full", label="other"))
            assert one.via._proxy is other.via._proxy is api.session._proxy
            pid = api.session._proxy._process.pid
            assert _alive(pid)
    assert [r.status for r in seen] == [None, 418]
    assert not _alive(pid)


def test_mitmproxy_is_not_imported_by_the_parent():
    script = "import openbell.api, openbell.cli, openbell.run, sys; print('mitmproxy' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


ORPHAN = """
import asyncio, os, sys
from openbell.proxying import Proxy
async def main():
    proxy = Proxy()
    await proxy.start(None)
    print(proxy._process.pid, proxy._folder, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_the_child_of_a_killed_parent_ends_and_leaves_nothing():
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid, folder = parent.stdout.readline().split()
    child = os.pidfd_open(int(pid))
    assert (Path(folder) / proxying.CA).exists()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    poll = select.poll()
    poll.register(child)
    assert poll.poll(END_S * 1000)
    os.close(child)
    assert not Path(folder).exists()


async def test_no_secret_is_in_the_childs_lines_arguments_environment_or_files(tmp_path, monkeypatch):
    monkeypatch.setenv("FAULTY_SECRET", SECRET)
    lines: list[bytes] = []
    heard = proxying.Proxy._heard

    def listen(self: proxying.Proxy, said: dict[str, Any]) -> None:
        lines.append(json.dumps(said).encode())
        heard(self, said)
    monkeypatch.setattr(proxying.Proxy, "_heard", listen)
    async with target() as made, hands(made, tmp_path) as api, api.through(LoseReply("submit_order")) as broken:
        await broken.call("submit_order", by="full", label="lost", id=SECRET)
        await broken.call("read_status", by="full", label="query", extra={"token": SECRET})
        stream = await broken.stream("feed", by="full", label="feed")
        stream.say({"op": "subscribe", "token": SECRET})
        assert await stream.message(lambda m: m.kind == "ack", SOON_S)
        proxy = api.session._proxy
        process = Path(f"/proc/{proxy._process.pid}")
        found = [*lines, *((process / name).read_bytes() for name in ("cmdline", "environ"))]
        files = [p for p in proxy._folder.rglob("*") if p.is_file()]
        assert proxy._folder.stat().st_mode & 0o077 == 0
        found += [p.read_bytes() for p in (*files, *tmp_path.glob("*.jsonl"))]
    assert SECRET in made.asked[0][2]["Authorization"]
    assert any(SECRET in said for said in made.heard)
    assert not [s for s in spellings(SECRET) for content in found if s in content]
    assert all(p.name.startswith("mitmproxy-") for p in files)


async def test_a_reply_of_any_size_ends_no_child(tmp_path):
    async with target() as made, hands(made, tmp_path) as api, api.through(LoseReply("submit_order")) as broken:
        made.large = 64 * 1024 * 1024
        large = await broken.call("read_status", by="full", label="large")
        made.large = 0
        assert (await broken.call("read_status", by="full", label="small")).status == 200
    assert large.exchange.route == "proxy"
    assert large.status != 200
    assert facts(tmp_path, "fault_failed")


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Opens a stream and sends one message that has no end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line.partition(": ")[2] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode())
    with contextlib.suppress(ConnectionError):
        for number in range(4096):
            writer.write(bytes([0 if number else 1, 127]) + (1 << 20).to_bytes(8, "big") + bytes(1 << 20))
            await writer.drain()
    writer.transport.abort()


async def test_an_endless_message_ends_the_child_and_is_told(tmp_path):
    async def waits(api: Api) -> None:
        async with api.through(DropMessage()) as broken:
            stream = await broken.stream("feed", by="full", label="feed")
            assert stream.open
            assert await stream.end(60)
    server = await asyncio.start_server(_endless, "127.0.0.1", 0)
    made = Target()
    made.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with hands(made, tmp_path) as api:
        with pytest.raises(Skip, match="the fault proxy was lost during the scenario: its process ended"):
            await waits(api)
    server.close()
    assert [e.status for e in events(tmp_path) if isinstance(e, Exchange)] == [101]


async def test_checks_that_need_a_child_that_cannot_start_are_undecided(tmp_path, monkeypatch):
    monkeypatch.setattr(proxying, "MODULE", "openbell.no_such_module")
    with reference_server() as url:
        done = await run(load(PROFILE, url), "reference.toml", {f"env:{REFERENCE}": CANARY},
                         Options(only=("IDM-001", "HTTP-*"), out=tmp_path))
    found = {r.check: r for r in done.results.results if r.check == "IDM-001"}["IDM-001"]
    assert (found.verdict, found.reason) == ("inconclusive", "precondition")
    assert found.summary.startswith("the fault proxy could not be had: its process ended")
    assert any(r.verdict == "pass" for r in done.results.results)
