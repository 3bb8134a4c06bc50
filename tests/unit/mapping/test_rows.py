"""Tables: rows from rows, grouped, fixed, of scalars, shared out and split over several records."""

from __future__ import annotations

from typing import Any

import pytest

from hub.domain.errors import InvalidInput
from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.mapping.compile import CompiledMapping, RelatedNeed, TableFacts, compile_mapping
from hub.mapping.load import load
from hub.mapping.result import Context, Failed, Filtered, Item, RefAnswer, RefKey, RefState, RenderedRow, Waiting

HEAD = (
    "mapping: m\nentity: e\nsource: {system: a, object: A}\ntarget: {system: b, object: B}\n"
    "related:\n"
    "  lines: {object: Line, where: {order_id: _id}, wakes: true}\n"
    "  account: {object: Account, id: account_id}\n"
    "  product: {of: lines, object: Product, id: product_id}\n"
)
SOURCE = [
    Field("_id"),
    Field("total", FieldType.MONEY),
    Field("account_id", FieldType.REFERENCE, reference="Account"),
    Field("members", FieldType.REFERENCE, reference="User", many=True),
    Field(
        "T", FieldType.ROWS, rows={"k": Field("k"), "n": Field("n", FieldType.DECIMAL)}, row_key="k", row_object="Row"
    ),
]
LINE = [
    Field("_id"),
    Field("product_id", FieldType.REFERENCE, reference="Product"),
    Field("quantity", FieldType.DECIMAL),
    Field("subtotal", FieldType.MONEY),
    Field("company"),
]
TARGET = [
    Field("No"),
    Field("M", many=True),
    Field("E", FieldType.ROWS, rows={"Q": Field("Q", FieldType.DECIMAL), "P": Field("P", length=4), "K": Field("K")}),
]
LINES: list[dict[str, Any]] = [
    {"_id": "l1", "product_id": "p1", "quantity": "2", "subtotal": "10.00", "company": "x"},
    {"_id": "l2", "product_id": "p2", "quantity": "0", "subtotal": "20.00", "company": "y"},
    {"_id": "l3", "product_id": "p1", "quantity": "5", "subtotal": "30.00", "company": "x"},
]


def schema(name: str, fields: list[Field], id_field: str = "_id") -> ObjectSchema:
    return ObjectSchema(name, name, id_field, {field.name: field for field in fields})


def build(text: str) -> CompiledMapping:
    return compile_mapping(
        load(HEAD + text, "m.yaml"),
        source=schema("A", SOURCE),
        target=schema("B", TARGET, "id"),
        related={
            "lines": schema("Line", LINE),
            "account": schema("Account", [Field("_id"), Field("tel")]),
            "product": schema("Product", [Field("_id"), Field("code"), Field("rate", FieldType.DECIMAL)]),
        },
        plugins={},
    )


def run(text: str, record: dict[str, Any] | None = None, lines: Any = LINES, **related: Any) -> Any:
    given = {"lines": lines, **related} if lines is not None else related
    return build(text).run([Item("1", record or {"_id": "1"}, given)], Context())[0]


def rows(text: str, *args: Any, **given: Any) -> list[RenderedRow]:
    result = run(text, *args, **given)
    assert isinstance(result, list), result
    found: list[RenderedRow] = result[0].rows["E"]
    return found


def test_rows_have_keys_of_their_own() -> None:
    made = rows("fields: {E: {each: lines, key: _id, when: row.quantity > 0, fields: {Q: quantity, P: product_id}}}\n")
    assert made == [
        RenderedRow("l1", {"Q": "2", "P": "p1"}, "Line"),
        RenderedRow("l3", {"Q": "5", "P": "p1"}, "Line"),
    ]


