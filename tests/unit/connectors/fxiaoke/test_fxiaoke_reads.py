"""The connector's reads against the simulator: windows, scans, absence, keys, tables, schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.crm.fxiaoke.connector import FxiaokeConnector
from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.crm.fxiaoke.simulator_tenant import Rights
from hub.connector.contract import Cursor, GetKind, ReadRequest
from hub.domain.errors import CredentialsRefused, NotFound, QuotaSpent, VendorError
from hub.domain.record import Change
from hub.domain.schema import FieldType, Wire

Make = Callable[..., FxiaokeConnector]
TABLE = "SalesOrderProductObj"


async def drain(
    connector: FxiaokeConnector, request: ReadRequest, cursor: Cursor | None = None
) -> tuple[list[Change], Cursor]:
    changes: list[Change] = []
    for _ in range(100):
        page = await connector.read(request, cursor)
        changes += page.changes
        cursor = page.cursor
        if not page.more:
            return changes, cursor
    raise AssertionError("the read does not end")


async def seed(simulator: FxiaokeSimulator, count: int, object: str = "AccountObj", **fields: Any) -> list[str]:
    records = [{"_id": f"{n + 1:024x}", "name": f"客户{n}", **fields} for n in range(count)]
    await simulator.bulk(object, records)
    return [record["_id"] for record in records]


async def test_windows_follow_each_other_without_a_gap(make: Make, simulator: FxiaokeSimulator) -> None:
    connector = make(page_size=3, overlap=0)
    ids = await seed(simulator, 7)
    simulator.clock.advance(10)
    request = ReadRequest("AccountObj", fields=frozenset({"name"}))
    first, cursor = await drain(connector, request)
    assert [change.record.id for change in first] == ids
    edited = {"op": "update", "object": "AccountObj", "id": ids[4], "fields": {"name": "新名"}}
    await simulator.change(edited)
    too_young = await connector.read(request, cursor)
    assert too_young.changes == []
    simulator.clock.advance(10)
    second, _ = await drain(connector, request, too_young.cursor)
    assert [(change.record.id, change.record.fields["name"]) for change in second] == [(ids[4], "新名")]
    assert second[0].record.version == 2


async def test_the_overlap_reads_again_what_was_committed_late(make: Make, simulator: FxiaokeSimulator) -> None:
    connector = make(overlap=60)
    request = ReadRequest("AccountObj", fields=frozenset({"name"}))
    await seed(simulator, 1)
    simulator.clock.advance(100)
    _, cursor = await drain(connector, request)
    # A long transaction: stamped before the last window's end, visible only now.
    late = {"_id": "f" * 24, "name": "迟到", "last_modified_time": simulator.clock.now() - 40_000}
    await simulator.bulk("AccountObj", [late])
    simulator.clock.advance(10)
    changes, _ = await drain(connector, request, cursor)
    assert [change.record.id for change in changes] == ["f" * 24]


async def test_a_record_that_moves_during_a_window_is_in_the_next(make: Make, simulator: FxiaokeSimulator) -> None:
    connector = make(page_size=2, overlap=0, lag=0)
    ids = await seed(simulator, 4)
    simulator.clock.advance(10)
    request = ReadRequest("AccountObj", fields=frozenset({"name"}))
    page = await connector.read(request, None)
    simulator.clock.advance(1)
    await simulator.change({"op": "update", "object": "AccountObj", "id": ids[3], "fields": {"name": "动"}})
    rest, cursor = await drain(connector, request, page.cursor)
    assert [change.record.id for change in rest] == [ids[2]]
    simulator.clock.advance(10)
    later, _ = await drain(connector, request, cursor)
    assert [change.record.id for change in later] == [ids[3]]


async def test_a_scan_says_complete_only_at_its_end(make: Make, simulator: FxiaokeSimulator) -> None:
    connector = make(page_size=2)
    ids = await seed(simulator, 4)
    request = ReadRequest("AccountObj", fields=frozenset({"name"}), full=True)
    pages, cursor = [], None
    while not pages or pages[-1].more:
        pages.append(await connector.read(request, cursor))
        cursor = pages[-1].cursor
    assert [page.complete for page in pages] == [False, False, True]
    assert [change.record.id for page in pages for change in page.changes] == ids


async def test_whole_records_have_every_field_and_no_derived_key(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    (answer,) = await connector.get("SalesOrderObj", [order["order"]])
    schema = await connector.describe("SalesOrderObj")
    assert answer.record is not None
    fields = answer.record.fields
    assert set(fields) == set(schema.fields)
    assert fields["order_amount"] == "24.00"
    assert fields["receivable_amount"] == "24.00"
    assert fields["delivery_date"] is None
    assert fields["order_time"] == 1_767_110_400_000
    assert fields["owner"] == ["1001"]
    assert fields["owner_department_id"] == "1001"
    lines = fields[TABLE]
    assert isinstance(lines, list)
    assert [line["_id"] for line in lines if isinstance(line, dict)] == order["lines"]
    assert set(lines[0]) == set(schema.fields[TABLE].rows or {})  # type: ignore[arg-type]


async def test_empty_texts_of_old_tenants_are_null(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    simulator.tenant.switches.empty_as_text = True
    (answer,) = await connector.get("AccountObj", [order["account"]], frozenset({"remark", "credit_limit__c"}))
    assert answer.record is not None
    assert answer.record.fields["remark"] is None
    assert answer.record.fields["credit_limit__c"] is None


async def test_live_fields_are_worked_out_only_for_who_asks(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    await connector.describe("SalesOrderObj")
    for fields, op in (({"order_amount"}, "findSimple"), ({"order_amount", "payment_amount"}, "query")):
        simulator.counts.clear()
        await connector.read(ReadRequest("SalesOrderObj", fields=frozenset(fields), full=True), None)
        assert simulator.counts[op] == 1
        assert sum(simulator.counts.values()) == 1


async def test_tables_of_many_masters_take_one_query(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    line = {"product_id": order["products"][0], "quantity": "1"}
    records = [
        {"_id": f"{n + 1:024x}", "account_id": order["account"], "details": {TABLE: [line, line]}} for n in range(90)
    ]
    await simulator.bulk("SalesOrderObj", records)
    await connector.describe("SalesOrderObj")
    simulator.counts.clear()
    found = await connector.get("SalesOrderObj", [record["_id"] for record in records], frozenset({TABLE}))
    assert all(answer.record is not None and len(answer.record.fields[TABLE]) == 2 for answer in found)  # type: ignore[arg-type]
    assert sum(simulator.counts.values()) == 3  # the orders, and two pages of 180 lines


async def test_children_come_in_the_order_of_the_rows(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    first, second = order["lines"]
    await simulator.change({"op": "update", "object": TABLE, "id": first, "fields": {"order_by": "10"}})
    found = await connector.children(TABLE, "order_id", [order["order"], "nobody"], frozenset({"quantity"}))
    assert [record.id for record in found[order["order"]]] == [second, first]
    assert found["nobody"] == []


async def test_get_tells_gone_hidden_and_unclear_apart(
    make: Make, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    simulator.tenant.rights["1000"] = Rights(records={order["account"]})
    ids = [order["account"], "c" * 24]
    kinds = [answer.kind for answer in await make().get("AccountObj", ids)]
    assert kinds == [GetKind.CANT_TELL, GetKind.GONE]
    told = make(errors=[{"code": 3200111, "kind": "not_executed"}])
    assert [answer.kind for answer in await told.get("AccountObj", ids)] == [GetKind.NO_RIGHTS, GetKind.GONE]
    unlearned = make(learn_missing=False)
    assert [answer.kind for answer in await unlearned.get("AccountObj", ids)] == [GetKind.CANT_TELL] * 2
    configured = make(learn_missing=False, errors=[{"code": 3200110, "kind": "gone"}])
    assert [answer.kind for answer in await configured.get("AccountObj", ids)] == [GetKind.CANT_TELL, GetKind.GONE]


async def test_the_code_for_missing_is_asked_for_once(connector: FxiaokeConnector, simulator: FxiaokeSimulator) -> None:
    await connector.describe("AccountObj")
    simulator.counts.clear()
    for _ in range(3):
        await connector.get("AccountObj", ["c" * 24])
    assert simulator.counts["get"] == 4


async def test_find_asks_in_lists_and_compares_again(connector: FxiaokeConnector, simulator: FxiaokeSimulator) -> None:
    await seed(simulator, 3, tax_no__c="91420100MA4K")
    await simulator.bulk("AccountObj", [{"_id": "d" * 24, "name": "丁", "tax_no__c": "T-1", "credit_limit__c": "5"}])
    await connector.describe("AccountObj")
    simulator.counts.clear()
    keys: list[dict[str, Any]] = [
        {"tax_no__c": "91420100MA4K"}, {"tax_no__c": "T-1"}, {"tax_no__c": "91420100ma4k"}, {"tax_no__c": ""}, {},
        {"tax_no__c": "T-1", "name": "丁"}, {"tax_no__c": "T-1", "name": "戊"}, {"credit_limit__c": "5.000"},
    ]  # fmt: skip
    answers = await connector.find("AccountObj", keys, frozenset({"name"}))
    assert [len(answer.records) for answer in answers] == [3, 1, 0, 0, 0, 1, 0, 1]
    assert simulator.counts["findSimple"] == 4
    assert not any(answer.cant_tell for answer in answers)


async def test_find_pages_through_more_than_a_page_of_hits(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator
) -> None:
    await seed(simulator, 230, tax_no__c="T")
    (answer,) = await connector.find("AccountObj", [{"tax_no__c": "T"}], frozenset({"name"}))
    assert len({record.id for record in answer.records}) == 230


async def test_live_schema_has_the_tenants_fields_and_the_catalogues_facts(connector: FxiaokeConnector) -> None:
    schema = await connector.describe("SalesOrderObj")
    assert (schema.origin, schema.id_field, schema.number_field) == ("live", "_id", "name")
    assert schema.fields["account_id"].reference == "AccountObj"
    assert (schema.fields["owner"].reference, schema.fields["owner"].many) == ("PersonnelObj", True)
    assert schema.fields["name"].computed
    assert schema.fields["payment_amount"].computed
    assert (schema.fields["order_time"].wire, schema.fields["order_time"].tz) == (Wire.EPOCH_MS, "Asia/Shanghai")
    assert schema.capabilities.stamp_field == "hub_key__c"
    assert frozenset({"mc_currency", "mc_exchange_rate"}) in schema.facts.together
    table = schema.fields[TABLE]
    assert (table.type, table.row_key, table.row_object) == (FieldType.ROWS, "_id", TABLE)
    detail = await connector.describe(TABLE)
    assert (detail.master, detail.master_field) == ("SalesOrderObj", "order_id")


async def test_a_field_that_the_tenant_lacks_is_not_in_the_schema(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator
) -> None:
    del simulator.tenant.objects["ProductObj"].fields["hub_key__c"]
    schema = await connector.describe("ProductObj")
    assert "hub_key__c" not in schema.fields
    assert schema.capabilities.stamp_field is None


async def test_the_catalogue_stands_in_where_describe_refuses(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator
) -> None:
    simulator.tenant.rights["1000"] = Rights(objects={"SalesOrderObj"})
    schema = await connector.describe("SalesOrderObj")
    assert schema.origin == "catalogue"
    assert TABLE in schema.fields


async def test_an_unknown_object_is_named_with_what_is_near(connector: FxiaokeConnector) -> None:
    with pytest.raises(NotFound) as caught:
        await connector.describe("SalesOrderObject")
    assert "SalesOrderObj" in str(caught.value.hint)


async def test_a_spent_day_pauses_reads(connector: FxiaokeConnector, simulator: FxiaokeSimulator) -> None:
    await connector.describe("AccountObj")
    simulator.gate.limits.day_pack = 1
    with pytest.raises(QuotaSpent) as caught:
        await connector.read(ReadRequest("AccountObj", full=True), None)
    assert (caught.value.resumes_at + 8 * 3_600_000) % 86_400_000 == 0


async def test_no_pack_is_said_in_words(connector: FxiaokeConnector, simulator: FxiaokeSimulator) -> None:
    await connector.describe("AccountObj")
    simulator.gate.limits.day_pack = None
    with pytest.raises(CredentialsRefused) as caught:
        await connector.read(ReadRequest("AccountObj", full=True), None)
    assert "quota pack" in str(caught.value.hint)


async def test_a_refused_list_is_an_error_and_never_an_empty_page(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator
) -> None:
    simulator.tenant.rights["1000"] = Rights(objects={"AccountObj"})
    with pytest.raises(VendorError, match="没有查看列表权限"):
        await connector.read(ReadRequest("AccountObj", full=True), None)


async def test_check_names_what_is_missing(make: Make, simulator: FxiaokeSimulator) -> None:
    assert [finding for finding in await make().check() if not finding.ok] == []
    del simulator.tenant.objects["ProductObj"].fields["hub_key__c"]
    simulator.tenant.rights["1000"] = Rights(objects={"PaymentObj"})
    simulator.tenant.switches.personnel_shared = True
    bad = [finding for finding in await make(user_id="1000", aes_key=None).check() if not finding.ok]
    assert len(bad) == 3
    assert all(finding.hint for finding in bad)
    said = " ".join(finding.what for finding in bad)
    assert "ProductObj has no field hub_key__c" in said
    assert "PaymentObj" in said


async def test_check_of_an_unknown_employee(make: Make) -> None:
    bad = [finding for finding in await make(user_id="4711").check() if not finding.ok]
    assert any("4711" in finding.what or "openUserId" in finding.what for finding in bad)


async def test_both_styles_reach_the_same_enterprise_and_say_the_same(
    make: Make, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    header, legacy = make(), make(auth="body")
    assert await header.fingerprint() == await legacy.fingerprint() == simulator.account.corp_id
    (one,) = await header.get("SalesOrderObj", [order["order"]])
    (other,) = await legacy.get("SalesOrderObj", [order["order"]])
    assert one.record is not None
    assert other.record is not None
    assert one.record.fields == other.record.fields
