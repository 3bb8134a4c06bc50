"""Schedules are rows with their next due time; a due row is claimed like a delivery, so there is no leader to elect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.errors import NotFound
from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import schedule


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule as the configuration wants it. `trigger` is JSON; `first` (epoch ms) is when a new one begins."""

    name: str
    flow: str
    kind: str
    trigger: str
    first: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands. `missed` counts runs that were skipped because they came too late."""

    name: str
    flow: str
    kind: str
    trigger: str
    next_due: int | None
    paused: bool
    reason: str | None
    last_due: int | None
    last_run: int | None
    missed: int
    lease_token: int
    lease_until: int | None
    holder: str | None


_ALL = select(*(schedule.c[name] for name in Schedule.__slots__))


async def sync(store: Store, planned: Sequence[Planned]) -> None:
    """Make the rows what the configuration says. A schedule that did not change keeps its next due time."""
    async with store.begin() as conn:
        known = {row[0]: Schedule(*row) for row in (await conn.execute(_ALL)).all()}
        wanted = {one.name: one for one in planned}
        columns = ("name", "flow", "kind", "trigger", "next_due")
        changed = [
            (one.name, one.flow, one.kind, one.trigger, one.first)
            for one in wanted.values()
            if one.name not in known or _differs(one, known[one.name])
        ]
        await bulk.upsert(conn, schedule, ("name",), columns, changed)
        await bulk.delete(conn, schedule, ("name",), [(name,) for name in known if name not in wanted])


def _differs(planned: Planned, known: Schedule) -> bool:
    return (planned.flow, planned.kind, planned.trigger) != (known.flow, known.kind, known.trigger)


# A flow never overlaps with itself: while one of its schedules is held, its others wait.
_OTHER = schedule.alias("other")

_CLAIM_LOCK = 0x4352_4D53  # 'CRMS': claims of all processes take turns


def _claimable(now: int) -> tuple[ColumnElement[bool], ...]:
    held = exists().where(_OTHER.c.flow == schedule.c.flow, _OTHER.c.lease_until > now)
    return schedule.c.next_due.is_not(None), schedule.c.paused.is_(False), ~held


async def claim(store: Store, *, holder: str, lease: float, limit: int = 10, flow: str | None = None) -> list[Schedule]:
    """Take due schedules (of one flow) under a lease of `lease` seconds.

    Processes take turns: 1 and 2 see `read` and `sweep` of one flow due, and each would take one.
    """
    now = store.clock.now()
    statement = _ALL.where(*_claimable(now), schedule.c.next_due <= now).order_by(schedule.c.next_due)
    if flow is not None:
        statement = statement.where(schedule.c.flow == flow)
    async with store.begin() as conn:
        await _in_turn(store, conn)
        firsts: dict[str, Schedule] = {}
        for one in (Schedule(*row) for row in (await conn.execute(statement)).all()):
            firsts.setdefault(one.flow, one)
        return await _take(conn, list(firsts.values())[:limit], holder, now + int(lease * 1000))


async def hold(store: Store, flow: str, *, holder: str, lease: float) -> Schedule | None:
    """Take a flow for a person, whether it is due or not; None while somebody reads it, or if it has no schedule.

    `hand_back` ends it, and leaves the schedule's time as it was.
    """
    now = store.clock.now()
    async with store.begin() as conn:
        await _in_turn(store, conn)
        rows = [Schedule(*row) for row in (await conn.execute(_ALL.where(schedule.c.flow == flow))).all()]
        if any(one.lease_until is not None and one.lease_until > now for one in rows):
            return None
        taken = await _take(conn, rows[:1], holder, now + int(lease * 1000))
    return taken[0] if taken else None


async def _in_turn(store: Store, conn: AsyncConnection) -> None:
    if store.dialect == "postgresql":
        await conn.execute(select(func.pg_advisory_xact_lock(_CLAIM_LOCK)))


async def _take(conn: AsyncConnection, rows: Sequence[Schedule], holder: str, until: int) -> list[Schedule]:
    leases = [(one.lease_token + 1, until, holder, one.name) for one in rows]
    await bulk.update(conn, schedule, ("name",), ("lease_token", "lease_until", "holder"), leases)
    return [replace(one, lease_token=one.lease_token + 1, lease_until=until, holder=holder) for one in rows]


async def renew(store: Store, held: Schedule, *, lease: float) -> bool:
    """Move the lease. False: it was lost to somebody else."""
    until = store.clock.now() + int(lease * 1000)
    return await _if_held(store, held, {"lease_until": until})


async def finish(store: Store, held: Schedule, *, next_due: int, run: int | None = None, missed: int = 0) -> bool:
    """Give the schedule back: its run is done, the next is due then; `missed` runs were made up for by this one.

    False (and nothing is written): the lease was lost to somebody else.
    """
    values = {
        "next_due": next_due,
        "last_due": held.next_due,
        "last_run": run,
        "missed": held.missed + missed,
        "lease_until": None,
        "holder": None,
    }
    return await _if_held(store, held, values)


async def hand_back(store: Store, held: Schedule) -> bool:
    """Give the schedule back as it was taken: what is due is due to everybody, at once.

    False: the lease was lost to somebody else.
    """
    return await _if_held(store, held, {"lease_until": None, "holder": None})


async def _if_held(store: Store, held: Schedule, values: dict[str, int | None]) -> bool:
    mine = (schedule.c.name == held.name, schedule.c.lease_token == held.lease_token)
    async with store.begin() as conn:
        return (await conn.execute(update(schedule).where(*mine).values(values))).rowcount == 1


async def void_leases(store: Store) -> int:
    """On start of the only process: nobody else can hold anything."""
    held = schedule.c.lease_until.is_not(None)
    async with store.begin() as conn:
        values = {"lease_until": None, "holder": None}
        return (await conn.execute(update(schedule).where(held).values(values))).rowcount


async def pause(store: Store, name: str, reason: str) -> None:
    """Raises NotFound."""
    await _steer(store, name, {"paused": True, "reason": reason})


async def resume(store: Store, name: str) -> None:
    """What fell due meanwhile is made up for once. Raises NotFound."""
    await _steer(store, name, {"paused": False, "reason": None})


async def run_now(store: Store, name: str) -> None:
    """Due at once, whatever its trigger says. Raises NotFound."""
    await _steer(store, name, {"next_due": store.clock.now()})


async def _steer(store: Store, name: str, values: dict[str, object]) -> None:
    async with store.begin() as conn:
        if not (await conn.execute(update(schedule).where(schedule.c.name == name).values(values))).rowcount:
            raise NotFound(f"there is no schedule `{name}`.", hint="`hub status` shows them")


async def listing(store: Store, *, flow: str | None = None) -> list[Schedule]:
    """All of them (of a flow), by name."""
    statement = _ALL.order_by(schedule.c.name)
    if flow is not None:
        statement = statement.where(schedule.c.flow == flow)
    async with store.read() as conn:
        return [Schedule(*row) for row in (await conn.execute(statement)).all()]


async def next_due(store: Store) -> int | None:
    """When the next schedule can be claimed (epoch ms): not paused, not held, none of its flow held."""
    statement = select(func.min(schedule.c.next_due)).where(*_claimable(store.clock.now()))
    async with store.read() as conn:
        found = (await conn.execute(statement)).scalar()
    return int(found) if found is not None else None


async def due(store: Store) -> list[str]:
    """The flows that somebody could read now."""
    now = store.clock.now()
    statement = select(schedule.c.flow).distinct().where(*_claimable(now), schedule.c.next_due <= now)
    async with store.read() as conn:
        return sorted((await conn.execute(statement)).scalars())
