"""Bench `translate`: records a second on one core, a mapping of thirty fields with lookups, references and lines."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from jsonata import Jsonata

from bench.report import Report, peak_mb, print_report
from hub.domain.schema import Field, FieldType, ObjectSchema, Wire
from hub.mapping.compile import CompiledMapping, compile_mapping
from hub.mapping.load import load
from hub.mapping.result import Context, Item, RefAnswer, RefKey, RefState

BATCH = 500

MAPPING = """
mapping: order-to-erp
entity: order
source: {system: crm, object: Order}
target: {system: erp, object: SalesOrder}
title: name
related:
  lines:   {object: OrderLine, where: {order_id: _id}}
  account: {object: Account, id: account_id}
match: [[FNo]]
fields:
  FNo:          name
  FType:        {const: XSDD01}
  FOrg:         {from: org, lookup: org}
  FDate:        {from: order_time, as: date, tz: Asia/Shanghai}
  FCustomer:    {from: account_id, ref: customer, take: number}
  FDept:        {from: department, ref: department, take: number, optional: true}
  FSaler:       {from: owner, ref: employee, take: number, optional: true}
  FCurrency:    {from: currency, lookup: currency}
  FRate:        {from: rate, scale: 6}
  FAmount:      amount
  FDiscount:    {from: discount, default: "0"}
  FAddress:     {join: [province, city, district, street], with: ""}
  FContact:     {from: contact, trim: true}
  FPhone:       {first: [ship_tel, account.tel]}
  FRemark:      remark
  FUrgent:      urgent
  FLevel:       {from: level, case: upper}
  FTaxNo:       account.tax_no
  FCustomerName: account.name
  FSource:      source
  FChannel:     {from: channel, default: direct}
  FPayment:     payment
  FDelivery:    {from: delivery_time, as: date, tz: Asia/Shanghai}
  FProject:     project
  FContract:    contract_no
  FInvoiceTitle: {from: invoice_title, trim: true}
  FQtyTotal:    {sum: lines.quantity}
  FVersion:     version
  FCreator:     creator
  FEntries:
    each: lines
    key: _id
    fields:
      FMaterial: {from: product_id, ref: product, take: number}
      FQty:      quantity
      FAmount:   subtotal
      FPrice:    {calc: row.subtotal / row.quantity, scale: 6}
      FNote:     note
lookups:
  org:      {"1001": "100", "1002": "200", "1003": "300"}
  currency: {CNY: PRE001, USD: PRE007, EUR: PRE003}
