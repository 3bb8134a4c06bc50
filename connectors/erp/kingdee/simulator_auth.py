"""The simulator's door: log-ins, sessions that idle away, and its own check of the signed headers."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.erp.kingdee.simulator_store import Refused
from hub.connector.simulator import SimulatorClock

LOST = "会话信息已丢失，请重新登录"
COOKIE = "kdservice-sessionid"


@dataclass(frozen=True, slots=True)
class Account:
    """The one data centre, user and application that this server knows."""

    acct_id: str = "6512f0a1b2c3d4"
    username: str = "crmhub"
    password: str = "Kd-Pass-2024"  # noqa: S105 - made up
    app_id: str = "300001_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY"
    app_secret: str = "0123456789abcdef0123456789abcdef"  # noqa: S105 - made up


@dataclass(slots=True)
class Session:
    """A session: one request at a time, gone when it idled too long."""

    id: str
    seen: int
    org: str = "100"
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class UnknownDataCentre(Exception):
    """Answered with a status that is not 200."""


class Door:
    def __init__(self, clock: SimulatorClock, account: Account, *, idle_seconds: float, sign_algorithm: str) -> None:
        self.account = account
        self.idle_seconds = idle_seconds
        self.sign_algorithm = sign_algorithm
        self.sessions: dict[str, Session] = {}
        self._clock = clock

    def enter(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> tuple[Session, bool]:
        """The session of a request, and whether it was made just now from signed headers.

        Raises Refused (MsgCode 1) without a live session or a good signature, UnknownDataCentre.
        """
        for id in (cookies.get(COOKIE), headers.get(COOKIE), headers.get("sid")):
            session = self.sessions.get(id or "")
            if session is not None and self._clock.now() - session.seen < self.idle_seconds * 1000:
                session.seen = self._clock.now()
                return session, False  # the signature headers are not looked at
        if "x-kd-signature" in headers:
            self._signed(headers)
            return self.open(), True
        raise Refused(LOST, code=1)

    def open(self) -> Session:
        session = Session(secrets.token_hex(12), self._clock.now())
        self.sessions[session.id] = session
        return session

    def log_in(self, method: str, parameters: list[Any]) -> Session:
        """One of the log-in calls. Raises LoginRefused."""
        account, given = self.account, [str(each) for each in parameters]
        wanted = {
            "ValidateUser": [account.acct_id, account.username, account.password],
            "ValidateUser2": [account.acct_id, account.username, account.password],
            "LoginByAppSecret": [account.acct_id, account.username, account.app_id, account.app_secret],
        }.get(method)
        if wanted is not None:
            if given[: len(wanted)] != wanted:
                raise LoginRefused(0, "用户名或密码错误", "")
            return self.open()
        acct_id, username, app_id, timestamp, sign = (*given, "", "", "", "", "")[:5]
        if (acct_id, username, app_id) != (account.acct_id, account.username, account.app_id):
            raise LoginRefused(0, "数据中心、用户或应用ID不正确", "")
        parts = sorted(
            [account.acct_id, account.username, account.app_id, account.app_secret, timestamp], key=str.encode
        )
        expected = hashlib.new(self.sign_algorithm, "".join(parts).encode("utf-8")).hexdigest()
        if not hmac.compare_digest(expected, sign):
            raise LoginRefused(0, "签名验证失败", "002005000003016")
        return self.open()

    def _signed(self, headers: Mapping[str, str]) -> None:
        try:
            identity = base64.b64decode(headers.get("x-kd-appdata", ""), validate=True).decode("utf-8")
            given = base64.b64decode(headers["x-kd-signature"], validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused(LOST, code=1) from None
        acct_id, username, lcid, _org = (*identity.split(","), "", "", "", "")[:4]
        if acct_id != self.account.acct_id:
            raise UnknownDataCentre
        app_id = headers.get("x-kd-appkey", "")
        expected = hmac.new(self.account.app_secret.encode(), (app_id + identity).encode(), hashlib.sha256).hexdigest()
        known = (username, app_id) == (self.account.username, self.account.app_id) and lcid in ("2052", "1033", "3076")
        if not known or not hmac.compare_digest(expected, given):
            raise Refused(LOST, code=1)


class LoginRefused(Exception):
    def __init__(self, result: int, message: str, code: str) -> None:
        super().__init__(message)
        self.result = result
        self.message = message
        self.code = code
