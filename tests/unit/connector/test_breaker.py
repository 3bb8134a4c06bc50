from __future__ import annotations

from hub.connector.breaker import Breaker, BreakerState
from hub.connector.turns import for_person
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


def test_it_says_what_it_heard_and_lets_a_person_try() -> None:
    clock = ManualClock()
    breaker = Breaker(clock, threshold=1)
    assert breaker.refuses() is None
    breaker.failure("POST /x: no answer within 60 s")
    assert breaker.down == (clock.now() + 15_000, "POST /x: no answer within 60 s")
    assert "no answer within 60 s" in (breaker.refuses() or "")
    with for_person():
        assert breaker.refuses() is None
    clock.advance(15)
    assert breaker.refuses() is None  # the trial
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.refuses() is None  # a trial may take several requests: a log-in, then the call
    breaker.failure()
    assert breaker.refuses() is not None
    assert breaker.down == (clock.now() + 30_000, "POST /x: no answer within 60 s")


def test_what_others_suspect_needs_one_failure_of_our_own() -> None:
    clock = ManualClock()
    breaker = Breaker(clock)
    breaker.suspected = True
    assert breaker.allow()
    breaker.failure()
    assert breaker.state is BreakerState.OPEN


def test_a_system_whose_quota_is_spent_rests_until_it_begins_anew_without_being_down() -> None:
    clock = ManualClock()
    breaker = Breaker(clock)
    breaker.rest(clock.now() + 60_000, "calls of the day; resumes at midnight")
    assert breaker.retry_at == clock.now() + 60_000
    assert breaker.resting == (clock.now() + 60_000, "calls of the day; resumes at midnight")
    assert breaker.down is None
    assert breaker.allow()  # what is on its way meets the budget itself
    clock.advance(60)
    assert breaker.retry_at is None
    assert breaker.resting is None
    breaker.rest(clock.now() + 60_000, "again")
    breaker.wake()
    assert breaker.retry_at is None
