"""How defects of limits show."""

from probes import LIMITED, probe, remaining, retry_after_is, throttled


@probe("retry-after-missing")
async def retry_after_missing(caller):
    return await retry_after_is(caller, None)


@probe("retry-after-soon")
async def retry_after_soon(caller):
    return await retry_after_is(caller, "soon")


@probe("retry-after-negative")
async def retry_after_negative(caller):
    return await retry_after_is(caller, "-1")


@probe("retry-after-fraction")
async def retry_after_fraction(caller):
    return await retry_after_is(caller, "0.5")


@probe("refusal-cached")
async def refusal_cached(caller):
    return (await throttled(caller))[0].one("age") == "7"


@probe("throttled-503")
async def throttled_503(caller):
    return (await throttled(caller))[0].status == 503


@probe("never-throttled")
async def never_throttled(caller):
    return (await throttled(caller))[0] is None


@probe("retry-after-too-short")
async def retry_after_too_short(caller):
    first, last = await throttled(caller, after=2)
    return first.one("retry-after") == "1" and last.status == 429


@probe("remaining-constant")
async def remaining_constant(caller):
    return len(set(await remaining(caller))) == 1


async def told_until_refused(caller):
    """What each reply says is left, the refusal's last."""
    await caller.login("sacrificial_limits")
    told = []
    for _ in range(40):
        got = await caller("GET", LIMITED)
        told.append(int(got.one("ratelimit").split(";")[1][2:]))
        if got.status == 429:
            return told
    return []


@probe("remaining-three-more")
async def remaining_three_more(caller):
    return (await told_until_refused(caller))[-3:] == [4, 3, 0]


@probe("remaining-ten-more")
async def remaining_ten_more(caller):
    told = await told_until_refused(caller)
    return (told[0], *told[-2:]) == (20, 10, 0)


@probe("remaining-held-back")
async def remaining_held_back(caller):
    return (await told_until_refused(caller))[14:] == [0] * 7


@probe("retry-after-short-at-times")
async def retry_after_short_at_times(caller):
    (first, last), (_, later) = await throttled(caller, after=2), await throttled(caller, after=4)
    return (first.one("retry-after"), last.status, later.status) == ("1", 429, 200)


@probe("refused-with-remaining")
async def refused_with_remaining(caller):
    return (await throttled(caller))[0].one("ratelimit") == '"reads";r=10;t=1'
