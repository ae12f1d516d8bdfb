"""Every defect and every benign variant of the streams shows, and the conforming server does not show it."""

from itertools import pairwise
from typing import Any

import pytest
from streaming import served
from websockets.frames import Frame, Opcode

from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import all_benign
from openbell.reference_server.defects import all_defects

AREAS = ("WS", "CRD-003")
DEFECTS = {one.name: one for one in all_defects() if any(check.startswith(AREAS) for check in one.catches)}
BENIGN = {one.name: one for one in all_benign() if one.apply.__module__.endswith(".streams")}
SHORT_LIVED = {"stream-outlives-token"}
PROBES: dict[str, Any] = {}


def probe(*names):
    """Registers what shows a variant: it gives something for the variant, and nothing for the conforming server."""

    def register(function):
        PROBES.update(dict.fromkeys(names, function))
        return function

    return register


async def pongs(server, *payloads):
    """The pongs that come for pings in one read, before the answer to what was said after them."""
    peer = await server.peer()
    frames = [Frame(Opcode.PING, payload).serialize(mask=True) for payload in payloads]
    peer.wire.transport.write(b"".join(frames))
    await peer.ask(op="subscribe", channel="orders", account="acct-streams")
    return peer.payloads(Opcode.PONG)


@probe("pings-unanswered")
async def pings_unanswered(server):
    return await pongs(server, b"a") == []


@probe("pong-altered")
async def pong_altered(server):
    return await pongs(server, b"abc") == [b"ab?"]


@probe("one-pong-for-three")
async def one_pong_for_three(server):
    return await pongs(server, b"a", b"b", b"c") == [b"c"]


@probe("heartbeat-late")
async def heartbeat_late(server):
    peer = await server.subscriber()
    await peer.until(lambda: len(peer.payloads(Opcode.PING)) == 2)
    first, second = [at for at, frame in peer.frames if frame.opcode is Opcode.PING]
    return second - first > 2


@probe("dead-client-kept")
async def dead_client_kept(server):
    muted = await server.subscriber(muted=True)
    await muted.until(lambda: muted.ending or len(muted.payloads(Opcode.PING)) == 5)
    return muted.ending is None


@probe("dead-client-reset")
async def dead_client_reset(server):
    return await (await server.subscriber(muted=True)).end() == "reset"


@probe("heartbeat-when-idle")
async def heartbeat_when_idle(server):
    market, idle = await server.listener(), await server.subscriber()
    await idle.until(lambda: len(idle.payloads(Opcode.PING)) == 3)
    return market.payloads(Opcode.PING) == []


@probe("data-before-login")
async def data_before_login(server):
    peer = await server.peer()
    await peer.subscribe()
    await server.orders()
    await peer.barrier()
    return peer.seqs == [1]


async def foreign(server, after=None):
    """What the other tenant gets of acct-streams: live, and from a position."""
    tenant = await server.peer()
    await tenant.login(await server.token("tenant"))
    await tenant.subscribe("acct-streams", after)
    await server.orders()
    await tenant.barrier()
    return tenant.seqs


@probe("channel-unchecked")
async def channel_unchecked(server):
    return await foreign(server) == [1]


@probe("foreign-position")
async def foreign_position(server):
    _, at = await missed(server, 1)
    assert await foreign(server) == []
    return await foreign(server, at) == [2, 3, 4]


@probe("login-refused-by-close")
async def login_refused_by_close(server):
    return await (await server.peer()).login("x" * 43) == "close 4401"


@probe("stream-outlives-token")
async def outlives_token(server):
    peer = await server.subscriber()
    await peer.until(lambda: peer.ending or len(peer.payloads(Opcode.PING)) == 3)
    return peer.ending is None


async def missed(server, count=3):
    """Updates that were missed after the first one, and the first one."""
    peer = await server.subscriber()
    await server.orders()
    at = (await peer.until(lambda: peer.updates))[0]
    await peer.closed()
    await server.orders(count)
    return peer, at


async def resumed(server, live=1, count=3):
    """A stream resumed at 1 after `count` more, and after that `live` more: the seqs that it gets."""
    _, at = await missed(server, count)
    peer = await server.subscriber(after=at)
    await server.orders(live)
    await peer.barrier()
    return peer


