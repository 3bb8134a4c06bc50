"""The simulator's callbacks over real sockets, received by the connector (row 22 of the vendor sheet's checklist)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.crm.fxiaoke.connector import FxiaokeConnector
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from hub.connector.contract import Event, Op, WebhookRefused, WebhookRequest, Write
from hub.connector.faults import Fault, FaultKind
from hub.connector.kit import Kit
from hub.connector.serving import serve

DEADLINE = 10.0


class Inbox:
    """An ingress: gives what comes to the connector, and keeps it. The first `deaf` deliveries get no proper reply."""

    def __init__(self, connector: FxiaokeConnector, simulator: FxiaokeSimulator) -> None:
        self.connector = connector
        self.simulator = simulator
        self.bodies: list[dict[str, Any]] = []
        self.events: list[Event] = []
        self.dedupe: list[str] = []
        self.deaf = 0
        self.url = ""
        self._came = asyncio.Condition()

    async def take(self, request: Request) -> Response:
        body = await request.body()
        hook = WebhookRequest("POST", request.url.path, {}, {}, body, self.simulator.clock.now())
        async with self._came:
            self.bodies.append(json.loads(body))
            self._came.notify_all()
            if self.deaf:
                self.deaf -= 1
                return Response(b"success")
            try:
                received = self.connector.receive(hook)
            except WebhookRefused as refused:
                return Response(refused.reason, refused.status)
            self.events.extend(received.events)
            self.dedupe.append(received.dedupe)
            return Response(received.reply.body, received.reply.status, media_type=received.reply.content_type)

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE), self._came:
            await self._came.wait_for(lambda: len(self.bodies) >= count)


@pytest.fixture
async def inbox(simulator: FxiaokeSimulator) -> AsyncIterator[Inbox]:
    simulator.callback_retries = (0.01, 0.02, 0.03)
    async with serve(simulator):
        connector = FxiaokeConnector(FxiaokeSettings(**simulator.settings()), Kit.local("crm", clock=simulator.clock))
        inbox = Inbox(connector, simulator)
        app = Starlette(routes=[Route("/hooks/crm", inbox.take, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
        task = asyncio.create_task(server.serve())
        async with asyncio.timeout(DEADLINE):
            while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.01)
        simulator.callback_url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hooks/crm"
        yield inbox
        await connector.aclose()
        server.should_exit = True
        await task


async def accepted(simulator: FxiaokeSimulator, count: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while simulator.counts["callback_accepted"] < count:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.01)


async def test_every_change_is_called_back_by_itself(
    inbox: Inbox, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    await inbox.wait(6)
    told = {(event.object, event.id) for event in inbox.events}
    assert told == {
        ("AccountObj", order["account"]),
        *(("ProductObj", id) for id in order["products"]),
        ("SalesOrderObj", order["order"]),
        *(("SalesOrderProductObj", id) for id in order["lines"]),
    }
    await accepted(simulator, 6)


async def test_the_side_door_and_the_api_both_call_back(inbox: Inbox, simulator: FxiaokeSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.base_url) as client:
        change = {"op": "create", "object": "AccountObj", "fields": {"name": "甲", "owner": ["1001"]}}
        id = (await client.post("/_sim/change", json=change)).json()["id"]
    await inbox.wait(1)
    outcomes = await inbox.connector.write("AccountObj", [_update(id), _operation(id)])
    assert [outcome.ok for outcome in outcomes] == [True, True]
    await inbox.wait(3)
    assert sorted(event.kind for event in inbox.events) == ["changed", "created", "deleted"]


async def test_what_is_not_answered_well_comes_again_with_a_count(inbox: Inbox, simulator: FxiaokeSimulator) -> None:
    inbox.deaf = 2
    await simulator.change({"op": "create", "object": "AccountObj", "fields": {"name": "甲", "owner": ["1001"]}})
    await inbox.wait(3)
    await accepted(simulator, 1)
    assert [body.get("retryTimes") for body in inbox.bodies] == [None, 1, 2]
    assert len({body["messageId"] for body in inbox.bodies}) == 1
    assert len({body["signature"] for body in inbox.bodies}) == 3
    assert len(inbox.events) == 1


async def test_a_repeated_callback_has_the_same_dedupe_key(inbox: Inbox, simulator: FxiaokeSimulator) -> None:
    simulator.faults.arm(Fault(kind=FaultKind.CALLBACK_TWICE))
    await simulator.change({"op": "create", "object": "AccountObj", "fields": {"name": "甲", "owner": ["1001"]}})
    await inbox.wait(2)
    assert len(set(inbox.dedupe)) == 1


async def test_a_late_callback_lets_the_next_one_pass(inbox: Inbox, simulator: FxiaokeSimulator) -> None:
    simulator.faults.arm(Fault(kind=FaultKind.CALLBACK_LATE, seconds=1.0))
    ids = []
    for name in ("甲", "乙"):
        fields = {"name": name, "owner": ["1001"]}
        ids.append((await simulator.change({"op": "create", "object": "AccountObj", "fields": fields}))["id"])
    await inbox.wait(2)
    assert [event.id for event in inbox.events] == ids[::-1]


async def test_only_subscribed_objects_are_told(inbox: Inbox, simulator: FxiaokeSimulator) -> None:
    simulator.subscribed = frozenset({"ProductObj"})
    for name, more in (("AccountObj", {}), ("ProductObj", {"price": "1"})):
        fields = {"name": "甲", "owner": ["1001"], **more}
        await simulator.change({"op": "create", "object": name, "fields": fields})
    await inbox.wait(1)
    assert [event.object for event in inbox.events] == ["ProductObj"]


def _update(id: str) -> Write:
    return Write(Op.UPDATE, id=id, fields={"remark": "x"})


def _operation(id: str) -> Write:
    return Write(Op.OPERATION, id=id, operation="invalid")
