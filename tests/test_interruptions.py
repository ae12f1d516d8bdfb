"""A run that ends before its end: killed, interrupted, or without room for its files."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import jsonschema
import pytest
from hostile import SCHEMA, TURNS
from serving import CANARY, PROFILE, SECRET, openbell, reference_server, results, spellings

ACCOUNTS = {"full": "acct-full", "sacrificial_pages": "acct-pages", "sacrificial_expiry": "acct-expiry"}


class Relay:
    """Passes bytes on to a server and keeps what it answers, so that a test knows every token that was given out."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._answers = bytearray()
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def tokens(self) -> set[str]:
        return {m.decode() for m in re.findall(rb'"access_token": ?"([^"]+)"', bytes(self._answers))}

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._down, self._pipes = asyncio.get_running_loop(), asyncio.Event(), set[asyncio.Task[None]]()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._up.set()
        await self._down.wait()
        server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink, keep in ((reader, back, False), (there, writer, True)):
            pipe = asyncio.ensure_future(self._pipe(source, sink, keep=keep))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, keep: bool) -> None:
        try:
            while data := await source.read(65536):
                if keep:
                    self._answers += data
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.transport.abort() if sink.transport.get_write_buffer_size() else sink.close()


@pytest.fixture
def server() -> Iterator[Relay]:
    with reference_server() as url, Relay(url) as relay:
        yield relay


def ask(url: str, data: bytes | None = None, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
        return json.load(answer)


def open_orders(url: str) -> dict[str, int]:
    """How many open orders each account has, by the server's own word."""
    found = {}
    for client, account in ACCOUNTS.items():
        basic = b64encode(f"{client}:{CANARY}".encode()).decode()
        token = ask(f"{url}/oauth/token", b"grant_type=client_credentials", Authorization=f"Basic {basic}")
        found[account], cursor = 0, ""
        for _ in range(10):
            page = ask(f"{url}/v1/accounts/{account}/orders?status=open&limit=200{cursor}",
                       Authorization=f"Bearer {token['access_token']}")
            found[account], cursor = found[account] + len(page["items"]), f"&cursor={page.get('next_cursor')}"
            if not page.get("next_cursor"):
                break
        else:
            pytest.fail("the listing does not end")
    return found


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "openbell", *map(str, arguments)]


