"""Answers at the edge: every shape in which Kingdee says that a session is lost, and what else is no data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx

from connectors.erp.kingdee.connector import KingdeeConnector
from connectors.erp.kingdee.settings import KingdeeSettings
from hub.connector.contract import Op, Write
from hub.connector.kit import Kit
from hub.domain.errors import CredentialsRefused, VendorError
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Fields

BASE = "http://erp.example.com/k3cloud/"
LOST = "会话信息已丢失，请重新登录"
SETTINGS = {
    "server_url": "http://erp.example.com/k3cloud",
    "acct_id": "6512f0a1b2c3d4",
    "username": "crmhub",
    "app_id": "300001_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY",
    "app_secret": "0123456789abcdef0123456789abcdef",
    "sessions": 1,
}


def refused(code: int | None, message: str) -> dict[str, Any]:
    errors = [{"FieldName": None, "Message": message, "DIndex": 0}]
    status = {"ErrorCode": 500, "IsSuccess": False, "Errors": errors, "SuccessEntitys": [], "MsgCode": code}
    return {"Result": {"ResponseStatus": status}}


def ok(*ids: int) -> dict[str, Any]:
    done = [{"Id": id, "Number": f"N{id}", "DIndex": at} for at, id in enumerate(ids)]
    return {"Result": {"ResponseStatus": {"IsSuccess": "True", "Errors": [], "SuccessEntitys": done, "MsgCode": 0}}}


Answer = Callable[[httpx.Request], httpx.Response]


class Server:
    """A server that answers as it is told, one answer a call (the last one for ever)."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.answers: list[httpx.Response] = []
        self.calls: list[tuple[str, httpx.Request]] = []
        self.logins = 0
        router.post(url__startswith=BASE).mock(side_effect=self.serve)

    def say(self, *answers: Any, status: int = 200) -> None:
        for answer in answers:
            text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
            self.answers.append(httpx.Response(status, text=text))

    def serve(self, request: httpx.Request) -> httpx.Response:
        method = request.url.path.removesuffix(".common.kdsvc").rpartition(".")[2]
        if method == "LoginBySign":
            self.logins += 1
            cookies = [("set-cookie", f"kdservice-sessionid=s{self.logins}; path=/"), ("set-cookie", "LB=a,b; path=/")]
            body = {"LoginResultType": 1, "KDSVCSessionId": f"session-{self.logins}"}
            return httpx.Response(200, json=body, headers=cookies)
        self.calls.append((method, request))
        if method == "QueryBusinessInfo":
            return httpx.Response(200, json=refused(2, "没有权限"))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def server(respx_mock: respx.MockRouter) -> Server:
    return Server(respx_mock)


@pytest.fixture
def erp() -> KingdeeConnector:
    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    return KingdeeConnector(KingdeeSettings.model_validate(SETTINGS), Kit.local("erp", sleep=sleep))


async def create(erp: KingdeeConnector, count: int = 1) -> list[Outcome]:
    return await erp.write("BD_Customer", [Write(Op.CREATE, fields={"FName": f"n{at}"}) for at in range(count)])


ROW = [[1, "2024-01-01T00:00:00"]]
LOSSES = [
    refused(1, LOST),
    refused(None, LOST),
    [[refused(1, LOST)]],
    [refused(1, LOST)],
    [{"FieldName": None, "Message": LOST, "DIndex": 0}],
    'response_error:{"Message":"ctx == null"}',
    "用户未登录",
    "<!DOCTYPE html><html><title>登录</title></html>",
]


@pytest.mark.parametrize("loss", LOSSES, ids=range(len(LOSSES)))
async def test_every_shape_of_a_lost_session_is_mended_once(server: Server, erp: KingdeeConnector, loss: Any) -> None:
    server.say(loss, ROW)
    answers = await erp.get("BD_Currency", ["1"], frozenset())
    assert [answer.kind for answer in answers] == ["found"]
    assert server.logins == 2


