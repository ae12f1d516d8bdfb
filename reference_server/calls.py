"""One request as its handler sees it: authenticated, admitted, its body read and validated."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from openbell.reference_server.access_log import Log, no_log
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.cursors import Moment
from openbell.reference_server.database import Store
from openbell.reference_server.hub import Market, Orders
from openbell.reference_server.idempotency import Entry
from openbell.reference_server.limits import Bucket
from openbell.reference_server.listings import Listing, total
from openbell.reference_server.settings import Client, Settings
from openbell.reference_server.tokens import Grant
from openbell.reference_server.values import Fault, Fields, Json, Reply, Scope, refuse


@dataclass(frozen=True)
class World:
    """What lives as long as the application: parts, settings, data, grants, buckets, streams, idempotency keys.

    `key` seals cursors and makes epochs.
    """

    behaviour: Behaviour
    settings: Settings
    store: Store
    grants: dict[str, Grant]
    buckets: dict[tuple[str, str], Bucket]
    key: bytes
    market: Market
    orders: Orders
    log: Log = no_log
    keys: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def epoch(self, account: str) -> str:
        """The epoch of an account's positions."""
        return self.orders.epoch_of(account)


@dataclass(frozen=True)
class Call:
    """client is None on public operations; body is the raw content where the operation names no model."""

    world: World
    scope: Scope
    client: Client | None
    path: Mapping[str, str]
    query: Mapping[str, list[str]]
    body: Any

    @property
    def store(self) -> Store:
        return self.world.store

    def single(self, name: str, code: str = "validation") -> str | None:
        """The one value of a query parameter; refuses several."""
        values = self.query.get(name, [])
        if len(values) > 1:
            raise refuse(code, f"The parameter {name} may come once only.", status=400)
        return values[0] if values else None

    def choice(self, name: str, *allowed: str) -> str:
        """The value of a parameter out of those allowed; the first is the default."""
        given = self.single(name)
        value = allowed[0] if given is None else given
        if value not in allowed:
            message = f"must be one of {', '.join(allowed)}"
            raise refuse("validation", f"The parameter {name} {message}.", Fault(f"?{name}", message), status=400)
        return value


def answer(status: int, value: Json, fields: Fields = ()) -> Reply:
    """A JSON reply that nobody may store."""
    content = value.model_dump_json().encode() if isinstance(value, BaseModel) else json.dumps(value).encode()
    return Reply(status, (("content-type", "application/json"), ("cache-control", "no-store"), *fields), content)


def page(call: Call, listing: Listing, item: Callable[[Any], Json]) -> Reply:
    """One page of a listing, as the query's limit and cursor ask."""
    behaviour, reader = call.world.behaviour, call.store.reader
    size = behaviour.page_size(call.single("limit", "bad_page_size"))
    text = call.single("cursor", "bad_cursor")
    moment = Moment(call.world.key, time.monotonic())
    listing, mark = (listing, ()) if text is None else behaviour.sealing.unseal(text, listing, moment)
    cut = behaviour.cut(listing, mark, size, reader)
    cursor = None if cut.following is None else behaviour.sealing.seal(cut.following, listing, moment)
    return answer(200, behaviour.page_members([item(row) for row in cut.rows], cursor, total(listing, reader)))
