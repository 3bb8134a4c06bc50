"""What stands as it was sent (`once_per`, `on: create`): each round is made whole, and none is changed afterwards."""

from __future__ import annotations

from hub.domain.clock import ManualClock
from hub.domain.delivery import State
from hub.store.engine import Store
from tests.unit.sync.test_engine import account, state_of
from tests.unit.sync.worlds import World, make_world

APPROVALS = """
mapping: approvals
entity: approval
source: {system: crm, object: Account}
target: {system: erp, object: Customer}
title: name
when: record.status == "submit"
once_per: [id, level]
fields:
  Name:  {from: name, on: create}
  TaxNo: {from: tax_no, on: create}
  Phone: {from: phone, on: create}
"""


async def approvals(store: Store, clock: ManualClock) -> World:
    return await make_world(store, clock, {"approvals": APPROVALS})


async def test_the_next_round_is_made_with_everything(store: Store, clock: ManualClock) -> None:
    world = await approvals(store, clock)
    account(world, "a1", level="1", phone="1", status="submit")
    await world.run()
    world.crm.put("Account", "a1", status="refused")
    await world.run()
    world.crm.put("Account", "a1", level="2", phone="2", status="submit")
    await world.run()
    made = [(one["Name"], one["TaxNo"], one["Phone"]) for one in world.erp_records("Customer")]
    assert made == [("name a1", "Ta1", "1"), ("name a1", "Ta1", "2")]
    assert [one.op for one in world.erp.journal if one.op in ("create", "update")] == ["create", "create"]


async def test_an_edit_within_a_round_changes_nothing(store: Store, clock: ManualClock) -> None:
    world = await approvals(store, clock)
    account(world, "a1", level="1", phone="1", status="submit")
    await world.run()
    world.crm.put("Account", "a1", phone="2")
    await world.run()
    assert [one["Phone"] for one in world.erp_records("Customer")] == ["1"]
    assert (await state_of(world, "approvals", "a1")).state in (State.DONE, State.UNCHANGED)


async def test_an_edit_of_the_second_round_changes_neither(store: Store, clock: ManualClock) -> None:
    world = await approvals(store, clock)
    for level in ("1", "2"):
        account(world, "a1", level=level, phone=level, status="submit")
        await world.run()
    world.crm.put("Account", "a1", phone="9")
    await world.run()
    assert sorted(str(one["Phone"]) for one in world.erp_records("Customer")) == ["1", "2"]
