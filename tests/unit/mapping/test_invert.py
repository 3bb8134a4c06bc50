"""The draft of the opposite direction: it loads, swaps what can be swapped, and remarks on the rest."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.mapping.check import check_project
from hub.mapping.invert import invert
from hub.mapping.load import load, read

ROOT = Path(__file__).parents[3]
READY_MADE = sorted((ROOT / "mappings").glob("*/*.yaml"))

TEXT = dedent("""\
    mapping: customers-to-erp
    entity: customer
    source: {system: crm, object: Account}
    target: {system: erp, object: Customer}
    title: name
    related:
      lines: {object: Line, where: {account: _id}}
    when: record.on == true
    match:
      - [Tax]
      - {Name: company_name, veto: Tax}
      - [Fixed]
    fields:
      Name: name
      Tax: {from: tax, owner: crm}
      Limit: {from: limit, owner: erp}
      Day: {from: day, as: date, tz: Asia/Shanghai}
      Parent.Number: {from: parent, ref: customer, take: number}
      Seller: {from: seller_no, ref: seller, by: number}
      State: {from: state, lookup: state}
      Level: {from: level, lookup: level}
      Again: name
      Address: {join: [city, street]}
      Share: {calc: limit / 2}
      Fixed: {param: org}
      Sum: {sum: lines.amount}
      Upper: {from: short, case: upper}
      Rows:
        each: lines
        key: _id
        entity: line
        fields:
          Amount: amount
          Product.Number: {from: product, ref: product, take: number}
          Price: {calc: row.amount / row.count}
    lookups:
      state: {open: A, won: "true", lost: "3"}
      level: {"1": X, "2": X}
    """)


@pytest.fixture(scope="module")
def draft() -> str:
    return invert(load(TEXT, "customers.yaml"))


def test_the_whole_draft(draft: str) -> None:
    assert draft == dedent("""\
        # A draft of the opposite of customers-to-erp: read every line before you use it, and add tests.
        # Write the same `owner:` at the fields of customers-to-erp.
        mapping: customers-to-crm
        entity: customer
        source: {system: erp, object: Customer}
        target: {system: crm, object: Account}
        title: Name
        # when: say what holds in this direction.
        match: [[tax], {name: company_name, veto: tax}]
        # match: some keys could not be turned round.
        fields:
          name: {from: Name, owner: crm}
          tax: {from: Tax, owner: crm}
          limit: {from: Limit, owner: erp}
          day: {from: Day, owner: crm}  # was read as date; say so if it has to be undone
          parent: {from: Parent.Number, ref: customer, by: number, owner: crm}
          seller_no: {from: Seller, ref: seller, take: number, owner: crm}
          state: {from: State, lookup: state, owner: crm}
          Line:
            each: Rows
            # key: the field that tells a row of Rows from the others
            entity: line
            owner: crm
            fields:
              amount: Amount
              product: {from: Product.Number, ref: product, by: number}
              # Price (line 35): `calc:` can't be undone.
          # Level (line 21): the lookup level is not one to one.
          # Again (line 22): name is filled already.
          # Address (line 23): `join:` can't be undone.
          # Share (line 24): `calc:` can't be undone.
          # Fixed (line 25): `param:` can't be undone.
          # Sum (line 26): `sum:` can't be undone.
          # Upper (line 27): `case:` can't be undone.
        lookups:
          state: {A: open, 'true': won, '3': lost, else: error}
        """)


def test_the_draft_loads(draft: str) -> None:
    mapping, problems = read(draft, "draft.yaml")
    assert problems == []
    assert mapping is not None
    assert mapping.lookups["state"].values == {"A": "open", "true": "won", "3": "lost"}


@pytest.mark.parametrize("path", READY_MADE, ids=lambda path: path.stem)
def test_the_draft_of_every_ready_made_mapping_loads(path: Path) -> None:
    text = invert(load(path.read_text(encoding="utf-8"), path.name))
    assert read(text, "draft.yaml")[1] == []


def test_two_inversions_bring_the_paths_back(draft: str) -> None:
    again = load(invert(load(draft, "draft.yaml")), "again.yaml")
    assert (again.name, again.source.object, again.target.object) == ("customers-to-erp", "Account", "Customer")
    assert again.fields.keys() >= {"Name", "Tax", "Limit", "Day", "Parent.Number", "Seller", "State"}


def test_a_mapping_of_which_nothing_can_be_turned_round_still_loads() -> None:
    text = dedent("""\
        mapping: m
        entity: e
        source: {system: a, object: A}
        target: {system: b, object: B}
        fields: {X: {const: 1}}
        """)
    turned = load(invert(load(text, "m.yaml")), "draft.yaml")
    assert turned.name == "m-back"
    assert turned.fields == {}


def test_with_schemas_the_draft_knows_keys_and_what_can_not_be_written() -> None:
    line = {"amount": Field("amount", FieldType.MONEY), "product": Field("product", FieldType.REFERENCE)}
    account = {
        "name": Field("name", required=True),
        "tax": Field("tax", readonly=True),
        "owner": Field("owner", required=True),
        "Line": Field("Line", FieldType.ROWS, rows=line),
    }
    rows = {name: Field(name) for name in ("RowId", "Amount", "Product.Number")}
    customer = {
        "Name": Field("Name"),
        "Tax": Field("Tax"),
        "Rows": Field("Rows", FieldType.ROWS, rows=rows, row_key="RowId"),
    }
    schemas = {
        ("crm", "Account"): ObjectSchema("Account", "", "_id", account),
        ("erp", "Customer"): ObjectSchema("Customer", "", "Id", customer),
    }
    text = invert(load(TEXT, "customers.yaml"), schemas)
    assert "    key: RowId\n" in text
    assert "  # Tax (line 15): tax can't be written.\n" in text
    assert "  # owner: Account requires it; say where it comes from.\n" in text
    assert "  # Limit (line 16): limit can't be written.\n" in text


def test_the_pair_has_its_owners() -> None:
    """With the owners that the draft asks for, the check finds nothing amiss in the pair."""
    text = dedent("""\
        mapping: customers-to-erp
        entity: customer
        source: {system: crm, object: Account}
        target: {system: erp, object: Customer}
        fields: {Name: {from: name, owner: crm}}
        """)
    mapping = load(text, "customers.yaml")
    problems = check_project([mapping, load(invert(mapping), "draft.yaml")], {})
    assert [problem.rule for problem in problems if problem.rule == "owner"] == []
