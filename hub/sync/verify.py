"""Verify: what a mapping's `ensure:` promises is read back from the target after a write."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from hub.connector.contract import GetAnswer, GetKind
from hub.domain.delivery import State
from hub.domain.errors import HubError
from hub.domain.record import Value
from hub.sync.flow import Flow
from hub.sync.work import Task, Verdict, Work


async def verify(flow: Flow, pairs: Sequence[tuple[Work, Task]]) -> None:
    """Hold every written record whose ensured fields say something else; the write itself stands, and is remembered."""
    asked = [
        task
        for _, task in pairs
        if task.rendered is not None and task.rendered.ensure and task.outcome is not None and task.outcome.ok
    ]
    ids = [task.target_id or "" for task in asked]
    if not ids:
        return
    fields = frozenset(name for task in asked if task.rendered is not None for name in task.rendered.ensure)
    try:
        answers: list[GetAnswer] = await flow.target.connector.get(flow.target_schema.name, ids, fields)
    except HubError as error:
        answers = [GetAnswer(one, GetKind.CANT_TELL) for one in ids]
        why = f": {error}"
    else:
        why = ""
    for task, answer in zip(asked, answers, strict=True):
        if answer.kind is not GetKind.FOUND or answer.record is None:
            text = f"it was written, and {flow.target.name} can't be asked whether it took it as it should{why}"
            task.verdict = Verdict(State.HELD, "ensure", text)
        elif wrong := _wrong(flow, task, answer.record.fields):
            task.verdict = Verdict(State.HELD, "ensure", "it was written, but " + "; ".join(wrong))


def _wrong(flow: Flow, task: Task, theirs: dict[str, Any]) -> list[str]:
    assert task.rendered is not None
    return [
        f"{name} is {theirs.get(name)!r} and should be {expected!r}" + (f" within {within}" if within else "")
        for name, (expected, within) in task.rendered.ensure.items()
        if not _holds(flow, name, expected, theirs.get(name), within)
    ]


def _holds(flow: Flow, name: str, expected: Value, theirs: Value, within: str | None) -> bool:
    if flow.same(name, expected, theirs):
        return True
    if within is None:
        return False
    try:
        return abs(Decimal(str(expected)) - Decimal(str(theirs))) <= Decimal(within)
    except InvalidOperation:
        return False
