"""An approval instance as the API shows it, as a record: what was decided, by whom, in what words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.dingtalk.forms import Form
from hub.domain.record import Fields, Record, Value

RUNNING, AGREED, REFUSED, WITHDRAWN, REVOKED = "running", "agreed", "refused", "withdrawn", "revoked"
_DECISIONS = frozenset({"EXECUTE_TASK_NORMAL", "EXECUTE_TASK_AGENT"})
_ROOT = "1"  # the root department in the address book; approvals call it -1
_OPEN_TASKS = frozenset({"NEW", "RUNNING", "PAUSED"})


def state_of(found: Mapping[str, Any]) -> str:
    """Where an instance stands; `revoked` is not told by the instance itself."""
    status = str(found.get("status") or "").upper()
    if status in ("TERMINATED", "CANCELED"):
        return WITHDRAWN
    if status == "COMPLETED":
        return AGREED if str(found.get("result") or "").lower() == "agree" else REFUSED
    return RUNNING


def record_of(
    object: str, id: str, found: Mapping[str, Any], form: Form, fields: frozenset[str] | None, *, revoked: bool = False
) -> Record:
    """The record of one instance (`result` of the API), flat, with its tables."""
    records = [one for one in found.get("operationRecords") or () if isinstance(one, Mapping)]
    tasks = [one for one in found.get("tasks") or () if isinstance(one, Mapping)]
    state = REVOKED if revoked else state_of(found)
    last = _decision(records, state)
    department = str(found.get("originatorDeptId") or "")
    values: Fields = {
        **form.decode(found.get("formComponentValues") or ()),
        "instance_id": id,
        "originator": _text(found.get("originatorUserId")),
        "originator_dept": _ROOT if department == "-1" else department or None,
        "approvers": _people(found.get("approverUserIds")),
        "chosen_approvers": None,
        "cc": _people(found.get("ccUserIds")),
        "title": _text(found.get("title")),
        "business_id": _text(found.get("businessId")),
        "state": state,
        "started_at": _text(found.get("createTime")),
        "finished_at": _text(found.get("finishTime")),
        "decided_by": _text(last.get("userId")),
        "decided_at": _text(last.get("date")),
        "opinion": _text(last.get("remark")),
        "waiting_for": [str(task["userId"]) for task in tasks if str(task.get("status")) in _OPEN_TASKS],
        "action": _text(found.get("bizAction")) or "NONE",
        "main_instance": _text(found.get("mainProcessInstanceId")),
        "records": [_operation(at, one) for at, one in enumerate(records, 1)],
        "tasks": [_task(one) for one in tasks],
    }
    if fields is not None:
        values = {name: value for name, value in values.items() if name in fields}
    return Record(object, id, values)


def _decision(records: list[Mapping[str, Any]], state: str) -> Mapping[str, Any]:
    """The operation that brought the instance where it is: the last decision, or the withdrawal."""
    kinds = frozenset({"TERMINATE_PROCESS_INSTANCE"}) if state == WITHDRAWN else _DECISIONS
    return next((one for one in reversed(records) if one.get("type") in kinds), {})


def _operation(at: int, one: Mapping[str, Any]) -> Fields:
    names = {"user": "userId", "at": "date", "type": "type", "result": "result", "opinion": "remark"}
    return {"row": str(at), **{name: _text(one.get(theirs)) for name, theirs in names.items()}}


def _task(one: Mapping[str, Any]) -> Fields:
    names = {"user": "userId", "status": "status", "result": "result", "started_at": "createTime"}
    names["finished_at"] = "finishTime"
    return {"task_id": str(one.get("taskId")), **{name: _text(one.get(theirs)) for name, theirs in names.items()}}


def _people(given: Any) -> list[Value]:
    return [str(one) for one in given or ()]


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
