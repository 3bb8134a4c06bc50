"""Time as the hub counts it: UTC epoch milliseconds, from a clock that tests can move."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


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
