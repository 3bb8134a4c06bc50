"""The simulated business calls: one handler a path, over the tenant's records."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.crm.fxiaoke.simulator_describe import Refused
from connectors.crm.fxiaoke.simulator_query import count, search
from connectors.crm.fxiaoke.simulator_shape import Shape
from connectors.crm.fxiaoke.simulator_tenant import Actor, Tenant, WriteFlags
from hub.connector.table import Row, Table

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted call: its body, who acts, and in which form employees travel."""

    path: str
    body: Mapping[str, Any]
    actor: Actor
    open_ids: bool

    @property
    def data(self) -> Mapping[str, Any]:
        found = self.body.get("data")
        if not isinstance(found, Mapping):
            raise Refused("query", "缺少参数data")
        return found

    @property
    def custom(self) -> bool:
        return "/custom/" in self.path

    def text(self, name: str) -> str:
        found = self.data.get(name)
        if not isinstance(found, str) or not found:
            raise Refused("query", f"缺少参数{name}")
        return found

    def ids(self, name: str) -> list[str]:
        found = self.data.get(name)
        if not isinstance(found, list) or not found:
            raise Refused("query", f"缺少参数{name}")
        return [str(id) for id in found]


@dataclass(frozen=True, slots=True)
class Sight:
    """What reads see of the store: a record (perhaps stale), and whether searches have it already."""

    table: Callable[[str], Table]
    shown: Callable[[str, str], Row | None]
    findable: Callable[[str, str], bool]


