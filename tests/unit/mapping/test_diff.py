"""What an edit would change, told field by field, with personal values masked."""

from __future__ import annotations

from textwrap import dedent

import pytest

from hub.domain.errors import InvalidInput
from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.mapping.check_scope import Schemas
from hub.mapping.diff import LEFT_ALONE, NEW_ROW, NO_ROW, DiffReport, FieldChange, MappingDiff, diff_mappings
from hub.mapping.load import load
from hub.mapping.result import Context, Item, RefAnswer, RefKey, RefState

ROWS = {"Qty": Field("Qty", FieldType.DECIMAL, scale=2), "Note": Field("Note")}
SCHEMAS: Schemas = {
    ("crm", "Order"): ObjectSchema(
        "Order",
        "",
        "_id",
        {
            "_id": Field("_id"),
            "name": Field("name"),
            "phone": Field("phone", FieldType.PHONE, personal=True),
            "amount": Field("amount", FieldType.MONEY, scale=2),
            "status": Field("status"),
            "account": Field("account", FieldType.REFERENCE, reference="Account"),
            "lines": Field(
                "lines",
                FieldType.ROWS,
                rows={"id": Field("id"), "qty": Field("qty", FieldType.DECIMAL), "note": Field("note")},
                row_key="id",
            ),
        },
    ),
    ("erp", "Bill"): ObjectSchema(
        "Bill",
        "",
        "ID",
        {
            "No": Field("No"),
            "Phone": Field("Phone", personal=True, length=30),
            "Amount": Field("Amount", FieldType.MONEY, scale=2),
            "Customer": Field("Customer", FieldType.REFERENCE, reference="Client"),
            "Entry": Field("Entry", FieldType.ROWS, rows=ROWS),
        },
    ),
}
OLD = dedent("""\
    mapping: orders
    entity: order
    source: {system: crm, object: Order}
    target: {system: erp, object: Bill}
    title: name
    when: record.status != "void"
    fields:
      No: name
      Phone: phone
      Amount: amount
      Entry: {each: lines, key: id, fields: {Qty: qty}}
    """)


def item(number: int, **fields: object) -> Item:
    line = {"id": "l1", "qty": "2", "note": "x"}
    record = {
        "_id": str(number), "name": f"SO-{number}", "phone": "13800001111", "amount": "100.00", "status": "open",
        "account": "a1", "lines": [line], **fields,
    }  # fmt: skip
    return Item(str(number), record)  # type: ignore[arg-type]


def diff(new: str, *items: Item, context: Context | None = None) -> DiffReport:
    return diff_mappings(
        load(OLD, "old.yaml"), load(new, "new.yaml"), items or (item(1),), context or Context(), SCHEMAS
    )


def edited(old: str, new: str) -> str:
    assert OLD.count(old) == 1
    return OLD.replace(old, new)


def changes(report: DiffReport) -> list[FieldChange]:
    [record] = report.records
    return list(record.changes)


def test_the_same_mapping_changes_nothing() -> None:
    report = diff(OLD, item(1), item(2))
    assert (report.looked_at, report.same, report.records) == (2, 2, [])


def test_values_that_mean_the_same_are_no_change() -> None:
    assert not diff(edited("Amount: amount", "Amount: {from: amount, scale: 1}")).records


def test_a_field_that_gets_another_value() -> None:
    report = diff(edited("Amount: amount", 'Amount: {calc: "amount * 2", scale: 2}'))
    assert changes(report) == [FieldChange("Amount", "100.00", "200.00")]
    assert (report.records[0].id, report.records[0].title) == ("1", "SO-1")


def test_only_the_records_that_it_touches_are_shown() -> None:
    new = edited("Amount: amount", 'Amount: {from: amount, default: "0.00"}')
    report = diff(new, item(1), item(2, amount=None), item(3))
    assert [record.id for record in report.records] == ["2"]
    assert changes(report) == [FieldChange("Amount", None, "0.00")]
    assert report.same == 2


def test_personal_values_are_masked_on_both_sides() -> None:
    [change] = changes(diff(edited("Phone: phone", 'Phone: {from: phone, replace: {"138": "139"}}')))
    shown = f"{change.before} {change.after}"
    assert "13800001111" not in shown
    assert "13900001111" not in shown
    assert change.field == "Phone"
    assert change.before != change.after or "***" in shown


