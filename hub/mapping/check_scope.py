"""What a path may name at each place of a mapping: fields, rows, relations, lets and parameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from hub.domain.errors import Place, Problem
from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.mapping.model import MappingSpec, Path, Related

# Schemas by (system, object). An object that is missing has not been read, and is not checked against.
Schemas: TypeAlias = Mapping[tuple[str, str], ObjectSchema]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that a person who wrote `name` probably meant."""
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean FName?`, or nothing."""
    near = nearest(name, names)
    return f"; did you mean {near}?" if near else ""


@dataclass(slots=True)
class Report:
    """All that is found, and the names that are used on the way."""

    problems: list[Problem] = field(default_factory=list)
    used: dict[tuple[str, str], Place] = field(default_factory=dict)  # ('let' | 'lookup' | 'related' | 'param', name)

    def error(self, place: Place, message: str, rule: str) -> None:
        self._add(Problem(message, place, rule=rule))

    def warning(self, place: Place, message: str, rule: str) -> None:
        self._add(Problem(message, place, rule=rule, warning=True))

    def uses(self, what: str, name: str, place: Place) -> None:
        self.used.setdefault((what, name), place)

    def _add(self, problem: Problem) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class Known:
    """What can be told of a value before there is one. A member that is None is not known.

    `values` is all that it can be. `object` is what a reference of the source points at; `kind` is set once `ref` has
    made it one of the target. `cel` tells that binary fractions may be in it. `rows` are a table's fields.
    """

    what: str
    type: FieldType | None = None
    many: bool = False
    length: int | None = None
    scale: int | None = None
    values: frozenset[str] | None = None
    labels: Mapping[str, str] | None = None
    object: str | None = None
    kind: str | None = None
    constant: bool = False
    cel: bool = False
    rows: Mapping[str, Field] | None = None
    row_name: str | None = None


UNKNOWN = Known("this")


def of_field(spec: Field, what: str) -> Known:
    """What a schema says of a field's values."""
    return Known(
        what,
        type=spec.type,
        many=spec.many or spec.type is FieldType.ROWS,
        length=spec.length,
        scale=spec.scale,
        values=frozenset(spec.options) if spec.options and spec.type is FieldType.ENUM else None,
        labels=spec.options,
        object=spec.reference,
        rows=spec.rows,
        row_name=spec.row_object or spec.name,
    )


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that can be seen at one place.

    `record` is the source's schema, `row` the fields of a row inside `each` (`row_name` is what they are called in
    messages, `row_value` a row that is no table's). What hangs below a member that is None is not known, and passes.
    """

    mapping: MappingSpec
    schemas: Schemas
    report: Report
    lets: Mapping[str, Known] = field(default_factory=dict)
    row: Mapping[str, Field] | None = None
    row_name: str | None = None
    row_value: Known | None = None
    in_rows: bool = False

    @property
    def record(self) -> ObjectSchema | None:
        return self.schemas.get((self.mapping.source.system, self.mapping.source.object))

    def schema_of(self, related: Related) -> ObjectSchema | None:
        return self.schemas.get((self.mapping.source.system, related.object))

    def inside(self, rows: Known) -> Scope:
        """The scope of one row of `rows`."""
        one = replace(rows, many=False)
        return replace(self, row=rows.rows, row_name=rows.row_name, row_value=one, in_rows=True)

    def read(self, path: Path) -> Known:
        """What a path gives; an unknown name is reported at the path's place."""
        match path.root:
            case "param":
                self.report.uses("param", path.name, path.place)
                return Known(f"param.{path.name}")
            case "let":
                return self._let(path)
            case "related":
                return self._related(path)
            case "rows":
                return replace(self._row(path), many=True)
            case "row":
                return self._row(path)
            case "scope" if self.in_rows:
                return self._row(path)
            case _:
                return self._record(path)

    def _let(self, path: Path) -> Known:
        name = path.name.partition(".")[0]
        self.report.uses("let", name, path.place)
        if name not in self.mapping.let:
            hint = did_you_mean(name, self.mapping.let)
            self.report.error(path.place, f"let.{name}: there is no such name under `let:`{hint}", "let")
            return UNKNOWN
        return self.lets.get(name, UNKNOWN)

    def _record(self, path: Path) -> Known:
        schema = self.record
        if schema is None:
            return UNKNOWN
        if not path.name:
            return Known("the record", rows=schema.fields, row_name=schema.name)
        known = find(schema.fields, path.name, schema)
        return known or self._unknown(path, schema.name, schema.fields)

    def _row(self, path: Path) -> Known:
        if not self.in_rows:
            self.report.error(path.place, f"{path.text}: there is no row here, only inside `each:`", "scope")
            return UNKNOWN
        if not path.name:
            return self.row_value or UNKNOWN
        if self.row is None:
            if self.row_value is not None and self.row_value.type not in (None, FieldType.ROWS):
                self.report.error(path.place, f"{path.text}: these rows have no fields; write `row`", "scope")
            return UNKNOWN
        return find(self.row, path.name, None) or self._unknown(path, self.row_name or "the row", self.row)

    def _related(self, path: Path) -> Known:
        name = path.related or ""
        self.report.uses("related", name, path.place)
        related = self.mapping.related.get(name)
        if related is None:
            hint = did_you_mean(name, self.mapping.related)
            self.report.error(path.place, f"{name}: there is no such name under `related:`{hint}", "related")
            return UNKNOWN
        schema = self.schema_of(related)
        if schema is None:
            return UNKNOWN
        if not path.name:
            return Known(name, many=related.many, rows=fields_of(schema), row_name=schema.name, object=schema.name)
        known = find(schema.fields, path.name, schema)
        if known is None:
            return self._unknown(path, schema.name, schema.fields)
        return replace(known, what=path.text, many=known.many or related.many)

    def _unknown(self, path: Path, owner: str, fields: Mapping[str, Field]) -> Known:
        names = [*fields, *self._aliases(path)]
        names += self.mapping.related if path.root == "scope" else ()
        # A person who forgot `row.` or `record.` is told so before a look-alike is offered.
        schema = self.record
        if self.in_rows and path.root == "scope" and schema is not None and find(schema.fields, path.name, schema):
            hint = f"; did you mean record.{path.name}?"
        else:
            hint = did_you_mean(path.name, names)
        self.report.error(path.place, f"{path.name}: {owner} has no such field{hint}", "field")
        return UNKNOWN

    def _aliases(self, path: Path) -> Iterable[str]:
        """What hub.yaml calls the fields of what a path reads, by names of the tenant's own."""
        related = self.mapping.related.get(path.related or "")
        source = self.mapping.source
        return self.mapping.names.of(source.system, related.object if related else source.object)


def fields_of(schema: ObjectSchema) -> Mapping[str, Field]:
    """The fields of an object, its id among them."""
    return {schema.id_field: Field(schema.id_field), **schema.fields}


def find(fields: Mapping[str, Field], name: str, schema: ObjectSchema | None) -> Known | None:
    """The field of that name; a column of a table (`FSaleOrderEntry.FQty`); a member of a JSON field."""
    spec = fields.get(name)
    if spec is not None:
        return of_field(spec, name)
    if schema is not None and name == schema.id_field:
        return Known(name, type=FieldType.TEXT, object=schema.name)
    head, dot, rest = name.partition(".")
    while dot:
        above = fields.get(head)
        if above is not None and above.rows is not None:
            below = find(above.rows, rest, None)
            return replace(below, what=name, many=True) if below else None
        if above is not None and above.type is FieldType.JSON:
            return Known(name)
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None
