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

from hub.connector.turns import Turns, standing
from hub.domain.clock import Clock, iso
from hub.domain.errors import QuotaSpent

_ASK_AGAIN = 60.0  # seconds: a spent quota may be raised, so nobody waits for midnight without looking again

Paused = Callable[[int, str], None]
"""Told when flows have to stop: until when (epoch ms), and which limit it was."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` calls in any `window_seconds`, counted over the groups that match `group` (shell pattern).

    With `each`, every matching group is counted for itself ('100 calls in 20 s per interface'). A limit with a
    `reset_zone` is a quota: it starts anew at midnight there (with `month`, at the first of the month), and is raised
    as QuotaSpent instead of waited for. A spent quota stops all flows of the system, unless `pauses` is False: then
    it is one of a side line, and only what needs it waits.
    """

    group: str
    amount: int
    window_seconds: float
    name: str
    each: bool = False
    reset_zone: str | None = None
    month: bool = False
    pauses: bool = True

    def holds(self, group: str) -> bool:
        """Whether calls of this group count."""
        return fnmatchcase(group, self.group)

    @property
    def period(self) -> str:
        """`day` or `month`, of a quota."""
        return "month" if self.month else "day"

    def span(self, now: int) -> tuple[int, int]:
        """The quota's day or month around `now`: when it began and when the next begins, epoch milliseconds."""
        zone = ZoneInfo(self.reset_zone or "UTC")
        today = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone).date()
        begin = today.replace(day=1) if self.month else today
        # 32 days from the first is in the next month, whichever it is.
        end = (begin + timedelta(days=32)).replace(day=1) if self.month else begin + timedelta(days=1)
        first, last = (int(datetime.combine(one, time(), zone).timestamp() * 1000) for one in (begin, end))
        return first, last

    def allowed(self, reserve: float) -> int:
        """How many calls who calls now may have: flows leave a share of a quota, `reserve` (0 to 1), to people."""
        if self.reset_zone is None or standing().person:
            return self.amount
        return self.amount - int(self.amount * reserve)

    def spent(self, now: int, allowed: int) -> QuotaSpent:
        """What to raise when `allowed` calls of the quota are used up."""
        _, ends = self.span(now)
        what = f"this {self.period}'s {self.amount} calls are used up"
        if allowed < self.amount:
            kept = self.amount - allowed
            what = f"flows have used up this {self.period}'s {allowed} calls (the last {kept} are kept for people)"
        return QuotaSpent(
            f"{self.name}: {what}; resumes at {iso(ends)}",
            resumes_at=ends,
            limit=self.name,
            retry_after=min(_ASK_AGAIN, max(0.0, (ends - now) / 1000)),
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a quota is used. `ends` is when it starts anew, epoch milliseconds; `kept` is kept for people."""

    name: str
    used: int
    amount: int
    kept: int
    ends: int


class Budgets(Protocol):
    """The budgets of one system, of this process or shared by the fleet.

    Who waits for a budget goes by standing (see `hub.connector.turns`).
    """

    def declare(self, limits: Sequence[Limit], *, account: str = "") -> None:
        """Say which limits hold, and for which account of the vendor's (systems of one account share its budgets).

        Saying it again replaces them and keeps what is spent.
        """
        ...

    async def take(self, group: str, cost: int = 1) -> None:
        """Wait until `cost` calls of `group` are allowed, and count them. Raises QuotaSpent for a spent quota."""
        ...

    async def penalise(self, group: str, seconds: float) -> None:
        """The vendor said 'too many': nothing of this group goes for `seconds`."""
        ...

    async def spent(self, group: str) -> None:
        """The vendor said that the quota of `group` is spent, whatever was counted: others use the account too."""
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


class _Quota:
    """A quota that starts anew at midnight of a zone, or with the month."""

    def __init__(self, limit: Limit, paused: Paused | None) -> None:
        self._limit = limit
        self._paused = paused
        self._ends = 0
        self._spent = 0

    def check(self, now: int, cost: int, reserve: float) -> None:
        if now >= self._ends:
            (_, self._ends), self._spent = self._limit.span(now), 0
        allowed = self._limit.allowed(reserve)
        if self._spent + cost > allowed:
            error = self._limit.spent(now, allowed)
            if self._paused is not None and self._limit.pauses and not standing().person:
                self._paused(error.resumes_at, error.message)
            raise error

    def count(self, cost: int) -> None:
        self._spent += cost

    def exhaust(self, now: int) -> None:
        _, self._ends = self._limit.span(now)
        self._spent = self._limit.amount


class LocalBudgets:
    """The budgets of one process, in its memory."""

    def __init__(
        self,
        clock: Clock,
        *,
        limits: Sequence[Limit] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        reserve: float = 0.0,
        paused: Paused | None = None,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._reserve = reserve
        self._paused = paused
        self._limits: tuple[Limit, ...] = tuple(limits)
        self._windows: dict[tuple[Limit, str], _Window] = {}
        self._quotas: dict[tuple[Limit, str], _Quota] = {}
        self._until: dict[str, float] = {}
        self._turns: dict[str, Turns] = {}

    def declare(self, limits: Sequence[Limit], *, account: str = "") -> None:
        self._limits = tuple(limits)

    async def take(self, group: str, cost: int = 1) -> None:
        async with self._turns.setdefault(group, Turns()):
            while True:
                quotas = [self._quota(limit, group) for limit in self._matching(group) if limit.reset_zone]
                for quota in quotas:
                    quota.check(self._clock.now(), cost, self._reserve)
                now = self._clock.monotonic()
                windows = [self._window(limit, group) for limit in self._matching(group) if not limit.reset_zone]
                wait = max([self._until.get(group, now) - now, *(window.wait(now, cost) for window in windows)])
                if wait <= 0:
                    break
                # A little more than exact: clocks and floats round, and a wait of zero would spin.
                await self._sleep(wait + 0.001)
            for window in windows:
                window.count(now, cost)
            for quota in quotas:
                quota.count(cost)

    async def penalise(self, group: str, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        self._until[group] = max(until, self._until.get(group, until))

    async def spent(self, group: str) -> None:
        for limit in self._matching(group):
            if limit.reset_zone:
                self._quota(limit, group).exhaust(self._clock.now())

    def _matching(self, group: str) -> list[Limit]:
        return [limit for limit in self._limits if limit.holds(group)]

    def _window(self, limit: Limit, group: str) -> _Window:
        return self._windows.setdefault((limit, group if limit.each else ""), _Window(limit))

    def _quota(self, limit: Limit, group: str) -> _Quota:
        return self._quotas.setdefault((limit, group if limit.each else ""), _Quota(limit, self._paused))
