"""What goes into a compiled mapping and what comes out: plain data, so that flows, tests, dry runs and migrations
share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from hub.domain.record import Fields, Value


@dataclass(frozen=True, slots=True)
class RefKey:
    """A reference as the source writes it: which entity of `kind` is `value` in the source system, and for which facet.

    `object` is the source object that the reference points at, where the schema tells; `by` is `id` or the name of
    another key.
    """

    kind: str
    object: str | None
    value: str
    by: str = "id"
    facet: str = ""


class RefState(StrEnum):
    FOUND = "found"
    MISSING = "missing"  # the target does not have it yet
    UNUSABLE = "unusable"  # it exists there, but is not ready (not audited, say)


@dataclass(frozen=True, slots=True)
class RefAnswer:
    """The target's side of a reference: its id and other keys (`{'number': 'C001'}`)."""

    state: RefState
    id: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableKey:
    """A row of a lookup table that is kept in the hub."""

    table: str
    key: tuple[str, ...]


@dataclass(slots=True)
class Item:
    """One source record to translate.

    `related` holds, by name: a list of field dicts (`where`), one field dict or None (`id`), or for a per-row
    relation (`of`) a dict id -> fields. `waited` is the seconds since it was captured (for `wait:`), `exists`
    whether the target has it already (for `on: create|change`), `previous` the fields of the last delivered source
    record, for `when_changes`.
    """

    id: str
    record: Fields
    related: dict[str, Any] = field(default_factory=dict)
    waited: float = 0.0
    exists: bool = False
    previous: Fields | None = None


@dataclass(slots=True)
class Context:
    """What was gathered for the batch: parameters, references, hub tables (table -> key -> row), the time in epoch
    ms.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    refs: Mapping[RefKey, RefAnswer] = field(default_factory=dict)
    tables: Mapping[str, Mapping[tuple[str, ...], Value | Mapping[str, Value]]] = field(default_factory=dict)
    now: int = 0


@dataclass(slots=True)
class Asks:
    """What a batch needs before it can be translated."""

    refs: set[RefKey] = field(default_factory=set)
    tables: set[TableKey] = field(default_factory=set)


@dataclass(slots=True)
class RenderedRow:
    """One row of a table: `key` is the source row's id under `key:`, in the source object `object`."""

    key: str
    fields: Fields
    object: str | None = None


@dataclass(frozen=True, slots=True)
class MatchKey:
    """One way to recognise the record in the target: all of `fields` equal; a hit whose `veto` fields hold another
    non-empty value is not it. `normalise` names a normaliser per field."""

    fields: Mapping[str, Value]
    veto: Mapping[str, Value] = field(default_factory=dict)
    normalise: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Rendered:
    """A record translated. `fields` are flat and in the target's own shape; a field that is absent is left alone,
    None clears.

    `owes` are target fields left out because an optional reference is missing. `actions` are the operations that the
    record's state asks for, of which the first that the target's state allows is done. `ensure` maps target
    field -> (expected value, tolerance as decimal text or None). `numbers` maps a target field to the pattern of a
    running number that the hub has to draw.
    """

    fields: Fields
    rows: dict[str, list[RenderedRow]] = field(default_factory=dict)
    match: list[MatchKey] = field(default_factory=list)
    title: str | None = None
    facet: str = ""
    target_id: RefKey | None = None
    once: str | None = None
    owes: dict[str, RefKey] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    ensure: dict[str, tuple[Value, str | None]] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Filtered:
    """The record does not travel; `rule` names the condition (`when: record.life_status == "normal"`)."""

    rule: str
    title: str | None = None


@dataclass(slots=True)
class Refused:
    """A `require:` is not satisfied; `messages` are in the words of the mapping's author."""

    messages: list[str]
    title: str | None = None


@dataclass(slots=True)
class Waiting:
    """References or table rows are missing that the record can't do without."""

    refs: list[RefKey] = field(default_factory=list)
    tables: list[TableKey] = field(default_factory=list)
    title: str | None = None


@dataclass(frozen=True, slots=True)
class FieldError:
    """A value that did not fit: the target field, the rule that failed, a sentence with the masked value."""

    field: str
    rule: str
    message: str


@dataclass(slots=True)
class Failed:
    """All that is wrong with one record at once."""

    errors: list[FieldError]
    title: str | None = None


# One result an item; a `split:` makes several Rendered of one item, one a facet.
Result: TypeAlias = "list[Rendered] | Filtered | Refused | Waiting | Failed"
