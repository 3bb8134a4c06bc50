"""What is due, who runs it, what became of it, and what people decided."""

from __future__ import annotations

import asyncio

import pytest

from hub.domain.clock import ManualClock
from hub.domain.errors import NotFound
from hub.store import cursors, flows, runs, schedules
from hub.store.engine import Store
from hub.store.schedules import Planned

NOW = 1_700_000_000_000


def planned(
    name: str = "orders/read", flow: str = "orders", trigger: str = '{"every": 60}', first: int = NOW
) -> Planned:
    return Planned(name, flow, "read", trigger, first)


async def test_schedules_follow_the_configuration_and_keep_their_time(store: Store) -> None:
    await schedules.sync(store, [planned(), planned("x", "x")])
    await schedules.pause(store, "orders/read", "closing the books")
    await schedules.sync(store, [planned(first=NOW + 99)])
    [one] = await schedules.listing(store)
    assert (one.name, one.next_due, one.paused, one.reason) == ("orders/read", NOW, True, "closing the books")
    await schedules.sync(store, [planned(trigger='{"every": 5}', first=NOW + 99)])
    [one] = await schedules.listing(store, flow="orders")
    assert (one.next_due, one.paused) == (NOW + 99, True)
    await schedules.sync(store, [])
    assert await schedules.listing(store) == []


async def test_a_due_schedule_is_claimed_by_one(store: Store) -> None:
    await schedules.sync(store, [planned(f"{at}/read", str(at)) for at in range(20)])
    claims = await asyncio.gather(*(schedules.claim(store, holder=str(at), lease=60, limit=20) for at in range(4)))
    names = [one.name for claim in claims for one in claim]
    assert len(names) == 20
    assert len(set(names)) == 20


async def test_a_flow_never_overlaps_with_itself(store: Store, clock: ManualClock) -> None:
    await schedules.sync(store, [planned(), planned("orders/sweep"), planned("other/read", "other")])
    first = await schedules.claim(store, holder="a", lease=60)
    assert [one.flow for one in first] == ["orders", "other"]
    assert await schedules.claim(store, holder="b", lease=60) == []
    assert await schedules.next_due(store) is None  # whoever waits for its sweep need not look again and again
    assert await schedules.finish(store, first[0], next_due=NOW + 60_000, run=7, missed=2)
    [second] = await schedules.claim(store, holder="b", lease=60)
    assert second.name != first[0].name
    done = next(one for one in await schedules.listing(store) if one.name == first[0].name)
    assert (done.missed, done.last_run, done.last_due, done.next_due, done.holder) == (2, 7, NOW, NOW + 60_000, None)


async def test_a_lease_that_was_lost_writes_nothing(store: Store, clock: ManualClock) -> None:
    await schedules.sync(store, [planned()])
    [late] = await schedules.claim(store, holder="a", lease=60)
    assert await schedules.renew(store, late, lease=60)
    clock.advance(61)
    [taken] = await schedules.claim(store, holder="b", lease=60)
    assert taken.lease_token > late.lease_token
    assert not await schedules.finish(store, late, next_due=0)
    assert not await schedules.renew(store, late, lease=60)
    assert await schedules.finish(store, taken, next_due=NOW + 120_000)


async def test_a_schedule_that_is_handed_back_is_due_to_everybody_at_once(store: Store) -> None:
    await schedules.sync(store, [planned(), planned("other/read", "other")])
    [mine] = await schedules.claim(store, holder="a", lease=60, flow="orders")
    assert await schedules.due(store) == ["other"]
    assert await schedules.hand_back(store, mine)
    assert await schedules.due(store) == ["orders", "other"]
    [theirs] = await schedules.claim(store, holder="b", lease=60, flow="orders")
    assert (theirs.next_due, theirs.lease_token) == (NOW, mine.lease_token + 1)
    assert not await schedules.hand_back(store, mine)


async def test_a_person_and_a_schedule_never_read_a_flow_at_the_same_time(store: Store, clock: ManualClock) -> None:
    await schedules.sync(store, [planned(first=NOW + 60_000), planned("orders/sweep", first=NOW + 60_000)])
    held = await schedules.hold(store, "orders", holder="person", lease=300)
    assert held is not None
    assert await schedules.hold(store, "orders", holder="another", lease=300) is None
    clock.advance(61)
    assert await schedules.claim(store, holder="a", lease=60) == []
    assert await schedules.hand_back(store, held)
    [taken] = await schedules.claim(store, holder="a", lease=60)
    assert taken.next_due == NOW + 60_000
    assert await schedules.hold(store, "nothing", holder="person", lease=300) is None