@contextmanager
def checking(url: str, out: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A run under way; what it says goes into a file beside `out`."""
    with (out.parent / "said").open("wb") as said:
        process = subprocess.Popen(command("check", PROFILE, "--base-url", url, "--out", out, *arguments), stdout=said,
                                   stderr=said, cwd=out.parent, env={**os.environ, SECRET: CANARY})
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def wait_for(state: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 30) -> float:
    """Looks until the state is there; seconds that it took."""
    began = time.monotonic()
    while not state():
        assert process.poll() is None or state(), "the run ended before"
        assert time.monotonic() - began < seconds, "it did not come in time"
        time.sleep(0.01)
    return time.monotonic() - began


def left_open(out: Path, least: int) -> Callable[[], bool]:
    """Whether the journal tells of so many things made and not undone."""
    def state() -> bool:
        journal = next(iter(out.glob("*/events.jsonl")), None)
        text = journal.read_bytes() if journal else b""
        return text.count(b'"name":"made"') - text.count(b'"name":"undone"') >= least
    return state


def unleaked(folder: Path, secrets: set[str]) -> None:
    """No secret stands in any file of the folder, in any spelling."""
    sought = {spelling for secret in secrets for spelling in spellings(secret)}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path.name for path in files for spelling in sought if spelling in path.read_bytes()]


def test_what_a_killed_run_leaves_can_be_judged_and_undone(server, tmp_path):
    before, out = open_orders(server.url), tmp_path / "out"
    with checking(server.url, out) as process:
        wait_for(left_open(out, 12), process)
        process.send_signal(signal.SIGKILL)
    [run] = out.iterdir()
    assert open_orders(server.url)["acct-pages"] > before["acct-pages"]

    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "events.jsonl").write_bytes((run / "events.jsonl").read_bytes()[:-9])
    judged = openbell("judge", torn / "events.jsonl", cwd=tmp_path)
    assert judged.returncode == 2, judged.stdout + judged.stderr
    assert "the journal is not whole" in judged.stdout
    jsonschema.validate(results(torn), SCHEMA)
    assert results(torn)["torn"]
    assert "Traceback" not in judged.stderr

    cleaned = openbell("cleanup", run, "--base-url", server.url, cwd=tmp_path)
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert "Traceback" not in cleaned.stderr
    assert open_orders(server.url) == before
    (tmp_path / "messages").write_text(judged.stdout + judged.stderr + cleaned.stdout + cleaned.stderr)
    assert len(server.tokens()) > 5
    unleaked(tmp_path, {CANARY, *server.tokens()})


def test_an_interrupted_run_tells_what_it_knows_and_tidies_up(server, tmp_path):
    before, out = open_orders(server.url), tmp_path / "out"
    with checking(server.url, out) as process:
        wait_for(left_open(out, 12), process)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        wait_for(lambda: bool(list(out.glob("*/results.json")) and list(out.glob("*/report.html"))), process, 2)
        assert process.wait(12 - (time.monotonic() - began)) == 130
    [run] = out.iterdir()
    jsonschema.validate(results(run), SCHEMA)
    assert results(run)["conforms"] is not True
    assert {r["verdict"] for r in results(run)["results"]} <= {"pass", "inconclusive"}
    assert b"Traceback" not in (tmp_path / "said").read_bytes()
    assert open_orders(server.url) == before
    unleaked(tmp_path, {CANARY, *server.tokens()})


def test_an_interruption_of_the_tidying_up(server, tmp_path):
    out = tmp_path / "out"
    with checking(server.url, out) as process:
        wait_for(left_open(out, 12), process)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: bool(list(out.glob("*/report.html"))), process, 5)
        process.send_signal(signal.SIGINT)
        assert process.wait(12) == 130
    assert b"Traceback" not in (tmp_path / "said").read_bytes()
    [run] = out.iterdir()
    assert openbell("cleanup", run, "--base-url", server.url, cwd=tmp_path).returncode == 0


def test_an_interruption_while_the_target_is_waited_for(tmp_path):
    out = tmp_path / "out"
    with checking("http://127.0.0.1:9", out, "--wait-ready", 60) as process:
        wait_for(lambda: bool(list(out.glob("*/events.jsonl"))), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(12) == 130
    [run] = out.iterdir()
    jsonschema.validate(results(run), SCHEMA)
    assert b"Traceback" not in (tmp_path / "said").read_bytes()


@pytest.mark.parametrize("out", ["/dev/null/out", "profile.toml", "profile.toml/out", "/proc/out"])
def test_a_folder_that_cannot_be_written(tmp_path, out):
    (tmp_path / "profile.toml").write_text(PROFILE.read_text())
    done = openbell("check", "profile.toml", "--base-url", "http://127.0.0.1:9", "--out", out, cwd=tmp_path)
    assert done.returncode == 3
    assert "--out" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len([line for line in done.stderr.splitlines() if "rror" in line or "annot" in line]) == 1, done.stderr


@pytest.mark.parametrize("arguments", [
    ("demo", "--only", "COR-001"), ("prove", "--only", "always-200"), ("judge", "recorded.har"),
    ("judge", "torn.jsonl"), ("load", "steady", PROFILE, "--base-url", "http://127.0.0.1:9"),
])
def test_every_command_says_that_out_cannot_be_written(tmp_path, arguments):
    entry = {"startedDateTime": "2026-01-01T00:00:00Z", "time": 1, "response": {"status": 200, "headers": []},
             "request": {"method": "GET", "url": "http://x.example/", "headers": []}}
    (tmp_path / "recorded.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    header = {"kind": "header", "format": "openbell-journal", "version": 1, "suite": "0", "run": "r", "seed": 0,
              "started": "2026-01-01T00:00:00+00:00", "target": "t", "profile": {}, "selection": {}, "pack": None,
              "accepted": [], "source": "check"}
    (tmp_path / "torn.jsonl").write_text(json.dumps(header) + "\n")
    done = openbell(*arguments, "--out", "/proc/out", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1] == (
        "/proc/out cannot be written to: No such file or directory; --out names another folder")
    assert "Traceback" not in done.stdout + done.stderr


FULL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from openbell.cli import main
main()
"""


@pytest.mark.parametrize("room", [100, 100_000])
def test_a_disk_that_is_full(server, tmp_path, room):
    """No file may grow beyond a size: the journal's next line fails, as on a full disk."""
    before = open_orders(server.url)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(room), "check", PROFILE, "--base-url", server.url, "--out", tmp_path / "out"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, SECRET: CANARY})
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    *progress, failure = done.stderr.splitlines()
    assert failure == "openbell failed: OSError: [Errno 27] File too large"
    assert all(re.match(r"checking | +[0-9.]+ s ", line) for line in progress), done.stderr
    unleaked(tmp_path, {CANARY, *server.tokens()})
    [run] = (tmp_path / "out").iterdir()
    cleaned = openbell("cleanup", run, "--base-url", server.url, cwd=tmp_path)
    assert cleaned.returncode == (0 if room > 1000 else 3), cleaned.stdout + cleaned.stderr
    assert open_orders(server.url) == before
