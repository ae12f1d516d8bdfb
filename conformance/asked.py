"""What a request asked for, in the words of a finding."""

from __future__ import annotations

from urllib.parse import urlsplit

from openbell.events import Exchange
from openbell.handshake import address
from openbell.profile import Profile
from openbell.target import path_pattern


def asked(exchange: Exchange, target: Profile) -> str:
    """The operation; else the stream whose handshake it is, or would be."""
    return exchange.operation or _stream(exchange, target) or "an undeclared path"


def _stream(exchange: Exchange, target: Profile) -> str | None:
    """The declared stream by its path, whatever the scheme that the URL was told in."""
    try:
        path = urlsplit(exchange.url).path
    except ValueError:
        return None
    paths = {n: urlsplit(address(target.target.base_url, s.url)).path for n, s in target.stream.items()}
    return next((f"stream.{n}" for n, told in paths.items() if path_pattern(told).fullmatch(path)), None)
