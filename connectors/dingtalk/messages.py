"""Messages: a work notification or a robot's post is a record that is created once, and hardly ever changes.

Nobody can look one up. A robot's post carries the hub's key as `msgUuid`, and the platform posts one key once; a work
notification has no such key, but the same content reaches the same person once a day. So what got no answer is sent
again as it was, for a while (`repeats_within` of the catalogue, `resend_within` of the settings).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from connectors.dingtalk.catalogue import ROBOT
from connectors.dingtalk.client import Call, DingTalkClient, Refusal, old
from connectors.dingtalk.describing import NOTIFICATION, Describer
from connectors.dingtalk.outcomes import not_begun, rejected, sent
from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.contract import FindAnswer, GetAnswer, GetKind, Op, Write
from hub.connector.kit import Kit
from hub.connector.webhook import hmac_sha256
from hub.domain.errors import HubError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Fields, Record, Value
from hub.domain.schema import ObjectSchema

_PATH = "/topapi/message/corpconversation/"
_LONGEST = 2048  # bytes of a notification's message
_STATES = {"0": "waiting", "1": "sending", "2": "done"}
_LISTS = {
    "read_by": "read_user_id_list",
    "unread_by": "unread_user_id_list",
    "failed_for": "failed_user_id_list",
    "dropped_for": "forbidden_user_id_list",
}


class Lacking(ValueError):
    """A message lacks what its type needs; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Messages:
    """Sending, and what became of what was sent."""

    def __init__(self, settings: DingTalkSettings, kit: Kit, client: DingTalkClient, describer: Describer) -> None:
        self._settings = settings
        self._kit = kit
        self._client = client
        self._describer = describer

    # --- writes -------------------------------------------------------------------------------------------------

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        try:
            schema = await self._describer.schema(object)
        except HubError as error:
            return [not_begun(error, self._kit.clock) for _ in batch]
        return list(await asyncio.gather(*(self._one(schema, write) for write in batch)))

    async def _one(self, schema: ObjectSchema, write: Write) -> Outcome:
        for name in (*write.fields, *write.rows):
            field = schema.fields.get(name)
            if field is None or field.computed or field.readonly:
                return rejected(f"{schema.name} has no field '{name}' that can be written", field=name)
        try:
            if write.op is Op.CREATE:
                post = schema.name.startswith(ROBOT)
                return await (self._post(schema.name, write) if post else self._notify(write))
        except Lacking as lacking:
            return rejected(str(lacking), field=lacking.field)
        if write.id is None or schema.name != NOTIFICATION:
            return rejected("a message that was sent can't be changed", kind=OutcomeKind.BLOCKED)
        if write.op is Op.OPERATION and write.operation == "recall":
            return await self._about(write, "recall", {"msg_task_id": write.id})
        changed = {name: value for name, value in write.fields.items() if name in ("status_value", "status_bg")}
        if write.op is Op.UPDATE and changed and len(changed) == len(write.fields) and not write.rows:
            return await self._about(write, "status_bar/update", {"task_id": write.id, **changed})
        return rejected("of a notification that was sent only its status bar can be changed", kind=OutcomeKind.BLOCKED)

    async def _notify(self, write: Write) -> Outcome:
        if self._settings.agent_id is None:
            raise Lacking("agent_id", "work notifications need `agent_id` in the settings")
        given = write.fields
        body: dict[str, Any] = {"agent_id": self._settings.agent_id, "msg": notification(given, _form(write))}
        if given.get("to_all_user") is True:
            body["to_all_user"] = True
        for name in ("userid_list", "dept_id_list"):
            members = _members(given.get(name))
            if members:
                body[name] = ",".join(members)
        if len(body) == 2:
            raise Lacking("userid_list", "a notification needs somebody to go to")
        if len(orjson.dumps(body["msg"])) > _LONGEST:
            raise Lacking("text", f"the message is longer than the {_LONGEST} bytes that a notification may have")
        call = old("notify", f"{_PATH}asyncsend_v2", body)
        answered = await sent(self._client.write(call, write.timeout), self._kit.clock)
        if isinstance(answered, Outcome):
            return answered
        id = answered.body.get("task_id")
        if not id:
            return Outcome(OutcomeKind.UNKNOWN, failure=Failure("the notification was taken, but its id was not told"))
        return Outcome(OutcomeKind.OK, id=str(id), steps=("save",), rows=_row_ids(write))

    async def _post(self, object: str, write: Write) -> Outcome:
        robot = self._settings.robots[object.removeprefix(ROBOT)]
        key = str(write.fields.get("msg_uuid") or write.stamp or "")
        if not key:
            key = hashlib.sha256(orjson.dumps(write.fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
        # Keys of the hub may be longer than a platform likes; the digest is as good a name.
        uuid = hashlib.sha256(key.encode()).hexdigest()[:32]
        params = {"access_token": robot.token.get_secret_value()}
        if robot.secret is not None:
            stamp = str(self._kit.wall.now())
            params |= {"timestamp": stamp, "sign": robot_sign(stamp, robot.secret.get_secret_value())}
        call = Call(
            "robot", "POST", "/robot/send", {**post(write.fields), "msgUuid": uuid}, params, free=True, new=False
        )
        answered = await sent(self._client.write_without_token(call, write.timeout), self._kit.clock)
        if isinstance(answered, Outcome):
            return answered
        return Outcome(OutcomeKind.OK, id=uuid, steps=("save",))

    async def _about(self, write: Write, what: str, body: dict[str, Any]) -> Outcome:
        call = old(what, f"{_PATH}{what}", {"agent_id": self._settings.agent_id, **body})
        answered = await sent(self._client.write(call, write.timeout), self._kit.clock)
        return answered if isinstance(answered, Outcome) else Outcome(OutcomeKind.OK, id=write.id)

    # --- reads --------------------------------------------------------------------------------------------------

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        """What became of a notification, for a day after it was sent; of a robot's post nobody tells."""
        wanted = list(dict.fromkeys(ids))
        found = await asyncio.gather(*(self._get(object, id, fields) for id in wanted))
        answers = dict(zip(wanted, found, strict=True))
        return [answers[id] for id in ids]

    async def _get(self, object: str, id: str, fields: frozenset[str] | None) -> GetAnswer:
        asked = self._kit.clock.now()
        if object != NOTIFICATION or not id.isdigit():
            return GetAnswer(id, GetKind.CANT_TELL, None, asked, asked)
        body = {"agent_id": self._settings.agent_id, "task_id": int(id)}
        try:
            progress = await self._client.ask(old("getsendprogress", f"{_PATH}getsendprogress", body))
            result = await self._client.ask(old("getsendresult", f"{_PATH}getsendresult", body))
        except Refusal:
            return GetAnswer(id, GetKind.CANT_TELL, None, asked, self._kit.clock.now())
        schema = await self._describer.schema(object)
        values: Fields = dict.fromkeys(schema.fields)
        values |= {"task_id": id, "state": _STATES.get(str((progress.body.get("progress") or {}).get("status")))}
        told = result.body.get("send_result") or {}
        for name, theirs in _LISTS.items():
            values[name] = [str(one) for one in told.get(theirs) or ()]
        lost = ("invalid_user_id_list", "failed_user_id_list", "forbidden_user_id_list")
        values["undelivered"] = sum(len(told.get(name) or ()) for name in lost)
        if fields is not None:
            values = {name: value for name, value in values.items() if name in fields}
        return GetAnswer(id, GetKind.FOUND, Record(object, id, values), asked, result.answered)

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[FindAnswer]:
        """Nobody tells who carries a key."""
        return [FindAnswer(cant_tell=True) for _ in keys]


# ---- bodies ----------------------------------------------------------------------------------------------------------


def robot_sign(timestamp: str, secret: str) -> str:
    """A robot's signature in base64 (it is percent-encoded in the address): HMAC-SHA256 of timestamp and secret."""
    return base64.b64encode(hmac_sha256(secret, f"{timestamp}\n{secret}")).decode()


def notification(given: Fields, form: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The `msg` of a work notification. Raises Lacking."""
    kind = str(given.get("msgtype") or ("oa" if form else "text"))
    need = _needing(given)
    body: dict[str, Any]
    match kind:
        case "text":
            body = {"content": need("text")}
        case "markdown":
            body = {"title": need("title"), "text": need("text")}
        case "link":
            body = {"title": need("title"), "text": need("text"), "messageUrl": need("url")}
            body["picUrl"] = str(given.get("picture") or "@lALOACZwe2Rk")
        case "action_card":
            body = {
                "title": need("title"),
                "markdown": need("text"),
                "single_title": str(given.get("button") or "查看"),
            }
            body["single_url"] = need("url")
        case "oa":
            body = _oa(given, form, need)
        case _:
            raise Lacking(
                "msgtype", f"'{kind}' is no type of notification; there are text, markdown, link, oa, action_card"
            )
    return {"msgtype": kind, kind: body}


def _oa(given: Fields, form: Sequence[Mapping[str, Any]], need: Any) -> dict[str, Any]:
    inner: dict[str, Any] = {"title": need("title")}
    if form:
        inner["form"] = [{"key": str(one.get("key") or ""), "value": str(one.get("value") or "")} for one in form]
    for ours, theirs in (("text", "content"), ("author", "author"), ("picture", "image")):
        if given.get(ours):
            inner[theirs] = str(given[ours])
    body: dict[str, Any] = {"head": {"bgcolor": "FFBBBBBB", "text": str(given.get("head") or "")}, "body": inner}
    if given.get("url"):
        body |= {"message_url": str(given["url"]), "pc_message_url": str(given["url"])}
    if given.get("status_value"):
        bar = {"status_value": str(given["status_value"]), "status_bg": str(given.get("status_bg") or "0xFF78C06E")}
        body["status_bar"] = bar
    return body


def post(given: Fields) -> dict[str, Any]:
    """The body of a robot's post, without its key. Raises Lacking."""
    kind = str(given.get("msgtype") or "text")
    need = _needing(given)
    body: dict[str, Any]
    match kind:
        case "text":
            made, body = "text", {"content": need("text")}
        case "markdown":
            made, body = "markdown", {"title": need("title"), "text": need("text")}
        case "link":
            made, body = "link", {"title": need("title"), "text": need("text"), "messageUrl": need("url")}
            body["picUrl"] = str(given.get("picture") or "")
        case "action_card":
            made, body = "actionCard", {"title": need("title"), "text": need("text"), "singleURL": need("url")}
            body["singleTitle"] = str(given.get("button") or "查看")
        case _:
            raise Lacking("msgtype", f"'{kind}' is no type of post; there are text, markdown, link, action_card")
    at = {"atMobiles": _members(given.get("at_mobiles")), "atUserIds": _members(given.get("at_users"))}
    return {"msgtype": made, made: body, "at": {**at, "isAtAll": given.get("at_all") is True}}


def _needing(given: Fields) -> Any:
    def need(name: str) -> str:
        value = given.get(name)
        if isinstance(value, list | dict) or value in (None, ""):
            raise Lacking(name, f"a message of this type needs its '{name}'")
        return str(value)

    return need


def _members(value: Value) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)] if value else []


def _form(write: Write) -> list[Mapping[str, Any]]:
    rows = write.rows.get("form")
    return [row.fields for row in rows.upsert] if rows else []


def _row_ids(write: Write) -> dict[str, dict[str, str]]:
    return {name: {row.key: row.key for row in rows.upsert} for name, rows in write.rows.items()}
