"""Cleaning: what a run left behind goes, known or unknown, however the run ended."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from stand_in import SECRET

from openbell import cleaning
from openbell.api import Api
from openbell.building import Alter
from openbell.journal import Header, Journal, read
from openbell.loading import dumped, load, parse
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.session import Session

SECRETS = {"env:STAND_IN_SECRET": SECRET}


@pytest.fixture
def target(stand_in, tmp_path):
    path = tmp_path / "stand-in.toml"
    path.write_text(stand_in.profile)
    return load(path)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    return path


async def act(folder, target, scenario, *, close=True):
    """A run of one scenario that does not tidy up."""
    redactor = Redactor()
    header = Header("0", "run", "2026-01-01T00:00:00+00:00", 0, "stand-in.toml", dumped(target))
    journal = Journal(folder / "events.jsonl", header, redactor.gate)
    session = Session(target, SECRETS, journal, redactor, 500)
    try:
        await scenario(Api(session, "leaves@api", Cost(999, 999)))
    finally:
        await session.close_lines()
        if close:
            journal.close()


def creating(count):
    async def scenario(api):
        for _ in range(count):
            await api.call("submit_order", by="full", label="create")
    return scenario


async def clean(folder, target):
    return await cleaning.clean(folder, target, SECRETS)


async def test_what_was_made_is_undone_in_a_journal_of_its_own(stand_in, target, folder, capsys):
    await act(folder, target, creating(3))
    before = (folder / "events.jsonl").read_bytes()
    assert len(stand_in.orders) == 3
    assert await clean(folder, target) == 0
    assert stand_in.orders == {}
    assert (folder / "events.jsonl").read_bytes() == before
    reading = read(folder / "cleanup.jsonl")
    assert sum(1 for e in reading if getattr(e, "name", "") == "undone") == 3
    assert (reading.torn, reading.header.source) == (None, "cleanup")
    said = capsys.readouterr().out
    assert said.count("undone: submit_order") == 3
    assert "3 undone, 0 left" in said


async def test_a_second_cleaning_finds_nothing_and_sends_nothing(stand_in, target, folder, capsys):
    await act(folder, target, creating(1))
    await clean(folder, target)
    sent = len(stand_in.requests)
    assert await clean(folder, target) == 0
    assert len(stand_in.requests) == sent
    assert not (folder / "cleanup-2.jsonl").exists()
    assert "nothing is left behind" in capsys.readouterr().out


async def test_an_undone_thing_and_a_refused_one_are_not_open(stand_in, target, folder):
    async def scenario(api):
        await api.call("submit_order", by="full", label="create")
        await api.undo_all()
        await api.call("submit_order", by="full", label="invalid", alter=Alter(content=b"{}"))
    await act(folder, target, scenario)
    sent = len(stand_in.requests)
    assert await clean(folder, target) == 0
    assert len(stand_in.requests) == sent


async def test_a_lost_reply_is_settled_by_the_listing_whatever_page_it_is_on(stand_in, target, folder):
    async def scenario(api):
        for i in range(45):
            reference = {"id": f"other-{i}", "reference": f"other-{i}", "price": "1.00"}
            stand_in.orders[reference["id"]] = reference
        stand_in.swallow = 1
        await api.call("submit_order", by="full", label="create")
    await act(folder, target, scenario)
    assert len(stand_in.orders) == 46
    assert await clean(folder, target) == 0
    assert sorted(stand_in.orders) == sorted(f"other-{i}" for i in range(45))
    assert sum(1 for r in stand_in.requests if r == ("GET", "/orders")) == 3 + 3, "found, then missed"


@pytest.mark.parametrize("mechanism", ["number", "offset"])
@pytest.mark.parametrize(("others", "asked"), [(0, 3), (19, 4), (20, 4), (45, 6)])
async def test_a_lost_reply_is_settled_where_pages_are_counted(stand_in, target, folder, mechanism, others, asked):
    """The listing's own maximum is half of what the profile says, and the last row is looked for."""
    data, stand_in.counted = dumped(target), mechanism
    data["page"]["cursor"] = {"mechanism": mechanism, "put": mechanism, "maximum": 40}
    target = parse(data, "counted")

    async def scenario(api):
        for i in range(others):
            stand_in.orders[f"other-{i}"] = {"id": f"other-{i}", "reference": f"other-{i}", "price": "1.00"}
        api.note("intent", operation="submit_order", by="full", key="ob-never-1", values={"unique": "ob-never-1"},
                 undo="cancel_order")
        stand_in.swallow = 1
        await api.call("submit_order", by="full", label="create")
    await act(folder, target, scenario)
    assert await clean(folder, target) == 0
    assert len(stand_in.orders) == others
    assert sum(1 for r in stand_in.requests if r == ("GET", "/orders")) == asked


