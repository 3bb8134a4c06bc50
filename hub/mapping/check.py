"""Checks a mapping against the schemas of both its systems, before it runs: all problems at once, each at its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hub.domain.errors import Place, Problem
from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.mapping.check_cel import CelChecker
from hub.mapping.check_ending import check_ending
from hub.mapping.check_refs import Kinds as Kinds
from hub.mapping.check_refs import check_circles, check_owners, kinds_of
from hub.mapping.check_scope import UNKNOWN, Known, Report, Scope, did_you_mean, fields_of
from hub.mapping.check_scope import Schemas as Schemas
from hub.mapping.check_tests import check_tests
from hub.mapping.check_types import a
from hub.mapping.check_unused import check_unused
from hub.mapping.check_values import ValueChecker
from hub.mapping.model import Each, Expr, FieldRule, FixedRows, MappingSpec, Ref, WhenChanges
from hub.mapping.rename import told


def check_mapping(mapping: MappingSpec, schemas: Schemas, *, kinds: Kinds | None = None) -> list[Problem]:
    """Everything that is wrong, or looks wrong, with one mapping; in the order of the file.

    `schemas` holds the objects of both systems by (system, object); one that is not there is reported once, and what
    hangs on it passes. `kinds` says what the project's other mappings are about; without it references are
    checked against this one alone.
    """
    report = Report()
    _Checker(mapping, schemas, kinds or kinds_of([mapping], schemas, project=False), report).run()
    return _in_order([told(problem, mapping.aliases) for problem in report.problems])


def check_project(
    mappings: Sequence[MappingSpec], schemas: Schemas, *, params: Iterable[str] | None = None
) -> list[Problem]:
    """Everything that is wrong with the mappings of a project, each alone and all together.

    On top of `check_mapping`: references name kinds that some mapping brings, no circle of references waits for ever,
    and every two-way field has an owner. `params` are the names under `params:` of hub.yaml: using another is an error,
    and one that nothing uses a warning (without a place).
    """
    kinds = kinds_of(mappings, schemas, project=True)
    report = Report()
    given = None if params is None else frozenset(params)
    used: set[str] = set()
    for mapping in mappings:
        before = len(report.problems)
        used |= _Checker(mapping, schemas, kinds, report, given).run()
        report.problems[before:] = [told(problem, mapping.aliases) for problem in report.problems[before:]]
    for name in sorted((given or frozenset()) - used):
        report.problems.append(Problem(f"The parameter {name} is used by no mapping", rule="unused", warning=True))
    check_circles(mappings, report)
    check_owners(mappings, report)
    return _in_order(report.problems)


def _in_order(problems: list[Problem]) -> list[Problem]:
    def key(problem: Problem) -> tuple[str, int, int]:
        place = problem.place or Place("")
        return (place.file, place.line, place.column)

    return sorted(problems, key=key)


class _Checker:
    """Walks one mapping from top to bottom."""

    def __init__(
        self,
        mapping: MappingSpec,
        schemas: Schemas,
        kinds: Kinds,
        report: Report,
        params: frozenset[str] | None = None,
    ) -> None:
        self.mapping = mapping
        self.schemas = schemas
        self.kinds = kinds
        self.report = report
        self.params = params
        self.unknown: dict[str, Place] = {}  # systems of which nothing is known: reported once
        self.cel = CelChecker()
        self.values = ValueChecker(self.cel, self._on_ref)
        self.scope = Scope(mapping, schemas, report)
        self.source = self._object(mapping.source.system, mapping.source.object, mapping.source.place)
        self.target = self._object(mapping.target.system, mapping.target.object, mapping.target.place)

    def run(self) -> set[str]:
        """Report what is wrong; gives the parameters that the mapping uses."""
        self.report.used.clear()
        self._target()
        self._related()
        self._lets()
        mapping, scope = self.mapping, self.scope
        if mapping.title is not None:
            self.values.value(mapping.title, scope)
        self.cel.condition(mapping.when, scope)
        for change in mapping.when_changes:
            self._change(change)
        for require in mapping.require:
            self.cel.condition(require.that, scope)
        for path in mapping.once_per:
            scope.read(path)
        if mapping.split is not None:
            rows = scope.read(mapping.split.rows)
            scope.inside(rows).read(mapping.split.by)
        fields = self.target.fields if self.target else None
        self._rules(mapping.fields, fields, mapping.target.object, scope)
        if self.target is not None and mapping.target.create != "never":
            self._required(mapping.fields, self.target.fields, mapping.target.object, mapping.target.place)
        if self.target is not None:
            self._together(self.target)
        check_ending(mapping, self.scope, self.values, self._leaving_rules, self.source, self.target)
        check_unused(mapping, self.report, self.params)
        if self.source is not None:
            check_tests(mapping, self.source, self.schemas, self.report)
        return {name for what, name in self.report.used if what == "param"}

    # ---- the frame ---------------------------------------------------------------------------------------------------

    def _object(self, system: str, name: str, place: Place) -> ObjectSchema | None:
        found = self.schemas.get((system, name))
        if found is None:
            known = [object for known, object in self.schemas if known == system]
            if known:
                hint = did_you_mean(name, [*known, *self.mapping.names.of_system(system)])
                self.report.error(place, f"{name}: {system} has no such object{hint}", "object")
            else:
                systems = {known for known, _ in self.schemas}
                message = f"{system}: nothing is known of this system's objects{did_you_mean(system, systems)}"
                self.report.error(self.unknown.setdefault(system, place), message, "system")
        return found

    def _target(self) -> None:
        target, schema = self.mapping.target, self.target
        if target.id is not None:
            self.values.value(target.id, self.scope)
        if schema is None:
            return
        can = schema.capabilities
        for step in target.after:
            if step not in can.steps:
                hint = did_you_mean(step, can.steps)
                self.report.error(target.place, f"{step}: {schema.name} has no such step after a write{hint}", "step")
        if not can.create and target.create != "never":
            message = f"{schema.name} can't be created by the hub; say `create: never` if only existing ones are meant"
            self.report.error(target.place, message, "capability")
        if not can.update and target.create == "never" and not self._only_links():
            message = f"{schema.name} can't be updated by the hub; to link it only, say `on: create` of every field"
            self.report.error(target.place, message, "capability")

    def _only_links(self) -> bool:
        """Whether nothing is ever written: records of both sides are matched, and their ids go into the map."""
        rules = (rule.rule for rule in self.mapping.fields.values())
        return all(getattr(rule, "on", None) == "create" for rule in rules)

    def _related(self) -> None:
        for related in self.mapping.related.values():
            schema = self._object(self.mapping.source.system, related.object, related.place)
            for name, path in related.where.items():
                self.scope.read(path)
                if schema is not None and name not in schema.fields and name != schema.id_field:
                    aliases = self.mapping.names.of(self.mapping.source.system, schema.name)
                    hint = did_you_mean(name, [*schema.fields, *aliases])
                    self.report.error(path.place, f"{name}: {schema.name} has no such field{hint}", "field")
            if related.id is None:
                continue
            scope = self.scope
            if related.of is not None:
                self.report.uses("related", related.of, related.place)
                above = self.mapping.related.get(related.of)
                rows = self.schemas.get((self.mapping.source.system, above.object)) if above else None
                fields = fields_of(rows) if rows else None
                scope = scope.inside(Known(related.of, FieldType.ROWS, rows=fields, row_name=related.of))
            known = scope.read(related.id)
            if schema is not None and known.object not in (None, related.object) and known.kind is None:
                message = f"{related.id.text} refers to {known.object}, and {related.name} is of {related.object}"
                self.report.error(related.id.place, message, "ref")

    def _lets(self) -> None:
        lets: dict[str, Known] = {}
        for let in self.mapping.let.values():
            lets[let.name] = replace(self.values.value(let.value, self.scope), what=f"let.{let.name}")
            self.scope = replace(self.scope, lets=dict(lets))

    def _change(self, change: WhenChanges) -> None:
        known = self.scope.read(change.field)
        for value in (*(change.from_ or ()), *(change.to or ())):
            if known.values is not None and value is not None and str(value) not in known.values:
                hint = did_you_mean(str(value), known.values) or "; it is one of " + ", ".join(sorted(known.values))
                self.report.error(change.place, f'{known.what} is never "{value}"{hint}', "enum")

    # ---- fields ------------------------------------------------------------------------------------------------------

    def _rules(
        self, rules: Mapping[str, FieldRule], fields: Mapping[str, Field] | None, owner: str, scope: Scope
    ) -> None:
        for rule in rules.values():
            spec = self._written(rule, fields, owner)
            match rule.rule:
                case Expr() as expr:
                    self.values.into(expr, spec, scope, rule.place, owner)
                case Each() as each:
                    self._each(rule, each, spec, scope, owner)
                case FixedRows() as fixed:
                    self._fixed(rule, fixed, spec, scope, owner)

    def _written(self, rule: FieldRule, fields: Mapping[str, Field] | None, owner: str) -> Field | None:
        """The target field that a rule writes, if it exists and may be written."""
        if fields is None:
            return None
        spec = fields.get(rule.name)
        if spec is None:
            aliases = self.mapping.names.of(self.mapping.target.system, self.mapping.target.object)
            hint = did_you_mean(rule.name, [*fields, *aliases])
            self.report.error(rule.place, f"{rule.name}: {owner} has no such field{hint}", "field")
        elif spec.computed:
            self.report.error(rule.place, f"{rule.name}: {owner} computes this field itself", "readonly")
        elif spec.readonly:
            self.report.error(rule.place, f"{rule.name}: {owner}.{rule.name} can't be written", "readonly")
        return spec

    def _each(self, rule: FieldRule, each: Each, spec: Field | None, scope: Scope, owner: str) -> None:
        rows = scope.read(each.path)
        if rows.type is not None and not rows.many:
            message = f"{each.path.text} is {a(rows.type)}; `each:` goes over rows or a list"
            self.report.error(each.path.place, message, "type")
            rows = UNKNOWN
        inside = scope.inside(rows)
        for path in (each.key, each.group):
            if path is not None:
                inside.read(path)
        self.cel.condition(each.when, inside)
        if each.value is not None:
            self.values.into(each.value, spec, inside, rule.place, owner)
            return
        if spec is not None and spec.type not in (FieldType.ROWS, FieldType.JSON):
            message = f"{rule.name} is {a(spec.type)}; a table of rows does not fit"
            self.report.error(rule.place, message, "type")
        below = spec.rows if spec else None
        self._rules(each.fields, below, rule.name, inside)
        if below is not None:
            for name in each.match:
                if name not in each.fields:
                    hint = did_you_mean(name, each.fields)
                    message = f"{name}: rows are paired by it, and nothing under `fields:` fills it{hint}"
                    self.report.error(each.place, message, "match")
            self._required(each.fields, below, rule.name, each.place)

    def _fixed(self, rule: FieldRule, fixed: FixedRows, spec: Field | None, scope: Scope, owner: str) -> None:
        if spec is not None and spec.type is not FieldType.ROWS:
            self.report.error(rule.place, f"{rule.name} is {a(spec.type)}; a table of rows does not fit", "type")
        below = spec.rows if spec else None
        for row in fixed.rows:
            self._rules(row, below, rule.name, scope)
            if below is not None:
                self._required(row, below, rule.name, fixed.place)

    def _required(self, rules: Mapping[str, FieldRule], fields: Mapping[str, Field], owner: str, place: Place) -> None:
        for spec in fields.values():
            if not spec.required or spec.readonly or spec.computed:
                continue
            rule = rules.get(spec.name)
            if rule is None:
                label = f" ({spec.label})" if spec.label else ""
                self.report.error(place, f"{spec.name}{label}: {owner} requires it, and nothing fills it", "required")
            elif isinstance(rule.rule, Expr) and rule.rule.on == "change":
                message = f"{spec.name}: {owner} requires it at creation, and `on: change` leaves it out then"
                self.report.error(rule.place, message, "required")

    def _together(self, schema: ObjectSchema) -> None:
        """Fields that are mapped without any of those they travel with: an update would carry half of a price.

        One companion is enough, since groups hold alternatives (the price with tax or without).
        """
        filled: dict[str, FieldRule] = dict(self.mapping.fields)
        for rule in self.mapping.fields.values():
            if isinstance(rule.rule, Each):
                filled |= {f"{rule.name}.{name}": below for name, below in rule.rule.fields.items()}
        writable = {name for name, spec in _flat(schema.fields) if not (spec.readonly or spec.computed)}
        for group in schema.facts.together:
            present = [name for name in filled if name in group]
            lacking = sorted((group & writable) - set(present))
            if len(present) == 1 and lacking:
                message = (
                    f"{present[0]} travels together with {', '.join(sorted(group - {present[0]}))}, "
                    f"and nothing fills {', '.join(lacking)}"
                )
                self.report.warning(filled[present[0]].place, message, "together")

    def _leaving_rules(self, rules: Mapping[str, FieldRule]) -> None:
        self._rules(rules, self.target.fields if self.target else None, self.mapping.target.object, self.scope)

    def _on_ref(self, ref: Ref, known: Known, spec: Field | None, scope: Scope) -> None:
        self.kinds.check(self.mapping, ref, known, spec, self.report)


def _flat(fields: Mapping[str, Field]) -> list[tuple[str, Field]]:
    """Fields by name, those of tables as TABLE.NAME."""
    flat = list(fields.items())
    for name, spec in fields.items():
        flat.extend((f"{name}.{below}", inner) for below, inner in (spec.rows or {}).items())
    return flat
