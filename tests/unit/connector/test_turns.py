from __future__ import annotations

import asyncio
import contextlib

import pytest

from hub.connector.turns import Turns, for_flow, for_person, standing


async def take(turns: Turns, name: str, order: list[str]) -> None:
    async with turns:
        order.append(name)
        await asyncio.sleep(0)


async def test_people_go_first_then_priority_then_what_is_new_then_who_came_first() -> None:
    turns, order = Turns(), []
    await turns.acquire()
    tasks = []
    for name, priority, bulk in (("a", 0, True), ("b", 0, False), ("c", 5, True), ("d", 0, False), ("e", -1, False)):
        with for_flow(priority, bulk=bulk):
            tasks.append(asyncio.create_task(take(turns, name, order)))
    with for_person():
        tasks.append(asyncio.create_task(take(turns, "person", order)))
    await asyncio.sleep(0)
    turns.release()
    await asyncio.gather(*tasks)
    assert order == ["person", "c", "b", "d", "a", "e"]


async def test_a_person_stays_one_inside_a_flow() -> None:
    with for_person(), for_flow(7):
        assert standing().person
        assert standing().priority == 7
    assert not standing().person


async def test_as_many_as_there_are_slots_go_at_a_time() -> None:
    turns, inside, most = Turns(3), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with turns:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == 3


@pytest.mark.parametrize("late", [False, True])
async def test_who_is_cancelled_takes_no_turn_with_him(late: bool) -> None:
    turns, order = Turns(), []
    await turns.acquire()
    gone, stays = (asyncio.create_task(take(turns, name, order)) for name in ("gone", "stays"))
    await asyncio.sleep(0)
    if late:  # the turn was given to him, and he never woke up to it
        turns.release()
    gone.cancel()
    if not late:
        turns.release()
    with contextlib.suppress(asyncio.CancelledError):
        await gone
    async with asyncio.timeout(5):
        await stays
        await turns.acquire()
    assert order == ["stays"]
