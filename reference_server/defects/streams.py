"""Streams that do not live or end as they should (WSH-002, 003, 004, 006; WSR-007; CRD-003)."""

from collections.abc import Iterable

from openbell.reference_server import stream_parts
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.settings import Client
from openbell.reference_server.stream_parts import BEAT_S, Consumer
from openbell.reference_server.variants import with_streams

LATE_S = 3.0
NEVER = float("inf")


@defect("pings-unanswered", catches={"WSH-002": "no-pong"})
def pings_unanswered(behaviour: Behaviour) -> Behaviour:
    """A client's pings are not answered."""
    return with_streams(behaviour, answer_pings=lambda payloads: ())


@defect("pong-altered", catches={"WSH-002": "altered-payload"})
def pong_altered(behaviour: Behaviour) -> Behaviour:
    """A pong does not repeat its ping's payload: the last byte is another."""
    return with_streams(behaviour, answer_pings=lambda payloads: [one[:-1] + b"?" for one in payloads])


@defect("heartbeat-late", catches={"WSH-003": "late"})
def heartbeat_late(behaviour: Behaviour) -> Behaviour:
    """The first ping comes in time, the others every three seconds."""
    return with_streams(behaviour, next_beat_s=lambda number: LATE_S if number else BEAT_S)


@defect("dead-client-kept", catches={"WSH-004": "dead-client-kept"})
def dead_client_kept(behaviour: Behaviour) -> Behaviour:
    """Nobody looks whether the server's pings are answered."""
    return with_streams(behaviour, answer_within_s=NEVER)


@defect("data-before-login", catches={"WSH-006": "data-without-login"})
def data_before_login(behaviour: Behaviour) -> Behaviour:
    """Who is not logged in may subscribe to anything."""

    def may(client: Client | None, account: str, resuming: bool) -> str | None:
        return stream_parts.may_subscribe(client, account, resuming) if client else None

    return with_streams(behaviour, may_subscribe=may)


@defect("channel-unchecked", catches={"WSH-006": "data-of-another"}, also={"WSR-006": "foreign-position"})
def channel_unchecked(behaviour: Behaviour) -> Behaviour:
    """Who is logged in may subscribe to every account."""
    return with_streams(
        behaviour, may_subscribe=lambda client, account, resuming: None if client else "unauthenticated"
    )


@defect("stream-outlives-token", catches={"CRD-003": "outlives-token"})
def outlives_token(behaviour: Behaviour) -> Behaviour:
    """A stream goes on when the token that it was opened with has ended."""
    return with_streams(behaviour, ends=lambda grant: NEVER)


@defect("slow-stalls-others", catches={"WSR-007": "witness-stalled"})
def slow_stalls_others(behaviour: Behaviour) -> Behaviour:
    """Nobody gets a quote while one consumer's queue is full."""

    def held_up(consumers: Iterable[Consumer]) -> bool:
        return any(consumer.full for consumer in consumers)

    return with_streams(behaviour, held_up=held_up)


@defect("slow-drops-silently", catches={"WSR-007": "unmarked-gap"})
def slow_drops_silently(behaviour: Behaviour) -> Behaviour:
    """What a full queue does not take is dropped, and the consumer is not told."""
    return with_streams(behaviour, overflow=lambda consumer, data: None)


@defect("slow-corrupts", catches={"WSR-007": "corrupted"})
def slow_corrupts(behaviour: Behaviour) -> Behaviour:
    """A full queue is dropped for the second half of what does not fit: bytes that begin within a frame."""
    return with_streams(behaviour, overflow=lambda consumer, data: consumer.requeue(data[len(data) // 2 :]))
