"""Requests without credentials, with ones that nobody issued, and with a token where none belongs: in the URL."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator

from openbell.api import Api
from openbell.building import Alter
from openbell.profile import Profile
from openbell.registry import Cost, scenario
from openbell.scenarios.methods import claims, reader_needed, stand_ins
from openbell.session import principal
from openbell.target import Subject

NO_JSON = b"["
QUERY_MEMBER = "access_token"


# --- without credentials


def protected(target: Profile, *, writes: bool) -> tuple[str, ...]:
    """Protected operations that may be called without credentials: a forgotten guard must not do any harm.

    Nothing is deleted, and a write must have a body, which is then made invalid.
    """
    return tuple(name for name, op in target.operation.items()
                 if not op.public and op.role != "token" and op.writes == writes and op.method != "DELETE"
                 and (not writes or (op.body is not None and op.method != "GET")))


async def _without(api: Api, by: str, name: str, content: bytes | None = None) -> None:
    """One call without credentials; a read that gets no 401 is made again with them, to know what it is worth."""
    op = api.target.operation[name]
    params = stand_ins(api.target, op, by, {})
    alter = Alter(anonymous=True, content=content)
    reply = await api.call(name, by=by, label=f"anonymous:{name}", alter=alter, **params)
    if not op.writes and reply.status not in {401, None}:
        await api.call(name, by=by, label=f"same:{name}", **params)


def _guarded(target: Profile, subject: Subject, *, writes: bool) -> str | None:
    kind = "writing" if writes else "reading"
    return reader_needed(target, subject) or (
        None if protected(target, writes=writes) else f"the profile has no protected {kind} operation to be called")


@scenario(per="api", claims=claims, needs=lambda target, subject: _guarded(target, subject, writes=False),
          cost=lambda target, _subject: Cost(reads=2 * len(protected(target, writes=False)) + 4))
async def no_credentials(api: Api, target: Profile, _subject: Subject) -> None:
    """Every protected read without credentials, between two reads with them."""
    by, control = str(principal(target)), str(target.target.control)
    await api.call(control, by=by, label="control:anonymous")
    for name in protected(target, writes=False):
        await _without(api, by, name)
    await api.call(control, by=by, label="control:anonymous")


@scenario(per="api", claims=claims, allow=("read", "write"),
          needs=lambda target, subject: _guarded(target, subject, writes=True),
          cost=lambda target, _subject: Cost(reads=4, writes=len(protected(target, writes=True)) + 4))
async def no_credentials_writes(api: Api, target: Profile, _subject: Subject) -> None:
    """Every protected write without credentials, with a body that cannot be valid, between two reads with them."""
    by, control = str(principal(target)), str(target.target.control)
    await api.call(control, by=by, label="control:anonymous")
    for name in protected(target, writes=True):
        await _without(api, by, name, NO_JSON)
    await api.call(control, by=by, label="control:anonymous")


# --- credentials that nobody issued

_LETTERS = string.ascii_letters + string.digits


def _letters(dice: random.Random, count: int) -> str:
    return "".join(dice.choices(_LETTERS, k=count))


def _flipped(value: str) -> str:
    """One letter in the middle of the last part changed: the last letter's bits may not all count."""
    at = (value.rfind(".") + 1 + len(value)) // 2
    return value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1:]


def _unsigned(value: str) -> str | None:
    """A JSON Web Token with the algorithm `none` and no signature; None for any other token."""
    parts = value.split(".")
    if len(parts) != 3 or not value.startswith("eyJ"):
        return None
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{header}.{parts[1]}."


def bad_values(dice: random.Random) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Names of bad credentials, and how each is made from a good one. What is not well formed begins `malformed-`."""
    yield "random", lambda value: _letters(dice, max(8, len(value)))
    yield "truncated", lambda value: value[: max(8, len(value) // 2)] if len(value) > 8 else value[:-1]
    yield "flipped", _flipped
    yield "unsigned", lambda value: _unsigned(value) or _letters(dice, max(8, len(value)))
    yield "malformed-dots", lambda value: f"{_letters(dice, 9)}.{_letters(dice, 9)}.{_letters(dice, 9)}"
    yield "malformed-space", lambda value: f"{_letters(dice, 9)} {_letters(dice, 9)}"
    yield "malformed-letters", lambda value: f"{_letters(dice, 9)}é€{_letters(dice, 9)}"
    yield "malformed-signs", lambda value: f'{_letters(dice, 9)}%00"\\={_letters(dice, 9)}'
    yield "malformed-long", lambda value: _letters(dice, 4000)


def for_any_caller(target: Profile) -> str:
    """A protected read that serves every caller, where there is one: who is let in as somebody else shows there."""
    return next((name for name, op in target.operation.items()
                 if op.method == "GET" and not op.public and "{" not in op.path and not op.query),
                str(target.target.control))


BAD = tuple(name for name, _ in bad_values(random.Random(0)))


@scenario(per="api", claims=claims,
          needs=lambda target, subject: reader_needed(target, subject) or _stack_needed(target),
          cost=lambda _target, _subject: Cost(reads=len(BAD) + 8))
async def bad_tokens(api: Api, target: Profile, _subject: Subject) -> None:
    """Credentials that nobody issued, an empty one, and a good one in the query, between two ordinary reads."""
    by, control = str(principal(target)), for_any_caller(target)
    step = target.credential[by].stack[0]
    await api.call(control, by=by, label="control:token")
    for name, change in bad_values(api.random):
        await api.call(control, by=by, label=f"token:{name}", alter=Alter(credential=change))
    scheme = {"oauth2": "Bearer", "basic": "Basic", "static": step.template.replace("{secret}", "").strip()}
    await api.call(control, by=by, label="token:malformed-empty",
                   alter=Alter(anonymous=True, headers={step.header: scheme[step.kind]}))
    if step.kind != "basic":
        await api.call(control, by=by, label="query-token", alter=Alter(query_token=QUERY_MEMBER))
    await api.call(control, by=by, label="control:token")


def _stack_needed(target: Profile) -> str | None:
    by = principal(target)
    return None if by and target.credential[by].stack else "the principal has no credentials"
