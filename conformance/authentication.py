"""Authentication as a caller meets it: no credentials, credentials that nobody issued, credentials in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openbell.conformance.asked import asked
from openbell.conformance.brackets import uncontrolled, unjudged
from openbell.events import Exchange, Recording, labelled
from openbell.profile import Profile
from openbell.redact import PLACEHOLDER
from openbell.registry import MUST, SHOULD, Observation, broken, check, holds, traffic_check, undecided
from openbell.scenarios.bad_credentials import bad_tokens, no_credentials, no_credentials_writes
from openbell.target import Subject, operation, outcome

_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:\s|,|$)")
_ERROR = re.compile(r"(?:^|[\s,])error\s*=", re.IGNORECASE)
_BEARER = re.compile(r"(?:^|,)\s*bearer(?:\s|,|$)", re.IGNORECASE)


# --- AUT-001


@check("AUT-001", title="No credentials: 401 with a usable challenge", level=MUST, per="api", promise="auth.challenge",
       evidence=(no_credentials, no_credentials_writes), minimum=1,
       sources=("RFC 9110, 15.5.2 and 11.6.1: a 401 carries WWW-Authenticate",
                "RFC 6750, 3.1: no error code when no credentials were sent"),
       remedy="Refuse in front of the router, for every path that is not listed as public, and write the challenge "
              "there.")
def challenged(recording: Recording, target: Profile, _subject: Subject) -> Iterator[Observation]:
    """Every protected operation answers a caller without credentials with 401 and a challenge."""
    if failed := uncontrolled(recording, target):
        yield failed
        return
    same = {e.operation for e in recording.exchanges("same") if outcome(target, "ok", e)}
    for probe in recording.exchanges("anonymous"):
        yield unjudged(probe, target) or _challenge(probe, target, same)


def _challenge(probe: Exchange, target: Profile, same: set[str | None]) -> Observation:
    name, status = probe.operation, probe.status or 0
    expected = f"{name} without credentials: 401 with a challenge"
    if outcome(target, "ok", probe):
        return broken("unprotected", expected, f"status {status}: it serves anybody", probe)
    if status >= 500:
        return broken("server-error", expected, f"status {status}", probe)
    if status == 401:
        return _usable(probe, expected)
    op = operation(target, probe)
    # A read that fails with credentials as well proves nothing; nor does a write to something that is not there.
    if name not in same and not (op and op.writes and status != 404):
        return undecided("precondition", f"{name} answers {status} with credentials as well", probe)
    return broken("not-401", expected, f"status {status}", probe, level=SHOULD)


def _usable(probe: Exchange, expected: str) -> Observation:
    challenge = (probe.reply.field("www-authenticate") if probe.reply else None) or ""
    if not challenge:
        return broken("challenge-missing", expected, "401 without WWW-Authenticate", probe)
    if not _SCHEME.match(challenge):
        return broken("challenge-malformed", expected, f"WWW-Authenticate: {challenge[:120]}", probe)
    if _ERROR.search(challenge):
        return broken("error-in-challenge", f"{probe.operation} without credentials: a challenge without error",
                      f"WWW-Authenticate: {challenge[:120]}", probe, level=SHOULD)
    return holds(probe)


# --- AUT-002


@check("AUT-002", title="Bad tokens: 401 invalid_token, one answer for all causes", level=MUST, per="api",
       promise="auth.invalid_token", evidence=(bad_tokens,), minimum=5,
       sources=("RFC 6750, 3.1: invalid_token is a 401, invalid_request a 400",
                "RFC 6749, 7: a resource server validates token, expiry and scope",
                "OWASP API Security 2023, API2: broken authentication"),
       remedy="Compare the whole token, in constant time, with what was issued, or verify its signature with the one "
              "algorithm that is configured. Everything else is one 401.")
def bad_tokens_refused(recording: Recording, target: Profile, _subject: Subject) -> Iterator[Observation]:
    """A credential that nobody issued gets 401; one that is not even well formed may get 400."""
    if failed := uncontrolled(recording, target):
        yield failed
        return
    for probe in recording.exchanges("token"):
        yield unjudged(probe, target) or _bad_token(probe, target)


def _bad_token(probe: Exchange, target: Profile) -> Observation:
    kind, status = probe.label.partition(":")[2], probe.status or 0
    expected = f"a {kind} credential gets 401"
    if kind.startswith("issued"):
        return undecided("vacuous", f"the change ({kind.removeprefix('issued-')}) makes no other credential", probe)
    if outcome(target, "ok", probe):
        return broken("bad-token-accepted", expected, f"status {status}: it is accepted", probe)
    if status >= 500:
        return broken("server-error", expected, f"status {status}", probe)
    malformed = kind.startswith("malformed")
    if status != 401 and not (malformed and status not in {403, 404} and status >= 400):
        return broken("not-401", expected, f"status {status}", probe, level=SHOULD)
    challenge = (probe.reply.field("www-authenticate") if probe.reply else None) or ""
    if status == 401 and not malformed and _BEARER.search(challenge) and not _ERROR.search(challenge):
        return broken("error-attribute-missing", f'a {kind} credential gets error="invalid_token"',
                      f"WWW-Authenticate: {challenge[:120]}", probe, level=SHOULD)
    return holds(probe)


# --- AUT-012

_MARK = "⟨⟩"
_REPLY_FIELDS = ("location", "link", "content-location", "refresh")
# A pre-signed link, a signature and a single-use ticket belong in a query.
_MEANT_FOR_URLS = re.compile(r"x-(?:amz|goog|ms)-.*|signature|sig|sign|ticket", re.IGNORECASE)


@traffic_check("AUT-012", title="Credentials never travel or leak in URLs", level=MUST,
               promise="auth.no_secret_in_url", minimum=5,
               sources=("RFC 6750, 2.3 and 5.3: no tokens in URLs",
                        "OAuth 2.1 and FAPI 2.0: tokens in the query are not accepted"),
               remedy="Read credentials from header fields only, and never write a request's own URL or credentials "
                      "into replies.")
def no_secret_in_url(exchange: Exchange, target: Profile, memory: dict[str, Any]) -> Iterator[Observation]:
    """A credential in the query is refused; no secret stands in a link, a redirect or an error body."""
    status, reply = exchange.status, exchange.reply
    probe = labelled(exchange.label, "query-token")
    if status is None or reply is None:
        if probe:
            yield undecided("no_reply", str(exchange.no_reply), exchange)
        return
    accepted, name = outcome(target, "ok", exchange), asked(exchange, target)
    anonymous: dict[str, bool] = memory.setdefault("anonymous", {})
    if labelled(exchange.label, "anonymous"):
        anonymous[name] = 400 <= status < 500 and status != 429 and not outcome(target, "throttled", exchange)
    places = [field for field in _REPLY_FIELDS if _secret_in(reply.field(field) or "")]
    if status >= 400 and _secret_in(reply.content.decode("utf-8", "replace")):
        places.append("the error body")
    if probe and accepted and not anonymous.get(name, True):
        yield undecided("precondition", f"{name} was not refused without any credential", exchange)
    elif probe and accepted:
        yield broken("query-token-accepted", f"{name} refuses a credential in the query",
                     f"status {status} with {secret_in_url(exchange.url) or 'one'}", exchange)
    elif exchange.origin == "har" and accepted and (where := secret_in_url(exchange.url)):
        yield broken("secret-in-url", f"no credential in the URL of {name}", f"a secret in {where}", exchange)
    if places:
        yield broken("secret-in-reply", f"no credential in a reply of {name}", f"a secret in {places[0]}", exchange)
    elif (probe and not accepted) or (not probe and (status >= 400 or _links(exchange))):
        yield holds(exchange)


def _links(exchange: Exchange) -> bool:
    return any(exchange.reply and exchange.reply.field(field) is not None for field in _REPLY_FIELDS)


def _secret_in(text: str) -> bool:
    """Whether a secret that the harness knows stands in a text; what was masked for its name alone is none."""
    return "⟨" in text and any(found["owner"] != "redacted" for found in PLACEHOLDER.finditer(text))


def secret_in_url(url: str) -> str | None:
    """Where a URL holds a credential; None when it holds none, or only what is meant for URLs."""
    url = PLACEHOLDER.sub(_MARK, url)  # the number within a placeholder would begin the fragment
    if _MARK not in url:
        return None
    try:
        parts = urlsplit(url)
        members = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return "a URL that cannot be read"
    names = [name for name, value in members if _MARK in value and not _MEANT_FOR_URLS.fullmatch(name)]
    if names:
        return f"the parameter {names[0]}"
    outside = [part for part in ("netloc", "path", "fragment") if _MARK in getattr(parts, part)]
    return f"its {outside[0]}" if outside else None