@pytest.mark.parametrize("loss", LOSSES, ids=range(len(LOSSES)))
async def test_a_write_is_repeated_once_after_a_lost_session(server: Server, erp: KingdeeConnector, loss: Any) -> None:
    server.say(loss, ok(7))
    (outcome,) = await create(erp)
    assert (outcome.kind, outcome.id) == (OutcomeKind.OK, "7")
    server.answers.clear()
    server.say(loss)
    (outcome,) = await create(erp)
    assert outcome.kind is OutcomeKind.NOT_EXECUTED


async def test_status_401_is_a_lost_session(server: Server, erp: KingdeeConnector) -> None:
    server.say("Unauthorized", status=401)
    server.say(ok(7))
    assert (await create(erp))[0].ok


async def test_words_of_a_lost_session_inside_data_are_data(server: Server, erp: KingdeeConnector) -> None:
    server.say([[1, "2024-01-01T00:00:00", "用户未登录"]])
    (answer,) = await erp.get("BD_Currency", ["1"], frozenset({"FName"}))
    assert answer.record is not None
    assert answer.record.fields == {"FName": "用户未登录"}
    assert server.logins == 1


@pytest.mark.parametrize(
    "body",
    [
        [[refused(9, "元数据中标识为FX的字段不存在")]],
        [refused(9, "元数据中标识为FX的字段不存在")],
        refused(9, "元数据中标识为FX的字段不存在"),
        [[1, "too", "many", "cells"]],
        [{"FNumber": "an object is no row"}],
        {"unexpected": True},
        "response_error:something broke",
        "service no found",
    ],
    ids=range(8),
)
async def test_what_is_no_list_of_rows_is_never_read_as_absent(
    server: Server, erp: KingdeeConnector, body: Any
) -> None:
    server.say(body)
    with pytest.raises(VendorError):
        await erp.get("BD_Currency", ["1"], frozenset({"FNumber"}))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_error_after_a_write_left_is_unknown(server: Server, erp: KingdeeConnector, status: int) -> None:
    server.say("<html>Please login to the proxy</html>", status=status)
    assert [outcome.kind for outcome in await create(erp, 2)] == [OutcomeKind.UNKNOWN] * 2
    assert len([method for method, _ in server.calls if method == "BatchSave"]) == 1


async def test_an_exception_with_status_200_is_unknown(server: Server, erp: KingdeeConnector) -> None:
    server.say('response_error:{"Message":"超时时间已到","InnerExWrapper":null}')
    (outcome,) = await create(erp)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.failure is not None
    assert "超时时间已到" in outcome.failure.message


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (14, "接口调用次数超过限制", OutcomeKind.NOT_EXECUTED),
        (13, "网络控制冲突", OutcomeKind.NOT_EXECUTED),
        (2, "没有权限", OutcomeKind.REJECTED),
        (6, "数据库操作失败", OutcomeKind.UNKNOWN),
        (10, "找不到数据", OutcomeKind.GONE),
        (11, "编码唯一：编码已存在", OutcomeKind.DUPLICATE),
        (11, "字段“客户”是必填项", OutcomeKind.REJECTED),
        (11, "该数据已被其他用户修改", OutcomeKind.CONFLICT),
        (11, "当前期间已结账", OutcomeKind.BLOCKED),
        (11, "客户信用超额", OutcomeKind.BLOCKED),
        (12, "单据已审核", OutcomeKind.BLOCKED),
        (99, "从未见过", OutcomeKind.REJECTED),
    ],
)
async def test_refusals_by_the_table(
    server: Server, erp: KingdeeConnector, code: int, message: str, kind: OutcomeKind
) -> None:
    server.say(refused(code, message))
    (outcome,) = await create(erp)
    assert outcome.kind is kind
    assert outcome.failure is not None
    assert message in outcome.failure.message


