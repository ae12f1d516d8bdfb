"""Wrong statuses and methods (HTTP-001, HTTP-008, HTTP-011, PAG-010)."""

import secrets
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from openbell.reference_server import bodies, pages, problems
from openbell.reference_server.behaviour import AsgiApp, Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.models import OrderChange, OrderRequest
from openbell.reference_server.replies import on_reply, with_json
from openbell.reference_server.values import Json, Problem, Refused, Reply, Scope

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
ORDER_PATH = "/orders/"
ACCEPTABLE: dict[str, Any] = {"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "limit", "price": "100.00"}


@defect("allow-missing", catches={"HTTP-001": "allow-missing"})
def allow_missing(behaviour: Behaviour) -> Behaviour:
    """A 405 comes without Allow."""
    return replace(behaviour, allow=lambda method, allowed: None)


@defect("allow-lists-refused", catches={"HTTP-001": "allow-lists-refused"})
def allow_lists_refused(behaviour: Behaviour) -> Behaviour:
    """Allow lists the very method that was refused."""
    return replace(behaviour, allow=lambda method, allowed: ", ".join(sorted({*allowed, method})))


@defect("allow-lacks-working", catches={"HTTP-001": "allow-lacks-working"})
def allow_lacks_working(behaviour: Behaviour) -> Behaviour:
    """Allow leaves out GET, which works."""
    return replace(behaviour, allow=lambda method, allowed: ", ".join(name for name in allowed if name != "GET"))


@defect("method-fails", catches={"HTTP-001": "server-error"}, also={"FUZ-001": "server-error"})
def method_fails(behaviour: Behaviour) -> Behaviour:
    """A method that a resource does not have is told as an error of the server."""

    def write(problem: Problem, correlation: str) -> Reply:
        told = Problem("internal") if problem.code == "method_not_allowed" else problem
        return problems.write_error(told, correlation)

    return replace(behaviour, write_error=write)


def as_get(app: AsgiApp) -> AsgiApp:
    """The application that takes a method which it does not know for GET."""

    async def known(scope: Any, receive: Any, send: Any) -> None:
        await app(scope if scope["method"] in METHODS else {**scope, "method": "GET"}, receive, send)

    return known


@defect("method-accepted", catches={"HTTP-001": "method-accepted"}, also={"FUZ-005": "method-accepted"})
def method_accepted(behaviour: Behaviour) -> Behaviour:
    """A method that nobody has heard of is served as GET."""
    return replace(behaviour, wrappers=(*behaviour.wrappers, as_get))


def crashing_size(text: str | None) -> int:
    return pages.DEFAULT_SIZE if text is None else min(max(1, int(text)), pages.MAXIMUM_SIZE)


@defect("limit-crashes", catches={"HTTP-008": "server-error", "PAG-010": "server-error"},
        also={"FUZ-001": "server-error"})
def limit_crashes(behaviour: Behaviour) -> Behaviour:
    """A page size that is no number raises where nobody expects it: 500."""

    def size(text: str | None) -> int:
        return crashing_size(text) if text and not text.lstrip("-").isdigit() else pages.page_size(text)

    return replace(behaviour, page_size=size)


def clamped(model: type[BaseModel], value: Json) -> BaseModel:
    """The body with every invalid member replaced by one that is acceptable."""
    try:
        return bodies.validate(model, value)
    except Refused:
        if model not in {OrderRequest, OrderChange} or not isinstance(value, dict):
            raise
    members = {**ACCEPTABLE, "client_order_id": secrets.token_hex(8)} | value
    kept = {name: members[name] for name in ACCEPTABLE if acceptable(name, members[name])}
    return bodies.validate(model, {**ACCEPTABLE, "client_order_id": secrets.token_hex(8), **kept})


def acceptable(name: str, member: Json) -> bool:
    """Whether one member of an order is valid by itself."""
    try:
        bodies.validate(OrderRequest, {**ACCEPTABLE, "client_order_id": "x", name: member})
    except Refused:
        return False
    return True


@defect("clamped-input", catches={"HTTP-008": "invalid-accepted"}, also={"FUZ-004": "invalid-accepted"})
def clamped_input(behaviour: Behaviour) -> Behaviour:
    """Values out of range are changed in silence and accepted."""
    return replace(behaviour, validate=clamped)


@defect("error-in-success", catches={"HTTP-011": "error-in-success"},
        also={"FUZ-002": "undocumented-status", "FUZ-003": "schema-violated", "FUZ-004": "invalid-accepted"})
def error_in_success(behaviour: Behaviour) -> Behaviour:
    """An order that is refused or unknown is answered 200 with an error envelope."""

    def change(scope: Scope, reply: Reply) -> Reply:
        unknown = reply.status == 404 and ORDER_PATH in scope["path"]
        if unknown or (reply.status == 422 and scope["path"].endswith("/orders")):
            code = "ORDER_NOT_FOUND" if unknown else "INSUFFICIENT_FUNDS"
            return replace(with_json(reply, {"success": False, "error": code}, "application/json"), status=200)
        return reply

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("status-460", catches={"HTTP-011": "unregistered-status"}, also={"FUZ-002": "undocumented-status"})
def status_460(behaviour: Behaviour) -> Behaviour:
    """An unknown order is answered with a status that nobody registered."""

    def change(scope: Scope, reply: Reply) -> Reply:
        return replace(reply, status=460) if reply.status == 404 and ORDER_PATH in scope["path"] else reply

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))
