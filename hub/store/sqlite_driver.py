"""SQLite through aiosqlite, with one errand to the database's thread for a statement.

SQLAlchemy's adapter makes a cursor, executes, fetches and closes: four errands, each of which waits for another thread
to wake up. A batch has some thirty statements, and a webhook that becomes a write has as many. What a statement answers
is fetched whole in any case, so all four can be one.
"""

from __future__ import annotations

import collections
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_cursor
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_dbapi,
    SQLiteDialect_aiosqlite,
)
from sqlalchemy.util import EMPTY_DICT


class _Answer:
    """What a statement said of itself."""

    __slots__ = ("arraysize", "description", "lastrowid", "rowcount")

    def __init__(self, cursor: sqlite3.Cursor | None = None) -> None:
        self.description = cursor.description if cursor is not None else None
        self.rowcount = cursor.rowcount if cursor is not None else -1
        self.lastrowid = cursor.lastrowid if cursor is not None else None
        self.arraysize = 1

    def close(self) -> None:
        """The cursor was closed where it was made."""


def _errand(run: Callable[[], sqlite3.Cursor]) -> tuple[_Answer, list[Any]]:
    cursor = run()
    try:
        rows = cursor.fetchall() if cursor.description else []
        return _Answer(cursor), rows
    finally:
        cursor.close()


class _Cursor(AsyncAdapt_dbapi_cursor):
    __slots__ = ()
    _awaitable_cursor_close = False

    def __init__(self, adapt_connection: Any) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection
        self._cursor = _Answer()  # type: ignore[assignment]
        self._soft_closed_memoized = EMPTY_DICT
        self._rows = collections.deque()

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        return await self._go(lambda raw: raw.execute(operation, parameters or ()))

    async def _executemany_async(self, operation: Any, seq_of_parameters: Sequence[Any]) -> Any:
        return await self._go(lambda raw: raw.executemany(operation, seq_of_parameters))

    async def _go(self, statement: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> Any:
        connection: Any = self._connection
        async with self._adapt_connection._execute_mutex:
            answer, rows = await connection._execute(_errand, lambda: statement(connection._conn))
            self._cursor, self._rows = answer, collections.deque(rows)
            return self


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()
    _cursor_cls = _Cursor  # type: ignore[assignment]


class _Dbapi(AsyncAdapt_aiosqlite_dbapi):
    def connect(self, *arg: Any, **kw: Any) -> AsyncAdapt_aiosqlite_connection:
        return _Connection(self, super().connect(*arg, **kw)._connection)


class Dialect(SQLiteDialect_aiosqlite):
    """`sqlite+hub://`."""

    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> AsyncAdapt_aiosqlite_dbapi:
        return _Dbapi(__import__("aiosqlite"), __import__("sqlite3"))
