"""Streams that are left alone: what keeps them alive, how pings are answered, and what becomes of a dead client."""

from __future__ import annotations

from openbell.api import Api
from openbell.profile import Heartbeat, Profile
from openbell.registry import Claim, Cost, own, scenario, share
from openbell.scenarios.streams import PONG_S, entered, lasting, needs, quiet, streamer
from openbell.session import Skip, sacrificial
from openbell.target import Subject

LONGEST_S = 120.0
PAYLOADS = (b"", b"four", b"x" * 125)
QUICK = (b"one", b"two", b"three")
BEATS = 3
ALIVE = b"alive"


def beats(target: Profile, subject: Subject) -> bool:
    """Whether the stream is quiet and has a heartbeat."""
    return quiet(target, subject) and target.stream[subject.name].heartbeat is not None


def server_beats(target: Profile, subject: Subject) -> bool:
    """Whether it is the server that beats."""
    heartbeat = target.stream[subject.name].heartbeat
    return beats(target, subject) and heartbeat is not None and heartbeat.by != "client"


def watches(target: Profile, subject: Subject) -> bool:
    """Whether the server pings, and looks for the answer."""
    heartbeat = target.stream[subject.name].heartbeat
    return server_beats(target, subject) and heartbeat is not None and heartbeat.kind == "ping" and (
        heartbeat.answer_within_s is not None)


def tolerance(heartbeat: Heartbeat) -> float:
    """The seconds by which a beat may be late."""
    return max(1.0, heartbeat.every_s / 2)


def idle_s(heartbeat: Heartbeat | None) -> float:
    """How long a stream is left alone: some beats and what one may be late."""
    return BEATS * heartbeat.every_s + tolerance(heartbeat) if heartbeat else 0.0


def dead_s(heartbeat: Heartbeat | None) -> float:
    """How long a client may go on unanswering: one interval, the time for an answer, and half of both, 1 s at least."""
    limit = heartbeat.every_s + (heartbeat.answer_within_s or 0.0) if heartbeat else 0.0
    return limit + max(1.0, limit / 2)


def idler(target: Profile, subject: Subject) -> str:
    """Who leaves a stream alone: a principal set aside for it, that nothing happens to, else the stream's own."""
    return sacrificial(target, "idle") or streamer(target, subject)


def _claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    by = idler(target, subject)
    return (own(f"principal:{by}") if target.credential[by].sacrificial else share(f"principal:{by}"),)


def window_s(target: Profile, subject: Subject) -> float:
    """How long nothing is done."""
    heartbeat = target.stream[subject.name].heartbeat
    return max(idle_s(heartbeat), dead_s(heartbeat) if watches(target, subject) else 0.0)


def _cost(target: Profile, subject: Subject) -> Cost:
    window = window_s(target, subject)
    return Cost(reads=3, waits_s=window if window <= LONGEST_S else 0.0)


@scenario(per="stream", where=beats, claims=_claims, needs=needs, cost=_cost)
async def stream_idle(api: Api, target: Profile, subject: Subject) -> None:
    """Pings the server in several sizes and thrice in a row, then leaves the stream alone for some beats; beside it, of
    the same age, one whose client answers no ping."""
    window = window_s(target, subject)
    if window > LONGEST_S:
        raise Skip("budget", f"some heartbeats of stream.{subject.name} take longer than {LONGEST_S:g} s")
    by = idler(target, subject)
    token = await lasting(api, by)
    stream = await entered(api, subject, "idle", by=by, token=token)
    if watches(target, subject):
        await entered(api, subject, "muted", by=by, token=token, muted=True)
    for payload in PAYLOADS:
        stream.ping(payload)
        await stream.pong(payload, PONG_S)
    for payload in QUICK:
        stream.ping(payload)
    await stream.pong(QUICK[-1], PONG_S)
    started = stream.note("idle_start")
    await api.wait(window, "a stream is left alone, and a client answers no ping")
    stream.note("idle_end", started=started.n)
    stream.ping(ALIVE)
    stream.note("idle_alive", alive=await stream.pong(ALIVE, PONG_S))
