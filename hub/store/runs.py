"""Executions of a flow's reading side: begun, alive, ended, with their counts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.errors import NotFound, StoreError
from hub.store.engine import Store
from hub.store.tables import run

log = logging.getLogger("hub.runs")

BEAT = 5.0  # seconds between two signs of life
SILENT = 60.0  # seconds without one, after which a run's process is dead


@dataclass(frozen=True, slots=True)
class Run:
    """`beat` (epoch ms) is the last proof of life of one that is running."""

    id: int
    flow: str
    kind: str
    cause: str
    state: str
    started: int
    ended: int | None
    beat: int | None
    counts: dict[str, Any]
    error: str | None


_COLUMNS = tuple(run.c[name] for name in Run.__slots__)


async def start(store: Store, flow: str, *, kind: str, cause: str) -> int:
    """Note that a run begins. Returns its id."""
    id_, now = store.ids.next(), store.clock.now()
    async with store.begin() as conn:
        await conn.execute(
            run.insert().values(id=id_, flow=flow, kind=kind, cause=cause, state="running", started=now, beat=now)
        )
    return id_


async def note(
    store: Store, conn: AsyncConnection, id_: int, flow: str, *, kind: str, cause: str, started: int, counts: str
) -> None:
    """Write down a run that is finished with the caller's transaction; `counts` is JSON, `started` epoch ms."""
    now = store.clock.now()
    await conn.execute(
        run.insert().values(
            id=id_, flow=flow, kind=kind, cause=cause, state="finished", started=started, beat=now, ended=now,
            counts=counts,
        )
    )  # fmt: skip


async def beat(store: Store, id_: int, counts: str) -> None:
    """It is alive, and has done so much (JSON)."""
    async with store.begin() as conn:
        await conn.execute(update(run).where(run.c.id == id_).values(beat=store.clock.now(), counts=counts))


@contextlib.asynccontextmanager
async def alive(store: Store, id_: int, counts: Callable[[], str]) -> AsyncIterator[None]:
    """Give a sign of life every few seconds while the block runs, however long one page of it may take.

    `counts` tells (JSON) what is done so far.
    """

    async def beating() -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await beat(store, id_, counts())
            except StoreError as error:  # the next beat tries again; the run's own work tells if it lasts
                log.warning("run %d could not give a sign of life: %s", id_, error.message)

    task = asyncio.create_task(beating())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def finish(store: Store, id_: int, *, state: str, counts: str, error: str | None = None) -> None:
    """It has ended: finished, failed or interrupted."""
    now = store.clock.now()
    async with store.begin() as conn:
        await conn.execute(
            update(run).where(run.c.id == id_).values(state=state, ended=now, beat=now, counts=counts, error=error)
        )


async def interrupt(store: Store, *, silent_for: float = 0.0) -> int:
    """Mark runs that say they run and gave no sign of life for that long (seconds): their process died.

    On start of the only process nobody else can be running: 0. Returns how many there were.
    """
    now = store.clock.now()
    silent = or_(run.c.beat.is_(None), run.c.beat <= now - int(silent_for * 1000))
    statement = update(run).where(run.c.state == "running", silent)
    async with store.begin() as conn:
        values = {"state": "interrupted", "ended": now, "error": "the process that ran it ended"}
        return (await conn.execute(statement.values(values))).rowcount


async def get(store: Store, id_: int) -> Run:
    """Raises NotFound."""
    async with store.read() as conn:
        row = (await conn.execute(select(*_COLUMNS).where(run.c.id == id_))).first()
    if row is None:
        raise NotFound(f"there is no run {id_}.", hint="`hub runs` shows them")
    return _run(row)


async def listing(
    store: Store, *, flow: str | None = None, state: str | None = None, before: int | None = None, limit: int = 50
) -> list[Run]:
    """The newest first; `before` is the id that a page before ended with."""
    statement = select(*_COLUMNS).order_by(run.c.id.desc()).limit(limit)
    if flow is not None:
        statement = statement.where(run.c.flow == flow)
    if state is not None:
        statement = statement.where(run.c.state == state)
    if before is not None:
        statement = statement.where(run.c.id < before)
    async with store.read() as conn:
        return [_run(row) for row in (await conn.execute(statement)).all()]


async def latest(store: Store) -> dict[str, Run]:
    """The last run of each flow."""
    last = select(func.max(run.c.id)).group_by(run.c.flow)
    async with store.read() as conn:
        rows = (await conn.execute(select(*_COLUMNS).where(run.c.id.in_(last)))).all()
    return {row[1]: _run(row) for row in rows}


async def purge(store: Store, before: int) -> int:
    """Remove runs that ended before then (epoch ms). Returns how many."""
    async with store.begin() as conn:
        return (await conn.execute(delete(run).where(run.c.ended < before))).rowcount


def _run(row: Any) -> Run:
    values = dict(row._mapping)
    return Run(**{**values, "counts": orjson.loads(values["counts"])})
