"""mitmproxy's child as the run sees it: started when first needed, shared by all ways through it, gone with the run.

Its certificate authority lives in a temporary directory that both processes remove. A child that does not start, or
dies, is told as `ProxyLost`; nothing that was recorded is lost with it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import ssl
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from openbell.child import bare, ended

MODULE = "openbell.mitm_child"
CA = "mitmproxy-ca-cert.pem"
START_S = 10.0
ANSWER_S = 15.0
END_S = 5.0


class ProxyLost(Exception):
    """The proxy did not start, or is gone, or did not do what it was told."""


class Proxy:
    """One child. `hear` of a way gets its lines: `fired`, `reached`, `failed`."""

    def __init__(self) -> None:
        self.lost: str | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="openbell-proxy-"))
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ears: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._ready = asyncio.Event()

    async def start(self, trust: str | None) -> None:
        """Starts it; `trust` is a CA bundle for the target's side. Raises ProxyLost."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", MODULE, stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
            env={**bare(), "HOME": str(self._folder)}, start_new_session=True)
        self._reading = asyncio.create_task(self._read(self._process))
        bundle = trust or ssl.get_default_verify_paths().cafile
        self._say({"confdir": str(self._folder), "trust": bundle})
        try:
            async with asyncio.timeout(START_S):
                await self._ready.wait()
        except TimeoutError:
            self.lost = f"it was not ready within {START_S:g} s"
        if self.lost:
            raise ProxyLost(self.lost)

    def tls(self) -> ssl.SSLContext:
        """What trusts the proxy's own authority, and nothing else."""
        return ssl.create_default_context(cafile=str(self._folder / CA))

    async def open(self, way: str, to: str, hear: Callable[[dict[str, Any]], None]) -> int:
        """A new port for a way to `scheme://host:port`. Raises ProxyLost."""
        self._ears[way] = hear
        return int((await self.ask("open", way, to=to))["port"])

    async def ask(self, do: str, way: str, **more: Any) -> dict[str, Any]:
        """Says a line and gives its answer; what the child said before was heard by then. Raises ProxyLost."""
        if self.lost:
            raise ProxyLost(self.lost)
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._say({"do": do, "id": number, "way": way, **more})
        try:
            async with asyncio.timeout(ANSWER_S):
                said: dict[str, Any] = await answer
        except TimeoutError:
            raise ProxyLost(f"it did not answer within {ANSWER_S:g} s") from None
        finally:
            self._answers.pop(number, None)
        if "error" in said:
            raise ProxyLost(f"it could not {do} the way: {said['error']}")
        return said

    def forget(self, way: str) -> None:
        """No more is heard of a way."""
        self._ears.pop(way, None)

    def _say(self, line: dict[str, Any]) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hears what the child says until it says no more, which is its end."""
        with suppress(OSError, ValueError):
            while process.stdout and (line := await process.stdout.readline()):
                self._heard(json.loads(line))
        self.lost = self.lost or "its process ended"
        self._ready.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ProxyLost(self.lost))

    def _heard(self, said: dict[str, Any]) -> None:
        did = said.get("did")
        if did == "ready":
            self._ready.set()
        elif (answer := self._answers.get(said.get("id", 0))) is not None:
            if not answer.done():
                answer.set_result(said)
        elif ear := self._ears.get(str(said.get("way"))):
            ear(said)

    async def close(self) -> None:
        """Ends the child and removes its authority."""
        self.lost = self.lost or "it was closed"
        if self._process:
            await ended(self._process, END_S)
        if self._reading:
            await self._reading
        shutil.rmtree(self._folder, ignore_errors=True)
