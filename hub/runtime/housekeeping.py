"""Takes out what has been kept for long enough, once an hour."""

from __future__ import annotations

import asyncio
import logging

from hub.domain.errors import HubError
from hub.runtime.hub import Hub
from hub.store import inbox, runs

log = logging.getLogger("hub.housekeeping")

_EVERY = 3600.0  # seconds


async def keep_house(hub: Hub) -> None:
    """Purge by `retention:` until cancelled. A store that can't be written to just now is tried again later."""
    retention = hub.config.retention
    while True:
        now = hub.store.clock.now()
        try:
            hooks = await inbox.purge(hub.store, now - int(retention.inbox * 1000))
            ran = await runs.purge(hub.store, now - int(retention.runs * 1000))
            if hooks or ran:
                log.info("took out %d webhooks and %d runs that were kept for long enough", hooks, ran)
        except HubError as error:
            log.warning("%s", error.message)
        await asyncio.sleep(_EVERY)
