"""A simulated organisation and the connector, both on the simulator's clock, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from connectors.dingtalk.connector import DingTalkConnector
from connectors.dingtalk.settings import DingTalkSettings
from connectors.dingtalk.simulator import DingTalkSimulator
from hub.connector.contract import Op, ReadRequest, Write
from hub.connector.kit import Kit
from hub.domain.outcome import Outcome
from hub.domain.record import Change, Record

Make = Callable[..., DingTalkConnector]
DISCOUNT = "approval:discount"
FORM = {"originator": "zhangwei", "originator_dept": "101", "报价单号": "QT-1", "客户名称": "武汉机械厂"}


class Desk:
    """What tests do all the time: start approvals through the connector, click in them, look at what came of it."""

    def __init__(self, simulator: DingTalkSimulator, connector: DingTalkConnector) -> None:
        self.simulator = simulator
        self.connector = connector

    async def start(self, object: str = DISCOUNT, **more: Any) -> Outcome:
        how = {name: more.pop(name) for name in ("rows", "stamp", "options") if name in more}
        write = Write(Op.CREATE, fields={**FORM, **more}, **how)
        (outcome,) = await self.connector.write(object, [write])
        return outcome

    async def started(self, **more: Any) -> str:
        outcome = await self.start(**more)
        assert outcome.ok, outcome.failure
        return str(outcome.id)

    async def click(self, op: str, id: str, actor: str = "manager01", **fields: Any) -> str:
        change = {"op": op, "object": DISCOUNT, "id": id, "actor": actor, "fields": fields}
        return str((await self.simulator.change(change))["id"])

    async def got(self, id: str, object: str = DISCOUNT) -> Record:
        (answer,) = await self.connector.get(object, [id])
        assert answer.record is not None, answer.kind
        return answer.record

    async def poll(self, cursor: dict[str, Any] | None, **how: Any) -> tuple[list[Change], dict[str, Any]]:
        """Everything that one poll brings, and the cursor after it."""
        changes: list[Change] = []
        while True:
            page = await self.connector.read(ReadRequest(DISCOUNT, **how), cursor)
            changes += page.changes
            cursor = page.cursor
            if not page.more:
                return changes, cursor


@pytest.fixture
def simulator() -> DingTalkSimulator:
    return DingTalkSimulator()


@pytest.fixture
async def make(simulator: DingTalkSimulator) -> AsyncIterator[Make]:
    """Connectors to the simulator; waiting moves the clock of both."""
    simulator.base_url = "http://ding.sim"
    made: list[DingTalkConnector] = []

    async def sleep(seconds: float) -> None:
        simulator.clock.advance(seconds)
        await asyncio.sleep(0)

    def build(**chosen: Any) -> DingTalkConnector:
        transport = httpx.ASGITransport(app=simulator, raise_app_exceptions=False)
        kit = Kit.local("dingtalk", clock=simulator.clock, sleep=sleep, transport=transport)
        made.append(DingTalkConnector(DingTalkSettings(**{**simulator.settings(), **chosen}), kit))
        return made[-1]

    yield build
    for connector in made:
        await connector.aclose()


@pytest.fixture
def connector(make: Make) -> DingTalkConnector:
    return make()


@pytest.fixture
def desk(simulator: DingTalkSimulator, connector: DingTalkConnector) -> Desk:
    return Desk(simulator, connector)
