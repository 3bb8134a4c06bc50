"""The lease of a claimed batch: kept alive while the batch is in work, and the fence around what it sends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from hub.connector import fence
from hub.domain.errors import StoreError
from hub.store import claims
from hub.store.engine import Store

log = logging.getLogger("hub.lease")

SECONDS = 120.0  # longer than any write's time-out, or nothing could be sent


class Lease:
    """How long this process may still act for what it claimed, by its own monotonic clock.

    `asked` is that clock's time before the claim was made: to others the lease began later, never earlier. On SQLite a
    claim lasts as long as its process.
    """

    def __init__(self, store: Store, claimed: Sequence[claims.Claimed], asked: float, seconds: float = SECONDS) -> None:
        self._store = store
        self._claimed = claimed
        self._seconds = seconds
        self._ends = asked + seconds
        self._endless = store.dialect == "sqlite"

    def left(self) -> float:
        """Seconds."""
        return self._seconds if self._endless else self._ends - self._store.clock.monotonic()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renewed while the block runs; what is sent in it is fenced. Afterwards the claim is over."""
        beating = None if self._endless else asyncio.create_task(self._beat())
        try:
            with fence.guarded(self.left):
                yield
        finally:
            if beating is not None:
                beating.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await beating
            claims.give_back(self._store, self._claimed)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 4)
            asked = self._store.clock.monotonic()
            try:
                held = await claims.renew(self._store, self._claimed, lease=self._seconds)
            except StoreError as error:  # the next beat tries again, and meanwhile the fence comes nearer
                log.warning("a lease could not be renewed: %s", error.message)
                continue
            if not held:
                self._ends = asked  # somebody took over: nothing leaves any more
                return
            self._ends = asked + self._seconds
