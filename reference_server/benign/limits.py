"""Legal ways of keeping limits and of telling them."""

import math
import time
from dataclasses import replace
from email.utils import formatdate
from itertools import count

from openbell.reference_server import limits
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import benign
from openbell.reference_server.limits import Bucket, Draw, filled, wait_seconds
from openbell.reference_server.settings import Quota
from openbell.reference_server.values import Fields

LARGE = 1_000_000


def left(drawn: Draw) -> int:
    return max(0, math.floor(drawn.bucket.tokens))


def full_in(drawn: Draw, quota: Quota) -> int:
    """Whole seconds until the quota is whole again."""
    return math.ceil((quota.capacity - drawn.bucket.tokens) / quota.refill)


@benign("retry-after-date", checks=("RL-001", "RL-002"))
def retry_after_date(behaviour: Behaviour) -> Behaviour:
    """Retry-After is a date, rounded up to the second (RFC 9110 section 10.2.3)."""

    def after(bucket: Bucket, quota: Quota) -> str:
        return formatdate(math.ceil(time.time() + wait_seconds(bucket, quota)), usegmt=True)

    return replace(behaviour, retry_after=after)


@benign("retry-after-generous", checks=("RL-002",))
def retry_after_generous(behaviour: Behaviour) -> Behaviour:
    """Retry-After asks for twice the wait that is needed."""
    return replace(behaviour, retry_after=lambda bucket, quota: str(2 * wait_seconds(bucket, quota)))


@benign("limit-fields-not-on-errors", checks=("RL-003", "RL-004"))
def not_on_errors(behaviour: Behaviour) -> Behaviour:
    """The limit fields come with successes only."""
    return replace(behaviour, limit_fields_shown=lambda status, fields: () if status >= 400 else fields)


@benign("limit-fields-sometimes", checks=("RL-003", "RL-004"))
def sometimes(behaviour: Behaviour) -> Behaviour:
    """The limit fields are left out of every third reply."""
    number = count()
    return replace(behaviour, limit_fields_shown=lambda status, fields: fields if next(number) % 3 else ())


@benign("limit-vendor-parameters", checks=("RL-003",))
def vendor_parameters(behaviour: Behaviour) -> Behaviour:
    """The limit fields have parameters that no draft knows; unknown ones are comments."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        return tuple((name, f'{value};acme-tier="gold"') for name, value in limits.limit_fields(drawn, quota))

    return replace(behaviour, limit_fields=fields)


@benign("limit-several-lines", checks=("RL-003", "RL-004"))
def several_lines(behaviour: Behaviour) -> Behaviour:
    """Two policies are in force, each told on a field line of its own."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        rest = LARGE - quota.capacity + left(drawn)
        daily = (("ratelimit-policy", f'"daily";q={LARGE};w=86400'), ("ratelimit", f'"daily";r={rest};t=86400'))
        return (*limits.limit_fields(drawn, quota), *daily)

    return replace(behaviour, limit_fields=fields)


@benign("x-ratelimit", checks=("RL-003", "RL-004"))
def x_ratelimit(behaviour: Behaviour) -> Behaviour:
    """The limit is told in X-RateLimit fields, with the reset as seconds since the epoch."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        reset = math.ceil(time.time()) + full_in(drawn, quota)
        limit, remaining = str(quota.capacity), str(left(drawn))
        names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
        return tuple(zip(names, (limit, remaining, str(reset)), strict=True))

    return replace(behaviour, limit_fields=fields)


@benign("ratelimit-draft-07", checks=("RL-003", "RL-004"))
def draft_07(behaviour: Behaviour) -> Behaviour:
    """RateLimit is a dictionary, as in revision 07 of the draft."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        told = f"limit={quota.capacity}, remaining={left(drawn)}, reset={full_in(drawn, quota)}"
        return (("ratelimit", told), ("ratelimit-policy", f"{quota.capacity};w={quota.window}"))

    return replace(behaviour, limit_fields=fields)


@benign("ratelimit-three-fields", checks=("RL-003", "RL-004"))
def three_fields(behaviour: Behaviour) -> Behaviour:
    """Limit, rest and reset have a field each, as in revisions 00 to 06 of the draft."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        told = (quota.capacity, left(drawn), full_in(drawn, quota))
        names = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
        return tuple((name, str(value)) for name, value in zip(names, told, strict=True))

    return replace(behaviour, limit_fields=fields)


@benign("errors-cost-nothing", checks=("RL-004",))
def errors_cost_nothing(behaviour: Behaviour) -> Behaviour:
    """A request that is answered with an error does not use the quota."""
    return replace(behaviour, counts=lambda status: status < 400)


@benign("remaining-conservative", checks=("RL-004",))
def remaining_conservative(behaviour: Behaviour) -> Behaviour:
    """A tenth of the quota is held back from what is told, though it is served."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        told = max(0.0, drawn.bucket.tokens - quota.capacity // 10)
        return limits.limit_fields(replace(drawn, bucket=replace(drawn.bucket, tokens=told)), quota)

    return replace(behaviour, limit_fields=fields)


@benign("served-at-zero", checks=("RL-004",))
def served_at_zero(behaviour: Behaviour) -> Behaviour:
    """One request more is served when nothing is left (draft section 8.3)."""

    def draw(bucket: Bucket, quota: Quota, now: float) -> Draw:
        full = filled(bucket, quota, now)
        if full.tokens >= 0:
            return Draw(Bucket(full.tokens - 1, full.at), admitted=True)
        return Draw(replace(full, refused=full.refused + 1), admitted=False)

    return replace(behaviour, draw=draw)
