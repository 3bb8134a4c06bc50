"""Lookup tables that are kept in the hub: looked at, filled, and what waits for their rows set going."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pydantic import Field

from hub.domain.errors import HubError, InvalidInput, NotFound, Problem
from hub.mapping.reader import nearest
from hub.runtime.operations.operation import Act, AnyOperation, Call, Operation, Params, Result
from hub.runtime.settings import Role
from hub.store import lookups

Value = str | int | bool | None
MAX_ROWS = 100_000


class ListParams(Params):
    pass


class ShowParams(Params):
    table: str = Field(min_length=1, description="The table's name.")
    after: list[str] | None = Field(default=None, description="Go on after this key (from `next`).")
    limit: int = Field(default=1000, ge=1, le=10_000, description="Rows a page.")


class Row(Params):
    """One row: its key, a text for each key column, and a value or several columns of values."""

    key: list[str] = Field(min_length=1, max_length=8)
    value: Value | dict[str, Value]


class SetParams(Act):
    table: str = Field(min_length=1, description="The table's name.")
    rows: list[Row] = Field(max_length=MAX_ROWS, description="Rows to add or change.")
    replace: bool = Field(default=False, description="Take out every row that is not among these.")


class RemoveParams(Act):
    table: str = Field(min_length=1, description="The table's name.")
    keys: list[list[str]] = Field(min_length=1, max_length=MAX_ROWS, description="Keys of the rows to take out.")


class TableRow(Result):
    """A table: how many rows it has, its key columns, the flows whose mappings use it, how many rows are waited for."""

    table: str
    rows: int
    keys: list[str]
    flows: list[str]
    wanted: int


class Tables(Result):
    items: list[TableRow]


class ShownRow(Result):
    key: list[str]
    value: Value | dict[str, Value]


class WantedRow(Result):
    key: list[str]
    deliveries: int


class Shown(Result):
    """A page of a table; `wanted` are the rows that it lacks; `next` is None on the last page."""

    table: str
    keys: list[str]
    rows: list[ShownRow]
    wanted: list[WantedRow]
    next: list[str] | None


class Changed(Result):
    """How many rows changed or went, and how many deliveries that waited for them are due now."""

    changed: int
    removed: int
    woken: int


async def _list(call: Call, params: ListParams) -> Tables:
    rows, used, wanted = await lookups.tables(call.hub.store), _used(call), await lookups.wanted(call.hub.store)
    names = sorted({*rows, *(used or {}), *wanted})
    return Tables(
        items=[
            TableRow(
                table=name,
                rows=rows.get(name, 0),
                keys=list((used or {}).get(name, ((), []))[0]),
                flows=(used or {}).get(name, ((), []))[1],
                wanted=len(wanted.get(name, [])),
            )
            for name in names
        ]
    )


async def _show(call: Call, params: ShowParams) -> Shown:
    keys = await _keys(call, params.table)
    every = await lookups.load(call.hub.store, params.table)
    wanted = (await lookups.wanted(call.hub.store, params.table)).get(params.table, [])
    after = None if params.after is None else lookups.encode(params.after)
    left = [(key, value) for key, value in every.items() if after is None or lookups.encode(key) > after]
    page = left[: params.limit]
    return Shown(
        table=params.table,
        keys=list(keys or ()),
        rows=[ShownRow(key=list(key), value=value) for key, value in page],
        wanted=[WantedRow(key=list(one.key), deliveries=one.deliveries) for one in wanted],
        next=list(page[-1][0]) if len(left) > len(page) else None,
    )


async def _set(call: Call, params: SetParams) -> Changed:
    keys = await _keys(call, params.table)
    _fits(params.table, keys, [row.key for row in params.rows])
    if params.replace and not params.rows:
        raise InvalidInput(f"This would take every row out of {params.table}.", hint="name rows, or remove them by key")
    twice = [key for key, count in Counter(tuple(row.key) for row in params.rows).items() if count > 1]
    if twice:
        named = "; ".join(" ".join(key) for key in twice[:5])
        raise InvalidInput(f"Two rows have the same key: {named}. Nothing was changed.", hint="keep one of them")
    values = {tuple(row.key): row.value for row in params.rows}
    added = await lookups.add(call.hub.store, params.table, values, replace=params.replace)
    call.hub.signals.wake(*call.hub.config.flows)
    return Changed(changed=added.changed, removed=added.removed, woken=added.woken)


async def _remove(call: Call, params: RemoveParams) -> Changed:
    keys = await _keys(call, params.table)
    _fits(params.table, keys, params.keys)
    async with call.hub.store.begin() as conn:
        asked = [(params.table, tuple(key)) for key in params.keys]
        there = await lookups.rows(conn, asked)
        lacking = [key for key in asked if key not in there]
        if lacking:
            named = ", ".join(" ".join(key) for _, key in lacking[:5])
            raise NotFound(f"{params.table} has no row {named}; nothing was removed.", hint=_look(params.table))
        removed = await lookups.remove(conn, params.table, [tuple(key) for key in params.keys])
    return Changed(changed=0, removed=removed, woken=0)


def _used(call: Call) -> dict[str, tuple[tuple[str, ...], list[str]]] | None:
    """The tables that mappings use: key columns and flows; None while the mappings can't be read."""
    try:
        specs = call.hub.project.mappings()
    except HubError:
        return None
    found: dict[str, tuple[tuple[str, ...], list[str]]] = {}
    for flow, spec in specs.items():
        for table in spec.lookups.values():
            if table.table is not None:
                found.setdefault(table.table, (table.keys, []))[1].append(flow)
    return found


async def _keys(call: Call, table: str) -> tuple[str, ...] | None:
    """The table's key columns; None when no mapping says. Raises NotFound for one that nobody speaks of."""
    used = _used(call)
    if used is not None and table in used:
        return used[table][0]
    known: Mapping[str, int] = await lookups.tables(call.hub.store)
    if used is None or table in known:
        return None
    hint = (
        nearest(table, {*used, *known}) or f"a mapping names it: `lookups: {{{table}: {{table: {table}, keys: […]}}}}`"
    )
    raise NotFound(f"There is no lookup table `{table}`: it has no rows, and no mapping uses it.", hint=hint)


def _fits(table: str, keys: tuple[str, ...] | None, given: list[list[str]]) -> None:
    if keys is None:
        return
    wrong = [
        Problem(f"{' '.join(key) or '(nothing)'}: {table} has the key {', '.join(keys)}, and {len(key)} are given")
        for key in given
        if len(key) != len(keys)
    ]
    if wrong:
        raise InvalidInput(f"{len(wrong)} keys don't fit the table {table}.", wrong[:50])


def _look(table: str) -> str:
    return f"`hub tables show {table}` lists them"


OPERATIONS: list[AnyOperation] = [
    Operation(
        "tables.list", "Lookup tables, and how many rows are waited for.", ListParams, Tables, Role.VIEWER, _list
    ),
    Operation("tables.show", "The rows of a lookup table, and those it lacks.", ShowParams, Shown, Role.VIEWER, _show),
    Operation(
        "tables.set", "Add or change rows; what waits wakes.", SetParams, Changed, Role.OPERATOR, _set, acts=True
    ),
    Operation("tables.remove", "Take rows out.", RemoveParams, Changed, Role.OPERATOR, _remove, acts=True),
]
