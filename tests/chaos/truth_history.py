"""Overwritten: what was not the hub's to change, by the journals of both systems and the hub's record of attempts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from tests.chaos.evidence import Row
from tests.chaos.truth_customers import ACCOUNT, CRM_OWNS, CUSTOMER, ERP_OWNS
from tests.chaos.truth_findings import HUB, Finding, Journal, Kind, shown, word
from tests.chaos.truth_ground import Ground, Side
from tests.chaos.truth_orders import DOCUMENT, ENTRIES
from tests.chaos.truth_products import MATERIAL, PRODUCT
from tests.chaos.truth_products import NAMES as PRODUCT_NAMES

# What the hub may change in a record that stands: the fields that the business gave it. What the vendor works out from
# them (states, stamps, amounts) changes along. Of every other object it may change nothing.
_STAMPS = frozenset({"version", "last_modified_time", "last_modified_by"})
_CRM_FIELDS: Mapping[str, frozenset[str]] = {
    "AccountObj": frozenset({*CRM_OWNS.values(), *ERP_OWNS.values(), "sync__c", "sync_msg__c"}),
    "ProductObj": frozenset({"name", "product_code", "product_spec", "price", "unit", "product_status"}),
    "SalesOrderObj": frozenset({"erp_no__c", "erp_status__c", "sync__c", "sync_msg__c"}),
    "PaymentObj": frozenset({"erp_no__c", "account_id", "payment_time", "payment_amount"}),
    "OrderPaymentObj": frozenset({"order_id", "payment_amount"}),
}
_ERP_STAMPS = frozenset({"FModifyDate", "FApproveDate", "FDocumentStatus"})
_ERP_FIELDS: Mapping[str, frozenset[str]] = {
    "BD_Customer": frozenset({*CRM_OWNS, *ERP_OWNS, "FTRADINGCURRID", "FCreateOrgId", "FUseOrgId"}),
    "SAL_SaleOrder": frozenset(
        {"F_CRM_NO", "FBillTypeID", "FSaleOrgId", "FDate", "FCustId", "FSaleOrderFinance", "FNote", ENTRIES}
        | {"FCancelStatus", "FCloseStatus"}
    ),
}
_DELETES = frozenset({"PaymentObj", "OrderPaymentObj"})
_ROW_FIELDS = ("FMaterialId.FNumber", "FQty", "FTaxPrice", "FEntryNote")


def overwritten(ground: Ground) -> Iterator[Finding]:
    """Every change of the hub that took something of somebody else's."""
    yield from _bystanders(ground.crm, _CRM_FIELDS, _STAMPS)
    yield from _bystanders(ground.erp, _ERP_FIELDS, _ERP_STAMPS)
    yield from _not_the_hubs_orders(ground)
    yield from _other_sides_fields(ground)
    yield from _unrecorded(ground)
    yield from _foreign_rows(ground)


# -- records and fields that nobody gave to the hub -----------------------------------------------------------------


def _bystanders(side: Side, fields: Mapping[str, frozenset[str]], stamps: frozenset[str]) -> Iterator[Finding]:
    for entry in side.journal.entries:
        if entry["actor"] != HUB or entry["before"] is None:
            continue
        object, what = str(entry["object"]), f"{entry['object']} {entry['id']} in the {side.name}"
        if entry["after"] is None:
            if object not in _DELETES or not side.journal.made_by_hub(object, entry["id"]):
                yield Finding(Kind.OVERWRITTEN, f"{what} was deleted by the hub, which did not make it")
            continue
        allowed = fields.get(object, frozenset()) | stamps
        for name in sorted(_changed(entry["before"], entry["after"])):
            if name not in allowed and name.partition(".")[0] not in allowed:
                text = f"{what}: the hub changed {name} from {shown(entry['before'].get(name))}"
                yield Finding(Kind.OVERWRITTEN, text)


def _changed(before: Row, after: Row) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def _not_the_hubs_orders(ground: Ground) -> Iterator[Finding]:
    """Documents that people keyed in at the ERP, and payments that people entered in the CRM."""
    for side, object, key, stamp in (
        (ground.erp, DOCUMENT, "F_CRM_NO", "F_HUB_KEY"),
        (ground.crm, "PaymentObj", "erp_no__c", "hub_key__c"),
    ):
        for entry in side.journal.hub_changes(object):
            if not word(entry["before"].get(key)) and not word(entry["before"].get(stamp)):
                text = f"{object} {entry['id']} in the {side.name} is none of the hub's, and was changed by it"
                yield Finding(Kind.OVERWRITTEN, text)


# -- fields that another side keeps -------------------------------------------------------------------------------


def _other_sides_fields(ground: Ground) -> Iterator[Finding]:
    """The hub may fill what the other side owns where it is empty, and never change it after."""
    for side, object, names in (
        (ground.erp, CUSTOMER, list(ERP_OWNS)),
        (ground.crm, ACCOUNT, list(CRM_OWNS.values())),
    ):
        for entry in side.journal.hub_changes(object):
            for name in names:
                before, after = word(entry["before"].get(name)), word(entry["after"].get(name))
                if before is not None and before != after:
                    text = (
                        f"{object} {entry['id']}: the hub changed {name}, which is the {side.name}'s own, "
                        f"from {shown(before)} to {shown(after)}"
                    )
                    yield Finding(Kind.OVERWRITTEN, text)


