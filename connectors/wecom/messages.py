"""Messages: to members by the app, into groups by robots. Sent once: the platform keeps no list to look them up in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connectors.wecom.client import Refusal
from connectors.wecom.desk import Desk, refused
from hub.connector.contract import Write
from hub.domain.errors import HubError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Fields, RowsWrite, Value
from hub.domain.schema import ObjectSchema

MESSAGE = "message:"
ROBOT = "robot:"
_BYTES = {"message:text": 2048, "message:markdown": 2048}
_ROBOT_BYTES = {"text": 2048, "markdown": 4096, "markdown_v2": 4096}
_MOST_RECEIVERS = {"to": 1000, "to_departments": 100, "to_tags": 100}


class AppMessages(Desk):
    """Messages of the app. Within `duplicate_seconds` the platform delivers the same body once, so that the same
    message sent again after a lost answer reaches nobody twice."""

    async def schema(self, object: str) -> ObjectSchema:
        found = self.catalogue.schema(object)
        within = float(self.settings.duplicate_seconds)
        return replace(found, facts=replace(found.facts, repeats_within=within))

    async def create(self, schema: ObjectSchema, write: Write) -> Outcome:
        fields: Fields = {**write.fields, **{name: _upserted(rows) for name, rows in write.rows.items()}}
        receivers = {name: _list(fields.get(name)) for name in _MOST_RECEIVERS}
        if not any(receivers.values()):
            return refused("a message needs somebody to go to: to, to_departments or to_tags", field="to")
        for name, most in _MOST_RECEIVERS.items():
            if len(receivers[name]) > most:
                return refused(f"{name} has {len(receivers[name])} receivers; WeCom takes {most}", field=name)
        if missing := [name for name, field in schema.fields.items() if field.required and not fields.get(name)]:
            return refused(f"a message of this kind needs {', '.join(missing)}", field=missing[0])
        if failure := _too_long(schema, fields):
            return failure
        kind, content = _content(schema.name, fields, write.stamp)
        body: dict[str, Any] = {
            "touser": "|".join(receivers["to"]),
            "toparty": "|".join(receivers["to_departments"]),
            "totag": "|".join(receivers["to_tags"]),
            "msgtype": kind,
            "agentid": self.settings.agent_id,
            kind: content,
        }
        seconds = self.settings.duplicate_seconds
        if seconds:
            body |= {"enable_duplicate_check": 1, "duplicate_check_interval": seconds}
        try:
            # Over its limit for one member the platform drops messages and says nothing.
            for userid in receivers["to"]:
                await self.client.take(f"to:{userid}")
        except HubError as error:
            return self.client.not_begun(error)
        answer = await self.sent("message/send", body, write)
        if isinstance(answer, Outcome):
            return answer
        self._note_unreached(answer)
        return Outcome(OutcomeKind.OK, id=str(answer.get("msgid") or "") or _made_id(write))

    async def operate(self, schema: ObjectSchema, write: Write) -> Outcome:
        if write.operation != "recall":
            return await super().operate(schema, write)
        answer = await self.sent("message/recall", {"msgid": write.id}, write)
        return answer if isinstance(answer, Outcome) else Outcome(OutcomeKind.OK, id=write.id)

    def _note_unreached(self, answer: Mapping[str, Any]) -> None:
        """Receivers that the platform does not know, or does not show to the app: the others have the message."""
        kinds = ("invaliduser", "invalidparty", "invalidtag", "unlicenseduser")
        missed = {kind: answer[kind] for kind in kinds if answer.get(kind)}
        if missed:
            self.kit.logger.warning("message %s did not reach everybody: %s", answer.get("msgid"), missed)


class Robots(Desk):
    """Group robots. Nothing keeps one from saying the same thing twice: a message whose answer was lost stays open."""

    async def create(self, schema: ObjectSchema, write: Write) -> Outcome:
        name = schema.name.removeprefix(ROBOT)
        kind = str(write.fields.get("format") or "markdown")
        content = write.fields.get("content")
        if kind not in _ROBOT_BYTES:
            return refused(f"a robot speaks {', '.join(_ROBOT_BYTES)}, not {kind}", field="format")
        if not isinstance(content, str) or not content.strip():
            return refused("a robot needs something to say", field="content")
        mention, mobiles = _list(write.fields.get("mention")), _list(write.fields.get("mention_mobiles"))
        if (mention and kind == "markdown_v2") or (mobiles and kind != "text"):
            return refused(f"{kind} can't mention {'members' if mention else 'mobiles'}", field="format")
        inner: dict[str, Any] = {"content": content}
        if kind == "text":
            inner |= {"mentioned_list": mention, "mentioned_mobile_list": mobiles}
        elif mention:
            inner["content"] = f"{content}\n{''.join(f'<@{userid}>' for userid in mention)}"
        size = len(inner["content"].encode())
        if size > _ROBOT_BYTES[kind]:
            return refused(f"the text has {size} bytes; a robot's {kind} takes {_ROBOT_BYTES[kind]}", field="content")
        try:
            await self.client.robot(name, {"msgtype": kind, kind: inner}, write.timeout)
        except (Refusal, HubError) as error:
            return self.client.failed(error)
        return Outcome(OutcomeKind.OK, id=_made_id(write))


def _content(object: str, fields: Fields, stamp: str | None) -> tuple[str, dict[str, Any]]:
    """msgtype and its body object."""
    match object:
        case "message:textcard":
            card = {name: fields.get(name) for name in ("title", "description", "url")}
            return "textcard", {**card, **({"btntxt": fields["button"]} if fields.get("button") else {})}
        case "message:card":
            return "template_card", _card(fields, stamp)
        case _:
            return object.removeprefix(MESSAGE), {"content": fields.get("content")}


def _card(fields: Fields, stamp: str | None) -> dict[str, Any]:
    """A notice, or with buttons a card that calls back; its `task_id` is the hub's key where the mapping gives none."""
    buttons = [row for row in _rows(fields.get("buttons")) if row.get("key")]
    card: dict[str, Any] = {
        "card_type": "button_interaction" if buttons else "text_notice",
        "main_title": _filled({"title": fields.get("title"), "desc": fields.get("subtitle")}),
    }
    task = fields.get("task_id") or (_task_id(stamp) if stamp else None)
    optional = {
        "task_id": task,
        "source": _filled({"desc": fields.get("source")}),
        "sub_title_text": fields.get("text"),
        "quote_area": {"type": 0, "quote_text": fields["quote"]} if fields.get("quote") else None,
        "horizontal_content_list": [
            {"keyname": row.get("name"), "value": row.get("value") or ""} for row in _rows(fields.get("facts"))
        ],
        "card_action": {"type": 1, "url": fields["url"]} if fields.get("url") else None,
        "button_list": [
            {"type": 0, "text": row.get("text"), "key": row["key"], "style": row.get("style") or 1} for row in buttons
        ],
    }
    if not buttons:
        optional["emphasis_content"] = _filled({"title": fields.get("emphasis"), "desc": fields.get("emphasis_note")})
    return {**card, **_filled(optional)}


