"""Schemas as they were last seen, kept in the store, so that a system that is down can still be checked against."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Protocol

import orjson
from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select

from hub.domain.schema import ObjectSchema
from hub.store.engine import Store
from hub.store.tables import schema_snapshot


class Snapshots(Protocol):
    """Keeps schemas and finds them again."""

    async def keep(self, system: str, schema: ObjectSchema) -> bool: ...

    async def find(self, system: str, object: str) -> ObjectSchema | None: ...


class NoSnapshots:
    """For work without a store."""

    async def keep(self, system: str, schema: ObjectSchema) -> bool:
        return False

    async def find(self, system: str, object: str) -> ObjectSchema | None:
        return None


class StoredSnapshots:
    """Snapshots in the store; only a schema that changed is written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shape = TypeAdapter(ObjectSchema)

    async def keep(self, system: str, schema: ObjectSchema) -> bool:
        """Remember it. True if it differs from the one that was there (drift)."""
        body = _text(schema)
        digest = hashlib.sha256(body.encode()).hexdigest()
        here = (schema_snapshot.c.system == system, schema_snapshot.c.object == schema.name)
        async with self._store.read() as conn:
            known = (await conn.execute(select(schema_snapshot.c.hash).where(*here))).scalar()
        if known == digest:
            return False
        async with self._store.begin() as conn:
            await conn.execute(delete(schema_snapshot).where(*here))
            row = {"system": system, "object": schema.name, "hash": digest, "body": body, "at": self._store.clock.now()}
            await conn.execute(insert(schema_snapshot).values(row))
        return known is not None

    async def find(self, system: str, object: str) -> ObjectSchema | None:
        """The last one seen, marked as a snapshot."""
        wanted = select(schema_snapshot.c.body).where(
            schema_snapshot.c.system == system, schema_snapshot.c.object == object
        )
        async with self._store.read() as conn:
            body = (await conn.execute(wanted)).scalar()
        if body is None:
            return None
        return replace(self._shape.validate_json(body), origin="snapshot")


def _text(schema: ObjectSchema) -> str:
    """The same text for the same schema in every process: sets are sorted, where it came from is left out."""
    content = asdict(schema)
    del content["origin"]
    return orjson.dumps(content, default=sorted, option=orjson.OPT_SORT_KEYS).decode()
