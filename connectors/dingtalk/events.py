"""What an event is about, the same for both ways in which it comes: a flat envelope over HTTP, headers and data over
Stream. Every event is a hint to fetch; what it says of a state may be overtaken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from connectors.dingtalk.describing import DEPARTMENT, USER
from hub.connector.contract import Event

ByCode = Callable[[object], str | None]

_APPROVALS = frozenset({"bpms_instance_change", "bpms_task_change"})
_PEOPLE: Mapping[str, tuple[str, str, str]] = {
    "user_add_org": (USER, "userid", "created"),
    "user_modify_org": (USER, "userid", "changed"),
    "user_active_org": (USER, "userid", "changed"),
    "user_leave_org": (USER, "userid", "deleted"),
    "org_admin_add": (USER, "userid", "changed"),
    "org_admin_remove": (USER, "userid", "changed"),
    "org_dept_create": (DEPARTMENT, "deptid", "created"),
    "org_dept_modify": (DEPARTMENT, "deptid", "changed"),
    "org_dept_remove": (DEPARTMENT, "deptid", "deleted"),
}
_KINDS = {"start": "created", "delete": "deleted"}


def events_of(kind: str, fields: Mapping[str, Any], by_code: ByCode) -> list[Event]:
    """The records that an event is about; none for events that concern nothing of ours.

    Names are spelled `userId`, `UserId` or `staffId` by generation of the push, so their case is not looked at.
    """
    named = {name.lower(): value for name, value in fields.items()}
    at = named.get("eventtime") or named.get("timestamp")
    when = int(at) if isinstance(at, int | str) and str(at).isdigit() else None
    if kind in _APPROVALS:
        object, id = by_code(named.get("processcode")), named.get("processinstanceid")
        if object is None or not isinstance(id, str) or not id:
            return []
        told = "changed" if kind == "bpms_task_change" else _KINDS.get(str(named.get("type")), "changed")
        return [Event(object, id, told, when)]
    if kind in _PEOPLE:
        object, key, told = _PEOPLE[kind]
        ids = named.get(key)
        return [Event(object, str(id), told, when) for id in (ids if isinstance(ids, list) else [ids]) if id]
    return []


def dedupe_of(kind: str, fields: Mapping[str, Any]) -> str:
    """What tells this event from every other: its id where it has one, else all that it says."""
    named = {name.lower(): value for name, value in fields.items()}
    id = named.get("eventid")
    if isinstance(id, str) and id:
        return f"event:{id}"
    # Older pushes have none. A digest of the whole is safer than any choice of members: two changes may share those.
    whole = orjson.dumps([kind, dict(fields)], option=orjson.OPT_SORT_KEYS)
    return f"content:{hashlib.sha256(whole).hexdigest()}"
