"""Two systems in memory and the flows between them, for tests of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hub.connector.breaker import Breaker
from hub.domain.clock import ManualClock
from hub.domain.schema import Capabilities, Facts, Field, FieldType, ObjectSchema
from hub.mapping.compile import compile_mapping
from hub.mapping.load import load
from hub.store.engine import Store
from hub.sync.engine import Engine
from hub.sync.flow import Flow, Policy, System
from tests.unit.sync.memory import MemorySystem

CRM_FIELDS = ("id", "name", "tax_no", "phone", "level", "status", "code", "credit", "told", "why")


def crm_schemas() -> dict[str, ObjectSchema]:
    account = {name: Field(name) for name in CRM_FIELDS}
    account["tags"] = Field("tags", many=True)
    order = {
        "id": Field("id"),
        "name": Field("name"),
        "account_id": Field("account_id", FieldType.REFERENCE, reference="Account"),
        "status": Field("status"),
        "amount": Field("amount", FieldType.DECIMAL),
        "erp_no": Field("erp_no"),
        "told": Field("told"),
    }
    line = {
        "id": Field("id"),
        "order_id": Field("order_id", FieldType.REFERENCE, reference="Order"),
        "product": Field("product"),
        "quantity": Field("quantity", FieldType.DECIMAL),
    }
    able = Capabilities(create=True, update=True, delete=True, write_batch=50, find_batch=50, stamp_field=None)
    return {
        "Account": ObjectSchema("Account", "Account", "id", account, title_field="name", capabilities=able),
        "Order": ObjectSchema("Order", "Order", "id", order, title_field="name", capabilities=able),
        "OrderLine": ObjectSchema("OrderLine", "Line", "id", line, master="Order", master_field="order_id"),
    }


def erp_schemas(*, stamp: bool = True) -> dict[str, ObjectSchema]:
    customer = {name: Field(name) for name in ("id", "Number", "Name", "TaxNo", "Phone", "Level", "Credit", "Stamp")}
    customer["Tags"] = Field("Tags", many=True)
    entry = {"entry": Field("entry"), "Product": Field("Product"), "Qty": Field("Qty", FieldType.DECIMAL)}
    order = {
        "id": Field("id"),
        "Number": Field("Number"),
        "CrmNo": Field("CrmNo"),
        "Customer": Field("Customer", FieldType.REFERENCE, reference="Customer", takes="number"),
        "Amount": Field("Amount", FieldType.DECIMAL),
        "Stamp": Field("Stamp"),
        "Entries": Field("Entries", FieldType.ROWS, rows=entry, row_key="entry"),
    }
    able = Capabilities(
        create=True,
        update=True,
        delete=True,
        operations=frozenset({"Cancel"}),
        steps=("submit", "audit"),
        write_batch=50,
        find_batch=50,
        stamp_field="Stamp" if stamp else None,
    )
    facts = Facts(settles_within=10.0, together=(frozenset({"Product", "Qty"}),))
    return {
        "Customer": ObjectSchema(
            "Customer", "Customer", "id", customer, number_field="Number", capabilities=able, facts=facts
        ),
        "SalesOrder": ObjectSchema(
            "SalesOrder", "Order", "id", order, number_field="Number", capabilities=able, facts=facts
        ),
    }


CUSTOMERS = """
mapping: customers-to-erp
entity: customer
source: {system: crm, object: Account}
target: {system: erp, object: Customer}
title: name
when: record.status != "draft"
match: [[TaxNo], [{Name: company_name, veto: TaxNo}]]
fields:
  Name: name
  TaxNo: tax_no
  Phone: phone
  Level: level
"""

CUSTOMERS_BACK = """
mapping: customers-to-crm
entity: customer
source: {system: erp, object: Customer}
target: {system: crm, object: Account}
title: Name
match: [[tax_no]]
fields:
  name: {from: Name, owner: crm}
  code: Number
  credit: Credit
"""

ORDERS = """
mapping: orders-to-erp
entity: order
source: {system: crm, object: Order}
target: {system: erp, object: SalesOrder, after: [submit, audit]}
title: name
related:
  lines: {object: OrderLine, where: {order_id: id}, wakes: true}
  account: {object: Account, id: account_id}
require:
  - {that: 'record.account.tax_no != null', say: 客户没有税号}
match: [[CrmNo]]
fields:
  CrmNo: name
  Customer: {from: account_id, ref: customer, take: number}
  Amount: amount
  Entries:
    each: lines
    key: id
    entity: order_line
    fields:
      Product: product
      Qty: quantity
actions: [{if: 'record.status == "cancelled"', do: [Cancel]}]
write_back:
  ok: {erp_no: number, told: {const: ok}}
  failed: {told: message}
"""


@dataclass
class World:
    """A hub between a CRM and an ERP."""

    clock: ManualClock
    store: Store
    crm: MemorySystem
    erp: MemorySystem
    engine: Engine

    async def run(self, *flows: str) -> dict[str, dict[str, int]]:
        """Read and deliver until nothing is due, in the order named."""
        counts = {}
        for flow in flows or tuple(self.engine.flows):
            await self.engine.read(flow)
            counts[flow] = await self.engine.drain(flow)
        return counts

    async def drain(self, *flows: str) -> None:
        for flow in flows or tuple(self.engine.flows):
            await self.engine.drain(flow)

    def erp_records(self, object: str) -> list[dict[str, Any]]:
        return [record.fields for record in self.erp.records.get(object, {}).values()]

    def writes(self, system: MemorySystem, object: str | None = None) -> int:
        return sum(1 for one in system.journal if object is None or one.object == object)


def make_flow(
    world_systems: dict[str, System],
    schemas: dict[str, dict[str, ObjectSchema]],
    name: str,
    text: str,
    policy: Policy | None = None,
) -> Flow:
    spec = load(text, f"{name}.yaml")
    source = schemas[spec.source.system][spec.source.object]
    target = schemas[spec.target.system][spec.target.object]
    related = {one: schemas[spec.source.system][found.object] for one, found in spec.related.items()}
    mapping = compile_mapping(spec, source=source, target=target, related=related)
    return Flow(
        name,
        mapping,
        world_systems[spec.source.system],
        world_systems[spec.target.system],
        source,
        target,
        policy or Policy(),
    )


async def make_world(
    store: Store,
    clock: ManualClock,
    flows: dict[str, str],
    *,
    policies: dict[str, Policy] | None = None,
    pairs: tuple[tuple[str, str], ...] = (),
    stamp: bool = True,
) -> World:
    schemas = {"crm": crm_schemas(), "erp": erp_schemas(stamp=stamp)}
    crm = MemorySystem("crm", clock, schemas["crm"])
    erp = MemorySystem("erp", clock, schemas["erp"])
    systems = {"crm": System("crm", crm, Breaker(clock)), "erp": System("erp", erp, Breaker(clock))}
    made = {name: make_flow(systems, schemas, name, text, (policies or {}).get(name)) for name, text in flows.items()}
    for one, other in pairs:
        made[one].pair_with(made[other])
    return World(clock, store, crm, erp, Engine(store, made, clock))
