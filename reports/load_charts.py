"""A load run over time: small charts under one another on one axis, the phases as bands behind all of them.

Inline SVG, coloured by the page's classes, so that light and dark are the page's business. Slices follow the intended
time: what was due in a slice is drawn there, however late it was answered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

WIDTH, LEFT, RIGHT, HIGH, HEAD, FOOT = 1000.0, 62.0, 986.0, 132.0, 26.0, 22.0
Values = Sequence[float | None]
BANDS = (("max", "most"), ("p99", "p99"), ("p90", "p90"), ("p50", "p50"))


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


def nice(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def number(value: float) -> str:
    """A short number."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def charts(data: Mapping[str, Any]) -> Iterator[tuple[str, Markup]]:
    """Title and picture of each chart of a `load.json`."""
    series, seconds = data["series"], data["plan"]["duration"]
    width = series["width"]
    yield "Arrivals per second, planned and started", arrivals(data, series, seconds, width)
    yield "Latency from the intended start, by when an arrival was due", latencies(data, series, seconds, width)
    yield "Answers per second", answers(data, series, seconds, width)
    if any(series.get("alive", ())):
        yield "Streams alive", alive(data, series, seconds)
    yield "How late the generator was (p99 of each slice)", lateness(data, series, seconds, width)


def _whole(data: Mapping[str, Any], axes: Axes, unit: str, marks: Sequence[float], inside: Iterator[str]) -> Markup:
    """One chart: phases behind, then the grid, then what is inside, then the bell."""
    parts = [*_phases(data, axes), *_grid(axes, unit, marks), *inside, *_bell(data, axes), *_seconds(axes)]
    head = (f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEAD + HIGH + FOOT:g}" role="img" '
            'preserveAspectRatio="xMidYMid meet">')
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - made of numbers and escaped names


def _phases(data: Mapping[str, Any], axes: Axes) -> Iterator[str]:
    last = ""
    for i, phase in enumerate(data["plan"]["phases"]):
        x, end = axes.x(phase["begin"]), axes.x(phase["end"])
        yield f'<rect class="phase p{i % 2}" x="{x:.1f}" y="{HEAD}" width="{end - x:.1f}" height="{HIGH}"/>'
        if phase["name"] != last and end - x > 30:
            yield f'<text class="name" x="{x + 5:.1f}" y="{HEAD - 8}">{Markup.escape(phase["name"])}</text>'
        last = phase["name"]


def _grid(axes: Axes, unit: str, marks: Sequence[float]) -> Iterator[str]:
    for mark in marks:
        y = axes.y(mark)
        yield f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{number(mark)}</text>'
    yield f'<text class="tick" x="{LEFT - 7}" y="{HEAD - 8}" text-anchor="end">{unit}</text>'


def _seconds(axes: Axes) -> Iterator[str]:
    step = nice(axes.seconds / 10)
    for i in range(int(axes.seconds / step) + 1):
        anchor = "end" if i * step > axes.seconds * 0.98 else "middle"
        yield (f'<text class="tick" x="{axes.x(i * step):.1f}" y="{HEAD + HIGH + 16}" text-anchor="{anchor}">'
               f'{number(i * step)} s</text>')


def _bell(data: Mapping[str, Any], axes: Axes) -> Iterator[str]:
    if data["plan"]["bell"]:
        x = axes.x(data["plan"]["bell"])
        yield (f'<line class="bell" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD - 4}" y2="{HEAD + HIGH}"><title>bell</title>'
               '</line>')


def _line(axes: Axes, values: Values, width: float, kind: str) -> Iterator[str]:
    """A line through the middle of the slices, broken where nothing was measured."""
    run: list[str] = []
    for i, value in enumerate([*values, None]):
        if value is not None:
            run.append(f"{axes.x(min(axes.seconds, (i + 0.5) * width)):.1f},{axes.y(value):.1f}")
        elif run:
            if len(run) == 1:
                x, y = run[0].split(",")
                yield f'<circle class="dot {kind}" cx="{x}" cy="{y}" r="1.8"/>'
            else:
                yield f'<polyline class="line {kind}" points="{" ".join(run)}"/>'
            run = []


def _bars(axes: Axes, low: Sequence[float], high: Sequence[float], width: float, kind: str) -> Iterator[str]:
    """A bar in each slice from one height to another."""
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        if b > a:
            x, end = axes.x(i * width), axes.x(min(axes.seconds, (i + 1) * width))
            yield (f'<rect class="bar {kind}" x="{x + 0.3:.2f}" width="{max(0.6, end - x - 0.6):.2f}" '
                   f'y="{axes.y(b):.1f}" height="{axes.y(a) - axes.y(b):.1f}"/>')


