"""The ID map as people read and carry it: found by what they know, shown whole, as CSV out and in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk
from hub.store.engine import Store
from hub.store.identities.joining import one_of
from hub.store.identities.references import objects_of
from hub.store.identities.rows import (
    ALL,
    Identity,
    Key,
    add_rows,
    by_ids,
    by_keys,
    by_numbers,
    lock_entities,
    of_entities,
    of_row,
)
from hub.store.tables import identity

EXPORT_COLUMNS = (
    "entity",
    "kind",
    "system",
    "object",
    "id",
    "number",
    "role",
    "facet",
    "usable",
    "deleted",
    "parent_object",
    "parent_id",
    "keys",
)
_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Shown:
    """An entity with all its identities, and the records that its rows belong to (by identity)."""

    entity: int
    kind: str
    identities: list[Identity]
    parents: dict[int, Identity]


async def show(conn: AsyncConnection, key: Key) -> Shown:
    """All that the map has of the thing that this record is. Raises NotFound."""
    one = await one_of(conn, key)
    found = (await of_entities(conn, [one.entity]))[one.entity]
    parents = await _by_identity(conn, {each.parent for each in found if each.parent is not None})
    return Shown(
        one.entity, one.kind, found, {each.id: parents[each.parent] for each in found if each.parent in parents}
    )


async def find(conn: AsyncConnection, text: str, *, limit: int = 50) -> list[Identity]:
    """Records whose id or number is `text`, in any system. Two look-ups an object, so it is quick in a large map."""
    found: dict[int, Identity] = {}
    for system in await _systems(conn):
        for object in await objects_of(conn, system):
            found.update({one.id: one for one in (await by_ids(conn, system, object, [text])).values()})
            found.update(
                {one.id: one for ones in (await by_numbers(conn, system, object, [text])).values() for one in ones}
            )
    return sorted(found.values(), key=lambda one: one.id)[:limit]


async def _systems(conn: AsyncConnection) -> list[str]:
    """The systems in the map, by jumping through the unique key."""
    found: list[str] = []
    last = ""
    while True:
        later = select(identity.c.system).where(identity.c.system > last).order_by(identity.c.system).limit(1)
        one = (await conn.execute(later)).scalar()
        if one is None:
            return found
        found.append(one)
        last = one


async def _by_identity(conn: AsyncConnection, ids: Iterable[int | None]) -> dict[int, Identity]:
    rows = await bulk.fetch(conn, ALL, identity.c.id, list(ids))
    return {one.id: one for one in map(of_row, rows)}


async def export(store: Store, *, system: str | None = None) -> AsyncIterator[tuple[str, ...]]:
    """Rows of `EXPORT_COLUMNS` as text, one identity each, all of an entity together; a page in memory at a time."""
    at = (-1, -1)
    statement = ALL.order_by(identity.c.entity, identity.c.id).limit(_PAGE)
    if system is not None:
        statement = statement.where(identity.c.system == system)
    while True:
        later = (identity.c.entity > at[0]) | ((identity.c.entity == at[0]) & (identity.c.id > at[1]))
        async with store.read() as conn:
            page = [
                of_row(row) for row in (await conn.execute(statement.where(identity.c.entity >= at[0], later))).all()
            ]
            parents = await _by_identity(conn, {one.parent for one in page if one.parent is not None})
        for one in page:
            yield _as_text(one, parents.get(one.parent or 0))
        if len(page) < _PAGE:
            return
        at = (page[-1].entity, page[-1].id)


def _as_text(one: Identity, parent: Identity | None) -> tuple[str, ...]:
    return (
        str(one.entity),
        one.kind,
        one.system,
        one.object,
        one.record_id,
        one.number or "",
        one.role,
        one.facet,
        "yes" if one.usable else "no",
        str(one.tombstone or ""),
        parent.object if parent is not None else "",
        parent.record_id if parent is not None else "",
        orjson.dumps(one.keys).decode() if one.keys else "",
    )


@dataclass(slots=True)
class ImportReport:
    """What an import did. `conflicts` are (line, what is wrong), the header being line 1; they were left out."""

    created: int = 0
    same: int = 0
    conflicts: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Line:
    number: int
    row: Mapping[str, str]
    key: Key


async def import_rows(store: Store, conn: AsyncConnection, rows: Iterable[Mapping[str, str]]) -> ImportReport:
    """Add identities from rows of `EXPORT_COLUMNS` (only entity, kind, system, object, id are needed).

    Rows with the same `entity` text are the same thing; the text itself need not be an id of this store. What the map
    has already is left as it is; what contradicts it, or the file itself, is a conflict and left out.
    """
    report = ImportReport()
    lines = _read(rows, report)
    known = await by_keys(conn, [line.key for line in lines])
    entities = _choose(store, lines, known)
    await lock_entities(conn, entities.values())
    there = await of_entities(conn, entities.values())
    taken = {one.slot: one for found in there.values() for one in found if one.live}
    new: dict[Key, Identity] = {}
    for line in lines:
        entity = entities[line.row["entity"]]
        holder = known.get(line.key) or new.get(line.key)
        if holder is not None:
            if holder.entity == entity:
                report.same += 1
            else:
                report.conflicts.append((line.number, f"{holder} belongs to another {holder.kind} in the map"))
            continue
        one = _identity(store, line, entity)
        if one.live and (other := taken.setdefault(one.slot, one)).key != one.key:
            report.conflicts.append((line.number, f"{one}: its place is taken by {other}"))
            continue
        new[line.key] = one
    made = await _with_parents(conn, lines, new, report)
    report.created = await add_rows(conn, made)
    report.conflicts.sort()
    return report


def _read(rows: Iterable[Mapping[str, str]], report: ImportReport) -> list[_Line]:
    lines: list[_Line] = []
    for number, row in enumerate(rows, 2):
        empty = [name for name in ("entity", "kind", "system", "object", "id") if not row.get(name)]
        if empty:
            report.conflicts.append((number, f"{', '.join(empty)} must not be empty"))
        elif row.get("role") and row["role"] not in ("primary", "alias"):
            report.conflicts.append((number, f"role is 'primary' or 'alias', not '{row['role']}'"))
        elif row.get("deleted") and not row["deleted"].isdecimal():
            report.conflicts.append((number, f"deleted is a time in epoch milliseconds, not '{row['deleted']}'"))
        elif row.get("keys") and not _is_object(row["keys"]):
            report.conflicts.append((number, "keys is not a JSON object"))
        else:
            lines.append(_Line(number, row, (row["system"], row["object"], row["id"])))
    return lines


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _choose(store: Store, lines: Sequence[_Line], known: Mapping[Key, Identity]) -> dict[str, int]:
    """Which entity each `entity` text of the file is: that of its first record in the map, else a new one."""
    chosen: dict[str, int] = {}
    for line in lines:
        holder = known.get(line.key)
        if holder is not None:
            chosen.setdefault(line.row["entity"], holder.entity)
    for line in lines:
        if line.row["entity"] not in chosen:
            chosen[line.row["entity"]] = store.ids.next()
    return chosen


def _identity(store: Store, line: _Line, entity: int) -> Identity:
    row = line.row
    return Identity(
        store.ids.next(),
        entity,
        *line.key,
        row["kind"],
        row.get("role") or "primary",
        row.get("facet") or "",
        number=row.get("number") or None,
        keys=orjson.loads(row["keys"]) if row.get("keys") else None,
        usable=(row.get("usable") or "yes") == "yes",
        tombstone=int(row["deleted"]) if row.get("deleted") else None,
        origin="imported",
        created=store.clock.now(),
    )


async def _with_parents(
    conn: AsyncConnection, lines: Sequence[_Line], new: Mapping[Key, Identity], report: ImportReport
) -> list[Identity]:
    wanted = {
        line.key: (line.key[0], line.row["parent_object"], line.row["parent_id"])
        for line in lines
        if line.key in new and line.row.get("parent_id") and line.row.get("parent_object")
    }
    known = {**await by_keys(conn, set(wanted.values()) - new.keys()), **new}
    made: list[Identity] = []
    for line in lines:
        one = new.get(line.key)
        if one is None:
            continue
        parent = known.get(wanted[line.key]) if line.key in wanted else None
        if line.key in wanted and parent is None:
            report.conflicts.append((line.number, f"{one} belongs to a record that the map does not have"))
        else:
            made.append(replace(one, parent=parent.id if parent is not None else None))
    return made
