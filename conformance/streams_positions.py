"""Positions that a stream cannot resume from: they are refused openly, and they give nobody another's data."""

from __future__ import annotations

from collections.abc import Iterator

from openbell.conformance.stream_lives import Life, Update, lives, truth
from openbell.conformance.streams_access import REFUSED, data, not_let_in, of_another
from openbell.events import Recording
from openbell.locate import pointer, text
from openbell.profile import Profile, Stream
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.streams_access import private
from openbell.scenarios.streams_resume import resumes, stream_positions
from openbell.target import Subject

RULES = {"too_old": "too-old-silent", "future": "future-silent", "epoch": "epoch-ignored"}
FAILED, CAP = "close 1011", "cap"
WHY = {"too_old": "a position beyond the retention", "future": "a position that was never reached",
       "epoch": "an epoch that never was"}


def openly(life: Life, stream: Stream) -> bool:
    """Whether the stream said that it does not go on from there: an error, a gap, a snapshot, or its end."""
    script = life.script("subscribe", "resubscribe")
    said = any(m.kind in {"error", "gap", "snapshot"} for m in life.messages(stream))
    return said or bool(script and script.data["answer"] in {"refused", "ended"}) or bool(
        life.end and life.end.data["side"] == "server")


@check("WSR-005", title="A position that cannot be served is refused openly", level=MUST, per="stream", where=resumes,
       promise="streams.refusal", evidence=(stream_positions,), minimum=2,
       sources=("Conventions: a client that reconnects receives the updates that it missed, or is told otherwise",),
       remedy="Compare the asked epoch and position with what is stored before subscribing, and answer what cannot be "
              "served with an error, a gap marker or a snapshot.")
def refused_openly(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Too old, from the future, of a forged epoch: each is refused, or answered in full; what is retained is served."""
    stream = target.stream[subject.name]
    news = next(recording.facts("news"), None)
    told = [u.place for u in truth(recording, target, stream)]
    for life in lives(recording):
        if life.label not in {*RULES, "retained"}:
            continue
        refused, full = openly(life, stream), _in_full(life, told, stream)
        if unseen := _unseen(life):
            yield unseen
        elif full or (refused and life.label != "retained"):
            yield holds(life.handshake, *life.frames[-1:])
        elif not (news and news.data["heard"]):
            yield undecided("control_failed", "a stream without a position got nothing either", life.handshake)
        elif life.label != "retained":
            yield broken(RULES[life.label], f"{WHY[life.label]} refused openly", "accepted without a word",
                         life.handshake, *life.frames[-2:])
        elif refused:
            yield broken("refused-within-retention", "the updates behind a retained position", "a refusal",
                         life.handshake, *life.frames[-2:])
        else:
            # What is lost behind a position that is accepted is WSR-002's to judge.
            yield undecided("precondition", "a retained position was accepted, and what stands behind it did not come",
                            life.handshake)


def _unseen(life: Life) -> Observation | None:
    """What shows nothing of a position: it was never asked for, the harness read no more, or the server failed."""
    if not_let_in(life):
        return undecided("precondition", "the stream could not be logged in to: no position was asked for",
                         life.handshake)
    if life.end and life.end.data["how"] == CAP:
        return undecided("budget", "the harness read no more of the stream", life.end)
    if life.end and life.end.data["side"] == "server" and life.end.data["how"] == FAILED:
        return broken("internal-error", "a word on the position", "a close that says that the server has failed",
                      life.handshake, life.end)
    return None


def _in_full(life: Life, told: list[tuple[str, str]], stream: Stream) -> bool:
    """Whether the update right behind the asked position came: more is kept than was promised."""
    script = life.script("resubscribe")
    since = (str(script.data.get("epoch", "")), str(script.data.get("position", ""))) if script else ("", "")
    after = told[told.index(since) + 1:][:1] if since in told else []
    return bool(after) and after[0] in {u.place for u in life.updates(stream)}


@check("WSR-006", title="A position gives nobody another's data", level=MUST, per="stream",
       where=lambda target, subject: resumes(target, subject) and private(target, subject),
       promise="streams.bound", evidence=(stream_positions,), minimum=1,
       sources=("OWASP API Security Top 10 2023, API1: authorise every object that is asked for",),
       remedy="Authorise the resumed channel for the principal of the connection; a position is no credential.")
def bound_to_principal(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Another principal that resumes at this one's position is refused, or gets its own data and nothing else."""
    stream = target.stream[subject.name]
    news = next(recording.facts("news"), None)
    owned = {_known(u, stream) for u in truth(recording, target, stream) if u.id}
    opened = {life.conn: life for life in lives(recording, "foreign")}
    for shake in recording.exchanges("foreign"):
        life = opened.get(shake.conn)
        updates = life.updates(stream) if life else ()
        leaked = next((u.event for u in updates if _known(u, stream) in owned), None) or next(
            (m.frame for m in (data(life, stream) if life and news else ())
             if of_another(m, stream, str(news.data["id"]) if news else "")), None)
        if leaked:
            yield broken("foreign-position", "none of the other principal's updates", "one delivered", shake, leaked)
        elif news is None or not news.data["heard"]:
            yield undecided("control_failed", "its own principal got nothing either", shake)
        elif life is None and shake.status not in REFUSED:
            yield undecided("no_reply", "no answer to a handshake", shake)
        elif life and not_let_in(life):
            yield undecided("control_failed", "the other principal's good credential was not accepted either", shake)
        elif life and life.end and life.end.data["how"] == CAP:
            yield undecided("budget", "the harness read no more of the stream", life.end)
        else:
            yield holds(shake, news)


def _known(update: Update, stream: Stream) -> tuple[str, str]:
    """What tells an update from others': its id, which may be counted for each owner, and what it is about."""
    return update.id, text(pointer(update.value, stream.published.key)) if stream.published else ""
