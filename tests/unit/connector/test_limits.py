from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.connector.limits import Limit, LocalBudgets
from hub.domain.clock import ManualClock
from hub.domain.errors import QuotaSpent

PER_PATH = Limit("/cgi/*", 3, 20.0, "3 in 20 s", each=True)


class World:
    """A clock that moves by what is slept."""

    def __init__(self, *limits: Limit, now: int = 1_700_000_000_000) -> None:
        self.clock = ManualClock(now)
        self.slept = 0.0
        self.budgets = LocalBudgets(self.clock, limits=limits, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.clock.advance(seconds)
        await asyncio.sleep(0)


async def test_a_window_is_waited_for() -> None:
    world = World(PER_PATH)
    for _ in range(3):
        await world.budgets.take("/cgi/query")
    assert world.slept == 0
    await world.budgets.take("/cgi/query")
    assert 20 <= world.slept <= 20.01


async def test_each_group_has_a_window_of_its_own() -> None:
    world = World(PER_PATH)
    for path in ("/cgi/query", "/cgi/get", "/other"):
        for _ in range(3):
            await world.budgets.take(path)
    for _ in range(9):
        await world.budgets.take("/other")
    assert world.slept == 0


async def test_groups_share_a_window_without_each() -> None:
    world = World(Limit("*", 2, 1.0, "2 a second"))
    for path in ("a", "b", "c"):
        await world.budgets.take(path)
    assert 1 <= world.slept <= 1.01


async def test_the_strictest_of_several_limits_holds() -> None:
    world = World(Limit("*", 5, 1.0, "second"), Limit("*", 6, 60.0, "minute"))
    for _ in range(7):
        await world.budgets.take("x")
    assert world.slept >= 60


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 3)), max_size=40))
async def test_no_window_ever_holds_more(calls: list[tuple[float, int]]) -> None:
    world, times = World(PER_PATH), []
    for pause, cost in calls:
        world.clock.advance(pause)
        await world.budgets.take("/cgi/x", cost)
        times += [world.clock.monotonic()] * cost
    for start in times:
        assert sum(start <= time < start + 20 for time in times) <= 3


async def test_callers_of_one_group_go_in_turn() -> None:
    world, order = World(PER_PATH), []

    async def call(n: int) -> None:
        await world.budgets.take("/cgi/x")
        order.append(n)

    await asyncio.gather(*(call(n) for n in range(10)))
    assert order == list(range(10))


async def test_a_days_quota_is_told_and_starts_anew_at_midnight_of_its_zone() -> None:
    evening = int(datetime(2026, 1, 6, 15, 30, tzinfo=UTC).timestamp() * 1000)  # 23:30 in Shanghai
    world = World(Limit("*", 2, 86400, "calls a day", reset_zone="Asia/Shanghai"), now=evening)
    await world.budgets.take("x", 2)
    with pytest.raises(QuotaSpent, match="calls a day") as caught:
        await world.budgets.take("x")
    midnight = int(datetime(2026, 1, 6, 16, 0, tzinfo=UTC).timestamp() * 1000)
    assert caught.value.resumes_at == midnight
    world.clock.advance(1800)
    await world.budgets.take("x")
    assert world.slept == 0


async def test_a_refused_day_costs_no_window() -> None:
    world = World(PER_PATH, Limit("*", 1, 86400, "day", reset_zone="UTC"))
    await world.budgets.take("/cgi/x")
    for _ in range(5):
        with pytest.raises(QuotaSpent):
            await world.budgets.take("/cgi/x")
    assert world.slept == 0


async def test_a_penalty_holds_its_group_only() -> None:
    world = World()
    await world.budgets.penalise("a", 30)
    await world.budgets.penalise("a", 5)
    await world.budgets.take("b")
    assert world.slept == 0
    await world.budgets.take("a")
    assert 30 <= world.slept <= 30.01


async def test_a_penalty_that_comes_while_waiting_counts_too() -> None:
    world = World(Limit("*", 1, 10.0, "one in ten"))
    await world.budgets.take("a")
    waiting = asyncio.ensure_future(world.budgets.take("a"))
    await asyncio.sleep(0)
    await world.budgets.penalise("a", 100)
    await waiting
    assert world.slept >= 100


async def test_a_cost_above_the_limit_takes_the_whole_window() -> None:
    world = World(PER_PATH)
    await world.budgets.take("/cgi/x", 50)
    assert world.slept == 0
    await world.budgets.take("/cgi/x")
    assert world.slept >= 20
