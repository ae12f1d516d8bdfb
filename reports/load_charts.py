"""A load run over time: small charts under one another on one axis, the phases as bands behind all of them.

Inline SVG, coloured by the page's classes, so that light and dark are the page's business. Slices follow the intended
time: what was due in a slice is drawn there, however late it was answered. There are at most some two hundred slices
however long a run was, so a picture's size is bounded; streams are thinned to the columns of a screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from markupsafe import Markup

from openbell.reports.words import line

WIDTH, LEFT, RIGHT, HIGH, HEAD, FOOT = 1000.0, 62.0, 986.0, 132.0, 26.0, 22.0
LETTER, COLUMN = 7.2, 1.0
TOPS = (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10)
MOST_LIMITS, MOST_PHASES = 20, 40
Values = Sequence[float | None]
BANDS = ("max", "p99", "p95", "p50")
Keys = tuple[tuple[str, str], ...]
BELL = (("bell", "the bell"),)
PERCENTILES: Keys = (("line p50", "p50"), ("line p95", "p95"), ("line p99", "p99"), ("line max", "the largest"))


@dataclass(frozen=True)
class Chart:
    """A picture, its title, what it shows in a sentence, and which style stands for what."""

    title: str
    told: str
    keys: Keys
    picture: Markup


@dataclass(frozen=True)
class Drawn:
    """What stands in a chart, and how its axes are."""

    axes: Axes
    unit: str
    marks: Sequence[float]
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Axes:
    """The places of one chart. `top` is the highest value; with `log` the lowest is `low`."""

    seconds: float
    top: float
    low: float = 0.0
    log: bool = False

    def x(self, second: float) -> float:
        """The place of a second."""
        return LEFT + (RIGHT - LEFT) * second / self.seconds

    def y(self, value: float) -> float:
        """The place of a value."""
        if self.log:
            part = math.log(max(value, self.low) / self.low) / math.log(self.top / self.low)
        else:
            part = value / self.top
        return HEAD + HIGH * (1 - min(1.0, part))


def nice(value: float, steps: Sequence[float] = (1, 2, 5, 10)) -> float:
    """The next of the steps, times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in steps if step * power >= value * (1 - 1e-9)), steps[-1] * power)


