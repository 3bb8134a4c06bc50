"""Webhooks' hints become captures: one fetch for many, of a record or of its rows, committed with what it answers."""

from __future__ import annotations

import pytest

from hub.domain.clock import ManualClock
from hub.domain.errors import Unreachable
from hub.store import hints, ledger, runs
from hub.store.engine import Store
from tests.unit.sync.worlds import CUSTOMERS, ORDERS, World, make_world


async def world_of(store: Store, clock: ManualClock) -> World:
    world = await make_world(store, clock, {"customers": CUSTOMERS, "orders": ORDERS})
    world.crm.put("Account", "a1", name="one", tax_no="T1", status="normal")
    world.crm.put("Order", "o1", name="first", account_id="a1", status="normal", amount="5")
    world.crm.put("OrderLine", "l1", order_id="o1", product="p", quantity="1")
    return world


async def hint(store: Store, *records: tuple[str, str]) -> None:
    async with store.begin() as conn:
        await hints.put(store, conn, [("crm", object, id) for object, id in records])


async def known(store: Store) -> list[tuple[str, str]]:
    return sorted((one.flow, one.source_id) for one in await ledger.lines(store, ledger.Filter()))


async def test_a_hint_of_a_record_or_of_its_row_captures_the_record(store: Store, clock: ManualClock) -> None:
    world = await world_of(store, clock)
    await hint(store, ("Account", "a1"), ("OrderLine", "l1"))
    assert await world.engine.fetch_hints() == 2
    assert await known(store) == [("customers", "a1"), ("orders", "o1")]
    assert await hints.count(store) == 0
    latest = await runs.latest(store)
    assert {flow: (run.state, run.cause, run.counts["new"]) for flow, run in latest.items()} == {
        "customers": ("finished", "webhook", 1),
        "orders": ("finished", "webhook", 1),
    }


async def test_a_hint_that_came_while_its_record_was_fetched_stays(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await world_of(store, clock)
    await hint(store, ("Account", "a1"))
    get = world.crm.get

    async def slow(*given: object, **named: object) -> object:
        answer = await get(*given, **named)  # type: ignore[arg-type]
        await hint(store, ("Account", "a1"))  # a webhook comes in after the record was read
        return answer

    monkeypatch.setattr(world.crm, "get", slow)
    await world.engine.fetch_hints()
    assert await known(store) == [("customers", "a1")]
    assert await hints.count(store) == 1


async def test_nothing_is_captured_and_no_hint_is_lost_when_the_commit_fails(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captures, books and answered hints stand in one transaction: there is nothing in between."""
    world = await world_of(store, clock)
    await hint(store, ("Account", "a1"))

    async def broken(*_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(hints, "settle", broken)
    await world.engine.fetch_hints()
    assert await known(store) == []
    assert await hints.count(store) == 1
    assert await runs.latest(store) == {}
    monkeypatch.undo()
    clock.advance(120)
    await world.engine.fetch_hints()
    assert await known(store) == [("customers", "a1")]


async def test_a_source_that_does_not_answer_leaves_the_hint_for_later(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await world_of(store, clock)
    await hint(store, ("Account", "a1"))

    async def dead(*_: object, **__: object) -> object:
        raise Unreachable("the CRM does not answer")

    monkeypatch.setattr(world.crm, "get", dead)
    await world.engine.fetch_hints()
    assert await known(store) == []
    assert await hints.take(store, limit=10) == []
    monkeypatch.undo()
    clock.advance(60)
    await world.engine.fetch_hints()
    assert await known(store) == [("customers", "a1")]


async def test_one_bad_record_stopped_the_stream__its_hint_is_put_off_and_the_others_are_fetched(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await world_of(store, clock)
    for at in range(2, 9):
        world.crm.put("Account", f"a{at}", name=f"name {at}", tax_no=f"T{at}", status="normal")
        await hint(store, ("Account", f"a{at}"))
    real = world.crm.get

    async def stumble(object: str, ids: list[str], *rest: object) -> object:
        if "a5" in ids:
            raise KeyError("a bug in the connector")
        return await real(object, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(world.crm, "get", stumble)
    await world.engine.fetch_hints()
    assert {one for _, one in await known(store)} == {"a2", "a3", "a4", "a6", "a7", "a8"}
    assert await hints.count(store) == 1
    monkeypatch.undo()
    clock.advance(120)
    await world.engine.fetch_hints()
    assert await hints.count(store) == 0


async def test_the_hints_of_one_system_are_fetched_without_those_of_another(store: Store, clock: ManualClock) -> None:
    world = await world_of(store, clock)
    await hint(store, ("Account", "a1"))
    assert await world.engine.fetch_hints(system="erp") == 0
    assert await world.engine.fetch_hints(system="crm") == 1
