"""Streams that lose, repeat, reorder, or take positions that are not theirs to take (WSR-001 to 006)."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from openbell.reference_server import stream_parts
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.money import to_time
from openbell.reference_server.settings import Client
from openbell.reference_server.stream_parts import POSITIONS, After, Log
from openbell.reference_server.values import Json
from openbell.reference_server.variants import with_streams

RACE_S = 1.0
FAILED = 1011
EVERY = 5


def replaying(behaviour: Behaviour, choose: Callable[[list[Json]], list[Json]]) -> Behaviour:
    """The behaviour that replays what `choose` makes of the updates that were missed."""
    return with_streams(behaviour, replay=lambda own, missed: choose(missed))


@defect("resume-live-edge", catches={"WSR-002": "lost-in-gap"})
def live_edge(behaviour: Behaviour) -> Behaviour:
    """A resumed stream says that it was recovered, and goes on from now: nothing is replayed."""
    return replaying(behaviour, lambda missed: [])


@defect("resume-off-by-one", catches={"WSR-002": "lost-in-gap"})
def off_by_one(behaviour: Behaviour) -> Behaviour:
    """The replay begins one update too late."""
    return replaying(behaviour, lambda missed: missed[1:])


@defect("replay-live-race", catches={"WSR-002": "lost-in-gap"})
def replay_live_race(behaviour: Behaviour) -> Behaviour:
    """What replays read is a second behind what goes out live: updates in between come neither way."""

    def old(update: Json) -> bool:
        return time.time() - datetime.fromisoformat(update["at"]).timestamp() > RACE_S

    return replaying(behaviour, lambda missed: [one for one in missed if old(one)])


@defect("zombie", catches={"WSR-002": "lost-live"})
def zombie(behaviour: Behaviour) -> Behaviour:
    """A resumed stream gets its replay and beats on, but nothing new is delivered."""
    return with_streams(behaviour, goes_live=lambda resumed: not resumed)


@defect("duplicate-in-session", catches={"WSR-003": "duplicate-in-session"})
def duplicate_in_session(behaviour: Behaviour) -> Behaviour:
    """Every update of orders is sent twice."""
    return with_streams(behaviour, outgoing=lambda update: (update, update))


@defect("replay-new-ids", catches={"WSR-003": "new-id"})
def replay_new_ids(behaviour: Behaviour) -> Behaviour:
    """What is replayed has other event ids than it had live."""
    return replaying(
        behaviour, lambda missed: [{**one, "event": f"evt_{secrets.token_hex(12)}"} for one in missed]
    )


@defect("replay-retimed", catches={"WSR-003": "changed-content"})
def replay_retimed(behaviour: Behaviour) -> Behaviour:
    """A replay begins with the update of the client's own position, and says of all that it has only just happened."""

    def retimed(own: list[Json], missed: list[Json]) -> list[Json]:
        return [{**one, "at": to_time(time.time_ns() // 1000)} for one in (*own, *missed)]

    return with_streams(behaviour, replay=retimed)


@defect("replay-altered", catches={"WSR-003": "changed-content"})
def replay_altered(behaviour: Behaviour) -> Behaviour:
    """What is replayed tells of another quantity than it did live, as if it were read from the order of today."""

    def altered(one: Json) -> Json:
        return {**one, "order": {**one["order"], "quantity": "7"}}

    return replaying(behaviour, lambda missed: [altered(one) for one in missed])


@defect("stream-reordered", catches={"WSR-001": "reversed"}, also={"WSR-002": "lost-in-gap"})
def reordered(behaviour: Behaviour) -> Behaviour:
    """The replay begins with the newest update."""
    return replaying(behaviour, lambda missed: missed[::-1])


@defect("stream-gap", catches={"WSR-001": "gap"}, also={"WSR-002": ("lost-in-gap", "lost-live")})
def gap(behaviour: Behaviour) -> Behaviour:
    """Every fifth update of orders is never sent, live or in a replay."""
    return with_streams(behaviour, outgoing=lambda update: () if update["seq"] % EVERY == 0 else (update,))


def judging(behaviour: Behaviour, after: Callable[[After, Log], After], log: Callable[[Log], Log]) -> Behaviour:
    """The behaviour that judges positions by what the two functions make of them and of the log."""

    def refuse(given: After, found: Log) -> str | None:
        return stream_parts.refuse_position(after(given, found), log(found))

    return with_streams(behaviour, refuse_position=refuse)


@defect("epoch-ignored", catches={"WSR-005": "epoch-ignored"})
def epoch_ignored(behaviour: Behaviour) -> Behaviour:
    """A position of any epoch is taken for one of this."""
    return judging(behaviour, lambda after, log: replace(after, epoch=log.epoch), lambda log: log)


@defect("too-old-silent", catches={"WSR-005": "too-old-silent"})
def too_old_silent(behaviour: Behaviour) -> Behaviour:
    """From a position that is too old, what is still retained is replayed, and said to be all."""
    return judging(behaviour, lambda after, log: after, lambda log: replace(log, behind=0))


@defect("future-silent", catches={"WSR-005": "future-silent"})
def future_silent(behaviour: Behaviour) -> Behaviour:
    """A position that does not exist yet is taken for the newest."""
    return judging(behaviour, lambda after, log: replace(after, seq=min(after.seq, log.head)), lambda log: log)


@defect("retention-halved", catches={"WSR-005": "refused-within-retention"})
def retention_halved(behaviour: Behaviour) -> Behaviour:
    """Half as many updates can be replayed as are promised; older positions are refused."""
    return judging(behaviour, lambda after, log: after, lambda log: replace(log, behind=2 * log.behind))


@defect("position-crashes", catches={"WSR-005": "internal-error"})
def position_crashes(behaviour: Behaviour) -> Behaviour:
    """A position that cannot be served is one that nobody has thought of: the stream ends with close 1011."""
    return with_streams(behaviour, closes=lambda code: FAILED if code in POSITIONS else None)


@defect("foreign-position", catches={"WSR-006": "foreign-position"})
def foreign_position(behaviour: Behaviour) -> Behaviour:
    """Who is logged in and names a position of another's account gets what followed there."""

    def may(client: Client | None, account: str, resuming: bool) -> str | None:
        return None if client and resuming else stream_parts.may_subscribe(client, account, resuming)

    return with_streams(behaviour, may_subscribe=may)
