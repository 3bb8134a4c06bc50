"""The store: one open database, its transactions, its clock and its ids."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.dialects import registry
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hub.domain.clock import Clock, SteadyClock, SystemClock
from hub.domain.errors import StoreError
from hub.domain.ids import IdSource
from hub.store import bulk
from hub.store.database_clock import DatabaseClock
from hub.store.errors import StoreBusy, explain, is_driver_error
from hub.store.lock import FileLock
from hub.store.upgrade.history import History, Step
from hub.store.upgrade.steps import Upgraded, signature, upgrade_schema

log = logging.getLogger("hub.store")

Dialect = Literal["sqlite", "postgresql"]

_READERS = 4
_POSTGRES_CONNECTIONS = 12
_PATIENCE = 120.0  # seconds that an upgrade waits for tables that are in use
_STEP_BACK = 1.0  # seconds that it lets the others pass in between

_PLANNED_ROWS = text("SELECT coalesce((SELECT reltuples FROM pg_class WHERE oid = to_regclass(:table)), -1)")

# FULL: a commit that was reported survives a power cut; an acknowledged webhook and a settled write depend on it.
# No mmap: its pages would count as the hub's memory, which is promised to stay flat.
_PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "journal_size_limit=67108864",
    "wal_autocheckpoint=4000",
    "busy_timeout=10000",
)


class Store:
    """An open database. Made by `open`, given back by `close`."""

    def __init__(
        self,
        name: str,
        writer: AsyncEngine,
        reader: AsyncEngine,
        clock: Clock,
        history: History,
        *,
        lock: FileLock | None,
        scratch: Path | None,
    ) -> None:
        self.dialect: Dialect = "sqlite" if writer.dialect.name == "sqlite" else "postgresql"
        self.clock = clock
        self.history = history
        self.ids = IdSource()
        self.in_work: set[int] = set()  # SQLite: entities that this process works on (see claims.claim)
        self.name = name
        self._writer = writer
        self._reader = reader
        self._lock = lock
        self._scratch = scratch
        self._memory: bulk.Memory = writer.get_execution_options()["bulk"]
        self._turn = asyncio.Lock()
        self._writing: asyncio.Task[Any] | None = None

    def __repr__(self) -> str:
        return f"Store({self.name})"

    @classmethod
    async def open(
        cls, url: str, *, clock: Clock | None = None, create: bool = True, history: History | None = None
    ) -> Store:
        """The store at `url`, upgraded as far as this release needs.

        `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite://` (a private one that vanishes on close: for tests
        and trials), `postgresql://user:password@host:port/database`. With `create=False` a store that does not
        exist yet, or whose schema is old, is refused. `history` is the schema's (None: this release's own).

        On PostgreSQL, where processes of the release before may be at work, only pre-steps are applied to a store
        that is there; its post-steps wait for `upgrade_at`. SQLite has one process, which applies everything.

        Raises StoreError (StoreLocked, StoreNewer, StoreUnreachable) in words for people, without the password.
        """
        store = cls._at(url, clock, create, history or History())
        step = Step.POST if store.dialect == "sqlite" else Step.PRE
        try:
            await store.upgrade(step if create else None)
            await store._resume_clock()
        except BaseException:
            await store.close()
            raise
        return store

    async def _resume_clock(self) -> None:
        """A machine's clock may have been set back while nobody looked: what we last wrote down was not later."""
        if not isinstance(self.clock, SteadyClock):
            return
        async with self.read() as conn:
            last = (
                await conn.exec_driver_sql(
                    "SELECT max(started, coalesce(beat, 0), coalesce(ended, 0)) FROM run ORDER BY id DESC LIMIT 1"
                )
            ).scalar()
        if last is not None:
            self.clock.resume(last)
        if self.clock.behind > 2:
            log.warning(
                "this machine's clock is %.0f s behind what the store has seen; the hub goes on from there, "
                "and follows the clock again when it has caught up",
                self.clock.behind,
            )

    @classmethod
    async def upgrade_at(cls, url: str, step: Step, *, history: History | None = None) -> Upgraded:
        """Bring the schema of the store at `url` to what this release needs (PRE) or to its newest (POST).

        Raises StoreError while processes of an older release are connected and a post-step is pending, StoreNewer when
        the store belongs to a newer release, and what `open` raises.
        """
        store = cls._at(url, None, True, history or History())
        try:
            return await store.upgrade(step)
        finally:
            await store.close()

    @classmethod
    def _at(cls, url: str, clock: Clock | None, create: bool, history: History) -> Store:
        """The store at `url`, its schema not looked at yet."""
        address = _parse(url)
        try:
            if address.drivername == "sqlite":
                return cls._sqlite(address, clock, create, history)
            return cls._postgres(address, clock, history)
        except OSError as error:
            raise StoreError(f"the store {_name(address)} can't be used: {error.strerror}.", hint=str(error)) from error

    @classmethod
    def _sqlite(cls, address: URL, clock: Clock | None, create: bool, history: History) -> Store:
        scratch = None
        if address.database in (None, "", ":memory:"):
            # Not SQLite's own memory database: that has no WAL, so a reader would wait for the writer.
            scratch = Path(tempfile.mkdtemp(prefix="crm-hub-"))
            path = scratch / "hub.db"
        else:
            path = Path(str(address.database)).expanduser()
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                raise StoreError(f"there is no store at {path}.", hint="run `hub init`, or correct the store's URL")
            if not path.exists():
                path.touch(mode=0o600)  # it will hold personal data; SQLite gives its side files the same mode
        if clock is None or isinstance(clock, SystemClock):
            clock = SteadyClock(clock or SystemClock())
        lock = FileLock(path)
        lock.take()
        registry.register("sqlite.hub", "hub.store.sqlite_driver", "Dialect")
        target = f"sqlite+hub:///{path}"
        writer = _engine(target, pool_size=1, max_overflow=0)
        reader = _engine(target, pool_size=_READERS, max_overflow=0)
        sync = "OFF" if scratch else "FULL"
        _dress(writer, "BEGIN IMMEDIATE", (*_PRAGMAS, f"synchronous={sync}", "cache_size=-65536"))
        _dress(reader, "BEGIN", (*_PRAGMAS, "query_only=ON", "cache_size=-8192"))
        name = "sqlite (scratch)" if scratch else f"sqlite {path}"
        return cls(name, writer, reader, clock or SystemClock(), history, lock=lock, scratch=scratch)

    @classmethod
    def _postgres(cls, address: URL, clock: Clock | None, history: History) -> Store:
        engine = _engine(
            address.set(drivername="postgresql+psycopg"),
            pool_size=_POSTGRES_CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10},
        )
        _sign(engine, history.release)
        if clock is None or isinstance(clock, SystemClock):
            clock = DatabaseClock(clock or SystemClock())
        return cls(_name(address), engine, engine, clock, history, lock=None, scratch=None)

    async def upgrade(self, step: Step | None) -> Upgraded:
        """Bring the schema to what this release needs (PRE) or to its newest (POST); None refuses one that is too old.

        Raises what `upgrade_at` raises, and StoreBusy when tables were in use all the time.
        """
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                async with self.begin() as conn:
                    return await conn.run_sync(upgrade_schema, self.history, name=self.name, step=step)
            except StoreBusy:
                if self.dialect == "sqlite" or time.monotonic() > end:
                    raise
                await asyncio.sleep(_STEP_BACK)

    def announce(self, *, api: str, token_path: str) -> None:
        """Let commands of other processes find the API of this one, which owns the store (SQLite)."""
        if self._lock is not None:
            self._lock.announce(api=api, token_path=token_path)

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A write transaction: committed when the block ends, rolled back when it raises.

        On SQLite there is one writer at a time; asking for a second one inside the block of the first is a mistake
        and raises RuntimeError instead of waiting for ever.
        """
        return self._serial() if self.dialect == "sqlite" else self._shared()

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection to read on, which never waits for the writer. Nothing written on it is kept."""
        return self._snapshot()

    async def close(self) -> None:
        """Give everything back. The store can't be used any more."""
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()
        if self._lock is not None:
            self._lock.release()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @asynccontextmanager
    async def _serial(self) -> AsyncIterator[AsyncConnection]:
        task = asyncio.current_task()
        if self._writing is not None and self._writing is task:
            raise RuntimeError("a write transaction was begun inside a write transaction of the same task")
        async with self._turn:
            self._writing = task
            try:
                async with self._transaction(self._writer) as conn:
                    yield conn
            finally:
                self._writing = None

    @asynccontextmanager
    async def _shared(self) -> AsyncIterator[AsyncConnection]:
        async with self._transaction(self._writer) as conn:
            if isinstance(self.clock, DatabaseClock) and self.clock.stale:
                await self.clock.look(conn)
            yield conn
        await self._analyze(self._memory.take_stale())

    async def _analyze(self, tables: Mapping[str, int]) -> None:
        """Let the planner know how large tables have become, by the rows that this process has added to each.

        PostgreSQL's own autovacuum comes a minute later, and until then, after a first read of 100,000 records, each
        look-up of a batch goes through the whole table. A table that the planner knows to be large stays so: to look
        through a sample of ten million rows after each start would hold up the work for seconds.
        """
        for table, added in tables.items():
            try:
                async with self._writer.begin() as conn:
                    known = await conn.execute(_PLANNED_ROWS, {"table": f'"{table}"'})
                    if known.scalar_one() < 2 * added:
                        await conn.exec_driver_sql(f'ANALYZE (SKIP_LOCKED) "{table}"')
            except DBAPIError as error:  # the work itself is committed; the next doubling tries again
                log.warning("statistics of %s could not be taken: %s", table, explain(error, self.name).message)

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            async with engine.begin() as conn:
                yield conn
        except Exception as error:
            if is_driver_error(error):
                raise explain(error, f"the store {self.name}") from error
            raise

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._reader.connect() as conn:
                yield conn
        except Exception as error:
            if is_driver_error(error):
                raise explain(error, f"the store {self.name}") from error
            raise


