"""Why systems are left alone just now, as the processes that noticed told the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import rest

_STALE = 60_000  # milliseconds after its end in which nobody renewed it: who noticed is gone


@dataclass(frozen=True, slots=True)
class Rest:
    """`kind` is `down` (it does not answer) or `quota`. `until` (epoch ms) is the next trial, or when the quota begins
    anew.
    """

    system: str
    kind: str
    reason: str
    since: int
    until: int


async def put(store: Store, rests: Sequence[Rest]) -> None:
    """Tell the others; what is told again keeps its `since`."""
    columns = Rest.__slots__
    rows = [(one.system, one.kind, one.reason, one.since, one.until) for one in rests]
    sets = {"reason": 'excluded."reason"', "until": 'excluded."until"'}
    async with store.begin() as conn:
        await bulk.upsert(conn, rest, ("system", "kind"), columns, rows, sets=sets)


async def end(store: Store, ended: Sequence[tuple[str, str]]) -> None:
    """It is over: (system, kind)."""
    async with store.begin() as conn:
        await bulk.delete(conn, rest, ("system", "kind"), ended)


async def listing(store: Store) -> list[Rest]:
    """What holds now, by system."""
    columns = [rest.c[name] for name in Rest.__slots__]
    now = store.clock.now()
    statement = select(*columns).where(rest.c.until > now - _STALE).order_by(rest.c.system, rest.c.kind)
    async with store.read() as conn:
        rows = [Rest(*row) for row in (await conn.execute(statement)).all()]
    return [one for one in rows if one.kind != "quota" or one.until > now]
