"""Streams in the runtime: stored before the answer, asked for again when that fails, opened again when they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from hub.connector.contract import Event, Pushed, Received, Reply
from hub.connector.http import TransportFailure
from hub.domain.clock import SystemClock
from hub.domain.errors import StoreError
from hub.runtime.signals import HINTS, Signals
from hub.runtime.streams import Listening
from hub.store import inbox
from hub.store.engine import Store
from hub.store.tables import hint


class Vendor:
    """A connector whose connections are written out: each a list of record ids, or what it raises."""

    def __init__(self, *connections: Sequence[str] | Exception) -> None:
        self.connections = list(connections)
        self.opened = 0
        self.answers: list[tuple[str, bool]] = []
        self.streams = True

    async def events(self) -> AsyncIterator[Pushed]:
        self.opened += 1
        if not self.connections:
            await asyncio.Event().wait()  # a quiet one
        found = self.connections.pop(0)
        if isinstance(found, Exception):
            raise found
        for id in found:

            async def acknowledge(stored: bool, id: str = id) -> None:
                self.answers.append((id, stored))

            events = [Event("approval", id)] if id != "nothing" else []
            yield Pushed(Received(events, Reply(), f"event:{id}"), id.encode(), acknowledge)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/hub.db", clock=SystemClock())
    yield opened
    await opened.close()


def listening(store: Store, vendor: Vendor, *, webhooks: bool = True) -> tuple[Listening, Signals]:
    """The duty with one flow whose source is the vendor."""
    spec = SimpleNamespace(source=SimpleNamespace(system="ding"))
    flow = SimpleNamespace(settings=SimpleNamespace(webhooks=webhooks))
    config = SimpleNamespace(store_file=None, flows={"f": flow}, systems={"ding": object()})
    project = SimpleNamespace(mappings=lambda: {"f": spec}, connector=lambda _: vendor)
    signals = Signals()
    hub: Any = SimpleNamespace(store=store, config=config, project=project, signals=signals)
    return Listening(hub, pause=0.01), signals


async def until(look: Callable[[], Any]) -> None:
    ends = time.monotonic() + 20
    while not look():
        assert time.monotonic() < ends, "it never came"
        await asyncio.sleep(0.01)


async def hinted(store: Store) -> set[str]:
    async with store.read() as conn:
        return set((await conn.execute(select(hint.c.record_id))).scalars())


async def test_what_came_is_stored_hinted_at_and_acknowledged(store: Store) -> None:
    vendor = Vendor(["PI-1", "PI-2", "PI-1", "nothing"])
    duty, signals = listening(store, vendor)
    duty.start()
    await until(lambda: len(vendor.answers) == 4)
    await duty.stop()
    assert vendor.answers == [("PI-1", True), ("PI-2", True), ("PI-1", True), ("nothing", True)]
    kept = {one.dedupe: one.copies for one in await inbox.listing(store)}
    assert kept == {"event:PI-1": 2, "event:PI-2": 1}  # what tells of nothing is not kept
    assert (await inbox.show(store, (await inbox.listing(store))[0].id)).body == b"PI-2"
    assert await hinted(store) == {"PI-1", "PI-2"}
    assert await signals.wait(HINTS, 5)


async def test_what_can_not_be_stored_is_asked_for_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = Vendor(["PI-1"], ["PI-1"])
    whole = inbox.receive
    failing = [StoreError("the disk is full")]

    async def receive(*given: Any) -> None:
        if failing:
            raise failing.pop()
        await whole(*given)

    monkeypatch.setattr(inbox, "receive", receive)
    duty, _ = listening(store, vendor)
    duty.start()
    await until(lambda: len(vendor.answers) == 2)
    await duty.stop()
    assert vendor.answers == [("PI-1", False), ("PI-1", True)]
    assert await hinted(store) == {"PI-1"}


async def test_a_connection_that_ends_or_fails_is_opened_again_and_its_trouble_shown_until_then(store: Store) -> None:
    gone, odd = TransportFailure("broke off", sent=False), RuntimeError("a mistake")
    vendor = Vendor(gone, odd, ["PI-1"], ["PI-2"])
    duty, _ = listening(store, vendor)
    seen: list[dict[str, str]] = []
    duty.start()
    while len(vendor.answers) < 2:
        if duty.failures and duty.failures not in seen:
            seen.append(dict(duty.failures))
        await asyncio.sleep(0)
    await until(lambda: vendor.opened == 5)
    assert duty.failures == {}
    assert seen == [{"stream ding": "broke off"}, {"stream ding": "a mistake inside the hub (RuntimeError)"}]
    assert [id for id, _ in vendor.answers] == ["PI-1", "PI-2"]
    await duty.stop()


async def test_nobody_listens_where_nobody_asked(store: Store) -> None:
    for vendor, webhooks in ((Vendor(["PI-1"]), False), (Vendor(["PI-1"]), True)):
        vendor.streams = not webhooks
        duty, _ = listening(store, vendor, webhooks=webhooks)
        duty.start()
        await duty.stop()
        assert vendor.opened == 0
