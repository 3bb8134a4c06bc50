"""The simulator against the checklist of the vendor sheet (its section 8), asked by a client that is not ours.

Each test names the row that it proves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import httpx
import pytest

from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.crm.fxiaoke.simulator_tenant import Rights

Answer = dict[str, Any]


class Stranger(Protocol):
    """The fixture of conftest.py, as far as it is used here."""

    http: httpx.AsyncClient
    user: str
    token: str | None
    create: Callable[..., Awaitable[Answer]]
    update: Callable[..., Awaitable[Answer]]
    get: Callable[..., Awaitable[Answer]]
    query: Callable[..., Awaitable[Answer]]
    ids: Callable[..., Awaitable[list[str]]]
    call: Callable[..., Awaitable[Answer]]
    log_in: Callable[[], Awaitable[Answer]]
    post: Callable[..., Awaitable[httpx.Response]]


async def account(stranger: Stranger, **fields: Any) -> str:
    made = await stranger.create("AccountObj", {"name": "甲", **fields})
    assert made["errorCode"] == 0
    return str(made["dataId"])


async def test_row_1_always_200_and_unknown_paths(stranger: Stranger) -> None:
    answer = await stranger.post("/cgi/crm/v9/nothing", {})
    assert answer.status_code == 200
    assert answer.json()["errorCode"] == 10006
    assert answer.json()["errorMessage"] == "the request uri=[/cgi/crm/v9/nothing], apiName=[null] is not exists"
    assert set(answer.json()) >= {"errorCode", "errorMessage", "errorDescription", "traceId"}


async def test_row_2_credentials_of_both_styles(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    path, body = "/cgi/crm/v2/object/list", {}
    assert (await stranger.post(path, body)).json()["errorCode"] == 20017
    assert (await stranger.post(path, {"corpAccessToken": "x", "corpId": "y"})).json()["errorCode"] == 20016
    bad = await stranger.call(path, body, authorization="Bearer nonsense")
    assert bad["errorMessage"] == "the cropId,cropAccessToken or authorization is error"
    assert (await stranger.call(path, body))["errorCode"] == 0
    given = simulator.account
    credentials = {"appId": given.app_id, "appSecret": given.app_secret, "permanentCode": given.permanent_code}
    legacy = (await stranger.post("/cgi/corpAccessToken/get/V2", credentials)).json()
    corp = {"corpAccessToken": legacy["corpAccessToken"], "corpId": legacy["corpId"]}
    people = (await stranger.post("/cgi/user/getByMobile", {**corp, "mobile": "+86-13800001001"})).json()["empList"]
    listed = await stranger.post(path, {**corp, "currentOpenUserId": people[0]["openUserId"]})
    assert listed.json()["errorCode"] == 0
    assert (await stranger.post(path, corp)).json()["errorMessage"] == "currentOpenUserId 不能为空"
    wrong = (
        await stranger.post("/oauth2.0/token", {**credentials, "appSecret": "x", "grantType": "app_secret"})
    ).json()
    assert wrong["errorCode"] == 10006
    assert wrong["errorMessage"] == "the parameter appSecret is missing or illegal"
    assert wrong["error"] == "非法请求"


async def test_row_3_life_cycle_of_tokens(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    path = "/cgi/crm/v2/object/list"
    first = await stranger.log_in()
    simulator.clock.advance(6_590)
    again = await stranger.log_in()
    assert again["accessToken"] == first["accessToken"]
    assert 600 <= again["expiresIn"] <= 610
    simulator.clock.advance(20)
    new = await stranger.log_in()
    assert new["accessToken"] != first["accessToken"]
    for token in (first, new):
        assert (await stranger.call(path, {}, authorization=f"Bearer {token['accessToken']}"))["errorCode"] == 0
    simulator.clock.advance(600)
    old = await stranger.call(path, {}, authorization=f"Bearer {first['accessToken']}")
    assert old["errorCode"] == 20016
    assert (await stranger.call(path, {}, authorization=f"Bearer {new['accessToken']}"))["errorCode"] == 0


async def test_row_3_more_than_ten_logins_a_minute(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    simulator.gate.limits.token_code = 4711
    answers = [(await stranger.log_in())["errorCode"] for _ in range(11)]
    assert answers == [0] * 10 + [4711]
    simulator.clock.advance(61)
    assert (await stranger.log_in())["errorCode"] == 0


async def test_row_4_the_clock_moves_by_the_side_door(stranger: Stranger) -> None:
    await stranger.log_in()
    await stranger.post("/_sim/clock", {"advance": 7300})
    assert (await stranger.call("/cgi/crm/v2/object/list", {}))["errorCode"] == 20016


async def test_row_5_trace_ids(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    await stranger.call("/cgi/crm/v2/object/list", {})
    assert simulator.traces[-1] == "t"
    headers = {"authorization": f"Bearer {stranger.token}", "x-fs-ea": "demoea", "x-fs-userid": "1000"}
    untraced = "/cgi/crm/v2/object/list"
    assert (await stranger.post(untraced, {}, headers=headers)).json()["errorCode"] == 0
    simulator.tenant.switches.strict_trace = True
    assert (await stranger.post(untraced, {}, headers=headers)).json()["errorCode"] != 0


async def test_row_6_rights_are_those_of_the_acting_employee(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    id = await account(stranger)
    simulator.tenant.rights["1001"] = Rights(records={id})
    simulator.codes["no_right"] = 777
    stranger.user = "1001"
    refused = await stranger.get("AccountObj", id)
    assert (refused["errorCode"], refused["errorMessage"]) == (777, "无此操作的数据权限")
    assert await stranger.ids("AccountObj") == []
    stranger.user = "1000"
    assert await stranger.ids("AccountObj") == [id]
    stranger.user = "4711"
    assert (await stranger.query("AccountObj"))["errorCode"] == 20012


async def test_row_7_employee_ids_in_both_forms(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    id = await account(stranger)
    assert (await stranger.get("AccountObj", id))["data"]["owner"] == ["1001"]
    (open_id,) = (await stranger.get("AccountObj", id, convertUserId=True))["data"]["owner"]
    assert open_id.startswith("FSUID_")
    assert len(open_id) == 38
    found = await stranger.query("AccountObj", ("owner", "IN", [open_id]), top={"convertUserId": True})
    assert len(found["data"]["dataList"]) == 1
    assert await stranger.ids("AccountObj", ("owner", "IN", ["1001"])) == [id]


async def test_row_8_paging_rules(stranger: Stranger) -> None:
    for info, code in (({"limit": 101}, 32000), ({"limit": 50, "offset": 60}, 32000), ({"offset": 10_100}, 10013)):
        assert (await stranger.query("AccountObj", **info))["errorCode"] == code
    over = await stranger.query("AccountObj", offset=10_100)
    assert over["errorMessage"] == "offset out of range 10000"
    assert over["errorDescription"] == "offset 不能超过10000"
    assert (await stranger.query("AccountObj", offset=10_000))["errorCode"] == 0


@pytest.mark.parametrize(
    ("field", "operator", "values", "expected"),
    [
        ("name", "EQ", ["乙"], "b"),
        ("name", "N", ["乙"], "acd"),
        ("remark", "N", ["x"], "bcd"),
        ("credit_limit__c", "GT", ["9"], "c"),
        ("credit_limit__c", "GTE", ["9"], "bc"),
        ("credit_limit__c", "LT", ["9.00"], "a"),
        ("credit_limit__c", "LTE", ["10"], "abc"),
        ("credit_limit__c", "BETWEEN", ["8", "9"], "ab"),
        ("credit_limit__c", "NBETWEEN", ["8", "9"], "cd"),
        ("name", "LIKE", ["甲"], "a"),
        ("name", "NLIKE", ["甲"], "bcd"),
        ("tel", "STARTWITH", ["02"], "ab"),
        ("tel", "ENDWITH", ["99"], "b"),
        ("tel", "IN", ["0100", "0299"], "ab"),
        ("tel", "NIN", ["0100", "0299"], "cd"),
        ("tel", "IS", [""], "d"),
        ("tel", "ISN", [""], "abc"),
        ("owner", "CONTAINS", ["1002"], "b"),
        ("owner", "HASANYOF", ["1002", "1003"], "bc"),
        ("owner", "NHASANYOF", ["1002", "1003"], "ad"),
        ("owner", "IN", ["1001"], "ad"),
        ("_id", "GT", ["b" * 24], "cd"),
        ("account_level", "EQ", ["2"], "a"),
    ],
)
async def test_row_9_operators(
    stranger: Stranger, simulator: FxiaokeSimulator, field: str, operator: str, values: list[str], expected: str
) -> None:
    rows = [
        {"_id": "a" * 24, "name": "甲", "credit_limit__c": "8", "tel": "0200", "owner": ["1001"], "remark": "x"},
        {"_id": "b" * 24, "name": "乙", "credit_limit__c": "9", "tel": "0299", "owner": ["1002"]},
        {"_id": "c" * 24, "name": "丙", "credit_limit__c": "10", "tel": "0100", "owner": ["1003"]},
        {"_id": "d" * 24, "name": "丁", "owner": ["1001"]},
    ]
    rows[0]["account_level"] = "2"
    if operator in {"IN", "NIN"} and field == "tel":
        rows[0]["tel"] = "0100"
        rows[2]["tel"] = "0500"
    await simulator.bulk("AccountObj", rows)
    found = await stranger.ids("AccountObj", (field, operator, values))
    assert "".join(id[0] for id in found) == expected


async def test_row_9_filters_are_joined_by_and_and_bad_ones_refused(stranger: Stranger) -> None:
    first, second = await account(stranger, tel="1"), await account(stranger, tel="2")
    assert await stranger.ids("AccountObj", ("name", "EQ", ["甲"]), ("tel", "EQ", ["2"])) == [second]
    assert await stranger.ids("AccountObj", orders=[{"fieldName": "tel", "isAsc": False}]) == [second, first]
    for operator in ("NE", "NEQ"):
        assert (await stranger.query("AccountObj", ("name", operator, ["甲"])))["errorCode"] == 32000


async def test_row_10_totals_only_when_asked(stranger: Stranger) -> None:
    await account(stranger)
    data = {"dataObjectApiName": "AccountObj", "search_query_info": {"limit": 10, "offset": 0}}
    path = "/cgi/crm/v2/data/query"
    asked: list[tuple[dict[str, Any], dict[str, Any], int]] = [
        ({}, {}, 0),
        ({}, {"find_explicit_total_num": True}, 1),
        ({"returnTotalNum": 1}, {}, 1),
        ({"returnTotalNum": 3}, {}, 0),
        ({"need_return_count_num": True}, {}, 1),
    ]
    for top, more, total in asked:
        assert (await stranger.call(path, {**top, "data": {**data, **more}}))["data"]["total"] == total


async def test_row_11_nulls_and_derived_keys(stranger: Stranger, order: dict[str, Any]) -> None:
    found = (await stranger.get("SalesOrderObj", order["order"]))["data"]
    assert "delivery_date" not in found
    assert found["account_id__r"] == "武汉机械厂"
    assert found["account_id__relation_ids"] == order["account"]
    assert found["owner__r"]["name"] == "张伟"
    assert found["owner__l"][0]["id"] == "1001"
    whole = (await stranger.get("SalesOrderObj", order["order"], includeNull=True))["data"]
    assert whole["delivery_date"] is None


async def test_row_12_numbers_are_texts_of_the_declared_places(stranger: Stranger) -> None:
    id = await account(stranger, credit_limit__c=12.345)
    assert (await stranger.get("AccountObj", id))["data"]["credit_limit__c"] == "12.35"


async def test_row_13_create_with_details(
    stranger: Stranger, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    lines = [{"product_id": order["products"][0], "quantity": "3"}]
    fields = {"account_id": order["account"], "order_time": 1_767_110_400_000}
    details = {"SalesOrderProductObj": lines}
    made = await stranger.create("SalesOrderObj", fields, details=details, top={"includeDetailIds": True})
    record = (await stranger.get("SalesOrderObj", made["dataId"]))["data"]
    assert (record["version"], record["create_time"]) == ("1", record["last_modified_time"])
    assert abs(record["create_time"] - simulator.clock.now()) < 5000
    (row,) = (await stranger.query("SalesOrderProductObj", ("order_id", "EQ", [made["dataId"]])))["data"]["dataList"]
    assert row["quantity"] == "3.0000"
    await stranger.update("SalesOrderObj", made["dataId"], {"remark": "x"})
    assert (await stranger.get("SalesOrderObj", made["dataId"]))["data"]["version"] == "2"


async def test_row_13_a_bad_detail_takes_the_master_with_it(
    stranger: Stranger, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    before = len(simulator.journal)
    fields = {"account_id": order["account"], "order_time": 1_767_110_400_000}
    details = {"SalesOrderProductObj": [{"product_id": "nothing", "quantity": "3"}]}
    assert (await stranger.create("SalesOrderObj", fields, details=details))["errorCode"] == 3200105
    assert len(simulator.journal) == before


async def test_row_14_own_times_only_by_flag(stranger: Stranger) -> None:
    given = {"name": "甲", "create_time": 1000, "created_by": ["1002"]}
    plain = (await stranger.create("AccountObj", given))["dataId"]
    record = (await stranger.get("AccountObj", plain))["data"]
    assert record["create_time"] != 1000
    assert record["created_by"] == ["1000"]
    flags = {"hasSpecifyTime": True, "hasSpecifyCreatedBy": True}
    own = (await stranger.create("AccountObj", given, top=flags))["dataId"]
    record = (await stranger.get("AccountObj", own))["data"]
    assert (record["create_time"], record["created_by"]) == (1000, ["1002"])


async def test_row_15_triggers_are_on_unless_switched_off(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    id = await account(stranger)
    assert [run["dataId"] for run in simulator.tenant.workflow_runs] == [id]
    listed = await stranger.call("/cgi/crm/object/approvalInstances/query", {"dataId": id})
    assert listed["instances"][0]["triggerType"] == "Create"
    await stranger.create("AccountObj", {"name": "乙"}, top={"triggerApprovalFlow": False, "triggerWorkFlow": False})
    assert (len(simulator.tenant.approvals), len(simulator.tenant.workflow_runs)) == (1, 1)


async def test_row_16_owners_change_by_their_own_call(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    id = await account(stranger)
    assert (await stranger.update("AccountObj", id, {"owner": ["1002"]}))["errorCode"] == 0
    assert (await stranger.get("AccountObj", id))["data"]["owner"] == ["1001"]
    simulator.tenant.switches.refuse_owner_update = True
    assert (await stranger.update("AccountObj", id, {"owner": ["1002"]}))["errorCode"] == 3200113
    data = {"dataObjectApiName": "AccountObj", "Data": [{"objectDataId": id, "ownerId": ["1002"]}]}
    assert (await stranger.call("/cgi/crm/v2/data/changeOwner", {"data": data}))["errorCode"] == 0
    assert (await stranger.get("AccountObj", id))["data"]["owner"] == ["1002"]


async def test_row_17_invalidate_recover_delete(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    id = await account(stranger)
    base = {"dataObjectApiName": "AccountObj"}
    many = {"data": {**base, "idList": [id]}}
    assert (await stranger.call("/cgi/crm/v2/data/delete", many))["errorCode"] == 3200112
    invalid = {"data": {**base, "object_data_id": id}}
    assert (await stranger.call("/cgi/crm/v2/data/invalid", invalid))["errorCode"] == 0
    assert await stranger.ids("AccountObj") == []
    assert (await stranger.get("AccountObj", id))["data"]["life_status"] == "invalid"
    assert (await stranger.call("/cgi/crm/v2/data/recover", many))["errorCode"] == 0
    assert await stranger.ids("AccountObj") == [id]
    await stranger.call("/cgi/crm/v2/data/invalid", invalid)
    assert (await stranger.call("/cgi/crm/v2/data/delete", many))["errorCode"] == 0
    assert (await stranger.get("AccountObj", id))["errorCode"] == 3200110


async def test_row_18_locked_records(stranger: Stranger, order: dict[str, Any]) -> None:
    data = {"dataObjectApiName": "SalesOrderObj", "dataIds": [order["order"]], "detailObjStrategy": 1}
    assert (await stranger.call("/cgi/crm/v2/object/lock", {"data": data}))["errorCode"] == 0
    assert (await stranger.update("SalesOrderObj", order["order"], {"remark": "x"}))["errorCode"] == 3200108
    line = await stranger.update("SalesOrderProductObj", order["lines"][0], {"remark": "x"})
    assert line["errorCode"] == 3200108
    assert (await stranger.call("/cgi/crm/v2/object/unlock", {"data": data}))["errorCode"] == 0
    assert (await stranger.update("SalesOrderObj", order["order"], {"remark": "x"}))["errorCode"] == 0


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"name": ""}, "required"),
        ({"account_level": "9"}, "illegal_option"),
        ({"account_level": ["1"]}, "illegal_value"),
        ({"owner": "1001"}, "illegal_value"),
        ({"owner": ["4711"]}, "lookup_missing"),
        ({"credit_limit__c": "a lot"}, "illegal_value"),
        ({"name": "长" * 101}, "too_long"),
        ({"hub_key__c": "taken"}, "unique"),
    ],
)
async def test_row_19_validation_by_describe(
    stranger: Stranger, simulator: FxiaokeSimulator, fields: dict[str, Any], kind: str
) -> None:
    await account(stranger, hub_key__c="taken")
    before = len(simulator.journal)
    refused = await stranger.create("AccountObj", {"name": "乙", **fields})
    assert refused["errorCode"] == simulator.codes[kind]
    assert len(simulator.journal) == before


async def test_row_19_lookups_must_exist(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    refused = await stranger.create("ContactObj", {"name": "丙", "account_id": "nothing"})
    assert refused["errorCode"] == simulator.codes["lookup_missing"]


async def test_row_20_duplicate_rule(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    simulator.tenant.switches.duplicate_fields = {"AccountObj": ["tel"]}
    await account(stranger, tel="027")
    searched = {"optionInfo": {"isDuplicateSearch": True}}
    assert (await stranger.create("AccountObj", {"name": "乙", "tel": "027"}, **searched))["errorCode"] == 3200107
    assert (await stranger.create("AccountObj", {"name": "乙", "tel": "027"}))["errorCode"] == 0


async def test_row_21_limits(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    await stranger.log_in()
    path = "/cgi/crm/v2/object/list"
    answers = [(await stranger.call(path, {}))["errorCode"] for _ in range(101)]
    assert answers == [0] * 100 + [30004]
    assert (await stranger.call("/cgi/department/list", {}))["errorCode"] == 0  # another interface, another count
    simulator.clock.advance(20)
    assert (await stranger.call(path, {}))["errorCode"] == 0
    simulator.gate.limits.day_pack = 50
    assert (await stranger.call(path, {}))["errorCode"] == 30002
    simulator.clock.advance(86_400)
    await stranger.log_in()
    assert (await stranger.call(path, {}))["errorCode"] == 0
    simulator.gate.limits.day_pack = None
    assert (await stranger.call(path, {}))["errorCode"] == 30003


async def test_row_23_faults_in_the_vendors_words(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    await stranger.log_in()
    for code in (-1, 50009):
        simulator.failure_code = code
        await stranger.post("/_sim/faults", {"kind": "http_500"})
        assert (await stranger.call("/cgi/crm/v2/object/list", {}))["errorCode"] == code
    await stranger.post("/_sim/faults", {"kind": "throttle"})
    assert (await stranger.call("/cgi/crm/v2/object/list", {}))["errorCode"] == 30004
    away = await stranger.post("/cgi/crm/v2/object/list", {}, headers={"host": "www.fxiaoke.com"})
    assert away.status_code == 302
    assert away.text.startswith("<html>")


async def test_row_24_uploads_have_another_envelope(stranger: Stranger) -> None:
    asked = {
        "expireTime": 600,
        "resourceType": "TN",
        "isStreamUpload": True,
        "filename": "a",
        "extension": "pdf",
        "fileSize": 3,
    }
    credential = (await stranger.call("/cgi/crm/v2/generatorFileUploadCredential", {"data": asked}))["data"]
    headers = {
        key: credential[key] for key in ("acid", "resource", "ak", "sign", "expiry", "filename", "size", "digest")
    }
    answers = [(await stranger.http.post(credential["url"], content=b"abc", headers=headers)).json() for _ in range(2)]
    assert answers[0] == {"success": True, "code": 200, "message": "success", "data": credential["resource"]}
    assert (answers[1]["success"], answers[1]["code"]) == (False, 400)
    assert (await stranger.call("/cgi/crm/v2/generatorFileUploadCredential", {"data": {**asked, "fileSize": 0}}))[
        "errorCode"
    ]


async def test_wrong_nesting_ends_as_the_vendor_ends_it(stranger: Stranger, order: dict[str, Any]) -> None:
    body = {"data": {"data": {"_id": order["order"], "remark": "x"}, "dataObjectApiName": "SalesOrderObj"}}
    answer = await stranger.call("/cgi/crm/v2/data/update", body)
    assert answer["errorMessage"] == "java.lang.NullPointerException"


async def test_a_detail_alone_does_not_move_its_master(stranger: Stranger, order: dict[str, Any]) -> None:
    before = (await stranger.get("SalesOrderObj", order["order"]))["data"]
    await stranger.update("SalesOrderProductObj", order["lines"][0], {"quantity": "9"})
    after = (await stranger.get("SalesOrderObj", order["order"]))["data"]
    assert (after["version"], after["last_modified_time"]) == (before["version"], before["last_modified_time"])


async def test_details_on_update_replace_the_named_ones(stranger: Stranger, order: dict[str, Any]) -> None:
    kept = [{"_id": order["lines"][0], "dataObjectApiName": "SalesOrderProductObj", "quantity": "8"}]
    await stranger.update("SalesOrderObj", order["order"], {"remark": "x"}, details={"SalesOrderProductObj": kept})
    assert await stranger.ids("SalesOrderProductObj") == order["lines"][:1]


async def test_find_simple_does_not_work_out_live_fields(stranger: Stranger, order: dict[str, Any]) -> None:
    info = {"limit": 10, "offset": 0, "filters": []}
    data = {
        "dataObjectApiName": "SalesOrderObj",
        "search_query_info": info,
        "field_projection": ["_id", "payment_amount"],
    }
    simple = await stranger.call("/cgi/crm/custom/v2/data/findSimple", {"data": data})
    assert "payment_amount" not in simple["data"]["dataList"][0]
    (whole,) = (await stranger.query("SalesOrderObj"))["data"]["dataList"]
    assert whole["payment_amount"] == "0.00"
    one = await stranger.call("/cgi/crm/custom/v2/data/findOne", {"data": data})
    assert one["data"]["_id"] == order["order"]


async def test_describe_takes_its_name_in_both_places(stranger: Stranger) -> None:
    for body in ({"data": {"apiName": "ProductObj", "includeDetail": True}}, {"apiName": "ProductObj"}):
        shown = (await stranger.call("/cgi/crm/v2/object/describe", body))["data"]["describe"]
        assert shown["fields"]["price"]["type"] == "currency"
        assert {"label": "辆", "value": "18"} in shown["fields"]["unit"]["options"]


async def test_preset_objects_are_not_on_the_custom_path(stranger: Stranger) -> None:
    body = {"data": {"dataObjectApiName": "AccountObj", "objectDataId": "1"}}
    assert (await stranger.call("/cgi/crm/custom/v2/data/get", body))["errorCode"] == 3200115


async def test_bulk_seeds_thousands_quickly_and_quietly(stranger: Stranger, simulator: FxiaokeSimulator) -> None:
    records = [{"name": f"客户{n}", "credit_limit__c": n} for n in range(3000)]
    assert (await stranger.post("/_sim/bulk", {"object": "AccountObj", "records": records})).json() == {"count": 3000}
    assert len(simulator.table("AccountObj")) == 3000
    assert {entry.actor for entry in simulator.journal} == {"seed"}
    last = list(simulator.table("AccountObj"))[-1]
    assert last["credit_limit__c"] == "2999.00"
