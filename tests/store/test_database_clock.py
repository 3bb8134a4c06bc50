"""One clock for all who share a database."""

from __future__ import annotations

import time

import psycopg
import pytest

from hub.domain.clock import ManualClock, SystemClock
from hub.store import schedules
from hub.store.database_clock import DatabaseClock
from hub.store.engine import Store
from tests.conftest import POSTGRES


class WrongClock(SystemClock):
    """A machine whose clock is an hour ahead."""

    def now(self) -> int:
        return super().now() + 3_600_000


def _theirs() -> int:
    with psycopg.connect(POSTGRES) as conn:
        row = conn.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_lease_expires_by_the_databases_clock(postgres_url: str) -> None:
    """procrastinate-org/procrastinate#307, #740; riverqueue/river#1258: not by whatever a host believes."""
    ahead = await Store.open(postgres_url, clock=WrongClock())
    right = await Store.open(postgres_url)
    try:
        assert abs(ahead.clock.now() - right.clock.now()) < 1000
        assert abs(right.clock.now() - _theirs()) < 1000
        await schedules.sync(right, [schedules.Planned("f/read", "f", "read", "{}", right.clock.now())])
        assert len(await schedules.claim(right, holder="b", lease=60)) == 1
        assert await schedules.claim(ahead, holder="a", lease=60) == []
    finally:
        await ahead.close()
        await right.close()


async def test_a_clock_that_somebody_sets_changes_nothing(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await Store.open(postgres_url)
    try:
        before = store.clock.now()
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        assert 0 <= store.clock.now() - before < 5000
    finally:
        await store.close()


async def test_a_tests_own_clock_is_left_alone(postgres_url: str) -> None:
    clock = ManualClock()
    store = await Store.open(postgres_url, clock=clock)
    assert store.clock is clock
    await store.close()


class _Answer:
    """A database that says what time it is after keeping us waiting."""

    def __init__(self, local: ManualClock, waits: float, says: int) -> None:
        self._local, self._waits, self._says = local, waits, says

    async def execute(self, _: object) -> _Answer:
        self._local.advance(self._waits)
        return self

    def scalar_one(self) -> int:
        return self._says


async def test_a_slow_answer_does_not_move_the_time_and_a_step_of_the_databases_clock_does() -> None:
    local = ManualClock(0)
    clock = DatabaseClock(local)
    await clock.look(_Answer(local, 0.0, 5_000_000))  # type: ignore[arg-type]
    assert clock.now() == 5_000_000
    await clock.look(_Answer(local, 2.0, 5_001_900))  # type: ignore[arg-type]
    assert clock.now() == 5_002_000
    assert not clock.stale
    local.advance(31)
    assert clock.stale
    await clock.look(_Answer(local, 0.0, 1_000_000))  # type: ignore[arg-type]
    assert clock.now() == 1_000_000


def test_until_the_database_has_spoken_the_machines_clock_counts() -> None:
    clock = DatabaseClock(ManualClock(5))
    assert (clock.now(), clock.stale) == (5, True)
