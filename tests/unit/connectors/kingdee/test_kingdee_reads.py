"""Reading against the simulator: windows, the second watermark, tables, organisations, exact keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.erp.kingdee.connector import KingdeeConnector
from connectors.erp.kingdee.simulator import KingdeeSimulator
from connectors.erp.kingdee.simulator_store import Refused
from hub.connector.contract import Cursor, GetKind, ReadRequest
from hub.connector.faults import Fault, FaultKind
from hub.domain.errors import CredentialsRefused, InvalidInput, NotFound, VendorError
from hub.domain.record import Record
from hub.domain.schema import FieldType

Connect = Callable[..., KingdeeConnector]
ORG = {"FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100"}
ORDER = {
    "FDate": "2024-05-06",
    "FSaleOrgId.FNumber": "100",
    "FCustId.FNumber": "C001",
    "FBillTypeID.FNumber": "XSDD01_SYS",
}


def entry(material: str = "M001", **more: Any) -> dict[str, Any]:
    return {"FMaterialId.FNumber": material, "FUnitID.FNumber": "Pcs", "FQty": "1", "FTaxPrice": "10", **more}


async def read(
    erp: KingdeeConnector, object: str, cursor: Cursor | None = None, **how: Any
) -> tuple[list[Record], Cursor]:
    records: list[Record] = []
    while True:
        page = await erp.read(ReadRequest(object, **how), cursor)
        cursor = page.cursor
        records += [change.record for change in page.changes]
        if not page.more:
            return records, cursor


async def test_bills_are_never_cut_by_a_page(stock: KingdeeSimulator, connect: Connect) -> None:
    await stock.bulk(
        "SAL_SaleOrder", [{**ORDER, "FSaleOrderEntry": [entry(F_HUB_ROW=str(at)) for at in range(n)]} for n in range(7)]
    )
    records, _ = await read(connect(page_size=2), "SAL_SaleOrder", full=True)
    rows = [record.fields["FSaleOrderEntry"] for record in records]
    assert [[row["F_HUB_ROW"] for row in each] for each in rows] == [[str(at) for at in range(n)] for n in range(7)]  # type: ignore[union-attr,call-overload,index]


async def test_several_tables_make_no_cross_product(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    receipt = {
        "FDATE": "2024-05-06",
        "FPAYORGID.FNumber": "100",
        "FCURRENCYID.FNumber": "PRE001",
        "FCONTACTUNITTYPE": "BD_Customer",
        "FCONTACTUNIT.FNumber": "C001",
        "FRECEIVEBILLENTRY": [{"FRECTOTALAMOUNTFOR": "100"}, {"FRECTOTALAMOUNTFOR": "50.5"}],
        "FRECEIVEBILLSRCENTRY": [{"FSRCBILLNO": f"XSDD{n}", "FREALRECAMOUNTFOR_S": "1"} for n in range(3)],
    }
    await stock.bulk("AR_RECEIVEBILL", [receipt])
    (record,), _ = await read(erp, "AR_RECEIVEBILL", full=True)
    assert record.fields["FRECAMOUNTFOR"] == "150.50"
    assert len(record.fields["FRECEIVEBILLENTRY"]) == 2  # type: ignore[arg-type]
    assert [row["FSRCBILLNO"] for row in record.fields["FRECEIVEBILLSRCENTRY"]] == ["XSDD0", "XSDD1", "XSDD2"]  # type: ignore[union-attr,call-overload,index]


async def test_an_audit_alone_is_seen_by_the_second_watermark(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    made = await stock.change(
        {
            "op": "create",
            "object": "SAL_SaleOrder",
            "fields": {**ORDER, "FSaleOrderEntry": [entry()], "FDocumentStatus": "B"},
        }
    )
    stock.clock.advance(3600)
    _, cursor = await read(erp, "SAL_SaleOrder")
    stock.clock.advance(3600)
    await stock.change({"op": "operation", "operation": "Audit", "object": "SAL_SaleOrder", "id": made["id"]})
    (record,), cursor = await read(erp, "SAL_SaleOrder", cursor)
    assert (record.id, record.fields["FDocumentStatus"]) == (made["id"], "C")
    stock.clock.advance(3600)
    _, cursor = await read(erp, "SAL_SaleOrder", cursor)
    assert (await read(erp, "SAL_SaleOrder", cursor))[0] == []


async def test_a_late_stamp_is_caught_by_the_overlap(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    _, cursor = await read(erp, "BD_Customer")
    stock.faults.arm(Fault(kind=FaultKind.LATE_STAMP, seconds=300))
    await stock.change({"op": "update", "object": "BD_Customer", "id": "501", "fields": {"FADDRESS": "新地址"}})
    records, _ = await read(erp, "BD_Customer", cursor)
    assert [record.fields["FADDRESS"] for record in records] == ["新地址"]


@pytest.mark.parametrize("what", ["edited", "deleted"])
async def test_a_bill_that_changes_between_its_head_and_its_rows(
    stock: KingdeeSimulator, connect: Connect, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Reader asks for a page of heads; a person saves (or deletes) the last of them; reader asks for the rows.

    The record must not be a head of before with rows of after, and the next page must begin where the page ended, not
    where the record stands by now: those between would be lost.
    """
    ids = [str(900 + n) for n in range(6)]
    for id in ids:
        await stock.bulk("SAL_SaleOrder", [{"FID": int(id), **ORDER, "FSaleOrderEntry": [entry()]}])
        stock.clock.advance(1)
    stock.clock.advance(60)
    original = stock._execute_bill_query
    changed: list[Any] = []

    def query(session: Any, arguments: list[Any]) -> Any:
        if "FSaleOrderEntry_FEntryID" in arguments[0]["FieldKeys"] and not changed:
            form = stock.store.form("SAL_SaleOrder")
            row = stock.table("SAL_SaleOrder").get("901") or {}
            changed.append(row)
            if what == "deleted":
                stock.store.remove(form, row, actor="person")
            else:
                after = {**row, "FNote": "new", "FModifyDate": stock.store.moment()}
                stock.store.put("update", form, after, actor="person")
        return original(session, arguments)

    monkeypatch.setitem(stock._methods, "executebillquery", ("ExecuteBillQuery", query))
    records, _ = await read(connect(page_size=2), "SAL_SaleOrder")
    assert changed
    seen = {record.id: record.fields["FNote"] for record in records}
    assert sorted(seen) == (ids if what == "edited" else [id for id in ids if id != "901"])
    if what == "edited":
        assert [record.fields["FNote"] for record in records if record.id == "901"] == ["new", "new"]


