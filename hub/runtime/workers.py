"""The workers of one process: a loop a flow that delivers what is due, and one that fetches what webhooks told of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from hub.domain.errors import HubError
from hub.runtime.hub import Hub
from hub.runtime.signals import HINTS

log = logging.getLogger("hub.worker")

_IDLE = 30.0  # seconds: the sweep that backs up lost signals
_SHARED = 5.0  # the same where other processes make work too
_AGAIN = 1.0  # seconds: due, but the target's breaker is open, or somebody else holds what is due
_HINTS = 5.0


class Workers:
    """Each flow is drained by its own task, so that a slow flow or system holds up no other."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = _IDLE if hub.store.dialect == "sqlite" else _SHARED
        self.failures: dict[str, str] = {}  # loop -> what stands in its way just now

    def start(self) -> None:
        for name in self._hub.config.flows:
            work = self._forever(name, partial(self._drain, name))
            self._tasks.append(asyncio.create_task(work, name=f"drain {name}"))
        self._tasks.append(asyncio.create_task(self._forever(HINTS, self._fetch), name="hints"))

    async def stop(self, deadline: float) -> None:
        """Let every batch that is in work come to rest, for `deadline` seconds at most.

        What is cut off then stays under its lease, and is looked after when the hub starts again.
        """
        self._stopping.set()
        self._hub.signals.wake(HINTS, *self._hub.config.flows)
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
        return min(self._idle, max(_AGAIN, (due - hub.store.clock.now()) / 1000))

    async def _fetch(self) -> float:
        hub = self._hub
        engine = await hub.engine()
        if await engine.fetch_hints():
            hub.signals.wake(*hub.config.flows)
            return 0.0
        return _HINTS
