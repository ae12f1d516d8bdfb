"""Reference data: the instruments that can be traded, the same for every client."""

from typing import Any

from sqlalchemy import select

from openbell.reference_server.calls import Call, answer, page
from openbell.reference_server.database import INSTRUMENTS
from openbell.reference_server.listings import Listing
from openbell.reference_server.money import to_text
from openbell.reference_server.values import Json, Reply, refuse


def instrument_json(row: Any) -> Json:
    return {
        "symbol": row.id,
        "name": row.name,
        "currency": row.currency,
        "lot_size": row.lot_size,
        "reference_price": to_text(row.reference_price),
    }


def list_instruments(call: Call) -> Reply:
    sort = call.choice("sort", "symbol", "-symbol")
    principal = call.client.name if call.client else ""
    listing = Listing(INSTRUMENTS, "id", sort.startswith("-"), principal, "/instruments", f"sort={sort}")
    return page(call, listing, instrument_json)


def find_instrument(call: Call, symbol: str) -> Any:
    """The instrument's row, or None."""
    return call.store.one(select(INSTRUMENTS).where(INSTRUMENTS.c.id == symbol))


def read_instrument(call: Call) -> Reply:
    row = find_instrument(call, call.path["symbol"])
    if row is None:
        raise refuse("not_found")
    return answer(200, instrument_json(row))
