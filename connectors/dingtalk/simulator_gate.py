"""Who may call the simulated DingTalk, how often, and how it says no, in both generations of its API."""

from __future__ import annotations

import secrets
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response

from hub.connector.simulator import SimulatorClock, answer

_TOKEN_LIFE = 7200.0
_EXEMPT = ("login", "stream_open", "robot", "download_file", "put_file")  # beside all contacts, which are free as well


class Denied(Exception):
    """The platform says no. `sub` is the code inside an old error 88; `status` counts for the new generation alone."""

    def __init__(self, code: int | str, message: str, *, status: int = 400, sub: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.sub = sub


def is_new(path: str) -> bool:
    """Whether a path is of the new generation (api.dingtalk.com) or of the old one (oapi.dingtalk.com)."""
    return path.startswith(("/v1.0/", "/v2.0/"))


def refused(path: str, denied: Denied) -> Response:
    """The error body as the generation of the path writes it."""
    request = uuid.uuid4().hex
    if denied.code == 1111:  # the gate in front of both
        return answer({"status": 1111, "wait": 5, "source": "x5", "punish": "deny", "uuid": request})
    if is_new(path):
        if denied.code == "404":
            return answer({"errcode": 404, "errmsg": "请求的URI地址不存在"})
        return answer({"requestid": request, "code": denied.code, "message": denied.message}, denied.status)
    if denied.sub is not None:
        words = f"ding talk error[subcode={denied.sub},submsg={denied.message}]"
        return answer(
            {
                "errcode": 88,
                "sub_code": denied.sub,
                "sub_msg": denied.message,
                "errmsg": words,
                "request_id": request,
            }
        )
    return answer({"errcode": denied.code, "errmsg": denied.message, "request_id": request})


@dataclass(slots=True)
class Limits:
    """`second` calls of one API a second, `month` calls of the organisation a month (exempt APIs apart)."""

    second: int = 20
    month: int = 5000


@dataclass(slots=True)
class Gate:
    """One app of one organisation: its token and its counters."""

    clock: SimulatorClock
    corp_id: str = "dinghubcorp000001"
    client_id: str = "dinghubapp0000001"
    client_secret: str = "hubAppSecret0001"  # noqa: S105 - made up
    agent_id: int = 1800000001
    limits: Limits = field(default_factory=Limits)
    issued: list[str] = field(default_factory=list)
    month_calls: int = 0
    _token: str = ""
    _ends: float = 0.0
    _month: str = ""
    _calls: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def log_in(self, key: object, secret: object) -> str:
        """The token of the app: the same as before while that one lives, and then for longer."""
        if key != self.client_id or secret != self.client_secret:
            raise PermissionError
        if not self._token or self._ends <= self.clock.monotonic():
            self._token = secrets.token_hex(16)
            self.issued.append(self._token)
        self._ends = self.clock.monotonic() + _TOKEN_LIFE
        return self._token

    def expire(self) -> None:
        self._token = ""

    def admit(self, path: str, token: str | None) -> None:
        """Let a call with this token pass. Raises Denied in the generation's words."""
        good = bool(self._token) and token == self._token and self._ends > self.clock.monotonic()
        if is_new(path):
            if token is None:
                code = "AuthenticationFailed.MissingParameter"
                raise Denied(code, "缺少参数：x-acs-dingtalk-access-token")
            if not good:
                raise Denied("InvalidAuthentication", "不合法的access_token")
        elif not token:
            raise Denied(88, "不合法的access_token", sub="40000")
        elif not good:
            raise Denied(88, "不合法的access_token", sub="40014")

    def meter(self, path: str, op: str) -> None:
        """Count a call against the second's and the month's limit. Raises Denied."""
        now = self.clock.monotonic()
        calls = self._calls[op]
        while calls and calls[0] <= now - 1.0:
            calls.popleft()
        if len(calls) >= self.limits.second:
            raise self.too_many(path)
        calls.append(now)
        if op in _EXEMPT or op.startswith(("v2_user", "v2_department", "user_")):
            return
        month = f"{datetime.fromtimestamp(self.clock.now() / 1000, UTC).astimezone(ZoneInfo('Asia/Shanghai')):%Y-%m}"
        if month != self._month:
            self._month, self.month_calls = month, 0
        if self.month_calls >= self.limits.month:
            if is_new(path):
                raise Denied("Forbidden.AccessDenied.ApiCountLimitForOrg", "企业接口调用次数超过当月上限", status=403)
            raise Denied(90020, "企业接口调用次数超过当月上限")
        self.month_calls += 1

    @staticmethod
    def too_many(path: str) -> Denied:
        """Too many calls of one API in one second."""
        if is_new(path):
            code = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"
            return Denied(code, "应用调用该接口过于频繁", status=403)
        return Denied(90018, "应用调用该接口过于频繁")


def ok(**body: Any) -> Response:
    """A good answer of the old generation."""
    return answer({"errcode": 0, "errmsg": "ok", **body, "request_id": uuid.uuid4().hex})
