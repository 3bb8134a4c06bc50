"""The ledger: what is known of a flow's source records, what is claimed, and how a batch of work is written down."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.delivery import State
from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import attempt, delivery, payload


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


_CAPTURE_LOCK = 0x4352_4D43  # 'CRMC'


async def in_turn(store: Store, conn: AsyncConnection, flow: str) -> None:
    """Captures of one flow take turns until their transactions end.

    Worker 1 fetched a record at noon, worker 2 at one second past noon, and both know the ledger's row of the morning.
    Worker 2 commits; worker 1, who finds himself newer than the morning, would put the noon's content over it.
    """
    if store.dialect == "postgresql":
        key = int.from_bytes(blake2b(flow.encode(), digest_size=4).digest(), "big", signed=True)
        await conn.execute(select(func.pg_advisory_xact_lock(_CAPTURE_LOCK, key)))


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


SETTLE_COLUMNS = (
    "state",
    "reason",
    "message",
    "title",
    "due",
    "since",
    "attempts",
    "delivered_revision",
    "delivered_version",
    "fingerprint",
)

_OVER = {"refetch": False, "lease_until": None, "holder": None}

# The token moves on, so that whoever looked at the row before this finds that it holds nothing.
_NEXT_TOKEN = {"lease_token": '"delivery"."lease_token" + 1'}


async def settle(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write down where each delivery stands: `SETTLE_COLUMNS`, then id and lease token."""
    await bulk.update(conn, delivery, ("id", "lease_token"), SETTLE_COLUMNS, rows, alike=_OVER, sets=_NEXT_TOKEN)


async def settle_delivered(
    conn: AsyncConnection,
    keys: Sequence[tuple[int, int, int]],
    *,
    state: State,
    reason: str | None,
    message: str | None,
    fingerprint: str,
    now: int,
) -> int:
    """These (id, lease token, revision) are delivered as they were captured, and nothing moved meanwhile.

    Returns how many were: what was captured again, or taken over by somebody else, is left alone.
    """
    alike = {
        **_OVER,
        "state": state.value,
        "reason": reason,
        "message": message,
        "since": now,
        "attempts": 0,
        "fingerprint": fingerprint,
    }
    sets = {**_NEXT_TOKEN, "delivered_revision": '"delivery"."revision"', "delivered_version": '"delivery"."version"'}
    return await bulk.update(conn, delivery, ("id", "lease_token", "revision"), (), keys, alike=alike, sets=sets)


async def doubt(conn: AsyncConnection, ids: Collection[int], due: int) -> None:
    """A late worker's writes reached the target after all: their fate is to be found out, by who works on them or
    next.
    """
    worked_on = delivery.c.state == State.WORKING.value
    statement = update(delivery).values(
        state=case((worked_on, delivery.c.state), else_=State.DOUBT.value),
        revision=delivery.c.revision + 1,
        due=due,
    )
    await bulk.change(conn, statement, delivery.c.id, ids)


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
        .values(state=State.PENDING.value, revision=delivery.c.revision + 1, due=now, attempts=0)
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