def _engine(url: str | URL, **options: Any) -> AsyncEngine:
    # Parameters hold personal data, so errors never show them.
    return create_async_engine(url, hide_parameters=True, execution_options={"bulk": bulk.Memory()}, **options)


def _dress(engine: AsyncEngine, begin: str, pragmas: tuple[str, ...]) -> None:
    """Take transactions into our own hands: Python's sqlite3 begins late, and never IMMEDIATE."""

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)


def _sign(engine: AsyncEngine, release: int) -> None:
    """Let the server's list of connections tell to which release, and to which store, each of ours belongs."""

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SELECT set_config('application_name', {signature(f'{release:04d}')}, false)")
        cursor.close()
        connection.commit()


def _parse(url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(
            "the store's URL can't be read.",
            hint="write sqlite:///hub.db, or postgresql://user:password@host:5432/database",
        ) from None
    kind = address.drivername.split("+")[0]
    if kind in ("postgres", "postgresql"):
        return address.set(drivername="postgresql")
    if kind == "sqlite":
        return address.set(drivername="sqlite")
    raise StoreError(f"the hub can't keep its store in '{kind}'.", hint="use sqlite or postgresql")


def _name(address: URL) -> str:
    """What to call the store in messages: no user, no password, no options."""
    if address.drivername == "sqlite":
        return f"sqlite {address.database}"
    port = f":{address.port}" if address.port else ""
    return f"postgresql {address.host or 'localhost'}{port}/{address.database or ''}"


def sqlite_version() -> str:
    """The version of the SQLite library, for `hub check`."""
    return sqlite3.sqlite_version