def test_a_field_that_is_not_written_any_more() -> None:
    assert changes(diff(edited("  Amount: amount\n", ""))) == [FieldChange("Amount", "100.00", LEFT_ALONE)]


def test_a_field_that_is_new() -> None:
    new = edited("  Amount: amount\n", "  Amount: amount\n  Customer: {const: C1}\n")
    assert changes(diff(new)) == [FieldChange("Customer", LEFT_ALONE, "C1")]


def test_rows_are_paired_by_their_key() -> None:
    lines = [{"id": "l1", "qty": "2", "note": "x"}, {"id": "l2", "qty": "0", "note": "y"}]
    new = edited("fields: {Qty: qty}", "when: row.qty > 0.0, fields: {Qty: {calc: row.qty + 1}}")
    report = diff(new, item(1, lines=lines))
    assert changes(report) == [FieldChange("Entry[l1].Qty", "2", "3"), FieldChange("Entry[l2]", NEW_ROW, NO_ROW)]
    assert report.fields == {"Entry.Qty": 1, "Entry": 1}


def test_fields_are_counted_by_record() -> None:
    lines = [{"id": "l1", "qty": "2", "note": "x"}, {"id": "l2", "qty": "3", "note": "y"}]
    new = edited("fields: {Qty: qty}", "fields: {Qty: {calc: row.qty + 1}}")
    assert diff(new, item(1, lines=lines), item(2)).fields == {"Entry.Qty": 2}


def test_a_record_that_stops_travelling_says_why() -> None:
    report = diff(edited('record.status != "void"', 'record.status == "won"'))
    [record] = report.records
    assert (record.before, record.after) == ("travels", 'does not travel (when: record.status == "won")')
    assert record.stops
    assert report.failures == []


def test_a_new_failure_stands_out() -> None:
    report = diff(
        edited("No: name", "No: {from: name, lookup: code}") + "lookups: {code: {SO-1: A}}\n", item(1), item(2)
    )
    assert [record.id for record in report.failures] == ["2"]
    assert report.failures[0].after.startswith("fails: No: ")
    assert [record.id for record in report.records] == ["1", "2"]


def test_a_new_refusal_stands_out() -> None:
    report = diff(edited("fields:\n", "require: [{that: 'record.status == \"won\"', say: 还没有赢单}]\nfields:\n"))
    assert [record.after for record in report.failures] == ["is refused: 还没有赢单"]


def test_a_record_that_is_mended_is_no_failure() -> None:
    old, new = edited("No: name", "No: {from: name, lookup: code}") + "lookups: {code: {SO-9: A}}\n", OLD
    report = diff_mappings(load(old, "old.yaml"), load(new, "new.yaml"), [item(1)], Context(), SCHEMAS)
    assert [(record.after, record.stops) for record in report.records] == [("travels", False)]
    assert report.failures == []


def test_both_versions_say_what_they_need() -> None:
    new = edited("  Amount: amount\n", "  Amount: amount\n  Customer: {from: account, ref: customer}\n")
    both = MappingDiff(load(OLD, "old.yaml"), load(new, "new.yaml"), SCHEMAS)
    asked = RefKey("customer", "Account", "a1")
    assert both.collect([item(1)], Context()).refs == {asked}
    waiting = both.run([item(1)], Context())
    assert [record.after for record in waiting.records] == ["waits for customer"]
    found = both.run([item(1)], Context(refs={asked: RefAnswer(RefState.FOUND, "C001")}))
    assert changes(found) == [FieldChange("Customer", LEFT_ALONE, "C001")]


def test_batches_add_up_in_one_report() -> None:
    both = MappingDiff(load(OLD, "old.yaml"), load(edited("  Amount: amount\n", ""), "new.yaml"), SCHEMAS)
    report = both.run([item(1)], Context())
    report = both.run([item(2), item(3)], Context(), report)
    assert (report.looked_at, len(report.records), report.fields) == (3, 3, {"Amount": 3})


def test_actions_that_change() -> None:
    new = OLD + "actions: [{if: 'record.status == \"open\"', do: [Cancel]}]\n"
    assert changes(diff(new)) == [FieldChange("actions", [], ["Cancel"])]


def test_a_version_that_can_not_be_compiled_is_told_with_its_problems() -> None:
    with pytest.raises(InvalidInput, match="can't be compiled"):
        diff(edited("No: name", "No: {from: name, lookup: nowhere}"))
