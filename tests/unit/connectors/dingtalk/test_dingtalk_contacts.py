"""The address book: every department and member once, by id, by mobile; and what of it may be written."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.dingtalk.connector import DingTalkConnector
from connectors.dingtalk.simulator import DingTalkSimulator
from connectors.dingtalk.simulator_gate import Denied
from hub.connector.contract import GetKind, Op, ReadRequest, Write
from hub.connector.faults import Fault, FaultKind
from hub.domain.outcome import OutcomeKind
from hub.domain.record import Record


async def everything(connector: DingTalkConnector, object: str) -> list[Record]:
    records, cursor = [], None
    while True:
        page = await connector.read(ReadRequest(object, full=True), cursor)
        records += [change.record for change in page.changes]
        cursor = page.cursor
        assert page.complete is not page.more
        if not page.more:
            return records


async def grow(simulator: DingTalkSimulator) -> None:
    """A department in a department, with more members than a page holds."""
    await simulator.bulk("department", [{"dept_id": 1011, "name": "大客户部", "parent_id": 101}])
    people = [
        {"userid": f"u{n}", "name": f"成员{n}", "mobile": f"139{n:08d}", "dept_id_list": [1011]} for n in range(150)
    ]
    await simulator.bulk("user", [*people, {"userid": "both", "name": "两处", "dept_id_list": [101, 102]}])


async def test_a_walk_meets_every_department_and_member_once(
    connector: DingTalkConnector, simulator: DingTalkSimulator
) -> None:
    await grow(simulator)
    departments = [record.id for record in await everything(connector, "department")]
    assert sorted(departments) == ["1", "101", "1011", "102", "103"]
    members = [record.id for record in await everything(connector, "user")]
    assert len(members) == len(set(members)) == 154
    assert simulator.gate.month_calls == 0


async def test_members_are_found_by_mobile_in_the_spellings_of_others(connector: DingTalkConnector) -> None:
    keys = [
        {"mobile": text} for text in ("13800001001", "+86-13800001002", "+86 138 0000 1000", "13900000000", "x", "")
    ]
    found = await connector.find("user", keys)
    assert [[record.id for record in answer.records] for answer in found] == [
        ["zhangwei"],
        ["lina"],
        ["manager01"],
        [],
        [],
        [],
    ]
    assert not any(answer.cant_tell for answer in found)


async def test_whose_a_mobile_is_can_be_asked_without_being_shown_any(
    connector: DingTalkConnector, simulator: DingTalkSimulator
) -> None:
    seen = simulator.contacts._seen_user
    simulator.contacts._seen_user = lambda row: {k: v for k, v in seen(row).items() if k != "mobile"}  # type: ignore[method-assign]
    simulator._old = simulator._old_calls()
    (answer,) = await connector.find("user", [{"mobile": "13800001002"}])
    (record,) = answer.records
    assert (record.id, record.fields["mobile"]) == ("lina", "13800001002")


async def test_other_keys_take_one_walk_for_all(connector: DingTalkConnector, simulator: DingTalkSimulator) -> None:
    found = await connector.find("user", [{"job_number": "E1002"}, {"name": "张伟"}, {"job_number": "E9"}])
    assert [[record.id for record in answer.records] for answer in found] == [["lina"], ["zhangwei"], []]
    assert simulator.counts["v2_user_list"] == 4
    (department,) = await connector.find("department", [{"name": "财务部"}])
    assert [record.id for record in department.records] == ["103"]


async def test_a_member_has_its_departments_as_texts_and_who_left_is_gone(
    connector: DingTalkConnector, simulator: DingTalkSimulator
) -> None:
    await simulator.change({"op": "delete", "object": "user", "id": "lina"})
    answers = await connector.get("user", ["zhangwei", "lina"])
    assert [answer.kind for answer in answers] == [GetKind.FOUND, GetKind.GONE]
    assert answers[0].record is not None
    assert answers[0].record.fields["dept_id_list"] == ["101"]
    (gone,) = await connector.get("department", ["999"])
    assert gone.kind is GetKind.GONE


async def test_a_failing_look_up_is_never_absent(connector: DingTalkConnector, simulator: DingTalkSimulator) -> None:
    await connector.fingerprint()
    simulator.contacts.user_by_mobile = _refuse  # type: ignore[method-assign]
    simulator._old = simulator._old_calls()
    (answer,) = await connector.find("user", [{"mobile": "13800001002"}])
    assert answer.cant_tell


def _refuse(_: Any) -> Any:
    raise Denied(60011, "没有调用该接口的权限")


async def test_a_members_details_can_be_written_and_nothing_else(
    connector: DingTalkConnector, simulator: DingTalkSimulator
) -> None:
    writes = [
        Write(Op.UPDATE, "lina", fields={"title": "销售总监", "dept_id_list": ["101", "102"]}),
        Write(Op.UPDATE, "nobody", fields={"title": "x"}),
        Write(Op.UPDATE, "lina", fields={"unionid": "x"}),
        Write(Op.UPDATE, "lina", fields={"mobile": "13800001001"}),
        Write(Op.CREATE, fields={"name": "新人"}),
        Write(Op.DELETE, "lina"),
    ]
    outcomes = await connector.write("user", writes)
    assert [outcome.kind for outcome in outcomes] == [
        OutcomeKind.OK,
        OutcomeKind.GONE,
        OutcomeKind.REJECTED,
        OutcomeKind.REJECTED,
        OutcomeKind.REJECTED,
        OutcomeKind.REJECTED,
    ]
    row = simulator.table("user").get("lina")
    assert row is not None
    assert (row["title"], row["dept_id_list"], row["name"]) == ("销售总监", [101, 102], "李娜")


@pytest.mark.parametrize("kind", [FaultKind.HTTP_500, FaultKind.HTTP_500_AFTER_COMMIT])
async def test_an_update_without_an_answer_is_unknown(
    connector: DingTalkConnector, simulator: DingTalkSimulator, kind: FaultKind
) -> None:
    await connector.fingerprint()
    simulator.faults.arm(Fault(kind=kind, op="^v2_user_update$"))
    (outcome,) = await connector.write("user", [Write(Op.UPDATE, "lina", fields={"title": str(kind)})])
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert simulator.counts["v2_user_update"] == 1
