"""The ID map: unique both ways, whatever happens at once."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from hub.domain.errors import InvalidInput, NotFound
from hub.store import bulk, identities
from hub.store.engine import Store
from hub.store.identities import Identity, IdentityTaken, NewIdentity
from hub.store.tables import delivery, identity, waiting

CRM = ("crm", "AccountObj")
ERP = ("erp", "BD_Customer")


async def captured(store: Store, *ids: str, system: str = "crm", object: str = "AccountObj") -> dict[str, Identity]:
    async with store.begin() as conn:
        return await identities.ensure(store, conn, system, object, "customer", ids, origin="captured")


def created(entity: int | None, record_id: str, number: str | None = None, facet: str = "") -> NewIdentity:
    return NewIdentity(entity, *ERP, record_id, "customer", facet=facet, number=number)


async def put(store: Store, *new: NewIdentity) -> set[int]:
    async with store.begin() as conn:
        return await identities.put(store, conn, new)


async def pair(store: Store, crm: str, erp: str) -> Identity:
    """A customer on both sides."""
    one = (await captured(store, crm))[crm]
    await put(store, created(one.entity, erp, number=f"C{erp}"))
    return one


async def entity_of(store: Store, system: str, object: str, record_id: str) -> int:
    async with store.read() as conn:
        return (await identities.one_of(conn, (system, object, record_id))).entity


async def deliveries(store: Store, *rows: tuple[int, str, int, str]) -> None:
    """(id, source id, entity, state)."""
    columns = ("id", "flow", "source_id", "entity", "state", "due", "since", "hash", "asked", "answered", "captured")
    async with store.begin() as conn:
        await bulk.insert(
            conn, delivery, columns, [(one[0], "f", one[1], one[2], one[3], 0, 0, "h", 0, 0, 0) for one in rows]
        )


async def test_ensure_makes_an_entity_a_record_and_finds_it_again(store: Store) -> None:
    first = await captured(store, "a", "b", "a")
    again = await captured(store, "b", "a", "c")
    assert first.keys() == {"a", "b"}
    assert again["a"] == first["a"]
    assert len({one.entity for one in again.values()}) == 3
    assert await captured(store) == {}


async def test_ensure_keeps_numbers_and_parents_up_to_date(store: Store) -> None:
    async def ensure(number: str, parent: int) -> Identity:
        async with store.begin() as conn:
            found = await identities.ensure(
                store,
                conn,
                *ERP,
                "customer",
                ["1", "2"],
                origin="captured",
                numbers={"1": number},
                parents={"1": parent},
            )
        return found["1"]

    assert (await ensure("C1", 5)).number == "C1"
    moved = await ensure("C2", 6)
    assert (moved.number, moved.parent) == ("C2", 6)
    async with store.read() as conn:
        assert (await identities.by_ids(conn, *ERP, ["1"]))["1"].number == "C2"


async def test_awkward_ids_are_answered_by_what_was_asked(store: Store) -> None:
    ids = ["客户一", "a\0b", "x\ud800", "it's", '"', "{}", ""]
    first = await captured(store, *ids)
    assert list(first) == ids or set(first) == set(ids)
    assert {key: one.entity for key, one in (await captured(store, *ids)).items()} == {
        key: one.entity for key, one in first.items()
    }


async def test_ten_thousand_at_once(store: Store) -> None:
    ids = [f"r{at}" for at in range(10_000)]
    found = await captured(store, *ids)
    ready = await put(store, *(created(found[one].entity, f"t{one}", number=one) for one in ids))
    assert len(ready) == 10_000
    answers = await identities.resolve(store, "crm", "erp", "customer", [("AccountObj", "id", one, "") for one in ids])
    assert [one.target.record_id for one in answers if one.target] == [f"t{one}" for one in ids]


async def test_many_who_want_the_same_records_end_with_one_row_each(store: Store) -> None:
    """Workers 1 to 8 see the same new records at once, in different orders; all end with the same entities."""

    async def ensure(turn: int) -> dict[str, int]:
        ids = [f"r{(at * 7 + turn * 13) % 200}" for at in range(200)]
        return {key: one.entity for key, one in (await captured(store, *ids)).items()}

    results = await asyncio.gather(*(ensure(turn) for turn in range(8)))
    assert all(one == results[0] for one in results)
    async with store.read() as conn:
        assert (await conn.execute(select(func.count()).select_from(identity))).scalar_one() == 200


async def test_the_loser_of_a_race_takes_the_winners_entity(postgres_url: str) -> None:
    """Worker 1 has inserted and not committed when worker 2 inserts the same record."""
    store = await Store.open(postgres_url)
    async with store.begin() as first:
        mine = await identities.ensure(store, first, *CRM, "customer", ["a"], origin="captured")
        loser = asyncio.create_task(captured(store, "a"))
        await _until_blocked(store)
    assert (await loser)["a"].entity == mine["a"].entity
    await store.close()


async def _until_blocked(store: Store) -> None:
    async with asyncio.timeout(10):
        while True:
            async with store.read() as conn:
                waits = await conn.exec_driver_sql(
                    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                    "WHERE NOT l.granted AND a.datname = current_database() AND a.query LIKE '%%identity%%'"
                )
                if waits.scalar_one():
                    return
            await asyncio.sleep(0.01)


async def test_a_waiter_and_a_waker_take_turns(postgres_url: str) -> None:
    """The waiter holds the entity's rows while it goes to sleep; who creates the target waits for that."""
    store = await Store.open(postgres_url)
    one = (await captured(store, "a"))["a"]
    async with store.begin() as waiter:
        await identities.lock_entities(waiter, [one.entity])
        waker = asyncio.create_task(put(store, created(one.entity, "100")))
        await _until_blocked(store)
        assert await identities.usable_in(waiter, [one.entity], "erp") == set()
        await bulk.insert(waiter, waiting, ("delivery", "entity", "field"), [(1, one.entity, "")])
    assert await waker == {one.entity}
    await store.close()


