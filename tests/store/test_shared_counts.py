"""Running numbers, lookup tables, tenants, the audit, schemas."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from hub.domain.clock import ManualClock
from hub.domain.errors import InvalidInput, WrongTenant
from hub.store import audit, lookups, sequences, snapshots, systems
from hub.store.engine import Store

AT = int(datetime(2026, 11, 30, 20, 0, tzinfo=UTC).timestamp() * 1000)


async def draw(store: Store, pattern: str, now: int = AT, tz: str = "UTC") -> str:
    async with store.begin() as conn:
        return await sequences.draw(conn, pattern, now, tz=tz)


async def test_running_numbers_begin_again_with_each_date(store: Store) -> None:
    assert await draw(store, "C{yyMM}{0000}") == "C26110001"
    assert await draw(store, "C{yyMM}{0000}") == "C26110002"
    assert await draw(store, "C{yyMM}{0000}", tz="Asia/Shanghai") == "C26120001"
    assert await draw(store, "{yyyy}-{MM}-{dd}/{00}") == "2026-11-30/01"
    assert await draw(store, "N{0}") == "N1"
    async with store.begin() as conn:
        assert (await sequences.draw_many(conn, "N{0}", AT, 10))[-2:] == ["N10", "N11"]
        assert await sequences.draw_many(conn, "N{0}", AT, 0) == []


async def test_no_running_number_is_given_twice(store: Store) -> None:
    drawn = await asyncio.gather(*(draw(store, "{0000}") for _ in range(40)))
    assert sorted(drawn) == [f"{at:04d}" for at in range(1, 41)]


async def test_a_number_goes_back_with_its_transaction(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with store.begin() as conn:
            await sequences.draw(conn, "{0}", AT)
            raise ZeroDivisionError
    assert await draw(store, "{0}") == "1"


@pytest.mark.parametrize("pattern", ["C", "C{yy}", "{0}{0}", "{}", "{xx}{0}", "{yyM}{0}"])
async def test_a_pattern_that_makes_no_number_is_refused(store: Store, pattern: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await draw(store, pattern)
    assert caught.value.hint


async def test_lookup_rows_tell_which_keys_changed(store: Store) -> None:
    async with store.begin() as conn:
        given = {("CN", "A"): {"rate": "13"}, ("DE", "A"): {"rate": "19"}}
        assert sorted(await lookups.put(store, conn, "tax", given)) == ['["CN","A"]', '["DE","A"]']
        changed = await lookups.put(store, conn, "tax", {("CN", "A"): {"rate": "13"}, ("DE", "A"): {"rate": "16"}})
        assert changed == ['["DE","A"]']
        await lookups.put(store, conn, "other", {("汉", ""): None})
        found = await lookups.rows(conn, [("tax", ("DE", "A")), ("tax", ("X", "A")), ("other", ("汉", ""))])
        assert found == {("tax", ("DE", "A")): {"rate": "16"}, ("other", ("汉", "")): None}
        assert await lookups.rows(conn, []) == {}
    assert await lookups.tables(store) == {"other": 1, "tax": 2}
    async with store.begin() as conn:
        assert await lookups.remove(conn, "tax", [("CN", "A"), ("X", "Y")]) == 1
    assert await lookups.load(store, "tax") == {("DE", "A"): {"rate": "16"}}


async def test_another_tenant_behind_a_name_is_refused(store: Store) -> None:
    assert await systems.prove(store, "crm", "fxiaoke", "tenant-1")
    assert not await systems.prove(store, "crm", "fxiaoke", "tenant-1")
    with pytest.raises(WrongTenant, match="tenant-1, now tenant-2"):
        await systems.prove(store, "crm", "fxiaoke", "tenant-2")
    assert (await systems.known(store))["crm"].connector == "fxiaoke"
    assert await systems.forget(store, "crm")
    assert await systems.prove(store, "crm", "fxiaoke", "tenant-2")


async def test_the_audit_is_written_with_the_act_or_not_at_all(store: Store, clock: ManualClock) -> None:
    async with store.begin() as conn:
        await audit.note(store, conn, who="li", act="unlink", subject="crm AccountObj a", detail={"n": 1}, why="错了")
        await audit.note(store, conn, who="li", act="pause", subject="orders")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with store.begin() as conn:
            await audit.note(store, conn, who="li", act="x", subject="x")
            raise ZeroDivisionError
    entries = await audit.listing(store)
    assert [(one.act, one.detail, one.why) for one in entries] == [("pause", None, None), ("unlink", {"n": 1}, "错了")]
    assert [one.act for one in await audit.listing(store, subject="orders")] == ["pause"]
    assert [one.act for one in await audit.listing(store, before=entries[0].id)] == ["unlink"]
    assert await audit.purge(store, clock.now() + 1) == 2


async def test_a_schema_that_drifts_gives_the_one_before(store: Store) -> None:
    assert await snapshots.keep(store, "crm", "AccountObj", "h1", "{}") is None
    assert await snapshots.keep(store, "crm", "AccountObj", "h1", "{}") is None
    before = await snapshots.keep(store, "crm", "AccountObj", "h2", '{"a": 1}')
    assert before is not None
    assert before.hash == "h1"
    kept = await snapshots.find(store, "crm", "AccountObj")
    assert kept is not None
    assert kept.body == '{"a": 1}'
    assert await snapshots.find(store, "crm", "Other") is None
    assert [one.object for one in await snapshots.listing(store, "crm")] == ["AccountObj"]
