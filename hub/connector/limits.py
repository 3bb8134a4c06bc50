"""Call budgets: how often a vendor lets us call, kept before the vendor has to say no."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Protocol
from zoneinfo import ZoneInfo

from hub.domain.clock import Clock, iso
from hub.domain.errors import QuotaSpent


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` calls in any `window_seconds`, counted over the groups that match `group` (shell pattern).

    With `each`, every matching group is counted for itself ('100 calls in 20 s per interface'). A limit with a
    `reset_zone` is a day's quota: it starts anew at midnight there, and is raised as QuotaSpent instead of waited for.
    """

    group: str
    amount: int
    window_seconds: float
    name: str
    each: bool = False
    reset_zone: str | None = None


class Budgets(Protocol):
    """The budgets of one system, of this process or shared by the fleet."""

    def declare(self, limits: Sequence[Limit]) -> None:
        """Say which limits hold. Saying it again replaces them and keeps what is spent."""
        ...

    async def take(self, group: str, cost: int = 1) -> None:
        """Wait until `cost` calls of `group` are allowed, and count them. Raises QuotaSpent for a day's quota."""
        ...

    async def penalise(self, group: str, seconds: float) -> None:
        """The vendor said 'too many': nothing of this group goes for `seconds`."""
        ...


class _Window:
    """Exact sliding window: the times of the last `amount` calls."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._calls: deque[float] = deque()

    def wait(self, now: float, cost: int) -> float:
        while self._calls and self._calls[0] <= now - self._limit.window_seconds:
            self._calls.popleft()
        over = len(self._calls) + min(cost, self._limit.amount) - self._limit.amount
        return 0.0 if over <= 0 else self._calls[over - 1] + self._limit.window_seconds - now

    def count(self, now: float, cost: int) -> None:
        self._calls.extend([now] * min(cost, self._limit.amount))


class _Day:
    """A quota that starts anew at midnight of a zone."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._zone = ZoneInfo(limit.reset_zone or "UTC")
        self._ends = 0
        self._spent = 0

    def check(self, now: int, cost: int) -> None:
        if now >= self._ends:
            self._ends, self._spent = self._midnight(now), 0
        if self._spent + cost > self._limit.amount:
            raise QuotaSpent(
                f"{self._limit.name}: today's {self._limit.amount} calls are used up; resumes at {iso(self._ends)}",
                resumes_at=self._ends,
                limit=self._limit.name,
            )

    def count(self, cost: int) -> None:
        self._spent += cost

    def _midnight(self, now: int) -> int:
        today = datetime.fromtimestamp(now / 1000, UTC).astimezone(self._zone).date()
        return int(datetime.combine(today + timedelta(days=1), time(), self._zone).timestamp() * 1000)


class LocalBudgets:
    """The budgets of one process. Callers of one group go in turn."""

    def __init__(
        self,
        clock: Clock,
        *,
        limits: Sequence[Limit] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._limits: tuple[Limit, ...] = tuple(limits)
        self._windows: dict[tuple[Limit, str], _Window] = {}
        self._days: dict[tuple[Limit, str], _Day] = {}
        self._until: dict[str, float] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    def declare(self, limits: Sequence[Limit]) -> None:
        self._limits = tuple(limits)

    async def take(self, group: str, cost: int = 1) -> None:
        async with self._turns.setdefault(group, asyncio.Lock()):
            while True:
                days = [self._day(limit, group) for limit in self._matching(group) if limit.reset_zone]
                for day in days:
                    day.check(self._clock.now(), cost)
                now = self._clock.monotonic()
                windows = [self._window(limit, group) for limit in self._matching(group) if not limit.reset_zone]
                wait = max([self._until.get(group, now) - now, *(window.wait(now, cost) for window in windows)])
                if wait <= 0:
                    break
                # A little more than exact: clocks and floats round, and a wait of zero would spin.
                await self._sleep(wait + 0.001)
            for window in windows:
                window.count(now, cost)
            for day in days:
                day.count(cost)

    async def penalise(self, group: str, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        self._until[group] = max(until, self._until.get(group, until))

    def _matching(self, group: str) -> list[Limit]:
        return [limit for limit in self._limits if fnmatchcase(group, limit.group)]

    def _window(self, limit: Limit, group: str) -> _Window:
        return self._windows.setdefault((limit, group if limit.each else ""), _Window(limit))

    def _day(self, limit: Limit, group: str) -> _Day:
        return self._days.setdefault((limit, group if limit.each else ""), _Day(limit))
