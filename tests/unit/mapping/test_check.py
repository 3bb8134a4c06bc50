"""Every kind of problem that the check knows in one mapping, each at its exact line and column.

In the texts a `«` stands before the spot at which the problem must be reported; it is taken out before reading.
"""

from __future__ import annotations

from textwrap import dedent

import pytest

from hub.domain.errors import Problem
from hub.domain.schema import Capabilities, Facts, Field, FieldType, ObjectSchema
from hub.mapping.check import check_mapping
from hub.mapping.check_refs import kinds_of
from hub.mapping.check_scope import Schemas
from hub.mapping.load import load
from hub.mapping.model import MappingSpec

T = FieldType


def of(name: str, type_: FieldType = T.TEXT, **more: object) -> Field:
    return Field(name, type_, **more)  # type: ignore[arg-type]


def schema(name: str, id_field: str, *fields: Field, **more: object) -> ObjectSchema:
    can = Capabilities(
        create=True, update=True, delete=True, steps=("submit", "audit"), operations=frozenset({"Cancel", "BillClose"})
    )
    given = {"capabilities": can, **more}
    return ObjectSchema(name, name, id_field, {field.name: field for field in fields}, **given)  # type: ignore[arg-type]


ENTRY = {
    field.name: field
    for field in (
        of("FEntryID", T.INTEGER, readonly=True),
        of("FMaterialId.FNumber", T.REFERENCE, reference="BD_MATERIAL", takes="number", required=True, label="物料"),
        of("FQty", T.DECIMAL, scale=6),
        of("FSpec", length=50),
        of("FTaxPrice", T.DECIMAL, scale=6),
        of("FAllAmount", T.MONEY, computed=True),
    )
}
SCHEMAS: Schemas = {
    ("crm", "SalesOrderObj"): schema(
        "SalesOrderObj",
        "_id",
        of("name", length=100),
        of("account_id", T.REFERENCE, reference="AccountObj"),
        of("order_time", T.DATETIME),
        of("order_amount", T.MONEY, scale=2),
        of("rate", T.DECIMAL, scale=8),
        of("urgent", T.BOOLEAN),
        of("owner", T.REFERENCE, reference="PersonnelObj", many=True),
        of("status", T.ENUM, options={"open": "Open", "won": "Won", "lost": "Lost"}),
        of("remark", length=2000),
        of("sync__c"),
        of("total", T.MONEY, computed=True),
    ),
    ("crm", "SalesOrderProductObj"): schema(
        "SalesOrderProductObj",
        "_id",
        of("order_id", T.REFERENCE, reference="SalesOrderObj"),
        of("product_id", T.REFERENCE, reference="ProductObj"),
        of("quantity", T.DECIMAL, scale=4),
        of("subtotal", T.MONEY, scale=2),
    ),
    ("crm", "AccountObj"): schema("AccountObj", "_id", of("name"), of("tax_no"), of("tel", T.PHONE)),
    ("crm", "ProductObj"): schema("ProductObj", "_id", of("name"), of("spec")),
    ("erp", "BD_Customer"): schema("BD_Customer", "FCUSTID", of("FName", required=True)),
    ("erp", "BD_MATERIAL"): schema("BD_MATERIAL", "FMATERIALID", of("FName")),
    ("erp", "SAL_SaleOrder"): schema(
        "SAL_SaleOrder",
        "FID",
        of("FBillNo", readonly=True),
        of("F_CRM_NO", length=100),
        of("FDate", T.DATE, required=True, label="日期"),
        of("FCustId.FNumber", T.REFERENCE, reference="BD_Customer", takes="number", required=True, label="客户"),
        of("FNote", length=20),
        of("FAmount", T.MONEY, scale=2),
        of("FRate", T.DECIMAL, scale=6),
        of("FSum", T.DECIMAL, scale=6),
        of("FCurrency.FNumber", T.REFERENCE, reference="BD_Currency"),
        of("FState", T.ENUM, options={"A": "new", "B": "won", "C": "lost"}),
        of("FFlag", T.BOOLEAN),
        of("FTotal", T.MONEY, computed=True),
        of("FSaleOrderEntry", T.ROWS, rows=ENTRY, row_key="FEntryID"),
        facts=Facts(together=(frozenset({"FCurrency.FNumber", "FRate"}),)),
    ),
}

