"""A made-up company for the checker's own tests: two systems and a ledger, written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.checker import Figures, check
from tests.chaos.evidence import Evidence

Fields = dict[str, Any]

ACCOUNT, CUSTOMER, PRODUCT, MATERIAL = "AccountObj", "BD_Customer", "ProductObj", "BD_MATERIAL"
ORDER, LINE, DOCUMENT = "SalesOrderObj", "SalesOrderProductObj", "SAL_SaleOrder"
RECEIPT, PAYMENT, SHARE = "AR_RECEIVEBILL", "PaymentObj", "OrderPaymentObj"


@dataclass
class Company:
    """Two systems with one of everything, as the hub should have left them."""

    records: dict[str, dict[str, dict[str, Fields]]] = field(default_factory=lambda: {"crm": {}, "erp": {}})
    journals: dict[str, list[Fields]] = field(default_factory=lambda: {"crm": [], "erp": []})
    people: list[Fields] = field(default_factory=list)
    identities: list[Fields] = field(default_factory=list)
    deliveries: list[Fields] = field(default_factory=list)
    attempts: list[Fields] = field(default_factory=list)
    changes: int = 10
    dead: set[tuple[str, str]] = field(default_factory=set)
    held: set[tuple[str, str]] = field(default_factory=set)

    def write(self, side: str, actor: str, object: str, id: str, fields: Fields | None) -> None:
        """Commit a record (None: it goes), as a simulator does."""
        rows = self.records[side].setdefault(object, {})
        before = rows.get(id)
        after = None if fields is None else {**(before or {}), **fields}
        if after is None:
            del rows[id]
        else:
            rows[id] = after
        journal = self.journals[side]
        op = "delete" if after is None else "update" if before else "create"
        entry = {"seq": len(journal) + 1, "at": len(journal), "actor": actor, "op": op, "object": object, "id": id}
        journal.append({**entry, "before": before, "after": after})

    def hub(self, side: str, object: str, id: str, **fields: Any) -> None:
        """A write of the hub."""
        self.write(side, "api", object, id, dotted(fields))

    def person(self, side: str, object: str, id: str, **fields: Any) -> None:
        """An edit of a person; without fields, the deletion."""
        self.write(side, "person:1001" if side == "crm" else "person", object, id, dotted(fields) or None)
        self.people.append(
            {"side": side, "op": "update", "object": object, "id": id, "fields": dotted(fields), "at": 0}
        )

    def delivery(self, flow: str, id: str, state: str, **more: Any) -> None:
        """A row of the ledger; one that is there is changed."""
        self.deliveries = [one for one in self.deliveries if (one["flow"], one["source_id"]) != (flow, id)]
        row = {"flow": flow, "source_id": id, "state": state, "reason": None, "message": None, "title": None}
        self.deliveries.append({**row, "deleted": False, **more})

    def identity(self, system: str, object: str, id: str, **more: Any) -> None:
        """A row of the ID map."""
        row = {"id": len(self.identities) + 1, "system": system, "object": object, "record_id": id}
        defaults = {"role": "primary", "tombstone": None, "parent": None, "origin": "created"}
        self.identities.append({**row, **defaults, **more})

    def figures(self) -> Figures:
        return check(
            Evidence(
                crm_records=dict(self.records["crm"].items()),
                erp_records=dict(self.records["erp"].items()),
                crm_journal=self.journals["crm"],
                erp_journal=self.journals["erp"],
                identities=self.identities,
                deliveries=self.deliveries,
                attempts=self.attempts,
                changes=self.changes,
                expected_dead=frozenset(self.dead),
                expected_held=frozenset(self.held),
                people=self.people,
            )
        )


def dotted(fields: Fields) -> Fields:
    """Keywords can't have dots: `FCustId__FNumber` is `FCustId.FNumber` (custom fields end in `__c`)."""
    return {name if name.endswith("__c") else name.replace("__", "."): value for name, value in fields.items()}


def entry(key: str, row: int, quantity: str = "2", price: str = "600", **more: Any) -> Fields:
    """A line of the ERP's document that the hub keeps."""
    ours = {"FEntryID": row, "F_HUB_ROW": key, "FMaterialId.FNumber": "WL1", "FQty": quantity, "FTaxPrice": price}
    return {**ours, **more}


