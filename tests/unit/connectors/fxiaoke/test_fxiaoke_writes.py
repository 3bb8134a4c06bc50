"""The connector's writes against the simulator: rows, owners, steps that resume, refusals explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.crm.fxiaoke.connector import FxiaokeConnector
from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.crm.fxiaoke.simulator_describe import ObjectInfo, field_info
from connectors.crm.fxiaoke.simulator_tenant import Rights
from hub.connector.contract import GetKind, Op, Write
from hub.connector.faults import Fault, FaultKind
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import RowsWrite, RowWrite

Make = Callable[..., FxiaokeConnector]
TABLE = "SalesOrderProductObj"


async def one(connector: FxiaokeConnector, object: str, write: Write) -> Outcome:
    (outcome,) = await connector.write(object, [write])
    return outcome


def new_order(order: dict[str, Any], *keys: str, **fields: Any) -> Write:
    rows = [
        RowWrite(key, None, {"product_id": order["products"][at % 2], "quantity": str(at + 1), "sales_price": "6.00"})
        for at, key in enumerate(keys)
    ]
    base = {"account_id": order["account"], "order_time": 1_767_110_400_000, "order_amount": "24.00"}
    return Write(Op.CREATE, fields={**base, **fields}, rows={TABLE: RowsWrite(rows)} if rows else {}, stamp="S-1#1")


def ops(simulator: FxiaokeSimulator) -> list[tuple[str, str]]:
    return [(entry.op, entry.object) for entry in simulator.journal if entry.actor == "api"]


async def test_create_with_rows_answers_row_ids_number_and_stamp(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    outcome = await one(connector, "SalesOrderObj", new_order(order, "r1", "r2", "r3"))
    assert outcome.ok
    assert outcome.steps == ("save",)
    record = simulator.table("SalesOrderObj").get(str(outcome.id))
    assert record is not None
    assert record["hub_key__c"] == "S-1#1"
    assert record["owner"] == ["1000"]
    assert outcome.keys == {"number": record["name"]}
    for key, quantity in (("r1", "1.0000"), ("r2", "2.0000"), ("r3", "3.0000")):
        row = simulator.table(TABLE).get(outcome.rows[TABLE][key])
        assert row is not None
        assert (row["order_id"], row["quantity"], row["hub_key__c"]) == (outcome.id, quantity, key)
    assert ops(simulator) == [("create", "SalesOrderObj"), *[("create", TABLE)] * 3]


async def test_detail_ids_are_used_where_the_answer_has_them(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    simulator.tenant.switches.detail_ids_at = "detailIds"
    simulator.counts.clear()
    outcome = await one(connector, "SalesOrderObj", new_order(order, "r1", "r2"))
    made = [entry.id for entry in simulator.journal if entry.object == TABLE and entry.actor == "api"]
    assert [outcome.rows[TABLE]["r1"], outcome.rows[TABLE]["r2"]] == made
    assert simulator.counts["query"] + simulator.counts["findSimple"] == 1  # the order's number, no rows


async def test_equal_rows_without_a_key_field_are_paired_one_to_one(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    del simulator.tenant.objects[TABLE].fields["hub_key__c"]
    same = {"product_id": order["products"][0], "quantity": "1", "sales_price": "6"}
    other = {**same, "product_id": order["products"][1]}
    rows = [RowWrite("a", None, dict(same)), RowWrite("b", None, other), RowWrite("c", None, dict(same))]
    write = new_order(order)
    write.rows = {TABLE: RowsWrite(rows)}
    outcome = await one(connector, "SalesOrderObj", write)
    assert outcome.ok
    paired = outcome.rows[TABLE]
    assert len(set(paired.values())) == 3
    row = simulator.table(TABLE).get(paired["b"])
    assert row is not None
    assert row["product_id"] == order["products"][1]


async def test_rows_that_cannot_be_read_back_leave_the_create_unknown(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    await connector.describe("SalesOrderObj")
    simulator.faults.arm(Fault(kind=FaultKind.HTTP_500, op="^(query|findSimple)$", body=TABLE, times=None))
    write = new_order(order, "r1", "r2")
    first = await one(connector, "SalesOrderObj", write)
    assert (first.kind, first.steps) == (OutcomeKind.UNKNOWN, ("save",))
    simulator.faults.clear()
    write.id, write.done = first.id, first.steps
    second = await one(connector, "SalesOrderObj", write)
    assert second.ok
    assert second.id == first.id
    assert set(second.rows[TABLE]) == {"r1", "r2"}
    assert ops(simulator).count(("create", "SalesOrderObj")) == 1


async def test_update_of_rows_goes_through_the_detail_object(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    keep, drop = order["lines"]
    rows = RowsWrite(
        upsert=[
            RowWrite("k", keep, {"quantity": "5"}),
            RowWrite("n", None, {"product_id": order["products"][0], "quantity": "7"}),
        ],
        remove=[drop],
    )
    write = Write(Op.UPDATE, id=order["order"], fields={"remark": "改"}, rows={TABLE: rows})
    outcome = await one(connector, "SalesOrderObj", write)
    assert outcome.ok
    assert outcome.rows[TABLE]["k"] == keep
    table = simulator.table(TABLE)
    assert {row["quantity"] for row in table} == {"5.0000", "7.0000"}
    assert table.get(outcome.rows[TABLE]["n"])["order_id"] == order["order"]  # type: ignore[index]
    assert drop not in simulator.tenant.recycled[TABLE]
    assert ops(simulator) == [
        ("update", "SalesOrderObj"), ("update", TABLE), ("create", TABLE), ("invalid", TABLE),
    ]  # fmt: skip


async def test_rows_alone_leave_the_master_unwritten(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    before = simulator.table("SalesOrderObj").get(order["order"])
    rows = RowsWrite(upsert=[RowWrite("k", order["lines"][0], {"quantity": "5"})])
    outcome = await one(connector, "SalesOrderObj", Write(Op.UPDATE, id=order["order"], rows={TABLE: rows}))
    assert outcome.ok
    assert simulator.table("SalesOrderObj").get(order["order"]) == before


async def test_a_save_that_stops_among_its_rows_adds_none_twice(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    await connector.describe("SalesOrderObj")
    simulator.faults.arm(Fault(kind=FaultKind.THROTTLE, op="^create$", skip=1))
    rows = [RowWrite(key, None, {"product_id": order["products"][0], "quantity": "7"}) for key in ("a", "b")]
    write = Write(Op.UPDATE, id=order["order"], fields={"remark": "改"}, rows={TABLE: RowsWrite(rows)})
    first = await one(connector, "SalesOrderObj", write)
    assert (first.kind, first.steps) == (OutcomeKind.NOT_EXECUTED, ())
    assert first.retry_after is not None
    second = await one(connector, "SalesOrderObj", write)
    assert second.ok
    assert second.rows[TABLE]["a"] == first.rows[TABLE]["a"]
    assert ops(simulator).count(("create", TABLE)) == 2


async def test_rows_without_a_key_field_leave_a_stopped_save_unknown(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    del simulator.tenant.objects[TABLE].fields["hub_key__c"]
    await connector.describe("SalesOrderObj")
    simulator.faults.arm(Fault(kind=FaultKind.THROTTLE, op="^create$", skip=1))
    rows = [RowWrite(key, None, {"product_id": order["products"][0], "quantity": "7"}) for key in ("a", "b")]
    outcome = await one(connector, "SalesOrderObj", Write(Op.UPDATE, id=order["order"], rows={TABLE: RowsWrite(rows)}))
    assert outcome.kind is OutcomeKind.UNKNOWN


async def test_a_step_after_the_save_makes_it_partly_with_its_cause(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    await connector.describe("SalesOrderObj")
    simulator.faults.arm(Fault(kind=FaultKind.THROTTLE, op="^lock$"))
    write = Write(Op.UPDATE, id=order["order"], fields={"remark": "改"}, steps=("lock",))
    outcome = await one(connector, "SalesOrderObj", write)
    assert (outcome.kind, outcome.cause) == (OutcomeKind.PARTLY, OutcomeKind.NOT_EXECUTED)
    assert outcome.steps == ("save",)


async def test_an_unanswered_row_is_unknown_with_what_is_done(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    await connector.describe("SalesOrderObj")
    simulator.failure_code = 50009
    simulator.faults.arm(Fault(kind=FaultKind.HTTP_500_AFTER_COMMIT, op="^create$"))
    rows = RowsWrite([RowWrite("a", None, {"product_id": order["products"][0], "quantity": "7"})])
    outcome = await one(
        connector, "SalesOrderObj", Write(Op.UPDATE, id=order["order"], fields={"remark": "改"}, rows={TABLE: rows})
    )
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert (outcome.id, outcome.steps) == (order["order"], ())


async def test_a_changed_owner_goes_through_its_own_call(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    fields = {"remark": "改", "owner": ["1002"]}
    outcome = await one(connector, "SalesOrderObj", Write(Op.UPDATE, id=order["order"], fields=fields))
    assert outcome.ok
    assert outcome.steps == ("save",)
    record = simulator.table("SalesOrderObj").get(order["order"])
    assert record is not None
    assert (record["owner"], record["remark"]) == (["1002"], "改")
    assert ops(simulator) == [("update", "SalesOrderObj"), ("changeOwner", "SalesOrderObj")]


async def test_delete_takes_two_steps_and_resumes(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    await connector.describe("AccountObj")
    simulator.faults.arm(Fault(kind=FaultKind.THROTTLE, op="^delete$"))
    made = await one(connector, "AccountObj", Write(Op.CREATE, fields={"name": "新客户"}))
    first = await one(connector, "AccountObj", Write(Op.DELETE, id=made.id))
    assert (first.kind, first.steps) == (OutcomeKind.PARTLY, ("invalid",))
    assert first.cause is OutcomeKind.NOT_EXECUTED
    second = await one(connector, "AccountObj", Write(Op.DELETE, id=made.id, done=first.steps))
    assert (second.ok, second.steps) == (True, ("invalid", "delete"))
    third = await one(connector, "AccountObj", Write(Op.DELETE, id=made.id))
    assert third.kind is OutcomeKind.GONE
    assert made.id not in simulator.tenant.recycled["AccountObj"]


async def test_delete_of_what_a_person_invalidated_goes_on(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    change = {"op": "operation", "operation": "invalid", "object": "AccountObj", "id": order["account"]}
    await simulator.change(change)
    assert order["account"] in simulator.tenant.recycled["AccountObj"]
    outcome = await one(connector, "AccountObj", Write(Op.DELETE, id=order["account"]))
    assert outcome.ok
    assert order["account"] not in simulator.tenant.recycled["AccountObj"]


@pytest.mark.parametrize("operation", ["lock", "unlock", "invalid", "changeOwner"])
async def test_operations(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any], operation: str
) -> None:
    fields: dict[str, Any] = {"owner": ["1003"]} if operation == "changeOwner" else {}
    write = Write(Op.OPERATION, id=order["order"], operation=operation, fields=fields)
    outcome = await one(connector, "SalesOrderObj", write)
    assert outcome.ok
    assert outcome.steps == (operation,)
    assert (operation, "SalesOrderObj") in ops(simulator)


async def test_recover_brings_a_record_and_its_rows_back(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    for operation in ("invalid", "recover"):
        assert (await one(connector, "SalesOrderObj", Write(Op.OPERATION, id=order["order"], operation=operation))).ok
    assert len(simulator.table(TABLE)) == 2


async def test_an_unknown_operation_is_refused_before_it_leaves(
    connector: FxiaokeConnector, order: dict[str, Any]
) -> None:
    outcome = await one(connector, "SalesOrderObj", Write(Op.OPERATION, id=order["order"], operation="Audit"))
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert "changeOwner" in outcome.failure.message


async def test_a_locked_record_is_blocked_by_what_the_record_says(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    await simulator.change({"op": "operation", "operation": "lock", "object": "AccountObj", "id": order["account"]})
    outcome = await one(connector, "AccountObj", Write(Op.UPDATE, id=order["account"], fields={"remark": "x"}))
    assert outcome.kind is OutcomeKind.BLOCKED
    assert outcome.failure is not None
    assert "已锁定" in outcome.failure.message


async def test_a_record_in_approval_is_blocked(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    change = {"op": "update", "object": "AccountObj", "id": order["account"], "fields": {"life_status": "in_change"}}
    await simulator.change(change)
    outcome = await one(connector, "AccountObj", Write(Op.UPDATE, id=order["account"], fields={"remark": "x"}))
    assert outcome.kind is OutcomeKind.BLOCKED


async def test_refusals_carry_code_text_and_trace(connector: FxiaokeConnector, order: dict[str, Any]) -> None:
    write = Write(Op.UPDATE, id=order["account"], fields={"account_level": "nonsense"})
    outcome = await one(connector, "AccountObj", write)
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert outcome.failure.code == "3200103"
    assert "traceId E-O.demoea.1000-" in outcome.failure.message


async def test_a_tenants_own_codes_get_their_meaning(
    make: Make, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    connector = make(errors=[{"code": 3200106, "kind": "duplicate"}], trigger_approval=True)
    assert (await one(connector, "AccountObj", Write(Op.CREATE, fields={"name": "甲"}, stamp="K"))).ok
    outcome = await one(connector, "AccountObj", Write(Op.CREATE, fields={"name": "乙"}, stamp="K"))
    assert outcome.kind is OutcomeKind.DUPLICATE
    assert len(simulator.tenant.approvals) == 1
    assert simulator.tenant.workflow_runs == []


async def test_the_duplicate_rule_runs_where_a_flow_asks_for_it(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    simulator.tenant.switches.duplicate_fields = {"AccountObj": ["name"]}
    fields = {"name": "武汉机械厂"}
    refused = await one(connector, "AccountObj", Write(Op.CREATE, fields=fields, options={"duplicate_search": True}))
    assert refused.kind is OutcomeKind.REJECTED
    assert (await one(connector, "AccountObj", Write(Op.CREATE, fields=fields))).ok


@pytest.mark.parametrize("name", ["no_such_field__c", "SalesOrderProductObj"])
async def test_a_field_that_the_object_lacks_is_refused_here(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any], name: str
) -> None:
    before = len(simulator.journal)
    outcome = await one(connector, "SalesOrderObj", Write(Op.UPDATE, id=order["order"], fields={name: "x"}))
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert outcome.failure.field == name
    assert len(simulator.journal) == before


async def test_writes_of_one_record_go_in_turn(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    batch = [Write(Op.UPDATE, id=order["account"], fields={"remark": str(n)}) for n in range(20)]
    outcomes = await connector.write("AccountObj", batch)
    assert all(outcome.ok for outcome in outcomes)
    said = [e.after["remark"] for e in simulator.journal if e.op == "update" and e.after is not None]
    assert said == [str(n) for n in range(20)]


async def test_a_spent_day_defers_writes_until_midnight(
    make: Make, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    connector = make()
    await connector.describe("AccountObj")
    simulator.gate.limits.day_pack = 1
    outcome = await one(connector, "AccountObj", Write(Op.CREATE, fields={"name": "甲"}))
    assert outcome.kind is OutcomeKind.NOT_EXECUTED
    assert outcome.retry_after is not None
    midnight = simulator.clock.now() / 1000 + outcome.retry_after + 8 * 3600
    assert round(midnight) % 86_400 in {0, 1, 86_399}


async def test_our_own_day_budget_defers_too(make: Make, order: dict[str, Any]) -> None:
    connector = make(day_calls=4)
    outcomes = await connector.write("AccountObj", [Write(Op.CREATE, fields={"name": f"甲{n}"}) for n in range(6)])
    kinds = {outcome.kind for outcome in outcomes}
    assert kinds == {OutcomeKind.OK, OutcomeKind.NOT_EXECUTED}
    assert all(outcome.ok or (outcome.retry_after or 0) > 0 for outcome in outcomes)


async def test_the_budget_keeps_us_below_the_vendors_limit(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator
) -> None:
    batch = [Write(Op.CREATE, fields={"name": f"客户{n}"}) for n in range(230)]
    outcomes = await connector.write("AccountObj", batch)
    assert all(outcome.ok for outcome in outcomes)
    assert simulator.counts["create"] == 230  # none was refused and sent again


async def test_a_read_only_employee_is_told_apart_from_a_bad_record(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    simulator.tenant.rights["1000"] = Rights(read_only={"AccountObj"})
    outcome = await one(connector, "AccountObj", Write(Op.UPDATE, id=order["account"], fields={"remark": "x"}))
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert "无此操作的数据权限" in outcome.failure.message


async def test_custom_objects_use_their_own_paths_and_may_leave_the_id_out(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator
) -> None:
    common = simulator.tenant.objects["AccountObj"].fields
    own = {name: info for name, info in common.items() if info.system or name in {"owner", "hub_key__c", "name"}}
    own["amount__c"] = field_info("amount__c", {"label": "金额", "type": "currency", "custom": True})
    simulator.tenant.add_object(ObjectInfo("object_a__c", "单据", own))
    simulator.tenant.switches.create_answers_id = False
    write = Write(Op.CREATE, fields={"name": "一", "amount__c": "1.5"}, stamp="K-1")
    outcome = await one(connector, "object_a__c", write)
    assert outcome.ok
    (row,) = simulator.table("object_a__c")
    assert (outcome.id, row["amount__c"]) == (row["_id"], "1.50")
    assert (await one(connector, "object_a__c", Write(Op.DELETE, id=outcome.id))).ok
    without = await one(connector, "object_a__c", Write(Op.CREATE, fields={"name": "二"}))
    assert without.kind is OutcomeKind.UNKNOWN


async def test_get_after_invalidate_is_gone_whichever_way_the_tenant_answers(
    connector: FxiaokeConnector, simulator: FxiaokeSimulator, order: dict[str, Any]
) -> None:
    assert (await one(connector, "SalesOrderObj", Write(Op.OPERATION, id=order["order"], operation="invalid"))).ok
    for way in ("record", "missing"):
        simulator.tenant.switches.get_invalid = way
        (answer,) = await connector.get("SalesOrderObj", [order["order"]])
        assert answer.kind is GetKind.GONE
        (line,) = await connector.get(TABLE, [order["lines"][0]])
        assert line.kind is GetKind.GONE
