"""Accounts with their balances, positions and transactions: what a client may only read."""

from typing import Any

from sqlalchemy import select

from openbell.reference_server.calls import Call, answer, page
from openbell.reference_server.database import ACCOUNTS, INSTRUMENTS, POSITIONS, TRANSACTIONS
from openbell.reference_server.listings import Listing
from openbell.reference_server.money import to_text, to_time
from openbell.reference_server.values import Json, Reply


def account_row(call: Call) -> Any:
    """The row of the client's account."""
    account = call.client.account if call.client else ""
    return call.store.one(select(ACCOUNTS).where(ACCOUNTS.c.id == account))


def account_json(row: Any) -> Json:
    return {"id": row.id, "name": row.name, "currency": row.currency, "status": "active"}


def list_accounts(call: Call) -> Reply:
    return answer(200, {"accounts": [account_json(account_row(call))]})


def read_account(call: Call) -> Reply:
    return answer(200, account_json(account_row(call)))


def read_balances(call: Call) -> Reply:
    row = account_row(call)
    balance = {"currency": row.currency, "booked": to_text(row.booked), "available": to_text(row.available)}
    return answer(200, {"account": row.id, "balances": [balance]})


def position_json(row: Any) -> Json:
    return {
        "symbol": row.symbol,
        "quantity": str(row.quantity),
        "average_price": to_text(row.average_price),
        "market_value": to_text(row.quantity * row.reference_price),
    }


def read_positions(call: Call) -> Reply:
    account = call.path["account"]
    joined = POSITIONS.join(INSTRUMENTS, INSTRUMENTS.c.id == POSITIONS.c.symbol)
    query = select(POSITIONS, INSTRUMENTS.c.reference_price).select_from(joined).order_by(POSITIONS.c.symbol)
    rows = call.store.rows(query.where(POSITIONS.c.account == account))
    return answer(200, {"account": account, "positions": [position_json(row) for row in rows]})


def transaction_json(row: Any) -> Json:
    return {
        "id": row.id,
        "account": row.account,
        "booked_at": to_time(row.booked_at),
        "amount": to_text(row.amount),
        "currency": "EUR",
        "kind": row.kind,
    }


def list_transactions(call: Call) -> Reply:
    """Oldest first unless the sort says otherwise; ties by id."""
    sort = call.choice("sort", "booked_at", "-booked_at")
    account, principal = call.path["account"], call.client.name if call.client else ""
    path = f"/accounts/{account}/transactions"
    listing = Listing(TRANSACTIONS, "booked_at", sort.startswith("-"), principal, path, f"sort={sort}", account)
    return page(call, listing, transaction_json)
