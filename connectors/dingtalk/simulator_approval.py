"""The simulated official approvals: forms, nodes, tasks, and what people click."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from connectors.dingtalk.simulator_gate import Denied
from hub.connector.simulator import Simulator
from hub.connector.table import Row

_LONGEST = 65535
_GUARD = 15.0  # seconds after its start in which an instance can't be terminated
_ID_PAGE = 20
_DAY = 86_400_000
_DECOR = frozenset({"TextNote", "DDHolidayField"})  # components that hold no value

Push = Callable[[str, Mapping[str, Any]], None]


class Approvals:
    """All templates and instances; instances are rows of one table for each template."""

    def __init__(self, simulator: Simulator, push: Push) -> None:
        self._simulator = simulator
        self._push = push
        self._tasks = 60_000_000_000
        self._numbers = 0
        self.templates: dict[str, dict[str, Any]] = {}  # processCode -> {name, items, flow}
        self._template_of: dict[str, str] = {}  # instance -> processCode

    def add_template(
        self, code: str, name: str, items: Sequence[Mapping[str, Any]], flow: Sequence[Mapping[str, Any]]
    ) -> None:
        """A form with its console flow: nodes of {type: AND|OR|NONE, users: [...]}."""
        self.templates[code] = {"name": name, "items": list(items), "flow": list(flow)}

    def table_of(self, code: str) -> str:
        return f"instance:{code}"

    # --- calls ---------------------------------------------------------------------------------------------------

    def form(self, code: str) -> dict[str, Any]:
        template = self.templates.get(code)
        if template is None:
            raise Denied("processCode.error", "审批模板不存在")
        schema = {"title": template["name"], "items": template["items"]}
        return {"result": {"processCode": code, "name": template["name"], "schemaContent": schema}}

    def start(
        self, body: Mapping[str, Any], *, actor: str = "api", at: int | None = None, **more: Any
    ) -> dict[str, Any]:
        """Create an instance and its first tasks. Raises Denied with the vendor's code."""
        code = str(body.get("processCode", ""))
        template = self.templates.get(code)
        if template is None:
            raise Denied("processInstanceInvalidParameter", "processCode不存在")
        originator = str(body.get("originatorUserId", ""))
        if originator not in self._simulator.table("user"):
            raise Denied("invalidParameter", "originatorUserId不合法")
        approvers = body.get("approvers") or []
        if not approvers and body.get("deptId") is None:
            raise Denied("MissingDeptId", "deptId不能为空")
        if len(approvers) > 20 or len(body.get("formComponentValues") or []) > 150:
            raise Denied("invalidParameter", "参数过长")
        nodes = [{"type": one.get("actionType", "AND"), "users": list(one["userIds"])} for one in approvers]
        for node in nodes:
            for user in node["users"]:
                if user not in self._simulator.table("user"):
                    raise Denied("invalidParameter", f"审批人不存在：{user}")
        form = self._filled(template, body.get("formComponentValues") or [])
        id = secrets.token_urlsafe(16)
        now = self._simulator.clock.now() if at is None else at
        self._numbers += 1
        person = (self._simulator.table("user").get(originator) or {}).get("name", originator)
        row: Row = {
            "id": id, "processCode": code, "title": f"{person}提交的{template['name']}",
            "businessId": f"{datetime.fromtimestamp(now / 1000, UTC):%Y%m%d%H%M}{self._numbers:06d}",
            "originator": originator, "deptId": body.get("deptId"), "createTime": now, "finishTime": None,
            "status": "RUNNING", "result": "", "bizAction": "NONE", "main": None, "attached": [], "form": form,
            "cc": list(body.get("ccList") or []) if approvers else [],
            "approvers": [user for node in nodes for user in node["users"]],
            "nodes": nodes or [dict(node) for node in template["flow"]], "node": -1, "tasks": [], "records": [], **more,
        }  # fmt: skip
        self._template_of[id] = code
        row["records"] = [self._record(originator, "START_PROCESS_INSTANCE", "NONE", "")]
        self._event(row, "start")
        self._next_node(row)
        self._simulator.commit("create", self.table_of(code), id, row, actor=actor)
        return {"instanceId": id}

    def get(self, id: str) -> dict[str, Any]:
        row = self._row(id)
        shown = self._simulator.shown(self.table_of(row["processCode"]), id) or row
        return {"result": self._view(shown), "success": "true"}

    def ids(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ids by the time of their start; `nextToken` is an offset, as the vendor's old cursor was."""
        start, end = int(body["startTime"]), int(body.get("endTime") or self._simulator.clock.now())
        if end - start > 120 * _DAY:
            raise Denied("invalidParameter", "时间跨度不能超过120天")
        if start < self._simulator.clock.now() - 366 * _DAY:
            raise Denied("invalidParameter", "开始时间不能早于365天前")
        size = int(body.get("maxResults", 0))
        if not 1 <= size <= _ID_PAGE:
            raise Denied("invalidParameter", "maxResults不合法")
        if str(body.get("processCode")) not in self.templates:
            raise Denied("processCode.error", "审批模板不存在")
        name = self.table_of(str(body["processCode"]))
        statuses, people = body.get("statuses"), body.get("userIds")
        found = [
            row["id"]
            for row in self._simulator.table(name).between("createTime", start, end + 1)
            if (not statuses or row["status"] in statuses)
            and (not people or row["originator"] in people)
            and self._simulator.findable(name, row["id"])
        ]
        offset = int(body.get("nextToken") or 0)
        result: dict[str, Any] = {"list": found[offset : offset + size]}
        if offset + size < len(found):
            result["nextToken"] = offset + size
        return {"result": result, "success": True}

    def terminate(self, body: Mapping[str, Any], *, actor: str = "api") -> dict[str, Any]:
        row = self._copy(str(body.get("processInstanceId", "")))
        if row["status"] != "RUNNING":
            raise Denied("aflowProcessInstStatusException", "审批实例已结束")
        if self._simulator.clock.now() - row["createTime"] < _GUARD * 1000:
            raise Denied("aflowProcessInstStatusException", "审批实例发起后15秒内不能撤销")
        user = row["originator"] if body.get("isSystem") else str(body.get("operatingUserId", ""))
        if not body.get("isSystem") and user != row["originator"]:
            raise Denied("processInstanceInvalidParameter", "只有发起人可以撤销")
        self._end_tasks(row, "TERMINATED")
        row["records"].append(self._record(user, "TERMINATE_PROCESS_INSTANCE", "NONE", str(body.get("remark") or "")))
        row.update(status="TERMINATED", finishTime=self._simulator.clock.now())
        self._save(row, "terminate", actor)
        self._event(row, "terminate")
        return {"result": True, "success": True}

    def execute(self, body: Mapping[str, Any], *, actor: str = "api") -> dict[str, Any]:
        row = self._copy(str(body.get("processInstanceId", "")))
        user, remark = str(body.get("actionerUserId", "")), str(body.get("remark") or "")
        task = self._task(row, user, body.get("taskId"))
        agreed = body.get("result") == "agree"
        kind = "EXECUTE_TASK_NORMAL"
        row["records"].append(self._record(user, kind, "AGREE" if agreed else "REFUSE", remark))
        self._end_task(row, task, "COMPLETED", "AGREE" if agreed else "REFUSE", remark)
        if not agreed:
            self._end_tasks(row, "CANCELED")
            self._finish(row, "refuse")
        elif row["nodes"][row["node"]]["type"] != "AND" or not self._running(row):
            self._end_tasks(row, "CANCELED")
            self._next_node(row)
        self._save(row, "execute", actor)
        return {"result": True, "success": True}

    def redirect(self, body: Mapping[str, Any], *, actor: str = "api") -> dict[str, Any]:
        """Hand a task to somebody else."""
        wanted, to = str(body.get("taskId", "")), str(body.get("toUserId", ""))
        rows = (row for code in self.templates for row in self._simulator.table(self.table_of(code)))
        held = next((r for r in rows if any(str(t["taskId"]) == wanted for t in r["tasks"])), None)
        if held is None or to not in self._simulator.table("user"):
            raise Denied("invalidParameter", "任务或转交人不存在")
        row = self._copy(held["id"])
        task = self._task(row, str(body.get("operateUserId", "")), wanted)
        remark = str(body.get("remark") or "")
        row["records"].append(self._record(task["userId"], "REDIRECT_TASK", "NONE", remark))
        self._end_task(row, task, "COMPLETED", "REDIRECTED", remark)
        row["tasks"].append(self._new_task(row, to))
        self._save(row, "redirect", actor)
        return {"result": True}

    def comment(self, body: Mapping[str, Any], *, actor: str = "api") -> dict[str, Any]:
        row = self._copy(str(body.get("processInstanceId", "")))
        record = self._record(str(body.get("commentUserId", "")), "ADD_REMARK", "NONE", str(body.get("text") or ""))
        row["records"].append(record)
        self._save(row, "comment", actor)
        return {"result": True, "success": True}

    # --- what a person does beside the calls ---------------------------------------------------------------------

    def revoke(self, id: str) -> str:
        """The submitter asks to take back what was agreed: a new instance with a pointer to the first."""
        row = self._copy(id)
        if row["result"] != "agree":
            raise ValueError("only an instance that was agreed can be revoked")
        values = [{"id": part["id"], "name": part["name"], "value": part["value"]} for part in row["form"]]
        body = {
            "processCode": row["processCode"],
            "originatorUserId": row["originator"],
            "deptId": row["deptId"],
            "formComponentValues": values,
        }
        child = self.start(body, actor=row["originator"], bizAction="REVOKE", main=id)["instanceId"]
        row["attached"].append(child)
        self._save(row, "revoke", row["originator"])
        return str(child)

    def edit(self, id: str, fields: Mapping[str, str], actor: str) -> None:
        """An approver whose node may change the form does so; no event tells of it."""
        row = self._copy(id)
        row["form"] = [
            {**part, "value": fields[part["name"]]} if part["name"] in fields else part for part in row["form"]
        ]
        self._save(row, "edit", actor)

    def remove(self, id: str, actor: str) -> None:
        row = self._row(id)
        self._simulator.commit("delete", self.table_of(row["processCode"]), id, None, actor=actor)
        self._event(row, "delete")

    # --- inner ---------------------------------------------------------------------------------------------------

    def _filled(self, template: Mapping[str, Any], values: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The form of an instance: every given value checked against its component. Raises Denied."""
        known: dict[str, Mapping[str, Any]] = {}
        for item in template["items"]:
            props = item["props"]
            for key in (props["id"], props["label"], props.get("bizAlias")):
                if key:
                    known.setdefault(key, item)
        form: list[Row] = []
        for given in values:
            item = next(
                (known[k] for k in (given.get("id"), given.get("bizAlias"), given.get("name")) if k in known), None
            )
            if item is None or item["componentName"] in _DECOR:
                raise Denied("formConverterError", f"表单控件不存在：{given.get('name') or given.get('id')}")
            value = given.get("value")
            if not isinstance(value, str) or len(value) > _LONGEST:
                raise Denied("invalidParameter", f"控件的值不合法：{item['props']['label']}")
            form.append(self._part(item, value))
        filled = {part["id"] for part in form if part["value"] != ""}
        for item in template["items"]:
            if item["props"].get("required") and item["props"]["id"] not in filled:
                raise Denied("processInstanceStartFailed", f"必填项未填写：{item['props']['label']}")
        return form

    def _part(self, item: Mapping[str, Any], value: str) -> Row:
        props, kind = item["props"], item["componentName"]
        if kind == "TableField" and value:
            value = self._rows(item, value)
        elif kind == "DDSelectField" and value and value not in _options(props):
            raise Denied("processInstanceStartFailed", f"选项不存在：{value}")
        elif kind in ("NumberField", "MoneyField") and value and not _number(value):
            raise Denied("processInstanceStartFailed", f"不是数字：{props['label']}")
        return {
            "id": props["id"],
            "name": props["label"],
            "value": value,
            "extValue": None,
            "componentType": kind,
            "bizAlias": props.get("bizAlias"),
        }

    def _rows(self, item: Mapping[str, Any], value: str) -> str:
        """A table comes as rows of cells and is shown with a number for each row."""
        columns = {child["props"]["label"]: child["props"]["id"] for child in item.get("children") or ()}
        try:
            rows = orjson.loads(value)
            shown = [
                {
                    "rowNumber": f"{item['props']['id']}_{secrets.token_hex(4)}",
                    "rowValue": [
                        {"label": cell["name"], "key": columns[cell["name"]], "value": cell["value"]} for cell in row
                    ],
                }
                for row in rows
            ]
        except (ValueError, TypeError, KeyError) as error:
            raise Denied("formConverterError", f"明细的值不合法：{item['props']['label']}") from error
        return orjson.dumps(shown).decode()

    def _view(self, row: Row) -> dict[str, Any]:
        names = ("title", "businessId", "status", "result", "bizAction")
        view: dict[str, Any] = {name: row[name] for name in names}
        return view | {
            "createTime": _minutes(row["createTime"]),
            "finishTime": _minutes(row["finishTime"]) if row["finishTime"] else None,
            "originatorUserId": row["originator"],
            "originatorDeptId": str(row["deptId"] if row["deptId"] not in (None, 1) else -1),
            "originatorDeptName": "demo",
            "approverUserIds": row["approvers"],
            "ccUserIds": row["cc"],
            "operationRecords": row["records"],
            "tasks": [{**task, "taskId": task["taskId"], "processInstanceId": row["id"]} for task in row["tasks"]],
            "bizData": None,
            "attachedProcessInstanceIds": row["attached"],
            "mainProcessInstanceId": row["main"],
            "formComponentValues": [{**part} for part in row["form"]],
        }

    def _row(self, id: str) -> Row:
        code = self._template_of.get(id)
        row = self._simulator.table(self.table_of(code)).get(id) if code else None
        if row is None:
            raise Denied("processInstanceNotExist", "审批实例不存在")
        return row

    def _copy(self, id: str) -> Row:
        row: Row = orjson.loads(orjson.dumps(self._row(id)))
        return row

    def _save(self, row: Row, op: str, actor: str) -> None:
        self._simulator.commit(op, self.table_of(row["processCode"]), row["id"], row, actor=actor)

    def _record(self, user: str, kind: str, result: str, remark: str) -> Row:
        date = _minutes(self._simulator.clock.now())
        return {"userId": user, "date": date, "type": kind, "result": result, "remark": remark, "attachments": []}

    def _new_task(self, row: Row, user: str) -> Row:
        self._tasks += 1
        task: Row = {
            "taskId": self._tasks,
            "userId": user,
            "status": "RUNNING",
            "result": "NONE",
            "createTime": _minutes(self._simulator.clock.now()),
            "finishTime": None,
            "activityId": f"node_{row['node']}",
        }
        self._event(row, "start", task)
        return task

    def _next_node(self, row: Row) -> None:
        row["node"] += 1
        if row["node"] >= len(row["nodes"]):
            self._finish(row, "agree")
            return
        row["tasks"] += [self._new_task(row, user) for user in row["nodes"][row["node"]]["users"]]

    def _finish(self, row: Row, result: str) -> None:
        row.update(status="COMPLETED", result=result, finishTime=self._simulator.clock.now())
        self._event(row, "finish")

    def _running(self, row: Row) -> list[Row]:
        return [task for task in row["tasks"] if task["status"] == "RUNNING"]

    def _task(self, row: Row, user: str, wanted: object) -> Row:
        for task in self._running(row):
            if task["userId"] == user and (wanted is None or str(task["taskId"]) == str(wanted)):
                return task
        raise Denied("aflowProcessInstStatusException", "任务不存在或已处理")

    def _end_task(self, row: Row, task: Row, status: str, result: str, remark: str = "") -> None:
        task.update(status=status, result=result, finishTime=_minutes(self._simulator.clock.now()))
        self._event(row, "finish", task, result=result.lower().replace("redirected", "redirect"), remark=remark)

    def _end_tasks(self, row: Row, status: str) -> None:
        for task in self._running(row):
            task.update(status=status, finishTime=_minutes(self._simulator.clock.now()))
            self._event(row, "cancel", task)

    def _event(self, row: Row, kind: str, task: Row | None = None, **more: str) -> None:
        fields: dict[str, Any] = {
            "processInstanceId": row["id"],
            "processCode": row["processCode"],
            "businessId": row["businessId"],
            "title": row["title"],
            "type": kind,
            "createTime": row["createTime"],
            "staffId": task["userId"] if task else row["originator"],
        }
        if kind != "start":
            fields["finishTime"] = self._simulator.clock.now()
        if task is not None:
            fields["taskId"] = task["taskId"]
        elif kind == "finish":
            fields["result"] = row["result"]
        self._push("bpms_task_change" if task else "bpms_instance_change", {**fields, **more})


def _options(props: Mapping[str, Any]) -> list[str]:
    """Options come as plain words, or as JSON text with key and value."""
    found = []
    for option in props.get("options") or ():
        read = orjson.loads(option) if isinstance(option, str) and option.startswith("{") else option
        found.append(str(read["value"]) if isinstance(read, dict) else str(read))
    return found


def _number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def _minutes(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%MZ}"
