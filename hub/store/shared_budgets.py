"""Budgets that hold for everybody who works on one store: taken from it in slices, not a round trip a call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hub.connector.limits import Limit, LocalBudgets, Paused, Usage
from hub.connector.turns import Turns, standing
from hub.domain.errors import QuotaSpent, StoreError, VendorError
from hub.store import budgets
from hub.store.budgets import Ask
from hub.store.engine import Store

_PARTS = 10  # a sliding window is counted in so many parts, and one more is looked at: at most a tenth is left unused
_FINEST = 20  # milliseconds
_KEEP = 10_000  # milliseconds for which a slice of a quota is kept before what is left goes back
_LARGEST = 256  # calls of a slice
_SHARE = 8  # a slice is at most this part of a window's calls, so that others get theirs
_LOSS = 100  # and at most this part of a quota's: a process that is killed loses what it held
_LOOK_AGAIN = 30_000  # milliseconds before the store is asked again about a quota that is spent


@dataclass(slots=True)
class _Slice:
    """Calls that this process has taken and not made yet. `ends` (epoch ms) is when they are worth nothing."""

    asks: tuple[Ask, ...]
    size: int
    left: int
    ends: int


class SharedBudgets:
    """The budgets of one system, over all processes and machines that share its store.

    Several processes (PostgreSQL) share every limit. Where one process owns the store (SQLite), calls within seconds
    are counted in its memory, exactly, and only quotas are written down, so that a restart does not forget them.
    `reserve` is the share of each quota that flows leave to people (0 to 1); `paused` is told when a spent quota stops
    the flows.
    """

    def __init__(
        self,
        store: Store,
        system: str,
        *,
        connector: str = "",
        reserve: float = 0.0,
        paused: Paused | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._connector = connector
        self._account = system
        self._reserve = reserve
        self._paused = paused
        self._sleep = sleep
        self._shared: tuple[Limit, ...] = ()
        self._own = LocalBudgets(store.clock, sleep=sleep)
        self._turns: dict[str, Turns] = {}
        self._slices: dict[str, _Slice] = {}
        self._refused: dict[str, tuple[QuotaSpent, int]] = {}  # group -> what to say, and until when (epoch ms)

    def declare(self, limits: Sequence[Limit], *, account: str = "") -> None:
        """See `Budgets.declare`."""
        alone = self._store.dialect == "sqlite"
        self._shared = tuple(limit for limit in limits if limit.reset_zone or not alone)
        self._own.declare([limit for limit in limits if limit not in self._shared])
        if account:
            self._account = f"{self._connector} {account}".strip()

    async def take(self, group: str, cost: int = 1) -> None:
        """See `Budgets.take`. Raises VendorError, with nothing sent, when the store can't be asked."""
        limits = [limit for limit in self._shared if limit.holds(group)]
        if limits:
            async with self._turns.setdefault(group, Turns()):
                await self._take(limits, group, min(cost, *(limit.amount for limit in limits)))
        await self._own.take(group, cost)

    async def penalise(self, group: str, seconds: float) -> None:
        """See `Budgets.penalise`. Each process learns this for itself, by one refusal."""
        await self._own.penalise(group, seconds)

    async def spent(self, group: str) -> None:
        """See `Budgets.spent`."""
        now = self._store.clock.now()
        asks = [self._ask(limit, group, now) for limit in self._shared if limit.holds(group) and limit.reset_zone]
        if asks:
            self._slices.pop(group, None)
            await budgets.spend_all(self._store, self._account, asks)

    async def usage(self) -> list[Usage]:
        """How much of each quota is used now."""
        now = self._store.clock.now()
        used = await budgets.used(self._store, self._account)
        found = []
        for limit in self._shared:
            if limit.reset_zone:
                begin, ends = limit.span(now)
                kept = int(limit.amount * self._reserve)
                for (name, window), calls in sorted(used.items()):
                    if window == begin and (name == limit.name or (limit.each and name.startswith(f"{limit.name} "))):
                        found.append(Usage(name, min(calls, limit.amount), limit.amount, kept, ends))
        return found

    async def aclose(self) -> None:
        """Return what was taken and not used."""
        slices, self._slices = list(self._slices.values()), {}
        back = [(ask, one.left) for one in slices for ask in one.asks]
        if any(count for _, count in back):
            await budgets.give_back(self._store, self._account, back)

    async def _take(self, limits: Sequence[Limit], group: str, cost: int) -> None:
        while True:
            now = self._store.clock.now()
            held = self._slices.get(group)
            if held is not None and now < held.ends and held.left >= cost:
                held.left -= cost
                return
            self._refuse_still(group, now)
            asks = {limit: self._ask(limit, group, now) for limit in limits}
            back = [(ask, held.left) for ask in held.asks] if held is not None else []
            want = cost if standing().person else self._want(held, limits, cost, now)
            try:
                granted = await budgets.take(
                    self._store, self._account, list(asks.values()), want=want, least=cost, back=back
                )
            except StoreError as error:
                raise VendorError(
                    f"the budget of {self._account} can't be asked, so nothing was sent: {error.message}",
                    retry_after=5.0,
                    hint=error.hint,
                ) from error
            self._slices.pop(group, None)
            if granted.count:
                ends = min(_ends(limit, now) for limit in limits)
                self._slices[group] = _Slice(tuple(asks.values()), granted.count, granted.count, ends)
                continue
            limit = next(limit for limit, ask in asks.items() if ask is granted.short)
            if limit.reset_zone:
                self._refuse(limit, group, now)
            await self._sleep(_wait(limit, granted, cost, now) / 1000 + 0.001)

    def _want(self, held: _Slice | None, limits: Sequence[Limit], cost: int, now: int) -> int:
        """As many calls as went lately: twice a slice that was used up before its time, else what was used of it."""
        if held is None:
            return cost
        wanted = held.size * 2 if now < held.ends else held.size - held.left
        most = [limit.amount // (_LOSS if limit.reset_zone else _SHARE) for limit in limits]
        return max(cost, min(wanted, _LARGEST, *most))

    def _refuse_still(self, group: str, now: int) -> None:
        refused = self._refused.get(group)
        if refused is None or standing().person:
            return
        error, until = refused
        if now < until:
            raise QuotaSpent(
                error.message, resumes_at=error.resumes_at, limit=error.limit, retry_after=error.retry_after
            )
        del self._refused[group]

    def _refuse(self, limit: Limit, group: str, now: int) -> None:
        error = limit.spent(now, limit.allowed(self._reserve))
        if not standing().person:
            self._refused[group] = error, min(error.resumes_at, now + _LOOK_AGAIN)
            if self._paused is not None and limit.pauses:
                self._paused(error.resumes_at, error.message)
        raise error

    def _ask(self, limit: Limit, group: str, now: int) -> Ask:
        name = f"{limit.name} {group}" if limit.each else limit.name
        if limit.reset_zone:
            begin, _ = limit.span(now)
            return Ask(name, limit.allowed(self._reserve), begin, begin)
        part, parts = _parts(limit)
        begin = now // part * part
        # A call may come at the very end of its part: whole windows behind it must hold no more than allowed.
        return Ask(name, limit.amount, begin, begin - parts * part)


def _parts(limit: Limit) -> tuple[int, int]:
    """How long a part of the limit's window is (ms), and how many of them make a window."""
    window = limit.window_seconds * 1000
    part = max(_FINEST, math.ceil(window / _PARTS))
    return part, math.ceil(window / part)


def _ends(limit: Limit, now: int) -> int:
    """Until when a slice of this limit may be used: calls are counted where they are made."""
    if limit.reset_zone:
        return min(limit.span(now)[1], now + _KEEP)
    part, _ = _parts(limit)
    return (now // part + 1) * part


def _wait(limit: Limit, granted: budgets.Grant, cost: int, now: int) -> int:
    """Milliseconds until so many of the window's calls are past that `cost` more may go."""
    assert granted.short is not None
    part, parts = _parts(limit)
    over = sum(calls for _, calls in granted.used[granted.short.name]) + cost - limit.amount
    for window, calls in granted.used[granted.short.name]:
        over -= calls
        if over <= 0:
            return max(1, window + (parts + 1) * part - now)
    return part
