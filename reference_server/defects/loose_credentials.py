"""Credentials that are compared loosely, or taken from the URL by a name of its own (AUT-002, AUT-012)."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.defects.credentials import from_query
from openbell.reference_server.tokens import Grant


def comparing(behaviour: Behaviour, same: Callable[[str, str], bool]) -> Behaviour:
    """The behaviour for which a token is good if `same` says so of it and one that was issued."""

    def find(token: str, grants: Mapping[str, Grant]) -> Grant | None:
        return grants.get(token) or next((grant for issued, grant in grants.items() if same(token, issued)), None)

    return replace(behaviour, find_grant=find)


@defect("token-case-ignored", catches={"AUT-002": "bad-token-accepted"})
def case_ignored(behaviour: Behaviour) -> Behaviour:
    """A token is good in upper and in lower case, as if its letters were half as many."""
    return comparing(behaviour, lambda token, issued: token.lower() == issued.lower())


@defect("token-suffix-ignored", catches={"AUT-002": "bad-token-accepted"})
def suffix_ignored(behaviour: Behaviour) -> Behaviour:
    """What stands behind a good token is not looked at."""
    return comparing(behaviour, lambda token, issued: token.startswith(issued))


@defect("token-prefix-ignored", catches={"AUT-002": "bad-token-accepted"})
def prefix_ignored(behaviour: Behaviour) -> Behaviour:
    """What stands in front of a good token is not looked at."""
    return comparing(behaviour, lambda token, issued: token.endswith(issued))


@defect("token-end-unread", catches={"AUT-002": "bad-token-accepted"})
def end_unread(behaviour: Behaviour) -> Behaviour:
    """The last letters of a token are not compared."""
    return comparing(behaviour, lambda token, issued: token[:40] == issued[:40])


@defect("query-token-renamed", catches={"AUT-012": "query-token-accepted"})
def query_token_renamed(behaviour: Behaviour) -> Behaviour:
    """The token may be sent in the URL, though not by the name that RFC 6750 gives it."""
    return from_query(behaviour, "token")