def number(value: float) -> str:
    """A short number."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def charts(data: Mapping[str, Any]) -> Iterator[Chart]:
    """The charts of a `load.json`."""
    series, seconds = data["series"], data["plan"]["duration"]
    numbers, bell = count(1), BELL if data["plan"]["bell"] else ()

    def chart(title: str, told: str, keys: Keys, drawn: Drawn) -> Chart:
        whole = _whole(data, drawn, f"chart{next(numbers)}", title, told)
        return Chart(title, told, (*keys, *bell), whole)
    yield chart("Arrivals per second, planned and started", *arrivals(series, seconds))
    yield chart("Latency from the intended start, by when an arrival was due", *latencies(data, series, seconds))
    yield chart("Service time from the sending, on the same scale", *latencies(data, series, seconds, "service_"))
    yield chart("Answers per second", *answers(series, seconds))
    if series.get("alive"):
        yield chart("Streams alive", *alive(data, series, seconds))
    yield chart("How late the generator started arrivals (p99 of each slice)", *lateness(series, seconds))
    if any(v is not None for name in ("cpu", "idle") for v in series[name]):
        yield chart("The generator's processors", *processors(series, seconds))
    if any(series["line"]):
        yield chart("Arrivals that waited for a free user", *waiting(series, seconds))


def _whole(data: Mapping[str, Any], drawn: Drawn, name: str, title: str, told: str) -> Markup:
    """One chart: phases behind, then the grid, then what is inside, then the bell."""
    axes = drawn.axes
    parts = [*_phases(data, axes), *_grid(drawn), *drawn.parts, *_bell(data, axes), *_seconds(axes)]
    head = (f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEAD + HIGH + FOOT:g}" role="img" '
            f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{Markup.escape(title)}</title>'
            f'<desc id="{name}-desc">{Markup.escape(told)}</desc>')
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - made of numbers and escaped text


def most(values: Values) -> float:
    """The largest of those that were measured; 0 where nothing was."""
    return max((v for v in values if v is not None), default=0.0)


def _phases(data: Mapping[str, Any], axes: Axes) -> Iterator[str]:
    last = ""
    for i, phase in enumerate(data["plan"]["phases"][:MOST_PHASES]):
        x, end = axes.x(phase["begin"]), axes.x(phase["end"])
        yield f'<rect class="phase p{i % 2}" x="{x:.1f}" y="{HEAD}" width="{end - x:.1f}" height="{HIGH}"/>'
        room = int((end - x) / LETTER)
        if phase["name"] != last and room > 2:
            name = line(phase["name"])
            shown = name if len(name) <= room else name[: room - 1] + "…"
            yield f'<text class="name" x="{x + 5:.1f}" y="{HEAD - 8}">{Markup.escape(shown)}</text>'
        last = phase["name"]


def _grid(drawn: Drawn) -> Iterator[str]:
    for mark in drawn.marks:
        y = drawn.axes.y(mark)
        yield f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{number(mark)}</text>'
    yield f'<text class="tick" x="{LEFT - 7}" y="{HEAD - 8}" text-anchor="end">{drawn.unit}</text>'


def _bell(data: Mapping[str, Any], axes: Axes) -> Iterator[str]:
    if data["plan"]["bell"]:
        x = axes.x(data["plan"]["bell"])
        yield f'<line class="bell" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD - 4}" y2="{HEAD + HIGH}"/>'


def _seconds(axes: Axes) -> Iterator[str]:
    step = nice(axes.seconds / 10)
    for i in range(int(axes.seconds / step) + 1):
        anchor = "end" if i * step > axes.seconds * 0.98 else "middle"
        yield (f'<text class="tick" x="{axes.x(i * step):.1f}" y="{HEAD + HIGH + 16}" text-anchor="{anchor}">'
               f'{number(i * step)} s</text>')


def _runs(axes: Axes, values: Values, width: float) -> Iterator[list[tuple[int, str]]]:
    """Points in the middle of the slices, with the slice's number, in stretches without a gap."""
    run: list[tuple[int, str]] = []
    for i, value in enumerate([*values, None]):
        if value is not None:
            run.append((i, f"{axes.x(min(axes.seconds, (i + 0.5) * width)):.1f},{axes.y(value):.1f}"))
        elif run:
            yield run
            run = []


def _line(axes: Axes, values: Values, width: float, kind: str) -> Iterator[str]:
    """A line through the middle of the slices, broken where nothing was measured."""
    for run in _runs(axes, values, width):
        if len(run) == 1:
            x, y = run[0][1].split(",")
            yield f'<circle class="dot {kind}" cx="{x}" cy="{y}" r="1.8"/>'
        else:
            yield f'<polyline class="line {kind}" points="{" ".join(p for _, p in run)}"/>'


def _band(axes: Axes, low: Values, high: Values, width: float, kind: str) -> Iterator[str]:
    """The area between two lines. Both were measured in the same slices."""
    for up, down in zip(_runs(axes, high, width), _runs(axes, low, width), strict=True):
        if len(up) > 1:
            yield f'<polygon class="band {kind}" points="{" ".join(p for _, p in (*up, *reversed(down)))}"/>'


def _bars(axes: Axes, low: Sequence[float], high: Sequence[float], width: float, kind: str) -> Iterator[str]:
    """A bar in each slice from one height to another."""
    path = []
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        if b > a:
            x, end = axes.x(i * width), axes.x(min(axes.seconds, (i + 1) * width))
            across = max(0.6, end - x - 0.6)
            path.append(f"M{x + 0.3:.1f} {axes.y(a):.1f}V{axes.y(b):.1f}h{across:.1f}V{axes.y(a):.1f}z")
    if path:
        yield f'<path class="bar {kind}" d="{"".join(path)}"/>'


def _linear(seconds: float, highest: float) -> tuple[Axes, list[float]]:
    top = nice(max(highest, 1e-9), TOPS)
    return Axes(seconds, top), [0.0, top / 2, top]


Parts = tuple[str, Keys, Drawn]


