"""References of a batch: which entity each one names, and what that entity is in the target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk
from hub.store.engine import Store
from hub.store.identities.rows import ALL, Identity, ensure, of_entities, of_row
from hub.store.tables import identity

Ask = tuple[str | None, str, str, str]  # source object (None: not told), 'id' or the name of a key, value, facet


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference names. No `entity`: it can't even be waited for. `target` may not be usable yet."""

    entity: int | None = None
    source: Identity | None = None
    target: Identity | None = None


async def resolve(
    store: Store, source_system: str, target_system: str, kind: str, asks: Sequence[Ask]
) -> list[Resolved]:
    """One answer an ask, in order, for a whole batch in a handful of statements.

    A record that is referenced by id gets its identity now, if the map does not have it: that row is what a waiter
    and the one who wakes it lock, so it must be there before somebody waits. Worker 1 finds customer c1 unknown and
    makes the row; worker 2 captures c1 at the same moment: `ensure` leaves both with one entity, whoever commits first.

    A facet that the entity does not have falls back to its record without one. Tombstones and aliases are no targets.
    """
    async with store.read() as conn:
        objects = await objects_of(conn, source_system, kind) if any(ask[0] is None for ask in asks) else []
        sources = await _sources(conn, source_system, kind, asks, objects)
    only = objects[0] if len(objects) == 1 else None
    missing: dict[str, list[str]] = {}
    for ask, found in zip(asks, sources, strict=True):
        object = ask[0] or only
        if found is None and ask[1] == "id" and object is not None:
            missing.setdefault(object, []).append(ask[2])
    made = await _referenced(store, source_system, kind, missing)
    sources = [
        one or made.get((ask[0] or only or "", ask[2])) if ask[1] == "id" else one
        for ask, one in zip(asks, sources, strict=True)
    ]
    async with store.read() as conn:
        targets = await of_entities(conn, {one.entity for one in sources if one is not None}, target_system)
    return [
        Resolved(one.entity, one, _target(targets.get(one.entity, ()), ask[3])) if one is not None else Resolved()
        for ask, one in zip(asks, sources, strict=True)
    ]


async def _referenced(
    store: Store, system: str, kind: str, missing: dict[str, list[str]]
) -> dict[tuple[str, str], Identity]:
    if not missing:
        return {}
    made: dict[tuple[str, str], Identity] = {}
    async with store.begin() as conn:
        for object, ids in sorted(missing.items()):
            found = await ensure(store, conn, system, object, kind, ids, origin="referenced")
            made.update({(object, record_id): one for record_id, one in found.items()})
    return made


async def _sources(
    conn: AsyncConnection, system: str, kind: str, asks: Sequence[Ask], objects: Sequence[str]
) -> list[Identity | None]:
    """The identity that each ask names in the source, if the map has it."""
    here = ALL.where(identity.c.system == system)
    by: dict[str, set[tuple[str, str]]] = {}
    for object, key, value, _ in asks:
        by.setdefault(key, set()).update((one, bulk.clean(value)) for one in ([object] if object else objects))
    found: dict[tuple[str, str, str], Identity] = {}
    for key, pairs in by.items():
        rows = await bulk.fetch_pairs(conn, here, identity.c.object, _column(conn, key), pairs)
        for one in sorted(map(of_row, rows), key=_worth):
            carried = one.record_id if key == "id" else one.number if key == "number" else (one.keys or {}).get(key)
            found[key, one.object, carried or ""] = one

    def named(ask: Ask) -> Identity | None:
        object, key, value, _ = ask
        for each in [object] if object else objects:
            one = found.get((key, each, bulk.clean(value)))
            if one is not None and (object or one.kind == kind):
                return one
        return None

    return [named(ask) for ask in asks]


def _worth(one: Identity) -> tuple[bool, int]:
    """Of several with the same number the last counts: a live one before others, the older before the newer."""
    return one.live, -one.id


def _column(conn: AsyncConnection, key: str) -> ColumnElement[Any]:
    """What a reference is looked up by. Keys other than id and number stand in JSON, without an index."""
    if key == "id":
        return identity.c.record_id
    if key == "number":
        return identity.c.number
    if conn.dialect.name == "sqlite":
        return func.json_extract(identity.c["keys"], f'$."{key}"', type_=Text)
    return func.json_extract_path_text(cast(identity.c["keys"], JSON), key, type_=Text)


def _target(found: Iterable[Identity], facet: str) -> Identity | None:
    live = {one.facet: one for one in reversed(list(found)) if one.live}
    return live.get(facet) or live.get("")


# The distinct objects of a system, by jumping through the unique key: as many steps as there are objects.
_OBJECTS = text(
    """
    WITH RECURSIVE jump(object) AS (
        SELECT min(object) FROM identity WHERE system = :system
        UNION ALL
        SELECT (SELECT min(i.object) FROM identity i WHERE i.system = :system AND i.object > jump.object)
        FROM jump WHERE jump.object IS NOT NULL
    )
    SELECT object FROM jump WHERE object IS NOT NULL
    """
)


async def objects_of(conn: AsyncConnection, system: str, kind: str | None = None) -> list[str]:
    """The objects of a system that the map has records of (of this kind)."""
    objects = [row[0] for row in (await conn.execute(_OBJECTS, {"system": system})).all()]
    if kind is None:
        return objects
    here = select(identity.c.kind).where(identity.c.system == system).limit(1)
    kinds = {object: (await conn.execute(here.where(identity.c.object == object))).scalar() for object in objects}
    return [object for object in objects if kinds[object] == kind]
