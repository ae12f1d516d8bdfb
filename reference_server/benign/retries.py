"""Legal answers to a retry."""

import json

from sqlalchemy import select

from openbell.reference_server import idempotency
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import benign
from openbell.reference_server.calls import Call, answer
from openbell.reference_server.database import ORDERS
from openbell.reference_server.idempotency import Entry
from openbell.reference_server.orders import order_json
from openbell.reference_server.values import Reply, refuse
from openbell.reference_server.variants import with_once


@benign("retry-gets-current-state", checks=("IDM-001",))
def retry_gets_current_state(behaviour: Behaviour) -> Behaviour:
    """A retry is answered with the order as it is now, and not with the first reply."""

    def recall(entry: Entry, call: Call) -> Reply | None:
        first = idempotency.recall(entry, call)
        made = json.loads(first.content)["id"] if first else ""
        return answer(200, order_json(call.store.one(select(ORDERS).where(ORDERS.c.id == made))))

    return with_once(behaviour, recall=recall)


@benign("retry-conflict-names-first", checks=("IDM-001",))
def retry_conflict_names_first(behaviour: Behaviour) -> Behaviour:
    """A retry is a conflict that names the order which the first request made."""

    def recall(entry: Entry, call: Call) -> Reply | None:
        first = idempotency.recall(entry, call)
        made = json.loads(first.content)["id"] if first else ""
        raise refuse("duplicate_order", f"This key has made the order {made}.")

    return with_once(behaviour, recall=recall)
