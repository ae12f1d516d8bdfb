"""Who listens to what: updates of orders go out after their commit, from the outbox; quotes while somebody listens.

Subscribing, replaying and publishing each happen in one turn of the event loop, so nothing falls between them.
"""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from websockets.frames import Frame, Opcode

from openbell.reference_server import outbox
from openbell.reference_server.database import Store
from openbell.reference_server.money import to_time
from openbell.reference_server.seeds import SYMBOLS
from openbell.reference_server.stream_parts import Consumer, StreamParts
from openbell.reference_server.values import Json

QUOTES_PER_S = 80
TICK_S = 0.0125
BURST = 4
LEVELS = 190
MIDDLES = 500
STEPS = (*range(-1, -LEVELS - 1, -1), *range(1, LEVELS + 1))
NO_LIMIT = 1 << 30


def framed(message: Json) -> bytes:
    """The bytes of a text frame with a JSON message; a server's frames are not masked, so all consumers share them."""
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=False)


def update(event: Json) -> Json:
    """The message for an event."""
    return {"type": "update", **event}


def epochs(key: bytes) -> Callable[[str], str]:
    """The epoch of each account's positions: another at every start, and nobody can guess another account's."""

    def epoch_of(account: str) -> str:
        return hashlib.blake2b(account.encode("utf-8", "replace"), key=key, digest_size=6).hexdigest()

    return epoch_of


@dataclass(frozen=True)
class Orders:
    """The consumers of each account's orders, and the newest position that they were told."""

    store: Store
    parts: StreamParts
    epoch_of: Callable[[str], str]
    consumers: dict[str, dict[Consumer, None]] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)

    def join(self, account: str, consumer: Consumer) -> None:
        """From now on the consumer gets what happens."""
        if not self.consumers.get(account):
            self.told[account] = outbox.head(self.store, account)
        self.consumers.setdefault(account, {})[consumer] = None

    def leave(self, account: str, consumer: Consumer) -> None:
        self.consumers.get(account, {}).pop(consumer, None)

    def published(self, account: str) -> None:
        """Tells the consumers what was committed since they were told last."""
        if not self.consumers.get(account):
            return
        for row in outbox.since(self.store, account, self.told[account], NO_LIMIT):
            self.told[account] = row.seq
            for shown in self.parts.outgoing(update(outbox.event_json(row, self.epoch_of(account)))):
                data = framed(shown)
                for consumer in tuple(self.consumers[account]):
                    consumer.put(data)


@dataclass
class Market:
    """The consumers of quotes; a task makes the quotes while there are any."""

    parts: StreamParts
    epoch: str = field(default_factory=lambda: secrets.token_hex(6))
    seq: int = 0
    consumers: dict[Consumer, None] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    def join(self, consumer: Consumer) -> None:
        self.consumers[consumer] = None
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.run())

    def leave(self, consumer: Consumer) -> None:
        self.consumers.pop(consumer, None)

    async def run(self) -> None:
        """Keeps the rate on the average; a late turn makes up for a few quotes only, lest it floods good readers."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while self.consumers:
            await asyncio.sleep(TICK_S)
            due = int((loop.time() - last) * QUOTES_PER_S)
            last += due / QUOTES_PER_S
            for _ in range(min(due, BURST)):
                self.tick()

    def tick(self) -> None:
        """One quote to every consumer."""
        if self.parts.held_up(self.consumers):
            return
        self.seq += 1
        data = framed(update(quote(self.epoch, self.seq)))
        for consumer in tuple(self.consumers):
            consumer.put(data)


@cache
def depth_around(middle: int) -> str:
    """A deep book as one text of `price:size`, bids first; there are as many as there are middles."""
    return " ".join(f"{middle + step}:{100 + step % 7}" for step in STEPS)


def quote(epoch: str, seq: int) -> Json:
    """A quote with its book, about 4 KB as JSON; one of few values, for readers that count them."""
    middle = 20_000 + seq * 7 % MIDDLES
    return {
        "channel": "market",
        "epoch": epoch,
        "seq": seq,
        "prev": seq - 1,
        "event": f"qte_{epoch}_{seq:x}",
        "at": to_time(time.time_ns() // 1000),
        "kind": "quote",
        "symbol": SYMBOLS[seq % len(SYMBOLS)],
        "bid": f"{middle - 1}",
        "ask": f"{middle + 1}",
        "depth": depth_around(middle),
    }
