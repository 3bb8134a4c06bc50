"""Which records are the same thing: put, link, unlink, merge, split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.delivery import State
from hub.domain.errors import InvalidInput, NotFound
from hub.store import bulk
from hub.store.engine import Store
from hub.store.identities.rows import (
    Identity,
    IdentityTaken,
    Key,
    add_rows,
    by_keys,
    ensure,
    lock_entities,
    of_entities,
    values_of,
)
from hub.store.identities.shadows import forget
from hub.store.tables import delivery, identity, waiting


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """A record that was created, adopted or linked, and the entity that it is.

    A row names its `partner` instead of an entity: the row of the other side whose entity it shares (made on the way if
    the map does not have it), with the record that each of the two belongs to.
    """

    entity: int | None
    system: str
    object: str
    record_id: str
    kind: str
    facet: str = ""
    number: str | None = None
    keys: Mapping[str, str] | None = None
    usable: bool = True
    origin: str = "created"
    parent: Key | None = None
    partner: Key | None = None
    partner_parent: Key | None = None

    @property
    def key(self) -> Key:
        return self.system, self.object, bulk.clean(self.record_id)

    def __str__(self) -> str:
        return f"{self.system} {self.object} {self.record_id}"


async def put_fresh(store: Store, conn: AsyncConnection, new: Sequence[NewIdentity]) -> dict[str, int] | None:
    """As `put` for records that nobody knows yet, in one insert: record id -> identity.

    None, and nothing is written, when one of them is known, is a row, or finds its place taken: then `put` it is.
    """
    if any(one.entity is None or one.parent is not None for one in new):
        return None
    await lock_entities(conn, {one.entity for one in new if one.entity is not None})
    now = store.clock.now()
    given = store.ids.take(len(new))
    rows = [
        (number, one.entity, one.system, one.object, one.record_id, one.kind, one.facet, one.number, one.usable,
         one.origin, now)
        for number, one in zip(given, new, strict=True)
    ]  # fmt: skip
    if await bulk.insert(conn, identity, _FRESH, rows, ignore=True) < len(rows):
        await bulk.delete(conn, identity, ("id",), [(number,) for number in given])
        return None
    return {one.record_id: number for number, one in zip(given, new, strict=True)}


_FRESH = ("id", "entity", "system", "object", "record_id", "kind", "facet", "number", "usable", "origin", "created")


async def put(store: Store, conn: AsyncConnection, new: Sequence[NewIdentity]) -> set[int]:
    """Make these records the records of their entities. Returns the entities that others may refer to from now on.

    A record that the map knows as a thing of its own (the other direction captured it, somebody referred to it) is
    joined: its entity becomes part of the given one, with its deliveries and those that wait for it. Holds the rows of
    all entities (see `lock_entities`), as a waker must. Raises IdentityTaken, which shows both.
    """
    ready: set[int] = set()
    for group in ([one for one in new if one.parent is None], [one for one in new if one.parent is not None]):
        if group:
            ready |= await _put(store, conn, group)
    return ready


async def add(store: Store, conn: AsyncConnection, new: Sequence[NewIdentity]) -> set[int]:
    """As `put`, of records that the map does not know: one that it has as another entity's is taken, not joined."""
    known = await by_keys(conn, [one.key for one in new])
    for one in new:
        holder = known.get(one.key)
        if holder is not None and holder.entity != one.entity:
            raise IdentityTaken(one, holder, one.key)
    return await put(store, conn, new)


async def _put(store: Store, conn: AsyncConnection, new: Sequence[NewIdentity]) -> set[int]:
    entities = await _entities_of(store, conn, new)
    parents = await by_keys(conn, {one.parent for one in new if one.parent is not None})
    await lock_entities(conn, set(entities.values()))
    known = await by_keys(conn, [one.key for one in new])
    joins: dict[int, int] = {}
    for key, entity in entities.items():
        if key in known and joins.setdefault(known[key].entity, entity) != entity:
            raise IdentityTaken(" ".join(key), known[key], key)
    causes = {known[key].entity: key for key in entities if key in known}
    await _join(conn, {loser: entity for loser, entity in joins.items() if loser != entity}, causes)
    wanted = {one.key: _row(store, one, entities[one.key], known, parents) for one in new}
    await _refuse_taken(conn, wanted.values())
    fresh = [one for key, one in sorted(wanted.items()) if key not in known]
    if await add_rows(conn, fresh) < len(fresh):
        # Somebody was faster, between our look and our insert: now it shows, as ours, as theirs, or as a taken place.
        return await _put(store, conn, new)
    columns = ("facet", "number", "keys", "parent", "usable", "tombstone", "revision")
    changed = [values_of(one, (*columns, "id")) for key, one in wanted.items() if key in known]
    await bulk.update(conn, identity, ("id",), columns, changed)
    return {one.entity for one in wanted.values() if one.usable}


