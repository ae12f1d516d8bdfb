"""What a person sees of a load run in the terminal: profiles, plan, progress, verdicts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from openbell.loadprofiles.asked import Ready, creating
from openbell.loadprofiles.driving import Heard, Offer
from openbell.loadprofiles.shape import LoadProfile
from openbell.profile import Profile
from openbell.reports.load import measured
from openbell.reports.words import line
from openbell.results import Results
from openbell.terminal import console, table

TONES = {"pass": "green", "fail": "red", "inconclusive": "yellow", "invalid": "magenta"}
SIGN = {"pass": "✓", "fail": "✗", "inconclusive": "?", "invalid": "⊘"}
BARS = " ▁▂▃▄▅▆▇█"


def show_shapes(shapes: Iterable[LoadProfile]) -> None:
    """The load profiles, their phases and their rules."""
    rows = table("profile", "phases", "what it is")
    for shape in shapes:
        rows.add_row(Text(shape.name, "cyan"), Text(", ".join(shape.names)), Text(shape.doc))
    console().print(rows)


def bars(values: list[int]) -> str:
    """Numbers as one line of bars."""
    most = max([*values, 1])
    return "".join(BARS[-(-v * (len(BARS) - 1) // most)] for v in values)


def show_plan(target: Profile, ready: Ready) -> None:
    """What would be offered; sends nothing."""
    out, plan = console(), ready.offer.plan
    out.print(Text(f"{plan.profile.name} against {line(target.target.name)} at {line(target.target.base_url)}", "bold"))
    out.print(Text(f"{plan.counted[0]} arrivals in {plan.duration:g} s, {plan.process}, seed {plan.seed}, at most "
                   f"{plan.peak:g} per second; {ready.offer.users} users in {ready.offer.workers} workers"))
    out.print(Text("  " + bars(plan.bins(plan.duration / 60)[:60]), "cyan"))
    rows = table("phase", "from", "to", "operations")
    for (name, begin, end), choice in zip(plan.starts(), plan.operations or [None] * 99, strict=False):
        rows.add_row(Text(name), Text(f"{begin:.1f} s"), Text(f"{end:.1f} s"),
                     Text(", ".join(choice.names) if choice else "those of the Locust file"))
    out.print(Padding(rows, (1, 0)))
    if plan.operations:
        out.print(Text(f"creates at most {creating(target, plan)}, as {', '.join(plan.principals)}"))
    for rule in ready.rules:
        out.print(Text(f"rule  {rule.phase}: {rule.text}"))
    out.print(Text(plan.hash, "bright_black"))


def say(text: str) -> None:
    """One line of progress."""
    console(stderr=True).print(Text(text))


@contextmanager
def live(offer: Offer) -> Iterator[Callable[[Heard], None]]:
    """Shows where a run stands; a plain line every few seconds where stderr is no terminal."""
    out = console(stderr=True)
    if out.is_terminal:
        with Live(Text(""), console=out, refresh_per_second=4, transient=True) as view:
            yield lambda heard: view.update(Text(_state(offer, heard)))
        return
    plan = offer.plan
    out.print(Text(f"offering {plan.profile.name}: {plan.counted[0]} arrivals in {plan.duration:g} s"))
    last = [0.0]

    def plain(heard: Heard) -> None:
        if time.monotonic() - last[0] >= 2:
            last[0] = time.monotonic()
            out.print(Text(_state(offer, heard)), soft_wrap=True)
    yield plain


def _state(offer: Offer, heard: Heard) -> str:
    at = time.monotonic() - heard.begin
    phase = next((n for n, a, b in offer.plan.starts() if a <= at < b), "draining" if at > 0 else "waiting")
    waiting = sum(t[-1]["line"] for t in heard.ticks.values() if t)
    return (f"{at:6.1f} s  {phase:10} {heard.started} started, {heard.started - heard.finished} in flight, "
            f"{waiting} waiting for a user, {heard.sampled} sampled")


def show_finished(folder: Path, data: Mapping[str, Any], results: Results, left: int) -> None:
    """Verdicts first, then what was measured, then where it lies."""
    out = console()
    out.print()
    rows = table("", "phase", "rule", "measured", "samples", "")
    for rule in data["rules"]:
        rows.add_row(Text(f"{SIGN[rule['verdict']]} {rule['verdict']}", TONES[rule["verdict"]]), Text(rule["phase"]),
                     Text(rule["rule"]), Text(measured(rule)), Text(str(rule["samples"])),
                     Text(line(rule["why"], 120), "bright_black"))
    out.print(Padding(rows, (0, 0, 1, 2)))
    rows = table("phase", "planned", "ok", "throttled", "errors", "p50", "p99", "max", "service p99")
    for name, phase in data["phases"].items():
        seen, service = phase["latency_ms"], phase["service_ms"]
        rows.add_row(*(Text(str(c)) for c in (
            name, phase["planned"], phase["ok"], phase["throttled"], phase["errors"], f"{seen['p50']:g} ms",
            f"{seen['p99']:g} ms", f"{seen['max']:g} ms", f"{service['p99']:g} ms")))
    out.print(Padding(rows, (0, 0, 1, 2)))
    arrivals = data["arrivals"]
    out.print(Text(f"  planned {arrivals['planned']}, started {arrivals['started']}, finished {arrivals['finished']}"))
    for difference in arrivals["differences"]:
        out.print(Text(f"  {line(difference)}", "yellow"))
    _traffic(out, data, results)
    if data["ended_early"]:
        out.print(Text(f"  The run was ended early: {line(data['ended_early'])}", "yellow"))
    if left:
        out.print(Text(f"  {left} things that the load made are still there: openbell cleanup {folder}", "yellow"))
    tone = TONES[data["verdict"]]
    out.print(Text.assemble("\n  load verdict: ", (data["verdict"], f"bold {tone}")))
    out.print(Text(f"  report  {folder / 'load.html'}"), soft_wrap=True)


def _traffic(out: Any, data: Mapping[str, Any], results: Results) -> None:
    failed = [r for r in results.results if r.verdict == "fail"]
    only = {(f["check"], f["subject"]) for f in data["conformance"]["only_under_load"]}
    open_ = results.counts["inconclusive"]
    out.print(Text(f"  conformance under load, {data['sampled']} exchanges sampled: {len(failed)} of "
                   f"{len(results.results)} results fail" + (f", {open_} could not be decided" if open_ else ""),
                   "red" if failed else ""))
    for result in failed:
        when = "  (only under load)" if (result.check, result.subject) in only else ""
        out.print(Text(f"    ✗ {result.check} {line(result.subject, 60)}  {line(result.summary, 120)}{when}", "red"))
