"""Orders: what was sold in the CRM is one audited document of the ERP with these lines, and its state comes home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property

from tests.chaos.evidence import Row
from tests.chaos.truth_customers import ACCOUNT, TOLD, arrived, travels
from tests.chaos.truth_findings import (
    Finding,
    Kind,
    Owned,
    Values,
    by,
    day,
    differing,
    disordered,
    money,
    surplus,
    word,
)
from tests.chaos.truth_ground import CRM, Ground, Targets, hub_writes, stamp
from tests.chaos.truth_products import PRODUCT

FLOW, STATUS_FLOW = "orders-to-erp", "order-status-to-crm"
ORDER, LINE = "SalesOrderObj", "SalesOrderProductObj"
DOCUMENT, ENTRIES = "SAL_SaleOrder", "FSaleOrderEntry"

_STATES = {"Z": "暂存", "A": "已创建", "B": "审核中", "C": "已审核", "D": "重新审核"}
_ENDED = ("已作废", "已关闭")
_PLACES = Decimal("0.000001")
_NUMBER = Owned("erp_no__c", lambda row: word(row["FBillNo"]), lambda row: word(row.get("erp_no__c")))
_SHOWN = Owned("erp_status__c", lambda row: _state(row), lambda row: word(row.get("erp_status__c")))
_PLAIN = (
    Owned("FNote", lambda row: word(row.get("remark")), lambda row: word(row["FNote"])),
    Owned("FDate", lambda row: day(row["order_time"]), lambda row: day(row["FDate"])),
)


class Orders:
    """The orders of one piece of evidence."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._accounts = ground.crm.live(ACCOUNT)
        self._lines = by(ground.crm.live(LINE).values(), "order_id")
        self._codes = {id: word(row.get("product_code")) for id, row in ground.crm.live(PRODUCT).items()}
        self._sold = frozenset(word(row["FNumber"]) for row in ground.erp.live("BD_MATERIAL").values())
        self._documents = Targets(ground.erp, DOCUMENT, _document_known_by)
        self._paid = {
            number
            for receipt in ground.erp.live("AR_RECEIVEBILL").values()
            for row in receipt["FRECEIVEBILLSRCENTRY"]
            for number in (word(row.get("FORDERBILLNO")), word(row.get("FSRCBILLNO")))
        }

    @cached_property
    def _customers(self) -> Mapping[str, str]:
        return arrived(self._ground)

    def findings(self) -> Iterator[Finding]:
        """What is wrong with orders in either system."""
        for id, order in self._ground.crm.live(ORDER).items():
            yield from self._order(id, order)
        yield from self._withdrawn()
        yield from self._documents.unclaimed(self._ground.crm, ORDER, _order_keys)

    # -- one order -------------------------------------------------------------------------------------------------

    def _order(self, id: str, order: Row) -> Iterator[Finding]:
        who = f"order {order['name']}"
        going = self._travels(id, order) and not self._ground.excused(FLOW, id)
        excused = not going or self.waits_for(id) is not None
        one = yield from self._documents.the_one(who, _order_keys(id, order), excused=excused)
        if one is None:
            return
        document = self._documents.row(one)
        if not going:
            if not self._ever_fit(id) and self._ground.erp.journal.made_by_hub(DOCUMENT, one):
                yield Finding(Kind.STALE, f"{who} stands in the ERP and must not")
            return
        if not (self._ground.blocked(FLOW, id) and self.locked(id)):
            yield from self._as_sold(who, order, document)
            yield from differing(who, (TOLD,), document, order)
        if not self._ground.excused(STATUS_FLOW, one):
            yield from differing(who, (_NUMBER, _SHOWN), document, order)
        yield from self._in_order(who, id, one)

    def _travels(self, id: str, order: Row) -> bool:
        """Whether the ERP has to have it: approved, with lines, and its customer has a tax number."""
        account = self._accounts.get(str(order["account_id"]))
        approved = order["life_status"] in ("normal", "in_change")
        return approved and account is not None and bool(word(account.get("tax_no__c"))) and bool(self._lines[id])

    def _ever_fit(self, id: str) -> bool:
        """Whether there may have been a moment in which it had to travel."""
        versions = self._ground.crm.journal.versions(ORDER, id)
        accounts = {str(version["account_id"]) for version in versions if version["life_status"] == "normal"}
        lines = self._ground.crm.journal.ids(LINE)
        had_lines = any(
            str(self._ground.crm.journal.versions(LINE, line)[0]["order_id"]) == id
            for line in lines
            if self._ground.crm.journal.versions(LINE, line)
        )
        had_tax = any(
            word(version.get("tax_no__c"))
            for account in accounts
            for version in self._ground.crm.journal.versions(ACCOUNT, account)
        )
        return had_lines and had_tax

    def _as_sold(self, who: str, order: Row, document: Row) -> Iterator[Finding]:
        customer = Owned(
            "FCustId.FNumber",
            lambda row: self._customers.get(str(row["account_id"])),
            lambda row: word(row["FCustId.FNumber"]),
        )
        cancelled, state = str(order.get("order_status")) == "99", _state(document)
        if cancelled and state in _ENDED:
            return  # what has ended is not edited any more
        if cancelled:
            yield Finding(Kind.STALE, f"{who} is cancelled in the CRM and {state} in the ERP")
        elif state != "已审核":
            yield Finding(Kind.STALE, f"{who} has to be audited in the ERP and is {state}")
        yield from differing(who, (*_PLAIN, customer), order, document)
        ours = [row for row in document[ENTRIES] if word(row.get("F_HUB_ROW"))]
        yield from _doubled(who, ours)
        yield from surplus(who, map(self._due, self._lines[str(order["_id"])]), map(_entry, ours))

    def _due(self, line: Row) -> Values:
        quantity = Decimal(str(line["quantity"]))
        price = (money(line["subtotal"]) / quantity).quantize(_PLACES, ROUND_HALF_UP) if quantity else None
        return self._codes.get(str(line["product_id"])), quantity.normalize(), price

    def _in_order(self, who: str, id: str, document: str) -> Iterator[Finding]:
        journal, erp_journal = self._ground.crm.journal, self._ground.erp.journal
        writes = hub_writes(erp_journal, DOCUMENT, document)
        yield from disordered(who, _PLAIN, journal.versions(ORDER, id), writes)
        states = erp_journal.versions(DOCUMENT, document)
        yield from disordered(who, (_SHOWN,), states, hub_writes(journal, ORDER, id))
        for line in self._lines[id]:
            key = str(line["_id"])
            entry = Owned(f"line {key}", self._due, lambda row, key=key: _entry_of(row, key))  # type: ignore[misc]
            yield from disordered(who, (entry,), journal.versions(LINE, key), writes)

    # -- what else the ledger's truth asks ------------------------------------------------------------------------

    def waits_for(self, id: str) -> str | None:
        """What an order has to wait for because nobody brings it to the ERP; None if all it refers to is there."""
        order = self._ground.crm.live(ORDER).get(id)
        if order is None:
            return None
        account = str(order["account_id"])
        if account not in self._customers and not (account in self._accounts and travels(self._accounts[account])):
            return f"customer {account}"
        for line in self._lines[id]:
            if self._codes.get(str(line["product_id"])) not in self._sold:
                return f"product {line['product_id']}"
        return None

    def locked(self, id: str) -> bool:
        """Whether a receipt hangs on the order's document, so that the ERP lets nobody re-open it."""
        versions = self._ground.crm.journal.versions(ORDER, id)
        if not versions:
            return False
        documents = self._documents.of(_order_keys(id, versions[-1]))
        return any(word(self._documents.row(one)["FBillNo"]) in self._paid for one in documents)

    # -- what was taken out ---------------------------------------------------------------------------------------

    def _withdrawn(self) -> Iterator[Finding]:
        """An order that a person took out of the CRM is void or closed in the ERP, if it had got there."""
        journal = self._ground.crm.journal
        for id in journal.ids(ORDER):
            last = journal.of(ORDER, id)[-1]
            if last["after"] is not None or self._ground.excused(FLOW, id):
                continue
            keys = _order_keys(id, last["before"])
            who = f"order {last['before']['name']}"
            one = yield from self._documents.the_one(who, keys, excused=True)
            if one is None or (self._ground.blocked(FLOW, id) and self.locked(id)):
                continue
            if (state := _state(self._documents.row(one))) not in _ENDED:
                yield Finding(Kind.STALE, f"{who} was taken out of the CRM and lives on in the ERP ({state})")


