"""A stream that is left alone: what keeps it alive, and how pings are answered."""

from __future__ import annotations

from openbell.api import Api
from openbell.profile import Heartbeat, Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.session import Skip, principal, sacrificial
from openbell.stream import Stream
from openbell.target import Subject

LONGEST_S = 120.0
PONG_S = 5.0
PAYLOADS = (b"", b"four", b"x" * 125)
QUICK = (b"one", b"two", b"three")
BEATS = 4


def streamer(target: Profile, subject: Subject) -> str:
    """The principal that a stream is opened by: the profile's choice, one set aside for streams, else the full one."""
    return target.stream[subject.name].principal or sacrificial(target, "streams") or str(principal(target))


def quiet(target: Profile, subject: Subject) -> bool:
    """Whether silence can be seen on the stream: it is not busy, or all of them are."""
    return not target.stream[subject.name].busy or all(s.busy for s in target.stream.values())


def beats(target: Profile, subject: Subject) -> bool:
    """Whether the stream is quiet and has a heartbeat."""
    return quiet(target, subject) and target.stream[subject.name].heartbeat is not None


def server_beats(target: Profile, subject: Subject) -> bool:
    """Whether it is the server that beats."""
    heartbeat = target.stream[subject.name].heartbeat
    return beats(target, subject) and heartbeat is not None and heartbeat.by != "client"


def tolerance(heartbeat: Heartbeat) -> float:
    """The seconds by which a beat may be late."""
    return max(1.0, heartbeat.every_s / 2)


def idle_s(heartbeat: Heartbeat | None) -> float:
    """How long a stream is left alone: some beats and what one may be late."""
    return BEATS * heartbeat.every_s + tolerance(heartbeat) if heartbeat else 0.0


def claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    """The stream's principal, shared."""
    return (share(f"principal:{streamer(target, subject)}"),)


def needs(target: Profile, subject: Subject) -> str | None:
    """What keeps every stream scenario back: nobody to open the stream."""
    return None if principal(target) else f"no principal opens stream.{subject.name}"


async def entered(api: Api, target: Profile, subject: Subject, label: str, *, by: str | None = None,
                  muted: bool = False) -> Stream:
    """A stream that is subscribed. Raises Skip where it cannot be entered."""
    stream = await api.stream(subject.name, by=by or streamer(target, subject), label=label, muted=muted)
    answer = await stream.enter() if stream.open else "ended"
    if answer != "ok":
        came = stream.handshake.status if stream.handshake else None
        raise Skip("precondition", f"stream.{subject.name} could not be entered: handshake {came}, scripts {answer}")
    return stream


def _cost(target: Profile, subject: Subject) -> Cost:
    window = idle_s(target.stream[subject.name].heartbeat)
    return Cost(reads=1, waits_s=window if window <= LONGEST_S else 0.0)


@scenario(per="stream", where=beats, claims=claims, needs=needs, cost=_cost)
async def stream_idle(api: Api, target: Profile, subject: Subject) -> None:
    """Pings the server in several sizes and thrice in a row, then leaves the stream alone for some beats."""
    stream = await entered(api, target, subject, "idle")
    for payload in PAYLOADS:
        stream.ping(payload)
        await stream.pong(payload, PONG_S)
    for payload in QUICK:
        stream.ping(payload)
    await stream.pong(QUICK[-1], PONG_S)
    window = idle_s(target.stream[subject.name].heartbeat)
    if window > LONGEST_S:
        raise Skip("budget", f"some heartbeats of stream.{subject.name} take longer than {LONGEST_S:g} s")
    started = stream.note("idle_start")
    await api.wait(window, "a stream is left alone")
    stream.note("idle_end", started=started.n)
