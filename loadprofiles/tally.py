"""What is measured: mergeable histograms of seconds, and counts. A worker sends what is new; the parent adds it up.

Histograms are HdrHistogram's, in microseconds, with three digits (two for the many small ones of the chart). Adding
two is exact: it makes no difference how many workers shared the arrivals.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hdrh.histogram import HdrHistogram

LOWEST_US, HIGHEST_US = 1, 3_600_000_000
DIGITS, CHART_DIGITS = 3, 2
CHARTED = frozenset({"band", "serviceband", "lagband"})
Key = tuple[str | int, ...]


def _new(key: Key) -> Any:
    return HdrHistogram(LOWEST_US, HIGHEST_US, CHART_DIGITS if key[0] in CHARTED else DIGITS)


class Tally:
    """Histograms and counts by key; a key's first member says what is measured, the rest of what.

    `record` only keeps the value: sorting it into a histogram costs ten times as much, and a worker has better things
    to do. The values go to the parent with the next delta, which sorts them in.
    """

    def __init__(self) -> None:
        self.histograms: dict[Key, Any] = {}
        self.counts: Counter[Key] = Counter()
        self._values: dict[Key, array[int]] = {}

    def record(self, key: Key, seconds: float) -> None:
        """Adds one value; below a microsecond and above an hour it counts as the bound."""
        us = int(seconds * 1e6)
        us = HIGHEST_US if us > HIGHEST_US else max(LOWEST_US, us)
        try:
            self._values[key].append(us)
        except KeyError:
            self._values[key] = array("Q", (us,))

    def delta(self) -> dict[str, Any]:
        """All that was added since the last delta, as JSON; it is then forgotten here."""
        out = {"values": [[list(k), b64encode(v.tobytes()).decode()] for k, v in self._values.items()],
               "histograms": [], "counts": [[list(k), n] for k, n in self.counts.items()]}
        self._values.clear()
        self.counts.clear()
        return out

    def merge(self, delta: Mapping[str, Any]) -> None:
        """Adds a delta, or the histograms of a `load.json`. Raises ValueError, KeyError or TypeError for neither."""
        for members, encoded in delta["histograms"]:
            self._of(tuple(members)).decode_and_add(encoded)
        for members, packed in delta.get("values", ()):
            self._sort(tuple(members), array("Q", b64decode(packed)))
        for members, count in delta["counts"]:
            self.counts[tuple(members)] += count

    def add(self, key: Key, histogram: Any) -> None:
        """Adds a histogram to that of the key."""
        self._of(key).add(histogram)

    def _of(self, key: Key) -> Any:
        if key not in self.histograms:
            self.histograms[key] = _new(key)
        return self.histograms[key]

    def _sort(self, key: Key, values: Iterable[int]) -> None:
        histogram = self._of(key)
        for value, count in Counter(values).items():
            histogram.record_value(value, count)

    def sorted(self) -> None:
        """Sorts in what `record` has kept."""
        for key, values in self._values.items():
            self._sort(key, values)
        self._values.clear()

    def pick(self, *begin: str | int, last: str = "") -> Distribution:
        """The sum of all histograms whose key begins so, and ends with `last` where it is given."""
        self.sorted()
        return Distribution(h for k, h in self.histograms.items()
                            if k[: len(begin)] == begin and (not last or k[-1] == last))

    def count(self, *begin: str | int) -> int:
        """The sum of all counts whose key begins so."""
        return sum(n for k, n in self.counts.items() if k[: len(begin)] == begin)


class Distribution:
    """The sum of histograms, sorted: values in seconds by rank."""

    def __init__(self, histograms: Iterable[Any] = ()) -> None:
        found: Counter[int] = Counter()
        self.most = 0.0
        for histogram in histograms:
            found.update(dict(_recorded(histogram)))
            self.most = max(self.most, histogram.get_max_value() / 1e6 if histogram.total_count else 0.0)
        self.steps = sorted(found.items())
        self.n = found.total()

    def at_rank(self, rank: int) -> float:
        """The value of that rank (1 is the smallest), in seconds; 0 where nothing was measured."""
        for value, count in self.steps:
            rank -= count
            if rank <= 0:
                return min(value / 1e6, self.most)
        return self.most

    def percentile(self, p: float) -> float:
        """The smallest value that at least the part `p` of all values does not exceed (nearest rank)."""
        return self.at_rank(max(1, -int(-p * self.n // 1)))

    @property
    def least(self) -> float:
        """The smallest value, in seconds; 0 where nothing was measured."""
        return self.steps[0][0] / 1e6 if self.steps else 0.0

    @property
    def mean(self) -> float:
        """The mean of the buckets' upper ends, in seconds."""
        return sum(v * c for v, c in self.steps) / self.n / 1e6 if self.n else 0.0

    def summary(self) -> dict[str, float | int]:
        """Count, mean, percentiles and largest value, in milliseconds."""
        parts = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
        return {"n": self.n, "mean": round(self.mean * 1e3, 3),
                **{name: round(self.percentile(p) * 1e3, 3) for name, p in parts.items()},
                "max": round(self.most * 1e3, 3)}


def _recorded(histogram: Any) -> Iterator[tuple[int, int]]:
    """Each bucket that holds something: its upper end and its count."""
    if histogram.total_count:
        for index, count in enumerate(list(histogram.counts)):
            if count:
                yield histogram.get_highest_equivalent_value(histogram.get_value_from_index(index)), count
