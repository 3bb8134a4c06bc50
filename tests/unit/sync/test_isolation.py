"""One poisonous record, one system that is away: what stands beside them goes on, and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hub.connector.breaker import BreakerState
from hub.connector.contract import Write
from hub.connector.turns import Standing, standing
from hub.domain.clock import ManualClock
from hub.domain.errors import VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.store import claims, ledger
from hub.store.engine import Store
from hub.sync.flow import Policy
from hub.sync.gather import Gatherer
from hub.sync.work import Work
from tests.unit.sync.worlds import CUSTOMERS, ORDERS, World, make_world


async def customers(store: Store, clock: ManualClock, count: int, **policy: int) -> World:
    made = await make_world(store, clock, {"customers": CUSTOMERS}, policies={"customers": Policy(**policy)})  # type: ignore[arg-type]
    for at in range(count):
        made.crm.put("Account", f"a{at}", name=f"name {at}", tax_no=f"T{at}", status="normal")
    return made


async def states(world: World) -> dict[str, str]:
    return {one.source_id: one.state for one in await ledger.lines(world.store, ledger.Filter(flow="customers"))}


async def test_one_bad_record_stopped_the_stream__a_mapping_that_stumbles_over_it_leaves_its_neighbours_alone(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, phone = Gatherer.translate, "138" + "00138000"

    async def stumble(self: Gatherer, works: Sequence[Work]) -> None:
        if any(work.claimed.source_id in ("a3", "a11") for work in works):
            raise ZeroDivisionError(phone)
        await real(self, works)

    monkeypatch.setattr(Gatherer, "translate", stumble)
    world = await customers(store, clock, 20)
    await world.run()
    found = await states(world)
    assert {one for one, state in found.items() if state == "dead"} == {"a3", "a11"}
    assert sum(state == "done" for state in found.values()) == 18
    [dead] = await ledger.lines(store, ledger.Filter(flow="customers", source_id="a3"))
    assert dead.reason == "mistake"
    assert "(ZeroDivisionError at test_isolation.py:" in (dead.message or "")
    assert "13800138000" not in (dead.message or "") + caplog.text  # an exception's words may be personal
    # Its next change revives it, like every dead letter.
    monkeypatch.setattr(Gatherer, "translate", real)
    world.crm.put("Account", "a3", phone="1")
    await world.run()
    assert (await states(world))["a3"] == "done"


async def test_one_bad_record_stopped_the_stream__a_connector_that_raises_over_it_leaves_its_neighbours_alone(
    store: Store, clock: ManualClock
) -> None:
    world = await customers(store, clock, 20)

    def stumble(_object: str, write: Write) -> Outcome | None:
        if write.fields.get("Name") == "name 7":
            raise KeyError("a bug in the connector")
        return None

    world.erp.plan = stumble
    await world.run()
    # Seven had been made when it stumbled: nobody knows, so all of the batch is in doubt.
    assert set((await states(world)).values()) == {"doubt"}
    for _ in range(4):
        clock.advance(11)
        await world.drain()
    found = await states(world)
    assert {one for one, state in found.items() if state == "dead"} == {"a7"}
    assert sum(state == "done" for state in found.values()) == 19
    assert len(world.erp_records("Customer")) == 19  # none was made twice
    assert world.engine.flow("customers").target.breaker.state is BreakerState.CLOSED


async def test_one_bad_record_stopped_the_stream__the_source_stumbles_over_what_it_is_told_and_hears_of_the_others(
    store: Store, clock: ManualClock
) -> None:
    world = await make_world(store, clock, {"customers": CUSTOMERS, "orders": ORDERS})
    world.crm.put("Account", "a1", name="name", tax_no="T1", status="normal")
    for at in range(6):
        world.crm.put("Order", f"o{at}", name=f"SO-{at}", account_id="a1", amount="10", status="normal")
    poison: list[str] = ["o3"]

    def stumble(object: str, write: Write) -> Outcome | None:
        if object == "Order" and write.id in poison:
            raise KeyError("a bug in the connector")
        return None

    world.crm.plan = stumble
    await world.run()
    for _ in range(6):
        clock.advance(10)
        await world.drain()
    told = {one.id: one.fields["told"] for one in world.crm.records["Order"].values()}
    assert {one for one, words in told.items() if words == "ok"} == {"o0", "o1", "o2", "o4", "o5"}
    poison.clear()
    for _ in range(4):
        clock.advance(60)
        await world.drain()
    assert world.crm.records["Order"]["o3"].fields["told"] == "ok"


async def test_an_open_intent_outlives_a_look_that_failed(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was lost; the next look can't reach the target; the record is renamed meanwhile.

    Without the intent the next attempt would look for the record by today's keys, and make it twice.
    """
    world = await make_world(store, clock, {"customers": CUSTOMERS}, stamp=False)
    world.crm.put("Account", "a0", name="name 0", tax_no="T0", status="normal")
    world.erp.lose = lambda _object, _write: True
    await world.run()
    world.erp.lose = None
    clock.advance(11)

    async def away(*_given: object) -> None:
        raise VendorError("out of order")

    monkeypatch.setattr("hub.sync.engine.load", away)
    await world.drain()
    assert await states(world) == {"a0": "doubt"}
    monkeypatch.undo()
    world.crm.put("Account", "a0", name="renamed", tax_no="T-other")
    clock.advance(31)
    await world.run()
    await world.drain()
    [made] = world.erp_records("Customer")
    assert (made["Name"], made["TaxNo"]) == ("renamed", "T-other")


