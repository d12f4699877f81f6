"""SQLite and Postgres behind one door: the only module that imports SQLAlchemy.

Every write is one transaction that has reached the disk when it returns. SQLite keeps a write-ahead
log, takes its write lock when a transaction begins (nobody finds it taken in the middle), and
overwrites what is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from whisper_lambda.errors import BadOption, StorageFailed, StorageFull

LOCKED_S = 30  # how long a writer waits for another
_TENANTS = 2606177  # the space of our locks in Postgres

_tables = sa.MetaData()

jobs = sa.Table(
    "wl_jobs",
    _tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("tenant", sa.String, nullable=False),
    sa.Column("idempotency_key", sa.String),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("created", sa.Float(53), nullable=False),
    sa.Column("expires", sa.Float(53)),
    sa.Column(
        "job", sa.Text, nullable=False
    ),  # all of it, as JSON; the columns before repeat what is looked for
    sa.UniqueConstraint("tenant", "idempotency_key"),
    sa.Index("wl_jobs_by_tenant", "tenant", "created", "id"),
    sa.Index("wl_jobs_live", "tenant", "state"),
    sa.Index("wl_jobs_by_state", "state", "created", "id"),
    sa.Index("wl_jobs_by_expiry", "expires"),
)
parts = sa.Table(
    "wl_parts",
    _tables,
    sa.Column("job_id", sa.String, primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("done", sa.Text),  # a ChunkDone as JSON
)
secrets = sa.Table(
    "wl_secrets",
    _tables,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("secret", sa.String, nullable=False),
    sa.Column("until", sa.Float(53)),  # when it stops signing; null = not yet known
)
workers = sa.Table(
    "wl_workers",
    _tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("beat", sa.Integer, nullable=False),
)

Connection = sa.Connection
pair = sa.tuple_


class Database:
    """An open database with our tables in it."""

    def __init__(self, address: str, *, locked_s: float = LOCKED_S) -> None:
        """Open it, making what is missing.

        Args:
            address: `sqlite:///PATH` or `postgresql://...`.
            locked_s: how long a writer waits for another.

        Raises:
            BadOption: it is neither.
            StorageFailed: it cannot be reached.
        """
        self.engine = _engine(address, round(locked_s * 1000))
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.insert = sqlite.insert if self.is_sqlite else postgresql.insert
        with self.writing() as connection:
            if not self.is_sqlite:  # two workers that start at once would both make the tables
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(2606177201)"))
            _tables.create_all(connection)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; it is on disk when this returns.

        Raises:
            StorageFull: there is no room.
            StorageFailed: the database cannot be reached, or is held by another for too long.
        """
        with _told(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads, and waits for no writer."""
        with _told(), self.engine.connect().execution_options(reads_only=True) as connection:
            yield connection

    def alone(self, connection: sa.Connection, tenant: str) -> None:
        """Let nobody else who asks for the tenant go on before this transaction has ended."""
        if not self.is_sqlite:  # there every writer is alone
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TENANTS, sa.func.hashtext(tenant))))

    def sweep(self, *, others: bool = False) -> None:
        """Let nothing of what was deleted stay readable in the files, as far as the database allows.

        Args:
            others: others' tables are in the file too, and what is deleted in them is not overwritten.
        """
        with _told(), closing(self.engine.raw_connection()) as pooled:  # SQLAlchemy would begin
            connection: Any = pooled.driver_connection
            if self.is_sqlite:
                if others:
                    connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return
            connection.autocommit = True
            for table in (jobs, parts, secrets):
                connection.execute(f"VACUUM {table.name}")
            connection.autocommit = False

    def close(self) -> None:
        """Give back the connections."""
        self.engine.dispose()


def how_many(table: sa.Table) -> sa.Select[int]:
    """Return the query that counts a table's rows."""
    return sa.select(sa.func.count()).select_from(table)


def dialled(address: str) -> str:
    """Return the address as SQLAlchemy wants it, with the driver we install.

    Raises:
        BadOption: it names another kind of database.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "sqlite":
        return address
    if scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
        return f"postgresql+psycopg://{rest}"
    raise BadOption(f"a database is sqlite:///PATH or postgresql://..., not {scheme[:20]!r}")


def sqlite_at(path: Path) -> str:
    """Return the address of a SQLite file that only its owner may read, made if it is not there.

    Raises:
        StorageFull: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as cause:
        raise StorageFull(f"{path} cannot be written: {cause.strerror}") from cause
    with _told():
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:  # stays so: whoever opens the file later finds the log
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        engine.dispose()
    return f"sqlite:///{path}"


def _engine(address: str, locked_ms: int) -> sa.Engine:
    url = dialled(address)
    if not url.startswith("sqlite"):
        # A worker stopped in the middle of a transaction must not hold its locks for ever.
        waits = f"-c lock_timeout={locked_ms} -c idle_in_transaction_session_timeout={locked_ms // 2}"
        return sa.create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": 10, "options": waits}
        )
    engine = sa.create_engine(url)

    @event.listens_for(engine, "connect")
    def opened(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        connection.isolation_level = None  # the driver would begin late, and without the write lock
        for pragma in (f"busy_timeout={locked_ms}", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("reads_only")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a database raises into our errors, without its statements: they hold what clients sent."""
    try:
        yield
    except OperationalError as cause:
        said = str(cause.orig)
        if "full" in said or "No space" in said:
            raise StorageFull("there is no room for the jobs' database") from cause
        raise StorageFailed(f"the jobs' database cannot be used now: {said.splitlines()[0]}") from cause
    except DBAPIError as cause:
        raise StorageFailed(
            f"the jobs' database refused what was asked: {type(cause.orig).__name__}"
        ) from cause
    except SQLAlchemyError as cause:
        raise StorageFailed(f"the jobs' database: {type(cause).__name__}") from cause
