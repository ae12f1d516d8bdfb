"""One error from each layer that may write one: router, authentication, authorisation, parser, validator, handler."""

from __future__ import annotations

import re
from collections.abc import Iterator

from openbell.api import Api
from openbell.building import Alter, fill, values_of
from openbell.profile import Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.scenarios.invalid_input import creation, creation_needed
from openbell.scenarios.methods import claims, reader_needed, stand_ins
from openbell.session import principal
from openbell.target import Subject

TOO_MUCH = 1_100_000
MOST_READS = 7
MOST_WRITES = 4
_VERSION = re.compile(r"/v\d+/")


def reading_layers(target: Profile, by: str) -> Iterator[tuple[str, str, Alter]]:
    """Layer, operation and alteration of each error that a read can bring about."""
    control = str(target.target.control)
    op = target.operation[control]
    yield "route", control, Alter(path=target.target.unknown_path)
    yield "method", control, Alter(method="PROPFIND")
    yield "credentials", control, Alter(anonymous=True)
    yield "token", control, Alter(credential=lambda _value: "openbell-no-such-token")
    if _VERSION.search(op.path):
        path = fill(op.path, values_of(op, target.credential[by], {}))
        yield "version", control, Alter(path=_VERSION.sub("/v999/", path, count=1))
    listing = next((n for n, op in target.operation.items() if op.method == "GET" and op.page), None)
    if listing:
        yield "query", listing, Alter(query={target.page[str(target.operation[listing].page)].size: "abc"})


@scenario(per="api", claims=claims, needs=reader_needed, cost=lambda _target, _subject: Cost(reads=MOST_READS + 4))
async def error_layers(api: Api, target: Profile, _subject: Subject) -> None:
    """Errors of router, authentication, validator and handler, between two ordinary reads."""
    by, control = str(principal(target)), str(target.target.control)
    await api.call(control, by=by, label="control:layer")
    for layer, name, alter in reading_layers(target, by):
        params = stand_ins(target, target.operation[name], by, {})
        await api.call(name, by=by, label=f"layer:{layer}", alter=alter, **params)
    handler = next((n for n, op in target.operation.items() if op.role == "read" and "{id}" in op.path), None)
    if handler:
        params = stand_ins(target, target.operation[handler], by, {"id": "openbell-no-such-id"})
        await api.call(handler, by=by, label="layer:handler", **params)
    await api.call(control, by=by, label="control:layer")


def writing_layers(target: Profile) -> Iterator[tuple[str, str, Alter]]:
    """Layer, principal and alteration of each error that a body can bring about; none of the bodies can be valid."""
    by = str(principal(target))
    yield "parser", by, Alter(content=b"{")
    yield "media-type", by, Alter(content=b"openbell", headers={"Content-Type": "text/plain"})
    yield "size", by, Alter(content=b'{"openbell": "' + b"x" * TOO_MUCH)
    reader = principal(target, "read_only")
    if reader:
        yield "permission", reader, Alter(content=b"{")


def _writing_claims(target: Profile, _subject: Subject) -> tuple[Claim, ...]:
    return tuple(share(f"principal:{p}") for p in (principal(target), principal(target, "read_only")) if p)


@scenario(per="api", claims=_writing_claims, needs=creation_needed, allow=("read", "write"),
          cost=lambda _target, _subject: Cost(reads=4, writes=2 * MOST_WRITES))
async def error_layers_of_bodies(api: Api, target: Profile, _subject: Subject) -> None:
    """Errors of parser, size limit, media type and authorisation, between two ordinary reads."""
    by, control, create = str(principal(target)), str(target.target.control), str(creation(target))
    await api.call(control, by=by, label="control:layer")
    for layer, caller, alter in writing_layers(target):
        await api.call(create, by=caller, label=f"layer:{layer}", alter=alter, fresh=layer == "size")
    await api.call(control, by=by, label="control:layer")
