"""What has to be written: the difference between a rendering and what the target has from us. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hub.domain.record import Fields, RowsWrite, RowWrite
from hub.domain.schema import Field, ObjectSchema
from hub.domain.values import canonical
from hub.mapping.result import Rendered, RenderedRow
from hub.sync.work import Sent

MISSING = object()


@dataclass(slots=True)
class Difference:
    """Fields and rows that differ. `held` names a table whose policy asks for a person."""

    fields: Fields = field(default_factory=dict)
    rows: dict[str, RowsWrite] = field(default_factory=dict)
    held: str | None = None

    def __bool__(self) -> bool:
        return bool(self.fields or self.rows)


@dataclass(frozen=True, slots=True)
class TablePolicy:
    """What the mapping says of one table's rows."""

    missing: str = "remove"  # remove | keep | hold


def difference(
    rendered: Rendered,
    sent: Sent,
    doubt: frozenset[str],
    *,
    skip: frozenset[str],
    together: Iterable[frozenset[str]],
    tables: dict[str, TablePolicy],
) -> Difference:
    """The fields whose rendering differs from `sent` or is in doubt, widened to the groups that travel together.

    `skip` are fields that this write must not carry (made on create only, owned by the other side).
    """
    before = sent.fields
    fields = {
        name: value
        for name, value in rendered.fields.items()
        if name not in skip and (before.get(name, MISSING) != value or name in doubt)
    }
    found = Difference(fields)
    groups = tuple(together)
    if fields:
        _widen(fields, rendered.fields, groups, skip)
    for table, rows in rendered.rows.items():
        _table(found, table, rows, sent.rows.get(table, {}), table in doubt, groups, tables.get(table, TablePolicy()))
    return found


def _widen(fields: Fields, rendered: Fields, groups: Iterable[frozenset[str]], skip: frozenset[str]) -> None:
    for group in groups:
        if not group.isdisjoint(fields):
            fields.update({name: rendered[name] for name in group if name in rendered and name not in skip})


def _table(
    found: Difference,
    table: str,
    rows: list[RenderedRow],
    before: dict[str, RowWrite],
    doubtful: bool,
    groups: tuple[frozenset[str], ...],
    policy: TablePolicy,
) -> None:
    changes = RowsWrite()
    for row in rows:
        known = before.get(row.key)
        if known is None or known.id is None:
            changes.upsert.append(RowWrite(row.key, None, row.fields))
            continue
        changed = {
            name: value for name, value in row.fields.items() if doubtful or known.fields.get(name, MISSING) != value
        }
        if changed:
            _widen(changed, row.fields, groups, frozenset())
            changes.upsert.append(RowWrite(row.key, known.id, changed))
    keys = {row.key for row in rows}
    gone = [row for key, row in before.items() if key not in keys and row.id is not None]
    if gone and policy.missing == "remove":
        changes.remove = [row.id for row in gone if row.id is not None]
    elif gone and policy.missing == "hold":
        found.held = table
    if changes.upsert or changes.remove:
        found.rows[table] = changes


def whole(rendered: Rendered, *, skip: frozenset[str]) -> Difference:
    """Everything that a create carries."""
    fields = {name: value for name, value in rendered.fields.items() if name not in skip} if skip else rendered.fields
    rows = {
        table: RowsWrite([RowWrite(row.key, None, row.fields) for row in rows])
        for table, rows in rendered.rows.items()
        if rows
    }
    return Difference(fields, rows)


def applied(
    sent: Sent, fields: Fields, rows: dict[str, RowsWrite], row_ids: dict[str, dict[str, str]], *, fresh: bool = False
) -> Sent:
    """What the target has from us once this write is done. `row_ids` are the ids that the target gave, by table and
    key.
    """
    after = {} if fresh else {table: dict(found) for table, found in sent.rows.items()}
    for table, changes in rows.items():
        known = after.setdefault(table, {})
        removed = set(changes.remove)
        for key in [key for key, row in known.items() if row.id in removed]:
            del known[key]
        given = row_ids.get(table, {})
        for row in changes.upsert:
            old = sent.rows.get(table, {}).get(row.key)
            row_id = given.get(row.key) or row.id or (old.id if old else None)
            known[row.key] = RowWrite(row.key, row_id, {**(old.fields if old and not fresh else {}), **row.fields})
    return Sent(fields if fresh else {**sent.fields, **fields}, after, list(sent.actions), False)


def row_id_field(schema: ObjectSchema, table: str) -> str:
    found = schema.fields[table].row_key
    return found or "id"


def pair_rows(
    schema: ObjectSchema, table: str, wanted: list[RowWrite], present: list[Fields], taken: frozenset[str]
) -> tuple[dict[str, str], list[str]]:
    """Find our rows among those that a record has: source key -> row id, and the keys that don't pair.

    A row pairs with one whose fields say the same in the schema's canonical form; equal rows are alike and pair in
    their order. `taken` are row ids that belong to other keys.
    """
    table_field = schema.fields[table]
    columns: dict[str, Field] = table_field.rows or {}
    key_field = row_id_field(schema, table)
    free = [row for row in present if str(row.get(key_field)) not in taken]
    paired: dict[str, str] = {}
    for want in wanted:
        for index, row in enumerate(free):
            if all(alike(columns.get(name), value, row.get(name)) for name, value in want.fields.items()):
                paired[want.key] = str(row[key_field])
                del free[index]
                break
    return paired, [want.key for want in wanted if want.key not in paired]


def alike(column: Field | None, ours: Any, theirs: Any) -> bool:
    """The same value in the schema's canonical form. What the vendor computes is not ours to compare."""
    if column is None:
        return bool(ours == theirs)
    if column.computed:
        return True
    try:
        return canonical(column, ours) == canonical(column, theirs)
    except ValueError:
        return False
