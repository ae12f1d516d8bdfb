"""Streams that are left alone: what keeps them alive, how pings are answered, and what becomes of a dead client."""

from __future__ import annotations

from openbell.api import Api
from openbell.profile import Heartbeat, Profile
from openbell.registry import Cost, scenario
from openbell.scenarios.streams import PONG_S, claims_alone, entered, lasting, needs, quiet, streamer
from openbell.session import Skip
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


def window_s(target: Profile, subject: Subject) -> float:
    """How long nothing is done."""
    heartbeat = target.stream[subject.name].heartbeat
    return max(idle_s(heartbeat), dead_s(heartbeat) if watches(target, subject) else 0.0)


def _cost(target: Profile, subject: Subject) -> Cost:
    window = window_s(target, subject)
    return Cost(reads=3, waits_s=window if window <= LONGEST_S else 0.0)


@scenario(per="stream", where=beats, claims=claims_alone, needs=needs, cost=_cost)
async def stream_idle(api: Api, target: Profile, subject: Subject) -> None:
    """Pings the server in several sizes and thrice in a row, then leaves the stream alone for some beats; beside it, of
    the same age, one whose client answers no ping."""
    window = window_s(target, subject)
    if window > LONGEST_S:
        raise Skip("budget", f"some heartbeats of stream.{subject.name} take longer than {LONGEST_S:g} s")
    token = await lasting(api, streamer(target, subject))
    stream = await entered(api, subject, "idle", token=token)
    if watches(target, subject):
        await entered(api, subject, "muted", token=token, muted=True)
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
