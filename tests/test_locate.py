"""Locators and predicates, on replies of any shape."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.events import Message
from openbell.locate import (
    ABSENT,
    NotJSON,
    Number,
    holds,
    links,
    locate,
    locator_error,
    parse_json,
    pointer,
    text,
    without,
)

BODY = (b'{"a": {"b": [1, {"c": "x"}]}, "rows": [{"id": 1}, {"id": 2.50}], '
        b'"next": "http://h/p?after=k%3D1&z", "n": null}')
REPLY = Message(((b"Link", b'<http://h/2>; rel="next", </1>; rel=prev'), (b"X-Id", b"abc")), BODY)


@pytest.mark.parametrize(("at", "value"), [
    ("status", 200), ("header:x-id", "abc"), ("header:none", ABSENT), ("body:/a/b/0", "1"), ("body:/a/b/1/c", "x"),
    ("body:/a/z", ABSENT), ("body:/a/b/-1", ABSENT), ("body:/a/b/9", ABSENT), ("link:next", "http://h/2"),
    ("link:prev", "/1"), ("link:last", ABSENT), ("last:/id", "2.50"), ("param:after of body:/next", "k=1"),
    ("param:z of body:/next", ""), ("param:q of body:/next", ABSENT), ("param:q of header:none", ABSENT),
])
def test_the_six_forms(at, value):
    assert locate(at, 200, REPLY, "/rows") == value
    assert locator_error(at) is None


@pytest.mark.parametrize("at", ["", "body", "body:a", "cookie:x", "header:", "header:a b", "param:x", "status:200"])
def test_a_wrong_form_is_told_with_the_right_ones(at):
    assert "the forms are" in str(locator_error(at))


@pytest.mark.parametrize(("test", "true"), [
    ({"at": "status", "equals": 200}, True), ({"at": "status", "in": [201, 202]}, False),
    ({"at": "body:/a/b/0", "equals": 1}, True), ({"at": "body:/rows/1/id", "equals": "2.50"}, True),
    ({"at": "body:/n", "present": False}, True), ({"at": "body:/a", "present": True}, True),
    ({"at": "header:x-id", "matches": "^a"}, True), ({"at": "header:none", "matches": ""}, False),
])
def test_predicates(test, true):
    assert holds(test, 200, REPLY) is true


@pytest.mark.parametrize("content", [b"", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 100000, b"\xff", b"<html>"])
def test_what_is_no_json_is_a_value_that_says_why(content):
    assert isinstance(parse_json(content), NotJSON)
    assert locate("body:/a", 200, Message((), content)) is ABSENT


def test_numbers_keep_their_lexemes():
    assert parse_json(b"[1e400, 400.0, 12345678901234567890]") == ["1e400", "400.0", "12345678901234567890"]
    assert isinstance(parse_json(b"1.10"), Number)
    assert text(Number("1.10")) == "1.10"


@settings(max_examples=80, derandomize=True)
@given(st.binary(max_size=60), st.sampled_from(["body:/a", "last:/id", "link:next", "param:a of header:link"]))
def test_no_reply_makes_a_locator_raise(content, at):
    locate(at, None, Message(((b"Link", content),), content), "/a")
    links(Message(((b"Link", content),)))


@pytest.mark.parametrize(("value", "path", "expected"), [
    ({"a": 1, "b": 2}, "/a", {"a": None, "b": 2}),
    ({"a": {"b": 1, "c": 2}}, "/a/b", {"a": {"b": None, "c": 2}}),
    ({"a": [1, {"b": 2}]}, "/a/1/b", {"a": [1, {"b": None}]}),
    ({"a/b": 1, "~": {"": 2}}, "/a~1b", {"a/b": None, "~": {"": 2}}),
    ({"a/b": 1, "~": {"": 2}}, "/~0/", {"a/b": 1, "~": {"": None}}),
    ({"a": 1}, "", None),
    ({"a": 1}, "/b", {"a": 1}),
    ({"a": 1}, "/a/b", {"a": 1}),
    ([1], "/x", [1]),
    ("a", "/0", "a"),
])
def test_a_value_without_what_a_pointer_points_to(value, path, expected):
    before = repr(value)
    assert without(value, path) == expected
    assert repr(value) == before


KEYS = st.text("ab/~01", max_size=3)


@given(st.recursive(KEYS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2)),
       st.text("ab/~01", max_size=6))
def test_without_never_raises_and_leaves_nothing_there(value, path):
    assert pointer(without(value, f"/{path}"), f"/{path}") in (ABSENT, None)
