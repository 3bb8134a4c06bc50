"""Products: an audited material of the ERP stands in the CRM, once, with the face that was audited last."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from tests.chaos.evidence import Row
from tests.chaos.truth_findings import Finding, Kind, Owned, differing, disordered, money, word
from tests.chaos.truth_ground import ERP, Ground, Targets, as_it_was_found, hub_writes, stamp

FLOW = "products"
MATERIAL, PRODUCT = "BD_MATERIAL", "ProductObj"

_UNITS = {"Pcs": "1", "Unit": "2", "Set": "3", "kg": "4", "m": "5", "Vehicle": "18"}

# CRM field -> ERP field, as people edit them.
NAMES = {
    "name": "FName",
    "product_spec": "FSpecification",
    "price": "F_HUB_PRICE",
    "unit": "FBaseUnitId.FNumber",
    "product_status": "FForbidStatus",
}
OWNED = (
    Owned("name", lambda row: word(row["FName"]), lambda row: word(row.get("name"))),
    Owned("product_code", lambda row: word(row["FNumber"]), lambda row: word(row.get("product_code"))),
    Owned("product_spec", lambda row: word(row["FSpecification"]), lambda row: word(row.get("product_spec"))),
    Owned("price", lambda row: money(row["F_HUB_PRICE"]), lambda row: money(row.get("price"))),
    Owned("unit", lambda row: _UNITS.get(str(row["FBaseUnitId.FNumber"])), lambda row: word(row.get("unit"))),
    Owned(
        "product_status", lambda row: "2" if row["FForbidStatus"] == "B" else "1", lambda row: row.get("product_status")
    ),
)


def products(ground: Ground) -> Iterator[Finding]:
    """What is wrong with products in the CRM."""
    shelf = Targets(ground.crm, PRODUCT, _known_by)
    for id, material in ground.erp.live(MATERIAL).items():
        who = f"product {material['FNumber']}"
        faces = [row for row in ground.erp.journal.versions(MATERIAL, id) if row["FDocumentStatus"] == "C"]
        audited = material["FDocumentStatus"] == "C"
        excused = not audited or ground.excused(FLOW, id)
        one = yield from shelf.the_one(who, _keys(id, material), excused=excused)
        if one is None or ground.excused(FLOW, id):
            continue
        row = shelf.row(one)
        if not faces:
            if ground.crm.journal.made_by_hub(PRODUCT, one):
                yield Finding(Kind.STALE, f"{who} stands in the CRM and was never audited in the ERP")
            continue
        # While it is being changed, which of its audited faces has been seen is a matter of when the hub has looked.
        owned = [field for field in OWNED if not as_it_was_found(ground.crm.journal, PRODUCT, one, faces, field)]
        differences = [list(differing(who, owned, face, row)) for face in ([faces[-1]] if audited else faces)]
        yield from min(differences, key=len)
        yield from disordered(who, OWNED, faces, hub_writes(ground.crm.journal, PRODUCT, one))
    yield from shelf.unclaimed(ground.erp, MATERIAL, _keys)


def _known_by(row: Row) -> Iterator[Hashable]:
    yield "code", word(row.get("product_code"))
    if row.get("hub_key__c"):
        yield "stamp", row["hub_key__c"]


def _keys(id: str, material: Row) -> list[Hashable]:
    return [("code", word(material["FNumber"])), stamp(ERP, MATERIAL, id)]
