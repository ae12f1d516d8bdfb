"""mitmproxy in a process of its own: JSON lines in on stdin, JSON lines out on stdout, and the end of stdin ends it.

    {"confdir": DIR, "trust": FILE or null}                                       the first line; the answer is "ready"
    {"do": "open", "id": N, "way": W, "to": "https://host:port"}                  -> {"did": "open", "id", "port"}
    {"do": "inject", "id": N, "way": W, "fault": {"kind", ..., "method", "path"}} -> {"did": "inject", "id"}
    {"do": "tell" | "close", "id": N, "way": W}                                   -> {"did": "tell" | "close", "id"}
    {"did": "fired" | "reached" | "failed", "way": W, "peer", "at", ...}          what happens between

No content, path or header of any flow is ever said, and no flow is kept or written. Its certificate authority is made
in `confdir`, which goes when the process goes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import resource
import shutil
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mitmproxy import ctx, http, options
from mitmproxy.addons.core import Core
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.master import Master
from mitmproxy.proxy.mode_servers import AsyncioServerInstance
from mitmproxy.websocket import WebSocketMessage

from openbell.events import Message
from openbell.locate import all_hold

MEMORY = 256 * 1024 * 1024
BODY_LIMIT = "8m"


def say(did: str, **data: Any) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps({"did": did, **data}) + "\n")
    sys.stdout.flush()


@dataclass
class Way:
    """One way: where it listens, its fault, and how often that was met and has taken effect."""

    name: str
    server: AsyncioServerInstance[Any]
    fault: dict[str, Any] = field(default_factory=dict)
    met: int = 0
    left: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def arm(self, fault: dict[str, Any]) -> None:
        """Another fault; its counts begin anew."""
        self.fault, self.met, self.left = fault, 0, fault["times"]
        self.counts.clear()

    def takes(self, *kinds: str) -> bool:
        """Whether the fault is of one of these kinds and has not been used up."""
        return self.left > 0 and self.fault["kind"] in kinds


class Faults:
    """The addon in which faults take effect."""

    def __init__(self) -> None:
        self.ways: dict[int, Way] = {}

    def _way(self, flow: http.HTTPFlow) -> Way | None:
        return self.ways.get(flow.client_conn.sockname[1])

    def _fires(self, flow: http.HTTPFlow, *kinds: str) -> Way | None:
        """The way of a flow whose fault takes effect on it now."""
        way = self._way(flow)
        if way is None or not way.takes(*kinds) or not _is_of(way.fault, flow.request):
            return None
        way.met += 1
        return self._fired(way, flow) if way.met >= way.fault["nth"] else None

    @staticmethod
    def _fired(way: Way, flow: http.HTTPFlow) -> Way:
        way.left -= 1
        status = flow.response.status_code if flow.response and not flow.websocket else None
        say("fired", way=way.name, kind=way.fault["kind"], peer=flow.client_conn.peername[1], at=time.monotonic(),
            status=way.fault.get("status", status))
        return way

    def request(self, flow: http.HTTPFlow) -> None:
        """A request has come; an injected reply keeps it from the target."""
        if way := self._fires(flow, "InjectStatus"):
            fault = way.fault
            lines = [(name.encode(), value.encode()) for name, value in fault["headers"]]
            flow.response = http.Response.make(fault["status"], fault["body"].encode(), lines)
            flow.metadata["injected"] = True

    async def response(self, flow: http.HTTPFlow) -> None:
        """The target has answered."""
        way = self._way(flow)
        if way is None or flow.response is None or flow.metadata.get("injected"):
            return
        say("reached", way=way.name, peer=flow.client_conn.peername[1], at=time.monotonic(),
            method=flow.request.method, status=flow.response.status_code)
        if self._fires(flow, "LoseReply"):
            flow.kill()  # type: ignore[no-untyped-call]
        elif late := self._fires(flow, "DelayReply"):
            await asyncio.sleep(late.fault["seconds"])

    def error(self, flow: http.HTTPFlow) -> None:
        """No answer came: what the client gets then is of the proxy's own making."""
        way = self._way(flow)
        if way and flow.error and flow.error.msg != flow.error.KILLED_MESSAGE:
            say("failed", way=way.name, peer=flow.client_conn.peername[1], at=time.monotonic())

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """A message of a stream; those before it are forgotten."""
        way, stream = self._way(flow), flow.websocket
        if way is None or stream is None:
            return
        message = stream.messages[-1]
        del stream.messages[:-1]
        if message.injected:
            return
        direction = "up" if message.from_client else "down"
        way.counts[flow.id, direction] += 1
        if not way.takes("DropMessage", "DelayMessage", "DuplicateMessage", "ReplaceMessage"):
            return
        if way.fault["direction"] == direction and _is_meant(way.fault["which"], way.counts[flow.id, direction],
                                                             message):
            self._fired(way, flow)
            await _done_to(way.fault, flow, message)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A stream has ended; so do its counts."""
        if way := self._way(flow):
            for direction in ("up", "down"):
                way.counts.pop((flow.id, direction), None)


def _is_of(fault: dict[str, Any], request: http.Request) -> bool:
    if not fault["path"]:
        return True
    path = request.path.partition("?")[0]
    return request.method == fault["method"] and re.fullmatch(fault["path"], path) is not None


def _is_meant(which: int | dict[str, Any], number: int, message: WebSocketMessage) -> bool:
    if isinstance(which, int):
        return number >= which
    return all_hold([which], None, Message(content=message.content))


async def _done_to(fault: dict[str, Any], flow: http.HTTPFlow, message: WebSocketMessage) -> None:
    match fault["kind"]:
        case "DropMessage":
            message.drop()  # type: ignore[no-untyped-call]
        case "DelayMessage":
            await asyncio.sleep(fault["seconds"])
        case "DuplicateMessage":
            ctx.master.commands.call("inject.websocket", flow, not message.from_client, message.content,
                                     message.is_text)
        case "ReplaceMessage":
            message.content = fault["content"].encode()


# --- what the parent says


class Control:
    """Does what the parent says, one line after another."""

    def __init__(self, faults: Faults, proxy: Proxyserver) -> None:
        self._faults, self._proxy = faults, proxy
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def hear(self, line: dict[str, Any]) -> None:
        """Takes a line."""
        self._lines.put_nowait(line)

    async def work(self) -> None:
        """Does and answers, for ever."""
        while True:
            line = await self._lines.get()
            try:
                answer = await getattr(self, "_" + line["do"])(line)
                say(line["do"], id=line["id"], **answer)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong is told, and the process goes on
                say(line["do"], id=line["id"], error=type(error).__name__)

    async def _open(self, line: dict[str, Any]) -> dict[str, Any]:
        mode = f"reverse:{line['to']}@127.0.0.1:0"
        server: AsyncioServerInstance[Any] = AsyncioServerInstance.make(mode, self._proxy)
        await server.start()
        port = server.listen_addrs[0][1]
        self._faults.ways[port] = Way(line["way"], server)
        return {"port": port}

    async def _inject(self, line: dict[str, Any]) -> dict[str, Any]:
        for way in self._of(line):
            way.arm(line["fault"])
        return {}

    async def _tell(self, _line: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def _close(self, line: dict[str, Any]) -> dict[str, Any]:
        for way in self._of(line):
            await way.server.stop()
        self._faults.ways = {p: w for p, w in self._faults.ways.items() if w.name != line["way"]}
        return {}

    def _of(self, line: dict[str, Any]) -> list[Way]:
        return [w for w in self._faults.ways.values() if w.name == line["way"]]


def _listen(loop: asyncio.AbstractEventLoop, control: Control, confdir: str) -> None:
    """Reads the parent's lines; their end is the end, whatever the loop is doing."""
    for line in sys.stdin:
        with suppress(ValueError):
            loop.call_soon_threadsafe(control.hear, json.loads(line))
    shutil.rmtree(confdir, ignore_errors=True)
    os._exit(0)


