"""Webhooks over real sockets into a real store: stored, then acknowledged; told apart; bounded; each system for itself.

The vendor is Fxiaoke, with its true signatures and sealed contents; `crm` and `crm2` are two tenants.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.routing import Route

from connectors.crm.fxiaoke.connector import FxiaokeConnector
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from connectors.crm.fxiaoke.simulator_events import Sealer
from hub.api.ingress import Ingress, Limits
from hub.api.protocol import bounded
from hub.connector.kit import Kit
from hub.domain.clock import ManualClock
from hub.domain.errors import StoreError
from hub.store import hints, inbox
from hub.store.engine import Store
from hub.store.inbox import Message
from hub.store.tables import inbox as inbox_table

KEY = base64.b64encode(bytes(range(32))).decode()
PATIENCE = 30.0


def connector(system: str) -> FxiaokeConnector:
    settings = FxiaokeSettings.model_validate(
        {
            "base_url": "http://127.0.0.1:1",
            "app_id": "FSAID_test",
            "app_secret": "test",
            "permanent_code": "test",
            "ea": system,
            "aes_key": KEY,
        }
    )
    return FxiaokeConnector(settings, Kit.local(system))


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Door:
    """An ingress that listens, and the vendor in front of it."""

    store: Store
    clock: ManualClock
    port: int
    ingress: Ingress

    def sealed(self, system: str, record: str, *, message: str, retry: int = 0, key: str = KEY) -> bytes:
        event = {"eventType": "update", "apiName": "AccountObj", "dataId": record, "messageId": message}
        return Sealer(system, key).sealed(event, at=self.clock.now(), retry_times=retry)

    async def tell(self, system: str, record: str, *, message: str, **more: Any) -> Answer:
        """The vendor tells of a change of this record."""
        return await self.post(system, self.sealed(system, record, message=message, **more))

    async def post(self, system: str, body: bytes) -> Answer:
        return await self.send(request(system, body))

    async def send(self, *parts: bytes) -> Answer:
        """These bytes, one after the other; what comes back. Status 0: it was hung up without an answer."""
        async with asyncio.timeout(PATIENCE), connection(self.port) as (reader, writer):
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
            return await answer(reader)

    async def stored(self) -> list[tuple[str, list[dict[str, Any]], int]]:
        """What is committed: system, events, copies. Asked on a connection of its own."""
        statement = select(inbox_table.c.id).order_by(inbox_table.c.id)
        async with self.store.read() as conn:
            ids = (await conn.execute(statement)).scalars().all()
        found = [await inbox.show(self.store, one) for one in ids]
        return [(one.system, one.events, one.copies) for one in found]

    async def hinted(self) -> set[tuple[str, str]]:
        return {(one.system, one.record_id) for one in await hints.take(self.store, limit=1000)}


def request(system: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST /hooks/{system} HTTP/1.1", "host: hub", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> Answer:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return Answer(0)
    return Answer(int(head[0].split()[1]), headers, body)


Commit = Callable[[list[Message]], Awaitable[None]]


@contextlib.asynccontextmanager
async def door(
    store: Store, clock: ManualClock, *, commit: Commit | None = None, within: float = PATIENCE, **limits: Any
) -> AsyncIterator[Door]:
    async def receive(messages: list[Message]) -> None:
        await inbox.receive(store, messages)

    receivers = {name: connector(name) for name in ("crm", "crm2")}
    ingress = Ingress(receivers, commit or receive, clock, limits=Limits(**limits))
    app = Starlette(routes=[Route("/hooks/{system}", ingress)])
    protocol = bounded(max_head=4096, within=within)
    config = uvicorn.Config(app, port=0, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield Door(store, clock, server.servers[0].sockets[0].getsockname()[1], ingress)
    finally:
        await ingress.close()
        await server.shutdown()


# ---- stored, then acknowledged ---------------------------------------------------------------------------------------


async def test_what_was_acknowledged_is_in_the_store_with_its_hint(store: Store, clock: ManualClock) -> None:
    async with door(store, clock) as hub:
        told = await hub.tell("crm", "r1", message="m1")
        assert told.status == 200
        assert Sealer("crm", KEY).accepts(told.body)
        [(system, events, copies)] = await hub.stored()
        assert (system, [event["id"] for event in events], copies) == ("crm", ["r1"], 1)
        assert await hub.hinted() == {("crm", "r1")}


async def test_redpanda_connect_dedupe_a_key_is_not_remembered_when_its_message_failed(
    store: Store, clock: ManualClock
) -> None:
    """A shared cache remembered the key although the message failed later, and the vendor's next try was dropped."""
    failing = True

    async def commit(messages: list[Message]) -> None:
        if failing:
            raise StoreError("the disk is full")
        await inbox.receive(store, messages)

    async with door(store, clock, commit=commit) as hub:
        assert (await hub.tell("crm", "r1", message="m1")).status == 503
        assert await hub.stored() == []
        failing = False
        assert (await hub.tell("crm", "r1", message="m1", retry=1)).status == 200
        assert [copies for _, _, copies in await hub.stored()] == [1]
        assert await hub.hinted() == {("crm", "r1")}


