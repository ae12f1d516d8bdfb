"""The replaceable parts of the server, with defaults that conform. Nothing here knows who replaces what."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openbell.reference_server import bodies, correlation, limits, pages, problems, tokens
from openbell.reference_server.cursors import Sealing
from openbell.reference_server.idempotency import OnceParts
from openbell.reference_server.limits import Bucket, Draw
from openbell.reference_server.listings import Listing, Mark, Reader
from openbell.reference_server.pages import Cut
from openbell.reference_server.settings import Quota
from openbell.reference_server.stream_parts import StreamParts
from openbell.reference_server.tokens import Grant
from openbell.reference_server.values import Fields, Problem, Reply, Scope

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Wrapper = Callable[[AsgiApp], AsgiApp]


@dataclass(frozen=True)
class Behaviour:
    """How the server does each thing that a convention speaks about."""

    # correlation
    trace: Callable[[str | None], str] = correlation.trace
    trace_fields: Callable[[str, int], Fields] = correlation.trace_fields
    # errors
    write_error: Callable[[Problem, str], Reply] = problems.write_error
    allow: Callable[[str, tuple[str, ...]], str | None] = problems.allow
    # credentials
    challenge: Callable[[Problem], str | None] = tokens.challenge
    read_credential: Callable[[Scope], str] = tokens.read_credential
    find_grant: Callable[[str, Mapping[str, Grant]], Grant | None] = tokens.find_grant
    expired: Callable[[Grant, float, Scope], bool] = tokens.expired
    unprotected: frozenset[str] = frozenset()
    # bodies
    validate: bodies.Validate = bodies.validate
    # pages
    page_size: Callable[[str | None], int] = pages.page_size
    sealing: Sealing = field(default=Sealing())
    cut: Callable[[Listing, Mark, int, Reader], Cut] = pages.cut
    page_members: Callable[[list[Any], str | None, int], dict[str, Any]] = pages.page_members
    # limits
    draw: Callable[[Bucket, Quota, float], Draw] = limits.draw
    retry_after: Callable[[Bucket, Quota], str | None] = limits.retry_after
    limit_fields: Callable[[Draw, Quota], Fields] = limits.limit_fields
    limit_fields_shown: Callable[[int, Fields], Fields] = limits.shown
    counts: Callable[[int], bool] = limits.counts
    # retries
    once: OnceParts = field(default=OnceParts())
    # streams
    streams: StreamParts = field(default=StreamParts())
    # whatever is easier done from outside
    wrappers: tuple[Wrapper, ...] = ()
