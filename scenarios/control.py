"""The control: proof that the target works for us at all, before anything is asked of it.

Without it a server that answers the same to everything would pass negative probes by chance.
"""

from __future__ import annotations

from openbell.api import Api
from openbell.building import Alter
from openbell.locate import NotJSON, parse_json
from openbell.profile import Profile
from openbell.registry import Claim, Cost, scenario, share
from openbell.session import principal
from openbell.target import Subject, made_id


def _claims(target: Profile, _subject: Subject) -> tuple[Claim, ...]:
    return (share(f"principal:{principal(target)}"),)


def _cost(_target: Profile, _subject: Subject) -> Cost:
    return Cost(reads=4, writes=2)


@scenario(per="api", control=True, claims=_claims, cost=_cost)
async def control(api: Api, target: Profile, _subject: Subject) -> None:
    """An authenticated read of known shape, an unknown path that must differ, and create and read back."""
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
    return None if back.ok and same else f"{read} did not give back what {create} made (status {back.status})"
