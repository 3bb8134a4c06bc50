"""Hints to fetch a record: many for one record become one fetch, and none is lost while it is being fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import hint

_KEY = ("system", "object", "record_id")
_BACKOFF = 2.0  # seconds, doubled with each attempt
_BACKOFF_LIMIT = 900.0


@dataclass(frozen=True, slots=True)
class Hint:
    """A record to fetch. `revision` tells which hints the taker knows of."""

    system: str
    object: str
    record_id: str
    stored: int
    revision: int
    attempts: int
    error: str | None


async def put(store: Store, conn: AsyncConnection, records: Iterable[tuple[str, str, str]]) -> int:
    """Hint at (system, object, record id), due now. Returns how many records that were.

    A hint for a record that has one already moves its revision: whoever is fetching it now may have asked too early.
    """
    now = store.clock.now()
    distinct = sorted({(system, object, bulk.clean(record_id)) for system, object, record_id in records})
    sets = {
        "revision": '"hint"."revision" + 1',
        "stored": 'excluded."stored"',
        "due": 'excluded."due"',
        "attempts": "0",
        "error": "NULL",
    }
    rows = [(*one, now, now) for one in distinct]
    await bulk.upsert(conn, hint, _KEY, (*_KEY, "stored", "due"), rows, sets=sets)
    return len(rows)


async def take(store: Store, *, limit: int, lease: float = 60.0, system: str | None = None) -> list[Hint]:
    """Up to `limit` due hints (of one system), the longest due first.

    Should their taker die, they are due again after `lease` seconds.
    """
    now = store.clock.now()
    columns = (*(hint.c[name] for name in _KEY), hint.c.stored, hint.c.revision, hint.c.attempts, hint.c.error)
    statement = select(*columns).where(hint.c.due <= now).order_by(hint.c.due).limit(limit)
    if system is not None:
        statement = statement.where(hint.c.system == system)
    async with store.begin() as conn:
        rows = (await conn.execute(statement.with_for_update(skip_locked=True))).all()
        taken = [Hint(*row) for row in rows]
        until = now + int(lease * 1000)
        leases = [(until, one.system, one.object, one.record_id) for one in taken]
        await bulk.update(conn, hint, _KEY, ("due",), leases)
    return taken


async def settle(conn: AsyncConnection, taken: Sequence[Hint]) -> int:
    """These were fetched. A hint that came in after it was taken stays. Returns how many are done."""
    rows = [(one.system, one.object, one.record_id, one.revision) for one in taken]
    return await bulk.delete(conn, hint, (*_KEY, "revision"), rows)


async def postpone(store: Store, conn: AsyncConnection, taken: Sequence[Hint], *, error: str) -> None:
    """These could not be fetched: later, with growing waits. A hint that came in meanwhile is due as it was."""
    now = store.clock.now()
    rows = [
        (
            now + int(1000 * min(_BACKOFF_LIMIT, _BACKOFF * 2.0 ** min(one.attempts, 20))),
            one.attempts + 1,
            error,
            one.system,
            one.object,
            one.record_id,
            one.revision,
        )
        for one in taken
    ]
    await bulk.update(conn, hint, (*_KEY, "revision"), ("due", "attempts", "error"), rows)


async def hand_back(store: Store, taken: Sequence[Hint]) -> None:
    """The fetch was broken off: due again at once, without waiting for the lease."""
    now = store.clock.now()
    rows = [(now, one.system, one.object, one.record_id, one.revision) for one in taken]
    async with store.begin() as conn:
        await bulk.update(conn, hint, (*_KEY, "revision"), ("due",), rows)


async def next_due(store: Store) -> int | None:
    """When the next hint is due (epoch ms)."""
    async with store.read() as conn:
        found = (await conn.execute(select(func.min(hint.c.due)))).scalar()
    return int(found) if found is not None else None


async def count(store: Store) -> int:
    """How many records are to be fetched."""
    async with store.read() as conn:
        return int((await conn.execute(select(func.count()).select_from(hint))).scalar_one())
