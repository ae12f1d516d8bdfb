"""The relay: a way to the target on which bytes are cut, held up or swallowed, and which sees the target's side."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from openbell.faults import Fired, Refuse, RelayFault, Seen, kind
from openbell.relayed import Conn, reset

LOOPBACK = "127.0.0.1"
DIAL_S = 10.0
KEPT = 10_000


def bound() -> socket.socket:
    """A socket with a port of its own on the loopback, not yet listening or connected."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.bind((LOOPBACK, 0))
    return sock


class Relay:
    """Listens on the loopback for one target. What it sees of the target's side is in `witness`, oldest first.

    `on_ended` is told when the target has ended a connection, or else when the relay has.
    """

    def __init__(self, host: str, port: int, fault: RelayFault, seed: str, on_fired: Callable[[Fired], None],
                 on_ended: Callable[[Seen], None]) -> None:
        self.fault = fault
        self.witness: deque[Seen] = deque(maxlen=KEPT)
        self._target = (host, port)
        self._seed = seed
        self._on_fired, self._on_ended = on_fired, on_ended
        self._conns: set[Conn] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening, self._refusing = bound(), bound()

    def start(self) -> None:
        """Listens."""
        self._listening.listen(128)
        self._spawn(self._accept())

    def address(self) -> tuple[str, int]:
        """Where to dial at this moment. Under `Refuse` a port that refuses; asking for it is when that fires."""
        if isinstance(self.fault, Refuse):
            self._on_fired(Fired(kind(self.fault), monotonic(), None))
        sock = self._refusing if isinstance(self.fault, Refuse) else self._listening
        return LOOPBACK, sock.getsockname()[1]

    def inject(self, fault: RelayFault, *, live: bool = False) -> None:
        """The fault of later connections; `live` arms it on those that are open as well, counted from now."""
        self.fault = fault
        for conn in tuple(self._conns) if live else ():
            conn.arm(fault)

    async def close(self) -> None:
        """Ends everything, open connections by a reset."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listening.close()
        self._refusing.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        number = 0
        while True:
            client, peer = await asyncio.get_running_loop().sock_accept(self._listening)
            number += 1
            self._spawn(self._serve(client, peer[1], f"{self._seed}:{number}"))

    async def _serve(self, client: socket.socket, peer: int, seed: str) -> None:
        """Relays one connection; where the target cannot be reached, the client's is reset."""
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = await _dialled(*self._target)
        except OSError:
            reset(client)
            return
        except asyncio.CancelledError:
            reset(client)
            raise
        seen = Seen(peer, monotonic())
        self.witness.append(seen)
        conn = Conn(self.fault, client, server, seen, seed, self._on_fired, self._on_ended)
        self._conns.add(conn)
        try:
            await conn.run()
        finally:
            self._conns.discard(conn)
            if seen.ended is None:
                self._on_ended(seen)


async def _dialled(host: str, port: int) -> socket.socket:
    """A connection to the target, by the first of its addresses that takes one. Raises OSError."""
    loop = asyncio.get_running_loop()
    failure = OSError("the name has no address")
    async with asyncio.timeout(DIAL_S):
        for family, kind_, proto, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind_, proto)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
    raise failure
