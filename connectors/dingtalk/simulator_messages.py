"""Messages at the simulated DingTalk: work notifications that are dropped in silence, and group robots."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import orjson

from connectors.dingtalk.simulator_gate import Denied
from hub.connector.simulator import Simulator
from hub.connector.table import Row

NOTIFICATION = "work_notification"
_TYPES = frozenset({"text", "markdown", "link", "oa", "action_card", "image", "voice", "file"})
_ROBOT_TYPES = frozenset({"text", "link", "markdown", "actionCard", "feedCard"})
_HOUR = 3_600_000


@dataclass(slots=True)
class Robot:
    """One custom robot in a group: its security words, what it sent lately, and until when it is blocked."""

    name: str
    token: str
    secret: str | None = None
    keyword: str | None = None
    sent: deque[float] = field(default_factory=deque)
    blocked: float = 0.0
    seen: set[str] = field(default_factory=set)


class Messages:
    """Both kinds of message; each that is accepted is a row of its own."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._task = 256_271_667_000
        self._robot_messages = 0
        self._said: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # (day, user) -> contents
        self.robots: dict[str, Robot] = {}
        self.per_day = 500
        self.per_minute = 20

    # --- work notifications --------------------------------------------------------------------------------------

    def notify(self, body: Mapping[str, Any], agent_id: int) -> dict[str, Any]:
        """Accept a notification. Who has had the same content today, or 500 messages, gets nothing: nobody is told."""
        message = body.get("msg")
        if isinstance(message, str):
            message = orjson.loads(message)
        if int(body.get("agent_id") or 0) != agent_id:
            raise Denied(400002, "参数错误：agent_id")
        if not isinstance(message, dict) or message.get("msgtype") not in _TYPES:
            raise Denied(400002, "参数错误：msg")
        if message["msgtype"] not in message or len(orjson.dumps(message)) > 2048:
            raise Denied(400002, "参数错误：msg过长或缺少内容")
        people = self._receivers(body)
        today = datetime.fromtimestamp(self._simulator.clock.now() / 1000, UTC).astimezone(ZoneInfo("Asia/Shanghai"))
        content = hashlib.sha256(orjson.dumps(message, option=orjson.OPT_SORT_KEYS)).hexdigest()
        status: dict[str, str] = {}
        for person in people:
            said = self._said[f"{today:%F}", person]
            if person not in self._simulator.table("user"):
                status[person] = "invalid"
            elif content in said:
                status[person] = "143105"
            elif len(said) >= self.per_day:
                status[person] = "143106"
            else:
                said.add(content)
                status[person] = "unread"
        self._task += 1
        id = str(self._task)
        row: Row = {"task_id": id, "msg": message, "people": status, "sent": self._simulator.clock.now()}
        self._simulator.commit("notify", NOTIFICATION, id, row)
        return {"task_id": self._task}

    def _receivers(self, body: Mapping[str, Any]) -> list[str]:
        users = [user for user in str(body.get("userid_list") or "").split(",") if user]
        departments = [int(part) for part in str(body.get("dept_id_list") or "").split(",") if part]
        if len(users) > 100 or len(departments) > 20:
            raise Denied(400002, "参数错误：接收者过多")
        everyone = list(self._simulator.table("user"))
        if body.get("to_all_user") in (True, "true"):
            users = [row["userid"] for row in everyone]
        elif departments:
            users += [row["userid"] for row in everyone if set(row["dept_id_list"]) & set(departments)]
        if not users:
            raise Denied(400002, "参数错误：userid_list和dept_id_list不能同时为空")
        return list(dict.fromkeys(users))

    def delivered(self, id: str) -> list[str]:
        """Who has this message on the screen."""
        row = self._simulator.table(NOTIFICATION).get(id) or {"people": {}}
        return [person for person, status in row["people"].items() if status in ("read", "unread")]

    def progress(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._sent(body)
        return {"progress": {"progress_in_percent": 100, "status": 2}}

    def result(self, body: Mapping[str, Any]) -> dict[str, Any]:
        row = self._sent(body)
        by = defaultdict(list)
        for person, status in row["people"].items():
            by[status].append(person)
        dropped = [{"code": int(c), "count": 1, "userid": p} for c in by if c.isdigit() for p in by[c]]
        result = {
            "invalid_user_id_list": by["invalid"],
            "forbidden_user_id_list": [one["userid"] for one in dropped],
            "failed_user_id_list": [],
            "read_user_id_list": by["read"],
            "unread_user_id_list": by["unread"],
            "invalid_dept_id_list": [],
            "forbidden_list": dropped,
        }
        return {"send_result": result}

    def recall(self, body: Mapping[str, Any]) -> dict[str, Any]:
        row = self._sent({**body, "task_id": body.get("msg_task_id")})
        people = dict.fromkeys(row["people"], "recalled")
        self._simulator.commit("recall", NOTIFICATION, row["task_id"], {**row, "people": people})
        return {}

    def update_bar(self, body: Mapping[str, Any]) -> dict[str, Any]:
        row = self._sent(body)
        if row["msg"]["msgtype"] != "oa":
            raise Denied(400002, "参数错误：只有OA消息可以更新状态栏")
        bar = {"status_value": body.get("status_value"), "status_bg": body.get("status_bg")}
        message = {**row["msg"], "oa": {**row["msg"]["oa"], "status_bar": bar}}
        self._simulator.commit("status_bar", NOTIFICATION, row["task_id"], {**row, "msg": message})
        return {}

    def _sent(self, body: Mapping[str, Any]) -> Row:
        row = self._simulator.shown(NOTIFICATION, str(body.get("task_id")))
        if row is None or self._simulator.clock.now() - row["sent"] > 24 * _HOUR:
            raise Denied(400002, "参数错误：task_id不存在或已过期")
        return row

    # --- robots --------------------------------------------------------------------------------------------------

    def robot(self, query: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
        """Post into a group: token, sign, keyword, and twenty a minute; the same msgUuid once."""
        robot = self.robots.get(query.get("access_token", ""))
        if robot is None:
            raise Denied(300005, "token is not exist")
        self._signed(robot, query)
        kind = body.get("msgtype")
        if kind not in _ROBOT_TYPES or kind not in body:
            raise Denied(400105, "不支持的消息类型")
        if robot.keyword and robot.keyword not in orjson.dumps(body).decode():
            raise Denied(310000, "keywords not in content")
        now = self._simulator.clock.monotonic()
        while robot.sent and robot.sent[0] <= now - 60:
            robot.sent.popleft()
        if robot.blocked > now or len(robot.sent) >= self.per_minute:
            robot.blocked = max(robot.blocked, now + 600)
            raise Denied(130101, "send too fast, exceed 20 times per minute")
        robot.sent.append(now)
        uuid = body.get("msgUuid")
        if uuid and uuid in robot.seen:
            return {}
        if uuid:
            robot.seen.add(str(uuid))
        self._robot_messages += 1
        id = str(self._robot_messages)
        row = {"id": id, "body": dict(body), "sent": self._simulator.clock.now()}
        self._simulator.commit("robot", f"robot:{robot.name}", id, row)
        return {}

    def _signed(self, robot: Robot, query: Mapping[str, str]) -> None:
        if robot.secret is None:
            return
        stamp = query.get("timestamp", "")
        if not stamp.isdigit() or abs(int(stamp) - self._simulator.clock.now()) > _HOUR:
            raise Denied(310000, "invalid timestamp")
        digest = hmac.new(robot.secret.encode(), f"{stamp}\n{robot.secret}".encode(), hashlib.sha256).digest()
        if unquote(query.get("sign", "")) != base64.b64encode(digest).decode():
            raise Denied(310000, "sign not match")
