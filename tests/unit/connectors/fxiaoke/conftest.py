"""A simulated tenant, a stranger's raw client for it, and the connector, all on the simulator's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from connectors.crm.fxiaoke.connector import FxiaokeConnector
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from hub.connector.kit import Kit

Make = Callable[..., FxiaokeConnector]


class Stranger:
    """A client that knows nothing of ours: the vendor's protocol by hand."""

    def __init__(self, simulator: FxiaokeSimulator) -> None:
        self.simulator = simulator
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=simulator), base_url="http://open.sim")
        self.user = "1000"
        self.token: str | None = None

    async def post(self, path: str, body: Any, **how: Any) -> httpx.Response:
        return await self.http.post(path, json=body, **how)

    async def log_in(self) -> dict[str, Any]:
        account = self.simulator.account
        body = {
            "appId": account.app_id,
            "appSecret": account.app_secret,
            "permanentCode": account.permanent_code,
            "grantType": "app_secret",
        }
        answer: dict[str, Any] = (await self.post("/oauth2.0/token?thirdTraceId=t", body)).json()
        self.token = answer.get("accessToken", self.token)
        return answer

    async def call(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        """A business call in the header style; logs in when it has not yet."""
        if self.token is None:
            await self.log_in()
        own = {"authorization": f"Bearer {self.token}", "x-fs-ea": "demoea", "x-fs-userid": self.user, **headers}
        answer: dict[str, Any] = (await self.post(f"{path}?thirdTraceId=t", body, headers=own)).json()
        return answer

    async def create(self, name: str, fields: dict[str, Any], *, top: Any = None, **data: Any) -> dict[str, Any]:
        record = {"dataObjectApiName": name, "owner": ["1001"], **fields}
        kind = "custom/v2" if name.endswith("__c") else "v2"
        body = {**(top or {}), "data": {"object_data": record, **data}}
        return await self.call(f"/cgi/crm/{kind}/data/create", body)

    async def update(self, name: str, id: str, fields: dict[str, Any], **data: Any) -> dict[str, Any]:
        record = {"dataObjectApiName": name, "_id": id, **fields}
        return await self.call("/cgi/crm/v2/data/update", {"data": {"object_data": record, **data}})

    async def get(self, name: str, id: str, **top: Any) -> dict[str, Any]:
        return await self.call("/cgi/crm/v2/data/get", {**top, "data": {"dataObjectApiName": name, "objectDataId": id}})

    async def query(self, name: str, *filters: tuple[str, str, list[Any]], **info: Any) -> dict[str, Any]:
        top = info.pop("top", {})
        listed = [{"field_name": f, "operator": o, "field_values": v} for f, o, v in filters]
        search = {"limit": 100, "offset": 0, "filters": listed, **info}
        data = {"dataObjectApiName": name, "search_query_info": search}
        return await self.call("/cgi/crm/v2/data/query", {**top, "data": data})

    async def ids(self, name: str, *filters: tuple[str, str, list[Any]], **info: Any) -> list[str]:
        return [row["_id"] for row in (await self.query(name, *filters, **info))["data"]["dataList"]]


@pytest.fixture
def simulator() -> FxiaokeSimulator:
    return FxiaokeSimulator()


@pytest.fixture
async def stranger(simulator: FxiaokeSimulator) -> AsyncIterator[Stranger]:
    client = Stranger(simulator)
    yield client
    await client.http.aclose()


@pytest.fixture
async def make(simulator: FxiaokeSimulator) -> AsyncIterator[Make]:
    """Connectors to the simulator without sockets; waiting moves the clock of both."""
    simulator.base_url = "http://open.sim"
    made: list[FxiaokeConnector] = []

    async def sleep(seconds: float) -> None:
        simulator.clock.advance(seconds)
        await asyncio.sleep(0)

    def build(**chosen: Any) -> FxiaokeConnector:
        transport = httpx.ASGITransport(app=simulator, raise_app_exceptions=False)
        kit = Kit.local("crm", clock=simulator.clock, sleep=sleep, transport=transport)
        made.append(FxiaokeConnector(FxiaokeSettings(**{**simulator.settings(), **chosen}), kit))
        return made[-1]

    yield build
    for connector in made:
        await connector.aclose()


@pytest.fixture
def connector(make: Make) -> FxiaokeConnector:
    return make()


@pytest.fixture
async def order(simulator: FxiaokeSimulator) -> dict[str, Any]:
    """An order of two lines that a person made: the ids of account, products, order and lines."""
    add: Callable[..., Awaitable[dict[str, Any]]] = simulator.change
    account = await add({"op": "create", "object": "AccountObj", "fields": {"name": "武汉机械厂", "owner": ["1001"]}})
    products = [
        (
            await add(
                {"op": "create", "object": "ProductObj", "fields": {"name": name, "price": "6", "owner": ["1001"]}}
            )
        )["id"]
        for name in ("轴承", "齿轮")
    ]
    lines = [{"product_id": id, "quantity": "2", "sales_price": "6", "subtotal": "12"} for id in products]
    fields = {"account_id": account["id"], "order_time": 1_767_110_400_000, "order_amount": "24", "owner": ["1001"]}
    details = {"SalesOrderProductObj": lines}
    made = await add({"op": "create", "object": "SalesOrderObj", "fields": fields, "details": details})
    rows = [row["_id"] for row in simulator.table("SalesOrderProductObj")]
    return {"account": account["id"], "products": products, "order": made["id"], "lines": rows}
