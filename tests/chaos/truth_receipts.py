"""Receipts: money that is booked in the ERP stands in the CRM at its customer and orders, and nothing else does."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from tests.chaos.evidence import Row
from tests.chaos.truth_customers import ACCOUNT
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
from tests.chaos.truth_ground import ERP, Ground, Targets, hub_writes, stamp
from tests.chaos.truth_orders import DOCUMENT, ORDER

FLOW = "receipts-to-crm"
RECEIPT, PAYMENT, SHARE = "AR_RECEIVEBILL", "PaymentObj", "OrderPaymentObj"

_PAID = "FRECEIVEBILLSRCENTRY"
_PLAIN = (
    Owned("payment_amount", lambda row: money(row["FRECAMOUNTFOR"]), lambda row: money(row.get("payment_amount"))),
    Owned("payment_time", lambda row: day(row["FDATE"]), lambda row: day(row.get("payment_time"))),
)


class Receipts:
    """The receipts of one piece of evidence."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._payments = Targets(ground.crm, PAYMENT, _payment_known_by)
        self._shares = by(ground.crm.live(SHARE).values(), "payment_id")
        accounts = ground.crm.live(ACCOUNT).items()
        self._accounts = {word(row.get("erp_code__c")): id for id, row in accounts if word(row.get("erp_code__c"))}
        names = {row["name"]: id for id, row in ground.crm.live(ORDER).items()}
        self._orders = {row["FBillNo"]: names.get(row["F_CRM_NO"]) for row in ground.erp.live(DOCUMENT).values()}

    def findings(self) -> Iterator[Finding]:
        """What is wrong with payments in the CRM."""
        for id, receipt in self._ground.erp.live(RECEIPT).items():
            yield from self._receipt(id, receipt)
        yield from self._deleted()
        yield from self._payments.unclaimed(self._ground.erp, RECEIPT, _receipt_keys)

    def _receipt(self, id: str, receipt: Row) -> Iterator[Finding]:
        who, booked = f"receipt {receipt['FBillNo']}", _booked(receipt)
        excused = not booked or self._ground.excused(FLOW, id) or self.waits_for(id) is not None
        one = yield from self._payments.the_one(who, _receipt_keys(id, receipt), excused=excused)
        if one is None:
            return
        if not booked and not self._ground.excused(FLOW, id):
            yield Finding(Kind.STALE, f"{who} stands in the CRM and is not booked in the ERP")
        if excused:
            return
        payment = self._payments.row(one)
        account = Owned(
            "account_id",
            lambda row: self._accounts.get(word(row["FCONTACTUNIT.FNumber"])),
            lambda row: word(row.get("account_id")),
        )
        yield from differing(who, (*_PLAIN, account), receipt, payment)
        yield from surplus(who, self._due(receipt), map(_share, self._shares[one]))
        writes = hub_writes(self._ground.crm.journal, PAYMENT, one)
        yield from disordered(who, _PLAIN, self._ground.erp.journal.versions(RECEIPT, id), writes)

    def _due(self, receipt: Row) -> Iterator[Values]:
        for row in receipt[_PAID]:
            if number := word(row.get("FORDERBILLNO")):
                yield self._orders.get(number), money(row["FREALRECAMOUNTFOR_S"])

    def waits_for(self, id: str) -> str | None:
        """The customer or order that a booked receipt names and the CRM does not have; None if all are there."""
        receipt = self._ground.erp.live(RECEIPT).get(id)
        if receipt is None:
            return None
        if word(receipt["FCONTACTUNIT.FNumber"]) not in self._accounts:
            return f"customer {receipt['FCONTACTUNIT.FNumber']}"
        for row in receipt[_PAID]:
            number = word(row.get("FORDERBILLNO"))
            if number and self._orders.get(number) is None:
                return f"order {number}"
        return None

    def _deleted(self) -> Iterator[Finding]:
        """A payment whose receipt is gone from the ERP must be gone as well."""
        journal = self._ground.erp.journal
        for id in journal.ids(RECEIPT):
            last = journal.of(RECEIPT, id)[-1]
            if last["after"] is not None or self._ground.excused(FLOW, id):
                continue
            who = f"receipt {last['before']['FBillNo']}"
            keys = _receipt_keys(id, last["before"])
            if (yield from self._payments.the_one(who, keys, excused=True)) is not None:
                yield Finding(Kind.STALE, f"{who} stands in the CRM and was deleted in the ERP")


def _booked(receipt: Row) -> bool:
    customers = receipt["FCONTACTUNITTYPE"] == "BD_Customer"
    return bool(customers and receipt["FDocumentStatus"] == "C" and receipt["FCancelStatus"] != "B")


def _share(row: Row) -> Values:
    return word(row.get("order_id")), money(row.get("payment_amount"))


def _payment_known_by(row: Row) -> Iterator[Hashable]:
    if number := word(row.get("erp_no__c")):
        yield "receipt", number
    if row.get("hub_key__c"):
        yield "stamp", row["hub_key__c"]


def _receipt_keys(id: str, receipt: Row) -> list[Hashable]:
    return [("receipt", word(receipt["FBillNo"])), stamp(ERP, RECEIPT, id)]
