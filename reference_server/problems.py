"""Every refusal is one problem document (RFC 9457), whatever layer refuses.

The table gives each code its status, its title and the sentence used where the refusing code has none of its own.
"""

import json

from openbell.reference_server.values import Fields, Problem, Reply

TYPE_ROOT = "https://openbell.invalid/problems/"
MEDIA_TYPE = "application/problem+json"

KINDS: dict[str, tuple[int, str, str]] = {
    "bad_cursor": (400, "Bad cursor", "The cursor is not one that this listing issued to this client."),
    "bad_handshake": (400, "Bad handshake", "The request does not open a stream as RFC 6455 asks."),
    "bad_page_size": (400, "Bad page size", "The limit must be a whole number from 1 upwards."),
    "body_too_large": (413, "Body too large", "The request body may hold 1048576 bytes at most."),
    "cursor_expired": (400, "Cursor expired", "The cursor has outlived its time; start the listing again."),
    "duplicate_order": (409, "Duplicate order", "An order with this client_order_id exists already."),
    "forbidden": (403, "Forbidden", "This client may read but not write."),
    "idempotency_mismatch": (422, "Key used before", "This Idempotency-Key came with another request before."),
    "in_progress": (409, "In progress", "The first request with this Idempotency-Key is not answered yet."),
    "internal": (500, "Internal error", "The server failed to handle the request; it has been recorded."),
    "invalid_request": (400, "Invalid request", "The credentials were sent in more than one way."),
    "invalid_token": (401, "Invalid token", "The access token is not one that this server issued."),
    "list_changed": (409, "List changed", "The data changed since the cursor was issued; start the listing again."),
    "malformed_json": (400, "Malformed JSON", "The request body is not well-formed JSON."),
    "method_not_allowed": (405, "Method not allowed", "The resource does not support this method."),
    "not_found": (404, "Not found", "There is no such resource for this client."),
    "order_closed": (409, "Order closed", "The order is closed and can no longer be changed."),
    "precondition_failed": (412, "Precondition failed", "The resource is not in the state that If-Match names."),
    "throttled": (429, "Too many requests", "The quota is used up; wait as long as Retry-After says."),
    "token_expired": (401, "Token expired", "The access token has expired; ask for a new one."),
    "unauthenticated": (401, "Not authenticated", "This resource needs an access token."),
    "unsupported_media_type": (415, "Unsupported media type", "The request body must be JSON."),
    "validation": (422, "Validation failed", "The request contradicts the documented constraints."),
}


def status_of(problem: Problem) -> int:
    """The problem's own status, else its kind's."""
    return problem.status or KINDS[problem.code][0]


def document(problem: Problem, correlation: str) -> dict[str, object]:
    """The members of the problem document, in the order in which they are written."""
    _, title, detail = KINDS[problem.code]
    members: dict[str, object] = {
        "type": TYPE_ROOT + problem.code,
        "title": title,
        "status": status_of(problem),
        "detail": problem.detail or detail,
        "code": problem.code,
        "correlation_id": correlation,
    }
    if problem.faults:
        members["errors"] = [{"pointer": fault.pointer, "message": fault.message} for fault in problem.faults]
    return members


def error_fields(problem: Problem) -> Fields:
    """The problem's own fields, and that nobody stores a refusal (RFC 6585 section 4 for the 429)."""
    return (("content-type", MEDIA_TYPE), ("cache-control", "no-store"), *problem.fields)


def write_error(problem: Problem, correlation: str) -> Reply:
    """The reply for a problem; the correlation id is the one of the reply's header."""
    content = json.dumps(document(problem, correlation)).encode()
    return Reply(status_of(problem), error_fields(problem), content)


def allow(method: str, allowed: tuple[str, ...]) -> str | None:
    """The Allow field of a 405 (RFC 9110 section 10.2.1); None leaves it out."""
    return ", ".join(name for name in allowed if name != method)
