"""Puts a tenant's own names into a mapping, wherever the name of a field or an object may stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hub.domain.errors import Place, Problem
from hub.mapping.expressions_cel import renamed
from hub.mapping.load_values import resolve_path
from hub.mapping.model import (
    Calc,
    Case,
    Cel,
    Each,
    Ensure,
    FieldRule,
    FixedRows,
    Leaving,
    MappingSpec,
    Match,
    Path,
    Related,
    WriteBack,
)
from hub.mapping.names import Alias, Names

Aliases = Mapping[str, Alias]

_OPERAND = re.compile(r"(?<![\w.$])[^\W\d][\w$]*(?:\.[\w$]+)*(?![\w$]*\s*\()")


def rename(spec: MappingSpec, names: Names, problems: list[Problem]) -> MappingSpec:
    """The mapping as if it had been written with the tenant's own names.

    It keeps `names`, so that hints can offer an alias, and the aliases that it uses, so that messages say both. A field
    that is written under its alias and its real name at once is a problem.
    """
    if not names:
        return spec
    return _Renamer(spec, names, problems).spec()


def told(problem: Problem, aliases: Iterable[Alias]) -> Problem:
    """The problem in the words of the mapping: `tax_no (field_8weB5__c)` where it names the tenant's field."""
    message = problem.message
    for alias in aliases:
        both = f"{alias.name} ({alias.real})".replace("\\", r"\\")
        message = re.sub(rf"(?<![\w.]){re.escape(alias.real)}(?!\w)", both, message)
    return replace(problem, message=message)


