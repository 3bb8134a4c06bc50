"""What the platform says of an approval's way: who had it, who decided, when, in which words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from connectors.wecom.desk import milliseconds
from hub.domain.record import Fields, Value

_PENDING = "1"


def progress_of(info: Mapping[str, Any]) -> Fields:
    """What the platform says of every approval, whatever its form."""
    steps = _steps(info)
    decided = [step for step in steps if step["state"] not in ("1", "4") and step["at"]]
    last = max(decided, key=lambda step: step["at"], default=None)
    comments = [milliseconds(one.get("commenttime")) for one in info.get("comments") or ()]
    times = [milliseconds(info.get("apply_time")), *(step["at"] for step in steps), *comments]
    status = str(info.get("sp_status") or "")
    applicant = info.get("applyer") or {}
    return {
        "sp_no": str(info.get("sp_no") or ""),
        "sp_name": str(info.get("sp_name") or "") or None,
        "sp_status": status or None,
        "creator": applicant.get("userid") or None,
        "creator_department": str(applicant.get("partyid") or "") or None,
        "approvers": [step["who"] for step in steps] or None,
        "cc": [one["userid"] for one in info.get("notifyer") or () if one.get("userid")] or None,
        "summary": None,
        "apply_time": times[0],
        "changed_at": max((at for at in times if at), default=None),
        "pending_with": _pending(info) if status == _PENDING else None,
        "decided_by": last["who"] if last else None,
        "decided_at": last["at"] if last else None,
        "opinion": (last["opinion"] or None) if last else None,
        "steps": [dict(step) for step in steps],
    }


_Part = tuple[Any, Any, Any, Any]  # who, state, opinion, time


def _nodes(info: Mapping[str, Any]) -> list[tuple[Any, list[_Part]]]:
    """The approvers' nodes in order, each its state and its people: from the older `sp_record`, else from the newer
    `process_list`."""
    older = [
        (
            record.get("sp_status"),
            [
                ((one.get("approver") or {}).get("userid"), one.get("sp_status"), one.get("speech"), one.get("sptime"))
                for one in record.get("details") or ()
            ],
        )
        for record in info.get("sp_record") or ()
    ]
    return older or [
        (
            node.get("sp_status"),
            [
                (one.get("userid"), one.get("sp_yj"), one.get("speech"), one.get("sptime"))
                for one in node.get("sub_node_list") or ()
            ],
        )
        for node in (info.get("process_list") or {}).get("node_list") or ()
        if node.get("node_type") == 1
    ]


def _steps(info: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = [part for _, people in _nodes(info) for part in people]
    return [
        {"step": str(at), "who": who or None, "state": str(state), "opinion": speech or None, "at": milliseconds(time)}
        for at, (who, state, speech, time) in enumerate(parts, start=1)
    ]


def _pending(info: Mapping[str, Any]) -> list[Value] | None:
    """Who is to act now: those of the first node that waits."""
    for state, people in _nodes(info):
        waiting: list[Value] = [str(who) for who, his, _, _ in people if his == 1 and who]
        if state == 1 and waiting:
            return waiting
    return None


def digest_of(info: Mapping[str, Any]) -> str:
    """A short text that differs whenever anything that is said of it does."""
    return hashlib.blake2b(orjson.dumps(info, option=orjson.OPT_SORT_KEYS), digest_size=6).hexdigest()