async def test_two_who_create_the_same_thing_twice_are_told(postgres_url: str) -> None:
    """Two workers create a target for one entity: the second has to see the first's, whoever commits first."""
    store = await Store.open(postgres_url)
    one = (await captured(store, "a"))["a"]
    results = await asyncio.gather(
        put(store, created(one.entity, "100")), put(store, created(one.entity, "200")), return_exceptions=True
    )
    taken = [each for each in results if isinstance(each, IdentityTaken)]
    assert len(taken) == 1
    assert {taken[0].holder.record_id} <= {"100", "200"}
    await store.close()


async def test_put_links_a_target_and_says_who_may_be_woken(store: Store) -> None:
    found = await captured(store, "a", "b")
    ready = await put(
        store,
        created(found["a"].entity, "100", number="C100"),
        NewIdentity(found["b"].entity, *ERP, "200", "customer", usable=False),
    )
    assert ready == {found["a"].entity}
    async with store.read() as conn:
        assert await identities.usable_in(conn, [one.entity for one in found.values()], "erp") == ready
        targets = await identities.of_entities(conn, [found["a"].entity], "erp", "BD_Customer")
        assert [one.number for one in targets[found["a"].entity]] == ["C100"]
        assert [one.record_id for one in (await identities.by_numbers(conn, *ERP, ["C100", "?"]))["C100"]] == ["100"]


async def test_put_again_changes_nothing_but_what_is_new(store: Store) -> None:
    one = (await captured(store, "a"))["a"]
    await put(store, created(one.entity, "100", number="C100"))
    await put(store, created(one.entity, "100"))
    async with store.read() as conn:
        kept = (await identities.by_ids(conn, *ERP, ["100"]))["100"]
    assert (kept.number, kept.entity) == ("C100", one.entity)


async def test_a_second_target_in_the_same_place_is_taken_and_both_are_shown(store: Store) -> None:
    one = await pair(store, "a", "100")
    with pytest.raises(IdentityTaken) as caught:
        await put(store, created(one.entity, "200"))
    assert "200" in caught.value.message
    assert "100" in caught.value.message
    assert caught.value.holder.record_id == "100"
    await put(store, created(one.entity, "200", facet="org2"))


async def test_two_new_targets_of_one_entity_in_a_batch_are_taken(store: Store) -> None:
    one = (await captured(store, "a"))["a"]
    with pytest.raises(IdentityTaken):
        await put(store, created(one.entity, "100"), created(one.entity, "200"))
    with pytest.raises(InvalidInput):
        await put(store, created(one.entity, "100"), created(7, "100"))


