"""WeCom on a desk, from the vendor's documents: address book, approvals, messages, customer contact, callbacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree  # what is read here is what this simulator wrote

import httpx
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from connectors.wecom.simulator_approvals import Approvals
from connectors.wecom.simulator_customers import Customers
from connectors.wecom.simulator_gate import Call, Denied, Gate
from connectors.wecom.simulator_messages import Media, Messages
from connectors.wecom.simulator_people import People
from connectors.wecom.simulator_seal import Seal, event_xml
from connectors.wecom.simulator_seal import elements as as_elements
from hub.connector.simulator import Simulator, answer
from hub.connector.table import Row, Table

_CUSTOMER = re.compile("^externalcontact/")


class WeComSimulator(Simulator):
    """Corp `ww5f0c1e2d3b4a6978` with one self-built app. Its desks hold what tests may change: `gate` (limits,
    address list), `people.private`, `approvals.templates`, `approvals.short_pages`, `messages.robots`."""

    callback_retries = (1.0, 5.0)  # three attempts in all, and nothing after that

    def __init__(self) -> None:
        super().__init__()
        self.tables["member"] = Table(indexed=("mobile",))
        self.gate = Gate(self.clock)
        self.seal = Seal("hubWecomTok1", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFE", self.gate.account.corp_id)
        self.media = Media(self)
        self.people = People(self)
        self.approvals = Approvals(self)
        self.messages = Messages(self)
        self.customers = Customers(self)
        desks: tuple[People | Approvals | Messages | Customers, ...] = (
            self.people, self.approvals, self.messages, self.customers,
        )  # fmt: skip
        self._handlers: dict[str, Callable[[Call], dict[str, Any]]] = {"media/upload": self.media.upload}
        for desk in desks:
            self._handlers |= desk.handlers()
        self._settle_in()

    def _settle_in(self) -> None:
        """A corp that somebody works in: two departments, four members."""
        self.people.save_department(1, {"name": "示例公司", "parentid": 0}, actor="seed")
        self.people.save_department(2, {"name": "销售部", "parentid": 1}, actor="seed")
        for userid, (name, mobile, department) in _MEMBERS.items():
            fields = {"name": name, "mobile": mobile, "department": [department]}
            self.people.save_member(userid, fields, actor="seed", new=True)

    # -- what the base asks for ---------------------------------------------------------------------------------------

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/cgi-bin/gettoken", self._login, methods=["GET"]),
            Route("/cgi-bin/webhook/send", self._robot, methods=["POST"]),
            Route("/cgi-bin/media/get", self._file, methods=["GET"]),
            Route("/cgi-bin/{path:path}", self._call, methods=["GET", "POST"]),
        ]

    def op_of(self, method: str, path: str, body: bytes) -> str:
        op = path.removeprefix("/cgi-bin/")
        return "login" if op == "gettoken" else op

    def settings(self) -> dict[str, Any]:
        account = self.gate.account
        return {
            "base_url": f"{self.base_url}/cgi-bin",
            "corp_id": account.corp_id,
            "agent_id": account.agent_id,
            "secret": account.secrets["app"],
            "contact_secret": account.secrets["contact"],
            "customer_secret": account.secrets["customer"],
            "callback_token": self.seal.token,
            "callback_aes_key": self.seal.key_text,
            "templates": {template.alias: template.id for template in self.approvals.templates},
            "robots": dict(self.messages.robots),
        }

    def id_of(self, object: str, record: Row) -> str:
        return str(record[_IDS.get(object.partition(":")[0], "id")])

    async def change(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """People's work: members, departments, group chats and corp tags (create, update, delete), external contacts
        (the same, `actor` being the member; operation unfollow is the customer's), approvals (update of a form's texts,
        delete; operations agree, refuse, transfer, withdraw, comment, pay), transfers (accept, refuse), cards (click).
        """
        op, object, id = change["op"], str(change["object"]), str(change.get("id") or "")
        fields, actor = dict(change.get("fields") or {}), str(change.get("actor") or "person")
        try:
            if op == "operation":
                self._operate(object, id, str(change["operation"]), actor, fields)
            elif op == "delete":
                self._delete(object, id, actor, fields)
            else:
                self._save(op, object, id, actor, fields)
        except Denied as refused:
            raise ValueError(f"{refused.code} {refused.message}") from refused
        return {"id": id}

    def expire_tokens(self) -> None:
        self.gate.expire()

    def throttled(self, retry_after: float | None) -> Response:
        return _refusal(45009, "api freq out of limit")

    def failed(self) -> Response:
        return _refusal(-1, "system busy")

    def callback_content(self, body: bytes, attempt: int) -> bytes:
        return self.seal.envelope(self.seal.encrypt(body.decode()), str(self.gate.account.agent_id))

    def callback_address(self, url: str, content: bytes) -> str:
        sealed = ElementTree.fromstring(content).findtext("Encrypt") or ""  # noqa: S314 - our own envelope
        return self.seal.address(url, sealed, at=self.clock.now())

    # -- what desks use -----------------------------------------------------------------------------------------------

    def event(self, name: str, said: Mapping[str, object], *, change: str | None = None, sender: str = "sys",
              at: int | None = None) -> str:  # fmt: skip
        """The XML of one event; `at` is epoch milliseconds."""
        inner = as_elements(dict(said))
        return event_xml(self.gate.account.corp_id, sender, self.clock.now() if at is None else at, name, inner, change)

    def tell(self, name: str, said: Mapping[str, object], *, change: str | None = None, sender: str = "sys") -> None:
        """Send an event's callback, sealed and signed anew at each attempt."""
        self.call_back(self.event(name, said, change=change, sender=sender).encode(), {"Content-Type": "text/xml"})

    async def verify_callback(self, url: str, echo: str = "5927782489442352469") -> bool:
        """What the console does when an administrator saves a callback address: it must send the plain echo back."""
        sealed = self.seal.encrypt(echo)
        address = self.seal.address(url, sealed, at=self.clock.now(), echostr=sealed)
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            response = await client.get(address)
        return response.status_code == 200 and response.content == echo.encode()

    # -- people -------------------------------------------------------------------------------------------------------

    def _save(self, op: str, object: str, id: str, actor: str, fields: dict[str, Any]) -> None:
        match object:
            case "member":
                if new := fields.pop("userid", None):
                    self.people.rename_member(id, str(new))
                else:
                    self.people.save_member(id, fields, actor=actor, new=op == "create")
            case "department":
                self.people.save_department(int(id), fields, actor=actor)
            case "external_contact":
                self.customers.follow(id, actor, fields, actor=actor)
            case "group_chat":
                self.customers.save_chat(id, fields, actor=actor)
            case "corp_tag":
                self.customers.save_tag(id, fields, actor=actor)
            case _ if object.startswith("approval:") and op == "update":
                self.approvals.act(object.partition(":")[2], id, "edit", actor, "", fields)
            case _:
                raise ValueError(f"people can't {op} {object}")

    def _delete(self, object: str, id: str, actor: str, fields: Mapping[str, Any]) -> None:
        match object:
            case "member":
                self.people.delete_member(id, actor=actor)
            case "department":
                self.people.delete_department(int(id))
            case "external_contact":
                self.customers.unfollow(id, actor, by_customer=False)
            case "group_chat":
                self.customers.dismiss_chat(id)
            case _ if object.startswith("approval:"):
                self.approvals.act(object.partition(":")[2], id, "delete", actor, "", fields)
            case _:
                raise ValueError(f"people can't delete {object}")

    def _operate(self, object: str, id: str, operation: str, actor: str, fields: dict[str, Any]) -> None:
        kind, _, alias = object.partition(":")
        match kind:
            case "approval":
                self.approvals.act(alias, id, operation, actor, str(fields.get("opinion") or ""), fields)
            case "external_contact" if operation == "unfollow":
                self.customers.unfollow(id, actor, by_customer=True)
            case "transfer" if operation in ("accept", "refuse"):
                self.customers.answer_transfer(id, refused=operation == "refuse")
            case "message" if operation == "click":
                self.messages.click(id, actor, str(fields["key"]))
            case _:
                raise ValueError(f"people can't {operation} {object}")

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    async def _login(self, request: Request) -> Response:
        try:
            return _reply(self.gate.log_in(request.query_params, _address(request)))
        except Denied as refused:
            return _refusal(refused.code, refused.message)

    async def _call(self, request: Request) -> Response:
        path = request.path_params["path"]
        raw = await request.body()
        try:
            app = self.gate.admit(path, request.query_params, _address(request))
            handler = self._handlers.get(path)
            if handler is None:
                raise Denied(48005, "api is not known")
            if _CUSTOMER.match(path) and app == "contact":
                raise Denied(84074, "no permission")
            kind = request.headers.get("content-type", "")
            body = {} if kind.startswith("multipart/") else _json(raw)
            return _reply(handler(Call(path, app, request.query_params, body, raw, kind)))
        except Denied as refused:
            return _refusal(refused.code, refused.message)

    async def _robot(self, request: Request) -> Response:
        try:
            return _reply(self.messages.robot(request.query_params.get("key", ""), _json(await request.body())))
        except Denied as refused:
            return _refusal(refused.code, refused.message)

    async def _file(self, request: Request) -> Response:
        try:
            self.gate.admit("media/get", request.query_params, _address(request))
            part = self.media.get(request.query_params.get("media_id", ""))
        except Denied as refused:
            return _refusal(refused.code, refused.message)
        headers = {"Content-Disposition": f'attachment; filename="{quote(part.filename or "")}"'}
        return Response(part.content, media_type=part.type or "application/octet-stream", headers=headers)


# Who they are in a CRM is known by their mobiles.
_MEMBERS = {
    "zhangsan": ("张三", "13800001001", 2),
    "lisi": ("李四", "13800001002", 2),
    "wangwu": ("王五", "13800001003", 1),
    "zhaoliu": ("赵六", "13800001000", 1),
}
_IDS = {"member": "userid", "approval": "sp_no", "external_contact": "external_userid", "group_chat": "chat_id"}


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _json(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    if b"\\u" in raw:
        raise Denied(40033, "invalid charset. please check your request, if include \\uxxxx will create fail!")
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Denied(40058, "Warning: wrong json format. invalid parameter") from None
    if not isinstance(found, dict):
        raise Denied(40058, "Warning: wrong json format. not an object")
    return found


def _reply(body: Mapping[str, Any]) -> Response:
    return answer({"errcode": 0, "errmsg": "ok", **body})


def _refusal(code: int, message: str) -> Response:
    more = f"more info at https://open.work.weixin.qq.com/devtool/query?e={code}"
    return answer({"errcode": code, "errmsg": f"{message}, hint: [1500000000123456789012345], {more}"})
