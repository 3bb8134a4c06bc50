"""The checker: what both systems hold is compared with what people did there, by hand-written rules of the business.

It sees the simulators' records and journals only, never the hub's tables, and none of the mappings under test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Row = Mapping[str, Any]

_CHINA = timezone(timedelta(hours=8))
_UNITS = {"Pcs": "1", "kg": "4"}
_CRM_OWNED = ("name", "tax_no__c", "tel", "address")
_ORDER_FIELDS_OF_THE_HUB = {"erp_no__c", "erp_status__c", "sync__c", "sync_msg__c", "hub_key__c"}
_STAMPS = {"version", "last_modified_time", "last_modified_by"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is not as it should be. `kind`: duplicates, lost, stale or overwritten."""

    kind: str
    what: str
    who: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} {self.who}: {self.why}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Ground truth of both systems: live records by object, and every committed write in order."""

    crm: Mapping[str, Sequence[Row]]
    erp: Mapping[str, Sequence[Row]]
    crm_journal: Sequence[Row]
    erp_journal: Sequence[Row]

    @property
    def writes(self) -> int:
        """How many writes came in through the vendors' APIs: the hub's."""
        return sum(entry["actor"] == "api" for journal in (self.crm_journal, self.erp_journal) for entry in journal)


CRM_OBJECTS = ("AccountObj", "ProductObj", "SalesOrderObj", "SalesOrderProductObj", "PaymentObj", "OrderPaymentObj")
ERP_OBJECTS = ("BD_Customer", "BD_MATERIAL", "SAL_SaleOrder", "AR_RECEIVEBILL")


def check(found: Snapshot) -> list[Wrong]:
    """Everything that is wrong; empty when each fact is true in both systems, once."""
    return [*_products(found), *_customers(found), *_orders(found), *_receipts(found), *_overwritten(found)]


# -- products ------------------------------------------------------------------------------------------------------


def _products(found: Snapshot) -> Iterator[Wrong]:
    shelf = _by(found.crm["ProductObj"], "product_code")
    for material in found.erp["BD_MATERIAL"]:
        number = material["FNumber"]
        products = shelf.pop(number, [])
        if material["FDocumentStatus"] != "C":
            if products:
                yield Wrong("stale", "product", number, "stands in the CRM and is not audited in the ERP")
        elif (one := (yield from _only(products, "product", number))) is not None:
            expected = {
                "name": material["FName"],
                "product_spec": material["FSpecification"],
                "price": _money(material["F_HUB_PRICE"] or 0),
                "unit": _UNITS[material["FBaseUnitId.FNumber"]],
                "product_status": "2" if material["FForbidStatus"] == "B" else "1",
            }
            yield from _compare("product", number, expected, one)
    for number in shelf:
        yield Wrong("stale", "product", str(number), "stands in the CRM only")


# -- customers -----------------------------------------------------------------------------------------------------


def _customers(found: Snapshot) -> Iterator[Wrong]:
    travelling = [row for row in found.crm["AccountObj"] if row["life_status"] == "normal"]
    in_erp = _by(found.erp["BD_Customer"], "FTAXREGISTERCODE")
    in_erp_by_name = _by(found.erp["BD_Customer"], "FName")
    for account in travelling:
        who, tax = account["name"], account.get("tax_no__c")
        customers = in_erp[tax] if tax else in_erp_by_name.get(who, [])
        one = yield from _only(customers, "customer", who)
        if one is None:
            continue
        expected = {
            "FName": account["name"],
            "FTAXREGISTERCODE": tax,
            "FTEL": account.get("tel"),
            "FADDRESS": account.get("address"),
            "FDocumentStatus": "C",
        }
        yield from _compare("customer", who, expected, one)
        back = {"erp_code__c": one["FNumber"], "credit_limit__c": _number(one["F_HUB_CREDITLIMIT"])}
        yield from _compare("customer", who, back, account)
    by_code = _by(found.crm["AccountObj"], "erp_code__c")
    for customer in found.erp["BD_Customer"]:
        if customer["FDocumentStatus"] == "C" and customer["FForbidStatus"] != "B":
            yield from _only(by_code.get(customer["FNumber"], []), "customer of the ERP", customer["FNumber"])
    for account in found.crm["AccountObj"]:
        if account["life_status"] != "normal" and in_erp.get(account.get("tax_no__c")):
            yield Wrong("stale", "customer", account["name"], "stands in the ERP before it is approved in the CRM")


# -- orders --------------------------------------------------------------------------------------------------------


def _orders(found: Snapshot) -> Iterator[Wrong]:
    accounts = {row["_id"]: row for row in found.crm["AccountObj"]}
    codes = {row["_id"]: row["product_code"] for row in found.crm["ProductObj"]}
    lines = _by(found.crm["SalesOrderProductObj"], "order_id")
    documents = _by(found.erp["SAL_SaleOrder"], "F_CRM_NO")
    numbers = {row["FTAXREGISTERCODE"]: row["FNumber"] for row in found.erp["BD_Customer"]}
    for order in found.crm["SalesOrderObj"]:
        who, account = order["name"], accounts.get(order["account_id"], {})
        sold = documents.get(who, [])
        if order["life_status"] != "normal" or not account.get("tax_no__c") or not lines[order["_id"]]:
            if sold:
                yield Wrong("stale", "order", who, "stands in the ERP and must not")
            continue
        one = yield from _only(sold, "order", who)
        if one is None:
            continue
        cancelled = order.get("order_status") == "99"
        yield from _document(who, order, one, numbers.get(account["tax_no__c"]), cancelled)
        yield from _rows(who, [_sold(line, codes) for line in lines[order["_id"]]], one)
    yield from _withdrawn(found, documents)
    yield from _foreign_rows(found)


def _document(who: str, order: Row, one: Row, customer: str | None, cancelled: bool) -> Iterator[Wrong]:
    expected = {
        "FCustId.FNumber": customer,
        "FDate": _day(order["order_time"]),
        "FNote": order.get("remark"),
        "FSaleOrderFinance.FSettleCurrId.FNumber": "PRE001",
    }
    yield from _compare("order", who, expected, {**one, "FDate": one["FDate"][:10]})
    void, closed = one["FCancelStatus"] == "B", one["FCloseStatus"] == "B"
    if cancelled and not (void or closed):
        yield Wrong("stale", "order", who, "is cancelled in the CRM and lives on in the ERP")
    if not cancelled and (void or closed or one["FDocumentStatus"] != "C"):
        state = "void" if void else "closed" if closed else one["FDocumentStatus"]
        yield Wrong("stale", "order", who, f"has to be audited in the ERP and is {state}")
    shown = "已作废" if void else "已关闭" if closed else "已审核"
    yield from _compare("order", who, {"erp_no__c": one["FBillNo"], "erp_status__c": shown}, order)


def _sold(line: Row, codes: Mapping[str, str]) -> tuple[str | None, Decimal, Decimal]:
    quantity = Decimal(line["quantity"])
    price = (Decimal(line["subtotal"]) / quantity).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    return codes.get(line["product_id"]), quantity, price


def _rows(who: str, wanted: Sequence[tuple[str | None, Decimal, Decimal]], one: Row) -> Iterator[Wrong]:
    ours = [row for row in one["FSaleOrderEntry"] if row.get("F_HUB_ROW")]
    stands = Counter((row["FMaterialId.FNumber"], Decimal(row["FQty"]), Decimal(row["FTaxPrice"])) for row in ours)
    due = Counter(wanted)
    keys = Counter(row["F_HUB_ROW"] for row in ours)
    for key, count in keys.items():
        if count > 1:
            yield Wrong("duplicates", "order line", who, f"the line {key} stands {count} times in the ERP")
    for row in (due - stands).elements():
        yield Wrong("stale", "order line", who, f"{_line(row)} is missing in the ERP")
    for row in (stands - due).elements():
        yield Wrong("stale", "order line", who, f"{_line(row)} should not stand in the ERP")


def _line(row: tuple[str | None, Decimal, Decimal]) -> str:
    return f"{row[1].normalize():f} of {row[0]} at {row[2].normalize():f}"


def _withdrawn(found: Snapshot, documents: Mapping[Any, Sequence[Row]]) -> Iterator[Wrong]:
    """Orders that a person took out of the CRM must be void or closed in the ERP, if they had got there."""
    live = {row["_id"] for row in found.crm["SalesOrderObj"]}
    gone = {
        entry["id"]: entry["before"]["name"]
        for entry in found.crm_journal
        if entry["object"] == "SalesOrderObj" and entry["before"] and entry["id"] not in live
    }
    for name in gone.values():
        for one in documents.get(name, []):
            if one["FCancelStatus"] != "B" and one["FCloseStatus"] != "B":
                yield Wrong("stale", "order", name, "was taken out of the CRM and lives on in the ERP")


def _foreign_rows(found: Snapshot) -> Iterator[Wrong]:
    """Lines that the ERP's own people added must still stand there, as they left them."""
    added: dict[str, dict[int, Row]] = defaultdict(dict)
    for entry in found.erp_journal:
        if entry["object"] == "SAL_SaleOrder" and entry["actor"] != "api" and entry["after"]:
            entries = entry["after"]["FSaleOrderEntry"]
            added[entry["id"]] = {row["FEntryID"]: row for row in entries if not row.get("F_HUB_ROW")}
    documents = {str(row["FID"]): row for row in found.erp["SAL_SaleOrder"]}
    for id, rows in added.items():
        if not rows or id not in documents:
            continue
        stands = {row["FEntryID"]: row for row in documents[id]["FSaleOrderEntry"]}
        for key, row in rows.items():
            same = key in stands and all(stands[key].get(name) == row.get(name) for name in ("FMaterialId", "FQty"))
            if not same:
                yield Wrong("overwritten", "order line", documents[id]["FBillNo"], f"the ERP's own line {key} is gone")


