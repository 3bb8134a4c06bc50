"""What of a vendor's quota is spent: one row a window, shared by all processes."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import budget

_KEY = ("system", "name", "window")


async def grant(store: Store, system: str, name: str, window: int, *, want: int, limit: int) -> int:
    """Spend up to `want` calls of the window that begins at `window` (epoch ms). Returns how many it may be.

    Taken in slices, so that a call costs no transaction. The row is held while it is looked at: all processes together
    never get more than `limit`.
    """
    here = (budget.c.system == system, budget.c.name == name, budget.c.window == window)
    async with store.begin() as conn:
        await bulk.insert(conn, budget, (*_KEY, "used"), [(system, name, window, 0)], ignore=True)
        used = (await conn.execute(select(budget.c.used).where(*here).with_for_update())).scalar_one()
        granted = max(0, min(want, limit - used))
        if granted:
            await conn.execute(update(budget).where(*here).values(used=budget.c.used + granted))
    return int(granted)


async def give_back(store: Store, system: str, name: str, window: int, count: int) -> None:
    """Return what of a slice was not used."""
    here = (budget.c.system == system, budget.c.name == name, budget.c.window == window)
    async with store.begin() as conn:
        await conn.execute(update(budget).where(*here).values(used=budget.c.used - count))


async def spend_all(store: Store, system: str, name: str, window: int, limit: int) -> None:
    """The vendor says that the window is spent, whatever we counted: others use the same account."""
    async with store.begin() as conn:
        await bulk.upsert(conn, budget, _KEY, (*_KEY, "used"), [(system, name, window, limit)])


async def used(store: Store, system: str) -> dict[tuple[str, int], int]:
    """What is spent, by name and window."""
    statement = select(budget.c.name, budget.c.window, budget.c.used).where(budget.c.system == system)
    async with store.read() as conn:
        return {(row[0], row[1]): row[2] for row in (await conn.execute(statement)).all()}


async def purge(store: Store, before: int) -> int:
    """Forget windows that began before then (epoch ms). Returns how many."""
    async with store.begin() as conn:
        return (await conn.execute(delete(budget).where(budget.c.window < before))).rowcount
