"""Serving: uvicorn (h11) on loopback ports, any number of applications in one event loop."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal

import uvicorn

from openbell.reference_server.behaviour import AsgiApp
from openbell.reference_server.nulls import Hosted

KEEP_ALIVE_S = 120
TICK_S = 1.0


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 lets the system choose."""
    # With the protocol named, asyncio sets TCP_NODELAY on accepted connections; else each reply waits 40 ms for an ACK.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    return made


def url_of(bound: socket.socket) -> str:
    """The base URL of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def start(app: AsgiApp, bound: socket.socket) -> uvicorn.Server:
    """A uvicorn server that listens on the socket; its Date field is renewed by `ticking`."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws=getattr(app, "stream", "none"),
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[bound])
    await server.on_tick(0)
    return server


async def ticking(servers: list[uvicorn.Server]) -> None:
    """Renews the servers' Date field every second, for ever."""
    while True:
        await asyncio.sleep(TICK_S)
        for server in servers:
            await server.on_tick(0)


async def stop(server: uvicorn.Server) -> None:
    """Ends a server and every connection to it."""
    for connection in list(server.server_state.connections):
        transport = getattr(connection, "transport", None)
        if transport is not None:
            transport.abort()
    await server.shutdown()


@contextlib.asynccontextmanager
async def app_on(bound: socket.socket, app: AsgiApp, servers: list[uvicorn.Server]) -> AsyncIterator[None]:
    """Serves an application on a bound socket inside the block; its server is among `servers` meanwhile."""
    server = await start(app, bound)
    servers.append(server)
    try:
        yield
    finally:
        servers.remove(server)
        await stop(server)


@contextlib.asynccontextmanager
async def serving(
    apps: Mapping[str, AsgiApp], host: str = "127.0.0.1", port: int = 0, hosted: Mapping[str, Hosted] | None = None
) -> AsyncIterator[dict[str, str]]:
    """Serves everything inside the block and gives the base URL of each; a port other than 0 is for one of them."""
    servers: list[uvicorn.Server] = []
    urls: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        for name in (*apps, *(hosted or {})):
            bound = stack.enter_context(contextlib.closing(bind(host, port)))
            urls[name] = url_of(bound)
            running = app_on(bound, apps[name], servers) if name in apps else (hosted or {})[name](bound)
            await stack.enter_async_context(running)
        ticker = asyncio.create_task(ticking(servers))
        try:
            yield urls
        finally:
            ticker.cancel()


async def stdin_ended() -> None:
    """Returns when standard input reaches its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1 << 16):
        pass


async def ended() -> Literal[True]:
    """`stdin_ended`, as a wait beside the signals'."""
    await stdin_ended()
    return True


@contextlib.contextmanager
def end_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set, instead of ending the process."""
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    try:
        yield signalled
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def asked_to_end(signalled: asyncio.Event, *, stdin_ends: bool) -> None:
    """Returns when the event is set, and at the end of standard input where that is asked for."""
    tasks = [asyncio.create_task(signalled.wait())]
    if stdin_ends:
        tasks.append(asyncio.create_task(ended()))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def say_ready(ready: str | Mapping[str, str]) -> None:
    """The one line on standard output that says where the servers are."""
    sys.stdout.write(json.dumps({"ready": ready}) + "\n")
    sys.stdout.flush()


async def serve_until_asked(
    apps: Mapping[str, AsgiApp], host: str, port: int, *, stdin_ends: bool, hosted: Mapping[str, Hosted] | None = None
) -> None:
    """Serves until asked to end; says what is ready: one URL for one nameless server, else one by each name."""
    with end_signals() as signalled:
        async with serving(apps, host, port, hosted) as urls:
            say_ready(urls.get("", urls))
            await asked_to_end(signalled, stdin_ends=stdin_ends)


def serve(host: str, port: int, app: AsgiApp, *, stdin_ends: bool = False) -> None:
    """Serves one application until it is asked to end; prints its base URL as one JSON line when it is ready."""
    asyncio.run(serve_until_asked({"": app}, host, port, stdin_ends=stdin_ends))


def main_serve(options: Mapping[str, Any], secret: str) -> int:
    """Serves as `options` say: host, port, defects, benign, token_lifetime, log, database. Gives the exit code."""
    from openbell.reference_server.command import Options, run

    return run(
        Options(
            host=options["host"],
            port=options["port"],
            variants=tuple(
                f"{kind}:{name}" for kind, key in (("defect", "defects"), ("benign", "benign")) for name in options[key]
            ),
            token_lifetime=options["token_lifetime"],
            log=options["log"],
            database=options.get("database"),
        ),
        secret,
    )