class _Renamer:
    def __init__(self, spec: MappingSpec, names: Names, problems: list[Problem]) -> None:
        self._given = spec
        self._names = names
        self._problems = problems
        self._used: dict[tuple[str, str], Alias] = {}
        source, target = spec.source.system, spec.target.system
        self._source_objects, self._target_objects = names.of_system(source), names.of_system(target)
        self._source = names.of(source, self._real(spec.source.object, self._source_objects))
        self._target = names.of(target, self._real(spec.target.object, self._target_objects))
        self._related = {
            one.name: names.of(source, self._real(one.object, self._source_objects)) for one in spec.related.values()
        }
        # What a comprehension goes over can't be told from its text: any of the source's aliases may be meant.
        self._any_source = {
            **{key: one for found in self._related.values() for key, one in found.items()},
            **self._source,
        }

    def spec(self) -> MappingSpec:
        given = self._given
        source = replace(given.source, object=self._real(given.source.object, self._source_objects))
        target = replace(
            given.target,
            object=self._real(given.target.object, self._target_objects),
            id=self._any(given.target.id, self._source),
        )
        done: dict[str, Any] = {
            "source": source,
            "target": target,
            "fields": self._rules(given.fields, self._source, self._target),
            "related": {name: self._relation(one) for name, one in given.related.items()},
            "match": tuple(self._match(one) for one in given.match),
            "on_leave": self._leaving(given.on_leave),
            "on_delete": self._leaving(given.on_delete),
            "ensure": self._ensure(given.ensure),
            "write_back": self._write_back(given.write_back),
            "tests": tuple(self._case(one) for one in given.tests),
            "split": replace(
                given.split,
                rows=self._path(given.split.rows, self._source),
                by=self._path(given.split.by, self._inside(given.split.rows, self._source)),
            )
            if given.split
            else None,
        }
        for one in fields(given):
            if one.name not in done and one.name not in ("names", "aliases", "lookups"):
                done[one.name] = self._any(getattr(given, one.name), self._source)
        return replace(given, **done, names=self._names, aliases=tuple(self._used.values()))

    # ---- names -------------------------------------------------------------------------------------------------------

    def _real(self, name: str, aliases: Aliases) -> str:
        """A name, or a flat path of names (`dept.FNumber`), as the system has it."""
        if name in aliases:
            return self._use(aliases[name])
        return ".".join(self._use(aliases[part]) if part in aliases else part for part in name.split("."))

    def _use(self, alias: Alias) -> str:
        self._used.setdefault((alias.name, alias.real), alias)
        return alias.real

    def _path(self, path: Path, scope: Aliases) -> Path:
        match path.root:
            case "let" | "param":
                return path
            case "related":
                aliases: Aliases = self._related.get(path.related or "", {})
            case "record":
                aliases = self._source
            case _:
                aliases = scope
        name = self._real(path.name, aliases) if path.name else ""
        return path if name == path.name else replace(path, name=name, text=path.text.removesuffix(path.name) + name)

    def _inside(self, rows: Path, scope: Aliases) -> Aliases:
        return self._related.get(rows.related or "", {}) if rows.root == "related" else scope

    # ---- what reads --------------------------------------------------------------------------------------------------

    def _any(self, node: Any, scope: Aliases) -> Any:
        """Any part of the mapping that only reads; `scope` has the aliases of a path that starts where it stands."""
        match node:
            case Place():
                return node
            case Path():
                return self._path(node, scope)
            case Cel():
                return replace(node, text=self._cel(node.text, scope))
            case Calc():
                return replace(node, text=self._calc(node, scope))
            case tuple():
                return tuple(self._any(one, scope) for one in node)
            case Mapping():
                return {key: self._any(one, scope) for key, one in node.items()}
        if is_dataclass(node) and not isinstance(node, type):
            return replace(node, **{one.name: self._any(getattr(node, one.name), scope) for one in fields(node)})
        return node

    def _cel(self, text: str, scope: Aliases) -> str:
        def chain(root: str, names: tuple[str, ...]) -> tuple[str, ...]:
            if root in ("let", "param") or not names:
                return names
            relation = self._given.related.get(names[0])
            if relation is not None and (root == "row") is bool(relation.of):
                return (names[0], *self._parts(names[1:], self._related[names[0]]))
            return self._parts(names, scope if root == "row" else self._source)

        return renamed(text, chain, lambda name: self._real(name, self._any_source))

    def _parts(self, names: tuple[str, ...], aliases: Aliases) -> tuple[str, ...]:
        return tuple(self._real(".".join(names), aliases).split(".")) if names else ()

    def _calc(self, calc: Calc, scope: Aliases) -> str:
        def operand(found: re.Match[str]) -> str:
            path = resolve_path(found[0], calc.place, self._given.related)
            return found[0] if path is None else self._path(path, scope).text

        return _OPERAND.sub(operand, calc.text)

    # ---- what writes -------------------------------------------------------------------------------------------------

    def _rules(self, rules: Mapping[str, FieldRule], scope: Aliases, target: Aliases) -> dict[str, FieldRule]:
        found: dict[str, FieldRule] = {}
        for rule in rules.values():
            name = self._real(rule.name, target)
            if name in found:
                message = f"`{rule.name}` is filled twice: hub.yaml says that it is {name}."
                self._problems.append(Problem(message, rule.place, rule="names"))
            found[name] = FieldRule(name, rule.place, self._rule(rule.rule, scope, target))
        return found

    def _rule(self, rule: Any, scope: Aliases, target: Aliases) -> Any:
        match rule:
            case Each():
                row = self._inside(rule.path, scope)
                return replace(
                    rule,
                    path=self._path(rule.path, scope),
                    fields=self._rules(rule.fields, row, target),
                    match=tuple(self._real(name, target) for name in rule.match),
                    **{name: self._any(getattr(rule, name), row) for name in ("key", "when", "group", "value")},
                )
            case FixedRows():
                return replace(
                    rule,
                    rows=tuple(self._rules(one, scope, target) for one in rule.rows),
                    key=self._real(rule.key, target) if rule.key else None,
                )
            case _:
                return self._any(rule, scope)

    def _relation(self, related: Related) -> Related:
        own = self._related[related.name]
        scope = self._related.get(related.of, {}) if related.of else self._source
        return replace(
            related,
            object=self._real(related.object, self._source_objects),
            where={self._real(name, own): self._path(path, self._source) for name, path in related.where.items()},
            id=self._path(related.id, scope) if related.id else None,
        )

    def _match(self, match: Match) -> Match:
        return replace(
            match,
            fields={self._real(name, self._target): one for name, one in match.fields.items()},
            veto=tuple(self._real(name, self._target) for name in match.veto),
            places={self._real(name, self._target): place for name, place in match.places.items()},
        )

    def _leaving(self, leaving: Leaving) -> Leaving:
        return replace(leaving, set=self._rules(leaving.set, self._source, self._target))

    def _ensure(self, ensure: Mapping[str, Ensure]) -> dict[str, Ensure]:
        return {
            (name := self._real(one.field, self._target)): replace(
                one, field=name, equals=self._any(one.equals, self._source)
            )
            for one in ensure.values()
        }

    def _write_back(self, written: WriteBack | None) -> WriteBack | None:
        if written is None:
            return None
        ok = {self._real(name, self._source): value for name, value in written.ok.items()}
        failed = {self._real(name, self._source): value for name, value in written.failed.items()}
        return replace(written, ok=ok, failed=failed)

    # ---- tests -------------------------------------------------------------------------------------------------------

    def _case(self, case: Case) -> Case:
        related = {}
        for name, given in case.related.items():
            relation, aliases = self._given.related.get(name), self._related.get(name, {})
            per_row = relation is not None and relation.of is not None and isinstance(given, Mapping)
            related[name] = (
                {key: self._content(one, aliases) for key, one in given.items()}
                if per_row
                else self._content(given, aliases)
            )
        return replace(
            case,
            record=self._content(case.record, self._source),
            related=related,
            previous=self._content(case.previous, self._source),
            expect=self._content(case.expect, self._target),
            expect_only=self._content(case.expect_only, self._target),
        )

    def _content(self, content: Any, aliases: Aliases) -> Any:
        """A record's fields, or a list of them; tables inside it as well."""
        if isinstance(content, list):
            return [self._content(one, aliases) for one in content]
        if not isinstance(content, Mapping):
            return content
        return {
            self._real(name, aliases): self._content(value, aliases) if isinstance(value, list) else value
            for name, value in content.items()
        }
