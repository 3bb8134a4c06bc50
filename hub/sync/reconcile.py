"""Reconcile: compare both sides in full, and find what no log shows; repair goes through the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.connector.contract import GetAnswer, GetKind
from hub.mapping.result import Rendered
from hub.store import deliveries, identities
from hub.store.engine import Store
from hub.sync.changes import pair_rows, whole
from hub.sync.flow import Flow
from hub.sync.reading import Progress, Reader
from hub.sync.sides import renderings, source_works, target_records
from hub.sync.work import Task, Work

_SAMPLES = 1000


@dataclass(slots=True)
class Finding:
    """One record that is not as it should be: `missing`, `different`, `extra` or `ghost`."""

    kind: str
    source_id: str | None
    target_id: str | None
    title: str | None
    fields: dict[str, Any] = field(default_factory=dict)  # field -> {"ours": ..., "theirs": ...}


@dataclass(slots=True)
class ReconcileReport:
    """The books of both sides. `checked` = same + different + missing + ghost + unclear, of `source` - left_out."""

    flow: str
    repaired: bool
    source: int = 0
    target: int = 0
    left_out: int = 0
    same: int = 0
    different: int = 0
    missing: int = 0
    ghost: int = 0
    extra: int = 0
    unclear: int = 0
    findings: list[Finding] = field(default_factory=list)

    def note(self, finding: Finding) -> None:
        setattr(self, finding.kind, getattr(self, finding.kind) + 1)
        if len(self.findings) < _SAMPLES:
            self.findings.append(finding)


async def reconcile(store: Store, flow: Flow, *, repair: bool, progress: Progress | None = None) -> ReconcileReport:
    """Translate every source record and hold it against the target's record; then look for target records without a
    source.

    `repair` makes deliveries due: what is missing is captured, what differs is sent again, an identity that points
    at nothing goes by the flow's `on_gone`. Extra records are shown and left: they may be somebody's own.
    """
    report = ReconcileReport(flow.name, repair)
    async for works in source_works(store, flow, progress):
        report.source += len(works)
        await _compare(store, flow, works, report, repair)
    async for records in target_records(flow, progress):
        report.target += len(records)
        ids = [record.id for record in records]
        linked = await _linked(store, flow, ids)
        for record in records:
            if record.id not in linked:
                title = flow.target_schema.number_field
                report.note(Finding("extra", None, record.id, str(record.fields.get(title)) if title else None))
    return report


async def _compare(store: Store, flow: Flow, works: Sequence[Work], report: ReconcileReport, repair: bool) -> None:
    travelling = [work for work in works if renderings(work)]
    report.left_out += len(works) - len(travelling)
    known = [(work, task) for work in travelling for task in work.tasks if task.target is not None]
    with_target = {work.claimed.source_id for work, _ in known}
    broken: list[tuple[Work, Task, list[str]]] = []
    missing = [work for work in travelling if work.claimed.source_id not in with_target]
    for work in missing:
        report.note(Finding("missing", work.claimed.source_id, None, work.title))
    answers: list[GetAnswer] = await flow.target.connector.get(
        flow.target_schema.name, [task.target.record_id for _, task in known if task.target], flow.target_fields
    )
    ghosts: list[tuple[Work, Task]] = []
    for (work, task), answer in zip(known, answers, strict=True):
        target_id = task.target.record_id if task.target else None
        rendered = next((one for one in renderings(work) if (one.once or one.facet) == task.facet), None)
        if answer.kind is GetKind.GONE:
            ghosts.append((work, task))
            report.note(Finding("ghost", work.claimed.source_id, target_id, work.title))
        elif answer.kind is not GetKind.FOUND or answer.record is None or rendered is None:
            report.unclear += 1
        elif found := _differences(flow, rendered, answer.record.fields):
            broken.append((work, task, list(found)))
            report.note(Finding("different", work.claimed.source_id, target_id, work.title, found))
        else:
            report.same += 1
    if repair:
        await _repair(store, flow, missing, broken, ghosts)


def _differences(flow: Flow, rendered: Rendered, theirs: dict[str, Any]) -> dict[str, Any]:
    """Owned fields, and tables, that do not say what they should."""
    skip = flow.mapping.create_only | flow.not_ours
    found: dict[str, Any] = {
        name: {"ours": value, "theirs": theirs.get(name)}
        for name, value in rendered.fields.items()
        if name not in skip and not _computed(flow, name) and not flow.same(name, value, theirs.get(name))
    }
    content = whole(rendered, skip=frozenset())
    for table, rows in content.rows.items():
        present = theirs.get(table)
        _, unpaired = pair_rows(
            flow.target_schema, table, rows.upsert, present if isinstance(present, list) else [], frozenset()
        )
        if unpaired:
            found[table] = {"ours": len(rows.upsert), "theirs": len(present or []), "unpaired": unpaired[:20]}
    return found


def _computed(flow: Flow, name: str) -> bool:
    field = flow.target_schema.fields.get(name)
    return field is None or field.computed


async def _repair(
    store: Store,
    flow: Flow,
    missing: Sequence[Work],
    broken: Sequence[tuple[Work, Task, list[str]]],
    ghosts: Sequence[tuple[Work, Task]],
) -> None:
    reader = Reader(store, flow)
    ids = sorted(
        {work.claimed.source_id for work in [*missing, *(one[0] for one in broken), *(one[0] for one in ghosts)]}
    )
    if not ids:
        return
    await reader.capture_records(ids, cause="reconcile")
    async with store.begin() as conn:
        await identities.doubt(
            conn,
            [(task.target.id, orjson.dumps(fields).decode()) for _, task, fields in broken if task.target is not None],
        )
        if ghosts:
            gone = [
                (task.target.system, task.target.object, task.target.record_id)
                for _, task in ghosts
                if task.target is not None
            ]
            await identities.tombstone(store, conn, gone)
        await deliveries.make_due(conn, flow.name, ids, store.clock.now(), lane=1)


async def _linked(store: Store, flow: Flow, ids: Sequence[str]) -> set[str]:
    async with store.read() as conn:
        known = await identities.by_ids(conn, flow.target.name, flow.target_schema.name, ids)
        sources = await identities.of_entities(
            conn, [one.entity for one in known.values()], flow.source.name, flow.source_schema.name
        )
    return {record_id for record_id, one in known.items() if sources.get(one.entity)}
