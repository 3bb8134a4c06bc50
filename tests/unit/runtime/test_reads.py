"""Schedules at work: claimed, kept while they last, given back, made up for; whoever dies, and however slow it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hub.domain.clock import ManualClock
from hub.domain.errors import Unreachable
from hub.runtime import turns
from hub.runtime.reads import Reads
from hub.runtime.scheduler import Scheduler
from hub.runtime.signals import Signal, Signals
from hub.runtime.triggers import Trigger
from hub.store import runs, schedules
from hub.store.engine import Store

NOW = 1_700_000_000_000
Work = Callable[[str, bool], Awaitable[int]]


class Desk:
    """What reads ask of a hub: a store, signals, and an engine whose reading is the test's own."""

    def __init__(self, store: Store, work: Work) -> None:
        self.store = store
        self.signals = Signals()
        self.config = SimpleNamespace(flows={"orders": None, "other": None}, inbox_from=())
        self._work = work

    async def paused(self, flow: str) -> bool:
        return False

    async def prove(self, flow: str) -> None: ...

    async def engine(self) -> Any:
        async def read(flow: str, *, full: bool, cause: str) -> Any:
            return SimpleNamespace(run=await self._work(flow, full))

        return SimpleNamespace(read=read)

    @contextlib.asynccontextmanager
    async def reading(self, flow: str, *, claimed: bool = False) -> AsyncIterator[None]:
        yield


async def plan(store: Store, *, every: float = 60.0, kind: str = "read", first: int = NOW) -> None:
    trigger = Trigger(every=every).encode()
    await schedules.sync(store, [schedules.Planned(f"orders/{kind}", "orders", kind, trigger, first)])


async def only(store: Store) -> schedules.Schedule:
    [row] = await schedules.listing(store)
    return row


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await what():  # noqa: ASYNC110 - what a table says has no event
            await asyncio.sleep(0.01)


def reads(store: Store, work: Work) -> Reads:
    desk: Any = Desk(store, work)
    return Reads(desk)


async def test_missed_schedules_are_recorded_and_caught_up_once(store: Store, clock: ManualClock) -> None:
    """airbytehq/airbyte#39801: missed schedules vanished."""
    await plan(store)
    clock.advance(5 * 60 + 1)
    done = 0

    async def work(flow: str, full: bool) -> int:
        nonlocal done
        done += 1
        return 7

    at_work = reads(store, work)
    at_work.start()
    await until(lambda: _gave_back(store))
    await at_work.stop(5)
    row = await only(store)
    assert (done, row.missed, row.last_run, row.next_due) == (1, 5, 7, NOW + 6 * 60_000)


async def _gave_back(store: Store) -> bool:
    row = await only(store)
    return row.last_due is not None and row.lease_until is None


