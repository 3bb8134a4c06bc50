"""What people do in the simulated Kingdee (edits at a screen), what a data centre comes with, and quick seeding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.erp.kingdee.simulator_flow import operation, set_flag, step
from connectors.erp.kingdee.simulator_forms import HEAD, Form, Key
from connectors.erp.kingdee.simulator_save import SaveOptions, blank, derive, save, typed
from connectors.erp.kingdee.simulator_store import Refused, Store
from hub.connector.table import Row

_ORG_100 = {"FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100"}
_ORG_200 = {"FCreateOrgId.FNumber": "200", "FUseOrgId.FNumber": "200"}

_PRESETS: dict[str, list[Row]] = {
    "ORG_Organizations": [
        {"FOrgID": 1, "FNumber": "100", "FName": "演示一公司"},
        {"FOrgID": 100_016, "FNumber": "200", "FName": "演示二公司"},
    ],
    "BD_Currency": [
        {"FCURRENCYID": 1, "FNumber": "PRE001", "FName": "人民币", "FCODE": "CNY"},
        {"FCURRENCYID": 2, "FNumber": "PRE002", "FName": "香港元", "FCODE": "HKD"},
        {"FCURRENCYID": 3, "FNumber": "PRE003", "FName": "欧元", "FCODE": "EUR"},
        {"FCURRENCYID": 4, "FNumber": "PRE004", "FName": "日本日圆", "FCODE": "JPY"},
        {"FCURRENCYID": 7, "FNumber": "PRE007", "FName": "美元", "FCODE": "USD"},
    ],
    "BD_UNIT": [
        {"FUNITID": 10_101, "FNumber": "Pcs", "FName": "件", "FPrecision": 0},
        {"FUNITID": 10_095, "FNumber": "kg", "FName": "千克", "FPrecision": 3},
    ],
    "BOS_BillType": [
        {"FBILLTYPEID": "eacb50844fc84a10b03d7b841f3a6278", "FNumber": "XSDD01_SYS", "FName": "标准销售订单"},
        {"FBILLTYPEID": "36cf265bd8c3452194ed9c83ec5e73d2", "FNumber": "SKDLX01_SYS", "FName": "销售收款单"},
    ],
    "BD_SETTLETYPE": [
        {"FID": 1, "FNumber": "JSFS01_SYS", "FName": "现金"},
        {"FID": 4, "FNumber": "JSFS04_SYS", "FName": "电汇"},
    ],
    "BD_Department": [
        {"FDEPTID": 100_041, "FNumber": "BM000001", "FName": "销售部", **_ORG_100},
        {"FDEPTID": 100_042, "FNumber": "BM000002", "FName": "大客户部", **_ORG_100},
        {"FDEPTID": 100_043, "FNumber": "BM000001", "FName": "销售部", **_ORG_200},
    ],
    "BD_Empinfo": [
        {"FID": 100_051, "FNumber": "S001", "FName": "王芳", "FMobile": "13800000001", **_ORG_100},
        {"FID": 100_052, "FNumber": "S002", "FName": "李强", "FMobile": "13800000002", **_ORG_100},
    ],
    "BD_OPERATOR": [
        {"FID": 100_061, "FNumber": "S001_GW01_1", "FName": "王芳", "FBizOrgId.FNumber": "100"},
        {"FID": 100_062, "FNumber": "S002_GW01_1", "FName": "李强", "FBizOrgId.FNumber": "100"},
    ],
}


def seed_presets(store: Store) -> None:
    """Organisations 100 and 200, currencies, units, bill types, settlement types, departments, people."""
    for form, records in _PRESETS.items():
        seed(store, form, records)


def seed(store: Store, object: str, records: Sequence[Row]) -> int:
    """Put records as they stand, by the catalogue's names, audited unless they say otherwise; keys are optional."""
    form = store.form(object)
    for record in records:
        row, moment = blank(store, form), store.moment()
        _fill(store, form, row, record)
        row["FDocumentStatus"] = record.get("FDocumentStatus") or "C"
        for name in ("FCreateDate", "FModifyDate", "FApproveDate"):
            if form.find(name):
                row[name] = row.get(name) or moment
        if not row.get(form.number):
            row[form.number] = store.new_number(form)
        derive(form, row)
        store.put("seed", form, row, actor="seed")
    return len(records)