def arrivals(series: Mapping[str, Any], seconds: float) -> Parts:
    """What was planned as steps, what was started as bars."""
    width = series["width"]
    planned, started = ([n / width for n in series[name]] for name in ("planned", "started"))
    axes, marks = _linear(seconds, max([*planned, *started], default=0.0))
    steps = [f"{axes.x(min(seconds, (i + d) * width)):.1f},{axes.y(v):.1f}" for i, v in enumerate(planned)
             for d in (0, 1) if i * width < seconds]
    parts = (*_bars(axes, [0.0] * len(started), started, width, "ok"),
             f'<polyline class="line plan" points="{" ".join(steps)}"/>')
    told = (f"{sum(series['planned'])} were planned, at most {number(most(planned))} per second; "
            f"{sum(series['started'])} were started.")
    return told, (("line plan", "planned"), ("bar ok", "started")), Drawn(axes, "/s", marks, parts)


def latencies(data: Mapping[str, Any], series: Mapping[str, Any], seconds: float, of: str = "") -> Parts:
    """Percentiles over time on a logarithmic axis, and the limits of the rules on those from the intended start."""
    kinds = ("", "service_")
    timed = [r for r in data["rules"] if r["measure"].removeprefix("service_")[0] in "pm" and not r["operation"]]
    limits = [r for r in timed if r["measure"].startswith("service_") == bool(of)][:MOST_LIMITS]
    axes = _logarithmic(seconds, [*(v for name in BANDS for kind in kinds for v in series[kind + name] if v),
                                  *(r["limit"] * 1e3 for r in timed)])
    marks = [10.0**k for k in range(round(math.log10(axes.low)), round(math.log10(axes.top)) + 1)]
    width, p50, p95, p99 = series["width"], *(series[of + name] for name in ("p50", "p95", "p99"))
    parts = (*_band(axes, p50, p95, width, "p95"), *_band(axes, p95, p99, width, "p99"),
             *(p for name in BANDS for p in _line(axes, series[of + name], width, name)),
             *(p for rule in limits for p in _limit(data, axes, rule)))
    told = (f"The median was at most {number(most(p50))} ms in any slice, p99 at most {number(most(p99))} ms, and the "
            f"largest of all {number(most(series[of + 'max']))} ms. The scale is logarithmic.")
    return told, (*PERCENTILES, *((("limit", "a rule's limit"),) if limits else ())), Drawn(axes, "ms", marks, parts)


def _logarithmic(seconds: float, seen: Sequence[float]) -> Axes:
    highest = max([*seen, 1.0])
    low = 10.0 ** math.floor(math.log10(max(1e-3, min([*seen, highest / 10]))))
    return Axes(seconds, 10.0 ** math.ceil(math.log10(highest * 1.01)), low, log=True)


def _limit(data: Mapping[str, Any], axes: Axes, rule: Mapping[str, Any]) -> Iterator[str]:
    for phase in data["plan"]["phases"][:MOST_PHASES]:
        if rule["phase"] in {"*", phase["name"]}:
            y = axes.y(rule["limit"] * 1e3)
            yield (f'<line class="limit" x1="{axes.x(phase["begin"]):.1f}" x2="{axes.x(phase["end"]):.1f}" '
                   f'y1="{y:.1f}" y2="{y:.1f}"><title>{Markup.escape(line(rule["rule"], 120))}</title></line>')


def answers(series: Mapping[str, Any], seconds: float) -> Parts:
    """Answers that were ok, throttled and errors, on top of one another."""
    width = series["width"]
    ok, throttled, errors = ([n / width for n in series[name]] for name in ("ok", "throttled", "errors"))
    middle = [a + b for a, b in zip(ok, throttled, strict=True)]
    whole = [a + b for a, b in zip(middle, errors, strict=True)]
    axes, marks = _linear(seconds, max(whole, default=0.0))
    parts = (*_bars(axes, [0.0] * len(ok), ok, width, "ok"), *_bars(axes, ok, middle, width, "throttled"),
             *_bars(axes, middle, whole, width, "wrong"))
    told = (f"{sum(series['ok'])} were as they must be, {sum(series['throttled'])} were throttled, "
            f"{sum(series['errors'])} were errors.")
    return told, (("bar ok", "ok"), ("bar throttled", "throttled"), ("bar wrong", "errors")), Drawn(
        axes, "/s", marks, parts)


