"""What of a vendor's limits is used: rows by account, limit and window, shared by all processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import budget

_KEY = ("system", "name", "window")
_LOCK = 0x4255_4447  # 'BUDG': who asks for calls of one account takes turns


@dataclass(frozen=True, slots=True)
class Ask:
    """One limit as who asks sees it: `amount` calls may stand in its windows from `since` on.

    What is granted is counted in the window that begins at `window` (epoch ms).
    """

    name: str
    amount: int
    window: int
    since: int


@dataclass(frozen=True, slots=True)
class Grant:
    """`count` calls of every limit that was asked; with none, `short` is the limit that refused.

    `used` are the windows of each limit, the oldest first: (begin, calls).
    """

    count: int
    short: Ask | None = None
    used: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


async def take(
    store: Store, account: str, asks: Sequence[Ask], *, want: int, least: int = 1, back: Sequence[tuple[Ask, int]] = ()
) -> Grant:
    """Take up to `want` calls, at least `least` or none, of all these limits at once.

    `back` returns what of an earlier slice was not used. Two processes that ask at the same time go in turn: each
    would else see what was used before the other, and take the same calls.
    """
    async with store.begin() as conn:
        if store.dialect == "postgresql":
            await conn.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(account))))
        await _return(conn, account, back)
        used = await _windows(conn, account, asks)
        left = {ask: ask.amount - sum(calls for _, calls in used[ask.name]) for ask in asks}
        short = min(asks, key=lambda ask: left[ask])
        count = min(want, left[short])
        if count < least:
            return Grant(0, short, used)
        taken = [(account, ask.name, ask.window, count) for ask in asks]
        await bulk.upsert(conn, budget, _KEY, (*_KEY, "used"), taken, sets=_ADD)
        for ask in asks:
            if ask.window not in dict(used[ask.name]):  # a new window: now and then, old ones are taken out
                old = (budget.c.system == account, budget.c.name == ask.name, budget.c.window < ask.since)
                await conn.execute(delete(budget).where(*old))
    return Grant(count, None, used)


_ADD = {"used": 'CASE WHEN "budget"."used" + excluded."used" < 0 THEN 0 ELSE "budget"."used" + excluded."used" END'}


async def _windows(conn: AsyncConnection, account: str, asks: Sequence[Ask]) -> dict[str, list[tuple[int, int]]]:
    counted = or_(*(and_(budget.c.name == ask.name, budget.c.window >= ask.since) for ask in asks))
    statement = select(budget.c.name, budget.c.window, budget.c.used).where(budget.c.system == account, counted)
    found: dict[str, list[tuple[int, int]]] = {ask.name: [] for ask in asks}
    for name, window, calls in (await conn.execute(statement.order_by(budget.c.window))).all():
        found[name].append((window, calls))
    return found


async def give_back(store: Store, account: str, back: Sequence[tuple[Ask, int]]) -> None:
    """Return what of slices was not used."""
    if back:
        async with store.begin() as conn:
            await _return(conn, account, back)


async def _return(conn: AsyncConnection, account: str, back: Sequence[tuple[Ask, int]]) -> None:
    # Two slices may have come from one window, and a statement can't change a row twice.
    counts: Counter[tuple[str, int]] = Counter()
    for ask, count in back:
        counts[ask.name, ask.window] += count
    rows = [(account, name, window, -count) for (name, window), count in counts.items() if count]
    await bulk.upsert(conn, budget, _KEY, (*_KEY, "used"), rows, sets=_ADD)


async def spend_all(store: Store, account: str, asks: Sequence[Ask]) -> None:
    """The vendor says that these are spent, whatever we counted: others use the same account."""
    async with store.begin() as conn:
        rows = [(account, ask.name, ask.window, ask.amount) for ask in asks]
        await bulk.upsert(conn, budget, _KEY, (*_KEY, "used"), rows)


async def used(store: Store, account: str) -> dict[tuple[str, int], int]:
    """What is used, by name and window."""
    statement = select(budget.c.name, budget.c.window, budget.c.used).where(budget.c.system == account)
    async with store.read() as conn:
        return {(row[0], row[1]): row[2] for row in (await conn.execute(statement)).all()}


async def purge(store: Store, before: int) -> int:
    """Forget windows that began before then (epoch ms). Returns how many."""
    async with store.begin() as conn:
        return (await conn.execute(delete(budget).where(budget.c.window < before))).rowcount
