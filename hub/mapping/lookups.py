"""Lookup tables: inline and CSV ones become dictionaries at compile time; hub tables are asked for by the batch."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.domain.errors import NotFound, Problem
from hub.mapping.model import Table

ReadFile = Callable[[str], str]
"""Reads a file named beside the mapping. Raises NotFound."""

MAX_ROWS = 200_000


@dataclass(slots=True)
class LoadedTable:
    """A table that is ready: `rows` maps a key (several columns as a tuple) to a value or to a row of columns."""

    spec: Table
    rows: dict[Any, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    @property
    def in_hub(self) -> bool:
        return self.spec.table is not None

    def values(self, take: str | None) -> dict[Any, Any]:
        """Key -> value, with the column `take` picked from rows (None: the first that is no key)."""
        if not self.columns:
            return self.rows
        name = take or self.columns[0]
        return {key: row[name] for key, row in self.rows.items()} if name in self.columns else {}


def load_tables(
    tables: Mapping[str, Table], read_file: ReadFile | None, problems: list[Problem]
) -> dict[str, LoadedTable]:
    """All tables of a mapping; a file that can't be read is a problem."""
    return {name: _load(table, read_file, problems) for name, table in tables.items()}


def _load(table: Table, read_file: ReadFile | None, problems: list[Problem]) -> LoadedTable:
    if table.file is None:
        return LoadedTable(table, dict(table.values))
    if read_file is None:
        problems.append(Problem(f"`{table.file}` can't be read here.", table.place, rule="lookup-file"))
        return LoadedTable(table)
    try:
        text = read_file(table.file)
    except NotFound as error:
        problems.append(Problem(error.message, table.place, hint=error.hint, rule="lookup-file"))
        return LoadedTable(table)
    return _from_csv(table, text, problems)


def _from_csv(table: Table, text: str, problems: list[Problem]) -> LoadedTable:
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    head = [name.strip() for name in next(lines, [])]
    keys = list(table.keys) or head[:1]
    if not set(keys) <= set(head) or len(head) <= len(keys):
        problems.append(
            Problem(
                f"`{table.file}` needs the columns {', '.join(keys) or '(none)'} and at least one more.",
                table.place,
                hint=f"its first line is: {', '.join(head) or '(empty)'}",
                rule="lookup-file",
            )
        )
        return LoadedTable(table)
    columns = tuple(name for name in head if name not in keys)
    loaded = LoadedTable(table, columns=columns)
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(head, (cell.strip() for cell in cells), strict=False))
        key = tuple(row.get(name, "") for name in keys)
        named = key[0] if len(key) == 1 else key
        if named in loaded.rows:
            problems.append(Problem(f"`{table.file}` line {lines.line_num}: this key stands there twice.", table.place))
        loaded.rows[named] = {name: row.get(name) or None for name in columns}
        if len(loaded.rows) > MAX_ROWS:
            problems.append(
                Problem(f"`{table.file}` has more than {MAX_ROWS} rows.", table.place, hint="keep it in the hub")
            )
            break
    return loaded
