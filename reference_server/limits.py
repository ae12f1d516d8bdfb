"""Token buckets: a request takes one token, tokens come back evenly, an empty bucket refuses and says for how long.

The limit fields follow draft-ietf-httpapi-ratelimit-headers-08 to -11: r is what is left, t the seconds in which no
more than r can be used, which for an evenly filled bucket is the time until its next token.
"""

import math
from dataclasses import dataclass

from openbell.reference_server.settings import Quota
from openbell.reference_server.values import Fields


@dataclass(frozen=True)
class Bucket:
    """How many tokens were left at a monotonic second, and how many requests were refused since one was admitted."""

    tokens: float
    at: float
    refused: int = 0


@dataclass(frozen=True)
class Draw:
    """A bucket after a request, and whether it admitted that request."""

    bucket: Bucket
    admitted: bool


def filled(bucket: Bucket, quota: Quota, now: float) -> Bucket:
    """The bucket at that second, before anything is taken."""
    tokens = min(float(quota.capacity), bucket.tokens + max(0.0, now - bucket.at) * quota.refill)
    return Bucket(tokens, max(now, bucket.at), bucket.refused)


def draw(bucket: Bucket, quota: Quota, now: float) -> Draw:
    """Takes one token if there is one; a refusal costs nothing."""
    full = filled(bucket, quota, now)
    if full.tokens >= 1:
        return Draw(Bucket(full.tokens - 1, full.at), admitted=True)
    return Draw(Bucket(full.tokens, full.at, full.refused + 1), admitted=False)


def wait_seconds(bucket: Bucket, quota: Quota) -> int:
    """Whole seconds until the bucket holds one token more, rounded up, at least 1."""
    missing = math.floor(bucket.tokens) + 1 - bucket.tokens
    return max(1, math.ceil(missing / quota.refill))


def retry_after(bucket: Bucket, quota: Quota) -> str | None:
    """The Retry-After field of a refusal, as delay-seconds (RFC 9110 section 10.2.3); None leaves it out."""
    return str(wait_seconds(bucket, quota))


def limit_fields(drawn: Draw, quota: Quota) -> Fields:
    """The limit fields of a reply to an authenticated request."""
    left = max(0, math.floor(drawn.bucket.tokens))
    return (
        ("ratelimit-policy", f'"{quota.name}";q={quota.capacity};w={quota.window}'),
        ("ratelimit", f'"{quota.name}";r={left};t={wait_seconds(drawn.bucket, quota)}'),
    )


def shown(status: int, fields: Fields) -> Fields:
    """Which of the limit fields a reply of that status carries: all of them."""
    del status
    return fields


def counts(status: int) -> bool:
    """Whether a request that was answered with that status has used the quota: all do."""
    del status
    return True
