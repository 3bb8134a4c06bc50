"""The mapping as a tree of typed, immutable nodes: every form of the language, each with its place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from hub.domain.errors import Place
from hub.mapping.names import Alias, Names

Constant: TypeAlias = "str | int | bool | Decimal | None"
Root: TypeAlias = Literal["scope", "record", "row", "rows", "let", "param", "related"]


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value is read.

    `root` tells from what: `record`, `row`, `let`, `param`, `rows` (the rows of a group), `related` (then `related` is
    its name), or `scope`: the record at the top, the row inside `each`. `name` is the flat field name below it
    (`FCustId.FNumber`); empty for the root itself. A per-row relation is `row.product.name`: root `related`, related
    `product`.
    """

    text: str
    root: Root
    name: str
    place: Place
    related: str | None = None


@dataclass(frozen=True, slots=True)
class Cel:
    """An expression in CEL; it sees `record`, `row`, `let` and `param`."""

    text: str
    place: Place


# ---- where a value starts --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class From:
    """The value of a path; of several paths where a lookup has several keys."""

    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The first that is not empty."""

    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """Several values as one text; empty ones are left out."""

    values: tuple[Expr, ...]
    separator: str


@dataclass(frozen=True, slots=True)
class Text:
    """A template: literal pieces, and paths with a number or date format (`,.2f`, `yyyy-MM-dd`) or none."""

    parts: tuple[str | TextPart, ...]


@dataclass(frozen=True, slots=True)
class TextPart:
    path: Path
    format: str


@dataclass(frozen=True, slots=True)
class Const:
    value: Constant | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Param:
    """A constant that differs by environment; from `params:` of `hub.yaml`."""

    name: str


@dataclass(frozen=True, slots=True)
class CelValue:
    cel: Cel


@dataclass(frozen=True, slots=True)
class Call:
    """A plug-in's function (`package.function`, entry-point group `crm_hub.functions`) with its arguments."""

    function: str
    arguments: tuple[Expr, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`sum`, `min`, `max`, `count`, `first` or `last` over a column of rows (`lines.subtotal`; `lines` to count)."""

    function: str
    path: Path


@dataclass(frozen=True, slots=True)
class Apportion:
    """A total shared over rows in proportion to a column: one value a row, the remainder of rounding to the largest."""

    total: Path
    over: Path
    scale: int


@dataclass(frozen=True, slots=True)
class RunningNumber:
    """A number that the hub draws (`C{yyMM}{0000}`)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Calc:
    """Exact decimal arithmetic over paths; `value` is what the steps before it gave."""

    text: str
    place: Place


Origin: TypeAlias = (
    "From | FirstOf | Join | Text | Const | Param | CelValue | Call | Aggregate | Apportion | RunningNumber"
)


@dataclass(frozen=True, slots=True)
class Lookup:
    """The table's name, and which column is taken from a hub table's row."""

    table: str
    take: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to an entity of `kind`, found by `by` in the source system.

    It is written as `take`; None: what the target field takes.
    """

    kind: str
    place: Place
    take: str | None = None
    by: str = "id"
    facet: Expr | None = None
    optional: bool = False
    wait: int | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Expr:
    """A value: where it starts, and the steps that follow in the language's one order.

    `origin` None means that it starts with `calc`. `as_` is the type the value is read as; None: what the source's
    schema says. A member that is None or empty is a step that is not taken. `null` is `clear`, `keep` or None (the
    mapping's default). `on_error` is what stands in for a value that does not fit; None: the record fails.
    """

    place: Place
    origin: Origin | None = None
    if_: Cel | None = None
    trim: bool | None = None
    case: str | None = None
    split: str | None = None
    replace: Mapping[str, str] | None = None
    null: str | None = None
    default: Expr | None = None
    as_: str | None = None
    tz: str | None = None
    region: str | None = None
    calc: Calc | None = None
    multiply: Expr | None = None
    lookup: Lookup | None = None
    ref: Ref | None = None
    else_: Expr | None = None
    scale: int | None = None
    round: str | None = None
    on_error: Expr | None = None
    on: str | None = None  # create, change
    owner: str | None = None  # the system whose value counts, for a field that both directions map
    list: str | None = None  # append, replace
    places: Mapping[str, Place] = field(default_factory=dict)  # of the keys, for messages


# ---- tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Each:
    """Target rows made from source rows; with `group`, one for each distinct value; with `value`, a list of scalars."""

    path: Path
    place: Place
    fields: Mapping[str, FieldRule]
    key: Path | None = None
    entity: str | None = None
    when: Cel | None = None
    missing: str = "remove"  # remove, keep, hold: a row gone from the source
    foreign: str = "keep"  # keep, remove, hold: rows that the other side added
    match: tuple[str, ...] = ()  # target row fields by which rows are paired on adoption
    group: Path | None = None
    value: Expr | None = None
    list: str | None = None
    owner: str | None = None
    on: str | None = None


@dataclass(frozen=True, slots=True)
class FixedRows:
    """Rows written out in the mapping."""

    rows: tuple[Mapping[str, FieldRule], ...]
    place: Place
    key: str | None = None  # the target row field that tells them apart; None: their position
    missing: str = "remove"
    foreign: str = "keep"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One target field and what fills it. `place` is that of its name."""

    name: str
    place: Place
    rule: Expr | Each | FixedRows


# ---- around the fields -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    system: str
    object: str
    place: Place


@dataclass(frozen=True, slots=True)
class Target:
    """`create` is `always` or `never`; `id` refers to the record to write, where it is not the entity's own."""

    system: str
    object: str
    place: Place
    options: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    when_locked: str = "hold"  # hold, wait, skip, reopen
    create: str = "always"
    id: Expr | None = None


@dataclass(frozen=True, slots=True)
class Related:
    """Records that a translation takes besides its own.

    `where` maps a field of `object` to a path of the record: a list of records. `id` is the path that holds one
    record's id. With `of`, `id` is read in each row of that other relation. `wakes`: a change to one of them brings its
    record.
    """

    name: str
    object: str
    place: Place
    where: Mapping[str, Path] = field(default_factory=dict)
    id: Path | None = None
    of: str | None = None
    wakes: bool = False

    @property
    def many(self) -> bool:
        return bool(self.where)


@dataclass(frozen=True, slots=True)
class Require:
    that: Cel
    say: str
    place: Place


@dataclass(frozen=True, slots=True)
class Match:
    """Target fields that together recognise a record, each with its normaliser or None; fields that veto a hit."""

    fields: Mapping[str, str | None]
    veto: tuple[str, ...]
    place: Place
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Let:
    name: str
    place: Place
    value: Expr


@dataclass(frozen=True, slots=True)
class Action:
    """Vendor operations for a state; the first of `do` that the target's state allows."""

    if_: Cel
    do: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Leaving:
    """What happens to the target of a record that left or was deleted: `ignore`, `delete`, `set` or `do` (the first of
    these that the target's state allows).
    """

    kind: str
    place: Place | None = None
    set: Mapping[str, FieldRule] = field(default_factory=dict)
    do: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ensure:
    """What the target must say when it is read back; `within` is a tolerance."""

    field: str
    equals: Expr
    within: Decimal | None
    place: Place


@dataclass(frozen=True, slots=True)
class WriteBackValue:
    """`key`: a key of the target's record (`id`, `number`); `message`: the failure in words; `const`: as it stands."""

    kind: str
    value: Constant
    place: Place


@dataclass(frozen=True, slots=True)
class WriteBack:
    place: Place
    ok: Mapping[str, WriteBackValue] = field(default_factory=dict)
    failed: Mapping[str, WriteBackValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WhenChanges:
    """Only a change counts: of `field`, where given `from_` one of these values `to` one of these."""

    field: Path
    place: Place
    from_: tuple[Constant, ...] | None = None
    to: tuple[Constant, ...] | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Several target records of one: the rows of `rows` by the value of `by`, which becomes the facet."""

    rows: Path
    by: Path
    place: Place


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table: `values` inline, a CSV `file`, or a `table` kept in the hub with `keys`.

    `else_kind`: what a value gets that the table lacks: `error`, `keep` (the value itself) or `const`. A hub table's
    missing row waits.
    """

    name: str
    place: Place
    values: Mapping[str, Constant] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    file: str | None = None
    table: str | None = None
    keys: tuple[str, ...] = ()
    else_kind: str = "error"  # error, keep, const
    else_value: Constant = None


@dataclass(frozen=True, slots=True)
class Case:
    """A test: what is given, what is expected. Members that are None are not asked for."""

    name: str
    place: Place
    record: Mapping[str, Any]
    related: Mapping[str, Any] = field(default_factory=dict)
    ids: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Any] | None = None
    exists: bool = False
    waited: int = 0
    now: str | None = None
    expect: Any = None
    expect_only: Any = None
    expect_error: str | None = None
    expect_filtered: str | bool | None = None
    expect_waiting: tuple[str, ...] | None = None
    expect_actions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class MappingSpec:
    """A whole mapping file. `names` are the tenant's own names that were put in, `aliases` those that it uses."""

    name: str
    entity: str
    place: Place
    source: Source
    target: Target
    fields: Mapping[str, FieldRule]
    title: Expr | None = None
    related: Mapping[str, Related] = field(default_factory=dict)
    when: Cel | None = None
    when_changes: tuple[WhenChanges, ...] = ()
    require: tuple[Require, ...] = ()
    match: tuple[Match, ...] = ()
    null: str = "clear"
    let: Mapping[str, Let] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    on_leave: Leaving = Leaving("ignore")
    on_delete: Leaving = Leaving("ignore")
    on_adopt: str | None = None
    once_per: tuple[Path, ...] = ()
    split: Split | None = None
    ensure: Mapping[str, Ensure] = field(default_factory=dict)
    write_back: WriteBack | None = None
    lookups: Mapping[str, Table] = field(default_factory=dict)
    tests: tuple[Case, ...] = ()
    extends: str | None = None
    names: Names = field(default_factory=Names)
    aliases: tuple[Alias, ...] = ()
