"""Write-back: the number, the state or the reason of a delivery, written into the source record where people work.

What is owed to the source is a ledger row like any other, of a flow of its own (`orders.back`): it survives a crash, is
retried, and is seen in the lists. The fields that it writes are read by nobody, so it makes no echo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.connector.contract import Op, Write
from hub.domain.delivery import State
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Fields
from hub.store import claims, deliveries, identities
from hub.store.engine import Store
from hub.sync.deliver import ACCIDENTS, send
from hub.sync.failpoints import failpoint
from hub.sync.flow import Flow
from hub.sync.lease import Lease
from hub.sync.work import Work

SUFFIX = ".back"

_TOLD = {State.DONE: "ok", State.UNCHANGED: "ok", State.DEAD: "failed", State.HELD: "failed"}


async def owe(store: Store, conn: AsyncConnection, flow: Flow, works: Sequence[Work]) -> None:
    """Note what the source is to be told of these deliveries; nothing where it has been told the same."""
    if flow.mapping.write_back is None:
        return
    name = flow.name + SUFFIX
    fields = {work.claimed.source_id: (work, told) for work in works if (told := await _told(conn, flow, work))}
    if not fields:
        return
    known = await deliveries.known(conn, name, fields.keys())
    now = store.clock.now()
    new: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    payloads: list[tuple[int, str]] = []
    for source_id, (work, told) in fields.items():
        body = orjson.dumps({"record": told}, option=orjson.OPT_SORT_KEYS).decode()
        content = blake2b(body.encode(), digest_size=16).hexdigest()
        before = known.get(source_id)
        if before is None:
            one = store.ids.next()
            new.append(
                (one, name, source_id, work.claimed.entity, State.PENDING.value, None, work.title, 0, now, now, False,
                 None, content, now, now, now, None)
            )  # fmt: skip
        elif before.hash != content:
            one = before.id
            changed.append((False, None, content, now, now, now, work.title, 0, now, None, one))
        else:
            continue
        payloads.append((one, body))
    await deliveries.add(conn, new)
    await deliveries.supersede(conn, changed, now)
    await deliveries.put_payloads(conn, payloads)


async def _told(conn: AsyncConnection, flow: Flow, work: Work) -> Fields | None:
    verdict = work.verdict
    kind = _TOLD.get(verdict.state) if verdict is not None else None
    if verdict is None or kind is None or work.claimed.deleted:
        return None
    keys: dict[str, str | None] = {"message": verdict.message or verdict.reason}
    task = next((one for one in work.tasks if one.target_id), None)
    if task is not None:
        keys["id"] = task.target_id
        keys["number"] = (task.outcome.keys.get("number") if task.outcome else None) or (
            task.target.number if task.target else None
        )
        if keys["number"] is None and task.target_id:
            found = await identities.by_ids(conn, flow.target.name, flow.target_schema.name, [task.target_id])
            keys["number"] = next((one.number for one in found.values()), None)
    told = flow.mapping.written_back(ok=kind == "ok", keys=keys, message=keys["message"])
    return told or None


async def drain(store: Store, flow: Flow, *, holder: str, lease: float, limit: int) -> int:
    """Tell the source what it is owed. Returns how many were worked on."""
    asked = store.clock.monotonic()
    claimed = await claims.claim(store, flow.name + SUFFIX, limit=limit, lease=lease, holder=holder)
    if not claimed:
        return 0
    async with Lease(store, claimed, asked, lease).kept():
        try:
            return await _tell(store, flow, claimed)
        except BaseException:
            await asyncio.shield(claims.hand_back(store, claimed))
            raise


async def _send(flow: Flow, claimed: Sequence[claims.Claimed], writes: Sequence[Write]) -> list[Outcome]:
    """What went wrong twice goes alone: it may be the very record over which its batches broke."""
    found: dict[int, Outcome] = {}
    pairs = list(zip(claimed, writes, strict=True))
    together = [pair for pair in pairs if pair[0].attempts < ACCIDENTS]
    for group in (together, *([pair] for pair in pairs if pair[0].attempts >= ACCIDENTS)):
        outcomes = await send(flow.source, flow.source_schema.name, [write for _, write in group])
        found.update((one.id, outcome) for (one, _), outcome in zip(group, outcomes, strict=True))
    return [found[one.id] for one in claimed]


async def _tell(store: Store, flow: Flow, claimed: Sequence[claims.Claimed]) -> int:
    async with store.read() as conn:
        bodies = await deliveries.payloads(conn, [one.id for one in claimed])
    writes = [Write(Op.UPDATE, one.source_id, orjson.loads(bodies[one.id][0])["record"]) for one in claimed]
    outcomes = await _send(flow, claimed, writes)
    failpoint("after-tell")
    now = store.clock.now()
    rows: list[tuple[Any, ...]] = []
    attempts: list[tuple[Any, ...]] = []
    for one, write, outcome in zip(claimed, writes, outcomes, strict=True):
        failure = outcome.failure
        text = failure.message if failure else None
        spent = one.attempts + 1
        if outcome.kind is OutcomeKind.OK:
            state, reason, delay, spent = State.DONE, None, 0.0, 0
        elif outcome.kind in (OutcomeKind.REJECTED, OutcomeKind.GONE, OutcomeKind.DUPLICATE):
            state, reason, delay = State.DEAD, outcome.kind.value, 0.0
        elif spent >= flow.policy.attempts and outcome.retry_after is None:
            state, reason, delay = State.DEAD, "retries_spent", 0.0
        else:
            # An update that writes the same again does no harm: unknown is tried again like the rest.
            delay = outcome.retry_after or min(flow.policy.backoff_limit, flow.policy.backoff * 2.0**one.attempts)
            state, reason = State.PENDING, outcome.kind.value
        rows.append(
            (state.value, reason, text, one.title, now + int(delay * 1000), now, spent, one.revision, None, None,
             one.id, one.token)
        )  # fmt: skip
        attempts.append(
            (store.ids.next(), one.id, now, "write_back", outcome.kind.value, one.source_id,
             failure.code if failure else None, text, None, orjson.dumps(list(write.fields)).decode(), None, 0)
        )  # fmt: skip
    async with store.begin() as conn:
        held = await claims.still_held(conn, claimed)
        await deliveries.record_attempts(conn, attempts)
        again = (State.PENDING.value,)
        await deliveries.settle(
            conn,
            [
                row if held.get(one.id) == one.revision else (*again, *row[1:])
                for one, row in zip(claimed, rows, strict=True)
                if one.id in held
            ],
        )
    failpoint("after-told")
    return len(claimed)