async def test_base_data_of_another_organisation_is_not_ours(stock: KingdeeSimulator, connect: Connect) -> None:
    theirs = {"FCreateOrgId.FNumber": "200", "FUseOrgId.FNumber": "200"}
    await stock.bulk("BD_Customer", [{"FNumber": "C001", "FName": "别家", **theirs}])
    mine, _ = await read(connect(), "BD_Customer", full=True)
    everybody, _ = await read(connect(org_num="0"), "BD_Customer", full=True)
    assert [record.id for record in mine] == ["501"]
    assert len(everybody) == 2


async def test_settings_filter_what_is_read(stock: KingdeeSimulator, connect: Connect) -> None:
    await stock.bulk(
        "BD_Customer",
        [{"FNumber": f"X{at}", "FName": "x", "FDocumentStatus": state, **ORG} for at, state in enumerate("AC")],
    )
    audited, _ = await read(connect(read_status=["C"]), "BD_Customer", full=True)
    filtered, _ = await read(connect(filters={"BD_Customer": "FNumber like 'X%'"}), "BD_Customer", full=True)
    assert [record.fields["FNumber"] for record in audited] == ["C001", "X1"]
    assert [record.fields["FNumber"] for record in filtered] == ["X0", "X1"]


async def test_find_asks_in_lists_and_matches_exactly(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    await stock.bulk("BD_Customer", [{"FNumber": "c001x", "FName": "O'Brien", **ORG}])
    await erp.describe("BD_Customer")
    before = stock.counts["ExecuteBillQuery"]
    names = frozenset({"FName"})
    answers = await erp.find("BD_Customer", [{"FNumber": "C001"}, {"FNumber": "C001X"}, {"FNumber": "c001x"}], names)
    assert [record.id for record in answers[0].records] == ["501"]
    assert [len(answer.records) for answer in answers] == [1, 0, 1], "the server's collation takes C001X for c001x"
    assert stock.counts["ExecuteBillQuery"] == before + 1
    quoted, several = await erp.find(
        "BD_Customer", [{"FName": "O'Brien", "FNumber": "c001x"}, {"FName": "O'Brien", "FNumber": "C001"}], names
    )
    assert (len(quoted.records), len(several.records)) == (1, 0)
    (refused,) = await erp.find("BD_Customer", [{"FName": "a\nb"}])
    assert refused.cant_tell


async def test_children_are_grouped_by_their_master(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    await stock.bulk("SAL_SaleOrder", [{**ORDER, "FSaleOrderEntry": [entry()]} for _ in range(2)])
    found = await erp.children("SAL_SaleOrder", "FCustId.FNumber", ["C001", "nobody"], frozenset({"FBillNo"}))
    assert {master: len(records) for master, records in found.items()} == {"C001": 2, "nobody": 0}


async def test_ids_that_no_form_could_have_are_gone(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    answers = await erp.get("BD_Customer", ["501", "abc", "1 or 1=1", "502"])
    assert [answer.kind for answer in answers] == [GetKind.FOUND, GetKind.GONE, GetKind.GONE, GetKind.GONE]


async def test_no_rights_is_not_gone(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    await erp.describe("BD_Customer")
    stock.refuse_next.append(("ExecuteBillQuery", Refused("没有客户的查看权限", code=2)))
    (answer,) = await erp.get("BD_Customer", ["501"])
    assert answer.kind is GetKind.NO_RIGHTS


async def test_a_field_that_the_server_lacks_stops_the_read(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    await erp.describe("BD_Customer")
    stock.refuse_next.append(("ExecuteBillQuery", Refused("元数据中标识为FX的字段不存在", code=9)))
    with pytest.raises(VendorError, match="FX") as caught:
        await read(erp, "BD_Customer", full=True)
    assert not caught.value.retryable
    with pytest.raises(InvalidInput):
        await erp.get("BD_Customer", ["501"], frozenset({"FNmae"}))


async def test_signed_headers_need_no_log_in(stock: KingdeeSimulator, connect: Connect) -> None:
    erp = connect(auth="signed_headers")
    records, _ = await read(erp, "BD_Customer", full=True)
    assert len(records) == 1
    assert stock.counts["login"] == 0
    assert len(stock.door.sessions) == 1, "the session that came with the first answer is used again"
    stock.expire_tokens()
    assert len((await read(erp, "BD_Customer", full=True))[0]) == 1
    wrong = connect(auth="signed_headers", app_secret="wrong-wrong-wrong")
    with pytest.raises(CredentialsRefused):
        await wrong.fingerprint()
    with pytest.raises(CredentialsRefused):
        await connect(auth="signed_headers", acct_id="000000").fingerprint()


async def test_sha1_for_old_servers(connect: Connect, sim: KingdeeSimulator) -> None:
    sim.door.sign_algorithm = "sha1"
    with pytest.raises(CredentialsRefused) as caught:
        await connect().fingerprint()
    assert "sign_algorithm" in str(caught.value.hint)
    assert await connect(sign_algorithm="sha1").fingerprint() == sim.settings()["acct_id"]


async def test_a_session_that_idled_away_is_renewed(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    await erp.get("BD_Customer", ["501"])
    stock.clock.advance(3600)
    (answer,) = await erp.get("BD_Customer", ["501"])
    assert answer.kind is GetKind.FOUND
    assert stock.counts["login"] == 2


async def test_an_organisation_that_the_user_has_not_is_said(connect: Connect) -> None:
    with pytest.raises(CredentialsRefused, match="999"):
        await connect(org_num="999").fingerprint()


async def test_the_live_schema_corrects_the_catalogue(stock: KingdeeSimulator, connect: Connect) -> None:
    form = stock.store.form("BD_Customer")
    del form.keys["f_hub_key"]
    form.keys["f_own"] = form.keys["fshortname"].__class__("F_OWN", "FBillHead", "F_OWN", form.keys["fshortname"].field)
    erp = connect()
    schema = await erp.describe("BD_Customer")
    assert schema.origin == "live"
    assert "F_HUB_KEY" not in schema.fields
    assert schema.capabilities.stamp_field is None
    assert schema.fields["F_OWN"].type is FieldType.TEXT
    findings = [finding for finding in await erp.check() if not finding.ok]
    assert ["F_HUB_KEY" in finding.what for finding in findings] == [True]
    order = await erp.describe("SAL_SaleOrder")
    assert order.fields["FSaleOrderFinance.FSettleCurrId.FNumber"].reference == "BD_Currency"
    assert frozenset({"FSaleOrderEntry.FQty", "FSaleOrderEntry.FTaxPrice"}) <= order.facts.together[0]


async def test_without_rights_to_metadata_the_catalogue_stands_in(stock: KingdeeSimulator, connect: Connect) -> None:
    stock.refuse_next.append(("QueryBusinessInfo", Refused("没有权限", code=2)))
    assert (await connect().describe("BD_Customer")).origin == "catalogue"


async def test_a_form_that_the_tenant_lacks_is_not_found(connect: Connect) -> None:
    erp = connect(forms=["CRM_Contract"])
    with pytest.raises(NotFound):
        await erp.describe("CRM_Contract")


async def test_a_form_of_ones_own_is_described_live(stock: KingdeeSimulator, connect: Connect) -> None:
    erp = connect()
    erp._forms.schemas.pop("BD_Department")
    erp._settings.forms.append("BD_Department")
    schema = await erp.describe("BD_Department")
    assert (schema.id_field, schema.number_field, schema.label) == ("FDEPTID", "FNumber", "部门")
    assert schema.fields["FParentID.FNumber"].reference == "BD_Department"
    records, _ = await read(erp, "BD_Department", full=True)
    assert len(records) == 2, "those of organisation 100"


async def test_rows_beyond_one_call_are_walked(
    stock: KingdeeSimulator, erp: KingdeeConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.erp.kingdee.queries.MOST_ROWS", 4)
    await stock.bulk("SAL_SaleOrder", [{**ORDER, "FSaleOrderEntry": [entry() for _ in range(n)]} for n in (5, 0, 6)])
    before = stock.counts["ExecuteBillQuery"]
    records, _ = await read(erp, "SAL_SaleOrder", full=True)
    assert [len(record.fields["FSaleOrderEntry"]) for record in records] == [5, 0, 6]  # type: ignore[arg-type]
    assert stock.counts["ExecuteBillQuery"] - before == 5, (
        "heads, then twelve lines (one of them without a row) by four"
    )
    assert len(await erp.find("SAL_SaleOrder", [{"FCustId.FNumber": "C001"}])) == 1
