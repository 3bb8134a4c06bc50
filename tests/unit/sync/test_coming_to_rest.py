"""Deliveries that have nowhere to go, or wait for a row: each comes to rest, or goes on, for a reason that is named."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.connector.contract import Write
from hub.domain.clock import ManualClock
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.store import ledger, lookups
from hub.store.engine import Store
from tests.unit.sync.worlds import CUSTOMERS, ORDERS, World, make_world

TAXED = (
    CUSTOMERS.replace("  Level: level\n", "  Level: {from: level, lookup: levels}\n")
    + "lookups: {levels: {table: levels, keys: [level]}}\n"
)
TOLD = """
mapping: told
entity: customer
source: {system: erp, object: Customer}
target: {system: crm, object: Account, create: never}
title: Name
fields: {credit: Credit}
"""


async def state(world: World, flow: str, source_id: str) -> tuple[str, str | None, str | None]:
    (line,) = await ledger.lines(world.store, ledger.Filter(flow=flow, source_id=source_id))
    return line.state, line.reason, line.message


async def taxed(store: Store, clock: ManualClock) -> World:
    world = await make_world(store, clock, {"customers": TAXED})
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal", level="A")
    return world


async def test_what_waits_for_a_row_goes_out_when_it_is_there(store: Store, clock: ManualClock) -> None:
    world = await taxed(store, clock)
    await world.run()
    found, reason, message = await state(world, "customers", "a1")
    assert (found, reason) == ("waiting", "lookup")
    assert "row A of lookup table levels" in str(message)
    assert await lookups.add(store, "levels", {("B",): "2"}) == lookups.Added(1, 0, 0)
    await world.drain()
    assert world.erp_records("Customer") == []
    assert await lookups.add(store, "levels", {("A",): "1"}) == lookups.Added(1, 0, 1)
    await world.drain()
    assert [one["Level"] for one in world.erp_records("Customer")] == ["1"]


async def test_a_row_added_while_the_record_is_in_work_is_not_missed(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await taxed(store, clock)
    await world.engine.read("customers")
    look = lookups.arrived
    looked: list[bool] = []

    async def arrived(conn: AsyncConnection, asks: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        # In the settling transaction itself: on SQLite no other could be open at the same time.
        if not looked:
            await lookups.put(store, conn, "levels", {("A",): "1"})
        looked.append(bool(asks))
        return await look(conn, asks)

    monkeypatch.setattr(lookups, "arrived", arrived)
    await world.drain()
    assert looked == [True, False]
    assert [one["Level"] for one in world.erp_records("Customer")] == ["1"]


async def test_a_flow_that_only_updates_rests_when_its_target_was_deleted(store: Store, clock: ManualClock) -> None:
    world = await make_world(store, clock, {"customers": CUSTOMERS, "told": TOLD})
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal")
    await world.run("customers", "told")
    (customer,) = world.erp.records["Customer"]
    world.crm.drop("Account", "a1")
    world.erp.put("Customer", customer, Credit="500")
    await world.run("told")
    assert (await state(world, "told", customer))[:2] == ("filtered", "deleted in crm")
    world.erp.put("Customer", customer, Credit="700")
    await world.run("told")
    assert (await state(world, "told", customer))[:2] == ("filtered", "create: never")


@pytest.mark.parametrize("audited", [False, True])
async def test_what_left_is_put_away_by_the_first_operation_that_its_state_allows(
    store: Store, clock: ManualClock, audited: bool
) -> None:
    text = ORDERS + 'when: record.status != "withdrawn"\non_leave: {do: [Cancel, Close]}\n'
    world = await make_world(store, clock, {"customers": CUSTOMERS, "orders": text})
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    await world.run()

    def refuse(object: str, write: Write) -> Outcome | None:
        if audited and write.operation == "Cancel":
            return Outcome(OutcomeKind.REJECTED, failure=Failure("it is audited"))
        return None

    world.erp.plan = refuse
    world.crm.put("Order", "o1", status="withdrawn")
    await world.run()
    await world.run()
    done = [one.op for one in world.erp.journal if one.object == "SalesOrder" and one.op in ("Cancel", "Close")]
    assert done == (["Close"] if audited else ["Cancel"])
    found, reason, _ = await state(world, "orders", "o1")
    assert (found, reason) == ("filtered", 'when: record.status != "withdrawn"')