def test_the_id_is_the_key_where_none_is_named_and_a_table_knows_its_own() -> None:
    assert [row.key for row in rows("fields: {E: {each: lines, fields: {Q: quantity}}}\n")] == ["l1", "l2", "l3"]
    made = rows("fields: {E: {each: T, fields: {Q: n, K: record._id}}}\n", {"_id": "9", "T": [{"k": "a", "n": "1"}]})
    assert made == [RenderedRow("a", {"Q": "1", "K": "9"}, "Row")]


def test_rows_that_were_not_read_leave_the_table_alone_and_none_empty_it() -> None:
    text = "fields: {E: {each: lines, fields: {Q: quantity}}}\n"
    assert run(text, lines=None)[0].rows == {}
    assert run(text, lines=[])[0].rows == {"E": []}


def test_a_bad_row_is_named_by_its_place() -> None:
    text = "fields: {E: {each: lines, fields: {Q: quantity, P: company}}}\n"
    failed = run(text, lines=[LINES[0], {"_id": "x", "quantity": "many", "company": "too long"}])
    assert isinstance(failed, Failed)
    assert [(error.field, error.rule) for error in failed.errors] == [("E[2].Q", "decimal"), ("E[2].P", "length")]
    keyless = run(text, lines=[{"quantity": "1"}, LINES[0], LINES[0]])
    assert isinstance(keyless, Failed)
    assert [(error.field, error.rule) for error in keyless.errors] == [("E[1].key", "key"), ("E[3].key", "key")]


def test_grouped_rows_sum_their_own() -> None:
    made = rows(
        "fields: {E: {each: lines, group: company, fields: {K: company, Q: {sum: rows.subtotal}, P: {count: rows}}}}\n"
    )
    assert made == [
        RenderedRow("x", {"K": "x", "Q": "40.00", "P": "2"}, "Line"),
        RenderedRow("y", {"K": "y", "Q": "20.00", "P": "1"}, "Line"),
    ]


def test_fixed_rows() -> None:
    made = rows("fields: {E: {rows: [{K: {const: a}, Q: total}, {K: {const: b}}], key: K}}\n", {"total": "5"})
    assert made == [RenderedRow("a", {"K": "a", "Q": "5"}), RenderedRow("b", {"K": "b"})]


def test_rows_of_scalars() -> None:
    text = "fields: {M: {each: members, value: {from: row, ref: employee, take: number}}}\n"
    made = compile_mapping(
        load(HEAD + text, "m.yaml"), source=schema("A", SOURCE), target=schema("B", TARGET), plugins={}
    )
    items = [Item("1", {"members": ["u1", "u2"]})]
    asked = made.collect(items, Context()).refs
    assert {key.value for key in asked} == {"u1", "u2"}
    refs = {key: RefAnswer(RefState.FOUND, "1", {"number": "N" + key.value}) for key in asked}
    result = made.run(items, Context(refs=refs))[0]
    assert isinstance(result, list)
    assert result[0].fields == {"M": ["Nu1", "Nu2"]}
    assert isinstance(made.run(items, Context())[0], Waiting)


def test_scalars_from_related_rows() -> None:
    result = run("fields: {M: {each: lines, value: product_id}}\n")
    assert result[0].fields == {"M": ["p1", "p2", "p1"]}


def test_related_records_in_rows_and_at_the_top() -> None:
    text = (
        "fields:\n  No: account.tel\n"
        "  E: {each: lines, "
        "fields: {P: row.product.code, Q: {calc: row.product.rate * 2}, K: {cel: row.product.code}}}\n"
    )
    products = {"p1": {"_id": "p1", "code": "c1", "rate": "1.5"}, "p2": None}
    made = run(text, {"_id": "1", "account_id": "a"}, account={"tel": "123"}, product=products)[0]
    assert made.fields == {"No": "123"}
    assert [row.fields for row in made.rows["E"]] == [
        {"P": "c1", "Q": "3.0", "K": "c1"}, {"P": None, "Q": None, "K": None}, {"P": "c1", "Q": "3.0", "K": "c1"},
    ]  # fmt: skip
    gone = run(text, {"_id": "1", "account_id": None}, account=None, product=products)[0]
    assert gone.fields == {"No": None}
    unread = run(text)[0]
    assert unread.fields == {}
    assert unread.rows["E"][0].fields.keys() == {"K"}


