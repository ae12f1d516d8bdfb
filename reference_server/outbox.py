"""What happened to orders, written in the transaction that made it happen; the streams and the listing read it.

Within an account the sequence has no gaps, for a number is taken by the one writer and goes with its transaction.
"""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from openbell.reference_server.database import OUTBOX, Store
from openbell.reference_server.money import to_time
from openbell.reference_server.values import Json

CHANNEL = "orders"


def append(connection: Connection, account: str, kind: str, order: Json, number: Callable[[int], int]) -> None:
    """Writes one event; `number` gives the position that follows another, 0 being the one before the first."""
    last = connection.execute(select(func.max(OUTBOX.c.seq)).where(OUTBOX.c.account == account)).scalar_one() or 0
    row = {
        "account": account,
        "seq": number(last),
        "id": f"evt_{secrets.token_hex(12)}",
        "prev": last,
        "at": time.time_ns() // 1000,
        "kind": kind,
        "order": json.dumps(order),
    }
    connection.execute(insert(OUTBOX), row)


def head(store: Store, account: str) -> int:
    """The newest position of an account; 0 where nothing happened yet."""
    return store.one(select(func.max(OUTBOX.c.seq)).where(OUTBOX.c.account == account))[0] or 0


def behind(store: Store, account: str, seq: int) -> int:
    """How many events came after a position."""
    query = select(func.count()).select_from(OUTBOX).where(OUTBOX.c.account == account, OUTBOX.c.seq > seq)
    return int(store.one(query)[0])


def since(store: Store, account: str, seq: int, newest: int) -> Sequence[Row[Any]]:
    """At most the `newest` events after a position, oldest first."""
    own = select(OUTBOX).where(OUTBOX.c.account == account, OUTBOX.c.seq > seq)
    return store.rows(own.order_by(OUTBOX.c.seq.desc()).limit(newest))[::-1]


def at(store: Store, account: str, seq: int) -> Sequence[Row[Any]]:
    """The event at a position, if there is one."""
    return store.rows(select(OUTBOX).where(OUTBOX.c.account == account, OUTBOX.c.seq == seq))


def event_json(row: Row[Any], epoch: str) -> Json:
    """An event as it is listed; the stream's update is the same with a type."""
    return {
        "channel": CHANNEL,
        "epoch": epoch,
        "seq": row.seq,
        "prev": row.prev,
        "event": row.id,
        "at": to_time(row.at),
        "kind": row.kind,
        "order": json.loads(row.order),
    }
