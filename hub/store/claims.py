"""Claims: what is due is taken under a lease, the match keys of a create are reserved, and intents are written down."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Update, case, exists, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.delivery import State
from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import delivery, intent, reservation


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery under a lease: the holder of `token` may settle it."""

    id: int
    source_id: str
    entity: int
    state: str  # before the claim
    reason: str | None
    title: str | None
    lane: int
    since: int
    attempts: int
    deleted: bool
    refetch: bool
    revision: int
    version: int | None
    captured: int
    delivered_revision: int | None
    token: int


class Watch:
    """Finds claims whose holder is gone, and hands them back. Each process that works keeps one watch.

    A lease is dead when it was not renewed for `lease` seconds of the watcher's own monotonic clock. Nobody's wall
    clock is asked: one that is stepped would keep the dead alive, or kill the living.
    """

    def __init__(self, store: Store, *, lease: float) -> None:
        self._store = store
        self._lease = lease
        self._seen: dict[str, dict[tuple[str, int], float]] = {}  # flow -> (holder, until) -> since when it stands

    async def release_dead(self, flow: str) -> int:
        """Hand back what was claimed under leases that stand still; returns how many deliveries that were."""
        if self._store.dialect == "sqlite":
            return 0  # whoever else had claimed something is gone with his process; see `void`
        leased = (
            select(delivery.c.holder, delivery.c.lease_until)
            .where(delivery.c.flow == flow, delivery.c.lease_until.is_not(None))
            .distinct()
        )
        async with self._store.read() as conn:
            rows = (await conn.execute(leased)).all()
        now = self._store.clock.monotonic()
        before = self._seen.get(flow, {})
        seen = self._seen[flow] = {(row[0], row[1]): before.get((row[0], row[1]), now) for row in rows}
        released = 0
        for (holder, until), since in seen.items():
            if now - since >= self._lease:
                dead = (delivery.c.flow == flow, delivery.c.holder == holder, delivery.c.lease_until == until)
                async with self._store.begin() as conn:
                    released += (await conn.execute(_handed_back().where(*dead))).rowcount
        return released


# Whoever had it can neither renew nor settle, and who takes it up notes its intent beside the one that is there.
_NEXT_TOKEN = delivery.c.lease_token + 1


def _handed_back() -> Update:
    """Claimed becomes due again; an open intent means that a write may have left."""
    return (
        update(delivery)
        .where(delivery.c.state == State.WORKING.value)
        .values(
            state=case((_has_intent(), State.DOUBT.value), else_=State.PENDING.value),
            lease_token=_NEXT_TOKEN,
            lease_until=None,
            holder=None,
        )
    )


async def with_intent(conn: AsyncConnection, flow: str, source_ids: Collection[str]) -> set[str]:
    """Which of a flow's source records have a write that is about to leave, or whose answer is not noted yet."""
    statement = select(delivery.c.source_id).where(delivery.c.flow == flow, _has_intent())
    return {row[0] for row in await bulk.fetch(conn, statement, delivery.c.source_id, source_ids)}


def _has_intent() -> ColumnElement[bool]:
    return exists().where(intent.c.delivery == delivery.c.id)


async def void(store: Store) -> int:
    """On start of the only process: nobody else can hold anything. What may have left is in doubt."""
    left = (
        update(delivery)
        .where(delivery.c.id.in_(select(intent.c.delivery)))
        .values(state=State.DOUBT.value, lease_token=_NEXT_TOKEN, lease_until=None, holder=None)
    )
    async with store.begin() as conn:
        in_doubt = (await conn.execute(left)).rowcount
        return in_doubt + (await conn.execute(_handed_back())).rowcount


# Literal, as in the index: a planner takes a partial index only for the condition that it was made with.
_CLAIMABLE: ColumnElement[bool] = literal_column("delivery.state IN ('pending', 'doubt', 'waiting', 'blocked')")

_CLAIM_LOCK = 0x4352_4D48  # 'CRMH': claims of all workers take turns, so that no two hold the same entity

