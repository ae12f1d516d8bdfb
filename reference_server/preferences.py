"""An account's preferences, guarded against lost updates by ETag and If-Match (RFC 9110 section 13)."""

from typing import Any

from sqlalchemy import Connection, select, update

from openbell.reference_server.calls import Call, answer
from openbell.reference_server.database import PREFERENCES
from openbell.reference_server.values import Reply, header, refuse


def find(connection: Connection, account: str) -> Any:
    return connection.execute(select(PREFERENCES).where(PREFERENCES.c.account == account)).first()


def etag(row: Any) -> str:
    return f'"{row.account}-{row.revision}"'


def show(row: Any) -> Reply:
    members = {"language": row.language, "currency": row.currency, "notifications": bool(row.notifications)}
    return answer(200, members, (("etag", etag(row)),))


def matches(field: str | None, row: Any) -> bool:
    """Whether a list of entity tags names the row's state."""
    return field is not None and (field.strip() == "*" or etag(row) in [tag.strip() for tag in field.split(",")])


def read_preferences(call: Call) -> Reply:
    row = find(call.store.reading, call.path["account"])
    if matches(header(call.scope, b"if-none-match"), row):
        return Reply(304, (("etag", etag(row)), ("cache-control", "no-store")))
    return show(row)


def write_preferences(call: Call) -> Reply:
    """PUT and PATCH: sets the body's members unless If-Match names another state; a missing If-Match is allowed."""
    members = call.body.model_dump(exclude_none=True)
    account, condition = call.path["account"], header(call.scope, b"if-match")
    with call.store.writing(account) as connection:
        row = find(connection, account)
        if condition is not None and not matches(condition, row):
            raise refuse("precondition_failed")
        change = update(PREFERENCES).where(PREFERENCES.c.account == account)
        connection.execute(change.values(revision=row.revision + 1, **members))
        row = find(connection, account)
    return show(row)
