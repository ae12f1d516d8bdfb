"""A way to the target with a fault on it, as a scenario holds it: the `via` of what `api.through` gives.

What is injected and what takes effect are facts (`fault`, `fault_fired`); so is how the target's side of a relayed
connection ended (`fault_witness`), a reply of the proxy's own making (`fault_failed`), and that the proxy was lost
(`fault_lost`). Exchanges and frames bear the way's route, so that no traffic check cites what was made on it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, get_args
from urllib.parse import urlsplit

from openbell.events import Route
from openbell.faults import Fault, Fired, ProxyFault, Reached, RelayFault, Seen, kind, parameters
from openbell.proxying import Proxy, ProxyLost
from openbell.relay import KEPT, LOOPBACK, Relay, bound
from openbell.session import Skip
from openbell.target import path_pattern

if TYPE_CHECKING:
    from openbell.session import Session

RELAY: tuple[type, ...] = get_args(RelayFault)
PROXY: tuple[type, ...] = get_args(ProxyFault)


async def opened(session: Session, scenario: str, number: int, fault: Fault) -> Via:
    """The `number`-th way of a scenario, ready to be dialled. Raises Skip where it cannot be had."""
    if session.target.target.proxy:
        raise Skip("precondition", "target.proxy is set: no fault can be put on the way to the target")
    made = RelayVia if isinstance(fault, RELAY) else ProxyVia
    via = made(session, scenario, f"{scenario}~{number}", fault)
    try:
        await via.start()
    except (ProxyLost, OSError) as error:
        await via.close()
        raise Skip("precondition", via.lost or f"no way to the target could be opened: {error}") from error
    return via


class Via(ABC):
    """What both kinds have in common. A way leads to each host of the target that is asked on it."""

    route: Route
    tls: ssl.SSLContext | None = None
    faults: ClassVar[tuple[type, ...]]

    def __init__(self, session: Session, scenario: str, name: str, fault: Fault) -> None:
        self.session, self.scenario, self.name, self.fault = session, scenario, name, fault
        self.lost: str | None = None
        self._conns: dict[int, int] = {}
        self._hit: set[int] = set()

    async def start(self) -> None:
        """Opens the way to the base URL. Raises OSError or ProxyLost."""
        await self._opened(_origin(self.session.target.target.base_url))
        self._injected(self.fault)

    async def reach(self, url: str) -> tuple[str, int]:
        """Where to dial for a URL of the target. Raises OSError."""
        await self._opened(_origin(url))
        return self._address(_origin(url))

    def address(self) -> tuple[str, int]:
        """The host and port to dial for the base URL, at this moment."""
        return self._address(_origin(self.session.target.target.base_url))

    def socket(self, conn: int) -> socket.socket:
        """A socket to dial with, by which facts know its connection's number."""
        sock = bound()
        self._conns[sock.getsockname()[1]] = conn
        return sock

    async def inject(self, fault: Fault, *, live: bool = False) -> None:
        """Another fault of the same tool, for later connections, requests and messages.

        `live` arms one of the relay's on open connections as well, its bytes counted from now; one that ends
        connections after 0 bytes ends them at once. Raises TypeError for a fault of the other tool.
        """
        if not isinstance(fault, self.faults):
            raise TypeError(f"{kind(fault)} cannot be put on this way: open another one by api.through")
        self.fault = fault
        self._injected(fault)
        await self._inject(fault, live=live)

    @abstractmethod
    async def settled(self) -> None:
        """Waits until all is heard that has happened on the way so far. Never raises."""

    async def close(self) -> None:
        """Ends the way and what is open on it. Never raises."""
        try:
            await self.session.close_way(self.scenario, self.name)
        finally:
            await self._close()
        if self.lost:
            self.note("fault_lost", why=self.lost)

    def note(self, name: str, **data: Any) -> None:
        """A fact about this way."""
        self.session.note(self.scenario, name, {"route": self.route, "way": self.name, **data})

    def _injected(self, fault: Fault) -> None:
        self.note("fault", fault=kind(fault), parameters=parameters(fault))

    def hit(self, conn: int) -> bool:
        """Whether a fault has taken effect on a connection."""
        return conn in self._hit

    def _fired(self, fired: Fired, **data: Any) -> None:
        conn = self._conn(fired.peer)
        if conn is not None:
            self._hit.add(conn)
        self.note("fault_fired", fault=fired.fault, conn=conn, direction=fired.direction, offset=fired.offset,
                  fired=round(fired.at, 6), **data)

    def _conn(self, peer: int | None) -> int | None:
        """The number of a connection by the port that it came from; None for one that is not the harness's."""
        return self._conns.get(peer) if peer is not None else None

    # --- what each kind does in its own way

    @abstractmethod
    async def _opened(self, origin: Origin) -> None: ...

    @abstractmethod
    def _address(self, origin: Origin) -> tuple[str, int]: ...

    @abstractmethod
    async def _inject(self, fault: Any, *, live: bool) -> None: ...

    @abstractmethod
    async def _close(self) -> None: ...


