"""Reads what fills a field: paths, values with their steps, tables of rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args

from hub.domain.errors import Place, Problem
from hub.mapping.document import Node
from hub.mapping.forms import CASES, ORIGINS, ROUNDINGS, TYPES, section
from hub.mapping.model import (
    Aggregate,
    Apportion,
    Calc,
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
    Lookup,
    Origin,
    Param,
    Path,
    Ref,
    Related,
    Root,
    RunningNumber,
    Text,
    TextPart,
)
from hub.mapping.reader import Reader

_PATH = re.compile(r"[^\s.{}\[\]()\"'`,:;!?=<>|&]+(\.[^\s.{}\[\]()\"'`,:;!?=<>|&]+)*")
_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|([{}])")
_NUMBER_FORMAT = re.compile(r"0?[0-9]{0,2},?(\.[0-9]{1,2}f?)?|[0-9]{0,2}d")
_DATE_FORMAT = re.compile(r"(yyyy|yy|MM|dd|HH|mm|ss|[-/. :年月日T])+")
_ROOTS: tuple[Root, ...] = get_args(Root)


def resolve_path(text: str, place: Place, related: Mapping[str, Related]) -> Path | None:
    """The path that `text` says, by the names in scope; None if it is no path at all."""
    if not _PATH.fullmatch(text):
        return None
    head, _, rest = text.partition(".")
    if head in ("record", "row"):
        inner, _, below = rest.partition(".")
        if inner in related and (head == "record") is not bool(related[inner].of):
            return Path(text, "related", below, place, inner)
        return Path(text, "record" if head == "record" else "row", rest, place)
    if head in ("let", "param", "rows"):
        root: Root = _ROOTS[_ROOTS.index(head)]
        return Path(text, root, rest, place) if rest or head == "rows" else None
    if head in related:
        return Path(text, "related", rest, place, head)
    return Path(text, "scope", text, place)


class ValueReader(Reader):
    """Reads values and rules; `related` is what paths may name."""

    def __init__(self, problems: list[Problem], related: Mapping[str, Related] | None = None) -> None:
        super().__init__(problems)
        self.related: Mapping[str, Related] = related or {}

    def path(self, node: Node | None, what: str) -> Path | None:
        text = self.text(node, what)
        if text is None or node is None:
            return None
        found = resolve_path(text, node.place, self.related)
        if found is None:
            hint = "write `{const: …}` for a fixed text"
            self.wrong(f"{what}: `{text}` is not a path.", node.place, hint, rule="path")
        return found

    def paths(self, node: Node | None, what: str) -> tuple[Path, ...]:
        return tuple(self.kept(self.one_or_many(node), lambda item: self.path(item, what)))

    def expr(self, node: Node | None, what: str) -> Expr | None:
        """A path, or a map; null, numbers and flags stand for themselves."""
        if node is None:
            return None
        if isinstance(node.value, str) and not (node.quoted and node.value == ""):
            path = self.path(node, what)
            return Expr(node.place, From((path,))) if path else None
        return self._value(node, what)

    def const_or_expr(self, node: Node | None, what: str) -> Expr | None:
        """A scalar stands for itself; a map says where the value comes from."""
        if node is None:
            return None
        if isinstance(node.value, str):
            return Expr(node.place, Const(node.value))
        return self._value(node, what)

    def rules(self, node: Node | None, what: str) -> Mapping[str, FieldRule]:
        """Target fields and what fills them."""
        found: dict[str, FieldRule] = {}
        for name, below in self.members(node, what).items():
            place = node.keys[name] if node else below.place
            rule = self.rule(below, f"`{name}`")
            if rule is not None:
                found[name] = FieldRule(name, place, rule)
        return found

    def rule(self, node: Node, what: str) -> Expr | Each | FixedRows | None:
        members = node.map or {}
        if "each" in members:
            return self._each(node, what)
        if "rows" in members:
            return self._fixed(node, what)
        return self.expr(node, what)

    def _each(self, node: Node, what: str) -> Each | None:
        given = self.section(node, "each", what)
        path = self.path(given.get("each"), f"`each` of {what}")
        value = self.expr(given.get("value"), f"`value` of {what}")
        if ("fields" in given) == ("value" in given):
            self.wrong(f"{what} needs either `fields` or `value`.", node.place, rule="lacks")
        if path is None:
            return None
        return Each(
            path=path,
            place=node.place,
            fields=self.rules(given.get("fields"), f"`fields` of {what}"),
            key=self.path(given.get("key"), f"`key` of {what}"),
            entity=self.text(given.get("entity"), f"`entity` of {what}"),
            when=self.cel(given.get("when"), f"`when` of {what}"),
            missing=self._of_form("each", "missing", given, what) or "remove",
            foreign=self._of_form("each", "foreign", given, what) or "keep",
            match=self.texts(given.get("match"), f"`match` of {what}"),
            group=self.path(given.get("group"), f"`group` of {what}"),
            value=value,
            list=self._of_form("each", "list", given, what),
            owner=self.text(given.get("owner"), f"`owner` of {what}"),
            on=self._of_form("each", "on", given, what),
        )

    def _fixed(self, node: Node, what: str) -> FixedRows:
        given = self.section(node, "fixed", what)
        rows = self.items(given.get("rows"), f"`rows` of {what}")
        return FixedRows(
            rows=tuple(self.rules(row, f"a row of {what}") for row in rows),
            place=node.place,
            key=self.text(given.get("key"), f"`key` of {what}"),
            missing=self._of_form("fixed", "missing", given, what) or "remove",
            foreign=self._of_form("fixed", "foreign", given, what) or "keep",
        )

    def _of_form(self, name: str, key: str, given: Mapping[str, Node], what: str) -> str | None:
        return self.choice(given.get(key), f"`{key}` of {what}", section(name)[key].choices)

    def _value(self, node: Node, what: str) -> Expr | None:
        if node.list is not None:
            self.wrong(f"{what} can't be a list.", node.place, "write `{const: […]}`, `{first: […]}` or `{join: […]}`")
            return None
        if node.map is None:
            return Expr(node.place, Const(self.constant(node, what)))
        given = self.section(node, "value", what)
        origin = self._origin(node, given, what)
        calc = self.text(given.get("calc"), f"`calc` of {what}")
        if origin is None and calc is None and not any(key in given for key in ORIGINS):
            self.wrong(f"{what} does not say where its value comes from.", node.place, "add `from: PATH`", rule="lacks")
        apportioned = isinstance(origin, Apportion)
        lookup = self.text(given.get("lookup"), f"`lookup` of {what}")
        return Expr(
            place=node.place,
            origin=origin,
            if_=self.cel(given.get("if"), f"`if` of {what}"),
            trim=self.flag(given.get("trim"), f"`trim` of {what}"),
            case=self.choice(given.get("case"), f"`case` of {what}", CASES),
            split=self.text(given.get("split"), f"`split` of {what}") or None,
            replace=self._replace(given.get("replace"), what),
            null=self._of_form("value", "null", given, what),
            default=self.const_or_expr(given.get("default"), f"`default` of {what}"),
            as_=self.choice(given.get("as"), f"`as` of {what}", TYPES),
            tz=self.text(given.get("tz"), f"`tz` of {what}"),
            region=self.text(given.get("region"), f"`region` of {what}"),
            calc=Calc(calc, given["calc"].place) if calc is not None else None,
            multiply=self.const_or_expr(given.get("multiply"), f"`multiply` of {what}"),
            lookup=Lookup(lookup, self._take(given, what), given["lookup"].place) if lookup else None,
            ref=self._ref(given, what),
            else_=self.const_or_expr(given.get("else"), f"`else` of {what}"),
            scale=None if apportioned else self.integer(given.get("scale"), f"`scale` of {what}", 0, 20),
            round=self.choice(given.get("round"), f"`round` of {what}", ROUNDINGS),
            on_error=self.const_or_expr(given.get("on_error"), f"`on_error` of {what}"),
            on=self._of_form("value", "on", given, what),
            owner=self.text(given.get("owner"), f"`owner` of {what}"),
            list=self._of_form("value", "list", given, what),
            places=dict(node.keys),
        )

    def _replace(self, node: Node | None, what: str) -> Mapping[str, str] | None:
        if node is None:
            return None
        members = self.members(node, f"`replace` of {what}")
        return {old: self.text(new, f"`replace` of {what}") or "" for old, new in members.items() if old}

    def _take(self, given: Mapping[str, Node], what: str) -> str | None:
        return self.text(given.get("take"), f"`take` of {what}")

    def _ref(self, given: Mapping[str, Node], what: str) -> Ref | None:
        kind = self.text(given.get("ref"), f"`ref` of {what}")
        if not kind:
            for key in ("by", "facet", "optional", "wait"):
                if key in given:
                    self.wrong(f"{what} has `{key}` but no `ref`.", given[key].place, rule="form")
            return None
        return Ref(
            kind=kind,
            place=given["ref"].place,
            take=self._take(given, what) if "lookup" not in given else None,
            by=self.text(given.get("by"), f"`by` of {what}") or "id",
            facet=self.expr(given.get("facet"), f"`facet` of {what}"),
            optional=self.flag(given.get("optional"), f"`optional` of {what}") or False,
            wait=self.duration(given.get("wait"), f"`wait` of {what}"),
        )

    def _origin(self, node: Node, given: Mapping[str, Node], what: str) -> Origin | None:
        named = [key for key in given if key in ORIGINS]
        single_first = "first" in given and isinstance(given["first"].value, bool)
        if len(named) == 2 and "from" in named and ("call" in named or single_first):
            named.remove("from")
        if len(named) > 1:
            keys = " and ".join(f"`{key}`" for key in named)
            self.wrong(f"{what} has {keys}: a value starts in one place.", node.keys[named[1]], rule="form")
        if not named:
            return None
        key = named[0]
        here = given[key]
        label = f"`{key}` of {what}"
        match key:
            case "from":
                paths = self.paths(here, label)
                return From(paths) if paths else None
            case "first":
                return self._first(here, given, label)
            case "join":
                separator = self.text(given.get("with"), f"`with` of {what}")
                return Join(self._values(here, label), " " if separator is None else separator)
            case "text":
                return self._template(here, label)
            case "const":
                return Const(here.plain())
            case "param":
                name = self.text(here, label)
                return Param(name) if name else None
            case "cel":
                cel = self.cel(here, label)
                return CelValue(cel) if cel else None
            case "call":
                function = self.text(here, label)
                return Call(function, self._values(given.get("from"), what), here.place) if function else None
            case "apportion":
                return self._apportion(here, given, what)
            case "number":
                pattern = self.text(here, label)
                return RunningNumber(pattern) if pattern else None
            case _:
                path = self.path(here, label)
                return Aggregate(key, path) if path else None

    def _first(self, node: Node, given: Mapping[str, Node], what: str) -> Origin | None:
        if isinstance(node.value, bool):
            paths = self.paths(given.get("from"), what)
            if len(paths) != 1 or not node.value:
                self.wrong(f"{what}: `first: true` needs `from` with one path.", node.place)
                return None
            return Aggregate("first", paths[0])
        if node.list is not None:
            return FirstOf(self._values(node, what))
        path = self.path(node, what)
        return Aggregate("first", path) if path else None

    def _values(self, node: Node | None, what: str) -> tuple[Expr, ...]:
        return tuple(self.kept(self.one_or_many(node), lambda item: self.expr(item, what)))

    def _apportion(self, node: Node, given: Mapping[str, Node], what: str) -> Apportion | None:
        total = self.path(node, f"`apportion` of {what}")
        over = self.path(given.get("over"), f"`over` of {what}")
        if "over" not in given:
            self.wrong(
                f"{what}: `apportion` needs `over`.", node.place, "for example `over: lines.subtotal`", rule="lacks"
            )
        scale = self.integer(given.get("scale"), f"`scale` of {what}", 0, 20)
        return Apportion(total, over, 2 if scale is None else scale) if total and over else None

    def _template(self, node: Node, what: str) -> Text | None:
        text = self.text(node, what)
        if text is None:
            return None
        parts: list[str | TextPart] = []
        end = 0
        for found in _TEMPLATE.finditer(text):
            parts.append(text[end : found.start()])
            end = found.end()
            if found[0] in ("{{", "}}"):
                parts.append(found[0][0])
            elif found[2] is not None:
                self.wrong(
                    f"{what}: a lone `{found[2]}`.", node.place, "write `{{` or `}}` for a brace", rule="template"
                )
            else:
                parts.extend(self._template_part(found[1], node, what))
        parts.append(text[end:])
        return Text(tuple(part for part in parts if part != ""))

    def _template_part(self, inner: str, node: Node, what: str) -> list[TextPart]:
        name, _, form = inner.partition(":")
        path = resolve_path(name.strip(), node.place, self.related)
        if path is None:
            self.wrong(f"{what}: `{name}` is not a path.", node.place, rule="template")
            return []
        if form and not (_NUMBER_FORMAT.fullmatch(form) or _DATE_FORMAT.fullmatch(form)):
            hint = "numbers: `,.2f` or `04d`; dates: `yyyy-MM-dd HH:mm`"
            self.wrong(f"{what}: `{form}` is not a format.", node.place, hint, rule="template")
            return []
        return [TextPart(path, form)]
