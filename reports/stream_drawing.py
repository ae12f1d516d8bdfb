"""A stream's connections as a picture: time runs to the right, each connection has a lane of its own.

What the server sent stands above a lane's line, what the client sent below it. A lane says on its left from which
position it was resumed, on its right how it ended; what is missing is an outlined stretch with its positions. Where
marks would cover each other they become bars, as high as there are many of them in their bit of time.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from openbell.reports.streams import Kind, Lane, Mark, Span, Timeline
from openbell.reports.words import line

WIDTH, LEFT, PLOT, TOP = 960, 160, 584, 34
RIGHT = LEFT + PLOT + 14
TALL, BASE, LETTER = 54.0, 31.0, 6.4
MARKS, MOST_ALIKE, MOST_CITED, MOST_SPANS, BIN, TITLE = 360, 100, 8, 12, 4, 60
LEGEND_LINE = 19.0
LETTERS_LEFT, LETTERS_RIGHT, TOLD_LINES = 24, 31, 2
SIGNS: dict[Kind, str] = {
    "update": "M{x:.1f} {y:.1f}v{d}11", "message": "M{x:.1f} {y:.1f}v{d}6", "request": "M{x:.1f} {y:.1f}v{d}9",
    "warning": "M{x:.1f} {y:.1f}m0 {d}3l4 {d}5l-4 {d}5l-4 {u}5z", "handshake": "M{x:.1f} {y:.1f}m0 -9v18",
    "script": "M{x:.1f} {y:.1f}v{d}10l6 {u}3l-6 {u}3", "fact": "M{x:.1f} {y:.1f}m-3 0l3 -3l3 3l-3 3z",
    "fault": "M{x:.1f} {y:.1f}m2 -11l-5 11h5l-4 11", "close": "M{x:.1f} {y:.1f}m-3 {d}3h6v{d}6h-6z",
    "end": "M{x:.1f} {y:.1f}m-4 -5l8 10m0 -10l-8 10"}
ROUND: tuple[Kind, ...] = ("ping", "pong", "beat")
LEGEND: tuple[tuple[Kind, str], ...] = (
    ("handshake", "handshake"), ("script", "script"), ("update", "update"), ("message", "other message"),
    ("warning", "error, gap, snapshot"), ("ping", "ping"), ("pong", "pong"), ("beat", "heartbeat"), ("close", "close"),
    ("fault", "fault"), ("fact", "fact"), ("request", "HTTP request"), ("end", "end"))


@dataclass(frozen=True)
class _Scale:
    """Seconds to places."""

    start: float
    seconds: float

    def x(self, at: float) -> float:
        return LEFT + PLOT * min(1.0, max(0.0, (at - self.start) / self.seconds))


def svg(t: Timeline, key: str) -> Markup:
    """The picture as inline SVG, styled by the page's classes `t-…`; `key` makes its ids unique on the page."""
    scale = _Scale(t.start, max(1e-6, t.end - t.start))
    bottom = TOP + TALL * len(t.lanes)
    parts = [_head(t, key, bottom), *_axis(scale, bottom)]
    for i, lane in enumerate(t.lanes):
        parts += _lane(t, lane, scale, TOP + TALL * i, focused=i == t.focus)
    return Markup("\n").join([*parts, *_legend(t, bottom + 24), *_rest(t, bottom + 68), Markup("</svg>")])


def _head(t: Timeline, key: str, bottom: float) -> Markup:
    return Markup(
        '<svg class="walk time" viewBox="0 0 {w} {h:.0f}" role="img" aria-labelledby="{k}-t {k}-d">'
        '<title id="{k}-t">{title}</title><desc id="{k}-d">{desc}</desc>').format(
            w=WIDTH, h=bottom + (78 if rest(t) else 54), k=key, title=title(t), desc=description(t))


def title(t: Timeline) -> str:
    """The picture's name."""
    count = sum(lane.conn is not None for lane in t.lanes)
    return f"The stream {line(t.stream, 60)}: {count} connection{'s' * (count != 1)} in {_span(t.end - t.start)}"


def description(t: Timeline) -> str:
    """The picture in words."""
    counts = ", ".join(f"{t.counts[kind]:,} × {name}" for kind, name in LEGEND if t.counts.get(kind))
    lane = t.lanes[t.focus]
    holes = [s.told for one in t.lanes for s in one.spans if s.kind == "hole"]
    missing = f" Missing: {', '.join(holes[:MOST_SPANS])}." if holes else ""
    return (f"{counts}. Broken on {line(lane.label, 60)}: {line(t.rule, 60)}: {line(t.told, 160)}."
            f"{missing} It ended: {line(lane.ended, 80)}. {rest(t)}").strip()


def rest(t: Timeline) -> str:
    """What is not shown, in words; nothing where all is."""
    parts = [(t.before, "connection{s} before these"), (t.after, "connection{s} after or between them"),
             (t.later, "event{s} of the finding outside of this time"), (t.left, "event{s} beyond what a report keeps")]
    told = [f"{count:,} {words.format(s='s' * (count != 1))}" for count, words in parts if count]
    return f"Not shown: {'; '.join(told)}." if told else ""


