"""External contacts, tags, group chats and transfers."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.wecom.connector import WeComConnector
from connectors.wecom.simulator import WeComSimulator
from hub.connector.contract import Cursor, GetKind, Op, ReadRequest, Write
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Record, RowsWrite, RowWrite
from tests.unit.connectors.wecom.conftest import Make


async def follow(simulator: WeComSimulator, id: str, actor: str, **fields: Any) -> None:
    change = {"op": "update", "object": "external_contact", "id": id, "actor": actor, "fields": fields}
    await simulator.change(change)


async def all_of(connector: WeComConnector, object: str) -> list[Record]:
    found: list[Record] = []
    cursor: Cursor | None = None
    while True:
        page = await connector.read(ReadRequest(object, full=True), cursor)
        found += [change.record for change in page.changes]
        cursor = page.cursor
        if not page.more:
            assert page.complete
            return found


async def got(connector: WeComConnector, object: str, id: str) -> Record:
    (answer,) = await connector.get(object, [id])
    assert answer.record is not None
    return answer.record


async def test_a_contact_is_one_record_whoever_knows_them(simulator: WeComSimulator, make: Make) -> None:
    connector = make(page_size=2)
    for n in range(5):
        await follow(simulator, f"wm{n}", "zhangsan", name=f"客户{n}")
    await follow(simulator, "wm1", "lisi", remark="老客户")
    await follow(simulator, "wm9", "lisi", name="李的客户")
    records = await all_of(connector, "external_contact")
    assert sorted(record.id for record in records) == ["wm0", "wm1", "wm2", "wm3", "wm4", "wm9"]
    (both,) = [record for record in records if record.id == "wm1"]
    rows = both.fields["follow_users"]
    assert isinstance(rows, list)
    assert sorted(row["userid"] for row in rows if isinstance(row, dict)) == ["lisi", "zhangsan"]


async def test_a_lead_is_made_of_what_the_first_member_knows(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    await simulator.change({"op": "create", "object": "corp_tag", "id": "et1", "fields": {"name": "重要"}})
    await follow(simulator, "wm1", "zhangsan", name="王女士", state="expo", add_way=16, tags=["et1"])
    simulator.clock.advance(60)
    await follow(simulator, "wm1", "lisi", remark="王总", remark_mobiles=["13900000001"], remark_corp_name="光谷电子")
    fields = (await got(connector, "external_contact", "wm1")).fields
    known = ("owner", "state", "add_way", "tags", "mobile", "company", "remark", "type")
    assert {name: fields[name] for name in known} == {
        "owner": "zhangsan",
        "state": "expo",
        "add_way": "获客链接",
        "tags": "重要",
        "mobile": "13900000001",
        "company": "光谷电子",
        "remark": "王女士",
        "type": "1",
    }


async def test_whoever_nobody_knows_any_more_is_gone(simulator: WeComSimulator, connector: WeComConnector) -> None:
    await follow(simulator, "wm1", "zhangsan")
    change = {
        "op": "operation",
        "object": "external_contact",
        "id": "wm1",
        "operation": "unfollow",
        "actor": "zhangsan",
    }
    await simulator.change(change)
    assert [one.kind for one in await connector.get("external_contact", ["wm1", "wm2"])] == [GetKind.GONE] * 2
    assert await all_of(connector, "external_contact") == []


async def test_contacts_are_found_by_id_alone(simulator: WeComSimulator, connector: WeComConnector) -> None:
    await follow(simulator, "wm1", "zhangsan")
    keys: list[dict[str, Any]] = [{"external_userid": "wm1"}, {"external_userid": "x"}, {"mobile": "139"}, {}]
    answers = await connector.find("external_contact", keys)
    assert [([one.id for one in answer.records], answer.cant_tell) for answer in answers] == [
        (["wm1"], False),
        ([], False),
        ([], True),
        ([], False),
    ]


async def know(connector: WeComConnector, **fields: Any) -> Outcome:
    rows = {"follow_users": RowsWrite([RowWrite("r1", "zhangsan", fields)])}
    (outcome,) = await connector.write("external_contact", [Write(Op.UPDATE, "wm1", rows=rows)])
    return outcome


async def test_remarks_and_tags_are_written_for_a_member(simulator: WeComSimulator, connector: WeComConnector) -> None:
    for id, name in (("et1", "重要"), ("et2", "华中")):
        await simulator.change({"op": "create", "object": "corp_tag", "id": id, "fields": {"name": name}})
    await follow(simulator, "wm1", "zhangsan", tags=["et1"], description="旧")
    outcome = await know(connector, remark="王总", mobiles=["139"], tag_ids=["et2"])
    assert (outcome.kind, outcome.rows) == (OutcomeKind.OK, {"follow_users": {"r1": "zhangsan"}})
    row = simulator.table("external_contact").get("wm1")
    assert row is not None
    info = row["follow"]["zhangsan"]
    assert (info["remark"], info["remark_mobiles"], info["tags"], info["description"]) == (
        "王总",
        ["139"],
        ["et2"],
        "旧",
    )
    assert (await know(connector, mobiles=None)).ok
    row = simulator.table("external_contact").get("wm1")
    assert row is not None
    assert row["follow"]["zhangsan"]["remark_mobiles"] == []


async def test_the_same_tags_again_are_not_sent(simulator: WeComSimulator, connector: WeComConnector) -> None:
    await simulator.change({"op": "create", "object": "corp_tag", "id": "et1", "fields": {"name": "重要"}})
    await follow(simulator, "wm1", "zhangsan", tags=["et1"])
    assert (await know(connector, tag_ids=["et1"])).ok
    assert simulator.counts["externalcontact/mark_tag"] == 0


async def test_a_member_who_does_not_know_them_can_write_nothing(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    await follow(simulator, "wm1", "lisi")
    assert (await know(connector, remark="x")).kind is OutcomeKind.GONE
    (outcome,) = await connector.write("external_contact", [Write(Op.UPDATE, "wm1", {"name": "x"})])
    assert (outcome.kind, outcome.failure and outcome.failure.field) == (OutcomeKind.REJECTED, "name")


async def test_tags_and_groups_are_read_whole(simulator: WeComSimulator, connector: WeComConnector) -> None:
    await simulator.change({"op": "create", "object": "corp_tag", "id": "et1", "fields": {"name": "重要"}})
    await simulator.change(
        {"op": "create", "object": "corp_tag", "id": "et2", "fields": {"name": "旧", "deleted": True}}
    )
    members = [{"userid": "lisi", "type": 1}, {"userid": "wm1", "type": 2, "name": "王", "join_time": 1767225600}]
    fields = {"name": "武汉群", "owner": "lisi", "member_list": members, "admin_list": [{"userid": "lisi"}]}
    await simulator.change({"op": "create", "object": "group_chat", "id": "wr1", "fields": fields})
    (tag,) = await all_of(connector, "corp_tag")
    assert (tag.id, tag.fields["name"], tag.fields["group_name"]) == ("et1", "重要", "客户等级")
    (found,) = await connector.find("corp_tag", [{"name": "重要"}])
    assert [one.id for one in found.records] == ["et1"]
    (chat,) = await all_of(connector, "group_chat")
    assert (chat.fields["owner"], chat.fields["customers"], chat.fields["admins"]) == ("lisi", 1, ["lisi"])
    await simulator.change({"op": "delete", "object": "group_chat", "id": "wr1"})
    assert [one.kind for one in await connector.get("group_chat", ["wr1"])] == [GetKind.GONE]


TRANSFER: dict[str, Any] = {"handover": "zhangsan", "takeover": "lisi", "external_userid": "wm1"}


@pytest.mark.parametrize(("answer", "status"), [("accept", "1"), ("refuse", "3"), (None, "1")])
async def test_a_transfer_waits_until_it_is_answered_or_a_day_is_over(
    simulator: WeComSimulator, connector: WeComConnector, answer: str | None, status: str
) -> None:
    await follow(simulator, "wm1", "zhangsan")
    (outcome,) = await connector.write("transfer", [Write(Op.CREATE, fields=dict(TRANSFER))])
    assert (outcome.kind, outcome.id) == (OutcomeKind.OK, "zhangsan>lisi>wm1")
    assert (await got(connector, "transfer", "zhangsan>lisi>wm1")).fields["status"] == "2"
    if answer is None:
        simulator.clock.advance(86_401)
    else:
        change = {"op": "operation", "object": "transfer", "id": outcome.id, "operation": answer}
        await simulator.change(change)
    assert (await got(connector, "transfer", str(outcome.id))).fields["status"] == status
    owner = (await got(connector, "external_contact", "wm1")).fields["owner"]
    assert owner == ("zhangsan" if answer == "refuse" else "lisi")


async def test_a_transfer_is_begun_once_however_often_it_is_asked(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    await follow(simulator, "wm1", "zhangsan")
    outcomes = [(await connector.write("transfer", [Write(Op.CREATE, fields=dict(TRANSFER))]))[0] for _ in range(2)]
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.OK, OutcomeKind.OK]
    assert sum(entry.object == "transfer" and entry.op == "create" for entry in simulator.journal) == 1
    (found,) = await connector.find("transfer", [dict(TRANSFER)])
    assert [one.id for one in found.records] == ["zhangsan>lisi>wm1"]


@pytest.mark.parametrize(
    ("more", "code"),
    [({"external_userid": "wm9"}, "40096"), ({"takeover": "nobody"}, "40003"), ({"handover": None}, None)],
)
async def test_a_transfer_that_can_not_be_is_refused_in_words(
    simulator: WeComSimulator, connector: WeComConnector, more: dict[str, Any], code: str | None
) -> None:
    await follow(simulator, "wm1", "zhangsan")
    (outcome,) = await connector.write("transfer", [Write(Op.CREATE, fields={**TRANSFER, **more})])
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert outcome.failure.code == code
