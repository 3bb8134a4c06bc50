"""Who is at work: proven by signs of life, by a random name."""

from __future__ import annotations

from hub.domain.clock import ManualClock
from hub.store import processes
from hub.store.engine import Store


async def test_a_process_is_at_work_as_long_as_it_says_so(store: Store, clock: ManualClock) -> None:
    """n8n-io/n8n#38396: shown running for hours after it had died."""
    began = clock.now()
    await processes.beat(store, "a1", "worker", "host", 7)
    clock.advance(processes.BEAT)
    await processes.beat(store, "a1", "worker", "host", 7)
    [one] = await processes.listing(store)
    assert (one.role, one.started, one.beat, one.alive(clock.now())) == ("worker", began, clock.now(), True)
    clock.advance(processes.SILENT + 1)
    assert not one.alive(clock.now())


async def test_a_host_that_comes_back_does_not_keep_its_dead_process_alive(store: Store, clock: ManualClock) -> None:
    """procrastinate-org/procrastinate#1518: a pod restarted under its old name kept dead jobs alive."""
    await processes.beat(store, "a1", "worker", "pod-0", 1)
    clock.advance(processes.SILENT + 1)
    await processes.beat(store, "b2", "worker", "pod-0", 1)
    assert {one.name: one.alive(clock.now()) for one in await processes.listing(store)} == {"a1": False, "b2": True}
    clock.advance(90_000)
    await processes.beat(store, "b2", "worker", "pod-0", 1)
    assert [one.name for one in await processes.listing(store)] == ["b2"]
    await processes.leave(store, "b2")
    assert await processes.listing(store) == []
