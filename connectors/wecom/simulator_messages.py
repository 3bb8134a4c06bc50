"""Simulated messages: to members by the app, to groups by robots; and the store of media that both send."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connectors.wecom.simulator_gate import MINUTE, Call, Denied
from hub.connector.forms import FormPart, form_parts
from hub.connector.table import Row

if TYPE_CHECKING:
    from connectors.wecom.simulator import WeComSimulator

_MEDIA_LIFE = 3 * 86_400.0  # seconds
_CARD_LIFE = 72 * 3600.0
_INTERACTIVE = frozenset({"button_interaction", "vote_interaction", "multiple_interaction"})
_LARGEST = {"file": 20 << 20, "image": 10 << 20, "voice": 2 << 20, "video": 10 << 20}
_BYTES = {"text": 2048, "markdown": 2048}
_ROBOT_BYTES = {"text": 2048, "markdown": 4096, "markdown_v2": 4096}


class Media:
    """Temporary media: three days, then gone."""

    def __init__(self, simulator: WeComSimulator) -> None:
        self._simulator = simulator
        self._kept: dict[str, tuple[FormPart, float]] = {}

    def has(self, id: str) -> bool:
        return id in self._kept and self._kept[id][1] > self._simulator.clock.monotonic()

    def keep(self, part: FormPart) -> str:
        id = secrets.token_urlsafe(32)
        self._kept[id] = part, self._simulator.clock.monotonic() + _MEDIA_LIFE
        return id

    def get(self, id: str) -> FormPart:
        if not self.has(id):
            raise Denied(40007, "invalid media_id")
        return self._kept[id][0]

    def upload(self, call: Call) -> dict[str, Any]:
        kind = str(call.query.get("type") or "")
        if kind not in _LARGEST:
            raise Denied(40035, "invalid type")
        try:
            parts = {part.name: part for part in form_parts(call.content_type, call.raw)}
        except ValueError as error:
            raise Denied(44001, f"empty media data: {error}") from None
        part = parts.get("media")
        if part is None or not part.filename:
            raise Denied(41006, "missing media")
        if not 5 < len(part.content) <= _LARGEST[kind]:
            raise Denied(40009 if kind == "image" else 45001, "invalid size of media")
        return {"type": kind, "media_id": self.keep(part), "created_at": str(self._simulator.clock.now() // 1000)}


class Messages:
    """The app's messages and the groups' robots. A member's thirty-first message of a minute is dropped in silence."""

    def __init__(self, simulator: WeComSimulator) -> None:
        self._simulator = simulator
        self.robots: dict[str, str] = {"sales": "693a91f6-7aoc-4bc4-97a0-0ec2sifa5aaa"}
        self.each_member = 30
        self.codes: dict[str, tuple[str, float]] = {}  # response code -> message, until when
        self._last = 0
        self._sent: list[
            tuple[Mapping[str, Any], str, float]
        ] = []  # a body, its message, until when it is not repeated
        self._to: dict[str, deque[float]] = {}
        self._of_robot: dict[str, deque[float]] = {}

    def handlers(self) -> dict[str, Callable[[Call], dict[str, Any]]]:
        return {
            "message/send": self._send,
            "message/recall": self._recall,
            "message/update_template_card": self._update_card,
        }

    def _send(self, call: Call) -> dict[str, Any]:
        body = call.body
        if body.get("agentid") != self._simulator.gate.account.agent_id:
            raise Denied(301002 if isinstance(body.get("agentid"), int) else 40056, "invalid agentid")
        kind = str(body.get("msgtype"))
        self._validate(kind, body)
        to, wrong = self._receivers(body)
        if not to:
            raise Denied(81013, "user & party & tag all invalid")
        repeats = self._suppresses(body)
        said: dict[str, Any] = {"invaliduser": "|".join(wrong).lower(), "invalidparty": "", "invalidtag": ""}
        if repeats:
            self._simulator.counts["suppressed"] += 1
            return {**said, "msgid": repeats}
        self._last += 1
        id = f"msg-{self._last:06d}"
        if body.get("enable_duplicate_check"):
            interval = float(body.get("duplicate_check_interval") or 1800)
            self._sent.append((body, id, self._simulator.clock.monotonic() + min(interval, 14_400)))
        delivered = [userid for userid in to if self._reaches(userid)]
        row: Row = {"msgid": id, "msgtype": kind, "body": dict(body), "delivered": delivered, "recalled": False,
                    "at": self._simulator.stamp()}  # fmt: skip
        self._simulator.commit("create", f"message:{_named(kind)}", id, row)
        card = body.get("template_card") or {}
        if card.get("card_type") in _INTERACTIVE:
            said["response_code"] = self._code(id)
        return {**said, "msgid": id}

    def _validate(self, kind: str, body: Mapping[str, Any]) -> None:
        content = body.get(kind)
        if kind not in ("text", "textcard", "markdown", "template_card", "news", "file", "image"):
            raise Denied(40008, "invalid message type")
        if not isinstance(content, dict):
            raise Denied(40063, f"empty {kind}")
        if kind in _BYTES:
            text = content.get("content")
            if not text:
                raise Denied(44004, "empty content")
            if len(str(text).encode()) > _BYTES[kind]:
                raise Denied(45002, "content size out of limit")
        elif kind == "textcard":
            for name, most in (("title", 128), ("description", 512), ("url", 2048)):
                if not content.get(name):
                    raise Denied(40063, f"some parameters are empty: {name}")
                if len(str(content[name])) > most:
                    raise Denied(40058, f"{name} exceeds the length limit")
        elif kind == "template_card":
            _validate_card(content)
        elif kind in ("file", "image") and not self._simulator.media.has(str(content.get("media_id"))):
            raise Denied(40007, "invalid media_id")

    def _receivers(self, body: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        people = self._simulator.people
        users = [one for one in str(body.get("touser") or "").split("|") if one]
        parties = [one for one in str(body.get("toparty") or "").split("|") if one]
        if not users and not parties and not body.get("totag"):
            raise Denied(82001, "all receivers are empty")
        if users == ["@all"]:
            return [row["userid"] for row in self._simulator.table("member")], []
        if len(users) > 1000 or len(parties) > 100:
            raise Denied(40032 if len(users) > 1000 else 82002, "too many receivers")
        found = {one: people.member(one) for one in users}
        to = [row["userid"] for row in found.values() if row is not None]
        to += [row["userid"] for one in parties if one.isdigit() for row in people.in_department(int(one))]
        return list(dict.fromkeys(to)), [one for one, row in found.items() if row is None]

    def _suppresses(self, body: Mapping[str, Any]) -> str | None:
        """The id of the same message, sent within its interval."""
        if not body.get("enable_duplicate_check"):
            return None
        now = self._simulator.clock.monotonic()
        self._sent = [one for one in self._sent if one[2] > now]
        return next((id for sent, id, _ in self._sent if sent == body), None)

    def _reaches(self, userid: str) -> bool:
        now = self._simulator.clock.monotonic()
        sent = self._to.setdefault(userid, deque())
        while sent and sent[0] <= now - MINUTE:
            sent.popleft()
        if len(sent) >= self.each_member:
            self._simulator.counts["dropped"] += 1
            return False
        sent.append(now)
        return True

    def _recall(self, call: Call) -> dict[str, Any]:
        id = str(call.need("msgid", 40035))
        for object in self._simulator.tables:
            row = self._simulator.table(object).get(id) if object.startswith("message:") else None
            if row is None:
                continue
            if self._simulator.clock.now() - row["at"] > 86_400_000 or row["recalled"]:
                raise Denied(40035, "message can not be recalled")
            self._simulator.commit("recall", object, id, {**row, "recalled": True})
            return {}
        raise Denied(40035, "invalid msgid")

    # -- cards --------------------------------------------------------------------------------------------------------

    def click(self, id: str, actor: str, key: str) -> None:
        """A member presses a card's button. Raises ValueError with a sentence."""
        row = self._simulator.table("message:card").get(id)
        if row is None or actor not in row["delivered"]:
            raise ValueError(f"{actor} has no card {id}")
        card = row["body"]["template_card"]
        said = {"EventKey": key, "TaskId": card.get("task_id", ""), "CardType": card["card_type"],
                "ResponseCode": self._code(id), "AgentID": self._simulator.gate.account.agent_id}  # fmt: skip
        self._simulator.tell("template_card_event", said, sender=actor)

    def _update_card(self, call: Call) -> dict[str, Any]:
        code = str(call.need("response_code", 40063))
        id, until = self.codes.pop(code, ("", 0.0))
        if not id or until <= self._simulator.clock.monotonic():
            raise Denied(60140, "response_code is invalid or expired")
        row = self._simulator.table("message:card").get(id)
        assert row is not None
        replaced = (call.body.get("button") or call.body.get("template_card") or {}).get("replace_name")
        self._simulator.commit("update", "message:card", id, {**row, "replaced": replaced})
        return {"invaliduser": []}

    def _code(self, id: str) -> str:
        code = secrets.token_urlsafe(24)
        self.codes[code] = id, self._simulator.clock.monotonic() + _CARD_LIFE
        return code

    # -- robots -------------------------------------------------------------------------------------------------------

    def robot(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        name = next((name for name, its in self.robots.items() if its == key), None)
        if name is None:
            raise Denied(93000, "invalid webhook url")
        now = self._simulator.clock.monotonic()
        sent = self._of_robot.setdefault(name, deque())
        while sent and sent[0] <= now - MINUTE:
            sent.popleft()
        if len(sent) >= 20:
            raise Denied(45009, "api freq out of limit")
        kind = str(body.get("msgtype"))
        if kind not in _ROBOT_BYTES:
            raise Denied(40008, "invalid message type")
        text = (body.get(kind) or {}).get("content")
        if not text:
            raise Denied(44004, "empty content")
        if len(str(text).encode()) > _ROBOT_BYTES[kind]:
            raise Denied(40058, f"{kind}.content exceed max length {_ROBOT_BYTES[kind]}")
        sent.append(now)
        self._last += 1
        id = f"robot-{self._last:06d}"
        self._simulator.commit("create", f"robot:{name}", id, {"id": id, "body": dict(body)})
        return {}


def _validate_card(card: Mapping[str, Any]) -> None:
    kind = card.get("card_type")
    title = (card.get("main_title") or {}).get("title")
    if kind == "text_notice":
        if not title and not card.get("sub_title_text"):
            raise Denied(40058, "main_title.title or sub_title_text is required")
        if not (card.get("card_action") or {}).get("url"):
            raise Denied(40058, "card_action is required")
    elif kind == "button_interaction":
        if not title or not card.get("task_id"):
            raise Denied(40058, "main_title.title and task_id are required")
        if not 1 <= len(card.get("button_list") or []) <= 6:
            raise Denied(40058, "button_list must have 1 to 6 buttons")
    else:
        raise Denied(40058, "invalid card_type")
    _few("horizontal_content_list", card.get("horizontal_content_list"), 6)
    _few("jump_list", card.get("jump_list"), 3)


def _few(name: str, given: Sequence[Any] | None, most: int) -> None:
    if given is not None and len(given) > most:
        raise Denied(40058, f"{name} has more than {most} members")


def _named(kind: str) -> str:
    return {"template_card": "card"}.get(kind, kind)
