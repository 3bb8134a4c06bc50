"""The simulator's store: documents by form, numbers, organisations, edit locks, and the texts that queries look up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from connectors.erp.kingdee.catalogue import Forms
from connectors.erp.kingdee.simulator_filter import fold, sql_datetime
from connectors.erp.kingdee.simulator_forms import Form
from hub.connector.simulator import Simulator
from hub.connector.table import Row, Table

CHINA = timezone(timedelta(hours=8))
_LOOKED_UP = ("FNumber", "FBillNo", "FName", "FTAXREGISTERCODE", "F_HUB_KEY", "F_CRM_NO", "FTHIRDBILLNO")
_NUMBERS = {
    "BD_Customer": ("CUST", 4),
    "BD_MATERIAL": ("MAT", 5),
    "SAL_SaleOrder": ("XSDD", 6),
    "AR_RECEIVEBILL": ("SKD", 8),
}


class Refused(Exception):
    """A refusal in Kingdee's words; `code` is its MsgCode, `field` the key that it is about."""

    def __init__(self, message: str, *, code: int, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field


class Store:
    """Documents and the rules that bind them to each other. Writes go through `put` and `remove` only."""

    def __init__(self, simulator: Simulator, forms: Forms) -> None:
        self._simulator = simulator
        self.forms = {name: Form(schema, forms.layout(name)) for name, schema in forms.schemas.items()}
        self.edit_locks: set[tuple[str, str]] = set()  # (form, id) that a person has open in a window
        self.bodies: set[bytes] = set()  # digests of what ValidateRepeatJson has seen
        self._texts: dict[tuple[str, str], dict[str, set[str]]] = {}
        self._next_id = 100_000
        self._next_number: dict[str, int] = {}
        for name, form in self.forms.items():
            sort = str if name == "BOS_BillType" else int
            simulator.tables[name] = Table(ordered=("FModifyDate", "FApproveDate"), sort=sort)
            for looked_up in _LOOKED_UP:
                if form.find(looked_up):
                    self._texts[name, looked_up] = {}

    def form(self, name: str) -> Form:
        found = self.forms.get(name)
        if found is None:
            raise Refused(f"标识为“{name}”的业务对象不存在，或者被删除", code=4)
        return found

    def table(self, form: str) -> Table:
        return self._simulator.table(form)

    def shown(self, form: str, id: str) -> Row | None:
        return self._simulator.shown(form, id)

    def findable(self, form: str, id: str) -> bool:
        return self._simulator.findable(form, id)

    def moment(self) -> str:
        """The server's local time, as a datetime column keeps it."""
        now = datetime.fromtimestamp(self._simulator.stamp() / 1000, UTC).astimezone(CHINA)
        return sql_datetime(now.replace(tzinfo=None)).isoformat(timespec="milliseconds")

    def put(self, op: str, form: Form, row: Row, *, actor: str = "api") -> Row:
        """Commit a document as it stands."""
        id = str(row[form.pk])
        before = self.table(form.id).get(id)
        self._simulator.commit(op, form.id, id, row, actor=actor)
        self._reindex(form, id, before, row)
        return row

    def remove(self, form: Form, row: Row, *, actor: str = "api") -> None:
        id = str(row[form.pk])
        self._simulator.commit("delete", form.id, id, None, actor=actor)
        self._reindex(form, id, row, None)

    def new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def reserve(self, id: int) -> None:
        """An id that was seeded is never given again."""
        self._next_id = max(self._next_id, id)

    def new_number(self, form: Form) -> str:
        """The coding rule: a prefix and a running number, past those that people took."""
        prefix, width = _NUMBERS.get(form.id, ("N", 6))
        while True:
            at = self._next_number.get(form.id, 0) + 1
            self._next_number[form.id] = at
            number = f"{prefix}{at:0{width}d}"
            if not self.by_text(form.id, form.number, (number,)):
                return number

    def has_text(self, form: str, name: str) -> bool:
        return (form, name) in self._texts

    def by_text(self, form: str, name: str, values: Iterable[Any]) -> list[Row] | None:
        """Documents whose field equals one of the texts, as the collation compares; None: the field has no index."""
        index = self._texts.get((form, name))
        if index is None:
            return None
        ids: set[str] = set()
        for value in values:
            ids |= index.get(fold(str(value)), set())
        return [row for row in (self.table(form).get(id) for id in sorted(ids, key=lambda id: (len(id), id))) if row]

    def resolve(self, form: str, number: str, org: str | None) -> Row | None:
        """The document of this number that the organisation may use: audited, not forbidden, allocated to it."""
        target = self.forms[form]
        for row in self.by_text(form, target.number, (number,)) or ():
            if target.org_controlled and org is not None and row.get("FUseOrgId.FNumber") != org:
                continue
            if row.get("FDocumentStatus") == "C" and row.get("FForbidStatus", "A") == "A":
                return row
        return None

    def _reindex(self, form: Form, id: str, before: Row | None, after: Row | None) -> None:
        for name in _LOOKED_UP:
            index = self._texts.get((form.id, name))
            if index is None:
                continue
            old = fold(str(before.get(name) or "")) if before else None
            new = fold(str(after.get(name) or "")) if after else None
            if old == new:
                continue
            if old is not None:
                index.get(old, set()).discard(id)
            if new is not None:
                index.setdefault(new, set()).add(id)
