"""Runs with streams, made by hand: a few frames or many, judged by the real checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from journals import header

from openbell.events import Exchange, Fact, Frame, Message
from openbell.journal import Journal
from openbell.run import judged, write_results

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
URL = "https://api.example.test/v1/stream/"


class Streams:
    """A journal under way; time moves by `after`, else each event comes 1 ms after the one before."""

    def __init__(self, folder: Path, scenario: str, stream: str, checks: tuple[str, ...]) -> None:
        self.journal = Journal(folder / "events.jsonl", header(checks))
        self.scenario, self.stream, self.now = f"{scenario}@stream:{stream}", stream, 1000.0
        self.labels: dict[int, str] = {}
        self.fact("control", "control@api", ok=True, why=None)

    def after(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    def fact(self, name: str, scenario: str = "", **data: Any) -> Fact:
        """One fact."""
        self.now += 0.001
        return self.journal.append(Fact(0, scenario or self.scenario, self.now, name, data))

    def note(self, conn: int, name: str, **data: Any) -> Fact:
        """One fact of a connection."""
        return self.fact(name, conn=conn, stream=self.stream, by="streams", label=self.labels[conn], **data)

    def open(self, conn: int, label: str, status: int = 101, since: int | None = None) -> None:
        """A handshake and, where it is accepted, the script that subscribes."""
        self.now += 0.001
        self.labels[conn] = label
        asked = Message(((b"Upgrade", b"websocket"),))
        self.journal.append(Exchange(0, self.scenario, label, "scenario", "direct", conn, "streams", None, "GET",
                                     URL + self.stream, asked, status, Message(), None, self.now, self.now + 0.001,
                                     self.now + 0.002))
        if status == 101:
            asked_at = {} if since is None else {"position": since, "epoch": "e"}
            script = "subscribe" if since is None else "resubscribe"
            self.after(0.004)
            self.note(conn, "stream_script", script=script, answer=None, **asked_at)
            self.note(conn, "stream_script", script=script, answer="ok", **asked_at)

    def frame(self, conn: int, by: Any, opcode: int, payload: bytes = b"") -> Frame:
        """One frame."""
        self.now += 0.001
        return self.journal.append(Frame(0, self.scenario, self.labels[conn], "direct", conn, self.now, by, opcode,
                                         payload))

    def update(self, conn: int, seq: int, prev: int | None = None, **more: Any) -> Frame:
        """One update of the server, behind the one before it unless told otherwise."""
        body = {"type": "update", "epoch": "e", "seq": seq, "prev": seq - 1 if prev is None else prev,
                "event": f"evt_{seq}", **more}
        return self.frame(conn, "server", TEXT, json.dumps(body).encode())

    def end(self, conn: int, side: str = "client", how: str = "close 1000") -> None:
        """The end of a connection."""
        self.note(conn, "stream_end", side=side, how=how, violation=None)


def run(folder: Path, scenario: str, stream: str, check: str, story: Callable[[Streams], None]) -> Path:
    """A run of one scenario, judged by one check. Returns its folder."""
    folder.mkdir(parents=True)
    made = Streams(folder, scenario, stream, (check,))
    story(made)
    made.fact("scenario_end", waited=0.0, requests=1)
    made.fact("run_end", "(run)", seconds=4.2, critical_path=4.0)
    made.journal.close()
    write_results(folder, judged(folder / "events.jsonl"))
    return folder


def dead_client(folder: Path) -> Path:
    """Ten frames: a client that answers no ping is kept, beside one that answers. WSH-004."""
    def story(s: Streams) -> None:
        s.open(1, "idle")
        s.open(2, "muted")
        s.note(2, "stream_muted")
        s.note(1, "idle_start")
        for _ in range(2):
            s.after(0.5)
            s.frame(1, "server", PING, b"1")
            s.frame(1, "client", PONG, b"1")
            s.frame(2, "server", PING, b"1")
        s.after(2.0)
        s.note(1, "idle_end")
        s.frame(1, "client", PING, b"alive")
        s.frame(1, "server", PONG, b"alive")
        s.note(1, "idle_alive", alive=True)
        for conn in (1, 2):
            s.frame(conn, "client", CLOSE, b"\x03\xe8")
            s.end(conn)
    return run(folder, "stream_idle", "orders", "WSH-004", story)


def silent_drop(folder: Path, frames: int) -> Path:
    """A slow consumer for whom updates are left out without a word, beside two that get all. WSR-007."""
    each = frames // 3

    def story(s: Streams) -> None:
        for conn, label in enumerate(("witness:0", "witness:1", "slow"), 1):
            s.open(conn, label)
        s.update(3, 1)
        s.note(3, "stream_paused")
        for seq in range(1, each):
            s.update(1, seq)
            s.update(2, seq)
        s.fact("backlog", wanted=10, got=[10, 10])
        s.note(3, "stream_resumed")
        for seq in range(2, each):
            if not each // 2 <= seq < each // 2 + each // 8:
                s.update(3, seq, prev=seq - 1)
        for conn in (1, 2, 3):
            s.end(conn)
    return run(folder, "stream_slow", "market", "WSR-007", story)


def gaps(folder: Path, rounds: int, updates: int, label: str = "round") -> Path:
    """Connections cut and resumed; in the last but one an update is left out. WSR-001."""
    def story(s: Streams) -> None:
        seq = 0
        for number in range(rounds):
            conn = number + 1
            s.open(conn, f"{label}:{number}", since=seq if number else None)
            for i in range(updates):
                left_out = number == rounds - 2 and i == updates // 2
                seq += 2 if left_out else 1
                s.update(conn, seq)
            s.fact("fault_fired", conn=conn, fault="Cut", direction="down", offset=9, fired=s.now)
            s.end(conn, "harness", "reset")
            s.after(0.1)
    return run(folder, "stream_cut_and_resume", "orders", "WSR-001", story)
