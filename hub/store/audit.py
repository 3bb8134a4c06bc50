"""Who did what, to what, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store.engine import Store
from hub.store.tables import audit


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    at: int
    who: str
    act: str
    subject: str
    detail: dict[str, Any] | None
    why: str | None


_COLUMNS = tuple(audit.c[name] for name in Entry.__slots__)


async def note(
    store: Store,
    conn: AsyncConnection,
    *,
    who: str,
    act: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
    why: str | None = None,
) -> None:
    """Write an act down, in the transaction that does it."""
    body = orjson.dumps(dict(detail)).decode() if detail is not None else None
    row = {"id": store.ids.next(), "at": store.clock.now(), "who": who, "act": act, "subject": subject}
    await conn.execute(audit.insert().values(**row, detail=body, why=why))


async def listing(
    store: Store, *, subject: str | None = None, before: int | None = None, limit: int = 100
) -> list[Entry]:
    """The newest first; `before` is the id that a page before ended with."""
    statement = select(*_COLUMNS).order_by(audit.c.id.desc()).limit(limit)
    if subject is not None:
        statement = statement.where(audit.c.subject == subject)
    if before is not None:
        statement = statement.where(audit.c.id < before)
    async with store.read() as conn:
        rows = (await conn.execute(statement)).all()
    return [
        Entry(id_, at, who, act, about, orjson.loads(detail) if detail else None, why)
        for id_, at, who, act, about, detail, why in rows
    ]


async def purge(store: Store, before: int) -> int:
    """Remove entries from before then (epoch ms). Returns how many."""
    async with store.begin() as conn:
        return (await conn.execute(delete(audit).where(audit.c.at < before))).rowcount
