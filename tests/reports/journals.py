"""Runs made by hand: a journal with walks of any length, and the results that the real checks give for it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from openbell.events import Exchange, Fact, Message
from openbell.journal import Header, Journal
from openbell.loading import load
from openbell.run import judged, write_results
from openbell.scenarios.pages import REFERENCE

ROOT = Path(__file__).resolve().parents[2]
LISTING = "https://api.example.test/v1/accounts/acct-pages/orders"
INSTANCE = "pages_one_sided@collection:list_open_orders"
CHECKS = ("COR-001", "COR-002", "PAG-002", "PAG-003", "PAG-006")


def header(checks: tuple[str, ...] = CHECKS, **changes: Any) -> Header:
    """A header with the reference server's profile."""
    profile = load(ROOT / "profiles" / "reference.toml", "https://api.example.test")
    data = json.loads(profile.model_dump_json(by_alias=True, exclude_defaults=True))
    return Header(**{"suite": "0.1", "run": "20261126-101500-abc123", "started": "2026-11-26T10:15:00+00:00", "seed": 7,
                     "target": "profiles/reference.toml", "profile": data, "selection": {"checks": list(checks)},
                     **changes})


def document(text: str | bytes) -> ET.Element:
    """The root of an XML document of our own making."""
    return ET.fromstring(text)  # noqa: S314 - it was just written by the code under test


def first(root: ET.Element, path: str) -> ET.Element:
    """The first element at a path."""
    found = root.find(path)
    assert found is not None, path
    return found


@dataclass
class Made:
    """A journal under way, and the listing that a made-up server holds: (price, id), sorted."""

    journal: Journal
    now: float = 1000.0
    rows: list[tuple[int, str]] = field(default_factory=list)
    ids: int = 0

    def exchange(self, label: str, method: str, url: str, status: int | None, body: Any = None, *,
                 operation: str | None = None, headers: tuple[tuple[bytes, bytes], ...] | None = None,
                 content: bytes | None = None, scenario: str = INSTANCE) -> Exchange:
        """One exchange, 4 ms after the one before."""
        self.ids += 1
        self.now += 0.004
        trace = str(uuid.UUID(int=self.ids))
        fields = headers if headers is not None else (
            (b"Content-Type", b"application/json"), (b"X-Correlation-Id", trace.encode()))
        sent = Message(((b"Accept", b"application/json"), (b"Authorization", "Bearer ⟨pages.token#1⟩".encode())))
        reply = Message(fields, json.dumps(body).encode() if content is None else content)
        return self.journal.append(Exchange(
            0, scenario, label, "scenario", "direct", 1, "pages", operation, method, url, sent, status,
            reply if status else None, None if status else "timeout: the target did not answer within 10 s",
            self.now, self.now + 0.001, self.now + 0.002))

    def note(self, name: str, scenario: str = INSTANCE, **data: Any) -> None:
        """One fact."""
        self.journal.append(Fact(0, scenario, self.now, name, data))

    def insert(self, price: int, script: str = "fixtures") -> str:
        """An order is made."""
        item = f"ord_{self.ids:04x}"
        self.rows = sorted([*self.rows, (price, item)])
        made = self.exchange("fixture", "POST", LISTING, 201, {"id": item, "price": f"{price}.00"},
                             operation="submit_order")
        self.note("write", kind="insert", item=item, exchange=made.n, outcome="ok", script=script)
        return item

    def leave(self, item: str, script: str) -> None:
        """An order is cancelled."""
        self.rows = [row for row in self.rows if row[1] != item]
        gone = self.exchange("write:leave", "DELETE", f"{LISTING}/{item}", 200, {"id": item, "status": "cancelled"},
                             operation="cancel_order")
        self.note("write", kind="leave", item=item, exchange=gone.n, outcome="ok", script=script)

    def page(self, script: str, number: int, offset: int, size: int = 5, scenario: str = INSTANCE) -> Exchange:
        """One page by offset, which is the defect."""
        rows = [{"id": item, "price": f"{price}.00"} for price, item in self.rows[offset:offset + size]]
        body: dict[str, Any] = {"items": rows}
        if offset + size < len(self.rows):
            body["next_cursor"] = f"c{offset + size}"
        url = f"{LISTING}?status=open&limit={size}&cursor=c{offset}"
        return self.exchange(f"walk:{script}:{number}", "GET", url, 200, body, operation="list_open_orders",
                             scenario=scenario)

    def walk(self, script: str, pages: int, between: Any = lambda number: None, size: int = 5) -> None:
        """A whole walk with writes between its pages."""
        seen: list[int] = []
        for number in range(1, pages + 1):
            seen.append(self.page(script, number, size * (number - 1), size).n)
            if number < pages:
                between(number)
        self.note("walk", script=script, pages=seen, ended="end", size=size, query={"sort": "price"})


CURSOR_ROW = "pages_cursor_row@collection:list_open_orders"


def lookups(made: Made) -> None:
    """A walk whose cursor's row leaves, against a server that looks the row up: the next page is a 400."""
    for item in (row[1] for row in made.rows[:12]):
        made.note("write", CURSOR_ROW, kind="insert", item=item, exchange=made.journal.count, outcome="ok", script="x")
    first, second = (made.page("cursor_row", n, 5 * (n - 1), scenario=CURSOR_ROW) for n in (1, 2))
    gone = made.rows[9][1]
    left = made.exchange("write:leave", "DELETE", f"{LISTING}/{gone}", 200, {"id": gone}, scenario=CURSOR_ROW,
                         operation="cancel_order")
    made.note("write", CURSOR_ROW, kind="leave", item=gone, exchange=left.n, outcome="ok", script="cursor_row")
    third = made.exchange("walk:cursor_row:3", "GET", f"{LISTING}?cursor=c10", 400,
                          {"code": "bad_cursor", "detail": "No such row."}, operation="list_open_orders",
                          scenario=CURSOR_ROW)
    made.note("walk", CURSOR_ROW, script="cursor_row", pages=[first.n, second.n, third.n], ended="error", size=5,
              query={})
    made.rows = [row for row in made.rows if row[1] != gone]
    look = made.page(REFERENCE, 1, 0, 400, CURSOR_ROW)
    made.note("walk", CURSOR_ROW, script=REFERENCE, pages=[look.n], ended="end", size=400, query={"sort": "price"})
    made.note("scenario_end", CURSOR_ROW, waited=0.0, requests=5)


def offsets(folder: Path, pages: int, checks: tuple[str, ...] = CHECKS, **changes: Any) -> Path:
    """A run against a server that pages by offsets: one walk loses a row, one repeats a row. Returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Made(Journal(folder / "events.jsonl", header(checks, **changes)))
    made.note("control", "control@api", ok=True, why=None)
    spare = [made.insert(100 + i) for i in range(5 * pages + 1)]
    turn = pages // 2
    made.walk("reference", 1, size=400)
    made.walk("leave_behind", pages, lambda n: made.leave(spare[2], "leave_behind") if n == turn else None)
    made.walk("reference", 1, size=400)
    made.walk("insert_behind", pages, lambda n: made.insert(50, "insert_behind") if n == turn else None)
    made.walk("reference", 1, size=400)
    made.note("scenario_end", waited=0.0, requests=made.ids)
    lookups(made)
    made.note("run_end", "(run)", seconds=4.2, critical_path=4.0)
    made.journal.close()
    write_results(folder, judged(folder / "events.jsonl"))
    return folder