class Api:
    """The business calls by path."""

    def __init__(self, tenant: Tenant, shape: Shape, sight: Sight) -> None:
        self._tenant = tenant
        self._shape = shape
        self._sight = sight
        self._uploads: dict[str, dict[str, Any]] = {}
        both = {
            "create": self._create,
            "update": self._update,
            "get": self._get,
            "query": self._query,
            "invalid": self._invalid,
            "recover": self._recover,
            "delete": self._delete,
            "changeOwner": self._change_owner,
        }
        self.paths: dict[str, Callable[[Call], Answer]] = {
            **{f"/cgi/crm/v2/data/{action}": handler for action, handler in both.items()},
            **{f"/cgi/crm/custom/v2/data/{action}": handler for action, handler in both.items()},
            "/cgi/crm/custom/data/invalid": self._invalid_many,
            "/cgi/crm/custom/v2/data/findSimple": self._find_simple,
            "/cgi/crm/custom/v2/data/findOne": self._find_one,
            "/cgi/crm/v2/object/lock": self._lock,
            "/cgi/crm/v2/object/unlock": self._unlock,
            "/cgi/crm/v2/object/list": self._objects,
            "/cgi/crm/v2/object/describe": self._describe,
            "/cgi/crm/object/approvalInstances/query": self._approvals,
            "/cgi/crm/v2/generatorFileUploadCredential": self._upload_credential,
            "/cgi/user/getByMobile": self._user_by_mobile,
            "/cgi/user/get": self._user,
            "/cgi/department/list": self._departments,
        }

    # --- writes -------------------------------------------------------------------------------------------------

    def _create(self, call: Call) -> Answer:
        name, record = self._object_data(call)
        details = {
            detail: [self._shape.given(detail, item, open_ids=call.open_ids) for item in items]
            if isinstance(items, list)
            else items
            for detail, items in (call.data.get("details") or {}).items()
        }
        id, detail_ids = self._tenant.create(name, record, details, call.actor, self._flags(call))
        answer: Answer = {}
        if self._tenant.switches.create_answers_id or not call.custom:
            answer["dataId"] = id
        place = self._tenant.switches.detail_ids_at
        if place and detail_ids and call.body.get("includeDetailIds"):
            answer[place] = detail_ids
        return answer

    def _update(self, call: Call) -> Answer:
        name, record = self._object_data(call)
        self._tenant.update(name, record, call.data.get("details"), call.actor, self._flags(call))
        return {}

    def _object_data(self, call: Call) -> tuple[str, dict[str, Any]]:
        data = call.data.get("object_data")
        if not isinstance(data, Mapping) or "objectDataId" in call.data:
            raise Refused("malformed", "java.lang.NullPointerException")
        name = data.get("dataObjectApiName")
        if not isinstance(name, str):
            raise Refused("query", "缺少参数dataObjectApiName")
        self._right_path(call, name)
        return name, self._shape.given(name, data, open_ids=call.open_ids)

    def _flags(self, call: Call) -> WriteFlags:
        options = call.data.get("optionInfo") or {}
        return WriteFlags(
            approval=call.body.get("triggerApprovalFlow", True) is not False,
            workflow=call.body.get("triggerWorkFlow", True) is not False,
            own_time=call.body.get("hasSpecifyTime") is True,
            own_creator=call.body.get("hasSpecifyCreatedBy") is True,
            duplicate_search=options.get("isDuplicateSearch") is True
            or (call.custom and call.body.get("checkDuplicateSearch") is True),
            skip_status=call.custom and call.data.get("skipDataStatusValidate") is True,
        )

    def _invalid(self, call: Call) -> Answer:
        self._tenant.invalidate(self._name(call), call.text("object_data_id"), call.actor)
        return {}

    def _invalid_many(self, call: Call) -> Answer:
        for id in call.ids("idList"):
            self._tenant.invalidate(self._name(call), id, call.actor)
        return {}

    def _recover(self, call: Call) -> Answer:
        for id in call.ids("idList"):
            self._tenant.recover(self._name(call), id, call.actor)
        return {}

    def _delete(self, call: Call) -> Answer:
        for id in call.ids("idList"):
            self._tenant.delete(self._name(call), id, call.actor)
        return {}

    def _change_owner(self, call: Call) -> Answer:
        name = self._name(call)
        items = call.data.get("Data")
        if not isinstance(items, list) or not items:
            raise Refused("query", "缺少参数Data")
        for item in items:
            owner = self._shape.given(name, {"owner": item.get("ownerId")}, open_ids=call.open_ids)["owner"]
            if not isinstance(owner, list):
                raise Refused("illegal_value", "ownerId必须是列表")
            self._tenant.change_owner(name, str(item.get("objectDataId")), owner, call.actor)
        return {}

    def _lock(self, call: Call) -> Answer:
        return self._set_lock(call, True)

    def _unlock(self, call: Call) -> Answer:
        return self._set_lock(call, False)

    def _set_lock(self, call: Call, locked: bool) -> Answer:
        name = call.text("dataObjectApiName")
        cascade = str(call.data.get("detailObjStrategy", 1)) == "1"
        for id in call.ids("dataIds"):
            self._tenant.lock(name, id, locked, cascade, call.actor)
        return {}

    # --- reads --------------------------------------------------------------------------------------------------

    def _get(self, call: Call) -> Answer:
        name, id = self._name(call), call.text("objectDataId")
        self._tenant.may_read(name, call.actor)
        recycled = self._tenant.recycled[name].get(id)
        if recycled is not None and self._tenant.switches.get_invalid == "record":
            return {"data": self._show(call, name, recycled)}
        self._tenant.record(name, id, call.actor)
        row = self._sight.shown(name, id)
        if row is None:
            raise Refused("missing", "数据不存在或已作废")
        return {"data": self._show(call, name, row)}

    def _query(self, call: Call) -> Answer:
        info = call.data.get("search_query_info") or {}
        return self._searched(call, info, projection=info.get("fieldProjection"), live=True)

    def _find_simple(self, call: Call) -> Answer:
        info = call.data.get("search_query_info") or {}
        return self._searched(call, info, projection=call.data.get("field_projection"), live=False)

    def _find_one(self, call: Call) -> Answer:
        info = {**(call.data.get("search_query_info") or {}), "limit": 1, "offset": 0}
        found = self._searched(call, info, projection=call.data.get("field_projection"), live=True)["data"]["dataList"]
        return {"data": found[0] if found else None}

    def _searched(self, call: Call, info: Mapping[str, Any], *, projection: Any, live: bool) -> Answer:
        # Both kinds of object are read by the custom path of findSimple and findOne.
        name = self._name(call) if call.path.endswith("/query") else call.text("dataObjectApiName")
        self._tenant.may_read(name, call.actor)
        info = self._internal_filters(call, name, info)
        table, numbers = self._sight.table(name), self._tenant.numbers[name]
        visible = self._visible(call, name)
        rows, offset, limit = search(table, numbers, info, visible)
        shown = [
            self._show(call, name, row, projection=projection, live=live)
            for found in rows
            if (row := self._sight.shown(name, found["_id"])) is not None
        ]
        total = count(table, numbers, info, visible) if self._counted(call) else 0
        return {"data": {"dataList": shown, "offset": offset, "limit": limit, "total": total}}

    def _visible(self, call: Call, name: str) -> Callable[[Row], bool]:
        if name == "PersonnelObj" and not self._tenant.switches.personnel_shared:
            return lambda row: bool(row["_id"] == call.actor.user)
        sees, findable = self._tenant.visible(call.actor), self._sight.findable
        return lambda row: sees(row) and findable(name, row["_id"])

    def _counted(self, call: Call) -> bool:
        asked = call.data.get("find_explicit_total_num") is True or call.body.get("need_return_count_num") is True
        return asked or call.body.get("returnTotalNum") in {1, 2}

    def _internal_filters(self, call: Call, name: str, info: Mapping[str, Any]) -> dict[str, Any]:
        """Filters on employees take the form in which the caller gets them."""
        out = dict(info)
        if call.open_ids and info.get("filters"):
            out["filters"] = [
                {**item, "field_values": given[item["field_name"]]}
                for item in info["filters"]
                if (given := self._shape.given(name, {item["field_name"]: item["field_values"]}, open_ids=True))
            ]
        return out

    def _show(self, call: Call, name: str, row: Row, *, projection: Any = None, live: bool = True) -> dict[str, Any]:
        nulls = call.body.get("includeNull") is True
        return self._shape.shown(name, row, open_ids=call.open_ids, nulls=nulls, live=live, projection=projection)

    # --- metadata, people, approvals, files ---------------------------------------------------------------------

    def _objects(self, _call: Call) -> Answer:
        objects = [
            {
                "describeApiName": info.name,
                "describeDisplayName": info.label,
                "defineType": "custom" if info.name.endswith("__c") else "package",
                "isActive": True,
            }
            for info in self._tenant.objects.values()
        ]
        return {"data": {"objects": objects}}

    def _describe(self, call: Call) -> Answer:
        given = call.body.get("data") or call.body
        info = self._tenant.object(str(given.get("apiName")))
        if info.name in self._tenant.hidden_objects(call.actor):
            raise Refused("no_right", "没有查看对象权限")
        return {"data": {"describe": info.served()}}

    def _approvals(self, call: Call) -> Answer:
        id = call.body.get("dataId")
        return {"instances": [instance for instance in self._tenant.approvals if instance["dataId"] == id]}

    def _user_by_mobile(self, call: Call) -> Answer:
        people = [row for row in self._sight.table("PersonnelObj") if row.get("phone") == call.body.get("mobile")]
        return {
            "empList": [
                {
                    "openUserId": self._shape.open_id(row["_id"]),
                    "name": row.get("full_name"),
                    "status": int(row.get("status") or 0),
                    "mainDepartmentIds": row.get("main_department") or [],
                    "departmentIds": row.get("main_department") or [],
                }
                for row in people
            ]
        }

    def _user(self, call: Call) -> Answer:
        given = str(call.body.get("openUserId", ""))
        row = self._sight.table("PersonnelObj").get(self._shape.user_of(given))
        if row is None:
            raise Refused("no_user", "openUserId不存在")
        return {
            "openUserId": given,
            "name": row.get("full_name"),
            "nickName": row.get("name"),
            "mobile": row.get("phone"),
            "isStop": row.get("status") == "1",
            "employeeNumber": row.get("employee_number"),
            "mainDepartmentId": (row.get("main_department") or [None])[0],
        }

    def _departments(self, _call: Call) -> Answer:
        return {
            "departments": [
                {
                    "id": int(row["_id"]),
                    "name": row.get("name"),
                    "parentId": int((row.get("parent_id") or ["0"])[0].replace("999999", "0")),
                    "isStop": row.get("status") != "0",
                    "order": at,
                }
                for at, row in enumerate(self._sight.table("DepartmentObj"))
            ]
        }

    def _upload_credential(self, call: Call) -> Answer:
        given = call.data
        size, ttl = int(given.get("fileSize", 0)), int(given.get("expireTime", 0))
        if not 1 <= size <= 104_857_600 or not 60 <= ttl <= 604_800 or given.get("resourceType") not in {"N", "TN"}:
            raise Refused("query", "参数错误")
        credential = {
            "method": "POST",
            "url": "/fsfile/upload/",
            "acid": secrets.token_hex(8),
            "resource": f"{given['resourceType']}_{secrets.token_hex(16)}",
            "ak": secrets.token_hex(8),
            "sign": secrets.token_hex(20),
            "expiry": str(ttl),
            "filename": str(given.get("filename")),
            "size": str(size),
            "digest": secrets.token_hex(16),
        }
        self._uploads[credential["sign"]] = credential
        return {"data": {**credential, "contentType": "application/octet-stream"}}

    def upload(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """The file endpoint, which has an envelope of its own; one signature is good for one upload."""
        credential = self._uploads.pop(headers.get("sign", ""), None)
        parts = ("acid", "resource", "ak", "expiry", "filename", "size", "digest")
        if credential is None or any(headers.get(part) != credential[part] for part in parts):
            return {"success": False, "code": 400, "message": "签名已过期", "data": None}
        if len(body) != int(credential["size"]):
            return {"success": False, "code": 400, "message": "文件大小不一致", "data": None}
        return {"success": True, "code": 200, "message": "success", "data": credential["resource"]}

    # --- common -------------------------------------------------------------------------------------------------

    def _name(self, call: Call) -> str:
        name = call.text("dataObjectApiName")
        self._right_path(call, name)
        return name

    def _right_path(self, call: Call, name: str) -> None:
        self._tenant.object(name)
        if call.custom != name.endswith("__c"):
            raise Refused("wrong_path", f"{name}不支持该接口")
