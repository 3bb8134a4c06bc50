"""Schedules at work: a due row is claimed under a lease, its flow is read, the row is given back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets

from hub.domain.errors import HubError, StoreError
from hub.runtime import pull, turns
from hub.runtime.hub import Hub
from hub.runtime.signals import SCHEDULES
from hub.runtime.triggers import Trigger
from hub.store import schedules
from hub.sync.failpoints import failpoint

log = logging.getLogger("hub.reads")

LOOK = 5.0  # seconds at most between two looks for what is due
BACKSTOP = 30.0  # seconds between two looks, where signals tell what is due
_SOONER = 600.0  # seconds after which what failed is tried again, if its schedule is rarer
_AT_ONCE = 20  # runs of one process


class Reads:
    """The runs of one process, each in a task of its own; a flow never overlaps with itself, in no process.

    `look` is how long it waits at most until it looks for what is due; with `signalled` it does not compute when
    that will be, but is told.
    """

    def __init__(self, hub: Hub, *, signalled: bool = False) -> None:
        self._hub = hub
        self._signalled = signalled
        self._holder = secrets.token_hex(8)  # random: a host that comes back under its old name holds nothing
        self._stopping = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._wanted: set[str] = set()
        self._endless: set[str] = set()  # runs that go on until they are told to stop
        self.failures: dict[str, str] = {}  # schedule -> why its last run failed

    def start(self) -> None:
        self._loop = asyncio.create_task(self._watch(), name="reads")

    def want(self, flow: str) -> None:
        """Somebody says that a schedule of this flow is due. Whether it is, and free, the store tells."""
        self._wanted.add(flow)
        self._hub.signals.wake(SCHEDULES)

    async def stop(self, deadline: float) -> None:
        """Start nothing more; let runs end for `deadline` seconds, then hand back the rest where its cursor stands."""
        self._stopping.set()
        self._hub.signals.wake(SCHEDULES)
        if self._loop is not None:
            await self._loop
        for name, task in self._runs.items():
            if name in self._endless:
                task.cancel()
        running = list(self._runs.values())
        if running:
            _, late = await asyncio.wait(running, timeout=deadline)
            for task in late:
                log.warning("%s is broken off after %.0f s; its cursor is kept", task.get_name(), deadline)
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = await self._begin_due()
            except HubError as error:
                log.warning("schedules: %s", error.message)
                pause = LOOK
            except Exception:
                log.exception("schedules failed in a way that the hub does not know")
                pause = LOOK
            await self._hub.signals.wait(SCHEDULES, pause)

    async def _begin_due(self) -> float:
        """Begin what is due; seconds until there is reason to look again."""
        store = self._hub.store
        free = _AT_ONCE - len(self._runs)
        wanted, self._wanted = self._wanted, set()
        asked: list[str | None] = [*wanted] or [None]
        for flow in asked:
            for row in await schedules.claim(
                store, holder=self._holder, lease=turns.LEASE, limit=max(0, free), flow=flow
            ):
                failpoint("after-schedule-claim")
                free -= 1
                if row.kind == pull.KIND:
                    self._endless.add(row.name)
                task = self._runs[row.name] = asyncio.create_task(self._run(row), name=row.name)
                task.add_done_callback(self._ended)
        if self._signalled:
            return BACKSTOP
        due = await schedules.next_due(store)
        return LOOK if due is None else min(LOOK, max(0.05, (due - store.clock.now()) / 1000))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._runs.get(task.get_name()) is task:
            del self._runs[task.get_name()]
        self._hub.signals.wake(SCHEDULES)

    async def _run(self, row: schedules.Schedule) -> None:
        """Do what the row asks for under its lease; then give it back, whatever came of it."""
        trigger = Trigger.decode(row.trigger)
        store = self._hub.store
        now = store.clock.now()
        due = now if row.next_due is None else row.next_due
        missed = trigger.missed(due, now)
        if missed and row.kind != pull.KIND:
            log.warning("%s was missed %d times and is caught up once", row.name, missed)
        work = asyncio.create_task(self._work(row), name=f"{row.name} at work")
        beat = asyncio.create_task(turns.renew(store, row, work))
        run: int | None = None
        failed = False
        try:
            run = await work
            self.failures.pop(row.name, None)
        except HubError as error:
            failed = True
            self.failures[row.name] = error.message
            log.warning("%s failed: %s%s", row.name, error.message, f" ({error.hint})" if error.hint else "")
        except asyncio.CancelledError:
            # Told to stop, or the lease was lost: what is left of it is somebody else's, at once.
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self._give_back(row)
            return
        except Exception as error:
            failed = True
            self.failures[row.name] = f"a mistake inside the hub ({type(error).__name__})"
            log.exception("%s failed in a way that the hub does not know", row.name)
        finally:
            beat.cancel()
        after = store.clock.now()
        following = trigger.after(due, after)
        if failed:  # a sweep that failed at three in the morning does not wait for the next night
            following = min(following, after + int(_SOONER * 1000))
        with contextlib.suppress(StoreError):  # its lease ends by itself, and it is due again then
            await schedules.finish(store, row, next_due=following, run=run, missed=missed)

    async def _give_back(self, row: schedules.Schedule) -> None:
        try:
            await asyncio.shield(schedules.hand_back(self._hub.store, row))
        except StoreError as error:
            log.warning("%s could not be handed back, and is free when its lease ends: %s", row.name, error.message)

    async def _work(self, row: schedules.Schedule) -> int | None:
        hub = self._hub
        if row.kind == pull.KIND:
            await pull.empty(hub, row.flow)
            return None
        if row.flow not in hub.config.flows or await hub.paused(row.flow):
            return None
        await hub.prove(row.flow)
        engine = await hub.engine()
        async with hub.reading(row.flow, claimed=True):
            report = await engine.read(row.flow, full=row.kind == "sweep", cause="schedule")
        hub.signals.wake(row.flow)
        return report.run
