"""Orders against the simulator: rows, steps, locked documents, foreign rows, partial batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connectors.erp.kingdee.connector import KingdeeConnector
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.simulator import KingdeeSimulator
from connectors.erp.kingdee.simulator_store import Refused
from hub.connector.contract import Op, Write
from hub.connector.faults import Fault, FaultKind
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Fields, RowsWrite, RowWrite

FORM = "SAL_SaleOrder"
TABLE = "FSaleOrderEntry"


def head(number: int, **more: Any) -> Fields:
    return {
        "F_CRM_NO": f"SO-{number}",
        "FDate": "2024-05-06",
        "FSaleOrgId.FNumber": "100",
        "FCustId.FNumber": "C001",
        "FSaleOrderFinance.FSettleCurrId.FNumber": "PRE007",
        "FSaleOrderFinance.FExchangeRate": "7.1",
        **more,
    }


def line(key: str, material: str = "M001", quantity: str = "2", price: str = "113", id: str | None = None) -> RowWrite:
    fields: Fields = {
        "FTaxPrice": price,
        "FEntryTaxRate": "13",
        "FQty": quantity,
        "FMaterialId.FNumber": material,
        "FUnitID.FNumber": "Pcs",
    }
    return RowWrite(key, id, fields)


def order(number: int, *lines: RowWrite, **more: Any) -> Write:
    rows = {TABLE: RowsWrite(upsert=list(lines or (line("l1"),)))}
    return Write(Op.CREATE, fields=head(number), rows=rows, stamp=f"k{number}", **more)


async def one(erp: KingdeeConnector, write: Write) -> Outcome:
    (outcome,) = await erp.write(FORM, [write])
    return outcome


async def test_create_submit_audit(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    outcome = await one(erp, order(1, line("l1"), line("l2", "M002", "1.5", "10"), steps=("submit", "audit")))
    assert outcome.ok, outcome.failure
    assert outcome.steps == ("save", "submit", "audit")
    row = stock.table(FORM).get(str(outcome.id))
    assert row is not None
    assert outcome.keys == {"number": row["FBillNo"]}
    assert outcome.rows == {TABLE: {"l1": str(row[TABLE][0]["FEntryID"]), "l2": str(row[TABLE][1]["FEntryID"])}}
    assert (row["FDocumentStatus"], row["F_HUB_KEY"], row["F_CRM_NO"]) == ("C", "k1", "SO-1")
    assert row["FSaleOrderFinance.FSettleCurrId.FNumber"] == "PRE007", "the customer's currency came after ours"
    assert [each["F_HUB_ROW"] for each in row[TABLE]] == ["l1", "l2"]
    assert [each["FTaxPrice"] for each in row[TABLE]] == ["113.000000", "10.000000"], (
        "the material's price came after ours"
    )
    assert row["FSaleOrderFinance.FBillAllAmount"] == "241.00"


async def test_read_brings_what_was_written(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    outcome = await one(erp, order(1, line("l1"), line("l2", "M002")))
    (answer,) = await erp.get(FORM, [str(outcome.id)])
    assert answer.record is not None
    fields = answer.record.fields
    assert fields["FCustId.FNumber"] == "C001"
    assert fields["FDate"] == "2024-05-06"
    assert fields["FSaleOrderFinance.FBillAllAmount"] == "452.00"
    assert fields["FNote"] is None
    assert fields["FCancelStatus"] == "A"
    assert fields["FDocumentStatus"] == "A"
    rows = fields[TABLE]
    assert isinstance(rows, list)
    assert [(row["FMaterialId.FNumber"], row["FQty"], row["F_HUB_ROW"]) for row in rows if isinstance(row, dict)] == [
        ("M001", "2.000000", "l1"),
        ("M002", "2.000000", "l2"),
    ]


async def test_one_bad_order_does_not_harm_its_neighbours(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    bad = order(2)
    bad.fields["FCustId.FNumber"] = "NOBODY"
    outcomes = await erp.write(FORM, [order(1), bad, order(3)])
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.OK, OutcomeKind.BLOCKED, OutcomeKind.OK]
    failure = outcomes[1].failure
    assert failure is not None
    assert (failure.field, "NOBODY" in failure.message) == ("FCustId", True)
    assert stock.counts["BatchSave"] == 1


async def test_a_refused_step_is_resumed_from_the_state_that_stands_there(
    stock: KingdeeSimulator, erp: KingdeeConnector
) -> None:
    await erp.describe(FORM)
    # The submit is done, and its answer never comes.
    stock.faults.arm(Fault(kind=FaultKind.RESET_AFTER_COMMIT, op="^Submit$"))
    first = await one(erp, order(1, steps=("submit", "audit")))
    assert (first.kind, first.cause, first.steps) == (OutcomeKind.PARTLY, OutcomeKind.UNKNOWN, ("save",))
    again = order(1, steps=("submit", "audit"), done=first.steps)
    again.id = first.id
    second = await one(erp, again)
    assert second.ok, second.failure
    assert second.steps == ("save", "submit", "audit")
    assert (stock.counts["Submit"], stock.counts["BatchSave"]) == (1, 1)


async def test_credit_refuses_the_audit_of_one_order(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    stock.refuse_next.append(("Audit", Refused("客户“远航”信用额度不足", code=11)))
    outcome = await one(erp, order(1, steps=("submit", "audit")))
    assert (outcome.kind, outcome.cause) == (OutcomeKind.PARTLY, OutcomeKind.BLOCKED)
    assert outcome.steps == ("save", "submit")


async def test_an_audited_order_is_held_unless_reopening_is_allowed(
    stock: KingdeeSimulator, erp: KingdeeConnector
) -> None:
    made = await one(erp, order(1, steps=("submit", "audit")))
    update = Write(Op.UPDATE, id=made.id, fields={"FNote": "加急"})
    held = await one(erp, update)
    assert held.kind is OutcomeKind.BLOCKED
    assert held.failure is not None
    assert "已审核" in held.failure.message
    update.options = {"when_locked": "reopen"}
    done = await one(erp, update)
    assert done.ok, done.failure
    assert done.steps == ("save", "submit", "audit")
    row = stock.table(FORM).get(str(made.id))
    assert row is not None
    assert (row["FNote"], row["FDocumentStatus"]) == ("加急", "C")


async def test_a_reopened_order_whose_save_is_refused_is_audited_again(
    stock: KingdeeSimulator, erp: KingdeeConnector
) -> None:
    made = await one(erp, order(1, steps=("submit", "audit")))
    fields: Fields = {"FCustId.FNumber": "NOBODY"}
    outcome = await one(erp, Write(Op.UPDATE, id=made.id, fields=fields, options={"when_locked": "reopen"}))
    assert outcome.kind is OutcomeKind.BLOCKED
    row = stock.table(FORM).get(str(made.id))
    assert row is not None
    assert (row["FDocumentStatus"], row["FCustId.FNumber"]) == ("C", "C001")


async def test_update_changes_its_rows_and_leaves_foreign_rows_alone(
    stock: KingdeeSimulator, erp: KingdeeConnector
) -> None:
    made = await one(erp, order(1, line("l1"), line("l2", "M002")))
    foreign = {"FMaterialId.FNumber": "M002", "FQty": "7", "FUnitID.FNumber": "kg", "FTaxPrice": "1"}
    await stock.change({"op": "update", "object": FORM, "id": made.id, "fields": {TABLE: [foreign]}})
    ids = made.rows[TABLE]
    changed = RowsWrite(upsert=[RowWrite("l1", ids["l1"], {"FQty": "5"}), line("l3", "M001", "1", "8")])
    outcome = await one(erp, Write(Op.UPDATE, id=made.id, rows={TABLE: changed}))
    assert outcome.ok, outcome.failure
    row = stock.table(FORM).get(str(made.id))
    assert row is not None
    assert [(each["FQty"], each.get("F_HUB_ROW")) for each in row[TABLE]] == [
        ("5.000000", "l1"),
        ("2.000000", "l2"),
        ("7.000000", None),
        ("1.000000", "l3"),
    ]
    assert outcome.rows[TABLE] == {"l1": ids["l1"], "l3": str(row[TABLE][3]["FEntryID"])}


async def test_a_removed_row_takes_no_other_row_with_it(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    made = await one(erp, order(1, line("l1"), line("l2", "M002"), line("l3")))
    foreign = {"FMaterialId.FNumber": "M002", "FQty": "7", "FUnitID.FNumber": "kg", "FTaxPrice": "1"}
    await stock.change({"op": "update", "object": FORM, "id": made.id, "fields": {TABLE: [foreign]}})
    ids = made.rows[TABLE]
    rows = RowsWrite(upsert=[RowWrite("l3", ids["l3"], {"FQty": "9"})], remove=[ids["l2"]])
    outcome = await one(erp, Write(Op.UPDATE, id=made.id, rows={TABLE: rows}))
    assert outcome.ok, outcome.failure
    row = stock.table(FORM).get(str(made.id))
    assert row is not None
    assert sorted((str(each["F_HUB_ROW"]) if each.get("F_HUB_ROW") else "", each["FQty"]) for each in row[TABLE]) == [
        ("", "7.000000"),
        ("l1", "2.000000"),
        ("l3", "9.000000"),
    ]


async def test_who_has_the_document_open_makes_the_write_wait(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    made = await one(erp, order(1))
    await stock.change({"op": "operation", "operation": "lock", "object": FORM, "id": made.id})
    outcome = await one(erp, Write(Op.UPDATE, id=made.id, fields={"FNote": "x"}))
    assert outcome.kind is OutcomeKind.NOT_EXECUTED
    assert outcome.retry_after
    await stock.change({"op": "operation", "operation": "unlock", "object": FORM, "id": made.id})
    assert (await one(erp, Write(Op.UPDATE, id=made.id, fields={"FNote": "x"}))).ok


async def test_operations_and_deletes(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    first, second = await erp.write(FORM, [order(1), order(2, steps=("submit", "audit"))])
    cancel = [Write(Op.OPERATION, id=each.id, operation="Cancel") for each in (first, second)]
    assert [outcome.kind for outcome in await erp.write(FORM, cancel)] == [OutcomeKind.OK, OutcomeKind.OK]
    again = await one(erp, cancel[0])
    assert again.kind is OutcomeKind.BLOCKED
    deleted = await erp.write(FORM, [Write(Op.DELETE, id=each.id) for each in (first, second)])
    assert [outcome.kind for outcome in deleted] == [OutcomeKind.OK, OutcomeKind.BLOCKED]
    reopened = await one(erp, Write(Op.DELETE, id=second.id, options={"when_locked": "reopen"}))
    assert reopened.ok, reopened.failure
    assert not len(stock.table(FORM))


async def test_the_other_spelling_of_excute_operation_is_tried(connect: Callable[..., KingdeeConnector]) -> None:
    from hub.connector.kit import Kit
    from hub.connector.serving import serve

    simulator = KingdeeSimulator(execute_operation="ExecuteOperation")
    async with serve(simulator):
        customer = {"FCUSTID": 9, "FNumber": "C9", "FName": "n", "FUseOrgId.FNumber": "100"}
        await simulator.bulk("BD_Customer", [customer])
        erp = KingdeeConnector(KingdeeSettings.model_validate(simulator.settings()), Kit.local("erp"))
        (outcome,) = await erp.write("BD_Customer", [Write(Op.OPERATION, id="9", operation="Forbid")])
        await erp.aclose()
    assert outcome.ok, outcome.failure


async def test_allocate_gives_a_customer_to_another_organisation(
    stock: KingdeeSimulator, erp: KingdeeConnector, connect: Callable[..., KingdeeConnector]
) -> None:
    outcome = await one_customer(
        erp, Write(Op.OPERATION, id="501", operation="Allocate", options={"organizations": ["200"]})
    )
    assert outcome.ok, outcome.failure
    (mine,) = await erp.find("BD_Customer", [{"FNumber": "C001"}])
    (theirs,) = await connect(org_num="200").find("BD_Customer", [{"FNumber": "C001"}])
    assert [record.id for record in mine.records] == ["501"]
    assert [record.id for record in theirs.records] != ["501"]
    assert len(theirs.records) == 1


async def one_customer(erp: KingdeeConnector, write: Write) -> Outcome:
    (outcome,) = await erp.write("BD_Customer", [write])
    return outcome


async def test_a_number_that_is_taken_is_a_duplicate(stock: KingdeeSimulator, erp: KingdeeConnector) -> None:
    fields: Fields = {
        "FNumber": "C001",
        "FName": "另一个",
        "FCreateOrgId.FNumber": "100",
        "FTRADINGCURRID.FNumber": "PRE001",
    }
    outcome = await one_customer(erp, Write(Op.CREATE, fields=fields))
    assert outcome.kind is OutcomeKind.DUPLICATE
