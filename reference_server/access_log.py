"""The access log: one JSON line per request, written when its reply starts; a stream's handshake is one too."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from openbell.reference_server.behaviour import AsgiApp

TRAIL = "openbell.trail"


def line(scope: Any, status: int) -> str:
    """time in seconds since the epoch when the reply started; client is null where no token was accepted."""
    trail = scope.get(TRAIL)
    client = trail.client if trail else None
    entry = {"time": time.time(), "client": client, "method": scope["method"], "path": scope["path"], "status": status}
    return json.dumps(entry) + "\n"


Log = Callable[[Any, int], None]


def no_log(_scope: Any, _status: int) -> None:
    """Where no log is asked for."""


def opened(path: Path | None) -> Log:
    """Writes the line of a request; several applications may share a file, for every line is appended at once."""
    if path is None:
        return no_log
    out: TextIO = path.open("a", buffering=1, encoding="utf-8")

    def log(scope: Any, status: int) -> None:
        out.write(line(scope, status))

    return log


def logged(app: AsgiApp, log: Log) -> AsgiApp:
    """The application with a log."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                log(scope, message["status"])
            await send(message)

        await app(scope, receive, noted)

    return wrapped
