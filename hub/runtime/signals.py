"""Coarse signals between the parts of one process: 'there is work for F', 'there are hints'. Truth is in the store."""

from __future__ import annotations

import asyncio
from collections import defaultdict

HINTS = "hints"
SCHEDULES = "schedules"


class Signals:
    """Events by name. A signal that nobody waits for is kept until somebody does, and many become one."""

    def __init__(self) -> None:
        self._events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def wake(self, *names: str) -> None:
        """Tell that there is work."""
        for name in names:
            self._events[name].set()

    async def wait(self, name: str, seconds: float | None) -> bool:
        """Until the signal comes or `seconds` have passed; whether it came. Takes the signal."""
        event = self._events[name]
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        event.clear()
        return True