async def test_put_joins_a_record_that_was_known_as_a_thing_of_its_own(store: Store) -> None:
    """The other direction captured the ERP customer first; adopting it makes the two one, with all that hangs on it."""
    crm = (await captured(store, "a"))["a"]
    erp = (await captured(store, "100", system="erp", object="BD_Customer"))["100"]
    await deliveries(store, (1, "a", crm.entity, "working"), (2, "100", erp.entity, "pending"), (3, "o", 99, "waiting"))
    async with store.begin() as conn:
        rows = [(3, crm.entity, ""), (3, erp.entity, ""), (3, erp.entity, "F")]
        await bulk.insert(conn, waiting, ("delivery", "entity", "field"), rows)
    assert await put(store, created(crm.entity, "100", number="C100")) == {crm.entity}
    assert await entity_of(store, *ERP, "100") == crm.entity
    async with store.read() as conn:
        owners = (await conn.execute(select(delivery.c.entity).where(delivery.c.id.in_([1, 2])))).scalars().all()
        waits = (await conn.execute(select(waiting.c.entity, waiting.c.field))).all()
    assert list(owners) == [crm.entity, crm.entity]
    assert sorted(map(tuple, waits)) == [(crm.entity, ""), (crm.entity, "F")]


async def test_a_record_of_another_pair_is_not_joined(store: Store) -> None:
    await pair(store, "a", "100")
    other = (await captured(store, "b"))["b"]
    with pytest.raises(IdentityTaken):
        await put(store, created(other.entity, "100"))
    assert await entity_of(store, *ERP, "100") != other.entity


async def test_add_does_not_join(store: Store) -> None:
    crm = (await captured(store, "a"))["a"]
    await captured(store, "100", system="erp", object="BD_Customer")
    with pytest.raises(IdentityTaken):
        async with store.begin() as conn:
            await identities.add(store, conn, [created(crm.entity, "100")])


async def test_a_deleted_target_leaves_its_place_and_is_known_when_it_comes_back(store: Store) -> None:
    one = await pair(store, "a", "100")
    async with store.begin() as conn:
        await identities.tombstone(store, conn, [(*ERP, "100")])
        assert await identities.usable_in(conn, [one.entity], "erp") == set()
    await put(store, created(one.entity, "200"))
    with pytest.raises(IdentityTaken):
        await put(store, created(one.entity, "100"))
    async with store.begin() as conn:
        await identities.tombstone(store, conn, [(*ERP, "200")])
    await put(store, created(one.entity, "100"))
    assert (await identities.resolve(store, "crm", "erp", "customer", [("AccountObj", "id", "a", "")]))[
        0
    ].target is not None


async def test_usable_can_be_said_later(store: Store) -> None:
    one = await pair(store, "a", "100")
    async with store.begin() as conn:
        await identities.set_usable(conn, *ERP, ["100"], False)
        assert await identities.usable_in(conn, [one.entity], "erp") == set()
        await identities.set_usable(conn, *ERP, ["100"], True)
        assert await identities.usable_in(conn, [one.entity], "erp") == {one.entity}


async def test_rows_share_the_entity_of_their_partner(store: Store) -> None:
    order = (await captured(store, "o1", object="SalesOrderObj"))["o1"]
    new = [
        NewIdentity(order.entity, "erp", "SAL_SaleOrder", "9", "order"),
        *(
            NewIdentity(
                None,
                "erp",
                "SAL_SaleOrder.FSaleOrderEntry",
                f"e{at}",
                "order_line",
                parent=("erp", "SAL_SaleOrder", "9"),
                partner=("crm", "SalesOrderProductObj", f"l{at}"),
                partner_parent=("crm", "SalesOrderObj", "o1"),
            )
            for at in range(3)
        ),
    ]
    await put(store, *new)
    await put(store, *new)
    async with store.read() as conn:
        assert await identities.parents(conn, "crm", "SalesOrderProductObj", ["l0", "l2", "?"]) == ["o1"]
        assert await identities.parents(conn, "erp", "SAL_SaleOrder.FSaleOrderEntry", ["e1"]) == ["9"]
        rows = await identities.rows_of(conn, [order.id])
        assert sorted(one.record_id for one in rows[order.id]) == ["l0", "l1", "l2"]
    asks = [("SalesOrderProductObj", "id", "l1", "")]
    assert (await identities.resolve(store, "crm", "erp", "order_line", asks))[0].target.record_id == "e1"  # type: ignore[union-attr]


async def test_references_are_resolved_in_bulk(store: Store) -> None:
    one = await pair(store, "a", "100")
    await put(store, created(one.entity, "101", facet="org1"))
    answers = await identities.resolve(
        store,
        "crm",
        "erp",
        "customer",
        [
            ("AccountObj", "id", "a", ""),
            ("AccountObj", "id", "a", "org1"),
            ("AccountObj", "id", "a", "org2"),
            (None, "id", "a", ""),
            ("AccountObj", "id", "new", ""),
            ("AccountObj", "number", "nothing", ""),
            (None, "id", "a", "org1"),
        ],
    )
    assert [each.target.record_id if each.target else None for each in answers] == [
        "100", "101", "100", "100", None, None, "101",
    ]  # fmt: skip
    assert answers[4].source is not None
    assert answers[4].source.origin == "referenced"
    assert answers[5].entity is None
    again = await captured(store, "new")
    assert again["new"].entity == answers[4].entity


