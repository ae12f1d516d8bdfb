"""The pagination checks are proved together with their scenarios, over simulated servers: never broken on right ones,
always broken by the declared rule on wrong ones, whatever the instants at which things take effect."""

import random
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from page_cuts import (
    RIGHT,
    Make,
    Page,
    at_least,
    backwards,
    cutting,
    endless,
    error_after_end,
    from_the_start,
    gone,
    having,
    key_only,
    next_dropped,
    numbered,
    offset,
    plain,
    row_dropped,
    row_looked_up,
    starting_again,
    ties_shuffled,
)
from page_server import (
    READ_ONLY,
    SUBJECT,
    TARGET,
    Mark,
    Refused,
    Server,
    View,
    decided,
    keyset,
    observed,
    record,
    rules,
)

from openbell.conformance.cursors import opaque, page_size_limits, readable
from openbell.conformance.pages_quiet import complete, ordered
from openbell.conformance.pages_under_writes import cursor_row_gone, no_repeats, no_skips
from openbell.conformance.walks import key_of_item
from openbell.events import Exchange, Fact, Message, Recording
from openbell.profile import Profile, SortKey
from openbell.registry import Check
from openbell.scenarios.cursors import cursor_tampering, edited, flipped, page_sizes
from openbell.scenarios.pages import KEYED, REFERENCE, pages_cursor_row, pages_one_sided
from openbell.scenarios.pages_quiet import one_over, pages_quiet

SCENARIOS = {check.id: (check.evidence[0], check) for check in (
    complete, no_skips, no_repeats, ordered, cursor_row_gone, opaque, page_size_limits)}
few = settings(max_examples=3, derandomize=True, deadline=None, database=None,
               suppress_health_check=[HealthCheck.too_slow])
seeds = given(seed=st.integers(0, 2**32))


WRONG: list[tuple[str, Make, Check, str]] = [
    ("offset", cutting(offset), no_skips, "skipped"),
    ("offset", cutting(offset), no_repeats, "repeated"),
    ("at-least", cutting(at_least), complete, "duplicate"),
    ("at-least", cutting(at_least), no_repeats, "repeated"),
    ("at-least", cutting(at_least), ordered, "order-broken"),
    ("key-only", cutting(key_only), complete, "incomplete"),
    ("key-only", cutting(key_only), no_skips, "skipped"),
    ("key-only", cutting(key_only), ordered, "ties-lost"),
    ("row-dropped", cutting(numbered(row_dropped)), no_skips, "skipped"),
    ("row-dropped", cutting(numbered(row_dropped)), complete, "incomplete"),
    ("next-dropped", cutting(numbered(next_dropped)), complete, "incomplete"),
    ("endless", cutting(endless), complete, "endless"),
    ("next-after-end", cutting(error_after_end), complete, "next-after-end"),
    ("order-broken", cutting(numbered(backwards)), ordered, "order-broken"),
    ("ties-shuffled", cutting(ties_shuffled), ordered, "walks-differ"),
    ("row-looked-up-400", cutting(row_looked_up(gone)), cursor_row_gone, "cursor-row-error"),
    ("row-looked-up-restart", cutting(row_looked_up(from_the_start)), cursor_row_gone, "cursor-row-restart"),
    ("first-page", having(bad_cursor="first-page"), opaque, "first-page"),
    ("crash", having(bad_cursor="crash"), opaque, "server-error"),
    ("account-trusted", having(readable=True, trusts_account=True), opaque, "foreign-data"),
    ("account-trusted", having(readable=True, trusts_account=True), opaque, "readable"),
    ("no-maximum", having(maximum=None), page_size_limits, "over-maximum"),
    ("negative-accepted", having(negative=True), page_size_limits, "negative-accepted"),
    ("no-default", having(default=None), page_size_limits, "default-unbounded"),
]


