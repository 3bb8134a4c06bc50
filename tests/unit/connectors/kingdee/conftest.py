"""A served K/3 Cloud and a connector to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from connectors.erp.kingdee.connector import KingdeeConnector
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.simulator import KingdeeSimulator
from hub.connector.kit import Kit
from hub.connector.serving import serve

Connect = Callable[..., KingdeeConnector]


@pytest.fixture
async def sim() -> AsyncIterator[KingdeeSimulator]:
    simulator = KingdeeSimulator()
    async with serve(simulator):
        yield simulator


@pytest.fixture
async def connect(sim: KingdeeSimulator) -> AsyncIterator[Connect]:
    """Makes connectors; waiting moves the simulator's clock instead of lasting."""
    opened: list[KingdeeConnector] = []

    async def sleep(seconds: float) -> None:
        sim.clock.advance(seconds)
        await asyncio.sleep(0)

    def make(**settings: Any) -> KingdeeConnector:
        kit = Kit.local("erp", clock=sim.clock, sleep=sleep)
        opened.append(KingdeeConnector(KingdeeSettings.model_validate({**sim.settings(), **settings}), kit))
        return opened[-1]

    yield make
    for connector in opened:
        await connector.aclose()


@pytest.fixture
async def erp(connect: Connect) -> KingdeeConnector:
    return connect()


@pytest.fixture
async def wire(sim: KingdeeSimulator) -> AsyncIterator[httpx.AsyncClient]:
    """A bare client without cookies, as somebody who knows the vendor's documents would speak."""
    async with httpx.AsyncClient(base_url=sim.base_url, trust_env=False) as client:
        yield client


@pytest.fixture
async def stock(sim: KingdeeSimulator) -> KingdeeSimulator:
    """A customer and two materials that orders may use."""
    org = {"FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100"}
    await sim.bulk(
        "BD_Customer", [{"FCUSTID": 501, "FNumber": "C001", "FName": "远航", "FTRADINGCURRID.FNumber": "PRE001", **org}]
    )
    await sim.bulk(
        "BD_MATERIAL",
        [
            {
                "FMATERIALID": 701,
                "FNumber": "M001",
                "FName": "齿轮",
                "FBaseUnitId.FNumber": "Pcs",
                "F_HUB_PRICE": "9",
                **org,
            },
            {"FMATERIALID": 702, "FNumber": "M002", "FName": "轴承", "FBaseUnitId.FNumber": "kg", **org},
        ],
    )
    return sim
