"""Faults on bytes, by the relay."""

import pytest
from faulty import facts, hands, target

from openbell.faults import Cut


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
