"""Members and departments: found by mobiles that are not shown, read by department, written with their own secret."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.wecom.connector import WeComConnector
from connectors.wecom.simulator import WeComSimulator
from hub.connector.contract import Cursor, GetKind, Op, ReadRequest, Write
from hub.domain.outcome import OutcomeKind
from tests.unit.connectors.wecom.conftest import Make, Stranger


async def ids_of(connector: WeComConnector, object: str) -> list[str]:
    found: list[str] = []
    cursor: Cursor | None = None
    while True:
        page = await connector.read(ReadRequest(object, full=True), cursor)
        found += [change.record.id for change in page.changes]
        cursor = page.cursor
        if not page.more:
            assert page.complete
            return found


async def test_a_mobile_that_is_not_shown_finds_its_member(connector: WeComConnector) -> None:
    (answer,) = await connector.get("member", ["zhangsan"])
    assert answer.record is not None
    assert answer.record.fields["mobile"] is None
    (found,) = await connector.find("member", [{"mobile": "13800001001"}])
    assert [(one.id, one.fields["mobile"]) for one in found.records] == [("zhangsan", "13800001001")]


@pytest.mark.parametrize("spelled", ["13800001001", "+8613800001001", "+86-13800001001", "+86 138 0000 1001"])
async def test_a_mobile_is_known_however_it_is_spelled(connector: WeComConnector, spelled: str) -> None:
    (found,) = await connector.find("member", [{"mobile": spelled}])
    assert [one.id for one in found.records] == ["zhangsan"]


async def test_a_mobile_of_another_country_keeps_its_prefix(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    simulator.people.save_member("lisi", {"mobile": "+85298765432"}, actor="seed", new=False)
    answers = await connector.find("member", [{"mobile": "+852-9876 5432"}, {"mobile": "98765432"}])
    assert [[one.id for one in answer.records] for answer in answers] == [["lisi"], []]


async def test_a_mobile_that_nobody_has_is_asked_for_once_a_day(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    for _ in range(3):
        (answer,) = await connector.find("member", [{"mobile": "13999999999"}])
        assert (answer.records, answer.cant_tell) == ([], False)
    assert simulator.people.wrong_numbers == 1
    simulator.clock.advance(86_401)
    await connector.find("member", [{"mobile": "13999999999"}])
    assert simulator.people.wrong_numbers == 2


async def test_whoever_gets_a_number_is_found_at_once_where_the_hub_wrote_it(connector: WeComConnector) -> None:
    await connector.find("member", [{"mobile": "13911111111"}])
    (outcome,) = await connector.write("member", [Write(Op.UPDATE, "lisi", {"mobile": "13911111111"})])
    assert outcome.ok
    (answer,) = await connector.find("member", [{"mobile": "13911111111"}])
    assert [one.id for one in answer.records] == ["lisi"]


async def test_members_are_found_by_mail_and_by_userid_whole_and_exact(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    simulator.people.save_member("lisi", {"biz_mail": "lisi@corp.cn", "email": "li@home.cn"}, actor="seed", new=False)
    keys: list[dict[str, Any]] = [
        {"biz_mail": "lisi@corp.cn"},
        {"email": "li@home.cn"},
        {"userid": "lisi"},
        {"userid": "LISI"},
        {"userid": "nobody"},
        {"userid": "o'brien %"},
        {"mobile": "13800001001", "name": "李四"},
        {"mobile": ""},
        {},
    ]
    answers = await connector.find("member", keys)
    assert [[one.id for one in answer.records] for answer in answers] == [
        ["lisi"],
        ["lisi"],
        ["lisi"],
        [],
        [],
        [],
        [],
        [],
        [],
    ]


async def test_a_name_is_no_key(connector: WeComConnector) -> None:
    (answer,) = await connector.find("member", [{"name": "李四"}])
    assert answer.cant_tell


async def test_a_member_of_two_departments_is_read_once(simulator: WeComSimulator, connector: WeComConnector) -> None:
    simulator.people.save_department(3, {"name": "技术部"}, actor="seed")
    simulator.people.save_member("lisi", {"department": [3, 2]}, actor="seed", new=False)
    assert sorted(await ids_of(connector, "member")) == ["lisi", "wangwu", "zhangsan", "zhaoliu"]
    assert await ids_of(connector, "department") == ["1", "2", "3"]


async def test_departments_are_numbers_on_the_wire_and_ids_here(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    write = Write(Op.CREATE, fields={"userid": "sunqi", "name": "孙七", "department": ["2"], "mobile": "13700000000"})
    (outcome,) = await connector.write("member", [write])
    assert (outcome.kind, outcome.id) == (OutcomeKind.OK, "sunqi")
    row = simulator.table("member").get("sunqi")
    assert row is not None
    assert row["department"] == [2]
    (answer,) = await connector.get("member", ["sunqi"])
    assert answer.record is not None
    assert answer.record.fields["department"] == ["2"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"userid": "zhangsan", "name": "x"}, OutcomeKind.DUPLICATE),
        ({"userid": "new", "name": "x", "mobile": "13800001001"}, OutcomeKind.DUPLICATE),
        ({"userid": "new", "name": ""}, OutcomeKind.REJECTED),
        ({"name": "x"}, OutcomeKind.REJECTED),
        ({"userid": "new", "name": "x", "department": ["sales"]}, OutcomeKind.REJECTED),
        ({"userid": "new", "name": "x", "department": ["77"]}, OutcomeKind.GONE),
    ],
)
async def test_creates_that_can_not_be(connector: WeComConnector, fields: dict[str, Any], kind: OutcomeKind) -> None:
    (outcome,) = await connector.write("member", [Write(Op.CREATE, fields=fields)])
    assert outcome.kind is kind


async def test_members_are_changed_cleared_and_deleted(simulator: WeComSimulator, connector: WeComConnector) -> None:
    fields: dict[str, Any] = {"position": "经理", "mobile": None}
    (outcome,) = await connector.write("member", [Write(Op.UPDATE, "zhangsan", fields)])
    assert outcome.ok
    row = simulator.table("member").get("zhangsan")
    assert row is not None
    assert (row["position"], row["mobile"], row["name"]) == ("经理", "", "张三")
    (outcome,) = await connector.write("member", [Write(Op.DELETE, "zhangsan")])
    assert outcome.ok
    assert [one.kind for one in await connector.get("member", ["zhangsan", "lisi"])] == [GetKind.GONE, GetKind.FOUND]
    kinds = [
        (await connector.write("member", [Write(op, "zhangsan", {"name": "x"})]))[0].kind
        for op in (Op.UPDATE, Op.DELETE)
    ]
    assert kinds == [OutcomeKind.GONE, OutcomeKind.GONE]


async def test_without_the_contact_secret_members_are_not_written(make: Make) -> None:
    (outcome,) = await make(contact_secret=None).write("member", [Write(Op.UPDATE, "lisi", {"position": "x"})])
    assert outcome.kind is OutcomeKind.NOT_EXECUTED
    assert outcome.failure is not None
    assert outcome.failure.code == "48002"


async def test_departments_are_found_by_name_all_of_that_name(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    simulator.people.save_department(3, {"name": "销售部", "parentid": 2}, actor="seed")
    answers = await connector.find(
        "department", [{"name": "销售部"}, {"name": "销售部", "parentid": "2"}, {"name": "x"}]
    )
    assert [[one.id for one in answer.records] for answer in answers] == [["2", "3"], ["3"], []]
    assert (await connector.get("department", ["9"]))[0].kind is GetKind.GONE


# ---- the simulator's own rules ---------------------------------------------------------------------------------------


async def test_the_simulator_hides_what_new_apps_are_not_shown(simulator: WeComSimulator, stranger: Stranger) -> None:
    assert "mobile" not in await stranger.call("user/get", userid="zhangsan")
    simulator.people.private = False
    assert (await stranger.call("user/get", userid="ZhangSan"))["mobile"] == "13800001001"


async def test_the_simulator_keeps_id_lists_for_the_contact_secret(stranger: Stranger) -> None:
    assert await stranger.code("user/list_id", {"limit": 2}) == 48002
    first = await stranger.call("user/list_id", {"limit": 3}, app="contact")
    rest = await stranger.call("user/list_id", {"limit": 3, "cursor": first["next_cursor"]}, app="contact")
    assert [one["userid"] for one in (*first["dept_user"], *rest["dept_user"])] == [
        "lisi",
        "wangwu",
        "zhangsan",
        "zhaoliu",
    ]
    assert rest["next_cursor"] == ""
