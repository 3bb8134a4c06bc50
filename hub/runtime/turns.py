"""A flow is read by one process at a time: its schedule row is held under a lease that is renewed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Any

from hub.domain.errors import StoreError
from hub.store import schedules
from hub.store.engine import Store

log = logging.getLogger("hub.reads")

LEASE = 60.0  # seconds
_LOOK = 0.5  # seconds between two looks whether the flow is free


@contextlib.asynccontextmanager
async def held(store: Store, flow: str) -> AsyncIterator[None]:
    """Wait for our turn at the flow, and keep it while the block runs. A flow without a schedule is free.

    Raises StoreError.
    """
    holder = secrets.token_hex(8)
    waits = False
    while (row := await schedules.hold(store, flow, holder=holder, lease=LEASE)) is None:
        if not await schedules.listing(store, flow=flow):
            yield
            return
        if not waits:
            waits = True
            log.warning("another process is reading %s; waiting for it to end", flow)
        await asyncio.sleep(_LOOK)
    beat = asyncio.create_task(renew(store, row, asyncio.current_task()))
    try:
        yield
    finally:
        beat.cancel()
        await asyncio.shield(schedules.hand_back(store, row))


async def renew(store: Store, row: schedules.Schedule, work: asyncio.Task[Any] | None) -> None:
    """Keep the lease until cancelled; work whose lease is lost is broken off, for another process does it now."""
    while True:
        await asyncio.sleep(LEASE / 4)
        try:
            if not await schedules.renew(store, row, lease=LEASE):
                log.warning("%s was taken over by another process, and is broken off here", row.name)
                if work is not None:
                    work.cancel()
                return
        except StoreError as error:
            log.warning("the lease of %s could not be renewed: %s", row.name, error.message)
