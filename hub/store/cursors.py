"""How far a flow has read each stream of its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import cursor

Position = dict[str, Any]


async def get(store: Store, flow: str, stream: str) -> Position | None:
    """Where the stream's next page begins; None: it was never read, or its scan has ended."""
    statement = select(cursor.c.position).where(cursor.c.flow == flow, cursor.c.stream == stream)
    async with store.read() as conn:
        position = (await conn.execute(statement)).scalar()
    return orjson.loads(position) if position is not None else None


async def put(conn: AsyncConnection, flow: str, stream: str, position: Mapping[str, Any] | None, now: int) -> None:
    """Move the cursor, in the transaction that captures the page before it. None removes it."""
    if position is None:
        await conn.execute(delete(cursor).where(cursor.c.flow == flow, cursor.c.stream == stream))
        return
    row = (flow, stream, orjson.dumps(position).decode(), now)
    await bulk.upsert(conn, cursor, ("flow", "stream"), ("flow", "stream", "position", "updated"), [row])


async def of_flow(store: Store, flow: str) -> dict[str, tuple[Position, int]]:
    """Each stream's position, and when it was moved (epoch ms)."""
    statement = select(cursor.c.stream, cursor.c.position, cursor.c.updated).where(cursor.c.flow == flow)
    async with store.read() as conn:
        rows = (await conn.execute(statement)).all()
    return {row[0]: (orjson.loads(row[1]), row[2]) for row in rows}


async def reset(store: Store, flow: str) -> int:
    """Forget how far the flow has read: it begins again. Returns how many streams that were."""
    async with store.begin() as conn:
        return (await conn.execute(delete(cursor).where(cursor.c.flow == flow))).rowcount
