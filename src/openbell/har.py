"""HAR 1.2 files, of whatever tool, to a journal: recorded traffic judged by the same checks.

HAR is a loose format. Tools leave members out, write -1 for what they do not know, join or split header lines, and
drop contents. What is missing stays missing here: a content that the tool did not keep is marked as cut, never as
empty. What a recording names as secret is learned from all messages first, and masked in all of them before anything
is written. Source: the HAR 1.2 specification (W3C Web Performance draft), members 4.1 to 4.2.
"""

from __future__ import annotations

import base64
import binascii
import filecmp
import json
import math
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from openbell import __version__
from openbell.events import Exchange, Fact, Headers, Message
from openbell.journal import FORMAT, Header, Journal, JournalError, read
from openbell.loading import dumped
from openbell.named import header_names
from openbell.profile import Operation, Profile, Target
from openbell.redact import Leak, Redactor
from openbell.run import Options, made, new_run, select
from openbell.target import match_operation
from openbell.wire import MAX_CONTENT, decoded

MAX_FILE = 256 * 1024 * 1024
MAX_ENTRIES = 1_000_000
SNIFF = 64 * 1024
RESULTS = Path("openbell-results")
_LOG = re.compile(rb'"log"\s*:')
_METHOD = re.compile(r"[A-Za-z]{1,20}")
_PORTS = {"http": 80, "https": 443}


def looks_like(path: Path) -> bool:
    """Whether the file begins like a HAR: a JSON object with a member `log`. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(SNIFF).removeprefix(b"\xef\xbb\xbf").lstrip()
    journal = f'"format":"{FORMAT}"'.encode() in head.partition(b"\n")[0].replace(b" ", b"")
    return head.startswith(b"{") and not journal and _LOG.search(head) is not None


def copied(journal: Path, out: Path) -> Path:
    """The journal as `out/events.jsonl`, copied unless it is that file already.

    Raises JournalError when it is no journal, or when another one stands there, OutError.
    """
    read(journal)
    made(out)
    path = out / "events.jsonl"
    if not path.exists():
        shutil.copyfile(journal, path)
    elif not path.samefile(journal) and not filecmp.cmp(journal, path, shallow=False):
        raise JournalError(f"{path}: another journal stands there; choose another folder")
    return path


def to_journal(files: Iterable[Path], target: Profile | None, only: tuple[str, ...], out: Path | None) -> Path:
    """The journal of HAR files, in `out` or in a new folder of openbell-results; its path.

    Only the exchanges of the target's hosts are kept; where none is there, or without a profile, those of the most
    frequent host. Raises JournalError with the file and why, UnknownCheck, OutError, OSError.
    """
    files = tuple(files)
    checks = [check.id for check in select(Options(only=only)) if check.traffic]
    if not checks:
        raise JournalError(f"none of the checks {', '.join(only)} judges recorded traffic: they need a run")
    redactor = Redactor()
    redactor.heed(header_names(target) if target else ())
    entries = list(_entries(files))
    hosts = _hosts(entries, target)
    kept = [entry for entry in entries if _host(entry.url) in hosts]
    for entry in kept:
        redactor.foreign(headers=entry.request.headers, url=entry.url, content=entry.request.content)
        if entry.reply:
            redactor.foreign(headers=entry.reply.headers, content=entry.reply.content)
    folder = _folder(out)
    begins = min(entry.start for entry in kept)
    header = Header(
        __version__, folder.name, datetime.fromtimestamp(begins, UTC).isoformat(timespec="seconds"), 0,
        shlex.join(map(str, files)), dumped(target or _unknown(kept[0].url)), {"checks": checks}, source="har")
    left = Counter(_host(entry.url) for entry in entries if _host(entry.url) not in hosts)
    fact = Fact(0, "har", 0.0, "har", {"files": [f.name for f in files], "entries": len(kept),
                                       "left_out": {redactor.text(h): n for h, n in left.most_common(20)}})
    ordered = sorted(kept, key=lambda entry: entry.start + entry.seconds)
    return _written(folder, header, fact, (_exchange(e, begins, target, redactor) for e in ordered), redactor)


def _folder(out: Path | None) -> Path:
    """The folder of the journal. A journal made of HAR files before may be made anew; no other is overwritten."""
    if out is None:
        return new_run(RESULTS)[1]
    made(out)
    path = out / "events.jsonl"
    if path.exists() and read(path).header.source != "har":
        raise JournalError(f"{path}: the journal of a run stands there; choose another folder")
    return out


def _written(folder: Path, header: Header, fact: Fact, exchanges: Iterable[Exchange], redactor: Redactor) -> Path:
    """Writes the journal beside its place first, so that nobody reads half of it."""
    part = folder / ".events.jsonl.part"
    part.unlink(missing_ok=True)
    journal = Journal(part, header)
    try:
        journal.append(fact)
        for exchange in exchanges:
            _gate(exchange, redactor)
            journal.append(exchange)
    except Leak as leak:
        part.unlink(missing_ok=True)
        raise JournalError(f"{header.target}: {leak}") from leak
    finally:
        journal.close()
    return part.replace(folder / "events.jsonl")


def _gate(exchange: Exchange, redactor: Redactor) -> None:
    """The last net, over what came from the recording: the journal's own words may read like a foreign secret."""
    for message in filter(None, (exchange.request, exchange.reply)):
        redactor.gate(message.content)
        redactor.gate(b"\n".join(b": ".join(pair) for pair in message.headers))
    redactor.gate(exchange.url.encode())