def alive(data: Mapping[str, Any], series: Mapping[str, Any], seconds: float) -> Parts:
    """How many streams were alive: (second, number) pairs, as steps; and when the parts of them were back."""
    axes, marks = _linear(seconds, max(n for _, n in series["alive"]))
    points, before = [], 0.0
    for x, heights in _thinned(axes, series["alive"]):
        points += [f"{x:g},{axes.y(n):.1f}" for n in dict.fromkeys((before, *heights[:-1]))] + [
            f"{x:g},{axes.y(heights[-1]):.1f}"]
        before = heights[-1]
    points.append(f"{axes.x(seconds):.1f},{axes.y(before):.1f}")
    back = [(part, s) for part, s in data["recovery"].items()]
    told = "; ".join(f"{part} % were back {'never' if s is None else f'after {s:.2f} s'}" for part, s in back)
    parts = (f'<polyline class="line p50" points="{" ".join(points)}"/>', *_returns(data, axes, back))
    keys = (("line p50", "alive"), *((("back", "back"),) if back else ()))
    return f"{told or 'None was dropped'}.", keys, Drawn(axes, "", marks, parts)


def _thinned(axes: Axes, pairs: Sequence[tuple[float, int]]) -> Iterator[tuple[float, tuple[int, int, int]]]:
    """The least, the most and the last number of each column of the picture, so that no dip is lost."""
    columns: dict[int, list[int]] = {}
    for second, number_alive in pairs:
        x = axes.x(min(axes.seconds, max(0.0, second)))
        columns.setdefault(round(x / COLUMN), []).append(number_alive)
    yield from ((column * COLUMN, (min(seen), max(seen), seen[-1])) for column, seen in columns.items())


def _returns(data: Mapping[str, Any], axes: Axes, back: Sequence[tuple[str, float | None]]) -> Iterator[str]:
    """An upright line for each part, and beside the last of them what they stand for."""
    came = [(part, after, axes.x(min(axes.seconds, data["plan"]["bell"] + after)))
            for part, after in back if after is not None]
    edge = max((x for _, _, x in came), default=0.0)
    at, anchor = (edge + 8, "start") if edge < (LEFT + RIGHT) / 2 else (came[0][2] - 8, "end")
    for i, (part, after, x) in enumerate(came):
        yield f'<line class="back" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{HEAD + HIGH}"/>'
        yield (f'<text class="name over" x="{at:.1f}" y="{HEAD + HIGH - 42 + 15 * i}" text-anchor="{anchor}">'
               f'{Markup.escape(part)} % after {after:.2f} s</text>')


def lateness(series: Mapping[str, Any], seconds: float) -> Parts:
    """How late arrivals were started."""
    late = series["lag_p99"]
    axes, marks = _linear(seconds, most(late) or 1.0)
    told = f"At most {number(most(late))} ms in any slice."
    return told, (("line lag", "late, p99"),), Drawn(axes, "ms", marks, tuple(
        _line(axes, late, series["width"], "lag")))


def processors(series: Mapping[str, Any], seconds: float) -> Parts:
    """Which part of a processor the busiest worker used, and which part of the processors nobody used."""
    axes = Axes(seconds, 100.0)
    used, left = ([None if v is None else v * 100 for v in series[name]] for name in ("cpu", "idle"))
    least = min((v for v in left if v is not None), default=None)
    told = f"The busiest worker used at most {most(used):.0f} % of a processor" + (
        "." if least is None else f"; at least {least:.0f} % of those that it may run on were idle.")
    parts = (*_line(axes, left, series["width"], "idle"), *_line(axes, used, series["width"], "lag"))
    keys = (("line lag", "used by the busiest worker"), ("line idle", "idle, of those that it may run on"))
    return told, keys, Drawn(axes, "%", (0.0, 50.0, 100.0), parts)


def waiting(series: Mapping[str, Any], seconds: float) -> Parts:
    """How many arrivals were due and had no user yet."""
    axes, marks = _linear(seconds, most(series["line"]))
    told = f"At most {number(most(series['line']))} at once, in one worker."
    return told, (("line lag", "waiting"),), Drawn(axes, "", marks, tuple(
        _line(axes, series["line"], series["width"], "lag")))
