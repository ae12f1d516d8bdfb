"""A consumer that cannot keep pace: what becomes of it, and of the others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from openbell.conformance.stream_lives import Life, Told, Update, lag, life_of, lives
from openbell.events import Fact, Frame, Recording
from openbell.profile import Profile, Sequence, Stream
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.streams_slow import busy, stream_slow
from openbell.target import Subject, countable

OVERLOAD = ("close 1011", "close 1013")


@check("WSR-007", title="A slow consumer is handled openly and harms nobody else", level=MUST, per="stream",
       where=busy, promise="streams.back_pressure", evidence=(stream_slow,), minimum=1,
       sources=("Conventions: back-pressure where a consumer cannot keep pace",
                "RFC 6455 7.4 and IANA's registry of close codes: 1008, 1013 and 4000 to 4999 say why"),
       remedy="Give each consumer a bounded queue of its own; when it is full, close with a code that says so, or "
              "leave out and say that something was left out.")
def slow_consumer(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """The slow one is closed, or told what is missing, or gets everything; those beside it get theirs meanwhile."""
    stream = target.stream[subject.name]
    slow, backlog = life_of(recording, "slow"), next(recording.facts("backlog"), None)
    paused = slow.fact("stream_paused") if slow else None
    resumed = slow.fact("stream_resumed") if slow else None
    if slow is None or paused is None or resumed is None or backlog is None:
        return
    stalled = [o for w in lives(recording, "witness") if (o := _stalled(w, stream, paused, resumed))]
    if lag(recording) > stream.within_s / 2:
        yield undecided("noisy", f"the harness itself was {lag(recording):.1f} s late", backlog)
    elif stalled:
        yield from stalled
    elif min(backlog.data["got"], default=0) < backlog.data["wanted"]:
        yield undecided("vacuous", f"the stream sent {min(backlog.data['got'], default=0)} bytes meanwhile; buffers "
                                   f"may hold {backlog.data['wanted']}", backlog)
    elif slow.end and slow.end.at < paused.at:
        yield undecided("precondition", f"it had ended before it stopped reading: {slow.end.data['how']}", slow.end)
    else:
        yield _after(slow, stream, resumed)


def _stalled(witness: Life, stream: Stream, paused: Fact, resumed: Fact) -> Observation | None:
    """A witness that got nothing for longer than the declared time while the other did not read."""
    seen = [m.frame for m in witness.messages(stream) if m.kind == "update" and paused.at <= m.frame.at <= resumed.at]
    times = [paused.at, *(f.at for f in seen), resumed.at]
    if max(b - a for a, b in pairwise(times)) <= stream.within_s:
        return None
    if witness.end and witness.end.data["side"] == "harness" and witness.end.at < resumed.at:
        return undecided("budget", "the harness read no more of a stream beside it", witness.end)
    if witness.end and witness.end.at < resumed.at and _another_reason(witness.end):
        return undecided("precondition", f"the server ended a stream beside it: {witness.end.data['how']}", witness.end)
    return broken("witness-stalled", f"updates for the others at least every {stream.within_s:g} s",
                  "none for longer, while one consumer did not read", paused, *seen[-1:], resumed)


def _another_reason(end: Fact) -> bool:
    """Whether the server said of an end that it was for something else, such as a token's end: not for load."""
    return end.data["side"] == "server" and end.data["how"].startswith("close") and end.data["how"] not in OVERLOAD


def _after(slow: Life, stream: Stream, resumed: Fact) -> Observation:
    """What the slow consumer got once it read again."""
    later = [m for m in slow.messages(stream) if m.frame.n > resumed.n]
    told = next((m for m in later if m.kind in {"gap", "snapshot", "error"}), None)
    updates = slow.updates(stream)
    steps = [(a, b) for a, b in pairwise(updates) if b.event.n > resumed.n and a.epoch == b.epoch]
    hole = next(((a, b) for a, b in steps if _hole(a, b, stream.sequence)), None)
    read = [m.frame for m in later if m.kind == "update"]
    if told:
        return _told(told, [f for f in read if f.n < told.frame.n], stream, resumed)
    if hole:
        return broken("unmarked-gap", f"the update behind {hole[0].position}, or a word on what is missing",
                      hole[1].position, resumed, hole[0].event, hole[1].event)
    if slow.end and slow.end.data["side"] == "server":
        return _ended(slow.end, stream, read[-1] if read else resumed)
    if late := _left_behind(slow, stream, resumed, read[-1]) if read else _nothing(slow, resumed):
        return late
    if not any(_linked(b, stream.sequence) for _, b in steps):
        return undecided("vacuous", "its updates do not tell whether one is missing", resumed, *read[:1])
    return holds(resumed, read[0], read[-1])


def _told(told: Told, read: list[Frame], stream: Stream, resumed: Fact) -> Observation:
    """A word is an answer, unless it is an error after a long silence: that may come of something else."""
    last = max([resumed.at, *(f.at for f in read)])
    if told.kind == "error" and told.frame.at - last >= stream.within_s:
        return undecided("precondition", "after a silence it told of an error, for whatever reason", told.frame)
    return holds(resumed, told.frame)


def _ended(end: Fact, stream: Stream, last: Fact | Frame) -> Observation:
    """Its end is an answer, with or without a Close, unless it came of something else after a long silence; frames
    that are none are not."""
    if end.data["how"] == "violation":
        return broken("corrupted", "whole frames, or the end", str(end.data["violation"]), last, end)
    if end.at - last.at >= stream.within_s:
        return undecided("precondition", f"it ended after a silence, for whatever reason: {end.data['how']}", last, end)
    return holds(last, end)


def _left_behind(slow: Life, stream: Stream, resumed: Fact, last: Frame) -> Observation | None:
    """Where it never got as far as the others: whether nothing more came, or nobody waited long enough."""
    until = slow.fact("slow_end")
    if until is None or until.data.get("caught_up") is not False:
        return None
    if until.at - last.at >= stream.within_s and not (slow.end and slow.end.at <= until.at):
        return broken("never-again", "updates up to those of the others, a word on what is missing, or the end",
                      f"nothing more for {stream.within_s:g} s", resumed, last, until)
    return undecided("budget", "the harness read no more of it before it had caught up", last, until)


def _nothing(slow: Life, resumed: Fact) -> Observation:
    if slow.end and slow.end.data["side"] == "harness":
        return undecided("budget", "the harness read no more of it", slow.end)
    return broken("never-again", "updates, a word on what is missing, or the end", "nothing", resumed)


def _linked(update: Update, sequence: Sequence | None) -> bool:
    """Whether an update tells that one before it is missing: it names it, or numbers grow by a declared step."""
    return bool(update.previous or (sequence and sequence.step and countable(update.position)))


def _hole(before: Update, update: Update, sequence: Sequence | None) -> bool:
    """Whether something is missing between two updates: by the link where there is one, else by the declared step.

    Of an update that is sent again it says nothing.
    """
    if update.position == before.position:
        return False
    if update.previous:
        return update.previous != before.position
    step = sequence.step if sequence else None
    return bool(step and countable(before.position) and countable(update.position)
                and int(update.position) > int(before.position) + step)
