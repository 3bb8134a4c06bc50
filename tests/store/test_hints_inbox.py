"""Webhooks and the hints that they are: none lost, many become one."""

from __future__ import annotations

import asyncio

import pytest

from hub.domain.clock import ManualClock
from hub.domain.errors import NotFound
from hub.store import hints, inbox
from hub.store.engine import Store
from hub.store.inbox import InboxState, Message

A, B = ("crm", "AccountObj", "a"), ("crm", "AccountObj", "b")


async def put(store: Store, *records: tuple[str, str, str]) -> int:
    async with store.begin() as conn:
        return await hints.put(store, conn, records)


async def settle(store: Store, taken: list[hints.Hint]) -> int:
    async with store.begin() as conn:
        return await hints.settle(conn, taken)


def message(dedupe: str, *ids: str, body: bytes = b"\x00\xff") -> Message:
    events = [{"object": "AccountObj", "id": one, "kind": "changed", "at": None} for one in ids]
    return Message("crm", dedupe, 1_700_000_000_000, events, body, '{"x": "y"}')


async def test_many_hints_for_a_record_become_one_fetch(store: Store) -> None:
    assert await put(store, A, B, A) == 2
    await put(store, A)
    taken = await hints.take(store, limit=10)
    assert sorted(one.record_id for one in taken) == ["a", "b"]
    assert await settle(store, taken) == 2
    assert await hints.count(store) == 0
    assert await hints.next_due(store) is None


async def test_a_hint_that_comes_while_its_record_is_fetched_stays(store: Store) -> None:
    """The fetch was asked before the change: settling it must not take the new hint away."""
    await put(store, A, B)
    taken = await hints.take(store, limit=10)
    await put(store, A)
    assert await settle(store, taken) == 1
    again = await hints.take(store, limit=10)
    assert [(one.record_id, one.revision) for one in again] == [("a", 2)]


async def test_hints_of_a_taker_that_died_are_due_again(store: Store, clock: ManualClock) -> None:
    await put(store, A)
    assert len(await hints.take(store, limit=10, lease=60)) == 1
    assert await hints.take(store, limit=10) == []
    clock.advance(61)
    assert len(await hints.take(store, limit=10)) == 1


async def test_hints_of_a_fetch_that_was_broken_off_are_due_at_once(store: Store) -> None:
    await put(store, A, B)
    taken = await hints.take(store, limit=10)
    assert await settle(store, taken[:1]) == 1
    await hints.hand_back(store, taken)
    assert [one.record_id for one in await hints.take(store, limit=10)] == [taken[1].record_id]


async def test_what_could_not_be_fetched_waits_longer_each_time(store: Store, clock: ManualClock) -> None:
    await put(store, A)
    waits = []
    for _ in range(3):
        taken = await hints.take(store, limit=10)
        async with store.begin() as conn:
            await hints.postpone(store, conn, taken, error="down")
        due = await hints.next_due(store)
        assert due is not None
        waits.append(due - clock.now())
        clock.advance(waits[-1] / 1000)
    assert waits == [2000, 4000, 8000]
    await put(store, A)
    assert [(one.attempts, one.error) for one in await hints.take(store, limit=1)] == [(0, None)]


async def test_a_hint_that_comes_while_its_fetch_fails_is_not_postponed(store: Store) -> None:
    await put(store, A)
    taken = await hints.take(store, limit=10)
    await put(store, A)
    async with store.begin() as conn:
        await hints.postpone(store, conn, taken, error="down")
    assert len(await hints.take(store, limit=10)) == 1


async def test_takers_share_the_hints(store: Store) -> None:
    await put(store, *(("crm", "AccountObj", str(at)) for at in range(200)))
    taken = await asyncio.gather(*(hints.take(store, limit=50) for _ in range(4)))
    ids = [one.record_id for group in taken for one in group]
    assert len(ids) == len(set(ids))


