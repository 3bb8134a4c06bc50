"""Waiting and waking: who waits for which entity or row of a lookup table, and what makes it due."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.delivery import State
from hub.store import bulk
from hub.store.tables import delivery, waiting, waiting_lookup


async def put_waiting(conn: AsyncConnection, rows: Sequence[tuple[int, int, str]]) -> None:
    """Say which entities a delivery waits for: (delivery, entity, owed field or '')."""
    await bulk.insert(conn, waiting, ("delivery", "entity", "field"), rows, ignore=True)


async def put_waiting_lookups(conn: AsyncConnection, rows: Sequence[tuple[int, str, str]]) -> None:
    await bulk.insert(conn, waiting_lookup, ("delivery", "table", "key"), rows, ignore=True)


async def forget_waiting(conn: AsyncConnection, ids: Collection[int]) -> None:
    """These no longer wait for anything."""
    keys = [(one,) for one in ids]
    await bulk.delete(conn, waiting, ("delivery",), keys)
    await bulk.delete(conn, waiting_lookup, ("delivery",), keys)


async def wake(conn: AsyncConnection, entities: Collection[int], now: int) -> int:
    """These entities are there now: what waits for them, or owes a field to them, is due."""
    if not entities:
        return 0
    # A refused record waits for what is said in the source, not for what stands in the target.
    statement = select(waiting.c.delivery).where(waiting.c.field != RELATED)
    rows = await bulk.fetch(conn, statement, waiting.c.entity, entities)
    return await _due_now(conn, {row[0] for row in rows}, now)


# The `field` of a wait for a record that a refused one refers to: its change may be what mends the refusal.
RELATED = "@related"


async def wake_related(conn: AsyncConnection, entities: Collection[int], now: int) -> None:
    """These changed in the source: what was refused for what they said is looked at again, dead or not."""
    statement = select(waiting.c.delivery).where(waiting.c.field == RELATED)
    ids = {row[0] for row in await bulk.fetch(conn, statement, waiting.c.entity, entities)}
    kept = delivery.c.state.in_((State.WORKING.value, State.DOUBT.value))
    revived = update(delivery).values(
        state=case((kept, delivery.c.state), else_=State.PENDING.value),
        revision=delivery.c.revision + 1,
        attempts=0,
        due=case((kept, delivery.c.due), else_=now),
    )
    await bulk.change(conn, revived, delivery.c.id, ids)
    await forget_waiting(conn, ids)


async def captured_since(conn: AsyncConnection, entities: Collection[int], began: int) -> set[int]:
    """Of these entities, the ones of which a change was captured at or after `began` (epoch ms)."""
    statement = select(delivery.c.entity).where(delivery.c.captured >= began)
    return {row[0] for row in await bulk.fetch(conn, statement, delivery.c.entity, entities)}


async def wake_lookups(conn: AsyncConnection, table: str, keys: Collection[str], now: int) -> int:
    """Rows of a lookup table were added: what waits for them is due."""
    statement = select(waiting_lookup.c.delivery).where(waiting_lookup.c.table == table)
    rows = await bulk.fetch(conn, statement, waiting_lookup.c.key, keys)
    return await _due_now(conn, {row[0] for row in rows}, now)


async def wake_blocked(conn: AsyncConnection, entities: Collection[int], now: int) -> None:
    """A change of these entities was captured: what their targets refused for now may go through."""
    open_ = delivery.c.state.in_((State.BLOCKED.value, State.WORKING.value))
    statement = update(delivery).where(open_).values(due=now, revision=delivery.c.revision + 1)
    await bulk.change(conn, statement, delivery.c.entity, entities)


async def _due_now(conn: AsyncConnection, ids: Collection[int], now: int) -> int:
    """Make deliveries pending that rest; the revision moves, so that a holder who is about to put one to rest sees
    it. (On SQLite a row does not show that it is held.)
    """
    if not ids:
        return 0
    kept = delivery.c.state.in_((State.WORKING.value, State.DOUBT.value, State.HELD.value, State.DEAD.value))
    statement = update(delivery).values(
        state=case((kept, delivery.c.state), else_=State.PENDING.value),
        revision=delivery.c.revision + 1,
        due=case((delivery.c.state == State.DOUBT.value, delivery.c.due), else_=now),
    )
    await bulk.change(conn, statement, delivery.c.id, ids)
    await forget_waiting(conn, ids)
    return len(ids)
