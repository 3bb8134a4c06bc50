"""What the checker finds, and how it looks at the evidence: journals by record, values in a common form."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

from tests.chaos.evidence import Row

CHINA = timezone(timedelta(hours=8))
HUB = "api"  # whoever comes through a vendor's API in a chaos run is the hub

Values = tuple[Hashable, ...]


class Kind(StrEnum):
    """The figures that have to be zero."""

    LOST = "lost"
    DUPLICATES = "duplicates"
    STALE = "stale"
    DISORDER = "disorder"
    OVERWRITTEN = "overwritten"
    ORPHANS = "orphans"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, in words that name the record."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True, slots=True)
class Owned:
    """One field of a target that its source decides: what is due by a source record, and what a target record shows."""

    name: str
    due: Callable[[Row], Hashable]
    stands: Callable[[Row], Hashable]


class Journal:
    """The committed writes of one system, by record."""

    def __init__(self, entries: Sequence[Row]) -> None:
        self.entries = entries
        self._of: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
        for entry in entries:
            self._of[str(entry["object"]), str(entry["id"])].append(entry)

    def of(self, object: str, id: str) -> list[Row]:
        """Everything that was done to a record, in order."""
        return self._of.get((object, str(id)), [])

    def ids(self, object: str) -> list[str]:
        """All records of an object that ever were, the oldest first."""
        return [id for name, id in self._of if name == object]

    def versions(self, object: str, id: str) -> list[Row]:
        """What the record was after each write that left something."""
        return [entry["after"] for entry in self.of(object, id) if entry["after"] is not None]

    def made_by_hub(self, object: str, id: str) -> bool:
        """Whether the hub created it."""
        return next((one["actor"] == HUB for one in self.of(object, id) if one["before"] is None), False)

    def taken_out_by_person(self, object: str, id: str) -> bool:
        """Whether somebody who is not the hub deleted it in the end."""
        entries = self.of(object, id)
        return bool(entries) and entries[-1]["after"] is None and entries[-1]["actor"] != HUB

    def hub_changes(self, object: str) -> Iterator[Row]:
        """Writes of the hub to records that stood before and stand after."""
        for entry in self.entries:
            if entry["actor"] == HUB and entry["object"] == object and entry["before"] and entry["after"]:
                yield entry

    def order(self) -> dict[tuple[str, str], int]:
        """When each record came first, as a rank."""
        return {key: rank for rank, key in enumerate(self._of)}


def word(value: Any) -> str | None:
    """A text as both systems would keep it: trimmed, and nothing where it is blank."""
    text = "" if value is None else str(value).strip()
    return text or None


def number(value: Any) -> Decimal | None:
    return None if value is None or value == "" else Decimal(str(value))


def money(value: Any, places: str = "0.01") -> Decimal:
    """Rounded as people round."""
    return Decimal(str(value or 0)).quantize(Decimal(places), ROUND_HALF_UP)


def day(moment: Any) -> str | None:
    """A day in China, of epoch milliseconds or of ISO text."""
    if moment is None or moment == "":
        return None
    if isinstance(moment, str) and not moment.isdigit():
        return moment[:10]
    return datetime.fromtimestamp(int(moment) / 1000, CHINA).date().isoformat()


def by(rows: Iterable[Row], name: str) -> defaultdict[Any, list[Row]]:
    """Rows by what a field of them says; blank ones are left out."""
    found: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if (value := word(row.get(name))) is not None:
            found[value].append(row)
    return found


def differing(who: str, fields: Iterable[Owned], source: Row, target: Row) -> Iterator[Finding]:
    """The owned fields that do not say what the source's latest state asks for."""
    for field in fields:
        due, stands = field.due(source), field.stands(target)
        if due != stands:
            yield Finding(Kind.STALE, f"{who}: {field.name} is {shown(stands)} and has to be {shown(due)}")


def shown(value: Any) -> str:
    """A value in a sentence."""
    return f"{value:f}" if isinstance(value, Decimal) else repr(value)


def surplus(who: str, due: Iterable[Values], stands: Iterable[Values]) -> Iterator[Finding]:
    """Rows as multisets: what is missing, what should not stand, and what stands too often."""
    wanted, present = Counter(due), Counter(stands)
    for row, count in (wanted - present).items():
        yield Finding(Kind.STALE, f"{who}: the row {_row(row)} is missing ({count} times)")
    for row, count in (present - wanted).items():
        kind = Kind.DUPLICATES if row in wanted else Kind.STALE
        words = f"stands {present[row]} times instead of {wanted[row]}" if row in wanted else "should not stand"
        yield Finding(kind, f"{who}: the row {_row(row)} {words} ({count} too many)")


def _row(row: Values) -> str:
    return "(" + ", ".join(shown(value) for value in row) + ")"


def went_back(versions: Sequence[Hashable], written: Sequence[Hashable]) -> tuple[Hashable, Hashable] | None:
    """The first value that was written although a later version had been written before, and that later version.

    A value that comes back in the source (A, B, A) may be written again; what no version says is not put in order.
    """
    at = 0
    for value in written:
        later = next((place for place in range(at, len(versions)) if versions[place] == value), None)
        if later is not None:
            at = later
        elif value in versions[:at]:
            return value, versions[at]
    return None


def disordered(
    who: str, fields: Iterable[Owned], sources: Sequence[Row], changes: Sequence[tuple[Mapping[str, Any] | None, Row]]
) -> Iterator[Finding]:
    """Fields that the hub took back to an older version. `changes` are (before, after) of the hub's writes."""
    for field in fields:
        versions = _steps(field.due(row) for row in sources)
        written = [
            field.stands(after)
            for before, after in changes
            if before is None or field.stands(before) != field.stands(after)
        ]
        if (found := went_back(versions, written)) is not None:
            value, newer = found
            text = f"{who}: {field.name} went back to {shown(value)} after {shown(newer)}"
            yield Finding(Kind.DISORDER, text)


def _steps(values: Iterable[Hashable]) -> list[Hashable]:
    """Without repetitions of the one before."""
    steps: list[Hashable] = []
    for value in values:
        if not steps or steps[-1] != value:
            steps.append(value)
    return steps