class RelayVia(Via):
    """By the relay."""

    route = "relay"
    faults = RELAY

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._relays: dict[Origin, Relay] = {}
        self._news = asyncio.Event()

    @property
    def witness(self) -> tuple[Seen, ...]:
        """The target's side of the last connections, oldest first; those still open go on changing."""
        return tuple(sorted((s for r in self._relays.values() for s in r.witness), key=lambda s: s.opened))

    def seen(self, conn: int) -> Seen | None:
        """The target's side of one connection, by its number."""
        return next((s for s in self.witness if self._conn(s.peer) == conn), None)

    async def dropped(self, conn: int, seconds: float) -> Seen | None:
        """The target's side of a connection once the target has ended it; None when it does not in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not ((seen := self.seen(conn)) and seen.ended):
                    self._news.clear()
                    await self._news.wait()
                return seen
        return None

    async def settled(self) -> None:
        """What the relay does is heard as it does it."""

    async def _opened(self, origin: Origin) -> None:
        if origin not in self._relays:
            seed = f"{self.session.seed}:{self.name}:{len(self._relays)}"
            fault: Any = self.fault
            relay = Relay(origin[1], origin[2], fault, seed, self._fired, self._ended)
            relay.start()
            self._relays[origin] = relay

    def _address(self, origin: Origin) -> tuple[str, int]:
        return self._relays[origin].address()

    async def _inject(self, fault: Any, *, live: bool) -> None:
        for relay in self._relays.values():
            relay.inject(fault, live=live)

    async def _close(self) -> None:
        for relay in self._relays.values():
            await relay.close()

    def _ended(self, seen: Seen) -> None:
        self._news.set()
        self.note("fault_witness", conn=self._conn(seen.peer), up=seen.up, down=seen.down, ended=seen.ended,
                  ended_at=seen.ended_at and round(seen.ended_at, 6))


class ProxyVia(Via):
    """By mitmproxy in its child."""

    route = "proxy"
    faults = PROXY

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._ports: dict[Origin, int] = {}
        self._proxy: Proxy | None = None
        self._reached: deque[Reached] = deque(maxlen=KEPT)

    @property
    def witness(self) -> tuple[Reached, ...]:
        """The last exchanges that the target answered on this way, oldest first."""
        return tuple(self._reached)

    async def start(self) -> None:
        """Starts the child where this is its first way."""
        try:
            self._proxy = await self.session.proxy()
            self.tls = self._proxy.tls()
            await super().start()
            await self._proxy.ask("inject", self.name, fault=self._told(self.fault))
        except (ProxyLost, OSError) as error:
            self.lost = f"the fault proxy could not be had: {error}"
            raise

    async def _opened(self, origin: Origin) -> None:
        if origin in self._ports or self._proxy is None:
            return
        scheme, host, port = origin
        netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._ports[origin] = await self._proxy.open(self.name, f"{scheme}://{netloc}", self._heard)
        except ProxyLost as error:
            raise OSError(str(error)) from error

    def _address(self, origin: Origin) -> tuple[str, int]:
        return LOOPBACK, self._ports[origin]

    async def _inject(self, fault: Any, *, live: bool) -> None:
        del live  # requests and messages of open connections meet it anyway
        await self._asked("inject", fault=self._told(fault))

    def _told(self, fault: Fault) -> dict[str, Any]:
        """A fault as the child hears it: an operation by its method and what its path is matched by."""
        told = {"kind": kind(fault), "method": "", "path": "", **parameters(fault)}
        if told.get("operation"):
            target = self.session.target
            operation = target.operation[str(told["operation"])]
            base = path_pattern(urlsplit(target.target.base_url).path).pattern
            told |= {"method": operation.method, "path": base + path_pattern(operation.path).pattern}
        return told

    async def settled(self) -> None:
        """Waits until all is heard that the child has said so far."""
        await self._asked("tell")

    async def _close(self) -> None:
        """Closes the way in the child; that it answers is how it is known to have been there to the end."""
        await self._asked("close")
        if self._proxy:
            self._proxy.forget(self.name)

    async def _asked(self, do: str, **more: Any) -> None:
        """Asks the child; that it is lost is told at the end of the way."""
        try:
            if self._proxy and not self.lost:
                await self._proxy.ask(do, self.name, **more)
        except ProxyLost as error:
            self.lost = f"the fault proxy was lost during the scenario: {error}"

    def _heard(self, said: dict[str, Any]) -> None:
        peer, at = said["peer"], said["at"]
        match said["did"]:
            case "fired":
                self._fired(Fired(said["kind"], at, peer), status=said["status"])
            case "reached":
                self._reached.append(Reached(peer, at, said["method"], said["status"]))
            case "failed":
                self.note("fault_failed", conn=self._conn(peer), failed=round(at, 6))


Origin = tuple[str, str, int]


def _origin(url: str) -> Origin:
    """Scheme, host and port of an http(s) or ws(s) URL, as http(s)."""
    parts = urlsplit(url)
    secure = parts.scheme in {"https", "wss"}
    return "https" if secure else "http", parts.hostname or "", parts.port or (443 if secure else 80)
