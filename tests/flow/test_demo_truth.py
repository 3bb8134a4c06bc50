"""The demo's checker can fail: each kind of wrong is planted into simulators that agreed, and has to be found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.erp.kingdee.simulator import KingdeeSimulator
from hub.cli.demo.desk import Desk
from hub.cli.demo.truth import CRM_OBJECTS, ERP_OBJECTS, Snapshot, Wrong, check
from hub.connector.serving import serve

ORG = {"FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100"}
DAY = 1_767_628_800_000  # midnight of 2026-01-06 in Shanghai


@dataclass
class Sides:
    """Two simulators that say the same, as if a hub had worked well."""

    crm: Desk
    erp: Desk
    fxiaoke: FxiaokeSimulator
    kingdee: KingdeeSimulator

    async def wrong(self) -> list[Wrong]:
        crm = {name: await self.crm.records(name) for name in CRM_OBJECTS}
        erp = {name: await self.erp.records(name) for name in ERP_OBJECTS}
        return check(Snapshot(crm, erp, await self.crm.journal(), await self.erp.journal()))

    async def kinds(self) -> set[tuple[str, str]]:
        return {(one.kind, one.what) for one in await self.wrong()}

    async def erp_row(self, object: str) -> dict[str, Any]:
        return dict((await self.erp.records(object))[0])

    def by_the_hub(self, simulator: Any, object: str, id: str, **change: Any) -> None:
        """A change through the API, past all rules: what a wrong hub would do."""
        row = simulator.table(object).get(id)
        simulator.commit("update", object, id, {**row, **change}, actor="api")


@pytest.fixture
async def sides() -> AsyncIterator[Sides]:
    fxiaoke, kingdee = FxiaokeSimulator(), KingdeeSimulator()
    async with (
        serve(fxiaoke) as at_crm,
        serve(kingdee) as at_erp,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        crm, erp = Desk("fxiaoke", at_crm.base_url, {}, client), Desk("kingdee", at_erp.base_url, {}, client)
        material = {"FNumber": "WL1", "FName": "伺服电机", "FBaseUnitId.FNumber": "Pcs", "F_HUB_PRICE": "12.345", **ORG}
        await erp.seed("BD_MATERIAL", [material])
        customer = {"FNumber": "C1", "FName": "上海客户", "FTAXREGISTERCODE": "91A", "FTEL": "021", **ORG}
        await erp.seed("BD_Customer", [{**customer, "FTRADINGCURRID.FNumber": "PRE001", "F_HUB_CREDITLIMIT": "500"}])
        product = {"_id": "p1", "product_code": "WL1", "name": "伺服电机", "price": "12.35", "unit": "1"}
        await crm.seed("ProductObj", [{**product, "product_status": "1"}])
        account = {"_id": "a1", "name": "上海客户", "tax_no__c": "91A", "tel": "021"}
        await crm.seed("AccountObj", [{**account, "erp_code__c": "C1", "credit_limit__c": "500"}])
        order = {"_id": "o1", "account_id": "a1", "order_time": DAY, "order_status": "7", "erp_no__c": "XSDD000001"}
        line = {"_id": "l1", "product_id": "p1", "quantity": "3", "subtotal": "10"}
        details = {"SalesOrderProductObj": [line]}
        await crm.seed("SalesOrderObj", [{**order, "erp_status__c": "已审核", "details": details}])
        name = (await crm.records("SalesOrderObj"))[0]["name"]
        row = {"FMaterialId.FNumber": "WL1", "FQty": "3", "FTaxPrice": "3.333333", "F_HUB_ROW": "l1"}
        head = {"FDate": "2026-01-06", "FSaleOrgId.FNumber": "100", "FCustId.FNumber": "C1", "F_CRM_NO": name}
        await erp.person("create", "SAL_SaleOrder", fields={**head, "FSaleOrderEntry": [row]})
        await erp.person("create", "AR_RECEIVEBILL", fields=receipt("XSDD000001", "10"))
        payment = {"_id": "m1", "erp_no__c": "SKD00000001", "account_id": "a1", "payment_time": DAY}
        paid = {"OrderPaymentObj": [{"_id": "r1", "order_id": "o1", "payment_amount": "10"}]}
        await crm.seed("PaymentObj", [{**payment, "payment_amount": "10", "details": paid}])
        yield Sides(crm, erp, fxiaoke, kingdee)


def receipt(order: str, amount: str) -> dict[str, Any]:
    return {
        "FDATE": "2026-01-06",
        "FPAYORGID.FNumber": "100",
        "FCONTACTUNITTYPE": "BD_Customer",
        "FCONTACTUNIT.FNumber": "C1",
        "FPAYUNITTYPE": "BD_Customer",
        "FPAYUNIT.FNumber": "C1",
        "FCURRENCYID.FNumber": "PRE001",
        "FRECEIVEBILLENTRY": [{"FRECTOTALAMOUNTFOR": amount, "FSETTLETYPEID.FNumber": "JSFS04_SYS"}],
        "FRECEIVEBILLSRCENTRY": [{"FORDERBILLNO": order, "FREALRECAMOUNTFOR_S": amount}],
    }


async def test_two_sides_that_agree_have_nothing_wrong(sides: Sides) -> None:
    assert await sides.wrong() == []


async def test_a_product_that_never_came_is_lost(sides: Sides) -> None:
    await sides.erp.seed("BD_MATERIAL", [{"FNumber": "WL2", "FName": "电缆", "FBaseUnitId.FNumber": "kg", **ORG}])
    assert await sides.kinds() == {("lost", "product")}


async def test_a_second_customer_with_the_same_tax_number_is_a_duplicate(sides: Sides) -> None:
    again = {"FNumber": "C2", "FName": "上海客户", "FTAXREGISTERCODE": "91A", "FTRADINGCURRID.FNumber": "PRE001", **ORG}
    await sides.erp.seed("BD_Customer", [again])
    assert ("duplicates", "customer") in await sides.kinds()


async def test_a_second_document_for_one_order_is_a_duplicate(sides: Sides) -> None:
    row = await sides.erp_row("SAL_SaleOrder")
    sides.kingdee.commit("save", "SAL_SaleOrder", "999", {**row, "FID": 999, "FBillNo": "XSDD000999"})
    assert ("duplicates", "order") in await sides.kinds()


async def test_a_line_that_was_added_twice_is_a_duplicate(sides: Sides) -> None:
    row = await sides.erp_row("SAL_SaleOrder")
    rows = [*row["FSaleOrderEntry"], {**row["FSaleOrderEntry"][0], "FEntryID": 77}]
    sides.by_the_hub(sides.kingdee, "SAL_SaleOrder", str(row["FID"]), FSaleOrderEntry=rows)
    assert await sides.kinds() == {("duplicates", "order line"), ("stale", "order line")}


@pytest.mark.parametrize(
    ("object", "id", "change", "found"),
    [
        ("ProductObj", "p1", {"price": "13.00"}, ("stale", "product")),
        ("ProductObj", "p1", {"product_status": "2"}, ("stale", "product")),
        ("AccountObj", "a1", {"credit_limit__c": "1.00"}, ("stale", "customer")),
        ("SalesOrderObj", "o1", {"erp_no__c": "XSDD000002"}, ("stale", "order")),
        ("SalesOrderObj", "o1", {"erp_status__c": "审核中"}, ("stale", "order")),
        ("PaymentObj", "m1", {"payment_amount": "9.00"}, ("stale", "receipt")),
        ("PaymentObj", "m1", {"payment_time": DAY - 86_400_000}, ("stale", "receipt")),
        ("OrderPaymentObj", "r1", {"payment_amount": "9.00"}, ("stale", "receipt row")),
    ],
)
async def test_a_field_that_says_something_else_in_the_crm_is_stale(
    sides: Sides, object: str, id: str, change: dict[str, Any], found: tuple[str, str]
) -> None:
    sides.by_the_hub(sides.fxiaoke, object, id, **change)
    assert await sides.kinds() == {found}


@pytest.mark.parametrize("change", [{"FTEL": "0000"}, {"FDocumentStatus": "A"}])
async def test_a_field_that_says_something_else_in_the_erp_is_stale(sides: Sides, change: dict[str, Any]) -> None:
    row = await sides.erp_row("BD_Customer")
    sides.by_the_hub(sides.kingdee, "BD_Customer", str(row["FCUSTID"]), **change)
    assert ("stale", "customer") in await sides.kinds()


async def test_a_row_with_an_old_quantity_is_stale(sides: Sides) -> None:
    await sides.crm.person("update", "SalesOrderProductObj", "l1", fields={"quantity": "4"})
    assert await sides.kinds() == {("stale", "order line")}


async def test_an_order_that_is_cancelled_on_one_side_only_is_stale(sides: Sides) -> None:
    await sides.crm.person("update", "SalesOrderObj", "o1", fields={"order_status": "99"})
    assert await sides.kinds() == {("stale", "order")}


async def test_an_order_that_was_withdrawn_and_lives_on_is_stale(sides: Sides) -> None:
    await sides.crm.person("invalid", "SalesOrderObj", "o1")
    assert ("stale", "order") in await sides.kinds()


async def test_a_payment_without_a_booked_receipt_is_stale(sides: Sides) -> None:
    id = str((await sides.erp_row("AR_RECEIVEBILL"))["FID"])
    await sides.erp.person("operation", "AR_RECEIVEBILL", id, operation="UnAudit")
    assert await sides.kinds() == {("stale", "receipt")}


async def test_a_receipt_that_never_came_is_lost(sides: Sides) -> None:
    await sides.erp.person("create", "AR_RECEIVEBILL", fields=receipt("XSDD000001", "5"))
    assert await sides.kinds() == {("lost", "receipt")}


async def test_a_persons_own_field_that_the_hub_changed_is_overwritten(sides: Sides) -> None:
    row = await sides.erp_row("BD_Customer")
    sides.by_the_hub(sides.kingdee, "BD_Customer", str(row["FCUSTID"]), F_HUB_CREDITLIMIT="1")
    assert ("overwritten", "customer") in await sides.kinds()


async def test_a_line_of_the_erps_own_that_is_gone_is_overwritten(sides: Sides) -> None:
    row = await sides.erp_row("SAL_SaleOrder")
    ours = row["FSaleOrderEntry"]
    freight = {**ours[0], "FEntryID": 77, "F_HUB_ROW": None, "FQty": "1.000000"}
    by_hand = {**row, "FSaleOrderEntry": [*ours, freight]}
    sides.kingdee.commit("save", "SAL_SaleOrder", str(row["FID"]), by_hand, actor="person")
    assert await sides.wrong() == []
    sides.by_the_hub(sides.kingdee, "SAL_SaleOrder", str(row["FID"]), FSaleOrderEntry=ours)
    assert await sides.kinds() == {("overwritten", "order line")}
