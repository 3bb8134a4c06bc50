"""Approvals: started once, decided by people, seen by polls that count their calls, withdrawn or left as they are."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.dingtalk.simulator import DingTalkSimulator
from hub.connector.contract import GetKind, Op, ReadRequest, Write
from hub.domain.errors import QuotaSpent
from hub.domain.outcome import OutcomeKind
from hub.domain.record import ChangeKind, RowsWrite, RowWrite
from tests.unit.connectors.dingtalk.conftest import DISCOUNT, FORM, Desk, Make

FILE = {"spaceId": "163", "fileName": "a.pdf", "fileSize": "333", "fileType": "pdf", "fileId": "643"}


def calls(simulator: DingTalkSimulator) -> int:
    """Calls that count against the month."""
    return simulator.gate.month_calls


async def test_a_form_is_described_by_its_labels(desk: Desk) -> None:
    schema = await desk.connector.describe(DISCOUNT)
    assert schema.label == "折扣审批"
    assert schema.origin == "live"
    assert {"报价单号", "报价明细", "附件", "originator", "state", "opinion"} <= set(schema.fields)
    assert "由CRM自动发起" not in schema.fields
    assert schema.capabilities.stamp_field == "集成键"
    assert schema.fields["报价单号"].required
    assert schema.fields["付款方式"].options == {"预付": "预付", "货到付款": "货到付款", "账期": "账期"}


async def test_a_create_starts_an_instance_with_ids_rows_and_the_hubs_key(
    desk: Desk, simulator: DingTalkSimulator
) -> None:
    lines = RowsWrite([RowWrite("l1", None, {"产品": "轴承", "数量": "2", "单价": "600.25"})])
    outcome = await desk.start(报价金额="1200.50", rows={"报价明细": lines}, stamp="crm:QuoteObj:q1", 附件=[FILE])
    assert outcome.ok
    assert outcome.rows == {"报价明细": {"l1": "1"}}
    record = await desk.got(str(outcome.id))
    assert record.fields["报价明细"] == [{"row": "1", "产品": "轴承", "数量": "2", "单价": "600.25"}]
    assert record.fields["附件"] == [FILE]
    assert record.fields["集成键"] == "crm:QuoteObj:q1"
    assert (record.fields["state"], record.fields["waiting_for"]) == ("running", ["manager01"])
    assert (record.fields["originator"], record.fields["originator_dept"]) == ("zhangwei", "101")
    (row,) = simulator.table(DISCOUNT)
    assert [part["id"] for part in row["form"]][:2] == ["TextField-1", "TextField-2"]


async def test_the_root_department_is_minus_one_for_approvals_and_one_for_everybody_else(
    desk: Desk, simulator: DingTalkSimulator
) -> None:
    id = await desk.started(originator_dept="1")
    (row,) = simulator.table(DISCOUNT)
    assert row["deptId"] == -1
    assert (await desk.got(id)).fields["originator_dept"] == "1"


@pytest.mark.parametrize(
    ("people", "mode", "node"),
    [(["lina"], None, "NONE"), (["lina", "manager01"], None, "AND"), (["lina", "manager01"], "OR", "OR")],
)
async def test_named_approvers_go_before_the_consoles_flow(
    desk: Desk, simulator: DingTalkSimulator, people: list[str], mode: str | None, node: str
) -> None:
    await desk.started(approvers=people, cc=["manager01"], options={"approvers": mode} if mode else {})
    (row,) = simulator.table(DISCOUNT)
    assert row["nodes"] == [{"type": node, "users": people}]
    assert row["cc"] == ["manager01"]


@pytest.mark.parametrize(
    ("fields", "word", "field"),
    [
        ({"付款方式": "白条"}, "选项不存在", None),
        ({"报价金额": "很多"}, "不是数字", None),
        ({"报价单号": None}, "必填项未填写", None),
        ({"originator": "nobody"}, "originatorUserId", None),
        ({"originator": None}, "originator", "originator"),
        ({"state": "agreed"}, "told by the system", "state"),
        ({"originator_dept": "华东"}, "number", "originator_dept"),
    ],
)
async def test_what_a_form_refuses_is_rejected_in_words(
    desk: Desk, simulator: DingTalkSimulator, fields: dict[str, Any], word: str, field: str | None
) -> None:
    outcome = await desk.start(**fields)
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert word in outcome.failure.message
    assert outcome.failure.field == field
    assert not list(simulator.table(DISCOUNT))


async def test_a_decision_comes_with_who_when_and_the_opinion(desk: Desk) -> None:
    for click, state in (("agree", "agreed"), ("refuse", "refused")):
        id = await desk.started()
        await desk.click(click, id, remark="意见")
        fields = (await desk.got(id)).fields
        assert (fields["state"], fields["decided_by"], fields["opinion"]) == (state, "manager01", "意见")
        assert fields["waiting_for"] == []
        assert fields["finished_at"]
        assert fields["decided_at"]


async def test_all_of_an_and_node_have_to_agree_and_one_of_an_or_node(desk: Desk) -> None:
    both = await desk.started(approvers=["lina", "manager01"])
    await desk.click("agree", both, actor="lina")
    assert (await desk.got(both)).fields["waiting_for"] == ["manager01"]
    await desk.click("agree", both)
    assert (await desk.got(both)).fields["state"] == "agreed"
    either = await desk.started(approvers=["lina", "manager01"], options={"approvers": "OR"})
    await desk.click("agree", either, actor="lina")
    fields = (await desk.got(either)).fields
    assert fields["state"] == "agreed"
    assert [task["status"] for task in fields["tasks"]] == ["COMPLETED", "CANCELED"]  # type: ignore[index,union-attr]


async def test_a_transferred_task_waits_for_somebody_else(desk: Desk) -> None:
    id = await desk.started()
    await desk.click("transfer", id, to="lina", remark="请李娜看")
    fields = (await desk.got(id)).fields
    assert (fields["state"], fields["waiting_for"]) == ("running", ["lina"])
    await desk.click("agree", id, actor="lina", remark="可以")
    assert (await desk.got(id)).fields["decided_by"] == "lina"


async def test_an_agreed_one_that_is_taken_back_shows_it(desk: Desk) -> None:
    id = await desk.started()
    await desk.click("agree", id)
    _, cursor = await desk.poll(None)
    child = await desk.click("revoke", id)
    assert (await desk.got(id)).fields["state"] == "agreed"
    await desk.click("agree", child)
    assert (await desk.got(id)).fields["state"] == "revoked"
    desk.simulator.clock.advance(60)
    changes, _ = await desk.poll(cursor)
    assert {change.record.id: change.record.fields["state"] for change in changes} == {child: "agreed", id: "revoked"}


# ---- polls -----------------------------------------------------------------------------------------------------------


async def test_a_poll_of_a_quiet_form_is_one_call_and_one_more_while_something_runs(
    desk: Desk, simulator: DingTalkSimulator
) -> None:
    await desk.connector.describe(DISCOUNT)
    _, cursor = await desk.poll(None, since=simulator.clock.now())
    for expected in (1, 1):
        before = calls(simulator)
        simulator.clock.advance(3600)
        changes, cursor = await desk.poll(cursor)
        assert (changes, calls(simulator) - before) == ([], expected)
    id = await desk.started()
    simulator.clock.advance(3600)
    changes, cursor = await desk.poll(cursor)
    assert [change.record.id for change in changes] == [id]
    before = calls(simulator)
    simulator.clock.advance(3600)
    changes, cursor = await desk.poll(cursor)
    assert (changes, calls(simulator) - before) == ([], 2)
    await desk.click("agree", id)
    simulator.clock.advance(3600)
    changes, cursor = await desk.poll(cursor)
    assert [change.record.fields["state"] for change in changes] == ["agreed"]
    before = calls(simulator)
    simulator.clock.advance(3600)
    assert (await desk.poll(cursor))[0] == []
    assert calls(simulator) - before == 1


async def test_a_decision_that_no_event_told_of_comes_by_poll(desk: Desk, simulator: DingTalkSimulator) -> None:
    """A callback that never comes: the poll brings the state all the same."""
    ids = [await desk.started(报价单号=f"QT-{n}") for n in range(3)]
    simulator.clock.advance(60)
    _, cursor = await desk.poll(None)
    await desk.click("refuse", ids[1], remark="折扣过低")
    simulator.clock.advance(3600)
    changes, cursor = await desk.poll(cursor)
    assert [(change.record.id, change.record.fields["state"]) for change in changes] == [(ids[1], "refused")]
    simulator.clock.advance(3600)
    assert (await desk.poll(cursor))[0] == []


async def test_every_so_often_a_poll_looks_at_all_that_run(desk: Desk, simulator: DingTalkSimulator) -> None:
    """A transfer changes no status, so only a look at the instance itself shows it."""
    id = await desk.started()
    simulator.clock.advance(60)
    _, cursor = await desk.poll(None)
    await desk.click("transfer", id, to="lina")
    simulator.clock.advance(3600)
    changes, cursor = await desk.poll(cursor)
    assert changes == []
    simulator.clock.advance(6 * 3600)
    changes, cursor = await desk.poll(cursor)
    assert [change.record.fields["waiting_for"] for change in changes] == [["lina"]]


async def test_a_start_that_is_listed_late_is_met_by_the_next_poll_and_no_other_twice(
    desk: Desk, simulator: DingTalkSimulator
) -> None:
    first = await desk.started(报价单号="QT-1")
    simulator.clock.advance(30)
    _, cursor = await desk.poll(None)
    await desk.click("agree", first)
    late = await simulator.change({"op": "create", "object": DISCOUNT, "actor": "lina", "fields": _typed("QT-2")})
    row = simulator.table(DISCOUNT).get(late["id"])
    assert row is not None
    simulator.commit(
        "late", "instance:PROC-DISCOUNT-0001", row["id"], {**row, "createTime": row["createTime"] - 20_000}
    )
    simulator.clock.advance(10)
    changes, cursor = await desk.poll(cursor)
    assert {change.record.id for change in changes} == {first, late["id"]}
    simulator.clock.advance(10)
    assert (await desk.poll(cursor))[0] == []


async def test_a_running_one_that_is_deleted_comes_as_deleted(desk: Desk, simulator: DingTalkSimulator) -> None:
    id = await desk.started()
    simulator.clock.advance(60)
    _, cursor = await desk.poll(None)
    await desk.click("delete", id)
    simulator.clock.advance(3600)
    changes, _ = await desk.poll(cursor)
    assert [(change.kind, change.record.id) for change in changes] == [(ChangeKind.DELETED, id)]


async def test_a_scan_of_ids_alone_asks_for_no_instance(desk: Desk, simulator: DingTalkSimulator) -> None:
    ids = {await desk.started(报价单号=f"QT-{n}") for n in range(3)}
    before = simulator.counts["instance"]
    changes, _ = await desk.poll(None, full=True, fields=frozenset({"instance_id"}))
    assert {change.record.id for change in changes} == ids
    assert simulator.counts["instance"] == before


async def test_more_than_a_page_within_one_millisecond_are_all_read(desk: Desk, simulator: DingTalkSimulator) -> None:
    at = simulator.clock.now()
    await simulator.bulk(DISCOUNT, [{**_typed(f"QT-{n}"), "at": at} for n in range(45)])
    simulator.clock.advance(60)
    changes, _ = await desk.poll(None)
    assert len({change.record.id for change in changes}) == 45


async def test_a_spent_month_says_when_it_goes_on(desk: Desk, simulator: DingTalkSimulator) -> None:
    await desk.connector.describe(DISCOUNT)
    simulator.gate.limits.month = simulator.gate.month_calls
    with pytest.raises(QuotaSpent) as spent:
        await desk.connector.read(ReadRequest(DISCOUNT), None)
    assert spent.value.resumes_at > simulator.clock.now()
    outcome = await desk.start()
    assert outcome.kind is OutcomeKind.NOT_EXECUTED
    assert outcome.retry_after is not None
    assert outcome.retry_after * 1000 == pytest.approx(spent.value.resumes_at - simulator.clock.now(), abs=5000)


async def test_our_own_count_stops_before_the_vendor_has_to(make: Make, simulator: DingTalkSimulator) -> None:
    connector = make(month_calls=2)
    await connector.describe(DISCOUNT)
    await connector.get(DISCOUNT, ["x"])
    with pytest.raises(QuotaSpent, match="month"):
        await connector.get(DISCOUNT, ["x"])
    assert calls(simulator) == 2
    assert (await connector.get("user", ["lina"]))[0].kind is GetKind.FOUND  # contacts are free


# ---- look-ups --------------------------------------------------------------------------------------------------------


async def test_the_hubs_key_finds_what_was_started_although_the_answer_was_lost(desk: Desk) -> None:
    id = await desk.started(stamp="crm:QuoteObj:q1:1")
    await desk.started(报价单号="QT-2", stamp="crm:QuoteObj:q1:2")
    found = await desk.connector.find(DISCOUNT, [{"集成键": "crm:QuoteObj:q1:1"}, {"集成键": "nobody"}, {"集成键": ""}])
    assert [[record.id for record in answer.records] for answer in found] == [[id], [], []]
    assert not any(answer.cant_tell for answer in found)


async def test_numbers_are_found_by_value_not_by_spelling(desk: Desk) -> None:
    id = await desk.started(报价金额="1200.50")
    (answer,) = await desk.connector.find(DISCOUNT, [{"报价金额": "1200.5"}])
    assert [record.id for record in answer.records] == [id]


# ---- afterwards ------------------------------------------------------------------------------------------------------


async def operate(desk: Desk, id: str, operation: str, **more: Any) -> Any:
    write = Write(Op.OPERATION, id, operation=operation, **more)
    (outcome,) = await desk.connector.write(DISCOUNT, [write])
    return outcome


async def test_a_withdrawal_waits_out_the_vendors_fifteen_seconds(desk: Desk, simulator: DingTalkSimulator) -> None:
    id = await desk.started()
    outcome = await operate(desk, id, "withdraw")
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.NOT_EXECUTED, 16.0)
    simulator.clock.advance(16)
    assert (await operate(desk, id, "withdraw", options={"remark": "客户取消"})).ok
    fields = (await desk.got(id)).fields
    assert (fields["state"], fields["opinion"], fields["decided_by"]) == ("withdrawn", "客户取消", "zhangwei")


async def test_a_withdrawal_of_what_was_withdrawn_is_done_and_of_what_was_decided_is_blocked(
    desk: Desk, simulator: DingTalkSimulator
) -> None:
    withdrawn, decided = await desk.started(), await desk.started(报价单号="QT-2")
    simulator.clock.advance(20)
    await desk.click("withdraw", withdrawn, actor="zhangwei")
    await desk.click("agree", decided)
    assert (await operate(desk, withdrawn, "withdraw")).ok
    outcome = await operate(desk, decided, "withdraw")
    assert outcome.kind is OutcomeKind.BLOCKED
    assert "agreed" in outcome.failure.message
    assert (await desk.got(decided)).fields["state"] == "agreed"
    assert (await operate(desk, "no-such-id", "withdraw")).kind is OutcomeKind.GONE
    assert simulator.counts["terminate"] == 0


async def test_a_comment_stands_in_the_records(desk: Desk) -> None:
    id = await desk.started()
    assert (await operate(desk, id, "comment", options={"remark": "CRM中金额已改"})).ok
    records = (await desk.got(id)).fields["records"]
    assert records[-1]["opinion"] == "CRM中金额已改"  # type: ignore[index,call-overload]
    assert (await operate(desk, id, "comment")).kind is OutcomeKind.REJECTED


@pytest.mark.parametrize(
    ("policy", "kind"), [("hold", OutcomeKind.BLOCKED), ("wait", OutcomeKind.BLOCKED), ("skip", OutcomeKind.OK)]
)
async def test_a_form_that_was_started_is_never_changed_whatever_the_policy(
    desk: Desk, simulator: DingTalkSimulator, policy: str, kind: OutcomeKind
) -> None:
    id = await desk.started()
    before = calls(simulator)
    write = Write(Op.UPDATE, id, fields={"客户名称": "另一家"}, options={"when_locked": policy})
    (outcome,) = await desk.connector.write(DISCOUNT, [write])
    assert outcome.kind is kind
    assert outcome.failure is None or "another round" in outcome.failure.message
    assert calls(simulator) == before  # what the hub tries again and again costs nothing
    assert (await desk.got(id)).fields["客户名称"] == "武汉机械厂"


async def test_the_same_approval_clicked_twice_or_after_its_end_has_one_outcome(desk: Desk) -> None:
    id = await desk.started()
    await desk.click("agree", id)
    for late in ("refuse", "agree", "withdraw"):
        with pytest.raises(ValueError, match="已"):
            await desk.click(late, id, actor="manager01")
    assert (await desk.got(id)).fields["state"] == "agreed"


def _typed(number: str) -> dict[str, Any]:
    """The form as a person fills it."""
    values = [
        {"name": name, "value": value} for name, value in {**FORM, "报价单号": number}.items() if not name.isascii()
    ]
    return {"originatorUserId": "lina", "deptId": 102, "formComponentValues": values}
