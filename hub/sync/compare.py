"""Holds what the target says against what it should say, field by field and row by row. Pure."""

from __future__ import annotations

from typing import Any

from hub.domain.record import Fields, RowWrite
from hub.domain.schema import Field
from hub.mapping.result import Rendered, RenderedRow
from hub.sync.changes import alike, pair_rows, row_id_field
from hub.sync.flow import Flow
from hub.sync.work import Sent

_NAMED = 20  # of the rows of one table that are named in a finding


def differences(flow: Flow, rendered: Rendered, sent: Sent, theirs: Fields) -> dict[str, Any]:
    """Owned fields and tables that do not say what they should: field -> what we say and what they say.

    What is written only at creation, only at a change that has not come yet, by the target itself or by its own side,
    is not ours to compare. A table names the rows that lack, those that differ and those that are too many.
    """
    mapping = flow.mapping
    skip = mapping.create_only | flow.not_ours | (mapping.change_only - sent.fields.keys())
    found: dict[str, Any] = {}
    for name, ours in rendered.fields.items():
        spec = flow.target_schema.fields.get(name)
        if spec is None or spec.computed or name in skip or _says(flow, name, ours, theirs.get(name)):
            continue
        found[name] = {"ours": ours, "theirs": theirs.get(name)}
    for table, rows in rendered.rows.items():
        present = _rows(theirs.get(table))
        wrong = _table(flow, table, rows, sent.rows.get(table, {}), present)
        if wrong:
            found[table] = {"ours": len(rows), "theirs": len(present), **wrong}
    return found


def lost_rows(flow: Flow, table: str, sent: Sent, theirs: Fields) -> set[str]:
    """Keys of rows that we made and that the target has no more."""
    ids = _by_id(flow, table, _rows(theirs.get(table)))
    return {key for key, row in sent.rows.get(table, {}).items() if row.id is not None and row.id not in ids}


def _says(flow: Flow, name: str, ours: Any, theirs: Any) -> bool:
    if name in flow.mapping.append_only and isinstance(ours, list) and isinstance(theirs, list):
        return all(one in theirs for one in ours)
    return flow.same(name, ours, theirs)


def _table(
    flow: Flow, table: str, rows: list[RenderedRow], before: dict[str, RowWrite], present: list[Fields]
) -> dict[str, Any]:
    columns: dict[str, Field] = flow.target_schema.fields[table].rows or {}
    policy = flow.mapping.tables.get(table)
    there = _by_id(flow, table, present)
    missing: list[str] = []
    different: dict[str, Any] = {}
    unknown: list[RowWrite] = []  # rows whose id nobody has told us: by what they say
    used: set[str] = set()
    for row in rows:
        known = before.get(row.key)
        if known is None or known.id is None:
            unknown.append(RowWrite(row.key, None, row.fields))
        elif known.id not in there:
            missing.append(row.key)
        else:
            used.add(known.id)
            theirs = there[known.id]
            wrong = {
                name: {"ours": value, "theirs": theirs.get(name)}
                for name, value in row.fields.items()
                if not alike(columns.get(name), value, theirs.get(name))
            }
            if wrong:
                different[row.key] = wrong
    paired, unpaired = pair_rows(flow.target_schema, table, unknown, list(there.values()), frozenset(used))
    missing += unpaired
    used.update(paired.values())
    ours = {row.id for row in before.values()}
    over = (
        [one for one in there if one not in used and one in ours] if policy is None or policy.missing != "keep" else []
    )
    foreign = [one for one in there if one not in used and one not in ours]
    found = {
        "missing": sorted(missing)[:_NAMED],
        "different": dict(list(different.items())[:_NAMED]),
        "too many": over[:_NAMED],
        "not ours": foreign[:_NAMED] if policy is not None and policy.foreign != "keep" else [],
    }
    return {name: value for name, value in found.items() if value}


def _rows(value: Any) -> list[Fields]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _by_id(flow: Flow, table: str, present: list[Fields]) -> dict[str, Fields]:
    key = row_id_field(flow.target_schema, table)
    return {str(row.get(key)): row for row in present}