OTHERS = """
mapping: {entity}
entity: {entity}
source: {{system: crm, object: {crm}}}
target: {{system: erp, object: {erp}}}
fields: {{FName: name}}
"""

CLEAN = """\
mapping: order-to-erp
entity: order
source: {system: crm, object: SalesOrderObj}
target: {system: erp, object: SAL_SaleOrder, after: [submit, audit]}
title: name
related:
  lines: {object: SalesOrderProductObj, where: {order_id: _id}, wakes: true}
  account: {object: AccountObj, id: account_id}
  product: {of: lines, object: ProductObj, id: product_id}
when: record.status != "lost"
require:
  - {that: 'record.account.tax_no != null', say: 客户没有税号}
match: [[F_CRM_NO]]
let:
  whole: {sum: lines.subtotal}
fields:
  F_CRM_NO: name
  FDate: {from: order_time, as: date, tz: Asia/Shanghai}
  FCustId.FNumber: {from: account_id, ref: customer, take: number}
  FAmount: let.whole
  FState: {from: status, lookup: state}
  FSaleOrderEntry:
    each: lines
    key: _id
    when: row.quantity > 0.0
    fields:
      FMaterialId.FNumber: {from: product_id, ref: product}
      FQty: quantity
      FSpec: row.product.spec
      FTaxPrice: {calc: row.subtotal / row.quantity, scale: 6}
actions: [{if: 'record.status == "lost"', do: [Cancel, BillClose]}]
on_leave: {do: Cancel}
ensure: {FTotal: {equals: order_amount, within: "0.01"}}
write_back: {ok: {sync__c: number}}
lookups:
  state: {open: A, won: B, lost: C, else: error}
tests:
  - name: plain
    given:
      record: {_id: "1", name: SO-1, status: open}
      related: {lines: [{_id: l1, quantity: "1"}]}
    expect: {F_CRM_NO: SO-1, FSaleOrderEntry: [{FQty: "1"}]}
"""


def project(mapping: MappingSpec) -> list[MappingSpec]:
    others = [("customer", "AccountObj", "BD_Customer"), ("product", "ProductObj", "BD_MATERIAL")]
    return [
        mapping,
        *(load(OTHERS.format(entity=kind, crm=crm, erp=erp), f"{kind}.yaml") for kind, crm, erp in others),
    ]


def check(text: str, file: str = "order.yaml") -> list[Problem]:
    mapping = load(text, file)
    return check_mapping(mapping, SCHEMAS, kinds=kinds_of(project(mapping), SCHEMAS, project=True))


def edited(old: str, new: str) -> str:
    assert CLEAN.count(old) == 1, f"{old!r} stands {CLEAN.count(old)} times in the clean mapping"
    return CLEAN.replace(old, new)


def assert_found(marked: str, message: str, *, warning: bool = False) -> None:
    """Exactly this problem, at the spot that `«` marks."""
    before = marked[: marked.index("«")]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    [problem] = check(marked.replace("«", ""))
    kind = "warning: " if warning else ""
    assert str(problem) == f"order.yaml:{line}:{column}: {kind}{message}"
    assert problem.warning is warning


def test_a_clean_mapping_has_no_problems() -> None:
    assert check(CLEAN) == []


def test_line_and_column_count_from_one() -> None:
    [problem] = check(edited("  F_CRM_NO: name\n", "  F_CRM_NO: name\n  FNmae: name\n"))
    assert problem.place is not None
    assert (problem.place.file, problem.place.line, problem.place.column) == ("order.yaml", 18, 3)


