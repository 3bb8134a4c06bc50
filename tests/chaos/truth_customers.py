"""Customers, both ways: the CRM keeps name, tax code, phone and address, the ERP number and credit limit."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from decimal import Decimal

from tests.chaos.evidence import Row
from tests.chaos.truth_findings import Finding, Journal, Kind, Owned, differing, disordered, number, word
from tests.chaos.truth_ground import CRM, ERP, Ground, Targets, as_it_was_found, hub_writes, stamp

TO_ERP, TO_CRM = "customers-to-erp", "customers-to-crm"
ACCOUNT, CUSTOMER = "AccountObj", "BD_Customer"

# ERP field -> CRM field, of what each side owns.
CRM_OWNS = {"FName": "name", "FTAXREGISTERCODE": "tax_no__c", "FTEL": "tel", "FADDRESS": "address"}
ERP_OWNS = {"FNumber": "erp_code__c", "F_HUB_CREDITLIMIT": "credit_limit__c"}

_AUDITED = Owned("FDocumentStatus", lambda row: "C", lambda row: row["FDocumentStatus"])
_CODE = Owned("erp_code__c", lambda row: word(row["FNumber"]), lambda row: word(row.get("erp_code__c")))
_LIMIT = Owned(
    "credit_limit__c", lambda row: _limit(row["F_HUB_CREDITLIMIT"]), lambda row: _limit(row.get("credit_limit__c"))
)


def _limit(value: object) -> Decimal:
    """The ERP's number columns know no null: no limit is nought."""
    return number(value) or Decimal(0)


def _text(theirs: str, ours: str) -> Owned:
    return Owned(theirs, lambda row: word(row.get(ours)), lambda row: word(row.get(theirs)))


# What the salesperson reads beside a record that has arrived.
TOLD = Owned("sync__c", lambda row: "已同步", lambda row: word(row.get("sync__c")))
OF_CRM = tuple(_text(theirs, ours) for theirs, ours in CRM_OWNS.items())
OF_ERP = (_CODE, _LIMIT)


def customers(ground: Ground) -> Iterator[Finding]:
    """What is wrong with customers in either system."""
    yield from _in_erp(ground)
    yield from _in_crm(ground)


def arrived(ground: Ground) -> dict[str, str]:
    """Account -> the ERP's number of the customer that stands for it, as far as there is one."""
    in_erp = Targets(ground.erp, CUSTOMER, _customer_known_by)
    found = {id: in_erp.of(_account_keys(id, account)) for id, account in ground.crm.live(ACCOUNT).items()}
    return {id: str(in_erp.row(ids[0])["FNumber"]) for id, ids in found.items() if ids}


def travels(account: Row) -> bool:
    """Whether a salesperson's customer has to stand in the ERP."""
    return bool(account["life_status"] == "normal")


def _in_erp(ground: Ground) -> Iterator[Finding]:
    in_erp = Targets(ground.erp, CUSTOMER, _customer_known_by)
    for id, account in ground.crm.live(ACCOUNT).items():
        who, going = f"customer {account['name']}", travels(account)
        excused = not going or ground.excused(TO_ERP, id)
        one = yield from in_erp.the_one(who, _account_keys(id, account), excused=excused)
        if one is None:
            continue
        row = in_erp.row(one)
        if going and not ground.excused(TO_ERP, id):
            yield from differing(who, (_AUDITED,), account, row)
            yield from differing(who, (TOLD,), row, account)
            yield from differing(who, _to_be_equal(ground, id, one), account, row)
        elif ground.erp.journal.made_by_hub(CUSTOMER, one) and not _ever_travelled(ground.crm.journal, id):
            yield Finding(Kind.STALE, f"{who} stands in the ERP before it was approved in the CRM")
        writes = hub_writes(ground.erp.journal, CUSTOMER, one)
        yield from disordered(who, OF_CRM, ground.crm.journal.versions(ACCOUNT, id), writes)
    yield from in_erp.unclaimed(ground.crm, ACCOUNT, _account_keys)


def _in_crm(ground: Ground) -> Iterator[Finding]:
    in_crm = Targets(ground.crm, ACCOUNT, _account_known_by)
    for id, customer in ground.erp.live(CUSTOMER).items():
        who = f"customer {customer['FNumber']} of the ERP"
        going = customer["FDocumentStatus"] == "C" and customer["FForbidStatus"] != "B"
        excused = not going or ground.excused(TO_CRM, id)
        one = yield from in_crm.the_one(who, _customer_keys(id, customer), excused=excused)
        if one is None or excused:
            continue
        yield from differing(who, OF_ERP, customer, in_crm.row(one))
        writes = hub_writes(ground.crm.journal, ACCOUNT, one)
        yield from disordered(who, OF_ERP, ground.erp.journal.versions(CUSTOMER, id), writes)
    yield from in_crm.unclaimed(ground.erp, CUSTOMER, _customer_keys)


def _to_be_equal(ground: Ground, account: str, customer: str) -> list[Owned]:
    """What the ERP has to say as the CRM does: all that the CRM owns, but for what the two said before they met."""
    ours, theirs = ground.crm.journal, ground.erp.journal
    if ours.made_by_hub(ACCOUNT, account):
        return list(OF_CRM)
    versions = ours.versions(ACCOUNT, account)
    return [field for field in OF_CRM if not as_it_was_found(theirs, CUSTOMER, customer, versions, field)]


def _ever_travelled(journal: Journal, account: str) -> bool:
    return any(travels(version) for version in journal.versions(ACCOUNT, account))


# What ties a customer of one system to that of the other: the hub's stamp, the ERP's number, the tax code; the name
# where there is no tax code.


def _customer_known_by(row: Row) -> Iterator[Hashable]:
    yield "code", word(row["FNumber"])
    yield from _tax_or_name(row["FTAXREGISTERCODE"], row["FName"])
    if row.get("F_HUB_KEY"):
        yield "stamp", row["F_HUB_KEY"]


def _account_keys(id: str, account: Row) -> list[Hashable]:
    code = word(account.get("erp_code__c"))
    tied = [("code", code)] if code else []
    return [*tied, *_tax_or_name(account.get("tax_no__c"), account["name"]), stamp(CRM, ACCOUNT, id)]


def _account_known_by(row: Row) -> Iterator[Hashable]:
    if code := word(row.get("erp_code__c")):
        yield "code", code
    yield from _tax_or_name(row.get("tax_no__c"), row.get("name"))
    if row.get("hub_key__c"):
        yield "stamp", row["hub_key__c"]


def _customer_keys(id: str, customer: Row) -> list[Hashable]:
    tied = _tax_or_name(customer["FTAXREGISTERCODE"], customer["FName"])
    return [("code", word(customer["FNumber"])), *tied, stamp(ERP, CUSTOMER, id)]


def _tax_or_name(tax: object, name: object) -> Iterator[Hashable]:
    code = word(tax)
    yield ("tax", code) if code else ("name", word(name))
