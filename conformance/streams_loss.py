"""What was lost over a reconnect, judged by the truth that is told over REST.

Lives are joined by the position at which each is resumed: between that position and the last update that a life
delivered, everything that the truth names must have come in some life. What is missing before a life's first new update
was lost in the gap, what is missing later was lost live; so was what had been made, and time enough been left for it,
when a life ended that delivered nothing more. A connection that beats and delivers nothing is no recovery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from openbell.conformance.stream_lives import Life, Update, lives, truth
from openbell.events import Exchange, Fact, Recording
from openbell.locate import parse_json, pointer, text
from openbell.profile import Profile, Stream
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.streams_resume import resumes, stream_cut_and_resume
from openbell.target import Subject


@dataclass(frozen=True)
class _Story:
    """The truth in its order, what of it was delivered in any life, and which requests of ours made what."""

    stream: Stream
    told: tuple[Update, ...]
    index: Mapping[tuple[str, str], int]
    delivered: frozenset[int]
    made: Mapping[int, Exchange]
    lives: tuple[Life, ...]


def _story(recording: Recording, target: Profile, stream: Stream) -> _Story:
    told = truth(recording, target, stream)
    index = {u.place: i for i, u in enumerate(told)}
    found = lives(recording, "round")
    delivered = frozenset(index[u.place] for life in found for u in life.updates(stream) if u.place in index)
    requests = _requests(recording, target, stream)
    made = {i: requests[key] for i, u in reversed(tuple(enumerate(told))) if (key := _key(u, stream)) in requests}
    firsts = {e.n: i for i, e in made.items()}
    return _Story(stream, told, index, delivered, {i: made[i] for i in firsts.values()}, found)


def _key(update: Update, stream: Stream) -> str:
    return text(pointer(update.value, stream.published.key)) if stream.published else ""


def _requests(recording: Recording, target: Profile, stream: Stream) -> Mapping[str, Exchange]:
    """The requests that made an update, by the id of what they made."""
    by = stream.published.by if stream.published else ""
    at = target.operation[by].id or "/id"
    done = (e for e in recording.exchanges() if e.operation == by and e.reply and e.status and e.status < 300)
    return {text(pointer(parse_json(e.reply.content), at)): e for e in done if e.reply}


@check("WSR-002", title="Nothing is lost over a reconnect within the retention", level=MUST, per="stream",
       where=resumes, promise="streams.no_loss", evidence=(stream_cut_and_resume,), minimum=10,
       sources=("Conventions: a client that reconnects receives the updates that it missed",),
       remedy="Hold back live updates while the replay is read from storage, then send both in the order of their "
              "positions, from the one behind the position that was asked for.")
def nothing_lost(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """After each resume everything behind the asked position is delivered: what was made in the gap, and live."""
    story = _story(recording, target, target.stream[subject.name])
    requests = _requests(recording, target, story.stream)
    if story.lives and (len(story.made) < len(requests) or not story.told):
        yield undecided("precondition", f"the truth tells of {len(story.made)} of {len(requests)} updates")
        return
    before: Life | None = None
    for life in story.lives:
        if entered := life.entered:
            yield from _life(story, before, life, entered)
        before = life if life.entered else before


def _life(story: _Story, before: Life | None, life: Life, entered: Fact) -> Iterator[Observation]:
    mark = next((m for m in life.messages(story.stream) if m.kind in {"gap", "snapshot"}), None)
    if mark:
        yield undecided("precondition", "the stream said itself that it does not go on without a gap", mark.frame)
        return
    updates = [u for u in life.updates(story.stream) if u.place in story.index]
    start = story.index.get(_since(entered))
    if start is None:
        start = story.index[updates[0].place] if updates else len(story.told)
    new = [i for u in updates if (i := story.index[u.place]) > start]
    end = life.end.at if life.end else entered.at
    due = [i for i, e in story.made.items() if i > start and e.done + story.stream.within_s <= end]
    last = max([start, *new, *due])
    missing = [i for i in range(start + 1, last + 1) if i not in story.delivered]
    gap = [i for i in missing if _in_gap(story, i, new, entered)]
    yield from _verdicts(story, before, life, updates, gap, [i for i in missing if i not in gap])


def _since(entered: Fact) -> tuple[str, str]:
    return str(entered.data.get("epoch", "")), str(entered.data.get("position", ""))


def _in_gap(story: _Story, i: int, new: list[int], entered: Fact) -> bool:
    """Whether it stands before all that is new on the connection; where nothing is, whether it was made before."""
    return i < min(new) if new else i not in story.made or story.made[i].done <= entered.at


def _verdicts(story: _Story, before: Life | None, life: Life, updates: list[Update], gap: list[int],
              live: list[int]) -> Iterator[Observation]:
    shown = (life.handshake, *(u.event for u in updates[:1]))
    for rule, lost in (("lost-in-gap", gap), ("lost-live", live)):
        if lost:
            pages = {story.told[i].event.n: story.told[i].event for i in lost}
            yield broken(rule, "every update behind the asked position", f"lost: {named(story.told, lost)}",
                         *shown, *pages.values())
    if gap or live or before is None or "position" not in (life.entered.data if life.entered else {}):
        return
    between = [e for e in story.made.values()
               if before.end and e.sent >= before.end.at and e.done <= life.handshake.sent]
    yield holds(*shown, between[0]) if between else undecided("vacuous", "nothing was made in the gap", *shown)


def named(told: tuple[Update, ...], lost: list[int]) -> str:
    """The positions of what was lost, in order; runs of them as `first-last`."""
    runs: list[list[int]] = []
    for i in lost:
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return ", ".join(told[r[0]].position + (f"-{told[r[-1]].position}" if len(r) > 1 else "") for r in runs)
