"""Entries: what settling will write of each task, table by table, made up before the transaction begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.connector.contract import Op, Write
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.mapping.compile import TableFacts
from hub.store import identities
from hub.store.engine import Store
from hub.sync.changes import applied
from hub.sync.flow import Flow
from hub.sync.payload import Payload
from hub.sync.work import Intent, Sent, Task, Work


@dataclass(slots=True)
class Entries:
    """Rows to be. `shadows` are by record id until the identities have their numbers (`known`)."""

    identities: list[identities.NewIdentity] = field(default_factory=list)
    usable: list[tuple[str, bool]] = field(default_factory=list)
    tombstones: list[tuple[str, str, str]] = field(default_factory=list)
    shadows: dict[str, Shadowed] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)  # record id -> identity
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    ready: set[int] = field(default_factory=set)  # entities that others may refer to from now on


@dataclass(slots=True)
class Shadowed:
    """What is remembered of a target record: `seen` (None: says nothing) and `sent` as JSON, and what is in doubt."""

    seen: str | None
    sent: str
    doubt: frozenset[str]


class Bookkeeper:
    """Makes up the entries of one flow."""

    def __init__(self, store: Store, flow: Flow) -> None:
        self._store = store
        self._flow = flow
        self._names: dict[tuple[str, ...], str] = {}  # of fields that were sent together, as JSON
        self._now = 0

    def entries(self, works: Sequence[Work]) -> Entries:
        """What these have to leave behind."""
        batch = Entries()
        self._now = self._store.clock.now()
        for work in works:
            for task in work.tasks:
                self._note(batch, work, task)
        return batch

    def attempts(self, works: Sequence[Work]) -> list[tuple[Any, ...]]:
        """What the history is to tell of works that are somebody else's by now."""
        batch = Entries()
        self._now = self._store.clock.now()
        for work in works:
            for task in work.tasks:
                if task.outcome is not None and task.intent is not None:
                    task.intent.noted = True
                    self._attempt(batch, work, task.intent, task.outcome, task.took)
        return batch.attempts

    def _note(self, batch: Entries, work: Work, task: Task) -> None:
        outcome, intent = task.outcome, task.intent
        system, schema = self._flow.target.name, self._flow.target_schema
        if task.lost is not None and not task.lost.noted:
            failure = Failure("its worker ended before it could note the answer")
            self._attempt(batch, work, task.lost, Outcome(OutcomeKind.UNKNOWN, failure=failure), 0)
        if outcome is not None and intent is not None:
            intent.noted = True
            self._attempt(batch, work, intent, outcome, task.took)
        if task.set_aside:
            return
        if task.gone is not None:
            batch.tombstones.append((system, schema.name, task.gone.record_id))
        if task.adopted is not None and task.new_sent is not None:
            self._link(batch, work, task, task.adopted.id, _keys(schema.number_field, task.adopted.fields), "adopted")
        if outcome is None or intent is None:
            self._note_seen(batch, task)
            return
        write = intent.write
        if outcome.kind not in (OutcomeKind.OK, OutcomeKind.PARTLY):
            if outcome.kind is OutcomeKind.UNKNOWN and task.target is not None:
                self._remember(batch, task.target.record_id, task.sent, task)
            return
        record_id = outcome.id or write.id
        assert record_id is not None
        whole = outcome.kind is OutcomeKind.OK
        if write.op is Op.DELETE:
            if whole:  # half deleted (in the recycle bin, say) is still there, and is deleted again
                batch.tombstones.append((system, schema.name, record_id))
            return
        if task.target is None and task.adopted is None:
            self._link(batch, work, task, record_id, outcome.keys, "created", usable=whole)
        elif task.target is not None and task.target.usable is not whole:
            batch.usable.append((record_id, whole))
            if whole:
                batch.ready.add(work.claimed.entity)
        base = task.new_sent or task.sent
        fresh = write.op is Op.CREATE
        sent = applied(base, write.fields, write.rows, outcome.rows, fresh=fresh)
        sent.left = intent.leaving is not None
        if whole and intent.actions and intent.leaving is None:
            sent.actions = list(intent.actions)
        if task.doubt:
            task.doubt = task.doubt - set(write.fields) - set(write.rows)
        task.new_sent = sent
        if outcome.rows:
            self._row_identities(batch, work, record_id, outcome)
        if write.rows:
            self._rows_gone(batch, work, task, write)
        self._remember(batch, record_id, sent, task)

    def _note_seen(self, batch: Entries, task: Task) -> None:
        """Nothing left, but what was read of the target, and what was found to be there already, is remembered."""
        if task.target is not None and task.current is not None and task.rendered is not None:
            self._remember(batch, task.target.record_id, task.new_sent or task.sent, task)

    def _remember(self, batch: Entries, record_id: str, sent: Sent, task: Task) -> None:
        if task.target is not None:
            batch.known[record_id] = task.target.id
        seen = self._seen_after(task)
        text = orjson.dumps(seen).decode() if seen is not None else None
        batch.shadows[record_id] = Shadowed(text, sent.encode(), self._doubt_after(task))

    def _link(
        self,
        batch: Entries,
        work: Work,
        task: Task,
        record_id: str,
        keys: dict[str, str],
        origin: str,
        *,
        usable: bool = True,
    ) -> None:
        schema = self._flow.target_schema
        batch.identities.append(
            identities.NewIdentity(
                work.claimed.entity,
                self._flow.target.name,
                schema.name,
                record_id,
                self._flow.kind,
                facet=task.facet,
                number=keys.get("number"),
                usable=usable,
                origin=origin,
            )
        )
        if usable:
            batch.ready.add(work.claimed.entity)
        if origin == "adopted" and task.new_sent is not None:
            self._remember(batch, record_id, task.new_sent, task)

    def _row_identities(self, batch: Entries, work: Work, record_id: str, outcome: Outcome) -> None:
        """Rows whose mapping names an entity have identities of their own, so that references can point at a line."""
        for table, given in outcome.rows.items():
            spec = self._flow.mapping.tables.get(table)
            if spec is None or spec.entity is None or spec.object is None:
                continue
            batch.identities.extend(
                identities.NewIdentity(
                    None,
                    self._flow.target.name,
                    f"{self._flow.target_schema.name}.{table}",
                    row_id,
                    spec.entity,
                    parent=(self._flow.target.name, self._flow.target_schema.name, record_id),
                    partner=(self._flow.source.name, spec.object, key),
                    partner_parent=(self._flow.source.name, self._flow.source_schema.name, work.claimed.source_id),
                    origin="created",
                )
                for key, row_id in given.items()
            )

    def _rows_gone(self, batch: Entries, work: Work, task: Task, write: Write) -> None:
        """Rows that this write took out are deleted records, and so are their source rows that are no longer read."""
        for table, changes in write.rows.items():
            spec = self._flow.mapping.tables.get(table)
            if not changes.remove or spec is None or spec.entity is None or spec.object is None:
                continue
            row_object = f"{self._flow.target_schema.name}.{table}"
            batch.tombstones.extend((self._flow.target.name, row_object, row_id) for row_id in changes.remove)
            there = _source_keys(work.payload, spec)
            removed = set(changes.remove)
            batch.tombstones.extend(
                (self._flow.source.name, spec.object, key)
                for key, row in task.sent.rows.get(table, {}).items()
                if row.id in removed and key not in there
            )

    def _seen_after(self, task: Task) -> dict[str, Any] | None:
        """What the target says as far as we know: as read, with what we wrote on top of it. Only two-way flows ask."""
        if not self._flow.reads_before_write and task.adopted is None:
            return None
        read = task.current or task.adopted
        seen = dict(read.fields) if read is not None else dict(task.seen or {})
        if task.outcome is not None and task.outcome.kind is OutcomeKind.OK and task.intent is not None:
            seen.update(task.intent.write.fields)
        return seen

    def _doubt_after(self, task: Task) -> frozenset[str]:
        if task.outcome is not None and task.outcome.kind is OutcomeKind.UNKNOWN and task.intent is not None:
            return task.doubt | frozenset(task.intent.write.fields) | frozenset(task.intent.write.rows)
        return task.doubt

    def _attempt(self, batch: Entries, work: Work, intent: Intent, outcome: Outcome, took: int) -> None:
        write, failure = intent.write, outcome.failure
        sent = (*write.fields, *write.rows) if write.rows else tuple(write.fields)
        names = self._names.get(sent)
        if names is None:
            names = self._names[sent] = orjson.dumps(sent).decode()
        batch.attempts.append(
            (
                self._store.ids.next(),
                work.claimed.id,
                self._now,
                write.operation or write.op.value,
                outcome.kind.value,
                outcome.id or write.id,
                failure.code if failure is not None else None,
                failure.message if failure is not None else None,
                None,
                names,
                orjson.dumps(intent.overwrites).decode() if intent.overwrites else None,
                took,
            )
        )


def _keys(number_field: str | None, fields: dict[str, Any]) -> dict[str, str]:
    value = fields.get(number_field) if number_field else None
    return {"number": str(value)} if value else {}


def _source_keys(payload: Payload | None, spec: TableFacts) -> set[str]:
    """The keys of the source rows that a table is made from, as the record was read."""
    if payload is None or spec.key is None:
        return set()
    rows: Any = payload.related.get(spec.related) if spec.related else payload.record.get(spec.field or "")
    return {str(row[spec.key]) for row in rows or () if row.get(spec.key) is not None}
