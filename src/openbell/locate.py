"""Where a value is in a reply, and what must be true of it.

Locators have six forms: `status`, `header:NAME`, `body:/json/pointer`, `link:REL` (RFC 8288), `last:/pointer` (in the
last item of the page) and `param:NAME of LOCATOR` (a query parameter inside a URL found elsewhere). Predicates are TOML
values: `{at = LOCATOR, equals | in | matches | present = ...}`. Numbers keep their lexemes: parsed JSON holds `Number`,
which is text, so that `400.0` and `1e400` stay what the target wrote. No function here raises for what a target sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openbell.events import Message

FORMS = ("status", "header:NAME", "body:/pointer", "link:REL", "last:/pointer", "param:NAME of LOCATOR")
ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "absent", "__bool__": lambda self: False})()
_DEPTH = 200


class Number(str):
    """A JSON number as the target wrote it."""

    __slots__ = ()


@dataclass(frozen=True)
class NotJSON:
    """Why content is no JSON value."""

    why: str


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("duplicate member names")
    return out


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@lru_cache(maxsize=256)
def parse_json(content: bytes) -> Any:
    """The JSON value of decoded content, numbers as `Number`; NotJSON with the reason for anything else.

    Duplicate member names, NaN and nesting beyond the interpreter's limit are not JSON here. The value is shared:
    never change it.
    """
    try:
        return json.loads(content, parse_float=Number, parse_int=Number, parse_constant=_constant,
                          object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        return NotJSON(str(error)[:120])


def pointer(value: Any, path: str) -> Any:
    """The value at a JSON pointer (RFC 6901), or ABSENT."""
    for part in path.split("/")[1:][:_DEPTH]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return ABSENT
    return value


def without(value: Any, path: str) -> Any:
    """The value with null in the place that a JSON pointer points to; as it is where nothing stands there."""
    if not path:
        return None
    part, slash, rest = path[1:].partition("/")
    inner = pointer(value, f"/{part}")
    if inner is ABSENT:
        return value
    changed = without(inner, slash + rest)
    if isinstance(value, Mapping):
        return {**value, part.replace("~1", "/").replace("~0", "~"): changed}
    return [*value[:int(part)], changed, *value[int(part) + 1:]]


_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^;,\s=]+(?:\s*=\s*(?:\"[^\"]*\"|[^;,\s]*))?)*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^;,\s]*))", re.IGNORECASE)


def links(message: Message) -> dict[str, str]:
    """Link relations to their targets (RFC 8288); the first of a relation wins."""
    found: dict[str, str] = {}
    for target, parameters in _LINK.findall((message.field("link") or "")[:65536]):
        for quoted, token in _REL.findall(parameters):
            for relation in (quoted or token).lower().split():
                found.setdefault(relation, target)
    return found


def _parameter(url: Any, name: str) -> Any:
    try:
        return next((v for k, v in parse_qsl(urlsplit(str(url)).query, keep_blank_values=True) if k == name), ABSENT)
    except ValueError:
        return ABSENT


def locate(at: str, status: int | None, message: Message, items: str = "") -> Any:
    """What stands at the locator in a reply, or ABSENT. `items` is the pointer of the page's list, for `last:`."""
    form, _, rest = at.partition(":")
    match form:
        case "status":
            return status if status is not None else ABSENT
        case "header":
            value = message.field(rest)
            return ABSENT if value is None else value
        case "link":
            return links(message).get(rest.lower(), ABSENT)
        case "param":
            name, _, inner = rest.partition(" of ")
            return _parameter(locate(inner, status, message, items), name)
        case "last":
            rows = pointer(parse_json(message.content), items)
            return pointer(rows[-1], rest) if isinstance(rows, list) and rows else ABSENT
        case _:
            return pointer(parse_json(message.content), rest)


_FORM = re.compile(r"status|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+|(?:body|last):(?:/.*)?|link:\S+")


def locator_error(at: str) -> str | None:
    """What is wrong with a locator's form; None when nothing is."""
    while at.startswith("param:") and " of " in at:
        at = at.partition(" of ")[2]
    return None if _FORM.fullmatch(at) else f"{at!r} is no locator; the forms are: {', '.join(FORMS)}"


def text(value: Any) -> str:
    """A located value as text: JSON spelling for anything but strings and numbers, "" for ABSENT and null."""
    if value is ABSENT or value is None:
        return ""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else json.dumps(value)


def holds(test: Mapping[str, Any], status: int | None, message: Message, items: str = "") -> bool:
    """Whether one predicate is true of a reply."""
    value = locate(test["at"], status, message, items)
    if test.get("present") is not None:
        return bool((value is not ABSENT and value is not None) == test["present"])
    if test.get("equals") is not None:
        return value is not ABSENT and text(value) == _spelled(test["equals"])
    if test.get("in") is not None:
        return value is not ABSENT and text(value) in [_spelled(one) for one in test["in"]]
    return value is not ABSENT and re.search(test["matches"], text(value)[:65536]) is not None


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def all_hold(tests: Sequence[Mapping[str, Any]], status: int | None, message: Message) -> bool:
    """Whether every predicate is true of a reply."""
    return all(holds(test, status, message) for test in tests)
