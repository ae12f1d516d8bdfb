"""SQLite in a file: one writer connection (BEGIN IMMEDIATE), one reader beside it (write-ahead log).

All work happens in the event loop's thread, each statement in well under a millisecond. Sort keys are assigned inside
the transaction, and a reply is made only after the commit.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Index, Integer, MetaData, Select, String, Table, create_engine, event
from sqlalchemy.pool import StaticPool

from openbell.reference_server.listings import Reader, Rows

METADATA = MetaData()
ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("id", String, primary_key=True),
    Column("name", String),
    Column("currency", String),
    Column("booked", Integer),
    Column("available", Integer),
)
POSITIONS = Table(
    "positions",
    METADATA,
    Column("account", String, primary_key=True),
    Column("symbol", String, primary_key=True),
    Column("quantity", Integer),
    Column("average_price", Integer),
)
PREFERENCES = Table(
    "preferences",
    METADATA,
    Column("account", String, primary_key=True),
    Column("language", String),
    Column("currency", String),
    Column("notifications", Integer),
    Column("revision", Integer),
)
TRANSACTIONS = Table(
    "transactions",
    METADATA,
    Column("account", String, primary_key=True),
    Column("booked_at", Integer, primary_key=True),
    Column("id", String, primary_key=True),
    Column("amount", Integer),
    Column("kind", String),
    sqlite_with_rowid=False,
)
ORDERS = Table(
    "orders",
    METADATA,
    Column("id", String, primary_key=True),
    Column("client_order_id", String),
    Column("claim", String),
    Column("account", String),
    Column("symbol", String),
    Column("side", String),
    Column("type", String),
    Column("quantity", Integer),
    Column("price", Integer),
    Column("status", String),
    Column("closed", Integer),
    Column("revision", Integer),
    Column("created_at", Integer),
    Index("orders_client", "account", "claim", unique=True),
    Index("orders_price", "account", "closed", "price", "id"),
    Index("orders_created", "account", "closed", "created_at", "id"),
)
EXECUTIONS = Table(
    "executions",
    METADATA,
    Column("order", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("id", String),
    Column("quantity", Integer),
    Column("price", Integer),
    Column("executed_at", Integer),
)
INSTRUMENTS = Table(
    "instruments",
    METADATA,
    Column("id", String, primary_key=True),
    Column("name", String),
    Column("currency", String),
    Column("lot_size", Integer),
    Column("reference_price", Integer),
)
OUTBOX = Table(
    "outbox",
    METADATA,
    Column("account", String, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("id", String, unique=True),
    Column("prev", Integer),
    Column("at", Integer),
    Column("kind", String),
    Column("order", String),
    sqlite_with_rowid=False,
)
PRAGMAS = ("journal_mode=WAL", "synchronous=OFF", "temp_store=MEMORY", "cache_size=-512")


def connect(path: Path, begin: str | None) -> Engine:
    """An engine with one connection to the file; `begin` starts its transactions, None leaves it without any."""
    engine = create_engine(f"sqlite:///{path}", poolclass=StaticPool, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    if begin is not None:

        @event.listens_for(engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

    return engine


@dataclass(frozen=True)
class Store:
    """The open database of one application.

    committed: what is called with the account after each commit. kept: whether the file outlives the store.
    """

    path: Path
    writer: Engine
    reading: Connection
    reader_engine: Engine
    kept: bool = False
    versions: dict[str | None, int] = field(default_factory=dict)
    committed: list[Callable[[str], None]] = field(default_factory=list)

    def rows(self, query: Select[Any]) -> Rows:
        """The committed rows that answer a query."""
        return self.reading.execute(query).all()

    def one(self, query: Select[Any]) -> Any:
        """The first row, or None."""
        return self.reading.execute(query).first()

    @property
    def reader(self) -> Reader:
        """What cutting a page may use."""
        return Reader(
            rows=self.rows,
            number=lambda query: int(self.reading.execute(query).scalar_one()),
            version=lambda account: self.versions.get(account, 0),
        )

    @contextmanager
    def writing(self, account: str) -> Iterator[Connection]:
        """One transaction on the account's data; committed at the end, rolled back on any error."""
        with self.writer.begin() as connection:
            yield connection
        self.versions[account] = self.versions.get(account, 0) + 1
        for told in self.committed:
            told(account)

    def close(self) -> None:
        """Closes the connections; removes the files unless they were asked for by name."""
        self.reading.close()
        for engine in (self.reader_engine, self.writer):
            engine.dispose()
        for suffix in () if self.kept else ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """This process's folder for databases; it goes with the process."""
    return tempfile.TemporaryDirectory(prefix="openbell-reference-", ignore_cleanup_errors=True)


@cache
def template(fill: Callable[[Connection, int], None], seed: int) -> Path:
    """The seeded database file, made once in a process."""
    path = Path(folder().name) / f"template-{seed}.sqlite"
    engine = connect(path, "BEGIN IMMEDIATE")
    METADATA.create_all(engine)
    with engine.begin() as connection:
        fill(connection, seed)
    with engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    engine.dispose()
    return path


def open_store(path: Path | None, fill: Callable[[Connection, int], None], seed: int) -> Store:
    """A store of its own with the seeded data; in a temporary file unless a path is given, which is overwritten."""
    kept = path is not None
    if path is None:
        with tempfile.NamedTemporaryFile(dir=folder().name, suffix=".sqlite", delete=False) as made:
            path = Path(made.name)
    shutil.copyfile(template(fill, seed), path)
    reader = connect(path, None)
    reading = reader.connect().execution_options(isolation_level="AUTOCOMMIT")
    return Store(path, connect(path, "BEGIN IMMEDIATE"), reading, reader, kept)