def _row(
    store: Store, one: NewIdentity, entity: int, known: Mapping[Key, Identity], parents: Mapping[Key, Identity]
) -> Identity:
    holder = parents.get(one.parent) if one.parent is not None else None
    parent = holder.id if holder is not None else None
    before = known.get(one.key)
    if before is None:
        return Identity(
            store.ids.next(), entity, *one.key, one.kind, "primary", one.facet, one.number, one.keys, parent,
            one.usable, None, 0, one.origin, store.clock.now(),
        )  # fmt: skip
    return replace(
        before,
        entity=entity,
        facet=one.facet,
        number=one.number or before.number,
        keys=one.keys or before.keys,
        parent=parent or before.parent,
        usable=one.usable,
        tombstone=None,
        revision=before.revision + 1,
    )


async def _entities_of(store: Store, conn: AsyncConnection, new: Sequence[NewIdentity]) -> dict[Key, int]:
    """Which entity each of the records is; a row's is that of its partner."""
    entities: dict[Key, int] = {}
    masters = await by_keys(conn, {one.partner_parent for one in new if one.partner_parent is not None})
    groups: dict[tuple[str, str, str], list[NewIdentity]] = {}
    for one in new:
        if one.entity is not None:
            if entities.setdefault(one.key, one.entity) != one.entity:
                raise InvalidInput(f"{one} is given to two entities at once.")
        elif one.partner is not None:
            groups.setdefault((one.partner[0], one.partner[1], one.kind), []).append(one)
        else:
            raise InvalidInput(f"{one} is given neither an entity nor a partner.")
    for (system, object, kind), group in groups.items():
        parents = {
            one.partner[2]: masters[one.partner_parent].id
            for one in group
            if one.partner is not None and one.partner_parent in masters
        }
        ids = [one.partner[2] for one in group if one.partner is not None]
        partners = await ensure(store, conn, system, object, kind, ids, origin="captured", parents=parents)
        entities.update({one.key: partners[one.partner[2]].entity for one in group if one.partner is not None})
    return entities


async def _refuse_taken(conn: AsyncConnection, wanted: Iterable[Identity]) -> None:
    """Look who has the places that these want; the unique key of the table is only the last resort, without words."""
    claims = [one for one in wanted if one.live]
    there = await of_entities(conn, {one.entity for one in claims})
    holders = {one.slot: one for found in there.values() for one in found if one.live}
    for one in claims:
        holder = holders.setdefault(one.slot, one)
        if holder.key != one.key:
            raise IdentityTaken(one, holder, one.key)


async def _join(conn: AsyncConnection, losers: Mapping[int, int], causes: Mapping[int, Key] | None = None) -> None:
    """Make entities one: loser -> survivor. Raises IdentityTaken when a survivor has two records in a place.

    `causes` tells of a loser which record was to be linked.
    """
    causes = causes or {}
    if not losers:
        return
    both = set(losers) | set(losers.values())
    await lock_entities(conn, both)
    found = await of_entities(conn, both)
    holders = {one.slot: one for survivor in losers.values() for one in found.get(survivor, []) if one.live}
    for loser, survivor in losers.items():
        for one in found.get(loser, []):
            moved = replace(one, entity=survivor)
            if one.live and holders.setdefault(moved.slot, moved).key != one.key:
                raise IdentityTaken(one, holders[moved.slot], causes.get(loser, one.key))
    await _move(conn, losers)


