"""Methods that nobody documented, on a resource that can be read. None of them changes anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from openbell.api import Api
from openbell.building import Alter, values_of
from openbell.profile import Operation, Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.session import principal
from openbell.target import Subject

READING = ("QUERY", "PROPFIND", "SEARCH", "OPTIONS", "HEAD")
WRITING = ("PUT", "PATCH")
ODD = "PROPFIND"
PATHS = 3
NO_SUCH_VERSION = '"openbell-no-such-version"'
STAND_IN = "openbell-unknown"
UNCHANGED: Mapping[str, str | None] = {}
_FIELD = re.compile(r"\{([a-z_]+)\}")


def claims(target: Profile, _subject: Subject) -> tuple[Claim, ...]:
    """The principal that reads is shared."""
    return (share(f"principal:{principal(target)}"),)


def reader_needed(target: Profile, _subject: Subject) -> str | None:
    """A principal of role full, and a control that needs credentials."""
    if principal(target) is None:
        return "the profile has no principal of role full"
    return f"{target.target.control} is public" if target.operation[str(target.target.control)].public else None


def stand_ins(target: Profile, op: Operation, by: str, given: Mapping[str, str]) -> dict[str, Any]:
    """What a call is given, and a stand-in for each name in the operation's templates that nobody gives."""
    known = {"unique": "", **values_of(op, target.credential[by], given)}
    names = _FIELD.findall(op.path + json.dumps(dict(op.query)) + json.dumps(dict(op.body or {})))
    return {name: STAND_IN for name in names if name not in known} | dict(given)


def undeclared(target: Profile, methods: tuple[str, ...]) -> tuple[str, ...]:
    """Those methods that the profile does not declare on the control's path."""
    known = {op.method for op in _on(target, plain(target.operation[str(target.target.control)]))}
    return tuple(m for m in methods if m not in known)


def plain(op: Operation) -> str:
    """The operation's path without its query."""
    return op.path.partition("?")[0]


def _on(target: Profile, path: str) -> Iterator[Operation]:
    return (op for op in target.operation.values() if plain(op) == path)


def shared_paths(target: Profile, by: str) -> tuple[str, ...]:
    """Of a few paths with several declared methods, besides the control's, the operation that reads them. No path to a
    single item is among them: what a method may do there depends on the item."""
    found = {plain(target.operation[str(target.target.control)]): ""}
    for name, op in target.operation.items():
        path = plain(op)
        fixed = "{id}" not in path and not stand_ins(target, op, by, {})
        if op.method == "GET" and fixed and len(declared(target, path)) > 1:
            found.setdefault(path, name)
    return tuple(filter(None, found.values()))[:PATHS]


def declared(target: Profile, path: str) -> frozenset[str]:
    """The methods that the profile declares on a path and lets the harness use."""
    return frozenset(op.method for op in _on(target, path) if not op.writes or "write" in target.target.allow)


async def _probe(api: Api, name: str, methods: tuple[str, ...], headers: Mapping[str, str | None] = UNCHANGED) -> None:
    """Methods on the path of an operation, between two ordinary calls of it."""
    by = str(principal(api.target))
    await api.call(name, by=by, label="control:method")
    for method in methods:
        await api.call(name, by=by, label=f"method:{method}", alter=Alter(method=method, headers=headers))
    await api.call(name, by=by, label="control:method")


@scenario(per="api", claims=claims, needs=reader_needed,
          cost=lambda _target, _subject: Cost(reads=len(READING) + 4 + 3 * PATHS))
async def odd_methods(api: Api, target: Profile, _subject: Subject) -> None:
    """Safe methods that the profile does not declare, between two ordinary reads; one of them also on paths that have
    several methods."""
    await _probe(api, str(target.target.control), undeclared(target, READING))
    for name in shared_paths(target, str(principal(target))):
        await _probe(api, name, (ODD,))


@scenario(per="api", claims=claims, needs=reader_needed, allow=("read", "write"),
          cost=lambda _target, _subject: Cost(reads=4, writes=len(WRITING)))
async def odd_writes(api: Api, target: Profile, _subject: Subject) -> None:
    """PUT and PATCH without content, for a version that never was: even if taken, nothing is to be changed."""
    await _probe(api, str(target.target.control), undeclared(target, WRITING), {"If-Match": NO_SUCH_VERSION})