async def test_a_healthy_long_job_is_not_rescued_by_elapsed_time(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hexpm/hexpm#1825, OCA/queue#306: the lease is renewed by who holds it, for as long as it takes."""
    monkeypatch.setattr(turns, "LEASE", 0.08)
    await plan(store)
    go_on = asyncio.Event()

    async def work(flow: str, full: bool) -> int:
        await go_on.wait()
        return 1

    at_work = reads(store, work)
    at_work.start()
    leases: set[int | None] = set()

    async def renewed() -> bool:
        row = await only(store)
        if row.lease_until is not None and row.lease_until not in leases:
            leases.add(row.lease_until)
            clock.advance(0.01)  # so that the next renewal is told from this one
            assert await schedules.claim(store, holder="impatient", lease=60) == []
        return len(leases) >= 5

    await until(renewed)
    go_on.set()
    await until(lambda: _gave_back(store))
    await at_work.stop(5)


async def test_what_was_taken_over_is_broken_off(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that slept past its lease wakes up: another reads the flow by now, and it writes nothing more."""
    monkeypatch.setattr(turns, "LEASE", 0.05)
    await plan(store)
    begun = asyncio.Event()

    async def work(flow: str, full: bool) -> int:
        begun.set()
        await asyncio.Event().wait()
        return 1

    at_work = reads(store, work)
    at_work.start()
    await asyncio.wait_for(begun.wait(), 30)
    clock.advance(3600)
    taken = await schedules.claim(store, holder="another", lease=3600)
    if not taken:  # it renewed in that very moment; its next lease is over at once
        clock.advance(3600)
        taken = await schedules.claim(store, holder="another", lease=3600)
    await until(lambda: _idle(at_work))
    row = await only(store)
    assert (row.holder, row.lease_token) == ("another", taken[0].lease_token)
    await at_work.stop(5)


async def _idle(at_work: Reads) -> bool:
    return not at_work._runs


async def test_what_is_cut_off_by_a_stop_is_due_to_everybody_at_once(store: Store) -> None:
    """A sweep that a restart cuts off at three in the morning does not wait for the next night."""
    await plan(store, every=86_400.0, kind="sweep")
    begun = asyncio.Event()

    async def work(flow: str, full: bool) -> int:
        assert full
        begun.set()
        await asyncio.Event().wait()
        return 1

    at_work = reads(store, work)
    at_work.start()
    await asyncio.wait_for(begun.wait(), 30)
    await at_work.stop(0.01)
    row = await only(store)
    assert (row.next_due, row.lease_until, row.holder) == (NOW, None, None)
    assert await schedules.due(store) == ["orders"]


async def test_what_failed_is_tried_again_before_its_next_night(store: Store, clock: ManualClock) -> None:
    await plan(store, every=86_400.0, kind="sweep")

    async def work(flow: str, full: bool) -> int:
        raise Unreachable("the system does not answer")

    at_work = reads(store, work)
    at_work.start()
    await until(lambda: _gave_back(store))
    await at_work.stop(5)
    assert at_work.failures == {"orders/sweep": "the system does not answer"}
    assert (await only(store)).next_due == NOW + 600_000


async def test_a_signal_twice_or_of_nothing_reads_once(store: Store) -> None:
    await plan(store)
    done = 0

    async def work(flow: str, full: bool) -> int:
        nonlocal done
        done += 1
        return 1

    at_work = reads(store, work)
    at_work.start()
    for flow in ("orders", "orders", "forged"):
        at_work.want(flow)
    await until(lambda: _gave_back(store))
    at_work.want("orders")
    await at_work.stop(5)
    assert done == 1


async def test_a_holder_is_random_not_a_host(store: Store) -> None:
    """procrastinate-org/procrastinate#1518: a pod that came back under its old name kept dead jobs alive."""

    async def work(flow: str, full: bool) -> int:
        return 1

    assert reads(store, work)._holder != reads(store, work)._holder


async def test_jobs_of_a_dead_worker_are_found_again(store: Store, clock: ManualClock) -> None:
    """procrastinate-org/procrastinate#307, #740; n8n-io/n8n#38396: 'running' long after its process died."""
    await plan(store)
    assert len(await schedules.claim(store, holder="dead", lease=60)) == 1
    run = await runs.start(store, "orders", kind="read", cause="schedule")
    clock.advance(runs.SILENT + 1)
    assert await runs.interrupt(store, silent_for=runs.SILENT) == 1
    assert (await runs.get(store, run)).state == "interrupted"
    assert await schedules.due(store) == ["orders"]


async def test_schedulers_tell_what_is_due_and_hold_nothing(store: Store, clock: ManualClock) -> None:
    async def work(flow: str, full: bool) -> int:
        return 1

    await plan(store)
    desk: Any = Desk(store, work)
    first, second = Scheduler(desk), Scheduler(desk)
    assert await first.due() == await second.due() == [Signal("read", "orders")]
    await schedules.claim(store, holder="a worker", lease=60)
    assert await first.due() == []
