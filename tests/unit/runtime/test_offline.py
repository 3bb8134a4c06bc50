"""Commands that ask no system: they wait for nothing."""

from __future__ import annotations

from hub.connector.limits import Limit
from hub.domain.clock import ManualClock
from hub.runtime.offline import offline_kit


async def test_a_vendors_limits_hold_nobody_up_offline() -> None:
    kit = offline_kit("erp", ManualClock())
    kit.budgets.declare([Limit("*", 1, 60, "log-ins")], account="a")
    for _ in range(20):
        await kit.budgets.take("login")
