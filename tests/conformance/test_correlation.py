"""COR-001 on made-up exchanges."""

import pytest
from made import BASE, exchange, profile

from openbell.conformance.asked import asked
from openbell.conformance.correlation import on_every_reply

TARGET = profile()
STREAM = BASE + "/v1/stream/orders"
ID = {"X-Correlation-Id": "c-1"}


def seen(one):
    return [(o.rule or o.state, o.expected) for o in on_every_reply.traffic(one, TARGET, {})]


@pytest.mark.parametrize("fields", [{}, ID])
@pytest.mark.parametrize("status", [100, 101, 103])
def test_what_is_interim_answers_no_operation(status, fields):
    assert seen(exchange("round:0", status, operation=None, url=STREAM, fields=fields)) == []


def test_a_handshake_that_is_refused_is_a_reply_and_named_by_its_stream():
    refused = exchange("anonymous", 401, {}, operation=None, url=STREAM)
    assert seen(refused) == [("missing-on-401", "X-Correlation-Id on GET stream.orders")]
    assert seen(exchange("anonymous", 401, {}, operation=None, url=STREAM, fields=ID)) == [("holds", "")]


@pytest.mark.parametrize(("operation", "url", "words"), [
    ("list_positions", STREAM, "list_positions"),
    (None, STREAM + "?ticket=1", "stream.orders"),
    (None, STREAM.replace("https", "wss"), "stream.orders"),
    (None, BASE + "/v1/stream/nothing", "an undeclared path"),
    (None, STREAM + "/more", "an undeclared path"),
    (None, "https://[", "an undeclared path"),
])
def test_what_was_asked_for(operation, url, words):
    assert asked(exchange("x", operation=operation, url=url), TARGET) == words