async def test_a_webhook_is_stored_with_its_hints_and_a_copy_is_counted(store: Store) -> None:
    await inbox.receive(store, [message("1", "a", "b"), message("2", "a"), message("1", "a", "b")])
    await inbox.receive(store, [message("1", "a", "b")])
    listed = await inbox.listing(store)
    assert {one.dedupe: one.copies for one in listed} == {"1": 3, "2": 1}
    assert {one.state for one in listed} == {"handled"}
    assert await hints.count(store) == 2
    await inbox.receive(store, [])
    assert len(await inbox.listing(store)) == 2


async def test_a_copy_hints_all_the_same(store: Store) -> None:
    """Two changes may look alike to the vendor's dedupe key; a fetch too many is cheap, a change lost is not."""
    await inbox.receive(store, [message("1", "a")])
    await settle(store, await hints.take(store, limit=10))
    await inbox.receive(store, [message("1", "a")])
    assert await hints.count(store) == 1


@pytest.mark.parametrize("body", [b"\x00\xff\xfe", '{"名": "客户"}'.encode(), b"with a \x00 in it", b""])
async def test_it_is_shown_as_it_came(store: Store, body: bytes) -> None:
    await inbox.receive(store, [message("客户", "a", body=body)])
    [listed] = await inbox.listing(store, system="crm", state="handled")
    shown = await inbox.show(store, listed.id)
    assert (shown.body, shown.headers, shown.dedupe) == (body, {"x": "y"}, "客户")
    assert shown.events[0]["id"] == "a"
    assert await inbox.listing(store, before=listed.id) == []
    with pytest.raises(NotFound):
        await inbox.show(store, 1)


async def test_replay_hints_again(store: Store) -> None:
    await inbox.receive(store, [message("1", "a", "b")])
    await settle(store, await hints.take(store, limit=10))
    [listed] = await inbox.listing(store)
    assert await inbox.replay(store, [listed.id]) == 2
    assert await hints.count(store) == 2
    with pytest.raises(NotFound):
        await inbox.replay(store, [listed.id, 5])


async def test_an_ingress_that_only_stores_leaves_the_rest_to_another(store: Store, clock: ManualClock) -> None:
    async with store.begin() as conn:
        await inbox.put(store, conn, [message("1", "a"), message("2", "b")])
    assert await hints.count(store) == 0
    first, second = await inbox.waiting(store)
    async with store.begin() as conn:
        assert await inbox.handle(store, conn, [first]) == 1
        await inbox.fail(conn, [second.id], "no such object")
    assert await inbox.waiting(store) == []
    assert [one.error for one in await inbox.listing(store, state=InboxState.FAILED)] == ["no such object"]
    clock.advance(10)
    assert await inbox.purge(store, clock.now()) == 1
    assert [one.id for one in await inbox.listing(store)] == [second.id]


async def test_a_copy_of_one_that_was_passed_on_waits_again(store: Store) -> None:
    """An ingress elsewhere passes m1 on; its copy comes before the receipt, and may speak of a later change."""
    async with store.begin() as conn:
        await inbox.put(store, conn, [message("m1", "a")])
    [first] = await inbox.outgoing(store, limit=10, size=10_000)
    async with store.begin() as conn:
        await inbox.put(store, conn, [message("m1", "a")])
    assert await inbox.passed_on(store, [first.id]) == 0  # the receipt is for the one before
    [copy] = await inbox.outgoing(store, limit=10, size=10_000)
    assert (copy.copies, copy.state) == (2, InboxState.NEW)
    assert await inbox.passed_on(store, [copy.id]) == 1
    assert await inbox.outgoing(store, limit=10, size=10_000) == []
    async with store.begin() as conn:
        await inbox.put(store, conn, [message("m1", "a")])
    assert len(await inbox.outgoing(store, limit=10, size=10_000)) == 1


async def test_ten_thousand_webhooks(store: Store) -> None:
    await inbox.receive(store, [message(str(at), str(at % 5000)) for at in range(10_000)])
    assert len(await inbox.listing(store, limit=20_000)) == 10_000
    assert await hints.count(store) == 5000