async def run(start: dict[str, Any]) -> None:
    """Serves until stdin ends."""
    master = Master(options.Options(listen_host="127.0.0.1"))
    faults, proxy = Faults(), Proxyserver()  # type: ignore[no-untyped-call]
    master.addons.add(Core(), proxy, NextLayer(), TlsConfig(), faults)  # type: ignore[no-untyped-call]
    master.options.update(  # type: ignore[no-untyped-call]
        confdir=start["confdir"], server=False, mode=[], keep_host_header=True, http2=False, http3=False,
        body_size_limit=BODY_LIMIT, ssl_verify_upstream_trusted_ca=start["trust"])
    control = Control(faults, proxy)
    working = asyncio.create_task(control.work())
    threading.Thread(target=_listen, args=(asyncio.get_running_loop(), control, start["confdir"]), daemon=True).start()
    say("ready")
    await master.run()
    working.cancel()


class OutOfMemory(logging.Handler):
    """mitmproxy logs what is raised in it and goes on; without memory it must not."""

    def emit(self, record: logging.LogRecord) -> None:
        """Ends the process where that was for want of memory."""
        if record.exc_info and isinstance(record.exc_info[1], MemoryError):
            os._exit(1)


def main() -> None:
    """The process. An endless message of a stream is held until its memory is used up, and it ends."""
    logging.getLogger().addHandler(OutOfMemory())
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    asyncio.run(run(json.loads(sys.stdin.readline())))


if __name__ == "__main__":
    main()
