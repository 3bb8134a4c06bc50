"""Mends what a reconcile found, through the ledger: nothing is written here, deliveries are made due."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from hub.store import deliveries, identities
from hub.store.engine import Store
from hub.sync.compare import lost_rows
from hub.sync.flow import Flow
from hub.sync.judge import Judged
from hub.sync.reading import Reader
from hub.sync.work import Sent, Task

_LANE = 1  # behind what has just changed


async def mend(store: Store, flow: Flow, found: Sequence[Judged]) -> None:
    """Capture what is missing or different, and make it due; what differs equals nothing until it is sent again."""
    if not found:
        return
    ids = sorted({one.source_id for one in found})
    await Reader(store, flow).capture_records(ids, cause="reconcile")
    wrong = [one for one in found if one.kind == "different" and one.task is not None]
    async with store.begin() as conn:
        rows = [row for one in wrong if (row := _without_lost_rows(flow, one, store.clock.now())) is not None]
        await identities.put_shadows(conn, rows)
        await identities.doubt(
            conn,
            [
                (one.task.target.id, orjson.dumps(sorted({*one.differences, *one.task.doubt})).decode())
                for one in wrong
                if one.task is not None and one.task.target is not None
            ],
        )
        await deliveries.make_due(conn, flow.name, ids, store.clock.now(), lane=_LANE)


def _without_lost_rows(flow: Flow, one: Judged, now: int) -> identities.ShadowRow | None:
    """A row that somebody took out of the target is made anew: its id leads nowhere."""
    task = one.task
    assert task is not None
    lost = {table: lost_rows(flow, table, task.sent, one.theirs) for table in task.sent.rows}
    if task.target is None or not any(lost.values()):
        return None
    return (task.target.id, None, None, _sent_without(task, lost).encode(), now, None)


def _sent_without(task: Task, lost: dict[str, set[str]]) -> Sent:
    rows = {
        table: {key: row for key, row in found.items() if key not in lost[table]}
        for table, found in task.sent.rows.items()
    }
    return Sent(task.sent.fields, rows, task.sent.actions, task.sent.left)


async def delete_absent(store: Store, flow: Flow, ids: Sequence[str]) -> None:
    """The source has these no more: captured as deleted, and the flow's `on_delete` decides about their targets."""
    if not ids:
        return
    await Reader(store, flow).capture_records(ids, cause="reconcile")
    async with store.begin() as conn:
        known = await deliveries.known(conn, flow.name, ids)
        unheard = [(flow.source.name, flow.source_schema.name, one) for one in ids if one not in known]
        await identities.tombstone(store, conn, unheard)


async def unmake(store: Store, flow: Flow, ghosts: Sequence[tuple[str, str]]) -> None:
    """Forget target records that are gone, and make their sources due: they are made again."""
    if not ghosts:
        return
    await Reader(store, flow).capture_records(sorted({source for source, _ in ghosts}), cause="reconcile")
    async with store.begin() as conn:
        gone = [(flow.target.name, flow.target_schema.name, target) for _, target in ghosts]
        await identities.tombstone(store, conn, gone)
        ids = sorted({source for source, _ in ghosts})
        await deliveries.make_due(conn, flow.name, ids, store.clock.now(), lane=_LANE)
