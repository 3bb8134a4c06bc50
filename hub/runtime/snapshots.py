"""Schemas as they were last seen, kept in the store, so that a system that is down can still be checked against."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Protocol

import orjson
from pydantic import TypeAdapter

from hub.domain.schema import ObjectSchema
from hub.store import snapshots
from hub.store.engine import Store


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
        return await snapshots.keep(self._store, system, schema.name, digest, body) is not None

    async def find(self, system: str, object: str) -> ObjectSchema | None:
        """The last one seen, marked as a snapshot."""
        found = await snapshots.find(self._store, system, object)
        return replace(self._shape.validate_json(found.body), origin="snapshot") if found is not None else None


def _text(schema: ObjectSchema) -> str:
    """The same text for the same schema in every process: sets are sorted, where it came from is left out."""
    content = asdict(schema)
    del content["origin"]
    return orjson.dumps(content, default=sorted, option=orjson.OPT_SORT_KEYS).decode()
