"""What a person sees in the terminal: the run as it goes, its results, the plan, the checks.

Progress goes to stderr, everything else to stdout. No text of the target's is read as markup, and none of its control
characters reaches the terminal.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from openbell.plan import Plan, tokens
from openbell.probing import Probed, locators, probed
from openbell.profile import Profile
from openbell.redact import SHORT
from openbell.registry import Check
from openbell.reports.words import (
    SIGNS,
    WORST,
    accepted_block,
    alike,
    blocking,
    counted,
    line,
    promise_lines,
    reason_of,
    told,
    verdict_word,
)
from openbell.results import NOT_DECIDED, OK, Result, Results
from openbell.run import Run
from openbell.scheduler import Progress, State

MOST_ROWS = 60
MOST_RUNNING = 12
MOST_PASTED = 6
COLOURS: Mapping[str, str] = {
    "pass": "green", "fail": "red", "error": "red", "warn": "yellow", "inconclusive": "yellow", "info": "blue",
    "accepted": "magenta", "not-applicable": "bright_black"}
TONES = {True: "green", False: "red", None: "yellow"}


def console(*, stderr: bool = False) -> Console:
    """A console that interprets nothing; 110 columns where no terminal tells its width."""
    found = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=110)


def table(*columns: str) -> Table:
    """A table with plain heads, or with none."""
    found = Table(box=None, padding=(0, 2, 0, 0), show_header=any(columns), header_style="bright_black")
    for column in columns:
        right = column in {"reads", "writes", "waits", "at least"}
        whole = right or column == "subject"
        found.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=whole)
    return found


# --- while it runs


@contextmanager
def live(target: Profile, progress: Progress) -> Iterator[None]:
    """Shows where a run stands until the block ends; plain lines where stderr is no terminal."""
    out = console(stderr=True)
    if not out.is_terminal:
        out.print(Text(f"checking {line(target.target.name)} at {line(target.target.base_url)}"))
        progress.on_change = partial(_changed, out, progress)
        yield
        return
    with Live(get_renderable=partial(_view, target, progress), console=out, refresh_per_second=6, transient=True):
        yield


def _changed(out: Console, progress: Progress, name: str, state: State) -> None:
    if state != "waiting":
        elapsed = time.monotonic() - progress.begun
        out.print(Text(f"{elapsed:6.1f} s  {state:8} {line(name)}"), soft_wrap=True)


def _view(target: Profile, progress: Progress) -> RenderableType:
    """One picture of a run; called by the view's own thread, so it works on copies."""
    states, started, now = dict(progress.states), dict(progress.started), time.monotonic()
    elapsed = now - progress.begun
    running = sorted((n for n, s in states.items() if s == "running"), key=lambda n: started.get(n, now))
    waiting = [n for n, s in states.items() if s == "waiting"]
    rows = table("", "")
    for name in running[:MOST_RUNNING]:
        rows.add_row(Text("● " + line(name), "cyan"), Text(f"{now - started.get(name, now):.1f} s", "bright_black"))
    return Group(_headline(target, progress, elapsed), Padding(rows, (0, 0, 0, 2)), *_more(running, waiting, states))


def _headline(target: Profile, progress: Progress, elapsed: float) -> RenderableType:
    left = progress.critical_path - elapsed
    still = f"at most {left:.0f} s still" if left >= 1 else "almost done" if progress.critical_path else "beginning"
    head = Table.grid(padding=(0, 2))
    head.add_row(Text(line(target.target.name, 60), "bold"),
                 ProgressBar(total=max(progress.critical_path, 0.1), completed=elapsed, width=28),
                 Text(f"{elapsed:.1f} s, {still}"), Text(f"{progress.requests} requests", "bright_black"))
    return head


def _more(running: list[str], waiting: list[str], states: Mapping[str, State]) -> Iterator[Text]:
    if len(running) > MOST_RUNNING:
        yield Text(f"  and {len(running) - MOST_RUNNING} more that run", "bright_black")
    if waiting:
        more = f" and {len(waiting) - 4} more" if len(waiting) > 4 else ""
        yield Text(f"  ○ waiting: {', '.join(line(n, 60) for n in waiting[:4])}{more}", "bright_black")
    ended = Counter(s for s in states.values() if s not in {"running", "waiting"})
    if ended:
        yield Text("  " + ", ".join(f"{count} {state}" for state, count in sorted(ended.items())), "bright_black")


# --- when it has ended


