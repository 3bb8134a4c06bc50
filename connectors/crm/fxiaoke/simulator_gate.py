"""The simulated gateway's gate: log-ins with their life cycle, call limits, the day's quota."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.crm.fxiaoke.simulator_describe import DAY_MS, ZONE_MS
from hub.domain.clock import Clock

SAME_TOKEN_MS = 6_600_000
TOKEN_LIFE_MS = 7_200_000
MINUTE_MS = 60_000


class Denied(Exception):
    """The gateway's own refusal, with the documented code."""

    def __init__(self, code: int, message: str, description: str = "", **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.description = description or message
        self.more = more


@dataclass(slots=True)
class Limits:
    """The documented limits; `None` of the pack means that none was bought."""

    path_calls: int = 100
    path_window_ms: int = 20_000
    token_calls: int = 10
    day_pack: int | None = 100_000
    path_code: int = 30004
    token_code: int = 14001


@dataclass(slots=True)
class Account:
    """Made-up credentials of one app in one enterprise; always the same, so that a client survives a restart."""

    app_id: str = "FSAID_13de4025"
    app_secret: str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"  # noqa: S105 - made up
    permanent_code: str = "A0B1C2D3E4F5061728394A5B6C7D8E9F"
    corp_id: str = "FSCID_00112233445566778899AABBCCDDEEFF"


@dataclass(frozen=True, slots=True)
class _Issued:
    value: str
    at: int


class Gate:
    """Who may call, and how often, on the simulator's clock."""

    def __init__(self, clock: Clock, account: Account) -> None:
        self.account = account
        self.limits = Limits()
        self._clock = clock
        self._issued: list[_Issued] = []
        self._logins: deque[int] = deque()
        self._calls: dict[str, deque[int]] = {}
        self._day = -1
        self._spent = 0

    def log_in(self, given: Mapping[str, Any], *, oauth: bool) -> tuple[str, int]:
        """The token and its remaining seconds, for right credentials."""
        now = self._clock.now()
        self._slide(self._logins, now - MINUTE_MS)
        if len(self._logins) >= self.limits.token_calls:
            raise Denied(self.limits.token_code, "interface call exceeds the limit", "接口调用超限")
        self._logins.append(now)
        for name, expected in (("appId", self.account.app_id), ("appSecret", self.account.app_secret)):
            if given.get(name) != expected:
                message = f"the parameter {name} is missing or illegal"
                more = {"error": "非法请求", "error_description": message} if oauth else {}
                raise Denied(10006, message, "缺少参数或参数不合法", **more)
        if given.get("permanentCode") != self.account.permanent_code:
            raise Denied(20015, "the permanentCode is error", "永久授权码错误")
        token = self._token(now)
        return token.value, (token.at + TOKEN_LIFE_MS - now) // 1000

    def admit(self, token: str | None, enterprise: str | None, known: frozenset[str]) -> None:
        """Let a business call with this token through, or Denied."""
        if not token:
            raise Denied(20017, "corpAccessToken为必填项，不能为空")
        now = self._clock.now()
        if not any(issued.value == token and now < issued.at + TOKEN_LIFE_MS for issued in self._issued):
            raise Denied(20016, "the cropId,cropAccessToken or authorization is error")
        if enterprise not in known:
            raise Denied(20017, "the corpId is not exist", "corpId不存在")

    def meter(self, path: str) -> None:
        """Count one call of this path against the limits, or Denied."""
        now = self._clock.now()
        if not self.limits.day_pack:
            raise Denied(30003, "no openapi quota", "企业未购买OpenAPI资源包")
        day = (now + ZONE_MS) // DAY_MS
        if day != self._day:
            self._day, self._spent = day, 0
        if self._spent >= self.limits.day_pack:
            raise Denied(30002, "the openapi quota of today is used up", "当日接口调用量已用完")
        calls = self._calls.setdefault(path, deque())
        self._slide(calls, now - self.limits.path_window_ms)
        if len(calls) >= self.limits.path_calls:
            raise Denied(self.limits.path_code, "interface call frequency exceeds the limit", "接口调用频率超限")
        calls.append(now)
        self._spent += 1

    def tokens(self) -> list[str]:
        """Every token that was given out and may still be good."""
        return [issued.value for issued in self._issued]

    def expire(self) -> None:
        """End every token now."""
        self._issued.clear()

    def _token(self, now: int) -> _Issued:
        # For ten minutes before its end the old token lives on beside the new one, so that callers can change over.
        if not self._issued or now >= self._issued[-1].at + SAME_TOKEN_MS:
            self._issued = [*self._issued[-1:], _Issued(secrets.token_hex(16).upper(), now)]
        return self._issued[-1]

    def _slide(self, times: deque[int], start: int) -> None:
        while times and times[0] <= start:
            times.popleft()
