"""Coarse signals: 'there is work for F', 'there are hints'. They only make work begin sooner; truth is in the store."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

HINTS = "hints"
SCHEDULES = "schedules"

READ = "read"
DRAIN = "drain"
FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Signal:
    """What one process tells another: read flow F, drain flow F, fetch hints."""

    kind: str
    flow: str = ""


class Signals:
    """Events by name. A signal that nobody waits for is kept until somebody does, and many become one."""

    def __init__(self) -> None:
        self._events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.relay: Callable[[str], None] | None = None  # tells other processes too, where this one does not work

    def wake(self, *names: str) -> None:
        """Tell that there is work."""
        for name in names:
            self._events[name].set()
            if self.relay is not None:
                self.relay(name)

    async def wait(self, name: str, seconds: float | None) -> bool:
        """Until the signal comes or `seconds` have passed; whether it came. Takes the signal."""
        event = self._events[name]
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        event.clear()
        return True
