"""The simulator's View: one object by its ORM property names, which are not the keys of a query."""

from __future__ import annotations

from typing import Any

from connectors.erp.kingdee.simulator_forms import HEAD, Form
from connectors.erp.kingdee.simulator_store import Store
from hub.connector.table import Row


def view(store: Store, form: Form, row: Row) -> dict[str, Any]:
    """The document, base data nested with its id, number and names by language."""
    shown: dict[str, Any] = {"Id": row[form.pk], **_members(store, form, HEAD, row)}
    for table in form.tables:
        shown[_property(table)] = [
            {"Id": each["FEntryID"], "Seq": each.get("FSeq"), **_members(store, form, table, each)}
            for each in row[table]
        ]
    return {name: value for name, value in shown.items() if name}


def _members(store: Store, form: Form, entity: str, row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key in form.members(entity):
        name = _property(key.key)
        if not key.is_reference:
            shown[name] = row.get(key.stored)
            continue
        target = store.forms.get(key.field.reference or "")
        found = store.table(target.id).get(str(row.get(key.inner))) if target else None
        shown[f"{name}_Id"] = row.get(key.inner) or 0
        shown[name] = None
        if found is not None and target is not None:
            names = [{"Key": 2052, "Value": found.get("FName") or ""}]
            shown[name] = {"Id": found[target.pk], "Number": found[target.number], "Name": names}
    return shown


def _property(key: str) -> str:
    return key.removeprefix("F")