async def _move(conn: AsyncConnection, losers: Mapping[int, int]) -> None:
    """Everything that hangs on the losers hangs on the survivors."""
    moves = [(survivor, loser) for loser, survivor in losers.items()]
    await bulk.update(conn, identity, ("entity",), ("entity",), moves)
    await bulk.update(conn, delivery, ("entity",), ("entity",), moves)
    # One that waits for both is in the way of a plain update.
    statement = select(waiting.c.delivery, waiting.c.entity, waiting.c.field)
    rows = await bulk.fetch(conn, statement, waiting.c.entity, losers.keys())
    moved = [(one, losers[entity], name) for one, entity, name in rows]
    await bulk.insert(conn, waiting, ("delivery", "entity", "field"), moved, ignore=True)
    await bulk.delete(conn, waiting, ("entity",), [(loser,) for loser in losers])


async def link(store: Store, conn: AsyncConnection, a: Key, b: Key, *, kind: str | None = None) -> int:
    """Say that `a` and `b` are the same thing. Returns the entity: that of `a`, unless only `b` is known.

    A record that the map does not have yet is added; for two of them `kind` is needed. Raises IdentityTaken when the
    thing would have two records in one place.
    """
    known = await by_keys(conn, [a, b])
    first, second = known.get(a), known.get(b)
    if first is not None and second is not None:
        if first.entity != second.entity:
            await _join(conn, {second.entity: first.entity})
        return first.entity
    there = first or second
    named = there.kind if there is not None else kind
    if named is None:
        raise InvalidInput(
            "neither record is in the ID map yet.", hint="say what they are with --kind, as in `customer`"
        )
    entity = there.entity if there is not None else store.ids.next()
    new = [NewIdentity(entity, *key, named, origin="linked") for key in (a, b) if key not in known]
    await put(store, conn, new)
    return entity


async def split(store: Store, conn: AsyncConnection, key: Key) -> Identity:
    """Give a record (an alias, say) an entity of its own again; its deliveries go with it. Raises NotFound."""
    one = await one_of(conn, key)
    await lock_entities(conn, [one.entity])
    entity = store.ids.next()
    await bulk.update(
        conn, identity, ("id",), ("entity", "role", "revision"), [(entity, "primary", one.revision + 1, one.id)]
    )
    mine = update(delivery).where(delivery.c.source_id == one.record_id).values(entity=entity)
    await bulk.change(conn, mine, delivery.c.entity, [one.entity])
    return replace(one, entity=entity, role="primary", revision=one.revision + 1)


async def unlink(store: Store, conn: AsyncConnection, key: Key) -> Identity:
    """This record is not what the map says it is: it gets an entity of its own, and what we sent to it is forgotten."""
    one = await split(store, conn, key)
    await forget(conn, [one.id])
    return one


async def merge(store: Store, conn: AsyncConnection, survivor: Key, loser: Key) -> int:
    """Two records were merged in their system. Returns the surviving entity. Raises NotFound, InvalidInput.

    The loser becomes an alias: it resolves references and is never written. What the loser's entity has elsewhere moves
    along, and becomes an alias as well where the survivor has a record already. Deliveries of aliases rest as
    filtered, 'merged'.
    """
    first, second = await one_of(conn, survivor), await one_of(conn, loser)
    if first.id == second.id:
        raise InvalidInput(f"{first} can't be merged with itself.")
    await lock_entities(conn, [first.entity, second.entity])
    found = await of_entities(conn, [first.entity, second.entity])
    taken = {one.slot for one in found[first.entity] if one.live and one.id != second.id}
    losing = [second] if first.entity == second.entity else found[second.entity]
    aliases = [
        one for one in losing if one.id == second.id or (one.live and replace(one, entity=first.entity).slot in taken)
    ]
    await bulk.update(conn, identity, ("id",), ("role",), [("alias", one.id) for one in aliases])
    if first.entity != second.entity:
        await _move(conn, {second.entity: first.entity})
    rest = {"state": State.FILTERED.value, "reason": "merged", "since": store.clock.now()}
    settled = update(delivery).where(delivery.c.entity == first.entity, delivery.c.state != State.WORKING.value)
    await bulk.change(conn, settled.values(rest), delivery.c.source_id, [one.record_id for one in aliases])
    return first.entity


async def one_of(conn: AsyncConnection, key: Key) -> Identity:
    """The identity of a record. Raises NotFound."""
    found = (await by_keys(conn, [key])).get(key)
    if found is None:
        raise NotFound(f"the ID map has no {key[1]} {key[2]} of {key[0]}.", hint="look for it with `hub ids find`")
    return found
