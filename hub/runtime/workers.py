"""The workers of one process: a loop a flow that delivers what is due, and one that fetches what webhooks told of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from hub.domain.errors import HubError
from hub.runtime.hub import Hub
from hub.runtime.rests import EVERY, Rests
from hub.runtime.signals import HINTS

log = logging.getLogger("hub.worker")

_IDLE = 30.0  # seconds: the sweep that backs up lost signals
_SHARED = 5.0  # the same where other processes make work too
_AGAIN = 1.0  # seconds: due, but the target's breaker is open, or somebody else holds what is due
_AWAY = 5.0  # the same at most while the target is left alone; a person may have lifted its quota meanwhile
_HINTS = 5.0
_SYSTEMS = "systems"


class Workers:
    """Each flow is drained by its own task, and each system's hints are fetched by one, so that a slow flow or system
    holds up no other. Where flows meet at one system, its calls go by priority (see `hub.connector.turns`).
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = _IDLE if hub.store.dialect == "sqlite" else _SHARED
        self._rests = Rests(hub)
        self._away: set[str] = set()
        self.failures: dict[str, str] = {}  # loop -> what stands in its way just now

    def start(self) -> None:
        for name in self._hub.config.flows:
            work = self._forever(name, partial(self._drain, name))
            self._tasks.append(asyncio.create_task(work, name=f"drain {name}"))
        for system in self._hub.config.systems:
            name = _hints_of(system)
            self._tasks.append(asyncio.create_task(self._forever(name, partial(self._fetch, system)), name=name))
        self._tasks.append(asyncio.create_task(self._pass_on_hints(), name="hints"))
        self._tasks.append(asyncio.create_task(self._forever(_SYSTEMS, self._look), name=_SYSTEMS))

    async def stop(self, deadline: float) -> None:
        """Let every batch that is in work come to rest, for `deadline` seconds at most.

        What is cut off then stays under its lease, and is looked after when the hub starts again.
        """
        self._stopping.set()
        hints = [_hints_of(system) for system in self._hub.config.systems]
        self._hub.signals.wake(HINTS, _SYSTEMS, *hints, *self._hub.config.flows)
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=deadline)
        for task in late:
            log.warning("%s did not come to rest within %.0f s and is cut off", task.get_name(), deadline)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forever(self, name: str, step: Callable[[], Awaitable[float]]) -> None:
        """Do `step` again and again; it tells for how many seconds there is nothing to do. No failure ends the loop."""
        trouble = 1.0
        while not self._stopping.is_set():
            try:
                pause = await step()
                self.failures.pop(name, None)
                trouble = 1.0
            except HubError as error:
                self.failures[name] = error.message
                log.warning("%s: %s%s", name, error.message, f" ({error.hint})" if error.hint else "")
                pause, trouble = trouble, min(trouble * 2, 60.0)
            except Exception as error:
                self.failures[name] = f"a mistake inside the hub ({type(error).__name__})"
                log.exception("%s failed in a way that the hub does not know", name)
                pause, trouble = trouble, min(trouble * 2, 60.0)
            if pause > 0 and not self._stopping.is_set():
                await self._hub.signals.wait(name, pause)

    async def _drain(self, flow: str) -> float:
        hub = self._hub
        if await hub.paused(flow):
            return self._idle
        await hub.prove(flow)
        engine = await hub.engine()
        if await engine.drain_once(flow):
            # What was done may be what another flow's deliveries wait for.
            hub.signals.wake(*(name for name in hub.config.flows if name != flow))
            return 0.0
        due = await engine.due_soon(flow)
        if due is None:
            return self._idle
        now = hub.store.clock.now()
        away = engine.flow(flow).target.down_for(now)
        return min(self._idle, max(_AGAIN, (due - now) / 1000, min(away, _AWAY)))

    async def _fetch(self, system: str) -> float:
        hub = self._hub
        engine = await hub.engine()
        if await engine.fetch_hints(system=system):
            hub.signals.wake(*hub.config.flows)
            return 0.0
        return _HINTS

    async def _pass_on_hints(self) -> None:
        """Whose hints came in is not told: every system's are looked for."""
        while not self._stopping.is_set():
            await self._hub.signals.wait(HINTS, None)
            self._hub.signals.wake(*(_hints_of(system) for system in self._hub.config.systems))

    async def _look(self) -> float:
        """Tell which systems are left alone, and why."""
        why = await self._rests.look()
        for name in self._away - why.keys():
            self.failures.pop(name, None)
        self.failures.update(why)
        self._away = set(why)
        return EVERY


def _hints_of(system: str) -> str:
    return f"{HINTS} of {system}"