async def test_an_answer_that_names_only_some_records_leaves_the_others_unknown(
    server: Server, erp: KingdeeConnector
) -> None:
    answer = ok(7)
    answer["Result"]["ResponseStatus"]["Errors"] = [{"FieldName": "FName", "Message": "不能为空", "DIndex": 2}]
    server.say(answer)
    outcomes = await create(erp, 3)
    assert [each.kind for each in outcomes] == [OutcomeKind.OK, OutcomeKind.UNKNOWN, OutcomeKind.REJECTED]


async def test_the_code_of_one_record_is_not_that_of_another(server: Server, erp: KingdeeConnector) -> None:
    answer = refused(13, "网络控制冲突")
    errors = answer["Result"]["ResponseStatus"]["Errors"]
    errors.append({"FieldName": "FX", "Message": "别的原因", "DIndex": 1})
    server.say(answer)
    assert [each.kind for each in await create(erp, 2)] == [OutcomeKind.NOT_EXECUTED, OutcomeKind.REJECTED]


async def test_a_refused_call_refuses_all_its_records(server: Server, erp: KingdeeConnector) -> None:
    server.say(refused(14, "接口调用次数超过限制"))
    assert [each.kind for each in await create(erp, 3)] == [OutcomeKind.NOT_EXECUTED] * 3


async def test_cookies_are_sent_back_and_never_mixed(server: Server, erp: KingdeeConnector) -> None:
    server.say(ROW)
    await erp.get("BD_Currency", ["1"], frozenset())
    (request,) = [request for method, request in server.calls if method == "ExecuteBillQuery"]
    cookies = dict(each.split("=", 1) for each in request.headers["cookie"].split("; "))
    assert cookies == {"kdservice-sessionid": "session-1", "LB": "a,b"}
    assert request.headers["kdservice-sessionid"] == "session-1"


async def test_save_says_what_it_must_and_in_order(server: Server, erp: KingdeeConnector) -> None:
    server.say(ok(7))
    fields: Fields = {"FTRADINGCURRID.FNumber": "PRE001", "FTEL": None, "FName": "n", "FCreateOrgId.FNumber": "100"}
    write = Write(Op.CREATE, fields=fields, stamp="k", options={"InterationFlags": "X", "Model": "no"})
    await erp.write("BD_Customer", [write])
    (request,) = [request for method, request in server.calls if method == "BatchSave"]
    data = json.loads(request.content)["data"]
    assert list(data["Model"][0]) == ["FCUSTID", "FCreateOrgId", "FName", "FTRADINGCURRID", "FTEL", "F_HUB_KEY"]
    assert data["Model"][0]["FTEL"] == ""
    assert (data["IsVerifyBaseDataField"], data["IsDeleteEntry"], data["InterationFlags"]) == (True, False, "X")
    assert data["NeedUpDateFields"] == []


@pytest.mark.parametrize("result", [0, -1, -2, -3, -5, -6, -7])
async def test_a_refused_log_in_is_told_in_words(
    respx_mock: respx.MockRouter, erp: KingdeeConnector, result: int
) -> None:
    body = {"LoginResultType": result, "Message": "密码错误次数超限", "KDSVCSessionId": ""}
    respx_mock.post(url__startswith=BASE).respond(json=body)
    with pytest.raises(CredentialsRefused, match="次数超限") as caught:
        await erp.fingerprint()
    assert caught.value.hint
    assert len(respx_mock.calls) == 1


async def test_a_busy_session_keeps_a_write_from_leaving(server: Server, erp: KingdeeConnector) -> None:
    server.say(ROW)
    await erp.get("BD_Currency", ["1"], frozenset())
    await erp.describe("BD_Customer")
    async with erp._client._sessions[0].turn:
        (outcome,) = await erp.write("BD_Customer", [Write(Op.CREATE, fields={"FName": "n"}, timeout=0.01)])
    assert outcome.kind is OutcomeKind.NOT_EXECUTED
    assert "BatchSave" not in [method for method, _ in server.calls]
