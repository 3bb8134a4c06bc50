"""Checks CEL: that it compiles, gives what is wanted, and names and compares only what exists."""

from __future__ import annotations

import re

from hub.domain.schema import FieldType
from hub.mapping.check_scope import UNKNOWN, Known, Scope, did_you_mean, find
from hub.mapping.expressions_cel import CelCompiler, NotCel, uses
from hub.mapping.model import Cel, Path, Root

_COMPARED = re.compile(
    r"(?<![\w.])(record|row)((?:\.[A-Za-z_]\w*)+)\s*(?:==|!=)\s*(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)')"
)
_AMONG = re.compile(r"(?<![\w.])(record|row)((?:\.[A-Za-z_]\w*)+)\s+in\s*\[([^\[\]]*)\]")
_LITERAL = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
_TYPES = {
    "STRING": FieldType.TEXT,
    "BOOL": FieldType.BOOLEAN,
    "INT": FieldType.INTEGER,
    "UINT": FieldType.INTEGER,
    "DOUBLE": FieldType.DECIMAL,
}
_CALLED = {FieldType.TEXT: "text", FieldType.INTEGER: "a number", FieldType.DECIMAL: "a number"}
# What CEL sees as something else than text, and so never equals one.
_NO_TEXT = {
    FieldType.BOOLEAN: "true or false",
    FieldType.INTEGER: "a number",
    FieldType.DECIMAL: "a number",
    FieldType.MONEY: "a number",
}


class CelChecker:
    """Checks the expressions of one mapping."""

    def __init__(self) -> None:
        self._compiler = CelCompiler()

    def condition(self, cel: Cel | None, scope: Scope) -> None:
        """An expression that has to be true or false."""
        if cel is None:
            return
        known = self.value(cel, scope)
        if known.type in _CALLED:
            message = f"{known.what} gives {_CALLED[known.type]}; a condition has to be true or false"
            scope.report.error(cel.place, message, "cel")

    def value(self, cel: Cel, scope: Scope) -> Known:
        """What an expression gives."""
        for use in uses(cel.text):
            _read(_path(use.root, use.names, cel, scope), scope)
        self._comparisons(cel, scope)
        what = f"`{_short(cel.text)}`"
        try:
            name = self._compiler.expression(cel.text).return_type().name()
        except NotCel as error:
            reason = re.sub(r"^\d+:\d+: ", "", str(error))
            scope.report.error(cel.place, f"{what} is not CEL: {reason}", "cel")
            return UNKNOWN
        return Known(what, type=_TYPES.get(name), many=name.startswith("LIST"), cel=True)

    def _comparisons(self, cel: Cel, scope: Scope) -> None:
        for found in _COMPARED.finditer(cel.text):
            literal = found[3] if found[3] is not None else found[4]
            _compare(found[1], found[2], literal, cel, scope)
        for found in _AMONG.finditer(cel.text):
            for listed in _LITERAL.finditer(found[3]):
                _compare(found[1], found[2], listed[1] if listed[1] is not None else listed[2], cel, scope)


def _compare(root: str, members: str, literal: str, cel: Cel, scope: Scope) -> None:
    """Report a text that a field never is."""
    known = _read(_path(root, tuple(members.split(".")[1:]), cel, scope), scope)
    if known.type in _NO_TEXT:
        scope.report.error(cel.place, f'{known.what} is {_NO_TEXT[known.type]}, and never "{literal}"', "cel")
    elif known.values is not None and literal and literal not in known.values:
        hint = did_you_mean(literal, known.values) or "; it is one of " + ", ".join(sorted(known.values))
        scope.report.error(cel.place, f'{known.what} is never "{literal}"{hint}', "enum")


def _path(root: str, names: tuple[str, ...], cel: Cel, scope: Scope) -> Path | None:
    """The path that a chain of members is; None when it names nothing below its root."""
    text = ".".join((root, *names))
    related = scope.mapping.related
    if not names:
        return None
    if root in ("record", "row") and names[0] in related and (root == "row") is bool(related[names[0]].of):
        return Path(text, "related", ".".join(names[1:]), cel.place, names[0])
    roots: dict[str, Root] = {"record": "record", "row": "row", "let": "let", "param": "param"}
    return Path(text, roots[root], ".".join(names), cel.place)


def _read(path: Path | None, scope: Scope) -> Known:
    """Reads a chain; what hangs below a field that exists (a member of a JSON value) is CEL's own affair."""
    if path is None:
        return UNKNOWN
    if path.root == "record" and scope.record is not None and not find(scope.record.fields, path.name, scope.record):
        names = path.name.split(".")
        for end in range(1, len(names)):
            known = find(scope.record.fields, ".".join(names[:end]), scope.record)
            if known is not None and known.rows is None:
                return UNKNOWN
    return scope.read(path)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else f"{flat[:57]}..."
