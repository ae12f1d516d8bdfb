"""The OpenAPI 3.1 document, written from the table of operations and the models: what the server does, no more."""

import json
from functools import cache

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from openbell.reference_server import models
from openbell.reference_server.calls import Call
from openbell.reference_server.operations import OPERATIONS, Operation, Parameter
from openbell.reference_server.problems import KINDS, MEDIA_TYPE
from openbell.reference_server.values import Json, Reply

REF = "#/components/schemas/"
ALWAYS = ("unauthenticated", "invalid_token", "token_expired", "invalid_request", "throttled", "internal")
OWN_FIELDS = {
    "X-Correlation-Id": ("The reply's id: the client's own where it sent a UUID, else a fresh one.", True),
    "RateLimit-Policy": ('The quota: its name, q requests, w seconds, as in "reads";q=2000;w=2.', False),
    "RateLimit": ('What is left of the quota: r requests, for t seconds, as in "reads";r=1999;t=1.', False),
    "Cache-Control": ("no-store", True),
    "WWW-Authenticate": ("How to authenticate (RFC 6750).", True),
    "Retry-After": ("Whole seconds to wait.", True),
    "Location": ("The path of what was created.", True),
    "ETag": ("The state of the resource, for If-Match.", True),
    "Idempotent-Replayed": ("true where this is the first reply to the same Idempotency-Key.", False),
    "Allow": ("The methods of the resource.", True),
}


def field_refs(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def schemas() -> tuple[dict[str, Json], dict[type[BaseModel], str]]:
    """The schemas of all models, and the name under which each model stands."""
    used: set[type[BaseModel]] = {one.reply for one in documented()} | {models.Problem, models.TokenError}
    used |= {one.body for one in documented() if one.body}
    ordered = sorted(used, key=lambda model: model.__name__)
    refs, found = models_json_schema([(model, "validation") for model in ordered], ref_template=REF + "{model}")
    return found["$defs"], {model: refs[(model, "validation")]["$ref"] for model in ordered}


def content(media_type: str, ref: str) -> Json:
    return {media_type: {"schema": {"$ref": ref}}}


def status_and_code(problem: str) -> tuple[str, str]:
    """The status and code of a problem's name, which may carry another status after a colon."""
    code, _, status = problem.partition(":")
    return status or str(KINDS[code][0]), code


def problem_fields(operation: Operation, status: str) -> Json:
    limited = () if operation.public or status == "401" else ("RateLimit-Policy", "RateLimit")
    own = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "405": ("Allow",)}.get(status, ())
    return field_refs("X-Correlation-Id", "Cache-Control", *limited, *own)


def problem_codes(operation: Operation) -> tuple[str, ...]:
    """The problems that an operation can answer with."""
    if operation.public:
        return ("internal", "body_too_large") if operation.writes else ("internal",)
    found = "{" in operation.path
    return (*ALWAYS, *operation.problems, *(("not_found",) if found else ()))


def problem_responses(operation: Operation, problem_ref: str) -> Json:
    """One response per status, which names its codes."""
    by_status: dict[str, list[str]] = {}
    for status, code in map(status_and_code, problem_codes(operation)):
        by_status.setdefault(status, []).append(code)
    return {
        status: {
            "description": "Problem: " + ", ".join(sorted(set(codes))),
            "headers": problem_fields(operation, status),
            "content": content(MEDIA_TYPE, problem_ref),
        }
        for status, codes in sorted(by_status.items())
    }


def token_responses(refs: dict[type[BaseModel], str]) -> Json:
    """What only the token endpoint answers (RFC 6749 section 5.2)."""
    errors = {"content": content("application/json", refs[models.TokenError])}
    fields = ("X-Correlation-Id", "Cache-Control")
    return {
        "400": {"description": "The request is invalid.", "headers": field_refs(*fields), **errors},
        "401": {
            "description": "The client is not authenticated.",
            "headers": field_refs(*fields, "WWW-Authenticate"),
            **errors,
        },
    }


