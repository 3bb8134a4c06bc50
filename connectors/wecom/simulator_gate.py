"""The simulated platform's gate: a token for each secret, the address list, minute windows of calls."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.domain.clock import Clock

TOKEN_LIFE = 7200.0  # seconds
MINUTE = 60.0


class Denied(Exception):
    """The platform's refusal: `errcode` and its free text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a desk gets it: which secret's token it carries, its query and its JSON (or a form's parts)."""

    path: str
    app: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    raw: bytes = b""
    content_type: str = ""

    def need(self, name: str, code: int) -> Any:
        """A parameter that must be there and not empty."""
        value = self.body.get(name, self.query.get(name))
        if value in (None, "", []):
            raise Denied(code, f"missing {name}")
        return value


@dataclass(slots=True)
class Account:
    """Made-up credentials of one corp; always the same, so that a client survives a restart."""

    corp_id: str = "ww5f0c1e2d3b4a6978"
    agent_id: int = 1000002
    secrets: dict[str, str] = field(
        default_factory=lambda: {
            "app": "hubAppSecret-0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "contact": "hubContactSecret-8796a5b4c3d2e1f00f1e2d3c4b5a69",
            "customer": "hubCustomerSecret-4b5a69788796a5b40f1e2d3cc3d2",
        }
    )


@dataclass(slots=True)
class Limits:
    """Calls a minute; tests lower them."""

    each_path: int = 10_000
    approval_reads: int = 600
    login_each_minute: int = 1_000


_APPROVAL_READS = frozenset({"oa/getapprovalinfo", "oa/getapprovaldetail", "oa/gettemplatedetail"})


class Gate:
    """Who may call, and how often, on the simulator's clock."""

    def __init__(self, clock: Clock) -> None:
        self.account = Account()
        self.limits = Limits()
        self.allowed_addresses: Sequence[str] | None = None  # None: no list is kept
        self.same_token = True  # a repeated log-in gets the token that is still good
        self.issued: list[str] = []
        self._clock = clock
        self._good: dict[str, tuple[str, float]] = {}  # token -> which secret, until when
        self._ended: set[str] = set()
        self._calls: dict[str, deque[float]] = {}

    def log_in(self, query: Mapping[str, str], address: str) -> dict[str, Any]:
        self._address(address)
        self._count("gettoken", self.limits.login_each_minute)
        if not query.get("corpid"):
            raise Denied(41002, "corpid missing")
        if query["corpid"] != self.account.corp_id:
            raise Denied(40013, "invalid corpid")
        if not query.get("corpsecret"):
            raise Denied(41004, "corpsecret missing")
        app = next((name for name, secret in self.account.secrets.items() if secret == query["corpsecret"]), None)
        if app is None:
            raise Denied(40001, "invalid credential")
        now = self._clock.monotonic()
        held = [(token, ends) for token, (whose, ends) in self._good.items() if whose == app and ends > now]
        if not held or not self.same_token:
            held = [(secrets.token_urlsafe(72), now + TOKEN_LIFE)]
            self._good[held[0][0]] = app, held[0][1]
            self.issued.append(held[0][0])
        token, ends = held[0]
        return {"access_token": token, "expires_in": int(ends - now)}

    def admit(self, path: str, query: Mapping[str, str], address: str) -> str:
        """Which secret this call's token belongs to, or Denied."""
        self._address(address)
        token = query.get("access_token")
        if not token:
            raise Denied(41001, "access_token missing")
        if token in self._ended:
            raise Denied(42001, "access_token expired")
        app, ends = self._good.get(token, ("", 0.0))
        if not app:
            raise Denied(40014, "invalid access_token")
        if ends <= self._clock.monotonic():
            raise Denied(42001, "access_token expired")
        self._count(path, self.limits.approval_reads if path in _APPROVAL_READS else self.limits.each_path)
        return app

    def expire(self) -> None:
        """End every token now."""
        self._ended.update(self._good)
        self._good.clear()

    def _address(self, address: str) -> None:
        if self.allowed_addresses is not None and address not in self.allowed_addresses:
            raise Denied(60020, f"not allow to access from your ip, hint: from ip: {address}")

    def _count(self, path: str, most: int) -> None:
        now = self._clock.monotonic()
        calls = self._calls.setdefault(path, deque())
        while calls and calls[0] <= now - MINUTE:
            calls.popleft()
        if len(calls) >= most:
            raise Denied(45009, "api freq out of limit")
        calls.append(now)
