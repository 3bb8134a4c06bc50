"""How the simulated tenant shows a record: derived keys, external ids, empty fields, fields worked out as of now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.crm.fxiaoke.simulator_describe import CHOICES, DEPARTMENTS, LOOKUPS, PEOPLE, FieldInfo, decimal_text
from connectors.crm.fxiaoke.simulator_tenant import Tenant
from hub.connector.table import Row, Table

TableOf = Callable[[str], Table]


class Shape:
    """Records in and out of one tenant, in the form that a call asks for."""

    def __init__(self, tenant: Tenant, table: TableOf) -> None:
        self._tenant = tenant
        self._table = table

    def shown(
        self,
        name: str,
        row: Row,
        *,
        open_ids: bool,
        nulls: bool,
        live: bool = True,
        projection: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The record as an answer carries it. `live` works out count and formula fields."""
        row = self._live(name, row) if live else row
        fields = self._tenant.object(name).fields
        out: dict[str, Any] = {}
        wanted = None if projection is None else {*projection, "_id"}
        for key in fields.keys() | row.keys():
            if wanted is not None and key.partition("__o")[0] not in wanted:
                continue
            info, value = fields.get(key), row.get(key)
            if value is None:
                if nulls or self._tenant.switches.empty_as_text:
                    out[key] = "" if self._tenant.switches.empty_as_text else None
                continue
            if info is None:
                out[key] = value
                continue
            out[key] = [self.open_id(user) for user in value] if open_ids and info.type in PEOPLE else value
            out.update(self._derived(info, value))
        return out

    def given(self, name: str, data: Mapping[str, Any], *, open_ids: bool) -> dict[str, Any]:
        """What a caller sent, with employees by their internal id."""
        if not open_ids:
            return dict(data)
        fields = self._tenant.object(name).fields
        out = dict(data)
        for key, value in data.items():
            info = fields.get(key)
            if info is not None and info.type in PEOPLE and isinstance(value, list):
                out[key] = [self.user_of(user) for user in value]
        return out

    def open_id(self, user: str) -> str:
        """The external form of an employee's id."""
        digest = hashlib.md5(f"{self._tenant.ea}:{user}".encode(), usedforsecurity=False)
        return f"FSUID_{digest.hexdigest().upper()}"

    def user_of(self, open_id: str) -> str:
        """The internal id behind an external one; what is no external id stays as it is."""
        for person in self._table("PersonnelObj"):
            if self.open_id(person["_id"]) == open_id:
                return str(person["_id"])
        return open_id

    def _live(self, name: str, row: Row) -> Row:
        if name != "SalesOrderObj":
            return row
        parts = [part.get("payment_amount") for part in self._table("OrderPaymentObj").equal("order_id", row["_id"])]
        paid = sum((Decimal(part) for part in parts if part), Decimal())
        due = Decimal(row.get("order_amount") or 0) - paid
        return {**row, "payment_amount": decimal_text(paid, 2), "receivable_amount": decimal_text(due, 2)}

    def _derived(self, info: FieldInfo, value: Any) -> dict[str, Any]:
        """The read-only keys that come along with a field (`__r`, `__l`, `__relation_ids`, ...)."""
        key = info.name
        if info.type in LOOKUPS and info.target in self._tenant.objects:
            target = self._table(str(info.target)).get(value) or {}
            return {f"{key}__r": target.get("name"), f"{key}__relation_ids": value}
        if info.type in PEOPLE:
            people = [self._person(user) for user in value]
            return {f"{key}__r": people[0], f"{key}__l": people} if people else {}
        if info.type in DEPARTMENTS:
            departments = [self._department(id) for id in value]
            return {f"{key}__r": departments[0], f"{key}__l": departments} if departments else {}
        if info.type in CHOICES and info.options:
            return {f"{key}__r": info.options.get(value)}
        if info.type == "html_rich_text":
            return {f"{key}__o": value, f"{key}__e": value}
        return {}

    def _person(self, user: str) -> dict[str, Any]:
        person = self._table("PersonnelObj").get(user) or {}
        department = (person.get("main_department") or [None])[0]
        return {
            "id": user,
            "tenantId": self._tenant.tenant_id,
            "name": person.get("name", "系统" if user == "-10000" else user),
            "nickname": person.get("name"),
            "dept": department,
            "email": person.get("email"),
            "phone": person.get("phone"),
            "status": int(person.get("status") or 0),
        }

    def _department(self, id: str) -> dict[str, Any]:
        department = self._table("DepartmentObj").get(id) or {}
        return {
            "deptId": id,
            "deptName": department.get("name", "全公司"),
            "parentId": (department.get("parent_id") or [None])[0],
            "status": int(department.get("status") or 0),
        }
