"""What people decided about a flow, and since when it lives."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select, update

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import flow


@dataclass(frozen=True, slots=True)
class FlowState:
    """`until` (epoch ms) ends a pause by itself; None: somebody resumes it."""

    name: str
    started: int
    paused: bool
    reason: str | None
    until: int | None


async def started(store: Store, name: str) -> int:
    """When the flow was first put to work (epoch ms): now, if it never was."""
    statement = select(flow.c.started).where(flow.c.name == name)
    async with store.read() as conn:
        found = (await conn.execute(statement)).scalar()
    if found is not None:
        return int(found)
    async with store.begin() as conn:
        await bulk.insert(conn, flow, ("name", "started"), [(name, store.clock.now())], ignore=True)
        return int((await conn.execute(statement)).scalar_one())


async def pause(store: Store, name: str, reason: str, *, until: int | None = None) -> None:
    """Stop reading and delivering, until then or until somebody resumes it. The reason is shown with the flow."""
    columns = ("name", "started", "paused", "reason", "until")
    sets = {"paused": "true", "reason": 'excluded."reason"', "until": 'excluded."until"'}
    async with store.begin() as conn:
        row = (name, store.clock.now(), True, reason, until)
        await bulk.upsert(conn, flow, ("name",), columns, [row], sets=sets)


async def resume(store: Store, name: str) -> bool:
    """Go on. True if it was paused."""
    statement = update(flow).where(flow.c.name == name, flow.c.paused.is_(True))
    async with store.begin() as conn:
        return (await conn.execute(statement.values(paused=False, reason=None, until=None))).rowcount > 0


async def paused(store: Store) -> dict[str, FlowState]:
    """The flows that rest now, by name."""
    still = or_(flow.c.until.is_(None), flow.c.until > store.clock.now())
    return {one.name: one for one in await _select(store, flow.c.paused.is_(True) & still)}


async def states(store: Store) -> dict[str, FlowState]:
    """Every flow that was ever started or paused, by name."""
    return {one.name: one for one in await _select(store, flow.c.name.is_not(None))}


async def _select(store: Store, where: object) -> list[FlowState]:
    statement = select(flow.c.name, flow.c.started, flow.c.paused, flow.c.reason, flow.c.until)
    async with store.read() as conn:
        rows = (await conn.execute(statement.where(where).order_by(flow.c.name))).all()  # type: ignore[arg-type]
    return [FlowState(*row) for row in rows]
