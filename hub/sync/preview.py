"""Preview: what would be written, without writing anything, into the target or into the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.domain.delivery import State
from hub.mapping.result import Failed, Filtered, Refused, Waiting
from hub.store import claims, identities
from hub.store.engine import Store
from hub.sync.capture import Seen
from hub.sync.flow import Flow
from hub.sync.gather import take_targets
from hub.sync.reading import Reader
from hub.sync.resolve import Resolver
from hub.sync.work import Task, Work


@dataclass(slots=True)
class Preview:
    """What one source record would lead to: `create`, `update`, `nothing`, or why it would not travel."""

    source_id: str
    title: str | None
    what: str
    target_id: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)  # target field -> {"from": ..., "to": ...}
    rows: dict[str, Any] = field(default_factory=dict)
    why: str | None = None


async def preview(
    store: Store, flow: Flow, *, ids: Sequence[str] = (), since: int | None = None, limit: int = 500
) -> list[Preview]:
    """Read the records, translate them and compare, as a delivery would, and stop before the intent."""
    seen = await _seen(flow, store, ids, since, limit)
    works = await works_of(store, flow, [one for one in seen if one.payload is not None])
    await Resolver(store, flow).resolve(works)
    gone = [Preview(one.id, None, "nothing", why="the source does not have it") for one in seen if one.payload is None]
    return [_of(work) for work in works] + gone


async def _seen(flow: Flow, store: Store, ids: Sequence[str], since: int | None, limit: int) -> list[Seen]:
    reader = Reader(store, flow)
    if ids:
        return await reader.fetch(list(ids))
    return await reader.sample(since=since, limit=limit)


async def works_of(store: Store, flow: Flow, seen: Sequence[Seen]) -> list[Work]:
    """Pieces of work that were never claimed."""
    now = store.clock.now()
    async with store.read() as conn:
        sources = await identities.by_ids(conn, flow.source.name, flow.source_schema.name, [one.id for one in seen])
    works = [
        Work(_unclaimed(one, sources[one.id].entity if one.id in sources else 0, now), one.payload, revision=1)
        for one in seen
    ]
    await take_targets(store, flow, works)
    return works


def _unclaimed(seen: Seen, entity: int, now: int) -> claims.Claimed:
    return claims.Claimed(
        id=0,
        source_id=seen.id,
        entity=entity,
        state=State.PENDING.value,
        reason=None,
        title=None,
        lane=0,
        since=now,
        attempts=0,
        deleted=False,
        refetch=False,
        revision=1,
        version=seen.version,
        captured=now,
        delivered_revision=None,
        token=0,
    )


def _of(work: Work) -> Preview:
    match work.result:
        case Filtered(rule=rule):
            return Preview(work.claimed.source_id, work.title, "filtered", why=rule)
        case Refused(messages=messages):
            return Preview(work.claimed.source_id, work.title, "refused", why="; ".join(messages))
        case Failed(errors=errors):
            why = "; ".join(one.message for one in errors)
            return Preview(work.claimed.source_id, work.title, "invalid", why=why)
        case Waiting():
            return Preview(
                work.claimed.source_id, work.title, "waits", why=work.verdict.message if work.verdict else None
            )
    task = work.tasks[0] if work.tasks else Task()
    verdict = task.verdict or work.verdict
    if task.intent is None:
        what = verdict.state.value if verdict is not None else "nothing"
        return Preview(
            work.claimed.source_id, work.title, what, task.target_id, why=verdict.message if verdict else None
        )
    write = task.intent.write
    was = task.current.fields if task.current is not None else task.sent.fields
    changes = {name: {"from": was.get(name), "to": value} for name, value in write.fields.items()}
    rows = {
        table: {"upsert": [row.fields for row in found.upsert], "remove": found.remove}
        for table, found in write.rows.items()
    }
    return Preview(work.claimed.source_id, work.title, write.op.value, task.target_id, changes, rows)
