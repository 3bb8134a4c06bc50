"""Processes tell each other which systems they leave alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hub.connector.breaker import Breaker, BreakerState
from hub.domain.clock import ManualClock
from hub.runtime.rests import Rests, sentence
from hub.store import rests
from hub.store.engine import Store


class Process:
    """One process: its breakers, and its look at the store."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.breaker = Breaker(clock)
        hub: Any = SimpleNamespace(
            store=store, project=SimpleNamespace(opened={"erp": SimpleNamespace(breaker=self.breaker)})
        )
        self.rests = Rests(hub)

    def fails(self, times: int = 5) -> None:
        for _ in range(times):
            self.breaker.failure("POST /save: connection refused")


async def test_what_one_process_finds_out_makes_the_others_quick_to_believe_it(
    store: Store, clock: ManualClock
) -> None:
    one, other = Process(store, clock), Process(store, clock)
    one.fails()
    why = await one.rests.look()
    assert why.keys() == {"system erp"}
    assert why["system erp"].startswith("erp does not answer (POST /save: connection refused); it is tried again at 20")
    assert await other.rests.look() == {}
    assert other.breaker.state is BreakerState.CLOSED  # it may be the first one's network
    other.fails(1)
    closed = store.dialect == "sqlite"  # there is no other process on SQLite
    assert (other.breaker.state is BreakerState.CLOSED) is closed
    # It answers again, and both forget it.
    for process in (one, other):
        process.breaker.success()
        assert await process.rests.look() == {}
    assert await rests.listing(store) == []
    await one.rests.look()
    assert not one.breaker.suspected


async def test_people_are_told_since_when_and_until_when(store: Store, clock: ManualClock) -> None:
    process = Process(store, clock)
    process.fails()
    await process.rests.look()
    [first] = await rests.listing(store)
    clock.advance(15)
    assert process.breaker.allow()
    process.fails(1)
    await process.rests.look()
    [again] = await rests.listing(store)
    assert (again.since, again.until) == (first.since, clock.now() + 30_000)
    process.breaker.success()
    process.breaker.rest(clock.now() + 60_000, "calls of the day: used up; resumes at midnight")
    await process.rests.look()
    [quota] = await rests.listing(store)
    assert (quota.kind, quota.until) == ("quota", clock.now() + 60_000)
    assert sentence(quota) == "erp rests: calls of the day: used up; resumes at midnight"
    clock.advance(61)
    assert await process.rests.look() == {}
