"""Time as the hub counts it: UTC epoch milliseconds, from a clock that tests can move."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

_BELIEVED = 86_400_000  # milliseconds: a clock that was further ahead than this was wrong itself


class Clock(Protocol):
    """What tells the time. `now` is UTC epoch milliseconds; `monotonic` is seconds that never step back."""

    def now(self) -> int: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class SteadyClock:
    """A clock that somebody may set back without the hub noticing: it goes on counting from where it was.

    A machine's clock steps back an hour. By it, everything that was due in the last hour would not be due any more,
    and a record that is read now would seem older than the one that was read before. `wall` is the clock as it is.
    """

    def __init__(self, wall: Clock) -> None:
        self.wall = wall
        self._latest = wall.now()
        self._ahead: tuple[int, float] | None = None  # what it showed when it was set back, and the monotonic time

    def resume(self, shown: int) -> None:
        """Go on from what it showed (epoch ms) before the process was started again; never more than a day ahead."""
        now = self.now()
        if now < shown <= now + _BELIEVED:
            self._latest, self._ahead = shown, (shown, self.wall.monotonic())

    @property
    def behind(self) -> float:
        """Seconds by which the machine's clock is behind this one."""
        return max(0.0, (self.now() - self.wall.now()) / 1000)

    def now(self) -> int:
        wall = self.wall.now()
        if wall >= self._latest:
            self._latest, self._ahead = wall, None
            return wall
        if self._ahead is None:
            self._ahead = self._latest, self.wall.monotonic()
        shown, began = self._ahead
        self._latest = max(self._latest, wall, shown + int((self.wall.monotonic() - began) * 1000))
        return self._latest

    def monotonic(self) -> float:
        return self.wall.monotonic()


class ManualClock:
    """A clock that moves when it is told to; for tests and simulators."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1000

    def advance(self, seconds: float) -> None:
        self._now += int(seconds * 1000)


def iso(at: int | None) -> str | None:
    """Epoch milliseconds as ISO 8601 in UTC, for people and JSON."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
