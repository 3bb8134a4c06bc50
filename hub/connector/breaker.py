"""A circuit breaker for one system: after failures in a row nobody asks it again until a trial has answered."""

from __future__ import annotations

from enum import StrEnum

from hub.domain.clock import Clock


class BreakerState(StrEnum):
    CLOSED = "closed"  # calls go
    OPEN = "open"  # no call goes before `retry_at`
    HALF_OPEN = "half_open"  # one trial is out


class Breaker:
    """Counts failures of the system itself (unreachable, 5xx), never refusals of a record.

    `threshold` failures in a row open it for `cooldown` seconds; each failed trial doubles that, up to `longest`.
    """

    def __init__(self, clock: Clock, *, threshold: int = 5, cooldown: float = 15.0, longest: float = 300.0) -> None:
        self._clock = clock
        self._threshold = threshold
        self._cooldown = cooldown
        self._longest = longest
        self._failures = 0
        self._pause = cooldown
        self._until: float | None = None  # monotonic seconds; None: closed
        self._trial = False

    @property
    def state(self) -> BreakerState:
        if self._until is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._trial else BreakerState.OPEN

    @property
    def retry_at(self) -> int | None:
        """Epoch milliseconds of the next trial (None: calls go now)."""
        if self._until is None:
            return None
        return self._clock.now() + int(max(0.0, self._until - self._clock.monotonic()) * 1000)

    def allow(self) -> bool:
        """Whether a call may go now. In the open state the first to ask after `retry_at` carries the trial."""
        if self._until is None:
            return True
        if self._clock.monotonic() < self._until:
            return False
        # The trial's own time: who carries it may die, and then somebody else must be let through.
        self._until = self._clock.monotonic() + self._pause
        self._trial = True
        return True

    def success(self) -> None:
        """The system answered (a refusal is an answer too)."""
        self._failures = 0
        self._pause = self._cooldown
        self._until = None
        self._trial = False

    def failure(self) -> None:
        """The system did not answer, or answered that it is out of order."""
        self._failures += 1
        if self._trial:
            self._pause = min(self._pause * 2, self._longest)
        elif self._until is not None or self._failures < self._threshold:
            return  # already open: calls that were out when it opened say nothing new
        self._trial = False
        self._until = self._clock.monotonic() + self._pause
