"""Many rows at once: how every hot path talks to both databases.

One statement, one round trip, any number of rows. SQLite takes them as one JSON text: as fast as `executemany`, and
the interpreter is free meanwhile, which executemany takes and gives back for every row. PostgreSQL takes an array for
each column, `unnest`ed on the server, sent as literals, because joining text is three times as fast as having the
driver adapt every value. Nothing but names of our own tables and columns is put into SQL text; values never are.

Text is kept alike on both: PostgreSQL can't store U+0000 and neither can store lone surrogates, so they become U+2400
and `?`; one poisonous value must not stop the batch that it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Delete,
    Integer,
    LargeBinary,
    Row,
    Select,
    SmallInteger,
    Table,
    Text,
    Update,
    bindparam,
    cast,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

Values = tuple[Any, ...]


class Memory:
    """What bulk statements remember of one database: how they were compiled, and how much each table has grown."""

    def __init__(self) -> None:
        self.statements: dict[Values, _Statement] = {}
        self._added: dict[str, int] = {}
        self._stale_at: dict[str, int] = {}

    def added(self, table: str, count: int) -> None:
        """So many rows were inserted."""
        self._added[table] = self._added.get(table, 0) + count

    def take_stale(self) -> dict[str, int]:
        """Tables to which this process has added as many rows again since they were last named here, and how many in
        all: the planner's picture of them may be out of date.
        """
        stale = {name: count for name, count in self._added.items() if count >= self._stale_at.get(name, _STALE)}
        self._stale_at.update({name: 2 * count for name, count in stale.items()})
        return stale


_STALE = 2000  # rows added to a table before its statistics are taken for the first time


async def insert(
    conn: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[Values], *, ignore: bool = False
) -> int:
    """Add `rows` (tuples in the order of `columns`); `ignore` leaves out those that a unique key refuses.

    Returns how many were added.
    """
    tail = " ON CONFLICT DO NOTHING" if ignore else ""
    return await _run(
        conn, ("insert", table.name, tuple(columns), tail), lambda: _insert(conn, table, columns, tail), rows
    )


async def upsert(
    conn: AsyncConnection,
    table: Table,
    key: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Values],
    *,
    sets: Mapping[str, str] | None = None,
) -> int:
    """Add `rows`, or change the other columns of those whose `key` is there already. `columns` include the key.

    `sets` replaces what is assigned on conflict: column -> SQL, with `excluded.x` for the new value and the table's
    name for the old (`{"copies": '"inbox"."copies" + 1'}`); then the keys of `rows` must be distinct. Else, of rows
    with the same key the last one wins.
    """
    assign = sets if sets is not None else {name: f'excluded."{name}"' for name in columns if name not in key}
    action = (
        "DO UPDATE SET " + ", ".join(f'"{name}" = {value}' for name, value in assign.items())
        if assign
        else "DO NOTHING"
    )
    tail = f" ON CONFLICT ({_names(key)}) {action}"
    if conn.dialect.name == "postgresql" and sets is None:
        rows = _last(rows, [columns.index(name) for name in key])
    return await _run(
        conn, ("insert", table.name, tuple(columns), tail), lambda: _insert(conn, table, columns, tail), rows
    )


async def update(
    conn: AsyncConnection,
    table: Table,
    key: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Values],
    *,
    alike: Mapping[str, Any] | None = None,
    sets: Mapping[str, str] | None = None,
) -> int:
    """Change `columns` of the rows with `key`; each row holds the values of the columns, then of the key.

    `alike` are columns that become the same in all rows (column -> value), `sets` columns that are made from others
    (column -> SQL). No part of a key is null. Returns how many rows were changed. Of rows with the same key the last
    one wins.
    """
    alike, sets = alike or {}, sets or {}

    def compile_() -> _Statement:
        types = [_type(table, name) for name in (*columns, *key)]
        mark = "?" if conn.dialect.name == "sqlite" else "%s"
        assign = [f'"{name}" = {mark}' for name in alike]
        assign += [f'"{name}" = {value}' for name, value in sets.items()]
        assign += [f'"{name}" = v.c{at}' for at, name in enumerate(columns)]
        where = " AND ".join(f'"{table.name}"."{name}" = v.c{at}' for at, name in enumerate(key, len(columns)))
        given = _rows_of(conn.dialect.name, types)
        return _Statement(f'UPDATE "{table.name}" SET {", ".join(assign)} FROM {given} WHERE {where}', types)  # noqa: S608

    rows = _last(rows, list(range(len(columns), len(columns) + len(key))))
    name = ("update", table.name, tuple(columns), tuple(key), tuple(alike), tuple(sets.items()))
    return await _run(conn, name, compile_, rows, tuple(alike.values()))


async def delete(conn: AsyncConnection, table: Table, key: Sequence[str], rows: Sequence[Values]) -> int:
    """Remove the rows with `key` (tuples in the order of `key`). Returns how many there were."""

    def compile_() -> _Statement:
        types = [_type(table, name) for name in key]
        given = f"SELECT {', '.join(f'v.c{at}' for at in range(len(types)))} FROM {_rows_of(conn.dialect.name, types)}"  # noqa: S608
        return _Statement(f'DELETE FROM "{table.name}" WHERE ({_names(key)}) IN ({given})', types)  # noqa: S608

    return await _run(conn, ("delete", table.name, tuple(key)), compile_, rows)


async def fetch(
    conn: AsyncConnection, statement: Select[*tuple[Any, ...]], column: ColumnElement[Any], values: Collection[Any]
) -> list[Row[*tuple[Any, ...]]]:
    """`statement`, restricted to rows whose `column` is one of `values` (any number of them; none gives none)."""
    if not values:
        return []
    among, given = _among(conn, column, values)
    return list((await conn.execute(statement.where(among), given)).all())


async def fetch_pairs(
    conn: AsyncConnection,
    statement: Select[*tuple[Any, ...]],
    first: ColumnElement[Any],
    second: ColumnElement[Any],
    pairs: Collection[tuple[Any, Any]],
) -> list[Row[*tuple[Any, ...]]]:
    """`statement`, restricted to rows whose (`first`, `second`) is one of `pairs`."""
    if not pairs:
        return []
    if conn.dialect.name == "sqlite":
        listed = func.json_each(bindparam("bulk_pairs", type_=Text)).table_valued("value")
        halves = select(func.json_extract(listed.c.value, "$[0]"), func.json_extract(listed.c.value, "$[1]"))
        given = {"bulk_pairs": _json(pairs)}
    else:
        arrays = (_array_of(first, "bulk_0"), _array_of(second, "bulk_1"))
        listed = func.unnest(*arrays).table_valued("a", "b", name="pairs").render_derived()
        halves = select(listed.c.a, listed.c.b)
        given = {
            "bulk_0": _array(_sql_type(first.type), [pair[0] for pair in pairs]),
            "bulk_1": _array(_sql_type(second.type), [pair[1] for pair in pairs]),
        }
    return list((await conn.execute(statement.where(tuple_(first, second).in_(halves)), given)).all())


async def change(
    conn: AsyncConnection, statement: Update | Delete, column: ColumnElement[Any], values: Collection[Any]
) -> int:
    """Run an UPDATE or DELETE on the rows whose `column` is one of `values`. Returns how many it touched."""
    if not values:
        return 0
    among, given = _among(conn, column, values)
    return (await conn.execute(statement.where(among), given)).rowcount


def _among(
    conn: AsyncConnection, column: ColumnElement[Any], values: Collection[Any]
) -> tuple[ColumnElement[bool], dict[str, Any]]:
    """The condition `column` IN `values`, and its parameter: one, however many values there are."""
    if conn.dialect.name == "sqlite":
        listed = func.json_each(bindparam("bulk_values", type_=Text)).table_valued("value")
        return column.in_(select(listed.c.value)), {"bulk_values": _json(values)}
    # Joined, not '= ANY(array)': a planner that knows nothing of the table yet compares every row with every value.
    given = {"bulk_values": _array(_sql_type(column.type), list(values))}
    listed = func.unnest(_array_of(column, "bulk_values")).table_valued("a", name="listed").render_derived()
    return column.in_(select(listed.c.a)), given


def _array_of(column: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """A parameter that takes an array literal for `column`."""
    return cast(bindparam(name, type_=Text), ARRAY(column.type))


def clean(value: str) -> str:
    """`value` as both databases can keep it."""
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "␀").encode("utf-8", "replace").decode()


class _Statement:
    """A compiled statement and the SQL types of its parameters, in order.

    `one_by_one` takes the rows as tuples: for bytes that are no text, which JSON can't carry.
    """

    __slots__ = ("blobs", "one_by_one", "sql", "texts", "types")

    def __init__(self, sql: str, types: list[str], one_by_one: str = "") -> None:
        self.sql = sql
        self.types = types
        self.one_by_one = one_by_one
        self.blobs = [at for at, name in enumerate(types) if name == "bytea"]
        self.texts = [at for at, name in enumerate(types) if name == "text"]


async def _run(
    conn: AsyncConnection,
    name: Values,
    compile_: Callable[[], _Statement],
    rows: Sequence[Values],
    before: Values = (),
) -> int:
    """Run the statement of that name with `rows`; `before` are the parameters that stand in front of them."""
    if not rows:
        return 0
    memory: Memory = conn.sync_connection.get_execution_options()["bulk"]  # type: ignore[union-attr]
    statement = memory.statements.get(name)
    if statement is None:
        statement = memory.statements[name] = compile_()
    if conn.dialect.name == "sqlite":
        texts = _bytes_as_text(rows, statement.blobs)
        if texts is None:
            result = await conn.exec_driver_sql(statement.one_by_one, _cleaned(rows, statement.texts))
        else:
            result = await conn.exec_driver_sql(statement.sql, (*before, _json(texts)))
    else:
        arrays = tuple(
            _array(kind, column) for kind, column in zip(statement.types, zip(*rows, strict=True), strict=True)
        )
        result = await conn.exec_driver_sql(statement.sql, (*before, *arrays))
    count = max(result.rowcount, 0)
    if name[0] == "insert":
        memory.added(name[1], count)
    return count


def _insert(conn: AsyncConnection, table: Table, columns: Sequence[str], tail: str) -> _Statement:
    types = [_type(table, name) for name in columns]
    head = f'INSERT INTO "{table.name}" ({_names(columns)})'
    # `WHERE true`: without it SQLite takes ON CONFLICT for the beginning of a join.
    sql = f"{head} SELECT * FROM {_rows_of(conn.dialect.name, types)} WHERE true{tail}"  # noqa: S608
    return _Statement(sql, types, f"{head} VALUES ({', '.join('?' * len(columns))}){tail}")


def _rows_of(dialect: str, types: Sequence[str]) -> str:
    """The parameter as rows `v(c0, c1, ...)`."""
    if dialect == "sqlite":
        values = [f"json_extract(value, '$[{at}]')" for at in range(len(types))]
        values = [f"CAST({one} AS BLOB)" if kind == "bytea" else one for one, kind in zip(values, types, strict=True)]
        columns = ", ".join(f"{one} AS c{at}" for at, one in enumerate(values))
        return f"(SELECT {columns} FROM json_each(?)) AS v"  # noqa: S608
    arrays = ", ".join(f"%s::{name}[]" for name in types)
    return f"unnest({arrays}) AS v({', '.join(f'c{at}' for at in range(len(types)))})"


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _type(table: Table, column: str) -> str:
    return _sql_type(table.c[column].type)


def _sql_type(kind: TypeEngine[Any]) -> str:
    for known, name in _TYPES:
        if isinstance(kind, known):
            return name
    raise TypeError(f"bulk statements don't know the type {kind!r}")


# Ordered: the wider integers are subclasses of Integer.
_TYPES: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
    (BigInteger, "bigint"),
    (SmallInteger, "smallint"),
    (Integer, "integer"),
    (Boolean, "boolean"),
    (LargeBinary, "bytea"),
    (Text, "text"),
)


def _array(kind: str, column: Sequence[Any]) -> str:
    if kind == "text":
        literal = "{" + ",".join(["NULL" if value is None else _quoted(value) for value in column]) + "}"
        return literal if literal.isascii() and "\0" not in literal else clean(literal)
    if kind == "bytea":
        return "{" + ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in column]) + "}"
    return "{" + ",".join(["NULL" if value is None else str(value) for value in column]) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _bytes_as_text(rows: Sequence[Values], blobs: Sequence[int]) -> Sequence[Values] | None:
    """`rows` with their bytes as text; None where bytes are no text that JSON keeps as it is."""
    if not blobs:
        return rows
    try:
        texts = [tuple([value.decode() if at in blobs else value for at, value in enumerate(row)]) for row in rows]
    except UnicodeDecodeError:
        return None
    return None if any("\0" in row[at] for row in texts for at in blobs) else texts


def _cleaned(rows: Sequence[Values], texts: Sequence[int]) -> Sequence[Values]:
    """`rows`, cleaned if one of them needs it: looked at in one piece, because it almost never does."""
    whole = "".join([row[at] for row in rows for at in texts if row[at] is not None])
    if "\0" not in whole and (whole.isascii() or _is_utf8(whole)):
        return rows if isinstance(rows, list) else list(rows)
    return [tuple([_plain(value) for value in row]) for row in rows]


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _last(rows: Sequence[Values], key: Sequence[int]) -> Sequence[Values]:
    """`rows` without those that a later one replaces; PostgreSQL refuses to change a row twice in one statement."""
    if len(key) == 1:
        at = key[0]
        return list({row[at]: row for row in rows}.values())
    return list({tuple([row[at] for at in key]): row for row in rows}.values())


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(member) for member in value]
    return clean(value) if isinstance(value, str) else value


def _json(values: Iterable[Any]) -> str:
    """As one JSON text, cleaned if a value needs it: looked at in one piece, because it almost never does."""
    listed = list(values)
    try:
        text = orjson.dumps(listed)
    except TypeError:  # a lone surrogate
        text = b"\\u0000"
    if b"\\u0000" in text:
        text = orjson.dumps([_plain(value) for value in listed])
    return text.decode()
