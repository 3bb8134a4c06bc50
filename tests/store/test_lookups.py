"""Lookup tables of the hub: what waits for a row wakes, whoever comes first."""

from __future__ import annotations

import asyncio

from sqlalchemy import insert, select

from hub.domain.clock import ManualClock
from hub.store import lookups, waits
from hub.store.engine import Store
from hub.store.tables import delivery

LATER = 10**15


async def waiting(store: Store, *ids: int) -> None:
    row = {
        "flow": "f",
        "entity": 1,
        "state": "waiting",
        "due": LATER,
        "since": 0,
        "hash": "",
        "asked": 0,
        "answered": 0,
    }
    async with store.begin() as conn:
        for one in ids:
            await conn.execute(insert(delivery).values(id=one, source_id=str(one), captured=0, **row))


async def due(store: Store) -> dict[int, tuple[str, int]]:
    async with store.read() as conn:
        found = (await conn.execute(select(delivery.c.id, delivery.c.state, delivery.c.due))).all()
    return {row[0]: (row[1], row[2]) for row in found}


async def test_a_new_row_wakes_those_who_wait_for_it_and_nobody_else(store: Store, clock: ManualClock) -> None:
    await waiting(store, 1, 2, 3)
    async with store.begin() as conn:
        wanted = [
            (1, "tax", lookups.encode(["CN"])),
            (2, "tax", lookups.encode(["DE"])),
            (3, "tax", lookups.encode(["DE"])),
        ]
        await waits.put_waiting_lookups(conn, wanted)
    assert await lookups.wanted(store) == {"tax": [lookups.Wanted(("DE",), 2), lookups.Wanted(("CN",), 1)]}
    assert await lookups.add(store, "tax", {("DE",): {"rate": "19"}, ("FR",): "20"}) == lookups.Added(2, 0, 2)
    assert await due(store) == {1: ("waiting", LATER), 2: ("pending", clock.now()), 3: ("pending", clock.now())}
    assert await lookups.wanted(store, "tax") == {"tax": [lookups.Wanted(("CN",), 1)]}


async def test_the_same_row_again_changes_and_wakes_nothing(store: Store) -> None:
    await lookups.add(store, "tax", {("DE",): "19"})
    assert await lookups.add(store, "tax", {("DE",): "19"}) == lookups.Added(0, 0, 0)


async def test_replacing_takes_out_the_rest_of_this_table_alone(store: Store) -> None:
    await lookups.add(store, "tax", {("DE",): "19", ("FR",): "20"})
    await lookups.add(store, "other", {("DE",): "x"})
    assert await lookups.add(store, "tax", {("DE",): "16", ("IT",): "22"}, replace=True) == lookups.Added(2, 1, 0)
    assert await lookups.load(store, "tax") == {("DE",): "16", ("IT",): "22"}
    assert await lookups.load(store, "other") == {("DE",): "x"}


async def test_a_row_that_came_before_the_wait_is_seen_by_the_waiter(store: Store) -> None:
    await lookups.add(store, "tax", {("DE",): "19"})
    asks = {("tax", lookups.encode(["DE"])), ("tax", lookups.encode(["FR"])), ("other", lookups.encode(["DE"]))}
    async with store.begin() as conn:
        assert await lookups.arrived(conn, asks) == {("tax", lookups.encode(["DE"]))}
        assert await lookups.arrived(conn, set()) == set()


async def test_a_row_that_comes_in_the_very_moment_wakes_the_waiter_too(store: Store) -> None:
    """The settle has looked and found no row, and has not committed; the person adds the row meanwhile."""
    await waiting(store, 1)
    key = lookups.encode(["DE"])
    looked, adding = asyncio.Event(), asyncio.Event()

    async def settle() -> None:
        async with store.begin() as conn:
            await waits.put_waiting_lookups(conn, [(1, "tax", key)])
            assert await lookups.arrived(conn, {("tax", key)}) == set()
            looked.set()
            await adding.wait()
            # On SQLite the person's transaction comes after this one. On PostgreSQL the row is there before the wait.
            async with asyncio.timeout(20):
                while store.dialect == "postgresql" and not await lookups.load(store, "tax"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    async def person() -> lookups.Added:
        await looked.wait()
        adding.set()
        return await lookups.add(store, "tax", {("DE",): "19"})

    async with asyncio.TaskGroup() as both:
        both.create_task(settle())
        added = both.create_task(person())
    assert added.result() == lookups.Added(1, 0, 1)
    assert (await due(store))[1][0] == "pending"
