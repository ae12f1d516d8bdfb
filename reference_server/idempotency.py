"""An order is made once for a key: a retry gets the first reply, another body is refused, and so is who comes too soon.

Only successes are kept: after a refusal the key is free. The oldest keys are forgotten beyond a fixed number.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openbell.reference_server.values import Reply, header, refuse

if TYPE_CHECKING:
    from openbell.reference_server.calls import Call

HEADER = b"idempotency-key"
REPLAYED = ("idempotent-replayed", "true")
LONGEST = 255
KEPT = 10_000
ASSESS_S = 0.001


@dataclass
class Entry:
    """What is known of a key: the digest of its request, and the reply once there is one."""

    digest: str
    reply: Reply | None = None


def recall(entry: Entry, call: "Call") -> Reply | None:
    """The answer to a retry; None to execute it again. Raises Refused."""
    del call
    if entry.reply is None:
        raise refuse("in_progress")
    return replace(entry.reply, fields=(*entry.reply.fields, REPLAYED))


async def assess(key: str | None) -> None:
    """The check of risks before an order is taken: other requests go on meanwhile."""
    del key
    await asyncio.sleep(ASSESS_S)


def claim(client_order_id: str, key: str | None) -> str:
    """What may be taken once only in an account."""
    del key
    return client_order_id


@dataclass(frozen=True)
class OnceParts:
    """How retries are met."""

    recall: Callable[[Entry, "Call"], Reply | None] = recall
    assess: Callable[[str | None], Awaitable[None]] = assess
    claim: Callable[[str, str | None], str] = claim


def key_of(call: "Call") -> str | None:
    """The request's key; refuses one that is empty, too long or not visible ASCII."""
    key = header(call.scope, HEADER)
    if key is not None and not (0 < len(key) <= LONGEST and key.isascii() and key.isprintable()):
        raise refuse("validation", "The Idempotency-Key must be 1 to 255 visible ASCII characters.", status=400)
    return key


def digest(call: "Call") -> str:
    """A digest of what is asked: the path and the body as it was understood."""
    return hashlib.sha256(f"{call.scope['path']}\n{call.body.model_dump_json()}".encode()).hexdigest()


async def once(call: "Call", execute: Callable[[], Awaitable[Reply]]) -> Reply:
    """Executes a request, once for its key. Raises Refused."""
    key = key_of(call)
    if key is None:
        return await execute()
    keys, place, entry = call.world.keys, (call.client.name if call.client else "", key), Entry(digest(call))
    known = keys.get(place)
    if known and known.digest != entry.digest:
        raise refuse("idempotency_mismatch")
    earlier = call.world.behaviour.once.recall(known, call) if known else None
    if earlier:
        return earlier
    while len(keys) >= KEPT:
        del keys[next(iter(keys))]
    keys[place] = entry
    try:
        entry.reply = await execute()
    finally:
        if entry.reply is None and keys.get(place) is entry:
            del keys[place]
    return entry.reply
