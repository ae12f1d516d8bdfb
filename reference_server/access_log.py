"""The access log: one JSON line per request, written when its reply starts."""

import json
import time
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


def logged(app: AsgiApp, path: Path) -> AsgiApp:
    """The application with a log; several applications may share a file, for every line is appended at once."""
    out: TextIO = path.open("a", buffering=1, encoding="utf-8")

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                out.write(line(scope, message["status"]))
            await send(message)

        await app(scope, receive, noted)

    return wrapped
