"""Locate: the one operation behind match, adopt, probe, duplicate and link. It never guesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hub.connector.contract import FindAnswer
from hub.domain.normalise import normalise
from hub.domain.record import Record, Value
from hub.domain.schema import Field
from hub.domain.values import DoesNotFit, canonical
from hub.mapping.result import MatchKey
from hub.store import identities
from hub.store.engine import Store
from hub.sync.changes import alike
from hub.sync.flow import Flow


class Found(StrEnum):
    ONE = "found"
    SEVERAL = "several"
    ABSENT = "absent"
    CANT_TELL = "cant_tell"


@dataclass(frozen=True, slots=True)
class Want:
    """What to look for: the hub's stamp if one was written, then match keys in order of strength, for this entity."""

    entity: int
    keys: Sequence[MatchKey]
    stamp: str | None = None


@dataclass(slots=True)
class Located:
    """`record` is the hit; `why` says in words what keeps several or can't-tell from being one."""

    found: Found
    record: Record | None = None
    why: str | None = None
    stamped: bool = False  # it carries the hub's own stamp: an earlier attempt made it


async def locate(store: Store, flow: Flow, wants: Sequence[Want], fields: frozenset[str] | None) -> list[Located]:
    """Ask the target who carries these keys, in lists: one round for the stamps, one for each strength of key.

    Empty values never match. A hit whose veto field says otherwise, or that belongs to another record of the
    source, is a contradiction and counts as several.
    """
    answers: list[Located | None] = [None] * len(wants)
    stamp_field = flow.target_schema.capabilities.stamp_field
    if stamp_field is not None:
        stamped = {index: MatchKey({stamp_field: want.stamp}) for index, want in enumerate(wants) if want.stamp}
        await _round(store, flow, wants, answers, stamped, fields)
    for strength in range(max((len(want.keys) for want in wants), default=0)):
        keys = {
            index: want.keys[strength]
            for index, want in enumerate(wants)
            if answers[index] is None and strength < len(want.keys)
        }
        await _round(store, flow, wants, answers, keys, fields)
    return [answer or Located(Found.ABSENT) for answer in answers]


async def _round(
    store: Store,
    flow: Flow,
    wants: Sequence[Want],
    answers: list[Located | None],
    keys: Mapping[int, MatchKey],
    fields: frozenset[str] | None,
) -> None:
    asked = {index: key for index, key in keys.items() if usable(key)}
    if not asked:
        return
    schema = flow.target_schema
    wanted = None if fields is None else fields | {name for key in asked.values() for name in (*key.fields, *key.veto)}
    found: list[FindAnswer] = await flow.target.connector.find(
        schema.name, [dict(key.fields) for key in asked.values()], wanted
    )
    hits = dict(zip(asked, found, strict=True))
    owners = await _owners(store, flow, [record.id for answer in found for record in answer.records])
    for index, answer in hits.items():
        located = _judge(flow, asked[index], answer, wants[index].entity, owners)
        if located is not None:
            answers[index] = located


def can_ask(flow: Flow, want: Want) -> bool:
    """Whether there is anything to look for it by. What was not looked for is not absent."""
    stamped = want.stamp is not None and flow.target_schema.capabilities.stamp_field is not None
    return stamped or any(usable(key) for key in want.keys)


def usable(key: MatchKey) -> bool:
    """Empty values never match."""
    return bool(key.fields) and all(not empty(value) for value in key.fields.values())


def empty(value: Value) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _judge(flow: Flow, key: MatchKey, answer: FindAnswer, entity: int, owners: Mapping[str, int]) -> Located | None:
    if answer.cant_tell:
        return Located(Found.CANT_TELL, why=f"{flow.target.name} did not answer who carries {describe(key)}")
    records = [record for record in answer.records if matches(flow, key, record)]
    if not records:
        return None
    if len(records) > 1:
        ids = ", ".join(record.id for record in records[:5])
        return Located(Found.SEVERAL, why=f"{len(records)} records of {flow.target.name} carry {describe(key)}: {ids}")
    (record,) = records
    contradiction = vetoed(flow, key, record)
    if contradiction is not None:
        return Located(
            Found.SEVERAL,
            why=f"{flow.target.name} {record.id} carries {describe(key)} too, but another {contradiction}",
        )
    owner = owners.get(record.id)
    if owner is not None and owner != entity:
        return Located(
            Found.SEVERAL,
            why=f"{flow.target.name} {record.id} carries {describe(key)}, and is linked to another record",
        )
    return Located(Found.ONE, record, stamped=flow.target_schema.capabilities.stamp_field in key.fields)


def matches(flow: Flow, key: MatchKey, record: Record) -> bool:
    """Whether the record really carries the key, in the field's canonical form or under the key's normaliser."""
    return all(
        _equal(flow, name, value, record.fields.get(name), key.normalise.get(name))
        for name, value in key.fields.items()
    )


def vetoed(flow: Flow, key: MatchKey, record: Record) -> str | None:
    """The first field that contradicts: both sides have a value, and not the same."""
    for name, value in key.veto.items():
        theirs = record.fields.get(name)
        if not empty(value) and not empty(theirs) and not _equal(flow, name, value, theirs, None):
            return name
    return None


def _equal(flow: Flow, name: str, ours: Value, theirs: Value, normaliser: str | None) -> bool:
    if normaliser is not None:
        return normalise(normaliser, ours) == normalise(normaliser, theirs)
    return alike(flow.target_schema.fields.get(name), ours, theirs)


def describe(key: MatchKey) -> str:
    return " and ".join(f"{name} = {value!r}" for name, value in key.fields.items())


async def _owners(store: Store, flow: Flow, ids: Sequence[str]) -> dict[str, int]:
    """Of these target records, those that belong to a record of the source already: record id -> entity."""
    if not ids:
        return {}
    async with store.read() as conn:
        known = await identities.by_ids(conn, flow.target.name, flow.target_schema.name, ids)
        sources = await identities.of_entities(
            conn, [one.entity for one in known.values()], flow.source.name, flow.source_schema.name
        )
    return {record_id: one.entity for record_id, one in known.items() if sources.get(one.entity)}


def key_value(flow: Flow, key: MatchKey) -> tuple[Any, ...]:
    """A key's values as two sides are compared by them: normalised, or in the field's canonical form."""
    return tuple(
        normalise(key.normalise[name], value)
        if name in key.normalise
        else _canonical(flow.target_schema.fields.get(name), value)
        for name, value in sorted(key.fields.items())
    )


def _canonical(field: Field | None, value: Value) -> Any:
    if field is None:
        return str(value)
    try:
        return canonical(field, value)
    except DoesNotFit:
        return str(value)


def key_text(key: MatchKey) -> str:
    """A match key as the reservation table keeps it."""
    parts: list[Any] = [f"{name}={value}" for name, value in sorted(key.fields.items())]
    return "\x1f".join(parts)
