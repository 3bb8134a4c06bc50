"""Event streams that the hub opens itself, where a vendor can't reach it: one connection a system, stored before the
answer, opened again whenever it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from hub.connector.contract import Pushed, Streams
from hub.domain.errors import HubError
from hub.runtime.hub import Hub
from hub.runtime.roles import relays
from hub.runtime.signals import HINTS
from hub.store import inbox
from hub.store.inbox import Message
from hub.sync.failpoints import failpoint

log = logging.getLogger("hub.streams")

_LONGEST = 60.0  # seconds between two attempts at a system that refuses


class Listening:
    """The streams of one process. Several processes may listen to one system: vendors share events among them, and what
    comes twice is known by its dedupe key. `pause` is seconds before a connection is opened again.
    """

    def __init__(self, hub: Hub, *, pause: float = 3.0) -> None:
        self._hub = hub
        self._pause = pause
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.failures: dict[str, str] = {}  # stream -> what stands in its way just now

    def start(self) -> None:
        """Begin to listen to every system whose settings ask for it and whose events a flow wants."""
        for name in sorted(self._wanted()):
            connector = self._hub.project.connector(name)
            if isinstance(connector, Streams) and connector.streams:
                self._tasks.append(asyncio.create_task(self._forever(name, connector), name=f"stream {name}"))

    async def stop(self) -> None:
        """Stop listening. What was not acknowledged comes again."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _wanted(self) -> set[str]:
        if relays(self._hub.config):
            return set(self._hub.config.systems)
        flows = self._hub.config.flows
        specs = self._hub.project.mappings().items()
        return {spec.source.system for name, spec in specs if flows[name].settings.webhooks}

    async def _forever(self, name: str, connector: Streams) -> None:
        """Listen again and again. No failure ends the loop."""
        key, pause = f"stream {name}", self._pause
        while not self._stopping.is_set():
            try:
                async for pushed in connector.events():
                    await self._take(name, pushed)
                    # Only what came through proves the connection: one that opens and breaks at once is no success.
                    self.failures.pop(key, None)
                    pause = self._pause
            except HubError as error:
                self.failures[key] = error.message
                log.warning("%s: %s%s", key, error.message, f" ({error.hint})" if error.hint else "")
                await self._rest(pause)
                pause = min(pause * 2, _LONGEST)
            except Exception as error:
                self.failures[key] = f"a mistake inside the hub ({type(error).__name__})"
                log.exception("%s failed in a way that the hub does not know", key)
                await self._rest(pause)
                pause = min(pause * 2, _LONGEST)
            else:
                self.failures.pop(key, None)
                await self._rest(self._pause)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _take(self, name: str, pushed: Pushed) -> None:
        """Store one message, then acknowledge it; one that can't be stored is asked for again."""
        received = pushed.received
        if received.events:
            events = [
                {"object": event.object, "id": event.id, "kind": event.kind, "at": event.at}
                for event in received.events
            ]
            message = Message(name, received.dedupe, self._hub.store.clock.now(), events, pushed.body)
            try:
                failpoint("before-store")
                await self._store(message)
                failpoint("after-store")
            except HubError as error:
                log.error(  # noqa: TRY400 - the reason is in words already
                    "a message of %s could not be stored and is asked for again: %s", name, error
                )
                await pushed.acknowledge(False)
                return
        await pushed.acknowledge(True)

    async def _store(self, message: Message) -> None:
        store = self._hub.store
        if relays(self._hub.config):
            async with store.begin() as conn:
                await inbox.put(store, conn, [message])
            return
        await inbox.receive(store, [message])
        self._hub.signals.wake(HINTS)