@probe("resume-live-edge")
async def live_edge(server):
    return (await resumed(server)).seqs == [5]


@probe("resume-off-by-one")
async def off_by_one(server):
    return (await resumed(server)).seqs == [3, 4, 5]


@probe("replay-live-race")
async def replay_live_race(server):
    """What is a second old is replayed, what is new is lost."""
    _, at = await missed(server, 1)
    clock = await server.subscriber()
    await clock.until(lambda: len(clock.payloads(Opcode.PING)) == 3)
    await server.orders(1)
    peer = await server.subscriber(after=at)
    await server.orders(1)
    await peer.barrier()
    return peer.seqs == [2, 4]


@probe("zombie")
async def zombie(server):
    peer = await resumed(server)
    await peer.until(lambda: peer.payloads(Opcode.PING))
    return peer.seqs == [2, 3, 4]


@probe("duplicate-in-session")
async def duplicate_in_session(server):
    peer = await resumed(server)
    return peer.seqs == [2, 2, 3, 3, 4, 4, 5, 5] and len({one["event"] for one in peer.updates}) == 4


@probe("replay-new-ids")
async def replay_new_ids(server):
    peer = await resumed(server)
    rows = (await server.get("/v1/accounts/acct-streams/events"))["items"]
    same = [one["event"] == row["event"] for one, row in zip(peer.updates, rows[1:], strict=True)]
    return same == [False, False, False, True]


@probe("replay-altered")
async def replay_altered(server):
    """The last update comes once live and twice more, with another quantity and nothing else."""
    peer, at = await missed(server, 1)
    again = [await server.subscriber(after=at) for _ in range(2)]
    for one in again:
        await one.barrier()
    rows = (await server.get("/v1/accounts/acct-streams/events"))["items"]
    shown = [{"type": "update", **rows[1], "order": {**rows[1]["order"], "quantity": "7"}}]
    return [one.updates for one in again] == [shown, shown] and peer.updates[0] == {"type": "update", **rows[0]}


@probe("handshake-untraced")
async def handshake_untraced(server):
    answer = await (await server.peer()).wire.answered
    return answer.status_code == 101 and "X-Correlation-Id" not in answer.headers


async def repeated_with(server, name):
    """Whether the update of the own position comes again, with another value of this member and of no other."""
    _, at = await missed(server)
    peer = await server.subscriber(after=at)
    await peer.barrier()
    again = peer.updates[0]
    return peer.seqs == [1, 2, 3, 4] and {k for k in {*at, *again} if at.get(k) != again.get(k)} == {name}


@probe("replay-retimed")
async def replay_retimed(server):
    return await repeated_with(server, "at")


@probe("delivery-stamped")
async def delivery_stamped(server):
    return await repeated_with(server, "sent_at")


@probe("stream-reordered")
async def reordered(server):
    return (await resumed(server)).seqs == [4, 3, 2, 5]


@probe("stream-gap")
async def stream_gap(server):
    return (await resumed(server, live=7)).seqs == [2, 3, 4, 6, 7, 8, 9, 11]


@probe("resume-repeats-last")
async def resume_repeats_last(server):
    first, at = await missed(server)
    peer = await server.subscriber(after=at)
    await peer.barrier()
    return peer.seqs == [1, 2, 3, 4] and peer.updates[0] == first.updates[0]


@probe("sparse-sequence")
async def sparse_sequence(server):
    updates = (await resumed(server)).updates
    assert all(later["prev"] == earlier["seq"] for earlier, later in pairwise(updates))
    return len(updates) == 4 and any(one["seq"] > one["prev"] + 1 for one in updates)


async def answered(server, **position):
    """How a position beside the first update's is answered."""
    _, at = await missed(server, 1)
    peer = await server.peer()
    await peer.login(await server.token())
    got = await peer.subscribe(after={**at, **position})
    return got if isinstance(got, str) else got.get("recovered")


@probe("epoch-ignored")
async def epoch_ignored(server):
    return await answered(server, epoch="never")


@probe("future-silent")
async def future_silent(server):
    return await answered(server, seq=99)


@probe("refusal-closes")
async def refusal_closes(server):
    return await answered(server, seq=99) == "close 4409"


