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

from openbell.conformance.stream_lives import DATA, Life, Update, lag, lives, truth
from openbell.events import Exchange, Fact, Frame, Recording
from openbell.locate import pointer, text
from openbell.profile import Profile, Stream
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.streams_resume import resumes, stream_cut_and_resume
from openbell.target import Subject, made_id

CITED = 4


@dataclass(frozen=True)
class _Entered:
    """A connection that was subscribed or resumed: its updates, what the stream said of a gap, the last place of the
    truth that it was not owed, and the places behind it that it delivered."""

    life: Life
    at: Fact
    updates: tuple[Update, ...]
    mark: Frame | None
    start: int
    new: tuple[int, ...]


@dataclass(frozen=True)
class _Story:
    """The truth in its order, what of it was delivered in any life, which requests of ours made what, whether any
    connection was opened, and those that were entered."""

    told: tuple[Update, ...]
    delivered: frozenset[int]
    made: Mapping[int, Exchange]
    opened: bool
    lives: tuple[_Entered, ...]
    patience_s: float


def _story(recording: Recording, target: Profile, stream: Stream, requests: Mapping[str, Exchange]) -> _Story:
    told = truth(recording, target, stream)
    index = {u.place: i for i, u in enumerate(told)}
    made = {i: requests[key] for i, u in reversed(tuple(enumerate(told))) if (key := _key(u, stream)) in requests}
    firsts = {e.n: i for i, e in made.items()}
    made = {i: made[i] for i in firsts.values()}
    found = [(life, life.updates(stream)) for life in lives(recording, "round")]
    delivered = frozenset(index[u.place] for _, updates in found for u in updates if u.place in index)
    entered = (_entered(life, updates, stream, index, made) for life, updates in found)
    return _Story(told, delivered, made, bool(found), tuple(e for e in entered if e),
                  stream.within_s + lag(recording))


def _entered(life: Life, updates: tuple[Update, ...], stream: Stream, index: Mapping[tuple[str, str], int],
             made: Mapping[int, Exchange]) -> _Entered | None:
    at = life.entered
    if at is None:
        return None
    mark = next((m.frame for m in life.messages(stream) if m.kind in {"gap", "snapshot"}), None)
    places = [index[u.place] for u in updates if u.place in index]
    start = _start(index, made, at, places)
    return _Entered(life, at, updates, mark, start, tuple(i for i in places if i > start))


def _key(update: Update, stream: Stream) -> str:
    return text(pointer(update.value, stream.published.key)) if stream.published else ""


def _requests(recording: Recording, target: Profile, stream: Stream) -> Mapping[str, Exchange]:
    """The requests that made an update, by the id of what they made."""
    by = stream.published.by if stream.published else ""
    done = (e for e in recording.exchanges() if e.operation == by and e.reply and e.status and e.status < 300)
    found = {made_id(target.operation[by], e.reply.content): e for e in done if e.reply}
    return {id_: e for id_, e in found.items() if id_}


@check("WSR-002", title="Nothing is lost over a reconnect within the retention", level=MUST, per="stream",
       where=resumes, promise="streams.no_loss", evidence=(stream_cut_and_resume,), minimum=10,
       sources=("Conventions: a client that reconnects receives the updates that it missed",),
       remedy="Hold back live updates while the replay is read from storage, then send both in the order of their "
              "positions, from the one behind the position that was asked for.")
def nothing_lost(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """After each resume everything behind the asked position is delivered: what was made in the gap, and live."""
    requests = _requests(recording, target, target.stream[subject.name])
    story = _story(recording, target, target.stream[subject.name], requests)
    if story.opened and (len(story.made) < len(requests) or not story.told):
        yield undecided("precondition", f"the truth tells of {len(story.made)} of {len(requests)} updates")
        return
    before: Life | None = None
    lost: dict[str, dict[int, _Entered]] = {"lost-in-gap": {}, "lost-live": {}}
    for one in story.lives:
        missing = _missing(story, one)
        for rule, index in missing:
            lost[rule][index] = one
        if not missing:
            yield from _intact(story, before, one)
        # A life that is over before anything has come belongs to the gap.
        before = one.life if before is None or one.new else before
    yield from (_broken(story, rule, found) for rule, found in lost.items() if found)


def _missing(story: _Story, one: _Entered) -> list[tuple[str, int]]:
    """What is missing on a connection, by its place in the truth, each with the rule that it breaks; nothing where the
    stream said itself that it does not go on without a gap."""
    if one.mark:
        return []
    end = one.life.end.at if one.life.end else one.at.at
    due = [i for i, e in story.made.items() if i > one.start and max(e.done, one.at.at) + story.patience_s <= end]
    missing = (i for i in range(one.start + 1, max([one.start, *one.new, *due]) + 1) if i not in story.delivered)
    return [("lost-in-gap" if _in_gap(story, one, i) else "lost-live", i) for i in missing]


def _start(index: Mapping[tuple[str, str], int], made: Mapping[int, Exchange], entered: Fact, places: list[int]) -> int:
    """The last place of the truth that a connection was not owed: the asked one; without it, the one before what was
    made while it was subscribed, or the first that was delivered."""
    asked = index.get(_since(entered))
    owed = (i - 1 for i, e in made.items() if e.sent >= entered.at)
    return min((*places[:1], *owed), default=1 + max(index.values(), default=-1)) if asked is None else asked


def _since(entered: Fact) -> tuple[str, str]:
    return str(entered.data.get("epoch", "")), str(entered.data.get("position", ""))


def _in_gap(story: _Story, one: _Entered, i: int) -> bool:
    """Whether it stands before all that is new on the connection and was not made on it; where nothing is new, whether
    it was made before."""
    made = story.made.get(i)
    if made and made.sent >= one.at.at:
        return False
    return i < min(one.new) if one.new else not made or made.done <= one.at.at


def _intact(story: _Story, before: Life | None, one: _Entered) -> Iterator[Observation]:
    """A resume after which nothing is missing, and what it is worth."""
    shown = _shown(one)
    if one.mark:
        yield undecided("precondition", "the stream said itself that it does not go on without a gap", one.mark)
    elif before and before.end and "position" in one.at.data:
        ended, opened = before.end.at, one.life.handshake.sent
        between = next((e for e in story.made.values() if e.sent >= ended and e.done <= opened), None)
        if between is None:
            yield undecided("vacuous", "nothing was made in the gap", *shown)
        elif not one.new:
            yield undecided("vacuous", "it ended before anything new had come", *shown)
        else:
            yield holds(*shown, between)


def _shown(one: _Entered) -> tuple[Exchange | Frame, ...]:
    """What asked for the position, and the update that came first after it; the handshake where nothing asked."""
    script, since = one.at.data["script"], str(one.at.data.get("position", "")).encode()
    began = max((f.n for f in one.life.facts
                 if f.name == "stream_script" and f.data["script"] == script and f.n < one.at.n), default=one.at.n)
    said = [f for f in one.life.frames if f.by == "client" and f.opcode in DATA and began < f.n < one.at.n]
    asked = next((f for f in said if since in f.payload), one.life.handshake)
    first = next((u.event for u in one.updates if u.event.n > asked.n), None)
    return (asked, first) if first else (asked,)


def _broken(story: _Story, rule: str, lost: Mapping[int, _Entered]) -> Observation:
    """All that was lost in one way; cited by the first connections that it was lost on, and the truth of it."""
    shown: list[Exchange | Frame] = []
    for one in list({one.life.conn: one for one in lost.values()}.values())[:CITED]:
        shown += _shown(one)
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
