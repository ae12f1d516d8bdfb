"""A walk through a listing as a picture: time runs down, the listing's order runs to the right.

Each page is a row; the items that it served are marked at their places in the order, so that a walk that loses and
repeats nothing is a staircase without holes or overlaps. Writes stand between the pages, at the place of the item that
they touched. The lost item is a line through the place where it was never served; the repeated one joins its two
servings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from openbell.reports.walks import MOST_ROWS, NEAR, Drawing, Mark, Spot
from openbell.reports.words import line

FULL = 14
WIDTH, LEFT, PLOT, TOP = 960, 104, 560, 34
RIGHT = LEFT + PLOT + 16
TALL, LOW, LINE, TICK = 24.0, 7.0, 17.0, 4.0
SIGN = {"insert": ("+", "inserted"), "leave": ("−", "left"), "move": ("→", "moved")}
TOLD = {"lost": "served on no page", "repeated": "served again"}


@dataclass(frozen=True)
class _Rows:
    """The vertical places: of each page its top and height, of each gap its top and whether its writes are told."""

    pages: tuple[tuple[float, float], ...]
    gaps: tuple[tuple[float, bool], ...]
    height: float


def _rows(d: Drawing) -> _Rows:
    """Near the turn, and in short walks, rows are tall and writes have a line of text; elsewhere they are low."""
    y, pages, gaps = float(TOP), [], []
    few = len(d.pages) <= FULL
    for i in range(len(d.pages) + 1):
        close = few or abs(i - d.turn) <= 1
        told = bool(d.marks[i]) and close
        gaps.append((y, told))
        y += (LINE if told else TICK if d.marks[i] else 2.0) if i or d.marks[0] else 0.0
        if i < len(d.pages):
            tall = few or abs(i - d.turn) <= NEAR or i in d.hits[:3]
            pages.append((y, TALL if tall else LOW))
            y += TALL if tall else LOW
    return _Rows(tuple(pages), tuple(gaps), y + 14)


def svg(d: Drawing, key: str) -> Markup:
    """The picture as inline SVG, styled by the page's classes `w-…`; `key` makes its ids unique on the page."""
    rows = _rows(d)
    parts = [_head(d, key, rows), _axis()]
    parts += [_page(d, i, *rows.pages[i]) for i in range(len(d.pages))]
    parts.append(_trace(d, rows))
    parts += [_marks(d, i, *rows.gaps[i]) for i in range(len(d.marks))]
    return Markup("\n").join([*parts, _verdict(d, rows), Markup("</svg>")])


def _x(d: Drawing, place: float) -> float:
    return LEFT + PLOT * place / max(1, len(d.order))


def _head(d: Drawing, key: str, rows: _Rows) -> Markup:
    return Markup(
        '<svg class="walk" viewBox="0 0 {w} {h:.0f}" role="img" aria-labelledby="{k}-t {k}-d">'
        '<title id="{k}-t">{title}</title><desc id="{k}-d">{desc}</desc>').format(
            w=WIDTH, h=rows.height, k=key, title=title(d), desc=description(d))


def title(d: Drawing) -> str:
    """The picture's name."""
    return f"The walk {line(d.walk.script, 40)}: {len(d.pages)} pages, and what was written between them"


def description(d: Drawing) -> str:
    """The picture in words."""
    item, turn = line(d.walk.item or "the row", 60), d.turn + 1
    writes = sum(map(len, d.marks[1:]))
    told = {"lost": f"{item} belongs on page {turn}, and was served on no page.",
            "repeated": f"{item} was served on the pages {', '.join(str(h + 1) for h in d.hits[:6])}.",
            "gone": f"{item} left the listing; page {turn} shows what {_led(d)} gave."}[d.walk.kind]
    return f"{len(d.pages)} pages, {writes} writes during the walk, which ended with: {line(d.walk.ended, 20)}. {told}"


