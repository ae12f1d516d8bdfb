"""Events and profiles made by hand: a check is a pure function, so its tests need no socket.

`exchange("page:1", 200, {"items": []})` is a read by the full principal that took 10 ms; events are numbered and timed
in the order in which `recording` gets them, unless they say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from openbell.events import Event, Exchange, Fact, Frame, Headers, Message, Recording
from openbell.loading import load
from openbell.profile import Profile
from openbell.registry import Observation

ROOT = Path(__file__).resolve().parents[1]
BASE = "https://api.example.test"
STEP_S = 0.1
TOOK_S = 0.01


def headers(fields: Mapping[str, str] | tuple[tuple[str, str], ...] = ()) -> Headers:
    """Header lines; a mapping, or pairs where a name comes twice."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return tuple((k.encode(), v.encode()) for k, v in pairs)


def exchange(label: str = "", status: int | None = 200, body: Any = None, **changes: Any) -> Exchange:
    """One direct exchange. `fields` are the reply's header lines, `at` and `took` its time; other names as in Exchange.

    A body of bytes goes as it is, any other as JSON. Without a status no reply came.
    """
    at, took = changes.pop("at", None), changes.pop("took", TOOK_S)
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = headers(changes.pop("fields", {}))
    media = () if not content or any(k.lower() == b"content-type" for k, _ in fields) else (
        (b"content-type", b"application/json" if status and status < 400 else b"application/problem+json"),)
    made = Exchange(
        n=0, scenario="made", label=label, origin="scenario", route="direct", conn=1, principal="full",
        operation="list_positions", method="GET", url=BASE + "/v1/accounts/acct-full/positions", request=Message(),
        status=status, reply=None if status is None else Message(media + fields, content, len(content)),
        no_reply="timeout: the target did not answer within 10 s" if status is None else None,
        sent=-1.0, first=None, done=-1.0)
    made = replace(made, **changes)
    return made if at is None else replace(made, sent=at, first=at + took, done=at + took)


def fact(name: str, **data: Any) -> Fact:
    """One fact."""
    return Fact(0, "made", -1.0, name, data)


def frame(payload: Any = b"", **changes: Any) -> Frame:
    """One frame, by default a whole text message of the server on connection 1. Bytes go as they are, else JSON."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return replace(Frame(0, "made", "", "direct", 1, -1.0, "server", 1, content), **changes)


def ended(side: str, **changes: Any) -> Fact:
    """The end of the stream on connection 1, or on another, by one of the sides."""
    told = {"conn": 1, "side": side, "how": "close 1000", "violation": None}
    return replace(fact("stream_end", **told | {"conn": changes.pop("conn", 1)}), **changes)


def script(name: str, answer: str = "ok", **data: Any) -> Fact:
    """How a script was answered on connection 1, or on another; a position and an epoch that it was filled with."""
    return fact("stream_script", **{"conn": 1, "script": name, "answer": answer} | data)


def recording(*events: Event) -> Recording:
    """The events, numbered from 1 and, where they say nothing of it, one tenth of a second apart."""
    return Recording(tuple(_placed(event, n) for n, event in enumerate(events, 1)))


def _placed(event: Event, n: int) -> Event:
    event = replace(event, n=event.n or n)
    if isinstance(event, Exchange) and event.sent < 0:
        return replace(event, sent=n * STEP_S, first=n * STEP_S + TOOK_S, done=n * STEP_S + TOOK_S)
    return replace(event, at=n * STEP_S) if isinstance(event, Fact | Frame) and event.at < 0 else event


def profile(**changes: Mapping[str, Any]) -> Profile:
    """The reference server's profile; `limit={"reads": {...}}` changes members of the named entries of a table."""
    found = load(ROOT / "profiles" / "reference.toml", BASE)
    tables = {}
    for table, entries in changes.items():
        whole = getattr(found, table)
        if isinstance(whole, Mapping):
            tables[table] = {**whole, **{k: whole[k].model_copy(update=v) for k, v in entries.items()}}
        else:
            tables[table] = whole.model_copy(update=entries)
    return found.model_copy(update=tables)


def said(observations: Any) -> list[str]:
    """Each observation in one word: `holds`, the rule that is broken, or `?reason`."""
    return [_word(o) for o in observations]


def _word(seen: Observation) -> str:
    return {"holds": "holds", "broken": seen.rule, "undecided": f"?{seen.reason}"}[seen.state]