def responses(operation: Operation, refs: dict[type[BaseModel], str]) -> Json:
    limited = () if operation.public else ("RateLimit-Policy", "RateLimit")
    success = {
        "description": "Done.",
        "headers": field_refs("X-Correlation-Id", "Cache-Control", *limited, *operation.fields),
        "content": content("application/json", refs[operation.reply]),
    }
    found = {str(operation.status): success, **problem_responses(operation, refs[models.Problem])}
    if operation.name == "read_preferences":
        found["304"] = {"description": "Not modified.", "headers": field_refs("X-Correlation-Id", "ETag")}
    return found | (token_responses(refs) if operation.name == "issue_token" else {})


def query_parameter(parameter: Parameter) -> Json:
    schema: Json = {"type": "string"}
    if parameter.name == "limit":
        schema = {"type": "integer", "minimum": 1, "default": 50}
    if parameter.values:
        schema = {"type": "string", "enum": list(parameter.values), "default": parameter.values[0]}
    described = {"name": parameter.name, "in": "query", "required": False, "description": parameter.description}
    return {**described, "schema": schema}


def path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def field_parameter(name: str) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}


def parameters(operation: Operation) -> list[Json]:
    in_path = [path_parameter(part[1:-1]) for part in operation.path.split("/") if part.startswith("{")]
    conditional = {"read_preferences": ["If-None-Match"]}.get(operation.name, [])
    if "precondition_failed" in operation.problems:
        conditional = ["If-Match"]
    if "in_progress" in operation.problems:
        conditional = ["Idempotency-Key"]
    offered = [field_parameter(name) for name in ("X-Correlation-Id", *conditional)]
    return [*in_path, *map(query_parameter, operation.query), *offered]


def token_body() -> Json:
    members: dict[str, Json] = {"grant_type": {"type": "string", "enum": ["client_credentials"]}}
    members |= {name: {"type": "string"} for name in ("client_id", "client_secret", "scope")}
    schema = {"type": "object", "properties": members, "required": ["grant_type"]}
    return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


def operation_item(operation: Operation, refs: dict[type[BaseModel], str]) -> Json:
    """One operation of the document."""
    item: Json = {
        "operationId": operation.name,
        "summary": operation.name.replace("_", " ").capitalize(),
        "description": "",
        "parameters": parameters(operation),
        "responses": responses(operation, refs),
        "security": [] if operation.public else [{"oauth2": []}],
    }
    if operation.body is not None:
        item["requestBody"] = {"required": True, "content": content("application/json", refs[operation.body])}
    if operation.name == "issue_token":
        item["requestBody"] = token_body()
    return item


def documented() -> tuple[Operation, ...]:
    """All operations, the document's own among them."""
    return (*OPERATIONS, READ_DOCUMENT)


def components(found: dict[str, Json]) -> Json:
    flow = {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}}}
    headers = {
        name: {"description": description, "required": required, "schema": {"type": "string"}}
        for name, (description, required) in OWN_FIELDS.items()
    }
    schemes = {"oauth2": {"type": "oauth2", "flows": flow}}
    return {"schemas": found, "headers": headers, "securitySchemes": schemes}


async def undone() -> None:
    """Stands for an endpoint while the document is written."""


@cache
def document() -> bytes:
    """The document as JSON; made once in a process."""
    found, refs = schemas()
    api = FastAPI()
    for one in documented():
        item = operation_item(one, refs)
        api.add_api_route(one.path, undone, methods=[one.method], status_code=one.status, openapi_extra=item)
    shown = get_openapi(title="openbell reference API", version="1.0.0", routes=api.routes)
    return json.dumps({**shown, "components": components(found)}).encode()


def read_document(call: Call) -> Reply:
    del call
    return Reply(200, (("content-type", "application/json"), ("cache-control", "no-store")), document())


READ_DOCUMENT = Operation("read_document", "GET", "/openapi.json", read_document, models.Document, public=True)
