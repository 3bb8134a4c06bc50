"""Follows a value through the steps of its field, in the language's one order, and reports what can't work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hub.domain.errors import Place
from hub.domain.schema import Field, FieldType
from hub.mapping.check_cel import CelChecker
from hub.mapping.check_scope import UNKNOWN, Known, Scope, did_you_mean
from hub.mapping.check_types import NUMBERS, WORDS, a, converts, fits
from hub.mapping.expressions import NotArithmetic, names, parse_calc
from hub.mapping.load_values import resolve_path
from hub.mapping.model import (
    Aggregate,
    Apportion,
    Calc,
    Call,
    CelValue,
    Const,
    Expr,
    FirstOf,
    From,
    Join,
    Lookup,
    Param,
    Ref,
    RunningNumber,
    Text,
    TextPart,
)

T = FieldType
_IDS = frozenset({T.TEXT, T.INTEGER, T.ENUM, T.REFERENCE, T.PHONE, T.EMAIL})
_QUOTIENT = 50  # the decimal places that a division may have
_ON_TEXT = ("trim", "case", "split", "replace")

OnRef = Callable[[Ref, Known, "Field | None", Scope], None]


@dataclass(frozen=True, slots=True)
class ValueChecker:
    """Checks expressions. `on_ref` is asked about every reference, since only the project knows the kinds."""

    cel: CelChecker
    on_ref: OnRef

    def into(self, expr: Expr, spec: Field | None, scope: Scope, place: Place, owner: str) -> None:
        """An expression that fills the field `spec` of `owner` (None: a field that is not known)."""
        known = self.value(expr, scope, spec)
        if spec is not None:
            fits(known, spec, place, scope.report, owner)

    def value(self, expr: Expr, scope: Scope, spec: Field | None = None) -> Known:
        """What is known of the value that comes out."""
        self.cel.condition(expr.if_, scope)
        known = self._origin(expr, scope, spec)
        known = self._on_text(expr, known, scope)
        known = self._or(known, expr.default, scope)
        known = self._as(expr, known, scope)
        known = self._numbers(expr, known, scope)
        if expr.lookup is not None:
            known = self._lookup(expr.lookup, expr, known, scope)
        if expr.ref is not None:
            known = self._ref(expr.ref, known, spec, scope)
        known = self._or(known, expr.else_, scope)
        if expr.scale is not None:
            known = self._number(known, expr.places.get("scale", expr.place), "scale", scope)
            known = replace(known, scale=expr.scale)
        return self._or(known, expr.on_error, scope)

    # ---- where it starts ---------------------------------------------------------------------------------------------

    def _origin(self, expr: Expr, scope: Scope, spec: Field | None) -> Known:
        match expr.origin:
            case None:
                return UNKNOWN
            case From(paths) if len(paths) == 1:
                return scope.read(paths[0])
            case From(paths):
                for path in paths:
                    scope.read(path)
                if expr.lookup is None:
                    scope.report.error(
                        expr.place, "several paths in `from:` need a `lookup:` with as many keys", "form"
                    )
                return Known("these values")
            case FirstOf(values):
                return _either([self.value(_member(value, expr), scope, spec) for value in values])
            case Join(values, separator):
                parts = [self.value(_member(value, expr), scope) for value in values]
                lengths = [part.length for part in parts]
                total = sum(length or 0 for length in lengths) + len(separator) * (len(parts) - 1)
                return Known("the joined text", T.TEXT, length=None if None in lengths else total, cel=_any_cel(parts))
            case Text(parts):
                read = [scope.read(part.path) for part in parts if isinstance(part, TextPart)]
                return Known("the text", T.TEXT, cel=_any_cel(read))
            case Const(value):
                return constant(value)
            case Param(name):
                scope.report.uses("param", name, expr.places.get("param", expr.place))
                return Known(f"the parameter {name}")
            case CelValue(cel):
                return self.cel.value(cel, scope)
            case Call(function, arguments):
                for argument in arguments:
                    self.value(argument, scope)
                return Known(function)
            case Aggregate():
                return self._aggregate(expr.origin, expr.place, scope)
            case Apportion(total, over, scale):
                for path in (total, over):
                    self._number(scope.read(path), path.place, "apportion", scope)
                return Known("the share", T.DECIMAL, scale=scale)
            case RunningNumber():
                return Known("the running number", T.TEXT)

    def _aggregate(self, origin: Aggregate, place: Place, scope: Scope) -> Known:
        known = scope.read(origin.path)
        what = f"{origin.function} of {origin.path.text}"
        if known is UNKNOWN:
            return replace(UNKNOWN, what=what)
        if known.type is not None and not known.many:
            message = f"{origin.path.text} is one value; `{origin.function}:` works on rows and lists"
            scope.report.error(origin.path.place, message, "type")
        if origin.function == "count":
            return Known(what, T.INTEGER)
        if origin.function == "sum":
            known = self._number(known, origin.path.place, "sum", scope)
        return replace(known, what=what, many=False)

    # ---- the steps ---------------------------------------------------------------------------------------------------

    def _on_text(self, expr: Expr, known: Known, scope: Scope) -> Known:
        for step in _ON_TEXT:
            if getattr(expr, step) is None:
                continue
            if known.type is not None and known.type not in WORDS:
                place = expr.places.get(step, expr.place)
                scope.report.error(place, f"`{step}:` works on text, and {known.what} is {a(known.type)}", "type")
            values = known.values if step == "trim" else None
            length = None if step == "replace" else known.length
            known = replace(known, type=T.TEXT, values=values, length=length, many=known.many or step == "split")
        return known

    def _or(self, known: Known, other: Expr | None, scope: Scope) -> Known:
        """The value, or what stands in for it."""
        return known if other is None else _either([known, self.value(other, scope)])

    def _as(self, expr: Expr, known: Known, scope: Scope) -> Known:
        if expr.as_ is None:
            return known
        place = expr.places.get("as", expr.place)
        if expr.as_ == "list":
            return replace(known, many=True)
        if expr.as_ == "label" and isinstance(expr.origin, (FirstOf, Join)):
            return known  # said of the members, and taken there
        if expr.as_ == "label":
            if known.type is not None and known.type is not T.TEXT and known.labels is None:
                scope.report.error(place, f"`as: label` needs options, and {known.what} is {a(known.type)}", "type")
            labels = known.labels or {}
            length = max(map(len, labels.values()), default=None)
            return replace(known, type=T.TEXT, values=frozenset(labels.values()) or None, length=length)
        wanted = FieldType(expr.as_)
        if not converts(known.type, wanted) and known.type is not None:
            scope.report.error(place, f"{known.what} is {a(known.type)} and can't be read as {a(wanted)}", "type")
        if wanted in NUMBERS and known.cel:
            return replace(known, type=wanted)
        return replace(known, type=wanted, object=known.object if wanted is T.REFERENCE else None)

    def _numbers(self, expr: Expr, known: Known, scope: Scope) -> Known:
        if expr.calc is not None:
            known = self._calc(expr.calc, known, expr, scope)
        if expr.multiply is not None:
            factor = self.value(expr.multiply, scope)
            self._number(factor, expr.multiply.place, "multiply", scope)
            known = self._number(known, expr.places.get("multiply", expr.place), "multiply", scope)
            known = Known(known.what, T.DECIMAL, cel=known.cel or factor.cel)
        return known

    def _calc(self, calc: Calc, known: Known, expr: Expr, scope: Scope) -> Known:
        cel = known.cel
        try:
            operands = dict.fromkeys(names(parse_calc(calc.text)))
        except NotArithmetic as error:
            scope.report.error(calc.place, f"`{calc.text}` is not arithmetic: {error}", "calc")
            return Known(f"`{calc.text}`", T.DECIMAL)
        for name in operands:
            if name == "value" and expr.origin is not None:
                self._number(known, calc.place, "calc", scope)
                continue
            path = resolve_path(name, calc.place, scope.mapping.related)
            if path is not None:
                operand = self._number(scope.read(path), calc.place, "calc", scope)
                cel = cel or operand.cel
        return Known(f"`{calc.text}`", T.DECIMAL, scale=_QUOTIENT if "/" in calc.text else None, cel=cel)

    def _number(self, known: Known, place: Place, step: str, scope: Scope) -> Known:
        if known.type is not None and known.type not in NUMBERS and known.type is not T.TEXT:
            scope.report.error(place, f"`{step}:` works on numbers, and {known.what} is {a(known.type)}", "type")
        return known if known.type in NUMBERS else replace(known, type=T.DECIMAL, values=None, length=None)

    def _lookup(self, lookup: Lookup, expr: Expr, known: Known, scope: Scope) -> Known:
        tables = scope.mapping.lookups
        scope.report.uses("lookup", lookup.table, lookup.place)
        table = tables.get(lookup.table)
        if table is None:
            hint = did_you_mean(lookup.table, tables)
            scope.report.error(lookup.place, f"{lookup.table}: there is no such table under `lookups:`{hint}", "lookup")
            return UNKNOWN
        result = Known(f"the lookup {table.name}", many=known.many)
        if table.file is not None or table.table is not None:
            keys = len(expr.origin.paths) if isinstance(expr.origin, From) else 1
            if table.table is not None and len(table.keys) != keys:
                message = f"{table.name} has {len(table.keys)} keys, and {keys} are given here"
                scope.report.error(lookup.place, message, "lookup")
            return result
        if known.type is T.BOOLEAN:
            known = replace(known, values=frozenset({"true", "false"}))
        if known.values is not None and table.else_kind == "error" and expr.else_ is None:
            lacking = sorted(known.values - table.values.keys())
            if lacking:
                message = f"{table.name} has no line for {', '.join(lacking)}, which {known.what} may be"
                scope.report.warning(lookup.place, message, "lookup")
        values = {_text(value) for value in table.values.values() if value is not None}
        if table.else_kind == "const" and table.else_value is not None:
            values.add(_text(table.else_value))
        if table.else_kind == "keep":
            return result if known.values is None else replace(result, values=frozenset(values) | known.values)
        kind = T.TEXT if all(isinstance(value, str) for value in table.values.values()) else None
        return replace(result, type=kind, values=frozenset(values), length=max(map(len, values), default=None))

    def _ref(self, ref: Ref, known: Known, spec: Field | None, scope: Scope) -> Known:
        if ref.facet is not None:
            self.value(ref.facet, scope)
        if known.type is not None and known.type not in _IDS:
            scope.report.error(ref.place, f"`ref:` needs an id or a key, and {known.what} is {a(known.type)}", "type")
        self.on_ref(ref, known, spec, scope)
        return Known(f"the {ref.kind}", T.REFERENCE, many=known.many, kind=ref.kind)


def constant(value: Any) -> Known:
    """What is known of a value that is written out."""
    what = f'"{value}"' if isinstance(value, str) else str(value)
    match value:
        case None:
            return Known("null", constant=True)
        case bool():
            return Known(what, T.BOOLEAN, values=frozenset({_text(value)}), constant=True)
        case int():
            return Known(what, T.INTEGER, values=frozenset({str(value)}), constant=True)
        case Decimal():
            exponent = value.as_tuple().exponent
            scale = max(0, -exponent) if isinstance(exponent, int) else None
            return Known(what, T.DECIMAL, values=frozenset({str(value)}), scale=scale, constant=True)
        case str():
            return Known(what, T.TEXT, values=frozenset({value}), length=len(value), constant=True)
        case list():
            first = constant(value[0]) if value else Known("the list")
            return replace(first, what="the list", many=True, values=None, constant=True)
        case _:
            return Known("this map", T.JSON, constant=True)


def _member(value: Expr, outer: Expr) -> Expr:
    """A member of `first` or `join`: `as: label` is about the members."""
    return replace(value, as_="label") if outer.as_ == "label" and value.as_ is None else value


def _either(alternatives: list[Known]) -> Known:
    """What holds whichever of these it is; null adds nothing."""
    real = [known for known in alternatives if known.what != "null" or not known.constant]
    if not real:
        return alternatives[0] if alternatives else UNKNOWN
    first = real[0]
    same = all(known.type is first.type for known in real)
    lengths = [known.length for known in real]
    values = [known.values for known in real]
    scales = [known.scale or 0 for known in real]
    return replace(
        first,
        type=first.type if same else _wider(real),
        length=None if None in lengths else max(length or 0 for length in lengths),
        scale=None if all(known.scale is None for known in real) else max(scales),
        values=None if None in values else frozenset[str]().union(*(value or frozenset() for value in values)),
        kind=first.kind if all(known.kind == first.kind or known.constant for known in real) else None,
        constant=all(known.constant for known in real),
        cel=_any_cel(real),
    )


def _wider(real: list[Known]) -> FieldType | None:
    """The type of the alternatives that are not constants, which are read as that type."""
    kinds = {known.type for known in real if not known.constant}
    return kinds.pop() if len(kinds) == 1 else None


def _any_cel(parts: list[Known]) -> bool:
    return any(part.cel for part in parts)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
