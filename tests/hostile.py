"""Raw servers that do what no server should, and `openbell check` as a measured process against them."""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import jsonschema

from openbell.promises import PROMISES

HOUSE = Path(__file__).parents[1]
SCHEMA = json.loads((HOUSE / "docs" / "results.schema.json").read_text())
SECRET = "HOSTILE_SECRET"
CANARY = 'pa"ss/wörd+=%' + uuid.uuid4().hex[:8]
TOKEN = "tok-" + uuid.uuid4().hex
MOST_KB = 300 * 1024
TURNS = 20  # of the loop, in which closed transports take their leave


class Hang:
    """An answer that never comes."""


class Reset(ConnectionError):
    """Raised among the parts of an answer: the connection is reset there."""


Answer = bytes | Iterable[bytes] | type[Hang] | None


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def query(self, name: str) -> str:
        return parse_qs(urlsplit(self.target).query).get(name, [""])[0]


def reply(content: bytes = b"{}", status: int = 200, *fields: str, media: str = "application/json",
          length: int | None = None) -> bytes:
    """A reply as bytes; `fields` are further header lines."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {media}", f"X-Trace: {uuid.uuid4()}",
             f"Content-Length: {len(content) if length is None else length}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


def problem(status: int, code: str, *fields: str) -> bytes:
    """An error as the profile declares it."""
    return reply(json.dumps({"code": code, "detail": f"it is {code}"}).encode(), status, *fields,
                 media="application/problem+json")


def orderly(asked: Asked) -> bytes:
    """What a server that behaves answers: a control read, tokens, and errors for everything else."""
    if asked.path == "/token":
        return reply(json.dumps({"access_token": TOKEN, "expires_in": 600}).encode())
    if f"\r\nAuthorization: Bearer {TOKEN}\r\n".encode() not in asked.head:
        return problem(401, "unauthenticated", "WWW-Authenticate: Bearer")
    if asked.path != "/status":
        return problem(404, "not_found")
    return reply(b'{"status": "open"}') if asked.method in {"GET", "HEAD"} else problem(
        405, "method_not_allowed", "Allow: GET, HEAD")


@dataclass
class Hostile:
    """A server in a thread: `answers` by path go before the orderly ones; None closes the connection."""

    answers: dict[str, Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    def __enter__(self) -> Self:
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._down = asyncio.get_running_loop(), asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=2**22)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._up.set()
        await self._down.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._down.is_set():
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._talk(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = await _request(reader)
                self.asked.append(asked)
                answer = self.answers.get(asked.path, orderly)(asked)
                if answer is None:
                    return
                if isinstance(answer, type):
                    await asyncio.Event().wait()
                    return
                for part in [answer] if isinstance(answer, bytes) else answer:
                    writer.write(part)
                    await writer.drain()
        except Reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(TimeoutError, ConnectionError, asyncio.CancelledError):
                await asyncio.wait_for(writer.wait_closed(), 1)
            writer.transport.abort()


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    size = next((int(line.partition(b":")[2]) for line in head.splitlines()
                 if line.lower().startswith(b"content-length:")), 0)
    return Asked(method, target, head, await reader.readexactly(size))


PROFILE = """
[target]
name = "hostile"
base_url = "BASE"
allow = ["read"]
max_rate = 2000
timeout_s = 0.5
control = "read_status"

[credential.full]
sacrificial = ["limits", "expiry"]
stack = [{ kind = "oauth2", operation = "issue_token", client_id = "me", secret = "env:HOSTILE_SECRET", leeway_s = 1 }]

[operation.issue_token]
role = "token"
method = "POST"
path = "/token"
public = true
form = true

[operation.read_status]
role = "read"
method = "GET"
path = "/status"

[operation.list_rows]
role = "list"
method = "GET"
path = "/rows"
page = "cursor"
collection = { sort = [{ at = "/id" }] }

[operation.read_row]
role = "read"
method = "GET"
path = "/rows/{id}"
values = { id = "none" }

[page.cursor]
default = 20
maximum = 20

[envelope.default]
trace = { header = "X-Trace" }
"""
LIMIT = """
[limit.reads]
operations = ["read_limited"]
probe = "read_limited"
capacity = 5
per_s = 50
model = "token_bucket"

[operation.read_limited]
role = "read"
method = "GET"
path = "/limited"
"""


def listing(name: str, page: str = "cursor") -> str:
    """The table of one more listing, at a path of its own."""
    return f"""
[operation.list_{name}]
role = "list"
method = "GET"
path = "/{name}"
page = "{page}"
collection = {{ sort = [{{ at = "/id" }}] }}
"""


def profile(folder: Path, base_url: str, more: str = "", **changes: tuple[str, str]) -> Path:
    """A profile that promises everything, written into the folder; `changes` replace texts of it."""
    text = PROFILE.replace("BASE", base_url) + more
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    promises = "".join(f'"{name}" = "promised"\n' for name in PROMISES)
    path = folder / "target.toml"
    path.write_text(f"{text}\n[promise]\n{promises}", encoding="utf-8")
    return path


# The peak is told by the process itself: what the kernel tells its parent counts the parent's memory at the fork.
MEASURED = """
import sys
from pathlib import Path
try:
    from openbell.cli import main
    main()
finally:
    lines = Path("/proc/self/status").read_text().splitlines()
    Path("peak").write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@dataclass(frozen=True)
class Done:
    """What came of a process: exit code, all that it said, seconds, peak memory in KiB, its run's folder."""

    code: int
    said: str
    seconds: float
    peak_kb: int
    run: Path | None

    def results(self) -> dict[str, Any]:
        assert self.run
        found: dict[str, Any] = json.loads((self.run / "results.json").read_text(encoding="utf-8"))
        return found

    def rules(self, check: str) -> set[str]:
        return {f["rule"] for r in self.results()["results"] if r["check"] == check for f in r["findings"]}

    def verdicts(self, check: str) -> set[str]:
        return {r["verdict"] for r in self.results()["results"] if r["check"] == check}

    def leaks(self, *secrets: str) -> list[str]:
        """The files and messages in which one of the secrets stands as it is."""
        files = {p.name: p.read_bytes() for p in self.run.rglob("*") if p.is_file()} if self.run else {}
        said = {"said": self.said.encode(), **files}
        return [name for name, content in said.items() if any(s.encode() in content for s in secrets)]


def check(folder: Path, target: Path, *arguments: str | Path, timeout: float = 60, **environment: str) -> Done:
    """`openbell check` as a process of its own, with the secret in its environment."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "check", target, "--out", folder / "out", *arguments], cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False,
        env={**os.environ, SECRET: CANARY, **environment})
    runs = sorted((folder / "out").glob("*/events.jsonl"))
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), time.monotonic() - began,
                int((folder / "peak").read_text()), runs[-1].parent if runs else None)


def borne(done: Done, seconds: float = 30) -> None:
    """A target was borne: a verdict on it, valid results and every report, no traceback, within time and memory."""
    assert done.code in {1, 2}, done.said
    assert "Traceback" not in done.said
    jsonschema.validate(done.results(), SCHEMA)
    assert done.results()["counts"].get("error", 0) == 0, [r for r in done.results()["results"]
                                                           if r["verdict"] == "error"]
    assert done.run
    for name in ("report.html", "junit.xml", "summary.md"):
        assert (done.run / name).stat().st_size, name
    assert b"Traceback" not in (done.run / "events.jsonl").read_bytes()
    assert not done.leaks(CANARY, TOKEN)
    assert done.seconds < seconds
    assert done.peak_kb < MOST_KB
