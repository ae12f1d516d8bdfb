"""The streams of the server without any variant: what each convention promises."""

import asyncio
import json
import sqlite3
from itertools import pairwise

import pytest
from streaming import WAIT_S, served
from websockets.frames import Opcode
from websockets.http11 import Response

SUBSCRIBED = {"type", "channel", "account", "epoch", "seq", "recovered"}


def error(got, code):
    assert (got["type"], got["code"]) == ("error", code), got
    assert len(got["correlation_id"]) == 36
    assert got["detail"].endswith(".")
    return True


async def test_a_client_logs_in_subscribes_and_gets_updates():
    async with served() as server:
        peer = await server.peer()
        assert (await peer.login(await server.token())) == {"type": "logged_in"}
        got = await peer.subscribe()
        assert got.keys() == SUBSCRIBED
        assert (got["seq"], got["recovered"]) == (0, None)
        (status, order, _), *_ = await server.orders(3)
        await peer.until(lambda: len(peer.updates) == 3)
        assert status == 201
        assert [(one["seq"], one["prev"], one["kind"]) for one in peer.updates] == [
            (1, 0, "submitted"), (2, 1, "submitted"), (3, 2, "submitted")]
        assert peer.updates[0]["order"] == order
        assert len({one["event"] for one in peer.updates}) == 3
        assert {one["epoch"] for one in peer.updates} == {got["epoch"]}


async def test_the_handshake_has_a_correlation_id():
    async with served() as server:
        peer = await server.peer()
        response: Response = await peer.wire.answered
        assert response.status_code == 101
        assert len(response.headers["X-Correlation-Id"]) == 36


async def test_who_does_not_log_in_is_told_and_then_closed(monkeypatch):
    monkeypatch.setattr("openbell.reference_server.stream_wire.LOGIN_S", 0.2)
    async with served() as server:
        peer = await server.peer()
        assert error(await peer.subscribe(), "unauthenticated")
        assert error(await peer.login("x" * 43), "invalid_token")
        await server.orders()
        assert await peer.end() == "close 4401"
        assert peer.updates == []


async def test_who_logs_in_keeps_the_stream(monkeypatch):
    monkeypatch.setattr("openbell.reference_server.stream_wire.LOGIN_S", 0.2)
    async with served() as server:
        peer, late = await server.subscriber(), await server.peer()
        assert await late.end() == "close 4401"
        await peer.barrier()
        assert peer.ending is None


async def test_another_account_is_forbidden():
    async with served() as server:
        peer = await server.peer()
        await peer.login(await server.token("tenant"))
        assert error(await peer.subscribe("acct-streams"), "forbidden")
        assert error(await peer.subscribe("acct-streams", {"epoch": "x", "seq": 0}), "forbidden")
        assert error(await peer.subscribe("acct-none"), "forbidden")
        assert (await peer.subscribe("acct-other"))["type"] == "subscribed"
        await server.orders(client="streams")
        await server.orders(client="tenant")
        await peer.until(lambda: peer.updates)
        assert {one["order"]["account"] for one in peer.updates} == {"acct-other"}


@pytest.mark.parametrize("sent", [
    b"{", b"[]", b"1", b"{}", b'{"op": "dance"}', b'{"op": ["login"]}', b'{"op": "login"}',
    b'{"op": "login", "token": 1}', b'{"op": "subscribe", "channel": "market"}',
    b'{"op": "subscribe", "channel": "orders", "account": 1}', b"[" * 20_000, b'{"op": ' + b"9" * 5000 + b"}",
    *(b'{"op": "subscribe", "channel": "orders", "account": "acct-streams", "after": ' + after + b"}" for after in (
        b"1", b"{}", b'{"epoch": 1, "seq": 1}', b'{"epoch": "a", "seq": -1}', b'{"epoch": "a", "seq": true}',
        b'{"epoch": "a", "seq": 1.5}', b'{"epoch": "a", "seq": 1234567890123456789}', b'{"epoch": "a", "seq": null}')),
])
async def test_what_is_malformed_is_told_and_the_stream_goes_on(sent):
    async with served() as server:
        peer = await server.subscriber()
        seen = len(peer.messages)
        peer.send(Opcode.TEXT, sent)
        assert error((await peer.until(lambda: peer.messages[seen:]))[0], "malformed")
        await server.orders()
        await peer.until(lambda: peer.updates)


