"""The store under attack, seen from outside: made for one run, looked into by plain SQL, dropped after."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Database:
    """The hub's store; `url` is what hub.yaml says."""

    url: str
    file: Path | None

    async def rows(self, statement: str) -> Rows:
        """What a SELECT finds, by column name; empty while the store has no tables yet."""
        return await asyncio.to_thread(self._rows, statement)

    def _rows(self, statement: str) -> Rows:
        if self.file is not None:
            if not self.file.exists():
                return []
            with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=30)) as lite:
                lite.row_factory = sqlite3.Row
                try:
                    return [dict(row) for row in lite.execute(statement).fetchall()]
                except sqlite3.OperationalError as error:
                    if "no such table" in str(error):
                        return []
                    raise
        with psycopg.connect(self.url) as server, server.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            try:
                cursor.execute(statement.encode())
            except psycopg.errors.UndefinedTable:
                return []
            return cursor.fetchall()


@contextlib.asynccontextmanager
async def database(url: str, folder: Path, keep: list[bool]) -> AsyncIterator[Database]:
    """A store of its own: a file in the run's folder for `sqlite`, a new database beside the one named for PostgreSQL.

    It is dropped with the block unless `keep` says otherwise by then.
    """
    if url.startswith("sqlite"):
        file = folder / "hub.db"
        yield Database(f"sqlite:///{file}", file)
        return
    name = f"chaos_{uuid.uuid4().hex[:12]}"
    own = make_url(url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    await asyncio.to_thread(_admin, url, f'CREATE DATABASE "{name}"')
    try:
        yield Database(own, None)
    finally:
        if not keep[-1]:
            await asyncio.to_thread(_admin, url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _admin(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(statement.encode())
