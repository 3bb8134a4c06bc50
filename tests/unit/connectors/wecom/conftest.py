"""A simulated company, a stranger's raw client for it, and the connector, all on the simulator's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from connectors.wecom.connector import WeComConnector
from connectors.wecom.settings import WeComSettings
from connectors.wecom.simulator import WeComSimulator
from hub.connector.kit import Kit

Make = Callable[..., WeComConnector]


class Stranger:
    """A client that knows nothing of ours: the vendor's protocol by hand."""

    def __init__(self, simulator: WeComSimulator) -> None:
        self.simulator = simulator
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=simulator), base_url="http://qy.sim/cgi-bin")
        self.tokens: dict[str, str] = {}

    async def log_in(self, app: str = "app", **wrong: str) -> dict[str, Any]:
        account = self.simulator.gate.account
        query = {"corpid": account.corp_id, "corpsecret": account.secrets[app], **wrong}
        answer: dict[str, Any] = (await self.http.get("/gettoken", params=query)).json()
        self.tokens[app] = answer.get("access_token", "")
        return answer

    async def call(self, path: str, body: Any = None, *, app: str = "app", **query: str) -> dict[str, Any]:
        if app not in self.tokens:
            await self.log_in(app)
        query = {"access_token": self.tokens[app], **query}
        if body is None:
            answer = await self.http.get(f"/{path}", params=query)
        else:
            answer = await self.http.post(f"/{path}", params=query, json=body)
        found: dict[str, Any] = answer.json()
        return found

    async def code(self, path: str, body: Any = None, *, app: str = "app", **query: str) -> int:
        return int((await self.call(path, body, app=app, **query))["errcode"])


@pytest.fixture
def simulator() -> WeComSimulator:
    return WeComSimulator()


@pytest.fixture
async def stranger(simulator: WeComSimulator) -> AsyncIterator[Stranger]:
    client = Stranger(simulator)
    yield client
    await client.http.aclose()


@pytest.fixture
async def make(simulator: WeComSimulator) -> AsyncIterator[Make]:
    """Connectors to the simulator without sockets; waiting moves the clock of both."""
    simulator.base_url = "http://qy.sim"
    made: list[WeComConnector] = []

    async def sleep(seconds: float) -> None:
        simulator.clock.advance(seconds)
        await asyncio.sleep(0)

    def build(**chosen: Any) -> WeComConnector:
        transport = httpx.ASGITransport(app=simulator, raise_app_exceptions=False)
        kit = Kit.local("wecom", clock=simulator.clock, sleep=sleep, transport=transport)
        made.append(WeComConnector(WeComSettings(**{**simulator.settings(), **chosen}), kit))
        return made[-1]

    yield build
    for connector in made:
        await connector.aclose()


@pytest.fixture
def connector(make: Make) -> WeComConnector:
    return make()