# --- reading


@dataclass(frozen=True)
class Entry:
    """One request of a recording with its reply, not yet redacted. `start` in epoch seconds, durations in seconds."""

    method: str
    url: str
    request: Message
    status: int | None
    reply: Message | None
    start: float
    seconds: float
    receive: float | None
    conn: int


def _entries(files: Iterable[Path]) -> Iterator[Entry]:
    """The HTTP exchanges of all files. Raises JournalError when a file has none."""
    room = MAX_FILE
    conns: dict[tuple[Path, str], int] = {}
    for path in files:
        size = path.stat().st_size
        if size > room:
            raise JournalError(f"{path}: {size} bytes; HAR files of at most {MAX_FILE // 2**20} MiB in all are read")
        room -= size
        start, found = 0.0, 0
        for data in _listed(path):
            entry = _entry(data, start, conns, path)
            if entry:
                start, found = entry.start, found + 1
                yield entry
        if not found:
            raise JournalError(f"{path}: log.entries holds no HTTP exchange")


def _integer(lexeme: str) -> float:
    return int(lexeme) if len(lexeme) < 20 else float(lexeme)


def _listed(path: Path) -> list[Any]:
    try:
        data = json.loads(path.read_bytes(), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise JournalError(f"{path}: not JSON ({str(error)[:120] or type(error).__name__})") from error
    entries = _member(_member(data, "log"), "entries")
    if not isinstance(entries, list):
        raise JournalError(f"{path}: not a HAR file (it has no list log.entries)")
    if not 0 < len(entries) <= MAX_ENTRIES:
        raise JournalError(f"{path}: log.entries holds {len(entries)} entries; 1 to {MAX_ENTRIES} are read")
    return entries


def _member(data: Any, name: str) -> Any:
    return data.get(name) if isinstance(data, dict) else None


def _list(data: Any, name: str) -> list[Any]:
    value = _member(data, name)
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    """A finite number that is not negative; None for anything else: -1 means unknown in HAR."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value < 1e12 else None


def _text(value: Any) -> str:
    """Text that can be written as UTF-8: lone surrogates become U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else ""


def _entry(data: Any, before: float, conns: dict[tuple[Path, str], int], path: Path) -> Entry | None:
    """One entry; None for what is no HTTP exchange, or came from a cache."""
    asked, answered = _member(data, "request"), _member(data, "response")
    url, method = _text(_member(asked, "url")), _text(_member(asked, "method"))
    if not _host(url) or not _METHOD.fullmatch(method) or _member(data, "_fromCache"):
        return None
    status = _number(_member(answered, "status"))
    replied = status is not None and 100 <= status <= 999
    name = _text(_member(data, "connection"))
    conn = conns.setdefault((path, name), len(conns) + 1) if name else 0
    return Entry(
        method, url, _request(asked), int(status or 0) if replied else None, _reply(answered) if replied else None,
        _started(_member(data, "startedDateTime"), before), (_number(_member(data, "time")) or 0.0) / 1000,
        _number(_member(_member(data, "timings"), "receive")), conn)


def _started(value: Any, before: float) -> float:
    """Epoch seconds of an ISO 8601 time, UTC where it names no zone; the entry before it where there is none."""
    try:
        at = datetime.fromisoformat(_text(value))
        return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return before


def _request(data: Any) -> Message:
    posted = _member(data, "postData")
    if _member(posted, "text") is None and (fields := _list(posted, "params")):
        pairs = [(_text(_member(f, "name")), _text(_member(f, "value"))) for f in fields]
        content = urlencode(pairs).encode()
    else:
        content = _content(posted)
    return Message(_headers(data), content, len(content))


def _reply(data: Any) -> Message:
    kept = _member(data, "content")
    headers, content = _headers(data), _content(kept)
    message = decoded(headers, content)
    size = max(_number(_member(kept, "size")) or 0, _number(_member(data, "bodySize")) or 0)
    # A content that the tool did not keep is unknown, not empty; nor can one in a coding that hides secrets be kept.
    hidden = not message.encoding and _coded(headers) and not _is_text(content)
    if hidden or (size > 0 and not content):
        return replace(message, content=b"", wire_length=int(size), cut=True)
    return replace(message, wire_length=int(_number(_member(data, "bodySize")) or len(content)))


def _coded(headers: Headers) -> bool:
    return (Message(headers).field("content-encoding") or "identity").strip().lower() not in {"identity", ""}


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _content(data: Any) -> bytes:
    """A kept content's bytes; text that is no Base64, though it is said to be, is taken as it stands."""
    content = _text(_member(data, "text"))
    if _text(_member(data, "encoding")).lower() == "base64":
        try:
            return base64.b64decode("".join(content.split()), validate=True)
        except (binascii.Error, ValueError):
            pass
    return content.encode()


_DAY = re.compile(r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?")


def _headers(data: Any) -> Headers:
    """Header lines: without pseudo fields, one line each where lines were joined, whole dates where they were split."""
    lines: list[tuple[str, str]] = []
    for pair in _list(data, "headers"):
        name, value = _text(_member(pair, "name")), _member(pair, "value")
        if not name or name.startswith(":") or not isinstance(value, str):
            continue
        for part in filter(None, _text(value).split("\n")) if value else ("",):
            if lines and lines[-1][0].lower() == name.lower() and _DAY.fullmatch(lines[-1][1].strip()):
                lines[-1] = (name, f"{lines[-1][1].strip()}, {part.strip()}")
            else:
                lines.append((name, part))
    return tuple((name.encode(), value.encode()) for name, value in lines)


# --- whose traffic it is


def _host(url: str) -> str:
    """`host:port` of an http or https URL; "" for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return ""
    name = parts.hostname or ""
    return f"{f'[{name}]' if ':' in name else name}:{port}" if name else ""


def _hosts(entries: Iterable[Entry], target: Profile | None) -> frozenset[str]:
    """The hosts whose traffic is judged. A recording of another deployment of the target is taken as the target's."""
    seen = Counter(_host(entry.url) for entry in entries)
    if not seen:
        raise JournalError("no HAR file was given")
    own: set[str] = set()
    if target:
        scheme = urlsplit(target.target.base_url).scheme
        own = {_host(target.target.base_url), *(_host(f"{scheme}://{host}") for host in target.target.hosts)}
    return frozenset(own & set(seen) or {seen.most_common(1)[0][0]})


def _unknown(url: str) -> Profile:
    """A profile that promises nothing, for a host that nobody described."""
    parts = urlsplit(url)
    nothing = Operation(role="read", method="GET", path="/openbell-no-such-route")
    target = Target(name=parts.hostname or "", base_url=f"{parts.scheme}://{_host(url)}", control="control")
    return Profile(target=target, operation={"control": nothing})


# --- one exchange, redacted


def _exchange(entry: Entry, begins: float, target: Profile | None, redactor: Redactor) -> Exchange:
    sent = entry.start - begins
    done = sent + entry.seconds
    first = None if entry.receive is None else max(sent, done - entry.receive / 1000)
    operation = match_operation(target, entry.method, entry.url) if target else None
    return Exchange(
        n=0, scenario="har", label="har", origin="har", route="direct", conn=entry.conn, principal=None,
        operation=operation, method=redactor.text(entry.method), url=redactor.url(entry.url),
        request=_masked(entry.request, redactor), status=entry.status,
        reply=_masked(entry.reply, redactor) if entry.reply else None,
        no_reply=None if entry.reply else "har: the recording holds no reply",
        sent=sent, first=first if entry.reply else None, done=done)


def _masked(message: Message, redactor: Redactor) -> Message:
    """Masked whole, then cut at the harness's cap: a cut through a secret would hide it from the net."""
    content = redactor.data(message.content)
    return replace(message, headers=redactor.headers(message.headers), content=content[:MAX_CONTENT],
                   cut=message.cut or len(content) > MAX_CONTENT)
