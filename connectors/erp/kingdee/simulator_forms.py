"""The simulator's forms: which keys they have, in which entity, and what QueryBusinessInfo tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from connectors.erp.kingdee.catalogue import Layout
from hub.domain.schema import Field, FieldType, ObjectSchema

HEAD = "FBillHead"

# FieldType in metadata is the type id of SQL Server (231 = nvarchar is seen on live tenants); a reference shows as 127.
_SQL_TYPES = {
    FieldType.TEXT: 231,
    FieldType.ENUM: 167,
    FieldType.INTEGER: 127,
    FieldType.DECIMAL: 106,
    FieldType.MONEY: 106,
    FieldType.DATE: 61,
    FieldType.DATETIME: 61,
    FieldType.BOOLEAN: 175,
    FieldType.REFERENCE: 127,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One field of a form; `stored` is its name in records (a reference's inner id: without `.FNumber`)."""

    key: str
    entity: str
    stored: str
    field: Field
    subhead: str | None = None

    @property
    def is_reference(self) -> bool:
        return self.field.type is FieldType.REFERENCE

    @property
    def inner(self) -> str:
        """Where the inner id of a reference is stored."""
        return self.stored.removesuffix(".FNumber")


class Form:
    """One form of the vendor, made from the catalogue."""

    def __init__(self, schema: ObjectSchema, layout: Layout) -> None:
        self.id = schema.name
        self.label = schema.label
        self.pk = schema.id_field
        self.number = schema.number_field or "FNumber"
        self.layout = layout
        self.keys = {key.key.lower(): key for key in self._keys(schema)}
        self.tables = [name for name, field in schema.fields.items() if field.type is FieldType.ROWS]
        self.table_fields = {name: schema.fields[name] for name in self.tables}
        self.is_bill = self.number == "FBillNo"
        self.org_controlled = layout.use_org is not None

    def _keys(self, schema: ObjectSchema) -> list[Key]:
        keys: list[Key] = []
        for name, field in schema.fields.items():
            if field.type is FieldType.ROWS:
                for row_name, row_field in (field.rows or {}).items():
                    plain = self.layout.row_query_key(name, row_name).removesuffix(".FNumber")
                    keys.append(Key(plain, name, row_name, row_field))
                continue
            plain = self.layout.query_key(name).removesuffix(".FNumber")
            head = name.partition(".")[0]
            subhead = self.layout.in_subhead.get(name) or (head if head in self.layout.subheads else None)
            keys.append(Key(plain, HEAD, name, field, subhead))
        return keys

    def find(self, key: str) -> Key | None:
        """Keys are found whatever their case, as the server's queries do."""
        return self.keys.get(key.lower())

    def members(self, entity: str) -> list[Key]:
        return [key for key in self.keys.values() if key.entity == entity]

    @cached_property
    def saved_in(self) -> dict[tuple[str, str], Key]:
        """(sub-head or table or head, exact key) -> key: Save wants the exact case, in the right place."""
        found: dict[tuple[str, str], Key] = {}
        for key in self.keys.values():
            place = key.entity if key.entity != HEAD else key.subhead or HEAD
            found[place, key.key.removeprefix(f"{key.entity}_")] = key
        return found

    def business_info(self) -> dict[str, Any]:
        """The `NeedReturnData` of QueryBusinessInfo."""
        entries = [self._entry(HEAD, self.label, [key for key in self.members(HEAD) if key.subhead is None])]
        entries += [
            self._entry(subhead, subhead, [key for key in self.members(HEAD) if key.subhead == subhead])
            for subhead in self.layout.subheads
        ]
        entries += [self._entry(table, self.table_fields[table].label, self.members(table)) for table in self.tables]
        return {
            "Id": self.id,
            "Name": _names(self.label),
            "PkFieldName": self.pk,
            "Entrys": entries,
            "Operations": self._operations(),
        }

    def _entry(self, key: str, label: str, members: list[Key]) -> dict[str, Any]:
        # A key such as `FSaleOrderEntry_FEntryID` is the row's id, which metadata doesn't list among the fields.
        shown = [member for member in members if not member.key.startswith(f"{key}_") and member.key != self.pk]
        return {
            "Key": key,
            "ParentKey": None,
            "Name": _names(label),
            "Fields": [
                {
                    "Key": member.key,
                    "Name": _names(member.field.label or member.key),
                    "FieldType": _SQL_TYPES.get(member.field.type, 231),
                    "ElementType": 13 if member.is_reference else 1,
                    "MustInput": int(member.field.required),
                    "LookUpObjectFormId": member.field.reference if member.is_reference else "",
                }
                for member in shown
            ],
        }

    def _operations(self) -> list[dict[str, Any]]:
        named = [*FORM_OPERATIONS.get(self.id, {}).items()]
        if self.layout.submits:
            common = {"Submit": "提交", "Audit": "审核", "UnAudit": "反审核", "CancelAssign": "撤销", "Delete": "删除"}
            own = {"Cancel": "作废", "UnCancel": "反作废"} if self.is_bill else {"Forbid": "禁用", "Enable": "反禁用"}
            named = [*common.items(), *own.items(), *named]
        return [{"OperationNumber": number, "OperationName": _names(name)} for number, name in named]


FORM_OPERATIONS = {"SAL_SaleOrder": {"YLBillClose": "整单关闭", "YLUnBillClose": "反关闭"}}


def _names(text: str) -> list[dict[str, Any]]:
    return [{"Key": 2052, "Value": text}]