def _task_id(stamp: str) -> str:
    """The hub's key in the letters that a task id may have."""
    return f"hub-{hashlib.sha256(stamp.encode()).hexdigest()[:40]}"


def _made_id(write: Write) -> str:
    """A message that gets no id of its own is known by what made it."""
    return write.stamp or hashlib.sha256(repr(sorted(write.fields.items())).encode()).hexdigest()[:32]


def _too_long(schema: ObjectSchema, fields: Fields) -> Outcome | None:
    """What the platform would cut in silence, or refuse without saying where."""
    for name, value in fields.items():
        most = schema.fields[name].length
        if most is not None and isinstance(value, str) and len(value) > most:
            return refused(f"{name} has {len(value)} characters; WeCom shows {most}", field=name)
    most_bytes = _BYTES.get(schema.name)
    content = fields.get("content")
    if most_bytes is not None and isinstance(content, str) and len(content.encode()) > most_bytes:
        message = f"the text has {len(content.encode())} bytes; WeCom takes {most_bytes}"
        return Outcome(OutcomeKind.REJECTED, failure=Failure(message, field="content"))
    return None


def _upserted(rows: RowsWrite) -> list[Value]:
    return [dict(row.fields) for row in rows.upsert]


def _list(value: Value) -> list[str]:
    if value in (None, "", []):
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _rows(value: Value) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
