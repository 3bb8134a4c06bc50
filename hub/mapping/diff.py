"""What an edit of a mapping would change in real records: field by field, before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.domain.record import Fields, Value
from hub.domain.schema import Field, ObjectSchema
from hub.domain.values import mask, same
from hub.mapping.check_scope import Schemas
from hub.mapping.compile import CompiledMapping, compile_mapping
from hub.mapping.lookups import ReadFile
from hub.mapping.model import MappingSpec
from hub.mapping.result import Asks, Context, Failed, Filtered, Item, Refused, Rendered, RenderedRow, Result, Waiting

LEFT_ALONE = "(left alone)"
NO_ROW = "(no row)"
NEW_ROW = "(a row)"
_TRAVELS = "travels"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One target field that would get another value. Rows are named `FSaleOrderEntry[l1].FQty`, by their key.

    `before` and `after` are values in the target's shape, masked where the schema says that they are personal;
    `LEFT_ALONE` for a field that is not written.
    """

    field: str
    before: Value
    after: Value


@dataclass(frozen=True, slots=True)
class RecordDiff:
    """One record that would fare otherwise. `before` and `after` say how it fares: `travels`, or why it does not."""

    id: str
    title: str | None
    before: str
    after: str
    changes: tuple[FieldChange, ...] = ()

    @property
    def stops(self) -> bool:
        """It travelled, and does no more."""
        return self.before == _TRAVELS and self.after != _TRAVELS


@dataclass(slots=True)
class DiffReport:
    """The records that would fare otherwise, and how many were looked at.

    `fields` counts the records in which a target field (of a table: `TABLE.FIELD`) would change; `failures` are those
    that travel today and would fail or be refused.
    """

    looked_at: int = 0
    records: list[RecordDiff] = field(default_factory=list)
    fields: Counter[str] = field(default_factory=Counter)

    @property
    def same(self) -> int:
        return self.looked_at - len(self.records)

    @property
    def failures(self) -> list[RecordDiff]:
        return [record for record in self.records if record.stops and record.after.startswith(("fails", "is refused"))]


class MappingDiff:
    """Two versions of a mapping, compiled, to be run over the same records.

    `schemas` is by (system, object). `collect` asks for what either version needs, so that it is gathered for both.
    """

    def __init__(
        self,
        old: MappingSpec,
        new: MappingSpec,
        schemas: Schemas,
        *,
        plugins: Mapping[str, Callable[..., Any]] | None = None,
        read_file: ReadFile | None = None,
    ) -> None:
        def compiled(mapping: MappingSpec) -> CompiledMapping:
            system = mapping.source.system
            related = {name: schemas.get((system, relation.object)) for name, relation in mapping.related.items()}
            return compile_mapping(
                mapping,
                source=schemas.get((system, mapping.source.object)),
                target=schemas.get((mapping.target.system, mapping.target.object)),
                related={name: schema for name, schema in related.items() if schema is not None},
                plugins=plugins,
                read_file=read_file,
            )

        self.old, self.new = compiled(old), compiled(new)
        self._target = schemas.get((new.target.system, new.target.object))

    def collect(self, items: Sequence[Item], context: Context) -> Asks:
        """The references and hub-table rows that either version may look for."""
        ours, theirs = self.old.collect(items, context), self.new.collect(items, context)
        return Asks(ours.refs | theirs.refs, ours.tables | theirs.tables)

    def run(self, items: Sequence[Item], context: Context, report: DiffReport | None = None) -> DiffReport:
        """Compare what both versions make of a batch; `report` goes on from earlier batches."""
        report = report or DiffReport()
        report.looked_at += len(items)
        befores, afters = self.old.run(items, context), self.new.run(items, context)
        for item, before, after in zip(items, befores, afters, strict=True):
            found = self._record(item, before, after)
            if found is not None:
                report.records.append(found)
                report.fields.update({_without_key(change.field) for change in found.changes})
        return report

    def _record(self, item: Item, before: Result, after: Result) -> RecordDiff | None:
        changes: tuple[FieldChange, ...] = ()
        if isinstance(before, list) and isinstance(after, list):
            changes = tuple(_rendered(before, after, self._target))
        ways = _way(before), _way(after)
        if not changes and ways[0] == ways[1]:
            return None
        return RecordDiff(item.id, _title(after) or _title(before), *ways, changes)