def _linear(seconds: float, most: float) -> tuple[Axes, list[float]]:
    top = nice(max(most, 1e-9))
    return Axes(seconds, top), [0.0, top / 2, top]


def arrivals(data: Mapping[str, Any], series: Mapping[str, Any], seconds: float, width: float) -> Markup:
    """What was planned as steps, what was started as bars."""
    planned, started = ([n / width for n in series[name]] for name in ("planned", "started"))
    axes, marks = _linear(seconds, max([*planned, *started]))

    def inside() -> Iterator[str]:
        yield from _bars(axes, [0.0] * len(started), started, width, "ok")
        points = [f"{axes.x(min(seconds, (i + d) * width)):.1f},{axes.y(v):.1f}" for i, v in enumerate(planned)
                  for d in (0, 1) if i * width < seconds]
        yield f'<polyline class="line plan" points="{" ".join(points)}"/>'
    return _whole(data, axes, "/s", marks, inside())


def latencies(data: Mapping[str, Any], series: Mapping[str, Any], seconds: float, width: float) -> Markup:
    """Percentiles over time on a logarithmic axis, and the limits of the rules."""
    seen = [v for name, _ in BANDS for v in series[name] if v]
    limits = [r for r in data["rules"] if r["measure"].startswith("p") and not r["operation"]]
    most = max([*seen, *(r["limit"] * 1e3 for r in limits), 1.0])
    low = 10.0 ** math.floor(math.log10(min([*seen, most / 10])))
    top = 10.0 ** math.ceil(math.log10(most * 1.01))
    axes = Axes(seconds, top, low, log=True)
    marks = [10.0**k for k in range(round(math.log10(low)), round(math.log10(top)) + 1)]

    def inside() -> Iterator[str]:
        for name, kind in BANDS:
            yield from _line(axes, series[name], width, kind)
        for rule in limits:
            yield from _limit(data, axes, rule)
    return _whole(data, axes, "ms", marks, inside())


def _limit(data: Mapping[str, Any], axes: Axes, rule: Mapping[str, Any]) -> Iterator[str]:
    for phase in data["plan"]["phases"]:
        if rule["phase"] in {"*", phase["name"]}:
            y = axes.y(rule["limit"] * 1e3)
            yield (f'<line class="limit" x1="{axes.x(phase["begin"]):.1f}" x2="{axes.x(phase["end"]):.1f}" '
                   f'y1="{y:.1f}" y2="{y:.1f}"><title>{Markup.escape(rule["rule"])}</title></line>')


def answers(data: Mapping[str, Any], series: Mapping[str, Any], seconds: float, width: float) -> Markup:
    """Answers that were ok, throttled and errors, on top of one another."""
    ok, throttled, errors = ([n / width for n in series[name]] for name in ("ok", "throttled", "errors"))
    middle = [a + b for a, b in zip(ok, throttled, strict=True)]
    whole = [a + b for a, b in zip(middle, errors, strict=True)]
    axes, marks = _linear(seconds, max(whole))

    def inside() -> Iterator[str]:
        yield from _bars(axes, [0.0] * len(ok), ok, width, "ok")
        yield from _bars(axes, ok, middle, width, "throttled")
        yield from _bars(axes, middle, whole, width, "error")
    return _whole(data, axes, "/s", marks, inside())


def alive(data: Mapping[str, Any], series: Mapping[str, Any], seconds: float) -> Markup:
    """How many streams were alive: (second, number) pairs, as steps."""
    pairs = series["alive"]
    axes, marks = _linear(seconds, max(n for _, n in pairs))

    def inside() -> Iterator[str]:
        points: list[str] = []
        before = 0.0
        for second, count in pairs:
            x = axes.x(min(seconds, max(0.0, second)))
            points += [f"{x:.1f},{axes.y(before):.1f}", f"{x:.1f},{axes.y(count):.1f}"]
            before = count
        points.append(f"{axes.x(seconds):.1f},{axes.y(before):.1f}")
        yield f'<polyline class="line p50" points="{" ".join(points)}"/>'
    return _whole(data, axes, "", marks, inside())


def lateness(data: Mapping[str, Any], series: Mapping[str, Any], seconds: float, width: float) -> Markup:
    """How late arrivals were started."""
    late = series["lag_p99"]
    axes, marks = _linear(seconds, max([v for v in late if v is not None], default=1.0))
    shown: Callable[[], Iterator[str]] = lambda: _line(axes, late, width, "lag")  # noqa: E731
    return _whole(data, axes, "ms", marks, shown())