FREIGHT = {"FEntryID": 99, "FMaterialId.FNumber": "WL1", "FQty": "1", "FTaxPrice": "50", "FEntryNote": "运费"}


def company_at_rest() -> Company:
    """One of everything, brought where it belongs."""
    made = Company()
    flags = {"FDocumentStatus": "C", "FForbidStatus": "A"}
    goods = {"FNumber": "WL1", "FName": "电机", "FSpecification": "750W", "F_HUB_PRICE": "600.000000"}
    made.write("erp", "seed", MATERIAL, "m1", {**goods, "FBaseUnitId.FNumber": "Pcs", **flags})
    shelf = {"product_code": "WL1", "product_spec": "750W", "price": "600.00", "unit": "1", "product_status": "1"}
    made.hub("crm", PRODUCT, "p1", name="电机", hub_key__c="erp:BD_MATERIAL:m1", **shelf)
    made.person("crm", ACCOUNT, "a1", name="华瑞", tax_no__c="T1", tel="1", address="路1", life_status="normal")
    theirs = {"FNumber": "C1", "FName": "华瑞", "FTAXREGISTERCODE": "T1", "FTEL": "1", "FADDRESS": "路1"}
    finance = {"F_HUB_CREDITLIMIT": None, "F_HUB_KEY": "crm:AccountObj:a1"}
    made.write("erp", "api", CUSTOMER, "c1", {**theirs, **finance, **flags, "FDocumentStatus": "A"})
    made.hub("erp", CUSTOMER, "c1", FDocumentStatus="C")
    made.hub("crm", ACCOUNT, "a1", erp_code__c="C1", sync__c="已同步")
    order = {"name": "SO-1", "account_id": "a1", "order_time": 1_767_628_800_000, "order_status": "7", "remark": "急"}
    made.person("crm", ORDER, "o1", **order, _id="o1", life_status="normal")
    for key in ("l1", "l2"):
        line = {"order_id": "o1", "product_id": "p1", "quantity": "2.0000", "subtotal": "1200.00"}
        made.person("crm", LINE, key, _id=key, **line)
    document = {"FBillNo": "X1", "F_CRM_NO": "SO-1", "F_HUB_KEY": "crm:SalesOrderObj:o1", "FNote": "急"}
    state = {"FDocumentStatus": "C", "FCancelStatus": "A", "FCloseStatus": "A", "FDate": "2026-01-06T00:00:00.000"}
    rows = [entry("l1", 1), entry("l2", 2)]
    made.write("erp", "api", DOCUMENT, "d1", {**document, **state, "FCustId.FNumber": "C1", "FSaleOrderEntry": rows})
    made.hub("crm", ORDER, "o1", erp_no__c="X1", erp_status__c="已审核", sync__c="已同步")
    made.person("erp", RECEIPT, "r1", **receipt("R1"))
    paid = {"account_id": "a1", "payment_amount": "2400.00", "payment_time": 1_767_801_600_000}
    made.hub("crm", PAYMENT, "y1", erp_no__c="R1", hub_key__c="erp:AR_RECEIVEBILL:r1", **paid)
    made.hub("crm", SHARE, "s1", payment_id="y1", order_id="o1", payment_amount="2400.00")
    for flow, id in (("customers-to-erp", "a1"), ("orders-to-erp", "o1"), ("receipts-to-crm", "r1")):
        made.delivery(flow, id, "done")
    made.identity("erp", CUSTOMER, "c1")
    made.identity("erp", f"{DOCUMENT}.FSaleOrderEntry", "1")
    made.identity("crm", f"{PAYMENT}.{SHARE}", "s1")
    return made


def receipt(number: str) -> Fields:
    row = {"FORDERBILLNO": "X1", "FSRCBILLNO": "X1", "FREALRECAMOUNTFOR_S": "2400.00"}
    head = {"FBillNo": number, "FRECAMOUNTFOR": "2400.00", "FDATE": "2026-01-08T00:00:00.000"}
    state = {"FDocumentStatus": "C", "FCancelStatus": "A", "FCONTACTUNITTYPE": "BD_Customer"}
    return {**head, **state, "FCONTACTUNIT.FNumber": "C1", "FRECEIVEBILLSRCENTRY": [row]}
