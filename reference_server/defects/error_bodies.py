"""Wrong error bodies (ERR-001, ERR-002, ERR-005, ERR-007)."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from openbell.reference_server import problems
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.replies import edited, on_reply, unrouted, with_fields, with_json
from openbell.reference_server.values import Problem, Reply, Scope

HTML = b"<!doctype html><html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>"
STACK = 'Traceback (most recent call last):\n  File "/srv/api/orders.py", line 112, in submit\nValueError: bad value'
SQL = 'near "WHERE": syntax error [SQL: SELECT id, account, price FROM orders WHERE id = ? AND account = ?]'
PATH = "There is no such file: /srv/orders/data/2026/orders.db"
ADDRESS = "No reply from the order service at 10.12.0.7:8443 for this resource."
Edit = Callable[[dict[str, Any]], dict[str, Any]]


def on_status(behaviour: Behaviour, change: Callable[[Reply], Reply], *statuses: int) -> Behaviour:
    """The behaviour with a wrapper that changes the replies of those statuses."""

    def changed(scope: Scope, reply: Reply) -> Reply:
        del scope
        return change(reply) if reply.status in statuses else reply

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(changed)))


def on_unrouted(behaviour: Behaviour, change: Callable[[Reply], Reply]) -> Behaviour:
    """The behaviour with a wrapper that changes what the router answers to unknown paths."""

    def changed(scope: Scope, reply: Reply) -> Reply:
        return change(reply) if reply.status == 404 and unrouted(scope) else reply

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(changed)))


def edit_errors(behaviour: Behaviour, edit: Edit, codes: Collection[str]) -> Behaviour:
    """The behaviour with the problem documents of those codes edited as they are written."""

    def write(problem: Problem, correlation: str) -> Reply:
        reply = problems.write_error(problem, correlation)
        return edited(reply, edit) if problem.code in codes else reply

    return replace(behaviour, write_error=write)


@defect("html-404", catches={"ERR-001": "not-json", "ERR-002": "code-missing", "ERR-007": "schemas-differ"})
def html_404(behaviour: Behaviour) -> Behaviour:
    """An unknown route is answered with the framework's HTML page."""

    def change(reply: Reply) -> Reply:
        return with_fields(replace(reply, content=HTML), (("content-type", "text/html; charset=utf-8"),))

    return on_unrouted(behaviour, change)


@defect("empty-401", catches={"ERR-001": "empty"}, also={"FUZ-003": "schema-violated"})
def empty_401(behaviour: Behaviour) -> Behaviour:
    """A 401 has no content."""
    return on_status(behaviour, lambda reply: replace(reply, content=b""), 401)


@defect("json-as-text", catches={"ERR-001": "wrong-media-type"}, also={"FUZ-003": "undocumented-media-type"})
def json_as_text(behaviour: Behaviour) -> Behaviour:
    """Validation errors are JSON, but called plain text."""
    plain = (("content-type", "text/plain; charset=utf-8"),)
    return on_status(behaviour, lambda reply: with_fields(reply, plain), 400, 422)


def without(*names: str) -> Edit:
    return lambda members: {name: value for name, value in members.items() if name not in names}


@defect("correlation-missing-404", catches={"ERR-002": "correlation-missing"}, also={"FUZ-003": "schema-violated"})
def correlation_missing_404(behaviour: Behaviour) -> Behaviour:
    """Only the body of a 404 lacks the correlation id."""
    return edit_errors(behaviour, without("correlation_id"), {"not_found"})


@defect("code-missing-404", catches={"ERR-002": "code-missing"}, also={"FUZ-003": "schema-violated"})
def code_missing_404(behaviour: Behaviour) -> Behaviour:
    """A 404 is a problem of type about:blank, which has no code."""
    return edit_errors(behaviour, lambda members: {**without("code")(members), "type": "about:blank"}, {"not_found"})


@defect("message-equals-code", catches={"ERR-002": "message-missing"})
def message_equals_code(behaviour: Behaviour) -> Behaviour:
    """What should be a sentence is the code again."""

    def edit(members: dict[str, Any]) -> dict[str, Any]:
        return {**members, "title": members["code"], "detail": members["code"]}

    return edit_errors(behaviour, edit, problems.KINDS)


def leaking(behaviour: Behaviour, leak: str, *codes: str) -> Behaviour:
    """The behaviour with something of the inside as the detail of those codes."""
    return edit_errors(behaviour, lambda members: {**members, "detail": leak}, codes)


@defect("stack-trace", catches={"ERR-005": "stack-trace"})
def stack_trace(behaviour: Behaviour) -> Behaviour:
    """Invalid input is answered with a stack trace."""
    return leaking(behaviour, STACK, "validation", "malformed_json", "bad_page_size", "internal")


@defect("sql-text", catches={"ERR-005": "sql-text"})
def sql_text(behaviour: Behaviour) -> Behaviour:
    """An unknown resource is answered with the statement that did not find it."""
    return leaking(behaviour, SQL, "not_found", "duplicate_order")


@defect("file-path", catches={"ERR-005": "file-path"})
def file_path(behaviour: Behaviour) -> Behaviour:
    """An unknown resource is answered with the file that it would have been in."""
    return leaking(behaviour, PATH, "not_found")


@defect("internal-address", catches={"ERR-005": "internal-address"})
def internal_address(behaviour: Behaviour) -> Behaviour:
    """An unknown resource is answered with the address of the service behind."""
    return leaking(behaviour, ADDRESS, "not_found")


@defect("router-404", catches={"ERR-007": "schemas-differ", "ERR-002": "code-missing"})
def router_404(behaviour: Behaviour) -> Behaviour:
    """An unknown route has the framework's own error body, while handlers write problems."""
    return on_unrouted(behaviour, lambda reply: with_json(reply, {"detail": "Not Found"}, "application/json"))
