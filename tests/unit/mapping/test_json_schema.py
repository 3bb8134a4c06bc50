"""The editor's schema accepts every real mapping and refuses what the loader refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from hub.domain.errors import Problem
from hub.mapping.document import parse
from hub.mapping.forms import FORMS
from hub.mapping.json_schema import json_schema
from hub.mapping.load import read

ROOT = Path(__file__).parents[3]
FIXTURES = Path(__file__).parent / "fixtures"
READY_MADE = [*sorted((ROOT / "mappings").glob("*/*.yaml")), *sorted(FIXTURES.glob("*.yaml"))]

# Form by form, as far as the language has them.
WHOLE = """\
mapping: order-to-erp
entity: order
source: {system: crm, object: SalesOrderObj}
target: {system: erp, object: SAL_SaleOrder, options: {IsVerify: true}, after: [submit, audit], when_locked: hold}
title: name
related:
  lines:   {object: SalesOrderProductObj, where: {order_id: _id}, wakes: true}
  account: {object: AccountObj, id: account_id}
  product: {of: lines, object: ProductObj, id: product_id}
when: record.life_status == "normal"
require:
  - {that: 'record.account.tax_no != null', say: 客户没有税号，请先在财务信息中补上}
match: [[F_CRM_NO], {FName: company_name, veto: FTaxRegisterCode}]
defaults: {null: clear}
let:
  org:    {from: data_own_organization, lookup: org}
  spread: {apportion: order_amount, over: lines.subtotal, scale: 2}
fields:
  F_CRM_NO:            name
  FBillTypeID.FNumber: {param: order_type}
  FSaleOrgId.FNumber:  let.org
  FDate:               {from: order_time, as: date, tz: Asia/Shanghai}
  FCustId.FNumber:     {from: account_id, ref: customer, take: number, facet: let.org}
  FSaleDeptId.FNumber: {from: owner_department_id, ref: department, take: number, wait: 2h, else: {param: default_dept}}
  FSalerId.FNumber:    {from: owner, first: true, ref: operator, take: number, facet: let.org, optional: true}
  FReceiveAddress:     {join: [province, city, district, address], as: label, with: ""}
  FContactPhone:       {first: [ship_to_tel, account.tel], as: phone, region: CN, on_error: null}
  FSaleOrderFinance.FExchangeRate: {from: mc_exchange_rate, if: 'record.mc_currency != "CNY"', as: decimal, scale: 6}
  FNote:               {text: "{account.name} {order_amount:,.2f}", on: create}
  FFixed:              {rows: [{A: {const: 1}}, {A: {const: 2}}], key: A}
  FScalars:            {each: ids, value: {from: row, ref: employee}}
  FTotal:              {sum: lines.subtotal}
  FLast:               {last: lines.subtotal, multiply: 100}
  FCall:               {call: acme.price, from: [price, account.level]}
  FCode:               {number: "C{yyMM}{0000}"}
  FText:               {from: name, trim: true, case: upper, replace: {"-": ""}, default: none}
  FOwned:              {from: a, owner: crm, list: append}
  FSaleOrderEntry:
    each: lines
    key: _id
    entity: order_line
    when: row.quantity > 0
    missing: remove
    foreign: keep
    fields:
      FMaterialId.FNumber: {from: product_id, ref: product, take: number}
      FQty:                {from: quantity, as: decimal}
      FTaxPrice:           {calc: row.subtotal / row.quantity, scale: 6, round: half_up}
      FEntryTaxRate:       {lookup: tax, from: [account.country, row.product.tax_class__c], take: rate}
actions: [{if: 'record.order_status == "cancelled"', do: [Cancel, CloseBill]}]
on_leave:  {do: Cancel}
on_delete: {set: {FStatus: {const: B}}}
ensure: {FSaleOrderFinance.FBillAllAmount: {equals: order_amount, within: "0.01"}}
write_back:
  ok:     {erp_no__c: number, sync__c: 已同步, sync_msg__c: null}
  failed: {sync__c: 失败, sync_msg__c: message}
lookups:
  org:      {"1001": "100", "1002": "200", else: error}
  currency: {file: currency.csv}
  tax:      {table: tax, keys: [country, tax_class]}
tests:
  - name: a plain order
    given:
      record: {_id: "1", name: SO-1, order_amount: "1200.00"}
      related: {lines: [{_id: l1, product_id: p1, quantity: "2", subtotal: "1200.00"}]}
      ids: {customer: {a1: C001}, product: {p1: M001}}
      params: {order_type: XSDD01_SYS}
    expect: {F_CRM_NO: SO-1, FSaleOrderEntry: [{FQty: "2", FTaxPrice: "600.000000"}]}
  - name: refused
    given: {record: {_id: "2", account_id: a2}, related: {account: {tax_no: null}}}
    expect_error: 税号
