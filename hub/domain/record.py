"""A record, a change to one, and how two readings of the same record are put in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

# A value in a system's own shape: JSON without floats. Decimals are text ('1200.00'), never binary fractions.
Value: TypeAlias = "str | int | bool | list[Value] | dict[str, Value] | None"
Fields: TypeAlias = dict[str, Value]


@dataclass(slots=True)
class Record:
    """One row of an object, flat: nested members have dotted names (`FCustId.FNumber`), tables are lists of rows.

    `version` grows with each change as far as the vendor tells (a number, else None); `modified` is epoch
    milliseconds by the vendor's clock. A *whole* record holds every field that was asked for, null where empty.
    """

    object: str
    id: str
    fields: Fields
    version: int | None = None
    modified: int | None = None
    whole: bool = True


class ChangeKind(StrEnum):
    SAVED = "saved"
    DELETED = "deleted"


@dataclass(slots=True)
class Change:
    """A record created, updated or deleted, as a read saw it. A deleted one may have no fields left."""

    record: Record
    kind: ChangeKind = ChangeKind.SAVED


class Order(StrEnum):
    NEWER = "newer"
    SAME = "same"
    OLDER = "older"
    UNDECIDABLE = "undecidable"


@dataclass(frozen=True, slots=True)
class Reading:
    """When a record was read and what was seen: `[asked, answered]` in the hub's milliseconds, version, content
    hash.
    """

    asked: int
    answered: int
    version: int | None
    hash: str


def order(new: Reading, known: Reading) -> Order:
    """Tell whether `new` may replace `known`.

    The vendor's version decides where both have one and they differ; else the intervals, if they don't
    overlap. The same content is the same, whenever it was read. What overlaps with other content can't be
    decided from here, and has to be fetched again.
    """
    if new.hash == known.hash:
        return Order.SAME
    if new.version is not None and known.version is not None and new.version != known.version:
        return Order.NEWER if new.version > known.version else Order.OLDER
    if new.asked >= known.answered:
        return Order.NEWER
    if known.asked >= new.answered:
        return Order.OLDER
    return Order.UNDECIDABLE


@dataclass(slots=True)
class RowWrite:
    """One row of a table to be written: `key` is the source's row, `id` the target's if it is known."""

    key: str
    id: str | None
    fields: Fields


@dataclass(slots=True)
class RowsWrite:
    """What a write does to one table: rows to add or change, and the target's row ids to take out.

    Rows that stand in neither list stay as they are.
    """

    upsert: list[RowWrite] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
