"""Listings that come newest first by a time in whole seconds, as several real APIs give them."""

import random
from decimal import Decimal

from page_cuts import plain
from page_server import READ_ONLY, Server, decided, observed, record, rules

from openbell.conformance.pages_quiet import complete, ordered
from openbell.profile import Collection, Profile, SortKey
from openbell.scenarios.pages_quiet import pages_quiet

SECONDS = SortKey(at="/price", type="integer", descending=True)


def newest_first(*, sorts_so: bool) -> Profile:
    """The target that declares its newest rows first, and does so where the walk can ask for it."""
    sorts = {"ascending": {"sort": "-price"}} if sorts_so else {}
    collection = Collection.model_validate({"sort": [SECONDS], "sorts": sorts})
    listing = READ_ONLY.operation["list_orders"].model_copy(update={"collection": collection})
    return READ_ONLY.model_copy(update={"operation": {**READ_ONLY.operation, "list_orders": listing}})


def holding(count: int, per_second: int) -> Server:
    """A server that has rows already, so many of them in each second."""
    server = plain(random.Random(21))
    server.rows["owner"] = {f"row-{i:04}": Decimal(i // per_second) for i in range(count)}
    return server


def test_rows_of_one_second_may_come_in_any_order() -> None:
    target = newest_first(sorts_so=True)
    recording = record(pages_quiet, holding(60, 7), target)
    for check in (complete, ordered):
        assert rules(check, recording, target) == set()
        assert decided(check, recording, target) >= check.minimum


def test_the_wrong_direction_is_an_order_broken_and_no_loss_in_walks_that_were_cut_short() -> None:
    target = newest_first(sorts_so=False)
    recording = record(pages_quiet, holding(900, 7), target)
    assert "long" in {fact.data["ended"] for fact in recording.facts("walk")}
    assert rules(ordered, recording, target) == {"order-broken"}
    assert rules(complete, recording, target) == set()


def test_among_rows_of_one_second_no_order_can_be_seen() -> None:
    target = newest_first(sorts_so=False)
    recording = record(pages_quiet, holding(60, 60), target)
    assert {(o.state, o.reason) for o in observed(ordered, recording, target)} == {("undecided", "vacuous")}
