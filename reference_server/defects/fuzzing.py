"""What only requests drawn from the OpenAPI document meet (FUZ-001 to FUZ-007)."""

from dataclasses import replace

from pydantic import BaseModel

from openbell.reference_server import bodies
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.values import Json


@defect("fuzz-empty-body-crashes", catches={"FUZ-001": "server-error"})
def fuzz_empty_body_crashes(behaviour: Behaviour) -> Behaviour:
    """A body without members reaches code that cannot do without one."""

    def validate(model: type[BaseModel], value: Json) -> BaseModel:
        if value == {}:
            raise LookupError("no members")
        return bodies.validate(model, value)

    return replace(behaviour, validate=validate)
