"""Budgets that all processes of one store share: windows, quotas, the reserve for people, slices."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.connector.limits import Limit
from hub.connector.turns import for_flow, for_person
from hub.domain.clock import ManualClock
from hub.domain.errors import QuotaSpent, StoreError, VendorError
from hub.store import budgets
from hub.store.budgets import Ask
from hub.store.engine import Store
from hub.store.shared_budgets import SharedBudgets

DAY = Limit("*", 100, 86_400, "calls of the day", reset_zone="Asia/Shanghai")
MONTH = Limit("*", 100, 31 * 86_400, "calls of the month", reset_zone="Asia/Shanghai", month=True)
EVENING = int(datetime(2026, 1, 31, 15, 30, tzinfo=UTC).timestamp() * 1000)  # 23:30 in Shanghai
MIDNIGHT = EVENING + 1_800_000


class World:
    """One store, a clock that moves by what is slept, and as many processes' budgets as a test wants."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.pauses: list[tuple[int, str]] = []

    def process(self, *limits: Limit, account: str = "", system: str = "crm", reserve: float = 0.0) -> SharedBudgets:
        made = SharedBudgets(
            self.store,
            system,
            connector="vendor",
            reserve=reserve,
            paused=lambda until, why: self.pauses.append((until, why)),
            sleep=self.sleep,
        )
        made.declare(limits, account=account)
        return made

    async def sleep(self, seconds: float) -> None:
        for _ in range(5):  # others come while this one waits
            await asyncio.sleep(0)
        self.clock.advance(seconds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(EVENING)


@pytest.fixture
def world(store: Store, clock: ManualClock) -> World:
    return World(store, clock)


async def spend(budget: SharedBudgets, calls: int) -> int:
    """Calls until the quota is spent; how many went."""
    for made in range(calls):
        try:
            await budget.take("/cgi/query")
        except QuotaSpent:
            return made
    return calls


async def test_the_daily_quota_ended_and_the_run_died__all_processes_together_stop_at_it_and_say_when_it_resumes(
    world: World,
) -> None:
    processes = [world.process(DAY) for _ in range(5)]
    made = await asyncio.gather(*(spend(one, 60) for one in processes))
    # A slice that another process holds is not lost: it comes back when that one asks again, or ends.
    for one in processes:
        await one.aclose()
    made += [await spend(processes[0], 100)]
    assert sum(made) == 100
    with pytest.raises(
        QuotaSpent, match="calls of the day: this day's 100 calls are used up; resumes at 2026-01-31T16:00"
    ) as caught:
        await world.process(DAY).take("/cgi/query")
    assert (caught.value.resumes_at, caught.value.limit) == (MIDNIGHT, "calls of the day")
    assert caught.value.retry_after == 60.0
    assert world.pauses[-1] == (MIDNIGHT, caught.value.message)
    world.clock.advance(1800)
    assert await spend(processes[1], 101) == 100


async def test_a_restart_forgets_no_quota(world: World) -> None:
    assert await spend(world.process(DAY), 70) == 70
    assert await spend(world.process(DAY), 70) == 30


async def test_a_month_begins_with_the_first_in_its_zone(world: World) -> None:
    one = world.process(MONTH)
    assert await spend(one, 200) == 100
    world.clock.advance(1800)
    assert await spend(one, 200) == 100
    with pytest.raises(QuotaSpent) as caught:
        await one.take("/cgi/query")
    assert caught.value.resumes_at == int(datetime(2026, 2, 28, 16, tzinfo=UTC).timestamp() * 1000)


async def test_other_users_of_the_quota_starved__flows_leave_a_reserve_to_people(world: World) -> None:
    flows = world.process(DAY, reserve=0.2)
    assert await spend(flows, 200) == 80
    with pytest.raises(QuotaSpent, match=r"flows have used up this day's 80 calls .the last 20 are kept for people"):
        await flows.take("/cgi/query")
    pauses = len(world.pauses)
    with for_person():
        assert await spend(flows, 200) == 20
    assert len(world.pauses) == pauses  # a person who has used up the reserve pauses nobody
    [usage] = await flows.usage()
    assert (usage.name, usage.used, usage.amount, usage.kept, usage.ends) == (
        "calls of the day",
        100,
        100,
        20,
        MIDNIGHT,
    )


async def test_systems_of_one_account_share_its_quota_and_others_do_not(world: World) -> None:
    one = world.process(DAY, account="app-1", system="crm")
    same = world.process(DAY, account="app-1", system="crm-shanghai")
    other = world.process(DAY, account="app-2", system="crm")
    assert await spend(one, 100) == 100
    assert await spend(same, 100) == 0
    assert await spend(other, 100) == 100


async def test_what_the_vendor_says_is_spent_is_spent_for_all(world: World) -> None:
    one, other = world.process(DAY), world.process(DAY)
    await one.take("/cgi/query")
    await one.spent("/cgi/query")
    for budget in (one, other):
        with pytest.raises(QuotaSpent, match="calls of the day"):
            await budget.take("/cgi/query")


async def test_each_group_has_a_quota_of_its_own_where_the_limit_says_so(world: World) -> None:
    each = Limit("/cgi/*", 3, 86_400, "calls of one interface", each=True, reset_zone="UTC", pauses=False)
    budget = world.process(each)
    for _ in range(3):
        await budget.take("/cgi/a")
    await budget.take("/cgi/b")
    with pytest.raises(QuotaSpent, match="calls of one interface"):
        await budget.take("/cgi/a")
    assert world.pauses == []
    assert [(one.name, one.used) for one in await budget.usage()] == [
        ("calls of one interface /cgi/a", 3),
        ("calls of one interface /cgi/b", 1),
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_no_window_ever_holds_more_than_the_vendor_allows_to_all_processes_together(
    world: World, seed: int
) -> None:
    limit = Limit("*", 30, 20.0, "30 in 20 s")
    # On SQLite there is one process, and it counts in its memory.
    processes = [world.process(limit) for _ in range(3 if world.store.dialect == "postgresql" else 1)]
    dice, times = random.Random(seed), []
    for _ in range(250):
        if dice.random() < 0.3:
            world.clock.advance(dice.choice((0.1, 1.0, 7.0)))
        await dice.choice(processes).take("/cgi/query")
        times.append(world.clock.now())
    for start in times:
        assert sum(start <= at < start + 20_000 for at in times) <= 30
    # A slice that is left unused may cost its part of a window, but the budget is not wasted.
    assert times[-1] - times[0] < 250 / 30 * 20_000 * 2


async def test_a_call_costs_no_round_trip(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, real = [], budgets.take

    async def counted(*given: object, **how: object) -> object:
        asked.append(how["want"])
        return await real(*given, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(budgets, "take", counted)
    budget = world.process(Limit("*", 1_000_000, 86_400, "day", reset_zone="UTC"))
    assert await spend(budget, 3000) == 3000
    assert asked == [1, 2, 4, 8, 16, 32, 64, 128, *[256] * 11]
    # Slow again, it takes no more than it needs.
    for _ in range(5):
        world.clock.advance(11)
        await budget.take("/cgi/query")
    assert asked[-3:] == [1, 1, 1]


async def test_the_flow_that_matters_more_gets_the_next_call_and_a_person_before_it(world: World) -> None:
    budget, order = world.process(Limit("*", 1, 10.0, "1 in 10 s")), []
    await budget.take("x")

    async def call(name: str, priority: int = 0, *, bulk: bool = False, person: bool = False) -> None:
        with for_flow(priority, bulk=bulk):
            if person:
                with for_person():
                    await budget.take("x")
            else:
                await budget.take("x")
        order.append(name)

    first = asyncio.create_task(call("the one that waits already", -5))
    await asyncio.sleep(0)
    rest = [call("bulk", bulk=True), call("live"), call("orders", 10), call("person", person=True)]
    await asyncio.gather(first, *rest)
    assert order == ["the one that waits already", "person", "orders", "live", "bulk"]


async def test_a_store_that_is_away_stops_calls_before_they_leave(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_given: object, **_how: object) -> object:
        raise StoreError("the store does not answer", hint="start it")

    monkeypatch.setattr(budgets, "take", away)
    with pytest.raises(VendorError, match="nothing was sent: the store does not answer") as caught:
        await world.process(DAY).take("x")
    assert (caught.value.retry_after, caught.value.hint) == (5.0, "start it")


async def test_windows_that_are_past_are_forgotten(world: World) -> None:
    ask = [Ask("second", 5, at * 100, at * 100 - 1000) for at in range(40)]
    for one in ask:
        assert (await budgets.take(world.store, "crm", [one], want=1)).count <= 1
    assert len(await budgets.used(world.store, "crm")) <= 11
    assert await budgets.purge(world.store, 10_000) > 0
    assert await budgets.used(world.store, "crm") == {}


CALLER = """
import asyncio, json, sys, time
from hub.connector.limits import Limit
from hub.domain.errors import QuotaSpent
from hub.store.engine import Store
from hub.store.shared_budgets import SharedBudgets

async def main():
    store = await Store.open(sys.argv[1], create=False)
    budget = SharedBudgets(store, "crm")
    day = Limit("*", 120, 86400, "day", reset_zone="UTC")
    budget.declare([Limit("*", 20, 0.5, "20 in half a second"), day])
    print("ready", flush=True)
    sys.stdin.readline()
    times = []
    try:
        while True:
            await budget.take("x")
            times.append(time.time())
    except QuotaSpent as spent:
        await budget.aclose()
        print(json.dumps({"times": times, "limit": spent.limit}), flush=True)
    await store.close()

asyncio.run(main())
"""


def start_caller(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CALLER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


async def test_two_real_processes_share_one_budget(postgres_url: str) -> None:
    store = await Store.open(postgres_url)
    callers = [start_caller(postgres_url) for _ in range(2)]
    for one in callers:
        assert one.stdout is not None
        assert (await asyncio.to_thread(one.stdout.readline)).strip() == "ready"
    answers = await asyncio.gather(*(asyncio.to_thread(one.communicate, "go\n", 60) for one in callers))
    told = [json.loads(out) for out, _ in answers]
    assert [one.returncode for one in callers] == [0, 0]
    assert {one["limit"] for one in told} == {"day"}
    times = sorted(at for one in told for at in one["times"])
    assert all(len(one["times"]) > 0 for one in told)
    # Not one call more than the day allows; a slice that the other held when the first one ended may be less.
    assert 110 <= len(times) <= 120
    # Each with a budget of its own would be through in half of this.
    assert times[-1] - times[0] >= (len(times) / 20 - 1) * 0.5
    assert sum((await budgets.used(store, "crm")).values()) >= len(times)
    await store.close()


async def test_two_slices_of_one_window_are_returned_together(world: World) -> None:
    ask = Ask("calls", 100, 0, 0)
    await budgets.take(world.store, "a", [ask], want=30)
    await budgets.give_back(world.store, "a", [(ask, 10), (ask, 5)])
    assert await budgets.used(world.store, "a") == {("calls", 0): 15}
