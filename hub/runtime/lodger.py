"""A hub at work in a thread: an event loop of its own, beside a main thread that belongs to somebody else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from hub.domain.errors import HubError
from hub.runtime.duties import Duties
from hub.runtime.hub import Hub
from hub.runtime.memory import keep_collector_quiet
from hub.runtime.post import Post
from hub.runtime.roles import Part
from hub.runtime.signals import Signal

log = logging.getLogger("hub.lodger")

_GRACE = 10.0  # seconds beyond `stop_within` for handing back and closing the store
_LONGEST = 30.0  # seconds between two tries to open the store


class Lodger:
    """One worker of the fleet. `open_hub` is called in the thread, again and again until the store can be opened."""

    def __init__(
        self, open_hub: Callable[[], AbstractAsyncContextManager[Hub]], post: Callable[[], Post], *, stop_within: float
    ) -> None:
        self._open_hub = open_hub
        self._stop_within = stop_within
        self._post = post
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._duties: Duties | None = None
        self._decided = threading.Event()  # it works, or its first try has failed
        self._failure: HubError | None = None
        self._told_to_stop = False

    def start(self) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self._thread.ident is None:
                self._thread.start()

    def wait_until_at_work(self) -> None:
        """Raises what kept the first try from opening the hub; it goes on trying all the same."""
        self._decided.wait()
        if self._failure is not None:
            raise self._failure

    def take(self, signal: Signal) -> None:
        """Pass a signal on, from any thread. Before the hub is open it is of no use: opening looks for all work."""
        loop, duties = self._loop, self._duties
        if loop is not None and duties is not None:
            loop.call_soon_threadsafe(duties.take, signal)

    def stop(self) -> None:
        """Finish what is in hand within `stop_within`, hand back the rest, close the store; then return."""
        with self._lock:
            self._told_to_stop = True
            if self._thread.ident is None:
                return
            if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(self._stop_within + _GRACE)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        finally:
            self._decided.set()

    async def _live(self) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._stopping = asyncio.Event()
            if self._told_to_stop:
                return
        pause = 1.0
        while not self._stopping.is_set():
            try:
                async with self._open_hub() as hub:
                    await self._work(hub, self._stopping)
            except HubError as error:
                self._failure = self._failure or error
                log.error("%s%s", error.message, f" ({error.hint})" if error.hint else "")  # noqa: TRY400
            except Exception as error:
                mistake = f"The hub in this worker ended by a mistake inside it ({type(error).__name__})."
                self._failure = self._failure or HubError(mistake, hint="please report what stands in the log")
                log.exception("the hub in this worker ended in a way that it does not know")
            self._decided.set()
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                pause = min(_LONGEST, pause * 2)

    async def _work(self, hub: Hub, stopping: asyncio.Event) -> None:
        await hub.engine()
        keep_collector_quiet()
        duties = Duties(hub, Part.WORKER, self._post())
        await duties.start()
        self._duties = duties
        self._decided.set()
        try:
            await stopping.wait()
            log.info("stopping: letting what is in hand come to rest")
        finally:
            self._duties = None
            await duties.stop()
