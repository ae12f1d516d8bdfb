"""A wrapper that changes whole replies from outside the application."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from openbell.reference_server.behaviour import AsgiApp, Wrapper
from openbell.reference_server.values import Fields, Json, Reply, Scope

Change = Callable[[Scope, Reply], Reply]


def on_reply(change: Change) -> Wrapper:
    """The wrapper that hands every reply to `change` before it is sent."""

    def wrap(app: AsgiApp) -> AsgiApp:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            held: list[Any] = []

            async def hold(message: Any) -> None:
                held.append(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    await emit(change(scope, gathered(held)), send)

            await app(scope, receive, hold)

        return wrapped

    return wrap


def gathered(messages: list[Any]) -> Reply:
    """The messages of a reply as a value."""
    fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in messages[0]["headers"])
    return Reply(messages[0]["status"], fields, b"".join(message.get("body", b"") for message in messages[1:]))


async def emit(reply: Reply, send: Any) -> None:
    """Sends a reply, with the length that it has now."""
    length = () if reply.status in {204, 304} else (("content-length", str(len(reply.content))),)
    fields = (*without(reply, "content-length").fields, *length)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.content})


def without(reply: Reply, name: str) -> Reply:
    """The reply without the fields of that lower-case name."""
    return replace(reply, fields=tuple(field for field in reply.fields if field[0] != name))


def with_fields(reply: Reply, fields: Fields) -> Reply:
    """The reply with these fields in the place of those of the same names."""
    for name, _ in fields:
        reply = without(reply, name)
    return replace(reply, fields=(*reply.fields, *fields))


def with_json(reply: Reply, value: Json, media_type: str | None = None) -> Reply:
    """The reply with a JSON value as content, and another media type where one is given."""
    changed = replace(reply, content=json.dumps(value).encode())
    return changed if media_type is None else with_fields(changed, (("content-type", media_type),))


def edited(reply: Reply, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Reply:
    """The reply with its JSON object edited; HEAD's empty content stays."""
    return with_json(reply, edit(json.loads(reply.content))) if reply.content else reply


def unrouted(scope: Scope) -> bool:
    """Whether the router knew no resource for the request."""
    return "endpoint" not in scope
