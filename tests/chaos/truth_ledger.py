"""Orphans and stuck deliveries: the hub's own books, held against what stands in the two systems."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.evidence import Row
from tests.chaos.truth_findings import Finding, Kind
from tests.chaos.truth_ground import Ground
from tests.chaos.truth_orders import FLOW as ORDERS
from tests.chaos.truth_orders import ORDER, Orders
from tests.chaos.truth_receipts import FLOW as RECEIPTS
from tests.chaos.truth_receipts import Receipts

_AT_REST = frozenset({"done", "unchanged", "filtered"})
_BACK = ".back"  # the flow that tells the source what became of a delivery
_ORDINARY = "primary"


def orphans(ground: Ground) -> Iterator[Finding]:
    """Live rows of the ID map whose record is nowhere.

    A record that the ledger knows to be deleted, or the row of one, is no orphan: the map keeps it on purpose.
    """
    known_gone = {str(row["source_id"]) for row in ground.evidence.deliveries if row["deleted"]}
    by_id = {row["id"]: row for row in ground.evidence.identities}
    there = _Present(ground)
    for identity in ground.evidence.identities:
        if identity["tombstone"] is not None or identity["role"] != _ORDINARY or there(identity):
            continue
        parent = by_id.get(identity["parent"])
        if str(identity["record_id"]) in known_gone or (parent is not None and _over(parent, known_gone)):
            continue
        what = f"{identity['system']} {identity['object']} {identity['record_id']}"
        yield Finding(Kind.ORPHANS, f"the ID map has {what}, which does not exist ({identity['origin']})")


def _over(parent: Row, known_gone: set[str]) -> bool:
    return parent["tombstone"] is not None or str(parent["record_id"]) in known_gone


class _Present:
    """Whether a record, or a row of one, stands in its system."""

    def __init__(self, ground: Ground) -> None:
        self._sides = {side.name: side for side in (ground.crm, ground.erp)}
        self._rows: dict[tuple[str, str], set[str]] = {}

    def __call__(self, identity: Row) -> bool:
        side, object, id = self._sides[identity["system"]], str(identity["object"]), str(identity["record_id"])
        head, _, table = object.partition(".")
        if not table or id in side.live(table):  # a detail object is a table of its own
            return id in side.live(table or head)
        if (side.name, object) not in self._rows:
            rows = (row for one in side.live(head).values() for row in one.get(table) or ())
            self._rows[side.name, object] = {str(row["FEntryID"]) for row in rows}
        return id in self._rows[side.name, object]


def stuck(ground: Ground, orders: Orders, receipts: Receipts) -> Iterator[Finding]:
    """Deliveries that have not come to rest, or rest for a reason that is not true.

    Dead and held have to be exactly those that the world brought about: a hub that holds everything fails.
    """
    evidence = ground.evidence
    for row in evidence.deliveries:
        flow, id, state = str(row["flow"]), str(row["source_id"]), str(row["state"])
        why = row.get("reason") or "no reason"
        if state in _AT_REST or _truly(ground, orders, receipts, flow, id, state):
            continue
        if why == "gone" and state == "held" and _taken_out(ground, flow, id):
            continue
        words = f": {row['message']}" if row.get("message") else ""
        yield Finding(Kind.STUCK, f"{flow} {row.get('title') or id} is {state} ({why}{words})")
    for state, expected in (("dead", evidence.expected_dead), ("held", evidence.expected_held)):
        for flow, id in sorted(expected):
            if (stands := ground.states.get((flow, id))) != state:
                yield Finding(Kind.STUCK, f"{flow} {id} has to be {state} and is {stands or 'not in the ledger'}")


def _truly(ground: Ground, orders: Orders, receipts: Receipts, flow: str, id: str, state: str) -> bool:
    """Whether the two systems bear out what the ledger says of a delivery that is not delivered."""
    match state:
        case "dead" if flow.endswith(_BACK):
            source = flow.removesuffix(_BACK)
            return id not in ground.crm.live(ORDER if source == ORDERS else "AccountObj")
        case "dead":
            return (flow, id) in ground.evidence.expected_dead
        case "held":
            return (flow, id) in ground.evidence.expected_held
        case "waiting" if flow == ORDERS:
            return orders.waits_for(id) is not None
        case "waiting" if flow == RECEIPTS:
            return receipts.waits_for(id) is not None
        case "blocked" if flow == ORDERS:
            return orders.locked(id)
        case _:
            return False


# Flow -> the object of the ERP, its key, the object of the CRM, and the field there that carries the key.
_TO_CRM = {
    "products": ("BD_MATERIAL", "FNumber", "ProductObj", "product_code"),
    "customers-to-crm": ("BD_Customer", "FNumber", "AccountObj", "erp_code__c"),
    "order-status-to-crm": ("SAL_SaleOrder", "F_CRM_NO", "SalesOrderObj", "name"),
}


def _taken_out(ground: Ground, flow: str, id: str) -> bool:
    """Whether a person took the record out of the CRM that this one of the ERP belongs to."""
    if flow not in _TO_CRM:
        return False
    source_object, key, object, carrier = _TO_CRM[flow]
    value = ground.erp.live(source_object).get(id, {}).get(key)
    if value is None or any(row.get(carrier) == value for row in ground.crm.live(object).values()):
        return False
    journal = ground.crm.journal
    return any(
        journal.versions(object, one)[-1].get(carrier) == value
        for one in journal.ids(object)
        if journal.taken_out_by_person(object, one) and journal.versions(object, one)
    )
