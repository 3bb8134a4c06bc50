"""The scheduler: keeps the schedule rows as `hub.yaml` has them, and tells the fleet what is due."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from hub.domain.errors import HubError
from hub.runtime import pull
from hub.runtime.hub import Hub
from hub.runtime.roles import Part
from hub.runtime.signals import DRAIN, FETCH, READ, Signal
from hub.runtime.triggers import of_flow
from hub.store import claims, flows, hints, processes, runs, schedules
from hub.sync.write_back import SUFFIX

log = logging.getLogger("hub.scheduler")

_BY_CONFIG = "paused in hub.yaml"
_LOOK = 2.0  # seconds between two looks
_INTERRUPT = 15.0  # seconds between two looks for runs whose process died


class Carrier(Protocol):
    """What carries signals to other processes. It may lose every one of them."""

    def put(self, signal: Signal) -> None: ...


class Scheduler:
    """Any number of them may run: none holds anything, so each may die at any time."""

    def __init__(self, hub: Hub, carrier: Carrier | None = None) -> None:
        self._hub = hub
        self._carrier = carrier
        self._tasks: list[asyncio.Task[None]] = []
        self._workers = True  # somebody reads and delivers, as far as we know

    async def start(self) -> None:
        """Bring the schedule rows in line with `hub.yaml`, and begin."""
        now = self._hub.store.clock.now()
        wanted = [
            schedules.Planned(
                name=schedule_name(flow.name, kind),
                flow=flow.name,
                kind=kind,
                trigger=trigger.encode(),
                first=trigger.first(now),
            )
            for flow in self._hub.config.flows.values()
            for kind, trigger in of_flow(flow.settings).items()
        ]
        await schedules.sync(self._hub.store, wanted + pull.planned(self._hub.config, now))
        await self._pauses()
        self._tasks.append(asyncio.create_task(self._look_after_runs(), name="look after runs"))
        if self._carrier is not None:
            self._tasks.append(asyncio.create_task(self._signal(self._carrier), name="signal"))

    async def _pauses(self) -> None:
        """`paused:` of `hub.yaml` is one more person's word: taking it away lets go what it held, and nothing else."""
        held = await flows.paused(self._hub.store)
        for flow in self._hub.config.flows.values():
            if flow.settings.paused and flow.name not in held:
                await flows.pause(self._hub.store, flow.name, _BY_CONFIG)
            elif not flow.settings.paused and flow.name in held and held[flow.name].reason == _BY_CONFIG:
                await flows.resume(self._hub.store, flow.name)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _signal(self, carrier: Carrier) -> None:
        """Tell again and again what is due: a signal that was lost is told again, one too many finds nothing to do."""
        while True:
            try:
                for signal in await self.due():
                    carrier.put(signal)
            except HubError as error:
                log.warning("what is due could not be looked up: %s", error.message)
            await asyncio.sleep(_LOOK)

    async def due(self) -> list[Signal]:
        """What somebody could do now."""
        store = self._hub.store
        found = [Signal(READ, flow) for flow in await schedules.due(store)]
        now = store.clock.now()
        for flow in self._hub.config.flows:
            for queue in (flow, flow + SUFFIX):
                at = await claims.next_due(store, queue)
                if at is not None and at <= now:
                    found.append(Signal(DRAIN, flow))
                    break
        at = await hints.next_due(store)
        if at is not None and at <= now:
            found.append(Signal(FETCH))
        return found

    async def _look_after_runs(self) -> None:
        """Mark runs whose process died: 'running' is proven by signs of life."""
        while True:
            await asyncio.sleep(_INTERRUPT)
            try:
                if died := await runs.interrupt(self._hub.store, silent_for=runs.SILENT):
                    log.warning("%d runs gave no sign of life for %.0f s: their process died", died, runs.SILENT)
                await self._look_after_workers()
            except HubError as error:
                log.warning("runs could not be looked after: %s", error.message)

    async def _look_after_workers(self) -> None:
        now = self._hub.store.clock.now()
        found = await processes.listing(self._hub.store)
        there = any(Part(one.role).works and one.alive(now) for one in found)
        if there is not self._workers:
            log.warning("workers are at work again" if there else "no worker is at work: nothing is read or delivered")
        self._workers = there


def schedule_name(flow: str, kind: str) -> str:
    """`orders/read`: how a schedule is called."""
    return f"{flow}/{kind}"
