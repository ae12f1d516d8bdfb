"""The reference server and openbell as processes, for tests that go from end to end."""

import json
import os
import secrets
import subprocess
import sys
import urllib.parse
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

HOUSE = Path(__file__).parents[1]
PROFILE = HOUSE / "profiles" / "reference.toml"
SECRET = "OPENBELL_REFERENCE_SECRET"
CANARY = 'pa"ss/wörd+=%' + secrets.token_hex(4)


@asynccontextmanager
async def listening(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server in this loop that answers everything so; gives its URL."""
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def reference_server(*arguments: str, secret: str = CANARY) -> Iterator[str]:
    """A reference server in a process of its own; gives its URL, and ends it by closing its stdin."""
    with reference_process(*arguments, secret=secret) as (url, _):
        yield url


@contextmanager
def reference_process(*arguments: str, secret: str = CANARY) -> Iterator[tuple[str, int]]:
    """The same; gives its URL and the number of its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "openbell.reference_server", "--port", "0", "--stdin-ends", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, SECRET: secret})
    assert process.stdin
    assert process.stdout
    try:
        yield json.loads(process.stdout.readline())["ready"], process.pid
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def openbell(*arguments: str | Path, cwd: Path, environment: dict[str, str] | None = None, timeout: float = 120,
             ) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a folder and gives what came of it."""
    return subprocess.run(
        [sys.executable, "-m", "openbell", *map(str, arguments)], cwd=cwd, text=True, capture_output=True,
        timeout=timeout, check=False, env={**os.environ, SECRET: CANARY, **(environment or {})})


def checked(url: str, folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """`openbell check` of a reference server; gives what came of it and the run's folder."""
    done = openbell("check", PROFILE, "--base-url", url, "--out", folder, *arguments, cwd=folder)
    runs = sorted(p for p in folder.iterdir() if (p / "events.jsonl").exists())
    return done, runs[-1]


def results(run: Path) -> dict[str, Any]:
    """The results of a run's folder."""
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def verdicts(run: Path) -> dict[tuple[str, str], str]:
    """Verdict by check and subject."""
    return {(r["check"], r["subject"]): r["verdict"] for r in results(run)["results"]}


def rules(run: Path, check: str) -> set[str]:
    """The rules by which a check is red."""
    return {f["rule"] for r in results(run)["results"] if r["check"] == check for f in r["findings"]}


def spellings(secret: str) -> set[bytes]:
    """A secret as it may stand in a file."""
    raw = secret.encode()
    texts = {secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret),
             raw.hex(), secret.encode("latin-1").hex(),
             *(b64encode(b"\0" * shift + raw).decode()[4:-4] for shift in range(3))}
    return {text.encode() for text in texts}


def events(run: Path, kinds: Sequence[str] = ("exchange",)) -> list[dict[str, Any]]:
    """The journal's events of some kinds."""
    lines = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return [e for e in lines if e["kind"] in kinds]
