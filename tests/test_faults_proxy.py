"""Faults on single exchanges and messages, by mitmproxy in its child."""

import pytest
from faulty import facts, hands, target

from openbell.faults import LoseReply


@pytest.mark.parametrize("tls", [False, True])
async def test_a_lost_reply_belongs_to_a_request_that_was_executed(tmp_path, tls):
    async with (target(tls=tls, folder=tmp_path) as made, hands(made, tmp_path) as api,
                api.through(LoseReply("submit_order")) as broken):
        assert (await broken.call("read_status", by="full", label="before")).status == 200
        lost = await broken.call("submit_order", by="full", label="lost")
        again = await broken.call("submit_order", by="full", label="again")
        witness = broken.via.witness
    assert (lost.status, again.status) == (None, 201)
    assert lost.exchange.no_reply == "closed: on a way to the target that has a fault"
    assert {e.exchange.route for e in (lost, again)} == {"proxy"}
    assert len(made.orders) == 2
    assert [(w.method, w.status) for w in witness] == [("GET", 200), ("POST", 201), ("POST", 201)]
    [fault], [fired] = facts(tmp_path, "fault"), facts(tmp_path, "fault_fired")
    assert fault["parameters"] == {"operation": "submit_order", "nth": 1, "times": 1}
    assert (fired["conn"], fired["status"]) == (lost.exchange.conn, 201)
