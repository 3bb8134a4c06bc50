"""The engine between two systems in memory, on both databases."""

from __future__ import annotations

import pytest

from hub.connector.contract import Op, Write
from hub.domain.clock import ManualClock
from hub.domain.errors import InvalidInput
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.store import claims, deliveries, identities, ledger
from hub.store.engine import Store
from hub.sync.flow import FirstSight, OnAdopt, Policy
from hub.sync.why import why
from tests.unit.sync.worlds import CUSTOMERS, CUSTOMERS_BACK, ORDERS, World, make_world


async def customers(store: Store, clock: ManualClock, policy: Policy | None = None, **kept: bool) -> World:
    return await make_world(store, clock, {"customers": CUSTOMERS}, policies={"customers": policy or Policy()}, **kept)


async def two_way(store: Store, clock: ManualClock) -> World:
    flows = {"customers": CUSTOMERS, "back": CUSTOMERS_BACK}
    return await make_world(store, clock, flows, pairs=(("customers", "back"),))


async def orders(store: Store, clock: ManualClock) -> World:
    return await make_world(store, clock, {"customers": CUSTOMERS, "orders": ORDERS})


def account(world: World, id: str, **fields: object) -> None:
    world.crm.put("Account", id, **{"name": f"name {id}", "tax_no": f"T{id}", "status": "normal", **fields})


async def state_of(world: World, flow: str, source_id: str) -> ledger.Line:
    (line,) = await ledger.lines(world.store, ledger.Filter(flow=flow, source_id=source_id))
    return line


