"""The ledger: what is known of a flow's source records, what is claimed, and how a batch of work is written down."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, case, delete, exists, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.delivery import State
from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import attempt, delivery, payload, reservation, waiting, waiting_lookup


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger remembers of a source record when it is seen again."""

    id: int
    source_id: str
    entity: int
    state: str
    hash: str
    version: int | None
    asked: int
    answered: int
    revision: int
    deleted: bool
    refetch: bool


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
    intent: str | None


_KNOWN = select(
    delivery.c.id,
    delivery.c.source_id,
    delivery.c.entity,
    delivery.c.state,
    delivery.c.hash,
    delivery.c.version,
    delivery.c.asked,
    delivery.c.answered,
    delivery.c.revision,
    delivery.c.deleted,
    delivery.c.refetch,
)


async def known(conn: AsyncConnection, flow: str, source_ids: Collection[str]) -> dict[str, Known]:
    """The ledger rows of these records, by source id."""
    statement = _KNOWN.where(delivery.c.flow == flow)
    rows = await bulk.fetch(conn, statement, delivery.c.source_id, source_ids)
    return {row[1]: Known(*row) for row in rows}


NEW_COLUMNS = (
    "id",
    "flow",
    "source_id",
    "entity",
    "state",
    "reason",
    "title",
    "lane",
    "due",
    "since",
    "deleted",
    "version",
    "hash",
    "asked",
    "answered",
    "captured",
    "run",
)

# A newer capture supersedes whatever state the row is in; work under way is left to its holder, who sees the
# revision move when it settles, and an open doubt is answered first, with its own intent.
SUPERSEDE_COLUMNS = (
    "deleted",
    "version",
    "hash",
    "asked",
    "answered",
    "captured",
    "title",
    "lane",
    "due",
    "run",
)


