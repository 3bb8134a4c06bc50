"""The address book of the simulated organisation: departments and members, as the old generation shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from connectors.dingtalk.simulator_gate import Denied
from hub.connector.simulator import Simulator
from hub.connector.table import Row

ROOT = 1
_MOST = 100
_WRITABLE = frozenset(
    {
        "name", "mobile", "telephone", "job_number", "title", "email", "org_email", "work_place", "remark",
        "dept_id_list", "hired_date", "manager_userid", "extension",
    }
)  # fmt: skip

Push = Callable[[str, Mapping[str, Any]], None]


class Contacts:
    """Calls of the address book; every method takes the body and gives what stands under `result`."""

    def __init__(self, simulator: Simulator, push: Push) -> None:
        self._simulator = simulator
        self._push = push
        self._last = 1000

    # --- what a person does --------------------------------------------------------------------------------------

    def put_user(self, id: str | None, fields: Row, actor: str) -> str:
        """Add or change a member by the vendor's rules. Raises Denied."""
        table = self._simulator.table("user")
        before = None if id is None else table.get(id)
        if id is not None and actor == "api" and before is None:
            raise Denied(60121, "找不到该用户")
        if id is None:
            self._last += 1
            id = f"manager{self._last}"
        row = {
            "userid": id, "unionid": f"union-{id}", "state_code": "86", "active": True, "admin": False,
            "boss": False, "senior": False, "hide_mobile": False, "real_authed": True, "dept_id_list": [ROOT],
            "leader_in_dept": [], "role_list": [], **(before or {}), **fields,
        }  # fmt: skip
        others = table.equal("mobile", row.get("mobile")) if row.get("mobile") else []
        if any(other["userid"] != id for other in others):
            raise Denied(60104, "手机号码在公司中已存在")
        for department in row["dept_id_list"]:
            if str(department) not in self._simulator.table("department"):
                raise Denied(60003, "部门不存在")
        if not row.get("name"):
            raise Denied(400002, "参数错误：name")
        self._simulator.commit("update" if before else "create", "user", id, row, actor=actor)
        self._push("user_modify_org" if before else "user_add_org", {"userId": [id]})
        return id

    def remove_user(self, id: str, actor: str) -> None:
        if id not in self._simulator.table("user"):
            raise Denied(60121, "找不到该用户")
        self._simulator.commit("delete", "user", id, None, actor=actor)
        self._push("user_leave_org", {"userId": [id]})

    def put_department(self, id: str | None, fields: Row, actor: str) -> str:
        table = self._simulator.table("department")
        before = None if id is None else table.get(id)
        if id is None:
            self._last += 1
            id = str(self._last)
        row = {"parent_id": ROOT, "order": 0, "dept_manager_userid_list": [], **(before or {}), **fields}
        row["dept_id"] = int(id)
        self._simulator.commit("update" if before else "create", "department", id, row, actor=actor)
        self._push("org_dept_modify" if before else "org_dept_create", {"deptId": [int(id)]})
        return id

    def remove_department(self, id: str, actor: str) -> None:
        if self._simulator.commit("delete", "department", id, None, actor=actor).before is None:
            raise Denied(60003, "部门不存在")
        self._push("org_dept_remove", {"deptId": [int(id)]})

    # --- calls ---------------------------------------------------------------------------------------------------

    def user_get(self, body: Mapping[str, Any]) -> Any:
        return self._seen_user(self._user(str(body.get("userid", ""))))

    def user_by_mobile(self, body: Mapping[str, Any]) -> Any:
        mobile = str(body.get("mobile", ""))
        if not mobile.isdigit():
            raise Denied(88, "无效的手机号", sub="40104")
        for row in self._simulator.table("user").equal("mobile", mobile):
            if self._simulator.findable("user", row["userid"]):
                return {"userid": row["userid"]}
        raise Denied(60121, "找不到该用户")

    def user_list(self, body: Mapping[str, Any]) -> Any:
        department, cursor = int(body["dept_id"]), int(body.get("cursor", 0))
        size = int(body.get("size", 0))
        if not 1 <= size <= _MOST:
            raise Denied(400002, "参数错误：size")
        self._department(department)
        rows = [row for row in self._simulator.table("user") if department in row["dept_id_list"]]
        page = list(islice(rows, cursor, cursor + size))
        more = cursor + size < len(rows)
        found: dict[str, Any] = {"has_more": more, "list": [self._seen_user(row) for row in page]}
        return {**found, "next_cursor": cursor + size} if more else found

    def user_update(self, body: Mapping[str, Any]) -> Any:
        fields = {name: body[name] for name in _WRITABLE & body.keys()}
        if isinstance(fields.get("dept_id_list"), str):
            fields["dept_id_list"] = [int(part) for part in str(fields["dept_id_list"]).split(",") if part]
        self.put_user(str(body.get("userid", "")), {**fields}, "api")
        return None

    def department_sub(self, body: Mapping[str, Any]) -> Any:
        parent = int(body.get("dept_id", ROOT))
        self._department(parent)
        shown = ("dept_id", "name", "parent_id")
        return [
            {**{name: row[name] for name in shown}, "create_dept_group": True, "auto_add_user": True}
            for row in self._simulator.table("department")
            if row.get("parent_id") == parent and row["dept_id"] != ROOT
        ]

    def department_get(self, body: Mapping[str, Any]) -> Any:
        row = self._department(int(body["dept_id"]))
        return {name: value for name, value in row.items() if value is not None}

    def _user(self, id: str) -> Row:
        row = self._simulator.shown("user", id)
        if row is None:
            raise Denied(60121, "找不到该用户")
        return row

    def _department(self, id: int) -> Row:
        row = self._simulator.shown("department", str(id))
        if row is None:
            raise Denied(60003, "部门不存在")
        return row

    def _seen_user(self, row: Row) -> Row:
        return {name: value for name, value in row.items() if value not in (None, "")}
