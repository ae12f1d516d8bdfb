"""An OpenAPI document as text that a target gave: JSON or YAML, bounded before anything walks through it.

A few lines of YAML can stand for billions of values by aliases, and a value can hold itself. So what a document would
be when written out is counted first, each shared part once; references (`$ref`) may be circular, values may not.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]

MOST_VALUES = 500_000
DEEPEST = 200


class Unusable(Exception):
    """A document that cannot be used, and why."""


def document_of(text: str) -> dict[str, Any]:
    """The document as a JSON object. Raises Unusable."""
    value = _parsed(text)
    if not isinstance(value, dict):
        raise Unusable(f"it is a {type(value).__name__}, not an object")
    if _size(value, {}, set(), 0) > MOST_VALUES:
        raise Unusable(f"it holds more than {MOST_VALUES} values when its aliases are written out")
    if not any(key in value for key in ("openapi", "swagger")):
        raise Unusable("it has neither `openapi` nor `swagger`: it is no OpenAPI document")
    return value


def base_of(document: dict[str, Any], base_url: str) -> str:
    """The URL that the document's paths stand below: the target's, with the path of the first server it names.

    A profile may have that path in its base URL, or at the beginning of its operations' paths.
    """
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
    path = urlsplit(str(document.get("basePath") or first.get("url") or "")).path.rstrip("/")
    plain = path and "{" not in path and not urlsplit(base_url).path.endswith(path)
    return base_url + "/" + path.lstrip("/") if plain else base_url


def bearing(document: dict[str, Any]) -> dict[str, Any]:
    """The document with OAuth 2.0 and OpenID Connect as bearer tokens (RFC 6750), which is how they are sent.

    Schemathesis leaves out, or spoils, only credentials of schemes that say where they stand.
    """
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    if not isinstance(components, dict) or not isinstance(schemes, dict):
        return document
    told = {name: _bearer(scheme) for name, scheme in schemes.items()}
    return {**document, "components": {**components, "securitySchemes": told}}


def _bearer(scheme: Any) -> Any:
    bears = isinstance(scheme, dict) and scheme.get("type") in {"oauth2", "openIdConnect"}
    return {"type": "http", "scheme": "bearer"} if bears else scheme


def _parsed(text: str) -> Any:
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, with fewer kinds of values
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        at = f" (line {where.line + 1})" if where else ""
        raise Unusable(f"it is neither JSON nor YAML{at}") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML whose dates stay text, and whose keys are text as in JSON."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        """A mapping with its keys as text: YAML reads the status 200 as a number."""
        return {k if isinstance(k, str) else json.dumps(k, default=str): v
                for k, v in super().construct_mapping(node, deep=deep).items()}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()}


def _size(value: Any, known: dict[int, int], above: set[int], depth: int) -> int:
    """How many values a value is made of. Raises Unusable for one that holds itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in known:
        return known[id(value)]
    if id(value) in above:
        raise Unusable("a value in it holds itself")
    if depth > DEEPEST:
        raise Unusable(f"it is nested deeper than {DEEPEST} levels")
    above.add(id(value))
    parts = value.values() if isinstance(value, dict) else value
    size = 1 + sum(_size(part, known, above, depth + 1) for part in parts)
    above.discard(id(value))
    known[id(value)] = size
    return size