async def add(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert ledger rows (`NEW_COLUMNS`)."""
    await bulk.insert(conn, delivery, NEW_COLUMNS, rows)


async def supersede(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]], now: int) -> None:
    """Replace what is owed: `SUPERSEDE_COLUMNS`, then the id. Revision grows, attempts start again."""
    if not rows:
        return
    await bulk.update(conn, delivery, ("id",), SUPERSEDE_COLUMNS, rows)
    ids = [row[-1] for row in rows]
    # The loser of a merge resolves references and is never written, whatever becomes of its record.
    merged = func.coalesce(delivery.c.reason, "") == MERGED
    kept = delivery.c.state.in_((State.WORKING.value, State.DOUBT.value)) | merged
    statement = update(delivery).values(
        revision=delivery.c.revision + 1,
        refetch=False,
        attempts=case((kept, delivery.c.attempts), else_=0),
        since=case((kept, delivery.c.since), else_=now),
        reason=case((kept, delivery.c.reason), else_=None),
        message=case((kept, delivery.c.message), else_=None),
        state=case((kept, delivery.c.state), else_=State.PENDING.value),
    )
    await bulk.change(conn, statement, delivery.c.id, ids)


MERGED = "merged"  # the reason of what rests because its record was merged into another


async def ask_again(conn: AsyncConnection, ids: Collection[int], now: int) -> None:
    """Two readings of these can't be put in order: the payload is not to be trusted, fetch before delivering."""
    kept = delivery.c.state.in_((State.WORKING.value, State.DOUBT.value))
    statement = update(delivery).values(
        refetch=True,
        revision=delivery.c.revision + 1,
        due=now,
        state=case((kept, delivery.c.state), else_=State.PENDING.value),
    )
    await bulk.change(conn, statement, delivery.c.id, ids)


async def add_payloads(conn: AsyncConnection, rows: Sequence[tuple[int, str, str | None]]) -> None:
    """Raw records of new deliveries: (delivery, body, the record to compare with later)."""
    await bulk.insert(conn, payload, ("delivery", "body", "previous"), rows)


async def keep_previous(conn: AsyncConnection, ids: Collection[int]) -> None:
    """These were delivered as they are: what changes next is told against this."""
    await bulk.change(conn, update(payload).values(previous=payload.c.body), payload.c.delivery, ids)


async def put_payloads(conn: AsyncConnection, rows: Sequence[tuple[int, str]]) -> None:
    await bulk.upsert(conn, payload, ("delivery",), ("delivery", "body"), rows)


async def payloads(conn: AsyncConnection, ids: Collection[int]) -> dict[int, tuple[str, str | None]]:
    """Body and previous body, by delivery."""
    statement = select(payload.c.delivery, payload.c.body, payload.c.previous)
    rows = await bulk.fetch(conn, statement, payload.c.delivery, ids)
    return {row[0]: (row[1], row[2]) for row in rows}


async def release_expired(store: Store, flow: str | None = None) -> int:
    """Hand back what is claimed by a holder whose lease has passed. An open intent means that a write may have left."""
    now = store.clock.now()
    statement = (
        update(delivery)
        .where(delivery.c.state == State.WORKING.value, delivery.c.lease_until < now)
        .values(
            state=case((delivery.c.intent.is_(None), State.PENDING.value), else_=State.DOUBT.value),
            lease_until=None,
            holder=None,
        )
    )
    if flow is not None:
        statement = statement.where(delivery.c.flow == flow)
    async with store.begin() as conn:
        result = await conn.execute(statement)
        return int(result.rowcount)


async def void_leases(store: Store) -> int:
    """On start of the only process: nobody else can hold anything."""
    statement = (
        update(delivery)
        .where(delivery.c.state == State.WORKING.value)
        .values(
            state=case((delivery.c.intent.is_(None), State.PENDING.value), else_=State.DOUBT.value),
            lease_until=None,
            holder=None,
        )
    )
    async with store.begin() as conn:
        result = await conn.execute(statement)
        return int(result.rowcount)


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
    delivery.c.intent,
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
    busy = exists().where(other.c.entity == delivery.c.entity, other.c.lease_until > now)
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
            ("state", "lease_token", "lease_until", "holder"),
            [(State.WORKING.value, one.token, until, holder, one.id) for one in taken],
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


def give_back(store: Store, claimed: Collection[Claimed]) -> None:
    """The work is over: on SQLite its entities may be claimed again. (On PostgreSQL the settled row says so.)"""
    store.in_work.difference_update(one.entity for one in claimed)


async def renew(store: Store, claimed: Collection[Claimed], *, lease: float) -> None:
    """Move the lease of what is still held by these tokens."""
    if store.dialect == "sqlite":
        return
    until = store.clock.now() + int(lease * 1000)
    async with store.begin() as conn:
        await bulk.update(
            conn,
            delivery,
            ("id", "lease_token"),
            ("lease_until",),
            [(until, one.id, one.token) for one in claimed],
        )


async def still_held(conn: AsyncConnection, claimed: Collection[Claimed]) -> dict[int, int]:
    """Of these, the ones whose token is still ours, with their present revision."""
    statement = select(delivery.c.id, delivery.c.lease_token, delivery.c.revision)
    if conn.dialect.name == "postgresql":
        statement = statement.where(delivery.c.state == State.WORKING.value)
    tokens = {one.id: one.token for one in claimed}
    rows = await bulk.fetch(conn, statement, delivery.c.id, list(tokens))
    return {row[0]: row[2] for row in rows if tokens[row[0]] == row[1]}


async def put_intents(conn: AsyncConnection, rows: Sequence[tuple[str, int]], *, until: int) -> None:
    """Write down what is about to leave: (intent, delivery). Until then (epoch ms) its holder has time to answer for
    it.
    """
    working = State.WORKING.value
    columns = ("intent", "state", "lease_until")
    await bulk.update(conn, delivery, ("id",), columns, [(intent, working, until, one) for intent, one in rows])


SETTLE_COLUMNS = (
    "state",
    "reason",
    "message",
    "title",
    "due",
    "since",
    "attempts",
    "intent",
    "delivered_revision",
    "delivered_version",
    "fingerprint",
    "refetch",
    "lease_until",
    "holder",
    "lease_token",
)


async def settle(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write down where each delivery stands: `SETTLE_COLUMNS`, then id and lease token.

    The token moves on, so that whoever looked at the row before this finds that it holds nothing.
    """
    await bulk.update(conn, delivery, ("id", "lease_token"), SETTLE_COLUMNS, rows)


ATTEMPT_COLUMNS = (
    "id",
    "delivery",
    "at",
    "op",
    "outcome",
    "target_id",
    "code",
    "message",
    "digest",
    "fields",
    "before",
    "took",
)


async def record_attempts(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    await bulk.insert(conn, attempt, ATTEMPT_COLUMNS, rows)


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


async def put_waiting(conn: AsyncConnection, rows: Sequence[tuple[int, int, str]]) -> None:
    """Say which entities a delivery waits for: (delivery, entity, owed field or '')."""
    await bulk.insert(conn, waiting, ("delivery", "entity", "field"), rows, ignore=True)


async def put_waiting_lookups(conn: AsyncConnection, rows: Sequence[tuple[int, str, str]]) -> None:
    await bulk.insert(conn, waiting_lookup, ("delivery", "table", "key"), rows, ignore=True)


async def forget_waiting(conn: AsyncConnection, ids: Collection[int]) -> None:
    """These no longer wait for anything."""
    keys = [(one,) for one in ids]
    await bulk.delete(conn, waiting, ("delivery",), keys)
    await bulk.delete(conn, waiting_lookup, ("delivery",), keys)


async def wake(conn: AsyncConnection, entities: Collection[int], now: int) -> int:
    """These entities are there now: what waits for them, or owes a field to them, is due."""
    if not entities:
        return 0
    rows = await bulk.fetch(conn, select(waiting.c.delivery), waiting.c.entity, entities)
    return await _due_now(conn, {row[0] for row in rows}, now)


# The `field` of a wait for a record that a refused one refers to: its change may be what mends the refusal.
RELATED = "@related"


async def wake_related(conn: AsyncConnection, entities: Collection[int], now: int) -> None:
    """These changed in the source: what was refused for what they said is looked at again, dead or not."""
    statement = select(waiting.c.delivery).where(waiting.c.field == RELATED)
    ids = {row[0] for row in await bulk.fetch(conn, statement, waiting.c.entity, entities)}
    kept = delivery.c.state.in_((State.WORKING.value, State.DOUBT.value))
    revived = update(delivery).values(
        state=case((kept, delivery.c.state), else_=State.PENDING.value),
        revision=delivery.c.revision + 1,
        attempts=0,
        due=case((kept, delivery.c.due), else_=now),
    )
    await bulk.change(conn, revived, delivery.c.id, ids)
    await forget_waiting(conn, ids)


async def captured_since(conn: AsyncConnection, entities: Collection[int], began: int) -> set[int]:
    """Of these entities, the ones of which a change was captured at or after `began` (epoch ms)."""
    statement = select(delivery.c.entity).where(delivery.c.captured >= began)
    return {row[0] for row in await bulk.fetch(conn, statement, delivery.c.entity, entities)}


async def wake_lookups(conn: AsyncConnection, table: str, keys: Collection[str], now: int) -> int:
    """Rows of a lookup table were added: what waits for them is due."""
    statement = select(waiting_lookup.c.delivery).where(waiting_lookup.c.table == table)
    rows = await bulk.fetch(conn, statement, waiting_lookup.c.key, keys)
    return await _due_now(conn, {row[0] for row in rows}, now)


async def wake_blocked(conn: AsyncConnection, entities: Collection[int], now: int) -> None:
    """A change of these entities was captured: what their targets refused for now may go through."""
    statement = update(delivery).where(delivery.c.state == State.BLOCKED.value).values(due=now)
    await bulk.change(conn, statement, delivery.c.entity, entities)


async def _due_now(conn: AsyncConnection, ids: Collection[int], now: int) -> int:
    """Make deliveries pending that rest; the revision moves, so that a holder who is about to put one to rest sees
    it.
    """
    if not ids:
        return 0
    kept = delivery.c.state.in_((State.WORKING.value, State.DOUBT.value, State.HELD.value, State.DEAD.value))
    statement = update(delivery).values(
        state=case((kept, delivery.c.state), else_=State.PENDING.value),
        revision=case((delivery.c.state == State.WORKING.value, delivery.c.revision + 1), else_=delivery.c.revision),
        due=case((delivery.c.state == State.DOUBT.value, delivery.c.due), else_=now),
    )
    await bulk.change(conn, statement, delivery.c.id, ids)
    await forget_waiting(conn, ids)
    return len(ids)


async def make_due(conn: AsyncConnection, flow: str, source_ids: Collection[str], now: int, *, lane: int) -> None:
    """Deliver these again, whatever state they rest in; an open doubt is answered first."""
    kept = delivery.c.state.in_((State.WORKING.value, State.DOUBT.value))
    statement = (
        update(delivery)
        .where(delivery.c.flow == flow)
        .values(
            state=case((kept, delivery.c.state), else_=State.PENDING.value),
            revision=delivery.c.revision + 1,
            attempts=0,
            lane=lane,
            due=now,
        )
    )
    await bulk.change(conn, statement, delivery.c.source_id, source_ids)


async def deliver_again(conn: AsyncConnection, flow: str, source_ids: Collection[str], now: int) -> None:
    """Of these, what was delivered is looked at again: somebody changed in the target what is the source's."""
    delivered = delivery.c.state.in_((State.DONE.value, State.UNCHANGED.value))
    statement = (
        update(delivery)
        .where(delivery.c.flow == flow, delivered)
        .values(state=State.PENDING.value, due=now, attempts=0)
    )
    await bulk.change(conn, statement, delivery.c.source_id, source_ids)


async def purge_payloads(store: Store, before: int) -> int:
    """Drop the raw records of what came to rest before then (epoch ms); they are fetched again if they are needed.

    A record that the next one is compared with stays.
    """
    at_rest = select(delivery.c.id).where(
        delivery.c.state.in_((State.DONE.value, State.UNCHANGED.value, State.FILTERED.value)), delivery.c.since < before
    )
    statement = delete(payload).where(payload.c.previous.is_(None), payload.c.delivery.in_(at_rest))
    async with store.begin() as conn:
        return int((await conn.execute(statement)).rowcount)


async def purge_attempts(store: Store, before: int) -> int:
    """Drop the history of attempts from before then (epoch ms)."""
    async with store.begin() as conn:
        return int((await conn.execute(delete(attempt).where(attempt.c.at < before))).rowcount)


async def next_due(store: Store, flow: str) -> int | None:
    """When the next delivery of a flow is due (epoch ms), or None when nothing is owed."""
    statement = select(func.min(delivery.c.due)).where(delivery.c.flow == flow, _CLAIMABLE)
    async with store.read() as conn:
        due: int | None = (await conn.execute(statement)).scalar()
    return due


async def counts(store: Store, flow: str | None = None) -> dict[str, dict[str, int]]:
    """How many deliveries of each flow stand in each state."""
    statement = select(delivery.c.flow, delivery.c.state, func.count()).group_by(delivery.c.flow, delivery.c.state)
    if flow is not None:
        statement = statement.where(delivery.c.flow == flow)
    async with store.read() as conn:
        rows = (await conn.execute(statement)).all()
    found: dict[str, dict[str, int]] = {}
    for name, state, count in rows:
        found.setdefault(name, {})[state] = count
    return found
