"""What requests drawn from the OpenAPI document meet (FUZ-001 to FUZ-006)."""

from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from openbell.reference_server import bodies
from openbell.reference_server.behaviour import AsgiApp, Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.replies import on_reply, with_json
from openbell.reference_server.values import Json, Reply, Scope

STATUS = "/v1/status"


@defect("fuzz-empty-body-crashes", catches={"FUZ-001": "server-error"}, also={"HTTP-008": "server-error"})
def fuzz_empty_body_crashes(behaviour: Behaviour) -> Behaviour:
    """A body without members reaches code that cannot do without one."""

    def validate(model: type[BaseModel], value: Json) -> BaseModel:
        if value == {}:
            raise LookupError("no members")
        return bodies.validate(model, value)

    return replace(behaviour, validate=validate)


@defect("fuzz-undocumented-status", catches={"FUZ-002": "undocumented-status"})
def fuzz_undocumented_status(behaviour: Behaviour) -> Behaviour:
    """Instruments are answered with 203, of which the document says nothing."""

    def change(scope: Scope, reply: Reply) -> Reply:
        return replace(reply, status=203) if scope["path"] == "/v1/instruments" and reply.status == 200 else reply

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("fuzz-schema-violated", catches={"FUZ-003": "schema-violated"})
def fuzz_schema_violated(behaviour: Behaviour) -> Behaviour:
    """The status tells its time as a number, where the document has text."""

    def change(scope: Scope, reply: Reply) -> Reply:
        if scope["path"] != STATUS or reply.status != 200:
            return reply
        return with_json(reply, {"status": "up", "time": 1}, "application/json")

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("fuzz-field-missing", catches={"FUZ-003": "fields-violated"})
def fuzz_field_missing(behaviour: Behaviour) -> Behaviour:
    """The status comes without Cache-Control, which the document promises."""

    def change(scope: Scope, reply: Reply) -> Reply:
        kept = tuple((name, value) for name, value in reply.fields if name.lower() != "cache-control")
        return replace(reply, fields=kept) if scope["path"] == STATUS else reply

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("fuzz-undocumented-media-type", catches={"FUZ-003": "undocumented-media-type"})
def fuzz_undocumented_media_type(behaviour: Behaviour) -> Behaviour:
    """The status is declared as plain text."""

    def change(scope: Scope, reply: Reply) -> Reply:
        if scope["path"] != STATUS or reply.status != 200:
            return reply
        return with_json(reply, {"status": "up", "time": "2026-11-02T09:30:00.000000Z"}, "text/plain")

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("fuzz-invalid-accepted", catches={"FUZ-004": "invalid-accepted"},
        also={"PAG-001": "endless", "PAG-010": "negative-accepted"})
def fuzz_invalid_accepted(behaviour: Behaviour) -> Behaviour:
    """A query of the instruments that cannot be understood is treated as if it were not there."""

    def wrap(inner: AsgiApp) -> AsgiApp:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            listing = scope["type"] == "http" and scope["path"] == "/v1/instruments"
            await inner({**scope, "query_string": b""} if listing else scope, receive, send)
        return app

    return replace(behaviour, wrappers=(*behaviour.wrappers, wrap))


@defect("fuzz-any-method", catches={"FUZ-005": "method-accepted"})
def fuzz_any_method(behaviour: Behaviour) -> Behaviour:
    """On the instruments, every method does what GET does."""

    def wrap(inner: AsgiApp) -> AsgiApp:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            reading = scope["type"] == "http" and scope["path"].startswith("/v1/instruments")
            await inner({**scope, "method": "GET"} if reading else scope, receive, send)
        return app

    return replace(behaviour, wrappers=(*behaviour.wrappers, wrap))


@defect("fuzz-authentication-ignored", catches={"FUZ-006": "authentication-ignored"}, also={"AUT-001": "unprotected"})
def fuzz_authentication_ignored(behaviour: Behaviour) -> Behaviour:
    """The events are given to anybody who asks without a token."""
    return replace(behaviour, unprotected=frozenset({"list_events"}))
