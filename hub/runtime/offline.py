"""Work without any network: connectors answer from their catalogues at once."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from hub.connector.kit import Kit
from hub.connector.limits import Limit, LocalBudgets
from hub.domain.clock import Clock


class _Unplugged(httpx.AsyncBaseTransport):
    """Refuses every request before it leaves."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("this command works offline", request=request)


async def _at_once(seconds: float) -> None:
    """Waiting for a network that is not asked is pointless."""


class _Unlimited(LocalBudgets):
    """No call leaves, so none counts. (To wait for a budget with a sleep that does not wait would be to spin.)"""

    def declare(self, limits: Sequence[Limit], *, account: str = "") -> None:
        """Whatever the vendor allows."""


def offline_kit(system: str, clock: Clock) -> Kit:
    """A kit whose connector can't reach anything and does not wait for it."""
    return Kit.local(
        system, clock=clock, sleep=_at_once, transport=_Unplugged(), budgets=_Unlimited(clock, sleep=_at_once)
    )
