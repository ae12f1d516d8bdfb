"""Orders: submit, read, amend, cancel, and their executions. A market order is executed at once."""

import secrets
import time
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from openbell.reference_server import outbox
from openbell.reference_server.calls import Call, answer, page
from openbell.reference_server.database import EXECUTIONS, ORDERS, OUTBOX
from openbell.reference_server.idempotency import key_of, once
from openbell.reference_server.instruments import find_instrument
from openbell.reference_server.listings import Listing
from openbell.reference_server.models import OrderRequest
from openbell.reference_server.money import to_text, to_time, to_units
from openbell.reference_server.values import Fault, Json, Reply, refuse

CLOSED = {"open": (("closed", 0),), "closed": (("closed", 1),), "all": ()}


def order_json(row: Any) -> Json:
    return {
        "id": row.id,
        "client_order_id": row.client_order_id,
        "account": row.account,
        "symbol": row.symbol,
        "side": row.side,
        "type": row.type,
        "quantity": str(row.quantity),
        "price": to_text(row.price),
        "status": row.status,
        "revision": row.revision,
        "created_at": to_time(row.created_at),
    }


def list_orders(call: Call) -> Reply:
    status = call.choice("status", "all", "open", "closed")
    sort = call.choice("sort", "created_at", "-created_at", "price", "-price")
    account, principal = call.path["account"], call.client.name if call.client else ""
    listing = Listing(
        ORDERS,
        sort.removeprefix("-"),
        sort.startswith("-"),
        principal,
        f"/accounts/{account}/orders",
        f"status={status}&sort={sort}",
        account,
        CLOSED[status],
    )
    return page(call, listing, order_json)


def find(connection: Connection, call: Call) -> Any:
    """The order that the path names, if it belongs to the path's account."""
    own = (ORDERS.c.id == call.path["order"]) & (ORDERS.c.account == call.path["account"])
    row = connection.execute(select(ORDERS).where(own)).first()
    if row is None:
        raise refuse("not_found")
    return row


def find_open(connection: Connection, call: Call) -> Any:
    row = find(connection, call)
    if row.closed:
        raise refuse("order_closed")
    return row


def read_order(call: Call) -> Reply:
    return answer(200, order_json(find(call.store.reading, call)))


def new_row(account: str, order: OrderRequest, reference_price: int) -> dict[str, Any]:
    """The row of a new order; its moment is taken inside the transaction, when the writer is known to be alone."""
    filled = order.type == "market"
    return {
        **order.model_dump(include={"client_order_id", "symbol", "side", "type"}),
        "id": f"ord_{secrets.token_hex(12)}",
        "account": account,
        "quantity": int(order.quantity),
        "price": reference_price if filled or order.price is None else to_units(order.price),
        "status": "filled" if filled else "open",
        "closed": int(filled),
        "revision": 1,
        "created_at": time.time_ns() // 1000,
    }


def execution_rows(order: dict[str, Any]) -> list[dict[str, Any]]:
    """One to three executions that add up to the order."""
    count = min(order["quantity"], secrets.randbelow(3) + 1)
    share, rest = divmod(order["quantity"], count)
    return [
        {
            "order": order["id"],
            "number": number,
            "id": f"exe_{secrets.token_hex(12)}",
            "quantity": share + (rest if number == 0 else 0),
            "price": order["price"],
            "executed_at": order["created_at"],
        }
        for number in range(count)
    ]


async def submit_order(call: Call) -> Reply:
    """Once for each key, where one is sent."""
    return await once(call, lambda: take_order(call))


async def take_order(call: Call) -> Reply:
    """Writes the order, its executions and its event in one transaction."""
    parts, key = call.world.behaviour.once, key_of(call)
    await parts.assess(key)
    return submit(call, parts.claim(call.body.client_order_id, key))


def submit(call: Call, claim: str) -> Reply:
    account = call.path["account"]
    instrument = find_instrument(call, call.body.symbol)
    if instrument is None:
        raise refuse("validation", "The symbol is not one of ours.", Fault("/symbol", "unknown instrument"))
    try:
        with call.store.writing(account) as connection:
            row = new_row(account, call.body, instrument.reference_price)
            connection.execute(insert(ORDERS), {**row, "claim": claim})
            if row["closed"]:
                connection.execute(insert(EXECUTIONS), execution_rows(row))
            made = connection.execute(select(ORDERS).where(ORDERS.c.id == row["id"])).one()
            tell(connection, call, "filled" if row["closed"] else "submitted", made)
    except IntegrityError:
        raise refuse("duplicate_order") from None
    location = f"/v1/accounts/{account}/orders/{made.id}"
    return answer(201, order_json(made), (("location", location),))


def tell(connection: Connection, call: Call, kind: str, row: Any) -> None:
    """Writes into the outbox what became of an order."""
    number = call.world.behaviour.streams.number
    outbox.append(connection, row.account, kind, order_json(row), number)


def change(call: Call, kind: str, **values: Any) -> Reply:
    """Sets values of the open order that the path names; refuses a closed one."""
    with call.store.writing(call.path["account"]) as connection:
        row = find_open(connection, call)
        connection.execute(update(ORDERS).where(ORDERS.c.id == row.id).values(**values))
        row = find(connection, call)
        tell(connection, call, kind, row)
    return answer(200, order_json(row))


def amend_order(call: Call) -> Reply:
    values = call.body.model_dump(exclude_none=True)
    if "price" in values:
        values["price"] = to_units(values["price"])
    if "quantity" in values:
        values["quantity"] = int(values["quantity"])
    return change(call, "amended", revision=ORDERS.c.revision + 1, **values)


def cancel_order(call: Call) -> Reply:
    return change(call, "cancelled", status="cancelled", closed=1)


def read_executions(call: Call) -> Reply:
    order = find(call.store.reading, call)
    rows = call.store.rows(select(EXECUTIONS).where(EXECUTIONS.c.order == order.id).order_by(EXECUTIONS.c.number))
    executions = [
        {
            "id": row.id,
            "order": row.order,
            "quantity": str(row.quantity),
            "price": to_text(row.price),
            "executed_at": to_time(row.executed_at),
        }
        for row in rows
    ]
    return answer(200, {"order": order.id, "executions": executions})


def list_events(call: Call) -> Reply:
    """Oldest first unless the sort says otherwise; everything that ever happened, whatever a stream retains."""
    sort = call.choice("sort", "seq", "-seq")
    account, principal = call.path["account"], call.client.name if call.client else ""
    path, epoch = f"/accounts/{account}/events", call.world.epoch(account)
    listing = Listing(OUTBOX, "seq", sort.startswith("-"), principal, path, f"sort={sort}", account)
    return page(call, listing, lambda row: outbox.event_json(row, epoch))
