"""The simulator's life of a document: submit, audit, un-audit, delete, cancel, forbid, allocate."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from connectors.erp.kingdee.simulator_forms import FORM_OPERATIONS, Form
from connectors.erp.kingdee.simulator_store import Refused, Store
from hub.connector.table import Row

STATES = {"Z": "暂存", "A": "创建", "B": "审核中", "C": "已审核", "D": "重新审核"}

# step -> (states it may be taken in, state it leads to, its name in messages)
STEPS = {
    "Submit": ("AD", "B", "提交"),
    "Audit": ("B", "C", "审核"),
    "UnAudit": ("C", "D", "反审核"),
    "CancelAssign": ("B", "A", "撤销"),
}

_FLAGS = {
    "Cancel": ("FCancelStatus", "A", "B", "作废"),
    "UnCancel": ("FCancelStatus", "B", "A", "反作废"),
    "Forbid": ("FForbidStatus", "A", "B", "禁用"),
    "Enable": ("FForbidStatus", "B", "A", "反禁用"),
    "YLBillClose": ("FCloseStatus", "A", "B", "整单关闭"),
    "YLUnBillClose": ("FCloseStatus", "B", "A", "反关闭"),
}


def chosen(store: Store, form: Form, data: dict[str, Any]) -> list[tuple[str, Row | None]]:
    """The documents that `Ids` ("1,2") or `Numbers` name, in turn; None where there is none."""
    ids = [id.strip() for id in str(data.get("Ids") or data.get("Id") or "").split(",") if id.strip()]
    if ids:
        return [(id, store.table(form.id).get(id)) for id in ids]
    numbers = data.get("Numbers") or ([data["Number"]] if data.get("Number") else [])
    found: list[tuple[str, Row | None]] = []
    for number in numbers:
        rows = store.by_text(form.id, form.number, (number,)) or []
        if len(rows) > 1:
            raise Refused(f"编码“{number}”在多个组织下存在，请指定CreateOrgId", code=8)
        found.append((str(number), rows[0] if rows else None))
    if not found:
        raise Refused("Ids和Numbers不能同时为空", code=8)
    return found


def operation(store: Store, form: Form, name: str) -> Callable[[Row], Row | None]:
    """What an operation does to one document; returns it as it is then (None: deleted). Raises Refused."""
    if name in STEPS and form.layout.submits:
        return lambda row: step(store, form, row, name)
    if name == "Delete" and form.layout.submits:
        return lambda row: delete(store, form, row)
    flag = _FLAGS.get(name)
    known = name not in ("YLBillClose", "YLUnBillClose") or name in FORM_OPERATIONS.get(form.id, {})
    if flag and form.find(flag[0]) and known:
        return lambda row: set_flag(store, form, row, name)
    raise Refused(f"操作“{name}”不存在", code=3)


def step(store: Store, form: Form, row: Row, name: str, *, actor: str = "api") -> Row:
    states, to, label = STEPS[name]
    state = str(row["FDocumentStatus"])
    if state not in states:
        raise Refused(f"{form.label}“{row[form.number]}”{_why_not(state, label)}", code=12)
    _unlocked(store, form, row)
    if name == "UnAudit":
        _no_downstream(store, form, row)
    after = {**row, "FDocumentStatus": to}
    # The stamp of the last edit does not move at submit and audit; an audit leaves its own.
    if name == "Audit":
        after["FApproveDate"] = store.moment()
    elif name in ("UnAudit", "CancelAssign"):
        after["FApproveDate"] = None
        after["FModifyDate"] = store.moment()
    return store.put(name.lower(), form, after, actor=actor)


def delete(store: Store, form: Form, row: Row, *, actor: str = "api") -> None:
    if row["FDocumentStatus"] not in "ZAD":
        state = STATES[str(row["FDocumentStatus"])]
        raise Refused(f"{form.label}“{row[form.number]}”的状态为{state}，不能删除", code=12)
    _unlocked(store, form, row)
    _no_downstream(store, form, row)
    store.remove(form, row, actor=actor)


def set_flag(store: Store, form: Form, row: Row, name: str, *, actor: str = "api") -> Row:
    field, before, after, label = _FLAGS[name]
    if row.get(field, "A") != before:
        raise Refused(f"{form.label}“{row[form.number]}”的状态不允许{label}", code=12)
    _unlocked(store, form, row)
    if name == "Cancel":
        _no_downstream(store, form, row)
    return store.put(name.lower(), form, {**row, field: after, "FModifyDate": store.moment()}, actor=actor)


def allocate(store: Store, form: Form, row: Row, org: Row) -> Row:
    """Give base data to another organisation: a row with the same number and another id, audited too."""
    if not form.org_controlled:
        raise Refused(f"{form.label}不支持分配", code=12)
    if row["FDocumentStatus"] != "C":
        raise Refused(f"{form.label}“{row[form.number]}”未审核，不能分配", code=12)
    for other in store.by_text(form.id, form.number, (row[form.number],)) or ():
        if other.get("FUseOrgId") == org["FOrgID"]:
            return other
    copy = deepcopy(row)
    moment = store.moment()
    copy.update(
        {
            form.pk: store.new_id(),
            "FUseOrgId": org["FOrgID"],
            "FUseOrgId.FNumber": org["FNumber"],
            "FModifyDate": moment,
            "FApproveDate": moment,
        }
    )
    for table in form.tables:
        for each in copy.get(table) or []:
            each["FEntryID"] = store.new_id()
    return store.put("allocate", form, copy)


def _why_not(state: str, label: str) -> str:
    if state == "C":
        return f"已审核，不能{label}"
    return f"的状态为{STATES[state]}，非草稿或非审核中状态不能{label}"


def _unlocked(store: Store, form: Form, row: Row) -> None:
    if (form.id, str(row[form.pk])) in store.edit_locks:
        raise Refused(f"网络控制冲突：{form.label}“{row[form.number]}”正在被其他用户编辑", code=13)


def _no_downstream(store: Store, form: Form, row: Row) -> None:
    if form.id != "SAL_SaleOrder":
        return
    for receipt in store.table("AR_RECEIVEBILL"):
        for source in receipt.get("FRECEIVEBILLSRCENTRY") or []:
            if row["FBillNo"] in (source.get("FSRCBILLNO"), source.get("FORDERBILLNO")):
                raise Refused(f"单据“{row['FBillNo']}”存在下游单据“{receipt['FBillNo']}”，不允许该操作", code=12)