def show_results(run: Run) -> None:
    """What is not passed, the verdict, counts, report and time; after a first failure what to paste."""
    out = console()
    _show(out, run.results, run.folder)
    ratio = f", {run.seconds / run.critical_path:.2f} × its critical path" if run.critical_path else ""
    out.print(Text(f"  time    {run.seconds:.1f} s{ratio}"))
    if run.interrupted:
        out.print(Text("  The run was interrupted; what it did not finish is inconclusive.", "yellow"))
    if run.short_secrets:
        out.print(Text(f"  Under {SHORT} characters, masked by field only: {', '.join(run.short_secrets)}", "yellow"))
    for operation in run.unseen:
        out.print(Text(f"  {line(operation)} answered well, and what it was to undo reads as before: what the run made "
                       "may still be there.", "yellow"))
    _paste(out, run.results)
    _suggest(out, run.results)


def show_judged(folder: Path, results: Results) -> None:
    """The same for a journal that was judged again."""
    out = console()
    _show(out, results, folder)
    _suggest(out, results)


def _show(out: Console, results: Results, folder: Path) -> None:
    bad = alike(r for r in results.results if r.verdict != "pass")
    if bad:
        rows = table("", "check", "subject", "what was seen")
        for row in bad[:MOST_ROWS]:
            rows.add_row(*_row(row))
        out.print()
        out.print(Padding(rows, (0, 0, 0, 2)))
    if len(bad) > MOST_ROWS:
        out.print(Text(f"  and {len(bad) - MOST_ROWS} more in the report"))
    _closing(out, results, folder)


def _row(row: tuple[Result, ...]) -> tuple[Text, Text, Text, Text]:
    first, (check, subject, said) = row[0], told(row)
    return (Text(f"{SIGNS[first.verdict]} {first.verdict}", COLOURS[first.verdict]), Text(check),
            Text(line(subject, 60)), Text(line(said, 200), "" if first.findings else "bright_black"))


def _closing(out: Console, results: Results, folder: Path) -> None:
    tone = TONES[results.conforms]
    out.print()
    out.print(Text.assemble("  ", (line(results.target, 80), "bold"), " ", (verdict_word(results), f"bold {tone}"),
                            f"   {counted(results.counts)}"))
    if not results.conforms:
        out.print(Text(f"  {reason_of(results)}", "bright_black"))
    for entry in results.stale[:MOST_ROWS]:
        out.print(Text(f"  stale in accepted.toml: {line(entry)}", "red"))
    if results.torn:
        out.print(Text(f"  the journal is not whole: {line(results.torn)}", "yellow"))
    out.print(Text(f"  report  {folder / 'report.html'}"), soft_wrap=True)


def _paste(out: Console, results: Results) -> None:
    """The first failing run shows how what is known is accepted; who has accepted something knows it."""
    found = sorted(blocking(results), key=lambda r: WORST.index(r.verdict))
    if not found or results.stale or any(r.accepted for r in results.results):
        return
    out.print(Text("\n  Is some of it known? Paste what may stay so into accepted.toml:\n", "bright_black"))
    out.print(Text(accepted_block(found[:MOST_PASTED])), soft_wrap=True)
    if len(found) > MOST_PASTED:
        out.print(Text(f"  The report holds {len(found) - MOST_PASTED} more.", "bright_black"))


def _suggest(out: Console, results: Results) -> None:
    """Lines for the profile's [promise], of what it is silent about."""
    if lines := promise_lines(results.results):
        out.print(Text("\n  The profile is silent about these. Where the documentation promises what was seen, "
                       "[promise] could say:\n", "bright_black"))
        out.print(Text("\n".join(lines)), soft_wrap=True)


# --- before anything is sent


def show_plan(target: Profile, plan: Plan, checks: tuple[Check, ...], environ: Mapping[str, str] = os.environ) -> None:
    """What a run would send, what it would wait for, and what is kept back and why. Sends nothing."""
    out, path, cost = console(), plan.critical_path(), plan.cost
    out.print(Text(f"{len(checks)} checks against {line(target.target.name)} at {line(target.target.base_url)}",
                   "bold"))
    rows = table("scenario", "subject", "reads", "writes", "waits", "at least", "owns too")
    for i in plan.run:
        owned = ", ".join(c.resource for c in i.claims if c.own and c.resource != str(i.subject))
        rows.add_row(Text(i.scenario.name), Text(str(i.subject)), Text(str(i.cost.reads)), Text(str(i.cost.writes)),
                     Text(f"{i.cost.waits_s:g} s"), Text(f"{i.seconds(plan.rate):.1f} s"), Text(owned, "bright_black"))
    out.print(Padding(rows, (1, 0)))
    asked = tokens(target, path)
    out.print(Text(f"at most {cost.requests + asked} requests: {cost.reads} reads, {cost.writes} writes, {asked} for "
                   f"tokens; at most {plan.rate:g} in any second"))
    out.print(Text(f"critical path {path:.1f} s; one after another it would be "
                   f"{sum(i.seconds(plan.rate) for i in plan.run):.1f} s"))
    _kept_back(out, plan)
    _short(out, target, environ)


