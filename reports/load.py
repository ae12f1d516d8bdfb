"""The report of a load run: `load.html`, and the CSV that Locust's users expect. Made from `load.json` and the results.

One file, nothing fetched, no script; what a target sent is escaped and bounded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from openbell.reports.load_charts import charts
from openbell.reports.words import line
from openbell.results import Results

TONES = {"pass": "pass", "fail": "fail", "inconclusive": "inconclusive", "invalid": "accepted"}
SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "invalid": "⊘"}
SAYS = {"pass": "held", "fail": "did not hold", "inconclusive": "could not be decided",
        "invalid": "cannot be judged: the generator was not fit"}
MOST = 200
PERCENTILES = (0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999, 1.0)
COLUMNS = ("Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
           "Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s", "50%", "66%",
           "75%", "80%", "90%", "95%", "98%", "99%", "99.9%", "99.99%", "100%")


def write_load(folder: Path, data: Mapping[str, Any], results: Results, named: Mapping[str, Any]) -> None:
    """Writes `load.html` and `load_stats.csv`. `named` holds what the CSV needs by name of a request: its method,
    requests, failures, bytes, and its distribution of latencies. Raises OSError."""
    for name, content in (("load.html", html(data, results)), ("load_stats.csv", stats(data, named))):
        part = folder / f".{name}.part"
        part.write_bytes(content)
        part.replace(folder / name)


def html(data: Mapping[str, Any], results: Results) -> bytes:
    """The bytes of `load.html`."""
    failed = [r for r in results.results if r.verdict in {"fail", "error", "warn"}]
    only = {(f["check"], f["subject"]) for f in data["conformance"]["only_under_load"]}
    page = _template().render(
        d=data, results=results, charts=list(charts(data)), tones=TONES, signs=SIGNS, says=SAYS[data["verdict"]],
        failed=failed[:MOST], only=only, measured=measured, undecided=results.counts["inconclusive"],
        operations=data["operations"][:MOST], hidden=max(0, len(data["operations"]) - MOST))
    return page.encode("utf-8", "replace")


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


def stats(data: Mapping[str, Any], named: Mapping[str, Any]) -> bytes:
    """Locust's `stats.csv`: one row a request name and the sum; milliseconds from the intended start."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for name, found in named.items():
        writer.writerow(list(_row(name, found, data["plan"]["duration"])))
    return out.getvalue().encode("utf-8", "replace")


def _row(name: str, found: Mapping[str, Any], seconds: float) -> Iterator[Any]:
    seen, count = found["latency"], found["requests"]
    # A name that a spreadsheet would take for a formula stays text.
    safe = line(name, 200)
    yield from (found["method"], f"'{safe}" if safe[:1] in {"=", "+", "-", "@"} else safe, count, found["failures"])
    yield from (round(v * 1e3, 3) for v in (seen.percentile(0.5), seen.mean, seen.least, seen.most))
    yield from (round(found["bytes"] / count, 1) if count else 0, round(count / seconds, 3),
                round(found["failures"] / seconds, 3))
    yield from (round(seen.percentile(p) * 1e3, 3) for p in PERCENTILES)