def person(store: Store, change: Mapping[str, Any]) -> dict[str, Any]:
    """A person's edit: {op: create | update | delete | operation, object, id?, fields?, actor?, operation?}.

    A created document ends audited unless its fields ask for another `FDocumentStatus`; an audited one that is edited
    or deleted is un-audited first, and audited again, as a person would. The operations `lock` and `unlock` open and
    close a document in an editing window. Raises Refused, or ValueError for a change that makes no sense.
    """
    form = store.form(str(change["object"]))
    actor = str(change.get("actor") or "person")
    fields = dict(change.get("fields") or {})
    op, id = str(change.get("op") or "update"), str(change.get("id") or "")
    if op == "create":
        wanted = str(fields.pop("FDocumentStatus", None) or "C")
        row = _typed_in(store, form, {}, fields, actor)
        return {"id": str(row[form.pk]), "number": _to_state(store, form, row, wanted, actor)[form.number]}
    found = store.table(form.id).get(id)
    if found is None:
        raise ValueError(f"{form.label} {id} is not there")
    if op == "operation":
        return {"id": str(_operated(store, form, found, str(change["operation"]), actor)[form.pk])}
    was = str(found["FDocumentStatus"])
    wanted = str(fields.pop("FDocumentStatus", None) or was)
    if form.layout.submits and was in "BC":
        found = step(store, form, found, "UnAudit" if was == "C" else "CancelAssign", actor=actor)
    if op == "delete":
        store.remove(form, found, actor=actor)
    elif op == "update":
        row = _typed_in(store, form, found, fields, actor) if fields else found
        _to_state(store, form, row, wanted, actor)
    else:
        raise ValueError(f"'{op}' is no edit: create, update, delete, operation")
    return {"id": id}


def _operated(store: Store, form: Form, row: Row, name: str, actor: str) -> Row:
    id = (form.id, str(row[form.pk]))
    if name == "lock":
        store.edit_locks.add(id)
    elif name == "unlock":
        store.edit_locks.discard(id)
    elif name in ("Submit", "Audit", "UnAudit", "CancelAssign"):
        return step(store, form, row, name, actor=actor)
    else:
        operation(store, form, name)  # refuses a name that the form doesn't have
        return set_flag(store, form, row, name, actor=actor)
    return row


def _to_state(store: Store, form: Form, row: Row, wanted: str, actor: str) -> Row:
    """Walk on from A or D to B or C."""
    if form.layout.submits:
        if wanted in "BC" and row["FDocumentStatus"] in "AD":
            row = step(store, form, row, "Submit", actor=actor)
        if wanted == "C" and row["FDocumentStatus"] == "B":
            row = step(store, form, row, "Audit", actor=actor)
    return row


def _typed_in(store: Store, form: Form, found: Row, fields: Row, actor: str) -> Row:
    """By the rules of Save, from the catalogue's flat names; lists without a life of their own are put as they are."""
    if not form.layout.submits:
        row = dict(found) if found else blank(store, form)
        _fill(store, form, row, fields)
        row["FDocumentStatus"] = "C"
        row["FModifyDate"] = store.moment()
        return store.put("update" if found else "create", form, row, actor=actor)
    model: dict[str, Any] = {form.pk: found[form.pk]} if found else {}
    for name, value in sorted(fields.items(), key=lambda item: isinstance(item[1], list)):
        if isinstance(value, list):
            model[name] = [_nested({}, each, lambda row_name: row_name.split(".")) for each in value]
        else:
            _nested(model, {name: value}, form.layout.save_path)
    orgs = [name for name in model if name.endswith(("OrgId", "ORGID"))]
    ordered = {name: model[name] for name in [form.pk, *orgs, *model] if name in model}
    # A person sees the rows that are there, and takes out none by leaving them alone.
    return save(store, form, ordered, SaveOptions(delete_rows=False, verify_references=True), None, actor)


def _nested(into: dict[str, Any], fields: Row, path: Any) -> dict[str, Any]:
    for name, value in fields.items():
        *parents, last = path(name)
        at = into
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return into


def _fill(store: Store, form: Form, row: Row, record: Row) -> None:
    heads = {key.stored: key for key in form.members(HEAD)}
    for name, value in record.items():
        if name == form.pk:
            row[name] = value
            if str(value).isdigit():
                store.reserve(int(value))
        elif name in form.table_fields:
            row[name] = _entries(store, form, name, value)
        elif name in heads:
            _put(store, heads[name], row, value, str(record.get("FUseOrgId.FNumber") or "") or None)
        else:
            raise ValueError(f"{form.id} has no field {name}")


def _entries(store: Store, form: Form, table: str, given: Sequence[Row]) -> list[Row]:
    keys = {key.stored: key for key in form.members(table)}
    rows: list[Row] = []
    for seq, each in enumerate(given, 1):
        row: Row = {"FEntryID": int(each.get("FEntryID") or 0) or store.new_id(), "FSeq": seq}
        store.reserve(row["FEntryID"])
        for name, value in each.items():
            if name not in ("FEntryID", "FSeq"):
                _put(store, keys[name], row, value, None)
        rows.append(row)
    return rows


def _put(store: Store, key: Key, row: Row, value: Any, org: str | None) -> None:
    if not key.is_reference:
        row[key.stored] = typed(key, value)
        return
    row[key.stored] = value
    target = key.field.reference or ""
    if value and target in store.forms:
        found = store.by_text(target, store.forms[target].number, (value,)) or []
        allowed = [each for each in found if org is None or each.get("FUseOrgId.FNumber", org) == org]
        if not allowed:
            raise Refused(f"{key.key}: “{value}”不存在", code=11, field=key.key)
        row[key.inner] = allowed[0][store.forms[target].pk]
