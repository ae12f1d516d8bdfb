"""Credentials judged wrongly (AUT-001, AUT-002, AUT-012, CRD-001)."""

from collections.abc import Mapping
from dataclasses import replace

from openbell.reference_server import tokens
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.replies import edited, on_reply, with_fields
from openbell.reference_server.tokens import Grant, query_names
from openbell.reference_server.values import Problem, Reply, Scope, header

SHORTEST = 8
TOKEN_LENGTH = 43
REMEMBERED = 10_000


@defect("challenge-missing", catches={"AUT-001": "challenge-missing"}, also={"FUZ-003": "fields-violated"})
def challenge_missing(behaviour: Behaviour) -> Behaviour:
    """A 401 does not say how to authenticate."""
    return replace(behaviour, challenge=lambda problem: None)


@defect("unprotected-balances", catches={"AUT-001": "unprotected"},
        also={"FUZ-004": "missing-field-accepted", "FUZ-006": "authentication-ignored"})
def unprotected(behaviour: Behaviour) -> Behaviour:
    """The balances were forgotten: whoever brings no token reads them."""
    return replace(behaviour, unprotected=frozenset({"read_balances"}))


def forbidding(behaviour: Behaviour, *, token: bool) -> Behaviour:
    """The behaviour that answers 403 in the place of 401, to requests with or without a token."""

    def change(scope: Scope, reply: Reply) -> Reply:
        if reply.status != 401 or (header(scope, b"authorization") is not None) != token:
            return reply
        return replace(edited(reply, lambda members: {**members, "status": 403}), status=403)

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("anonymous-forbidden", catches={"AUT-001": "not-401"}, also={"FUZ-002": "undocumented-status"})
def anonymous_forbidden(behaviour: Behaviour) -> Behaviour:
    """Who brings no token is told that it is forbidden, as if another login could not help."""
    return forbidding(behaviour, token=False)


@defect("anonymous-crashes", catches={"AUT-001": "server-error"}, also={"FUZ-001": "server-error"})
def anonymous_crashes(behaviour: Behaviour) -> Behaviour:
    """A request without a token is a 500."""

    def read(scope: Scope) -> str:
        if header(scope, b"authorization") is None:
            raise RuntimeError("there is no Authorization field")
        return tokens.read_credential(scope)

    return replace(behaviour, read_credential=read)


@defect("challenge-malformed", catches={"AUT-001": "challenge-malformed"})
def challenge_malformed(behaviour: Behaviour) -> Behaviour:
    """The challenge names no scheme, only a realm."""
    return replace(behaviour, challenge=lambda problem: '"openbell"' if tokens.challenge(problem) else None)


@defect("challenge-with-error", catches={"AUT-001": "error-in-challenge"})
def challenge_with_error(behaviour: Behaviour) -> Behaviour:
    """Who brings no token is told that its token is invalid."""

    def challenge(problem: Problem) -> str | None:
        code = "invalid_token" if problem.code == "unauthenticated" else problem.code
        return tokens.challenge(replace(problem, code=code))

    return replace(behaviour, challenge=challenge)


@defect("bad-token-forbidden", catches={"AUT-002": "not-401"}, also={"FUZ-002": "undocumented-status"})
def bad_token_forbidden(behaviour: Behaviour) -> Behaviour:
    """A token that nobody issued is told that it is forbidden: no client would ask for another."""
    return forbidding(behaviour, token=True)


@defect("token-error-unsaid", catches={"AUT-002": "error-attribute-missing"})
def token_error_unsaid(behaviour: Behaviour) -> Behaviour:
    """The challenge to a bad token does not say that the token is at fault."""
    return replace(behaviour, challenge=lambda problem: tokens.REALM if tokens.challenge(problem) else None)


def newest(grants: Mapping[str, Grant]) -> Grant | None:
    return next(reversed(grants.values()), None) if isinstance(grants, dict) else None


@defect("any-token", catches={"AUT-002": "bad-token-accepted"})
def any_token(behaviour: Behaviour) -> Behaviour:
    """Any token of the right length is taken for a valid one."""

    def find(token: str, grants: Mapping[str, Grant]) -> Grant | None:
        return grants.get(token) or (newest(grants) if len(token) == TOKEN_LENGTH else None)

    return replace(behaviour, find_grant=find)


@defect("token-prefix", catches={"AUT-002": "bad-token-accepted"})
def token_prefix(behaviour: Behaviour) -> Behaviour:
    """The beginning of a token is enough."""

    def find(token: str, grants: Mapping[str, Grant]) -> Grant | None:
        found = (grant for issued, grant in grants.items() if len(token) >= SHORTEST and issued.startswith(token))
        return grants.get(token) or next(found, None)

    return replace(behaviour, find_grant=find)


@defect("malformed-token-crashes", catches={"AUT-002": "server-error"})
def malformed_token_crashes(behaviour: Behaviour) -> Behaviour:
    """A token that is not like one of ours is a 500."""

    def find(token: str, grants: Mapping[str, Grant]) -> Grant | None:
        if len(token) != TOKEN_LENGTH:
            raise RuntimeError("the token has another length")
        return grants.get(token)

    return replace(behaviour, find_grant=find)


def from_query(behaviour: Behaviour, name: str) -> Behaviour:
    """The behaviour that takes a token from a query parameter where no header has one."""

    def read(scope: Scope) -> str:
        if header(scope, b"authorization") is None and (found := query_names(scope).get(name)):
            return found[0]
        return tokens.read_credential(scope)

    return replace(behaviour, read_credential=read)


@defect("query-token", catches={"AUT-012": "query-token-accepted"})
def query_token(behaviour: Behaviour) -> Behaviour:
    """The token may be sent in the URL."""
    return from_query(behaviour, "access_token")


@defect("token-in-link", catches={"AUT-012": "secret-in-reply"})
def token_in_link(behaviour: Behaviour) -> Behaviour:
    """A reply links to itself with the token in the URL."""

    def change(scope: Scope, reply: Reply) -> Reply:
        token = (header(scope, b"authorization") or "").removeprefix("Bearer ")
        if reply.status != 200 or scope["method"] != "GET" or not token:
            return reply
        return with_fields(reply, (("link", f'<{scope["path"]}?access_token={token}>; rel="self"'),))

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("token-never-expires", catches={"CRD-001": "outlives-expiry"})
def never_expires(behaviour: Behaviour) -> Behaviour:
    """A token is good for ever."""
    return replace(behaviour, expired=lambda grant, now, scope: False)


@defect("token-cached-per-connection", catches={"CRD-001": "kept-alive-outlives"})
def cached_per_connection(behaviour: Behaviour) -> Behaviour:
    """A token is judged once on each connection, and then good for as long as that lives."""
    seen: dict[tuple[object, Grant], None] = {}

    def expired(grant: Grant, now: float, scope: Scope) -> bool:
        place = (tuple(scope["client"] or ()), grant)
        if place in seen:
            return False
        if now >= grant.expires:
            return True
        while len(seen) >= REMEMBERED:
            del seen[next(iter(seen))]
        seen[place] = None
        return False

    return replace(behaviour, expired=expired)


@defect("token-expires-early", catches={"CRD-001": "refused-early"})
def expires_early(behaviour: Behaviour) -> Behaviour:
    """A token is refused after half of the time that was promised."""
    return replace(behaviour, expired=lambda grant, now, scope: now >= (grant.issued + grant.expires) / 2)