async def test_references_by_number_and_by_another_key(store: Store) -> None:
    one = (await captured(store, "a"))["a"]
    await put(store, NewIdentity(one.entity, *ERP, "100", "customer", number="C100", keys={"code": "K-7"}))
    asks = [("BD_Customer", "number", "C100", ""), (None, "number", "C100", ""), ("BD_Customer", "code", "K-7", "")]
    answers = await identities.resolve(store, "erp", "crm", "customer", asks)
    assert [each.target.record_id for each in answers if each.target] == ["a", "a", "a"]


async def test_an_alias_resolves_references_and_a_tombstone_does_not_receive_them(store: Store) -> None:
    await pair(store, "a", "100")
    await captured(store, "b")
    async with store.begin() as conn:
        await identities.merge(store, conn, (*CRM, "a"), (*CRM, "b"))
    asks = [("AccountObj", "id", "b", "")]
    assert (await identities.resolve(store, "crm", "erp", "customer", asks))[0].target.record_id == "100"  # type: ignore[union-attr]
    async with store.begin() as conn:
        await identities.tombstone(store, conn, [(*ERP, "100")])
    assert (await identities.resolve(store, "crm", "erp", "customer", asks))[0].target is None


async def test_link_joins_two_things_and_refuses_a_third(store: Store) -> None:
    await captured(store, "a", "b")
    await captured(store, "100", system="erp", object="BD_Customer")
    async with store.begin() as conn:
        entity = await identities.link(store, conn, (*CRM, "a"), (*ERP, "100"))
        assert await identities.link(store, conn, (*ERP, "100"), (*CRM, "a")) == entity
    with pytest.raises(IdentityTaken) as caught:
        async with store.begin() as conn:
            await identities.link(store, conn, (*CRM, "b"), (*ERP, "100"))
    assert "AccountObj a" in caught.value.message
    assert await entity_of(store, *CRM, "b") != entity


async def test_link_of_records_that_the_map_does_not_have(store: Store) -> None:
    one = (await captured(store, "a"))["a"]
    async with store.begin() as conn:
        assert await identities.link(store, conn, (*CRM, "a"), (*ERP, "100")) == one.entity
        with pytest.raises(InvalidInput):
            await identities.link(store, conn, (*CRM, "x"), (*ERP, "y"))
        entity = await identities.link(store, conn, (*CRM, "x"), (*ERP, "y"), kind="customer")
        shown = await identities.show(conn, (*ERP, "y"))
    assert (shown.entity, shown.kind, len(shown.identities)) == (entity, "customer", 2)


async def test_unlink_gives_a_record_an_entity_of_its_own_and_forgets_what_was_sent(store: Store) -> None:
    one = await pair(store, "a", "100")
    await deliveries(store, (1, "a", one.entity, "done"), (2, "100", one.entity, "done"))
    async with store.begin() as conn:
        target = (await identities.by_ids(conn, *ERP, ["100"]))["100"]
        await identities.put_shadows(conn, [(target.id, '{"a": 1}', 5, '{"b": 2}', 6, None)])
        parted = await identities.unlink(store, conn, (*ERP, "100"))
        assert await identities.shadows(conn, [target.id]) == {}
        rows = dict(map(tuple, (await conn.execute(select(delivery.c.id, delivery.c.entity))).all()))
        assert rows == {1: one.entity, 2: parted.entity}
        assert parted.entity != one.entity
        with pytest.raises(NotFound):
            await identities.unlink(store, conn, (*ERP, "?"))


async def test_merge_makes_aliases_and_split_undoes_one(store: Store) -> None:
    survivor, loser = await pair(store, "a", "100"), await pair(store, "b", "200")
    await deliveries(store, (1, "a", survivor.entity, "done"), (2, "b", loser.entity, "pending"))
    async with store.begin() as conn:
        assert await identities.merge(store, conn, (*CRM, "a"), (*CRM, "b")) == survivor.entity
        shown = await identities.show(conn, (*ERP, "200"))
        assert {(one.record_id, one.role) for one in shown.identities} == {
            ("a", "primary"), ("100", "primary"), ("b", "alias"), ("200", "alias"),
        }  # fmt: skip
        states = (await conn.execute(select(delivery.c.state, delivery.c.reason).order_by(delivery.c.id))).all()
        assert [tuple(one) for one in states] == [("done", None), ("filtered", "merged")]
        again = await identities.split(store, conn, (*CRM, "b"))
        assert again.role == "primary"
        with pytest.raises(InvalidInput):
            await identities.merge(store, conn, (*CRM, "a"), (*CRM, "a"))
    assert await entity_of(store, *CRM, "b") == again.entity != survivor.entity


