"""The ingress: nothing is acknowledged before it is durable, nothing forged comes in, many webhooks are one commit."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from hub.api.group_commit import Closed, Full, GroupCommit
from hub.api.ingress import Ingress, Limits
from hub.connector.contract import Event, Received, Reply, WebhookRefused, WebhookRequest
from hub.domain.clock import ManualClock
from hub.domain.errors import StoreError
from hub.store.inbox import Message


class Receiver:
    def receive(self, request: WebhookRequest) -> Received:
        if request.headers.get("x-sign") != "right":
            raise WebhookRefused("its signature is not made with our key")
        if request.body == b"handshake":
            return Received([], Reply(body=b"echo"), "h")
        return Received([Event("Account", request.body.decode())], Reply(body=b"success"), request.body.decode())


class Disk:
    """A commit that can be held up and made to fail."""

    def __init__(self) -> None:
        self.batches: list[list[Message]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.entered = asyncio.Event()
        self.failure: Exception | None = None

    async def commit(self, messages: list[Message]) -> None:
        self.entered.set()
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        self.batches.append(messages)


def client_of(disk: Disk, **options: Any) -> tuple[httpx.AsyncClient, Ingress]:
    limits = Limits(**{"max_body": 100, **options})
    ingress = Ingress({"crm": Receiver(), "oa": Receiver()}, disk.commit, ManualClock(), limits=limits)
    app = Starlette(routes=[Route("/hooks/{system}", ingress)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub"), ingress


SIGNED = {"x-sign": "right", "authorization": "Bearer secret"}


async def test_a_true_webhook_is_stored_then_acknowledged() -> None:
    disk = Disk()
    client, ingress = client_of(disk)
    disk.free.clear()
    pending = asyncio.create_task(client.post("/hooks/crm", content=b"a1", headers=SIGNED))
    await asyncio.wait_for(disk.entered.wait(), 5)
    assert not pending.done()
    disk.free.set()
    answer = await asyncio.wait_for(pending, 5)
    assert (answer.status_code, answer.content) == (200, b"success")
    [[stored]] = disk.batches
    assert (stored.system, stored.dedupe.partition(":")[0], stored.body) == ("crm", "a1", b"a1")
    assert stored.events == [{"object": "Account", "id": "a1", "kind": "changed", "at": None}]
    assert "secret" not in stored.headers
    assert ingress.counts.received == 1
    await ingress.close()


async def test_what_comes_in_during_a_commit_is_one_commit_more() -> None:
    disk = Disk()
    client, ingress = client_of(disk)
    disk.free.clear()
    first = asyncio.create_task(client.post("/hooks/crm", content=b"0", headers=SIGNED))
    await asyncio.wait_for(disk.entered.wait(), 5)
    rest = [asyncio.create_task(client.post("/hooks/crm", content=b"%d" % n, headers=SIGNED)) for n in range(1, 20)]
    while ingress._group.waiting("crm") < 19:  # noqa: ASYNC110
        await asyncio.sleep(0)
    disk.free.set()
    answers = await asyncio.wait_for(asyncio.gather(first, *rest), 5)
    assert {answer.status_code for answer in answers} == {200}
    assert [len(batch) for batch in disk.batches] == [1, 19]
    await ingress.close()


async def test_a_forged_one_changes_nothing_and_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    client, ingress = client_of(disk)
    answer = await client.post("/hooks/crm", content=b"private body", headers={"x-sign": "wrong"})
    assert (answer.status_code, answer.content) == (401, b"refused")
    assert disk.batches == []
    assert ingress.counts.rejected == 1
    assert "signature" in caplog.text
    assert "private" not in caplog.text


async def test_other_refusals() -> None:
    disk = Disk()
    client, ingress = client_of(disk)
    assert (await client.post("/hooks/erp", content=b"x", headers=SIGNED)).status_code == 404
    assert (await client.post("/hooks/crm", content=b"x" * 101, headers=SIGNED)).status_code == 413

    async def chunks() -> Any:
        for _ in range(50):
            yield b"x" * 10

    assert (await client.post("/hooks/crm", content=chunks(), headers=SIGNED)).status_code == 413
    assert disk.batches == []
    assert ingress.counts.received == 0


async def test_a_handshake_is_answered_and_not_stored() -> None:
    disk = Disk()
    client, _ = client_of(disk)
    answer = await client.post("/hooks/crm", content=b"handshake", headers=SIGNED)
    assert (answer.status_code, answer.content, disk.batches) == (200, b"echo", [])


async def test_what_can_t_be_stored_is_not_acknowledged_and_the_next_one_is() -> None:
    disk = Disk()
    client, ingress = client_of(disk)
    disk.failure = StoreError("the disk is full")
    assert (await client.post("/hooks/crm", content=b"a", headers=SIGNED)).status_code == 503
    disk.failure = None
    assert (await client.post("/hooks/crm", content=b"b", headers=SIGNED)).status_code == 200
    assert ingress.counts.failed == 1
    await ingress.close()


async def test_a_closing_hub_writes_what_it_took_in_and_takes_no_more() -> None:
    disk = Disk()
    group = GroupCommit(disk.commit)  # type: ignore[arg-type]
    disk.free.clear()
    pending = [asyncio.create_task(group.put(n)) for n in range(3)]
    await asyncio.wait_for(disk.entered.wait(), 5)
    closing = asyncio.create_task(group.close())
    disk.free.set()
    await asyncio.wait_for(asyncio.gather(*pending, closing), 5)
    assert sum(map(len, disk.batches)) == 3
    with pytest.raises(Closed):
        await group.put(9)


async def test_a_flood_is_refused_rather_than_kept_in_memory() -> None:
    disk = Disk()
    disk.free.clear()
    group = GroupCommit(disk.commit, waiting=2)  # type: ignore[arg-type]
    first = asyncio.create_task(group.put(1))
    await asyncio.wait_for(disk.entered.wait(), 5)
    rest = [asyncio.create_task(group.put(n)) for n in (2, 3)]
    while group.waiting() < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(Full):
        await group.put(4)
    disk.free.set()
    await asyncio.gather(first, *rest)
    await group.close()
