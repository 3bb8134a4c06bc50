"""Who may call: tokens, roles, and a localhost that no web page can borrow."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from hub.api.access import Access, Caller, NotAllowed, require
from hub.runtime.settings import ApiSettings, Role, TokenSettings

TOKEN = "t" * 24


def request(host: str = "127.0.0.1:8300", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": host, **headers}.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw, "scheme": "http"}
    return Request(scope)


def guarded() -> Access:
    token = TokenSettings(name="ops", role=Role.OPERATOR, token=SecretStr(TOKEN))
    return Access(ApiSettings(host="0.0.0.0", tokens=[token]), owner_token="o" * 40)


def test_localhost_without_tokens_is_an_operator() -> None:
    assert Access(ApiSettings()).caller(request()) == Caller("localhost", Role.OPERATOR)


def test_a_foreign_host_name_is_refused_there() -> None:
    with pytest.raises(NotAllowed) as caught:
        Access(ApiSettings()).caller(request("evil.example:8300"))
    assert caught.value.status == 403


def test_tokens_are_asked_for_and_known() -> None:
    access = guarded()
    assert access.caller(request(authorization=f"Bearer {TOKEN}")) == Caller("ops", Role.OPERATOR)
    for headers in ({}, {"authorization": "Bearer nonsense"}, {"authorization": f"Basic {TOKEN}"}):
        with pytest.raises(NotAllowed) as caught:
            access.caller(request(**headers))
        assert caught.value.status == 401
        assert TOKEN not in caught.value.detail


def test_only_the_owner_s_key_speaks_for_others() -> None:
    access = guarded()
    assert access.caller(request(authorization="Bearer " + "o" * 40, x_hub_who="cli:li")).name == "cli:li"
    assert access.caller(request(authorization=f"Bearer {TOKEN}", x_hub_who="cli:li")).name == "ops"


def test_roles_reach_as_far_as_they_say() -> None:
    caller = Caller("ops", Role.OPERATOR)
    require(caller, Role.VIEWER)
    require(caller, Role.OPERATOR)
    with pytest.raises(NotAllowed) as caught:
        require(caller, Role.ENGINEER)
    assert caught.value.status == 403


def test_tokens_are_not_kept_in_clear() -> None:
    assert TOKEN not in repr(guarded()._known)
