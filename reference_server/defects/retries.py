"""Retries that have another effect than the first request, or none that can be learned (IDM-001, IDM-003)."""

import asyncio
import secrets

from openbell.reference_server import idempotency
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.calls import Call
from openbell.reference_server.defects import defect
from openbell.reference_server.idempotency import Entry
from openbell.reference_server.replies import edited
from openbell.reference_server.values import Reply, refuse
from openbell.reference_server.variants import with_once

LONG_S = 0.2


def unclaimed(client_order_id: str, key: str | None) -> str:
    """With a key the client's own id is no longer looked at."""
    return client_order_id if key is None else secrets.token_hex(12)


@defect("retry-second-order", catches={"IDM-001": "second-effect"}, also={"IDM-003": "second-effect"})
def retry_second_order(behaviour: Behaviour) -> Behaviour:
    """Once the first reply was given, its key is forgotten: a retry makes a second order."""

    def recall(entry: Entry, call: Call) -> Reply | None:
        return None if entry.reply else idempotency.recall(entry, call)

    return with_once(behaviour, recall=recall, claim=unclaimed)


@defect("retry-fails-for-ever", catches={"IDM-001": "hidden-result"})
def retry_fails_for_ever(behaviour: Behaviour) -> Behaviour:
    """A key that was used is in progress for ever: no retry learns what became of the first request."""

    def recall(entry: Entry, call: Call) -> Reply | None:
        del entry, call
        raise refuse("in_progress")

    return with_once(behaviour, recall=recall)


@defect("retry-another-id", catches={"IDM-001": "another-result"})
def retry_another_id(behaviour: Behaviour) -> Behaviour:
    """A retry is answered from what was stored, but for the id, which is drawn as the reply is written."""

    def recall(entry: Entry, call: Call) -> Reply | None:
        reply = idempotency.recall(entry, call)
        return reply and edited(reply, lambda members: {**members, "id": f"ord_{secrets.token_hex(12)}"})

    return with_once(behaviour, recall=recall)


@defect("concurrent-none", catches={"IDM-003": "none-succeeds"})
def concurrent_none(behaviour: Behaviour) -> Behaviour:
    """Of requests at once each gives way to the others, the first one as well."""
    contested: set[str | None] = set()

    def recall(entry: Entry, call: Call) -> Reply | None:
        contested.add(idempotency.key_of(call))
        return idempotency.recall(entry, call)

    async def assess(key: str | None) -> None:
        await asyncio.sleep(idempotency.ASSESS_S if key is None else LONG_S)
        if key is not None and key in contested:
            raise refuse("in_progress")

    return with_once(behaviour, recall=recall, assess=assess)


@defect("concurrent-second-order", catches={"IDM-003": "second-effect"})
def concurrent_second_order(behaviour: Behaviour) -> Behaviour:
    """While the first request is worked on, which takes long, its key is not known yet."""

    def recall(entry: Entry, call: Call) -> Reply | None:
        return idempotency.recall(entry, call) if entry.reply else None

    async def assess(key: str | None) -> None:
        await asyncio.sleep(idempotency.ASSESS_S if key is None else LONG_S)

    return with_once(behaviour, recall=recall, assess=assess, claim=unclaimed)
