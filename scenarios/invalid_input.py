"""Input that cannot be right: broken JSON, wrong types, absurd numbers, ids, page sizes and positions.

Every variant is made from a request that works, and is sent by a caller who may do the real thing. What contradicts
any reading of the documentation is told apart from what a tolerant server may ignore: only the first may not succeed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from openbell.api import Api
from openbell.building import Alter, filled, values_of
from openbell.profile import Operation, Profile
from openbell.registry import Cost, scenario
from openbell.scenarios.methods import claims, reader_needed, stand_ins
from openbell.session import principal
from openbell.target import Subject, page_of

TRIES = 3
MOST_NUMBERS = 2
MOST_BODIES = 20
LONG = "9" * 60
SIZES = {"abc": "the page size abc", "": "an empty page size", "9" * 300: "a page size of 300 digits",
         "\x00": "a page size of a NUL"}
POSITIONS = {"abc": "the page abc", "-1": "a page before the first", "9" * 300: "a page of 300 digits"}
IDS = {"\x00": "an id of a NUL", "x" * 2000: "an id of 2,000 letters", "../../etc/passwd": "an id that climbs folders",
       "' OR '1'='1": "an id with SQL quotes", "\u202e\U0001f514": "an id of control and picture characters"}
_FIELD = re.compile(r"\{([a-z_]+)\}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NAME = re.compile(r"id|ref|account|number|code|note|text|name|phone|symbol|isin|zip|post", re.IGNORECASE)


@dataclass(frozen=True)
class Variant:
    """One invalid request: its name, what is wrong in words, and whether no reading of the contract allows it."""

    name: str
    said: str
    contradicts: bool = False
    content: bytes | None = None
    query: Mapping[str, str | None] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


def body_variants(body: Mapping[str, Any]) -> tuple[Variant, ...]:
    """Bodies that cannot be valid, from one that is: at most `MOST_BODIES`."""
    found = (*_broken_json(body), *_wrong_types(body), *_wrong_values(body))
    return tuple(Variant(name, said, contradicts, content) for name, said, contradicts, content in found)[:MOST_BODIES]


_Body = tuple[str, str, bool, bytes]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _broken_json(body: Mapping[str, Any]) -> Iterator[_Body]:
    yield "truncated", "a body without its end", True, _json(body)[:-2]
    yield "no-content", "a body of no bytes", True, b""
    yield "not-utf-8", "a body that is not UTF-8", True, b'{"\xff\xfe": "\xc3\x28"}'
    yield "array", "an array for an object", True, b"[]"
    yield "null", "null for an object", True, b"null"
    yield "nested", "a body nested 10,000 deep", True, b"[" * 10_000


def _wrong_types(body: Mapping[str, Any]) -> Iterator[_Body]:
    scalars = [k for k, v in body.items() if not isinstance(v, dict | list)]
    objects = {k: {"openbell": [1]} for k in scalars}
    twice = b"{" + b", ".join(_json({k: v})[1:-1] for k, v in (*objects.items(), *objects.items())) + b"}"
    yield "objects", "an object for every plain member", bool(scalars), _json({**body, **objects})
    yield "arrays", "an array for every plain member", bool(scalars), _json({**body, **{k: [None] for k in scalars}})
    yield "twice", "objects for plain members, each name twice", bool(scalars), twice
    yield "nulls", "null for every member", False, _json(dict.fromkeys(body))
    yield "missing", "an object without members", False, b"{}"
    yield "long", "10,000 letters in every member", False, _json(dict.fromkeys(body, "x" * 10_000))
    yield "nul", "a NUL in every member", False, _json(dict.fromkeys(body, "\x00"))


def _wrong_values(body: Mapping[str, Any]) -> Iterator[_Body]:
    numbers = [k for k, v in body.items() if _is_number(k, v)][:MOST_NUMBERS]
    for name in numbers:
        whole: Any = LONG if isinstance(body[name], str) else int(LONG)
        below: Any = "-" + LONG if isinstance(body[name], str) else -int(LONG)
        yield f"huge-{name}", f"a {name} of 60 digits", True, _json({**body, name: whole})
        yield f"below-{name}", f"a negative {name} of 60 digits", True, _json({**body, name: below})
    for name in numbers[:1]:
        yield f"text-{name}", f"{name} = 'openbell'", True, _json({**body, name: "openbell"})
        yield f"nan-{name}", f"{name} = NaN, which is no JSON", True, _json({**body, name: float("nan")})
    for name in [k for k, v in body.items() if isinstance(v, str) and _DATE.match(v)][:1]:
        yield f"day-{name}", f"a {name} on February 31", True, _json({**body, name: "2026-02-31" + body[name][10:]})


def _is_number(name: str, value: Any) -> bool:
    """Whether a member is an amount: a number, or a decimal string under a name that does not mean a text."""
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None and not _NAME.search(name)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listing(target: Profile, *, counted: bool = False) -> str | None:
    """A listing whose pages have a size, or whose pages the caller counts."""
    return next((n for n, op in target.operation.items() if op.method == "GET" and op.page
                 and (target.page[op.page].counted or not counted)), None)


def _reading(target: Profile) -> tuple[str, str] | None:
    """A read with a value in its path, and that value's name; one by id goes first."""
    found = [(n, _FIELD.findall(op.path)[-1]) for n, op in target.operation.items()
             if op.method == "GET" and not op.public and _FIELD.search(op.path)]
    return min(found, key=lambda f: f[1] != "id", default=None)


