"""Reconcile between two systems in memory: it finds what was planted and nothing else, and mends it by the ledger."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hub.connector.contract import Page
from hub.domain.clock import ManualClock
from hub.domain.errors import Unreachable, VendorError
from hub.store import cursors, deliveries, identities, runs
from hub.store.engine import Store
from hub.store.identities import NewIdentity
from hub.sync.flow import Policy
from hub.sync.reconcile import ReconcileReport
from tests.unit.sync.worlds import CUSTOMERS, ORDERS, World, make_world

DELETES = CUSTOMERS + "on_delete: delete\n"


async def customers(store: Store, clock: ManualClock, count: int = 6, policy: Policy | None = None) -> World:
    world = await make_world(store, clock, {"customers": DELETES}, policies={"customers": policy or Policy()})
    for number in range(count):
        world.crm.put("Account", f"a{number:02}", name=f"name {number:02}", tax_no=f"T{number:02}", status="normal")
    await world.run()
    return world


async def orders(store: Store, clock: ManualClock, text: str = ORDERS) -> World:
    world = await make_world(store, clock, {"customers": CUSTOMERS, "orders": text})
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal")
    world.crm.put("Order", "o1", name="SO-1", account_id="a1", amount="10", status="normal")
    for line in ("1", "2", "3"):
        world.crm.put("OrderLine", f"l{line}", order_id="o1", product=f"P{line}", quantity=line)
    await world.run()
    return world


def books(report: ReconcileReport) -> dict[str, int]:
    """What is not zero, of what went wrong."""
    names = ("different", "missing", "ghost", "owed", "unclear", "deleted", "extra", "refused")
    return {name: count for name in names if (count := report.counts()[name])}


def erp_id(world: World, name: str) -> str:
    return next(one for one, record in world.erp.records["Customer"].items() if record.fields["Name"] == name)


async def test_it_finds_exactly_what_was_planted(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, 12)
    assert books(await world.engine.reconcile("customers")) == {}
    world.erp.put("Customer", erp_id(world, "name 01"), Phone="meddled")
    world.erp.drop("Customer", gone := erp_id(world, "name 02"))
    world.erp.put("Customer", "own", Name="their own", Number="X-1")
    del world.crm.records["Account"]["a03"]  # and no event tells of it
    world.crm.put("Account", "a99", name="never captured", tax_no="T99", status="normal")
    world.crm.put("Account", "draft", name="by a rule", tax_no="T98", status="draft")
    async with store.begin() as conn:  # an old map that knows a record which never was
        await identities.put(
            store, conn, [NewIdentity(store.ids.next(), "crm", "Account", "nobody", "customer", origin="imported")]
        )
    report = await world.engine.reconcile("customers")
    assert books(report) == {"different": 1, "missing": 1, "ghost": 1, "deleted": 2, "extra": 1}
    assert (report.source, report.same, report.left_out, report.target) == (13, 9, 1, 12)
    found = {(one.kind, one.source_id, one.target_id) for one in report.findings}
    assert found == {
        ("different", "a01", erp_id(world, "name 01")),
        ("ghost", "a02", gone),
        ("deleted", "a03", None),
        ("deleted", "nobody", None),
        ("missing", "a99", None),
        ("extra", None, "own"),
    }
    assert next(one.fields for one in report.findings if one.kind == "different") == {
        "Phone": {"ours": None, "theirs": "meddled"}
    }


async def test_looking_changes_nothing(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    world.erp.put("Customer", erp_id(world, "name 01"), Phone="meddled")
    del world.crm.records["Account"]["a03"]
    before, writes = await deliveries.counts(store), world.writes(world.erp)
    await world.engine.reconcile("customers")
    await world.drain()
    assert (await deliveries.counts(store), world.writes(world.erp)) == (before, writes)


async def test_repair_goes_through_the_ledger(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    world.erp.put("Customer", erp_id(world, "name 01"), Phone="meddled")
    world.erp.drop("Customer", erp_id(world, "name 02"))
    del world.crm.records["Account"]["a03"]
    world.crm.put("Account", "a99", name="never captured", tax_no="T99", status="normal")
    world.erp.put("Customer", "own", Name="their own")
    writes = world.writes(world.erp)
    await world.engine.reconcile("customers", repair=True)
    assert world.writes(world.erp) == writes
    assert (await deliveries.counts(store))["customers"] == {"done": 3, "pending": 4}
    await world.drain()
    assert [(one.op, one.fields) for one in world.erp.journal[writes:] if one.op == "update"] == [
        ("update", {"Phone": None})
    ]
    assert books(await world.engine.reconcile("customers")) == {"extra": 1}
    assert sorted(one["Name"] for one in world.erp_records("Customer")) == [
        "name 00", "name 01", "name 02", "name 04", "name 05", "never captured", "their own",
    ]  # fmt: skip


async def test_what_the_ledger_knows_is_no_finding_of_its_own(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    world.crm.put("Account", "a01", phone="2")
    await world.engine.read("customers")  # captured, and not yet delivered
    report = await world.engine.reconcile("customers", repair=True)
    assert books(report) == {"owed": 1}
    assert report.findings[0].why == "the ledger has it as pending"


async def test_what_is_delivered_while_it_is_compared_is_compared_again(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    read = world.crm.read

    async def read_and_change(request: object, cursor: object) -> Page:
        page = await read(request, cursor)  # type: ignore[arg-type]
        world.crm.read = read  # type: ignore[method-assign]
        world.crm.put("Account", "a01", phone="2")
        await world.run()
        return page

    world.crm.read = read_and_change  # type: ignore[method-assign, assignment]
    assert books(await world.engine.reconcile("customers")) == {}


async def test_deletes_stay_under_a_limit_that_a_person_can_lift(store: Store, clock: ManualClock) -> None:
    """The source failed and the target was emptied, deletes ran before the read had ended: airbytehq/airbyte#12782."""
    world = await customers(store, clock, 30)
    world.crm.records["Account"].clear()
    report = await world.engine.reconcile("customers", repair=True)
    assert (report.deleted, report.refused, report.limit) == (30, 30, 10)
    await world.drain()
    assert len(world.erp_records("Customer")) == 30
    with pytest.raises(VendorError, match="nothing was deleted"):
        await world.engine.read("customers", full=True)
    report = await world.engine.reconcile("customers", repair=True, allow_deletes=30)
    assert (report.deleted, report.refused) == (30, 0)
    await world.drain()
    assert world.erp_records("Customer") == []