async def test_a_record_is_created_once_and_then_updated_by_what_changed(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1", phone="1")
    account(world, "a2")
    assert await world.run() == {"customers": {"done": 2}}
    world.crm.put("Account", "a1", phone="2")
    assert await world.run() == {"customers": {"done": 1}}
    assert [one.fields for one in world.erp.journal if one.op == "update"] == [{"Phone": "2"}]
    assert sorted(one["Name"] for one in world.erp_records("Customer")) == ["name a1", "name a2"]
    assert await world.run() == {"customers": {}}


async def test_every_page_boundary_is_captured(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    for number in range(10):
        account(world, f"a{number}")
    report = await world.engine.read("customers")
    assert (report.counts.read, report.counts.new) == (10, 10)
    assert await world.engine.drain("customers") == {"done": 10}


async def test_a_rule_keeps_a_record_from_travelling_and_is_named(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1", status="draft")
    await world.run()
    line = await state_of(world, "customers", "a1")
    assert line.state == "filtered"
    assert "status" in (line.reason or "")
    world.crm.put("Account", "a1", status="normal")
    assert await world.run() == {"customers": {"done": 1}}


async def test_no_identity_means_match_never_blind_create(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    world.erp.put("Customer", "c1", Name="other name", TaxNo="Ta1", Phone="theirs")
    account(world, "a1", phone="ours")
    assert await world.run() == {"customers": {"unchanged": 1}}
    assert world.writes(world.erp) == 0
    world.crm.put("Account", "a1", phone="new")
    assert await world.run() == {"customers": {"done": 1}}
    (record,) = world.erp_records("Customer")
    assert (record["Phone"], record["Name"]) == ("new", "other name")


async def test_adopting_may_bring_the_sources_values(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, Policy(on_adopt=OnAdopt.SOURCE))
    world.erp.put("Customer", "c1", Name="other", TaxNo="Ta1")
    account(world, "a1")
    await world.run()
    assert [one["Name"] for one in world.erp_records("Customer")] == ["name a1"]


async def test_several_candidates_are_held_with_both_shown(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    world.erp.put("Customer", "c1", TaxNo="Ta1")
    world.erp.put("Customer", "c2", TaxNo="Ta1")
    account(world, "a1")
    await world.run()
    line = await state_of(world, "customers", "a1")
    assert line.state == "held"
    assert "c1" in str(line.message)
    assert "c2" in str(line.message)


async def test_a_hit_with_another_tax_code_is_a_contradiction(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    world.erp.put("Customer", "c1", Name="name a1", TaxNo="another")
    account(world, "a1")
    await world.run()
    assert (await state_of(world, "customers", "a1")).reason == "several"
    assert world.writes(world.erp) == 0


async def test_two_sources_of_the_same_thing_make_one_record(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, stamp=False)
    account(world, "a1", tax_no="same")
    account(world, "a2", tax_no="same")
    await world.run()
    clock.advance(60)
    await world.drain()
    assert len(world.erp_records("Customer")) == 1
    states = sorted([(await state_of(world, "customers", one)).state for one in ("a1", "a2")])
    assert states == ["done", "held"]


async def test_a_lost_answer_is_looked_up_with_the_intents_own_keys(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, stamp=False)
    account(world, "a1", tax_no="before")
    world.erp.lose = lambda object, write: True
    await world.run()
    assert (await state_of(world, "customers", "a1")).state == "doubt"
    world.erp.lose = None
    world.crm.put("Account", "a1", tax_no="after")
    await world.run()
    assert (await state_of(world, "customers", "a1")).state == "doubt"
    assert len(world.erp_records("Customer")) == 1
    clock.advance(11)
    await world.drain()
    (record,) = world.erp_records("Customer")
    assert record["TaxNo"] == "after"
    assert (await state_of(world, "customers", "a1")).state == "done"


async def test_what_never_arrived_is_sent_again_after_it_had_time_to_settle(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1")
    world.erp.plan = lambda object, write: Outcome(OutcomeKind.UNKNOWN, failure=Failure("time-out"))
    await world.run()
    world.erp.plan = None
    await world.drain()
    assert world.erp_records("Customer") == []
    clock.advance(11)
    await world.drain()
    assert len(world.erp_records("Customer")) == 1


async def test_fields_in_doubt_are_sent_again_whatever_we_think_is_there(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1", phone="1")
    await world.run()
    world.erp.plan = lambda object, write: Outcome(OutcomeKind.UNKNOWN, failure=Failure("time-out"))
    world.crm.put("Account", "a1", phone="2")
    await world.run()
    world.erp.plan = None
    world.crm.put("Account", "a1", phone="1")
    await world.engine.read("customers")
    clock.advance(11)
    await world.drain()
    assert [one["Phone"] for one in world.erp_records("Customer")] == ["1"]
    assert [one.fields.get("Phone") for one in world.erp.journal] == ["1", "1"]


async def test_a_refusal_is_a_dead_letter_that_a_new_change_revives(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1", phone="bad")
    account(world, "a2")
    refuse = Outcome(OutcomeKind.REJECTED, failure=Failure("phone is wrong", "11", "Phone"))
    world.erp.plan = lambda object, write: refuse if write.fields.get("Phone") == "bad" else None
    await world.run()
    dead = await state_of(world, "customers", "a1")
    assert (dead.state, dead.message) == ("dead", "Phone: phone is wrong [11]")
    assert (await state_of(world, "customers", "a2")).state == "done"
    world.crm.put("Account", "a1", phone="good")
    await world.run()
    assert (await state_of(world, "customers", "a1")).state == "done"


async def test_retries_back_off_and_end(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, Policy(attempts=3, backoff=4))
    account(world, "a1")
    tried: list[Write] = []

    def refuse(object: str, write: Write) -> Outcome:
        tried.append(write)
        return Outcome(OutcomeKind.NOT_EXECUTED, failure=Failure("busy"))

    world.erp.plan = refuse
    await world.run()
    for _ in range(6):
        clock.advance(3600)
        await world.drain()
    assert len(tried) == 3
    assert (await state_of(world, "customers", "a1")).reason == "retries_spent"


async def test_a_wait_that_was_asked_for_spends_no_attempt(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, Policy(attempts=2))
    account(world, "a1")
    world.erp.plan = lambda object, write: Outcome(
        OutcomeKind.NOT_EXECUTED, failure=Failure("throttled"), retry_after=20
    )
    await world.run()
    for _ in range(5):
        clock.advance(10)
        await world.drain()
        clock.advance(20)
        await world.drain()
    assert (await state_of(world, "customers", "a1")).state == "pending"
    world.erp.plan = None
    clock.advance(30)
    await world.drain()
    assert (await state_of(world, "customers", "a1")).state == "done"


async def test_an_order_waits_for_its_customer_and_wakes(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10.00", status="normal")
    world.crm.put("OrderLine", "l1", order_id="o1", product="P1", quantity="2")
    await world.run("orders")
    waiting = await state_of(world, "orders", "o1")
    assert waiting.state == "waiting"
    await world.run("customers")
    await world.drain("orders")
    assert (await state_of(world, "orders", "o1")).state == "done"
    (order,) = world.erp_records("SalesOrder")
    assert order["Customer"] == "N1"
    assert [(row["Product"], row["Qty"]) for row in order["Entries"]] == [("P1", "2")]


async def test_lines_keep_their_identity_and_a_changed_line_brings_its_order(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    for number in (1, 2, 3):
        world.crm.put("OrderLine", f"l{number}", order_id="o1", product=f"P{number}", quantity="1")
    await world.run()
    before = {row["Product"]: row["entry"] for row in world.erp_records("SalesOrder")[0]["Entries"]}
    world.crm.put("OrderLine", "l2", quantity="5")
    await world.run()
    entries = world.erp_records("SalesOrder")[0]["Entries"]
    assert {row["Product"]: row["entry"] for row in entries} == before
    assert {row["Product"]: row["Qty"] for row in entries} == {"P1": "1", "P2": "5", "P3": "1"}
    last = [one for one in world.erp.journal if one.op == "update"][-1]
    assert last.fields["Entries"] == {
        "upsert": [{"Qty": "5", "Product": "P2", "id": before["P2"]}],
        "remove": [],
    }


async def test_a_removed_line_travels_and_a_foreign_row_stays(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    for number in (1, 2):
        world.crm.put("OrderLine", f"l{number}", order_id="o1", product=f"P{number}", quantity="1")
    await world.run()
    record = next(iter(world.erp.records["SalesOrder"].values()))
    record.fields["Entries"].append({"entry": "foreign", "Product": "X", "Qty": "9"})  # type: ignore[union-attr]
    world.crm.drop("OrderLine", "l2")
    world.crm.put("Order", "o1", amount="5")
    await world.run()
    assert sorted(row["Product"] for row in world.erp_records("SalesOrder")[0]["Entries"]) == ["P1", "X"]


async def test_steps_that_are_missing_are_done_by_the_next_attempt(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    partly = Outcome(
        OutcomeKind.PARTLY, steps=("save", "submit"), cause=OutcomeKind.NOT_EXECUTED, failure=Failure("busy")
    )
    world.erp.plan = lambda object, write: partly if object == "SalesOrder" else None
    await world.run("customers", "orders")
    assert (await state_of(world, "orders", "o1")).state == "pending"
    world.erp.plan = None
    clock.advance(60)
    await world.drain("orders")
    assert (await state_of(world, "orders", "o1")).state == "done"
    assert [one.op for one in world.erp.journal if one.object == "SalesOrder"] == ["create", "submit", "audit"]


async def test_a_cancelled_order_is_cancelled_once(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    await world.run()
    world.crm.put("Order", "o1", status="cancelled")
    await world.run()
    await world.run()
    assert [one.op for one in world.erp.journal if one.object == "SalesOrder"].count("Cancel") == 1


async def test_the_source_is_told_what_became_of_its_record(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1")
    account(world, "a2", tax_no=None)
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    world.crm.put("Order", "o2", name="SO-2", account_id="a2", amount="10", status="normal")
    await world.run("customers", "orders")
    await world.run("customers", "orders")
    orders_now = [one.fields for one in world.crm.records["Order"].values()]
    told = {one["name"]: (one["erp_no"], one["told"]) for one in orders_now}
    assert told == {"SO-1": ("N3", "ok"), "SO-2": (None, "客户没有税号")}
    assert (await state_of(world, "orders", "o2")).state == "dead"


async def test_two_way_has_no_echo(store: Store, clock: ManualClock) -> None:
    world = await two_way(store, clock)
    account(world, "a1", phone="1")
    for _ in range(3):
        await world.run()
    erp, crm = world.writes(world.erp), world.writes(world.crm)
    assert (erp, crm) == (1, 1)  # created there, its code brought home
    for _ in range(3):
        clock.advance(60)
        await world.run()
    assert (world.writes(world.erp), world.writes(world.crm)) == (erp, crm)
    assert world.crm.records["Account"]["a1"].fields["code"] == "N1"


async def test_edits_on_both_sides_keep_to_their_owners(store: Store, clock: ManualClock) -> None:
    world = await two_way(store, clock)
    account(world, "a1", phone="1")
    await world.run()
    await world.run()
    customer = next(iter(world.erp.records["Customer"]))
    world.crm.put("Account", "a1", name="new name", credit="stolen")
    world.erp.put("Customer", customer, Credit="5000", Name="meddled")
    for _ in range(3):
        await world.run()
    assert world.erp.records["Customer"][customer].fields["Name"] == "new name"
    assert world.crm.records["Account"]["a1"].fields["credit"] == "5000"
    assert world.crm.records["Account"]["a1"].fields["name"] == "new name"


async def test_baseline_does_not_fire_for_what_was_there_before(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, Policy(first_sight=FirstSight.BASELINE))
    account(world, "a1", phone="1")
    clock.advance(1)
    await world.run()
    assert world.erp_records("Customer") == []
    assert (await state_of(world, "customers", "a1")).reason == "baseline"
    world.erp.put("Customer", "c1", TaxNo="Ta1", Name="theirs", Phone="0")
    world.crm.put("Account", "a1", phone="2")
    account(world, "a2")
    await world.run()
    there = [(one["Name"], one["Phone"]) for one in world.erp_records("Customer")]
    assert there == [("theirs", "2"), ("name a2", None)]


async def test_start_leaves_older_records_alone(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, Policy(start=clock.now() + 5_000))
    account(world, "old")
    clock.advance(10)
    account(world, "new")
    await world.engine.read("customers", full=True)
    await world.drain()
    assert [one["Name"] for one in world.erp_records("Customer")] == ["name new"]
    assert (await state_of(world, "customers", "old")).reason == "start"


async def test_a_deleted_record_that_a_full_scan_misses_leaves_by_policy(store: Store, clock: ManualClock) -> None:
    text = CUSTOMERS + "on_delete: {do: Cancel}\n"
    world = await make_world(store, clock, {"customers": text})
    account(world, "a1")
    account(world, "a2")
    await world.run()
    world.crm.drop("Account", "a1")
    report = await world.engine.read("customers", full=True)
    assert (report.suspects, report.gone) == (1, 1)
    await world.drain()
    assert [one.op for one in world.erp.journal].count("Cancel") == 1
    assert (await state_of(world, "customers", "a1")).reason == "deleted"


async def test_a_down_system_spends_no_attempts(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1")
    world.engine.flows["customers"].target.breaker.failure()
    for _ in range(5):
        world.engine.flows["customers"].target.breaker.failure()
    await world.run()
    assert (await state_of(world, "customers", "a1")).attempts == 0
    clock.advance(3600)
    await world.drain()
    assert (await state_of(world, "customers", "a1")).state == "done"


async def test_the_books_balance(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    for number in range(4):
        account(world, f"a{number}", status="draft" if number == 0 else "normal", tax_no=None if number == 1 else "x")
    world.crm.put("Order", "o1", name="SO-1", account_id="a9", amount="1", status="normal")
    await world.run()
    counts = await deliveries.counts(store)
    assert sum(counts["customers"].values()) == 4
    assert sum(counts["orders"].values()) == 1


async def test_an_empty_filter_is_refused(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1")
    await world.engine.read("customers")
    with pytest.raises(InvalidInput, match="every delivery"):
        await ledger.retry(store, ledger.Filter())


async def test_delete_by_on_leave(store: Store, clock: ManualClock) -> None:
    world = await make_world(store, clock, {"customers": CUSTOMERS + "on_leave: delete\n"})
    account(world, "a1")
    await world.run()
    world.crm.put("Account", "a1", status="draft")
    await world.run()
    assert world.erp_records("Customer") == []
    assert [one.op for one in world.erp.journal] == [Op.CREATE.value, "delete"]


async def test_a_record_that_belongs_to_another_is_held_and_its_neighbours_go_on(
    store: Store, clock: ManualClock
) -> None:
    world = await customers(store, clock)
    account(world, "a1")
    await world.run()
    (taken,) = world.erp.records["Customer"]
    account(world, "a2")
    account(world, "a3")
    # A vendor that answers with the id of a record which is another's: its upsert found that one.
    world.erp.plan = lambda object, write: (
        Outcome(OutcomeKind.OK, taken, steps=("save",)) if write.fields.get("Name") == "name a2" else None
    )
    await world.run()
    held = await state_of(world, "customers", "a2")
    assert (held.state, held.reason) == ("held", "taken")
    assert (await state_of(world, "customers", "a3")).state == "done"


async def test_the_loser_of_a_merge_is_never_written_again(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1")
    account(world, "a2")
    await world.run()
    async with store.begin() as conn:
        await identities.merge(store, conn, ("crm", "Account", "a1"), ("crm", "Account", "a2"))
    before = world.writes(world.erp)
    world.crm.put("Account", "a2", phone="after the merge")
    await world.run()
    assert world.writes(world.erp) == before
    assert (await state_of(world, "customers", "a2")).reason == "merged"


async def test_a_step_without_an_answer_adds_no_row_twice(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    for number in (1, 2):
        world.crm.put("OrderLine", f"l{number}", order_id="o1", product=f"P{number}", quantity="1")
    reset = Outcome(OutcomeKind.PARTLY, steps=("save",), cause=OutcomeKind.UNKNOWN, failure=Failure("reset"))
    world.erp.plan = lambda object, write: reset if object == "SalesOrder" else None
    await world.run("customers", "orders")
    clock.advance(11)
    await world.drain("orders")
    world.erp.plan = None
    world.crm.put("OrderLine", "l1", quantity="7")
    await world.engine.read("orders")
    clock.advance(60)
    await world.drain("orders")
    assert (await state_of(world, "orders", "o1")).state == "done"
    entries = world.erp_records("SalesOrder")[0]["Entries"]
    assert sorted((row["Product"], row["Qty"]) for row in entries) == [("P1", "7"), ("P2", "1")]


async def test_a_lost_answer_of_a_create_with_rows_keeps_their_ids(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    world.crm.put("OrderLine", "l1", order_id="o1", product="P1", quantity="1")
    world.erp.lose = lambda object, write: object == "SalesOrder"
    await world.run("customers", "orders")
    world.erp.lose = None
    clock.advance(11)
    for _ in range(3):
        await world.drain("orders")
        clock.advance(5)
    world.crm.put("OrderLine", "l1", quantity="3")
    await world.run("orders")
    entries = world.erp_records("SalesOrder")[0]["Entries"]
    assert [(row["Product"], row["Qty"]) for row in entries] == [("P1", "3")]


async def test_mending_the_customer_revives_the_order_that_was_refused_for_it(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1", tax_no=None)
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    await world.run("customers", "orders")
    assert (await state_of(world, "orders", "o1")).state == "dead"
    world.crm.put("Account", "a1", tax_no="T1")
    await world.run("customers")
    await world.drain("orders")
    assert (await state_of(world, "orders", "o1")).state == "done"


async def test_what_a_clerk_overwrites_is_put_right_by_the_owning_side(store: Store, clock: ManualClock) -> None:
    world = await two_way(store, clock)
    account(world, "a1", phone="1")
    for _ in range(2):
        await world.run()
    customer = next(iter(world.erp.records["Customer"]))
    world.erp.put("Customer", customer, Name="meddled")
    for _ in range(3):
        await world.run()
    assert world.erp.records["Customer"][customer].fields["Name"] == "name a1"
    assert world.crm.records["Account"]["a1"].fields["name"] == "name a1"
    kept = (await ledger.show(store, (await state_of(world, "customers", "a1")).id))["attempts_made"]
    assert {"Name": "meddled"} in [line["before"] for line in kept]


async def test_a_difference_from_before_the_link_stays(store: Store, clock: ManualClock) -> None:
    world = await two_way(store, clock)
    account(world, "a1", phone="ours")
    world.erp.put("Customer", "c1", Name="their name", TaxNo="Ta1", Phone="theirs")
    report = await world.engine.link("customers", dry_run=False)
    assert (report.single, report.linked, report.held) == (1, 1, 0)
    for _ in range(2):
        await world.run()
    assert (world.writes(world.erp), world.writes(world.crm)) == (0, 0)
    world.crm.put("Account", "a1", level="A")
    for _ in range(2):
        await world.run()
    assert world.erp.records["Customer"]["c1"].fields["Phone"] == "theirs"
    assert world.erp.records["Customer"]["c1"].fields["Level"] == "A"


async def test_raw_records_that_were_dropped_are_fetched_again(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1", phone="1")
    await world.run()
    clock.advance(60)
    assert await deliveries.purge_payloads(store, clock.now()) == 1
    assert await deliveries.purge_attempts(store, clock.now()) == 1
    await ledger.retry(store, ledger.Filter(flow="customers"))
    await world.drain()
    assert (await state_of(world, "customers", "a1")).state == "unchanged"


async def test_linking_sorts_single_several_and_none_and_writes_nothing(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    for number in range(8):
        account(world, f"a{number}")
        if number < 5:
            world.erp.put("Customer", f"c{number}", Name=f"name a{number}", TaxNo=f"Ta{number}")
    world.erp.put("Customer", "twin", Name="another", TaxNo="Ta4")  # two carry the tax number of a4
    world.erp.put("Customer", "c5", Name="Name  A5", TaxNo="another")  # the same name, another tax number
    world.crm.put("Account", "a6", tax_no="Ta0")  # two source records claim c0
    dry = await world.engine.link("customers", dry_run=True)
    assert (dry.source, dry.target, dry.single, dry.several, dry.none) == (8, 7, 3, 4, 1)
    assert (await deliveries.counts(store)) == {}
    finds = world.erp.finds
    report = await world.engine.link("customers", dry_run=False)
    assert (report.linked, world.writes(world.erp), world.erp.finds) == (3, 0, finds)
    again = await world.engine.link("customers", dry_run=True)
    assert (again.linked_before, again.single) == (3, 0)


async def test_reconcile_finds_what_no_log_shows_and_repairs_it(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    for number in range(6):
        account(world, f"a{number}", phone="1")
    await world.run()
    ids = {record.fields["Name"]: one for one, record in world.erp.records["Customer"].items()}
    world.erp.put("Customer", ids["name a1"], Phone="meddled")
    world.erp.drop("Customer", ids["name a2"])
    world.erp.put("Customer", "foreign", Name="their own")
    report = await world.engine.reconcile("customers")
    assert (report.same, report.different, report.ghost, report.extra, report.missing) == (4, 1, 1, 1, 0)
    await world.engine.reconcile("customers", repair=True)
    await world.drain()
    after = await world.engine.reconcile("customers")
    assert (after.same, after.different, after.ghost, after.extra) == (6, 0, 0, 1)


async def test_a_preview_writes_nothing_anywhere(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1", phone="1")
    (shown,) = await world.engine.preview("customers")
    assert (shown.what, shown.changes["Phone"]) == ("create", {"from": None, "to": "1"})
    assert (world.writes(world.erp), await deliveries.counts(store)) == (0, {})


async def test_why_names_the_chain_down_to_the_root_cause(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    account(world, "a1", phone="bad")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    refuse = Outcome(OutcomeKind.REJECTED, failure=Failure("phone is wrong", "11", "Phone"))
    world.erp.plan = lambda object, write: refuse if object == "Customer" else None
    await world.run("customers", "orders")
    (link,) = await why(store, world.engine.flows, "SO-1")
    assert (link.state, link.flow) == ("waiting", "orders")
    (root,) = link.because
    assert (root.state, root.flow) == ("dead", "customers")
    assert "phone is wrong" in root.cause
    assert "crm" in root.fix


async def test_what_leaves_may_be_marked_in_the_target(store: Store, clock: ManualClock) -> None:
    text = CUSTOMERS + "on_leave: {set: {Level: {const: left}}}\n"
    world = await make_world(store, clock, {"customers": text})
    account(world, "a1", level="A")
    await world.run()
    world.crm.put("Account", "a1", status="draft")
    await world.run()
    assert [one["Level"] for one in world.erp_records("Customer")] == ["left"]
    assert "status" in str((await state_of(world, "customers", "a1")).reason)
    world.crm.put("Account", "a1", status="normal")
    await world.run()
    assert [one["Level"] for one in world.erp_records("Customer")] == ["A"]


async def test_what_the_target_made_of_it_is_read_back_and_held(store: Store, clock: ManualClock) -> None:
    text = ORDERS + 'ensure: {Amount: {equals: amount, within: "0.01"}}\n'
    world = await make_world(store, clock, {"customers": CUSTOMERS, "orders": text})
    account(world, "a1")
    for number, amount in (("1", "10.00"), ("2", "20.00"), ("3", "30.00")):
        world.crm.put("Order", f"o{number}", name=f"SO-{number}", account_id="a1", amount=amount, status="normal")
    rounding = {"20.00": "20.01", "30.00": "31.00"}
    world.erp.makes_of = lambda fields: {
        **fields,
        "Amount": rounding.get(str(fields.get("Amount")), fields.get("Amount")),
    }
    await world.run("customers", "orders")
    states = [(await state_of(world, "orders", f"o{number}")).state for number in (1, 2, 3)]
    assert states == ["done", "done", "held"]
    held = await state_of(world, "orders", "o3")
    assert "Amount is '31.00' and should be '30.00'" in str(held.message)


@pytest.mark.parametrize(("policy", "left", "state"), [("remove", ["P1"], "done"), ("hold", ["P1", "X"], "held")])
async def test_foreign_rows_are_taken_out_or_held_where_the_mapping_says_so(
    store: Store, clock: ManualClock, policy: str, left: list[str], state: str
) -> None:
    text = ORDERS.replace("    entity: order_line\n", f"    entity: order_line\n    foreign: {policy}\n")
    world = await make_world(store, clock, {"customers": CUSTOMERS, "orders": text})
    account(world, "a1")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    world.crm.put("OrderLine", "l1", order_id="o1", product="P1", quantity="1")
    await world.run()
    record = next(iter(world.erp.records["SalesOrder"].values()))
    record.fields["Entries"].append({"entry": "foreign", "Product": "X", "Qty": "9"})  # type: ignore[union-attr]
    world.crm.put("Order", "o1", amount="5")
    await world.run()
    assert sorted(row["Product"] for row in world.erp_records("SalesOrder")[0]["Entries"]) == left
    assert (await state_of(world, "orders", "o1")).state == state


async def test_a_batch_that_is_broken_off_is_in_doubt_at_once(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    account(world, "a1")

    class Ended(BaseException):
        """The process is told to end."""

    def break_off(object: str, write: Write) -> Outcome | None:
        raise Ended

    world.erp.plan = break_off
    await world.engine.read("customers")
    with pytest.raises(Ended):
        await world.engine.drain("customers")
    assert (await state_of(world, "customers", "a1")).state == "doubt"
    world.erp.plan = None
    clock.advance(11)
    await world.drain()
    assert (await state_of(world, "customers", "a1")).state == "done"
    assert len(world.erp_records("Customer")) == 1


async def test_a_refused_order_is_revived_although_its_customer_arrived_after_the_refusal(
    store: Store, clock: ManualClock
) -> None:
    world = await orders(store, clock)
    account(world, "a1", tax_no=None)
    await world.engine.read("customers")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    await world.run("orders")
    assert (await state_of(world, "orders", "o1")).state == "dead"
    await world.drain("customers")
    world.crm.put("Account", "a1", tax_no="T1")
    await world.run("customers")
    await world.drain("orders")
    assert (await state_of(world, "orders", "o1")).state == "done"


async def test_handing_back_leaves_what_another_holds(store: Store, clock: ManualClock) -> None:
    if store.dialect == "sqlite":
        return  # one process: nobody else can hold anything
    world = await customers(store, clock)
    account(world, "a1")
    await world.engine.read("customers")
    watch = claims.Watch(store, lease=1)
    late = await claims.claim(store, "customers", limit=1, lease=1, holder="late")
    assert await watch.release_dead("customers") == 0  # seen for the first time
    clock.advance(2)
    assert await watch.release_dead("customers") == 1
    (now,) = await claims.claim(store, "customers", limit=1, lease=60, holder="now")
    await claims.hand_back(store, late)
    async with store.read() as conn:
        assert now.id in await claims.still_held(conn, [now])