_RETURNED = (
    delivery.c.id,
    delivery.c.source_id,
    delivery.c.entity,
    delivery.c.state,
    delivery.c.reason,
    delivery.c.title,
    delivery.c.lane,
    delivery.c.since,
    delivery.c.attempts,
    delivery.c.deleted,
    delivery.c.refetch,
    delivery.c.revision,
    delivery.c.version,
    delivery.c.captured,
    delivery.c.delivered_revision,
    delivery.c.lease_token,
)


_TOKEN = Claimed.__slots__.index("token")


async def claim(
    store: Store,
    flow: str,
    *,
    limit: int,
    lease: float,
    holder: str,
    source_ids: Collection[str] | None = None,
    resting: bool = False,
) -> list[Claimed]:
    """Take up to `limit` due deliveries under a lease of `lease` seconds, what just changed before bulk.

    `source_ids` narrows it to these records; with `resting` also those that are not due are taken, whatever their
    state.

    Of an entity that somebody works on, nothing is taken: two flows of one pair, or two source records of one entity,
    never write at the same time. On PostgreSQL the claims of all workers take turns under an advisory lock:
    otherwise worker 1 claims A->B of an entity, worker 2 (whose snapshot does not see it) claims B->A, and both write.
    """
    if store.dialect == "sqlite":
        return await _claim_here(store, flow, limit, source_ids, resting)
    now = store.clock.now()
    other = delivery.alias("other")
    busy = exists().where(other.c.entity == delivery.c.entity, other.c.lease_until.is_not(None))
    statement = (
        select(*_RETURNED)
        .where(delivery.c.flow == flow, _CLAIMABLE, delivery.c.due <= now, ~busy)
        .order_by(delivery.c.lane, delivery.c.due)
        .limit(limit)
    )
    if resting:
        idle = delivery.c.state.notin_((State.WORKING.value, State.DOUBT.value))
        statement = select(*_RETURNED).where(delivery.c.flow == flow, idle, ~busy)
    async with store.begin() as conn:
        await conn.execute(select(func.pg_advisory_xact_lock(_CLAIM_LOCK)))
        if source_ids is None:
            rows = (await conn.execute(statement)).all()
        else:
            rows = await bulk.fetch(conn, statement, delivery.c.source_id, source_ids)
        taken = [_claimed(row, row.lease_token + 1) for row in _one_each(rows, set())]
        until = now + int(lease * 1000)
        await bulk.update(
            conn,
            delivery,
            ("id",),
            ("lease_token",),
            [(one.token, one.id) for one in taken],
            alike={"state": State.WORKING.value, "lease_until": until, "holder": holder},
        )
    return taken


async def _claim_here(
    store: Store, flow: str, limit: int, source_ids: Collection[str] | None, resting: bool
) -> list[Claimed]:
    """A claim on SQLite stands in this process's memory: no other process can hold one, and it ends with the process.

    It saves a write a record. What has left is told by its intent, which is in the file.
    """
    statement = select(*_RETURNED).where(delivery.c.flow == flow)
    if resting:
        statement = statement.where(delivery.c.state.notin_((State.WORKING.value, State.DOUBT.value)))
    else:
        due = statement.where(_CLAIMABLE, delivery.c.due <= store.clock.now())
        statement = due.order_by(delivery.c.lane, delivery.c.due).limit(limit + len(store.in_work))
    async with store.read() as conn:
        if source_ids is None:
            rows: Sequence[Any] = (await conn.execute(statement)).all()
        else:
            rows = await bulk.fetch(conn, statement, delivery.c.source_id, source_ids)
    taken = [_claimed(row, row.lease_token) for row in _one_each(rows, set(store.in_work))[:limit]]
    store.in_work.update(one.entity for one in taken)
    return taken


def _one_each(rows: Sequence[Any], entities: set[int]) -> list[Any]:
    """The first row of each entity that is not among `entities`."""
    found = []
    for row in rows:
        if row.entity not in entities:
            entities.add(row.entity)
            found.append(row)
    return found


def _claimed(row: Any, token: int) -> Claimed:
    values = list(row)
    values[_TOKEN] = token
    return Claimed(*values)


