"""The store of a simulator: tables with indexes, and the journal of what was committed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed write: ground truth. `before` and `after` are whole records (None: there is none)."""

    seq: int
    at: int
    actor: str
    op: str
    object: str
    id: str
    before: Row | None
    after: Row | None

    def json(self) -> dict[str, Any]:
        return asdict(self)


class Table:
    """Records of one object by id.

    Records are values: to change one, put a changed copy; the journal and the indexes share what was put. `indexed`
    fields are looked up by equality, `ordered` ones by range; `sort` turns an id into what ids are ordered by.
    """

    def __init__(
        self,
        *,
        indexed: Sequence[str] = (),
        ordered: Sequence[str] = (),
        sort: Callable[[str], Any] = str,
    ) -> None:
        self._rows: dict[str, Row] = {}
        self._sort = sort
        self._ids: list[tuple[Any, str]] = []
        self._equal: dict[str, dict[Any, dict[str, None]]] = {name: {} for name in indexed}
        self._ordered: dict[str, list[tuple[Any, Any, str]]] = {name: [] for name in ordered}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, id: str) -> bool:
        return id in self._rows

    def __iter__(self) -> Iterator[Row]:
        """All records, in the order of their ids."""
        return (self._rows[id] for _, id in self._ids)

    def get(self, id: str) -> Row | None:
        return self._rows.get(id)

    def put(self, id: str, row: Row) -> Row | None:
        """Insert or replace; returns what stood there."""
        before = self._rows.get(id)
        rank = self._sort(id)
        if before is None:
            insort(self._ids, (rank, id))
        self._rows[id] = row
        for name, by_value in self._equal.items():
            if before is None or before.get(name) != row.get(name):
                self._unindex(by_value, name, id, before)
                by_value.setdefault(_hashable(row.get(name)), {})[id] = None
        for name, line in self._ordered.items():
            if before is None or before.get(name) != row.get(name):
                self._unorder(line, name, id, rank, before)
                if row.get(name) is not None:
                    insort(line, (row[name], rank, id))
        return before

    def drop(self, id: str) -> Row | None:
        """Take out; returns what stood there."""
        before = self._rows.pop(id, None)
        if before is None:
            return None
        rank = self._sort(id)
        del self._ids[bisect_left(self._ids, (rank, id))]
        for name, by_value in self._equal.items():
            self._unindex(by_value, name, id, before)
        for name, line in self._ordered.items():
            self._unorder(line, name, id, rank, before)
        return before

    def after(self, id: str | None = None) -> Iterator[Row]:
        """Records whose id follows `id` (None: all), in the order of ids."""
        start = 0 if id is None else bisect_right(self._ids, (self._sort(id), id))
        return (self._rows[self._ids[at][1]] for at in range(start, len(self._ids)))

    def between(self, field: str, low: Any = None, high: Any = None) -> Iterator[Row]:
        """Records with low <= field < high by an ordered field, in its order, ties by id."""
        line = self._ordered[field]
        start = 0 if low is None else bisect_left(line, (low,))
        end = len(line) if high is None else bisect_left(line, (high,))
        return (self._rows[line[at][2]] for at in range(start, end))

    def equal(self, field: str, value: Any) -> list[Row]:
        """Records that carry exactly this value in an indexed field."""
        return [self._rows[id] for id in self._equal[field].get(_hashable(value), ())]

    def indexes(self, field: str) -> bool:
        return field in self._equal

    def orders(self, field: str) -> bool:
        return field in self._ordered

    def _unindex(self, by_value: dict[Any, dict[str, None]], name: str, id: str, before: Row | None) -> None:
        if before is None:
            return
        value = _hashable(before.get(name))
        ids = by_value.get(value, {})
        ids.pop(id, None)
        if not ids:
            by_value.pop(value, None)

    def _unorder(self, line: list[tuple[Any, Any, str]], name: str, id: str, rank: Any, before: Row | None) -> None:
        if before is not None and before.get(name) is not None:
            del line[bisect_left(line, (before[name], rank, id))]


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_hashable(member) for member in value)
    if isinstance(value, dict):
        return tuple(sorted((key, _hashable(member)) for key, member in value.items()))
    return value
