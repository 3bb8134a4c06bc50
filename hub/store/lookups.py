"""Lookup tables that are kept in the hub: rows by a key of texts, with any JSON value."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk, waits
from hub.store.engine import Store
from hub.store.tables import lookup, waiting_lookup

LookupKey = tuple[str, ...]

_KEY = ("table", "key")
_LOCK = 0x48554204  # the first half of an advisory lock's key, the table's hash being the second


def encode(key: Iterable[str]) -> str:
    """A key as it is kept: a JSON list."""
    return orjson.dumps(list(key)).decode()


async def rows(conn: AsyncConnection, asks: Collection[tuple[str, LookupKey]]) -> dict[tuple[str, LookupKey], Any]:
    """The rows (table, key) that there are, and their values."""
    statement = select(lookup.c.table, lookup.c.key, lookup.c.value)
    pairs = [(table, encode(key)) for table, key in asks]
    found = await bulk.fetch_pairs(conn, statement, lookup.c.table, lookup.c.key, pairs)
    return {(row[0], tuple(orjson.loads(row[1]))): orjson.loads(row[2]) for row in found}


@dataclass(frozen=True, slots=True)
class Added:
    """How many rows are new or changed, how many were taken out, how many deliveries are due for it."""

    changed: int
    removed: int
    woken: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row that a table lacks, and how many deliveries wait for it."""

    key: LookupKey
    deliveries: int


async def arrived(conn: AsyncConnection, asks: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these rows (table, encoded key) are there now; for a settle that has just noted who waits for them.

    A worker finds a row missing; a person adds it, looks who waits, finds nobody and is done; the worker would now put
    its delivery to sleep for ever. So it looks once more, after it has said that it waits. On PostgreSQL the worker
    holds the table's lock from that look to the end of its transaction, and the person looks a second time when all
    who hold it have ended: see `add`. On SQLite one of the two transactions comes after the other in any case.
    """
    if not asks:
        return set()
    if conn.dialect.name == "postgresql":
        for table in sorted({table for table, _ in asks}):
            await conn.execute(select(func.pg_advisory_xact_lock_shared(_LOCK, func.hashtext(table))))
    statement = select(lookup.c.table, lookup.c.key)
    found = await bulk.fetch_pairs(conn, statement, lookup.c.table, lookup.c.key, list(asks))
    return {(row[0], row[1]) for row in found}


async def add(store: Store, table: str, values: Mapping[LookupKey, Any], *, replace: bool = False) -> Added:
    """Add or change rows, and make due what waits for them; `replace` also removes every other row of the table."""
    async with store.begin() as conn:
        removed = 0
        if replace:
            known = (await conn.execute(select(lookup.c.key).where(lookup.c.table == table))).scalars().all()
            kept = {encode(key) for key in values}
            removed = await bulk.delete(conn, lookup, _KEY, [(table, key) for key in known if key not in kept])
        changed = await put(store, conn, table, values)
        woken = await waits.wake_lookups(conn, table, changed, store.clock.now())
    if store.dialect == "postgresql":
        # A transaction of its own: one that held deliveries while it waits here could wait for a settle that waits for
        # them.
        async with store.begin() as conn:
            await conn.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(table))))
        async with store.begin() as conn:
            woken += await waits.wake_lookups(conn, table, changed, store.clock.now())
    return Added(len(changed), removed, woken)


async def wanted(store: Store, table: str | None = None) -> dict[str, list[Wanted]]:
    """What deliveries wait for: table -> the rows that it lacks, the most wanted first."""
    count = func.count().label("count")
    statement = select(waiting_lookup.c.table, waiting_lookup.c.key, count)
    if table is not None:
        statement = statement.where(waiting_lookup.c.table == table)
    statement = statement.group_by(waiting_lookup.c.table, waiting_lookup.c.key)
    found: dict[str, list[Wanted]] = {}
    async with store.read() as conn:
        for row in await conn.execute(statement.order_by(waiting_lookup.c.table, count.desc(), waiting_lookup.c.key)):
            found.setdefault(row[0], []).append(Wanted(tuple(orjson.loads(row[1])), row[2]))
    return found


async def put(store: Store, conn: AsyncConnection, table: str, values: Mapping[LookupKey, Any]) -> list[str]:
    """Add or change rows. Returns the (encoded) keys whose value is new or another, for those who wait for them."""
    pairs = [(table, encode(key)) for key in values]
    statement = select(lookup.c.key, lookup.c.value)
    known = dict(map(tuple, await bulk.fetch_pairs(conn, statement, lookup.c.table, lookup.c.key, pairs)))
    now = store.clock.now()
    new = {encode(key): orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() for key, value in values.items()}
    changed = {key: value for key, value in new.items() if known.get(key) != value}
    added = [(table, key, value, now) for key, value in changed.items()]
    await bulk.upsert(conn, lookup, _KEY, (*_KEY, "value", "changed"), added)
    return list(changed)


async def remove(conn: AsyncConnection, table: str, keys: Collection[LookupKey]) -> int:
    """Returns how many rows there were."""
    return await bulk.delete(conn, lookup, _KEY, [(table, encode(key)) for key in keys])


async def load(store: Store, table: str) -> dict[LookupKey, Any]:
    """The whole table."""
    statement = select(lookup.c.key, lookup.c.value).where(lookup.c.table == table).order_by(lookup.c.key)
    async with store.read() as conn:
        found = (await conn.execute(statement)).all()
    return {tuple(orjson.loads(row[0])): orjson.loads(row[1]) for row in found}


async def tables(store: Store) -> dict[str, int]:
    """The tables that there are, and how many rows each has."""
    statement = select(lookup.c.table, func.count()).group_by(lookup.c.table).order_by(lookup.c.table)
    async with store.read() as conn:
        return {row[0]: row[1] for row in (await conn.execute(statement)).all()}