def test_what_is_shared_adds_up() -> None:
    text = (
        "let: {spread: {apportion: total, over: lines.subtotal, scale: 2}}\n"
        "fields: {E: {each: lines, fields: {Q: let.spread}}}\n"
    )
    shares = [row.fields["Q"] for row in rows(text, {"_id": "1", "total": "100.00"})]
    assert shares == ["16.66", "33.33", "50.01"]
    filtered = rows(
        text.replace("each: lines,", "each: lines, when: 'row.quantity > 0',"), {"_id": "1", "total": "100.00"}
    )
    assert [row.fields["Q"] for row in filtered] == ["16.66", "50.01"]


def test_a_split_makes_a_record_a_facet() -> None:
    text = (
        "split: {rows: lines, by: row.company}\n"
        "fields: {No: total, E: {each: lines, "
        "fields: {Q: quantity, P: {from: product_id, ref: product, optional: true}}}}\n"
    )
    made = run(text, {"_id": "1", "total": "5"})
    assert [(one.facet, [row.key for row in one.rows["E"]]) for one in made] == [("x", ["l1", "l3"]), ("y", ["l2"])]
    assert isinstance(run(text, lines=[]), Filtered)
    mapping = build(text)
    asked = mapping.collect([Item("1", {"_id": "1"}, {"lines": LINES})], Context()).refs
    assert asked == {RefKey("product", "Product", "p1"), RefKey("product", "Product", "p2")}
    assert "company" in (next(one for one in mapping.needs.related if one.name == "lines").fields or ())
    failed = run(text, {"_id": "1", "total": "5"}, lines=[LINES[0], {**LINES[1], "quantity": "bad"}])
    assert isinstance(failed, Failed)


def test_owed_references_of_rows_are_named_by_row() -> None:
    made = run("fields: {E: {each: lines, fields: {P: {from: product_id, ref: product, optional: true}}}}\n")
    assert set(made[0].owes) == {"E[1].P", "E[2].P", "E[3].P"}


def test_what_the_engine_is_told() -> None:
    made = build(
        "fields:\n  E: {each: lines, key: _id, entity: line, missing: hold, foreign: remove, match: [P], "
        "fields: {Q: quantity, P: product.code}}\n"
    )
    assert dict(made.tables) == {
        "E": TableFacts("E", "lines", None, "Line", "_id", "line", "hold", "remove", ("P",)),
    }
    lines, product = (one for one in made.needs.related if one.name != "account")
    wanted = frozenset({"_id", "quantity", "product_id"})
    assert lines == RelatedNeed("lines", "Line", wanted, {"order_id": "_id"}, None, None, True)
    assert product == RelatedNeed("product", "Product", frozenset({"_id", "code"}), {}, "product_id", "lines", False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fields: {No: row.quantity}\n", "there is no row here"),
        ("fields: {No: product.code}\n", "belongs to a row of"),
        ("fields: {No: {sum: rows.q}}\n", "there is no group here"),
        ("fields: {No: let.x}\n", "no `let.x`"),
        ("fields: {No: {from: a, lookup: x}}\n", "no lookup `x`"),
        ("fields: {No: {calc: 'total +'}}\n", "ends too early"),
        ("fields: {No: {cel: 'record.'}}\n", "not CEL"),
        ("fields: {E: {each: lines, fields: {S: {each: lines, fields: {}}}}}\n", "can't hold rows"),
        ("fields: {E: {each: lines, fields: {S: {number: 'A{0}'}}}}\n", "running number"),
    ],
)
def test_what_can_not_be_compiled_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        build(text)
    assert all(problem.place is not None and problem.place.line > 4 for problem in caught.value.problems)