async def test_an_intent_that_never_left_is_settled_as_not_made(stand_in, target, folder):
    async def scenario(api):
        api.note("intent", operation="submit_order", by="full", key="ob-never-1", values={"unique": "ob-never-1"},
                 undo="cancel_order")
    await act(folder, target, scenario)
    assert await clean(folder, target) == 0
    assert await clean(folder, target) == 0
    assert sum(1 for r in stand_in.requests if r == ("GET", "/orders")) == 1


async def test_without_a_natural_key_an_unknown_outcome_is_left(stand_in, target, folder, capsys):
    stand_in.swallow = 1
    await act(folder, target, creating(1))
    data = dumped(target)
    del data["operation"]["submit_order"]["natural_key"]
    assert await clean(folder, parse(data, "x")) == 1
    assert "unknown outcome: the profile names no listing" in capsys.readouterr().out


async def test_what_the_target_refuses_to_undo_is_left_and_tried_again(stand_in, target, folder, capsys):
    await act(folder, target, creating(2))
    stand_in.refuse_cancel = True
    assert await clean(folder, target) == 2
    assert "cancel_order got status 403" in capsys.readouterr().out
    stand_in.refuse_cancel = False
    assert await clean(folder, target) == 0
    assert (folder / "cleanup-2.jsonl").exists()
    assert stand_in.orders == {}


async def test_what_is_gone_already_is_not_there_by_the_word_of_the_listing(stand_in, target, folder, capsys):
    await act(folder, target, creating(2))
    stand_in.orders.clear()
    assert await clean(folder, target) == 0
    assert "0 undone, 2 not there, 0 left" in capsys.readouterr().out
    assert await clean(folder, target) == 0
    assert "nothing is left behind" in capsys.readouterr().out


@pytest.mark.parametrize("status", [404, 409, 410])
async def test_what_the_target_does_not_undo_and_still_lists_is_left(stand_in, target, folder, capsys, status):
    await act(folder, target, creating(3))
    stand_in.cancel_answers = status
    assert await clean(folder, target) == 3
    assert await clean(folder, target) == 3, "nothing was taken for undone"
    said = capsys.readouterr().out
    assert said.count(f"cancel_order got status {status}, and list_orders still holds it") == 6
    assert "0 undone, 3 left" in said


async def test_without_a_listing_a_missing_thing_is_left(stand_in, target, folder, capsys):
    await act(folder, target, creating(1))
    stand_in.cancel_answers = 404
    data = dumped(target)
    del data["operation"]["list_orders"]["collection"]
    assert await clean(folder, parse(data, "x")) == 1
    assert "cancel_order got status 404: the profile names no listing" in capsys.readouterr().out


async def test_a_listing_that_cannot_be_read_leaves_what_is_in_doubt(stand_in, target, folder, capsys):
    await act(folder, target, creating(1))
    stand_in.orders.clear()
    data = dumped(target)
    data["operation"]["list_orders"]["path"] = "/elsewhere"
    assert await clean(folder, parse(data, "x")) == 1
    assert "cancel_order got status 404: list_orders got status 404" in capsys.readouterr().out


