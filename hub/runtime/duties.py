"""What of a hub is at work in one process, by its part: put to work, told of signals, brought to rest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket

from hub.domain.errors import StoreError
from hub.runtime.housekeeping import keep_house
from hub.runtime.hub import Hub
from hub.runtime.post import Post
from hub.runtime.reads import Reads
from hub.runtime.roles import Part, relays
from hub.runtime.scheduler import Scheduler
from hub.runtime.signals import DRAIN, FETCH, HINTS, READ, Signal
from hub.runtime.streams import Listening
from hub.runtime.workers import Workers
from hub.store import processes

log = logging.getLogger("hub.duties")


class Duties:
    """The duties of a process of this part. `post` carries signals to other processes, if anything does."""

    def __init__(self, hub: Hub, part: Part, post: Post | None = None) -> None:
        self._hub = hub
        self._part = part
        self._post = post
        self._workers = Workers(hub) if part.works else None
        self._reads = Reads(hub, signalled=post is not None and not part.schedules) if part.works else None
        self._scheduler = Scheduler(hub, post) if part.schedules else None
        self._listening = Listening(hub) if part.listens else None
        self._house: asyncio.Task[None] | None = None
        self._name = secrets.token_hex(8)
        self._life: asyncio.Task[None] | None = None

    @property
    def troubles(self) -> dict[str, str]:
        """What stands in the way of which duty just now."""
        workers = self._workers.failures if self._workers else {}
        streams = self._listening.failures if self._listening else {}
        return {**workers, **(self._reads.failures if self._reads else {}), **streams}

    async def start(self) -> None:
        """Begin. Raises StoreError when the schedules can't be brought in line with `hub.yaml`."""
        self._life = asyncio.create_task(self._live(), name="signs of life")
        if self._post is not None:
            self._post.start()
            if not self._part.works:
                self._hub.signals.relay = self._relay
        if self._scheduler is not None:
            await self._scheduler.start()
        if self._reads is not None:
            self._reads.start()
        if self._workers is not None:
            self._workers.start()
        if self._listening is not None:
            self._listening.start()
        if self._part.schedules or relays(self._hub.config):
            self._house = asyncio.create_task(keep_house(self._hub), name="housekeeping")

    async def stop(self) -> None:
        """Take on nothing more; finish what is in hand within `run: {stop_within}`, and hand back the rest at once."""
        deadline = self._hub.config.run.stop_within
        if self._house is not None:
            self._house.cancel()
        if self._listening is not None:
            await self._listening.stop()
        if self._scheduler is not None:
            await self._scheduler.stop()
        work = [part.stop(deadline) for part in (self._reads, self._workers) if part is not None]
        await asyncio.gather(*work)
        if self._post is not None:
            await self._post.stop()
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
            with contextlib.suppress(StoreError):  # a row that stays falls silent
                await processes.leave(self._hub.store, self._name)

    def take(self, signal: Signal) -> None:
        """Another process says that there is work. What this process does not know it need not do."""
        if signal.kind == FETCH:
            self._hub.signals.wake(HINTS)
        elif signal.kind == DRAIN and signal.flow in self._hub.config.flows:
            self._hub.signals.wake(signal.flow)
        elif signal.kind == READ and self._reads is not None:
            self._reads.want(signal.flow)

    def _relay(self, name: str) -> None:
        """Work was made here, and is done elsewhere."""
        if self._post is None:
            return
        if name == HINTS:
            self._post.put(Signal(FETCH))
        elif name in self._hub.config.flows:
            self._post.put(Signal(DRAIN, name))

    async def _live(self) -> None:
        """Tell people, and the other processes, that this one is at work."""
        host = socket.gethostname()
        while True:
            try:
                await processes.beat(self._hub.store, self._name, self._part.value, host, os.getpid())
            except StoreError as error:
                log.warning("this process could not give a sign of life: %s", error.message)
            await asyncio.sleep(processes.BEAT)
