"""Writes the code of the steps that a value takes: text, types, arithmetic, look-ups, references."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hub.domain.errors import Place
from hub.domain.schema import FieldType, Wire
from hub.domain.values import day_reader, parser
from hub.mapping.compile_scope import Build, Read, Scope
from hub.mapping.expressions import Function, Name, Negative, NotArithmetic, Number, Operation, Tree, parse_calc
from hub.mapping.functions import ROUNDING, converter, labeller
from hub.mapping.load_values import resolve_path
from hub.mapping.model import Aggregate, Apportion, Calc, Expr, FirstOf, From, Join, Ref
from hub.mapping.reader import nearest

TEXTS = frozenset(
    {FieldType.TEXT, FieldType.PHONE, FieldType.EMAIL, FieldType.URL, FieldType.ENUM, FieldType.REFERENCE}
)
NATIVE = {FieldType.INTEGER: "int", FieldType.BOOLEAN: "bool"}

# What these give is null where it is blank.
_CLEAN = (FirstOf, Join, Aggregate, Apportion)
_SIGNS = {"+": "+", "-": "-", "*": "*", "/": "/", "%": "%"}
_CALLS = {"min": "min", "max": "max", "abs": "abs"}
_SHAPED = frozenset({"phone", "email", "url", "list"})


class StepBuild(Build):
    """Writes the steps, each of which changes the local `v`."""

    def value(self, expr: Expr, scope: Scope, *, takes: str = "id", owes: str | None = None, bare: bool = False) -> str:
        """The code of a whole value inside a step (a default, a factor, a facet)."""
        raise NotImplementedError

    def _rounded(self, v: str, expr: Expr) -> None:
        rounding = self.code.bind(ROUNDING[expr.round or "half_up"])
        step = self.code.bind(Decimal(1).scaleb(-(expr.scale or 0)))
        with self.code.block(f"if {v}.__class__ is Decimal"):
            self.code.line(f"{v} = {v}.quantize({step}, {rounding})")
        with self.code.block(f"elif {v} is not None and {v} is not ABSENT and {v}.__class__ is not list"):
            self.code.line(f"{v} = quantize({v}, {int(expr.scale or 0)}, {rounding})")

    def traced(self, step: str, v: str) -> None:
        if self.trace and self._depth == 1:
            self.code.line(f"trace({self.code.bind(step)}, {v})")

    def _text_steps(self, v: str, expr: Expr, read: Read) -> None:
        code = self.code
        if expr.as_ == "label" and not read.parsed:
            code.line(f"{v} = {code.bind(labeller(read.field))}({v})")
            self.traced("label", v)
        if not (expr.trim or expr.case or expr.replace):
            return
        with code.block(f"if {v}.__class__ is str"):
            if expr.trim:
                code.line(f"{v} = {v}.strip()")
            if expr.case in ("upper", "lower", "title"):
                code.line(f"{v} = {v}.{expr.case}()")
            if expr.replace:
                code.line(f"{v} = replaced({v}, {code.bind(tuple(expr.replace.items()))})")
        self.traced("text", v)

    def _parsed(self, v: str, read: Read, expr: Expr | None = None) -> None:
        """From the source's shape to Python's; blank text becomes null."""
        code = self.code
        if expr is not None and isinstance(expr.origin, _CLEAN):
            return
        if read.field is None or read.parsed or (expr is not None and expr.as_ == "label"):
            with code.block(f"if {v}.__class__ is str and not {v}.strip()"):
                code.line(f"{v} = None")
            return
        read_value = code.bind(parser(read.field))
        if read.field.type in TEXTS and not read.field.many:
            with code.block(f"if {v}.__class__ is not str"):
                code.line(f"{v} = {v} if {v} is None or {v} is ABSENT else {read_value}({v})")
            with code.block(f"elif not {v} or {v}.isspace()"):
                code.line(f"{v} = None")
            return
        native = NATIVE.get(read.field.type)
        if native is not None and not read.field.many:
            with code.block(f"if {v}.__class__ is not {native} and {v} is not None and {v} is not ABSENT"):
                code.line(f"{v} = {read_value}({v})")
            return
        with code.block(f"if {v} is not None and {v} is not ABSENT"):
            code.line(f"{v} = {read_value}({v})")

    def _converted(self, v: str, expr: Expr, read: Read) -> None:
        if expr.as_ is None or expr.as_ in ("label", "json", "file"):
            return
        if read.field is not None and read.field.type.value == expr.as_ and expr.tz is None and expr.as_ not in _SHAPED:
            return
        convert = converter(expr.as_, tz=expr.tz, region=expr.region, source=read.field)
        with self.code.block(f"if {v} is not None and {v} is not ABSENT"):
            self.code.line(f"{v} = {self.code.bind(convert)}({v})")
        self.traced("as", v)

    def _day_of_instant(self, v: str, expr: Expr, read: Read) -> bool:
        """`as: date` of milliseconds: read as a day of the zone at once."""
        found = read.field
        if expr.as_ != "date" or found is None or read.parsed or found.many or found.wire is not Wire.EPOCH_MS:
            return False
        if found.type is not FieldType.DATETIME:
            return False
        day = day_reader(replace(found, type=FieldType.DATE, tz=expr.tz or found.tz))
        with self.code.block(f"if {v} is not None"):
            self.code.line(f"{v} = {self.code.bind(day)}({v})")
        self.traced("as", v)
        return True

    def _lookup(self, v: str, expr: Expr, scope: Scope) -> None:
        lookup = expr.lookup
        assert lookup is not None
        code = self.code
        table = self.tables.get(lookup.table)
        if table is None:
            hint = nearest(lookup.table, self.tables)
            self.wrong(f"There is no lookup `{lookup.table}`.", lookup.place, hint, "unknown-name")
            return
        key, found = code.name("key"), code.name("found")
        many = isinstance(expr.origin, From) and len(expr.origin.paths) > 1
        with code.block(f"if {v} is not None and {v} is not ABSENT"):
            code.line(f"{key} = {v}" if many else f"{key} = {v} if {v}.__class__ is str else key_text({v})")
            if table.in_hub:
                rows, name = self.hub_table(table.spec.table or ""), code.bind(table.spec.table or "")
                wanted = key if many else f"({key},)"
                if self.collect:
                    code.line(f"asked_tables.add(({name}, {wanted}))")
                code.line(f"{found} = {rows}.get({wanted}, ABSENT)")
            else:
                if lookup.take and table.columns and lookup.take not in table.columns:
                    hint = nearest(lookup.take, table.columns)
                    self.wrong(f"`{lookup.table}` has no column `{lookup.take}`.", lookup.place, hint, "unknown-name")
                joined = many and not table.columns
                wanted = f'"|".join({key})' if joined else key
                code.line(f"{found} = {code.bind(table.values(lookup.take))}.get({wanted}, ABSENT)")
            with code.block(f"if {found} is not ABSENT"):
                if table.in_hub:
                    take, keys = code.bind(lookup.take), code.bind(table.spec.keys)
                    code.line(f"{v} = taken({found}, {take}, {keys}, {name})")
                else:
                    code.line(f"{v} = {found}")
            with code.block("else"):
                self._no_entry(v, key, many, expr, scope)

    def _no_entry(self, v: str, key: str, many: bool, expr: Expr, scope: Scope) -> None:
        code = self.code
        assert expr.lookup is not None
        table = self.tables[expr.lookup.table]
        if expr.else_ is not None:
            code.line(f"{v} = {self.value(expr.else_, scope)}")
        elif table.spec.else_kind == "const":
            code.line(f"{v} = {code.bind(table.spec.else_value)}")
        elif table.spec.else_kind == "keep":
            code.line(f"{v} = {key}")
        elif not table.in_hub:
            code.line(f"raise no_entry({code.bind(expr.lookup.table)}, {key})")
        else:
            if not self.collect:
                wanted = key if many else f"({key},)"
                code.line(f"missing_tables.append(TableKey({code.bind(table.spec.table)}, {wanted}))")
            code.line(f"{v} = ABSENT")

    def _ref(
        self, v: str, expr: Expr, ref: Ref, scope: Scope, read: Read, takes: str, owes: str | None, bare: bool
    ) -> None:
        code = self.code
        object_ = read.field.reference if read.field is not None else None
        if expr.lookup is not None or expr.calc is not None:
            object_ = None
        site = self.site(ref.kind, object_, ref.by)
        make = f"RefKey({code.bind(ref.kind)}, {code.bind(object_)}, {{}}, {code.bind(ref.by)}, {{}})"
        facet = code.bind("")
        if ref.facet is not None:
            given = self.value(ref.facet, scope)
            facet = code.name("facet")
            code.line(f'{facet} = "" if {given} is ABSENT or {given} is None else key_text({given})')
        with code.block(f"if {v} is not None and {v} is not ABSENT"):
            key, answer = code.name("key"), code.name("answer")
            code.line(f"{key} = {v} if {v}.__class__ is str else key_text({v})")
            if self.collect:
                code.line(f"asked_{site}.add(({facet}, {key}))")
            if bare:
                code.line(f"{v} = {make.format(key, facet)}")
                return
            code.line(f"{answer} = {site}.get(({facet}, {key}))")
            with code.block(f"if {answer} is not None and {answer}.state is FOUND"):
                taken = ref.take or takes
                if taken == "id":
                    code.line(f"{v} = {answer}.id")
                else:
                    code.line(f"{v} = {answer}.keys.get({code.bind(taken)})")
                with code.block(f"if {v} is None"):
                    code.line(f"{v} = answered({answer}, {code.bind(taken)}, {code.bind(ref.kind)})")
            with code.block("else"):
                self._missing(v, expr, ref, scope, make.format(key, facet), owes)

    def _missing(self, v: str, expr: Expr, ref: Ref, scope: Scope, key: str, owes: str | None) -> None:
        code = self.code
        wait = [f"missing.append({key})"] if not self.collect else []
        wait.append(f"{v} = ABSENT")
        if expr.else_ is not None and ref.wait is None:
            code.line(f"{v} = {self.value(expr.else_, scope)}")
        elif expr.else_ is not None:
            with code.block(f"if item.waited >= {int(ref.wait or 0)}"):
                code.line(f"{v} = {self.value(expr.else_, scope)}")
            with code.block("else"):
                for line in wait:
                    code.line(line)
        elif ref.optional:
            if not self.collect and owes is not None:
                code.line(f"owes[{owes}] = {key}")
            code.line(f"{v} = ABSENT")
        else:
            for line in wait:
                code.line(line)

    # ---- calc ----

    def _calc(self, v: str, calc: Calc, scope: Scope) -> None:
        try:
            tree = parse_calc(calc.text)
        except NotArithmetic as error:
            place = Place(calc.place.file, calc.place.line, calc.place.column + error.offset)
            self.wrong(f"`calc`: {error}.", place, "there are + - * / %, min, max, round, abs and paths", "calc")
            return
        operands: dict[str, str] = {}
        result = self._operand(tree, operands, v, calc, scope)
        if not operands:
            self.code.line(f"{v} = {result}")
            return
        names = list(operands.values())
        with self.code.block(f"if {' or '.join(f'{name} is ABSENT' for name in names)}"):
            self.code.line(f"{v} = ABSENT")
        with self.code.block(f"elif {' or '.join(f'{name} is None' for name in names)}"):
            self.code.line(f"{v} = None")
        with self.code.block("else"):
            self.code.line(f"{v} = {result}")

    def _operand(self, tree: Tree, operands: dict[str, str], v: str, calc: Calc, scope: Scope) -> str:
        code = self.code
        match tree:
            case Number(value):
                return code.bind(value)
            case Negative(of):
                return f"(-{self._operand(of, operands, v, calc, scope)})"
            case Operation(sign, left, right):
                first = self._operand(left, operands, v, calc, scope)
                return f"({first} {_SIGNS[sign]} {self._operand(right, operands, v, calc, scope)})"
            case Function(name, arguments):
                if name == "round":
                    places = (
                        arguments[1].value if len(arguments) == 2 and isinstance(arguments[1], Number) else Decimal(0)
                    )
                    inner = self._operand(arguments[0], operands, v, calc, scope)
                    return f"quantize({inner}, {int(places)}, {code.bind(ROUNDING['half_up'])})"
                shown = ", ".join(self._operand(one, operands, v, calc, scope) for one in arguments)
                return f"{_CALLS[name]}({shown})"
            case Name(text):
                if text not in operands:
                    operands[text] = self._number(text, v, calc, scope)
                return operands[text]

    def _number(self, text: str, v: str, calc: Calc, scope: Scope) -> str:
        made = self.code.name("n")
        if text == "value":
            self.code.line(f"{made} = {v}")
        else:
            path = resolve_path(text, calc.place, self.spec.related)
            if path is None:
                self.wrong(f"`calc`: `{text}` is not a path.", calc.place, rule="calc")
                return "None"
            read = self.read(path, scope)
            if read.many or (read.field is not None and read.field.many):
                self.wrong(f"`calc`: `{text}` is a list.", calc.place, "sum it in a `let` first", "calc")
            self.code.line(f"{made} = {read.code}")
        with self.code.block(f"if {made} is not ABSENT"):
            self.code.line(f"{made} = to_decimal({made})")
        return made
