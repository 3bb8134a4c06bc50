"""Drafts the opposite of a mapping: what can be turned round is, and what can't is left as a remark for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from hub.domain.schema import Field, ObjectSchema
from hub.mapping.check_scope import Schemas
from hub.mapping.model import (
    Aggregate,
    Apportion,
    Call,
    CelValue,
    Const,
    Each,
    Expr,
    FieldRule,
    FirstOf,
    FixedRows,
    From,
    Join,
    MappingSpec,
    Match,
    Param,
    Path,
    RunningNumber,
    Table,
    Text,
)

_FORM = {
    FirstOf: "first",
    Join: "join",
    Text: "text",
    Const: "const",
    Param: "param",
    CelValue: "cel",
    Call: "call",
    Apportion: "apportion",
    RunningNumber: "number",
}
_STEPS = ("if_", "trim", "case", "split", "replace", "default", "calc", "multiply", "else_", "scale", "on_error")
_SAID_ANEW = ("when", "when_changes", "require", "actions", "on_leave", "on_delete", "ensure", "write_back")


def invert(mapping: MappingSpec, schemas: Schemas | None = None) -> str:
    """The opposite of `mapping` as YAML that loads.

    Paths swap sides, references are named by the key that was taken, tables that are one to one are turned round, and
    every field says its `owner` (the system that decided so far). Joins, calculations and their like become remarks.
    With `schemas` by (system, object), rows get their key and fields that can't be written are remarked. A tenant's
    generated names are written as hub.yaml calls them.
    """
    text = "\n".join(_Draft(mapping, schemas or {}).lines()) + "\n"
    for alias in mapping.aliases:
        text = re.sub(rf"(?<![\w.]){re.escape(alias.real)}(?!\w)", alias.name.replace("\\", r"\\"), text)
    return text


@dataclass(slots=True)
class _Lines:
    """Fields that could be turned round, and remarks on the others, in the order of the file."""

    done: dict[str, str] = field(default_factory=dict)  # new target field -> the line
    from_: dict[str, str] = field(default_factory=dict)  # old target field -> new target field
    remarks: list[str] = field(default_factory=list)


class _Draft:
    def __init__(self, mapping: MappingSpec, schemas: Schemas) -> None:
        self.mapping = mapping
        self.into: ObjectSchema | None = schemas.get((mapping.source.system, mapping.source.object))
        self.out_of: ObjectSchema | None = schemas.get((mapping.target.system, mapping.target.object))
        self.tables: dict[str, dict[str, Any]] = {}

    def lines(self) -> Iterator[str]:
        mapping = self.mapping
        fields = self._fields(mapping.fields, self.into.fields if self.into else None, "  ", owned=True)
        yield f"# A draft of the opposite of {mapping.name}: read every line before you use it, and add tests."
        yield f"# Write the same `owner:` at the fields of {mapping.name}."
        yield f"mapping: {_flow(self._name())}"
        yield f"entity: {_flow(mapping.entity)}"
        yield f"source: {_flow({'system': mapping.target.system, 'object': mapping.target.object})}"
        yield f"target: {_flow({'system': mapping.source.system, 'object': mapping.source.object})}"
        title = self._title()
        if title:
            yield f"title: {_flow(title)}"
        said = [name for name in _SAID_ANEW if _is_said(mapping, name)]
        if said:
            yield f"# {', '.join(said)}: say what holds in this direction."
        yield from self._match(fields)
        yield "fields:" if fields.done else "fields: {}"
        yield from fields.done.values()
        yield from fields.remarks
        yield from self._required(fields)
        if self.tables:
            yield "lookups:"
            for name, rows in self.tables.items():
                yield f"  {_flow(name)}: {_flow(rows)}"

    def _name(self) -> str:
        name, ending = self.mapping.name, f"-to-{self.mapping.target.system}"
        if name.endswith(ending):
            return f"{name.removesuffix(ending)}-to-{self.mapping.source.system}"
        return f"{name}-back"

    def _title(self) -> str | None:
        """The field that is filled from what was the title."""
        title = _plain_path(self.mapping.title) if self.mapping.title else None
        for rule in self.mapping.fields.values():
            path = _plain_path(rule.rule) if isinstance(rule.rule, Expr) else None
            if title is not None and path is not None and path.name == title.name:
                return rule.name
        return self.out_of.title_field if self.out_of else None

    def _match(self, fields: _Lines) -> Iterator[str]:
        turned = [self._turned_match(match, fields) for match in self.mapping.match]
        kept = [match for match in turned if match is not None]
        if kept:
            yield f"match: {_flow(kept)}"
        if len(kept) < len(turned):
            yield "# match: some keys could not be turned round."

    def _turned_match(self, match: Match, fields: _Lines) -> Any | None:
        if any(name not in fields.from_ for name in (*match.fields, *match.veto)):
            return None
        named = {fields.from_[name]: normaliser for name, normaliser in match.fields.items()}
        if not match.veto and not any(named.values()):
            return list(named)
        veto = [fields.from_[name] for name in match.veto]
        return {**named, **({"veto": veto[0] if len(veto) == 1 else veto} if veto else {})}

    # ---- fields ------------------------------------------------------------------------------------------------------

    def _fields(
        self, rules: Mapping[str, FieldRule], into: Mapping[str, Field] | None, indent: str, *, owned: bool
    ) -> _Lines:
        lines = _Lines()
        for rule in rules.values():
            match rule.rule:
                case Expr() as expr:
                    self._field(rule, expr, into, lines, indent, owned)
                case Each() as each:
                    self._table(rule, each, into, lines, indent)
                case FixedRows():
                    self._remark(lines, rule, "fixed rows have no source", indent)
        return lines

    def _field(
        self,
        rule: FieldRule,
        expr: Expr,
        into: Mapping[str, Field] | None,
        lines: _Lines,
        indent: str,
        owned: bool,
    ) -> None:
        path = _plain_path(expr)
        reason = self._reason(expr, path, into, lines)
        if reason is not None or path is None:
            return self._remark(lines, rule, reason or "it has no source", indent)
        turned: dict[str, Any] = {"from": rule.name}
        if expr.lookup is not None:
            turned["lookup"] = expr.lookup.table
            self.tables[expr.lookup.table] = _turned_table(self.mapping.lookups[expr.lookup.table])
        if expr.ref is not None:
            turned["ref"] = expr.ref.kind
            taken = expr.ref.take or self._takes(rule.name)
            turned |= {"by": taken} if taken not in (None, "id") else {}
            turned |= {"take": expr.ref.by} if expr.ref.by != "id" else {}
            turned |= {"optional": True} if expr.ref.optional else {}
        if owned:
            turned["owner"] = expr.owner or self.mapping.source.system
        lines.from_[rule.name] = path.name
        read_as = f"  # was read as {expr.as_}; say so if it has to be undone" if expr.as_ else ""
        value = rule.name if turned == {"from": rule.name} else turned
        lines.done[path.name] = f"{indent}{_flow(path.name)}: {_flow(value)}{read_as}"
        return None

    def _reason(self, expr: Expr, path: Path | None, into: Mapping[str, Field] | None, lines: _Lines) -> str | None:
        """Why a field can't be turned round; None if it can."""
        if path is None:
            return _made_by(expr)
        if path.root not in ("scope", "record", "row") or not path.name:
            return f"{path.text} is no field of {self.mapping.source.object}"
        steps = [step.rstrip("_") for step in _STEPS if getattr(expr, step) is not None]
        if steps:
            return f"`{steps[0]}:` can't be undone"
        if expr.lookup is not None:
            table = self.mapping.lookups.get(expr.lookup.table)
            if table is None or expr.lookup.take or not _one_to_one(table):
                return f"the lookup {expr.lookup.table} is not one to one"
        if path.name in lines.done:
            return f"{path.name} is filled already"
        spec = into.get(path.name) if into is not None else None
        if into is not None and (spec is None or spec.readonly or spec.computed):
            return f"{path.name} can't be written"
        return None

    def _takes(self, name: str) -> str | None:
        spec = self.out_of.fields.get(name) if self.out_of else None
        return spec.takes if spec is not None else None

    def _table(self, rule: FieldRule, each: Each, into: Mapping[str, Field] | None, lines: _Lines, indent: str) -> None:
        related = self.mapping.related.get(each.path.related or "")
        name = related.object if related is not None else each.path.name
        if each.value is not None or each.group is not None or not name:
            return self._remark(lines, rule, "rows of this form", indent)
        table = into.get(name) if into is not None else None
        if into is not None and table is None:
            return self._remark(lines, rule, f"{self.mapping.source.object} has no table {name}", indent)
        below = self._fields(each.fields, table.rows if table else None, indent + "    ", owned=False)
        spec = self.out_of.fields.get(rule.name) if self.out_of else None
        text = [f"{indent}{_flow(name)}:", f"{indent}  each: {_flow(rule.name)}"]
        if spec is not None and spec.row_key:
            text.append(f"{indent}  key: {_flow(spec.row_key)}")
        else:
            text.append(f"{indent}  # key: the field that tells a row of {rule.name} from the others")
        if each.entity:
            text.append(f"{indent}  entity: {_flow(each.entity)}")
        text.append(f"{indent}  owner: {_flow(each.owner or self.mapping.source.system)}")
        text.append(f"{indent}  fields:" if below.done else f"{indent}  fields: {{}}")
        lines.done[name] = "\n".join([*text, *below.done.values(), *below.remarks])
        return None

    def _remark(self, lines: _Lines, rule: FieldRule, reason: str, indent: str) -> None:
        lines.remarks.append(f"{indent}# {rule.name} (line {rule.place.line}): {reason}.")

    def _required(self, fields: _Lines) -> Iterator[str]:
        """What the new target wants and nothing fills yet."""
        for spec in (self.into.fields if self.into else {}).values():
            if spec.required and not (spec.readonly or spec.computed) and spec.name not in fields.done:
                yield f"  # {spec.name}: {self.mapping.source.object} requires it; say where it comes from."


def _plain_path(expr: Expr) -> Path | None:
    """The one path that a value is, before its steps."""
    return expr.origin.paths[0] if isinstance(expr.origin, From) and len(expr.origin.paths) == 1 else None


def _made_by(expr: Expr) -> str:
    match expr.origin:
        case None:
            form = "calc"
        case From():
            form = "from"
        case Aggregate(function):
            form = function
        case origin:
            form = _FORM[type(origin)]
    return f"`{form}:` can't be undone"


def _one_to_one(table: Table) -> bool:
    values = [_key(value) for value in table.values.values()]
    return bool(values) and None not in values and len(set(values)) == len(values)


def _turned_table(table: Table) -> dict[str, Any]:
    return {**{_key(value) or "": key for key, value in table.values.items()}, "else": "error"}


def _key(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _is_said(mapping: MappingSpec, name: str) -> bool:
    value = getattr(mapping, name)
    return value.place is not None if name in ("on_leave", "on_delete") else bool(value)


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip()
