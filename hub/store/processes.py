"""Which processes are at work on this store: each by a random name, with signs of life."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import process

BEAT = 10.0  # seconds between two signs of life
SILENT = 35.0  # seconds without one, after which a process is dead
_FORGOTTEN = 86_400.0  # seconds after which nobody wants to know of it any more


@dataclass(frozen=True, slots=True)
class Process:
    """`name` is random; host and pid are for people. `started` and `beat` are epoch ms."""

    name: str
    role: str
    host: str
    pid: int
    started: int
    beat: int

    def alive(self, now: int) -> bool:
        return now - self.beat <= SILENT * 1000


async def beat(store: Store, name: str, role: str, host: str, pid: int) -> None:
    """It is at work. Those that fell silent a day ago are forgotten."""
    now = store.clock.now()
    async with store.begin() as conn:
        row = (name, role, host, pid, now, now)
        sets = {"beat": 'excluded."beat"'}
        await bulk.upsert(conn, process, ("name",), Process.__slots__, [row], sets=sets)
        await conn.execute(delete(process).where(process.c.beat < now - int(_FORGOTTEN * 1000)))


async def leave(store: Store, name: str) -> None:
    """It has ended in order."""
    async with store.begin() as conn:
        await conn.execute(delete(process).where(process.c.name == name))


async def listing(store: Store) -> list[Process]:
    """Those at work, and those that fell silent within a day, by role and start."""
    columns = [process.c[name] for name in Process.__slots__]
    async with store.read() as conn:
        rows = (await conn.execute(select(*columns).order_by(process.c.role, process.c.started))).all()
    return [Process(*row) for row in rows]
