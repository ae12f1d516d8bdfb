"""Correlation ids: on every reply, the same in header and error body, unique."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openbell.conformance.asked import asked
from openbell.events import Exchange
from openbell.profile import Profile
from openbell.registry import MUST, Observation, broken, holds, traffic_check
from openbell.target import correlation, envelope

CONVENTION = "Conventions: error bodies with codes, messages and correlation IDs for traceability"
MOST_IDS = 200_000


@traffic_check("COR-001", title="Correlation id on every response, identical in header and error body", level=MUST,
               promise="trace.every_reply", minimum=10,
               sources=(CONVENTION, "CDR Consumer Data Standards: x-fapi-interaction-id on success and error",
                        "Zalando RESTful API guidelines, rule 233: X-Flow-ID"),
               remedy="Set the id in the outermost layer, before routing and authentication, and let every error "
                      "writer take it from there.")
def on_every_reply(exchange: Exchange, target: Profile, _memory: dict[str, Any]) -> Iterator[Observation]:
    """Every reply carries the header once; an error body repeats its value."""
    shape = envelope(target, exchange)
    # RFC 9110 15.2: a 1xx, such as the 101 of a stream's handshake, is interim; no operation is answered by it.
    if exchange.status is None or exchange.status < 200 or shape.trace.header is None:
        return
    if shape.trace.on == "errors" and exchange.status < 400:
        return
    header, body = correlation(shape, exchange)
    name = f"{shape.trace.header} on {exchange.method} {asked(exchange, target)}"
    if not any(header):
        yield broken(f"missing-on-{exchange.status}", name, f"status {exchange.status} without it", exchange)
    elif len(set(header)) > 1:
        yield broken("two-values", f"{name}, once", f"{len(header)} different values", exchange)
    elif exchange.status >= 400 and body and body != header[0]:
        yield broken("header-body-differ", f"the same id in header and body of {asked(exchange, target)}",
                     f"header {header[0][:80]!r}, body {body[:80]!r}", exchange)
    else:
        yield holds(exchange)


@traffic_check("COR-002", title="Correlation ids made by the server are unique", level=MUST, promise="trace.unique",
               minimum=50, sources=(CONVENTION,),
               remedy="Draw a new id of at least 64 random bits for every request.")
def unique_ids(exchange: Exchange, target: Profile, memory: dict[str, Any]) -> Iterator[Observation]:
    """No two requests share an id, unless a cache or an idempotent replay gave the first reply again."""
    shape = envelope(target, exchange)
    name = shape.trace.header
    if exchange.status is None or exchange.reply is None or name is None or exchange.request.lines(name):
        return
    header = exchange.reply.lines(name)
    if not header or exchange.reply.field("age"):
        return
    seen: dict[str, int] = memory.setdefault("seen", {})
    first = seen.get(header[0])
    if not header[0]:
        yield broken("empty", f"a value in {name}", "an empty one", exchange)
    elif first is not None:
        yield broken("repeated", f"a new {name} for every request",
                     f"{header[0][:80]!r} again, first seen in event {first}", exchange)
    else:
        if len(seen) < MOST_IDS:
            seen[header[0]] = exchange.n
        yield holds(exchange)

