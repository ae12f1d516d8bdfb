"""Heartbeats: pings are answered, the server beats as often as it says, and drops who no longer answers.

Times are those at which the harness read the bytes; where it was late itself, nothing is decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from openbell.conformance.stream_lives import PING, PONG, Life, earliest, lag, life_of, lives
from openbell.events import Fact, Frame, Recording
from openbell.profile import Heartbeat, Profile
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.streams import PONG_S
from openbell.scenarios.streams_idle import (
    beats,
    dead_s,
    server_beats,
    stream_idle,
    tolerance,
    watches,
)
from openbell.target import Subject

AT_ONCE_S = 1.0
CONVENTION = "Conventions: streams have a heartbeat (ping and pong) by which stale connections are found"


@check("WSH-002", title="A ping is answered by a pong with its payload", level=MUST, per="stream", where=beats,
       promise="streams.pong", evidence=(stream_idle,), minimum=3,
       sources=(CONVENTION, "RFC 6455 5.5.2, 5.5.3: a Pong repeats the Ping's data; only the latest Ping needs one"),
       remedy="Answer every Ping at once with its own payload, also while updates are being sent.")
def pings_answered(recording: Recording, _target: Profile, _subject: Subject) -> Iterator[Observation]:
    """Each Ping is followed in time by a Pong with the payload of it or of a later one, not by one with other bytes."""
    for life in lives(recording, "idle"):
        pings, pongs = life.by("client", PING), life.by("server", PONG)
        missed: list[Frame] = []
        for number, ping in enumerate(pings):
            answers = {p.payload for p in pings[number:]}
            pong = next((p for p in pongs if p.at >= ping.at and p.payload in answers), None)
            if pong and earliest(recording, pong.at) <= ping.at + PONG_S:
                yield holds(ping, pong)
            else:
                missed.append(ping)
                yield _unanswered(life, ping, recording)
        # RFC 6455 5.5.3: a Pong may come unasked. Only in the place of one that is missing it is an altered one.
        for pong in (p for p in pongs if missed and p.at >= missed[0].at):
            if pong.payload and pong.payload not in {p.payload for p in pings if p.at <= pong.at}:
                yield broken("altered-payload", "the payload of a Ping", f"{len(pong.payload)} other bytes", pong)


def _unanswered(life: Life, ping: Frame, recording: Recording) -> Observation:
    # Every stream ends at last: that excuses only a server that had not had the time to answer.
    due = ping.at + (AT_ONCE_S if life.end and life.end.data["side"] == "server" else PONG_S)
    if life.end and life.end.at < due:
        return undecided("precondition", f"the {life.end.data['side']} ended the stream before a Pong was due", ping,
                         life.end)
    if lag(recording) > PONG_S / 2:
        return undecided("noisy", "the harness itself was late", ping)
    return broken("no-pong", f"a Pong within {PONG_S:g} s", "none in time, or none with the payload", ping)


@check("WSH-003", title="The server beats at the declared interval", level=MUST, per="stream", where=server_beats,
       promise="streams.heartbeat", evidence=(stream_idle,), minimum=1,
       sources=(CONVENTION, "RFC 6455 5.5.2, 5.5.3: a Ping as a keepalive, a Pong alone as a heartbeat one way"),
       remedy="Schedule each beat from the one before it, for as long as the connection lives; another frame may stand "
              "for a beat only where the contract says so.")
def server_heartbeat(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """While a stream is left alone no silence of the server is longer than the interval and what is tolerated."""
    heartbeat = target.stream[subject.name].heartbeat
    start, end = next(recording.facts("idle_start"), None), next(recording.facts("idle_end"), None)
    life = life_of(recording, "idle")
    if heartbeat is None or start is None or end is None or life is None:
        return
    if life.end and life.end.at < end.at:
        yield undecided("precondition", f"the stream ended meanwhile: {life.end.data['how']}", life.end)
        return
    seen = [f for f in life.frames if f.by == "server" and start.at <= f.at <= end.at]
    times = [start.at, *(f.at for f in seen), end.at]
    allowed = heartbeat.every_s + tolerance(heartbeat)
    if max(b - earliest(recording, a) for a, b in pairwise(times)) <= allowed:
        yield holds(*seen[:3])
    elif max(earliest(recording, b) - a for a, b in pairwise(times)) > allowed:
        yield broken("late", f"a frame of the server at least every {heartbeat.every_s:g} s",
                     f"silence for more than {allowed:g} s", start, *seen[:3], end)
    else:
        yield undecided("noisy", f"the harness itself was {lag(recording):.1f} s late", start)


@check("WSH-004", title="A client that no longer answers is dropped", level=MUST, per="stream", where=watches,
       promise="streams.dead_client", evidence=(stream_idle,), minimum=1,
       sources=(CONVENTION, "RFC 6455 5.5.2: a Ping verifies that the other side still responds"),
       remedy="Keep the time of each unanswered Ping per connection and close what has not answered in time, whether "
              "or not data can still be written to it.")
def dead_client_dropped(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Of two clients of one age, the one that answers no ping is dropped and the other, which answers, is not."""
    heartbeat = target.stream[subject.name].heartbeat
    muted, control = life_of(recording, "muted"), life_of(recording, "idle")
    if heartbeat is None or muted is None or control is None or not (alive := control.fact("idle_alive")):
        return
    pings, end = muted.by("server", PING), muted.end
    if end and end.data["side"] != "server":
        # The harness closes what is still open when its scenario ends: only an end before that is the server's doing.
        end = None if end.at >= alive.at else end
    if not alive.data["alive"] or (control.end and control.end.at < alive.at):
        yield undecided("control_failed", "the client that answered was dropped too", alive)
    elif not pings:
        yield undecided("vacuous", "the server pinged the client never, so there was nothing to answer", alive)
    elif end and end.at <= alive.at:
        yield _dropped(pings, end, heartbeat)
    elif alive.at < pings[0].at + answer_s(heartbeat) + tolerance(heartbeat) / 2:
        yield undecided("vacuous", "the server pinged the client so late that no answer was overdue", pings[0], alive)
    elif lag(recording) > tolerance(heartbeat) / 2:
        yield undecided("noisy", f"the harness itself was {lag(recording):.1f} s late", alive)
    else:
        yield broken("dead-client-kept", f"its end within {dead_s(heartbeat):g} s", "still open", pings[0], alive)


def answer_s(heartbeat: Heartbeat) -> float:
    """The seconds that a client has to answer a Ping."""
    return heartbeat.answer_within_s or 0.0


def _dropped(pings: tuple[Frame, ...], end: Fact, heartbeat: Heartbeat) -> Observation:
    """An end shows that silence was noticed only where it did not come long before an answer was due."""
    if end.data["side"] != "server":
        return undecided("budget", "a cap was reached", end)
    if end.at < pings[0].at + answer_s(heartbeat) / 2:
        return undecided("precondition", f"the stream ended before an answer was due: {end.data['how']}", pings[0], end)
    return holds(pings[-1], end)