async def test_wxjava_1745_different_callbacks_with_the_same_key_are_both_kept(
    store: Store, clock: ManualClock
) -> None:
    """Two changes in one second came with the same message id; the second one was taken for a copy and lost."""
    async with door(store, clock) as hub:
        for record in ("r1", "r2"):
            assert (await hub.tell("crm", record, message="same")).status == 200
        assert sorted(events[0]["id"] for _, events, _ in await hub.stored()) == ["r1", "r2"]
        assert await hub.hinted() == {("crm", "r1"), ("crm", "r2")}


async def test_a_vendor_s_second_try_is_one_copy_more_and_hints_again(store: Store, clock: ManualClock) -> None:
    async with door(store, clock) as hub:
        assert (await hub.tell("crm", "r1", message="m1")).status == 200
        assert await hub.hinted() == {("crm", "r1")}  # taken, and being fetched
        assert (await hub.tell("crm", "r1", message="m1", retry=1)).status == 200
        assert [copies for _, _, copies in await hub.stored()] == [2]
        # Whoever fetches now may have asked too early: the hint is due again.
        assert await hub.hinted() == {("crm", "r1")}


async def test_the_same_message_of_two_systems_is_two_messages(store: Store, clock: ManualClock) -> None:
    async with door(store, clock) as hub:
        for system in ("crm", "crm2"):
            assert (await hub.tell(system, "r1", message="m1")).status == 200
        assert await hub.hinted() == {("crm", "r1"), ("crm2", "r1")}
        assert len(await hub.stored()) == 2


async def test_a_forged_a_stale_a_foreign_and_a_broken_one_change_nothing(store: Store, clock: ManualClock) -> None:
    async with door(store, clock) as hub:
        other = base64.b64encode(bytes(32)).decode()
        assert (await hub.tell("crm", "r1", message="m1", key=other)).status == 401
        assert (await hub.post("crm2", hub.sealed("crm", "r1", message="m1"))).status == 403
        replayed = hub.sealed("crm", "r1", message="m1")
        clock.advance(2 * 3600)
        assert (await hub.post("crm", replayed)).status == 401
        assert (await hub.post("crm", b'{"signature": ')).status == 400
        assert (await hub.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10)).status == 400
        assert (await hub.tell("nobody", "r1", message="m1")).status == 404
        assert await hub.stored() == []
        assert await hub.hinted() == set()
        assert hub.ingress.counts.rejected == 4


# ---- bounds ----------------------------------------------------------------------------------------------------------


async def test_a_body_over_the_limit_is_refused_before_it_is_read(store: Store, clock: ManualClock) -> None:
    async with door(store, clock, max_body=1000) as hub:
        announced = b"POST /hooks/crm HTTP/1.1\r\nhost: hub\r\ncontent-length: 99999999\r\n\r\n"
        assert (await hub.send(announced)).status == 413
        chunked = b"POST /hooks/crm HTTP/1.1\r\nhost: hub\r\ntransfer-encoding: chunked\r\n\r\n"
        assert (await hub.send(chunked, *[b"c8\r\n" + b"x" * 200 + b"\r\n"] * 6)).status == 413
        assert await hub.stored() == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"".join(b"x-%d: y\r\n" % at for at in range(2000)), id="many headers"),
        pytest.param(b"x-long: " + b"y" * 20_000 + b"\r\n", id="a long header"),
        pytest.param(b"x-endless: " + b"y" * 1_000_000, id="a header that never ends"),
    ],
)
async def test_a_head_over_the_limit_is_refused(store: Store, clock: ManualClock, head: bytes) -> None:
    async with door(store, clock) as hub:
        body = hub.sealed("crm", "r1", message="m1")
        start, _, rest = request("crm", body).partition(b"\r\n")
        refused = await hub.send(start + b"\r\n" + head, b"" if head.endswith(b"y") else rest)
        assert refused.status in (431, 0)  # 0: hung up while we were still sending
        assert await hub.stored() == []
        assert (await hub.post("crm", body)).status == 200


