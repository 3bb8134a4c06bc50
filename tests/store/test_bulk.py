"""Many rows at once, alike on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from hub.store import bulk
from hub.store.engine import Store
from hub.store.errors import ConstraintBroken
from hub.store.tables import delivery, identity, inbox, waiting

IDENTITY = ("id", "entity", "system", "object", "record_id", "kind", "number", "usable", "origin", "created")
WAITING = ("delivery", "entity", "field")
AWKWARD = [
    "",
    " ",
    "NULL",
    "null",
    '"quoted"',
    "back\\slash",
    "{curly,comma}",
    "new\nline\ttab\r",
    "it's; DROP TABLE identity; --",
    "%s %(x)s ? :x",
    "汉字客户",
    "🎉🏳️‍🌈",
    "\x01\x1f\x7f",
    "x" * 100_000,
]


def row(at: int, record_id: str, number: str | None = None, usable: bool = True) -> tuple[Any, ...]:
    return (at, 2**62 + at, "crm", "AccountObj", record_id, "customer", number, usable, "captured", 0)


async def kept(store: Store, *columns: str) -> list[tuple[Any, ...]]:
    async with store.read() as conn:
        statement = select(*(identity.c[name] for name in columns)).order_by(identity.c.id)
        return [tuple(one) for one in (await conn.execute(statement)).all()]


async def test_nothing_is_nothing(store: Store) -> None:
    async with store.begin() as conn:
        assert await bulk.insert(conn, identity, IDENTITY, []) == 0
        assert await bulk.upsert(conn, identity, ("id",), IDENTITY, []) == 0
        assert await bulk.update(conn, identity, ("id",), ("number",), []) == 0
        assert await bulk.delete(conn, identity, ("id",), []) == 0
        assert await bulk.fetch(conn, select(identity), identity.c.id, []) == []
        assert await bulk.fetch_pairs(conn, select(identity), identity.c.object, identity.c.record_id, []) == []
        assert await bulk.change(conn, update(identity).values(number="x"), identity.c.id, []) == 0


async def test_values_come_back_as_they_went_in(store: Store) -> None:
    rows = [row(at, text, text) for at, text in enumerate(AWKWARD)]
    async with store.begin() as conn:
        assert await bulk.insert(conn, identity, IDENTITY, rows) == len(rows)
    expected = [(at, 2**62 + at, text, text, True) for at, text in enumerate(AWKWARD)]
    assert await kept(store, "id", "entity", "record_id", "number", "usable") == expected


async def test_null_is_not_the_word_null(store: Store) -> None:
    async with store.begin() as conn:
        await bulk.insert(conn, identity, IDENTITY, [row(1, "a", None), row(2, "b", "NULL", usable=False)])
    assert await kept(store, "number", "usable") == [(None, True), ("NULL", False)]


async def test_bytes_come_back_as_they_went_in(store: Store) -> None:
    body = bytes(range(256))
    columns = ("id", "system", "dedupe", "received", "state", "events", "body", "headers")
    async with store.begin() as conn:
        await bulk.insert(
            conn,
            inbox,
            columns,
            [(1, "crm", "a", 1, "new", "[]", body, "{}"), (2, "crm", "b", 1, "new", "[]", b"", "{}")],
        )
        rows = await bulk.fetch(conn, select(inbox.c.body).order_by(inbox.c.id), inbox.c.id, [1, 2])
    assert [bytes(one[0]) for one in rows] == [body, b""]


@pytest.mark.parametrize(("given", "stored"), [("a\0b", "a␀b"), ("汉\0", "汉␀"), ("x\ud800y", "x?y")])
async def test_text_that_a_database_cant_keep_is_made_keepable_and_found_by_what_it_was(
    store: Store, given: str, stored: str
) -> None:
    async with store.begin() as conn:
        await bulk.insert(conn, identity, IDENTITY, [row(1, given, given), row(2, "neighbour")])
        found = await bulk.fetch(conn, select(identity.c.id), identity.c.record_id, [given])
        pairs = [("AccountObj", given)]
        paired = await bulk.fetch_pairs(conn, select(identity.c.id), identity.c.object, identity.c.record_id, pairs)
        assert await bulk.update(conn, identity, ("record_id",), ("kind",), [("changed", given)]) == 1
    assert [one[0] for one in found] == [one[0] for one in paired] == [1]
    assert await kept(store, "record_id", "kind") == [(stored, "changed"), ("neighbour", "customer")]


async def test_ten_thousand_rows(store: Store) -> None:
    rows = [row(at, f"r{at}", f"n{at}") for at in range(10_000)]
    ids = list(range(10_000))
    async with store.begin() as conn:
        assert await bulk.insert(conn, identity, IDENTITY, rows) == 10_000
        assert await bulk.update(conn, identity, ("id",), ("number",), [(f"m{at}", at) for at in ids]) == 10_000
        found = await bulk.fetch(conn, select(identity.c.id, identity.c.number), identity.c.id, ids)
        assert {one[0]: one[1] for one in found} == {at: f"m{at}" for at in ids}
        assert (
            len(await bulk.fetch(conn, select(identity.c.id), identity.c.record_id, [f"r{at}" for at in ids])) == 10_000
        )
        pairs = [("AccountObj", f"r{at}") for at in range(5000, 15_000)]
        half = await bulk.fetch_pairs(conn, select(identity.c.id), identity.c.object, identity.c.record_id, pairs)
        assert len(half) == 5000
        assert await bulk.change(conn, update(identity).values(kind="x"), identity.c.id, ids[:7000]) == 7000
        assert await bulk.delete(conn, identity, ("id",), [(at,) for at in ids[1:]]) == 9999
    assert await kept(store, "id", "kind") == [(0, "x")]


async def test_insert_refuses_what_is_there_and_ignore_leaves_it_out(store: Store) -> None:
    async with store.begin() as conn:
        await bulk.insert(conn, identity, IDENTITY, [row(1, "a", "first")])
    with pytest.raises(ConstraintBroken):
        async with store.begin() as conn:
            await bulk.insert(conn, identity, IDENTITY, [row(2, "b"), row(3, "a")])
    async with store.begin() as conn:
        assert await bulk.insert(conn, identity, IDENTITY, [row(2, "b"), row(3, "a", "second")], ignore=True) == 1
    assert await kept(store, "record_id", "number") == [("a", "first"), ("b", None)]


async def test_upsert_adds_or_changes_and_the_last_of_like_rows_wins(store: Store) -> None:
    columns = ("id", "entity", "system", "object", "record_id", "kind", "number", "usable", "origin", "created")
    async with store.begin() as conn:
        await bulk.upsert(conn, identity, ("id",), columns, [row(1, "a", "1")])
        await bulk.upsert(conn, identity, ("id",), columns, [row(1, "a", "2"), row(2, "b", "3"), row(1, "a", "4")])
    assert await kept(store, "record_id", "number") == [("a", "4"), ("b", "3")]


async def test_upsert_of_keys_alone_adds_only(store: Store) -> None:
    async with store.begin() as conn:
        for _ in range(2):
            await bulk.upsert(conn, waiting, WAITING, WAITING, [(1, 2, ""), (1, 2, "F"), (1, 2, "")])
        rows = (await conn.execute(select(waiting))).all()
    assert sorted(map(tuple, rows)) == [(1, 2, ""), (1, 2, "F")]


async def test_upsert_can_count(store: Store) -> None:
    columns = ("id", "system", "dedupe", "received", "state", "events", "body", "headers", "copies")
    sets = {"copies": '"inbox"."copies" + excluded."copies"'}
    async with store.begin() as conn:
        for at in (1, 2):
            given = (at, "crm", "a", 1, "new", "[]", b"", "{}", 2)
            await bulk.upsert(conn, inbox, ("system", "dedupe"), columns, [given], sets=sets)
        assert [tuple(one) for one in (await conn.execute(select(inbox.c.id, inbox.c.copies))).all()] == [(1, 4)]


async def test_update_by_two_keys_changes_only_what_both_name(store: Store) -> None:
    async with store.begin() as conn:
        await bulk.insert(conn, identity, IDENTITY, [row(1, "a"), row(2, "b")])
        changed = await bulk.update(
            conn, identity, ("id", "record_id"), ("number", "usable"), [("x", False, 1, "a"), ("y", False, 2, "a")]
        )
    assert changed == 1
    assert await kept(store, "number", "usable") == [("x", False), (None, True)]


async def test_a_column_may_be_changed_that_is_also_the_key(store: Store) -> None:
    async with store.begin() as conn:
        await bulk.insert(conn, identity, IDENTITY, [row(1, "a"), row(2, "b")])
        await bulk.update(conn, identity, ("entity",), ("entity",), [(7, 2**62 + 1)])
    assert await kept(store, "entity") == [(7,), (2**62 + 2,)]


async def test_small_integers_and_booleans_of_the_ledger(store: Store) -> None:
    columns = (
        "id", "flow", "source_id", "entity", "state", "lane", "due", "since", "deleted", "hash", "asked", "answered",
        "captured",
    )  # fmt: skip
    async with store.begin() as conn:
        given = [(1, "f", "a", 1, "pending", 1, 0, 0, True, "h", 0, 0, 0)]
        await bulk.insert(conn, delivery, columns, given)
        statement = select(delivery.c.lane, delivery.c.deleted, delivery.c.refetch)
        assert [tuple(one) for one in await bulk.fetch(conn, statement, delivery.c.flow, {"f"})] == [(1, True, False)]


async def test_a_batch_is_looked_up_by_the_index(postgres_url: str) -> None:
    """Before PostgreSQL's own statistics, a look-up of a thousand ids went through the whole table."""
    store = await Store.open(postgres_url)
    async with store.begin() as conn:
        await bulk.insert(conn, identity, IDENTITY, [row(at, f"r{at}") for at in range(20_000)])
    async with store.begin() as conn:
        plan = await conn.exec_driver_sql(
            "EXPLAIN SELECT * FROM identity WHERE system = 'crm' AND object = 'AccountObj' "
            "AND record_id IN (SELECT unnest('{r1,r2}'::text[]))"
        )
        assert "Index Scan using uq_identity" in "\n".join(one[0] for one in plan.all())
    await store.close()
