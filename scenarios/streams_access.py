"""Who gets a stream's data: nobody, somebody with a bad credential, somebody else, and a token whose time is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openbell.api import Api
from openbell.building import Alter
from openbell.profile import Profile
from openbell.registry import Cost, scenario
from openbell.scenarios.bad_credentials import bad_values
from openbell.scenarios.expiry import oauth_step
from openbell.scenarios.streams import claims, entered, lasting, needs, news, settled, streamer, telling
from openbell.session import Skip, principal
from openbell.stream import Stream
from openbell.target import Position, Subject

LONGEST_S = 300.0
LATE_S = 0.5
ROUNDING_S = 1.0


def guarded(target: Profile, subject: Subject) -> bool:
    """Whether the stream asks who its client is, and has updates to show."""
    return target.stream[subject.name].auth != "none" and telling(target, subject)


def private(target: Profile, subject: Subject) -> bool:
    """Whether the stream's updates belong to one principal, and there is another."""
    return (target.stream[subject.name].published is not None
            and principal(target, "other_tenant") is not None)


async def _probe(api: Api, subject: Subject, label: str, credential: str | None) -> Stream:
    """Subscribes without a credential, or with the given one in its place."""
    table, by = api.target.stream[subject.name], streamer(api.target, subject)
    if table.auth == "handshake":
        alter = Alter(anonymous=True) if credential is None else Alter(credential=lambda _good: credential)
        stream = await api.stream(subject.name, by=by, label=label, alter=alter)
    else:
        stream = await api.stream(subject.name, by=by, label=label, alter=Alter(anonymous=True))
        if stream.open and credential is not None:
            await stream.login(credential)
    if stream.open:
        await stream.subscribe()
    return stream


async def trespassing(api: Api, subject: Subject, by: str, label: str, since: Position | None = None) -> Stream:
    """Another principal, with a good credential, asks for what belongs to the stream's own: by the URL, where that
    names it, and in what it subscribes to."""
    url = api.target.stream[subject.name].url
    owner = api.target.credential[streamer(api.target, subject)].values
    named: Mapping[str, Any] = {k: v for k, v in owner.items() if f"{{{k}}}" in url}
    stream = await api.stream(subject.name, by=by, label=label, **named)
    stream.values = {**stream.values, **api.target.credential[by].values}
    if stream.open and await stream.login() == "ok":
        await stream.subscribe(since, owner)
    return stream


@scenario(per="stream", where=guarded, claims=claims, needs=needs, allow=("read", "write"),
          cost=lambda _target, _subject: Cost(reads=5, writes=4))
async def stream_credentials(api: Api, target: Profile, subject: Subject) -> None:
    """Subscribes without a credential, with one that nobody issued, and as another principal, beside a control that
    gets an update."""
    control = await entered(api, subject, "control")
    _, random = next(bad_values(api.random))
    probes = [await _probe(api, subject, "anonymous", None), await _probe(api, subject, "invalid", random("x" * 40))]
    if private(target, subject):
        probes.append(await trespassing(api, subject, str(principal(target, "other_tenant")), "other"))
    await news(api, subject, control, "published")
    await settled(*probes)


def expires(target: Profile, subject: Subject) -> bool:
    """Whether the stream is entered with a token that ends."""
    return guarded(target, subject) and oauth_step(target, streamer(target, subject)) is not None


def _expiry_cost(target: Profile, subject: Subject) -> Cost:
    step = oauth_step(target, streamer(target, subject))
    if step is None:
        return Cost()
    whole = step.lifetime_s + target.stream[subject.name].grace_s + ROUNDING_S + LATE_S
    return Cost(reads=5, writes=4, waits_s=whole if whole <= LONGEST_S else 0.0, budget_s=LONGEST_S)


@scenario(per="stream", where=expires, claims=claims, needs=needs, allow=("read", "write"), cost=_expiry_cost)
async def stream_expiry(api: Api, target: Profile, subject: Subject) -> None:
    """Holds a stream beyond the end of its token, which may be rounded up, and the grace for it; then a control with
    a new one gets an update."""
    by, table = streamer(target, subject), target.stream[subject.name]
    token = await api.mint(by)
    end = token.done + token.lifetime_s + table.grace_s + ROUNDING_S
    if end - token.done > LONGEST_S:
        raise Skip("budget", f"a token lives {token.lifetime_s:g} s and {table.grace_s:g} s of grace; a sandbox "
                             f"lifetime of at most {LONGEST_S - table.grace_s:g} s would decide it")
    held = await entered(api, subject, "held", token=token)
    api.note("stream_token", conn=held.conn, sent=token.sent, lifetime_s=token.lifetime_s, end=end,
             exchange=token.exchange)
    await api.until(end + LATE_S, "a token's life and the grace for streams")
    control = await entered(api, subject, "control", token=await lasting(api, by))
    await news(api, subject, control, "published")
    await settled(held)