@pytest.mark.parametrize("sent", [0, 10, 60, 200], ids=["nothing", "half a line", "half a head", "half a body"])
async def test_a_sender_that_stops_in_the_middle_is_hung_up_on(store: Store, clock: ManualClock, sent: int) -> None:
    async with door(store, clock, within=0.3) as hub:
        async with asyncio.timeout(PATIENCE), connection(hub.port) as (reader, writer):
            writer.write(request("crm", hub.sealed("crm", "r1", message="m1"))[:sent])
            assert (await hub.tell("crm", "r2", message="m2")).status == 200  # the others are served meanwhile
            assert (await answer(reader)).status == 408
            assert await reader.read() == b""
        assert [events[0]["id"] for _, events, _ in await hub.stored()] == ["r2"]


async def test_a_kept_connection_may_rest_between_two_webhooks(store: Store, clock: ManualClock) -> None:
    async with door(store, clock, within=0.2) as hub:
        async with asyncio.timeout(PATIENCE), connection(hub.port) as (reader, writer):
            for turn in range(2):
                writer.write(request("crm", hub.sealed("crm", f"r{turn}", message=f"m{turn}")))
                assert (await answer(reader)).status == 200
                await asyncio.sleep(0.5 * (1 - turn))  # longer than a request may take
        assert len(await hub.stored()) == 2


# ---- floods ----------------------------------------------------------------------------------------------------------


async def test_a_system_over_its_rate_is_put_off_and_the_other_is_not(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with door(store, clock, rate=2, burst=10) as hub:
        flood = [await hub.tell("crm", f"r{at}", message=f"m{at}") for at in range(30)]
        assert [one.status for one in flood] == [200] * 10 + [429] * 20
        assert flood[-1].headers["retry-after"] == "1"
        assert (await hub.tell("crm2", "r1", message="m1")).status == 200
        clock.advance(1.0)
        again = [await hub.tell("crm", f"r{at}", message=f"m{at}") for at in range(10, 13)]
        assert [one.status for one in again] == [200, 200, 429]
        assert hub.ingress.counts.limited == 21
        assert len(await hub.stored()) == 13
        assert sum("put off" in line for line in caplog.messages) == 1  # a flood fills no log


async def test_a_forged_flood_spends_its_own_system_s_share_only(store: Store, clock: ManualClock) -> None:
    async with door(store, clock, rate=1, burst=5) as hub:
        other = base64.b64encode(bytes(32)).decode()
        flood = [await hub.tell("crm", "r1", message=f"m{at}", key=other) for at in range(8)]
        assert [one.status for one in flood] == [401] * 5 + [429] * 3
        assert (await hub.tell("crm2", "r1", message="m1")).status == 200


async def test_a_flood_that_waits_for_the_disk_fills_its_own_lane_only(store: Store, clock: ManualClock) -> None:
    """The disk is slow, and one system sends more than it takes; another system's webhook goes with the next commit."""
    free, batches = asyncio.Event(), list[list[str]]()

    async def commit(messages: list[Message]) -> None:
        await free.wait()
        batches.append([one.system for one in messages])
        await inbox.receive(store, messages)

    async with door(store, clock, commit=commit, waiting=20) as hub, asyncio.TaskGroup() as group:
        first = group.create_task(hub.tell("crm", "first", message="first"))
        await until(lambda: hub.ingress._group._task is not None and hub.ingress._group.waiting("crm") == 0)
        flood = [group.create_task(hub.tell("crm", f"r{at}", message=f"m{at}")) for at in range(25)]
        await until(lambda: sum(one.done() for one in flood) == 5)
        assert {one.result().status for one in flood if one.done()} == {429}
        assert next(one.result() for one in flood if one.done()).headers["retry-after"] == "1"
        other = group.create_task(hub.tell("crm2", "r1", message="m1"))
        await until(lambda: hub.ingress._group.waiting("crm2") == 1)
        free.set()
        assert (await first).status == (await other).status == 200
    assert batches[0] == ["crm"]
    assert batches[1].count("crm2") == 1
    assert sorted(one.result().status for one in flood) == [200] * 20 + [429] * 5


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not there():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
