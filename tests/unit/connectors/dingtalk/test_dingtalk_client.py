"""The two generations of the API: their errors by the bodies that others saw, tokens, limits."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from connectors.dingtalk.client import Call, DingTalkClient, Refusal, old
from connectors.dingtalk.settings import DingTalkSettings
from connectors.dingtalk.simulator import DingTalkSimulator
from hub.connector.contract import GetKind
from hub.connector.faults import Fault, FaultKind
from hub.connector.kit import Kit
from hub.connector.simulator import answer
from hub.domain.errors import CredentialsRefused, QuotaSpent, VendorError
from hub.domain.outcome import OutcomeKind
from tests.unit.connectors.dingtalk.conftest import DISCOUNT, Desk, Make


def answering(body: Any, status: int = 200) -> DingTalkClient:
    """A client whose log-in works and whose every other call is answered like this."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t" * 32, "expires_in": 7200})
        return httpx.Response(status, json=body)

    settings = DingTalkSettings(corp_id="c", client_id="i", client_secret="s" * 16)
    return DingTalkClient(settings, Kit.local("dingtalk", transport=httpx.MockTransport(handler)))


NEW, OLD = Call("x", "GET", "/v1.0/x"), old("x", "/topapi/x", {})


@pytest.mark.parametrize(
    ("call", "status", "body", "code", "kind"),
    [
        (OLD, 200, {"errcode": 60011, "errmsg": "no privilege"}, "60011", OutcomeKind.NOT_EXECUTED),
        (
            OLD,
            200,
            {"errcode": 88, "sub_code": "60011", "sub_msg": "m", "errmsg": "ding talk error[subcode=60011,submsg=m]"},
            "60011",
            OutcomeKind.NOT_EXECUTED,
        ),
        (OLD, 200, {"errcode": 33012, "errmsg": "无效的USERID"}, "33012", OutcomeKind.GONE),
        (OLD, 200, {"errcode": 22, "errmsg": "Invalid method[submsg=不合法ApiName]"}, "22", OutcomeKind.NOT_EXECUTED),
        (OLD, 200, {"errcode": 999, "errmsg": "新的错误"}, "999", OutcomeKind.REJECTED),
        (OLD, 200, {"errcode": -1, "errmsg": "系统繁忙"}, "-1", OutcomeKind.UNKNOWN),
        (
            NEW,
            400,
            {"code": "invalidParameter", "message": "m", "requestid": "r"},
            "invalidParameter",
            OutcomeKind.REJECTED,
        ),
        (NEW, 500, {"code": "systemError", "message": "m"}, "systemError", OutcomeKind.UNKNOWN),
        (NEW, 200, {"errcode": 404, "errmsg": "请求的URI地址不存在"}, "404", OutcomeKind.NOT_EXECUTED),
        (
            NEW,
            200,
            {"status": 1111, "wait": 5, "source": "x5", "punish": "deny", "uuid": "u"},
            "1111",
            OutcomeKind.NOT_EXECUTED,
        ),
    ],
)
async def test_errors_of_both_generations(
    call: Call, status: int, body: dict[str, Any], code: str, kind: OutcomeKind
) -> None:
    client = answering(body, status)
    with pytest.raises(Refusal) as refusal:
        await client.write(call, 5.0)
    assert (refusal.value.code, refusal.value.verdict.kind) == (code, kind)
    await client.aclose()


async def test_a_missing_permission_is_named() -> None:
    scopes = {"requiredScopes": ["Workflow.Instance.Write"]}
    code = "Forbidden.AccessDenied.AccessTokenPermissionDenied"
    client = answering({"code": code, "message": "没有权限", "accessdenieddetail": scopes}, 403)
    with pytest.raises(CredentialsRefused, match=r"Workflow\.Instance\.Write") as refused:
        await client.read(NEW)
    assert refused.value.hint
    await client.aclose()


@pytest.mark.parametrize(
    "body", [{"errcode": 90020, "errmsg": "m"}, {"code": "Forbidden.AccessDenied.ApiCountLimitForOrg", "message": "m"}]
)
async def test_a_spent_month_is_a_spent_quota_for_reads_and_writes(body: dict[str, Any]) -> None:
    client = answering(body, 200 if "errcode" in body else 403)
    for call in (client.read(OLD if "errcode" in body else NEW), client.write(OLD if "errcode" in body else NEW, 5.0)):
        with pytest.raises(QuotaSpent) as spent:
            await call
        assert spent.value.limit == "the organisation's calls of the month"
    await client.aclose()


async def test_the_month_ends_at_midnight_in_china(make: Make, simulator: DingTalkSimulator) -> None:
    simulator.clock.set(1_767_110_400_000)  # 2025-12-31 00:00 in China
    assert make()._client.month_ends() == 1_767_196_800_000  # 2026-01-01 00:00
    simulator.clock.set(1_769_788_800_000)  # 2026-01-31 00:00
    assert make()._client.month_ends() == 1_769_875_200_000


