"""Access tokens: OAuth 2.0 client credentials (RFC 6749 section 4.4), opaque bearer tokens (RFC 6750).

A grant is kept for a while after its end, so that its holder is told "expired" rather than "never heard of".
"""

import math
import secrets
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from openbell.reference_server.values import Problem, Scope, refuse

KEPT = 20_000
REALM = 'Bearer realm="openbell"'


@dataclass(frozen=True)
class Grant:
    """One issued token: whose it is, and its monotonic seconds of issue and end."""

    client: str
    issued: float
    expires: float


def issue(grants: MutableMapping[str, Grant], client: str, now: float, lifetime: float) -> str:
    """Issues a token; the oldest grants are forgotten beyond a fixed number."""
    while len(grants) >= KEPT:
        del grants[next(iter(grants))]
    token = secrets.token_urlsafe(32)
    grants[token] = Grant(client, now, now + lifetime)
    return token


def expires_in(lifetime: float) -> int:
    """The lifetime as it is told: whole seconds, never more than it is, at least one."""
    return max(1, math.floor(lifetime))


def read_credential(scope: Scope) -> str:
    """The bearer token of a request; refuses none, another scheme, and two ways at once (RFC 6750 section 2)."""
    fields = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
    if not fields:
        raise refuse("unauthenticated")
    if len(fields) > 1 or "access_token" in query_names(scope):
        raise refuse("invalid_request")
    scheme, _, token = fields[0].partition(" ")
    if scheme.lower() != "bearer":
        raise refuse("unauthenticated")
    return str(token.strip(" "))


def query_names(scope: Scope) -> dict[str, list[str]]:
    """The parameters of the query with their values."""
    return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def find_grant(token: str, grants: Mapping[str, Grant]) -> Grant | None:
    """The grant of exactly this token."""
    return grants.get(token)


def expired(grant: Grant, now: float, scope: Scope) -> bool:
    """Whether the grant has ended at that monotonic second."""
    del scope
    return now >= grant.expires


def challenge(problem: Problem) -> str | None:
    """The WWW-Authenticate field of a refusal (RFC 6750 section 3); no error where no credentials were sent."""
    match problem.code:
        case "unauthenticated":
            return REALM
        case "invalid_token" | "token_expired":
            return f'{REALM}, error="invalid_token", error_description="The access token is invalid or expired"'
        case "invalid_request":
            return f'{REALM}, error="invalid_request"'
    return None