# -- receipts ------------------------------------------------------------------------------------------------------


def _receipts(found: Snapshot) -> Iterator[Wrong]:
    payments = _by(found.crm["PaymentObj"], "erp_no__c")
    rows = _by(found.crm["OrderPaymentObj"], "payment_id")
    accounts = {row["erp_code__c"]: row["_id"] for row in found.crm["AccountObj"] if row.get("erp_code__c")}
    names = {row["FBillNo"]: row["F_CRM_NO"] for row in found.erp["SAL_SaleOrder"]}
    orders = {row["name"]: row["_id"] for row in found.crm["SalesOrderObj"]}
    for receipt in found.erp["AR_RECEIVEBILL"]:
        who = receipt["FBillNo"]
        shown = payments.pop(who, [])
        if receipt["FDocumentStatus"] != "C" or receipt["FCancelStatus"] == "B":
            if shown:
                yield Wrong("stale", "receipt", who, "stands in the CRM and is not booked in the ERP")
            continue
        one = yield from _only(shown, "receipt", who)
        if one is None:
            continue
        expected = {
            "account_id": accounts.get(receipt["FCONTACTUNIT.FNumber"]),
            "payment_amount": _money(receipt["FRECAMOUNTFOR"]),
            "payment_time": receipt["FDATE"][:10],
        }
        yield from _compare("receipt", who, expected, {**one, "payment_time": _day(one["payment_time"])})
        due = Counter(
            (orders.get(names.get(row["FORDERBILLNO"], "")), Decimal(row["FREALRECAMOUNTFOR_S"]))
            for row in receipt["FRECEIVEBILLSRCENTRY"]
            if row.get("FORDERBILLNO")
        )
        stands = Counter((row["order_id"], Decimal(row["payment_amount"])) for row in rows[one["_id"]])
        for order, amount in (due - stands).elements():
            yield Wrong("stale", "receipt row", who, f"{amount} for the order {order} is missing in the CRM")
        for order, amount in (stands - due).elements():
            yield Wrong("stale", "receipt row", who, f"{amount} for the order {order} should not stand in the CRM")
    for number, left in payments.items():
        yield Wrong("stale", "receipt", str(number), f"{len(left)} payments stand in the CRM only")


