"""The picture of a walk: right at 10 and at 60 pages, accessible, safe with hostile ids."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from journals import document, offsets

from openbell.profile import Page, SortKey
from openbell.reports.material import gather
from openbell.reports.walk_drawing import WIDTH, description, short, svg
from openbell.reports.walks import MOST_PAGES, Drawing, Served, Traced, draw, position_of

SVG = "{http://www.w3.org/2000/svg}"


def drawings(folder: Path, pages: int) -> dict[str, Drawing]:
    """The first drawing of each check, by check."""
    material = gather(offsets(folder, pages))
    found: dict[str, Drawing] = {}
    for (i, _), drawing in sorted(material.drawings.items()):
        found.setdefault(material.results.results[i].check, drawing)
    return found


def root_of(drawing: Drawing) -> ET.Element:
    return document(str(svg(drawing, "k")).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def classed(root: ET.Element, name: str) -> list[ET.Element]:
    return [e for e in root.iter() if name in e.get("class", "").split()]


@pytest.fixture(scope="module", params=[10, 60])
def drawn(request, tmp_path_factory):
    return request.param, drawings(tmp_path_factory.mktemp("walks") / "run", request.param)


def test_every_walk_finding_has_its_picture(drawn):
    assert set(drawn[1]) == {"PAG-002", "PAG-003", "PAG-006"}


@pytest.mark.parametrize("check", ["PAG-002", "PAG-003", "PAG-006"])
def test_a_picture_is_readable_and_named(drawn, check):
    pages, found = drawn
    root = root_of(found[check])
    _, _, width, height = map(float, root.get("viewBox", "").split())
    assert width == WIDTH
    assert 80 < height < 900
    shown = {e.text for e in classed(root, "w-label")}
    assert "page 10" in shown or check == "PAG-006"
    assert len(classed(root, "w-band")) == (3 if check == "PAG-006" else pages)
    assert root.get("role") == "img"
    named = {e.get("id"): e.text for e in root if e.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert list(named) == root.get("aria-labelledby", "").split()
    assert all(named.values())


def test_labels_do_not_overlap(drawn):
    for drawing in drawn[1].values():
        root = root_of(drawing)
        for name in ("w-label", "w-note", "w-told"):
            heights = sorted(float(e.get("y", "0")) for e in classed(root, name))
            assert all(b - a >= 11 for a, b in pairwise(heights))


def test_the_lost_row_is_a_hole_on_the_page_where_it_belongs(drawn):
    pages, found = drawn
    drawing = found["PAG-002"]
    assert (drawing.turn, drawing.hits) == (pages // 2, ())
    assert len(classed(root_of(drawing), "w-hole")) == 1
    assert f"belongs on page {pages // 2 + 1}, and was served on no page" in description(drawing)
    lost = drawing.order[next(s for s in drawing.order if s[0] == drawing.walk.item)]
    before = max(drawing.order[s] for s in drawing.pages[drawing.turn - 1].spots)
    after = min(drawing.order[s] for s in drawing.pages[drawing.turn].spots)
    assert before < lost < after


def test_the_repeated_row_is_marked_on_both_pages(drawn):
    pages, found = drawn
    drawing = found["PAG-003"]
    assert drawing.hits == (pages // 2 - 1, pages // 2)
    assert len(classed(root_of(drawing), "w-hit")) == 2
    assert len(classed(root_of(drawing), "w-trace")) == 1


def test_the_refused_page_is_marked(drawn):
    root = root_of(drawn[1]["PAG-006"])
    assert [e.text for e in classed(root, "w-wrong") if e.text] == ["page 3 · 400"]
    assert "page 3 answered 400" in (classed(root, "w-told")[0].text or "")


def test_the_write_stands_between_its_pages(drawn):
    pages, found = drawn
    drawing = found["PAG-002"]
    assert [i for i, marks in enumerate(drawing.marks) if i and marks] == [pages // 2]
    assert [m.kind for m in drawing.marks[pages // 2]] == ["leave"]


def test_the_exchanges_that_are_shown_are_those_around_the_loss(drawn):
    drawing = drawn[1]["PAG-002"]
    turning = {drawing.pages[drawing.turn].n, drawing.pages[drawing.turn - 1].n}
    assert turning <= drawing.focus
    assert len(drawing.focus) <= 12


def walk(*pages: Served, item: str = "b", sort: tuple[SortKey, ...] = (SortKey(at="/k", type="decimal"),)) -> Traced:
    return Traced("lost", item, "script", "end", Page(), sort, dict(enumerate(pages)), {})


def test_hostile_rows_are_escaped_and_bounded():
    evil = "</svg><script>\x00" + "x" * 500
    spots = tuple((f"{evil}{i}", ("NaN" if i % 2 else str(i * 7 % 400),)) for i in range(500))
    drawing = draw(walk(*(Served(n, n, 200, spots) for n in range(MOST_PAGES)), item=evil + "3"))
    assert drawing is not None
    text = svg(drawing, "k")
    assert "<script" not in text
    assert len(text) < 400_000
    root_of(drawing)


@pytest.mark.parametrize("sort", [(), (SortKey(at="/k"),), (SortKey(at="/k", type="decimal", descending=True),)])
def test_order_follows_the_sort_key_or_the_pages(sort):
    spots = tuple((i, (k,) if sort else ()) for i, k in (("a", "9"), ("b", "10"), ("c", "11")))
    drawing = draw(walk(Served(1, 0.0, 200, spots), sort=sort))
    assert drawing is not None
    ordered = [spot[0] for spot in sorted(drawing.order, key=drawing.order.__getitem__)]
    assert ordered == {(): ["a", "b", "c"], "text": ["b", "c", "a"], "decimal": ["c", "b", "a"]}[
        sort[0].type if sort else ()]


COUNTED = Page(mechanism="offset", put="ofs[]")


@pytest.mark.parametrize(("page", "ended", "labels"), [
    (COUNTED, "end", ["page 1", "page 2", "page 3 · end"]),
    (COUNTED, "error", ["page 1", "page 2", "page 3 · 404"]),
    (Page(), "end", ["page 1", "page 2", "page 3 · 404"]),
])
def test_a_refusal_behind_the_last_row_is_the_end_where_pages_are_counted(page, ended, labels):
    rows = [Served(n, n, 200, ((str(n), (str(n),)),), f"offset {n}") for n in range(2)]
    drawing = draw(replace(walk(*rows, Served(3, 3.0, 404, (), "offset 2")), page=page, ended=ended))
    assert drawing is not None
    root = root_of(drawing)
    assert [e.text for e in classed(root, "w-label")] == labels
    assert len(classed(root, "w-wrong")) == 2 * ("404" in labels[2])
    told = [e.text or "" for e in root.iter(f"{SVG}title")]
    assert any(t.startswith("page 2 (offset 1), ") for t in told)


@pytest.mark.parametrize(("url", "told"), [
    ("http://h/x?limit=5&ofs%5B%5D=10", "offset 10"), ("http://h/x?ofs%5B%5D=0&limit=5", "offset 0"),
    ("http://h/x?limit=5", ""), ("http://h/x?ofs%5B%5D=abc", ""), ("http://h/x?ofs%5B%5D=" + "9" * 99, "")])
def test_the_position_of_a_page_is_read_from_its_url(url, told):
    assert position_of(COUNTED, url) == told


def test_a_walk_that_could_not_be_read_has_no_picture():
    assert draw(walk()) is None


def test_long_ids_keep_their_ends():
    assert short("ord_6433e424a21ec6bdb388e62f") == "ord_6433e4…8e62f"
