"""The nemesis: kills the hub's processes at every failpoint in turn and at random instants, and puts some to sleep."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence

from hub.sync.failpoints import NAMES
from tests.chaos.child import LEASE
from tests.chaos.hubs import Hubs, Life, Slot

_SLEEP = 1.5 * LEASE  # seconds for which a process is stopped: past all that it had claimed
_CLOCK = 500  # milliseconds by which a process's clock is wrong at most, either way
_ONCE_PATIENCE = 20.0  # seconds in which a process has to come by its failpoint when each is to strike once
_TRIES = 4  # lives in which a failpoint may stay unreached before the run goes on without it
_STOP_EVERY = 7  # strikes
# Where sleeping past the lease is worst: what is claimed, what may leave, what has left and is not written down.
_STOP_AT = ("after-claim", "after-intent", "after-send", "before-settle", "after-hints-fetched", "after-tell")


class Nemesis:
    """Strikes `kills` times within `seconds`. Each life of a process after the first is one that it plans."""

    def __init__(self, seed: int, hubs: Hubs, *, kills: int, seconds: float, points: Sequence[str] = NAMES) -> None:
        self._dice = random.Random(f"nemesis {seed}")
        self._hubs = hubs
        self._kills = kills
        self._every = seconds / max(1, kills)
        self._patience = max(4 * self._every, 8.0)  # seconds in which a process has to come by its failpoint
        self._points = deque(points)
        self._dice.shuffle(self._points)
        self._tries: Counter[str] = Counter()
        self._plans: dict[int, Life] = {}
        self._stops = 0
        self._by_us: set[int] = set()
        self.asleep: Counter[str] = Counter()
        self._once = False
        hubs.next_life = self._next_life

    def only_once(self) -> None:
        """Be content when each failpoint has struck: no sleep, and no other deaths but of those who don't come by."""
        self._once = True
        self._patience = _ONCE_PATIENCE

    def _next_life(self, slot: Slot) -> Life:
        if self._once and self._wanted():
            self._points.rotate(-1)
            return Life(self._points[-1], self._wrong())
        return self._plans.pop(slot.number, Life(clock=self._wrong()))

    def _wrong(self) -> int:
        return self._dice.randint(-_CLOCK, _CLOCK)

    @property
    def killed(self) -> Counter[str]:
        """How often processes were killed: by failpoint, or at a random instant."""
        found: Counter[str] = Counter()
        for death in self._hubs.deaths:
            if death.status == -signal.SIGKILL:
                point = None if death.pid in self._by_us else death.life.failpoint
                found[point.partition(":")[0] if point else "random"] += 1
        return found

    @property
    def unreached(self) -> list[str]:
        """Failpoints that processes were armed with, and that none came by."""
        return sorted(name for name in self._tries if not self.killed[name])

    async def strike(self) -> None:
        """Strike until it has struck often enough."""
        began = time.monotonic()
        turn = 0
        while (done := self.killed.total()) < self._kills and self._wanted():
            slot = self._hubs.slots[turn % len(self._hubs.slots)]
            turn += 1
            if slot.life.failpoint and slot.alive:
                await self._at_failpoint(slot)
            else:
                due = began + (done + self._dice.uniform(0.2, 0.9)) * self._every
                await asyncio.sleep(max(0.2, due - time.monotonic()))
                self._plan_next(slot, turn)
                await self._kill(slot)
            if turn % _STOP_EVERY == 0 and not self._once:
                await self._put_to_sleep(slot)

    def _wanted(self) -> bool:
        """Whether there is anything left to strike; what has struck is done with when each is to strike once."""
        if self._once:
            killed = self.killed
            self._points = deque(name for name in self._points if not killed[name])
        return bool(self._points) or not self._once

    async def _kill(self, slot: Slot) -> None:
        if slot.pid is not None:
            self._by_us.add(slot.pid)
        slot.signal(signal.SIGKILL)
        await slot.ended_within(30)
        await slot.started.wait()

    def _plan_next(self, slot: Slot, turn: int) -> None:
        """Every other life of a process ends at a failpoint, or sleeps there."""
        if turn % _STOP_EVERY == 4 and not self._once:
            name = f"{_STOP_AT[self._stops % len(_STOP_AT)]}:{self._dice.randint(1, 2)}:stop"
            self._stops += 1
        elif self._points:
            name = f"{self._points[0]}:{self._dice.choice((1, 1, 2, 3)) if not self._tries[self._points[0]] else 1}"
            self._points.rotate(-1)
        else:
            return
        self._plans[slot.number] = Life(name, self._wrong())

    async def _at_failpoint(self, slot: Slot) -> None:
        """Wait until it ends itself; a place that it does not come by is tried again in another life."""
        name, _, act = str(slot.life.failpoint).partition(":")
        if act.endswith("stop"):
            await self._awake_again(slot, name)
        elif await slot.ended_within(self._patience):
            await slot.started.wait()
            return
        else:
            self._tries[name] += 1
            if self._tries[name] >= _TRIES and name in self._points and not self._once:
                self._points.remove(name)
        await self._kill(slot)

    async def _awake_again(self, slot: Slot, name: str) -> None:
        """It stops itself at its failpoint; woken when its lease has passed, it lives on for a while."""
        deadline = time.monotonic() + self._patience
        while not slot.stopped and slot.alive and time.monotonic() < deadline:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.05)
        if slot.stopped:
            self.asleep[f"asleep {name}"] += 1
            await asyncio.sleep(_SLEEP)
            slot.signal(signal.SIGCONT)
            await asyncio.sleep(2.0)

    async def _put_to_sleep(self, slot: Slot) -> None:
        """Stop whatever it does just now, past its lease."""
        await asyncio.sleep(self._dice.uniform(0.5, 2.0))
        if slot.alive and not slot.life.failpoint:
            slot.signal(signal.SIGSTOP)
            self.asleep["asleep"] += 1
            await asyncio.sleep(_SLEEP)
            slot.signal(signal.SIGCONT)

    async def rest(self) -> None:
        """Plan nothing more, wake what sleeps, and have no process at work that would end itself."""
        self._plans.clear()
        self._hubs.next_life = lambda slot: Life()
        for slot in self._hubs.slots:
            slot.signal(signal.SIGCONT)
            if slot.life.failpoint or slot.life.clock:
                await self._hubs.renew(slot)