def filled(make: Make, check: Check, seed: int) -> Server:
    """A server in which the principals have rows of their own where the check's scenario brings none."""
    server = make(random.Random(seed))
    server.rows["tenant"] = {f"tenant-{i}": Decimal(50 + i) for i in range(6)}
    if check is page_size_limits:
        server.rows["owner"] = {f"owner-{i:03}": Decimal(i // 7) for i in range(260)}
    return server


@pytest.mark.parametrize("check_id", SCENARIOS)
@pytest.mark.parametrize("name", RIGHT)
@few
@seeds
def test_right_servers_are_never_broken_and_are_decided(name: str, check_id: str, seed: int) -> None:
    scenario, check = SCENARIOS[check_id]
    recording = record(scenario, filled(RIGHT[name], check, seed))
    assert rules(check, recording) == set()
    assert decided(check, recording) >= check.minimum


@pytest.mark.parametrize(("name", "make", "check", "rule"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
@few
@seeds
def test_wrong_servers_are_broken_by_the_declared_rule(name: str, make: Make, check: Check, rule: str,
                                                       seed: int) -> None:
    recording = record(check.evidence[0], filled(make, check, seed))
    assert rule in rules(check, recording)


@pytest.mark.parametrize("name", ["keyset", "snapshot", "short-pages"])
@few
@seeds
def test_right_servers_are_not_broken_by_writes_without_an_answer(name: str, seed: int) -> None:
    recording = record(pages_one_sided, RIGHT[name](random.Random(seed)), flaky=0.15)
    assert rules(no_skips, recording) == rules(no_repeats, recording) == set()


@pytest.mark.parametrize("check", [no_skips, no_repeats, cursor_row_gone])
@few
@seeds
def test_a_target_that_asks_to_start_again_is_not_broken_when_the_walk_then_ends(check: Check, seed: int) -> None:
    recording = record(check.evidence[0], cutting(starting_again)(random.Random(seed)))
    assert rules(check, recording) == set()
    assert decided(check, recording) >= check.minimum
    assert any(f.data["restarts"] for f in recording.facts("walk"))


def test_a_target_that_always_asks_to_start_again_is_not_decided() -> None:
    def never(view: View, mark: Mark) -> Page:
        if mark:
            raise Refused(409, "list_changed")
        return keyset(view, mark)
    recording = record(pages_cursor_row, cutting(never)(random.Random(16)))
    assert {o.state for o in observed(cursor_row_gone, recording)} == {"undecided"}


class Staying(Server):
    """A cancel is answered as one that worked, and changes nothing."""

    def write(self, by: str, op: str, params: Any) -> Any:
        return (200, {"id": params["id"]}) if op == "cancel" else super().write(by, op, params)


def test_a_row_that_never_left_decides_nothing() -> None:
    recording = record(pages_cursor_row, Staying(keyset, random.Random(20)))
    assert {o.reason for o in observed(cursor_row_gone, recording)} == {"precondition"}
    assert all("is still listed afterwards" in o.actual for o in observed(cursor_row_gone, recording))


def test_a_row_that_nobody_looked_for_afterwards_decides_nothing() -> None:
    recording = record(pages_cursor_row, cutting(row_looked_up(gone))(random.Random(21)))
    walked = [f for f in recording.facts("walk") if f.data["script"] == REFERENCE]
    unread = Recording(tuple(e for e in recording if e not in walked[1:]))
    assert {o.reason for o in observed(cursor_row_gone, unread)} == {"precondition"}


@pytest.mark.parametrize(("before", "word"), [(True, "cursor-row-error"), (False, "precondition")])
def test_a_look_that_was_cut_short_shows_only_that_rows_left_which_it_showed_before(before: bool, word: str) -> None:
    recording = record(pages_cursor_row, cutting(row_looked_up(gone))(random.Random(22)))
    first = next(iter(recording.facts("walk")))
    cut = Recording(tuple(
        replace(e, data={**e.data, "ended": "long", "pages": e.data["pages"] if before or e is not first else []})
        if isinstance(e, Fact) and e.name == "walk" and e.data["script"] == REFERENCE else e for e in recording))
    assert word in {o.rule or o.reason for o in observed(cursor_row_gone, cut)}


def test_all_six_scripts_are_walked_with_reference_walks_between_them() -> None:
    recording = record(pages_one_sided, plain(random.Random(1)))
    scripts = [f.data["script"] for f in recording.facts("walk")]
    assert [s for s in scripts if s != REFERENCE] == [script.__name__ for script in KEYED] + ["concurrent"]
    assert scripts[::2] == [REFERENCE] * 8


@pytest.mark.parametrize(("script", "check"), [
    ("insert_behind", no_repeats), ("leave_behind", no_skips), ("move_back", no_repeats), ("move_forward", no_skips)])
def test_each_script_shows_an_offset_by_its_own_rule(script: str, check: Check) -> None:
    """Of the six scripts these four shift what an offset counts; the two that write ahead of it do not."""
    recording = record(pages_one_sided, cutting(offset)(random.Random(2)))
    pages = {n for f in recording.facts("walk") if f.data["script"] == script for n in f.data["pages"]}
    assert any(o.state == "broken" and pages & set(o.events) for o in observed(check, recording))


def test_a_lost_item_that_nobody_saw_afterwards_decides_nothing() -> None:
    """It may have been taken out by someone else, such as the market."""
    recording = record(pages_one_sided, cutting(numbered(row_dropped))(random.Random(3)))
    blind = Recording(tuple(e for e in recording if getattr(e, "data", {}).get("script") != REFERENCE))
    first = next(f for f in blind.facts("walk")).n
    only = Recording(tuple(e for e in blind if e.n <= first))
    assert rules(no_skips, only) == set()
    assert {o.reason for o in observed(no_skips, only)} == {"precondition"}


def test_the_story_of_a_skip_names_the_write_and_the_pages() -> None:
    recording = record(pages_one_sided, cutting(offset)(random.Random(4)))
    story = next(o.actual for o in observed(no_skips, recording) if o.rule == "skipped")
    assert "left the listing" in story or "moved" in story
    assert len(story.splitlines()) <= 6


# --- quiet listings


@pytest.mark.parametrize(("items", "most", "size"), [
    (20, 200, 19), (21, 200, 20), (21, 10, 10), (20, 10, None), (2, 200, None), (3, 200, 2), (0, 5, None),
    (401, 20, None), (201, 20, 20), (401, 40, 40)])
def test_the_size_that_leaves_one_item_for_the_last_page(items: int, most: int, size: int | None) -> None:
    assert one_over(items, most) == size


@pytest.mark.parametrize("rows", [0, 7])
def test_a_lone_last_row_that_is_lost_is_seen(rows: int) -> None:
    def lone(view: View, mark: Mark) -> Page:
        page, following = keyset(view, mark)
        return page, following if following and sum(view.after(r, following) for r in view.rows) > 1 else None
    server = cutting(lone)(random.Random(23))
    server.rows["owner"] = {f"owner-{i:03}": Decimal(i) for i in range(rows)}
    assert "incomplete" in rules(complete, record(pages_quiet, server))


@pytest.mark.parametrize("check", [complete, ordered])
def test_a_listing_that_may_only_be_read_is_walked_as_it_is(check: Check) -> None:
    server = plain(random.Random(5))
    server.rows["owner"] = {f"id-{i:02}": Decimal(i // 12) for i in range(40)}
    recording = record(pages_quiet, server, READ_ONLY)
    assert not any(e.method != "GET" for e in recording.exchanges())
    assert rules(check, recording, READ_ONLY) == set()
    assert decided(check, recording, READ_ONLY) >= check.minimum


@pytest.mark.parametrize("check", [complete, ordered])
def test_a_listing_of_one_page_decides_nothing(check: Check) -> None:
    recording = record(pages_quiet, plain(random.Random(6)), READ_ONLY)
    assert {o.reason for o in observed(check, recording, READ_ONLY)} == {"vacuous"}


LONG = {
    "keyset": (keyset, set[str](), set[str]()),
    "row-dropped": (numbered(row_dropped), {"incomplete"}, {"ties-lost"}),
    "key-only": (key_only, {"incomplete"}, {"ties-lost"}),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_listing_is_judged_as_far_as_it_was_walked(name: str) -> None:
    """Ties that a walk was still serving when it was cut short are not lost."""
    cut, missing, ties = LONG[name]
    server = cutting(cut)(random.Random(7))
    server.rows["owner"] = {f"id-{i:04}": Decimal(i // 30) for i in range(3000)}
    recording = record(pages_quiet, server, READ_ONLY)
    assert "long" in {f.data["ended"] for f in recording.facts("walk")}
    assert rules(complete, recording, READ_ONLY) == missing
    assert rules(ordered, recording, READ_ONLY) == ties
    assert missing or decided(complete, recording, READ_ONLY) >= complete.minimum


def test_rows_that_others_take_out_and_put_in_are_not_missing() -> None:
    """A quiet listing is not taken on trust: here someone else changes it at every page."""
    number = count()

    def busy(view: View, mark: Mark) -> Page:
        rows = server.rows["owner"]
        rows.pop(next(iter(rows)))
        rows[f"new-{next(number):04}"] = Decimal(view.rnd.randint(0, 99))
        return keyset(view, mark)
    server = cutting(busy)(random.Random(8))
    server.rows["owner"] = {f"id-{i:02}": Decimal(i % 10) for i in range(90)}
    recording = record(pages_quiet, server, READ_ONLY)
    assert rules(complete, recording, READ_ONLY) == rules(ordered, recording, READ_ONLY) == set()


def replaced(recording: Recording, script: str, status: int | None) -> Recording:
    """The recording with the last page of one walk answered by a status, or by nothing."""
    last = next(f for f in recording.facts("walk") if f.data["script"] == script).data["pages"][-1]

    def other(event: Any) -> Any:
        if event.n == last and isinstance(event, Exchange):
            reply = None if status is None else Message((), b"{}")
            return replace(event, status=status, reply=reply, no_reply=None if status else "timeout")
        if event.n > last and getattr(event, "data", {}).get("pages", [0])[-1] == last:
            return replace(event, data={**event.data, "ended": "error"})
        return event
    return Recording(tuple(map(other, recording)))


@pytest.mark.parametrize(("status", "expected"), [(None, "no_reply"), (429, "shared_quota"), (503, "edge_generated"),
                                                  (401, "precondition"), (500, "incomplete")])
def test_what_ends_a_walk_early_decides_only_where_it_is_the_cursors_doing(status: int | None, expected: str) -> None:
    recording = replaced(record(pages_quiet, plain(random.Random(9))), "first", status)
    found = [o for o in observed(complete, recording) if o.state != "holds"]
    assert [o.rule or o.reason for o in found] == [expected]


# --- cursors and page sizes


@pytest.mark.parametrize(("cursor", "plain_text"), [
    ("eyJvZmZzZXQiOjIwfQ", '{"offset":20}'), ("MTIzNDU", "12345"), ("b2Zmc2V0PTIw", "offset=20"), ("20", "20"),
    ("after=ord_1", "after=ord_1")])
def test_readable_cursors_are_read(cursor: str, plain_text: str) -> None:
    assert readable(cursor) == plain_text


@pytest.mark.parametrize("cursor", ["9f86d081-884c-4d65-9a2f-eaa0c55ad015", "Zm9vYmFy", "ord_1a2b", "", "⟨x⟩",
                                    "gAAAAABh3v_7Rq0u1y2ZkQ"])
def test_opaque_cursors_are_not(cursor: str) -> None:
    assert readable(cursor) is None


def test_a_flip_changes_one_character_and_moves_a_readable_position_on() -> None:
    assert flipped("AAAA", 1) == "ABAA"
    assert all(flipped(c, 0) != c for c in "Az09-_+/=é")


def test_an_edited_cursor_swaps_the_owners_values_and_nothing_else() -> None:
    cursor = "eyJhY2NvdW50IjoiYSIsImF0IjoyfQ"
    assert edited(cursor, {"a": "b"}) == "eyJhY2NvdW50IjoiYiIsImF0IjoyfQ"
    assert edited(cursor, {"x": "y"}) is None
    assert edited("no cursor of ours", {"a": "b"}) is None


def test_a_readable_cursor_alone_is_a_warning() -> None:
    recording = record(cursor_tampering, filled(having(readable=True), opaque, 10))
    assert {o.level for o in observed(opaque, recording) if o.rule == "readable"} == {"SHOULD"}


def test_a_cursor_that_is_not_accepted_unaltered_decides_nothing() -> None:
    recording = record(cursor_tampering, filled(plain, opaque, 11))
    broken = Recording(tuple(e for e in recording if getattr(e, "label", "") != "cursor:control"))
    assert {o.reason for o in observed(opaque, broken) if o.state != "holds"} == {"control_failed"}


def test_rows_of_a_caller_whose_own_listing_is_not_known_whole_decide_nothing() -> None:
    server = filled(having(readable=True, trusts_account=True), opaque, 12)
    server.rows["tenant"] = {f"tenant-{i:04}": Decimal(i) for i in range(900)}
    recording = record(cursor_tampering, server)
    assert "vacuous" in {o.reason for o in observed(opaque, recording)}


def test_positions_that_the_caller_makes_itself_are_only_asked_not_to_crash() -> None:
    page = TARGET.page["cursor"].model_copy(update={"mechanism": "last_key"})
    target: Profile = TARGET.model_copy(update={"page": {"cursor": page}})
    for bad_cursor, expected in (("first-page", set()), ("refuse", set()), ("crash", {"server-error"})):
        recording = record(cursor_tampering, filled(having(bad_cursor=bad_cursor), opaque, 13), target)
        assert rules(opaque, recording, target) == expected


def test_sizes_crash() -> None:
    class Crashing(Server):
        def size(self, text: str | None) -> int:
            if text == "abc":
                raise Refused(500, "internal")
            return super().size(text)
    recording = record(page_sizes, Crashing(keyset, random.Random(14)))
    assert rules(page_size_limits, recording) == {"server-error"}


def words(recording: Recording, target: Profile) -> list[str]:
    return [o.rule or o.reason or o.state for o in observed(page_size_limits, recording, target)]


@pytest.mark.parametrize("rows", [0, 30, 200])
def test_a_bound_above_all_rows_is_not_seen_and_nothing_is_passed(rows: int) -> None:
    server = having()(random.Random(15))
    server.rows["owner"] = {f"owner-{i:03}": Decimal(i) for i in range(rows)}
    unseen = 3 if rows < 51 else 2
    assert words(record(page_sizes, server, READ_ONLY), READ_ONLY) == ["vacuous"] * unseen


@pytest.mark.parametrize(("parts", "found"), [
    ({}, set()), ({"maximum": None}, {"over-maximum"}), ({"default": None}, {"default-unbounded"})])
@pytest.mark.parametrize("rows", [0, 30])
def test_a_listing_that_is_too_short_is_filled(parts: dict[str, None], found: set[str], rows: int) -> None:
    server = having(**parts)(random.Random(16))
    server.rows["owner"] = {f"owner-{i:03}": Decimal(i) for i in range(rows)}
    recording = record(page_sizes, server)
    assert rules(page_size_limits, recording) == found
    assert (decided(page_size_limits, recording) >= page_size_limits.minimum) or found
    assert len(server.rows["owner"]) == rows


@pytest.mark.parametrize(("most", "made"), [(402, 201), (400, 51), (100, 0)])
def test_only_half_of_what_may_be_created_fills_the_listing(most: int, made: int) -> None:
    target = TARGET.model_copy(update={"target": TARGET.target.model_copy(update={"max_created": most})})
    recording = record(page_sizes, having()(random.Random(17)), target)
    assert sum(f.data["kind"] == "insert" for f in recording.facts("write")) == made
    assert bool(decided(page_size_limits, recording, target)) == (made == 201)


def test_a_few_rows_are_made_where_few_may_be_and_few_are_missing() -> None:
    target = TARGET.model_copy(update={"target": TARGET.target.model_copy(update={"max_created": 40})})
    server = having()(random.Random(19))
    server.rows["owner"] = {f"owner-{i:03}": Decimal(i) for i in range(190)}
    recording = record(page_sizes, server, target)
    assert sum(f.data["kind"] == "insert" for f in recording.facts("write")) == 11
    assert decided(page_size_limits, recording, target) >= page_size_limits.minimum


def test_the_longest_listing_is_read_where_none_may_be_filled() -> None:
    full = TARGET.credential["owner"].model_copy(update={"sacrificial": ()})
    target = READ_ONLY.model_copy(update={"credential": {**TARGET.credential, "full": full}})
    server = having(maximum=None)(random.Random(18))
    server.rows["owner"] = {f"owner-{i:03}": Decimal(i) for i in range(260)}
    assert rules(page_size_limits, record(page_sizes, server, target), target) == {"over-maximum"}


def test_keys_are_compared_by_their_type() -> None:
    time = SortKey(at="/t", type="time")
    assert key_of_item({"t": "2026-11-26T09:00:00"}, time) < key_of_item({"t": "2026-11-26T09:00:01Z"}, time)
    assert key_of_item({"t": "soon"}, time) is None
    assert key_of_item({"t": "NaN"}, SortKey(at="/t", type="decimal")) is None


def test_costs_are_declared_for_every_scenario_and_subject() -> None:
    for scenario in (pages_one_sided, pages_cursor_row, pages_quiet, cursor_tampering, page_sizes):
        assert scenario.cost(TARGET, SUBJECT).requests > 0
    assert pages_quiet.cost(READ_ONLY, SUBJECT).writes == 0
