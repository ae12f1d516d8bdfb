"""Whose data a stream gives, and until when: judged by what was delivered, never by the stage of a refusal."""

from __future__ import annotations

from collections.abc import Iterator

from openbell.conformance.stream_lives import Life, Told, lag, life_of
from openbell.events import Exchange, Fact, Recording
from openbell.locate import pointer, text
from openbell.profile import Profile, Stream
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.streams_access import LATE_S, expires, guarded, stream_credentials, stream_expiry
from openbell.target import Subject

REFUSED = frozenset(range(400, 500)) - {429}
PROBES = {"anonymous": "data-without-login", "invalid": "data-without-login", "other": "data-of-another"}


def data(life: Life, stream: Stream) -> Iterator[Told]:
    """What is protected: updates and snapshots."""
    return (m for m in life.messages(stream) if m.kind in {"update", "snapshot"})


def not_let_in(life: Life) -> bool:
    """Whether a credential was not accepted by the login script: nothing was asked for then."""
    login = life.script("login")
    return bool(login and login.data["answer"] != "ok")


def of_another(told: Told, stream: Stream, id_: str) -> bool:
    """Whether a message shows what was made for another principal."""
    return bool(id_ and stream.published and text(pointer(told.value, stream.published.key)) == id_)


@check("WSH-006", title="A stream gives data only to whom it belongs", level=MUST, per="stream", where=guarded,
       promise="streams.authentication", evidence=(stream_credentials,), minimum=2,
       sources=("RFC 6455 10.5: the server may authenticate the client by any mechanism",
                "OWASP API Security Top 10 2023, API1: authorise every object that is asked for"),
       remedy="Authenticate before the first message of data, and authorise each channel that is subscribed, not the "
              "connection alone.")
def data_to_its_owner(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Without a good credential nothing is delivered, and another principal gets nothing of the stream's own."""
    stream = target.stream[subject.name]
    news = next(recording.facts("news"), None)
    for probe in _probes(recording):
        rule = PROBES[probe.label]
        life = life_of(recording, probe.label)
        if life is None:
            yield holds(probe) if probe.status in REFUSED else undecided("no_reply", "no answer to a handshake", probe)
            continue
        seen = [m for m in data(life, stream) if probe.label != "other" or
                of_another(m, stream, str(news.data["id"]) if news else "")]
        if seen:
            yield broken(rule, "no data", f"{seen[0].kind} delivered", probe, seen[0].frame)
        elif news is None or not news.data["heard"]:
            yield undecided("control_failed", "nothing was delivered to a client with a good credential either", probe)
        elif probe.label == "other" and not_let_in(life):
            yield undecided("control_failed", "the other principal's good credential was not accepted either", probe)
        elif life.end and life.end.data["side"] == "harness" and life.end.at < news.at:
            yield undecided("budget", "the harness read no more of the stream when there was data", life.end)
        else:
            yield holds(probe, news)


def _probes(recording: Recording) -> Iterator[Exchange]:
    """The handshakes of the probes."""
    return (e for e in recording.exchanges() if e.label in PROBES)


@check("CRD-003", title="A stream does not outlive its credential", level=MUST, per="stream", where=expires,
       promise="streams.expiry", evidence=(stream_expiry,), minimum=1,
       sources=("Conventions: credential expiry is automated, on every kind of connection",
                "RFC 6749 7: the resource server must see to it that the token has not expired"),
       remedy="Keep the token's end with the connection and close it then, with a code that says so, unless the client "
              "has authenticated again.")
def stream_ends_with_token(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """After the token's end and the declared grace the stream delivers no data, while one with a new token does."""
    stream = target.stream[subject.name]
    token, news = next(recording.facts("stream_token"), None), next(recording.facts("news"), None)
    life = life_of(recording, "held")
    if token is None or life is None:
        return
    late = next((m for m in data(life, stream) if m.frame.at > token.data["end"]), None)
    if late and lag(recording) > LATE_S:
        yield undecided("noisy", f"the harness itself was {lag(recording):.1f} s late", late.frame)
    elif late:
        yield broken("outlives-token", f"no data {stream.grace_s:g} s after the token's end", f"{late.kind} delivered",
                     token, late.frame)
    elif life.end and life.end.data["side"] == "server":
        yield _ended(life.end, token)
    elif life.end and life.end.at < (news or token).at:
        yield undecided("budget", f"the {life.end.data['side']} ended the stream before it was seen", life.end)
    elif news is None or not news.data["heard"]:
        yield undecided("control_failed", "a stream with a new token got nothing either", token)
    else:
        yield holds(token, news)


def _ended(end: Fact, token: Fact) -> Observation:
    """An end by the server shows the token's end only where it did not come before it."""
    if end.at < token.data["sent"] + token.data["lifetime_s"] - 1.0:
        return undecided("precondition", f"the stream ended before its token: {end.data['how']}", end)
    return holds(token, end)
