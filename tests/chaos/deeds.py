"""What people do while the hub is under attack: one function a deed. A deed that finds nothing to do does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeVar

from tests.chaos.evidence import Row
from tests.chaos.world import Company, Deed, Order

T = TypeVar("T")

_CHINA = timezone(timedelta(hours=8))
_REMARKS = ("加急", "周五前发货", "客户要求分批发货", "含安装", "样机", "到付")


def _one(company: Company, among: Sequence[T]) -> T | None:
    return company.dice.choice(among) if among else None


def _orders(company: Company) -> list[Order]:
    """Orders that may still be changed: neither over nor paid, for what is paid the ERP lets nobody change."""
    return [one for one in company.orders.values() if not one.over and not one.paid]


# -- customers, from both sides ------------------------------------------------------------------------------------


async def new_customer(company: Company) -> None:
    customer = company._customer()
    fields = {name: value for name, value in customer.fields.items() if name not in ("_id", "life_status")}
    id = await company.diary.crm("create", "AccountObj", fields=fields, actor="1001")
    if id is not None:
        customer.id = id
        company.customers.append(customer)


async def customer_in_approval(company: Company) -> None:
    """A child before its parent: the order is written while its customer may not travel yet."""
    lead = company._customer(life_status="under_review")
    await company.diary.import_crm("AccountObj", lead.fields)
    company.waiting.append(lead)
    await company.write_order(lead)


async def approve_customer(company: Company) -> None:
    lead = _one(company, company.waiting)
    if lead is not None:
        await company.approve(lead)


async def customer_of_the_erp(company: Company) -> None:
    fields = company._in_erp(company._customer())
    await company.diary.erp("create", "BD_Customer", fields=fields)


async def correct_customer(company: Company) -> None:
    change = _contact(company)
    if company.dice.random() < 0.15:
        change["tel"] = None
    await company.diary.crm("update", "AccountObj", company.dice.choice(company.customers).id, fields=change)


async def rename_customer(company: Company) -> None:
    customer = company.dice.choice(company.customers)
    customer.name = f"{customer.name.partition('（')[0]}（{company.dice.randint(1, 99)}）"
    await company.diary.crm("update", "AccountObj", customer.id, fields={"name": customer.name})


async def burst_on_a_customer(company: Company) -> None:
    id = company.dice.choice(company.customers).id
    for _ in range(company.dice.randint(4, 7)):
        await company.diary.crm("update", "AccountObj", id, fields=_contact(company))


async def grant_credit(company: Company) -> None:
    id = _one(company, sorted(company.in_erp))
    if id is not None:
        await company.diary.erp("update", "BD_Customer", id, fields={"F_HUB_CREDITLIMIT": company._limit()})


async def both_sides_at_once(company: Company) -> None:
    """Sales corrects a phone in the moment in which finance sets the limit."""
    by_tax = {row["FTAXREGISTERCODE"]: id for id, row in company.in_erp.items()}
    known = [one for one in company.customers if one.tax in by_tax]
    customer = _one(company, known)
    if customer is not None:
        contact, limit = _contact(company), {"F_HUB_CREDITLIMIT": company._limit()}
        await asyncio.gather(
            company.diary.crm("update", "AccountObj", customer.id, fields=contact),
            company.diary.erp("update", "BD_Customer", by_tax[customer.tax], fields=limit),
        )


async def meddle_in_the_erp(company: Company) -> None:
    """A clerk overwrites a phone that is the salespeople's to keep."""
    id = _one(company, sorted(company.in_erp))
    if id is not None:
        await company.diary.erp("update", "BD_Customer", id, fields={"FTEL": f"000-{company.dice.randint(1, 9999)}"})


async def meddle_in_the_crm(company: Company) -> None:
    """A salesperson overwrites a limit that is finance's to set."""
    id = company.dice.choice(company.customers).id
    limit = str(company.dice.randint(1, 9) * 1_000_000)
    await company.diary.crm("update", "AccountObj", id, fields={"credit_limit__c": limit})


async def zip_code(company: Company) -> None:
    """A field that no mapping knows."""
    id = _one(company, sorted(company.in_erp))
    if id is not None:
        await company.diary.erp("update", "BD_Customer", id, fields={"FZIP": str(company.dice.randint(100000, 799999))})


def _contact(company: Company) -> dict[str, Any]:
    return {"tel": company._phone(), "address": company._address(company.dice.choice(("上海", "苏州", "宁波")))}


# -- products ------------------------------------------------------------------------------------------------------


async def new_material(company: Company) -> None:
    company.records += 1
    fields = company._material(company.records * 40)
    await company.diary.erp("create", "BD_MATERIAL", fields=fields)


async def change_price(company: Company) -> None:
    id = _one(company, sorted(company.materials))
    if id is not None:
        price = f"{company.dice.randint(900, 900_000) / 100:.2f}"
        await company.diary.erp("update", "BD_MATERIAL", id, fields={"F_HUB_PRICE": price})


async def shelf(company: Company) -> None:
    """Off the shelf, or back on it: only what nobody sells."""
    chosen = _one(company, [id for id, row in sorted(company.materials.items()) if row["FNumber"] in company.unsold])
    if chosen is not None:
        off = company.materials[chosen]["FForbidStatus"] == "B"
        await company.diary.erp("operation", "BD_MATERIAL", chosen, operation="Enable" if off else "Forbid")


# -- orders --------------------------------------------------------------------------------------------------------


async def new_order(company: Company) -> None:
    await company.write_order(company.dice.choice(company.customers))


