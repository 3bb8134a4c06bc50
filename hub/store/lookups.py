"""Lookup tables that are kept in the hub: rows by a key of texts, with any JSON value."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import lookup

LookupKey = tuple[str, ...]

_KEY = ("table", "key")


def encode(key: Iterable[str]) -> str:
    """A key as it is kept: a JSON list."""
    return orjson.dumps(list(key)).decode()


async def rows(conn: AsyncConnection, asks: Collection[tuple[str, LookupKey]]) -> dict[tuple[str, LookupKey], Any]:
    """The rows (table, key) that there are, and their values."""
    statement = select(lookup.c.table, lookup.c.key, lookup.c.value)
    pairs = [(table, encode(key)) for table, key in asks]
    found = await bulk.fetch_pairs(conn, statement, lookup.c.table, lookup.c.key, pairs)
    return {(row[0], tuple(orjson.loads(row[1]))): orjson.loads(row[2]) for row in found}


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
