"""Limits kept or told wrongly (RL-001, RL-002, RL-003, RL-004)."""

from dataclasses import replace

from openbell.reference_server import limits
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.limits import Bucket, Draw, filled
from openbell.reference_server.replies import edited, on_reply, with_fields
from openbell.reference_server.settings import Quota
from openbell.reference_server.values import Fields, Reply, Scope

PENALTY_S = 6.0


@defect("retry-after-missing", catches={"RL-001": "retry-after-missing"})
def retry_after_missing(behaviour: Behaviour) -> Behaviour:
    """A 429 does not say when to come again."""
    return replace(behaviour, retry_after=lambda bucket, quota: None)


@defect("retry-after-soon", catches={"RL-001": "retry-after-malformed"})
def retry_after_soon(behaviour: Behaviour) -> Behaviour:
    """Retry-After is a word."""
    return replace(behaviour, retry_after=lambda bucket, quota: "soon")


@defect("retry-after-negative", catches={"RL-001": "retry-after-malformed"})
def retry_after_negative(behaviour: Behaviour) -> Behaviour:
    """Retry-After is below zero."""
    return replace(behaviour, retry_after=lambda bucket, quota: "-1")


@defect("retry-after-fraction", catches={"RL-001": "retry-after-malformed"})
def retry_after_fraction(behaviour: Behaviour) -> Behaviour:
    """Retry-After is a fraction of a second."""
    return replace(behaviour, retry_after=lambda bucket, quota: "0.5")


@defect("refusal-cached", catches={"RL-001": "cached"})
def refusal_cached(behaviour: Behaviour) -> Behaviour:
    """A 429 comes from a cache in front, and is older than the quota that it tells of."""

    def change(scope: Scope, reply: Reply) -> Reply:
        del scope
        return with_fields(reply, (("age", "7"),)) if reply.status == 429 else reply

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("throttled-503", catches={"RL-001": "wrong-status"})
def throttled_503(behaviour: Behaviour) -> Behaviour:
    """A client that is over its quota is told that the service is down."""

    def change(scope: Scope, reply: Reply) -> Reply:
        del scope
        if reply.status != 429:
            return reply
        return replace(edited(reply, lambda members: {**members, "status": 503}), status=503)

    return replace(behaviour, wrappers=(*behaviour.wrappers, on_reply(change)))


@defect("never-throttled", catches={"RL-001": "never-throttled"})
def never_throttled(behaviour: Behaviour) -> Behaviour:
    """The quota is told and counted, but nobody is ever refused."""
    return replace(behaviour, draw=lambda bucket, quota, now: replace(limits.draw(bucket, quota, now), admitted=True))


@defect("retry-after-too-short", catches={"RL-002": "retry-after-too-short"})
def retry_after_too_short(behaviour: Behaviour) -> Behaviour:
    """Who used the quota up is refused for six seconds, whatever Retry-After says."""

    def draw(bucket: Bucket, quota: Quota, now: float) -> Draw:
        if bucket.refused and now < bucket.at + PENALTY_S:
            return Draw(replace(bucket, refused=bucket.refused + 1), admitted=False)
        return limits.draw(replace(bucket, refused=0), quota, now)

    return replace(behaviour, draw=draw)


@defect("limit-syntax", catches={"RL-003": "syntax"})
def limit_syntax(behaviour: Behaviour) -> Behaviour:
    """RateLimit is not what its draft says: a negative rest, and a word for a time."""
    return replace(behaviour, limit_fields=lambda drawn, quota: (("ratelimit", "default;r=-1;t=soon"),))


@defect("policy-name-token", catches={"RL-003": "policy-name"})
def policy_name_token(behaviour: Behaviour) -> Behaviour:
    """The policy's name has no quotes: a Token stands where the draft has a String."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        return tuple((name, value.replace('"', "")) for name, value in limits.limit_fields(drawn, quota))

    return replace(behaviour, limit_fields=fields)


@defect("policy-unnamed", catches={"RL-003": "unnamed-policy"})
def policy_unnamed(behaviour: Behaviour) -> Behaviour:
    """RateLimit tells of a policy that RateLimit-Policy does not have."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        policy, left = limits.limit_fields(drawn, quota)
        return policy, (left[0], left[1].replace(quota.name, "another"))

    return replace(behaviour, limit_fields=fields)


@defect("remaining-above-limit", catches={"RL-003": "remaining-above-limit"})
def remaining_above_limit(behaviour: Behaviour) -> Behaviour:
    """More is said to be left than there ever was."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        bucket = replace(drawn.bucket, tokens=drawn.bucket.tokens + quota.capacity + 1)
        return limits.limit_fields(replace(drawn, bucket=bucket), quota)

    return replace(behaviour, limit_fields=fields)


@defect("dialects-contradict", catches={"RL-003": "dialects-contradict"})
def dialects_contradict(behaviour: Behaviour) -> Behaviour:
    """The draft's fields and the older ones tell two different limits."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        left = int(drawn.bucket.tokens) // 2
        older = (("x-ratelimit-limit", str(quota.capacity * 2)), ("x-ratelimit-remaining", str(left)))
        return (*limits.limit_fields(drawn, quota), *older)

    return replace(behaviour, limit_fields=fields)


@defect("remaining-constant", catches={"RL-004": "remaining-constant"})
def remaining_constant(behaviour: Behaviour) -> Behaviour:
    """What is left is always the same, as if the field were written by hand."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        bucket = replace(drawn.bucket, tokens=float(quota.capacity - 1))
        return limits.limit_fields(replace(drawn, bucket=bucket), quota)

    return replace(behaviour, limit_fields=fields)


@defect("refused-with-remaining", catches={"RL-004": "refused-with-remaining"})
def refused_with_remaining(behaviour: Behaviour) -> Behaviour:
    """Requests are refused while half of the quota is said to be left."""

    def draw(bucket: Bucket, quota: Quota, now: float) -> Draw:
        full = filled(bucket, quota, now)
        if full.tokens < quota.capacity / 2 + 1:
            return Draw(replace(full, refused=full.refused + 1), admitted=False)
        return limits.draw(bucket, quota, now)

    return replace(behaviour, draw=draw)
