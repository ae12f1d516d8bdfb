"""From a TOML file to a validated profile and its secrets: every mistake told at once, nothing sent before."""

from __future__ import annotations

import copy
import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from openbell.profile import Operation, Profile, Stream
from openbell.promises import PROMISES
from openbell.target import STANDARD

_MAX_PROFILE = 1024 * 1024
_MAX_SECRET = 64 * 1024


@dataclass(frozen=True)
class Problem:
    """One mistake: its TOML path, what is wrong, and what would be right."""

    path: str
    wrong: str
    right: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.wrong}" + (f"\n    {self.right}" if self.right else "")


class Mistakes(Exception):
    """A file of the user's that cannot be used; `problems` holds every mistake."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(f"{source}: {count} mistake{'s' * (count != 1)}\n"
                         + "\n".join(f"  {problem}" for problem in self.problems))


class ProfileError(Mistakes):
    """A profile that cannot be used."""


def load(path: Path, base_url: str | None = None) -> Profile:
    """Reads and validates a profile; `base_url` replaces the file's own. Raises ProfileError with every mistake."""
    try:
        if path.stat().st_size > _MAX_PROFILE:
            raise ProfileError(str(path), [Problem("(file)", "larger than 1 MiB", "a profile is a few kilobytes")])
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(str(path), [Problem("(file)", f"cannot be read: {error.strerror}")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(str(path), [Problem("(file)", f"not TOML: {error}")]) from error
    if base_url is not None and isinstance(data.get("target"), dict):
        data["target"]["base_url"] = base_url
    return parse(data, str(path))


def parse(data: Mapping[str, Any], source: str) -> Profile:
    """Validates a profile given as data: first its shape, then what its tables say of one another."""
    try:
        profile = Profile.model_validate(data)
    except ValidationError as error:
        shapes = [*map(_shape, error.errors()), *_promises(data.get("promise"))]
        raise ProfileError(source, [*shapes, *_beside(data, error, shapes)]) from None
    if problems := list(references(profile)):
        raise ProfileError(source, problems)
    return profile


def _beside(data: Mapping[str, Any], error: ValidationError, told: Iterable[Problem]) -> Iterator[Problem]:
    """What the tables say of one another beside members of a wrong shape, where a profile can be made without these."""
    rest = copy.deepcopy(dict(data))
    for found in error.errors():
        _drop(rest, found["loc"])
    with suppress(ValidationError):
        known = {p.path for p in told}
        yield from (p for p in references(Profile.model_validate(rest)) if p.path not in known)


_FILLERS = {"name": "x", "base_url": "http://x", "method": "GET", "path": "/", "secret": "env:X"}


def _drop(data: Any, place: tuple[Any, ...]) -> None:
    """Takes a member out, of a list the whole list, or puts one of the right shape in its place."""
    *tables, last = takewhile(lambda part: isinstance(part, str), (part for part in place if part != "[key]"))
    for part in tables:
        data = data.get(part) if isinstance(data, dict) else None
    if isinstance(data, dict) and last in _FILLERS:
        data[last] = _FILLERS[last]
    elif isinstance(data, dict):
        data.pop(last, None)


def dumped(profile: Profile) -> dict[str, Any]:
    """A profile as the JSON that `parse` takes, without what is left at its default."""
    data: dict[str, Any] = json.loads(profile.model_dump_json(by_alias=True, exclude_defaults=True))
    return data


def _near(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(sorted(known)) or '(none)'}"


def _shape(error: Any) -> Problem:
    path = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        model: Any = Profile
        for part in error["loc"][:-1]:
            model = _inner(model, part)
        return Problem(path, "no such member", _near(str(error["loc"][-1]), getattr(model, "model_fields", {})))
    message = error["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(error["input"], dict) else f" (it is {str(error['input'])[:60]!r})"
    if "a secret is given by reference" in message:
        shown = ""
    if error["type"] == "missing":
        return Problem(path, "is missing", "it has no default")
    return Problem(path, message[0].lower() + message[1:] + shown)


def _inner(model: Any, part: Any) -> Any:
    """The model one step further along a location."""
    field = getattr(model, "model_fields", {}).get(part)
    annotation = field.annotation if field else model
    while not hasattr(annotation, "model_fields"):
        arguments = [a for a in getattr(annotation, "__args__", ()) if a not in (type(None), str, Ellipsis)]
        if not arguments:
            return None
        annotation = arguments[-1]
    return annotation


def _promises(promise: Any) -> Iterator[Problem]:
    for name in promise if isinstance(promise, dict) else ():
        if name not in PROMISES:
            yield Problem(f"promise.{name}", "no such promise", _near(name, PROMISES))


def references(profile: Profile) -> Iterator[Problem]:
    """What the tables say of one another and is not so."""
    yield from _promises(profile.promise)
    yield from _target(profile)
    for name, op in profile.operation.items():
        yield from _operation(profile, f"operation.{name}", op)
    for name, credential in profile.credential.items():
        for i, step in enumerate(credential.stack):
            if step.kind == "oauth2" and step.operation not in profile.operation:
                yield Problem(f"credential.{name}.stack.{i}.operation", f"no such operation: {step.operation!r}",
                              _near(str(step.operation), profile.operation))
            if step.kind == "oauth2" and not step.client_id:
                yield Problem(f"credential.{name}.stack.{i}.client_id", "is missing", "oauth2 needs one")
    for name, limit in profile.limit.items():
        for wanted in {*limit.operations, limit.probe} - set(profile.operation):
            yield Problem(f"limit.{name}", f"no such operation: {wanted!r}", _near(wanted, profile.operation))
    yield from _pages(profile)
    for name, stream in profile.stream.items():
        yield from _stream(profile, f"stream.{name}", stream)
    yield from _load(profile)
    yield from _fuzz(profile)
    for name in set(profile.outcome) - set(STANDARD):
        yield Problem(f"outcome.{name}", "no check asks for this outcome", _near(name, STANDARD))
    yield from _placeholders(profile)
    yield from _patterns(profile)


def _target(profile: Profile) -> Iterator[Problem]:
    target = profile.target
    if target.environment == "production" and set(target.allow) - {"read"} - set(target.allow_in_production):
        yield Problem("target.allow", "a production target allows nothing but read",
                      "say it twice: repeat the permission in target.allow_in_production")
    control = profile.operation.get(target.control or "")
    if control is None:
        reads = [name for name, op in profile.operation.items() if op.role in {"read", "list"} and not op.public]
        yield Problem("target.control", "names the authenticated read that proves that the target works",
                      _near(target.control or "", reads))


_FIELD = re.compile(r"\{([a-z_]+)\}")
IN_CALLS = frozenset({"unique", "id"})
IN_SCRIPTS = frozenset({"unique", "token", "position", "epoch"})


def _placeholders(profile: Profile) -> Iterator[Problem]:
    """Names in templates for which nobody has a value."""
    given = {name for credential in profile.credential.values() for name in credential.values}
    keys = {op.collection.key for op in profile.operation.values() if op.collection and op.collection.key}
    for name, op in profile.operation.items():
        known = given | keys | IN_CALLS | set(op.values)
        for member in ("path", "query", "body"):
            yield from _unfilled(f"operation.{name}.{member}", getattr(op, member), known)
    for name, stream in profile.stream.items():
        for member in ("url", "login", "subscribe", "resubscribe"):
            told = getattr(stream, member)
            sent = told if isinstance(told, str) else [turn.send for turn in told]
            yield from _unfilled(f"stream.{name}.{member}", sent, given | IN_SCRIPTS)


def _unfilled(path: str, template: Any, known: Iterable[str]) -> Iterator[Problem]:
    for name in dict.fromkeys(_FIELD.findall(json.dumps(template, ensure_ascii=False))):
        if name not in known:
            yield Problem(path, f"nobody has a value for {{{name}}}", _near(name, known))


def _operation(profile: Profile, path: str, op: Operation) -> Iterator[Problem]:
    for member, name, known in (
        ("envelope", op.envelope if op.envelope != "default" else None, profile.envelope),
        ("page", op.page, profile.page),
        ("undo", op.undo, profile.operation),
        ("collection.insert", op.collection and op.collection.insert, profile.operation),
        ("collection.leave", op.collection and op.collection.leave, profile.operation),
        ("collection.move", op.collection and op.collection.move, profile.operation),
    ):
        if name and name not in known:
            yield Problem(f"{path}.{member}", f"no such name: {name!r}", _near(name, known))
    if op.collection and not op.page:
        yield Problem(f"{path}.page", "is missing", "a collection under test is a listing: name its page dialect")
    if op.collection and op.collection.insert and op.collection.insert_at == "key" and not op.collection.key:
        yield Problem(f"{path}.collection.key", "is missing", "insert_at = 'key' names the parameter that sets the key")
    if op.writes and op.role == "create" and not op.undo:
        yield Problem(f"{path}.undo", "is missing", "a create operation names the operation that undoes it")


def _pages(profile: Profile) -> Iterator[Problem]:
    for name, page in profile.page.items():
        if page.first is not None and not page.counted:
            yield Problem(f"page.{name}.first", f"is not counted from with mechanism {page.mechanism!r}",
                          "pages and rows are counted with mechanism 'number' or 'offset'")


def _stream(profile: Profile, path: str, stream: Stream) -> Iterator[Problem]:
    published = stream.published
    listings = [name for name, op in profile.operation.items() if op.page]
    creates = [name for name, op in profile.operation.items() if op.role == "create"]
    for member, name, known in (
        ("principal", stream.principal, list(profile.credential)),
        ("published.by", published and published.by, creates),
        ("published.truth", published and published.truth, listings),
    ):
        if name and name not in known:
            yield Problem(f"{path}.{member}", f"no such name: {name!r}", _near(name, known))
    if not stream.url.startswith(("/", "ws://", "wss://")):
        yield Problem(f"{path}.url", "is neither a path nor a ws(s) URL", "such as /v1/stream")
    if stream.auth == "message" and not stream.login:
        yield Problem(f"{path}.login", "is missing", "auth = 'message' needs the script that logs in")
    for member in ("resubscribe", "sequence"):
        if stream.resume == "replay" and not getattr(stream, member):
            yield Problem(f"{path}.{member}", "is missing", "resume = 'replay' needs it")
    yield from _per_delivery(path, stream)


def _per_delivery(path: str, stream: Stream) -> Iterator[Problem]:
    """What belongs to a delivery may not hold what tells an event from others."""
    sequence, published = stream.sequence, stream.published
    told = [] if sequence is None else [sequence.at, sequence.id, sequence.epoch, sequence.previous]
    own = [one for one in (*told, published and published.key) if one is not None]
    for i, at in enumerate(stream.per_delivery):
        if held := next((one for one in own if f"{one}/".startswith(f"{at}/")), None):
            yield Problem(f"{path}.per_delivery.{i}", f"holds {held!r}, which belongs to the event",
                          "name only what changes with each delivery")


def _load(profile: Profile) -> Iterator[Problem]:
    """What the load may name: operations with a role that arrivals have, and principals."""
    if profile.load is None:
        return
    for name in profile.load.operations:
        if name not in profile.operation:
            yield Problem(f"load.operations.{name}", "no such operation", _near(name, profile.operation))
        elif profile.operation[name].role in {"token", "other"}:
            yield Problem(f"load.operations.{name}", f"its role is {profile.operation[name].role!r}",
                          "a load offers operations that list, read, create, amend, cancel or replace")
    for i, name in enumerate(profile.load.principals):
        if name not in profile.credential:
            yield Problem(f"load.principals.{i}", f"no such principal: {name!r}", _near(name, profile.credential))
    if profile.load.stream and profile.load.stream not in profile.stream:
        yield Problem("load.stream", f"no such stream: {profile.load.stream!r}",
                      _near(profile.load.stream, profile.stream))
    for member in ("operations", "principals"):
        if not getattr(profile.load, member):
            yield Problem(f"load.{member}", "is empty", "a load needs at least one")


def _fuzz(profile: Profile) -> Iterator[Problem]:
    """Fuzzing needs a document, a principal, and operations that are there."""
    if profile.fuzz is None:
        return
    if not profile.target.openapi:
        yield Problem("target.openapi", "is missing", "[fuzz] needs the document: a path below base_url, or a URL")
    if profile.fuzz.principal not in profile.credential:
        yield Problem("fuzz.principal", f"no such principal: {profile.fuzz.principal!r}",
                      _near(profile.fuzz.principal, profile.credential))
    for i, name in enumerate(profile.fuzz.exclude):
        if name not in profile.operation:
            yield Problem(f"fuzz.exclude.{i}", f"no such operation: {name!r}", _near(name, profile.operation))


def _patterns(profile: Profile) -> Iterator[Problem]:
    predicates = [(f"outcome.{n}.all.{i}", p) for n, o in profile.outcome.items() for i, p in enumerate(o.all)]
    predicates += [(f"page.{n}.end", p.end) for n, p in profile.page.items() if p.end]
    for name, stream in profile.stream.items():
        predicates += [(f"stream.{name}.classes.{c}", p) for c, p in stream.classes.items()]
        for script in ("login", "subscribe", "resubscribe"):
            predicates += [(f"stream.{name}.{script}.{i}.expect", turn.expect)
                           for i, turn in enumerate(getattr(stream, script)) if turn.expect]
    for path, predicate in predicates:
        given = [k for k in ("equals", "within", "matches", "present") if getattr(predicate, k) is not None]
        if len(given) != 1:
            yield Problem(path, f"has {len(given)} tests", "exactly one of equals, in, matches, present")
        try:
            re.compile(predicate.matches or "")
        except re.error as error:
            yield Problem(f"{path}.matches", f"no regular expression: {error}")


def secrets(profile: Profile, environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Every secret that the profile refers to, by its reference. Raises ProfileError with every one that fails.

    A secret file's final newline is dropped; any other control character is refused, and no value is ever shown.
    """
    found: dict[str, str] = {}
    tried: set[str] = set()
    problems: list[Problem] = []
    for name, credential in profile.credential.items():
        for i, step in enumerate(credential.stack):
            if step.secret in tried:
                continue
            tried.add(step.secret)
            value = _secret(step.secret, environ, folder)
            if isinstance(value, str):
                found[step.secret] = value
            else:
                problems.append(Problem(f"credential.{name}.stack.{i}.secret", *value))
    if problems:
        raise ProfileError("secrets", problems)
    return found


def _secret(reference: str, environ: Mapping[str, str], folder: Path) -> str | tuple[str, str]:
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = environ.get(name)
        if not value:
            return f"the environment variable {name} is not set", f"export {name}=... before the run"
    else:
        try:
            raw = (folder / name).read_bytes()[: _MAX_SECRET + 1]
            value = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except OSError as error:
            return f"the secret file {name} cannot be read: {error.strerror}", "give its path relative to the profile"
        except UnicodeDecodeError:
            return f"the secret file {name} is not UTF-8", "store the secret as UTF-8 text"
        if not value or len(raw) > _MAX_SECRET:
            return f"the secret file {name} is empty or larger than 64 KiB", "store the secret alone in it"
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        return f"the secret {reference} holds a control character", "store the secret on one line"
    return value
