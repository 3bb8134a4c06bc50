"""A system in memory that speaks the connector contract: instant, with a journal, and with failures on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hub.connector.contract import (
    Cursor,
    FindAnswer,
    GetAnswer,
    GetKind,
    Op,
    Page,
    ReadRequest,
    Write,
)
from hub.domain.clock import ManualClock
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Change, Fields, Record, RowsWrite
from hub.domain.schema import ObjectSchema

PAGE = 3


@dataclass
class Entry:
    """A journal line: what really happened, whatever was answered."""

    op: str
    object: str
    id: str
    fields: Fields


@dataclass
class MemorySystem:
    """Objects by name, records by id. `plan` decides an outcome before a write is done, `lose` after it."""

    name: str
    clock: ManualClock
    schemas: dict[str, ObjectSchema]
    number_prefix: str = "N"
    records: dict[str, dict[str, Record]] = field(default_factory=dict)
    journal: list[Entry] = field(default_factory=list)
    deleted: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    plan: Callable[[str, Write], Outcome | None] | None = None
    lose: Callable[[str, Write], bool] | None = None
    makes_of: Callable[[Fields], Fields] | None = None  # how the vendor rounds, trims or defaults
    finds: int = 0
    gets: int = 0
    reads: int = 0
    states: dict[str, str] = field(default_factory=dict)
    _ids: int = 0

    # ---- a person's edits ------------------------------------------------------------------------------------------

    def put(self, object: str, id: str, **fields: Any) -> None:
        """Somebody saves a record in the system's own screen."""
        table = self.records.setdefault(object, {})
        before = table.get(id)
        merged = {**(before.fields if before else self._empty(object, id)), **fields}
        version = (before.version or 0) + 1 if before else 1
        self.clock.advance(0.001)
        table[id] = Record(object, id, merged, version, self.clock.now())

    def drop(self, object: str, id: str) -> None:
        """Somebody deletes it."""
        del self.records[object][id]
        self.clock.advance(0.001)
        self.deleted.setdefault(object, []).append((self.clock.now(), id))

    def _empty(self, object: str, id: str) -> Fields:
        schema = self.schemas[object]
        empty: Fields = {name: None for name, one in schema.fields.items() if one.rows is None}
        return {**empty, schema.id_field: id}

    # ---- reading ---------------------------------------------------------------------------------------------------

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        self.reads += 1
        asked = self.clock.now()
        table = self.records.get(request.object, {})
        after = (cursor or {}).get("after")
        if request.full:
            chosen = [table[one] for one in sorted(table) if after is None or one > after]
            page = chosen[:PAGE]
            mark: Any = page[-1].id if page else after
        else:
            since = after if after is not None else [request.since or 0, ""]
            chosen = sorted(
                (one for one in table.values() if [one.modified, one.id] > since),
                key=lambda one: (one.modified, one.id),
            )
            page = chosen[:PAGE]
            mark = [page[-1].modified, page[-1].id] if page else since
        changes = [Change(self._shown(one, request.fields)) for one in page]
        more = len(chosen) > PAGE
        self.clock.advance(0.001)
        return Page(changes, {"after": mark}, more, asked, self.clock.now(), request.full and not more)

    def _shown(self, record: Record, fields: frozenset[str] | None) -> Record:
        names = record.fields.keys() if fields is None else fields
        return replace(record, fields={name: _copy(record.fields.get(name)) for name in names})

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        self.gets += 1
        asked = self.clock.now()
        self.clock.advance(0.001)
        table = self.records.get(object, {})
        return [
            GetAnswer(one, GetKind.FOUND, self._shown(table[one], fields), asked, self.clock.now())
            if one in table
            else GetAnswer(one, GetKind.GONE, None, asked, self.clock.now())
            for one in ids
        ]

    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None = None
    ) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {one: [] for one in masters}
        for record in self.records.get(object, {}).values():
            master = record.fields.get(master_field)
            if master in found:
                found[str(master)].append(self._shown(record, fields))
        return found

    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        self.finds += 1
        table = self.records.get(object, {})
        return [
            FindAnswer(
                [
                    self._shown(one, fields)
                    for one in table.values()
                    if all(one.fields.get(name) == value for name, value in key.items())
                ]
            )
            for key in keys
        ]

    # ---- writing ---------------------------------------------------------------------------------------------------

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return [self._one(object, write) for write in batch]

    def _one(self, object: str, write: Write) -> Outcome:
        planned = self.plan(object, write) if self.plan else None
        if planned is not None and planned.kind is not OutcomeKind.PARTLY:
            return planned
        outcome = self._commit(object, write, planned)
        if self.lose is not None and self.lose(object, write):
            return Outcome(OutcomeKind.UNKNOWN, failure=Failure("the answer was lost"))
        return outcome

    def _commit(self, object: str, write: Write, planned: Outcome | None) -> Outcome:
        table = self.records.setdefault(object, {})
        self.clock.advance(0.001)
        if write.op is Op.CREATE and "save" not in write.done:
            self._ids += 1
            record_id = f"{self.name}-{self._ids}"
            table[record_id] = Record(object, record_id, self._empty(object, record_id), 0, 0)
            number = self.schemas[object].number_field
            if number and number not in write.fields:
                table[record_id].fields[number] = f"{self.number_prefix}{self._ids}"
        else:
            record_id = str(write.id)
            if record_id not in table:
                return Outcome(OutcomeKind.GONE, failure=Failure("there is no such record"))
        if write.op is Op.DELETE:
            self.journal.append(Entry("delete", object, record_id, {}))
            self.drop(object, record_id)
            return Outcome(OutcomeKind.OK, record_id, steps=("save",))
        record = table[record_id]
        if write.op is Op.OPERATION:
            self.states[record_id] = str(write.operation)
            self.journal.append(Entry(str(write.operation), object, record_id, {}))
            return Outcome(OutcomeKind.OK, record_id, steps=("save",))
        rows = self._rows(object, record, write) if "save" not in write.done else {}
        if "save" not in write.done:
            fields = dict(write.fields)
            stamp = self.schemas[object].capabilities.stamp_field
            if stamp and write.op is Op.CREATE:
                fields[stamp] = write.stamp
            record.fields.update(self.makes_of(fields) if self.makes_of else fields)
            record.version = (record.version or 0) + 1
            record.modified = self.clock.now()
            self.journal.append(Entry(write.op.value, object, record_id, {**write.fields, **_plain(write.rows)}))
        number_field = self.schemas[object].number_field
        keys = {"number": str(record.fields[number_field])} if number_field else {}
        if planned is not None:
            return replace(planned, id=record_id, keys=keys, rows=rows, version=record.version)
        self.states[record_id] = write.steps[-1] if write.steps else "save"
        for step in write.steps:
            self.journal.append(Entry(step, object, record_id, {}))
        return Outcome(OutcomeKind.OK, record_id, record.version, keys, rows, ("save", *write.steps))

    def _rows(self, object: str, record: Record, write: Write) -> dict[str, dict[str, str]]:
        given: dict[str, dict[str, str]] = {}
        for table, changes in write.rows.items():
            key = self.schemas[object].fields[table].row_key or "id"
            present: list[Any] = list(record.fields.get(table) or [])  # type: ignore[arg-type]
            present = [row for row in present if row[key] not in changes.remove]
            for row in changes.upsert:
                known = next((one for one in present if one[key] == row.id), None) if row.id else None
                if known is None:
                    self._ids += 1
                    known = {key: f"r{self._ids}"}
                    present.append(known)
                known.update(row.fields)
                given.setdefault(table, {})[row.key] = known[key]
            record.fields[table] = present
        return given


def _copy(value: Any) -> Any:
    return [dict(row) for row in value] if isinstance(value, list) and value and isinstance(value[0], dict) else value


def _plain(rows: dict[str, RowsWrite]) -> Fields:
    return {
        table: {"upsert": [{**row.fields, "id": row.id} for row in found.upsert], "remove": list(found.remove)}  # type: ignore[dict-item]
        for table, found in rows.items()
    }
