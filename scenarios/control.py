"""The control: proof that the target works for us at all, before anything is asked of it.

Without it a server that answers the same to everything would pass negative probes by chance.
"""

from __future__ import annotations

from openbell.api import Api, Made
from openbell.building import Alter
from openbell.locate import NotJSON, parse_json
from openbell.profile import Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.session import principal
from openbell.target import Subject, made_id


def _claims(target: Profile, _subject: Subject) -> tuple[Claim, ...]:
    return (share(f"principal:{principal(target)}"),)


def _cost(_target: Profile, _subject: Subject) -> Cost:
    return Cost(reads=5, writes=3)


@scenario(per="api", control=True, claims=_claims, cost=_cost)
async def control(api: Api, target: Profile, _subject: Subject) -> None:
    """An authenticated read of known shape, an unknown path that must differ, and create, read back and undo."""
    by = principal(target)
    why = "the profile has no principal" if by is None else (
        await _read(api, target, by) or await _unknown(api, target, by) or await _create(api, target, by))
    api.note("control", ok=why is None, why=why)


async def _read(api: Api, target: Profile, by: str) -> str | None:
    """The control read answers with a JSON object or list, by a 2xx."""
    reply = await api.call(str(target.target.control), by=by, label="control")
    if not reply.ok or reply.exchange.reply is None:
        return f"{target.target.control} got {reply.exchange.no_reply or f'status {reply.status}'}"
    body = parse_json(reply.exchange.reply.content)
    if isinstance(body, NotJSON):
        return f"{target.target.control} answered no JSON: {body.why}"
    return None if body else f"{target.target.control} answered an empty body"


async def _unknown(api: Api, target: Profile, by: str) -> str | None:
    """A path that nobody serves is not answered by a 2xx: else every read would prove nothing."""
    reply = await api.call(str(target.target.control), by=by, label="control:unknown",
                           alter=Alter(path=target.target.unknown_path))
    return f"the unknown path {target.target.unknown_path} got status {reply.status}" if reply.ok else None


async def _create(api: Api, target: Profile, by: str) -> str | None:
    """Where writes are allowed: what is created can be read back by its id."""
    create = next((n for n, op in target.operation.items() if op.role == "create"), None)
    read = next((n for n, op in target.operation.items() if op.role == "read" and "{id}" in op.path), None)
    if create is None or read is None or "write" not in target.target.allow:
        return None
    reply = await api.call(create, by=by, label="control:create")
    made = api.newest()
    if made is None:
        return f"{create} got {reply.exchange.no_reply or f'status {reply.status}'} and made nothing"
    back = await api.call(read, by=by, label="control:read-back", id=made.id)
    content = back.exchange.reply.content if back.exchange.reply else b""
    same = made_id(target.operation[create], content) == made.id
    if not back.ok or not same:
        return f"{read} did not give back what {create} made (status {back.status})"
    await _undo(api, read, made, content)
    return None


async def _undo(api: Api, read: str, made: Made, content: bytes) -> None:
    """Undoes what was created; a fact says so where it reads afterwards as if nothing had happened."""
    undone = await api.undo(made)
    if not undone.ok:
        return
    after = await api.call(read, by=made.by, label="control:undone", id=made.id)
    now = after.exchange.reply.content if after.ok and after.exchange.reply else b""
    if now and parse_json(now) == parse_json(content):
        api.note("undo_unseen", operation=undone.exchange.operation, id=made.id, exchange=undone.exchange.n)
