"""What a mapping's compilation knows and gathers, and how a path becomes the code that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hub.domain.errors import Place, Problem
from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.mapping import runtime
from hub.mapping.compile_code import Code, Slot
from hub.mapping.expressions_cel import LET, CelCompiler, cel_value, members, uses
from hub.mapping.lookups import LoadedTable
from hub.mapping.model import Cel, MappingSpec, Path
from hub.mapping.reader import nearest

ALL = "*"


@dataclass(slots=True)
class Scope:
    """Where a path without a root is read: the record at the top, the row inside `each`.

    `get` is the code of a getter (`get(name, default)`), `whole` of the map itself; `label` makes the code of a target
    field's name for messages. `of` is the relation (or table) whose rows are walked, `slot` where a row's
    getters are made.
    """

    get: str
    whole: str
    fields: Mapping[str, Field]
    needs: set[str]
    label: Callable[[str], str]
    of: str | None = None
    index: str | None = None
    rows: str | None = None
    slot: Slot | None = None
    made: dict[str, str] = field(default_factory=dict)
    inner: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """The code that reads a path, and what the schema says of the value. `many`: a list, one value a row."""

    code: str
    field: Field | None
    many: bool = False
    parsed: bool = False


@dataclass(frozen=True, slots=True)
class RefSite:
    """The references of one kind that the mapping asks for."""

    kind: str
    object: str | None
    by: str


class Build:
    """One compilation: the schemas, the code under construction, and what turns out to be needed."""

    def __init__(
        self,
        spec: MappingSpec,
        source: ObjectSchema | None,
        target: ObjectSchema | None,
        related: Mapping[str, ObjectSchema],
        tables: Mapping[str, LoadedTable],
        plugins: Mapping[str, Callable[..., Any]],
        problems: list[Problem],
        *,
        collect: bool = False,
        partial: bool = False,
        trace: bool = False,
    ) -> None:
        self.spec = spec
        self.source = source
        self.target = target
        self.related = related
        self.tables = tables
        self.plugins = plugins
        self.problems = problems
        self.collect = collect
        self.partial = partial
        self.trace = trace
        self.code = Code()
        self.cel = CelCompiler()
        self.needs: dict[str, set[str]] = {"": set(), **{name: set() for name in spec.related}}
        self.params: set[str] = set()
        self.sites: dict[RefSite, str] = {}
        self.hub_tables: dict[str, str] = {}
        self.batch_slot: Slot | None = None
        self.item_slot: Slot | None = None
        self.let_slot: Slot | None = None
        self.lets: dict[str, Read] = {}
        self.open_lets: list[str] = []
        self.top = Scope(
            "get", "rec", source.fields if source else {}, self.needs[""], lambda name: self.code.bind(name)
        )
        self._relations: dict[str, str] = {}
        self._depth = 0

    # ---- problems ----

    def wrong(self, message: str, place: Place, hint: str | None = None, rule: str = "compile") -> None:
        problem = Problem(message, place, hint=hint, rule=rule)
        if problem not in self.problems:
            self.problems.append(problem)

    # ---- paths ----

    def read(self, path: Path, scope: Scope) -> Read:
        """The code of a path's value; ABSENT where it was not read."""
        match path.root:
            case "scope":
                return self._field(path.name, scope)
            case "record":
                return self._field(path.name, self.top) if path.name else Read("rec", None)
            case "row":
                return self._row(path, scope)
            case "rows":
                return self._rows(path, scope)
            case "let":
                return self._let(path, scope)
            case "param":
                self.params.add(path.name)
                return Read(f"param(params, {self.code.bind(path.name)})", None, parsed=True)
            case "related":
                return self._related(path, scope)

    def _field(self, name: str, scope: Scope) -> Read:
        table, _, member = name.partition(".")
        rows = scope.fields.get(table)
        if member and name not in scope.fields and rows is not None and rows.type is FieldType.ROWS:
            scope.needs.add(table)
            code = f"column(rows_of({scope.get}({self.code.bind(table)}, ABSENT)), {self.code.bind(member)})"
            return Read(code, (rows.rows or {}).get(member), many=True)
        scope.needs.add(name)
        return Read(f"{scope.get}({self.code.bind(name)}, ABSENT)", scope.fields.get(name))

    def _row(self, path: Path, scope: Scope) -> Read:
        if not scope.inner:
            self.wrong(f"`{path.text}`: there is no row here.", path.place, "rows are inside `each`", "scope")
            return Read("ABSENT", None)
        return self._field(path.name, scope) if path.name else Read(scope.whole, None)

    def _rows(self, path: Path, scope: Scope) -> Read:
        if scope.rows is None:
            self.wrong(f"`{path.text}`: there is no group here.", path.place, "`rows` are those of a `group`", "scope")
            return Read("ABSENT", None)
        if not path.name:
            return Read(scope.rows, None, many=True)
        scope.needs.add(path.name)
        return Read(f"column({scope.rows}, {self.code.bind(path.name)})", scope.fields.get(path.name), many=True)

    def _let(self, path: Path, scope: Scope) -> Read:
        name = path.name.partition(".")[0]
        if name in self.open_lets:
            self.wrong(f"`let.{name}` goes round in a circle.", path.place, rule="cycle")
            return Read("ABSENT", None)
        if name not in self.spec.let:
            hint = nearest(name, self.spec.let)
            self.wrong(f"There is no `let.{name}`.", path.place, hint, "unknown-name")
            return Read("ABSENT", None)
        return self.let(name, scope)

    def let(self, name: str, scope: Scope) -> Read:
        """A named value; its code is written where all fields can see it, the first time that it is asked for."""
        raise NotImplementedError

    def _related(self, path: Path, scope: Scope) -> Read:
        name = path.related or ""
        relation = self.spec.related[name]
        self.needs[name].add(path.name or ALL)
        schema = self.related.get(name)
        found = schema.fields.get(path.name) if schema else None
        if relation.many:
            rows = self.relation(name)
            if not path.name:
                return Read(rows, None, many=True)
            return Read(f"column({rows}, {self.code.bind(path.name)})", found, many=True)
        getter = self.getter(name, scope, path.place)
        if not path.name:
            return Read(f"whole({getter})", None)
        return Read(f"{getter}({self.code.bind(path.name)}, ABSENT)", found)

    def relation(self, name: str) -> str:
        """The local name of a relation as the item holds it: rows, or a getter of one record, or a map by id."""
        if name in self._relations:
            return self._relations[name]
        relation = self.spec.related[name]
        made = self.code.name("rel")
        helper = "rows_of" if relation.many else ("by_id" if relation.of else "getter")
        assert self.item_slot is not None
        with self.code.at(self.item_slot):
            self.code.line(f"{made} = {helper}(related.get({self.code.bind(name)}, ABSENT))")
        self._relations[name] = made
        return made

    def getter(self, name: str, scope: Scope, place: Place) -> str:
        """The code of a getter into the one related record that is in scope."""
        relation = self.spec.related[name]
        if relation.of is None:
            return self.relation(name)
        holder = self.spec.related.get(relation.of)
        if holder is None or relation.id is None:
            return "absent_getter"
        inside = scope if holder.many else self.top
        if holder.many and scope.of != relation.of:
            self.wrong(
                f"`{name}` belongs to a row of `{relation.of}`.", place, f"use it in `each: {relation.of}`", "scope"
            )
            return "absent_getter"
        if name not in inside.made:
            records, made = self.relation(name), self.code.name("g")
            key = self.code.bind(relation.id.name)
            self.needs[relation.of].add(relation.id.name)
            outer = f"{scope.get}({key}, ABSENT)" if holder.many else f"{self.relation(relation.of)}({key}, ABSENT)"
            slot = inside.slot if holder.many else self.item_slot
            assert slot is not None
            with self.code.at(slot):
                self.code.line(f"{made} = member_getter({records}, {outer})")
            inside.made[name] = made
        return inside.made[name]

    # ---- conditions ----

    def condition(self, cel: Cel, scope: Scope, *, undecided: bool = True) -> str:
        """The code of a condition. In a partial record, one that reads what was not given is `undecided`."""
        try:
            test = self.cel.condition(cel.text)
        except ValueError as error:
            self.wrong(f"This is not CEL: {error}.", cel.place, rule="cel")
            return "True"
        variables = self.variables(cel, scope)
        if self.partial:
            return f"decided({self.code.bind(test)}, {variables}, {undecided})"
        return f"{self.code.bind(test)}({variables})"

    def variables(self, cel: Cel, scope: Scope) -> str:
        """The code of what CEL is given: no more than the expression reads.

        What was not read is null to it, as a whole read would have it; in a partial record it is ABSENT, and taken out.
        """
        tree: dict[str, Any] = {}
        for use in uses(cel.text):
            if use.root == "row" and not scope.inner:
                self.wrong("There is no `row` here.", cel.place, "rows are inside `each`", "scope")
            elif use.root == "let" and use.names:
                read = self._let(Path(f"let.{use.names[0]}", "let", use.names[0], cel.place), scope)
                tree.setdefault(LET, {})[use.names[0]] = self._given(read.code, f"seen({read.code})")
            elif use.root == "param" and use.names:
                self.params.add(use.names[0])
                tree.setdefault("param", {})[use.names[0]] = f"seen(param(params, {self.code.bind(use.names[0])}))"
            elif use.root in ("record", "row"):
                inside = self.top if use.root == "record" else scope
                self._use(tree.setdefault(use.root, {}), use.names, inside, cel)
        return self._display(tree)

    def _given(self, read: str, shown: str) -> str:
        return f"(ABSENT if {read} is ABSENT else {shown})" if self.partial else shown

    def _member(self, get: str, name: str, field_: Field | None) -> str:
        """The code of one field for CEL."""
        key, convert = self.code.bind(name), self.code.bind(cel_value(field_))
        return self._given(f"{get}({key}, ABSENT)", f"{convert}({get}({key}, None))")

    def _use(self, tree: dict[str, Any], names: tuple[str, ...], scope: Scope, cel: Cel) -> None:
        if not names:
            scope.needs.add(ALL)
            tree[ALL] = f"**cel_row({scope.whole}, {self.code.bind(self._converters(scope.fields))})"
            return
        head = names[0]
        relation = self.spec.related.get(head)
        if relation is not None and bool(relation.of) == scope.inner:
            self._use_related(tree, names, scope, cel)
            return
        lengths = range(len(names), 0, -1)
        flat = next((name for end in lengths if (name := ".".join(names[:end])) in scope.fields), head)
        scope.needs.add(flat)
        *above, last = flat.split(".")
        for name in above:
            below = tree.setdefault(name, {})
            tree = below if isinstance(below, dict) else {}
        tree[last] = self._member(scope.get, flat, scope.fields.get(flat))

    def _use_related(self, tree: dict[str, Any], names: tuple[str, ...], scope: Scope, cel: Cel) -> None:
        name, below = names[0], ".".join(names[1:])
        schema = self.related.get(name)
        fields = schema.fields if schema else {}
        if self.spec.related[name].many:
            wanted = [member for member in members(cel.text) if member in fields or not fields]
            self.needs[name].update(wanted)
            convert = self.code.bind(self._converters({member: fields.get(member) for member in wanted}))
            rows = self.relation(name)
            tree[name] = self._given(rows, f"cel_rows({rows}, {convert})")
            return
        getter = self.getter(name, scope, cel.place)
        if not below:
            self.needs[name].add(ALL)
            record = f"whole({getter})"
            tree[name] = self._given(record, f"cel_row({record}, {self.code.bind(self._converters(fields))})")
            return
        held = tree.setdefault(name, {})
        if isinstance(held, dict):
            flat = below if below in fields else names[1]
            self.needs[name].add(flat)
            held[flat] = self._member(getter, flat, fields.get(flat))

    def _converters(self, fields: Mapping[str, Field | None]) -> dict[str, Callable[[Any], Any]]:
        return {name: cel_value(found) for name, found in fields.items()}

    def _display(self, tree: dict[str, Any]) -> str:
        """A dict display in code; its keys are bound."""
        parts = [
            below
            if name == ALL
            else f"{self.code.bind(name)}: {self._display(below) if isinstance(below, dict) else below}"
            for name, below in tree.items()
        ]
        return "{" + ", ".join(parts) + "}"

    # ---- what a batch brings ----

    def site(self, kind: str, object_: str | None, by: str) -> str:
        """The local name of the answers to one kind of reference."""
        site = RefSite(kind, object_, by)
        if site not in self.sites:
            self.sites[site] = self.code.name("refs")
        return self.sites[site]

    def hub_table(self, table: str) -> str:
        """The local name of a hub table's rows."""
        if table not in self.hub_tables:
            self.hub_tables[table] = self.code.name("table")
        return self.hub_tables[table]

    @contextmanager
    def opened(self, name: str) -> Iterator[None]:
        """While a let's own code is written."""
        self.open_lets.append(name)
        yield
        self.open_lets.pop()

    def bind_runtime(self) -> None:
        """Make what generated code calls visible to it."""
        self.code.offer(runtime.NAMES)


def single(field_: Field) -> Field:
    """The field of one member of a list."""
    return replace(field_, many=False) if field_.many else field_
