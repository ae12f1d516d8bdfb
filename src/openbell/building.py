"""From an operation and its parameters to a request, and the ways in which a probe may differ from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from openbell.profile import Credential, Operation, Profile
from openbell.wire import AGENT, Request

_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Alter:
    """How a probe differs from the declared request; what is not named stays as declared.

    `path` replaces the path as given, bytes included; `url` is a whole URL that the target itself gave (a next link);
    `query` and `headers` set a member, or drop it with None; `content` replaces the body. `credential` is applied to
    the secret value of the principal (to truncate or tamper); `query_token` moves it into that query parameter;
    `anonymous` leaves all credentials out.
    """

    method: str | None = None
    path: str | None = None
    url: str | None = None
    query: Mapping[str, str | None] = field(default_factory=dict)
    headers: Mapping[str, str | None] = field(default_factory=dict)
    content: bytes | None = None
    credential: Callable[[str], str] | None = None
    query_token: str | None = None
    anonymous: bool = False


class MissingValue(Exception):
    """A template names a value that neither the call nor the principal gives."""


def fill(template: str, values: Mapping[str, Any], escape: Callable[[str], str] = str) -> str:
    """The template with every `{name}` replaced. Raises MissingValue."""
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise MissingValue(f"no value for {{{match[1]}}} in {template!r}")
        return escape(str(values[match[1]]))
    return _FIELD.sub(value, template)


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """JSON with its strings filled; a string that is one `{name}` alone takes the value as it is."""
    if isinstance(template, str):
        alone = _FIELD.fullmatch(template)
        return values[alone[1]] if alone and alone[1] in values else fill(template, values)
    if isinstance(template, Mapping):
        return {k: filled(v, values) for k, v in template.items()}
    return [filled(v, values) for v in template] if isinstance(template, list) else template


def _segment(value: str) -> str:
    return quote(value, safe="")


def values_of(op: Operation, principal: Credential | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """What templates are filled from: the operation's defaults, the principal's values, the call's parameters."""
    return {**op.values, **(principal.values if principal else {}), **params}


def build(target: Profile, op: Operation, values: Mapping[str, Any], extra: Mapping[str, str], alter: Alter) -> Request:
    """The request of an operation, before its credentials. `extra` are query parameters of the call (cursor, size).

    Raises MissingValue.
    """
    url = target.target.base_url + (alter.path if alter.path is not None else fill(op.path, values, _segment))
    query = {k: fill(v, values) for k, v in op.query.items()} | dict(extra)
    if alter.url is not None:
        # RFC 3986 5.1.3: a relative reference is resolved against the URL of the reply that it came in.
        url, query = urljoin(url, alter.url), {}
    content, media = _content(op, values)
    headers = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": AGENT, **target.target.headers, **op.headers}
    if media:
        headers.setdefault("Content-Type", media)
    content = content if alter.content is None else alter.content
    url = with_query(url, {**query, **alter.query})
    return Request(alter.method or op.method, url, _headers(headers, alter.headers), content)


def _content(op: Operation, values: Mapping[str, Any]) -> tuple[bytes, str]:
    if op.body is None:
        return b"", ""
    body = filled(op.body, values)
    if op.form:
        return urlencode(body).encode(), "application/x-www-form-urlencoded"
    return json.dumps(body, ensure_ascii=False).encode(), "application/json"


def _headers(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    changed = {k.lower() for k in changes}
    kept = [(k, v) for k, v in headers.items() if k.lower() not in changed]
    return tuple(kept + [(k, v) for k, v in changes.items() if v is not None])


def with_query(url: str, members: Mapping[str, str | None]) -> str:
    """The URL with query members set, or dropped with None; the rest of it stays byte for byte."""
    if not members:
        return url
    parts = urlsplit(url)
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in members]
    query = urlencode(kept + [(k, v) for k, v in members.items() if v is not None])
    return parts._replace(query=query).geturl()