async def test_what_a_listing_told_of_is_undone_once_it_tells_no_more(stand_in, target, folder, capsys):
    stand_in.swallow, stand_in.cancel_answers = 2, 204
    await act(folder, target, creating(2))
    assert await clean(folder, target) == 2
    assert capsys.readouterr().out.count("cancel_order got status 204, and list_orders still holds it") == 2
    stand_in.cancel_answers = 0
    assert await clean(folder, target) == 0
    assert "2 undone, 0 left" in capsys.readouterr().out
    assert stand_in.orders == {}


async def test_two_intents_of_one_thing_are_both_closed(stand_in, target, folder, capsys):
    async def scenario(api):
        for _ in range(2):
            made = api.note("intent", operation="submit_order", by="full", key="k", values={}, undo="cancel_order")
            api.note("made", intent=made.n, id="twice")
        stand_in.orders["twice"] = {"id": "twice", "reference": "k", "price": "1.00"}
    await act(folder, target, scenario)
    assert await clean(folder, target) == 0
    assert "1 undone, 1 not there, 0 left" in capsys.readouterr().out


async def test_a_target_that_is_down_leaves_all_and_raises_nothing(target, folder, stand_in):
    await act(folder, target, creating(2))
    gone = target.model_copy(update={"target": target.target.model_copy(update={"base_url": "http://127.0.0.1:1"})})
    assert await clean(folder, gone) == 2


async def test_cleaning_ends_in_time(stand_in, target, folder, monkeypatch, capsys):
    await act(folder, target, creating(2))
    monkeypatch.setattr(cleaning, "LIMIT_S", 0.2)
    stand_in.token_delay_s = 5.0
    before = time.monotonic()
    assert await clean(folder, target) == 2
    assert time.monotonic() - before < 2
    assert "not done within 0.2 s" in capsys.readouterr().out


async def test_a_journal_cut_anywhere_is_replayed(stand_in, target, folder, tmp_path):
    await act(folder, target, creating(2))
    whole = (folder / "events.jsonl").read_bytes()
    header = whole.index(b"\n") + 1
    torn = tmp_path / "torn"
    torn.mkdir()
    counts = set()
    for cut in range(header, len(whole), 37):
        (torn / "events.jsonl").write_bytes(whole[:cut])
        counts.add(len(cleaning.replayed(torn, target)[1]))
    assert counts == {0, 1, 2}


@pytest.mark.parametrize("earlier", [b"", b'{"kind":"head', b"nonsense\n"])
async def test_a_torn_earlier_cleaning_does_no_harm(stand_in, target, folder, earlier):
    await act(folder, target, creating(1))
    (folder / "cleanup.jsonl").write_bytes(earlier)
    assert await clean(folder, target) == 0
    assert stand_in.orders == {}
    assert (folder / "cleanup.jsonl").read_bytes() == earlier


KILLED = """
import asyncio, pathlib, sys
from test_cleaning import act, creating
from openbell.loading import load
folder = pathlib.Path(sys.argv[1])
asyncio.run(act(folder, load(folder.parent / "stand-in.toml"), creating(500)))
"""


async def test_after_kill_9_nothing_is_left(stand_in, target, folder):
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(folder),
                                                 env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)})
    try:
        deadline = time.monotonic() + 20
        while len(stand_in.orders) < 20:
            assert time.monotonic() < deadline
            assert child.returncode is None
            await asyncio.sleep(0.005)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
    reading = read(folder / "events.jsonl")
    assert len(list(reading)) > 20
    assert reading.torn
    assert await clean(folder, target) == 0
    assert stand_in.orders == {}


async def test_secrets_stay_out_of_the_journal(stand_in, target, folder):
    await act(folder, target, creating(1))
    await clean(folder, target)
    kept = (folder / "cleanup.jsonl").read_text()
    assert SECRET not in kept
    assert "tok-" not in kept
    assert json.loads(kept.splitlines()[0])["source"] == "cleanup"