ERRORS = {
    "target field": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «F_CRM_N: name\n",
        "F_CRM_N: SAL_SaleOrder has no such field; did you mean F_CRM_NO?",
    ),
    "source field": (
        "  F_CRM_NO: name\n",
        "  F_CRM_NO: «nmae\n",
        "nmae: SalesOrderObj has no such field; did you mean name?",
    ),
    "source field without a look-alike": (
        "  F_CRM_NO: name\n",
        "  F_CRM_NO: «zzzzzz\n",
        "zzzzzz: SalesOrderObj has no such field",
    ),
    "row field of the target": (
        "      FQty: quantity\n",
        "      FQty: quantity\n      «FQtyy: quantity\n",
        "FQtyy: FSaleOrderEntry has no such field; did you mean FQty?",
    ),
    "row field of the source": (
        "      FQty: quantity\n",
        "      FQty: «quantiti\n",
        "quantiti: SalesOrderProductObj has no such field; did you mean quantity?",
    ),
    "a field of the record inside each": (
        "      FQty: quantity\n",
        "      FQty: «order_amount\n",
        "order_amount: SalesOrderProductObj has no such field; did you mean record.order_amount?",
    ),
    "field of a related record": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  FNote: {from: «account.taxno}\n",
        "taxno: AccountObj has no such field; did you mean tax_no?",
    ),
    "field of a record related to a row": (
        "      FQty: quantity\n",
        "      FQty: {from: «row.product.specc, as: decimal}\n",
        "specc: ProductObj has no such field; did you mean spec?",
    ),
    "field in a template": (
        "  FAmount: let.whole\n",
        '  FAmount: let.whole\n  FNote: {text: «"{account.nam} {order_amount:,.2f}"}\n',
        "nam: AccountObj has no such field; did you mean name?",
    ),
    "field in a calculation": (
        "{calc: row.subtotal / row.quantity, scale: 6}",
        "{calc: «row.subtotl / row.quantity, scale: 6}",
        "subtotl: SalesOrderProductObj has no such field; did you mean subtotal?",
    ),
    "field in where": (
        "{order_id: _id}",
        "{orderid: «_id}",
        "orderid: SalesOrderProductObj has no such field; did you mean order_id?",
    ),
    "related object": (
        "  account: {object: AccountObj, id: account_id}\n",
        "  «account: {object: AcountObj, id: account_id}\n",
        "AcountObj: crm has no such object; did you mean AccountObj?",
    ),
    "related by the wrong reference": (
        "  account: {object: AccountObj, id: account_id}\n",
        "  account: {object: AccountObj, id: «owner}\n",
        "owner refers to PersonnelObj, and account is of AccountObj",
    ),
    "target object": (
        "target: {system: erp, object: SAL_SaleOrder, after: [submit, audit]}",
        "target: «{system: erp, object: SAL_SalesOrder, after: [submit, audit]}",
        "SAL_SalesOrder: erp has no such object; did you mean SAL_SaleOrder?",
    ),
    "system": (
        "source: {system: crm, object: SalesOrderObj}",
        "source: «{system: cmr, object: SalesOrderObj}",
        "cmr: nothing is known of this system's objects; did you mean crm?",
    ),
    "types that don't convert": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «FSum: order_time\n",
        "FSum: order_time is a date and time, and SAL_SaleOrder.FSum is a decimal",
    ),
    "as that can't be": (
        "{from: order_time, as: date, tz: Asia/Shanghai}",
        "{from: order_amount, «as: date}",
        "order_amount is a money and can't be read as a date",
    ),
    "a time into a day": (
        "  FDate: {from: order_time, as: date, tz: Asia/Shanghai}",
        "  «FDate: order_time",
        "FDate: order_time is a date and time, and SAL_SaleOrder.FDate is a date; "
        "say so with `as: date`, or use `lookup:`",
    ),
    "a list into one value": (
        "  FState: {from: status, lookup: state}\n",
        "  «FState: {from: owner, lookup: state}\n",
        "FState: the lookup state is a list, and SAL_SaleOrder.FState takes one value; add `first: true`",
    ),
    "a list into a text": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «FNote: owner\n",
        "FNote: owner is a list, and SAL_SaleOrder.FNote takes one value; `join:` it",
    ),
    "labels of what has none": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  FNote: {from: order_amount, «as: label}\n",
        "`as: label` needs options, and order_amount is a money",
    ),
    "an id of the wrong system": (
        "  FCustId.FNumber: {from: account_id, ref: customer, take: number}\n",
        "  «FCustId.FNumber: account_id\n",
        "FCustId.FNumber: account_id is an id of the source system; name what it is with `ref:`, or use `lookup:`",
    ),
    "text steps on a number": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  FSum: {from: rate, «trim: true, scale: 6}\n",
        "`trim:` works on text, and rate is a decimal",
    ),
    "a sum of what is no number": (
        "{sum: lines.subtotal}",
        "{sum: «lines.product_id}",
        "`sum:` works on numbers, and lines.product_id is a reference",
    ),
    "a sum of one value": (
        "{sum: lines.subtotal}",
        "{sum: «order_amount}",
        "order_amount is one value; `sum:` works on rows and lists",
    ),
    "each over one value": (
        "    each: lines\n",
        "    each: «order_amount\n",
        "order_amount is a money; `each:` goes over rows or a list",
    ),
    "a constant that is no option": (
        "  FState: {from: status, lookup: state}\n",
        "  «FState: {const: Z}\n  FNote: {from: status, lookup: state}\n",
        'FState: SAL_SaleOrder.FState has no option "Z"; it takes A, B, C',
    ),
    "a lookup that gives no option": (
        "  FState: {from: status, lookup: state}\n",
        "  «FState: {from: status, lookup: state2}\n  FNote: {from: status, lookup: state}\n",
        'FState: SAL_SaleOrder.FState has no option "X"; it takes A, B, C',
    ),
    "an enum into another": (
        "  FState: {from: status, lookup: state}\n",
        "  «FState: {from: status}\n  FNote: {from: status, lookup: state}\n",
        'FState: SAL_SaleOrder.FState has no option "lost", "open", "won"; it takes A, B, C',
    ),
    "a required field": (
        "  FDate: {from: order_time, as: date, tz: Asia/Shanghai}\n",
        "",
        "FDate (日期): SAL_SaleOrder requires it, and nothing fills it",
    ),
    "a required field of a row": (
        "      FMaterialId.FNumber: {from: product_id, ref: product}\n",
        "",
        "FMaterialId.FNumber (物料): FSaleOrderEntry requires it, and nothing fills it",
    ),
    "a required field on change only": (
        "  FDate: {from: order_time, as: date, tz: Asia/Shanghai}\n",
        "  «FDate: {from: order_time, as: date, tz: Asia/Shanghai, on: change}\n",
        "FDate: SAL_SaleOrder requires it at creation, and `on: change` leaves it out then",
    ),
    "a read-only field": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «FBillNo: name\n",
        "FBillNo: SAL_SaleOrder.FBillNo can't be written",
    ),
    "a computed field": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «FTotal: order_amount\n",
        "FTotal: SAL_SaleOrder computes this field itself",
    ),
    "a computed field of a row": (
        "      FQty: quantity\n",
        "      FQty: quantity\n      «FAllAmount: subtotal\n",
        "FAllAmount: FSaleOrderEntry computes this field itself",
    ),
    "a text that is always too long": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «FNote: {const: a note that is much too long}\n",
        'FNote: "a note that is much too long" has 28 characters, and SAL_SaleOrder.FNote holds 20',
    ),
    "a reference of the wrong kind at the source": (
        "{from: product_id, ref: product}",
        "{from: order_id, ref: «product}",
        "order_id refers to SalesOrderObj, and product is ProductObj in crm; did you mean ref: order?",
    ),
    "a reference of the wrong kind at the target": (
        "{from: account_id, ref: customer, take: number}",
        "{from: name, ref: «product, take: number}",
        "FCustId.FNumber refers to BD_Customer, and product is BD_MATERIAL in erp; did you mean ref: customer?",
    ),
    "a reference by a day": (
        "{from: account_id, ref: customer, take: number}",
        "{from: order_time, ref: «customer, take: number}",
        "`ref:` needs an id or a key, and order_time is a date and time",
    ),
    "CEL that is no CEL": (
        'when: record.status != "lost"',
        "when: «record.status != ",
        "`record.status !=` is not CEL: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', "
        "'!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
    ),
    "CEL that is no condition": (
        'when: record.status != "lost"',
        "when: «size(record.name)",
        "`size(record.name)` gives a number; a condition has to be true or false",
    ),
    "CEL that does not type-check": (
        "when: row.quantity > 0.0",
        "when: «'\"a\" + 1 > 0'",
        "`\"a\" + 1 > 0` is not CEL: found no matching overload for '_+_' applied to '(string, int)'",
    ),
    "a field in CEL": (
        "{that: 'record.account.tax_no != null'",
        "{that: «'record.account.tax_nr != null'",
        "tax_nr: AccountObj has no such field; did you mean tax_no?",
    ),
    "an option in CEL": (
        'when: record.status != "lost"',
        'when: «record.status != "loost"',
        'status is never "loost"; did you mean lost?',
    ),
    "an option in a list in CEL": (
        'when: record.status != "lost"',
        "when: «record.status in ['open', 'wonn']",
        'status is never "wonn"; did you mean won?',
    ),
    "a flag compared with a text in CEL": (
        'when: record.status != "lost"',
        'when: «record.urgent == "A"',
        'urgent is true or false, and never "A"',
    ),
    "a calculation that is none": (
        "{calc: row.subtotal / row.quantity, scale: 6}",
        "{calc: «row.subtotal / / row.quantity, scale: 6}",
        "`row.subtotal / / row.quantity` is not arithmetic: `/` is not expected here",
    ),
    "CEL into money": (
        "  FAmount: let.whole\n",
        "  «FAmount: {cel: 'double(record.order_amount) * 1.13'}\n  FSum: {from: let.whole, scale: 6}\n",
        "FAmount: CEL computes in binary fractions and can't feed a money field; use `calc:`",
    ),
    "CEL into money through a let": (
        "  whole: {sum: lines.subtotal}\nfields:\n",
        "  whole: {cel: 'double(record.order_amount)'}\nfields:\n",
        "FAmount: CEL computes in binary fractions and can't feed a money field; use `calc:`",
    ),
    "an unknown lookup": (
        "  FState: {from: status, lookup: state}\n",
        "  FState: {from: status, lookup: «stat}\n  FNote: {from: status, lookup: state}\n",
        "stat: there is no such table under `lookups:`; did you mean state?",
    ),
    "an unknown let": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  FSum: «let.whol\n",
        "let.whol: there is no such name under `let:`; did you mean whole?",
    ),
    "an unknown step": (
        "target: {system: erp, object: SAL_SaleOrder, after: [submit, audit]}",
        "target: «{system: erp, object: SAL_SaleOrder, after: [submit, audti]}",
        "audti: SAL_SaleOrder has no such step after a write; did you mean audit?",
    ),
    "an unknown operation": (
        "on_leave: {do: Cancel}",
        "on_leave: «{do: Cancle}",
        "Cancle: SAL_SaleOrder has no such operation; did you mean Cancel?",
    ),
    "a value of a record that is gone": (
        "on_leave: {do: Cancel}",
        "on_leave: {set: {«F_CRM_NO: name, FState: {const: C}}}",
        "F_CRM_NO: of a record that is gone no value can be read; write `{const: ...}`",
    ),
    "an unknown operation of an action": (
        "actions: [{if: 'record.status == \"lost\"', do: [Cancel, BillClose]}]",
        "actions: [«{if: 'record.status == \"lost\"', do: [Cancel, BillCloses]}]",
        "BillCloses: SAL_SaleOrder has no such operation; did you mean BillClose?",
    ),
    "a match field that does not exist": (
        "match: [[F_CRM_NO]]",
        "match: [[«F_CRM_NR]]",
        "F_CRM_NR: SAL_SaleOrder has no such field; did you mean F_CRM_NO?",
    ),
    "a match field that nothing fills": (
        "match: [[F_CRM_NO]]",
        "match: [[F_CRM_NO], [«FNote]]",
        "FNote: records are matched by it, and nothing under `fields:` fills it; did you mean FDate?",
    ),
    "an ensured field": (
        "ensure: {FTotal: {",
        "ensure: {«FTotl: {",
        "FTotl: SAL_SaleOrder has no such field; did you mean FTotal?",
    ),
    "an ensured field of another type": (
        "ensure: {FTotal: {equals: order_amount",
        "ensure: {«FTotal: {equals: order_time",
        "FTotal: order_time is a date and time, and is compared with a money",
    ),
    "a constant written back that is no option": (
        "write_back: {ok: {sync__c: number}}",
        "write_back: {ok: {status: «done}}",
        'status: SalesOrderObj.status has no option "done"; it takes lost, open, won',
    ),
    "an option of a change": (
        'when: record.status != "lost"',
        "when_changes: {«status: {to: wonn}}",
        'status is never "wonn"; did you mean won?',
    ),
    "a field written back": (
        "write_back: {ok: {sync__c: number}}",
        "write_back: {ok: {sync_c: «number}}",
        "sync_c: SalesOrderObj has no such field; did you mean sync__c?",
    ),
    "a read-only field written back": (
        "write_back: {ok: {sync__c: number}}",
        "write_back: {ok: {total: «number}}",
        "total: SalesOrderObj.total can't be written",
    ),
    "a test that gives what does not exist": (
        '  - name: plain\n    given:\n      record: {_id: "1", name: SO-1,',
        '  - «name: plain\n    given:\n      record: {_id: "1", nmae: SO-1,',
        "The test `plain` gives nmae: SalesOrderObj has no such field; did you mean name?",
    ),
    "a test that expects what nothing fills": (
        "  - name: plain\n",
        '  - «name: odd\n    given: {record: {}}\n    expect: {FSaleOrderEntry: [{FQyt: "1"}]}\n  - name: plain\n',
        "The test `odd` expects FQyt, which the mapping does not fill in FSaleOrderEntry; did you mean FQty?",
    ),
}
WHERE_ELSE = {
    "a required field": "target: «{system: erp",
    "a required field of a row": "FSaleOrderEntry:\n    «each: lines",
    "CEL into money through a let": "  «FAmount: let.whole",
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    old, new, message = ERRORS[name]
    text = edited(old, new)
    if name in WHERE_ELSE:
        text = text.replace(WHERE_ELSE[name].replace("«", ""), WHERE_ELSE[name])
    if "state2" in new:
        text = text.replace("lookups:\n", "lookups:\n  state2: {open: X, won: B, lost: C}\n")
    assert_found(text, message)


WARNINGS = {
    "a text that may be too long": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «FNote: remark\n",
        "FNote: remark may have 2000 characters, and SAL_SaleOrder.FNote holds 20",
    ),
    "decimals that may not fit": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «FSum: rate\n",
        "FSum: rate may have 8 decimal places, and SAL_SaleOrder.FSum keeps 6; say how it is rounded with `scale: 6`",
    ),
    "a value that a lookup lacks": (
        "  state: {open: A, won: B, lost: C, else: error}\n",
        "  state: {open: A, won: B}\n",
        "state has no line for lost, which status may be",
    ),
    "a quotient that is not rounded": (
        "      FTaxPrice: {calc: row.subtotal / row.quantity, scale: 6}\n",
        "      «FTaxPrice: {calc: row.subtotal / row.quantity}\n",
        "FTaxPrice: `row.subtotal / row.quantity` may have 50 decimal places, and FSaleOrderEntry.FTaxPrice keeps 6; "
        "say how it is rounded with `scale: 6`",
    ),
    "half of what travels together": (
        "  FAmount: let.whole\n",
        "  FAmount: let.whole\n  «FCurrency.FNumber: {param: currency}\n",
        "FCurrency.FNumber travels together with FRate, and nothing fills FRate",
    ),
    "an unused let": (
        "  FAmount: let.whole\n",
        "  FAmount: order_amount\n",
        "let.whole is used nowhere",
    ),
    "an unused lookup": (
        "  FState: {from: status, lookup: state}\n",
        "",
        "The lookup state is used nowhere",
    ),
    "an unused relation": (
        "  - {that: 'record.account.tax_no != null', say: 客户没有税号}",
        "  - {that: 'record.name != null', say: 订单没有编号}",
        "The relation account is used nowhere",
    ),
    "a parameter that only a test knows": (
        "  - name: plain\n    given:\n",
        "  - «name: plain\n    given:\n      params: {org: 1}\n",
        "The test `plain` gives the parameter org, which is used nowhere",
    ),
    "an entity that no mapping brings": (
        "  FCustId.FNumber: {from: account_id, ref: customer, take: number}\n",
        "  FCustId.FNumber: {from: account_id, ref: «custommer, take: number}\n",
        "custommer: no mapping of this project is about this entity; did you mean customer?",
    ),
}
WARNED_ELSEWHERE = {
    "a value that a lookup lacks": "FState: {from: status, lookup: «state}",
    "an unused let": "  «whole: {sum",
    "an unused lookup": "  «state: {open",
    "an unused relation": "  «account: {object",
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warning(name: str) -> None:
    old, new, message = WARNINGS[name]
    text = edited(old, new)
    if name in WARNED_ELSEWHERE:
        spot = WARNED_ELSEWHERE[name]
        text = text.replace(spot.replace("«", ""), spot)
    assert_found(text, message, warning=True)


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = edited("  F_CRM_NO: name\n", "  F_CRM_NO: nmae\n  FNmae: name\n").replace("when: record.s", "when: record.x")
    assert [(problem.place.line, problem.rule) for problem in check(text) if problem.place] == [
        (10, "field"),
        (17, "field"),
        (18, "field"),
    ]


def test_an_object_that_is_not_known_is_reported_once_and_what_hangs_on_it_passes() -> None:
    mapping = load(CLEAN, "order.yaml")
    schemas = {key: value for key, value in SCHEMAS.items() if key != ("crm", "SalesOrderObj")}
    assert [str(problem) for problem in check_mapping(mapping, schemas)] == [
        "order.yaml:3:9: SalesOrderObj: crm has no such object; did you mean SalesOrderProductObj?"
    ]


def test_a_target_that_is_never_created_needs_no_required_fields() -> None:
    text = dedent("""\
        mapping: status
        entity: order
        source: {system: crm, object: SalesOrderObj}
        target: {system: erp, object: SAL_SaleOrder, create: never}
        fields: {F_CRM_NO: name}
        """)
    assert check(text) == []


SMALL = dedent("""\
    mapping: order-to-erp
    entity: order
    source: {system: crm, object: SalesOrderObj}
    target: {system: erp, object: SAL_SaleOrder, create: never}
    fields:
    """)


def test_labels_of_joined_codes_are_taken_member_by_member() -> None:
    assert check(SMALL + "  F_CRM_NO: {join: [status, name], as: label}\n") == []
    assert_found(
        SMALL + "  F_CRM_NO: {join: [status, «order_amount], as: label}\n",
        "`as: label` needs options, and order_amount is a money",
    )


def test_a_value_into_a_table() -> None:
    assert_found(SMALL + "  «FSaleOrderEntry: name\n", "FSaleOrderEntry is a table; fill it with `each:` or `rows:`")


def test_a_table_into_a_value() -> None:
    assert_found(SMALL + "  «FNote:\n    rows: [{x: name}]\n", "FNote is a text; a table of rows does not fit")


def test_fixed_rows_are_checked_as_rows() -> None:
    assert_found(
        SMALL + "  FSaleOrderEntry:\n    rows:\n      - {«FQyt: {const: 1}, FMaterialId.FNumber: {const: M1}}\n",
        "FQyt: FSaleOrderEntry has no such field; did you mean FQty?",
    )


def test_a_row_named_where_there_is_none() -> None:
    assert_found(SMALL + "  FNote: «row.name\n", "row.name: there is no row here, only inside `each:`")


def test_an_object_that_can_not_be_created_is_reported() -> None:
    text = dedent("""\
        mapping: lines
        entity: customer
        source: {system: crm, object: AccountObj}
        target: {system: erp, object: BD_Customer}
        fields: {FName: name}
        on_delete: delete
        """)
    customer = SCHEMAS["erp", "BD_Customer"]
    read_only = ObjectSchema(customer.name, "", "FCUSTID", customer.fields, capabilities=Capabilities())
    found = check_mapping(load(text, "m.yaml"), {**SCHEMAS, ("erp", "BD_Customer"): read_only})
    assert [str(problem) for problem in found] == [
        "m.yaml:4:9: BD_Customer can't be created by the hub; say `create: never` if only existing ones are meant",
        "m.yaml:6:12: BD_Customer can't be deleted by the hub",
    ]


def test_an_object_that_can_not_be_updated_may_still_be_linked() -> None:
    """Nothing is ever written where every field is for creation, and nothing is created: only the ID map grows."""
    text = dedent("""\
        mapping: link
        entity: customer
        source: {system: crm, object: AccountObj}
        target: {system: erp, object: BD_Customer, create: never}
        match: [[FName]]
        fields: {FName: {from: name, on: create}}
        """)
    customer = SCHEMAS["erp", "BD_Customer"]
    read_only = ObjectSchema(customer.name, "", "FCUSTID", customer.fields, capabilities=Capabilities())
    schemas = {**SCHEMAS, ("erp", "BD_Customer"): read_only}
    assert [str(problem) for problem in check_mapping(load(text, "m.yaml"), schemas) if not problem.warning] == []
    writing = text.replace("{from: name, on: create}", "name")
    assert [str(problem) for problem in check_mapping(load(writing, "m.yaml"), schemas) if not problem.warning] == [
        "m.yaml:4:9: BD_Customer can't be updated by the hub; to link it only, say `on: create` of every field"
    ]
