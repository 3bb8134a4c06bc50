"""What a reconcile makes of one source record: is its target as it should be, and if not, does the ledger know?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.connector.contract import GetAnswer, GetKind
from hub.domain.delivery import SETTLED, State
from hub.domain.record import Fields
from hub.mapping.result import Filtered
from hub.mapping.testing import describe
from hub.store import deliveries
from hub.store.deliveries import Known
from hub.store.engine import Store
from hub.sync.compare import differences
from hub.sync.flow import Flow
from hub.sync.sides import renderings
from hub.sync.work import Task, Work

SOURCE_CHANGED = "changed"


@dataclass(slots=True)
class Judged:
    """`kind` is `same`, `left_out`, `missing`, `different`, `ghost`, `owed`, `unclear`, or SOURCE_CHANGED: it was
    captured anew while it was compared. `theirs` is the target's record where it differs.
    """

    kind: str
    source_id: str
    target_id: str | None = None
    title: str | None = None
    differences: dict[str, Any] = field(default_factory=dict)
    why: str | None = None
    task: Task | None = None
    theirs: Fields = field(default_factory=dict)


async def judge(store: Store, flow: Flow, works: Sequence[Work], asked: int) -> list[Judged]:
    """One verdict a source record (the gravest of its targets), from one read of the target for all of them.

    `asked` (epoch ms) is when the source was asked for these records: what was captured after it is newer than what
    is compared here.
    """
    found = [(work, task) for work in works for task in work.tasks if task.target is not None]
    answers: list[GetAnswer] = []
    if found:
        ids = [task.target.record_id for _, task in found if task.target]
        answers = await flow.target.connector.get(flow.target_schema.name, ids, flow.target_fields)
    # After the target was read: what the ledger had not settled by then may explain what stands there.
    async with store.read() as conn:
        known = await deliveries.known(conn, flow.name, [work.claimed.source_id for work in works])
    by_task = {id(task): answer for (_, task), answer in zip(found, answers, strict=True)}
    return [_of_work(flow, work, by_task, known.get(work.claimed.source_id), asked) for work in works]


def _of_work(flow: Flow, work: Work, answers: Mapping[int, GetAnswer], known: Known | None, asked: int) -> Judged:
    source_id = work.claimed.source_id
    if isinstance(work.result, Filtered):
        return Judged("left_out", source_id, title=work.title)
    if known is not None and known.asked >= asked:
        return Judged(SOURCE_CHANGED, source_id, title=work.title)
    tasks = [task for task in work.tasks if task.target is not None]
    judged = [_of_task(flow, work, task, answers[id(task)]) for task in tasks]
    facets = {task.facet for task in tasks}
    if not tasks or any((one.once or one.facet) not in facets for one in renderings(work)):
        judged.append(_without_target(flow, work, known))
    worst = next((one for kind in _GRAVEST for one in judged if one.kind == kind), judged[0])
    if worst.kind in _EXPLAINED and known is not None and known.state not in SETTLED:
        return Judged(
            "owed", source_id, worst.target_id, work.title, worst.differences, f"the ledger has it as {known.state}"
        )
    return worst


_GRAVEST = ("ghost", "missing", "different", "unclear", "left_out", "same")
_EXPLAINED = frozenset({"ghost", "missing", "different", "unclear"})


def _without_target(flow: Flow, work: Work, known: Known | None) -> Judged:
    """It should be there, unless the flow itself leaves it alone: too old, a baseline, never created."""
    never = not flow.policy.create or flow.mapping.spec.target.create == "never"
    left_alone = known is not None and known.state in (State.FILTERED, State.UNCHANGED)
    if left_alone or (never and renderings(work)):
        return Judged("left_out", work.claimed.source_id, title=work.title)
    return Judged("missing", work.claimed.source_id, title=work.title)


def _of_task(flow: Flow, work: Work, task: Task, answer: GetAnswer) -> Judged:
    assert task.target is not None
    source_id, target_id = work.claimed.source_id, task.target.record_id
    if answer.kind is GetKind.GONE:
        return Judged("ghost", source_id, target_id, work.title, task=task)
    rendered = next((one for one in renderings(work) if (one.once or one.facet) == task.facet), None)
    if answer.kind is not GetKind.FOUND or answer.record is None:
        why = "the hub has no right to see it there" if answer.kind is GetKind.NO_RIGHTS else "the target can't tell"
        return Judged("unclear", source_id, target_id, work.title, why=why)
    if rendered is None:
        told = describe(work.result) if work.result is not None and not renderings(work) else "no row is left for it"
        return Judged("unclear", source_id, target_id, work.title, why=told)
    wrong = differences(flow, rendered, task.sent, answer.record.fields)
    if wrong:
        return Judged("different", source_id, target_id, work.title, wrong, task=task, theirs=answer.record.fields)
    return Judged("same", source_id, target_id, work.title)
