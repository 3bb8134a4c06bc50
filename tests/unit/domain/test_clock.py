from __future__ import annotations

from hub.domain.clock import ManualClock, SteadyClock


class Machine:
    """A clock that somebody sets, over a monotonic one that nobody can."""

    def __init__(self) -> None:
        self.true = ManualClock()
        self.off = 0

    def now(self) -> int:
        return self.true.now() + self.off

    def monotonic(self) -> float:
        return self.true.monotonic()


def test_a_clock_that_is_set_back_goes_on_counting_and_follows_again_when_it_is_caught_up() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    began = clock.now()
    machine.true.advance(10)
    assert clock.now() == began + 10_000
    machine.off = -3_600_000
    seen = [clock.now()]
    for _ in range(5):
        machine.true.advance(1)
        seen.append(clock.now())
    assert seen == [began + 10_000 + at * 1000 for at in range(6)]
    assert clock.behind == 3600
    machine.off = 0
    assert clock.now() == began + 15_000
    assert clock.behind == 0
    machine.off = 7_200_000  # forward it goes along
    assert clock.now() == began + 15_000 + 7_200_000


def test_looking_often_does_not_slow_it_down() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    began = clock.now()
    machine.off = -60_000
    for _ in range(10_000):
        machine.true._now += 0.0004  # type: ignore[assignment]
        clock.now()
    assert clock.now() - began in (3, 4, 5)


def test_a_start_goes_on_from_what_was_written_down_but_not_from_a_clock_that_was_days_ahead() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    now = clock.now()
    clock.resume(now + 3_600_000)
    assert clock.now() == now + 3_600_000
    machine.true.advance(1)
    assert clock.now() == now + 3_601_000
    for shown in (now - 5_000, now + 10 * 86_400_000):
        other = SteadyClock(machine)
        other.resume(shown)
        assert other.now() == machine.now()
