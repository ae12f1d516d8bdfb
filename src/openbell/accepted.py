"""`accepted.toml`: deviations that the user knows and accepts, by check, subject and exactly their rules.

A rule that an entry does not name is not covered by it. A MUST that cannot be decided is accepted by its reason.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_args

from openbell.loading import Mistakes, Problem
from openbell.profile import Kind
from openbell.registry import all_checks

MAX_SIZE = 1024 * 1024
_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
_KINDS = tuple(kind for kind in get_args(Kind) if kind != "api")
_SUBJECT = re.compile(rf"api|(?:{'|'.join(_KINDS)}):\S+")


class AcceptedError(Mistakes):
    """An accepted.toml that cannot be used."""


def load_accepted(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The entries of an accepted.toml, in its order, as JSON values; `expires` as ISO text.

    Raises AcceptedError with every mistake.
    """
    data = _data(path)
    entries = data.get("accepted", [])
    problems = [Problem(name, "no such table", "entries are tables named [[accepted]]")
                for name in data if name != "accepted"]
    if not isinstance(entries, list):
        problems.append(Problem("accepted", "is no list of tables", "write [[accepted]], with two brackets"))
        entries = []
    for i, entry in enumerate(entries):
        problems += _entry(f"accepted.{i}", entry)
    if not problems:
        problems += _twice(entries)
    if problems:
        raise AcceptedError(str(path), problems)
    return tuple(_stored(entry) for entry in entries)


def _data(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_SIZE:
            raise AcceptedError(str(path), [Problem("(file)", "larger than 1 MiB", "it is a few kilobytes")])
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AcceptedError(str(path), [Problem("(file)", f"cannot be read: {error.strerror}")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AcceptedError(str(path), [Problem("(file)", f"not TOML: {error}")]) from error


def _near(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(known)}"


def _check(value: Any) -> tuple[str, str] | None:
    known = [check.id for check in all_checks()]
    if value in known:
        return None
    close = difflib.get_close_matches(str(value), known, 1, 0.5)
    return f"no such check: {str(value)[:60]!r}", (
        f"did you mean {close[0]!r}?" if close else "`openbell checks` lists them")


def _subject(value: Any) -> tuple[str, str] | None:
    if isinstance(value, str) and _SUBJECT.fullmatch(value):
        return None
    return f"no subject: {str(value)[:60]!r}", f"'api', or KIND:NAME with KIND one of {', '.join(_KINDS)}"


def _rules(value: Any) -> tuple[str, str] | None:
    if isinstance(value, list) and value and all(isinstance(v, str) and _SLUG.fullmatch(v) for v in value):
        return None
    return "is no list of rules", 'at least one rule as results.json names it, such as ["skipped"]'


def _text(value: Any) -> tuple[str, str] | None:
    return None if isinstance(value, str) and value.strip() else ("is no text", "give a text in quotes")


def _date(value: Any) -> tuple[str, str] | None:
    return None if type(value) is date else ("is no date", "a TOML date without quotes, such as 2027-01-31")


_MEMBERS: Mapping[str, Callable[[Any], tuple[str, str] | None]] = {
    "check": _check, "subject": _subject, "rules": _rules,
    "owner": _text, "reason": _text, "ticket": _text, "expires": _date,
}
_REQUIRED = ("check", "subject", "rules")


def _entry(path: str, entry: Any) -> Iterator[Problem]:
    if not isinstance(entry, dict):
        yield Problem(path, "is no table", "write [[accepted]], with two brackets")
        return
    for name in _REQUIRED:
        if name not in entry:
            yield Problem(f"{path}.{name}", "is missing", "check, subject and rules are required")
    for name, value in entry.items():
        if name not in _MEMBERS:
            yield Problem(f"{path}.{name}", "no such member", _near(name, _MEMBERS))
        elif wrong := _MEMBERS[name](value):
            yield Problem(f"{path}.{name}", *wrong)


def _twice(entries: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """Two entries for the same rules: one of them would always be stale."""
    seen: set[tuple[str, str, frozenset[str]]] = set()
    for i, entry in enumerate(entries):
        key = entry["check"], entry["subject"], frozenset(entry["rules"])
        if key in seen:
            yield Problem(f"accepted.{i}", f"says again what is accepted of {key[0]} on {key[1]}", "keep one of them")
        seen.add(key)


def _stored(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry as the journal's header holds it."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in entry.items()}
