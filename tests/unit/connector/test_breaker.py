from __future__ import annotations

from hub.connector.breaker import Breaker, BreakerState
from hub.domain.clock import ManualClock


def broken(clock: ManualClock, **how: float) -> Breaker:
    breaker = Breaker(clock, threshold=3, cooldown=10.0, longest=35.0, **how)  # type: ignore[arg-type]
    for _ in range(3):
        assert breaker.allow()
        breaker.failure()
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    clock = ManualClock()
    breaker = Breaker(clock, threshold=3)
    for _ in range(5):
        breaker.failure()
        breaker.failure()
        breaker.success()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.retry_at is None
    breaker = broken(clock)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.allow()
    assert breaker.retry_at == clock.now() + 10_000


def test_one_trial_goes_and_closes_it() -> None:
    clock = ManualClock()
    breaker = broken(clock)
    clock.advance(10)
    assert [breaker.allow(), breaker.allow()] == [True, False]
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.success()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.allow()


def test_a_failed_trial_doubles_the_pause_up_to_the_longest() -> None:
    clock = ManualClock()
    breaker = broken(clock)
    pauses = []
    for _ in range(4):
        retry_at = breaker.retry_at
        assert retry_at is not None
        clock.advance((retry_at - clock.now()) / 1000)
        assert breaker.allow()
        breaker.failure()
        assert breaker.retry_at is not None
        pauses.append((breaker.retry_at - clock.now()) / 1000)
    assert pauses == [20, 35, 35, 35]
    breaker.success()
    for _ in range(3):
        breaker.failure()
    assert breaker.retry_at == clock.now() + 10_000


def test_a_trial_that_never_reports_lets_another_go() -> None:
    clock = ManualClock()
    breaker = broken(clock)
    clock.advance(10)
    assert breaker.allow()
    clock.advance(10)
    assert breaker.allow()


def test_late_failures_of_calls_that_were_out_do_not_prolong_it() -> None:
    clock = ManualClock()
    breaker = broken(clock)
    clock.advance(9)
    breaker.failure()
    assert breaker.retry_at == clock.now() + 1_000