@pytest.mark.parametrize(("raw", "code"), [
    (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit
    (b"\x81\x01a", 1002),  # not masked
    (b"\x81\xff\0\0\0\0\x40\0\0\0\0\0\0\0", 1009),  # a message of a gigabyte is announced
    (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
    (b"\x80\x80\0\0\0\0", 1002),  # a continuation of nothing
    (b"\x01\xfe\xff\xff\0\0\0\0" + b" " * 65_535 + b"\x00\x82\0\0\0\0  ", 1009),  # fragments without an end
])
async def test_what_breaks_the_protocol_ends_the_stream(raw, code):
    async with served() as server:
        peer = await server.peer()
        peer.wire.transport.write(raw)
        assert await peer.end() == f"close {code}"


async def test_every_ping_is_answered_with_its_payload():
    async with served() as server:
        peer = await server.peer()
        for payload in (b"", b"four", b"x" * 125):
            peer.send(Opcode.PING, payload)
        await peer.until(lambda: len(peer.payloads(Opcode.PONG)) == 3)
        assert peer.payloads(Opcode.PONG) == [b"", b"four", b"x" * 125]


async def test_a_close_is_answered_with_its_code():
    async with served() as server:
        peer = await server.subscriber()
        await peer.wire.close(4321)
        assert await peer.end() == "close 4321"
        assert not server.app.world.orders.consumers["acct-streams"]


async def test_it_beats_and_drops_who_does_not_answer():
    async with served() as server:
        control, muted = await server.subscriber(), await server.subscriber(muted=True)
        assert await muted.end() == "close 1011"
        assert len(muted.payloads(Opcode.PING)) >= 2
        await control.barrier()
        assert control.ending is None


async def test_a_stream_ends_with_its_token():
    async with served(lifetime_s=0.5) as server:
        peer, market = await server.subscriber(), await server.listener()
        assert await peer.end() == "close 4401"
        assert error(peer.messages[-1], "token_expired")
        assert await market.end() == "close 4401"
        assert error(market.messages[-1], "token_expired")
        again = await server.peer()
        assert error(await again.login(await server.token()), "token_expired")


async def test_a_resumed_stream_gets_what_it_missed_and_what_follows():
    async with served() as server:
        first = await server.subscriber()
        await server.orders(2)
        at = (await first.until(lambda: first.updates))[0]
        await first.closed()
        await server.orders(3)
        second = await server.peer()
        await second.login(await server.token())
        got = await second.subscribe(after={"epoch": at["epoch"], "seq": str(at["seq"])})
        assert (got["recovered"], got["seq"]) == (True, 5)
        await server.orders(2)
        await second.until(lambda: len(second.updates) == 6)
        assert second.seqs == [2, 3, 4, 5, 6, 7]
        assert second.updates[0] == first.updates[1]


async def test_what_is_published_while_streams_are_resumed_is_neither_lost_nor_repeated():
    async with served() as server:
        peer = await server.subscriber()
        writing = asyncio.create_task(server.orders(40))
        seen = []
        while len(seen) < 40:
            await peer.until(lambda peer=peer: peer.updates)
            await peer.closed()
            seen += peer.seqs
            if len(seen) < 40:
                peer = await server.subscriber(after=peer.updates[-1])
        await writing
        assert seen == list(range(1, 41))


async def test_positions_that_cannot_be_served_are_refused():
    async with served() as server:
        peer = await server.subscriber()
        await server.orders(70)
        await peer.until(lambda: len(peer.updates) == 70)
        at = peer.updates
        probe = await server.peer()
        await probe.login(await server.token())
        assert error(await probe.subscribe(after=at[36]), "position_too_old")
        assert error(await probe.subscribe(after={**at[-1], "seq": 71}), "position_unknown")
        assert error(await probe.subscribe(after={**at[-1], "epoch": at[-1]["epoch"] + "x"}), "epoch_changed")
        await server.orders(client="streams")
        await probe.barrier()
        assert probe.updates == []
        assert (await probe.subscribe(after=at[38]))["recovered"] is True
        await probe.until(lambda: len(probe.updates) == 32)
        assert probe.seqs == list(range(40, 72))


async def test_a_position_of_another_account_is_of_another_epoch():
    async with served() as server:
        peer = await server.subscriber()
        await server.orders()
        await server.orders(client="tenant")
        at = (await peer.until(lambda: peer.updates))[0]
        probe = await server.peer()
        await probe.login(await server.token("tenant"))
        assert error(await probe.subscribe("acct-other", at), "epoch_changed")


async def test_the_listing_tells_every_event_as_the_stream_did():
    async with served() as server:
        peer = await server.subscriber()
        made = await server.orders(70)
        order = made[-1][1]["id"]
        url = f"{server.url}/v1/accounts/acct-streams/orders/{order}"
        headers = await server.bearer()
        async with server.http.patch(url, json={"price": "2"}, headers=headers) as got:
            assert got.status == 200
        async with server.http.delete(url, headers=headers) as got:
            assert got.status == 200
        await peer.until(lambda: len(peer.updates) == 72)
        rows, cursor = [], ""
        for _ in range(3):
            page = await server.get(f"/v1/accounts/acct-streams/events?sort=seq&limit=30{cursor}")
            rows += page["items"]
            cursor = f"&cursor={page.get('next_cursor')}"
        assert [{"type": "update", **row} for row in rows] == peer.updates
        assert [row["kind"] for row in rows[-3:]] == ["submitted", "amended", "cancelled"]
        newest = await server.get("/v1/accounts/acct-streams/events?sort=-seq&limit=1")
        assert newest["items"] == rows[-1:]


async def test_the_outbox_is_written_in_the_transaction_of_the_order(tmp_path, monkeypatch):
    file = tmp_path / "outbox.sqlite"
    async with served(database=file) as server:
        peer = await server.subscriber()
        await server.orders(2)
        with monkeypatch.context() as patched:
            patched.setattr("openbell.reference_server.orders.outbox.append", fails)
            assert (await server.orders())[0][0] == 500
        assert (await server.orders(client_order_id="t-1"))[0][0] == 409
        await server.orders()
        await peer.until(lambda: len(peer.updates) == 3)
        assert peer.seqs == [1, 2, 3]
        with sqlite3.connect(file) as database:
            query = "SELECT seq, id, json_extract(\"order\", '$.id') FROM outbox WHERE account = 'acct-streams'"
            told = database.execute(query + " ORDER BY seq")
            assert told.fetchall() == [(one["seq"], one["event"], one["order"]["id"]) for one in peer.updates]
            kept = database.execute("SELECT count(*) FROM orders WHERE account = 'acct-streams'").fetchone()
            assert kept == (3,)
        database.close()
    assert file.exists()


def fails(*_):
    raise RuntimeError("the outbox cannot be written")


async def test_nothing_is_published_before_the_commit(monkeypatch):
    async with served() as server:
        peer = await server.subscriber()
        store = server.app.store
        with store.writing("acct-streams") as connection:
            connection.exec_driver_sql(
                "INSERT INTO outbox VALUES ('acct-streams', 1, 'evt', 0, 0, 'submitted', '{}')")
            server.app.world.orders.published("acct-streams")
            await peer.barrier()
            assert peer.updates == []
        await peer.until(lambda: peer.updates)
        assert peer.seqs == [1]


async def test_the_market_asks_for_a_token_at_the_handshake():
    async with served() as server:
        for token, code in ((None, "unauthenticated"), ("x" * 43, "invalid_token")):
            peer = await server.peer("market", token=token)
            response = await peer.wire.answered
            assert response.status_code == 401
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            problem = json.loads(response.body)
            assert problem["code"] == code
            assert problem["correlation_id"] == response.headers["X-Correlation-Id"]


@pytest.mark.parametrize("path", ["none", "", "orders/x", "market?access_token=x"])
async def test_other_handshakes_are_refused(path):
    async with served() as server:
        peer = await server.peer(path, token=await server.token())
        response = await peer.wire.answered
        code = json.loads(response.body)["code"]
        assert (response.status_code, code) == ((400, "invalid_request") if "?" in path else (404, "not_found"))


async def test_a_handshake_that_is_none_is_a_problem():
    async with served() as server:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "8"}
        async with server.http.get(f"{server.url}/v1/stream/orders", headers=headers) as got:
            assert got.status == 400
            assert (await got.json(content_type=None))["code"] == "bad_handshake"


async def test_quotes_flow_while_somebody_listens():
    async with served() as server:
        market = server.app.world.market
        assert market.task is None
        one, two = await server.listener(), await server.listener()
        await one.until(lambda: len(one.updates) >= 50)
        await two.until(lambda: len(two.updates) >= 50)
        assert all(later["prev"] == earlier["seq"] for earlier, later in pairwise(one.updates))
        assert {one["event"] for one in one.updates} & {two["event"] for two in two.updates}
        assert 3600 <= len(one.payloads(Opcode.TEXT)[5]) <= 4600
        took = one.frames[-1][0] - one.frames[1][0]
        assert 50 <= len(one.updates) / took <= 500
        await one.closed()
        await two.closed()
        async with asyncio.timeout(WAIT_S):
            await market.task
        assert market.consumers == {}


async def test_a_slow_consumer_is_closed_by_the_policy_and_nobody_else_notices():
    async with served() as server:
        witness = await server.listener()
        slow = await server.listener(receive_buffer=4096)
        await slow.until(lambda: slow.updates)
        slow.wire.transport.pause_reading()
        await witness.until(lambda: len(server.app.world.market.consumers) == 1)
        seen = len(witness.updates)
        await witness.until(lambda: len(witness.updates) > seen)
        slow.wire.transport.resume_reading()
        assert await slow.end() == "close 1013"
        assert all(later["prev"] == earlier["seq"] for earlier, later in pairwise(slow.updates))
        assert all(later["prev"] == earlier["seq"] for earlier, later in pairwise(witness.updates))


async def test_three_hundred_consumers_in_one_process():
    async with served() as server:
        token = await server.token()
        peers = [await server.peer() for _ in range(300)]
        for peer in peers:
            peer.say(op="login", token=token)
            peer.say(op="subscribe", channel="orders", account="acct-streams")
        for peer in peers:
            await peer.until(lambda peer=peer: len(peer.messages) == 2)
        await server.orders(5)
        for peer in peers:
            await peer.until(lambda peer=peer: len(peer.updates) == 5)
        assert all(peer.seqs == [1, 2, 3, 4, 5] for peer in peers)
        assert not any(peer.ending for peer in peers)


async def test_a_replay_to_a_client_that_broke_off_says_nothing_in_the_log(caplog):
    async with served() as server:
        first = await server.subscriber()
        await server.orders(60)
        await first.until(lambda: len(first.updates) == 60)
        gone = await server.peer()
        await gone.login(await server.token())
        at = first.updates[0]
        gone.say(op="subscribe", channel="orders", account="acct-streams", after={"epoch": at["epoch"], "seq": 1})
        gone.wire.cut()
        await server.orders(10)
        await first.until(lambda: len(first.updates) == 70)
        assert caplog.records == []
