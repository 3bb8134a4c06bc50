"""Lists that are added to or replaced, and numbers that the hub draws: what is written, and what stays."""

from __future__ import annotations

import pytest

from hub.connector.contract import Op, Write
from hub.domain.clock import ManualClock
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.store import lookups
from hub.store.engine import Store
from tests.unit.sync.worlds import CUSTOMERS, ORDERS, World, make_world


def tagged(policy: str) -> str:
    return CUSTOMERS + f"  Tags: {{from: tags{policy}}}\n"


async def customer(store: Store, clock: ManualClock, text: str, **fields: object) -> World:
    world = await make_world(store, clock, {"customers": text})
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal", **fields)
    await world.run()
    return world


def tags(world: World) -> list[str]:
    (record,) = world.erp_records("Customer")
    found: list[str] = record["Tags"]
    return found


def tag(world: World, *names: str) -> None:
    (id_,) = world.erp.records["Customer"]
    world.erp.put("Customer", id_, Tags=list(names))


@pytest.mark.parametrize("policy", ["", ", list: replace"])
async def test_a_list_is_replaced_as_a_whole(store: Store, clock: ManualClock, policy: str) -> None:
    world = await customer(store, clock, tagged(policy), tags=["A", "B"])
    tag(world, "A", "B", "theirs")
    world.crm.put("Account", "a1", tags=["B"])
    await world.run()
    assert tags(world) == ["B"]


async def test_a_list_that_is_added_to_keeps_what_is_there(store: Store, clock: ManualClock) -> None:
    world = await customer(store, clock, tagged(", list: append"), tags=["A", "B"])
    assert tags(world) == ["A", "B"]
    tag(world, "theirs", "A", "B")
    world.crm.put("Account", "a1", tags=["B", "C"])
    await world.run()
    assert tags(world) == ["theirs", "A", "B", "C"]
    writes = world.writes(world.erp)
    await world.run()
    assert world.writes(world.erp) == writes
    report = await world.engine.reconcile("customers")
    assert (report.same, report.different) == (1, 0)
    tag(world, "theirs")
    report = await world.engine.reconcile("customers", repair=True)
    assert report.different == 1
    await world.drain()
    assert tags(world) == ["theirs", "B", "C"]


async def test_a_running_number_is_drawn_once_for_a_record(store: Store, clock: ManualClock) -> None:
    text = CUSTOMERS + '  Number: {number: "C{yyMM}-{0000}"}\n'
    world = await customer(store, clock, text)
    world.crm.put("Account", "a2", name="other", tax_no="T2", status="normal")
    await world.run()
    world.crm.put("Account", "a1", phone="2")
    await world.run()
    numbers = sorted(one["Number"] for one in world.erp_records("Customer"))
    assert [number[-5:] for number in numbers] == ["-0001", "-0002"]
    assert all("Number" not in one.fields for one in world.erp.journal if one.op == "update")


async def test_a_number_whose_answer_was_lost_is_not_given_to_another(store: Store, clock: ManualClock) -> None:
    text = CUSTOMERS + '  Number: {number: "C{0000}"}\n'
    world = await make_world(store, clock, {"customers": text})
    lost: list[Write] = []

    def lose_once(object: str, write: Write) -> bool:
        lost.append(write)
        return len(lost) == 1

    world.erp.lose = lose_once
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal")
    await world.run()
    world.crm.put("Account", "a2", name="other", tax_no="T2", status="normal")
    await world.run()
    clock.advance(60)
    await world.drain()
    assert sorted(one["Number"] for one in world.erp_records("Customer")) == ["C0001", "C0002"]


async def test_a_create_that_was_refused_leaves_a_gap_and_no_number_twice(store: Store, clock: ManualClock) -> None:
    world = await make_world(store, clock, {"customers": CUSTOMERS + '  Number: {number: "C{0000}"}\n'})
    refused: list[str] = []

    def refuse_once(object: str, write: Write) -> Outcome | None:
        if write.op is Op.CREATE and not refused:
            refused.append(str(write.fields["Number"]))
            return Outcome(OutcomeKind.NOT_EXECUTED, failure=Failure("busy"))
        return None

    world.erp.plan = refuse_once
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal")
    await world.run()
    clock.advance(60)
    await world.drain()
    (made,) = world.erp_records("Customer")
    assert (refused, made["Number"]) == (["C0001"], "C0002")


async def test_rows_look_up_in_tables_of_the_hub_and_wait_for_their_rows(store: Store, clock: ManualClock) -> None:
    text = ORDERS.replace("      Product: product\n", "      Product: {from: product, lookup: articles}\n")
    text += "lookups: {articles: {table: articles, keys: [product]}}\n"
    world = await make_world(store, clock, {"customers": CUSTOMERS, "orders": text})
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    for line in ("1", "2"):
        world.crm.put("OrderLine", f"l{line}", order_id="o1", product=f"P{line}", quantity=line)
    await lookups.add(store, "articles", {("P1",): "M1"})
    counts = await world.run()
    assert counts["orders"] == {"waiting": 1}
    assert await lookups.wanted(store) == {"articles": [lookups.Wanted(("P2",), 1)]}
    assert (await lookups.add(store, "articles", {("P2",): "M2"})).woken == 1
    await world.drain()
    (order,) = world.erp_records("SalesOrder")
    assert sorted(row["Product"] for row in order["Entries"]) == ["M1", "M2"]
