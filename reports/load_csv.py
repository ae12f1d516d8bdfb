"""The CSV that Locust's users expect: `load_stats.csv` and `load_stats_history.csv`, with Locust 2.47's columns.

Two things differ from Locust's own, and must: times are milliseconds with a fraction and count from the intended start,
and in the history an arrival stands at the second in which it was due. The history counts arrivals; what a user's task
asks for after its first request is in the sums alone. A size that was not measured by second is `N/A`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from openbell.reports.words import line

PERCENTILES = (0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999, 1.0)
RANKS = ("50%", "66%", "75%", "80%", "90%", "95%", "98%", "99%", "99.9%", "99.99%", "100%")
STATS = ("Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
         "Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s", *RANKS)
HISTORY = ("Timestamp", "User Count", "Type", "Name", "Requests/s", "Failures/s", *RANKS, "Total Request Count",
           "Total Failure Count", "Total Median Response Time", "Total Average Response Time",
           "Total Min Response Time", "Total Max Response Time", "Total Average Content Size")
FORMULA = ("=", "+", "-", "@", "\t")
NOT_MEASURED = "N/A"


def stats(data: Mapping[str, Any], named: Mapping[str, Any]) -> bytes:
    """One row a request name and the sum. `named` holds by name: method, requests, failures, bytes, latency."""
    return _table(STATS, (_row(name, found, data["plan"]["duration"]) for name, found in named.items()))


def history(data: Mapping[str, Any], slices: Iterable[tuple[int, int, int, Any]]) -> bytes:
    """One row a slice, or a second where slices are shorter. `slices` are number, arrivals, failures, and the sum of
    the latencies until then; times are seconds since the epoch, at the end of what a row tells of."""
    return _table(HISTORY, _history(data, slices))


def _table(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(list(row) for row in rows)
    return out.getvalue().encode("utf-8", "replace")


def _row(name: str, found: Mapping[str, Any], seconds: float) -> Iterator[Any]:
    seen, requests = found["latency"], found["requests"]
    yield from (text(found["method"]), text(name), requests, found["failures"], *_times(seen))
    yield from (round(found["bytes"] / requests, 1) if requests else 0, round(requests / seconds, 3),
                round(found["failures"] / seconds, 3), *_ranks(seen))


def _history(data: Mapping[str, Any], slices: Iterable[tuple[int, int, int, Any]]) -> Iterator[list[Any]]:
    plan, width = data["plan"], data["series"]["width"]
    together, last = max(1, math.ceil(1 / width)), len(data["series"]["planned"]) - 1
    ended = failed = all_ended = all_failed = begun = 0
    for place, count, failures, until in slices:
        ended, failed = ended + count, failed + failures
        all_ended, all_failed = all_ended + count, all_failed + failures
        end = min(plan["duration"], (place + 1) * width)
        beyond = begun * width >= plan["duration"] and not ended
        if beyond or ((place + 1) % together and place != last):
            continue
        seconds, seen = max(end - begun * width, width), until.pick("band")
        yield [int(data["begun"] + end), plan["users"], "", "Aggregated", f"{ended / seconds:.6f}",
               f"{failed / seconds:.6f}", *_ranks(seen), all_ended, all_failed, *_times(seen), NOT_MEASURED]
        ended, failed, begun = 0, 0, place + 1


def _times(seen: Any) -> tuple[float, ...]:
    """Median, mean, least and most, in milliseconds."""
    return tuple(round(v * 1e3, 3) for v in (seen.percentile(0.5), seen.mean, seen.least, seen.most))


def _ranks(seen: Any) -> list[Any]:
    return [round(seen.percentile(p) * 1e3, 3) if seen.n else NOT_MEASURED for p in PERCENTILES]


def text(value: object) -> str:
    """A name on one line; one that a spreadsheet would take for a formula stays text."""
    safe = line(value, 200)
    return f"'{safe}" if safe.startswith(FORMULA) else safe
