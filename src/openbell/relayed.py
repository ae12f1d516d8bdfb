"""One connection through the relay, from its beginning to its end, under one fault.

Plain sockets below TLS, one chunk of either direction at a time: no more than that is held (by a `Delay`, a few), and a
side that does not read is felt by the other. What a fault's `after_bytes` leaves passes, then it takes effect.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import random
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from openbell.faults import (
    Bandwidth,
    BlackHole,
    Cut,
    Delay,
    Direction,
    Fired,
    HalfOpen,
    RelayFault,
    Seen,
    Stall,
    StopReading,
    kind,
)

CHUNK = 64 * 1024
HELD = 16
SLICE_S = 0.05
GOODBYE_S = 2.0
FLUSH_S = 1.0
TICK_S = 0.002
LINGER = struct.pack("ii", 1, 0)
Counting = Cut | Stall | BlackHole | HalfOpen | StopReading
End = Literal["done", "reset", "close", "hole", "half"]


@dataclass
class Lane:
    """One direction: where bytes come from and go to, and how many were passed on, also since the fault was armed."""

    direction: Direction
    source: socket.socket
    sink: socket.socket
    passed: int = 0
    since: int = 0


class Conn:
    """The two sockets of a connection, and the fault between them."""

    def __init__(self, fault: RelayFault, client: socket.socket, server: socket.socket, seen: Seen, seed: str,
                 on_fired: Callable[[Fired], None], on_ended: Callable[[Seen], None]) -> None:
        self.seen = seen
        self._on_ended = on_ended
        self._client, self._server = client, server
        self._lanes: dict[Direction, Lane] = {"up": Lane("up", client, server), "down": Lane("down", server, client)}
        self._fault, self._armed = fault, True
        self._seed, self._on_fired = seed, on_fired
        self._open = len(self._lanes)
        self._ending: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    def arm(self, fault: RelayFault) -> None:
        """Another fault from now on, its bytes counted from now; one that ends the connection after 0 does so at once.

        A `Delay` needs a new connection.
        """
        self._fault, self._armed = fault, True
        for lane in self._lanes.values():
            lane.since = lane.passed
        if isinstance(fault, Cut | BlackHole | HalfOpen) and fault.after_bytes == 0:
            self._fired(self._lanes[fault.direction])
            self._end(_END[type(fault)](fault))

    async def run(self) -> None:
        """Passes bytes until the connection has ended; both sockets are closed then."""
        pumps = [asyncio.create_task(self._pump(lane)) for lane in self._lanes.values()]
        try:
            try:
                end = await self._ending
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
            await self._last(end)
        finally:
            reset(self._client)
            reset(self._server)

    def _end(self, end: End) -> None:
        if not self._ending.done():
            self._ending.set_result(end)

    async def _last(self, end: End) -> None:
        """What is left to do once the pumps have stopped."""
        if end == "reset":
            await asyncio.gather(_flushed(self._client), _flushed(self._server))
        elif end == "hole":
            await asyncio.gather(self._drained(self._client), self._drained(self._server))
        elif end == "half":
            await _flushed(self._client)
            reset(self._client)
            await self._drained(self._server)
        else:
            await self._goodbye()

    async def _goodbye(self) -> None:
        """Ends both sides in order: what still comes is read, or the system would make a reset of it."""
        for sock in (self._client, self._server):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await asyncio.gather(self._drained(self._client), self._drained(self._server))
        self._client.close()
        self._server.close()

    async def _drained(self, sock: socket.socket) -> None:
        """Reads until that side ends, and forgets it."""
        async for data in self._read(sock):
            self.seen.down += len(data) if sock is self._server else 0

    # --- one direction

    async def _pump(self, lane: Lane) -> None:
        """Passes one direction on until its sender ends, or the fault ends the connection."""
        fault = self._fault
        arriving = self._late(lane, fault) if isinstance(fault, Delay) else self._read(lane.source)
        with suppress(OSError):  # the one who should get it is gone, which the other direction finds out
            async for data in arriving:
                self.seen.down += len(data) if lane.direction == "down" else 0
                if not await self._passed(lane, data):
                    return
            if not self._ending.done():
                lane.sink.shutdown(socket.SHUT_WR)
        self._open -= 1
        if not self._open:
            self._end("done")

    async def _read(self, sock: socket.socket) -> AsyncIterator[bytes]:
        """What one side sends; a reset ends the whole connection likewise."""
        loop = asyncio.get_running_loop()
        how: Literal["eof", "reset"] = "eof"
        try:
            while data := await loop.sock_recv(sock, CHUNK):
                yield data
        except OSError:
            how = "reset"
            self._end("reset")
        if sock is self._server and self.seen.ended is None:
            self.seen.ended, self.seen.ended_at = how, monotonic()
            self._on_ended(self.seen)

    async def _late(self, lane: Lane, fault: Delay) -> AsyncIterator[bytes]:
        """What one side sends, each chunk when it is due; a bounded number of them waits."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD)
        lots = random.Random(f"{self._seed}:{lane.direction}")

        async def fill() -> None:
            async for data in self._read(lane.source):
                await queue.put((monotonic() + fault.seconds + lots.uniform(0, fault.jitter), data))
            await queue.put((0.0, b""))
        filling = asyncio.create_task(fill())
        try:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(due - monotonic())
                if not data:
                    return
                yield data
        finally:
            filling.cancel()

    async def _passed(self, lane: Lane, data: bytes) -> bool:
        """Passes a chunk on, as far as the fault lets it; False when the connection has ended by it."""
        fault = self._fault
        if self._armed and isinstance(fault, Delay | Bandwidth):
            self._fired(lane)
        if not self._armed or not isinstance(fault, Counting) or fault.direction != lane.direction:
            await self._sent(lane, data)
            return True
        left = max(0, fault.after_bytes - (lane.passed - lane.since))
        if len(data) <= left:
            await self._sent(lane, data)
            return True
        await self._sent(lane, data[:left])
        self._fired(lane)
        if type(fault) in _END:
            self._end(_END[type(fault)](fault))
            return False
        if isinstance(fault, StopReading):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(fault.seconds if isinstance(fault, Stall) else 0)
        return await self._passed(lane, data[left:])

    async def _sent(self, lane: Lane, data: bytes) -> None:
        """Writes to the other side, in slices where the bandwidth is bounded."""
        loop = asyncio.get_running_loop()
        rate = self._fault.bytes_per_s if isinstance(self._fault, Bandwidth) else 0
        size = max(1, int(rate * SLICE_S)) if rate else CHUNK
        for start in range(0, len(data), size):
            piece = data[start:start + size]
            await loop.sock_sendall(lane.sink, piece)
            lane.passed += len(piece)
            self.seen.up += len(piece) if lane.direction == "up" else 0
            if rate:
                await asyncio.sleep(len(piece) / rate)

    def _fired(self, lane: Lane) -> None:
        self._armed = False
        self._on_fired(Fired(kind(self._fault), monotonic(), self.seen.peer, lane.direction, lane.passed))


_END: dict[type, Callable[[RelayFault], End]] = {
    Cut: lambda fault: fault.how if isinstance(fault, Cut) else "close",
    BlackHole: lambda _fault: "hole",
    HalfOpen: lambda _fault: "half",
}


async def _flushed(sock: socket.socket) -> None:
    """Waits, for a while, until the other side's system has all that was passed on: a reset would take it back."""
    left = array.array("i", [1])
    deadline = monotonic() + FLUSH_S
    with suppress(OSError):
        while left[0] and monotonic() < deadline:
            fcntl.ioctl(sock, termios.TIOCOUTQ, left)
            await asyncio.sleep(TICK_S if left[0] else 0)


def reset(sock: socket.socket) -> None:
    """Ends one side by a reset; nothing where it is closed already."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    sock.close()
