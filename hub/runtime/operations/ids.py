"""The ID map: which records are the same thing; looked at, linked, parted, carried in and out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from sqlalchemy import select

from hub.domain.clock import iso
from hub.domain.errors import HubError, NotFound
from hub.runtime.operations.operation import Act, AnyOperation, Call, Operation, Params, Result
from hub.runtime.settings import Role
from hub.store import identities, waits
from hub.store.identities import Identity, Key, NewIdentity
from hub.store.tables import identity


def _record(text: str) -> str:
    if len([part for part in text.split(":", 2) if part]) != 3:
        raise ValueError("write a record as SYSTEM:OBJECT:ID, such as crm:AccountObj:65aa17a9")
    return text


RecordName = Annotated[str, AfterValidator(_record)]


def key_of(text: str) -> Key:
    """`crm:AccountObj:65aa` as the map's key; an id may hold colons."""
    system, object, record_id = text.split(":", 2)
    return system, object, record_id


class ShowParams(Params):
    record: RecordName = Field(description="SYSTEM:OBJECT:ID")


class FindParams(Params):
    text: str = Field(min_length=1, description="A record's id, or the number that people know it by.")


class LinkParams(Act):
    a: RecordName = Field(description="SYSTEM:OBJECT:ID")
    b: RecordName = Field(description="SYSTEM:OBJECT:ID of the same thing elsewhere.")
    kind: str | None = Field(
        default=None, description="What they are (customer, order, ...), if the map knows neither."
    )


class RecordParams(Act):
    record: RecordName = Field(description="SYSTEM:OBJECT:ID")


class MergeParams(Act):
    survivor: RecordName = Field(description="SYSTEM:OBJECT:ID of the record that stays.")
    loser: RecordName = Field(description="SYSTEM:OBJECT:ID of the record that was merged into it.")


class ExportParams(Params):
    kind: str | None = Field(default=None, description="Only this kind.")
    after: str | None = Field(default=None, description="Go on after this entity (from `next`).")
    limit: int = Field(default=2000, ge=1, le=10_000, description="Entities a page.")


class ImportRow(Params):
    """A record of a thing; `facet` and `number` may be empty."""

    system: str = Field(min_length=1)
    object: str = Field(min_length=1)
    id: str = Field(min_length=1)
    kind: str = Field(min_length=1)
    facet: str = ""
    number: str | None = None


class ImportParams(Act):
    things: list[list[ImportRow]] = Field(max_length=2000, description="Each list holds the records of one thing.")


class IdentityRow(Result):
    """'In this system, this object, the entity has this id.'"""

    entity: str
    kind: str
    system: str
    object: str
    id: str
    facet: str
    number: str | None
    role: str
    usable: bool
    deleted: str | None
    origin: str
    since: str | None


class Identities(Result):
    items: list[IdentityRow]


class Page(Result):
    """A page of the map; `next` is None on the last."""

    items: list[IdentityRow]
    next: str | None


class Changed(Result):
    """The thing as it is in the map now."""

    entity: str
    items: list[IdentityRow]


class Imported(Result):
    """How many things came in, and what kept the others out."""

    things: int
    refused: list[str]


def row(one: Identity) -> IdentityRow:
    return IdentityRow(
        entity=str(one.entity),
        kind=one.kind,
        system=one.system,
        object=one.object,
        id=one.record_id,
        facet=one.facet,
        number=one.number,
        role=one.role,
        usable=one.usable,
        deleted=iso(one.tombstone),
        origin=one.origin,
        since=iso(one.created),
    )


async def _thing(conn: Any, entity: int) -> list[IdentityRow]:
    return [row(one) for one in (await identities.of_entities(conn, [entity])).get(entity, [])]


async def _show(call: Call, params: ShowParams) -> Changed:
    async with call.hub.store.read() as conn:
        one = await identities.one_of(conn, key_of(params.record))
        return Changed(entity=str(one.entity), items=await _thing(conn, one.entity))


async def _find(call: Call, params: FindParams) -> Identities:
    async with call.hub.store.read() as conn:
        found = await identities.find(conn, params.text)
        if not found:
            raise NotFound(
                f"The ID map knows nothing by the name of `{params.text}`.",
                hint="it takes a record's id or its whole number; `hub ids export` writes all of it",
            )
        whole = await identities.of_entities(conn, {one.entity for one in found})
    return Identities(items=[row(one) for group in whole.values() for one in group])


