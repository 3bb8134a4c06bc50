from __future__ import annotations

import pytest

from hub.connector.catalogue import parse_catalogue
from hub.domain.errors import InvalidInput, NotFound
from hub.domain.schema import FieldType, Wire

GOOD = """
_defaults: {tz: Asia/Shanghai, wire: {datetime: epoch_ms}, batch: {get: 20}}
_common:
  _id: text readonly | Id
  changed: datetime computed | Changed
order:
  label: Order
  id: _id
  title: name
  number: name
  modified: changed
  can: [create, update, webhooks]
  operations: [Cancel]
  steps: [submit, audit]
  batch: {write: 5, get: 50}
  settles_within: 90
  together: [[price, currency], [lines.quantity, lines.unit]]
  order: [currency]
  state_field: state
  locked_states: [B, C]
  fields:
    name: text required unique length=60 | Number, and more
    price: money scale=2
    currency: {type: reference, reference: currency, takes: number}
    state: enum options=A:Draft,B:Sent | State
    owners: text many personal
    lines:
      type: rows
      row_key: line_id
      fields:
        quantity: decimal scale=4
        unit: text
"""


def test_a_line_says_a_field() -> None:
    schema = parse_catalogue(GOOD)["order"]
    name = schema.fields["name"]
    assert (name.type, name.required, name.unique, name.length) == (FieldType.TEXT, True, True, 60)
    assert name.label == "Number, and more"
    assert schema.fields["price"].scale == 2
    assert schema.fields["state"].options == {"A": "Draft", "B": "Sent"}
    assert (schema.fields["currency"].reference, schema.fields["currency"].takes) == ("currency", "number")
    assert (schema.fields["owners"].many, schema.fields["owners"].personal) == (True, True)


def test_defaults_and_common_fields_hold_for_every_object() -> None:
    schema = parse_catalogue(GOOD)["order"]
    assert (schema.fields["changed"].wire, schema.fields["changed"].tz) == (Wire.EPOCH_MS, "Asia/Shanghai")
    assert schema.fields["_id"].readonly
    assert (schema.id_field, schema.modified_field) == ("_id", "changed")


def test_tables_powers_and_facts() -> None:
    schema = parse_catalogue(GOOD)["order"]
    lines = schema.fields["lines"]
    assert lines.type is FieldType.ROWS
    assert lines.rows is not None
    assert (lines.row_key, lines.rows["quantity"].scale) == ("line_id", 4)
    can, facts = schema.capabilities, schema.facts
    assert (can.create, can.update, can.delete, can.webhooks) == (True, True, False, True)
    assert (can.write_batch, can.get_batch, can.find_batch) == (5, 50, 50)
    assert (can.steps, can.operations) == (("submit", "audit"), frozenset({"Cancel"}))
    assert facts.settles_within == 90.0
    assert frozenset({"lines.quantity", "lines.unit"}) in facts.together
    assert facts.locked_states == {"B", "C"}


def test_an_unknown_object_names_the_near_one() -> None:
    with pytest.raises(NotFound) as caught:
        parse_catalogue(GOOD).schema("ordre")
    assert caught.value.hint == "did you mean order?"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("title: nmae", "title: 'nmae' is not one of its fields (did you mean name?)"),
        ("can: [creat]", "'creat' is no power (did you mean create?)"),
        ("labl: x", "'labl' is not known here (did you mean label?)"),
        ("together: [[name, prise]]", "'prise' is not one of its fields"),
        ("fields: {x: texd}", "'texd' is not a valid FieldType (did you mean text?)"),
        ("fields: {x: text requird}", "'requird' is neither a flag nor key=value (did you mean required?)"),
        ("fields: {x: text length=long}", "length must be a number, not 'long'"),
        ("fields: {x: {type: text, optins: {}}}", "'optins' is not known here (did you mean options?)"),
        ("fields: {t: {fields: {y: texd}}}", "order.t.y: 'texd'"),
    ],
)
def test_a_mistake_is_told_with_its_place(wrong: str, words: str) -> None:
    key = wrong.partition(":")[0]
    base = {"label": "label: Order", "fields": "fields: {name: text, price: money}"} | {key: wrong}
    text = "order:\n" + "\n".join(f"  {line}" for line in base.values())
    with pytest.raises(InvalidInput) as caught:
        parse_catalogue(text, "here.yaml")
    assert words in str(caught.value)
    assert "here.yaml" in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_catalogue("a: {fields: {x: texd}}\nb: {can: [fly], fields: {}}")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("text", ["a: [", "- a", "just text", "a: {fields: {x: text}}\na: }"])
def test_what_is_no_catalogue_is_told(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_catalogue(text)
