"""Request bodies: bounded in size, strict JSON (no duplicate names, no NaN), then validated against a model."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from openbell.reference_server.values import Fault, Json, Problem, Refused, Scope, header, refuse

MAXIMUM = 1 << 20
MEDIA_TYPES = ("application/json", "application/merge-patch+json")

Model = TypeVar("Model", bound=BaseModel)
Receive = Callable[[], Awaitable[Any]]
Validate = Callable[[type[BaseModel], Json], BaseModel]


async def read(scope: Scope, receive: Receive) -> bytes:
    """The whole body; refuses more than the maximum as soon as it is known, and a body that was cut off."""
    announced = header(scope, b"content-length") or "0"
    if announced.isdigit() and int(announced) > MAXIMUM:
        raise refuse("body_too_large")
    content = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise refuse("malformed_json")
        content += message.get("body", b"")
        if len(content) > MAXIMUM:
            raise refuse("body_too_large")
        if not message.get("more_body"):
            return bytes(content)


def require_json(scope: Scope) -> None:
    """Refuses every media type but JSON and JSON merge patch."""
    media_type = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise refuse("unsupported_media_type")


def unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object's members; refuses a name that comes twice (RFC 8259 section 4 leaves its meaning open)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise refuse("validation", "A member name occurs twice in one object.", status=400)
    return members


def no_number(lexeme: str) -> NoReturn:
    """Refuses NaN and the infinities, which Python's parser would take."""
    raise refuse("validation", f"{lexeme} is not a JSON number.", status=400)


def parse(content: bytes) -> Json:
    """The JSON value of a body."""
    try:
        return json.loads(content.decode(), object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise refuse("malformed_json") from None


def faults(error: ValidationError) -> tuple[Fault, ...]:
    """What is wrong, member by member, without the value that was sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(Fault("".join(f"/{part}" for part in one["loc"]), one["msg"]) for one in found)


def validate(model: type[BaseModel], value: Json) -> BaseModel:
    """The value as the model; refuses what contradicts it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Refused(Problem("validation", faults=faults(error))) from None