def _rest(t: Timeline, y: float) -> Iterator[Markup]:
    if told := rest(t):
        yield Markup('<text x="{x}" y="{y:.0f}">{t}</text>').format(x=LEFT, y=y, t=told)


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def ticks(seconds: float) -> tuple[float, ...]:
    """Round times from 0 on, at most eleven, whose step is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(seconds / 10))
    step = next(power * m for m in (1, 2, 5, 10) if seconds / (power * m) <= 10)
    return tuple(step * i for i in range(int(seconds / step) + 1))


def _axis(scale: _Scale, bottom: float) -> Iterator[Markup]:
    places = ticks(scale.seconds)
    digits = max(0, -math.floor(math.log10(places[1]))) if len(places) > 1 else 1
    for at in places:
        x = scale.x(scale.start + at)
        yield Markup('<line class="w-rule" x1="{x:.1f}" y1="22" x2="{x:.1f}" y2="{b:.0f}"/>'
                     '<text class="t-tick" x="{x:.1f}" y="15">{t} s</text>').format(x=x, b=bottom, t=f"{at:.{digits}f}")


# --- one lane


def _lane(t: Timeline, lane: Lane, scale: _Scale, top: float, *, focused: bool) -> Iterator[Markup]:
    y, wrong = top + BASE, any(m.n in t.cited for m in lane.marks)
    yield Markup('<g class="t-lane">')
    yield _label(lane, y, wrong=wrong)
    yield Markup('<line class="t-life" x1="{a:.1f}" y1="{y:.1f}" x2="{b:.1f}" y2="{y:.1f}"/>').format(
        a=scale.x(lane.start), b=scale.x(lane.end), y=y)
    yield from (_stretch(s, scale, y) for s in lane.spans[:MOST_SPANS] if s.kind == "paused")
    singles, dense = _split(lane.marks, MARKS // len(t.lanes))
    for kind, by, marks in dense:
        yield _bars(kind, by, marks, scale, y)
    yield from (_stretch(s, scale, y) for s in lane.spans[:MOST_SPANS] if s.kind != "paused")
    yield from (_mark(m, scale, y, cited=False) for m in singles if m.n not in t.cited)
    cited = [m for m in lane.marks if m.n in t.cited][:MOST_CITED]
    yield from (_mark(m, scale, y, cited=True) for m in cited)
    yield from _names(lane, cited, singles, scale, y)
    if lane.conn is not None:
        yield from _end(t, lane, y, focused=focused)
    yield Markup("</g>")


def _label(lane: Lane, y: float, *, wrong: bool) -> Markup:
    """The lane's name, and under it what went over it."""
    counts = Counter(m.kind for m in lane.marks)
    said = f"after {lane.since}" if lane.since else f"{counts['request']:,} requests" if counts["request"] else ""
    updates = f"{counts['update']:,} update{'s' * (counts['update'] != 1)}" if lane.conn is not None else ""
    return Markup('<text class="w-label t-name{c}" x="{x}" y="{a:.1f}">{name}</text>'
                  '<text class="w-label" x="{x}" y="{b:.1f}">{said}</text>').format(
        c=" w-wrong" if wrong else "", x=LEFT - 12, a=y - 2, b=y + 12, name=line(lane.label, LETTERS_LEFT - 8),
        said=line(", ".join(filter(None, (said, updates))), LETTERS_LEFT))


def _split(marks: Sequence[Mark], few: int) -> tuple[list[Mark], list[tuple[Kind, str, list[Mark]]]]:
    """The marks that are drawn one by one, the rarest kinds first, and those of which there are too many."""
    groups: dict[tuple[Kind, str], list[Mark]] = {}
    for mark in marks:
        groups.setdefault((mark.kind, mark.by), []).append(mark)
    singles: list[Mark] = []
    dense = []
    for (kind, by), found in sorted(groups.items(), key=lambda group: len(group[1])):
        if len(found) <= MOST_ALIKE and len(singles) + len(found) <= few:
            singles += found
        else:
            dense.append((kind, by, found))
    return singles, dense


def _bars(kind: Kind, by: str, marks: Sequence[Mark], scale: _Scale, y: float) -> Markup:
    """How many there are in each bit of time, as bars above or below the line; their heights go by the root."""
    bins = Counter(int((scale.x(m.at) - LEFT) / BIN) for m in marks)
    most, high = max(bins.values()), 17 if kind in {"update", "request"} else 8
    up = -1 if by != "client" else 1
    path = "".join(f"M{LEFT + BIN * i + BIN / 2:.0f} {y:.1f}v{up * max(1.5, high * math.sqrt(n / most)):.1f}"
                   for i, n in sorted(bins.items()))
    each = BIN / PLOT * scale.seconds
    return Markup('<path class="t-bars t-{k}" d="{d}"><title>{t}</title></path>').format(
        k=kind, d=path, t=f"{len(marks):,} × {kind}, at most {most:,} in {_span(each)}")