@probe("retention-halved")
async def retention_halved(server):
    _, at = await missed(server, 20)
    peer = await server.peer()
    await peer.login(await server.token())
    return (await peer.subscribe(after=at)).get("code") == "position_too_old"


@probe("position-crashes")
async def position_crashes(server):
    return await answered(server, seq=99) == "close 1011"


@probe("too-old-silent")
async def too_old_silent(server):
    _, at = await missed(server, 33)
    peer = await server.peer()
    await peer.login(await server.token())
    got = await peer.subscribe(after=at)
    await peer.barrier()
    return got.get("recovered") is True and peer.seqs == list(range(3, 35))


async def slow(server):
    """A witness and a consumer that stopped reading until its queue was full or it was gone."""
    witness, peer = await server.listener(), await server.listener(receive_buffer=4096)
    await peer.until(lambda: peer.updates)
    peer.wire.transport.pause_reading()
    market = server.app.world.market
    await witness.until(lambda: len(market.consumers) < 2 or any(one.full for one in market.consumers))
    return witness, peer


@probe("slow-stalls-others")
async def slow_stalls_others(server):
    witness, _ = await slow(server)
    await witness.barrier()
    seen, beats = len(witness.updates), len(witness.payloads(Opcode.PING))
    await witness.until(lambda: len(witness.payloads(Opcode.PING)) == beats + 2)
    return len(witness.updates) == seen


async def after_the_backlog(server):
    """The consumer when it reads again and has got what is new, or is gone."""
    witness, peer = await slow(server)
    seen = len(witness.updates)
    await witness.until(lambda: len(witness.updates) > seen + 200)
    edge = witness.updates[-1]["seq"]
    peer.wire.transport.resume_reading()
    await peer.until(lambda: peer.ending or peer.seqs[-1] >= edge)
    return peer


def holes(peer):
    return [later["prev"] for earlier, later in pairwise(peer.updates) if later["prev"] != earlier["seq"]]


@probe("slow-drops-silently")
async def slow_drops_silently(server):
    peer = await after_the_backlog(server)
    return holes(peer) and not peer.ending and {one["type"] for one in peer.messages} == {"subscribed", "update"}


@probe("slow-conflates")
async def slow_conflates(server):
    peer = await after_the_backlog(server)
    kinds = [one["type"] for one in peer.messages]
    return len(holes(peer)) == kinds.count("gap") == 1


@probe("slow-reset")
async def slow_reset(server):
    witness, peer = await slow(server)
    await witness.until(lambda: len(server.app.world.market.consumers) < 2)
    peer.wire.transport.resume_reading()
    return await peer.end() == "reset"


@probe("slow-corrupts")
async def slow_corrupts(server):
    """Whole updates first, none missing, and then no frame."""
    witness, peer = await slow(server)
    seen = len(witness.updates)
    await witness.until(lambda: len(witness.updates) > seen + 200)
    peer.wire.transport.resume_reading()
    return await peer.end() == "violation" and peer.updates and not holes(peer)


def test_every_variant_has_a_probe():
    assert PROBES.keys() == {*DEFECTS, *BENIGN}


def lifetime(name):
    return 0.4 if name in SHORT_LIVED else 60.0


@pytest.mark.parametrize("name", sorted(PROBES))
async def test_the_variant_shows(name):
    behaviour = {**DEFECTS, **BENIGN}[name].apply(Behaviour())
    async with served(behaviour, lifetime_s=lifetime(name)) as server:
        assert await PROBES[name](server)


@pytest.mark.parametrize("name", sorted(PROBES))
async def test_the_conforming_server_does_not_show_it(name):
    async with served(lifetime_s=lifetime(name)) as server:
        shown = await PROBES[name](server)
        assert not shown


@pytest.mark.parametrize("name", sorted(BENIGN))
async def test_a_legal_variant_loses_nothing(name):
    async with served(BENIGN[name].apply(Behaviour())) as server:
        peer = await resumed(server, live=2)
        wanted = (await server.get("/v1/accounts/acct-streams/events"))["items"]
        got = {one["event"] for one in peer.updates} | {wanted[0]["event"]}
        assert got == {one["event"] for one in wanted}
        assert len(wanted) == 6