async def test_the_simulator_answers_as_others_saw_the_platform_answer(simulator: DingTalkSimulator) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=simulator), base_url="http://ding.sim") as http:

        async def said(method: str, path: str, **how: Any) -> tuple[int, dict[str, Any]]:
            response = await http.request(method, path, **how)
            body = response.json()
            return response.status_code, {k: v for k, v in body.items() if k not in ("request_id", "requestid")}

        wrong = "不合法的appKey或appSecret"
        bad_pair = {"code": "invalidClientIdOrSecret", "message": "无效的clientId或者clientSecret"}
        assert await said("GET", "/gettoken?appkey=x&appsecret=y") == (200, {"errcode": 40096, "errmsg": wrong})
        missing = {"errcode": 40035, "errmsg": "缺少参数 corpid or appkey"}
        assert await said("GET", "/gettoken") == (200, missing)
        assert await said("POST", "/v1.0/oauth2/accessToken", json={"appKey": "x", "appSecret": "y"}) == (400, bad_pair)
        assert (await said("POST", "/v1.0/oauth2/unknown/token", json={}))[0] == 500
        words = "ding talk error[subcode=40014,submsg=不合法的access_token]"
        bad_token = {"errcode": 88, "sub_code": "40014", "sub_msg": "不合法的access_token", "errmsg": words}
        assert await said("POST", "/topapi/v2/user/get?access_token=x", json={}) == (200, bad_token)
        blank = await said("POST", "/topapi/v2/user/get", json={})
        assert blank[1]["sub_code"] == "40000"
        missing_header = "AuthenticationFailed.MissingParameter"
        assert (await said("GET", "/v1.0/workflow/processInstances"))[1]["code"] == missing_header
        header = {"x-acs-dingtalk-access-token": "x"}
        invalid = {"code": "InvalidAuthentication", "message": "不合法的access_token"}
        assert await said("GET", "/v1.0/workflow/processInstances", headers=header) == (400, invalid)


async def test_repeating_a_log_in_gives_the_same_token(simulator: DingTalkSimulator) -> None:
    gate = simulator.gate
    first = gate.log_in(gate.client_id, gate.client_secret)
    simulator.clock.advance(7000)
    assert gate.log_in(gate.client_id, gate.client_secret) == first
    simulator.clock.advance(7201)
    assert gate.log_in(gate.client_id, gate.client_secret) != first


async def test_one_token_serves_both_generations(desk: Desk, simulator: DingTalkSimulator) -> None:
    await desk.connector.describe(DISCOUNT)
    await desk.connector.get("user", ["lina"])
    assert simulator.counts["login"] == 1


async def test_a_second_is_never_filled_beyond_what_the_vendor_allows(desk: Desk, simulator: DingTalkSimulator) -> None:
    answers = await desk.connector.get(DISCOUNT, [str(n) for n in range(60)])
    assert {answer.kind for answer in answers} == {GetKind.GONE}
    assert simulator.counts["instance"] == 60  # none was refused and repeated


async def test_an_unknown_organisation_is_hinted_at(make: Make) -> None:
    with pytest.raises(VendorError) as error:
        await make(corp_id="dingunknown").fingerprint()
    assert error.value.hint is not None
    assert "corp_id" in error.value.hint


async def test_a_blocked_address_stops_the_connector_for_five_minutes(
    make: Make, simulator: DingTalkSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = make()
    await connector.fingerprint()
    monkeypatch.setattr(
        simulator, "throttled", lambda _: answer({"status": 1111, "wait": 5, "punish": "deny", "uuid": "u"})
    )
    simulator.faults.arm(Fault(kind=FaultKind.THROTTLE, op="^v2_user_get$"))
    before = simulator.clock.monotonic()
    with pytest.raises(VendorError, match="blocked"):
        await connector.get("user", ["lina"])
    (found,) = await connector.get("user", ["lina"])
    assert found.kind is GetKind.FOUND
    assert simulator.clock.monotonic() - before >= 300


@pytest.mark.parametrize(
    ("chosen", "word"),
    [
        ({"base_url": "api.dingtalk.com"}, "https"),
        ({"callback_aes_key": "short"}, "AES"),
        ({"callback_token": None}, "together"),
        ({"templates": {"折扣": "P"}}, "letters"),
    ],
)
def test_settings_say_what_is_wrong_with_them(simulator: DingTalkSimulator, chosen: dict[str, Any], word: str) -> None:
    simulator.base_url = "http://ding.sim"
    with pytest.raises(ValueError, match=word):
        DingTalkSettings(**{**simulator.settings(), **chosen})
