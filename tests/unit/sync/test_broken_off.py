"""Workers that end between a write and its note: nothing they did is taken for not done, nor forgotten."""

from __future__ import annotations

import pytest

from hub.connector.contract import Write
from hub.domain.clock import ManualClock
from hub.domain.outcome import Outcome
from hub.store import ledger
from hub.store.engine import Store
from tests.unit.sync.worlds import CUSTOMERS, CUSTOMERS_BACK, World, make_world


class Ended(BaseException):
    """The process ends."""


async def _world(store: Store, clock: ManualClock, *, two_way: bool = False) -> World:
    flows = {"customers": CUSTOMERS} | ({"back": CUSTOMERS_BACK} if two_way else {})
    world = await make_world(store, clock, flows, pairs=(("customers", "back"),) if two_way else ())
    world.crm.put("Account", "a1", name="one", tax_no="T1", status="normal", phone="1")
    await world.run()
    return world


async def _dies_after_its_write(world: World) -> None:
    """The next batch of customers reaches the target, and nobody lives to note it."""
    write = world.erp.write

    async def last(object: str, batch: list[Write]) -> list[Outcome]:
        await write(object, batch)
        raise Ended

    world.erp.write = last  # type: ignore[assignment, method-assign]
    with pytest.raises(Ended):
        await world.engine.drain("customers")
    world.erp.write = write  # type: ignore[method-assign]
    await world.engine.start()


async def _come_to_rest(world: World, clock: ManualClock) -> ledger.Line:
    for _ in range(4):
        clock.advance(11)
        await world.drain()
    (line,) = await ledger.lines(world.store, ledger.Filter(flow="customers", source_id="a1"))
    return line


async def test_a_source_that_goes_back_to_its_old_value_is_written_again(store: Store, clock: ManualClock) -> None:
    world = await _world(store, clock)
    world.crm.put("Account", "a1", phone="2")
    await world.engine.read("customers")
    await _dies_after_its_write(world)
    world.crm.put("Account", "a1", phone="1")
    await world.engine.read("customers")
    await _come_to_rest(world, clock)
    assert [one["Phone"] for one in world.erp_records("Customer")] == ["1"]


async def test_two_deaths_in_a_row_are_survived(store: Store, clock: ManualClock) -> None:
    world = await _world(store, clock)
    world.crm.put("Account", "a1", phone="2")
    await world.engine.read("customers")
    for _ in range(2):
        await _dies_after_its_write(world)
        clock.advance(11)
    assert (await _come_to_rest(world, clock)).state == "done"
    assert [one["Phone"] for one in world.erp_records("Customer")] == ["2"]


async def test_what_was_deleted_without_an_answer_is_made_anew_when_its_source_comes_back(
    store: Store, clock: ManualClock
) -> None:
    world = await make_world(store, clock, {"customers": f"{CUSTOMERS}\non_leave: delete\n"})
    world.crm.put("Account", "a1", name="one", tax_no="T1", status="normal", phone="1")
    await world.run()
    world.crm.put("Account", "a1", status="draft")
    await world.engine.read("customers")
    await _dies_after_its_write(world)
    assert world.erp_records("Customer") == []
    world.crm.put("Account", "a1", status="normal")
    await world.engine.read("customers")
    await _come_to_rest(world, clock)
    assert [one["Phone"] for one in world.erp_records("Customer")] == ["1"]


async def test_what_it_overwrote_is_on_record(store: Store, clock: ManualClock) -> None:
    world = await _world(store, clock, two_way=True)
    (customer,) = world.erp.records["Customer"]
    world.erp.put("Customer", customer, Name="meddled")
    await world.run("back")
    await _dies_after_its_write(world)
    line = await _come_to_rest(world, clock)
    kept = (await ledger.show(store, line.id))["attempts_made"]
    assert [one["Name"] for one in world.erp_records("Customer")] == ["one"]
    assert {"Name": "meddled"} in [one["before"] for one in kept]
