"""What a person sees in the terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from journals import ROOT, offsets
from rich.console import Console

from openbell import terminal
from openbell.events import Exchange, Fact, Message
from openbell.loading import load
from openbell.plan import make_plan
from openbell.registry import all_checks, all_scenarios
from openbell.reports.material import load_results
from openbell.results import Finding, Results
from openbell.run import Run
from openbell.scheduler import Progress

SECRET = "made-up-secret-value"


@pytest.fixture(scope="module")
def target():
    return load(ROOT / "profiles" / "reference.toml", "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> Run:
    folder = offsets(tmp_path_factory.mktemp("runs") / "run", 10)
    return Run(folder, load_results(folder / "results.json"), 4.2, 4.0, short_secrets=("full.secret",))


def test_results_end_with_verdict_report_time_and_what_to_paste(failed, capsys):
    terminal.show_results(failed)
    out = capsys.readouterr().out
    places = [out.index(t) for t in ("✗ fail", "does not conform", "3 fail, 2 pass", "report.html",
                                     "4.2 s, 1.05 × its critical path", "full.secret", "[[accepted]]")]
    assert places == sorted(places)
    assert str(failed.folder / "report.html") in out.replace("\n", "")


def test_who_has_accepted_something_is_not_told_how(failed, capsys):
    entry = {"check": "PAG-002"}
    results = tuple(r if r.check != "PAG-002" else type(r)(**{**_fields(r), "verdict": "accepted", "accepted": entry})
                    for r in failed.results.results)
    terminal.show_results(Run(failed.folder, _with(failed.results, results), 1.0, 0.0))
    assert "[[accepted]]" not in capsys.readouterr().out


def test_a_target_cannot_write_to_the_terminal(failed, capsys):
    evil = "\x1b[2J[red]x[/red]\x07\u202e"
    first = failed.results.results[-1]
    broken = type(first)(**{**_fields(first), "subject": evil, "findings": (Finding(evil, evil, evil, ()),)})
    terminal.show_judged(Path("x"), _with(failed.results, (broken,), target=evil))
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\u202e")
    assert "[red]x[/red]" in out


def _fields(result):
    return {name: getattr(result, name) for name in result.__dataclass_fields__}


def _with(results: Results, found, target: str = "made-up") -> Results:
    return Results(results.suite, results.pack, target, results.run, found)


def test_the_plan_counts_and_says_what_is_kept_back(target, capsys):
    checks = all_checks()
    plan = make_plan(target, checks, all_scenarios(), frozenset({"read"}), 10.0)
    terminal.show_plan(target, plan, checks, {"OPENBELL_REFERENCE_SECRET": "short"})
    out = " ".join(capsys.readouterr().out.split())
    cost = plan.cost
    assert f"{cost.reads} reads, {cost.writes} writes" in out
    assert f"critical path {plan.critical_path():.1f} s" in out
    assert plan.kept_back
    assert "not_allowed" in out
    assert "masked by field only: env:OPENBELL_REFERENCE_SECRET" in out


def test_every_check_is_listed_and_explained(capsys):
    terminal.show_checks(all_checks())
    listed = capsys.readouterr().out
    for check in all_checks():
        assert check.id in listed
        terminal.show_check(check)
        told = " ".join(capsys.readouterr().out.split())
        for wanted in (check.title, check.promise, check.level, f"at least {check.minimum} observations"):
            assert wanted in told


def test_a_check_names_the_defects_that_it_catches(capsys):
    terminal.show_check(next(c for c in all_checks() if c.id == "PAG-002"))
    assert "sealed-offset: caught as skipped" in capsys.readouterr().out


def test_defects_are_listed_with_their_checks(capsys):
    terminal.show_defects()
    out = capsys.readouterr().out
    assert "sealed-offset" in out
    assert "PAG-002: skipped" in out


def test_without_a_terminal_progress_is_plain_lines(target, capsys):
    progress = Progress()
    with terminal.live(target, progress):
        progress.set("control@api", "waiting")
        progress.set("control@api", "running")
        progress.set("control@api", "done")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2:] for line in lines[1:]] == [["running", "control@api"], ["done", "control@api"]]


def test_the_live_view_tells_what_runs_what_waits_and_how_long_still(target):
    progress = Progress(critical_path=60.0)
    progress.set("pages@x", "running")
    progress.set("limits@y", "waiting")
    progress.set("control@api", "done")
    progress.count(Exchange(1, "s", "l", "scenario", "direct", 1, None, None, "GET", "u", Message(), 200, Message(),
                            None, 0.0, None, 0.1))
    progress.count(Fact(2, "s", 0.0, "note", {}))
    written = io.StringIO()
    Console(file=written, width=120).print(terminal._view(target, progress))
    text = written.getvalue()
    for wanted in ("● pages@x", "○ waiting: limits@y", "1 done", "at most 60 s still", "1 requests"):
        assert wanted in text


async def _served(replies):
    async def answer(request):
        status, body = replies(request.path)
        return web.Response(status=status, text=json.dumps(body), content_type="application/json",
                            headers={"X-Correlation-Id": "c1"})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def test_the_probe_shows_which_locators_match(capsys):
    def replies(path):
        if path == "/oauth/token":
            return 200, {"access_token": "t" * 40, "token_type": "Bearer", "expires_in": 60}
        if path.endswith("/transactions"):
            return 200, {"items": [{"id": "1"}], "total_estimate": 1}
        return (404, {"code": "not_found"}) if "ord_unknown" in path else (200, {"a": 1})
    runner, url = await _served(replies)
    target = load(ROOT / "profiles" / "reference.toml", url)
    try:
        assert await terminal.probe(target, {"env:OPENBELL_REFERENCE_SECRET": SECRET}) == 0
    finally:
        await runner.cleanup()
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "✓ items 1" in lines["list_transactions"]
    assert "✓ next (last page)" in lines["list_transactions"]
    assert "✗ items" in lines["list_open_orders"]
    assert "✓ code   ✗ message" in lines["read_order"]
    assert "submit_order" not in lines


async def test_a_probe_that_nobody_answers_is_undecided(target, capsys):
    assert await terminal.probe(target, {"env:OPENBELL_REFERENCE_SECRET": SECRET}) == 2
    out = capsys.readouterr().out
    assert "refused: no connection" in out
    assert SECRET not in out


async def test_a_probe_whose_control_is_refused_says_that_nothing_can_be_decided(capsys):
    def replies(path):
        token = {"access_token": "t" * 40, "token_type": "Bearer", "expires_in": 60}
        return (200, token) if path == "/oauth/token" else (401, {"code": "no"})
    runner, url = await _served(replies)
    target = load(ROOT / "profiles" / "reference.toml", url)
    try:
        assert await terminal.probe(target, {"env:OPENBELL_REFERENCE_SECRET": SECRET}) == 2
    finally:
        await runner.cleanup()
    assert "the control list_positions got status 401" in capsys.readouterr().out


def test_an_undoing_without_effect_is_told(failed, capsys):
    terminal.show_results(replace(failed, unseen=("cancel_order",)))
    said = " ".join(capsys.readouterr().out.split())
    assert "cancel_order answered well, and what it was to undo reads as before" in said
