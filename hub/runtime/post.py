"""The way out for signals to other processes: many become one, and none holds anybody up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from hub.runtime.signals import Signal

log = logging.getLogger("hub.post")

_PAUSE = 0.05  # seconds between two sendings, in which equal signals become one
_TROUBLE = 5.0  # seconds between two tries while the carrier can't be reached
_AT_MOST = 1000  # kinds of signals that wait


class Post:
    """Sends what `put` gave it in a thread of its own, since the carrier's library blocks.

    A carrier that can't be reached loses its signals, and a warning says so: workers look for themselves meanwhile.
    """

    def __init__(self, send: Callable[[Sequence[Signal]], None], close: Callable[[], None]) -> None:
        self._send = send
        self._close = close
        self._waiting: dict[Signal, None] = {}
        self._there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def send(self, signals: Sequence[Signal]) -> None:
        """Send them now; blocks. Raises what the carrier raises."""
        self._send(signals)

    def put(self, signal: Signal) -> None:
        """Send it soon. Of the loop's own thread."""
        if len(self._waiting) < _AT_MOST:
            self._waiting[signal] = None
            self._there.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._forever(), name="post")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.close()

    def close(self) -> None:
        """Let go of what carries them."""
        with contextlib.suppress(Exception):  # whatever the carrier's library raises, we are leaving
            self._close()

    async def _forever(self) -> None:
        well = True
        while True:
            await self._there.wait()
            self._there.clear()
            signals, self._waiting = list(self._waiting), {}
            try:
                await asyncio.to_thread(self._send, signals)
            except Exception as error:  # whatever the carrier's library raises: no signal is worth more than a warning
                if well:
                    log.warning(
                        "signals can't be carried (%s); workers look for work themselves, more slowly", _short(error)
                    )
                well = False
                await asyncio.sleep(_TROUBLE)
            else:
                if not well:
                    log.warning("signals are carried again")
                well = True
                await asyncio.sleep(_PAUSE)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