def _led(d: Drawing) -> str:
    return "the position behind it" if d.walk.page.counted else "the cursor behind it"


def _axis() -> Markup:
    return Markup(
        '<text class="w-axis" x="{x}" y="14">the listing, in its order →</text>'
        '<text class="w-axis" x="0" y="14">time ↓</text>'
        '<line class="w-rule" x1="{x}" y1="22" x2="{end}" y2="22"/>').format(x=LEFT, end=LEFT + PLOT)


def _page(d: Drawing, i: int, y: float, h: float) -> Markup:
    """One page: its label, and its rows as runs of neighbours, or one by one where there is room."""
    page = d.pages[i]
    places = sorted(d.order[s] for s in page.spots)
    refused = page.status is None or not 200 <= page.status < 300
    # Where pages are counted and nothing tells the last one, a refusal of the next is the end.
    wrong = refused and not (d.walk.page.counted and d.walk.ended == "end" and page is d.pages[-1])
    parts = [Markup("<g><title>{t}</title>").format(t=_page_title(d, i))]
    if h >= TALL or (i + 1) % 10 == 0:
        came = f" · {page.status or 'no reply'}" if wrong else " · end" if refused else ""
        parts.append(Markup('<text class="w-label{c}" x="{x}" y="{y:.1f}">page {n}{came}</text>').format(
            c=" w-wrong" if wrong else "", x=LEFT - 10, y=y + h / 2 + 4, n=i + 1, came=came))
    inset = h * 0.1 if h >= TALL else 0.0
    parts.append(Markup('<rect class="w-band{c}" x="{x}" y="{y:.1f}" width="{w}" height="{h:.1f}"/>').format(
        c=" w-wrong" if wrong else "", x=LEFT, y=y + inset, w=PLOT, h=h - 2 * inset))
    parts += [_cell(d, first, last, y, h) for first, last in _runs(places, split=PLOT / max(1, len(d.order)) >= 7)]
    parts += [_hit(d, s, y, h) for s in page.spots if s[0] == d.walk.item and d.walk.item][:2]
    return Markup("").join([*parts, Markup("</g>")])


def _page_title(d: Drawing, i: int) -> str:
    page = d.pages[i]
    when = f"page {i + 1}{page.at and f' ({page.at})'}, {1000 * (page.sent - d.pages[0].sent):.0f} ms after the first"
    return f"{when}: {_said(page.spots[0])} to {_said(page.spots[-1])}" if page.spots else f"{when}: no rows"


def _said(spot: Spot) -> str:
    return line(f"{spot[0]} ({', '.join(k for k in spot[1] if k != spot[0])})", 60)


def _runs(places: Sequence[int], *, split: bool) -> list[tuple[int, int]]:
    """Neighbouring places as (first, last); each on its own when `split`. Forty runs at most."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and place == runs[-1][1] + 1 and not split:
            runs[-1] = (runs[-1][0], place)
        elif not runs or place > runs[-1][1]:
            runs.append((place, place))
    limit = MOST_ROWS if split else 40
    return runs if len(runs) <= limit else [(runs[0][0], runs[-1][1])]


def _cell(d: Drawing, first: int, last: int, y: float, h: float) -> Markup:
    x, end = _x(d, first), _x(d, last + 1)
    room = 1.2 if end - x > 5 else 0.0
    return Markup('<rect class="w-row" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{r}"/>').format(
        x=x + room, y=y + h * 0.2, w=max(1.0, end - x - 2 * room), h=h * 0.6, r=1.5 if h >= TALL else 0)


def _hit(d: Drawing, spot: Spot, y: float, h: float) -> Markup:
    """A serving of the traced item."""
    x, wide = _x(d, d.order[spot]), max(5.0, PLOT / max(1, len(d.order)))
    return Markup('<rect class="w-hit" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="1.5"/>').format(
        x=x, y=y + h * 0.12, w=wide, h=h * 0.76)


def _marks(d: Drawing, i: int, y: float, told: bool) -> Markup:
    """The writes of one gap as signs at their items' places, and in words where there is room."""
    if not d.marks[i]:
        return Markup("")
    middle = y + (LINE if told else TICK) / 2
    parts = [_sign(d, mark, middle, told) for mark in d.marks[i][:60] if i or mark.spot[0] == d.walk.item]
    if told:
        parts.append(Markup('<text class="w-note" x="{x}" y="{y:.1f}">{t}</text>').format(
            x=RIGHT, y=middle + 4, t=_in_words(d, i)))
    return Markup("").join(parts)


