"""Takes out what has been kept for long enough, once an hour."""

from __future__ import annotations

import asyncio
import logging

from hub.domain.errors import HubError
from hub.runtime.hub import Hub
from hub.store import budgets, deliveries, inbox, runs

log = logging.getLogger("hub.housekeeping")

_EVERY = 3600.0  # seconds
_BUDGETS = 70 * 86_400_000  # milliseconds: the longest quota is a month's


async def keep_house(hub: Hub) -> None:
    """Purge by `retention:` until cancelled. A store that can't be written to just now is tried again later."""
    retention = hub.config.retention
    while True:
        now = hub.store.clock.now()
        try:
            hooks = await inbox.purge(hub.store, now - int(retention.inbox * 1000))
            ran = await runs.purge(hub.store, now - int(retention.runs * 1000))
            raw = await deliveries.purge_payloads(hub.store, now - int(retention.payloads * 1000))
            tried = await deliveries.purge_attempts(hub.store, now - int(retention.attempts * 1000))
            await budgets.purge(hub.store, now - _BUDGETS)
            if hooks or ran or raw or tried:
                log.info(
                    "took out %d webhooks, %d runs, %d raw records and %d attempts that were kept for long enough",
                    hooks,
                    ran,
                    raw,
                    tried,
                )
        except HubError as error:
            log.warning("%s", error.message)
        await asyncio.sleep(_EVERY)