"""

_TEXTS = (
    "name", "org", "currency", "province", "city", "district", "street", "contact", "ship_tel", "remark", "level",
    "source", "channel", "payment", "project", "contract_no", "invoice_title", "creator",
)  # fmt: skip
_ORG = {"1001": "100", "1002": "200", "1003": "300"}
_CURRENCY = {"CNY": "PRE001", "USD": "PRE007", "EUR": "PRE003"}
_SHANGHAI = ZoneInfo("Asia/Shanghai")
_SIX = Decimal("0.000001")


def _fields(*fields: Field) -> dict[str, Field]:
    return {field.name: field for field in fields}


def source_schema() -> ObjectSchema:
    moments = (Field(name, FieldType.DATETIME, wire=Wire.EPOCH_MS) for name in ("order_time", "delivery_time"))
    numbers = (Field(name, FieldType.DECIMAL) for name in ("amount", "discount", "rate"))
    references = (
        Field("account_id", FieldType.REFERENCE, reference="Account"),
        Field("department", FieldType.REFERENCE, reference="Department"),
        Field("owner", FieldType.REFERENCE, reference="User"),
    )
    rest = (Field("_id"), Field("urgent", FieldType.BOOLEAN), Field("version", FieldType.INTEGER))
    texts = (Field(name) for name in _TEXTS)
    return ObjectSchema("Order", "Order", "_id", _fields(*texts, *moments, *numbers, *references, *rest))


def related_schemas() -> dict[str, ObjectSchema]:
    product = Field("product_id", FieldType.REFERENCE, reference="Product")
    numbers = (Field(name, FieldType.DECIMAL) for name in ("quantity", "subtotal"))
    lines = _fields(Field("_id"), product, *numbers, Field("note"))
    account = _fields(Field("_id"), Field("name"), Field("tel"), Field("tax_no"))
    return {
        "lines": ObjectSchema("OrderLine", "Line", "_id", lines),
        "account": ObjectSchema("Account", "Account", "_id", account),
    }


def target_schema() -> ObjectSchema:
    decimals = ("FRate", "FAmount", "FDiscount", "FQtyTotal")
    texts = (
        "FNo", "FType", "FOrg", "FCustomer", "FDept", "FSaler", "FCurrency", "FAddress", "FContact", "FPhone",
        "FRemark", "FLevel", "FTaxNo", "FCustomerName", "FSource", "FChannel", "FPayment", "FProject", "FContract",
        "FInvoiceTitle", "FCreator",
    )  # fmt: skip
    row = _fields(
        Field("FMaterial"), Field("FNote"), *(Field(name, FieldType.DECIMAL) for name in ("FQty", "FAmount", "FPrice"))
    )
    return ObjectSchema(
        "SalesOrder",
        "Sales order",
        "FID",
        _fields(
            *(Field(name) for name in texts),
            *(Field(name, FieldType.DECIMAL) for name in decimals),
            *(Field(name, FieldType.DATE) for name in ("FDate", "FDelivery")),
            Field("FUrgent", FieldType.BOOLEAN),
            Field("FVersion", FieldType.INTEGER),
            Field("FEntries", FieldType.ROWS, rows=row, row_key="FEntryID"),
        ),
    )


def make_items(count: int, seed: int = 7) -> list[Item]:
    """Orders with one to five lines each."""
    chance = random.Random(seed)
    items = []
    for number in range(count):
        record: dict[str, Any] = {name: f"{name} {number}" for name in _TEXTS}
        record |= {
            "_id": str(number),
            "org": chance.choice(list(_ORG)),
            "currency": chance.choice(list(_CURRENCY)),
            "order_time": 1_760_000_000_000 + chance.randrange(10**10),
            "delivery_time": 1_770_000_000_000 + chance.randrange(10**10),
            "amount": f"{chance.randrange(10**7) / 100:.2f}",
            "discount": chance.choice([None, "5.00"]),
            "rate": f"{chance.randrange(10**6) / 10**5:.5f}",
            "account_id": f"a{chance.randrange(50)}",
            "department": chance.choice(["d1", "d2", "unknown"]),
            "owner": chance.choice(["u1", "u2"]),
            "ship_tel": chance.choice([None, "13800138000"]),
            "channel": chance.choice([None, "web"]),
            "urgent": chance.random() < 0.1,
            "version": number,
        }
        lines = [
            {
                "_id": f"{number}-{line}",
                "product_id": f"p{chance.randrange(100)}",
                "quantity": str(chance.randrange(1, 50)),
                "subtotal": f"{chance.randrange(10**6) / 100:.2f}",
                "note": chance.choice([None, "fragile"]),
            }
            for line in range(chance.randrange(1, 6))
        ]
        account = {"_id": record["account_id"], "name": "Acme", "tel": "01012345678", "tax_no": "91310000MA1K00001X"}
        items.append(Item(str(number), record, {"lines": lines, "account": account}))
    return items


def answers() -> dict[RefKey, RefAnswer]:
    known = [("customer", "Account", f"a{number}") for number in range(50)]
    known += [("department", "Department", "d1"), ("department", "Department", "d2")]
    known += [("employee", "User", "u1"), ("employee", "User", "u2")]
    known += [("product", "Product", f"p{number}") for number in range(100)]
    return {
        RefKey(kind, object_, value): RefAnswer(RefState.FOUND, value, {"number": f"N-{value}"})
        for kind, object_, value in known
    }


# ---- by hand ---------------------------------------------------------------------------------------------------------


def by_hand(items: list[Item], ids: dict[tuple[str, str], str]) -> list[dict[str, Any]]:
    """The same translation as a careful programmer writes it for this one mapping."""
    return [_order(item.record, item.related["lines"], item.related["account"], ids) for item in items]


def _day(moment: int | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment / 1000, UTC).astimezone(_SHANGHAI).date().isoformat()


def _money(value: str | None) -> str | None:
    return None if value is None or value == "" else format(Decimal(value), "f")


def _text(value: str | None) -> str | None:
    return value if value and value.strip() else None


def _order(
    record: dict[str, Any], lines: list[dict[str, Any]], account: dict[str, Any], ids: dict[tuple[str, str], str]
) -> dict[str, Any]:
    rate = record.get("rate")
    parts = (record.get("province"), record.get("city"), record.get("district"), record.get("street"))
    made = {
        "FNo": _text(record.get("name")),
        "FType": "XSDD01",
        "FOrg": _ORG[record["org"]],
        "FDate": _day(record.get("order_time")),
        "FCustomer": ids["customer", record["account_id"]],
        "FCurrency": _CURRENCY[record["currency"]],
        "FRate": format(Decimal(rate).quantize(_SIX, ROUND_HALF_UP), "f") if rate else None,
        "FAmount": _money(record.get("amount")),
        "FDiscount": _money(record.get("discount") or "0"),
        "FAddress": "".join(part for part in parts if part and part.strip()) or None,
        "FContact": _text((record.get("contact") or "").strip()),
        "FPhone": _text(record.get("ship_tel")) or _text(account.get("tel")),
        "FRemark": _text(record.get("remark")),
        "FUrgent": record.get("urgent"),
        "FLevel": _text((record.get("level") or "").upper()),
        "FTaxNo": _text(account.get("tax_no")),
        "FCustomerName": _text(account.get("name")),
        "FSource": _text(record.get("source")),
        "FChannel": _text(record.get("channel")) or "direct",
        "FPayment": _text(record.get("payment")),
        "FDelivery": _day(record.get("delivery_time")),
        "FProject": _text(record.get("project")),
        "FContract": _text(record.get("contract_no")),
        "FInvoiceTitle": _text((record.get("invoice_title") or "").strip()),
        "FQtyTotal": format(sum((Decimal(line["quantity"]) for line in lines), Decimal(0)), "f"),
        "FVersion": record.get("version"),
        "FCreator": _text(record.get("creator")),
        "FEntries": [_line(line, ids) for line in lines],
    }
    for name, kind, field in (("FDept", "department", "department"), ("FSaler", "employee", "owner")):
        found = ids.get((kind, record[field]))
        if found is not None:
            made[name] = found
    return made


def _line(line: dict[str, Any], ids: dict[tuple[str, str], str]) -> dict[str, Any]:
    quantity, subtotal = Decimal(line["quantity"]), Decimal(line["subtotal"])
    return {
        "FMaterial": ids["product", line["product_id"]],
        "FQty": format(quantity, "f"),
        "FAmount": format(subtotal, "f"),
        "FPrice": format((subtotal / quantity).quantize(_SIX, ROUND_HALF_UP), "f"),
        "FNote": _text(line.get("note")),
    }


# ---- JSONata ---------------------------------------------------------------------------------------------------------

# JSONata has binary floats only, and no zones: money goes through as text, days and divisions by native functions.
JSONATA = """
{
  "FNo": name, "FType": "XSDD01", "FOrg": $lookup($org, org), "FDate": $day(order_time),
  "FCustomer": $id("customer", account_id), "FDept": $id("department", department), "FSaler": $id("employee", owner),
  "FCurrency": $lookup($currency, currency), "FRate": $six(rate), "FAmount": amount,
  "FDiscount": discount ? discount : "0", "FAddress": province & city & district & street,
  "FContact": $trim(contact), "FPhone": ship_tel ? ship_tel : account.tel, "FRemark": remark, "FUrgent": urgent,
  "FLevel": $uppercase(level), "FTaxNo": account.tax_no, "FCustomerName": account.name, "FSource": source,
  "FChannel": channel ? channel : "direct", "FPayment": payment, "FDelivery": $day(delivery_time), "FProject": project,
  "FContract": contract_no, "FInvoiceTitle": $trim(invoice_title), "FQtyTotal": $string($sum(lines.$number(quantity))),
  "FVersion": version, "FCreator": creator,
  "FEntries": [lines.{
    "FMaterial": $id("product", product_id), "FQty": quantity, "FAmount": subtotal,
    "FPrice": $price(subtotal, quantity), "FNote": note
  }]
}
"""


def jsonata(ids: dict[tuple[str, str], str]) -> Callable[[list[Item]], list[dict[str, Any]]]:
    expression = Jsonata(JSONATA)
    expression.register_lambda("day", _day)
    expression.register_lambda("six", lambda rate: format(Decimal(rate).quantize(_SIX, ROUND_HALF_UP), "f"))
    expression.register_lambda("id", lambda kind, value: ids.get((kind, value)))
    expression.register_lambda(
        "price", lambda total, count: format((Decimal(total) / Decimal(count)).quantize(_SIX, ROUND_HALF_UP), "f")
    )
    expression.assign("org", _ORG)
    expression.assign("currency", _CURRENCY)

    def run(items: list[Item]) -> list[dict[str, Any]]:
        return [
            expression.evaluate({**item.record, "lines": item.related["lines"], "account": item.related["account"]})
            for item in items
        ]

    return run


# ---- measuring -------------------------------------------------------------------------------------------------------


def ours(mapping: CompiledMapping, known: dict[RefKey, RefAnswer]) -> Callable[[list[Item]], list[dict[str, Any]]]:
    """Asking for what the batch needs and translating it, as a flow does, but for the store's answer."""

    def run(items: list[Item]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            context = Context()
            asked = mapping.collect(batch, context).refs
            context.refs = {key: known[key] for key in asked if key in known}
            made.extend(mapping.run(batch, context))  # type: ignore[arg-type]
        return made

    return run


def flat(result: Any) -> dict[str, Any]:
    (rendered,) = result
    return {**rendered.fields, **{name: [row.fields for row in rows] for name, rows in rendered.rows.items()}}


def without_nulls(made: dict[str, Any]) -> dict[str, Any]:
    """JSONata leaves out what is null."""
    return {
        name: [without_nulls(row) for row in value] if isinstance(value, list) else value
        for name, value in made.items()
        if value is not None
    }


def rate(run: Callable[[list[Item]], Any], items: list[Item], seconds: float) -> float:
    """Records a second: the best of several runs, so that a neighbour on the machine disturbs least."""
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run(items)
        best = max(best, len(items) / (time.perf_counter() - start))
    return best


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="print one JSON object")
    arguments.add_argument("--seconds", type=float, default=4.0, help="how long to measure each")
    given = arguments.parse_args()

    items = make_items(4 * BATCH)
    known = answers()
    ids = {(key.kind, key.value): answer.keys["number"] for key, answer in known.items()}
    compiled = compile_mapping(
        load(MAPPING, "bench.yaml"),
        source=source_schema(), target=target_schema(), related=related_schemas(), plugins={},
    )  # fmt: skip
    hub, peer = ours(compiled, known), jsonata(ids)

    expected = by_hand(items, ids)
    if [flat(result) for result in hub(items)] != expected:
        raise SystemExit("The hub's translation differs from the one by hand.")
    sample = items[:100]
    if [without_nulls(made) for made in peer(sample)] != [without_nulls(made) for made in expected[:100]]:
        raise SystemExit("JSONata's translation differs from the one by hand.")

    # In turns, so that a machine that slows down slows down all of them.
    figures = {"hub": 0.0, "hand": 0.0, "jsonata": 0.0}
    for _ in range(3):
        figures["hub"] = max(figures["hub"], rate(hub, items, given.seconds / 3))
        figures["hand"] = max(figures["hand"], rate(lambda batch: by_hand(batch, ids), items, given.seconds / 3))
        figures["jsonata"] = max(figures["jsonata"], rate(peer, sample, given.seconds / 3))
    peers = {"jsonata-python": figures["jsonata"]}
    print_report(
        Report("translate", "records/s", figures["hub"], figures["hand"], peers, peak_mb()), as_json=given.json
    )


if __name__ == "__main__":
    main()
