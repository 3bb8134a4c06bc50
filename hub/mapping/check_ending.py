"""Checks what stands around the fields: match, actions, leaving, ensure, write_back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hub.domain.errors import Place
from hub.domain.schema import ObjectSchema
from hub.mapping.check_scope import Report, Scope, did_you_mean
from hub.mapping.check_types import a, converts, fits
from hub.mapping.check_values import ValueChecker, constant
from hub.mapping.model import Const, Ensure, Expr, FieldRule, Leaving, MappingSpec, Match, WriteBackValue

CheckRules = Callable[[Mapping[str, FieldRule]], None]


def check_ending(
    mapping: MappingSpec,
    scope: Scope,
    values: ValueChecker,
    rules: CheckRules,
    source: ObjectSchema | None,
    target: ObjectSchema | None,
) -> None:
    """Report what is wrong around the fields; `rules` checks fields of the target as those under `fields:` are."""
    ending = _Ending(mapping, scope, values, scope.report, target)
    for match in mapping.match:
        ending.match(match)
    for action in mapping.actions:
        values.cel.condition(action.if_, scope)
        for operation in action.do:
            ending.operation(operation, action.place)
    for leaving in (mapping.on_leave, mapping.on_delete):
        ending.leaving(leaving, rules)
    for ensure in mapping.ensure.values():
        ending.ensure(ensure)
    if mapping.write_back is not None and source is not None:
        for written in (mapping.write_back.ok, mapping.write_back.failed):
            for name, value in written.items():
                ending.write_back(name, value, source)


@dataclass(frozen=True, slots=True)
class _Ending:
    mapping: MappingSpec
    scope: Scope
    values: ValueChecker
    report: Report
    target: ObjectSchema | None

    def match(self, match: Match) -> None:
        for name in (*match.fields, *match.veto):
            place = match.places.get(name, match.place)
            fields = self.target.fields if self.target else {}
            if self.target is not None and name not in fields:
                hint = did_you_mean(name, fields)
                self.report.error(place, f"{name}: {self.mapping.target.object} has no such field{hint}", "field")
            elif name not in self.mapping.fields:
                hint = did_you_mean(name, self.mapping.fields)
                message = f"{name}: records are matched by it, and nothing under `fields:` fills it{hint}"
                self.report.error(place, message, "match")

    def operation(self, operation: str, place: Place) -> None:
        schema = self.target
        if schema is not None and operation not in schema.capabilities.operations:
            hint = did_you_mean(operation, schema.capabilities.operations)
            self.report.error(place, f"{operation}: {schema.name} has no such operation{hint}", "operation")

    def leaving(self, leaving: Leaving, rules: CheckRules) -> None:
        place, schema = leaving.place, self.target
        if place is None:
            return
        for operation in leaving.do:
            self.operation(operation, place)
        if leaving.kind == "delete" and schema is not None and not schema.capabilities.delete:
            self.report.error(place, f"{schema.name} can't be deleted by the hub", "capability")
        for rule in leaving.set.values():
            if not (isinstance(rule.rule, Expr) and isinstance(rule.rule.origin, Const)):
                message = f"{rule.name}: of a record that is gone no value can be read; write `{{const: ...}}`"
                self.report.error(rule.place, message, "leaving")
        rules(leaving.set)

    def ensure(self, ensure: Ensure) -> None:
        schema = self.target
        known = self.values.value(ensure.equals, self.scope)
        spec = schema.fields.get(ensure.field) if schema is not None else None
        if schema is not None and spec is None:
            hint = did_you_mean(ensure.field, schema.fields)
            self.report.error(ensure.place, f"{ensure.field}: {schema.name} has no such field{hint}", "field")
        elif spec is not None and known.type is not None and not converts(known.type, spec.type):
            message = f"{ensure.field}: {known.what} is {a(known.type)}, and is compared with {a(spec.type)}"
            self.report.error(ensure.place, message, "type")

    def write_back(self, name: str, value: WriteBackValue, schema: ObjectSchema) -> None:
        spec = schema.fields.get(name)
        if spec is None:
            hint = did_you_mean(name, schema.fields)
            self.report.error(value.place, f"{name}: {schema.name} has no such field{hint}", "field")
        elif spec.readonly or spec.computed:
            self.report.error(value.place, f"{name}: {schema.name}.{name} can't be written", "readonly")
        elif value.kind == "const":
            fits(constant(value.value), spec, value.place, self.report, schema.name)
