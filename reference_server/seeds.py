"""The data that every server starts with; the same for the same seed.

Transactions come in groups of one moment, among them one of 320, so that the sort key has ties across page boundaries.
Instruments and the first account's orders are more than a page of the largest size holds.
"""

import random
from typing import Any

from sqlalchemy import Connection, insert

from openbell.reference_server.database import ACCOUNTS, INSTRUMENTS, ORDERS, POSITIONS, PREFERENCES, TRANSACTIONS
from openbell.reference_server.money import SCALE

START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z in microseconds
MINUTE = 60_000_000
LARGEST_TIE = 320
SYMBOLS = ("AAPL", *(f"{first}{second}X" for first in "ABCDEFGH" for second in "LMNOP"))[:40]
LISTED = (*SYMBOLS, *(f"{first}{second}Z" for first in "ABCDEFGHIJ" for second in "ABCDEFGHIJKLMNOPQRST"))
SIZES = {
    # account: (transactions, open orders, closed orders)
    "acct-full": (10_000, 210, 30),
    "acct-other": (10_000, 30, 15),
    "acct-limits": (500, 6, 3),
    "acct-expiry": (500, 6, 3),
    "acct-pages": (500, 0, 0),
    "acct-streams": (50, 0, 0),
    "acct-idle": (50, 0, 0),
    "acct-fuzz": (500, 6, 3),
}


def identifier(rng: random.Random, prefix: str) -> str:
    """An opaque id."""
    return f"{prefix}_{rng.getrandbits(96):024x}"


def moments(rng: random.Random, count: int) -> list[int]:
    """`count` moments in groups of ties; the first group is the large one where there is room for it."""
    found = [START] * min(LARGEST_TIE, count // 2)
    at = START
    while len(found) < count:
        at += rng.randint(1, 30) * MINUTE
        found += [at] * rng.choice((1, 1, 2, 3, 7, 40))
    return found[:count]


def transactions(rng: random.Random, account: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "account": account,
            "booked_at": at,
            "id": identifier(rng, "txn"),
            "amount": rng.randint(-900_000, 900_000) * (SCALE // 100),
            "kind": rng.choice(("trade", "dividend", "fee", "transfer")),
        }
        for at in moments(rng, count)
    ]


def orders(rng: random.Random, account: str, count: int, status: str) -> list[dict[str, Any]]:
    return [
        {
            "id": identifier(rng, "ord"),
            "client_order_id": f"seed-{status}-{number}",
            "claim": f"seed-{status}-{number}",
            "account": account,
            "symbol": rng.choice(SYMBOLS),
            "side": rng.choice(("buy", "sell")),
            "type": "limit",
            "quantity": rng.randint(1, 500),
            "price": rng.randint(90, 110) * SCALE,
            "status": status,
            "closed": int(status != "open"),
            "revision": 1,
            "created_at": START + number * MINUTE + rng.randint(0, 999_999),
        }
        for number in range(count)
    ]


def instruments(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "id": symbol,
            "name": f"{symbol.title()} Holdings",
            "currency": rng.choice(("EUR", "USD", "GBP")),
            "lot_size": rng.choice((1, 10, 100)),
            "reference_price": rng.randint(1_000, 99_999) * (SCALE // 100),
        }
        for symbol in LISTED
    ]


def positions(rng: random.Random, account: str) -> list[dict[str, Any]]:
    return [
        {
            "account": account,
            "symbol": symbol,
            "quantity": rng.randint(1, 900),
            "average_price": rng.randint(1_000, 99_999) * (SCALE // 100),
        }
        for symbol in sorted(rng.sample(SYMBOLS, 8))
    ]


def account_row(rng: random.Random, account: str) -> dict[str, Any]:
    booked = rng.randint(1_000_000, 9_000_000) * SCALE
    name = account.removeprefix("acct-").title() + " Trading"
    return {"id": account, "name": name, "currency": "EUR", "booked": booked, "available": booked * 9 // 10}


def fill(connection: Connection, seed: int) -> None:
    """Writes the seeded rows into empty tables."""
    rng = random.Random(seed)
    connection.execute(insert(INSTRUMENTS), instruments(rng))
    for account, (moved, opened, closed) in SIZES.items():
        preferences = {"account": account, "language": "en", "currency": "EUR", "notifications": 1, "revision": 1}
        connection.execute(insert(ACCOUNTS), [account_row(rng, account)])
        connection.execute(insert(PREFERENCES), [preferences])
        connection.execute(insert(POSITIONS), positions(rng, account))
        connection.execute(insert(TRANSACTIONS), transactions(rng, account, moved))
        rows = [*orders(rng, account, opened, "open"), *orders(rng, account, closed, "cancelled")]
        if rows:
            connection.execute(insert(ORDERS), rows)
