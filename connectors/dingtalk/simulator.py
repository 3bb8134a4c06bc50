"""DingTalk on a desk: both generations of its API, people, approvals, messages, and events over HTTP and Stream.

Written from the vendor's documents and from answers that others saw; both hosts stand behind one address, since their
paths never meet. People's clicks in an approval are changes of the side door with `op` agree, refuse, withdraw,
transfer, comment, revoke or edit.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from connectors.dingtalk.catalogue import sample_forms
from connectors.dingtalk.simulator_approval import Approvals
from connectors.dingtalk.simulator_contacts import ROOT, Contacts
from connectors.dingtalk.simulator_files import Files
from connectors.dingtalk.simulator_gate import Denied, Gate, is_new, ok, refused
from connectors.dingtalk.simulator_messages import NOTIFICATION, Messages, Robot
from connectors.dingtalk.simulator_push import Sealer, Streams
from hub.connector.simulator import Simulator, answer
from hub.connector.table import Row, Table

_OPS = {
    ("POST", "/v1.0/workflow/processInstances"): "start",
    ("GET", "/v1.0/workflow/processInstances"): "instance",
    ("POST", "/v1.0/workflow/processes/instanceIds/query"): "instance_ids",
    ("POST", "/v1.0/workflow/processInstances/terminate"): "terminate",
    ("POST", "/v1.0/workflow/processInstances/execute"): "execute",
    ("POST", "/v1.0/workflow/processInstances/comments"): "comment",
    ("POST", "/v1.0/workflow/tasks/redirect"): "redirect",
    ("GET", "/v1.0/workflow/forms/schemas/processCodes"): "form",
    ("POST", "/v1.0/oauth2/accessToken"): "login",
    ("GET", "/gettoken"): "login",
    ("POST", "/v1.0/gateway/connections/open"): "stream_open",
    ("POST", "/topapi/message/corpconversation/asyncsend_v2"): "notify",
    ("POST", "/robot/send"): "robot",
    ("POST", "/v1.0/workflow/processInstances/spaces/infos/query"): "space",
    ("POST", "/v1.0/workflow/processInstances/spaces/files/urls/download"): "file_url",
}
_CLICKS = frozenset({"agree", "refuse", "withdraw", "transfer", "comment", "revoke", "edit"})


class DingTalkSimulator(Simulator):
    """One organisation with an internal app, two sample forms, a robot and three people."""

    callback_retries = (10.0, 30.0)

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(self.clock)
        self.tables["user"] = Table(indexed=("mobile",))
        self.tables["department"] = Table(sort=int)
        self.tables[NOTIFICATION] = Table(sort=int)
        self.contacts = Contacts(self, self.push)
        self.approvals = Approvals(self, self.push)
        self.messages = Messages(self)
        self.files = Files(self)
        self.streams = Streams(self)
        self.sealer = Sealer("hubDingTok1", "zyxwvutsrqponmlkjihgfedcba9876543210ZYXWVUQ", self.gate.client_id)
        self.parked: list[dict[str, Any]] = []  # events whose pushes all failed
        self._old = self._old_calls()
        self._template_names: dict[str, str] = {}
        self._people()
        for name, form in sample_forms().items():
            self.add_template(name, f"PROC-{name.upper()}-0001", str(form["name"]), form["items"])
        self.add_robot("sales", "SEChub0123456789")

    def add_template(self, name: str, code: str, title: str, items: Sequence[Mapping[str, Any]]) -> None:
        """A form that the settings call `name`; its console flow is one node of the administrator."""
        self.tables[self.approvals.table_of(code)] = Table(ordered=("createTime",))
        self.approvals.add_template(code, title, items, [{"type": "NONE", "users": ["manager01"]}])
        self._template_names[name] = code

    def add_robot(self, name: str, secret: str | None, keyword: str | None = None) -> Robot:
        # The same for every simulator: a project that was made for one works with the next.
        robot = Robot(name, hashlib.sha256(name.encode()).hexdigest(), secret, keyword)
        self.messages.robots[robot.token] = robot
        return robot

    # --- what every simulator gives ------------------------------------------------------------------------------

    def routes(self) -> Sequence[BaseRoute]:
        return [
            WebSocketRoute("/connect", self.streams.connect),
            Route("/{path:path}", self._answered, methods=["GET", "POST", "PUT", "DELETE"]),
        ]

    def settings(self) -> dict[str, Any]:
        gate = self.gate
        robots = {
            robot.name: {"token": token} | ({"secret": robot.secret} if robot.secret else {})
            for token, robot in self.messages.robots.items()
        }
        return {
            "base_url": self.base_url,
            "old_base_url": self.base_url,
            "corp_id": gate.corp_id,
            "client_id": gate.client_id,
            "client_secret": gate.client_secret,
            "agent_id": gate.agent_id,
            "callback_token": self.sealer.token,
            "callback_aes_key": self.sealer.aes_key,
            "templates": dict(self._template_names),
            "robots": robots,
            "file_user": "manager01",
        }

    def op_of(self, method: str, path: str, body: bytes) -> str:
        self._asked = path  # `throttled` and `failed`, asked next, speak as this path's generation does
        known = _OPS.get((method, path))
        if known is not None:
            return known
        if path.startswith("/v1.0/oauth2/"):
            return "login"
        return self.files.op_of(method, path) or path.removeprefix("/topapi/").strip("/").replace("/", "_")

    def throttled(self, retry_after: float | None) -> Response:
        if self.files.holds(self._asked):
            return self.files.failed(503, "SlowDown")
        return refused(self._asked, self.gate.too_many(self._asked))

    def failed(self) -> Response:
        if self.files.holds(self._asked):
            return self.files.failed(500, "InternalError")
        if is_new(self._asked):
            return refused(self._asked, Denied("ServiceUnavailable", "服务暂不可用", status=503))
        return refused(self._asked, Denied(-1, "系统繁忙"))

    def expire_tokens(self) -> None:
        self.gate.expire()

    def table(self, object: str) -> Table:
        """Approvals go by the name in the settings (`approval:discount`) at the side door."""
        if object.startswith("approval:"):
            object = self.approvals.table_of(self._code(object))
        return super().table(object)

    async def bulk(self, object: str, records: Sequence[Row]) -> int:
        """Members, departments, or instances as `start` takes them; `at` (epoch ms) is when they were started."""
        for record in records:
            if object.startswith("approval:"):
                at = record.get("at")
                self.approvals.start({**record, "processCode": self._code(object)}, actor="seed", at=at)
            elif object == "department":
                self.contacts.put_department(str(record["dept_id"]), dict(record), "seed")
            else:
                self.contacts.put_user(str(record["userid"]), dict(record), "seed")
        return len(records)

    async def change(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """A person's edit of the address book, or a click in an approval (see the top of this file)."""
        op, object = str(change["op"]), str(change["object"])
        fields = dict(change.get("fields") or {})
        actor = str(change.get("actor") or "person")
        id = None if change.get("id") is None else str(change["id"])
        try:
            if object.startswith("approval:"):
                return {"id": self._click(str(change.get("operation") or op), object, id, fields, actor)}
            keep = self.contacts.put_user if object == "user" else self.contacts.put_department
            drop = self.contacts.remove_user if object == "user" else self.contacts.remove_department
            if op == "delete":
                drop(str(id), actor)
                return {"id": id}
            return {"id": keep(id, fields, actor)}
        except Denied as denied:
            raise ValueError(denied.message) from None

    def _click(self, op: str, object: str, id: str | None, fields: Row, actor: str) -> str:
        if op == "create":
            started = self.approvals.start({**fields, "processCode": self._code(object)}, actor=actor)
            return str(started["instanceId"])
        instance = str(id)
        if op == "revoke":
            return self.approvals.revoke(instance)
        if op in ("agree", "refuse"):
            body = {"processInstanceId": id, "actionerUserId": actor, "result": op, "remark": fields.get("remark")}
            self.approvals.execute(body, actor=actor)
        elif op == "withdraw":
            body = {"processInstanceId": id, "operatingUserId": actor, "remark": fields.get("remark")}
            self.approvals.terminate(body, actor=actor)
        elif op == "comment":
            body = {"processInstanceId": id, "commentUserId": actor, "text": fields.get("remark")}
            self.approvals.comment(body, actor=actor)
        elif op == "transfer":
            task = next(t for t in self.approvals._running(self.approvals._row(instance)) if t["userId"] == actor)
            body = {"taskId": task["taskId"], "operateUserId": actor, "toUserId": fields["to"]}
            self.approvals.redirect({**body, "remark": fields.get("remark")}, actor=actor)
        elif op in ("edit", "update"):
            self.approvals.edit(instance, fields, actor)
        elif op == "delete":
            self.approvals.remove(instance, actor)
        else:
            raise ValueError(f"'{op}' is no click; there are {', '.join(sorted(_CLICKS))}")
        return instance

    # --- events --------------------------------------------------------------------------------------------------

    def push(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Tell of an event the way that was set up: Stream once somebody opened one, else the callback address."""
        event = {
            "EventType": kind,
            "EventTime": self.clock.now(),
            "CorpId": self.gate.corp_id,
            "BizId": uuid.uuid4().hex,
            "eventId": uuid.uuid4().hex,
            **fields,
        }
        if self.streams.subscribed:
            self.streams.push(event)
        elif self.callback_url is not None:
            self.call_back(orjson.dumps(event), {"Content-Type": "application/json"})

    def callback_content(self, body: bytes, attempt: int) -> bytes:
        return orjson.dumps({"encrypt": self.sealer.seal(body.decode())})

    def callback_address(self, url: str, content: bytes) -> str:
        return self.sealer.address(url, orjson.loads(content)["encrypt"], self.clock.now())

    def callback_accepted(self, response: httpx.Response) -> bool:
        return response.status_code == 200 and self.sealer.says_success(response.content)

    def callback_given_up(self, body: bytes) -> None:
        """An event that nobody took lies in the list of failed ones, under the name of its kind."""
        event = orjson.loads(body)
        kind = event["EventType"]
        payload = {"corpid": self.gate.corp_id}
        shown = {"bpmsCallBackData": event} if kind.startswith("bpms_") else {"userid": event.get("userId")}
        self.parked.append({"call_back_tag": kind, "event_time": event["EventTime"], kind: {**payload, **shown}})

    async def check_url(self, url: str) -> bool:
        """What the console does when a callback address is saved."""
        content = self.callback_content(b'{"EventType":"check_url"}', 0)
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            return self.callback_accepted(await client.post(self.callback_address(url, content), content=content))

    async def aclose(self) -> None:
        await self.streams.disconnect(polite=False)
        await super().aclose()

    # --- the platform --------------------------------------------------------------------------------------------

    async def _answered(self, request: Request) -> Response:
        path, op = request.url.path, self.op_of(request.method, request.url.path, b"")
        raw = await request.body()
        try:
            if self.files.holds(path):
                return self.files.carried(request.method, path, raw, request.headers)
            body = self._body(request, raw)
            if op == "login":
                return self._logged_in(path, request, body)
            if op == "stream_open":
                return answer(self.streams.open(body))
            if op == "robot":
                return ok(**self.messages.robot(request.query_params, body))
            token = request.headers.get("x-acs-dingtalk-access-token")
            old_token = request.query_params.get("access_token") or body.get("access_token")
            self.gate.admit(path, token if is_new(path) else old_token)
            self.gate.meter(path, op)
            if is_new(path):
                return answer(self._new_call(op, request, body))
            return self._old_call(path, body)
        except Denied as denied:
            return refused(path, denied)

    def _body(self, request: Request, raw: bytes) -> dict[str, Any]:
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(raw.decode()))
        try:
            body = orjson.loads(raw or b"{}")
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            raise Denied("invalidParameter", "请求体不是JSON") if is_new(request.url.path) else Denied(41, "参数不合法")
        return body

    def _logged_in(self, path: str, request: Request, body: Mapping[str, Any]) -> Response:
        if path == "/gettoken":
            query = request.query_params
            if not query.get("appkey"):
                raise Denied(40035, "缺少参数 corpid or appkey")
            with contextlib.suppress(PermissionError):
                token = self.gate.log_in(query["appkey"], query.get("appsecret"))
                return answer({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": 7200})
            raise Denied(40096, "不合法的appKey或appSecret")
        corp = path.removeprefix("/v1.0/oauth2/").removesuffix("/token")
        with contextlib.suppress(PermissionError):
            if path == "/v1.0/oauth2/accessToken":
                return answer(
                    {"accessToken": self.gate.log_in(body.get("appKey"), body.get("appSecret")), "expireIn": 7200}
                )
            if corp != self.gate.corp_id:
                raise Denied("unknownError", "未知错误", status=500)
            if body.get("grant_type") != "client_credentials":
                raise Denied("invalidParameter", "grant_type不合法")
            token = self.gate.log_in(body.get("client_id"), body.get("client_secret"))
            return answer({"access_token": token, "expires_in": 7200})
        raise Denied("invalidClientIdOrSecret", "无效的clientId或者clientSecret")

    def _new_call(self, op: str, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        query, approvals = request.query_params, self.approvals
        calls: dict[str, Callable[[], dict[str, Any]]] = {
            "start": lambda: approvals.start(body),
            "instance": lambda: approvals.get(query.get("processInstanceId", "")),
            "instance_ids": lambda: approvals.ids(body),
            "terminate": lambda: approvals.terminate(body),
            "execute": lambda: approvals.execute(body),
            "redirect": lambda: approvals.redirect(body),
            "comment": lambda: approvals.comment(body),
            "form": lambda: approvals.form(query.get("processCode", "")),
            "space": lambda: self.files.space(body),
            "upload_info": lambda: self.files.upload_info(request.url.path, query),
            "commit_file": lambda: self.files.commit(request.url.path, query, body),
            "file_url": lambda: self.files.url(body),
        }
        call = calls.get(op)
        if call is None:
            raise Denied("404", "请求的URI地址不存在")
        return call()

    def _old_calls(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        contacts = self.contacts
        return {
            "/topapi/v2/user/get": contacts.user_get,
            "/topapi/v2/user/getbymobile": contacts.user_by_mobile,
            "/topapi/v2/user/list": contacts.user_list,
            "/topapi/v2/user/update": contacts.user_update,
            "/topapi/v2/department/listsub": contacts.department_sub,
            "/topapi/v2/department/get": contacts.department_get,
        }

    def _old_call(self, path: str, body: dict[str, Any]) -> Response:
        if path in self._old:
            return ok(result=self._old[path](body))
        messages = "/topapi/message/corpconversation/"
        if path == "/call_back/get_call_back_failed_result":
            parked, self.parked = self.parked[:200], self.parked[200:]
            return ok(has_more=bool(self.parked), failed_list=parked)
        if path == messages + "asyncsend_v2":
            return ok(**self.messages.notify(body, self.gate.agent_id))
        calls = {
            messages + "getsendprogress": self.messages.progress,
            messages + "getsendresult": self.messages.result,
            messages + "recall": self.messages.recall,
            messages + "status_bar/update": self.messages.update_bar,
        }
        if path not in calls:
            raise Denied(22, f"Invalid method[submsg=不合法ApiName {path}]")
        return ok(**calls[path](body))

    def _code(self, object: str) -> str:
        name = object.removeprefix("approval:")
        if name not in self._template_names:
            raise ValueError(f"there is no form '{name}'; there are {', '.join(self._template_names)}")
        return self._template_names[name]

    def _people(self) -> None:
        for number, name in ((ROOT, "演示公司"), (101, "华东销售部"), (102, "华南销售部"), (103, "财务部")):
            place = {"name": name, "parent_id": None if number == ROOT else ROOT}
            self.contacts.put_department(str(number), place, "seed")
        people = (
            ("manager01", "管理员", "1000", 103),
            ("zhangwei", "张伟", "1001", 101),
            ("lina", "李娜", "1002", 102),
        )
        for id, name, job, department in people:
            person: Row = {"name": name, "mobile": f"1380000{job}", "job_number": f"E{job}"}
            self.contacts.put_user(id, {**person, "dept_id_list": [department]}, "seed")
