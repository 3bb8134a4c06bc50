"""Writes the code of target fields and tables: values rendered into the target's shape, rows made from rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields as members_of
from dataclasses import is_dataclass, replace
from typing import Any

from hub.domain.schema import Field, FieldType, Wire
from hub.domain.values import DoesNotFit, copier, parser, renderer
from hub.mapping.compile_scope import Scope
from hub.mapping.compile_steps import NATIVE, TEXTS
from hub.mapping.compile_values import ValueBuild, has_steps
from hub.mapping.expressions_cel import uses
from hub.mapping.model import Cel, Const, Each, Expr, FieldRule, FixedRows, From, Lookup, Path, Ref, RunningNumber
from hub.mapping.runtime import free

_INLINE = TEXTS - {FieldType.ENUM}
_NUMBERS = frozenset({FieldType.DECIMAL, FieldType.MONEY})


class FieldBuild(ValueBuild):
    """Writes target fields into `out` (a dict of fields) and `tables` (rows by table)."""

    def fields(self, rules: Mapping[str, FieldRule], shapes: Mapping[str, Field], scope: Scope, out: str) -> None:
        for rule in rules.values():
            if not self.collect or self.asks(rule.rule):
                self.field(rule, shapes.get(rule.name), scope, out)

    def field(self, rule: FieldRule, shape: Field | None, scope: Scope, out: str) -> None:
        match rule.rule:
            case Expr() as expr:
                self._only_on(expr.on, lambda: self._value_field(rule, expr, shape, scope, out))
            case Each() as each:
                self._only_on(each.on, lambda: self._each(rule, each, shape, scope, out))
            case FixedRows() as fixed:
                self._fixed(rule, fixed, shape, scope)

    def _only_on(self, on: str | None, write: Any) -> None:
        if on is None:
            write()
            return
        with self.code.block("if not item.exists" if on == "create" else "if item.exists"):
            write()

    def _value_field(self, rule: FieldRule, expr: Expr, shape: Field | None, scope: Scope, out: str) -> None:
        code, name = self.code, self.code.bind(rule.name)
        if isinstance(expr.origin, RunningNumber):
            if scope.inner:
                self.wrong(
                    f"`{rule.name}`: a row can't have a running number: it is drawn for the record as a whole.",
                    expr.place,
                    "number the record, and let the target count its rows",
                    rule="number",
                )
            elif not self.collect:
                with code.block("if not item.exists"):
                    code.line(f"numbers[{name}] = {code.bind(expr.origin.pattern)}")
            return
        label = scope.label(rule.name)
        if self._constant(name, expr, shape, out):
            return
        with self.caught(label):
            if self.trace:
                code.line(f"trace_field({label})")
            if self._copied(name, expr, shape, scope, out):
                return
            takes = shape.takes if shape is not None else "id"
            v = self.value(expr, scope, takes=takes, owes=label)
            if self.collect:
                return
            with code.block(f"if {v} is not ABSENT"):
                self._written(v, name, expr, shape, scope, out)

    def _written(self, v: str, name: str, expr: Expr, shape: Field | None, scope: Scope, out: str) -> None:
        code = self.code
        if expr.on_error is None:
            self.rendered(v, shape)
        else:
            with code.block("try"):
                self.rendered(v, shape)
            with code.block("except Exception"):
                code.line(f"{v} = {self.value(expr.on_error, scope)}")
                self.rendered(v, shape)
        if self.trace:
            code.line(f"trace({code.bind('written')}, {v})")
        if self._clears(expr):
            code.line(f"{out}[{name}] = {v}")
        else:
            with code.block(f"if {v} is not None"):
                code.line(f"{out}[{name}] = {v}")

    def _constant(self, name: str, expr: Expr, shape: Field | None, out: str) -> bool:
        """A constant is rendered once, here; one that does not fit is left to fail with the record."""
        if self.trace or self.collect or not isinstance(expr.origin, Const) or has_steps(expr):
            return False
        value = expr.origin.value
        if value is None or isinstance(value, (list, dict)):
            return False
        try:
            written = renderer(shape)(value) if shape is not None else free(value)
        except DoesNotFit:
            return False
        self.code.line(f"{out}[{name}] = {self.code.bind(written)}")
        return True

    def _copied(self, name: str, expr: Expr, shape: Field | None, scope: Scope, out: str) -> bool:
        """A text that goes over as it is, the commonest field of all, takes the short way."""
        origin = expr.origin
        if self.trace or self.collect or not isinstance(origin, From) or len(origin.paths) != 1 or has_steps(expr):
            return False
        read = self.read(origin.paths[0], scope)
        if shape is None or shape.many or shape.length is not None or shape.scale is not None:
            return False
        if read.many or read.parsed or read.field is None or read.field.many or not self._clears(expr):
            return False
        code, v = self.code, self.code.name()
        if shape.type in _NUMBERS and read.field.type in _NUMBERS:
            code.line(f"{v} = {read.code}")
            with code.block(f"if {v} is not ABSENT"):
                code.line(f"{out}[{name}] = {code.bind(copier(shape))}({v})")
            return True
        if shape.type not in _INLINE or read.field.type not in TEXTS:
            return False
        code.line(f"{v} = {read.code}")
        with code.block(f"if {v}.__class__ is str"):
            code.line(f"{out}[{name}] = None if not {v} or {v}.isspace() else {v}")
        with code.block(f"elif {v} is not ABSENT"):
            code.line(f"{out}[{name}] = {v} if {v} is None else {code.bind(parser(read.field))}({v})")
        return True

    def _clears(self, expr: Expr) -> bool:
        return (expr.null or self.spec.null) == "clear" or (
            isinstance(expr.origin, Const) and expr.origin.value is None
        )

    def rendered(self, v: str, shape: Field | None) -> None:
        """From Python's shape to the target's."""
        code = self.code
        if shape is None or shape.type is FieldType.JSON:
            with code.block(f"if {v}.__class__ is not str"):
                code.line(f"{v} = {code.bind(free)}({v})")
            return
        render = code.bind(renderer(shape))
        if shape.type in _NUMBERS and shape.scale is None and shape.length is None and not shape.many:
            with code.block(f"if {v}.__class__ is Decimal"):
                code.line(f"{v} = decimal_text({v})")
            with code.block(f"elif {v} is not None"):
                code.line(f"{v} = {render}({v})")
            return
        native = NATIVE.get(shape.type) if shape.wire is Wire.PLAIN else None
        if shape.type is FieldType.DATE and shape.wire is not Wire.EPOCH_MS:
            native = "date"
        if native is not None and not shape.many:
            with code.block(f"if {v}.__class__ is not {native}"):
                code.line(f"{v} = {v} if {v} is None else {render}({v})")
            if native == "date":
                with code.block("else"):
                    code.line(f"{v} = {v}.isoformat()")
            return
        if shape.type not in _INLINE or shape.many:
            with code.block(f"if {v} is not None"):
                code.line(f"{v} = {render}({v})")
            return
        with code.block(f"if {v}.__class__ is not str"), code.block(f"if {v} is not None"):
            code.line(f"{v} = {render}({v})")
        if shape.length is not None:
            with code.block(f"elif len({v}) > {int(shape.length)}"):
                code.line(f"raise too_long({v}, {int(shape.length)})")

    # ---- tables ----

    def _each(self, rule: FieldRule, each: Each, shape: Field | None, scope: Scope, out: str) -> None:
        if scope.inner:
            self.wrong(
                f"`{rule.name}`: a row can't hold rows.", each.place, "map them as a table of the record", "nested"
            )
            return
        code = self.code
        table = code.bind(rule.name)
        with self.caught(table):
            source = code.name("rows")
            read = self.read(each.path, scope)
            if not each.path.name and each.path.related is None:
                self.wrong(f"`each: {each.path.text}` names no rows.", each.place, rule="each")
            if each.value is not None:
                self._scalars(rule, each, shape, scope, out, f"members_of({read.code})", read.field)
                return
            checked = each.path.related is not None and not each.path.name
            code.line(f"{source} = {read.code}" if checked else f"{source} = rows_of({read.code})")
            with code.block(f"if {source} is not ABSENT"):
                self._walk(rule, each, shape, source, self._row_fields(each))

    def _row_fields(self, each: Each) -> tuple[Mapping[str, Field], set[str], str | None, str | None]:
        """Of the rows that are walked: their schema, what is needed of them, the field of their id, their object."""
        name = each.path.related
        if name is not None:
            schema = self.related.get(name)
            id_field = schema.id_field if schema else None
            object_ = self.spec.related[name].object
            return (schema.fields if schema else {}), self.needs[name], id_field, object_
        table = self.top.fields.get(each.path.name)
        if table is None:
            return {}, set(), None, None
        return table.rows or {}, set(), table.row_key, table.row_object

    def _walk(self, rule: FieldRule, each: Each, shape: Field | None, source: str, rows: Any) -> None:
        code = self.code
        known, needs, id_field, object_ = rows
        table = code.bind(rule.name)
        row, index, get = code.name("row"), code.name("i"), code.name("rget")
        made, seen_keys, group = code.name("made"), code.name("keys"), code.name("group")
        code.line(f"{made} = []")
        code.line(f"{seen_keys} = set()")
        walked = f"enumerate({source})"
        if each.group is not None:
            needs.add(each.group.name)
            walked = f"enumerate(grouped({source}, {code.bind(each.group.name)}))"
        with code.block(f"for {index}, {row} in {walked}"):
            if each.group is not None:
                code.line(f"{group} = {row}")
                code.line(f"{row} = {group}[0]")
            code.line(f"{get} = {row}.get")
            slot = code.slot()

            def label(name: str) -> str:
                return f"row_label({table}, {index}, {code.bind(name)})"

            inner = Scope(
                get, row, known, needs, label, of=each.path.related or each.path.name, index=index,
                rows=group if each.group is not None else None, slot=slot, inner=True,
            )  # fmt: skip
            if each.when is not None and not self.collect:
                passes = code.name("passes")
                code.line(f"{passes} = False")
                with self.caught(label("when")):
                    code.line(f"{passes} = {self.condition(each.when, inner)}")
                with code.block(f"if not {passes}"):
                    code.line("continue")
            out = code.name("out")
            code.line(f"{out} = {{}}")
            self.fields(each.fields, shape.rows or {} if shape else {}, inner, out)
            if not self.collect:
                self._row_made(each, inner, id_field, object_, made, seen_keys, out)
        if not self.collect:
            code.line(f"tables[{table}] = {made}")

    def _row_made(
        self, each: Each, inner: Scope, id_field: str | None, object_: str | None, made: str, keys: str, out: str
    ) -> None:
        code = self.code
        key = code.name("key")
        path = each.key or each.group
        if path is not None:
            read = self.read(path, inner).code
        elif id_field:
            inner.needs.add(id_field)
            read = f"{inner.get}({code.bind(id_field)}, ABSENT)"
        else:
            read = f"str({inner.index})"
        code.line(f"{key} = {read}")
        with code.block(f"if {key}.__class__ is not str or not {key}"):
            with code.block(f"if {key} is ABSENT or is_blank({key})"):
                message = "the source row has no key"
                code.line(f"errors.append(wrong({inner.label('key')}, DoesNotFit('key', {message!r})))")
                code.line("continue")
            code.line(f"{key} = key_text({key})")
        with code.block(f"if {key} in {keys}"):
            message = "two source rows have the same key"
            code.line(f"errors.append(wrong({inner.label('key')}, DoesNotFit('key', {message!r})))")
        code.line(f"{keys}.add({key})")
        code.line(f"{made}.append(RenderedRow({key}, {out}, {code.bind(object_)}))")

    def _scalars(
        self, rule: FieldRule, each: Each, shape: Field | None, scope: Scope, out: str, rows: str, found: Field | None
    ) -> None:
        """A list of single values, made from a list of single values or from rows."""
        code = self.code
        assert each.value is not None
        related = each.path.related
        known, needs, _, _ = self._row_fields(each)
        source, row, index, done = code.name("rows"), code.name("row"), code.name("i"), code.name("list")
        code.line(f"{source} = {rows}")
        with code.block(f"if {source} is not ABSENT"):
            code.line(f"{done} = []")
            with code.block(f"for {index}, {row} in enumerate({source})"):
                get = code.name("rget")
                code.line(f"{get} = {row}.get if {row}.__class__ is dict else absent_getter")
                slot = code.slot()
                label = scope.label(rule.name)
                inner = Scope(
                    get,
                    row,
                    known,
                    needs,
                    lambda _: label,
                    of=related or each.path.name,
                    index=index,
                    slot=slot,
                    inner=True,
                )
                if each.when is not None:
                    with code.block(f"if not {self.condition(each.when, inner)}"):
                        code.line("continue")
                value = each.value
                # `from: row` is the scalar itself: it has the list's own type.
                if found is not None and value.as_ is None and found.type is not FieldType.ROWS:
                    value = replace(value, as_=None)
                takes = shape.takes if shape is not None else "id"
                made = self.value(value, inner, takes=takes, owes=label)
                with code.block(f"if {made} is not ABSENT and not is_blank({made})"):
                    code.line(f"{done}.append({made})")
            if not self.collect:
                code.line(f"{done} = {done} or None")
                self.rendered(done, replace(shape, many=True) if shape is not None else None)
                code.line(f"{out}[{code.bind(rule.name)}] = {done}")

    def _fixed(self, rule: FieldRule, fixed: FixedRows, shape: Field | None, scope: Scope) -> None:
        code = self.code
        table, made = code.bind(rule.name), code.name("made")
        code.line(f"{made} = []")
        for place, row in enumerate(fixed.rows):
            out = code.name("out")
            code.line(f"{out} = {{}}")
            index = str(place)

            def label(name: str, index: str = index) -> str:
                return f"row_label({table}, {index}, {code.bind(name)})"

            self.fields(row, shape.rows or {} if shape else {}, replace(scope, label=label), out)
            key = code.bind(index)
            if fixed.key is not None:
                key = f"key_text({out}.get({code.bind(fixed.key)}) or {key})"
            if not self.collect:
                code.line(f"{made}.append(RenderedRow({key}, {out}))")
        if not self.collect:
            code.line(f"tables[{table}] = {made}")

    # ---- what has to be asked ahead ----

    def asks(self, node: Any) -> bool:
        """Whether a form needs references or hub tables, itself or by a `let` that it reads."""
        return any(self._asks_itself(found, set()) for found in walk(node))

    def _asks_itself(self, node: Any, seen: set[str]) -> bool:
        if isinstance(node, Ref):
            return True
        if isinstance(node, Lookup):
            table = self.tables.get(node.table)
            return table is not None and table.in_hub
        names: list[str] = []
        if isinstance(node, Path) and node.root == "let":
            names = [node.name]
        elif isinstance(node, Cel):
            names = [use.names[0] for use in uses(node.text) if use.root == "let" and use.names]
        fresh = [name for name in names if name in self.spec.let and name not in seen]
        seen.update(fresh)
        return any(self._asks_itself(below, seen) for name in fresh for below in walk(self.spec.let[name].value))


def walk(node: Any) -> Iterator[Any]:
    """A form and every form inside it."""
    if is_dataclass(node) and not isinstance(node, type):
        yield node
        for member in members_of(node):
            yield from walk(getattr(node, member.name))
    elif isinstance(node, (tuple, list)):
        for below in node:
            yield from walk(below)
    elif isinstance(node, Mapping):
        for below in node.values():
            yield from walk(below)
