"""The scheduler: claims schedule rows that are due and has their flow read; a flow never overlaps with itself."""

from __future__ import annotations

import asyncio
import logging
import secrets

from hub.domain.errors import HubError
from hub.runtime.hub import Hub
from hub.runtime.signals import SCHEDULES
from hub.runtime.triggers import Trigger, of_flow
from hub.store import flows, schedules
from hub.sync.failpoints import failpoint

log = logging.getLogger("hub.scheduler")

_BY_CONFIG = "paused in hub.yaml"
_LOOK = 5.0  # seconds
_LEASE = 60.0  # seconds; renewed while the flow is read


class Scheduler:
    """Looks for due schedules and starts their runs, each in a task of its own."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._holder = secrets.token_hex(8)
        self._stopping = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._runs: dict[str, asyncio.Task[None]] = {}
        self.failures: dict[str, str] = {}  # schedule -> why its last run failed

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
        await schedules.sync(self._hub.store, wanted)
        await self._pauses()
        self._loop = asyncio.create_task(self._watch(), name="scheduler")

    async def _pauses(self) -> None:
        """`paused:` of `hub.yaml` is one more person's word: taking it away lets go what it held, and nothing else."""
        held = await flows.paused(self._hub.store)
        for flow in self._hub.config.flows.values():
            if flow.settings.paused and flow.name not in held:
                await flows.pause(self._hub.store, flow.name, _BY_CONFIG)
            elif not flow.settings.paused and flow.name in held and held[flow.name].reason == _BY_CONFIG:
                await flows.resume(self._hub.store, flow.name)

    async def stop(self, deadline: float) -> None:
        """Start nothing more; let runs end for `deadline` seconds, then cut them off where their cursors stand."""
        self._stopping.set()
        self._hub.signals.wake(SCHEDULES)
        running = list(self._runs.values())
        if running:
            _, late = await asyncio.wait(running, timeout=deadline)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if self._loop is not None:
            await self._loop

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = await self._begin_due()
            except HubError as error:
                log.warning("schedules: %s", error.message)
                pause = _LOOK
            await self._hub.signals.wait(SCHEDULES, pause)

    async def _begin_due(self) -> float:
        """Begin what is due; seconds until there is reason to look again."""
        store = self._hub.store
        for row in await schedules.claim(store, holder=self._holder, lease=_LEASE, limit=20):
            failpoint("after-schedule-claim")
            task = self._runs[row.name] = asyncio.create_task(self._run(row), name=row.name)
            task.add_done_callback(self._ended)
        due = await schedules.next_due(store)
        return _LOOK if due is None else min(_LOOK, max(0.05, (due - store.clock.now()) / 1000))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._runs.get(task.get_name()) is task:
            del self._runs[task.get_name()]

    async def _run(self, row: schedules.Schedule) -> None:
        trigger = Trigger.decode(row.trigger)
        now = self._hub.store.clock.now()
        due = now if row.next_due is None else row.next_due
        missed = trigger.missed(due, now)
        if missed:
            log.warning("%s was missed %d times and is caught up once", row.name, missed)
        run: int | None = None
        beat = asyncio.create_task(self._renew(row))
        try:
            run = await self._read(row)
            self.failures.pop(row.name, None)
        except HubError as error:
            self.failures[row.name] = error.message
            log.warning("%s failed: %s%s", row.name, error.message, f" ({error.hint})" if error.hint else "")
        except Exception as error:
            self.failures[row.name] = f"a mistake inside the hub ({type(error).__name__})"
            log.exception("%s failed in a way that the hub does not know", row.name)
        finally:
            beat.cancel()
            following = trigger.after(due, self._hub.store.clock.now())
            await schedules.finish(self._hub.store, row, next_due=following, run=run, missed=missed)
            self._hub.signals.wake(SCHEDULES)

    async def _read(self, row: schedules.Schedule) -> int | None:
        hub = self._hub
        if await hub.paused(row.flow):
            return None
        await hub.prove(row.flow)
        engine = await hub.engine()
        async with hub.reading(row.flow):
            report = await engine.read(row.flow, full=row.kind == "sweep", cause="schedule")
        hub.signals.wake(row.flow)
        return report.run

    async def _renew(self, row: schedules.Schedule) -> None:
        while True:
            await asyncio.sleep(_LEASE / 3)
            await schedules.renew(self._hub.store, row, lease=_LEASE)


def schedule_name(flow: str, kind: str) -> str:
    """`orders/read`: how a schedule is called."""
    return f"{flow}/{kind}"
