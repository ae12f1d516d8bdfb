"""The picture of a stream's connections: right at 10 and at 10,000 frames, accessible, bounded, safe."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from journals import document
from made import exchange, profile
from stream_journals import CLOSE, TEXT, Streams, dead_client, gaps, run, silent_drop

from openbell.events import Fact, Frame
from openbell.reports import write_all
from openbell.reports.material import gather
from openbell.reports.stream_drawing import LEFT, PLOT, WIDTH, description, rest, svg, ticks
from openbell.reports.streams import MOST_LANES, Lane, Mark, Timeline, Traced, lanes, timeline
from openbell.results import Finding

SVG = "{http://www.w3.org/2000/svg}"
MOST_BYTES = 250_000


def drawn(folder: Path) -> Timeline:
    """The first picture of a run."""
    return next(iter(gather(folder).timelines.values()))


def root_of(t: Timeline) -> ET.Element:
    return document(str(svg(t, "k")).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def classed(root: ET.Element, name: str) -> list[ET.Element]:
    return [e for e in root.iter() if name in e.get("class", "").split()]


def words(root: ET.Element, name: str) -> list[str]:
    return [e.text or "" for e in classed(root, name)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return dead_client(tmp_path_factory.mktemp("streams") / "run")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return silent_drop(tmp_path_factory.mktemp("streams") / "run", 10_000)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return gaps(tmp_path_factory.mktemp("streams") / "run", 30, 4)


@pytest.fixture(scope="module", params=["small", "large", "many"])
def picture(request: pytest.FixtureRequest) -> Timeline:
    return drawn(request.getfixturevalue(request.param))


def test_a_picture_is_named_and_bounded(picture):
    root = root_of(picture)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    assert width == WIDTH
    assert 120 < height < 900
    assert len(svg(picture, "k")) < MOST_BYTES
    named = {e.get("id"): e.text for e in root if e.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert root.get("role") == "img"
    assert list(named) == root.get("aria-labelledby", "").split()
    assert all(named.values())


def test_lanes_do_not_overlap_and_names_over_marks_neither(picture):
    root = root_of(picture)
    heights = [float(e.get("y1", "0")) for e in classed(root, "t-life")]
    assert all(b - a >= 40 for a, b in pairwise(heights))
    rows: dict[str, list[ET.Element]] = {}
    for name in classed(root, "t-over"):
        rows.setdefault(name.get("y", ""), []).append(name)
    for row in rows.values():
        spans = sorted((float(e.get("x", "0")), len(e.text or "")) for e in row)
        assert all(b[0] - a[0] >= 3 * (a[1] + b[1]) for a, b in pairwise(spans))


def test_the_cited_events_stand_out_on_the_lane_where_it_goes_wrong(small):
    picture = drawn(small)
    root = root_of(picture)
    assert [lane.label for lane in picture.lanes] == ["idle", "muted"]
    assert picture.lanes[picture.focus].label == "muted"
    assert len(classed(root, "t-cited")) == len(picture.cited) == 2
    assert [w for w in words(root, "w-told") if w.startswith("◂")] == ["◂ still open"]
    assert words(root, "w-note") == ["client: close 1000"] * 2
    assert not classed(root, "t-bars")


def test_each_frame_of_few_has_its_sign_on_its_side(small):
    root = root_of(drawn(small))
    lane = classed(root, "t-lane")[0]
    middle = float(classed(lane, "t-life")[0].get("y1", "0"))
    above = [e for e in lane.iter(f"{SVG}circle") if float(e.get("cy", "0")) < middle]
    assert len(classed(lane, "t-ping")) == len(classed(lane, "t-pong")) == 3
    assert len(above) == 3


def test_many_frames_become_bars_that_leave_none_out(large):
    picture = drawn(large)
    told = " ".join(e.text or "" for bars in classed(root_of(picture), "t-bars") for e in bars)
    updates = [sum(m.kind == "update" for m in lane.marks) for lane in picture.lanes if lane.conn is not None]
    assert sum(updates) > 9000
    assert all(f"{count:,} × update" in told for count in updates)


def test_what_is_missing_is_an_outlined_stretch_with_its_positions(large):
    picture = drawn(large)
    each = 10_000 // 3
    missing = f"{each // 2}–{each // 2 + each // 8 - 1}"
    slow = picture.lanes[picture.focus]
    assert slow.label == "slow"
    assert [s.told for s in slow.spans if s.kind == "hole"] == [missing]
    root = root_of(picture)
    assert missing in words(root, "w-told")
    assert len(classed(root, "t-hole")) == len(classed(root, "t-paused")) == 1
    assert missing in description(picture)
    assert all(not lane.spans for lane in picture.lanes if lane is not slow)


def test_of_many_connections_those_around_the_finding_are_shown_and_the_rest_counted(many):
    picture = drawn(many)
    labels = [lane.label for lane in picture.lanes if lane.conn is not None]
    assert labels == [f"round:{n}" for n in range(18, 30)]
    assert len(labels) == MOST_LANES
    assert picture.lanes[picture.focus].label == "round:28"
    assert "18 connections before" in rest(picture)
    root = root_of(picture)
    assert "after 72, 4 updates" in words(root, "w-label")
    assert set(words(root, "w-note")) == {"harness: reset"}
    assert len(classed(root, "t-fault")) == MOST_LANES + 1


def test_a_resume_that_leaves_something_out_has_its_hole_before_the_first_update(tmp_path):
    def story(s: Streams) -> None:
        s.open(1, "round:0")
        s.update(1, 1)
        s.end(1)
        s.open(2, "round:1", since=1)
        s.update(2, 4)
        s.update(2, 7, prev=6)
        s.update(2, 6)
        s.end(2)
        s.open(3, "round:2", status=503)
    picture = drawn(run(tmp_path / "run", "stream_cut_and_resume", "orders", "WSR-001", story))
    second, third = (lane for lane in picture.lanes if lane.label in {"round:1", "round:2"})
    assert [s.told for s in second.spans] == ["2–3", "5–6"]
    assert second.spans[0].start < second.spans[0].end
    assert third.ended == "refused: 503"


EVIL = '</svg><script>"\x00\u202e' + "&" * 400


def test_what_a_hostile_stream_says_is_escaped(tmp_path):
    def story(s: Streams) -> None:
        s.open(1, "round:0" + EVIL)
        for i in range(8):
            s.frame(1, "server", TEXT, json.dumps({"type": "update", "epoch": EVIL, "seq": f"{EVIL}{i}", "prev": i,
                                                   "event": EVIL}).encode())
            s.frame(1, "server", CLOSE, b"\x03" + EVIL.encode())
            s.frame(1, "server", 11, b"\xff\xfe")
            s.frame(1, "server", TEXT, b"[" * 5000)
        s.fact("fault_fired", conn=1, fault=EVIL, direction=EVIL, offset={EVIL: EVIL})
        s.note(1, "stream_token", end=EVIL)
        s.end(1, EVIL, EVIL)
    folder = run(tmp_path / "run", "stream_cut_and_resume", "orders", "WSR-001", story)
    write_all(folder)
    assert drawn(folder).counts["update"] == 8
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert not {"\u202e", "\x00"} & set(page)
    root_of(drawn(folder))


def test_facts_of_another_shape_are_no_accident():
    kept = Traced(profile().stream["orders"])
    kept.take(exchange("held", 101, conn=1, n=1))
    for n, (name, data) in enumerate(((n, d) for n in ("stream_script", "stream_end", "stream_token", "fault_fired")
                                      for d in ({}, {"position": None, "script": "resubscribe", "end": []})), 2):
        kept.take(Fact(n, "s", 1.0, name, {"conn": 1, **data}))
        kept.take(Fact(n, "s", 1.0, name, {"conn": [], **data}))
    picture = timeline(lanes(kept), "orders", Finding("r", "e", "a", (1, 7)), 0)
    assert picture is not None
    assert picture.lanes[-1].label == "held"
    root_of(picture)


def test_the_worst_picture_is_bounded():
    evil = EVIL
    marks = [Mark(n, n / 7, kind, by, evil, evil) for n, (kind, by) in enumerate(
        (k, b) for k in ("update", "ping", "pong", "message", "warning", "close", "script", "fault", "fact", "beat")
        for b in ("server", "client") for _ in range(13))]
    lane = Lane(1, evil, evil, 0.0, 40.0, evil, tuple(marks), ())
    finding = Finding(evil, evil, evil, tuple(range(0, 200, 2)))
    picture = timeline([replace(lane, conn=c) for c in range(40)], evil, finding)
    assert picture is not None
    text = svg(picture, "k")
    assert "<script" not in text
    assert "\u202e" not in text
    assert len(text) < MOST_BYTES
    root_of(picture)


def test_what_is_beyond_the_bounds_is_counted(small):
    kept = Traced(profile().stream["orders"], most_events=3, most_bytes=10)
    for payload in (b"x" * 8, b"y" * 8, b"", b"z", b""):
        kept.take(Frame(0, "s", "l", "direct", 1, 0.0, "server", 1, payload))
    assert [len(e.payload) for e in kept.events if isinstance(e, Frame)] == [8, 0, 1]
    assert kept.left == 2
    picture = drawn(small)
    assert not rest(picture)
    assert rest(replace(picture, left=kept.left)) == "Not shown: 2 events beyond what a report keeps."


@pytest.mark.parametrize("seconds", [1e-6, 0.004, 0.31, 1.0, 7.3, 60.0, 3600.0])
def test_the_time_axis_has_few_round_steps(seconds):
    places = ticks(seconds)
    assert 2 <= len(places) <= 11
    assert places[0] == 0
    assert places[-1] <= seconds * 1.000001
    assert f"{places[1]:.0e}"[0] in "125"


def test_marks_stay_inside_the_plot(picture):
    root = root_of(picture)
    for life in classed(root, "t-life"):
        assert LEFT <= float(life.get("x1", "0")) <= float(life.get("x2", "0")) <= LEFT + PLOT


def test_frames_and_facts_are_told_in_every_report(small):
    write_all(small)
    page, xml, summary = ((small / n).read_text() for n in ("report.html", "junit.xml", "summary.md"))
    assert "Proved by 2 events" in page
    assert '<svg class="walk time"' in page
    for text in (xml, summary):
        assert "ping of the server on muted" in text
        assert "fact idle_alive on idle" in text
    assert "ping of the server <code>1</code>" in page
