"""The simulated server by the vendor's documents, spoken to without our client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from connectors.erp.kingdee.simulator import KingdeeSimulator
from connectors.erp.kingdee.simulator_store import Refused

AUTH = "/k3cloud/Kingdee.BOS.WebApi.ServicesStub.AuthService."
FORM = "/k3cloud/Kingdee.BOS.WebApi.ServicesStub.DynamicFormService."
ACCT, USER, APP = "6512f0a1b2c3d4", "crmhub", "300001_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY"
SECRET = "0123456789abcdef0123456789abcdef"
LOST = "会话信息已丢失，请重新登录"
ORG = {"FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100"}


def kdsvc(method: str) -> str:
    return f"{FORM}{method}.common.kdsvc"


async def log_in(wire: httpx.AsyncClient, secret: str = SECRET) -> httpx.Response:
    stamp = 1_700_000_000
    sign = hashlib.sha256("".join(sorted([ACCT, USER, APP, secret, str(stamp)])).encode()).hexdigest()
    wire.cookies.clear()
    return await wire.post(f"{AUTH}LoginBySign.common.kdsvc", json={"parameters": [ACCT, USER, APP, stamp, sign, 2052]})


@pytest.fixture
async def user(wire: httpx.AsyncClient) -> httpx.AsyncClient:
    """Somebody who is logged in, by the plain header alone."""
    session = (await log_in(wire)).json()["KDSVCSessionId"]
    wire.cookies.clear()
    wire.headers["kdservice-sessionid"] = session
    return wire


async def call(user: httpx.AsyncClient, method: str, **body: Any) -> Any:
    response = await user.post(kdsvc(method), json=body)
    assert response.status_code == 200
    return response.json()


async def query(user: httpx.AsyncClient, form: str, keys: str, where: str = "", order: str = "", **more: Any) -> Any:
    data = {"FormId": form, "FieldKeys": keys, "FilterString": where, "OrderString": order, **more}
    return await call(user, "ExecuteBillQuery", data=data)


async def save(user: httpx.AsyncClient, form: str, model: dict[str, Any], **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await call(user, "Save", formid=form, data={"Model": model, **options}))["Result"]
    return found


def status(result: dict[str, Any]) -> tuple[int, list[str]]:
    found = result["ResponseStatus"]
    return found["MsgCode"], [error["Message"] for error in found["Errors"]]


def customer(**more: Any) -> dict[str, Any]:
    return {"FName": "远航", "FCreateOrgId": {"FNumber": "100"}, "FTRADINGCURRID": {"FNumber": "PRE001"}, **more}


async def make_customer(user: httpx.AsyncClient, **more: Any) -> str:
    id = str((await save(user, "BD_Customer", customer(**more)))["Id"])
    for step in ("Submit", "Audit"):
        assert (await call(user, step, formid="BD_Customer", data={"Ids": id}))["Result"]["ResponseStatus"]["IsSuccess"]
    return id


def order(**more: Any) -> dict[str, Any]:
    return {
        "FSaleOrgId": {"FNumber": "100"},
        "FDate": "2024-05-06",
        "FCustId": {"FNumber": "C1"},
        "FSaleOrderEntry": [{"FMaterialId": {"FNumber": "M1"}, "FQty": 2, "FTaxPrice": 113, "FEntryTaxRate": 13}],
        **more,
    }


@pytest.fixture
async def shop(sim: KingdeeSimulator, user: httpx.AsyncClient) -> httpx.AsyncClient:
    await sim.bulk("BD_Customer", [{"FNumber": "C1", "FName": "n", "FTRADINGCURRID.FNumber": "PRE007", **ORG}])
    await sim.bulk(
        "BD_MATERIAL",
        [{"FNumber": f"M{n}", "FName": "m", "FBaseUnitId.FNumber": "Pcs", "F_HUB_PRICE": "9", **ORG} for n in (1, 2)],
    )
    return user


class TestLogIn:
    async def test_sets_both_cookies_and_returns_the_session(self, wire: httpx.AsyncClient) -> None:
        response = await log_in(wire)
        body = response.json()
        assert body["LoginResultType"] == 1
        assert response.cookies["kdservice-sessionid"] == body["KDSVCSessionId"]
        assert "ASP.NET_SessionId" in response.cookies

    async def test_refuses_a_wrong_signature_with_status_200(self, wire: httpx.AsyncClient) -> None:
        response = await log_in(wire, "wrong")
        assert response.status_code == 200
        assert (response.json()["LoginResultType"], response.json()["MessageCode"]) == (0, "002005000003016")

    @pytest.mark.parametrize(
        ("method", "body"),
        [
            ("ValidateUser", {"parameters": [ACCT, USER, "Kd-Pass-2024", 2052]}),
            ("ValidateUser", {"acctID": ACCT, "username": USER, "password": "Kd-Pass-2024", "lcid": 2052}),
            ("ValidateUser2", {"parameters": [ACCT, USER, "Kd-Pass-2024", False, 2052]}),
            ("LoginByAppSecret", {"acctID": ACCT, "username": USER, "appId": APP, "appSecret": SECRET, "lcid": 2052}),
        ],
    )
    async def test_by_the_older_ways(self, wire: httpx.AsyncClient, method: str, body: dict[str, Any]) -> None:
        response = await wire.post(f"{AUTH}{method}.common.kdsvc", json=body)
        assert response.json()["LoginResultType"] == 1

    async def test_log_out(self, user: httpx.AsyncClient) -> None:
        assert (await user.post(f"{AUTH}Logout.common.kdsvc", json={})).json() is True
        assert status((await query(user, "BD_UNIT", "FNumber"))[0][0]["Result"]) == (1, [LOST])

    async def test_the_probe_needs_no_session(self, wire: httpx.AsyncClient) -> None:
        path = "Kingdee.BOS.ServiceFacade.ServicesStub.Account.AccountService.GetDataCenterList.common.kdsvc"
        assert (await wire.post(f"/K3Cloud/{path}", json={})).json()[0]["Id"] == ACCT


class TestSessions:
    def headers(self, secret: str = SECRET, acct: str = ACCT, lcid: int = 2052) -> dict[str, str]:
        identity = f"{acct},{USER},{lcid},100"
        digest = hmac.new(secret.encode(), (APP + identity).encode(), hashlib.sha256).hexdigest()
        return {
            "X-Kd-Appkey": APP,
            "X-Kd-Appdata": base64.b64encode(identity.encode()).decode(),
            "X-Kd-Signature": base64.b64encode(digest.encode()).decode(),
        }

    async def test_a_good_signature_is_served_and_makes_a_session(self, wire: httpx.AsyncClient) -> None:
        body = {"data": {"FormId": "BD_UNIT", "FieldKeys": "FNumber"}}
        response = await wire.post(kdsvc("ExecuteBillQuery"), json=body, headers=self.headers())
        assert response.json() == [["kg"], ["Pcs"]]
        wire.cookies.clear()
        cookie = {"Cookie": f"kdservice-sessionid={response.cookies['kdservice-sessionid']}"}
        again = await wire.post(kdsvc("ExecuteBillQuery"), json=body, headers={**self.headers("rotated"), **cookie})
        assert len(again.json()) == 2, "with a live session the signature is not looked at"

    async def test_a_bad_signature_loses_the_session_with_a_useless_cookie(self, wire: httpx.AsyncClient) -> None:
        response = await wire.post(kdsvc("Save"), json={"formid": "X", "data": {}}, headers=self.headers("wrong"))
        assert (response.status_code, status(response.json()["Result"])) == (200, (1, [LOST]))
        again = await wire.post(kdsvc("Save"), json={"formid": "X", "data": {}})
        assert status(again.json()["Result"]) == (1, [LOST])

    async def test_an_unknown_data_centre(self, wire: httpx.AsyncClient) -> None:
        response = await wire.post(kdsvc("Save"), json={}, headers=self.headers(acct="nobody"))
        assert response.status_code != 200
        assert "Fail to verify thirty passport" in response.text

    async def test_a_nonsense_language(self, wire: httpx.AsyncClient) -> None:
        response = await wire.post(kdsvc("Save"), json={"formid": "X", "data": {}}, headers=self.headers(lcid=7))
        assert status(response.json()["Result"])[0] == 1

    async def test_idle_sessions_end_and_used_ones_slide(self, sim: KingdeeSimulator, user: httpx.AsyncClient) -> None:
        for _ in range(3):
            sim.clock.advance(1000)
            assert len(await query(user, "BD_UNIT", "FNumber")) == 2
        sim.clock.advance(1300)
        assert status((await query(user, "BD_UNIT", "FNumber"))[0][0]["Result"])[0] == 1

    async def test_calls_in_one_session_wait_for_each_other(
        self, sim: KingdeeSimulator, user: httpx.AsyncClient
    ) -> None:
        sim.latency = 0.05
        session = user.headers["kdservice-sessionid"]
        other = (await log_in(user)).json()["KDSVCSessionId"]
        user.cookies.clear()

        async def end(id: str) -> float:
            body = {"data": {"FormId": "BD_UNIT", "FieldKeys": "FNumber"}}
            await user.post(kdsvc("ExecuteBillQuery"), json=body, headers={"kdservice-sessionid": id})
            return asyncio.get_running_loop().time()

        ends = await asyncio.gather(*(end(id) for id in (session, session, session, other)))
        assert ends[2] - ends[0] >= 0.09, "the third waited for two others"
        assert ends[3] < ends[2], "another session does not wait"


class TestEnvelopes:
    async def test_every_envelope_means_the_same(self, user: httpx.AsyncClient) -> None:
        data = {"CreateOrgId": 0, "Number": "PRE001", "Id": ""}
        text = json.dumps(data)
        bodies = [
            {"formid": "BD_Currency", "data": data},
            {"formid": "BD_Currency", "data": text},
            {"parameters": ["BD_Currency", text]},
            {"format": 1, "useragent": "ApiClient", "rid": "1", "parameters": ["BD_Currency", data], "v": "1.0"},
        ]
        answers = [(await user.post(kdsvc("View"), json=body)).json() for body in bodies]
        answers.append(
            (
                await user.post(
                    kdsvc("View").replace("k3cloud", "K3Cloud"), data={"formid": "BD_Currency", "data": text}
                )
            ).json()
        )
        assert all(answer == answers[0] for answer in answers)
        assert answers[0]["Result"]["Result"]["Number"] == "PRE001"

    async def test_unknown_service_and_unreadable_body(self, user: httpx.AsyncClient) -> None:
        assert "service no found" in (await user.post(kdsvc("Nonsense"), json={})).text
        response = await user.post(kdsvc("Save"), content=b"{")
        assert (response.status_code, response.text[:15]) == (200, "response_error:")

    async def test_refusals_on_demand(self, sim: KingdeeSimulator, user: httpx.AsyncClient) -> None:
        sim.refuse_next.append(("Save", Refused("数据库操作失败", code=6)))
        assert status(await save(user, "BD_Customer", customer())) == (6, ["数据库操作失败"])
        sim.refuse_next.append(("Save", 'response_error:{"Message":"x"}'))
        assert (await user.post(kdsvc("Save"), json={})).text.startswith("response_error:")


class TestQuery:
    async def test_one_row_an_entry_with_native_types(self, shop: httpx.AsyncClient) -> None:
        second = {"FMaterialId": {"FNumber": "M2"}, "FQty": 1.5, "FTaxPrice": 10, "FEntryTaxRate": 13}
        entries = [*order()["FSaleOrderEntry"], second]
        made = await save(
            shop, "SAL_SaleOrder", order(FSaleOrderEntry=entries, FSaleOrderFinance={"FIsIncludedTax": True})
        )
        keys = (
            "FID,FDate,FNote,FIsIncludedTax,FCustId.FName,FMaterialId.FNumber,FQty,FAllAmount,"
            "FSaleOrderEntry_FSeq,FBillAllAmount"
        )
        rows = await query(shop, "SAL_SaleOrder", keys)
        common = [made["Id"], "2024-05-06T00:00:00", " ", True, "n"]
        assert rows == [[*common, "M1", 2, 226, 1, 241], [*common, "M2", 1.5, 15, 2, 241]]
        text = (
            await shop.post(kdsvc("ExecuteBillQuery"), json={"data": {"FormId": "SAL_SaleOrder", "FieldKeys": "FQty"}})
        ).text
        assert text == "[[2.0000000000],[1.5000000000]]"

    async def test_paging_order_and_the_absolute_top(self, shop: httpx.AsyncClient, sim: KingdeeSimulator) -> None:
        await sim.bulk("BD_Customer", [{"FNumber": f"P{n}", "FName": "p", **ORG} for n in range(5)])
        where = "FName='p'"
        assert await query(shop, "BD_Customer", "FNumber", where, "FNumber DESC", StartRow=1, Limit=2) == [
            ["P3"],
            ["P2"],
        ]
        assert len(await query(shop, "BD_Customer", "FNumber", where, StartRow=1, TopRowCount=3)) == 2
        assert await query(shop, "BD_Customer", "FNumber", "1=2") == []

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ("FNumber='M1'", "M1"),
            ("FNumber = 'm1 '", "M1"),
            ("FNumber<>'M1'", "M2"),
            ("FNumber in ('M2', 'M9')", "M2"),
            ("FNumber not in ('M2')", "M1"),
            ("FNumber like '%1'", "M1"),
            ("FSpecification is null or FNumber='M1'", "M1"),
            ("(FName='m' and FNumber>='M2') or FNumber='x'", "M2"),
            ("FBaseUnitId.FNumber='Pcs' and not FNumber='M1'", "M2"),
            ("F_HUB_PRICE>8.5 and FNumber<'M2'", "M1"),
            ("FName='o''x' or FNumber='M2'", "M2"),
            ("FCreateDate>'2001-01-01' and FModifyDate<'2099-01-01 10:00:00' and FNumber='M1'", "M1"),
        ],
    )
    async def test_filters(self, shop: httpx.AsyncClient, where: str, found: str) -> None:
        assert await query(shop, "BD_MATERIAL", "FNumber", where, "FNumber") == [[found]]

    async def test_the_newer_list_of_conditions(self, shop: httpx.AsyncClient) -> None:
        where = [
            {"Left": "(", "FieldName": "FNumber", "Compare": ">=", "Value": "M2", "Right": ")", "Logic": "AND"},
            {"Left": "", "FieldName": "FName", "Compare": "=", "Value": "m", "Right": "", "Logic": ""},
        ]
        assert await query(shop, "BD_MATERIAL", "FNumber", where) == [["M2"]]  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("form", "keys", "where", "code"),
        [
            ("BD_MATERIAL", "", "", 8),
            ("BD_MATERIAL", "FNope", "", 9),
            ("BD_MATERIAL", "FNumber", "FNope='1'", 9),
            ("BD_MATERIAL", "FNumber", "FNumber='1' or", 4),
            ("BD_MATERIAL", "FNumber", "FNumber=(select 1)", 4),
            ("BD_MATERIAL", "FNumber", "FNumber='1'; drop", 4),
            ("BD_MATERIAL", "FNumber", "FModifyDate>'yesterday'", 4),
            ("NoSuchForm", "FNumber", "", 4),
        ],
    )
    async def test_errors_stand_where_rows_would(
        self, shop: httpx.AsyncClient, form: str, keys: str, where: str, code: int
    ) -> None:
        rows = await query(shop, form, keys, where)
        assert status(rows[0][0]["Result"])[0] == code

    async def test_times_are_local_and_rounded(self, shop: httpx.AsyncClient, sim: KingdeeSimulator) -> None:
        sim.clock.set(1_736_395_245_052)  # 2025-01-09 12:00:45.052 in China
        await sim.change(
            {
                "op": "create",
                "object": "BD_Customer",
                "fields": {"FNumber": "T", "FName": "t", "FTRADINGCURRID.FNumber": "PRE001", **ORG},
            }
        )
        ((stamp,),) = await query(shop, "BD_Customer", "FModifyDate", "FNumber='T'")
        assert stamp.startswith("2025-01-09T12:00:45.05")
        assert stamp[-1] in "037"
        assert len(await query(shop, "BD_Customer", "FNumber", f"FModifyDate='{stamp}'")) == 1

    async def test_bill_query_gives_objects(self, user: httpx.AsyncClient) -> None:
        rows = await call(user, "BillQuery", data={"FormId": "BD_Currency", "FieldKeys": "FNumber,FCODE", "Limit": 1})
        assert rows == [{"FNumber": "PRE001", "FCODE": "CNY"}]

    async def test_metadata(self, user: httpx.AsyncClient) -> None:
        body = await call(user, "QueryBusinessInfo", data={"FormId": "SAL_SaleOrder"})
        info = body["Result"]["NeedReturnData"]
        fields = {entry["Key"]: {field["Key"]: field for field in entry["Fields"]} for entry in info["Entrys"]}
        assert set(fields) == {"FBillHead", "FSaleOrderFinance", "FSaleOrderEntry"}
        assert fields["FBillHead"]["FCustId"]["LookUpObjectFormId"] == "BD_Customer"
        assert (fields["FBillHead"]["FDate"]["MustInput"], fields["FBillHead"]["FNote"]["MustInput"]) == (1, 0)
        names = {each["OperationNumber"]: each["OperationName"][0]["Value"] for each in info["Operations"]}
        assert (names["YLBillClose"], names["Cancel"]) == ("整单关闭", "作废")

    async def test_metadata_of_an_unknown_form(self, user: httpx.AsyncClient) -> None:
        assert status((await call(user, "QueryBusinessInfo", data={"FormId": "X"}))["Result"])[0] == 4


class TestSave:
    async def test_number_state_and_defaults(self, shop: httpx.AsyncClient) -> None:
        made = await save(shop, "SAL_SaleOrder", order())
        assert (status(made)[0], made["Number"]) == (0, "XSDD000001")
        keys = "FDocumentStatus,FBillTypeID.FNumber,FSettleCurrId.FNumber,FUnitID.FNumber,FPrice,FTaxPrice"
        assert await query(shop, "SAL_SaleOrder", keys) == [["A", "XSDD01_SYS", "PRE007", "Pcs", 100, 113]]

    async def test_what_is_typed_later_overwrites(self, shop: httpx.AsyncClient) -> None:
        row = {"FTaxPrice": 50, "FQty": 1, "FMaterialId": {"FNumber": "M1"}}
        finance = {"FSettleCurrId": {"FNumber": "PRE001"}}
        model = {"FSaleOrderFinance": finance, **order(FSaleOrderEntry=[row])}
        await save(shop, "SAL_SaleOrder", model)
        assert await query(shop, "SAL_SaleOrder", "FTaxPrice,FSettleCurrId.FNumber") == [[9, "PRE007"]]

    async def test_required_fields_are_all_named(self, shop: httpx.AsyncClient) -> None:
        code, messages = status(await save(shop, "SAL_SaleOrder", {"FSaleOrderEntry": [{"FQty": 1}]}))
        assert code == 11
        assert [
            word for word in ("日期", "客户", "销售组织", "物料编码") if not any(word in each for each in messages)
        ] == []

    async def test_an_unknown_reference_fails_or_is_blanked(self, shop: httpx.AsyncClient) -> None:
        model = order(FSalerId={"FNumber": "NOBODY"})
        assert status(await save(shop, "SAL_SaleOrder", model, IsVerifyBaseDataField="true"))[0] == 11
        assert status(await save(shop, "SAL_SaleOrder", model))[0] == 0
        assert await query(shop, "SAL_SaleOrder", "FSalerId.FNumber,FSalerId") == [[None, 0]]

    async def test_references_need_an_audited_record_of_their_organisation(self, shop: httpx.AsyncClient) -> None:
        await save(shop, "BD_Customer", customer(FNumber="NEW"))
        made = await save(shop, "SAL_SaleOrder", order(FCustId={"FNumber": "NEW"}), IsVerifyBaseDataField=True)
        assert status(made)[0] == 11
        other = order(FSaleOrgId={"FNumber": "200"})
        assert status(await save(shop, "SAL_SaleOrder", other, IsVerifyBaseDataField=True))[0] == 11

    async def test_rows_that_a_save_does_not_name_are_deleted_by_default(self, shop: httpx.AsyncClient) -> None:
        made = await save(shop, "SAL_SaleOrder", order(), NeedReturnFields=["FSaleOrderEntry.FEntryID"])
        (row,) = made["NeedReturnData"][0]["FSaleOrderEntry"]
        more = {"FID": made["Id"], "FSaleOrderEntry": [{"FMaterialId": {"FNumber": "M2"}, "FQty": 1}]}
        await save(shop, "SAL_SaleOrder", more, IsDeleteEntry="False")
        assert await query(shop, "SAL_SaleOrder", "FMaterialId.FNumber") == [["M1"], ["M2"]]
        keep = {"FID": made["Id"], "FSaleOrderEntry": [{"FEntryID": row["FEntryID"], "FQty": 3}]}
        await save(shop, "SAL_SaleOrder", keep)
        assert await query(shop, "SAL_SaleOrder", "FMaterialId.FNumber,FQty,FSaleOrderEntry_FEntryID") == [
            ["M1", 3, row["FEntryID"]]
        ]

    async def test_need_update_fields_lets_nothing_else_through(self, shop: httpx.AsyncClient) -> None:
        made = await save(shop, "SAL_SaleOrder", order(), NeedReturnFields=["FSaleOrderEntry.FEntryID"])
        row = {**made["NeedReturnData"][0]["FSaleOrderEntry"][0], "FQty": 9}
        model = {"FID": made["Id"], "FNote": "yes", "FReceiveAddress": "no", "FSaleOrderEntry": [row]}
        await save(shop, "SAL_SaleOrder", model, NeedUpDateFields=["FNote", "FQty"], IsDeleteEntry=False)
        assert await query(shop, "SAL_SaleOrder", "FNote,FReceiveAddress,FQty") == [["yes", " ", 2]]
        fields = ["FNote", "FSaleOrderEntry", "FQty"]
        await save(shop, "SAL_SaleOrder", model, NeedUpDateFields=fields, IsDeleteEntry=False)
        assert await query(shop, "SAL_SaleOrder", "FQty") == [[9]]

    async def test_a_batch_may_be_partly_saved(self, user: httpx.AsyncClient) -> None:
        models = [customer(), customer(FName=""), customer()]
        body = await call(user, "BatchSave", formid="BD_Customer", data={"Model": models})
        found = body["Result"]["ResponseStatus"]
        assert (found["IsSuccess"], found["MsgCode"], found["ErrorCode"]) == (False, 11, 500)
        assert [each["DIndex"] for each in found["SuccessEntitys"]] == [0, 2]
        assert [each["DIndex"] for each in found["Errors"]] == [1]

    async def test_trims_rounds_and_refuses_what_is_too_long(self, user: httpx.AsyncClient) -> None:
        await save(user, "BD_Customer", customer(FADDRESS="  路 1 号 ", F_HUB_CREDITLIMIT="1.005"))
        assert await query(user, "BD_Customer", "FADDRESS,F_HUB_CREDITLIMIT") == [["路 1 号", 1.01]]
        assert status(await save(user, "BD_Customer", customer(FADDRESS="长" * 256)))[0] == 11

    async def test_numbers_are_unique_and_bodies_may_be_refused_twice(self, user: httpx.AsyncClient) -> None:
        assert status(await save(user, "BD_Customer", customer(FNumber="U")))[0] == 0
        code, messages = status(await save(user, "BD_Customer", customer(FNumber="U")))
        assert (code, "已存在" in messages[0]) == (11, True)
        assert status(await save(user, "BD_Customer", customer(), ValidateRepeatJson=True))[0] == 0
        assert status(await save(user, "BD_Customer", customer(), ValidateRepeatJson=True))[0] == 11

    async def test_a_draft_is_not_validated(self, user: httpx.AsyncClient) -> None:
        body = await call(user, "Draft", formid="BD_Customer", data={"Model": {}})
        assert body["Result"]["ResponseStatus"]["IsSuccess"]
        assert await query(user, "BD_Customer", "FDocumentStatus") == [["Z"]]

    async def test_auto_submit_and_audit(self, user: httpx.AsyncClient) -> None:
        await save(user, "BD_Customer", customer(), IsAutoSubmitAndAudit=True)
        assert await query(user, "BD_Customer", "FDocumentStatus") == [["C"]]


class TestLife:
    async def test_states_and_what_they_allow(self, user: httpx.AsyncClient) -> None:
        id = str((await save(user, "BD_Customer", customer()))["Id"])

        async def step(name: str) -> tuple[int, str]:
            body = await call(user, name, formid="BD_Customer", data={"Ids": id})
            rows = await query(user, "BD_Customer", "FDocumentStatus")
            return body["Result"]["ResponseStatus"]["MsgCode"], rows[0][0] if rows else "-"

        assert await step("Audit") == (12, "A")
        assert await step("Submit") == (0, "B")
        assert status(await save(user, "BD_Customer", {"FCUSTID": int(id), "FName": "x"}))[0] == 12
        assert await step("CancelAssign") == (0, "A")
        assert await step("Submit") == (0, "B")
        assert await step("Audit") == (0, "C")
        assert status(await save(user, "BD_Customer", {"FCUSTID": int(id), "FName": "x"}))[0] == 12
        assert await step("Delete") == (12, "C")
        assert await step("UnAudit") == (0, "D")
        assert status(await save(user, "BD_Customer", {"FCUSTID": int(id), "FName": "x"}))[0] == 0
        assert await step("Delete") == (0, "-")
        assert await step("Submit") == (10, "-")

    async def test_by_numbers_and_many_at_once(self, user: httpx.AsyncClient) -> None:
        await save(user, "BD_Customer", customer(FNumber="A1"))
        body = await call(user, "Submit", formid="BD_Customer", data={"Numbers": ["A1", "NOPE"]})
        found = body["Result"]["ResponseStatus"]
        assert ([each["Number"] for each in found["SuccessEntitys"]], found["Errors"][0]["DIndex"]) == (["A1"], 1)

    async def test_operations(self, user: httpx.AsyncClient) -> None:
        id = await make_customer(user)
        body = {"formid": "BD_Customer", "opNumber": "Forbid", "data": {"Ids": id}}
        assert (await call(user, "ExcuteOperation", **body))["Result"]["ResponseStatus"]["IsSuccess"]
        assert await query(user, "BD_Customer", "FForbidStatus") == [["B"]]
        positional = {"parameters": ["BD_Customer", "Enable", json.dumps({"Ids": id})]}
        assert (await call(user, "ExcuteOperation", **positional))["Result"]["ResponseStatus"]["IsSuccess"]
        assert await query(user, "BD_Customer", "FForbidStatus") == [["A"]]
        assert status((await call(user, "ExcuteOperation", **{**body, "opNumber": "Fly"}))["Result"])[0] == 3
        assert "service no found" in (await user.post(kdsvc("ExecuteOperation"), json=body)).text

    async def test_a_bill_with_a_later_document_stays_audited(
        self, shop: httpx.AsyncClient, sim: KingdeeSimulator
    ) -> None:
        made = await save(shop, "SAL_SaleOrder", order(), IsAutoSubmitAndAudit=True)
        receipt = {
            "FDATE": "2024-05-07",
            "FPAYORGID.FNumber": "100",
            "FCURRENCYID.FNumber": "PRE001",
            "FCONTACTUNITTYPE": "BD_Customer",
            "FCONTACTUNIT.FNumber": "C1",
            "FPAYUNITTYPE": "BD_Customer",
            "FPAYUNIT.FNumber": "C1",
            "FRECEIVEBILLENTRY": [{"FRECTOTALAMOUNTFOR": "10"}],
            "FRECEIVEBILLSRCENTRY": [{"FSRCBILLNO": made["Number"], "FREALRECAMOUNTFOR_S": "10"}],
        }
        await sim.change({"op": "create", "object": "AR_RECEIVEBILL", "fields": receipt})
        body = await call(shop, "UnAudit", formid="SAL_SaleOrder", data={"Ids": str(made["Id"])})
        assert status(body["Result"])[0] == 12

    async def test_allocation_makes_another_row(self, user: httpx.AsyncClient) -> None:
        id = await make_customer(user, FNumber="AL")
        body = await call(user, "Allocate", formid="BD_Customer", data={"PkIds": id, "TOrgIds": "100016"})
        assert body["Result"]["ResponseStatus"]["IsSuccess"]
        rows = await query(user, "BD_Customer", "FCUSTID,FUseOrgId.FNumber", "FNumber='AL'", "FUseOrgId.FNumber")
        assert [row[1] for row in rows] == ["100", "200"]
        assert rows[0][0] != rows[1][0]

    async def test_switch_org(self, user: httpx.AsyncClient) -> None:
        body = await call(user, "SwitchOrg", data={"OrgNumber": "200"})
        assert body["Result"]["ResponseStatus"]["IsSuccess"]
        assert status((await call(user, "SwitchOrg", data={"OrgNumber": "999"}))["Result"])[0] == 10


class TestPeople:
    async def test_an_edit_of_an_audited_order_ends_audited(
        self, shop: httpx.AsyncClient, sim: KingdeeSimulator
    ) -> None:
        made = await save(shop, "SAL_SaleOrder", order(), IsAutoSubmitAndAudit=True)
        await sim.change({"op": "update", "object": "SAL_SaleOrder", "id": str(made["Id"]), "fields": {"FNote": "急"}})
        assert await query(shop, "SAL_SaleOrder", "FNote,FDocumentStatus") == [["急", "C"]]
        assert sim.journal[-1].actor == "person"

    async def test_nonsense_is_refused_in_words(self, shop: httpx.AsyncClient, sim: KingdeeSimulator) -> None:
        for change in (
            {"op": "update", "object": "BD_Customer", "id": "1", "fields": {}},
            {"op": "create", "object": "Nope"},
            {"op": "create", "object": "BD_Customer", "fields": {"FName": None}},
        ):
            with pytest.raises(ValueError, match=r"\w"):
                await sim.change(change)
