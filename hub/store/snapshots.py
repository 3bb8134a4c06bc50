"""Schemas as they were last seen: what drift is told against."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import schema_snapshot


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`body` is the schema as JSON text, `hash` tells it from any other, `at` is epoch ms."""

    system: str
    object: str
    hash: str
    body: str
    at: int


_COLUMNS = tuple(Snapshot.__slots__)
_ALL = select(*(schema_snapshot.c[name] for name in _COLUMNS))


async def find(store: Store, system: str, object: str) -> Snapshot | None:
    """The last one, if there is one."""
    here = (schema_snapshot.c.system == system, schema_snapshot.c.object == object)
    async with store.read() as conn:
        row = (await conn.execute(_ALL.where(*here))).first()
    return Snapshot(*row) if row is not None else None


async def keep(store: Store, system: str, object: str, hash_: str, body: str) -> Snapshot | None:
    """Remember a schema. Returns the one that was there if it is another: the schema has drifted."""
    before = await find(store, system, object)
    if before is not None and before.hash == hash_:
        return None
    async with store.begin() as conn:
        row = (system, object, hash_, body, store.clock.now())
        await bulk.upsert(conn, schema_snapshot, ("system", "object"), _COLUMNS, [row])
    return before


async def listing(store: Store, system: str | None = None) -> list[Snapshot]:
    """All of them (of a system), by system and object."""
    statement = _ALL.order_by(schema_snapshot.c.system, schema_snapshot.c.object)
    if system is not None:
        statement = statement.where(schema_snapshot.c.system == system)
    async with store.read() as conn:
        return [Snapshot(*row) for row in (await conn.execute(statement)).all()]