async def order_of_a_new_customer(company: Company) -> None:
    """The customer and, in the same breath, its order."""
    before = len(company.customers)
    await new_customer(company)
    if len(company.customers) > before:
        await company.write_order(company.customers[-1])


async def more_of_a_line(company: Company) -> None:
    found = _line(company, [one for one in _orders(company) if one.lines])
    if found is not None:
        line = found[1]
        quantity = Decimal(line["quantity"]) + 1
        change = {"quantity": str(quantity), "subtotal": f"{Decimal(line['subtotal']) / (quantity - 1) * quantity:.2f}"}
        await company.diary.crm("update", "SalesOrderProductObj", line["_id"], fields=change)


async def another_line(company: Company) -> None:
    order = _one(company, [one for one in _orders(company) if one.lines])
    if order is not None:
        fields = {**company._sale(company.dice.choice(company.on_sale)), "order_id": order.id}
        await company.diary.crm("create", "SalesOrderProductObj", fields=fields)


async def one_line_less(company: Company) -> None:
    found = _line(company, [one for one in _orders(company) if len(one.lines) > 1])
    if found is not None and await company.diary.crm("invalid", "SalesOrderProductObj", found[1]["_id"]):
        found[0].lines.pop(found[1]["_id"])


async def remark(company: Company) -> None:
    order = _one(company, _orders(company))
    if order is not None:
        await _remark(company, order)


async def burst_on_an_order(company: Company) -> None:
    order = _one(company, _orders(company))
    if order is not None:
        for _ in range(company.dice.randint(3, 6)):
            await _remark(company, order)


async def _remark(company: Company, order: Order) -> None:
    text = f"{company.dice.choice(_REMARKS)} {company.dice.randint(1, 9999)}"
    await company.diary.crm("update", "SalesOrderObj", order.id, fields={"remark": text})


async def cancel(company: Company) -> None:
    order = _one(company, _orders(company))
    if order is not None:
        order.over = True
        await company.diary.crm("update", "SalesOrderObj", order.id, fields={"order_status": "99"})


async def withdraw(company: Company) -> None:
    order = _one(company, _orders(company))
    if order is not None:
        order.over = True
        op = "invalid" if company.dice.random() < 0.6 else "delete"
        await company.diary.crm(op, "SalesOrderObj", order.id)


async def add_freight(company: Company) -> None:
    """The warehouse adds a line of its own."""
    live = {one.name for one in _orders(company)}
    number = _one(company, [number for number in sorted(company.booked) if number in live])
    if number is not None:
        material = company.on_sale[0]["product_code"]
        freight = {"FMaterialId.FNumber": material, "FQty": "1", "FTaxPrice": "50", "FEntryNote": "运费"}
        id = str(company.booked[number]["FID"])
        await company.diary.erp("update", "SAL_SaleOrder", id, fields={"FSaleOrderEntry": [freight]})


def _line(company: Company, orders: Sequence[Order]) -> tuple[Order, Row] | None:
    order = _one(company, orders)
    if order is None:
        return None
    return order, order.lines[company.dice.choice(sorted(order.lines))]


# -- receipts ------------------------------------------------------------------------------------------------------


async def collect(company: Company) -> None:
    """Somebody pays one to three orders of one customer."""
    await company.learn()
    by_name = {one.name: one for one in _orders(company)}
    due = [
        row
        for number, row in sorted(company.booked.items())
        if number in by_name and by_name[number].stands_in(row)  # what is paid, nobody can change any more
    ]
    first = _one(company, due)
    if first is None:
        return
    same = [row for row in due if row["FCustId.FNumber"] == first["FCustId.FNumber"]]
    paid = same[: company.dice.randint(1, 3)]
    for row in paid:
        by_name[row["F_CRM_NO"]].paid = True
    receipt = {**company._receipt(first["FCustId.FNumber"], list(map(dict, paid))), "FDocumentStatus": "C"}
    receipt["FDATE"] = datetime.now(_CHINA).date().isoformat()
    await company.diary.erp("create", "AR_RECEIVEBILL", fields=receipt)


async def bounce(company: Company) -> None:
    """A cheque bounces: finance takes the audit back; or it was a mistake, and the audit is given again."""
    id = _one(company, sorted(company.receipts))
    if id is not None:
        booked = company.receipts[id]["FDocumentStatus"] == "C"
        if booked:
            await company.diary.erp("operation", "AR_RECEIVEBILL", id, operation="UnAudit")
        else:
            await company.diary.erp("update", "AR_RECEIVEBILL", id, fields={"FDocumentStatus": "C"})


async def tear_up(company: Company) -> None:
    """A receipt is deleted. No stamp tells of it."""
    id = _one(company, sorted(company.receipts))
    if id is not None and await company.diary.erp("delete", "AR_RECEIVEBILL", id):
        company.receipts.pop(id)


DEEDS: dict[Deed, int] = {
    new_customer: 6,
    customer_in_approval: 3,
    approve_customer: 3,
    customer_of_the_erp: 3,
    correct_customer: 12,
    rename_customer: 2,
    burst_on_a_customer: 2,
    grant_credit: 5,
    both_sides_at_once: 4,
    meddle_in_the_erp: 3,
    meddle_in_the_crm: 2,
    zip_code: 2,
    new_material: 2,
    change_price: 5,
    shelf: 2,
    new_order: 12,
    order_of_a_new_customer: 4,
    more_of_a_line: 7,
    another_line: 3,
    one_line_less: 3,
    remark: 4,
    burst_on_an_order: 2,
    cancel: 2,
    withdraw: 2,
    add_freight: 2,
    collect: 5,
    bounce: 2,
    tear_up: 1,
}
