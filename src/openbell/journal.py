"""The one append-only file of a run: header, numbered events, footer.

Every line is one JSON object. The footer carries the number of events and a digest chain (each link is the SHA-256 of
the link before and the line), so a cut, a swap or an edit shows. A killed run leaves no footer and at most one torn
line at the end: reading goes up to it and says so.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from openbell.events import Event, Exchange, Fact, Frame, event_from, event_json, numbered

FORMAT = "openbell-journal"
VERSION = 1
MAX_LINE = 64 * 1024 * 1024

E = TypeVar("E", Exchange, Frame, Fact)


class JournalError(Exception):
    """The file is not a journal, or not one that this version reads; the text says where and why."""


@dataclass(frozen=True)
class Header:
    """All that judging needs besides the events. Everything is JSON, redacted, in the form in which it is stored.

    `beside` is for cleaning up: the folder of secret files, from the journal's own; "" where none is used.
    """

    suite: str
    run: str
    started: str
    seed: int
    target: str
    profile: Mapping[str, Any]
    selection: Mapping[str, Any] = field(default_factory=dict)
    pack: str | None = None
    accepted: tuple[Mapping[str, Any], ...] = ()
    source: str = "check"
    beside: str = ""


def _line(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def _chain(link: bytes, line: bytes) -> bytes:
    return hashlib.sha256(link + line).digest()


class Journal:
    """The one writer. Every line is flushed; `gate` refuses a line that would leak a secret."""

    def __init__(self, path: Path, header: Header, gate: Callable[[bytes], None] = lambda line: None) -> None:
        self._file: IO[bytes] = path.open("xb")
        self._gate = gate
        self._link = b""
        self._listeners: list[Callable[[Event], None]] = []
        self.path = path
        self.count = 0
        self.closed = False
        self._write({"kind": "header", "format": FORMAT, "version": VERSION, **header.__dict__})

    def _write(self, data: Mapping[str, Any]) -> None:
        line = _line(data)
        self._gate(line)
        self._file.write(line)
        self._file.flush()
        self._link = _chain(self._link, line)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Calls `listener` with each event after it was written."""
        self._listeners.append(listener)

    def append(self, event: E) -> E:
        """Numbers the event, writes it with its wall time, and returns it as written."""
        event = cast(E, numbered(event, self.count + 1))
        self._write(event_json(event) | {"wall": round(time.time(), 6)})
        self.count += 1
        for listener in self._listeners:
            listener(event)
        return event

    def close(self) -> None:
        """Writes the footer; a second call does nothing."""
        if not self.closed:
            self._write({"kind": "footer", "count": self.count, "digest": "sha256:" + self._link.hex()})
            self.closed = True
            self._file.close()


@dataclass(frozen=True)
class Reading:
    """An open journal: its header, and its events once, in order. `torn` is set when the end is missing or cut."""

    header: Header
    path: Path
    state: dict[str, Any]

    def __iter__(self) -> Iterator[Event]:
        return _events(self.path, self.state)

    @property
    def torn(self) -> str | None:
        """After reading: None for a whole journal, else what is missing."""
        return cast("str | None", self.state.get("torn"))


def read(path: Path) -> Reading:
    """Opens a journal. Raises JournalError when it is none, OSError when it cannot be read."""
    with path.open("rb") as file:
        data = _object(file.readline(MAX_LINE), path, 1)
    if data is None or data.get("format") != FORMAT:
        raise JournalError(f"{path}: not an openbell journal (its first line is no journal header)")
    if data.get("version") != VERSION:
        raise JournalError(f"{path}: journal version {data.get('version')!r}; this openbell reads version {VERSION}")
    try:
        kept = {f.name: data[f.name] for f in fields(Header) if f.name != "beside" or "beside" in data}
    except KeyError as missing:
        raise JournalError(f"{path}: the header lacks {missing}") from missing
    return Reading(Header(**kept | {"accepted": tuple(kept["accepted"])}), path, {})


def _object(line: bytes, path: Path, number: int) -> dict[str, Any] | None:
    """The line's JSON object; None for a torn last line (no newline at its end)."""
    try:
        data = json.loads(line)
    except ValueError as error:
        if not line.endswith(b"\n"):
            return None
        raise JournalError(f"{path}:{number}: not JSON ({error})") from error
    if not isinstance(data, dict):
        raise JournalError(f"{path}:{number}: not a JSON object")
    return data


def _events(path: Path, state: dict[str, Any]) -> Iterator[Event]:
    link, count = b"", 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            data = _object(line, path, number)
            if data is None:
                state["torn"] = f"line {number} is cut"
                return
            if data["kind"] == "footer":
                _verify(data, count, link, path)
                return
            link = _chain(link, line)
            if number > 1:
                count += 1
                yield _event(data, path, number)
    state["torn"] = "the footer is missing: the run was killed"


def _event(data: Mapping[str, Any], path: Path, number: int) -> Event:
    try:
        return event_from(data)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise JournalError(f"{path}:{number}: no event of this version ({type(error).__name__}: {error})") from error


def _verify(footer: Mapping[str, Any], count: int, link: bytes, path: Path) -> None:
    if footer.get("count") != count or footer.get("digest") != "sha256:" + link.hex():
        raise JournalError(f"{path}: the digest chain does not match: the journal was changed after it was written")
