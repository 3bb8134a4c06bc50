"""The tests that stand in a mapping file, and the story of one record."""

from __future__ import annotations

from pathlib import Path

from hub.domain.schema import Field, ObjectSchema
from hub.mapping.explain import Explainer
from hub.mapping.load import load
from hub.mapping.result import Context, Item
from hub.mapping.testing import run_tests

FIXTURES = Path(__file__).parent / "fixtures"
HEAD = "mapping: m\nentity: e\nsource: {system: a, object: A}\ntarget: {system: b, object: B}\n"


def differences(text: str) -> list[tuple[str, ...]]:
    return [report.differences for report in run_tests(load(HEAD + text, "m.yaml"), plugins={})]


def read_fixture(name: str) -> str:
    return (FIXTURES / name).read_text("utf-8")


def test_the_example_of_the_page_passes_its_own_tests() -> None:
    spec = load(read_fixture("order-to-erp.yaml"), "order-to-erp.yaml")
    reports = run_tests(spec, plugins={}, read_file=read_fixture)
    assert [(report.name, report.differences) for report in reports] == [
        ("a plain order", ()), ("no tax number is refused in words", ()),
    ]  # fmt: skip


def test_differences_can_be_read() -> None:
    found = differences(
        "related: {lines: {object: L, where: {o: _id}}}\n"
        "fields: {A: a, B: b, T: {each: lines, key: k, fields: {X: x}}}\n"
        "tests:\n"
        "  - name: one\n"
        "    given: {record: {a: '1', b: null}, related: {lines: [{k: '1', x: p}, {k: '2', x: q}]}}\n"
        "    expect: {A: '2', B: x, C: 1, T: [{X: p}, {X: r}]}\n"
        "    expect_error: no\n"
        "  - name: two\n"
        "    given: {record: {a: '1'}}\n"
        "    expect_only: {}\n"
    )
    assert found == [
        (
            "expected an error with `no`; it was translated",
            'A: expected "2", and is "1"',
            'B: expected "x", and is null',
            "C: expected 1, and it is left alone",
            'T[2].X: expected "r", and is "q"',
        ),
        ('A: not expected, and is "1"',),
    ]


def test_expectations_of_what_does_not_travel() -> None:
    text = (
        "when: record.state == 'ok'\n"
        "require: [{that: 'record.tax != null', say: no tax number}]\n"
        "actions: [{if: record.off, do: [Cancel]}]\n"
        "fields: {C: {from: c, ref: customer}}\n"
        "tests:\n"
        "  - {name: filtered, given: {record: {state: no}}, expect_filtered: state}\n"
        "  - {name: not filtered, given: {record: {}}, expect_filtered: false}\n"
        "  - {name: refused, given: {record: {tax: null}}, expect_error: tax}\n"
        "  - {name: waits, given: {record: {c: c1}}, expect_waiting: customer}\n"
        "  - name: found\n"
        "    given: {record: {c: c1}, ids: {customer: {c1: {id: '7', number: N}}}}\n"
        "    expect_only: {C: '7'}\n"
        "  - {name: acts, given: {record: {off: true}}, expect_actions: [Cancel]}\n"
        "  - {name: wrong, given: {record: {state: no}}, expect: {C: x}}\n"
        "  - {name: wrong too, given: {record: {state: ok}}, expect_filtered: true}\n"
    )
    *good, wrong, wrong_too = differences(text)
    assert good == [()] * 6
    assert wrong == ("expected a record; it was filtered by `when: record.state == 'ok'`",)
    assert wrong_too == ("expected it to be filtered (True); it was translated",)


def test_tables_facets_time_and_numbers() -> None:
    assert differences(
        "lookups: {tax: {table: tax, keys: [a, b]}}\n"
        "fields: {N: {from: [a, b], lookup: tax, take: rate}, C: {from: c, ref: customer, facet: f}, "
        "S: {number: 'C{0000}'}, "
        "W: {from: c, ref: dept, wait: 2h, else: D}}\n"
        "tests:\n"
        "  - name: all\n"
        "    given:\n"
        "      record: {a: '1', b: '2', c: c1, f: X}\n"
        "      ids: {customer: {'c1@X': one, c1: other}}\n"
        "      tables: {tax: {1|2: {rate: 0.13}}}\n"
        "      waited: 3h\n"
        "    expect_only: {N: 0.13, C: one, S: 'C{0000}', W: D}\n"
        "  - name: as rows\n"
        "    given: {record: {a: '1', b: '2'}, tables: {tax: [{a: '1', b: '2', rate: '5'}]}}\n"
        "    expect: {N: 5}\n"
    ) == [(), ()]


def test_the_story_of_a_record_shows_each_step_and_masks_what_is_personal() -> None:
    fields = [Field("name", personal=True), Field("city")]
    source = ObjectSchema("A", "A", "_id", {field.name: field for field in fields})
    explainer = Explainer(
        load(
            HEAD + "fields: {N: {from: name, trim: true, case: upper}, C: {from: city, default: none}, X: gone}\n",
            "m.yaml",
        ),
        source=source,
        target=None,
        plugins={},
    )
    made = explainer.explain(Item("1", {"name": " Zhang San ", "city": None}), Context())
    assert [story.field for story in made.stories] == ["N", "C", "X"]
    name, city, gone = made.stories
    assert name.paths == ("name",)
    assert name.personal
    assert not any("hang" in shown or "HANG" in shown for _, shown in name.steps)
    assert next(step for step, _ in name.steps) == "from"
    assert city.steps == [("from", "null"), ("default", "none"), ("written", "none")]
    assert gone.steps == [("from", "(not read)")]
    assert isinstance(made.result, list)
    assert made.result[0].fields["N"] == "ZHANG SAN"