async def _link(call: Call, params: LinkParams) -> Changed:
    store = call.hub.store
    async with store.begin() as conn:
        entity = await identities.link(store, conn, key_of(params.a), key_of(params.b), kind=params.kind)
        await waits.wake(conn, [entity], store.clock.now())
        changed = Changed(entity=str(entity), items=await _thing(conn, entity))
    call.hub.signals.wake(*call.hub.config.flows)
    return changed


async def _unlink(call: Call, params: RecordParams) -> Changed:
    async with call.hub.store.begin() as conn:
        one = await identities.unlink(call.hub.store, conn, key_of(params.record))
        return Changed(entity=str(one.entity), items=await _thing(conn, one.entity))


async def _split(call: Call, params: RecordParams) -> Changed:
    async with call.hub.store.begin() as conn:
        one = await identities.split(call.hub.store, conn, key_of(params.record))
        return Changed(entity=str(one.entity), items=await _thing(conn, one.entity))


async def _merge(call: Call, params: MergeParams) -> Changed:
    store = call.hub.store
    async with store.begin() as conn:
        entity = await identities.merge(store, conn, key_of(params.survivor), key_of(params.loser))
        await waits.wake(conn, [entity], store.clock.now())
        changed = Changed(entity=str(entity), items=await _thing(conn, entity))
    call.hub.signals.wake(*call.hub.config.flows)
    return changed


async def _export(call: Call, params: ExportParams) -> Page:
    wanted = select(identity.c.entity).distinct().order_by(identity.c.entity).limit(params.limit)
    if params.kind is not None:
        wanted = wanted.where(identity.c.kind == params.kind)
    if params.after is not None:
        wanted = wanted.where(identity.c.entity > int(params.after))
    async with call.hub.store.read() as conn:
        entities = [found[0] for found in (await conn.execute(wanted)).all()]
        whole = await identities.of_entities(conn, entities)
    items = [row(one) for entity in entities for one in whole.get(entity, [])]
    return Page(items=items, next=str(entities[-1]) if len(entities) == params.limit else None)


async def _import(call: Call, params: ImportParams) -> Imported:
    """One transaction when all is well; else each thing for itself, so that one that is taken keeps no other out."""
    try:
        await _bring(call, params.things)
        return Imported(things=len(params.things), refused=[])
    except HubError:
        refused = []
        for thing in params.things:
            try:
                await _bring(call, [thing])
            except HubError as error:
                refused.append(error.message)
        return Imported(things=len(params.things) - len(refused), refused=refused)
    finally:
        call.hub.signals.wake(*call.hub.config.flows)


async def _bring(call: Call, things: list[list[ImportRow]]) -> None:
    store = call.hub.store
    async with store.begin() as conn:
        known = await identities.by_keys(conn, [(one.system, one.object, one.id) for thing in things for one in thing])
        new = []
        for thing in things:
            theirs = [known[key] for one in thing if (key := (one.system, one.object, one.id)) in known]
            entity = theirs[0].entity if theirs else store.ids.next()
            new += [
                NewIdentity(
                    entity, one.system, one.object, one.id, one.kind, one.facet, number=one.number, origin="imported"
                )
                for one in thing
            ]
        usable = await identities.put(store, conn, new)
        await waits.wake(conn, usable, store.clock.now())


OPERATIONS: list[AnyOperation] = [
    Operation("ids.show", "Show all records of one thing.", ShowParams, Changed, Role.VIEWER, _show),
    Operation("ids.find", "Find a thing by an id or a number.", FindParams, Identities, Role.VIEWER, _find),
    Operation(
        "ids.link", "Say that two records are the same thing.", LinkParams, Changed, Role.ENGINEER, _link, acts=True
    ),
    Operation(
        "ids.unlink", "Say that a record is not that thing.", RecordParams, Changed, Role.ENGINEER, _unlink, acts=True
    ),
    Operation("ids.merge", "Follow a merge made in a system.", MergeParams, Changed, Role.ENGINEER, _merge, acts=True),
    Operation(
        "ids.split", "Give a record a thing of its own.", RecordParams, Changed, Role.ENGINEER, _split, acts=True
    ),
    Operation("ids.export", "Read the ID map, page by page.", ExportParams, Page, Role.ENGINEER, _export),
    Operation(
        "ids.import", "Bring records into the ID map.", ImportParams, Imported, Role.ENGINEER, _import, acts=True
    ),
]
