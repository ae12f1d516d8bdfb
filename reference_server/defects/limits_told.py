"""What is left, and how long to wait, told wrongly in ways that an honest refusal hides (RL-002, RL-004)."""

from dataclasses import replace

from openbell.reference_server import limits
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.limits import Bucket, Draw
from openbell.reference_server.settings import Quota
from openbell.reference_server.values import Fields

PENALTY_S = 3.0
MORE = 3
MANY = 10
HELD_BACK = 5


def telling(behaviour: Behaviour, more: int) -> Behaviour:
    """The behaviour whose successes tell of so many requests more than are left, at most the whole quota; refusals
    tell the truth."""

    def fields(drawn: Draw, quota: Quota) -> Fields:
        if not drawn.admitted:
            return limits.limit_fields(drawn, quota)
        told = min(float(quota.capacity), max(0.0, drawn.bucket.tokens + more))
        return limits.limit_fields(replace(drawn, bucket=replace(drawn.bucket, tokens=told)), quota)

    return replace(behaviour, limit_fields=fields)


@defect("remaining-three-more", catches={"RL-004": "refused-with-remaining"})
def remaining_three_more(behaviour: Behaviour) -> Behaviour:
    """Successes say that three requests more are left than are served."""
    return telling(behaviour, MORE)


@defect("remaining-ten-more", catches={"RL-004": "refused-with-remaining"})
def remaining_ten_more(behaviour: Behaviour) -> Behaviour:
    """Successes say that ten requests more are left than are served, at most the whole quota."""
    return telling(behaviour, MANY)


@defect("remaining-held-back", catches={"RL-004": "served-with-none-left"})
def remaining_held_back(behaviour: Behaviour) -> Behaviour:
    """A quarter of the quota is served when nothing is said to be left any more."""
    return telling(behaviour, -HELD_BACK)


@defect("retry-after-short-at-times", catches={"RL-002": "retry-after-too-short"})
def retry_after_short_at_times(behaviour: Behaviour) -> Behaviour:
    """Every second time that the quota is used up, it stays so for three seconds, whatever Retry-After says."""
    exhausted = 0

    def draw(bucket: Bucket, quota: Quota, now: float) -> Draw:
        nonlocal exhausted
        if bucket.refused and exhausted % 2 and now < bucket.at + PENALTY_S:
            return Draw(replace(bucket, refused=bucket.refused + 1), admitted=False)
        drawn = limits.draw(replace(bucket, refused=0), quota, now)
        exhausted += not drawn.admitted
        return drawn

    return replace(behaviour, draw=draw)
