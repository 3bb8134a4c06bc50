"""Checks the tests of a mapping file: a test that gives or expects a field that does not exist proves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hub.domain.schema import ObjectSchema
from hub.mapping.check_scope import Report, Schemas, did_you_mean, find
from hub.mapping.model import Case, Each, FieldRule, FixedRows, MappingSpec


def check_tests(mapping: MappingSpec, source: ObjectSchema, schemas: Schemas, report: Report) -> None:
    """Report names in `given` and `expect` that the schemas and the mapping don't know."""
    for case in mapping.tests:
        _record(case, case.record, source, report)
        for name, given in case.related.items():
            related = mapping.related.get(name)
            if related is None:
                hint = did_you_mean(name, mapping.related)
                report.error(case.place, f"The test `{case.name}` gives {name}, which is no relation{hint}", "test")
                continue
            schema = schemas.get((mapping.source.system, related.object))
            if schema is not None:
                for record in _records(given, related.of is not None):
                    _record(case, record, schema, report)
        for expected in (case.expect, case.expect_only):
            _expected(case, expected, mapping.fields, mapping.target.object, report)


def _record(case: Case, given: Mapping[str, Any], schema: ObjectSchema, report: Report) -> None:
    for name, value in given.items():
        known = find(schema.fields, name, schema)
        if known is None:
            _unknown(case, name, schema.name, schema.fields, report)
        elif known.rows is not None and isinstance(value, list):
            for row in value:
                for below in row if isinstance(row, Mapping) else ():
                    if below not in known.rows:
                        _unknown(case, below, name, known.rows, report)


def _unknown(case: Case, name: str, owner: str, names: Iterable[str], report: Report) -> None:
    hint = did_you_mean(name, names)
    report.error(case.place, f"The test `{case.name}` gives {name}: {owner} has no such field{hint}", "test")


def _records(given: Any, per_row: bool) -> list[Mapping[str, Any]]:
    """The records that a test gives for a relation: one, a list, or by id."""
    if isinstance(given, list):
        return [item for item in given if isinstance(item, Mapping)]
    if not isinstance(given, Mapping):
        return []
    if per_row:
        return [item for item in given.values() if isinstance(item, Mapping)]
    return [given]


def _expected(case: Case, expected: Any, rules: Mapping[str, FieldRule], owner: str, report: Report) -> None:
    if isinstance(expected, list):  # a `split:` makes several
        for one in expected:
            _expected(case, one, rules, owner, report)
        return
    if not isinstance(expected, Mapping):
        return
    for name, value in expected.items():
        rule = rules.get(name)
        if rule is None:
            hint = did_you_mean(name, rules)
            message = f"The test `{case.name}` expects {name}, which the mapping does not fill in {owner}{hint}"
            report.error(case.place, message, "test")
        elif isinstance(value, list) and isinstance(rule.rule, Each) and rule.rule.fields:
            _expected(case, value, rule.rule.fields, name, report)
        elif isinstance(value, list) and isinstance(rule.rule, FixedRows):
            _expected(case, value, {key: below for row in rule.rule.rows for key, below in row.items()}, name, report)