async def test_a_target_that_was_emptied_is_not_filled_again_unasked(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, 30)
    world.erp.records["Customer"].clear()
    report = await world.engine.reconcile("customers", repair=True)
    assert (report.ghost, report.refused) == (30, 30)
    await world.drain()
    assert world.erp_records("Customer") == []
    await world.engine.reconcile("customers", repair=True, allow_deletes=30)
    await world.drain()
    assert len(world.erp_records("Customer")) == 30


async def test_a_scan_that_is_not_complete_deletes_nothing(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock)
    del world.crm.records["Account"]["a03"]
    read = world.crm.read

    async def partly(request: object, cursor: object) -> Page:
        page = await read(request, cursor)  # type: ignore[arg-type]
        page.complete = False
        return page

    world.crm.read = partly  # type: ignore[method-assign, assignment]
    assert books(await world.engine.reconcile("customers", repair=True)) == {}
    await world.engine.read("customers", full=True)
    await world.drain()
    assert len(world.erp_records("Customer")) == 6


def breaking(world: World, system: str, after: int) -> Callable[[], None]:
    """Let the system's reads fail after so many; returns what mends it. Time passes, so that pages are kept."""
    found = getattr(world, system)
    read, pages = found.read, []

    async def failing(request: object, cursor: object) -> Page:
        if len(pages) == after:
            raise Unreachable(f"{system} does not answer")
        pages.append(cursor)
        world.clock.advance(3)
        page: Page = await read(request, cursor)
        return page

    found.read = failing

    def mend() -> None:
        found.read = read

    return mend


