"""Captures of one flow take turns: an older reading never replaces a newer one, whichever process comes last."""

from __future__ import annotations

import asyncio

from hub.store import deliveries
from hub.store.engine import Store


async def test_captures_of_a_flow_take_turns_over_processes(postgres_url: str) -> None:
    """paypal/mirakl-hyperwallet-connector#35: webhooks arrived out of order and the older state won."""
    here, there = await Store.open(postgres_url), await Store.open(postgres_url)
    order: list[str] = []

    async def second() -> None:
        async with there.begin() as conn:
            await deliveries.in_turn(there, conn, "orders")
            order.append("second looks")

    try:
        async with here.begin() as conn:
            await deliveries.in_turn(here, conn, "orders")
            late = asyncio.create_task(second())
            async with there.begin() as other:  # another flow is kept from nothing
                await asyncio.wait_for(deliveries.in_turn(there, other, "customers"), 30)
            order.append("first writes")
        await asyncio.wait_for(late, 30)
        assert order == ["first writes", "second looks"]
    finally:
        await here.close()
        await there.close()


async def test_on_sqlite_writers_take_turns_anyway(store: Store) -> None:
    async with store.begin() as conn:
        await asyncio.wait_for(deliveries.in_turn(store, conn, "orders"), 30)
