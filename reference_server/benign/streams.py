"""Legal ways of keeping a stream, of ending it and of resuming it."""

import time
from dataclasses import replace

from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import benign
from openbell.reference_server.hub import framed
from openbell.reference_server.money import to_time
from openbell.reference_server.stream_parts import LOGIN_REFUSED, POSITIONS, Consumer
from openbell.reference_server.values import Fields, Json
from openbell.reference_server.variants import with_streams

POSITION_REFUSED, SWITCHED = 4409, 101
LOGINS = frozenset({"unauthenticated", "invalid_token", "token_expired", "invalid_request"})
GAP = framed({"type": "gap", "channel": "market"})


@benign("one-pong-for-three", checks=("WSH-002",))
def one_pong_for_three(behaviour: Behaviour) -> Behaviour:
    """Of the pings that come in one read, only the latest is answered (RFC 6455 section 5.5.3)."""
    return with_streams(behaviour, answer_pings=lambda payloads: payloads[-1:])


@benign("heartbeat-when-idle", checks=("WSH-003",))
def heartbeat_when_idle(behaviour: Behaviour) -> Behaviour:
    """No ping is sent while data flows: that shows as well that the server lives."""
    return with_streams(behaviour, beats_when_busy=False)


@benign("dead-client-reset", checks=("WSH-004",))
def dead_client_reset(behaviour: Behaviour) -> Behaviour:
    """A client that does not answer is cut off by a reset: nobody is there to read a close."""
    return with_streams(behaviour, dead_code=None)


@benign("login-refused-by-close", checks=("WSH-006",))
def login_refused_by_close(behaviour: Behaviour) -> Behaviour:
    """A refused login ends the stream, with a close code in the place of an error message."""
    return with_streams(behaviour, closes=lambda code: LOGIN_REFUSED if code in LOGINS else None)


def with_own(own: list[Json], missed: list[Json]) -> list[Json]:
    """A replay that begins with the update of the client's own position."""
    return [*own, *missed]


@benign("resume-repeats-last", checks=("WSR-003",))
def resume_repeats_last(behaviour: Behaviour) -> Behaviour:
    """A replay begins with the update of the client's own position, with the same id: at least once was promised."""
    return with_streams(behaviour, replay=with_own)


@benign("delivery-stamped", checks=("WSR-003",))
def delivery_stamped(behaviour: Behaviour) -> Behaviour:
    """An update says when it was sent, another time when it is sent again: that belongs to the delivery alone."""

    def stamped(update: Json) -> tuple[Json, ...]:
        return ({**update, "sent_at": to_time(time.time_ns() // 1000)},)

    return with_streams(behaviour, replay=with_own, outgoing=stamped)


@benign("sparse-sequence", checks=("WSR-001", "WSR-002"))
def sparse_sequence(behaviour: Behaviour) -> Behaviour:
    """The numbers leave gaps; each update names the one before it."""
    return with_streams(behaviour, number=lambda last: last + 1 + last % 3)


@benign("handshake-untraced", checks=("COR-001",))
def handshake_untraced(behaviour: Behaviour) -> Behaviour:
    """The 101 of a handshake has no correlation id: it is interim, and no operation is answered by it."""

    def fields(correlation: str, status: int) -> Fields:
        return () if status == SWITCHED else behaviour.trace_fields(correlation, status)

    return replace(behaviour, trace_fields=fields)


@benign("refusal-closes", checks=("WSR-005",))
def refusal_closes(behaviour: Behaviour) -> Behaviour:
    """A position that cannot be served ends the stream, with a close code in the place of an error message."""
    return with_streams(behaviour, closes=lambda code: POSITION_REFUSED if code in POSITIONS else None)


@benign("slow-conflates", checks=("WSR-007",))
def slow_conflates(behaviour: Behaviour) -> Behaviour:
    """A slow consumer's queue is dropped for the newest quotes, and the consumer is told so."""

    def overflow(consumer: Consumer, data: bytes) -> None:
        consumer.requeue(GAP, data)

    return with_streams(behaviour, overflow=overflow)


@benign("slow-reset", checks=("WSR-007",))
def slow_reset(behaviour: Behaviour) -> Behaviour:
    """A slow consumer is cut off by a reset: a close would lie behind all that it does not read."""
    return with_streams(behaviour, overflow=lambda consumer, data: consumer.end(None))