"""

SMALL = """\
mapping: m
entity: e
source: {system: a, object: A}
target: {system: b, object: B}
fields: {x: y}
"""


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    schema = json_schema()
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def plain(text: str) -> Any:
    """What an editor's YAML parser makes of a text."""
    problems: list[Problem] = []
    node = parse(text, "m.yaml", problems)
    assert node is not None
    assert problems == []
    return jsonable(node.plain())


def jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: jsonable(below) for key, below in value.items()}
    if isinstance(value, list):
        return [jsonable(below) for below in value]
    return value if value is None or isinstance(value, (str, int, bool)) else float(value)


def errors(validator: Draft7Validator, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(plain(text))]


@pytest.mark.parametrize("path", READY_MADE, ids=lambda path: path.stem)
def test_ready_made_mappings_are_accepted(validator: Draft7Validator, path: Path) -> None:
    assert errors(validator, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", [WHOLE, SMALL], ids=["whole", "small"])
def test_what_the_loader_takes_is_accepted(validator: Draft7Validator, text: str) -> None:
    assert read(text, "m.yaml")[1] == []
    assert errors(validator, text) == []


FIELD = "fields: {x: y}\n"
BROKEN = {
    "an unknown key": SMALL + "feilds: {}\n",
    "no fields": SMALL.replace(FIELD, ""),
    "no target object": SMALL.replace(", object: B", ""),
    "a list for a map": SMALL.replace(FIELD, "fields: [x]\n"),
    "an unknown form": SMALL.replace("{x: y}", "{x: {form: y}}"),
    "two origins": SMALL.replace("{x: y}", "{x: {from: y, const: 1}}"),
    "two origins with a list": SMALL.replace("{x: y}", "{x: {from: y, first: [a, b]}}"),
    "no origin": SMALL.replace("{x: y}", "{x: {trim: true}}"),
    "first of nothing": SMALL.replace("{x: y}", "{x: {const: 1, first: true}}"),
    "an unknown type": SMALL.replace("{x: y}", "{x: {from: y, as: number}}"),
    "an unknown rounding": SMALL.replace("{x: y}", "{x: {from: y, scale: 2, round: near}}"),
    "a scale in words": SMALL.replace("{x: y}", "{x: {from: y, scale: two}}"),
    "by without ref": SMALL.replace("{x: y}", "{x: {from: y, by: number}}"),
    "optional without ref": SMALL.replace("{x: y}", "{x: {from: y, optional: true}}"),
    "apportion without over": SMALL.replace("{x: y}", "{x: {apportion: y}}"),
    "a wait that is no time": SMALL.replace("{x: y}", "{x: {from: y, ref: e, wait: soon}}"),
    "rows without fields": SMALL.replace("{x: y}", "{x: {each: lines}}"),
    "an unknown policy for rows": SMALL.replace("{x: y}", "{x: {each: lines, missing: drop, fields: {a: b}}}"),
    "a broken field of a row": SMALL.replace("{x: y}", "{x: {each: lines, fields: {a: {frm: b}}}}"),
    "a relation without a key": SMALL + "related: {r: {object: R}}\n",
    "an unknown end": SMALL + "on_leave: vanish\n",
    "two ends": SMALL + "on_leave: {do: Cancel, set: {a: b}}\n",
    "require without words": SMALL + "require: [{that: 'record.a == 1'}]\n",
    "an unknown policy for locked": SMALL.replace("object: B}", "object: B, when_locked: wiat}"),
    "a test that expects nothing": SMALL + "tests: [{name: t, given: {record: {}}}]\n",
    "a test without a record": SMALL + "tests: [{name: t, given: {}, expect: {}}]\n",
    "a default for null that is none": SMALL + "defaults: {null: empty}\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_loader_refuses_is_refused(validator: Draft7Validator, name: str) -> None:
    assert read(BROKEN[name], "m.yaml")[1], "the loader takes it"
    assert errors(validator, BROKEN[name])


def test_every_form_can_be_completed_with_its_meaning() -> None:
    schema = json_schema()
    for name, forms in FORMS.items():
        section = schema if name == "mapping" else schema["definitions"][name]
        for form in forms:
            offered = section["properties"][form.key]
            assert offered["description"] == form.meaning
            assert "$ref" not in offered, f"{name}.{form.key}: an editor would not show the meaning"


def test_it_is_pure_json() -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            assert all(isinstance(key, str) for key in value)
            for below in value.values():
                walk(below)
        elif isinstance(value, list):
            for below in value:
                walk(below)
        else:
            assert value is None or isinstance(value, (str, int, bool))

    walk(json_schema())