@pytest.mark.parametrize(("system", "after"), [("crm", 0), ("crm", 2), ("erp", 0), ("erp", 2)])
async def test_a_broken_comparison_goes_on_where_it_was(
    store: Store, clock: ManualClock, system: str, after: int
) -> None:
    """A broken snapshot starts again from zero: Debezium, design document 13."""
    world = await customers(store, clock, 20)
    world.erp.put("Customer", erp_id(world, "name 01"), Phone="meddled")
    world.erp.drop("Customer", erp_id(world, "name 17"))
    del world.crm.records["Account"]["a18"]
    world.erp.put("Customer", "own", Name="their own")
    mend = breaking(world, system, after)
    with pytest.raises(Unreachable):
        await world.engine.reconcile("customers")
    mend()
    reads = world.crm.reads
    report = await world.engine.reconcile("customers")
    assert report.resumed
    assert books(report) == {"different": 1, "ghost": 1, "deleted": 1, "extra": 1}
    assert (report.source, report.target) == (19, 20)
    if system == "erp":
        assert world.crm.reads == reads, "the source was read again"
    assert [one.state for one in await runs.listing(store) if one.kind == "reconcile"] == ["finished", "failed"]
    assert not (await world.engine.reconcile("customers")).resumed
    assert "reconcile" not in await cursors.of_flow(store, "customers")


@pytest.mark.parametrize("how", ["restart", "stale", "other"])
async def test_it_begins_anew_when_going_on_makes_no_sense(store: Store, clock: ManualClock, how: str) -> None:
    world = await customers(store, clock, 20)
    mend = breaking(world, "crm", 2)
    with pytest.raises(Unreachable):
        await world.engine.reconcile("customers")
    mend()
    if how == "stale":
        clock.advance(90_000)
    report = await world.engine.reconcile("customers", restart=how == "restart", repair=how == "other")
    assert (report.resumed, report.source, books(report)) == (False, 20, {})


async def test_a_broken_full_read_goes_on_and_takes_nothing_for_gone(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, 20)
    del world.crm.records["Account"]["a18"]
    mend = breaking(world, "crm", 3)
    with pytest.raises(Unreachable):
        await world.engine.read("customers", full=True)
    mend()
    report = await world.engine.read("customers", full=True)
    assert (report.suspects, report.gone) == (1, 1)


async def test_rows_that_lack_differ_or_are_too_many(store: Store, clock: ManualClock) -> None:
    world = await orders(store, clock)
    record = next(iter(world.erp.records["SalesOrder"].values()))
    entries: list[dict[str, object]] = record.fields["Entries"]  # type: ignore[assignment]
    by_product = {row["Product"]: row for row in entries}
    by_product["P1"]["Qty"] = "7"
    entries.remove(by_product["P2"])
    entries.append({"entry": "own", "Product": "X", "Qty": "9"})  # somebody's own, and kept
    report = await world.engine.reconcile("orders")
    assert books(report) == {"different": 1}
    assert report.findings[0].fields["Entries"] == {
        "ours": 3,
        "theirs": 3,
        "missing": ["l2"],
        "different": {"l1": {"Qty": {"ours": "1", "theirs": "7"}}},
    }
    await world.engine.reconcile("orders", repair=True)
    await world.drain()
    assert books(await world.engine.reconcile("orders")) == {}
    (order,) = world.erp_records("SalesOrder")
    assert sorted((row["Product"], row["Qty"]) for row in order["Entries"]) == [
        ("P1", "1"), ("P2", "2"), ("P3", "3"), ("X", "9"),
    ]  # fmt: skip


@pytest.mark.parametrize(("policy", "found"), [("keep", {}), ("remove", {"different": 1}), ("hold", {"different": 1})])
async def test_rows_of_the_other_side_are_judged_by_the_mapping(
    store: Store, clock: ManualClock, policy: str, found: dict[str, int]
) -> None:
    text = ORDERS.replace("    entity: order_line\n", f"    entity: order_line\n    foreign: {policy}\n")
    world = await orders(store, clock, text)
    record = next(iter(world.erp.records["SalesOrder"].values()))
    record.fields["Entries"].append({"entry": "own", "Product": "X", "Qty": "9"})  # type: ignore[union-attr]
    report = await world.engine.reconcile("orders")
    assert books(report) == found
    if found:
        assert report.findings[0].fields["Entries"]["not ours"] == ["own"]


async def test_flows_that_never_create_miss_nothing(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, 3, Policy(create=False))
    report = await world.engine.reconcile("customers")
    assert (books(report), report.left_out) == ({}, 3)
