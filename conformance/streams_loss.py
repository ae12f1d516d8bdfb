"""What was lost over a reconnect, judged by the truth that is told over REST.

Lives are joined by the position at which each is resumed: between that position and the last update that a life
delivered, everything that the truth names must have come in some life. What is missing before a life's first new update
and was not made while it lasted was lost in the gap, what else is missing was lost live; so was what had been made, and
time enough been left for it, when a life ended that delivered nothing more. A connection that beats and delivers
nothing is no recovery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from openbell.conformance.stream_lives import Life, Update, lag, lives, truth
from openbell.events import Exchange, Fact, Frame, Recording
from openbell.locate import parse_json, pointer, text
from openbell.profile import Profile, Stream
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.streams_resume import resumes, stream_cut_and_resume
from openbell.target import Subject

CITED = 4


@dataclass(frozen=True)
class _Story:
    """The truth in its order, what of it was delivered in any life, and which requests of ours made what."""

    stream: Stream
    told: tuple[Update, ...]
    index: Mapping[tuple[str, str], int]
    delivered: frozenset[int]
    made: Mapping[int, Exchange]
    lives: tuple[Life, ...]
    patience_s: float


def _story(recording: Recording, target: Profile, stream: Stream) -> _Story:
    told = truth(recording, target, stream)
    index = {u.place: i for i, u in enumerate(told)}
    found = lives(recording, "round")
    delivered = frozenset(index[u.place] for life in found for u in life.updates(stream) if u.place in index)
    requests = _requests(recording, target, stream)
    made = {i: requests[key] for i, u in reversed(tuple(enumerate(told))) if (key := _key(u, stream)) in requests}
    firsts = {e.n: i for i, e in made.items()}
    return _Story(stream, told, index, delivered, {i: made[i] for i in firsts.values()}, found,
                  stream.within_s + lag(recording))


def _key(update: Update, stream: Stream) -> str:
    return text(pointer(update.value, stream.published.key)) if stream.published else ""


def _requests(recording: Recording, target: Profile, stream: Stream) -> Mapping[str, Exchange]:
    """The requests that made an update, by the id of what they made."""
    by = stream.published.by if stream.published else ""
    at = target.operation[by].id or "/id"
    done = (e for e in recording.exchanges() if e.operation == by and e.reply and e.status and e.status < 300)
    found = {text(pointer(parse_json(e.reply.content), at)): e for e in done if e.reply}
    return {id_: e for id_, e in found.items() if id_}


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
    lost: dict[str, dict[int, Life]] = {"lost-in-gap": {}, "lost-live": {}}
    for life in story.lives:
        if entered := life.entered:
            missing = _missing(story, life, entered)
            for rule, index in missing:
                lost[rule][index] = life
            if not missing:
                yield from _intact(story, before, life)
            # A life that is over before anything has come belongs to the gap.
            before = life if before is None or _new(story, life, entered)[1] else before
    yield from (_broken(story, rule, found) for rule, found in lost.items() if found)


def _marked(story: _Story, life: Life) -> Frame | None:
    return next((m.frame for m in life.messages(story.stream) if m.kind in {"gap", "snapshot"}), None)


def _missing(story: _Story, life: Life, entered: Fact) -> list[tuple[str, int]]:
    """What is missing on a connection, by its place in the truth, each with the rule that it breaks; nothing where the
    stream said itself that it does not go on without a gap."""
    if _marked(story, life):
        return []
    start, new = _new(story, life, entered)
    end = life.end.at if life.end else entered.at
    due = [i for i, e in story.made.items() if i > start and max(e.done, entered.at) + story.patience_s <= end]
    missing = (i for i in range(start + 1, max([start, *new, *due]) + 1) if i not in story.delivered)
    return [("lost-in-gap" if _in_gap(story, i, new, entered) else "lost-live", i) for i in missing]


def _new(story: _Story, life: Life, entered: Fact) -> tuple[int, list[int]]:
    """The last place of the truth that a connection was not owed, and what it delivered behind it."""
    updates = [story.index[u.place] for u in life.updates(story.stream) if u.place in story.index]
    start = _start(story, entered, updates)
    return start, [i for i in updates if i > start]


def _start(story: _Story, entered: Fact, updates: list[int]) -> int:
    """The last place of the truth that a connection was not owed: the asked one; without it, the one before what was
    made while it was subscribed, or the first that was delivered."""
    asked = story.index.get(_since(entered))
    owed = (i - 1 for i, e in story.made.items() if e.sent >= entered.at)
    return min((*updates[:1], *owed), default=len(story.told)) if asked is None else asked


def _since(entered: Fact) -> tuple[str, str]:
    return str(entered.data.get("epoch", "")), str(entered.data.get("position", ""))


def _in_gap(story: _Story, i: int, new: list[int], entered: Fact) -> bool:
    """Whether it stands before all that is new on the connection and was not made on it; where nothing is new, whether
    it was made before."""
    made = story.made.get(i)
    if made and made.sent >= entered.at:
        return False
    return i < min(new) if new else not made or made.done <= entered.at


def _intact(story: _Story, before: Life | None, life: Life) -> Iterator[Observation]:
    """A resume after which nothing is missing, and what it is worth."""
    shown = (life.handshake, *(u.event for u in life.updates(story.stream)[:1]))
    if mark := _marked(story, life):
        yield undecided("precondition", "the stream said itself that it does not go on without a gap", mark)
    elif before and before.end and life.entered and "position" in life.entered.data:
        ended = before.end.at
        between = next((e for e in story.made.values() if e.sent >= ended and e.done <= life.handshake.sent), None)
        if between is None:
            yield undecided("vacuous", "nothing was made in the gap", *shown)
        elif not _new(story, life, life.entered)[1]:
            yield undecided("vacuous", "it ended before anything new had come", *shown)
        else:
            yield holds(*shown, between)


def _broken(story: _Story, rule: str, lost: Mapping[int, Life]) -> Observation:
    """All that was lost in one way; cited by the first connections that it was lost on, and the truth of it."""
    shown: list[Exchange | Frame] = []
    for life in list({life.conn: life for life in lost.values()}.values())[:CITED]:
        shown += [life.handshake, *(u.event for u in life.updates(story.stream)[:1])]
    pages = {story.told[i].event.n: story.told[i].event for i in lost}
    return broken(rule, "every update behind the asked position", f"lost: {named(story.told, sorted(lost))}",
                  *shown, *list(pages.values())[:CITED])


def named(told: tuple[Update, ...], lost: list[int]) -> str:
    """The positions of what was lost, in order; runs of them as `first-last`."""
    runs: list[list[int]] = []
    for i in lost:
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return ", ".join(told[r[0]].position + (f"-{told[r[-1]].position}" if len(r) > 1 else "") for r in runs)
