"""The operations of the API in one table: what the router, the document and the gate all read."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel

from openbell.reference_server import accounts, instruments, models, oauth, orders, preferences
from openbell.reference_server.calls import Call, answer
from openbell.reference_server.money import to_time
from openbell.reference_server.values import Reply


@dataclass(frozen=True)
class Parameter:
    """A query parameter with its values, where they are few."""

    name: str
    description: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One method on one path template. problems: codes beside those that every protected operation has."""

    name: str
    method: str
    path: str
    handle: Callable[[Call], Reply | Awaitable[Reply]]
    reply: type[BaseModel]
    status: int = 200
    body: type[BaseModel] | None = None
    query: tuple[Parameter, ...] = ()
    problems: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    public: bool = False

    @property
    def writes(self) -> bool:
        return self.method not in {"GET", "HEAD"}


def read_status(call: Call) -> Reply:
    del call
    return answer(200, {"status": "up", "time": to_time(time.time_ns() // 1000)})


ACCOUNT = "/v1/accounts/{account}"
ORDER = ACCOUNT + "/orders/{order}"
PAGED = (
    Parameter("limit", "Rows on a page: 50 unless given, 200 at most; more is cut down to that."),
    Parameter("cursor", "The next_cursor of the page before; opaque, good for ten minutes and for this listing only."),
)
PAGE_PROBLEMS = ("bad_page_size", "bad_cursor", "cursor_expired", "validation:400")
INVALID = ("validation", "validation:400")
BODY_PROBLEMS = ("malformed_json", "unsupported_media_type", "body_too_large", "forbidden", *INVALID)

OPERATIONS = (
    Operation("issue_token", "POST", "/oauth/token", oauth.issue_token, models.Token, public=True),
    Operation("read_status", "GET", "/v1/status", read_status, models.Status, public=True),
    Operation("list_accounts", "GET", "/v1/accounts", accounts.list_accounts, models.Accounts),
    Operation("read_account", "GET", ACCOUNT, accounts.read_account, models.Account),
    Operation("read_balances", "GET", ACCOUNT + "/balances", accounts.read_balances, models.Balances),
    Operation("read_positions", "GET", ACCOUNT + "/positions", accounts.read_positions, models.Positions),
    Operation(
        "list_transactions",
        "GET",
        ACCOUNT + "/transactions",
        accounts.list_transactions,
        models.Page[models.Transaction],
        query=(Parameter("sort", "The order of the rows.", ("booked_at", "-booked_at")), *PAGED),
        problems=PAGE_PROBLEMS,
    ),
    Operation(
        "read_preferences",
        "GET",
        ACCOUNT + "/preferences",
        preferences.read_preferences,
        models.Preferences,
        fields=("ETag",),
    ),
    Operation(
        "replace_preferences",
        "PUT",
        ACCOUNT + "/preferences",
        preferences.write_preferences,
        models.Preferences,
        body=models.Preferences,
        problems=(*BODY_PROBLEMS, "precondition_failed"),
        fields=("ETag",),
    ),
    Operation(
        "change_preferences",
        "PATCH",
        ACCOUNT + "/preferences",
        preferences.write_preferences,
        models.Preferences,
        body=models.PreferencesChange,
        problems=(*BODY_PROBLEMS, "precondition_failed"),
        fields=("ETag",),
    ),
    Operation(
        "list_orders",
        "GET",
        ACCOUNT + "/orders",
        orders.list_orders,
        models.Page[models.Order],
        query=(
            Parameter("status", "Which orders.", ("all", "open", "closed")),
            Parameter("sort", "The order of the rows.", ("created_at", "-created_at", "price", "-price")),
            *PAGED,
        ),
        problems=PAGE_PROBLEMS,
    ),
    Operation(
        "submit_order",
        "POST",
        ACCOUNT + "/orders",
        orders.submit_order,
        models.Order,
        status=201,
        body=models.OrderRequest,
        problems=(*BODY_PROBLEMS, "duplicate_order", "in_progress", "idempotency_mismatch"),
        fields=("Location", "Idempotent-Replayed"),
    ),
    Operation("read_order", "GET", ORDER, orders.read_order, models.Order),
    Operation(
        "amend_order",
        "PATCH",
        ORDER,
        orders.amend_order,
        models.Order,
        body=models.OrderChange,
        problems=(*BODY_PROBLEMS, "order_closed"),
    ),
    Operation(
        "cancel_order",
        "DELETE",
        ORDER,
        orders.cancel_order,
        models.Order,
        problems=("forbidden", "order_closed"),
    ),
    Operation("read_executions", "GET", ORDER + "/executions", orders.read_executions, models.Executions),
    Operation(
        "list_events",
        "GET",
        ACCOUNT + "/events",
        orders.list_events,
        models.Page[models.Event],
        query=(Parameter("sort", "The order of the rows.", ("seq", "-seq")), *PAGED),
        problems=PAGE_PROBLEMS,
    ),
    Operation(
        "list_instruments",
        "GET",
        "/v1/instruments",
        instruments.list_instruments,
        models.Page[models.Instrument],
        query=(Parameter("sort", "The order of the rows.", ("symbol", "-symbol")), *PAGED),
        problems=PAGE_PROBLEMS,
    ),
    Operation("read_instrument", "GET", "/v1/instruments/{symbol}", instruments.read_instrument, models.Instrument),
)
