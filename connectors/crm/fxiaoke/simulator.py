"""Fxiaoke on a desk: gateway, tenant and callbacks, written from the vendor's documents."""

from __future__ import annotations

import base64
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.crm.fxiaoke.simulator_api import Api, Call, Sight
from connectors.crm.fxiaoke.simulator_describe import LOOKUPS, TEXTS, ZONE_MS, Refused
from connectors.crm.fxiaoke.simulator_events import Sealer, event_type
from connectors.crm.fxiaoke.simulator_gate import Account, Denied, Gate
from connectors.crm.fxiaoke.simulator_shape import Shape
from connectors.crm.fxiaoke.simulator_tenant import Actor, Tenant, WriteFlags
from hub.connector.simulator import Simulator
from hub.connector.table import Row, Table

_LOGINS = {"/oauth2.0/token": "accessToken", "/cgi/corpAccessToken/get/V2": "corpAccessToken"}
_SILENT = frozenset({"seed"})
_ADMIN = "1000"


def refusal_codes() -> dict[str, int]:
    """Codes of business refusals. The vendor publishes few; those of seven digits are made up, to be changed."""
    return {
        "offset": 10013, "no_user": 20012, "limit": 32000, "offset_step": 32000, "query": 32000, "malformed": 3200199,
        "required": 3200101, "illegal_value": 3200102, "illegal_option": 3200103, "too_long": 3200104,
        "lookup_missing": 3200105, "unique": 3200106, "duplicate": 3200107, "locked": 3200108, "life_status": 3200109,
        "missing": 3200110, "no_right": 3200111, "not_invalid": 3200112, "owner": 3200113, "no_object": 3200114,
        "wrong_path": 3200115,
    }  # fmt: skip


