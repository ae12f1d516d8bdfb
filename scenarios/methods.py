"""Methods that nobody documented, on a resource that can be read. None of them changes anything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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
    path = target.operation[str(target.target.control)].path
    declared = {op.method for op in target.operation.values() if op.path.partition("?")[0] == path.partition("?")[0]}
    return tuple(m for m in methods if m not in declared)


def shared_paths(target: Profile, by: str) -> tuple[str, ...]:
    """Of a few paths with several declared methods, besides the control's, the operation that reads them. No path to a
    single item is among them: what a method may do there depends on the item."""
    found = {target.operation[str(target.target.control)].path.partition("?")[0]: ""}
    for name, op in target.operation.items():
        path = op.path.partition("?")[0]
        fixed = "{id}" not in path and not stand_ins(target, op, by, {})
        if op.method == "GET" and fixed and len(declared(target, path)) > 1:
            found.setdefault(path, name)
    return tuple(filter(None, found.values()))[:PATHS]


def declared(target: Profile, path: str) -> frozenset[str]:
    """The methods that the profile declares on a path and lets the harness use."""
    return frozenset(op.method for op in target.operation.values() if op.path.partition("?")[0] == path and (
        not op.writes or "write" in target.target.allow))


async def _probe(api: Api, target: Profile, methods: tuple[str, ...], headers: dict[str, str | None]) -> None:
    by, control = str(principal(target)), str(target.target.control)
    await api.call(control, by=by, label="control:method")
    for method in undeclared(target, methods):
        await api.call(control, by=by, label=f"method:{method}", alter=Alter(method=method, headers=headers))
    await api.call(control, by=by, label="control:method")


@scenario(per="api", claims=claims, needs=reader_needed,
          cost=lambda _target, _subject: Cost(reads=len(READING) + 4 + 3 * PATHS))
async def odd_methods(api: Api, target: Profile, _subject: Subject) -> None:
    """Safe methods that the profile does not declare, between two ordinary reads; one of them also on paths that have
    several methods."""
    await _probe(api, target, READING, {})
    by = str(principal(target))
    for name in shared_paths(target, by):
        await api.call(name, by=by, label="control:method")
        await api.call(name, by=by, label=f"method:{ODD}", alter=Alter(method=ODD))
        await api.call(name, by=by, label="control:method")


@scenario(per="api", claims=claims, needs=reader_needed, allow=("read", "write"),
          cost=lambda _target, _subject: Cost(reads=4, writes=len(WRITING)))
async def odd_writes(api: Api, target: Profile, _subject: Subject) -> None:
    """PUT and PATCH without content, for a version that never was: even if taken, nothing is to be changed."""
    await _probe(api, target, WRITING, {"If-Match": NO_SUCH_VERSION})
