"""What a system says of its objects: fields with their types, and the facts that the hub must respect."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class FieldType(StrEnum):
    """The closed list of types; `rows` is a table inside a record, with a schema of its own."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MONEY = "money"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    TIME = "time"
    PHONE = "phone"
    EMAIL = "email"
    URL = "url"
    ENUM = "enum"
    REFERENCE = "reference"
    FILE = "file"
    JSON = "json"
    ROWS = "rows"


class Wire(StrEnum):
    """How a value is written in a system's own shape, where its type leaves a choice."""

    PLAIN = "plain"  # text as text, integers as integers, booleans as booleans, decimals as decimal text
    EPOCH_MS = "epoch_ms"  # date, datetime: milliseconds since 1970 (a date: midnight in the field's zone)
    DAY_MS = "day_ms"  # time: milliseconds since midnight
    ISO = "iso"  # '2026-01-06', '2026-01-06T10:20:30+08:00' or 'Z'
    LOCAL = "local"  # '2026-01-06T10:20:30.53' or with a blank, in the field's zone, without offset
    ZERO_ONE = "zero_one"  # boolean: '0' and '1'
    AB = "ab"  # boolean: 'A' is false, 'B' is true (Kingdee's flags)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object.

    `many` says that the value is a list of `type`. `scale` counts decimal places, `length` characters.
    `options` maps an enum's value to its label. `reference` names the object a reference points at, `takes`
    the key by which it is written (`id`, or `number` for a Kingdee `X.FNumber`). `rows` holds the fields of
    a table, `row_key` the field with the row's id. `trims` tells that the system strips blanks; a blank text equals
    null everywhere. `computed` fields are never written and never compared.
    """

    name: str
    type: FieldType = FieldType.TEXT
    label: str = ""
    required: bool = False
    readonly: bool = False
    computed: bool = False
    create_only: bool = False
    unique: bool = False
    many: bool = False
    personal: bool = False
    wire: Wire = Wire.PLAIN
    tz: str = "UTC"
    length: int | None = None
    scale: int | None = None
    options: dict[str, str] | None = None
    reference: str | None = None
    takes: str = "id"
    rows: dict[str, Field] | None = None
    row_key: str | None = None
    row_object: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What can be done with one object. Batch sizes are records a call."""

    read_modified: bool = True
    read_full: bool = True
    sees_deletes: bool = False
    create: bool = False
    update: bool = False
    delete: bool = False
    operations: frozenset[str] = frozenset()
    steps: tuple[str, ...] = ()  # what may follow a write: ('submit', 'audit')
    upsert_key: str | None = None
    stamp_field: str | None = None  # where the hub's key is kept, so that a probe finds it
    webhooks: bool = False
    files: bool = False
    write_batch: int = 1
    get_batch: int = 100
    find_batch: int = 50


@dataclass(frozen=True, slots=True)
class Facts:
    """What the vendor's documents say and no describe call does.

    `settles_within`: seconds after which an unanswered write has either happened and can be found, or never will.
    `repeats_within`: of an object that can't be looked up (a message): seconds within which the system does the same
    create once, however often it is sent; 0: it keeps no account of it. None: an unanswered create is looked for.
    `together`: groups of fields that must travel in one write. `order`: fields that the vendor wants first, in turn.
    `usable_states`: values of `state_field` in which other systems' records may refer to this one.
    """

    settles_within: float = 30.0
    repeats_within: float | None = None
    together: tuple[frozenset[str], ...] = ()
    order: tuple[str, ...] = ()
    state_field: str | None = None
    locked_states: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ObjectSchema:
    """An object as the hub knows it; `origin` is `live`, `catalogue` or `snapshot`."""

    name: str
    label: str
    id_field: str
    fields: dict[str, Field]
    title_field: str | None = None
    number_field: str | None = None
    modified_field: str | None = None
    version_field: str | None = None
    master: str | None = None  # for an object whose records are rows of another: the master's object
    master_field: str | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)
    facts: Facts = field(default_factory=Facts)
    origin: str = "catalogue"
