"""What comes after a page, against a listing in memory: every row once, in order, and an end."""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.events import Exchange, Message
from openbell.loading import ProfileError, dumped, parse
from openbell.paging import Step, first, following, past_end
from openbell.profile import Page, Profile

SAYS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "total": {"total": "body:/total"},
    "next": {"next": "body:/links/next"},
    "more": {"end": {"at": "body:/more", "equals": False}},
}
MOST = 400


def profile(**page: Any) -> Profile:
    return parse({
        "target": {"name": "t", "base_url": "http://127.0.0.1:1", "control": "list"},
        "operation": {"list": {"role": "list", "method": "GET", "path": "/x", "page": "p"}},
        "page": {"p": page}}, "test")


def exchange(status: int, body: Any) -> Exchange:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Exchange(1, "s", "l", "scenario", "direct", 1, "full", "list", "GET", "http://127.0.0.1:1/x", Message(),
                    status, Message(content=content), None, 0.0, 0.1, 0.2)


@dataclass(frozen=True)
class Listing:
    """Rows that are served by position, in a size that is cut down to a maximum."""

    rows: int
    maximum: int
    refuses: bool

    def page(self, page: Page, query: dict[str, str], size: int | None) -> Exchange:
        """The page at the position of a query."""
        size = min(size or self.maximum, self.maximum)
        told = int(query[page.put]) - (page.first if page.first is not None else int(page.mechanism == "number"))
        at = told * size if page.mechanism == "number" else told
        if self.refuses and at and at >= self.rows:
            return exchange(404, {})
        more = at + size < self.rows
        return exchange(200, {"items": [{"id": str(i)} for i in range(self.rows)[at:at + size]], "total": self.rows,
                              "more": more, "links": {"next": "/x?further" if more else None}})


def walked(target: Profile, listing: Listing, size: int | None) -> tuple[list[int], int]:
    """The rows that a walk shows, and how many pages it asked for."""
    page = target.page["p"]
    step: Step | None = first(page)
    rows: list[int] = []
    for asked in range(1, MOST):
        assert step
        came = listing.page(page, dict(step.query), size)
        if came.status == 404:
            assert past_end(target, step, came)
            return rows, asked
        rows += [int(row["id"]) for row in json.loads(came.reply.content if came.reply else b"")["items"]]
        step = following(page, step, came, size)
        if step is None:
            return rows, asked
    raise AssertionError("the walk does not end")


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(mechanism=st.sampled_from(["number", "offset"]), says=st.sampled_from(sorted(SAYS)),
       start=st.none() | st.integers(0, 3), rows=st.integers(0, 60), maximum=st.integers(1, 25),
       size=st.none() | st.integers(1, 40), refuses=st.booleans())
def test_every_row_is_served_once_in_order_and_the_walk_ends(
        mechanism: str, says: str, start: int | None, rows: int, maximum: int, size: int | None,
        refuses: bool) -> None:
    target = profile(mechanism=mechanism, put="at", **SAYS[says], **({} if start is None else {"first": start}))
    shown, asked = walked(target, Listing(rows, maximum, refuses), size)
    assert shown == list(range(rows))
    full = max(1, math.ceil(rows / min(size or maximum, maximum)))
    assert full <= asked <= full + (says == "nothing")


def test_where_counting_begins() -> None:
    found = {(mechanism, start): [step.query["p"] for step in _steps(mechanism, start)]
             for mechanism in ("number", "offset") for start in (None, 0, 1)}
    assert found == {("number", None): ["1", "2"], ("number", 0): ["0", "1"], ("number", 1): ["1", "2"],
                     ("offset", None): ["0", "3"], ("offset", 0): ["0", "3"], ("offset", 1): ["1", "4"]}


def _steps(mechanism: Any, start: int | None) -> list[Step]:
    page = Page(mechanism=mechanism, put="p", first=start)
    second = following(page, first(page), exchange(200, {"items": [{}, {}, {}]}), 3)
    assert second
    return [first(page), second]


def test_a_page_without_its_mechanisms_next_has_the_usual_one() -> None:
    assert Page().next == "body:/next_cursor"
    assert Page(mechanism="offset").next is None
    assert Page.model_validate({"mechanism": "number", "next": "link:next"}).next == "link:next"


@pytest.mark.parametrize("page", [{}, {"mechanism": "offset"}, {"mechanism": "number", "next": "body:/next_cursor"},
                                  {"mechanism": "url", "next": "link:next"}])
def test_a_page_is_the_same_after_the_journal(page: dict[str, Any]) -> None:
    target = profile(**page)
    assert parse(dumped(target), "again") == target


def test_a_first_position_of_what_is_not_counted_is_a_mistake() -> None:
    with pytest.raises(ProfileError, match=r"page\.p\.first: is not counted from"):
        profile(first=0)


def test_a_cursor_and_a_url_are_taken_as_they_are() -> None:
    body = exchange(200, {"items": [], "next_cursor": "c1"})
    assert following(Page(), first(Page()), body, 5) == Step({"cursor": "c1"})
    url = Page(mechanism="url")
    assert following(url, first(url), body, 5) == Step({}, "c1")
    assert following(Page(), first(Page()), exchange(200, {"items": [{}]}), 1) is None


def test_a_refusal_of_a_page_that_was_promised_is_no_end() -> None:
    target = profile(mechanism="offset", total="body:/total")
    page = target.page["p"]
    step = following(page, first(page), exchange(200, {"items": [{}], "total": 9}), 1)
    assert step
    assert not past_end(target, step, exchange(404, {}))
    assert not past_end(target, first(page), exchange(404, {}))


@pytest.mark.parametrize("says", sorted(SAYS))
@pytest.mark.parametrize("body", [
    b"", b"[]", b"\xff", b"null", b'{"items": 7}', b'{"items": null, "total": -1}', b'{"items": [], "total": 1e99}',
    b'{"items": [], "total": %s}' % (b"9" * 5000), b'{"items": [1, [], null], "total": {}, "links": [], "more": {}}',
    b'{"items": [{}], "total": "\xd9\xa3"}'])
def test_no_content_is_too_strange(says: str, body: bytes) -> None:
    target = profile(mechanism="offset", **SAYS[says])
    page = target.page["p"]
    following(page, first(page), exchange(200, body), 3)
    following(page, first(page), exchange(200, body), None)


def test_positions_that_count_rows_stand_still_only_on_empty_pages() -> None:
    """A target that says there is more after an empty page has it asked for again: who walks bounds that."""
    target = profile(mechanism="offset", **SAYS["more"])
    page, empty = target.page["p"], exchange(200, {"items": [], "more": True})
    steps = [first(page)]
    for _ in range(3):
        further = following(page, steps[-1], empty, 3)
        assert further
        steps.append(further)
    assert all(one.query == other.query and one.pages < other.pages for one, other in pairwise(steps))