async def test_while_a_target_is_down_deliveries_wait_and_spend_no_attempts(store: Store, clock: ManualClock) -> None:
    world = await customers(store, clock, 60, batch=10)
    asked: list[int] = []

    def down(_object: str, _write: Write) -> Outcome | None:
        asked.append(1)
        return Outcome(OutcomeKind.DOWN, failure=Failure("connection refused"))

    world.erp.plan = down
    await world.engine.read("customers")
    for _ in range(40):
        await world.engine.drain("customers")
        clock.advance(5)
    breaker = world.engine.flow("customers").target.breaker
    assert breaker.state is BreakerState.OPEN
    # Five batches until it opened; after that a trial is one delivery, ever more rarely.
    assert 50 < len(asked) < 60
    lines = await ledger.lines(store, ledger.Filter(flow="customers"), limit=100)
    assert {(one.state, one.attempts) for one in lines} == {("pending", 0)}
    world.erp.plan = None
    retry_at = breaker.retry_at
    assert retry_at is not None
    clock.advance((retry_at - clock.now()) / 1000 + 60)
    await world.engine.drain("customers")
    await world.engine.drain("customers")
    assert set((await states(world)).values()) == {"done"}
    assert breaker.state is BreakerState.CLOSED


async def test_calls_of_a_flow_carry_its_priority_and_its_lane(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await customers(store, clock, 3, priority=7)
    seen: list[tuple[str, Standing]] = []
    for name in ("read", "write"):
        real = getattr(world.crm if name == "read" else world.erp, name)

        async def told(*given: object, _name: str = name, _real: object = real, **how: object) -> object:
            seen.append((_name, standing()))
            return await _real(*given, **how)  # type: ignore[operator]

        monkeypatch.setattr(world.crm if name == "read" else world.erp, name, told)
    await world.run()  # the first read of a flow goes to the bulk lane
    world.crm.put("Account", "a1", phone="1")
    await world.run()
    await world.engine.read("customers", full=True)
    bulk, live = Standing(priority=7, bulk=True), Standing(priority=7)
    assert seen == [("read", live), ("write", bulk), ("read", live), ("write", live), ("read", bulk)]


@pytest.mark.parametrize("away", [True, False])
async def test_a_lease_of_a_doubt_that_nobody_looked_into_keeps_its_intent(
    store: Store, clock: ManualClock, away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await customers(store, clock, 1)
    world.erp.lose = lambda _object, _write: True
    await world.run()
    clock.advance(11)

    async def stumble(*_given: object) -> None:
        raise VendorError("away") if away else ZeroDivisionError("a mistake")

    monkeypatch.setattr("hub.sync.engine.load", stumble)
    await world.drain()
    clock.advance(901)
    [claimed] = await claims.claim(store, "customers", limit=5, lease=60, holder="me")
    assert claimed.state == "doubt"
    async with store.read() as conn:
        assert await claims.intents(conn, [claimed.id])
