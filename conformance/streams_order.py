"""The order of updates within one connection, and that an event stays the same event whenever it is delivered."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from functools import reduce
from itertools import pairwise
from typing import Any

from openbell.conformance.stream_lives import Life, Update, lives, same_content, truth
from openbell.events import Recording, labelled
from openbell.locate import without
from openbell.profile import Profile, Sequence, Stream
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.streams_resume import resumes, stream_cut_and_resume
from openbell.target import Subject, countable


@check("WSR-001", title="Positions are ordered and without gaps", level=MUST, per="stream", where=resumes,
       promise="streams.order", evidence=(stream_cut_and_resume,), minimum=20,
       sources=("Conventions: a client must be able to tell that it has missed an update",),
       remedy="Number updates where they are committed, and send them from one ordered queue per connection; where "
              "numbers are left out, name the position before.")
def ordered_without_gaps(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Within a connection each update stands behind the one before it, unless the stream said that it lost some."""
    stream = target.stream[subject.name]
    for life in lives(recording, "round"):
        marks = [m.frame.n for m in life.messages(stream) if m.kind in {"gap", "snapshot"}]
        yield from _steps(life, stream, marks)


def _steps(life: Life, stream: Stream, marks: list[int]) -> Iterator[Observation]:
    updates = life.updates(stream)
    later = {u.place: i for i, u in enumerate(updates)}
    seen: set[str] = set()
    last = 0
    for index, (before, update) in enumerate(pairwise(updates), 1):
        seen.add(before.position)
        last = max(last, _number(before.position))
        marked = bisect(marks, before.event.n) < bisect(marks, update.event.n)
        if marked or before.epoch != update.epoch:
            seen, last = set(), 0
        elif update.position not in seen:
            comes_later = later.get((update.epoch, update.previous), 0) > index
            rule = _step(before, update, stream.sequence, seen, last, comes_later=comes_later)
            yield _said(rule, before, update)


def _said(rule: str | None, before: Update, update: Update) -> Observation:
    if rule is None and not _compared(before, update):
        return undecided("vacuous", "positions that are no numbers, without links, tell no order", before.event,
                         update.event)
    if rule is None:
        return holds(before.event, update.event)
    behind = f", behind {update.previous}" if update.previous else ""
    return broken(rule, f"the update behind {before.position}", update.position + behind, before.event, update.event)


def _compared(before: Update, update: Update) -> bool:
    """Whether the two tell anything of their order: by a link, or by numbers."""
    return bool(update.previous) or (countable(before.position) and countable(update.position))


def _step(before: Update, update: Update, sequence: Sequence | None, seen: set[str], last: int, *, comes_later: bool,
          ) -> str | None:
    """The rule that a step breaks: back, or over something; of repetitions it says nothing."""
    number = _number(update.position)
    if (number < last and countable(update.position)) or (comes_later and update.previous not in seen):
        return "reversed"
    if update.previous:
        return None if update.previous in seen else "gap"
    step = sequence.step if sequence else None
    return "gap" if step and _compared(before, update) and number != last + step else None


def _number(position: str) -> int:
    """A position as a number; 0 where it is none."""
    return int(position) if countable(position) else 0


@check("WSR-003", title="An event is delivered as promised, and always as the same", level=MUST, per="stream",
       where=resumes, promise="streams.delivery", evidence=(stream_cut_and_resume,), minimum=20,
       sources=("Conventions: a client that reconnects recovers its state",),
       remedy="Replay the stored event with its stored id and content; leave out of the live stream what the replay "
              "has already sent.")
def delivered_as_promised(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """No event comes twice in a session; one that comes again has the same id, position and content, but for what the
    profile says belongs to a delivery; none comes again unasked where it was promised exactly once."""
    stream = target.stream[subject.name]
    told = {u.place: u for u in truth(recording, target, stream)}
    first: dict[tuple[str, str], Update] = {}
    for life in (*lives(recording, "round"), *lives(recording, "again")):
        here, before, unasked = set[str | tuple[str, str]](), set(first), labelled(life.label, "round")
        for update in life.updates(stream):
            known = first.setdefault(update.place, update)
            again = update.place in before and stream.delivery == "exactly_once" and unasked
            same = update.id or update.place
            yield _delivery(update, known, told.get(update.place, known), stream, twice=same in here, again=again)
            here.add(same)


def _delivery(update: Update, known: Update, told: Update, stream: Stream, *, twice: bool, again: bool) -> Observation:
    other = next((u for u in (known, told) if u.id and u.id != update.id), None)
    if other:
        return broken("new-id", f"the id {other.id}", f"the id {update.id} at the same position {update.position}",
                      other.event, update.event)
    if twice:
        return broken("duplicate-in-session", "each event once in a session",
                      f"{update.id or update.position} again", update.event)
    if again:
        return broken("repeated", "each event exactly once", f"{update.id} again after a resume", update.event)
    if not same_content(_of_the_event(update, stream), _of_the_event(known, stream)):
        return broken("changed-content", f"the content of {known.id} as it was first told", "other content",
                      known.event, update.event)
    return holds(update.event)


def _of_the_event(update: Update, stream: Stream) -> Any:
    """An update's content without what the profile says belongs to its delivery."""
    return reduce(without, stream.per_delivery, update.value)
