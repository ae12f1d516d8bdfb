"""Children of a run: started with JSON lines on stdout, ended by the end of their stdin. None outlives its parent."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

START_S = 30.0
END_S = 5.0
KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class ChildFailed(Exception):
    """A child did not start, or said nothing that can be understood."""


def bare(*more: str) -> dict[str, str]:
    """What a Python process needs of the environment, and what is named: secrets of the environment stay here."""
    return {name: os.environ[name] for name in (*KEPT, *more) if name in os.environ}


@asynccontextmanager
async def child(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """Runs `python -m module` and gives its first JSON line (`{"ready": ...}`). Raises ChildFailed.

    `environment` is added to the parent's; secrets travel there, never on the command line.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, env={**os.environ, **environment}, start_new_session=True)
    try:
        yield await _first_line(process, module)
    finally:
        await ended(process, END_S, gently=True)


async def _first_line(process: asyncio.subprocess.Process, module: str) -> dict[str, Any]:
    if process.stdout is None:
        raise ChildFailed(f"{module} has no output")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        said = json.loads(line)
    except (TimeoutError, ValueError) as error:
        raise ChildFailed(f"{module} did not start: {type(error).__name__}") from error
    if not isinstance(said, dict):
        raise ChildFailed(f"{module} said something else than a JSON object")
    return said


async def ended(process: asyncio.subprocess.Process, within_s: float, *, gently: bool = False) -> None:
    """Closes a child's stdin and waits for its end; one that does not end by itself is killed, `gently` asked first."""
    if process.stdin:
        process.stdin.close()
    for signal_it in (None, *((process.terminate,) if gently else ()), process.kill):
        with suppress(ProcessLookupError):
            if signal_it:
                signal_it()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), within_s)
            return
