"""What a server is started with, and the clients that it knows."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Quota:
    """One token bucket: its name in the limit fields, its capacity, and tokens that come back per second."""

    name: str
    capacity: int
    refill: float

    @property
    def window(self) -> int:
        """Seconds in which an empty bucket fills."""
        return max(1, round(self.capacity / self.refill))


@dataclass(frozen=True)
class Client:
    """One OAuth client: the account that it sees, whether it may write, its two quotas.

    Its tokens live `lives` times as long as the settings say.
    """

    name: str
    account: str
    writes: bool
    read_quota: Quota = Quota("reads", 2000, 1000)
    write_quota: Quota = Quota("writes", 2000, 1000)
    lives: float = 1.0


CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client("full", "acct-full", writes=True),
        Client("read_only", "acct-full", writes=False),
        Client("tenant", "acct-other", writes=True),
        Client("sacrificial_limits", "acct-limits", True, Quota("reads", 20, 4), Quota("writes", 10, 2)),
        Client("sacrificial_expiry", "acct-expiry", writes=True),
        Client("sacrificial_pages", "acct-pages", writes=True),
        Client("streams", "acct-streams", writes=True),
        Client("idle", "acct-idle", writes=False, lives=10.0),
        Client("fuzz", "acct-fuzz", writes=True),
    )
}


@dataclass(frozen=True)
class Settings:
    """secret: shared by all clients. token_lifetime_s: seconds. database: a file, or None for a temporary one.

    log: a file that gets one JSON line per request, or None. seed: of the seeded data.
    """

    secret: str = field(repr=False)
    token_lifetime_s: float = 6.0
    database: Path | None = None
    log: Path | None = None
    seed: int = 1
