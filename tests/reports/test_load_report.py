"""The report of a load run and its CSV: right at five seconds and at an hour, accessible, bounded, safe."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from journals import document

from openbell.loadprofiles.asked import FINEST_S, SLICES
from openbell.loadprofiles.driving import Heard, Offer
from openbell.loadprofiles.health import Health
from openbell.loadprofiles.measured import Measured, history
from openbell.loadprofiles.plan import LoadPlan
from openbell.loadprofiles.shape import all_shapes
from openbell.loadprofiles.tally import Distribution, Tally
from openbell.reports import load_csv
from openbell.reports.load import html, measured
from openbell.reports.load_charts import COLUMN, LEFT, RIGHT, Chart, charts
from openbell.results import Result, Results

MOST_BYTES = 250_000
HOSTILE = '</title></style><script>alert("x")</script>\x00\x1b[31m\u202e\ud800]]>&' + "n" * 5000
SUMMARY = {"n": 9, "mean": 1.5, "p50": 1.25, "p90": 2.0, "p95": 3.0, "p99": 4.0, "p99.9": 5.0, "max": 6.0}
PLAN = LoadPlan(all_shapes()["steady"], 20.0, 2.0, "uniform")
TICKS = ["1", "10", "100", "1,000", "10,000"]
BANDS = {"p50": 2.0, "p95": 8.0, "p99": 20.0, "max": 2000.0}


def load(seconds: float = 5.0, name: str = "open", **more: Any) -> dict[str, Any]:
    """What `load.json` holds of a run in which ten arrivals a slice were planned and eight of them were well."""
    width = max(FINEST_S, seconds / SLICES)
    n = int(seconds / width) + 1
    series: dict[str, Any] = {
        "width": width, "planned": [10] * n, "started": [10] * n, "ok": [8] * n, "throttled": [1] * n,
        "errors": [1] * n, **{k: [v] * n for k, v in BANDS.items()},
        **{f"service_{k}": [v / 2] * n for k, v in BANDS.items()}, "alive": [], "lag_p99": [0.5] * n,
        "cpu": [0.25] * n, "idle": [0.75] * n, "line": [0] * n}
    row = {"ok": 8, "throttled": 1, "errors": 1, "latency_ms": SUMMARY, "service_ms": SUMMARY}
    rule = {"rule": f"{name}: p99 < 250ms", "phase": name, "measure": "p99", "operation": None, "limit": 0.25,
            "verdict": "fail", "measured": 2.0, "low": 1.9, "high": 2.1, "samples": 100, "why": name}
    health = {"lag_ms": {"p50": 0.1, "p99": 0.5}, "cpu": [0.25, None], "idle": [0.75, None], "unfit": name}
    return {
        "verdict": "fail", "begun": 1_795_700_000.5, "rules": [rule], "ended_early": None, "sampled": 9,
        "plan": {"profile": name, "peak": 40.0, "duration": seconds, "process": "uniform", "seed": 0, "bell": 2.0,
                 "hash": "sha256:" + "a" * 64, "workers": 1, "users": 7,
                 "phases": [{"name": "pre", "begin": 0.0, "end": 2.0}, {"name": name, "begin": 2.0, "end": seconds}]},
        "arrivals": {"planned": 10 * n, "started": 10 * n, "finished": 10 * n, "differences": [name]},
        "phases": {name: {**row, "planned": 10 * n, "by_outcome": {name: 1}}},
        "operations": [{"phase": name, "operation": name, **row}], "health": {name: health}, "recovery": {},
        "conformance": {"quiet": True, "only_under_load": []}, "series": series | more}


def results(*found: Result) -> Results:
    return Results("1", None, "a target", "run", found)


def result(check: str = "COR-001", subject: str = "orders", verdict: Any = "fail") -> Result:
    return Result(check, "title", "responses", "MUST", subject, verdict, None, "summary",
                  {"holds": 1, "broken": 1, "undecided": 0}, (), (), "", "", None)


def root(chart: Chart) -> ET.Element:
    return document(str(chart.picture))


def classed(chart: Chart, kind: str) -> list[ET.Element]:
    return [e for e in root(chart).iter() if e.get("class") == kind]


def named(data: dict[str, Any], word: str) -> Chart:
    return next(c for c in charts(data) if word in c.title)


def points(element: ET.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (p.split(",") for p in element.get("points", "").split())]


# --- charts

@pytest.mark.parametrize("seconds", [0.5, 5.0, 20.0, 3600.0])
def test_every_picture_is_well_formed_named_and_inside_its_frame(seconds):
    data = load(seconds, alive=[(i * seconds / 9000, i % 60) for i in range(9000)])
    made = list(charts(data))
    ids = [e.get("id") for c in made for e in root(c).iter() if e.get("id")]
    assert len(made) == 7
    assert len(ids) == len(set(ids)) == 2 * len(made)
    for chart in made:
        top = root(chart)
        assert top.get("role") == "img"
        assert [e.text for e in top[:2]] == [chart.title, chart.told]
        assert (top.get("aria-labelledby") or "").split() == [e.get("id") for e in top[:2]]
        xs = [x for e in top.iter() for x, _ in points(e)]
        assert all(LEFT <= x <= RIGHT for x in xs)
        assert len(chart.picture) < 45_000


def test_a_page_of_an_hour_is_no_larger_than_one_of_twenty_times_less():
    alive = [(i * 0.05, i * 7 % 997) for i in range(72_000)]
    sizes = [len(html(load(s, alive=alive[:int(s * 20)]), results())) for s in (180.0, 3600.0)]
    assert max(sizes) < MOST_BYTES
    assert max(sizes) < 1.2 * min(sizes)


def test_heights_are_those_of_the_numbers():
    n = len(load()["series"]["planned"])
    chart = named(load(planned=[5] + [10] * (n - 1), started=[0] + [5] * (n - 1)), "planned and started")
    (plan,), (bars,) = classed(chart, "line plan"), classed(chart, "bar ok")
    ys = [y for _, y in points(plan)]
    tops = {float(y) for y in re.findall(r"M\S+ \S+?V([\d.]+)h", bars.get("d", ""))}
    # 10 in a quarter of a second are 40 per second, which is the top of the chart; the first slice had no bar.
    assert ys[:3] == [92.0, 92.0, 26.0]
    assert set(ys) == {92.0, 26.0}
    assert tops == {92.0}
    assert bars.get("d", "").count("M") == n - 1
    assert chart.told == f"{5 + 10 * (n - 1)} were planned, at most 40 per second; {5 * (n - 1)} were started."


def test_a_line_is_broken_where_nothing_was_measured():
    n = len(load()["series"]["p50"])
    gap: list[float | None] = [2.0] * n
    gap[3] = gap[7] = gap[9] = None
    chart = named(load(**dict.fromkeys(BANDS, gap)), "Latency")
    assert [len(points(line)) for line in classed(chart, "line p50")] == [3, 3, n - 10]
    assert len(classed(chart, "dot p50")) == 1


def test_latency_and_service_time_have_one_scale_and_the_limit_is_on_latency_alone():
    latency, service = (named(load(), word) for word in ("Latency", "Service"))
    ticks = [[e.text for e in classed(c, "tick")] for c in (latency, service)]
    assert ticks[0] == ticks[1]
    assert ticks[0][:len(TICKS)] == TICKS
    # Half of the time lies lower by log10(2) of a decade; the scale has four.
    (high,), (half,) = ({y for e in classed(c, "line max") for _, y in points(e)} for c in (latency, service))
    assert half - high == pytest.approx(132 * math.log10(2) / (len(TICKS) - 1), abs=0.2)
    assert len(classed(latency, "limit")) == 1
    assert not classed(service, "limit")
    assert "2,000 ms" in latency.told
    assert "1,000 ms" in service.told


def test_a_dip_of_one_stream_among_many_changes_is_kept():
    pairs = [(i * 0.001, 50 - i % 2) for i in range(5000)]
    pairs[2500] = (2.5, 3)
    chart = named(load(alive=pairs), "Streams")
    (line,) = classed(chart, "line p50")
    lowest = max(y for x, y in points(line) if x > LEFT + 1)
    assert lowest == pytest.approx(26 + 132 * (1 - 3 / 50), abs=0.1)
    assert len(points(line)) <= 4 * (RIGHT - LEFT) / COLUMN + 5


@pytest.mark.parametrize("back", [{"50": 0.3, "99": 1.0, "100": None}, {"50": 2.5, "99": 2.8, "100": 2.9},
                                  {"50": None, "99": None, "100": None}])
def test_when_the_streams_were_back(back):
    chart = named(load(alive=[(0.0, 9), (2.0, 0), (2.5, 9)]) | {"recovery": back}, "Streams")
    came = [f"{part} % after {s:.2f} s" for part, s in back.items() if s is not None]
    assert [e.text for e in classed(chart, "name over")] == came
    assert len(classed(chart, "back")) == len(came)
    assert chart.told.count("never") == 3 - len(came)


@pytest.mark.parametrize("n", [0, 1])
def test_a_run_of_which_nothing_was_measured(n):
    counts, seen = ("planned", "started", "ok", "throttled", "errors", "line"), ("lag_p99", "cpu", "idle")
    bands = [f"{kind}{name}" for kind in ("", "service_") for name in BANDS]
    none = {k: [0] * n for k in counts} | {k: [None] * n for k in (*seen, *bands)}
    data = load(**none) | {"rules": [], "operations": [], "phases": {}, "health": {}}
    assert len(list(charts(data))) == 5
    for chart in charts(data):
        assert root(chart) is not None
    assert b"No traffic was sampled" in html(data, results())


# --- page

class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_hostile_names_are_text_and_cut():
    data = load(name=HOSTILE, alive=[(0.0, 1)])
    page = html(data | {"ended_early": HOSTILE}, results(result("COR-001", HOSTILE)))
    read = Page(page)
    assert "script" not in read.tags
    assert read.tags.count("style") == 1
    # One title of the page, one of each chart, and one of the rule's limit.
    assert read.tags.count("title") == 1 + len(list(charts(data))) + 1
    assert b"\x00" not in page
    assert b"\x1b" not in page
    assert "\u202e" not in page.decode()
    assert len(page) < MOST_BYTES
    assert "n" * 400 not in page.decode()
    for chart in charts(data):
        assert root(chart) is not None


def test_a_thousand_operations_are_cut_and_counted():
    data = load()
    data["operations"] *= 1000
    page = html(data, results(*(result(f"C-{i}") for i in range(1000))))
    assert b"800 more are in load.json" in page
    assert b"800 more are in report.html" in page


def test_what_broke_only_under_load_comes_first_and_points_to_its_evidence():
    found = (result("AAA-001"), result("OK-001", verdict="pass"), result("ZZZ-001"))
    only = {"quiet": True, "only_under_load": [{"check": "ZZZ-001", "subject": "orders"}]}
    page = html(load() | {"verdict": "pass", "conformance": only}, results(*found)).decode()
    assert re.findall(r'href="report.html#(r\d)">([A-Z]+)', page) == [("r2", "ZZZ"), ("r0", "AAA")]
    assert page.count("only under load</b>") == 1
    assert "The rules held. 2 of 3 results on the traffic fail, 1 only under load." in page
    assert '<header class="top fail">' in page


@pytest.mark.parametrize(("verdict", "tone"), [("pass", "pass"), ("fail", "fail"), ("invalid", "accepted"),
                                               ("inconclusive", "inconclusive")])
def test_the_verdict_is_the_first_that_is_read(verdict, tone):
    page = html(load() | {"verdict": verdict}, results(result(verdict="pass"))).decode()
    assert f'<header class="top {tone}">' in page
    assert page.index(f"<em>{verdict}</em>") < page.index("<h2>Rules") < page.index("<h2>Over time") < page.index(
        "<h2>By phase")


@pytest.mark.parametrize(("rule", "said"), [
    ({"measure": "errors", "measured": 0.01, "low": 0.005, "high": 0.02}, "1.00% [0.50%, 2.00%]"),
    ({"measure": "p99", "measured": 0.25, "low": 0.2, "high": None}, "250 ms [200 ms, ?]"),
    ({"measure": "recovery", "measured": 0.5, "low": 0.5, "high": 0.5}, "500 ms"),
    ({"measure": "p99", "measured": None, "low": None, "high": None}, "nothing")])
def test_what_was_measured_in_its_own_unit(rule, said):
    assert measured(rule) == said


# --- CSV

LOCUSTS = """
import json
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter
writer = StatsCSVFileWriter(Environment(), PERCENTILES_TO_REPORT, "own")
print(json.dumps([writer.requests_csv_columns, writer.stats_history_csv_columns, PERCENTILES_TO_REPORT]))
"""


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def test_the_columns_are_locusts_own(tmp_path):
    # In a process of its own, since Locust patches the standard library.
    said = subprocess.run([sys.executable, "-c", LOCUSTS], cwd=tmp_path, capture_output=True, text=True, check=True)
    ours = (load_csv.STATS, load_csv.HISTORY, load_csv.PERCENTILES)
    assert json.loads(said.stdout) == [list(columns) for columns in ours]


def distribution(*seconds: float) -> Distribution:
    tally = Tally()
    for s in seconds:
        tally.record(("latency",), s)
    return tally.pick("latency")


def test_a_row_of_sums():
    seen = distribution(0.001, 0.002, 0.004, 1.0)
    one = {"method": "GET", "requests": 4, "failures": 1, "bytes": 42, "latency": seen}
    rows = read(load_csv.stats(load(), {"read": one, "Aggregated": one | {"method": ""}}))
    assert rows[1][:4] == ["GET", "read", "4", "1"]
    assert [float(v) for v in rows[1][4:11]] == pytest.approx([2, 251.75, 1, 1000, 10.5, 0.8, 0.2], rel=1e-3)
    assert float(rows[1][-1]) == pytest.approx(1000, rel=1e-3)
    assert rows[2][:2] == ["", "Aggregated"]
    assert {len(r) for r in rows} == {len(load_csv.STATS)}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1", HOSTILE, 'a,"b"\n\rc'])
def test_a_name_is_one_cell_and_no_formula(name):
    one = {"method": name, "requests": 0, "failures": 0, "bytes": 0, "latency": Distribution()}
    rows = read(load_csv.stats(load(), {name: one}))
    assert len(rows) == 2
    assert not rows[1][0].startswith(("=", "+", "-", "@"))
    assert not rows[1][1].startswith(("=", "+", "-", "@"))
    assert len(rows[1]) == len(load_csv.STATS)


def slices(data: dict[str, Any]) -> Any:
    """Ten arrivals and one failure in each slice that lies in the run; each took a millisecond."""
    until, width = Tally(), data["series"]["width"]
    for place in range(len(data["series"]["planned"])):
        inside = place * width < data["plan"]["duration"]
        for _ in range(10 * inside):
            until.record(("band",), 0.001)
        yield place, 10 * inside, int(inside), until


@pytest.mark.parametrize("seconds", [0.5, 5.0, 5.1, 20.0, 47.0, 3600.0])
def test_the_history_has_a_row_a_second_or_a_slice_and_loses_nothing(seconds):
    data = load(seconds)
    rows = read(load_csv.history(data, slices(data)))[1:]
    at = [int(r[0]) for r in rows]
    width = data["series"]["width"]
    every = max(1, math.ceil(1 / width)) * width
    assert at == sorted(at)
    assert at[-1] == int(data["begun"] + seconds)
    assert len(rows) == math.ceil(seconds / every)
    inside = math.ceil(seconds / width)
    assert [rows[-1][i] for i in (17, 18)] == [str(10 * inside), str(inside)]
    assert float(rows[0][4]) == pytest.approx(10 / width, rel=0.01)
    assert float(rows[0][5]) == pytest.approx(1 / width, rel=0.01)
    assert float(rows[-1][6]) == pytest.approx(1.0, rel=0.01)
    assert {len(r) for r in rows} == {len(load_csv.HISTORY)}


def test_a_history_of_nothing():
    data = load(planned=[0])
    rows = read(load_csv.history(data, [(0, 0, 0, Tally())]))
    assert len(rows) == 2
    assert rows[1][6] == rows[1][-1] == "N/A"


# --- what load.json gives the charts

def test_ticks_are_spread_over_the_slices_that_they_tell_of():
    ticks = {0: [{"at": 100.5, "seconds": 0.5, "cpu": 0.25}, {"at": 101.0, "seconds": 0.5, "cpu": None}],
             1: [{"at": 101.1, "seconds": 1.0, "cpu": 0.75}, {"at": 999.0, "seconds": 0.5, "cpu": 1.0}]}
    health = Health(PLAN, Tally(), 100.0, ticks)
    assert health.over("cpu", 0.25, 6) == [[0.25, 0.75], [0.25, 0.75], [0.25, 0.75], [0.75], [0.75], []]


def test_the_history_adds_up_slice_by_slice_whoever_measured():
    heard = Heard(begin=100.0)
    for place, seconds, outcome in ((0, 0.001, "ok"), (1, 0.1, "throttled"), (1, 0.3, "ok"), (3, 0.2, "http_500")):
        part = Tally()
        part.record(("band", place), seconds)
        part.counts["ended", place, outcome] += 1
        heard.tally.merge(part.delta())
    seen = [(place, n, wrong, until.pick("band").n) for place, n, wrong, until in
            history(Measured(Offer(PLAN, width=0.25), heard, ()))]
    assert seen[:4] == [(0, 1, 0, 1), (1, 2, 1, 3), (2, 0, 0, 3), (3, 1, 1, 4)]
    assert seen[-1][0] == len(PLAN.bins(0.25)) - 1
