"""What a full scan has shown so far, so that what it did not show can be asked after."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import delivery, identity, scanned


async def note(conn: AsyncConnection, scan: int, source_ids: Sequence[str]) -> None:
    """These were shown; in the transaction that moves the scan's cursor."""
    await bulk.insert(conn, scanned, ("run", "source_id"), [(scan, one) for one in source_ids], ignore=True)


async def missing(store: Store, flow: str, scan: int) -> list[str]:
    """Source ids that the ledger holds as present and the scan did not show."""
    shown = exists().where(scanned.c.run == scan, scanned.c.source_id == delivery.c.source_id)
    statement = select(delivery.c.source_id).where(delivery.c.flow == flow, delivery.c.deleted.is_(False), ~shown)
    async with store.read() as conn:
        return [row[0] for row in (await conn.execute(statement)).all()]


async def unseen(store: Store, flow: str, system: str, object: str, scan: int) -> list[str]:
    """Source ids that the ledger or the ID map holds as present and the scan did not show."""
    shown = exists().where(scanned.c.run == scan, scanned.c.source_id == identity.c.record_id)
    statement = select(identity.c.record_id).where(
        identity.c.system == system, identity.c.object == object, identity.c.tombstone.is_(None), ~shown
    )
    heard = exists().where(delivery.c.flow == flow, delivery.c.source_id == identity.c.record_id)
    statement = statement.where(identity.c.role == "primary", identity.c.origin != "referenced", ~heard)
    ledger = await missing(store, flow, scan)
    async with store.read() as conn:
        return sorted({*ledger, *(row[0] for row in (await conn.execute(statement)).all())})


async def total(store: Store, flow: str) -> int:
    """How many records of the flow's source the ledger holds as present."""
    statement = select(func.count()).where(delivery.c.flow == flow, delivery.c.deleted.is_(False))
    async with store.read() as conn:
        return int((await conn.execute(statement)).scalar_one())


async def forget(store: Store, scan: int) -> None:
    """The scan is over."""
    async with store.begin() as conn:
        await conn.execute(delete(scanned).where(scanned.c.run == scan))