def _unrecorded(ground: Ground) -> Iterator[Finding]:
    """A person's value in a field that is another side's to keep may be put right, if what stood there is written down.

    No record is needed where the owner has changed the field after that person did.
    """
    records, edits = _records(ground.evidence.attempts), _Edits(ground.evidence.people)
    for side, object, owner, owner_object, fields in (
        (ground.erp, CUSTOMER, ground.crm, ACCOUNT, CRM_OWNS),
        (ground.crm, ACCOUNT, ground.erp, CUSTOMER, {ours: theirs for theirs, ours in ERP_OWNS.items()}),
        (ground.crm, PRODUCT, ground.erp, MATERIAL, PRODUCT_NAMES),
    ):
        partners = _partners(side, object, owner, owner_object)
        for entry in side.journal.hub_changes(object):
            for name, owners in fields.items():
                old, new = word(entry["before"].get(name)), word(entry["after"].get(name))
                if old is None or old == new or _written_by_hub(side.journal, entry, name):
                    continue
                kept = (str(entry["id"]), name, old) in records
                since = edits.last(side.name, object, str(entry["id"]), name, old)
                if kept or edits.after(since, owner.name, owner_object, partners.get(str(entry["id"]), set()), owners):
                    continue
                text = f"{object} {entry['id']}: {name} {shown(old)}, set by a person, became {shown(new)} unrecorded"
                yield Finding(Kind.OVERWRITTEN, text)


def _written_by_hub(journal: Journal, change: Row, name: str) -> bool:
    """Whether what the hub replaced was its own."""
    writer = None
    for entry in journal.of(str(change["object"]), str(change["id"])):
        if entry["seq"] >= change["seq"]:
            break
        before = entry["before"] or {}
        if entry["after"] is not None and before.get(name) != entry["after"].get(name):
            writer = entry["actor"]
    return writer == HUB


def _records(attempts: Sequence[Row]) -> set[tuple[str, str, str | None]]:
    """What the hub says that it has overwritten: (target id, field, what stood there)."""
    found: set[tuple[str, str, str | None]] = set()
    for attempt in attempts:
        before = attempt.get("before")
        kept: dict[str, Any] = orjson.loads(before) if isinstance(before, str) else dict(before or {})
        found.update((str(attempt["target_id"]), name, word(value)) for name, value in kept.items())
    return found


def _partners(side: Side, object: str, owner: Side, owner_object: str) -> dict[str, set[str]]:
    """Which records of the owner's side a record has ever gone with: same number, tax code or name."""
    known: defaultdict[Hashable, set[str]] = defaultdict(set)
    for id in owner.journal.ids(owner_object):
        for version in owner.journal.versions(owner_object, id):
            for key in _ties(version):
                known[key].add(id)
    return {
        id: {one for version in side.journal.versions(object, id) for key in _ties(version) for one in known[key]}
        for id in side.journal.ids(object)
    }


def _ties(row: Row) -> list[Hashable]:
    pairs = (
        ("code", row.get("FNumber") or row.get("product_code") or row.get("erp_code__c")),
        ("tax", row.get("FTAXREGISTERCODE") or row.get("tax_no__c")),
        ("name", row.get("FName") or row.get("name")),
    )
    return [(kind, word(value)) for kind, value in pairs if word(value)]


class _Edits:
    """What the world did as persons, in the order in which it did it."""

    def __init__(self, people: Sequence[Row]) -> None:
        self._people = people

    def last(self, side: str, object: str, id: str, name: str, value: str) -> int:
        """The place of the last edit that put the value there; -1: it stood there before the world began."""
        for place in range(len(self._people) - 1, -1, -1):
            edit = self._people[place]
            same = (edit["side"], edit["object"], str(edit["id"])) == (side, object, id)
            if same and word((edit.get("fields") or {}).get(name)) == value:
                return place
        return -1

    def after(self, place: int, side: str, object: str, ids: set[str], name: str) -> bool:
        """Whether somebody changed that field of one of these records after that."""
        return any(
            edit["side"] == side
            and edit["object"] == object
            and str(edit["id"]) in ids
            and name in (edit.get("fields") or {})
            for edit in self._people[place + 1 :]
        )


# -- rows that the other side added --------------------------------------------------------------------------------


def _foreign_rows(ground: Ground) -> Iterator[Finding]:
    """Lines that the ERP's own people added must survive what the hub does to their order."""
    foreign: set[tuple[str, Any]] = set()
    known: set[tuple[str, Any]] = set()
    for entry in ground.erp.journal.entries:
        if entry["object"] != DOCUMENT or entry["after"] is None:
            continue
        id, hub = str(entry["id"]), entry["actor"] == HUB
        after = {row["FEntryID"]: row for row in entry["after"][ENTRIES]}
        for row in (entry["before"] or {}).get(ENTRIES) or ():
            key = row["FEntryID"]
            if hub and (id, key) in foreign and not _same(row, after.get(key)):
                what = "changed" if key in after else "taken out"
                number = entry["after"]["FBillNo"]
                yield Finding(Kind.OVERWRITTEN, f"order {number}: the ERP's own line {key} was {what} by the hub")
        for key, row in after.items():
            if (id, key) not in known and not hub and not word(row.get("F_HUB_ROW")):
                foreign.add((id, key))
            known.add((id, key))


def _same(row: Row, other: Row | None) -> bool:
    return other is not None and all(row.get(name) == other.get(name) for name in _ROW_FIELDS)
