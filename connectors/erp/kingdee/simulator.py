"""A K/3 Cloud server on a desk: the WebAPI's routes and envelopes over the simulator's store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.erp.kingdee.catalogue import load_forms
from connectors.erp.kingdee.simulator_auth import COOKIE, LOST, Account, Door, LoginRefused, Session, UnknownDataCentre
from connectors.erp.kingdee.simulator_flow import STEPS, allocate, chosen, operation
from connectors.erp.kingdee.simulator_people import person, seed, seed_presets
from connectors.erp.kingdee.simulator_query import Query
from connectors.erp.kingdee.simulator_save import SaveOptions, Several, as_bool, save
from connectors.erp.kingdee.simulator_store import Refused, Store
from connectors.erp.kingdee.simulator_view import view
from connectors.erp.kingdee.simulator_wire import (
    arguments_of,
    data_of,
    envelope,
    login_answer,
    query_error,
    refusal,
    reply,
    returned_fields,
    service_of,
    with_session,
    written,
)
from hub.connector.simulator import Simulator
from hub.connector.table import Row

_AUTH = "kingdee.bos.webapi.servicesstub.authservice."
_FORM = "kingdee.bos.webapi.servicesstub.dynamicformservice."
_ACCOUNT = "kingdee.bos.servicefacade.servicesstub.account.accountservice."
_LOGINS = {name.lower(): name for name in ("ValidateUser", "ValidateUser2", "LoginByAppSecret", "LoginBySign")}
_NAMED = {
    "validateuser": ("acctID", "username", "password"),
    "validateuser2": ("acctID", "username", "password"),
    "loginbyappsecret": ("acctID", "username", "appId", "appSecret"),
    "loginbysign": ("acctID", "username", "appId", "timestamp", "sign"),
}
_HTML_502 = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"

Call = Callable[[Session, list[Any]], Any]


class KingdeeSimulator(Simulator):
    """K/3 Cloud.

    `execute_operation` says how this build spells ExcuteOperation, `sign_algorithm` what LoginBySign checks,
    `idle_seconds` how long a session lives unused; `latency` is the seconds that each call keeps its session busy.
    """

    def __init__(
        self,
        *,
        idle_seconds: float = 1200.0,
        sign_algorithm: str = "sha256",
        execute_operation: str = "ExcuteOperation",
        account: Account | None = None,
        latency: float = 0.0,
    ) -> None:
        super().__init__()
        self.latency = latency
        self.store = Store(self, load_forms())
        self.door = Door(self.clock, account or Account(), idle_seconds=idle_seconds, sign_algorithm=sign_algorithm)
        self.refuse_next: list[tuple[str, Refused | str]] = []  # (method, refusal or raw body) for calls to come
        self._methods: dict[str, tuple[str, Call]] = {
            name.lower(): (name, call)
            for name, call in {
                "ExecuteBillQuery": self._execute_bill_query,
                "BillQuery": self._bill_query,
                "QueryBusinessInfo": self._query_business_info,
                "View": self._view,
                "Save": self._save,
                "Draft": self._draft,
                "BatchSave": self._batch_save,
                "Submit": self._step("Submit"),
                "Audit": self._step("Audit"),
                "UnAudit": self._step("UnAudit"),
                "CancelAssign": self._step("CancelAssign"),
                "Delete": self._step("Delete"),
                execute_operation: self._excute_operation,
                "Allocate": self._allocate,
                "SwitchOrg": self._switch_org,
            }.items()
        }
        seed_presets(self.store)
        self.journal.clear()  # what a new server comes with is no news

    # -- the kit's side -------------------------------------------------------------------------------------------

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/{root}/{service:path}", self._serve, methods=["POST"])]

    def settings(self) -> dict[str, Any]:
        account = self.door.account
        return {
            "server_url": f"{self.base_url}/k3cloud/",
            "acct_id": account.acct_id,
            "username": account.username,
            "app_id": account.app_id,
            "app_secret": account.app_secret,
            "lcid": 2052,
            "org_num": "100",
        }

    def op_of(self, method: str, path: str, body: bytes) -> str:
        name = service_of(path).rpartition(".")[2]
        if name.lower() in _LOGINS:
            return "login"
        return self._methods[name.lower()][0] if name.lower() in self._methods else name

    def expire_tokens(self) -> None:
        self.door.sessions.clear()

    def throttled(self, retry_after: float | None) -> Response:
        return reply(refusal(Refused("接口调用次数超过限制，请稍后再试", code=14)))

    def failed(self) -> Response:
        return Response(_HTML_502, status_code=502, media_type="text/html")

    async def change(self, change: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return person(self.store, change)
        except Several as several:
            raise ValueError(str(several)) from several
        except Refused as refused:
            raise ValueError(refused.message) from refused

    async def bulk(self, object: str, records: Sequence[Row]) -> int:
        return seed(self.store, object, records)

    def id_of(self, object: str, record: Row) -> str:
        return str(record[self.store.form(object).pk])

    # -- the vendor's side ----------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> Response:
        service = service_of(request.url.path)
        if request.path_params["root"].lower() != "k3cloud" or not service:
            return PlainTextResponse("404 - File or directory not found.", status_code=404)
        try:
            given = envelope(request.headers.get("content-type", ""), await request.body())
        except (TypeError, ValueError):
            return PlainTextResponse('response_error:{"Message":"反序列化请求参数失败","InnerExWrapper":null}')
        lowered = service.lower()
        if lowered == f"{_ACCOUNT}getdatacenterlist":
            return reply([self._data_centre()])
        if lowered.startswith(_AUTH):
            return self._authenticate(lowered.removeprefix(_AUTH), given, request)
        if lowered.startswith(_FORM) and lowered.removeprefix(_FORM) in self._methods:
            return await self._call(*self._methods[lowered.removeprefix(_FORM)], given, request)
        return PlainTextResponse(f"response_error:service no found: {service}")

    def _data_centre(self) -> dict[str, Any]:
        return {
            "Id": self.door.account.acct_id,
            "Number": "DEMO",
            "Name": "演示数据中心",
            "Version": "8.2.0.20240606",
            "GDCID": "0",
            "AuthenticationMethods": 1,
        }

    def _authenticate(self, name: str, given: dict[str, Any], request: Request) -> Response:
        if name == "logout":
            ended = self.door.sessions.pop(request.cookies.get(COOKIE) or request.headers.get(COOKIE, ""), None)
            return reply(ended is not None)
        if name not in _LOGINS:
            return PlainTextResponse(f"response_error:service no found: {name}")
        parameters = given.get("parameters") or [given.get(key, "") for key in _NAMED[name]]
        try:
            session = self.door.log_in(_LOGINS[name], list(parameters))
        except LoginRefused as refused:
            return reply(login_answer(refused.result, message=refused.message, code=refused.code))
        return with_session(reply(login_answer(1, session=session, account=self.door.account)), session)

    async def _call(self, name: str, call: Call, given: dict[str, Any], request: Request) -> Response:
        query = name == "ExecuteBillQuery"
        try:
            session, new = self.door.enter(request.headers, request.cookies)
        except UnknownDataCentre:
            return PlainTextResponse("Fail to verify thirty passport", status_code=500)
        except Refused as refused:
            # A useless cookie comes along, as on a real server.
            answer = reply(query_error(refused) if query else refusal(refused))
            answer.set_cookie(COOKIE, hashlib.sha256(LOST.encode()).hexdigest()[:24], path="/")
            return answer
        async with session.lock:
            if self.latency:
                await asyncio.sleep(self.latency)
            armed = self._refusal(name)
            if isinstance(armed, str):
                return PlainTextResponse(armed)
            try:
                if armed is not None:
                    raise armed
                body = call(session, arguments_of(given, name))
            except Refused as refused:
                body = query_error(refused) if query else refusal(refused)
            answer = reply(body)
        return with_session(answer, session) if new else answer

    def _refusal(self, name: str) -> Refused | str | None:
        for at, (method, armed) in enumerate(self.refuse_next):
            if method == name:
                del self.refuse_next[at]
                return armed
        return None

    def _execute_bill_query(self, _session: Session, arguments: list[Any]) -> Any:
        return Query(self.store, data_of(arguments, 0)).rows()

    def _bill_query(self, _session: Session, arguments: list[Any]) -> Any:
        query = Query(self.store, data_of(arguments, 0))
        return [dict(zip(query.names, row, strict=True)) for row in query.rows()]

    def _query_business_info(self, _session: Session, arguments: list[Any]) -> Any:
        form = self.store.form(str(data_of(arguments, 0).get("FormId") or ""))
        return {"Result": {"ResponseStatus": {"IsSuccess": True, "MsgCode": 0}, "NeedReturnData": form.business_info()}}

    def _view(self, _session: Session, arguments: list[Any]) -> Any:
        form = self.store.form(str(arguments[0]))
        id, row = chosen(self.store, form, data_of(arguments, 1))[0]
        row = self.store.shown(form.id, id) if row is not None and id == str(row[form.pk]) else row
        if row is None:
            raise Refused(f"{form.label}“{id}”的数据不存在", code=10)
        return {"Result": {"ResponseStatus": None, "Result": view(self.store, form, row)}}

    def _save(self, session: Session, arguments: list[Any]) -> Any:
        return self._saved(session, arguments, single=True)

    def _draft(self, session: Session, arguments: list[Any]) -> Any:
        return self._saved(session, arguments, single=True, draft=True)

    def _batch_save(self, session: Session, arguments: list[Any]) -> Any:
        return self._saved(session, arguments, single=False)

    def _saved(self, session: Session, arguments: list[Any], *, single: bool, draft: bool = False) -> Any:
        form, data = self.store.form(str(arguments[0])), data_of(arguments, 1)
        models = data.get("Model")
        models = [models] if single else models
        if not isinstance(models, list) or not all(isinstance(each, dict) for each in models):
            raise Refused("参数Model的格式不正确", code=8)
        if as_bool(data.get("ValidateRepeatJson"), False):
            digest = hashlib.sha256(orjson.dumps([form.id, data])).digest()
            if digest in self.store.bodies:
                raise Refused("重复的请求数据，已存在相同的保存请求", code=11)
            self.store.bodies.add(digest)
        options = SaveOptions.of(data, draft=draft)
        done: list[tuple[int, Row]] = []
        errors: list[tuple[int, Refused]] = []
        for at, model in enumerate(models):
            try:
                done.append((at, save(self.store, form, model, options, session.org, "api")))
            except Several as several:
                errors += [(at, error) for error in several.errors]
            except Refused as refused:
                errors.append((at, refused))
        if as_bool(data.get("IsAutoSubmitAndAudit"), False):
            self._auto(form.id, done, errors)
        answer = written([(at, row[form.pk], row[form.number]) for at, row in done], errors)
        wanted = [str(name) for name in data.get("NeedReturnFields") or ()]
        answer["Result"]["NeedReturnData"] = [returned_fields(form.tables, row, wanted) for _, row in done] or [{}]
        return answer

    def _auto(self, form: str, done: list[tuple[int, Row]], errors: list[tuple[int, Refused]]) -> None:
        for at, (index, row) in enumerate(done):
            for name in ("Submit", "Audit"):
                try:
                    row = operation(self.store, self.store.form(form), name)(row) or row
                except Refused as refused:
                    errors.append((index, refused))
                    break
            done[at] = (index, row)

    def _step(self, name: str) -> Call:
        return lambda _session, arguments: self._operate(str(arguments[0]), name, data_of(arguments, 1))

    def _excute_operation(self, _session: Session, arguments: list[Any]) -> Any:
        name = str(arguments[1] or "")
        if not name:
            raise Refused("操作编码不能为空", code=3)
        if name in STEPS or name == "Delete":
            raise Refused(f"操作“{name}”请调用对应的接口", code=8)
        return self._operate(str(arguments[0]), name, data_of(arguments, 2))

    def _operate(self, form_id: str, name: str, data: dict[str, Any]) -> Any:
        form = self.store.form(form_id)
        act = operation(self.store, form, name)
        done: list[tuple[int, Any, Any]] = []
        errors: list[tuple[int, Refused]] = []
        for at, (named, row) in enumerate(chosen(self.store, form, data)):
            try:
                if row is None:
                    raise Refused(f"{form.label}“{named}”的数据不存在", code=10)
                act(row)
                done.append((at, row[form.pk], row[form.number]))
            except Refused as refused:
                errors.append((at, refused))
        return written(done, errors)

    def _allocate(self, _session: Session, arguments: list[Any]) -> Any:
        form, data = self.store.form(str(arguments[0])), data_of(arguments, 1)
        done: list[tuple[int, Any, Any]] = []
        errors: list[tuple[int, Refused]] = []
        for at, (named, row) in enumerate(chosen(self.store, form, {"Ids": data.get("PkIds")})):
            for org_id in filter(None, str(data.get("TOrgIds") or "").split(",")):
                org = self.store.table("ORG_Organizations").get(org_id.strip())
                try:
                    if row is None or org is None:
                        raise Refused(f"“{named if row is None else org_id}”的数据不存在", code=10)
                    given = allocate(self.store, form, row, org)
                    done.append((at, given[form.pk], given[form.number]))
                except Refused as refused:
                    errors.append((at, refused))
        return written(done, errors)

    def _switch_org(self, session: Session, arguments: list[Any]) -> Any:
        number = str(data_of(arguments, 0).get("OrgNumber") or "")
        if self.store.resolve("ORG_Organizations", number, None) is None:
            raise Refused(f"组织“{number}”不存在", code=10)
        session.org = number
        return written([], [])
