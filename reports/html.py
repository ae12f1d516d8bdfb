"""The report as one HTML file: inline CSS, no script, nothing fetched, everything of the target escaped and bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markupsafe import Markup

from openbell.registry import AREAS, all_checks
from openbell.reports import stream_drawing
from openbell.reports.evidence import Seen, Shown
from openbell.reports.material import Material, proof
from openbell.reports.walk_drawing import svg
from openbell.reports.words import (
    SIGNS,
    WORST,
    accepted_block,
    blocking,
    line,
    reason_of,
    rules,
    verdict_word,
    visible,
)
from openbell.results import Finding, Result, Verdict


@dataclass(frozen=True)
class Card:
    """A result that a reader must see in full."""

    id: str
    result: Result
    rules: tuple[str, ...]
    requirement: str
    findings: tuple[Told, ...]


@dataclass(frozen=True)
class Told:
    """A finding with its story's steps, its picture and the events that prove it."""

    finding: Finding
    steps: tuple[str, ...]
    picture: Markup | None
    events: tuple[Shown | Seen, ...]


@dataclass(frozen=True)
class Area:
    """One area: the cards first, then the results that need a line only."""

    name: str
    title: str
    counts: tuple[tuple[Verdict, int], ...]
    cards: tuple[Card, ...]
    lines: tuple[Result, ...]


PLAIN = ("pass", "not-applicable")


def html(material: Material) -> bytes:
    """The bytes of `report.html`."""
    results = material.results
    areas = tuple(_areas(material))
    page = _template().render(
        m=material, results=results, areas=areas, word=verdict_word(results), counts=_counts(results.results),
        signs=SIGNS, listed=sorted((c for a in areas for c in a.cards), key=lambda c: WORST.index(c.result.verdict)),
        reason=reason_of(results), block=accepted_block(found) if (found := blocking(results)) else "")
    return page.encode("utf-8", "replace")


def _counts(results: tuple[Result, ...]) -> tuple[tuple[Verdict, int], ...]:
    found = ((v, sum(1 for r in results if r.verdict == v)) for v in WORST)
    return tuple((v, count) for v, count in found if count)


def _areas(material: Material) -> Iterator[Area]:
    requirements = {c.id: c.doc for c in all_checks()}
    found: dict[str, list[tuple[int, Result]]] = {area: [] for area in AREAS.values()}
    for i, result in enumerate(material.results.results):
        found.setdefault(result.area, []).append((i, result))
    for name, members in found.items():
        if members:
            cards = tuple(_card(material, i, r, requirements) for i, r in members if r.verdict not in PLAIN)
            yield Area(name, _title(name), _counts(tuple(r for _, r in members)), cards,
                       tuple(r for _, r in members if r.verdict in PLAIN))


def _title(area: str) -> str:
    words = area.replace("-", " ")
    return words.replace("http", "HTTP") if words.startswith("http") else words.capitalize()


def _card(material: Material, i: int, result: Result, requirements: Mapping[str, str]) -> Card:
    told = tuple(_told(material, (i, j), finding) for j, finding in enumerate(result.findings))
    return Card(f"r{i}", result, rules(result), requirements.get(result.check, ""), told)


def _told(material: Material, place: tuple[int, int], finding: Finding) -> Told:
    drawing, streams, key = material.drawings.get(place), material.timelines.get(place), f"w{place[0]}-{place[1]}"
    picture = svg(drawing, key) if drawing else stream_drawing.svg(streams, key) if streams else None
    return Told(finding, tuple(visible(finding.actual).splitlines()), picture, proof(material, place, finding))


@cache
def _template() -> Template:
    source = (files("openbell.reports") / "templates" / "report.html.j2").read_text("utf-8")
    environment = Environment(loader=DictLoader({"report": source}), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    filters: dict[str, Any] = {"visible": visible, "line": line}
    environment.filters.update(filters)
    return environment.get_template("report")
