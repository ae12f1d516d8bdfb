"""The report of a load run: `load.html`, and beside it the CSV that Locust's users expect.

One file, nothing fetched, no script; what a target sent is escaped and bounded. Made from `load.json` and the results;
every result with its evidence is in `report.html`, to which the findings here point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from openbell.reports import load_csv
from openbell.reports.load_charts import charts
from openbell.reports.words import line
from openbell.results import Result, Results

TONES = {"pass": "pass", "fail": "fail", "inconclusive": "inconclusive", "invalid": "accepted"}
SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "invalid": "⊘"}
SAYS = {"pass": "The rules held.", "fail": "A rule did not hold.",
        "inconclusive": "The rules could not all be decided.",
        "invalid": "The rules cannot all be judged: the generator was not fit."}
WRONG = frozenset({"fail", "error", "warn"})
MOST = 200


def write_load(folder: Path, data: Mapping[str, Any], results: Results, named: Mapping[str, Any],
               slices: Iterable[tuple[int, int, int, Any]]) -> None:
    """Writes `load.html`, `load_stats.csv` and `load_stats_history.csv`. `named` and `slices` hold what the CSV needs:
    see `load_csv`. Raises OSError."""
    for name, content in (("load.html", html(data, results)), ("load_stats.csv", load_csv.stats(data, named)),
                          ("load_stats_history.csv", load_csv.history(data, slices))):
        part = folder / f".{name}.part"
        part.write_bytes(content)
        part.replace(folder / name)


def html(data: Mapping[str, Any], results: Results) -> bytes:
    """The bytes of `load.html`."""
    only = {(f["check"], f["subject"]) for f in data["conformance"]["only_under_load"]}
    wrong = sorted(((f"r{i}", r) for i, r in enumerate(results.results) if r.verdict in WRONG),
                   key=lambda found: (found[1].verdict != "fail", (found[1].check, found[1].subject) not in only))
    page = _template().render(
        d=data, results=results, charts=list(charts(data)), tones=TONES, signs=SIGNS, word=word(data, results),
        says=" ".join(says(data, results, only)), wrong=wrong[:MOST], more_wrong=max(0, len(wrong) - MOST), only=only,
        measured=measured, undecided=results.counts["inconclusive"],
        begun=datetime.fromtimestamp(data["begun"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        operations=data["operations"][:MOST], hidden=max(0, len(data["operations"]) - MOST))
    return page.encode("utf-8", "replace")


def word(data: Mapping[str, Any], results: Results) -> str:
    """The verdict on all: the rules', or a fail where what the traffic shows must not be."""
    return "fail" if results.conforms is False else data["verdict"]


def says(data: Mapping[str, Any], results: Results, only: set[tuple[str, str]]) -> Iterator[str]:
    """The verdicts in sentences: the rules', and what the traffic under load shows."""
    yield SAYS[data["verdict"]]
    failed: list[Result] = [r for r in results.results if r.verdict == "fail"]
    if failed:
        yield f"{len(failed)} of {len(results.results)} results on the traffic fail{'s' * (len(failed) == 1)}" + (
            f", {sum((r.check, r.subject) in only for r in failed)} only under load."
            if data["conformance"]["quiet"] else ".")
    elif results.results:
        yield f"None of {len(results.results)} results on the traffic fails."


def measured(rule: Mapping[str, Any]) -> str:
    """What a rule measured, with its bounds, in its own unit."""
    if rule["measured"] is None:
        return "nothing"
    share = rule["measure"] in {"errors", "throttled"}

    def one(value: float | None) -> str:
        return "?" if value is None else f"{value:.2%}" if share else f"{value * 1e3:.4g} ms"
    if rule["low"] is not None and rule["low"] == rule["high"]:
        return one(rule["measured"])
    return f"{one(rule['measured'])} [{one(rule['low'])}, {one(rule['high'])}]"


@cache
def _template() -> Template:
    source = (files("openbell.reports") / "templates" / "load.html.j2").read_text("utf-8")
    environment = Environment(loader=DictLoader({"load": source}), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters["line"] = line
    return environment.get_template("load")