async def test_what_fell_due_while_paused_is_made_up_for_once(store: Store, clock: ManualClock) -> None:
    await schedules.sync(store, [planned()])
    await schedules.pause(store, "orders/read", "holiday")
    clock.advance(3600)
    assert await schedules.claim(store, holder="a", lease=60) == []
    assert await schedules.next_due(store) is None
    await schedules.resume(store, "orders/read")
    [one] = await schedules.claim(store, holder="a", lease=60)
    await schedules.finish(store, one, next_due=clock.now() + 60_000)
    assert await schedules.claim(store, holder="a", lease=60) == []
    await schedules.run_now(store, "orders/read")
    assert len(await schedules.claim(store, holder="a", lease=60)) == 1
    assert await schedules.void_leases(store) == 1
    assert len(await schedules.claim(store, holder="b", lease=60)) == 1
    with pytest.raises(NotFound):
        await schedules.pause(store, "nothing", "")


async def test_a_run_lives_and_ends(store: Store, clock: ManualClock) -> None:
    run = await runs.start(store, "orders", kind="read", cause="schedule")
    clock.advance(5)
    await runs.beat(store, run, '{"read": 5}')
    one = await runs.get(store, run)
    assert (one.state, one.beat, one.counts) == ("running", NOW + 5000, {"read": 5})
    await runs.finish(store, run, state="finished", counts='{"read": 9}')
    one = await runs.get(store, run)
    assert (one.state, one.ended, one.counts, one.error) == ("finished", NOW + 5000, {"read": 9}, None)
    with pytest.raises(NotFound):
        await runs.get(store, 1)


async def test_runs_of_a_dead_process_are_interrupted(store: Store, clock: ManualClock) -> None:
    dead = await runs.start(store, "orders", kind="read", cause="schedule")
    clock.advance(120)
    alive = await runs.start(store, "orders", kind="read", cause="schedule")
    assert await runs.interrupt(store, silent_for=60) == 1
    assert (await runs.get(store, dead)).state == "interrupted"
    assert (await runs.get(store, alive)).state == "running"
    assert await runs.interrupt(store) == 1


async def test_a_run_gives_signs_of_life_however_long_a_page_takes(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "BEAT", 0.01)
    run = await runs.start(store, "orders", kind="read", cause="schedule")
    clock.advance(600)
    beaten = asyncio.Event()

    def counts() -> str:
        beaten.set()
        return '{"read": 1}'

    async with runs.alive(store, run, counts):
        await asyncio.wait_for(beaten.wait(), 10)
        beaten.clear()
        await asyncio.wait_for(beaten.wait(), 10)  # the one before it is written
    assert await runs.interrupt(store, silent_for=runs.SILENT) == 0
    assert (await runs.get(store, run)).counts == {"read": 1}


async def test_runs_are_listed_the_newest_first(store: Store, clock: ManualClock) -> None:
    ids = [await runs.start(store, flow, kind="read", cause="person") for flow in ("a", "b", "a")]
    await runs.finish(store, ids[0], state="failed", counts="{}", error="down")
    assert [one.id for one in await runs.listing(store)] == ids[::-1]
    assert [one.id for one in await runs.listing(store, flow="a", before=ids[2])] == [ids[0]]
    assert [one.error for one in await runs.listing(store, state="failed")] == ["down"]
    assert {flow: one.id for flow, one in (await runs.latest(store)).items()} == {"a": ids[2], "b": ids[1]}
    assert await runs.purge(store, clock.now() + 1) == 1


async def test_a_flow_remembers_when_it_began(store: Store, clock: ManualClock) -> None:
    begun = await asyncio.gather(*(flows.started(store, "orders") for _ in range(4)))
    clock.advance(100)
    assert {*begun, await flows.started(store, "orders")} == {NOW}


async def test_a_flow_is_paused_with_a_reason_and_may_wake_by_itself(store: Store, clock: ManualClock) -> None:
    await flows.started(store, "orders")
    await flows.pause(store, "orders", "closing the books", until=NOW + 60_000)
    await flows.pause(store, "new", "not yet")
    found = await flows.paused(store)
    assert {name: one.reason for name, one in found.items()} == {"orders": "closing the books", "new": "not yet"}
    clock.advance(61)
    assert list(await flows.paused(store)) == ["new"]
    assert await flows.resume(store, "new")
    assert not await flows.resume(store, "new")
    assert (await flows.states(store))["orders"].started == NOW


async def test_cursors(store: Store) -> None:
    async with store.begin() as conn:
        await cursors.put(conn, "f", "record", {"time": 1, "id": "汉"}, 5)
        await cursors.put(conn, "f", "lines", {}, 5)
        await cursors.put(conn, "f", "record", {"time": 2}, 6)
    assert await cursors.get(store, "f", "record") == {"time": 2}
    assert await cursors.of_flow(store, "f") == {"record": ({"time": 2}, 6), "lines": ({}, 5)}
    async with store.begin() as conn:
        await cursors.put(conn, "f", "record", None, 7)
    assert await cursors.get(store, "f", "record") is None
    assert await cursors.reset(store, "f") == 1