async def test_merge_moves_what_the_survivor_does_not_have(store: Store) -> None:
    survivor = (await captured(store, "a"))["a"]
    await pair(store, "b", "200")
    async with store.begin() as conn:
        await identities.merge(store, conn, (*CRM, "a"), (*CRM, "b"))
        targets = await identities.of_entities(conn, [survivor.entity], "erp")
    assert [(one.record_id, one.role) for one in targets[survivor.entity]] == [("200", "primary")]


async def test_shadows_keep_what_is_not_told(store: Store) -> None:
    async with store.begin() as conn:
        await identities.put_shadows(conn, [(1, '{"seen": 1}', 5, '{"sent": 1}', 6, None)])
        await identities.put_shadows(
            conn, [(1, None, None, '{"sent": 2}', 7, '["F"]'), (2, None, None, None, None, None)]
        )
        one = (await identities.shadows(conn, [1, 3]))[1]
        assert (one.seen, one.seen_at, one.sent, one.sent_at, one.doubt) == (
            '{"seen": 1}',
            5,
            '{"sent": 2}',
            7,
            '["F"]',
        )
        await identities.doubt(conn, [(1, '["G"]')])
        assert (await identities.shadows(conn, [1]))[1].doubt == '["G"]'


async def test_find_by_id_and_by_number_in_any_system(store: Store) -> None:
    await pair(store, "a", "100")
    await captured(store, "C100", object="SalesOrderObj")
    async with store.read() as conn:
        assert [str(one) for one in await identities.find(conn, "C100")] == [
            "erp BD_Customer 100 (C100)",
            "crm SalesOrderObj C100",
        ]
        assert [one.record_id for one in await identities.find(conn, "a")] == ["a"]
        assert await identities.find(conn, "nothing") == []


async def test_what_was_exported_can_be_imported_elsewhere(store: Store, postgres_url: str) -> None:
    await pair(store, "客户", "100")
    one = (await captured(store, "o1", object="SalesOrderObj"))["o1"]
    async with store.begin() as conn:
        await identities.ensure(
            store, conn, "crm", "SalesOrderProductObj", "order_line", ["l1"], origin="captured", parents={"l1": one.id}
        )
    rows = [dict(zip(identities.EXPORT_COLUMNS, row, strict=True)) async for row in identities.export(store)]
    assert len(rows) == 4
    other = await Store.open("sqlite://")
    async with other.begin() as conn:
        report = await identities.import_rows(other, conn, rows)
        assert (report.created, report.same, report.conflicts) == (4, 0, [])
        again = await identities.import_rows(other, conn, rows)
        assert (again.created, again.same, again.conflicts) == (0, 4, [])
        assert await identities.parents(conn, "crm", "SalesOrderProductObj", ["l1"]) == ["o1"]
        shown = await identities.show(conn, (*CRM, "客户"))
        assert {str(one) for one in shown.identities} == {"crm AccountObj 客户", "erp BD_Customer 100 (C100)"}
    await other.close()


async def test_import_tells_conflicts_by_line_and_takes_the_rest(store: Store) -> None:
    await pair(store, "a", "100")
    await pair(store, "b", "200")

    def line(entity: str, system: str, object: str, record_id: str, **more: str) -> dict[str, str]:
        return {"entity": entity, "kind": "customer", "system": system, "object": object, "id": record_id, **more}

    rows = [
        line("1", *CRM, "a"),
        line("1", *ERP, "200"),  # is b's
        line("2", *CRM, "b"),
        line("2", *ERP, "201"),  # b has 200
        line("3", *CRM, "c"),
        line("3", *ERP, "300", number="C300"),
        line("3", "", "", ""),
        line("3", *ERP, "301", parent_object="Gone", parent_id="1", facet="x"),
        line("4", *ERP, "400", role="boss"),
        line("4", *ERP, "401", deleted="yesterday"),
        line("4", *ERP, "402", keys="{"),
    ]
    async with store.begin() as conn:
        report = await identities.import_rows(store, conn, rows)
    assert report.created == 2
    assert report.same == 2
    assert [number for number, _ in report.conflicts] == [3, 5, 8, 9, 10, 11, 12]
    assert await entity_of(store, *CRM, "c") == await entity_of(store, *ERP, "300")