def _sign(d: Drawing, mark: Mark, y: float, told: bool) -> Markup:
    place = d.order.get(mark.spot, _last_place(d, mark.spot[0]))
    if place is None:
        return Markup("")
    x = _x(d, place + 0.5)
    if not told:
        return Markup('<circle class="w-mark" cx="{x:.1f}" cy="{y:.1f}" r="2"/>').format(x=x, y=y)
    return Markup('<g class="w-mark"><title>{t}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="6.5"/>'
                  '<text x="{x:.1f}" y="{ty:.1f}">{s}</text></g>').format(
        t=_write_title(mark), x=x, y=y, ty=y + 4, s=SIGN.get(mark.kind, ("•", ""))[0])


def _last_place(d: Drawing, item: str) -> int | None:
    return next((place for spot, place in d.order.items() if spot[0] == item), None)


def _write_title(mark: Mark) -> str:
    return f"{_said(mark.spot)} {SIGN.get(mark.kind, ('', mark.kind))[1]} (event {mark.n})"


def _in_words(d: Drawing, i: int) -> str:
    marks = [m for m in d.marks[i] if i or m.spot[0] == d.walk.item]
    if not marks:
        return ""
    more = f", and {len(marks) - 1} more" if len(marks) > 1 else ""
    sign, word = SIGN.get(marks[0].kind, ("•", marks[0].kind))
    return f"{sign} {short(marks[0].spot[0])} {word}{more}"


def short(item: str) -> str:
    """An item's id in little room: its beginning and its end."""
    return line(item if len(item) <= 17 else f"{item[:10]}…{item[-5:]}")


def _trace(d: Drawing, rows: _Rows) -> Markup:
    """The line of the traced item: through all of time when lost, between its servings when repeated."""
    if d.place is None:
        return Markup("")
    top, bottom = 24.0, rows.height - 8
    if d.walk.kind == "repeated" and len(d.hits) > 1:
        top, bottom = rows.pages[d.hits[0]][0], rows.pages[d.hits[-1]][0]
    return Markup('<line class="w-trace" x1="{x:.1f}" y1="{a:.1f}" x2="{x:.1f}" y2="{b:.1f}"/>').format(
        x=_x(d, d.place + 0.5), a=top, b=bottom)


def _verdict(d: Drawing, rows: _Rows) -> Markup:
    """What is wrong, beside the page where it is wrong; the hole of a lost item."""
    y, h = rows.pages[d.turn]
    parts = []
    if d.walk.kind == "lost" and d.place is not None:
        wide = max(8.0, PLOT / max(1, len(d.order)))
        parts.append(Markup('<rect class="w-hole" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="2"/>'
                            ).format(x=_x(d, d.place + 0.5) - wide / 2, y=y + h * 0.08, w=wide, h=h * 0.84))
    parts.append(Markup('<text class="w-told" x="{x}" y="{y:.1f}">◂ {t}</text>').format(
        x=RIGHT, y=y + h / 2 + 4, t=_told(d)))
    return Markup("").join(parts)


def _told(d: Drawing) -> str:
    if d.walk.kind == "gone":
        return f"page {d.turn + 1} answered {d.pages[d.turn].status or 'nothing'}"
    return f"{short(d.walk.item or 'a row')} {TOLD[d.walk.kind]}"
