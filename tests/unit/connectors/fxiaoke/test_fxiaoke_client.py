"""The protocol at its edges: what leaves, what comes back, and what the client makes of answers that are none."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx

from connectors.crm.fxiaoke.client import FxiaokeClient, Refusal
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from hub.connector.http import BadAnswer, TransportFailure
from hub.connector.kit import Kit
from hub.domain.clock import ManualClock
from hub.domain.errors import CredentialsRefused, VendorError
from hub.domain.outcome import OutcomeKind

HOST = "https://open.fxiaoke.com"
GET = "/cgi/crm/v2/data/get"
OK = {"errorCode": 0, "errorMessage": "OK", "traceId": "E-O.x", "data": {"_id": "1", "amount": 1.10}}
LOGIN = {
    "errorCode": 0, "accessToken": "TOKEN-1", "expiresIn": 7200, "ea": "demoea", "openUserId": "FSCID_1", "appId": "a",
}  # fmt: skip
Build = Callable[..., FxiaokeClient]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> Build:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        await asyncio.sleep(0)

    def make(**chosen: Any) -> FxiaokeClient:
        settings = FxiaokeSettings(app_id="FSAID_1", app_secret="top-secret", permanent_code="perm-code", **chosen)
        return FxiaokeClient(settings, Kit.local("crm", clock=clock, sleep=sleep))

    return make


def refused(code: int, message: str = "no") -> httpx.Response:
    return httpx.Response(200, json={"errorCode": code, "errorMessage": message, "traceId": "E-O.t"})


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_header_style(respx_mock: respx.MockRouter, build: Build) -> None:
    login = respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    call = respx_mock.post(GET).respond(json=OK)
    client = build()
    answers = [await client.read(GET, {"data": {}}) for _ in range(2)]
    assert answers[0].data["amount"] == "1.1"
    assert json.loads(login.calls[0].request.content) == {
        "appId": "FSAID_1",
        "appSecret": "top-secret",
        "permanentCode": "perm-code",
        "grantType": "app_secret",
    }
    assert "authorization" not in login.calls[0].request.headers
    headers = call.calls[0].request.headers
    assert headers["authorization"] == "Bearer TOKEN-1"
    assert (headers["x-fs-ea"], headers["x-fs-userid"]) == ("demoea", "1000")
    assert json.loads(call.calls[0].request.content) == {"data": {}}
    traces = [sent.request.url.params["thirdTraceId"] for sent in (*login.calls, *call.calls)]
    assert len(set(traces)) == 3
    assert all(uuid.UUID(trace).version == 4 for trace in traces)


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_body_style(respx_mock: respx.MockRouter, build: Build) -> None:
    token = {"errorCode": 0, "corpAccessToken": "CORP-1", "corpId": "FSCID_1", "expiresIn": 7200}
    respx_mock.post("/cgi/corpAccessToken/get/V2").respond(json=token)
    people = respx_mock.post("/cgi/user/getByMobile").respond(
        json={"errorCode": 0, "empList": [{"openUserId": "FSUID_7"}]}
    )
    call = respx_mock.post(GET).respond(json=OK)
    await build(auth="body", mobile="13800000000").read(GET, {"data": {"a": 1}})
    assert json.loads(people.calls[0].request.content)["mobile"] == "13800000000"
    assert json.loads(call.calls[0].request.content) == {
        "corpAccessToken": "CORP-1",
        "corpId": "FSCID_1",
        "currentOpenUserId": "FSUID_7",
        "convertUserId": False,
        "data": {"a": 1},
    }
    assert "authorization" not in call.calls[0].request.headers


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_body_style_without_such_a_person(respx_mock: respx.MockRouter, build: Build) -> None:
    token = {"errorCode": 0, "corpAccessToken": "CORP-1", "corpId": "FSCID_1", "expiresIn": 7200}
    respx_mock.post("/cgi/corpAccessToken/get/V2").respond(json=token)
    respx_mock.post("/cgi/user/getByMobile").respond(json={"errorCode": 0, "empList": []})
    with pytest.raises(CredentialsRefused, match="mobile"):
        await build(auth="body", mobile="13800000000").read(GET, {})


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
@pytest.mark.parametrize("code", [20016, 20005])
async def test_a_dead_token_is_renewed_once_for_writes_too(
    respx_mock: respx.MockRouter, build: Build, code: int
) -> None:
    login = respx_mock.post("/oauth2.0/token")
    login.side_effect = [httpx.Response(200, json=LOGIN), httpx.Response(200, json={**LOGIN, "accessToken": "TOKEN-2"})]
    call = respx_mock.post(GET)
    call.side_effect = [refused(code), httpx.Response(200, json=OK)]
    await build().write(GET, {}, 10)
    assert [sent.request.headers["authorization"] for sent in call.calls] == ["Bearer TOKEN-1", "Bearer TOKEN-2"]


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_a_token_that_is_refused_again_ends_the_write(respx_mock: respx.MockRouter, build: Build) -> None:
    respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    call = respx_mock.post(GET)
    call.side_effect = [refused(20016), refused(20016)]
    with pytest.raises(Refusal) as caught:
        await build().write(GET, {}, 10)
    assert caught.value.verdict.kind is OutcomeKind.NOT_EXECUTED
    assert call.call_count == 2


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_the_token_is_renewed_in_the_gap_where_both_live(
    respx_mock: respx.MockRouter, build: Build, clock: ManualClock
) -> None:
    login = respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    respx_mock.post(GET).respond(json=OK)
    client = build()
    for seconds, logins in ((0, 1), (6650, 1), (100, 2)):
        clock.advance(seconds)
        await client.read(GET, {})
        assert login.call_count == logins


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_many_callers_share_one_login(respx_mock: respx.MockRouter, build: Build) -> None:
    login = respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    respx_mock.post(GET).respond(json=OK)
    client = build()
    await asyncio.gather(*(client.read(GET, {}) for _ in range(30)))
    assert login.call_count == 1


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
@pytest.mark.parametrize("code", [10006, 20006, 20015, 20021, 4711])
async def test_a_refused_login_names_the_settings_and_no_secret(
    respx_mock: respx.MockRouter, build: Build, code: int
) -> None:
    echo = "the parameter appSecret top-secret is missing or illegal"
    respx_mock.post("/oauth2.0/token").mock(return_value=refused(code, echo))
    with pytest.raises(CredentialsRefused) as caught:
        await build().read(GET, {})
    assert "app_secret" in str(caught.value.hint)
    assert "top-secret" not in caught.value.message


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_a_throttled_login_waits(respx_mock: respx.MockRouter, build: Build, clock: ManualClock) -> None:
    login = respx_mock.post("/oauth2.0/token")
    login.side_effect = [refused(14001), httpx.Response(200, json=LOGIN)]
    respx_mock.post(GET).respond(json=OK)
    before = clock.now()
    await build().read(GET, {})
    assert clock.now() - before >= 5000


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_a_redirect_says_that_the_host_is_wrong(respx_mock: respx.MockRouter, build: Build) -> None:
    respx_mock.post("/oauth2.0/token").respond(302, html="<html>", headers={"Location": "https://www.fxiaoke.com/"})
    with pytest.raises(BadAnswer, match="redirect") as caught:
        await build().read(GET, {})
    assert "base_url" in str(caught.value.hint)


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
@pytest.mark.parametrize(
    "content", [b"", b"<html>", b'{"errorCode":0,"da', b"[]", b'{"data":{}}', b'{"errorCode":"x"}']
)
async def test_what_is_no_answer_is_none(respx_mock: respx.MockRouter, build: Build, content: bytes) -> None:
    respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    call = respx_mock.post(GET).respond(content=content)
    with pytest.raises(BadAnswer) as caught:
        await build().write(GET, {}, 10)
    assert caught.value.outcome().kind is OutcomeKind.UNKNOWN
    assert call.call_count == 1


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
@pytest.mark.parametrize("code", [-1, -2, 50009, 30004, 14001])
async def test_reads_wait_and_ask_again(respx_mock: respx.MockRouter, build: Build, code: int) -> None:
    respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    call = respx_mock.post(GET)
    call.side_effect = [refused(code), refused(code), httpx.Response(200, json=OK)]
    assert (await build().read(GET, {})).data["_id"] == "1"


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-1, OutcomeKind.UNKNOWN),
        (50009, OutcomeKind.UNKNOWN),
        (30004, OutcomeKind.NOT_EXECUTED),
        (14001, OutcomeKind.NOT_EXECUTED),
        (30002, OutcomeKind.NOT_EXECUTED),
        (15003, OutcomeKind.NOT_EXECUTED),
        (10013, OutcomeKind.REJECTED),
        (20012, OutcomeKind.REJECTED),
        (320003, OutcomeKind.REJECTED),
    ],
)
async def test_writes_are_sent_once_and_judged_by_the_table(
    respx_mock: respx.MockRouter, build: Build, code: int, kind: OutcomeKind
) -> None:
    respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    call = respx_mock.post(GET).mock(return_value=refused(code, "说不"))
    with pytest.raises(Refusal) as caught:
        await build().write(GET, {}, 10)
    assert caught.value.verdict.kind is kind
    assert call.call_count == 1
    assert f"errorCode {code}, traceId E-O.t" in caught.value.message
    assert "说不" in caught.value.message


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_a_tenants_own_rule_goes_before_the_table(respx_mock: respx.MockRouter, build: Build) -> None:
    respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    respx_mock.post(GET).mock(return_value=refused(10013))
    with pytest.raises(Refusal) as caught:
        await build(errors=[{"code": "10013", "kind": "blocked"}]).write(GET, {}, 10)
    assert caught.value.verdict.kind is OutcomeKind.BLOCKED


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_lost_connections_say_whether_the_request_left(respx_mock: respx.MockRouter, build: Build) -> None:
    respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    call = respx_mock.post(GET)
    for error, kind in ((httpx.ConnectError("x"), OutcomeKind.DOWN), (httpx.ReadTimeout("x"), OutcomeKind.UNKNOWN)):
        call.mock(side_effect=error)
        with pytest.raises(TransportFailure) as caught:
            await build().write(GET, {}, 10)
        assert caught.value.outcome().kind is kind


@pytest.mark.respx(base_url=HOST, assert_all_called=False)
async def test_a_refused_read_is_no_retry(respx_mock: respx.MockRouter, build: Build) -> None:
    respx_mock.post("/oauth2.0/token").respond(json=LOGIN)
    call = respx_mock.post(GET).mock(return_value=refused(32000))
    with pytest.raises(VendorError) as caught:
        await build().read(GET, {})
    assert (caught.value.retryable, caught.value.code, call.call_count) == (False, "32000", 1)
