"""Users name faults in their own pytest tests; what was made on a faulty way is cited by no traffic check."""

from dataclasses import replace

import pytest

from openbell.events import Event, Exchange, Fact
from openbell.journal import read
from openbell.judge import judge
from openbell.registry import all_checks

MINE = """
import pytest
from openbell.faults import Cut, InjectStatus, LoseReply

@pytest.mark.asyncio
async def test_a_lost_reply_is_settled_by_a_read(api):
    async with api.through(LoseReply("submit_order")) as broken:
        lost = await broken.call("submit_order", by="full", label="lost")
    assert lost.status is None
    rows = await api.call("list_orders", by="full", label="settled")
    assert len(rows.items) == 1
    api.found(api.unknown[0], rows.items[0]["id"])

@pytest.mark.asyncio
async def test_an_outage_and_a_cut(api):
    for number in range(20):
        assert (await api.call("read_status", by="full", label=f"direct:{number}")).ok
    async with api.through(InjectStatus(500, body="untraced", times=20)) as broken:
        for number in range(20):
            assert (await broken.call("read_status", by="full", label=f"outage:{number}")).status == 500
    async with api.through(Cut("reset")) as broken:
        assert (await broken.call("read_status", by="full", label="cut")).status is None
    assert (await api.call("read_status", by="full", label="after")).ok
"""
INI = "[pytest]\nfilterwarnings = error\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"


@pytest.fixture
def recorded(pytester, stand_in) -> list[Event]:
    """The journal of a pytest session in which a user's own tests put faults on the way."""
    pytester.makeini(INI)
    pytester.makepyfile(test_mine=MINE)
    (pytester.path / "stand-in.toml").write_text(stand_in.profile)
    result = pytester.runpytest_subprocess("--openbell-target", "stand-in.toml", "--openbell-only", "COR-001",
                                           "test_mine.py", "-k", "lost or outage")
    result.assert_outcomes(passed=2, deselected=1)
    assert not stand_in.orders
    [path] = pytester.path.glob("openbell-results/*/events.jsonl")
    return list(read(path))


def test_faults_in_ones_own_tests_and_what_traffic_checks_see_of_them(recorded, pytester):
    told = [(e.data["route"], e.data["fault"]) for e in recorded if isinstance(e, Fact) and e.name == "fault"]
    assert told == [("proxy", "LoseReply"), ("proxy", "InjectStatus"), ("relay", "Cut")]
    assert sum(isinstance(e, Fact) and e.name == "fault_fired" for e in recorded) == 22
    made = {e.n for e in recorded if isinstance(e, Exchange) and e.route != "direct"}
    assert len(made) == 22

    [path] = pytester.path.glob("openbell-results/*/events.jsonl")
    checks = [c for c in all_checks() if c.traffic]
    for result in judge(read(path).header, recorded, checks):
        assert result.verdict != "error"
        assert not made & {n for finding in result.findings for n in finding.events}
    [traced] = [r for r in judge(read(path).header, recorded, checks) if r.check == "COR-001"]
    assert traced.verdict == "pass"
    direct = [replace(e, route="direct") if isinstance(e, Exchange) else e for e in recorded]
    [seen] = [r for r in judge(read(path).header, direct, checks) if r.check == "COR-001"]
    assert seen.verdict == "fail"
    assert {n for finding in seen.findings for n in finding.events} <= made