async def hand_back(store: Store, claimed: Collection[Claimed]) -> None:
    """The work was broken off: what may have left is in doubt, the rest is due again, without waiting for the lease."""
    async with store.begin() as conn:
        # Only what is still ours: a lease that passed meanwhile may be another's by now.
        mine = list(await still_held(conn, claimed))
        if store.dialect == "sqlite":  # the rows were left as they were
            left = update(delivery).where(_has_intent()).values(state=State.DOUBT.value, lease_token=_NEXT_TOKEN)
            await bulk.change(conn, left, delivery.c.id, mine)
        else:
            await bulk.change(conn, _handed_back(), delivery.c.id, mine)


def give_back(store: Store, claimed: Collection[Claimed]) -> None:
    """The work is over: on SQLite its entities may be claimed again. (On PostgreSQL the settled row says so.)"""
    store.in_work.difference_update(one.entity for one in claimed)


async def renew(store: Store, claimed: Collection[Claimed], *, lease: float) -> bool:
    """Move the lease of what is still held by these tokens. False: none of it is."""
    until = {"lease_until": store.clock.now() + int(lease * 1000)}
    async with store.begin() as conn:
        keys = [(one.id, one.token) for one in claimed]
        return await bulk.update(conn, delivery, ("id", "lease_token"), (), keys, alike=until) > 0


async def still_held(conn: AsyncConnection, claimed: Collection[Claimed]) -> dict[int, int]:
    """Of these, the ones whose token is still ours, with their present revision."""
    statement = select(delivery.c.id, delivery.c.lease_token, delivery.c.revision, delivery.c.state)
    tokens = {one.id: one.token for one in claimed}
    # The state is compared here: as a condition it leads PostgreSQL's planner, whose statistics know no row in work, to
    # hold every row of that index against every id.
    resting = conn.dialect.name == "sqlite"
    rows = await bulk.fetch(conn, statement, delivery.c.id, list(tokens))
    return {row[0]: row[2] for row in rows if tokens[row[0]] == row[1] and (resting or row[3] == State.WORKING.value)}


async def put_intents(conn: AsyncConnection, rows: Sequence[tuple[int, int, str]]) -> None:
    """Write down what is about to leave: (delivery, token of its lease, intent)."""
    await bulk.insert(conn, intent, ("delivery", "token", "body"), rows)


async def close_intents(conn: AsyncConnection, keys: Sequence[tuple[int, int]]) -> None:
    """These (delivery, token) are answered."""
    await bulk.delete(conn, intent, ("delivery", "token"), keys)


async def intents(conn: AsyncConnection, ids: Collection[int]) -> dict[int, list[tuple[int, str]]]:
    """The open intents of these deliveries, the oldest first: (token, intent)."""
    statement = select(intent.c.delivery, intent.c.token, intent.c.body)
    found: dict[int, list[tuple[int, str]]] = {}
    for one, token, body in sorted(await bulk.fetch(conn, statement, intent.c.delivery, ids)):
        found.setdefault(one, []).append((token, body))
    return found


async def reserve(conn: AsyncConnection, rows: Sequence[tuple[str, str, str, int, int]]) -> set[tuple[str, str, str]]:
    """Reserve match keys (system, object, key, delivery, at) for creates; the keys that somebody else holds come
    back.
    """
    columns = ("system", "object", "key", "delivery", "at")
    if await bulk.insert(conn, reservation, columns, rows, ignore=True) == len(rows):
        return set()
    mine = {(row[0], row[1], row[2]): row[3] for row in rows}
    statement = select(reservation.c.system, reservation.c.object, reservation.c.key, reservation.c.delivery)
    held = await bulk.fetch(conn, statement, reservation.c.key, [row[2] for row in rows])
    return {(row[0], row[1], row[2]) for row in held if mine.get((row[0], row[1], row[2]), row[3]) != row[3]}


async def free_reservations(conn: AsyncConnection, ids: Collection[int]) -> None:
    await bulk.delete(conn, reservation, ("delivery",), [(one,) for one in ids])


async def next_due(store: Store, flow: str) -> int | None:
    """When the next delivery of a flow is due (epoch ms), or None when nothing is owed."""
    statement = select(func.min(delivery.c.due)).where(delivery.c.flow == flow, _CLAIMABLE)
    async with store.read() as conn:
        due: int | None = (await conn.execute(statement)).scalar()
    return due
