"""A tenant's generated names, put in wherever the name of a field or an object may stand."""

from __future__ import annotations

from textwrap import dedent

import pytest

from hub.domain.errors import Place, Problem
from hub.domain.schema import Capabilities, Field, FieldType, ObjectSchema
from hub.mapping.check import check_mapping
from hub.mapping.fingerprint import fingerprint
from hub.mapping.invert import invert
from hub.mapping.load import load, read
from hub.mapping.model import MappingSpec
from hub.mapping.names import Alias, Names
from hub.mapping.testing import run_tests
from hub.runtime.aliases import read_names, unused


def names(text: str, systems: str = "{crm: {}, erp: {}}") -> Names:
    from hub.mapping.document import parse

    problems: list[Problem] = []
    found = read_names(parse(dedent(text), "hub.yaml", problems), parse(systems, "hub.yaml", problems), problems)
    assert problems == []
    return found


NAMES = """
    stamp: F_HUB_ABC
    crm:
      account: AccountObj
      AccountObj: {tax_no: field_8weB5__c, level: field_Lv7__c}
      LineObj: {tax_no: field_row99__c, level: field_row98__c}
    erp:
      BD_Customer: {grade: F_XYZ_Combo}
"""
TEXT = """
    mapping: m
    entity: customer
    source: {system: crm, object: account}
    target: {system: erp, object: BD_Customer}
    title: tax_no
    related:
      lines: {object: LineObj, where: {tax_no: _id}}
      parent: {object: account, id: level}
    when: record.tax_no != "record.tax_no" && record.lines.exists(l, l.tax_no != "") && record.tags[0].level == 1
    when_changes: {tax_no: {to: A}}
    require: [{that: 'has(record.parent.level)', say: no level}]
    match: [[stamp], {FTaxNo: tax_no, veto: grade}]
    once_per: [_id, level]
    let:
      both: {text: "{tax_no} {parent.level:,.2f}"}
    fields:
      stamp: _id
      FTaxNo: {first: [tax_no, parent.tax_no]}
      grade: {from: level, if: 'let.both != ""', default: {from: record.tax_no}}
      grade.FNumber: {calc: 'level * 2 + max(level, 1)'}
      FRows:
        each: lines
        key: tax_no
        when: row.tax_no != record.tax_no
        match: [stamp]
        fields:
          stamp: {join: [tax_no, row.tax_no, record.tax_no]}
          FSum: {max: lines.level}
    on_leave: {set: {grade: {const: off}}}
    ensure: {grade: {equals: level}}
    write_back: {ok: {tax_no: number}, failed: {level: message}}
    tests:
      - name: t
        given:
          record: {tax_no: A, level: "2"}
          previous: {tax_no: Z}
          related: {lines: [{tax_no: L}], parent: {level: "3"}}
        expect: {grade: "2", FRows: [{stamp: L L A}]}
"""


def spec() -> MappingSpec:
    return load(dedent(TEXT), "m.yaml", names=names(NAMES))


def test_reads_are_renamed_by_the_object_that_they_read() -> None:
    found = spec()
    assert found.source.object == "AccountObj"
    assert found.related["parent"].object == "AccountObj"
    assert list(found.related["lines"].where) == ["field_row99__c"]
    assert found.related["parent"].id is not None
    assert found.related["parent"].id.name == "field_Lv7__c"
    assert str(found.title).count("field_8weB5__c") >= 1
    assert found.when is not None
    # The text in quotes stays; the variable of a comprehension and what is indexed count as the source's.
    assert found.when.text == (
        'record.field_8weB5__c != "record.tax_no" && record.lines.exists(l, l.field_8weB5__c != "")'
        " && record.tags[0].field_Lv7__c == 1"
    )
    assert found.when_changes[0].field.name == "field_8weB5__c"
    assert found.require[0].that.text == "has(record.parent.field_Lv7__c)"
    assert [path.name for path in found.once_per] == ["_id", "field_Lv7__c"]
    written = repr({key: rule.rule for key, rule in found.fields.items()})
    assert "tax_no" not in written.replace("field_row99", "")
    assert "level * 2" not in written


def test_rows_are_renamed_by_their_own_object_and_record_paths_by_the_record() -> None:
    rows = spec().fields["FRows"].rule
    assert "field_row99__c" in repr(rows.key)  # type: ignore[union-attr]
    assert rows.when.text == "row.field_row99__c != record.field_8weB5__c"  # type: ignore[union-attr]
    joined = repr(rows.fields["F_HUB_ABC"])  # type: ignore[union-attr]
    assert joined.count("field_row99__c") >= 2
    assert "record.field_8weB5__c" in joined


def test_writes_are_renamed_by_the_object_that_they_write() -> None:
    found = spec()
    assert list(found.fields) == ["F_HUB_ABC", "FTaxNo", "F_XYZ_Combo", "F_XYZ_Combo.FNumber", "FRows"]
    assert [list(one.fields) for one in found.match] == [["F_HUB_ABC"], ["FTaxNo"]]
    assert found.match[1].veto == ("F_XYZ_Combo",)
    assert list(found.on_leave.set) == ["F_XYZ_Combo"]
    assert list(found.ensure) == ["F_XYZ_Combo"]
    assert found.ensure["F_XYZ_Combo"].field == "F_XYZ_Combo"
    assert found.write_back is not None
    assert [*found.write_back.ok, *found.write_back.failed] == ["field_8weB5__c", "field_Lv7__c"]