def diff_mappings(
    old: MappingSpec, new: MappingSpec, items: Sequence[Item], context: Context, schemas: Schemas
) -> DiffReport:
    """What `new` would do otherwise than `old` with these records.

    `context` holds what both versions ask for; see `MappingDiff.collect`. Raises InvalidInput when a version can't be
    compiled.
    """
    return MappingDiff(old, new, schemas).run(items, context)


def _way(result: Result) -> str:
    """How a record fares, in a few words."""
    match result:
        case Filtered(rule):
            return f"does not travel ({rule})"
        case Refused(messages):
            return "is refused: " + "; ".join(messages)
        case Waiting(refs, tables):
            kinds = {*(ref.kind for ref in refs), *(key.table for key in tables)}
            return "waits for " + ", ".join(sorted(kinds))
        case Failed(errors):
            return "fails: " + "; ".join(error.message for error in errors)
        case _:
            return _TRAVELS


def _title(result: Result) -> str | None:
    return next((one.title for one in result), None) if isinstance(result, list) else result.title


def _rendered(
    before: Sequence[Rendered], after: Sequence[Rendered], target: ObjectSchema | None
) -> Iterator[FieldChange]:
    """The changes of one record, facet by facet."""
    fields = target.fields if target else {}
    olds = {one.facet: one for one in before}
    news = {one.facet: one for one in after}
    for facet in dict.fromkeys([*olds, *news]):
        old, new = olds.get(facet), news.get(facet)
        prefix = f"{facet}: " if facet else ""
        if old is None or new is None:
            states: tuple[Value, Value] = (NO_ROW, NEW_ROW) if old is None else (NEW_ROW, NO_ROW)
            yield FieldChange(f"{prefix}record", *states)
            continue
        yield from _fields(old.fields, new.fields, fields, prefix)
        for table in dict.fromkeys([*old.rows, *new.rows]):
            spec = fields.get(table)
            rows = (spec.rows if spec else None) or {}
            yield from _rows(old.rows.get(table), new.rows.get(table), rows, f"{prefix}{table}")
        if old.actions != new.actions:
            yield FieldChange(f"{prefix}actions", list(old.actions), list(new.actions))


def _fields(old: Fields, new: Fields, specs: Mapping[str, Field], prefix: str) -> Iterator[FieldChange]:
    for name in dict.fromkeys([*old, *new]):
        spec = specs.get(name, Field(name))
        before, after = old.get(name, LEFT_ALONE), new.get(name, LEFT_ALONE)
        if (name in old) != (name in new) or not same(spec, before, after):
            yield FieldChange(prefix + name, _shown(spec, before), _shown(spec, after))


def _rows(
    old: Sequence[RenderedRow] | None, new: Sequence[RenderedRow] | None, specs: Mapping[str, Field], table: str
) -> Iterator[FieldChange]:
    if old is None or new is None:
        yield FieldChange(
            table, *((LEFT_ALONE, f"{len(new or ())} rows") if old is None else (f"{len(old)} rows", LEFT_ALONE))
        )
        return
    olds, news = {row.key: row for row in old}, {row.key: row for row in new}
    for key in dict.fromkeys([*olds, *news]):
        before, after = olds.get(key), news.get(key)
        if before is None or after is None:
            yield FieldChange(f"{table}[{key}]", *((NO_ROW, NEW_ROW) if before is None else (NEW_ROW, NO_ROW)))
        else:
            yield from _fields(before.fields, after.fields, specs, f"{table}[{key}].")


def _shown(spec: Field, value: Value) -> Value:
    """A value as a person may see it."""
    if value is None or value == LEFT_ALONE or not spec.personal:
        return value
    return mask(value)


def _without_key(name: str) -> str:
    """`FSaleOrderEntry[l1].FQty` as `FSaleOrderEntry.FQty`."""
    head, bracket, rest = name.partition("[")
    return head + rest.rpartition("]")[2] if bracket else name
