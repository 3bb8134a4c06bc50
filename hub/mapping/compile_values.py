"""Writes the code of a value: where it starts, then the language's steps in their one order."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hub.domain.errors import Place
from hub.domain.values import decimal_text
from hub.mapping.compile_code import Slot
from hub.mapping.compile_scope import Build, Read, Scope, single
from hub.mapping.compile_steps import StepBuild
from hub.mapping.model import (
    Aggregate,
    Apportion,
    Call,
    CelValue,
    Const,
    Expr,
    FirstOf,
    From,
    Join,
    Param,
    RunningNumber,
    Text,
    TextPart,
)
from hub.mapping.reader import nearest


class ValueBuild(StepBuild):
    """Writes values. What makes one gives the local name that holds it: ABSENT, None, or a Python value."""

    def let(self, name: str, scope: Scope) -> Read:
        if name not in self.lets:
            assert self.let_slot is not None
            spec = self.spec.let[name]
            made = self.code.name("let")
            # Into a place of its own: a let that this one reads is finished, and so stands, before it.
            own = Slot([], self.let_slot.depth)
            with self.opened(name), self.code.at(own):
                self.code.line(f"{made} = ABSENT")
                with self.caught(self.code.bind(f"let.{name}")):
                    self.code.line(f"{made} = {self.value(spec.value, self.top)}")
            self.let_slot.lines.append(own.lines)
            self.lets[name] = Read(made, None, parsed=True)
        read = self.lets[name]
        origin = self.spec.let[name].value.origin
        if isinstance(origin, Apportion) and scope.index is not None:
            if scope.of is None or scope.of != (origin.over.related or origin.over.name.partition(".")[0]):
                self.wrong(f"`let.{name}` is shared over other rows than these.", spec_place(self, name), rule="scope")
            return replace(read, code=f"share({read.code}, {scope.index})")
        return read

    def caught(self, label: str) -> Any:
        """A block whose errors become the record's; while asking ahead they are left for the run to tell."""
        return _Caught(self, label)

    def value(self, expr: Expr, scope: Scope, *, takes: str = "id", owes: str | None = None, bare: bool = False) -> str:
        """The code of a whole value.

        `owes` is the code of the name under which a missing optional reference is noted; `bare` leaves a reference
        unresolved (for `target.id`).
        """
        made = self.code.name()
        self._depth += 1
        if expr.on_error is not None:
            with self.code.block("try"):
                self._conditional(made, expr, scope, takes, owes, bare)
            with self.code.block("except Exception"):
                self.code.line(f"{made} = {self.value(expr.on_error, scope)}")
        else:
            self._conditional(made, expr, scope, takes, owes, bare)
        self._depth -= 1
        return made

    def _conditional(self, v: str, expr: Expr, scope: Scope, takes: str, owes: str | None, bare: bool) -> None:
        if expr.if_ is None:
            self._started(v, expr, scope, takes, owes, bare)
            return
        self.code.line(f"{v} = ABSENT")
        with self.code.block(f"if {self.condition(expr.if_, scope)}"):
            self._started(v, expr, scope, takes, owes, bare)

    def _started(self, v: str, expr: Expr, scope: Scope, takes: str, owes: str | None, bare: bool) -> None:
        code = self.code
        read = self._origin(v, expr, scope)
        self.traced("from", v)
        stepped = has_steps(replace(expr, as_=None, default=None)) or expr.as_ not in (None, "label", "text")
        listed = read.many or (isinstance(expr.origin, Join) and stepped) or bool(expr.split)
        listed = listed or (read.field is not None and read.field.many)
        # Without a schema nothing is known of a path, so its lists are found out while it runs.
        maybe = read.field is None and not read.parsed and isinstance(expr.origin, From)
        element = replace(read, field=single(read.field) if read.field else None)
        if not (listed or maybe):
            self._steps(v, expr, scope, element, takes, owes, bare)
        elif not listed:
            with code.block(f"if {v}.__class__ is list"):
                self._elements(v, expr, scope, element, takes, owes, bare)
            with code.block("else"):
                self._steps(v, expr, scope, element, takes, owes, bare)
        else:
            self._elements(v, expr, scope, element, takes, owes, bare)
        self._finish(v, expr, scope)

    def _elements(self, v: str, expr: Expr, scope: Scope, read: Read, takes: str, owes: str | None, bare: bool) -> None:
        """The steps for each member of a list; then they are joined, if the value is a join."""
        code = self.code
        done, one = code.name("list"), code.name("one")
        with code.block(f"if {v} is not ABSENT"):
            if expr.split:
                code.line(f"{v} = split_text({v}, {code.bind(expr.split)})")
            code.line(f"{done} = []")
            with code.block(f"for {one} in ({v} if {v}.__class__ is list else () if is_blank({v}) else ({v},))"):
                without = replace(expr, default=None, split=None, scale=None, round=None)
                self._steps(one, without, scope, read, takes, owes, bare)
                if expr.scale is not None or expr.round is not None:
                    self._rounded(one, expr)
                with code.block(f"if {one} is not ABSENT and not is_blank({one})"):
                    code.line(f"{done}.append({one})")
            if isinstance(expr.origin, Join):
                code.line(f"{v} = joined({done}, {code.bind(expr.origin.separator)})")
            else:
                code.line(f"{v} = {done} or None")
            if expr.default is not None:
                with code.block(f"if {v} is None"):
                    code.line(f"{v} = {self.value(expr.default, scope)}")

    def _finish(self, v: str, expr: Expr, scope: Scope) -> None:
        if expr.else_ is not None:
            with self.code.block(f"if {v} is None"):
                self.code.line(f"{v} = {self.value(expr.else_, scope)}")
            self.traced("else", v)
        if expr.scale is not None or expr.round is not None:
            self._rounded(v, expr)
            self.traced("round", v)

    # ---- where it starts ----

    def _origin(self, v: str, expr: Expr, scope: Scope) -> Read:
        code = self.code
        match expr.origin:
            case None:
                code.line(f"{v} = None")
            case From(paths):
                return self._from(v, expr, scope, paths)
            case FirstOf(values):
                self._first_of(v, expr, scope, values)
            case Join(values, separator):
                self._join(v, expr, scope, values, separator)
            case Text(parts):
                self._text(v, parts, scope)
            case Const(value):
                code.line(f"{v} = {code.bind(_json(value))}")
            case Param(name):
                self.params.add(name)
                code.line(f"{v} = param(params, {code.bind(name)})")
            case CelValue(cel):
                self._cel(v, cel, scope)
            case Call(function, arguments, place):
                self._call(v, function, arguments, place, scope)
            case Aggregate(function, path):
                read = self.read(path, scope)
                shape = code.bind(single(read.field)) if read.field and function != "count" else "None"
                code.line(f"{v} = aggregate({code.bind(function)}, {read.code}, {shape})")
                if read.field is not None and read.field.reference is not None and function in ("first", "last"):
                    # The one of a list of references refers to the same object as all of them.
                    return Read(v, single(read.field), parsed=True)
            case Apportion(total, over, scale):
                given = f"{self.read(total, scope).code}, {self.read(over, scope).code}, {int(scale)}"
                code.line(f"{v} = apportion({given})")
                return Read(v, None, parsed=True)
            case RunningNumber():
                code.line(f"{v} = ABSENT")
        return Read(v, None, parsed=True)

    def _from(self, v: str, expr: Expr, scope: Scope, paths: tuple[Any, ...]) -> Read:
        if len(paths) == 1:
            read = self.read(paths[0], scope)
            self.code.line(f"{v} = {read.code}")
            return read
        parts = [self._plain_path(path, scope) for path in paths]
        with self.code.block(f"if any_absent(({', '.join(parts)},))"):
            self.code.line(f"{v} = ABSENT")
        with self.code.block(f"elif {' or '.join(f'is_blank({part})' for part in parts)}"):
            self.code.line(f"{v} = None")
        with self.code.block("else"):
            self.code.line(f"{v} = ({', '.join(f'key_text({part})' for part in parts)},)")
        return Read(v, None, parsed=True)

    def _plain_path(self, path: Any, scope: Scope) -> str:
        made = self.code.name()
        read = self.read(path, scope)
        self.code.line(f"{made} = {read.code}")
        self._parsed(made, read)
        return made

    def _inner(self, expr: Expr, outer: Expr, scope: Scope) -> str:
        """A member of `first` or `join`; `as: label` is about the members."""
        return self.value(replace(expr, as_="label") if outer.as_ == "label" and expr.as_ is None else expr, scope)

    def _first_of(self, v: str, expr: Expr, scope: Scope, values: tuple[Expr, ...]) -> None:
        code = self.code
        code.line(f"{v} = {self._inner(values[0], expr, scope) if values else 'ABSENT'}")
        for value in values[1:]:
            with code.block(f"if {v} is None or {v} is ABSENT or is_blank({v})"):
                made = self._inner(value, expr, scope)
                with code.block(f"if {made} is not ABSENT"):
                    code.line(f"{v} = {made}")

    def _join(self, v: str, expr: Expr, scope: Scope, values: tuple[Expr, ...], separator: str) -> None:
        code = self.code
        made = [self._inner(value, expr, scope) for value in values]
        code.line(f"{v} = ABSENT")
        if made:
            with code.block(f"if {' or '.join(f'{name} is not ABSENT' for name in made)}"):
                kept = code.name("one")
                full = f"{kept} is not None and {kept} is not ABSENT"
                code.line(f"{v} = [{kept} for {kept} in ({', '.join(made)},) if {full}]")
                if not has_steps(replace(expr, as_=None, default=None)) and expr.as_ in (None, "label", "text"):
                    code.line(f"{v} = joined({v}, {code.bind(separator)})")

    def _text(self, v: str, parts: tuple[str | TextPart, ...], scope: Scope) -> None:
        code = self.code
        pieces: list[str] = []
        reads: list[str] = []
        for part in parts:
            if isinstance(part, str):
                pieces.append(code.bind(part))
                continue
            made, read = code.name(), self.read(part.path, scope)
            code.line(f"{made} = {read.code}")
            shape = code.bind(read.field) if read.field and not read.parsed else "None"
            pieces.append(f"formatted({made}, {code.bind(part.format)}, {shape})")
            reads.append(made)
        whole = " + ".join(pieces) or code.bind("")
        if not reads:
            code.line(f"{v} = {whole}")
            return
        with code.block(f"if {' and '.join(f'{name} is ABSENT' for name in reads)}"):
            code.line(f"{v} = ABSENT")
        with code.block("else"):
            code.line(f"{v} = {whole}")

    def _cel(self, v: str, cel: Any, scope: Scope) -> None:
        try:
            evaluate = self.cel.value(cel.text)
        except ValueError as error:
            self.wrong(f"This is not CEL: {error}.", cel.place, rule="cel")
            self.code.line(f"{v} = ABSENT")
            return
        variables = self.variables(cel, scope)
        if self.partial:
            self.code.line(f"{v} = decided({self.code.bind(evaluate)}, {variables}, ABSENT)")
        else:
            self.code.line(f"{v} = {self.code.bind(evaluate)}({variables})")

    def _call(self, v: str, function: str, arguments: tuple[Expr, ...], place: Place, scope: Scope) -> None:
        if function not in self.plugins:
            hint = (
                nearest(function, self.plugins)
                or "functions come from packages, by the entry point `crm_hub.functions`"
            )
            self.wrong(f"There is no function `{function}`.", place, hint, "unknown-name")
            self.code.line(f"{v} = ABSENT")
            return
        made = [self.value(argument, scope) for argument in arguments]
        shown = ", ".join(f"None if {name} is ABSENT else {name}" for name in made)
        self.code.line(f"{v} = {self.code.bind(self.plugins[function])}({shown})")

    # ---- the steps ----

    def _steps(self, v: str, expr: Expr, scope: Scope, read: Read, takes: str, owes: str | None, bare: bool) -> None:
        if isinstance(expr.origin, Const) and not has_steps(expr):
            return
        code = self.code
        guard = f"if {v} is not ABSENT" if expr.origin is not None else "if True"
        with code.block(guard):
            self._text_steps(v, expr, read)
            if expr.default is not None:
                with code.block(f"if {v} is None or is_blank({v})"):
                    code.line(f"{v} = {self.value(expr.default, scope)}")
                self.traced("default", v)
            if not self._day_of_instant(v, expr, read):
                self._parsed(v, read, expr)
                self._converted(v, expr, read)
            if expr.calc is not None:
                self._calc(v, expr.calc, scope)
                self.traced("calc", v)
            if expr.multiply is not None:
                factor = self.value(expr.multiply, scope)
                with code.block(f"if {v} is not None and {v} is not ABSENT"):
                    with code.block(f"if {factor} is None or {factor} is ABSENT"):
                        code.line(f"{v} = {factor}")
                    with code.block("else"):
                        code.line(f"{v} = as_decimal({v}) * as_decimal({factor})")
                self.traced("multiply", v)
            if expr.lookup is not None:
                self._lookup(v, expr, scope)
                self.traced("lookup", v)
            if expr.ref is not None:
                self._ref(v, expr, expr.ref, scope, read, takes, owes, bare)
                self.traced("ref", v)


class _Caught:
    def __init__(self, build: ValueBuild, label: str) -> None:
        self._build = build
        self._label = label
        self._try = build.code.block("try")

    def __enter__(self) -> None:
        self._try.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._try.__exit__(*error)
        code = self._build.code
        with code.block("except Exception as error"):
            if not self._build.collect:
                code.line(f"errors.append(wrong({self._label}, error))")


def spec_place(build: Build, name: str) -> Place:
    return build.spec.let[name].place


def has_steps(expr: Expr) -> bool:
    """Whether anything happens to a value between where it starts and where it is written."""
    bare = Expr(
        expr.place, expr.origin, null=expr.null, on=expr.on, owner=expr.owner, list=expr.list, places=expr.places
    )
    return expr != bare


def _json(value: Any) -> Any:
    """A constant as records hold values: no decimals but as text, inside lists and maps."""
    if isinstance(value, dict):
        return {key: _inside(below) for key, below in value.items()}
    return [_inside(below) for below in value] if isinstance(value, list) else value


def _inside(value: Any) -> Any:
    return decimal_text(value) if isinstance(value, Decimal) else _json(value)
