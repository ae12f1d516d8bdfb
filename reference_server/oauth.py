"""The token endpoint: client credentials (RFC 6749 section 4.4), sent by HTTP Basic or in the form (section 2.3.1)."""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote_plus

from openbell.reference_server import tokens
from openbell.reference_server.calls import Call, answer
from openbell.reference_server.settings import CLIENTS
from openbell.reference_server.values import Fields, Reply, header

Form = Mapping[str, list[str]]


class TokenRefused(Exception):
    """Ends a token request with an error of RFC 6749 section 5.2."""


def error(code: str, description: str) -> Reply:
    """The error as RFC 6749 section 5.2 writes it."""
    fields: Fields = (("content-type", "application/json"), ("cache-control", "no-store"))
    if code == "invalid_client":
        fields = (*fields, ("www-authenticate", 'Basic realm="openbell"'))
    content = json.dumps({"error": code, "error_description": description}).encode()
    return Reply(401 if code == "invalid_client" else 400, fields, content)


def read_form(call: Call) -> Form:
    """The parameters of the form; refuses another media type and a parameter that comes twice."""
    media_type = (header(call.scope, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise TokenRefused("invalid_request", "The body must be a form.")
    try:
        form = parse_qs(call.body.decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise TokenRefused("invalid_request", "The form cannot be read.") from None
    if any(len(values) > 1 for values in form.values()):
        raise TokenRefused("invalid_request", "A parameter came twice.")
    return form


def basic_pairs(field: str) -> list[tuple[str, str]]:
    """Name and secret of a Basic field: as the form encoding of RFC 6749 asks, and as many clients send it, plain."""
    scheme, _, text = field.partition(" ")
    try:
        raw = base64.b64decode(text.strip(), validate=True).decode() if scheme.lower() == "basic" else ""
    except (ValueError, binascii.Error):
        raw = ""
    name, _, secret = raw.partition(":")
    return [(unquote_plus(name), unquote_plus(secret)), (name, secret)]


def credentials(call: Call, form: Form) -> list[tuple[str, str]]:
    """The readings of the client's name and secret; refuses two ways at once."""
    field = header(call.scope, b"authorization")
    if field is not None and "client_secret" in form:
        raise TokenRefused("invalid_request", "The client authenticated in two ways at once.")
    if field is not None:
        return basic_pairs(field)
    return [(form.get("client_id", [""])[0], form.get("client_secret", [""])[0])]


def authenticate(call: Call, form: Form) -> str:
    """The name of the client that proved itself."""
    expected = call.world.settings.secret.encode()
    for name, secret in credentials(call, form):
        if name in CLIENTS and hmac.compare_digest(secret.encode(), expected):
            return name
    raise TokenRefused("invalid_client", "The client is unknown or its secret is wrong.")


def require_grant_type(form: Form) -> None:
    """Refuses every grant but client credentials."""
    grant_type = form.get("grant_type", [""])[0]
    if not grant_type:
        raise TokenRefused("invalid_request", "The grant type is missing.")
    if grant_type != "client_credentials":
        raise TokenRefused("unsupported_grant_type", "Only client credentials are granted here.")


def issue_token(call: Call) -> Reply:
    world = call.world
    try:
        form = read_form(call)
        client = authenticate(call, form)
        require_grant_type(form)
    except TokenRefused as refused:
        return error(*refused.args)
    lifetime = world.settings.token_lifetime_s * CLIENTS[client].lives
    token = tokens.issue(world.grants, client, time.monotonic(), lifetime)
    return answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": tokens.expires_in(lifetime)})
