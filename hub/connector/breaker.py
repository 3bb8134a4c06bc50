"""Whether a system may be asked now: a circuit breaker, and the rest that a spent quota asks for."""

from __future__ import annotations

from enum import StrEnum

from hub.connector.turns import standing
from hub.domain.clock import Clock


class BreakerState(StrEnum):
    CLOSED = "closed"  # calls go
    OPEN = "open"  # no call goes before `retry_at`
    HALF_OPEN = "half_open"  # one trial is out


class Breaker:
    """Counts failures of the system itself (unreachable, out of order), never refusals of a record.

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
        self._words = ""
        self._rest: tuple[int, str] | None = None
        self.suspected = False  # others say that it is down: the first failure of our own is believed

    @property
    def state(self) -> BreakerState:
        if self._until is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._trial else BreakerState.OPEN

    @property
    def retry_at(self) -> int | None:
        """Epoch milliseconds before which flows leave the system alone (None: calls go now)."""
        now = self._clock.now()
        until = [] if self._until is None else [now + int(max(0.0, self._until - self._clock.monotonic()) * 1000)]
        if (resting := self.resting) is not None:
            until.append(resting[0])
        return max(until, default=None)

    @property
    def down(self) -> tuple[int, str] | None:
        """When the next trial is (epoch ms) and what the last failure said, while it is not closed."""
        if self._until is None:
            return None
        return self._clock.now() + int(max(0.0, self._until - self._clock.monotonic()) * 1000), self._words

    @property
    def resting(self) -> tuple[int, str] | None:
        """Until when (epoch ms) flows leave it alone although it is well, and why."""
        if self._rest is not None and self._clock.now() >= self._rest[0]:
            self._rest = None
        return self._rest

    def rest(self, until: int, reason: str) -> None:
        """Nothing is wrong with the system, but flows are not to ask it before then (epoch ms): a quota is spent."""
        self._rest = until, reason

    def wake(self) -> None:
        """It need not rest any longer."""
        self._rest = None

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

    def refuses(self) -> str | None:
        """Why this very request is not to leave, or None if it may: it is closed, on trial, or a person asks."""
        if self._trial or standing().person or self.allow():
            return None
        return f"the system did not answer {self._failures} times in a row ({self._words}), and is left alone for now"

    def success(self) -> None:
        """The system answered (a refusal is an answer too)."""
        self._failures = 0
        self._pause = self._cooldown
        self._until = None
        self._trial = False

    def failure(self, words: str = "") -> None:
        """The system did not answer, or answered that it is out of order; `words` say how that showed."""
        self._failures += 1
        self._words = words or self._words
        if self._trial:
            self._pause = min(self._pause * 2, self._longest)
        elif self._until is not None or (self._failures < self._threshold and not self.suspected):
            return  # already open: calls that were out when it opened say nothing new
        self._trial = False
        self._until = self._clock.monotonic() + self._pause
