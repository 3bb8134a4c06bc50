"""Rows of the ID map in bulk: get or create, find, mark."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.errors import HubError, StoreError
from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import identity

Key = tuple[str, str, str]  # system, object, record id


@dataclass(slots=True)  # not frozen: that makes it three times as slow to build, and batches build thousands
class Identity:
    """'In system S, object O, the entity has id R.' `parent` is the identity of the record that a row belongs to."""

    id: int
    entity: int
    system: str
    object: str
    record_id: str
    kind: str
    role: str = "primary"
    facet: str = ""
    number: str | None = None
    keys: Mapping[str, str] | None = None
    parent: int | None = None
    usable: bool = True
    tombstone: int | None = None
    revision: int = 0
    origin: str = "captured"
    created: int = 0

    @property
    def live(self) -> bool:
        """Whether it is the record that is written and referred to: a primary that was not deleted."""
        return self.role == "primary" and self.tombstone is None

    @property
    def key(self) -> Key:
        return self.system, self.object, self.record_id

    @property
    def slot(self) -> tuple[int, str, str, str]:
        """Of which an entity has one live primary."""
        return self.entity, self.system, self.object, self.facet

    def __str__(self) -> str:
        number = f" ({self.number})" if self.number else ""
        facet = f" [{self.facet}]" if self.facet else ""
        return f"{self.system} {self.object} {self.record_id}{number}{facet}"


class IdentityTaken(HubError):
    """A record would belong to two entities, or an entity would have two records in one place. Both are shown."""

    def __init__(self, wanted: object, holder: Identity, key: Key) -> None:
        super().__init__(
            f"{wanted} can't be linked: its place is taken by {holder}.",
            hint="look at both with `hub ids show`; unlink the wrong one, or merge them",
        )
        self.wanted = wanted
        self.holder = holder
        self.key = key  # of the record that can't be linked


COLUMNS = tuple(Identity.__slots__)
ALL = select(*(identity.c[name] for name in COLUMNS))
_KEYS = COLUMNS.index("keys")


def of_row(row: Row[*tuple[Any, ...]]) -> Identity:
    if row[_KEYS] is None:
        return Identity(*row)
    values: list[Any] = list(row)
    values[_KEYS] = orjson.loads(values[_KEYS])
    return Identity(*values)


def values_of(one: Identity, columns: Sequence[str] = COLUMNS) -> tuple[Any, ...]:
    """As the table keeps them."""
    keys = orjson.dumps(one.keys).decode() if one.keys else None
    return tuple([keys if name == "keys" else getattr(one, name) for name in columns])


async def ensure(
    store: Store,
    conn: AsyncConnection,
    system: str,
    object: str,
    kind: str,
    record_ids: Collection[str],
    *,
    origin: str,
    numbers: Mapping[str, str] | None = None,
    parents: Mapping[str, int] | None = None,
    mostly_new: bool = False,
) -> dict[str, Identity]:
    """The identities of these records; those that are unknown become new entities of `kind`.

    With `mostly_new` they are inserted before anybody looks, and looked for only if one was there.

    `numbers` and `parents` (record id -> number, identity of the record that a row belongs to) are kept up to date.

    Two transactions may want the same record. Worker 1 and worker 2 both find it unknown and insert it. PostgreSQL
    makes worker 2 wait until worker 1 has committed, and then leaves its row out; worker 2 sees that it added
    fewer rows than it wanted, reads again, and takes worker 1's entity. (On SQLite there is one writer.)
    """
    numbers, parents = numbers or {}, parents or {}
    wanted = list(dict.fromkeys(record_ids))
    found = {} if mostly_new else await by_ids(conn, system, object, wanted)
    for _ in range(3):  # again only if an id that we drew was taken
        # In one order for all, so that two transactions never wait for each other.
        missing = sorted({bulk.clean(one) for one in wanted if one not in found})
        if not missing:
            break
        ids = store.ids.take(2 * len(missing))
        now = store.clock.now()
        new = [
            Identity(
                ids[2 * at], ids[2 * at + 1], system, object, one, kind, number=numbers.get(one),
                parent=parents.get(one), origin=origin, created=now,
            )
            for at, one in enumerate(missing)
        ]  # fmt: skip
        if await add_rows(conn, new) == len(new):
            found.update(_as_asked(new, wanted))
        else:
            found.update(await by_ids(conn, system, object, [one for one in wanted if one not in found]))
    if len(found) < len(wanted):
        raise StoreError(f"identities of {system} {object} could not be made.", hint="run it again")
    return await _refresh(conn, found, numbers, parents)


async def _refresh(
    conn: AsyncConnection, found: dict[str, Identity], numbers: Mapping[str, str], parents: Mapping[str, int]
) -> dict[str, Identity]:
    changed = [
        (record_id, numbers.get(record_id, one.number), parents.get(record_id, one.parent), one)
        for record_id, one in found.items()
        if numbers.get(record_id, one.number) != one.number or parents.get(record_id, one.parent) != one.parent
    ]
    rows = [(number, parent, one.id) for _, number, parent, one in changed]
    await bulk.update(conn, identity, ("id",), ("number", "parent"), rows)
    if not changed:
        return found
    return {**found, **await _reread(conn, {record_id: one.id for record_id, _, _, one in changed})}


async def _reread(conn: AsyncConnection, ids: Mapping[str, int]) -> dict[str, Identity]:
    rows = {one.id: one for one in map(of_row, await bulk.fetch(conn, ALL, identity.c.id, list(ids.values())))}
    return {asked: rows[one] for asked, one in ids.items() if one in rows}


async def add_rows(conn: AsyncConnection, rows: Sequence[Identity]) -> int:
    """Insert rows whose record and place are free. Returns how many were."""
    return await bulk.insert(conn, identity, COLUMNS, [values_of(one) for one in rows], ignore=True)


async def by_ids(conn: AsyncConnection, system: str, object: str, record_ids: Collection[str]) -> dict[str, Identity]:
    """What the map knows of these records, by record id: primaries, aliases, tombstones."""
    here = ALL.where(identity.c.system == system, identity.c.object == object)
    rows = await bulk.fetch(conn, here, identity.c.record_id, record_ids)
    return _as_asked(map(of_row, rows), record_ids)


def _as_asked(found: Iterable[Identity], record_ids: Collection[str]) -> dict[str, Identity]:
    """By the id that was asked for, also where it is kept in another form (see `bulk.clean`)."""
    known = {one.record_id: one for one in found}
    if len(known) == len(record_ids) and all(one in known for one in record_ids):
        return known
    return {one: known[kept] for one in record_ids if (kept := bulk.clean(one)) in known}


async def by_keys(conn: AsyncConnection, keys: Iterable[Key]) -> dict[Key, Identity]:
    """What the map knows of records of several systems and objects; a statement for each system."""
    systems: dict[str, list[tuple[str, str]]] = {}
    for system, object, record_id in keys:
        systems.setdefault(system, []).append((object, record_id))
    found: dict[Key, Identity] = {}
    for system, pairs in systems.items():
        here = ALL.where(identity.c.system == system)
        rows = await bulk.fetch_pairs(conn, here, identity.c.object, identity.c.record_id, pairs)
        known = {one.key: one for one in map(of_row, rows)}
        for object, record_id in pairs:
            if (one := known.get((system, object, bulk.clean(record_id)))) is not None:
                found[system, object, record_id] = one
    return found


async def by_numbers(
    conn: AsyncConnection, system: str, object: str, numbers: Collection[str]
) -> dict[str, list[Identity]]:
    """Records by the number that people know them by; a number may be carried by several."""
    here = ALL.where(identity.c.system == system, identity.c.object == object, identity.c.number.is_not(None))
    rows = await bulk.fetch(conn, here, identity.c.number, numbers)
    found: dict[str, list[Identity]] = {}
    for one in map(of_row, rows):
        found.setdefault(one.number or "", []).append(one)
    return found


async def of_entities(
    conn: AsyncConnection, entities: Collection[int], system: str | None = None, object: str | None = None
) -> dict[int, list[Identity]]:
    """All identities of these entities (in one system, of one object): primaries, aliases, tombstones; oldest first.

    Entities that have none are left out.
    """
    where: list[ColumnElement[bool]] = []
    if system is not None:
        where.append(identity.c.system == system)
    if object is not None:
        where.append(identity.c.object == object)
    rows = await bulk.fetch(conn, ALL.where(*where), identity.c.entity, set(entities))
    found: dict[int, list[Identity]] = {}
    for one in sorted(map(of_row, rows), key=lambda one: one.id):
        found.setdefault(one.entity, []).append(one)
    return found


async def usable_in(conn: AsyncConnection, entities: Collection[int], system: str) -> set[int]:
    """Which of these entities have a record in `system` that others may refer to."""
    statement = select(identity.c.entity).where(
        identity.c.system == system,
        identity.c.role == "primary",
        identity.c.tombstone.is_(None),
        identity.c.usable.is_(True),
    )
    return {row[0] for row in await bulk.fetch(conn, statement, identity.c.entity, set(entities))}


async def lock_entities(conn: AsyncConnection, entities: Collection[int]) -> None:
    """Hold the identity rows of these entities until the transaction ends, so that waiter and waker take turns.

    Always in the order of ids, so that two who want the same ones don't wait for each other. SQLite has one writer
    and needs no lock.
    """
    if conn.dialect.name == "postgresql":
        statement = select(identity.c.id).order_by(identity.c.id).with_for_update()
        await bulk.fetch(conn, statement, identity.c.entity, set(entities))


async def tombstone(store: Store, conn: AsyncConnection, keys: Collection[Key]) -> None:
    """These records were deleted. Their rows stay, so that one that re-appears is known."""
    now = store.clock.now()
    rows = [(now, system, object, bulk.clean(record_id)) for system, object, record_id in keys]
    await bulk.update(conn, identity, ("system", "object", "record_id"), ("tombstone",), rows)


async def set_usable(
    conn: AsyncConnection, system: str, object: str, record_ids: Collection[str], usable: bool
) -> None:
    """Say whether other records may refer to these."""
    statement = (
        update(identity)
        .where(identity.c.system == system, identity.c.object == object)
        .values(usable=usable, revision=identity.c.revision + 1)
    )
    await bulk.change(conn, statement, identity.c.record_id, record_ids)


async def parents(conn: AsyncConnection, system: str, object: str, row_ids: Collection[str]) -> list[str]:
    """Record ids of what these rows belong to, as far as the map knows."""
    rows = await by_ids(conn, system, object, row_ids)
    masters = {one.parent for one in rows.values() if one.parent is not None}
    return sorted(row[0] for row in await bulk.fetch(conn, select(identity.c.record_id), identity.c.id, masters))


async def rows_of(conn: AsyncConnection, parent_ids: Collection[int]) -> dict[int, list[Identity]]:
    """The rows of these records, by the identity of the record, the oldest first."""
    rows = await bulk.fetch(conn, ALL, identity.c.parent, set(parent_ids))
    found: dict[int, list[Identity]] = {}
    for one in sorted(map(of_row, rows), key=lambda one: one.id):
        found.setdefault(one.parent or 0, []).append(one)
    return found
