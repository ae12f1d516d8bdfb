"""Legal answers to odd methods and to invalid input."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from openbell.reference_server import bodies, problems
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import benign
from openbell.reference_server.replies import edited, on_reply
from openbell.reference_server.replies import without as without_field
from openbell.reference_server.values import Fault, Json, Problem, Reply, Scope, refuse

USUAL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


def odd_methods(behaviour: Behaviour, status: int, members: Mapping[str, Any]) -> Behaviour:
    """The behaviour that answers unusual methods with that status and those members of the problem."""

    def change(scope: Scope, reply: Reply) -> Reply:
        if reply.status != 405 or scope["method"] in USUAL:
            return reply
        shown = replace(without_field(reply, "allow"), status=status)
        return edited(shown, lambda old: {**old, **members, "status": status})

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@benign("odd-methods-404", checks=("HTTP-001",))
def odd_methods_404(behaviour: Behaviour) -> Behaviour:
    """A method that the router never heard of is an unknown route; only a 405 must carry Allow."""
    kind = {"type": problems.TYPE_ROOT + "not_found", "title": "Not found", "code": "not_found"}
    return odd_methods(behaviour, 404, kind)


@benign("odd-methods-501", checks=("HTTP-001",))
def odd_methods_501(behaviour: Behaviour) -> Behaviour:
    """A method that is not implemented anywhere is a 501 (RFC 9110 section 9.1)."""
    kind = {"type": problems.TYPE_ROOT + "not_implemented", "title": "Not implemented", "code": "not_implemented"}
    return odd_methods(behaviour, 501, kind)


@benign("empty-allow", checks=("HTTP-001",))
def empty_allow(behaviour: Behaviour) -> Behaviour:
    """Allow may be empty (RFC 9110 section 10.2.1)."""
    return replace(behaviour, allow=lambda method, allowed: "")


@benign("invalid-400", checks=("HTTP-008",))
def invalid_400(behaviour: Behaviour) -> Behaviour:
    """Invalid input is a 400 where others say 422."""

    def write(problem: Problem, correlation: str) -> Reply:
        status = 400 if problems.status_of(problem) == 422 else problem.status
        return problems.write_error(replace(problem, status=status), correlation)

    return replace(behaviour, write_error=write)


@benign("unknown-members-refused", checks=("HTTP-008",))
def unknown_members_refused(behaviour: Behaviour) -> Behaviour:
    """Members that nobody documented are refused and not ignored."""

    def validate(model: type[BaseModel], value: Json) -> BaseModel:
        unknown = sorted(set(value) - set(model.model_fields)) if isinstance(value, dict) else []
        if unknown:
            found = (Fault(f"/{name}", "unknown member") for name in unknown)
            raise refuse("validation", "The body has members that are not documented.", *found, status=400)
        return bodies.validate(model, value)

    return replace(behaviour, validate=validate)