# -- what belongs to the other side --------------------------------------------------------------------------------


def _overwritten(found: Snapshot) -> Iterator[Wrong]:
    """The hub may fill what the other side owns when it creates a record, and never change it after."""
    for entry in _by_the_hub(found.erp_journal, "BD_Customer"):
        for name in ("FNumber", "F_HUB_CREDITLIMIT"):
            if entry["before"].get(name) != entry["after"].get(name):
                yield Wrong("overwritten", "customer", entry["after"]["FName"], f"the hub changed {name} in the ERP")
    for entry in _by_the_hub(found.crm_journal, "AccountObj"):
        for name in _CRM_OWNED:
            if entry["before"].get(name) != entry["after"].get(name):
                yield Wrong("overwritten", "customer", entry["after"]["name"], f"the hub changed {name} in the CRM")
    for entry in _by_the_hub(found.crm_journal, "SalesOrderObj"):
        for name in entry["after"].keys() - _ORDER_FIELDS_OF_THE_HUB - _STAMPS:
            if entry["before"].get(name) != entry["after"].get(name):
                yield Wrong("overwritten", "order", entry["after"]["name"], f"the hub changed {name} in the CRM")


def _by_the_hub(journal: Iterable[Row], object: str) -> Iterator[Row]:
    for entry in journal:
        if entry["actor"] == "api" and entry["object"] == object and entry["before"] and entry["after"]:
            yield entry


# -- how things are compared ---------------------------------------------------------------------------------------


def _by(rows: Iterable[Row], name: str) -> defaultdict[Any, list[Row]]:
    found: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.get(name)].append(row)
    return found


def _only(rows: Sequence[Row], what: str, who: str) -> Generator[Wrong, None, Row | None]:
    """The one record there has to be; none is lost, several are duplicates."""
    if not rows:
        yield Wrong("lost", what, who, "did not arrive")
    if len(rows) > 1:
        yield Wrong("duplicates", what, who, f"stands {len(rows)} times")
    return rows[0] if rows else None


def _compare(what: str, who: str, expected: Row, row: Row) -> Iterator[Wrong]:
    for name, value in expected.items():
        stands = row.get(name)
        if isinstance(value, Decimal) or name == "credit_limit__c":
            stands = _number(stands)
        if (stands or None) != (value or None):
            yield Wrong("stale", what, who, f"{name} is {stands!r} and has to be {value!r}")


def _money(value: Any) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, _CHINA).date().isoformat()