def creation(target: Profile) -> str | None:
    """An operation that creates something from a JSON object; None without one."""
    return next((n for n, op in target.operation.items() if op.role == "create" and op.body and not op.form), None)


async def _try(api: Api, by: str, op: str, variant: Variant) -> None:
    """Sends a variant; a server's error must come three times before it counts. The fact names all tries."""
    numbers: list[int] = []
    params = stand_ins(api.target, api.target.operation[op], by, variant.params)
    for i in range(TRIES):
        reply = await api.call(op, by=by, label=f"invalid:{variant.name}:{i + 1}",
                               alter=Alter(content=variant.content, query=variant.query), **params)
        numbers.append(reply.exchange.n)
        if reply.status is None or reply.status < 500:
            break
    api.note("invalid", variant=variant.name, said=variant.said, contradicts=variant.contradicts, exchanges=numbers)


def _queries(target: Profile) -> Iterator[tuple[str, Variant]]:
    """Operations and what their queries cannot mean: page sizes, and positions where the caller counts."""
    if listing := _listing(target):
        size = page_of(target, listing).size
        yield from ((listing, Variant(f"size-{i}", said, query={size: value}))
                    for i, (value, said) in enumerate(SIZES.items()))
    if listing := _listing(target, counted=True):
        put = page_of(target, listing).put
        yield from ((listing, Variant(f"position-{i}", said, query={put: value}))
                    for i, (value, said) in enumerate(POSITIONS.items()))


def _queries_cost(target: Profile, _subject: Subject) -> Cost:
    return Cost(reads=TRIES * (len(tuple(_queries(target))) + len(IDS)) + 4)


@scenario(per="api", claims=claims, needs=reader_needed, cost=_queries_cost)
async def invalid_queries(api: Api, target: Profile, _subject: Subject) -> None:
    """Page sizes and positions that are none and ids that nobody has, between two ordinary reads."""
    by, control, reading = str(principal(target)), str(target.target.control), _reading(target)
    await api.call(control, by=by, label="control:invalid")
    for listing, variant in _queries(target):
        await _try(api, by, listing, variant)
    if reading:
        for i, (value, said) in enumerate(IDS.items()):
            await _try(api, by, reading[0], Variant(f"id-{i}", said, params={reading[1]: value}))
    await api.call(control, by=by, label="control:invalid")


def creation_needed(target: Profile, subject: Subject) -> str | None:
    """What is needed to read, and an operation that creates."""
    return reader_needed(target, subject) or (
        None if creation(target) else "the profile has no operation that creates something from a JSON object")


def bodies_cost(_target: Profile, _subject: Subject) -> Cost:
    """Every variant tried three times and undone, and two valid requests undone."""
    return Cost(writes=(TRIES + 1) * MOST_BODIES + 6)


def _body(api: Api, op: Operation, by: str) -> Mapping[str, Any]:
    values = values_of(op, api.target.credential[by], {})
    made: Mapping[str, Any] = filled(op.body, {"unique": api.session.unique(), **values})
    return made


@scenario(per="api", claims=claims, needs=creation_needed, allow=("read", "write"), cost=bodies_cost)
async def invalid_bodies(api: Api, target: Profile, _subject: Subject) -> None:
    """Bodies that cannot be valid, between two valid ones that are undone; each has a key of its own."""
    by, create = str(principal(target)), str(creation(target))
    op = target.operation[create]
    await api.call(create, by=by, label="control:invalid")
    for i in range(len(body_variants(_body(api, op, by)))):
        await _try(api, by, create, body_variants(_body(api, op, by))[i])
    await api.call(create, by=by, label="control:invalid")