def _mark(mark: Mark, scale: _Scale, y: float, *, cited: bool) -> Markup:
    told = f"{line(mark.told, TITLE)}; {mark.at - scale.start:.3f} s, event {mark.n}"
    return Markup('<g class="t-{k}{c}"><title>{t}</title>{s}</g>').format(
        k=mark.kind, c=" t-cited" if cited else "", t=told, s=_sign(mark.kind, mark.by, scale.x(mark.at), y))


def _sign(kind: Kind, by: str, x: float, y: float) -> Markup:
    d, u = ("", "-") if by == "client" else ("-", "")
    if kind in ROUND:
        return Markup('<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>').format(x=x, y=y + (6 if by == "client" else -6))
    return Markup('<path d="{d}"/>').format(d=SIGNS[kind].format(x=x, y=y, d=d, u=u))


def _stretch(span: Span, scale: _Scale, y: float) -> Markup:
    """A client that does not read; something that is missing."""
    x, end = scale.x(span.start), scale.x(span.end)
    wide, over = max(8.0, end - x), 9 if span.kind == "paused" else 17
    return Markup('<rect class="t-{k}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h}" rx="2"><title>{t}</title>'
                  '</rect>').format(k=span.kind, x=min(x, end - wide), y=y - over, w=wide, h=over + 9,
                                    t=span.told if span.kind != "hole" else f"missing: {line(span.told, 60)}")


def _names(lane: Lane, cited: Sequence[Mark], singles: Sequence[Mark], scale: _Scale, y: float) -> Iterator[Markup]:
    """Names over marks, as far as there is room: of what is missing, of what is cited, then positions of updates."""
    wanted = [(scale.x((s.start + s.end) / 2), s.told, "w-told") for s in lane.spans[:MOST_SPANS]
              if s.kind != "paused"]
    wanted += [(scale.x(m.at), m.short, "w-told") for m in cited]
    wanted += [(scale.x(m.at), m.short, "t-small") for m in singles
               if m.kind in {"update", "fault", "warning"} or (m.kind == "fact" and m.by == "")]
    taken: list[tuple[float, float]] = []
    for x, name, cls in wanted:
        half = LETTER * len(name := line(name, 24)) / 2 + 2
        middle = min(max(x, LEFT + half), LEFT + PLOT - half)
        if name and all(middle + half < a or middle - half > b for a, b in taken):
            taken.append((middle - half, middle + half))
            yield Markup('<text class="t-over {c}" x="{x:.1f}" y="{y:.1f}">{n}</text>').format(
                c=cls, x=middle, y=y - 21, n=name)


def _end(t: Timeline, lane: Lane, y: float, *, focused: bool) -> Iterator[Markup]:
    """How it ended, in words, and what is wrong with it."""
    told = textwrap.wrap(line(t.told, 200), LETTERS_RIGHT - 2, max_lines=TOLD_LINES, placeholder=" …")
    told = told if focused else []
    first = y - 6 if told else y + 4
    yield Markup('<text class="w-note" x="{x}" y="{y:.1f}">{t}</text>').format(
        x=RIGHT, y=first - 4 * (len(told) > 1), t=line(lane.ended, LETTERS_RIGHT))
    for i, words in enumerate(told):
        yield Markup('<text class="w-told" x="{x}" y="{y:.1f}">{t}</text>').format(
            x=RIGHT, y=first + 14 * (i + 1) - 4 * (len(told) > 1), t=("◂ " if i == 0 else "  ") + words)


# --- what the signs mean


def _legend(t: Timeline, y: float) -> Iterator[Markup]:
    """The signs that are in the picture; above the line is the server, below it the client."""
    for kind, name, x, row in _placed(t):
        at = y + LEGEND_LINE * row
        yield Markup('<g class="t-{k}">{s}</g><text x="{x:.0f}" y="{y:.0f}">{n}</text>').format(
            k=kind, s=_sign(kind, "client" if kind == "script" else "server", x + 4, at - 4), x=x + 13, y=at, n=name)
    yield Markup('<text x="4" y="{y:.0f}">server above the line,</text><text x="4" y="{z:.0f}">client below it</text>'
                 ).format(y=y, z=y + LEGEND_LINE)


def _placed(t: Timeline) -> list[tuple[Kind, str, float, int]]:
    """The kinds that occur, each with its name, its place and its row."""
    kinds = {m.kind for lane in t.lanes for m in lane.marks}
    placed: list[tuple[Kind, str, float, int]] = []
    x, row = float(LEFT), 0
    for kind, name in LEGEND:
        wide = 27 + LETTER * len(name)
        if kind in kinds:
            x, row = (x, row) if x + wide <= WIDTH else (float(LEFT), row + 1)
            placed.append((kind, name, x, row))
            x += wide
    return placed