def _kept_back(out: Console, plan: Plan) -> None:
    if plan.kept_back:
        rows = table("kept back", "reason", "why")
        for back in plan.kept_back:
            rows.add_row(Text(back.name), Text(back.reason, "yellow"), Text(line(back.why)))
        out.print(Padding(rows, (1, 0, 0, 0)))


def _short(out: Console, target: Profile, environ: Mapping[str, str]) -> None:
    """A secret in the environment that is too short to be sought by its value; none is shown."""
    steps = (s.secret for c in target.credential.values() for s in c.stack)
    names = dict.fromkeys(s for s in steps if s.startswith("env:") and 0 < len(environ.get(s[4:], "")) < SHORT)
    if names:
        out.print(Text(f"\nUnder {SHORT} characters, masked by field only: {', '.join(names)}", "yellow"))


async def probe(target: Profile, secrets: Mapping[str, str]) -> int:
    """Sends one read per operation and shows which locators matched. Returns 0, or 2 when the control failed."""
    out, rows = console(), table("operation", "status", "locators")
    found = await probed(target, secrets)
    for one in found:
        colour = "green" if one.status and one.status < 400 else "yellow"
        rows.add_row(Text(one.name), Text(str(one.status or "–"), colour), _matches(target, one))
    out.print(rows)
    answered = sum(1 for one in found if one.status is not None)
    out.print(Text(f"\n{answered} of {len(found)} operations answered", "bold"))
    failed = next((one for one in found if one.name == target.target.control and not one.ok), None)
    if failed:
        came = f"status {failed.status}" if failed.status else line(failed.silence)
        out.print(Text(f"the control {failed.name} got {came}: as long as it does, nothing can be decided", "red"))
    return NOT_DECIDED if failed or not answered else OK


def _matches(target: Profile, one: Probed) -> Text:
    if one.status is None:
        return Text(line(one.silence), "yellow")
    signs = [(f"✓ {name} {'' if said == 'yes' else said}", "green") if said else (f"✗ {name}", "red")
             for name, said in locators(target, one)]
    return Text("   ").join(Text(text.strip(), colour) for text, colour in signs)


# --- the registries


def show_checks(checks: Iterable[Check]) -> None:
    """The checks by area: id, level, subject, title."""
    out, area = console(), ""
    rows = table("", "", "", "")
    for check in sorted(checks, key=lambda c: (c.area, c.id)):
        if check.area != area:
            rows.add_row(Text(("\n" if area else "") + check.area, "bold"))
            area = check.area
        rows.add_row(Text("  " + check.id, "cyan"), Text(check.level, "" if check.level == "MUST" else "bright_black"),
                     Text(check.per, "bright_black"), Text(check.title))
    out.print(rows)


def show_check(check: Check) -> None:
    """One check: what it requires, of what, how it is judged, how to mend it, and what proves that it can fail."""
    out = console()
    out.print(Text.assemble((check.id, "bold cyan"), "  ", (check.title, "bold")))
    out.print(Padding(Text(" ".join(check.doc.split())), (1, 0)))
    rows = table("", "")
    for name, text in (("level", check.level), ("promise", check.promise), ("subject", f"each {check.per}"),
                       ("judged", _judged(check)), ("sources", "\n".join(check.sources)), ("remedy", check.remedy),
                       ("proved by", _proved(check))):
        rows.add_row(Text(name, "bright_black"), Text(text))
    out.print(rows)


def _judged(check: Check) -> str:
    enough = f"at least {check.minimum} observations must hold, and none be broken"
    if not check.evidence:
        return f"on every direct exchange of a run; {enough}"
    stories = "\n".join(f"{s.name}: {' '.join(s.doc.split())}" for s in check.evidence)
    return f"on what these scenarios record; {enough}\n{stories}"


def _proved(check: Check) -> str:
    from openbell.reference_server.defects import all_defects
    found = [d for d in all_defects() if check.id in d.catches]
    return "\n".join(f"{d.name}: caught as {_joined(d.catches[check.id])}" for d in found) or "no defect yet"


def show_defects() -> None:
    """The reference server's defects with the checks that catch them, and its benign variants."""
    from openbell.reference_server.benign import all_benign
    from openbell.reference_server.defects import all_defects
    out = console()
    rows = table("defect", "caught by", "what it does")
    for d in all_defects():
        caught = "\n".join(f"{c}: {_joined(r)}" for c, r in d.catches.items())
        rows.add_row(Text(d.name, "cyan"), Text(caught), _first(d.doc))
    out.print(rows)
    rows = table("benign variant", "what it does")
    for b in all_benign():
        rows.add_row(Text(b.name, "cyan"), _first(b.doc))
    out.print(Padding(rows, (1, 0, 0, 0)))


def _joined(rules: Iterable[str]) -> str:
    return ", ".join(rules)


def _first(doc: str) -> Text:
    return Text(" ".join(doc.partition("\n\n")[0].split()))