def test_calc_is_renamed_but_not_its_functions() -> None:
    found = load(
        dedent("""
        mapping: m
        entity: e
        source: {system: crm, object: A}
        target: {system: erp, object: B}
        fields: {X: {calc: 'max * 2 + max(max, 1)'}}
        """),
        "m.yaml",
        names=names("{max: field_1}"),
    )
    assert found.fields["X"].rule.calc.text == "field_1 * 2 + max(field_1, 1)"  # type: ignore[union-attr]


def test_tests_in_the_file_are_written_with_aliases_too() -> None:
    [report] = run_tests(spec())
    assert report.differences == ()


def test_a_mapping_with_aliases_does_what_one_with_real_names_does() -> None:
    plain = dedent("""
        mapping: m
        entity: e
        source: {system: crm, object: AccountObj}
        target: {system: erp, object: BD_Customer}
        fields: {FName: field_8weB5__c}
        """)
    aliased = plain.replace("field_8weB5__c", "tax_no")
    assert fingerprint(load(aliased, "m.yaml", names=names(NAMES)), {}) == fingerprint(load(plain, "m.yaml"), {})
    assert fingerprint(load(aliased, "m.yaml"), {}) != fingerprint(load(plain, "m.yaml"), {})


def test_a_field_under_both_its_names_is_a_problem() -> None:
    text = """
        mapping: m
        entity: e
        source: {system: crm, object: A}
        target: {system: erp, object: B}
        fields: {stamp: x, F_HUB_ABC: y}
        """
    _, problems = read(dedent(text), "m.yaml", names=names(NAMES))
    assert [str(one) for one in problems] == [
        "m.yaml:6:20: `F_HUB_ABC` is filled twice: hub.yaml says that it is F_HUB_ABC."
    ]


def schema(name: str, *found: str, id_field: str = "_id") -> ObjectSchema:
    can = Capabilities(create=True, update=True)
    return ObjectSchema(name, name, id_field, {one: Field(one, FieldType.TEXT) for one in found}, capabilities=can)


SMALL = """
    mapping: m
    entity: customer
    source: {system: crm, object: AccountObj}
    target: {system: erp, object: BD_Customer}
    fields: {FName: tax_no, FNote: tax_mo}
    """


def test_problems_name_both_and_hints_offer_aliases() -> None:
    found = load(dedent(SMALL), "m.yaml", names=names(NAMES))
    schemas = {
        ("crm", "AccountObj"): schema("AccountObj", "field_8weB6__c", "name"),
        ("erp", "BD_Customer"): schema("BD_Customer", "FName", "FNote", id_field="FCUSTID"),
    }
    assert [str(one) for one in check_mapping(found, schemas)] == [
        "m.yaml:6:17: tax_no (field_8weB5__c): AccountObj has no such field; did you mean field_8weB6__c?",
        "m.yaml:6:32: tax_mo: AccountObj has no such field; did you mean tax_no?",
    ]


def test_a_draft_of_the_opposite_speaks_of_aliases() -> None:
    found = load(dedent(SMALL).replace(", FNote: tax_mo", ""), "m.yaml", names=names(NAMES))
    assert "  tax_no:" in invert(found)
    assert "field_8weB5__c" not in invert(found)


def test_unused_names_are_warned_of() -> None:
    found = names(NAMES)
    used = set(load(dedent(SMALL), "m.yaml", names=found).aliases)
    problems = unused(found, used)
    assert all(one.warning for one in problems)
    assert [(one.message.split(" is ")[0], one.place and one.place.line) for one in problems] == [
        ("The name stamp (F_HUB_ABC)", 2),
        ("The name account (AccountObj)", 4),
        ("The name level (field_Lv7__c)", 5),
        ("The name tax_no (field_row99__c)", 6),
        ("The name level (field_row98__c)", 6),
        ("The name grade (F_XYZ_Combo)", 8),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]", "hub.yaml:1:1: `names` has to be a map, not a list."),
        ("{cmr: {a: b}}", "hub.yaml:1:2: `names` speaks of `cmr`, and `systems:` has no such system."),
        ("{a: 3}", "hub.yaml:1:5: `a` has to be the name that the system uses, and is a number."),
        ("{crm: {A: {b: [c]}}}", "hub.yaml:1:15: `b` has to be the name that the system uses, and is a list."),
    ],
)
def test_what_is_wrong_in_hub_yaml_has_its_place(text: str, message: str) -> None:
    from hub.mapping.document import parse

    problems: list[Problem] = []
    read_names(parse(text, "hub.yaml", problems), parse("{crm: {}}", "hub.yaml", problems), problems)
    assert [str(one).split(" (")[0] for one in problems] == [message]


def test_narrower_names_go_before_wider_ones() -> None:
    found = names("{a: wide, crm: {a: system, Obj: {a: object}}}")
    assert found.of("crm", "Obj")["a"].real == "object"
    assert found.of("crm", "Other")["a"].real == "system"
    assert found.of("erp", "Obj")["a"].real == "wide"
    assert Alias("a", "wide", Place("hub.yaml", 1, 2)) in set(found)
