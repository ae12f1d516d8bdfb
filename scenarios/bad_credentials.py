"""Requests without credentials, with ones that nobody issued, and with a good one where none belongs: in the URL."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator

from openbell.api import Api
from openbell.building import Alter
from openbell.profile import Profile, Step
from openbell.redact import SHORT
from openbell.registry import Cost, scenario
from openbell.scenarios.methods import claims, reader_needed, stand_ins
from openbell.sensitive import is_parameter
from openbell.session import principal
from openbell.target import Subject

NO_JSON = b"["
QUERY_TOKENS = ("access_token", "token")
QUERY_KEYS = ("key", "api_key", "apikey")
MOST_QUERIES = 7


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


def _cased(value: str) -> str:
    """Every letter in the other case; hexadecimal digits say the same in either, so a key of those stays as it is."""
    letters = {c for c in value if c in string.ascii_letters}
    return value if letters <= set(string.hexdigits) else "".join(c.swapcase() if c in letters else c for c in value)


def _extended(value: str, more: str) -> str:
    """More letters at the end: before the padding of a key in base64, behind which some decoders read nothing."""
    body = value.rstrip("=")
    return body + more + value[len(body):]


def near_values(dice: random.Random) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Names of credentials that are nearly a good one, and how each is made from it; only what has no form of its own
    can be changed so, and be nothing but another one."""
    yield "case", _cased
    yield "shortened", lambda value: value.rstrip("=")[:-1]
    more, before = _letters(dice, 8), _letters(dice, 8)
    yield "extended", lambda value: _extended(value, more)
    yield "prefixed", lambda value: before + value


def query_names(step: Step) -> tuple[str, ...]:
    """The parameters in which a server might look for a credential: those of tokens, or the usual ones of keys and
    those that are named like the header; none for a password."""
    token = step.kind == "oauth2" or step.header.lower() == "authorization"
    bare = step.header.lower().removeprefix("x-")
    own = QUERY_TOKENS if token else (step.header, step.header.lower(), bare, bare.replace("-", "_"))
    keys = QUERY_KEYS if step.kind == "static" else ()
    return () if step.kind == "basic" else tuple(dict.fromkeys((*own, *keys)))[:MOST_QUERIES]


def for_any_caller(target: Profile) -> str:
    """A protected read that serves every caller, where there is one: who is let in as somebody else shows there."""
    return next((name for name, op in target.operation.items()
                 if op.method == "GET" and not op.public and "{" not in op.path and not op.query),
                str(target.target.control))


BAD = tuple(name for kinds in (bad_values, near_values) for name, _ in kinds(random.Random(0)))


@scenario(per="api", claims=claims,
          needs=lambda target, subject: reader_needed(target, subject) or _stack_needed(target),
          cost=lambda _target, _subject: Cost(reads=len(BAD) + MOST_QUERIES + 9))
async def bad_tokens(api: Api, target: Profile, _subject: Subject) -> None:
    """Credentials that nobody issued, some of them nearly good, an empty one, and a good one in the query, between two
    ordinary reads."""
    by, control = str(principal(target)), for_any_caller(target)
    step = target.credential[by].stack[0]
    await api.call(control, by=by, label="control:token")
    for name, change in bad_values(api.random):
        await api.call(control, by=by, label=f"token:{name}", alter=Alter(credential=change))
    value = await api.session.credential(by)
    await _nearly(api, by, control, value)
    scheme = {"oauth2": "Bearer", "basic": "Basic", "static": step.template.replace("{secret}", "").strip()}
    await api.call(control, by=by, label="token:malformed-empty",
                   alter=Alter(anonymous=True, headers={step.header: scheme[step.kind]}))
    await _in_query(api, by, control, value)
    await api.call(control, by=by, label="control:token")


async def _nearly(api: Api, by: str, control: str, value: str) -> None:
    """Credentials that are nearly good; the label says where the change makes none that nobody issued."""
    if api.target.credential[by].stack[0].kind == "basic" or _unsigned(value):
        return
    for name, change in near_values(api.random):
        changed = change(value)
        issued = changed in api.session.redactor.standing_in(changed)
        await api.call(control, by=by, label=f"token:{'issued-' if issued else ''}{name}",
                       alter=Alter(credential=change))


async def _in_query(api: Api, by: str, control: str, value: str) -> None:
    """A good credential in the query and nowhere else, by each usual name, beside the same request without any. One
    that is too short to be masked by its value goes only where it is masked by its name."""
    usual = query_names(api.target.credential[by].stack[0])
    names = [name for name in usual if len(value) >= SHORT or is_parameter(name, value)]
    if names:
        await api.call(control, by=by, label="anonymous:query", alter=Alter(anonymous=True))
    for name in names:
        await api.call(control, by=by, label=f"query-token:{name}", alter=Alter(query_token=name))


def _stack_needed(target: Profile) -> str | None:
    by = principal(target)
    return None if by and target.credential[by].stack else "the principal has no credentials"