class FxiaokeSimulator(Simulator):
    """Tenant `demoea`. Tests may change `tenant.switches`, `tenant.rights`, `gate.limits` and `codes`."""

    def __init__(self, *, path_calls: int = 100, path_seconds: float = 20.0) -> None:
        super().__init__()
        self.codes = refusal_codes()
        self.failure_code = -1  # or -2, 50009: all three are documented as 'system error, busy, timeout'
        self.subscribed: frozenset[str] | None = None  # objects whose changes are called back; None: all
        self.traces: deque[str | None] = deque(maxlen=1000)  # of the latest calls
        self.account = Account()
        self.gate = Gate(self.clock, self.account)
        self.gate.limits.path_calls = path_calls
        self.gate.limits.path_window_ms = int(path_seconds * 1000)
        self.tenant = Tenant(self)
        self.shape = Shape(self.tenant, self.table)
        self.sealer = Sealer(self.tenant.ea, base64.b64encode(bytes(range(32))).decode())
        self._api = Api(self.tenant, self.shape, Sight(self.table, self.shown, self.findable))
        self._people()

    # --- the base's duties --------------------------------------------------------------------------------------

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/fsfile/upload/", self._upload, methods=["POST"]),
            Route("/{path:path}", self._answered, methods=["GET", "POST"]),
        ]

    def settings(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "app_id": self.account.app_id,
            "app_secret": self.account.app_secret,
            "permanent_code": self.account.permanent_code,
            "user_id": _ADMIN,
            "mobile": "+86-13800001000",
            "ea": self.tenant.ea,
            "aes_key": self.sealer.aes_key,
            "path_calls": self.gate.limits.path_calls,
            "path_seconds": self.gate.limits.path_window_ms / 1000,
        }

    def op_of(self, method: str, path: str, body: bytes) -> str:
        return "login" if path in _LOGINS else path.rpartition("/")[2]

    def table(self, object: str) -> Table:
        if object not in self.tables:
            info = self.tenant.objects.get(object)
            fields = info.fields if info is not None else {}
            kinds = TEXTS | LOOKUPS | {"auto_number"}
            indexed = [name for name, given in fields.items() if given.type in kinds and name != "_id"]
            self.tables[object] = Table(indexed=indexed, ordered=("last_modified_time",))
        return self.tables[object]

    def id_of(self, object: str, record: Row) -> str:
        return str(record["_id"])

    async def bulk(self, object: str, records: Sequence[Row]) -> int:
        try:
            return len(self.tenant.seed(object, records, Actor(_ADMIN, person=True)))
        except Refused as refused:
            raise ValueError(refused.message) from None

    async def change(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """A person's edit; `details` ({detail object: rows}) may come along with a create."""
        actor = Actor(str(change.get("actor", "1001")), person=True)
        op, name, fields = change["op"], str(change["object"]), dict(change.get("fields") or {})
        try:
            if op == "create":
                id, _ = self.tenant.create(name, fields, change.get("details") or {}, actor, WriteFlags())
                return {"id": id}
            id = str(change["id"])
            if op == "update":
                self.tenant.update(name, {**fields, "_id": id}, change.get("details"), actor, WriteFlags())
            elif op == "delete":
                self._remove(name, id, actor)
            else:
                self._operate(str(change.get("operation", op)), name, id, fields, actor)
        except Refused as refused:
            raise ValueError(refused.message) from None
        return {"id": id}

    def expire_tokens(self) -> None:
        self.gate.expire()

    def throttled(self, retry_after: float | None) -> Response:
        return self._envelope(self.gate.limits.path_code, "interface call frequency exceeds the limit")

    def failed(self) -> Response:
        return self._envelope(self.failure_code, "system error", description="系统繁忙")

    def callback_content(self, body: bytes, attempt: int) -> bytes:
        return self.sealer.sealed(orjson.loads(body), at=self.clock.now(), retry_times=attempt)

    def callback_accepted(self, response: httpx.Response) -> bool:
        return response.status_code == 200 and self.sealer.accepts(response.content)

    # --- what the tenant stands on ------------------------------------------------------------------------------

    def put(self, operation: str, object: str, row: Row, actor: Actor, *, gone: bool = False) -> None:
        """Commit and journal a record, and call back."""
        who = "seed" if operation == "seed" else f"person:{actor.user}" if actor.person else "api"
        if not (gone and self.table(object).get(row["_id"]) is None):
            self.commit(operation, object, row["_id"], None if gone else row, actor=who)
        if operation in _SILENT or self.callback_url is None:
            return
        if self.subscribed is None or object in self.subscribed:
            self.call_back(orjson.dumps(self.event(event_type(operation), object, row["_id"])))

    def event(self, kind: str, object: str, id: str) -> dict[str, Any]:
        """A change as the callback tells it, before it is sealed."""
        return {
            "tenantId": int(self.tenant.tenant_id),
            "eventType": kind,
            "apiName": object,
            "dataId": id,
            "timestamp": self.clock.now(),
            "messageId": secrets.token_hex(16).upper(),
        }

    def now(self) -> int:
        return self.clock.now()

    # --- the gateway --------------------------------------------------------------------------------------------

    async def _answered(self, request: Request) -> Response:
        path = request.url.path
        if request.headers.get("host", "").startswith("www."):
            return HTMLResponse("<html><body>302 Found</body></html>", 302, {"Location": "https://www.fxiaoke.com/"})
        trace = request.query_params.get("thirdTraceId")
        self.traces.append(trace)
        user = "null"
        try:
            body = orjson.loads(await request.body() or b"{}")
            if not isinstance(body, dict):
                raise Denied(12004, "the body is illegal")
            if path in _LOGINS:
                return self._logged_in(path, body)
            handler = self._api.paths.get(path)
            if handler is None or request.method != "POST":
                raise Denied(10006, f"the request uri=[{path}], apiName=[null] is not exists")
            call = self._admitted(path, request, body)
            user = call.actor.user
            if self.tenant.switches.strict_trace and not trace:
                raise Denied(10001, "the parameter thirdTraceId is missing or illegal")
            return self._envelope(0, "OK", description="success", user=user, **handler(call))
        except Denied as denied:
            return self._envelope(denied.code, denied.message, description=denied.description, **denied.more)
        except Refused as refused:
            described = "offset 不能超过10000" if refused.kind == "offset" else refused.message
            return self._envelope(self.codes[refused.kind], refused.message, description=described, user=user)
        except orjson.JSONDecodeError:
            return self._envelope(12004, "the body is illegal")

    def _logged_in(self, path: str, body: Mapping[str, Any]) -> Response:
        oauth = _LOGINS[path] == "accessToken"
        if oauth and body.get("grantType") != "app_secret":
            raise Denied(10006, "the parameter grantType is missing or illegal", "缺少参数或参数不合法")
        token, remaining = self.gate.log_in(body, oauth=oauth)
        common: dict[str, Any] = {_LOGINS[path]: token, "expiresIn": remaining}
        if oauth:
            more = {"appId": self.account.app_id, "ea": self.tenant.ea, "openUserId": self.account.corp_id}
        else:
            more = {"corpId": self.account.corp_id}
        return self._envelope(0, "success", description="成功", **common, **more)

    def _admitted(self, path: str, request: Request, body: dict[str, Any]) -> Call:
        header = request.headers.get("authorization")
        if header is not None:
            token = header.removeprefix("Bearer ") if header.startswith("Bearer ") else "?"
            self.gate.admit(token, request.headers.get("x-fs-ea"), frozenset({self.tenant.ea}))
            user, open_ids = request.headers.get("x-fs-userid", ""), body.get("convertUserId") is True
        else:
            self.gate.admit(body.get("corpAccessToken"), body.get("corpId"), frozenset({self.account.corp_id}))
            user = self.shape.user_of(str(body.get("currentOpenUserId") or ""))
            open_ids = body.get("convertUserId") is not False
        self.gate.meter(path)
        if path.startswith("/cgi/crm/"):
            if not user:
                raise Denied(10010, "currentOpenUserId 不能为空")
            if user not in self.table("PersonnelObj"):
                raise Denied(20012, "the openUserId is not exist", "openUserId不存在")
        return Call(path, body, Actor(user), open_ids)

    def _envelope(
        self, code: int, message: str, *, description: str | None = None, user: str = "null", **more: Any
    ) -> Response:
        moment = datetime.fromtimestamp((self.clock.now() + ZONE_MS) / 1000, UTC)
        trace = f"E-O.{self.tenant.ea}.{user}-{moment:%Y%m%d%H%M%S}-{secrets.token_hex(3)}"
        answer = {
            "errorCode": code,
            "errorMessage": message,
            "errorDescription": message if description is None else description,
            "traceId": trace,
            **more,
        }
        return Response(orjson.dumps(answer), media_type="application/json;charset=UTF-8")

    async def _upload(self, request: Request) -> Response:
        answer = self._api.upload(request.headers, await request.body())
        return Response(orjson.dumps(answer), media_type="application/json")

    # --- people -------------------------------------------------------------------------------------------------

    def _remove(self, name: str, id: str, actor: Actor) -> None:
        if id not in self.tenant.recycled[name]:
            self.tenant.invalidate(name, id, actor)
        self.tenant.delete(name, id, actor)

    def _operate(self, operation: str, name: str, id: str, fields: Mapping[str, Any], actor: Actor) -> None:
        if operation == "invalid":
            self.tenant.invalidate(name, id, actor)
        elif operation == "recover":
            self.tenant.recover(name, id, actor)
        elif operation in {"lock", "unlock"}:
            self.tenant.lock(name, id, operation == "lock", True, actor)
        elif operation == "changeOwner":
            self.tenant.change_owner(name, id, fields["owner"], actor)
        else:
            raise ValueError(f"{operation} is no operation; there are invalid, recover, lock, unlock, changeOwner")

    def _people(self) -> None:
        admin = Actor(_ADMIN, person=True)
        names = {"1001": "华东销售部", "1002": "华南销售部", "1003": "财务部"}
        departments = [
            {"_id": id, "name": name, "dept_code": f"D{id}", "parent_id": ["999999"], "status": "0"}
            for id, name in names.items()
        ]
        self.tenant.seed("DepartmentObj", departments, admin)
        people = [
            ("1000", "管理员", "1003"),
            ("1001", "张伟", "1001"),
            ("1002", "李娜", "1002"),
            ("1003", "王芳", "1001"),
        ]
        self.tenant.seed(
            "PersonnelObj",
            [
                {
                    "_id": id,
                    "user_id": id,
                    "name": name,
                    "full_name": name,
                    "phone": f"+86-1380000{id}",
                    "employee_number": f"E{id}",
                    "main_department": [department],
                    "status": "0",
                }
                for id, name, department in people
            ],
            admin,
        )
