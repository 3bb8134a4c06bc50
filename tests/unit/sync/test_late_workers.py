"""A worker that is paused past its lease: what it may still do, and who puts it right."""

from __future__ import annotations

import httpx
import pytest
import respx

from hub.connector import fence
from hub.connector.contract import Write
from hub.connector.http import TransportFailure
from hub.connector.kit import Kit
from hub.domain.clock import ManualClock
from hub.domain.outcome import Outcome, OutcomeKind
from hub.store import claims, ledger
from hub.store.engine import Store
from hub.sync.engine import Engine
from hub.sync.lease import Lease
from tests.unit.sync.worlds import CUSTOMERS, World, make_world


async def _world(store: Store, clock: ManualClock) -> World:
    world = await make_world(store, clock, {"customers": CUSTOMERS})
    world.crm.put("Account", "a1", name="one", tax_no="T1", status="normal", phone="1")
    return world


async def _state(world: World) -> ledger.Line:
    (line,) = await ledger.lines(world.store, ledger.Filter(flow="customers", source_id="a1"))
    return line


async def _take_over(world: World, clock: ManualClock) -> None:
    """Another process finds the lease standing still, waits for what may have left to settle, and delivers."""
    other = Engine(world.store, world.engine.flows, lease=120)
    assert await other.drain("customers") == {}  # the lease is seen for the first time
    clock.advance(130)
    for _ in range(3):  # taken back; looked for, and delivered; once more, should that have found something newer
        await other.drain("customers")
        clock.advance(11)


async def _late(world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next write of the first process reaches the target only after somebody else has taken over."""
    write = world.erp.write

    async def paused(object: str, batch: list[Write]) -> list[Outcome]:
        monkeypatch.setattr(world.erp, "write", write)
        world.crm.put("Account", "a1", phone="3")
        await world.engine.read("customers")
        await _take_over(world, clock)
        return await write(object, batch)

    monkeypatch.setattr(world.erp, "write", paused)


async def test_a_late_update_is_put_right(store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.dialect == "sqlite":
        return  # one process owns the file: nobody can take over
    world = await _world(store, clock)
    await world.run()
    world.crm.put("Account", "a1", phone="2")
    await world.engine.read("customers")
    await _late(world, clock, monkeypatch)
    await world.engine.drain("customers")
    assert [one["Phone"] for one in world.erp_records("Customer")] == ["2"]  # the old one went over the newer
    assert (await _state(world)).state == "doubt"
    clock.advance(11)
    await world.engine.drain("customers")
    assert [one["Phone"] for one in world.erp_records("Customer")] == ["3"]
    assert (await _state(world)).state == "done"
    async with store.read() as conn:
        assert await claims.intents(conn, [(await _state(world)).id]) == {}


async def test_a_late_create_is_shown_to_a_person(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.dialect == "sqlite":
        return
    world = await _world(store, clock)
    await world.engine.read("customers")
    await _late(world, clock, monkeypatch)
    await world.engine.drain("customers")
    assert len(world.erp_records("Customer")) == 2
    clock.advance(11)
    await world.engine.drain("customers")
    line = await _state(world)
    assert (line.state, line.reason) == ("held", "several")


async def test_a_late_worker_does_not_touch_what_others_know(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write was refused after all: then nothing of it is left, not even a doubt."""
    if store.dialect == "sqlite":
        return
    world = await _world(store, clock)
    await world.run()
    world.crm.put("Account", "a1", phone="2")
    await world.engine.read("customers")
    await _late(world, clock, monkeypatch)
    paused = world.erp.write

    async def throttled(object: str, batch: list[Write]) -> list[Outcome]:
        monkeypatch.setattr(world.erp, "plan", None)
        await paused(object, [])
        return [Outcome(OutcomeKind.NOT_EXECUTED) for _ in batch]

    monkeypatch.setattr(world.erp, "write", throttled)
    await world.engine.drain("customers")
    assert (await _state(world)).state == "done"
    assert [one["Phone"] for one in world.erp_records("Customer")] == ["3"]


async def test_nothing_is_sent_when_the_lease_may_pass_before_the_answer(store: Store, clock: ManualClock) -> None:
    world = await _world(store, clock)
    await world.engine.read("customers")
    claimed = await claims.claim(store, "customers", limit=5, lease=120, holder="me")
    lease = Lease(store, claimed, clock.monotonic())
    http = Kit.local("erp", clock=clock).http("http://erp.example", timeout=60)
    with respx.mock(base_url="http://erp.example", assert_all_called=False) as wire:
        sent = wire.post("/save").mock(return_value=httpx.Response(200, json={}))
        read = wire.post("/query").mock(return_value=httpx.Response(200, json={}))
        async with lease.kept():
            with fence.guarded(lambda: 61.0):
                await http.send("POST", "/save", json={})
            with fence.guarded(lambda: 59.0):
                await http.read("POST", "/query", json={})  # a read does no harm, however late
                with pytest.raises(TransportFailure) as caught:
                    await http.send("POST", "/save", json={})
        assert (sent.call_count, read.call_count) == (1, 1)
    assert not caught.value.sent
    assert caught.value.outcome().kind is OutcomeKind.NOT_EXECUTED
    await http.aclose()


async def test_a_lease_runs_by_the_monotonic_clock_from_before_its_claim(store: Store, clock: ManualClock) -> None:
    if store.dialect == "sqlite":
        return
    world = await _world(store, clock)
    await world.engine.read("customers")
    asked = clock.monotonic()
    clock.advance(5)
    claimed = await claims.claim(store, "customers", limit=5, lease=120, holder="me")
    assert Lease(store, claimed, asked).left() == pytest.approx(115)
    clock.advance(200)
    assert Lease(store, claimed, asked).left() < 0


async def test_taking_a_lease_away_moves_its_token(store: Store, clock: ManualClock) -> None:
    if store.dialect == "sqlite":
        return
    world = await _world(store, clock)
    await world.engine.read("customers")
    claimed = await claims.claim(store, "customers", limit=5, lease=120, holder="me")
    watch = claims.Watch(store, lease=120)
    await watch.release_dead("customers")
    clock.advance(60)
    assert await claims.renew(store, claimed, lease=120)
    clock.advance(60)
    assert await watch.release_dead("customers") == 0  # it has moved since it was seen first
    clock.advance(121)
    assert await watch.release_dead("customers") == 1
    assert not await claims.renew(store, claimed, lease=120)
    async with store.read() as conn:
        assert await claims.still_held(conn, claimed) == {}