def _state(document: Row) -> str | None:
    """Void beats closed, and closed beats the state of the document."""
    if document["FCancelStatus"] == "B":
        return "已作废"
    if document["FCloseStatus"] == "B":
        return "已关闭"
    return _STATES.get(str(document["FDocumentStatus"]))


def _entry(row: Row) -> Values:
    quantity = Decimal(str(row["FQty"])).normalize()
    return word(row["FMaterialId.FNumber"]), quantity, money(row["FTaxPrice"], "0.000001")


def _entry_of(document: Row, key: str) -> Values | None:
    return next((_entry(row) for row in document[ENTRIES] if row.get("F_HUB_ROW") == key), None)


def _doubled(who: str, entries: Sequence[Row]) -> Iterator[Finding]:
    for key, count in Counter(row["F_HUB_ROW"] for row in entries).items():
        if count > 1:
            yield Finding(Kind.DUPLICATES, f"{who}: the line {key} stands {count} times in the ERP")


def _document_known_by(row: Row) -> Iterator[Hashable]:
    if name := word(row.get("F_CRM_NO")):
        yield "order", name
    if row.get("F_HUB_KEY"):
        yield "stamp", row["F_HUB_KEY"]


def _order_keys(id: str, order: Row) -> list[Hashable]:
    return [("order", word(order["name"])), stamp(CRM, ORDER, id)]
