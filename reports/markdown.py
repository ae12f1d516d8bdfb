"""A summary for CI in Markdown: the verdict, the counts, what is not passed, what to paste.

A target's text stands in code spans only, where Markdown reads nothing into it.
"""

from __future__ import annotations

from collections.abc import Iterator

from openbell.reports.evidence import in_a_line
from openbell.reports.material import Material
from openbell.reports.words import (
    SIGNS,
    accepted_block,
    alike,
    blocking,
    counted,
    line,
    promise_lines,
    reason_of,
    seconds,
    told,
    verdict_word,
)
from openbell.results import Result

MOST_ROWS = 200
MOST_EVENTS = 4
SIGN = {True: "✅", False: "❌", None: "❔"}


def code(text: object, limit: int = 160) -> str:
    """Text as a code span that may stand in a table."""
    shown = line(text, limit).replace("`", "'").replace("|", "¦")
    return f"`{shown}`" if shown else ""


def markdown(material: Material) -> bytes:
    """The bytes of `summary.md`."""
    return ("\n".join(_lines(material)) + "\n").encode("utf-8", "replace")


def _lines(material: Material) -> Iterator[str]:
    results = material.results
    yield f"# {SIGN[results.conforms]} {code(results.target)} {verdict_word(results)}\n"
    yield f"**{counted(results.counts)}**{_run(material)}\n"
    if material.damage:
        yield f"> The journal is damaged: {code(material.damage)}\n"
    if not results.conforms:
        yield f"{reason_of(results)}\n"
    rows = alike(r for r in results.results if r.verdict != "pass")
    if rows:
        yield "| | check | subject | verdict | what was seen |\n|---|---|---|---|---|"
        yield from map(_row, rows[:MOST_ROWS])
        yield f"\n{len(rows) - MOST_ROWS} more are in `results.json`.\n" if len(rows) > MOST_ROWS else ""
    yield from _findings(material)
    yield from _stale(results.stale)
    if lines := promise_lines(results.results):
        yield "The profile is silent about these; what was seen suggests, for its `[promise]`:\n\n```toml"
        yield from lines
        yield "```\n"
    if found := blocking(results):
        yield ("<details><summary>To accept what is known: <code>accepted.toml</code></summary>\n\n```toml\n"
               f"{accepted_block(found).replace('`', chr(39))}```\n\n</details>")


def _run(material: Material) -> str:
    if material.seconds is None:
        return ""
    return (f" · {material.requests} requests in {seconds(material.seconds)}"
            f" (critical path {seconds(material.critical_path or 0.0)})")


def _row(row: tuple[Result, ...]) -> str:
    first, (check, subject, said) = row[0], told(row)
    return f"| {SIGNS[first.verdict]} | {code(check)} | {code(subject)} | {code(first.verdict)} | {code(said)} |"


def _findings(material: Material) -> Iterator[str]:
    """The first finding of each failure, with what proves it and its remedy."""
    for result in [r for r in material.results.results if r.verdict == "fail" and r.findings][:MOST_ROWS]:
        first = result.findings[0]
        yield f"### {code(result.check)} on {code(result.subject)}\n"
        yield f"{code(result.title)}\n"
        yield f"- expected: {code(first.expected, 400)}\n- actual:"
        yield from (f"  - {code(step, 400)}" for step in first.actual.splitlines()[:8])
        seen = [material.evidence[n] for n in first.events[:MOST_EVENTS] if n in material.evidence]
        yield from (f"- {code(in_a_line(one), 240)}" for one in seen)
        yield f"- remedy: {code(result.remedy, 400)}\n- again: {code(result.reproduce, 400)}\n"


def _stale(stale: tuple[str, ...]) -> Iterator[str]:
    for entry in stale[:MOST_ROWS]:
        yield f"- stale entry in accepted.toml: {code(entry)}"
