"""From a file to the tree of forms, with all that is wrong in its writing at once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path as File

import pytest

from hub.domain.errors import InvalidInput, NotFound
from hub.mapping.load import load, read
from hub.mapping.model import (
    Aggregate,
    Apportion,
    Call,
    Const,
    Each,
    Expr,
    FirstOf,
    FixedRows,
    From,
    Join,
    MappingSpec,
    RunningNumber,
    Text,
    WriteBackValue,
)

FIXTURES = File(__file__).parent / "fixtures"
HEAD = "mapping: m\nentity: e\nsource: {system: a, object: A}\ntarget: {system: b, object: B}\n"


def spec(text: str) -> MappingSpec:
    return load(HEAD + text, "m.yaml")


def value(text: str, more: str = "") -> Expr:
    rule = spec(f"{more}fields: {{F: {text}}}\n").fields["F"].rule
    assert isinstance(rule, Expr)
    return rule


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read(HEAD + text, "m.yaml")[1]]


def test_the_whole_example_of_the_page() -> None:
    made = load((FIXTURES / "order-to-erp.yaml").read_text("utf-8"), "order-to-erp.yaml")
    assert made.name == "order-to-erp"
    assert made.target.after == ("submit", "audit")
    assert made.related["product"].of == "lines"
    department = made.fields["FSaleDeptId.FNumber"].rule
    assert isinstance(department, Expr)
    assert department.ref is not None
    assert department.ref.wait == 7200
    lines = made.fields["FSaleOrderEntry"].rule
    assert isinstance(lines, Each)
    assert list(lines.fields) == ["FMaterialId.FNumber", "FQty", "FTaxPrice", "FEntryTaxRate"]
    assert made.ensure["FSaleOrderFinance.FBillAllAmount"].within == Decimal("0.01")
    assert made.write_back is not None
    assert [value.kind for value in made.write_back.ok.values()] == ["key", "const", "const"]
    assert len(made.tests) == 2


def test_all_problems_come_at_once_each_with_its_place_and_the_nearest_name() -> None:
    found = problems(
        "feilds: {A: a}\nfields:\n  B: {form: b}\n  C: {from: c, as: decimel}\n  D: {ref: x, from: d, wait: soon}\n"
    )
    assert found == [
        "m.yaml:5:1: The mapping has no `feilds`. (did you mean `fields`?)",
        "m.yaml:7:7: `B` has no `form`. (did you mean `from`?)",
        "m.yaml:7:6: `B` does not say where its value comes from. (add `from: PATH`)",
        "m.yaml:8:20: `as` of `C` can't be `decimel`. (did you mean `decimal`?)",
        "m.yaml:9:30: `wait` of `D` has to be a time such as `90s`, `30m`, `2h` or `1d`, and is text.",
    ]


def test_what_is_lacking_is_named() -> None:
    _, found = read("mapping: m\n", "m.yaml")
    assert {problem.message for problem in found} == {
        "The mapping lacks `entity`.", "The mapping lacks `source`.", "The mapping lacks `target`.",
        "The mapping lacks `fields`.",
    }  # fmt: skip


def test_load_raises_with_every_problem() -> None:
    with pytest.raises(InvalidInput) as caught:
        spec("fields: {A: {from: a, case: loud}, B: {from: b, on: never}}\n")
    assert len(caught.value.problems) == 2
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("{const: 5}", Const(5)),
        ("1.50", Const(Decimal("1.50"))),
        ("null", Const(None)),
        ("true", Const(True)),
        ('{number: "C{yyMM}{0000}"}', RunningNumber("C{yyMM}{0000}")),
    ],
)
def test_origins_that_read_nothing(text: str, origin: object) -> None:
    assert value(text).origin == origin


def test_origins_that_read() -> None:
    lines = "related: {lines: {object: L, where: {o: _id}}}\n"
    assert isinstance(value("a.b").origin, From)
    assert isinstance(value("{first: [a, {const: x}]}").origin, FirstOf)
    first = value("{from: owner, first: true}").origin
    assert isinstance(first, Aggregate)
    assert first.path.name == "owner"
    total = value("{sum: lines.subtotal}", lines).origin
    assert isinstance(total, Aggregate)
    assert (total.function, total.path.related, total.path.name) == ("sum", "lines", "subtotal")
    shared = value("{apportion: amount, over: lines.subtotal, scale: 3}", lines)
    assert isinstance(shared.origin, Apportion)
    assert shared.origin.scale == 3
    assert shared.scale is None
    join = value('{join: [a, b], with: ""}').origin
    assert isinstance(join, Join)
    assert join.separator == ""
    call = value("{call: acme.group, from: [a, b]}").origin
    assert isinstance(call, Call)
    assert len(call.arguments) == 2


def test_paths_find_their_root() -> None:
    related = (
        "related: {lines: {object: L, where: {o: _id}}, account: {object: A, id: account_id}, "
        "product: {of: lines, object: P, id: product_id}}\n"
    )
    roots = {}
    for path in ("a.b", "record.a", "row.a", "account.tel", "record.account.tel", "row.product.x", "let.a", "param.p"):
        origin = value(path, related).origin
        assert isinstance(origin, From)
        roots[path] = (origin.paths[0].root, origin.paths[0].related, origin.paths[0].name)
    assert roots == {
        "a.b": ("scope", None, "a.b"),
        "record.a": ("record", None, "a"),
        "row.a": ("row", None, "a"),
        "account.tel": ("related", "account", "tel"),
        "record.account.tel": ("related", "account", "tel"),
        "row.product.x": ("related", "product", "x"),
        "let.a": ("let", None, "a"),
        "param.p": ("param", None, "p"),
    }


def test_a_template_holds_paths_and_formats_and_nothing_else() -> None:
    made = value('{text: "{a} {{x}} {b:,.2f}{c:yyyy-MM-dd}"}').origin
    assert isinstance(made, Text)
    shown = [part if isinstance(part, str) else (part.path.text, part.format) for part in made.parts]
    assert shown == [("a", ""), " ", "{", "x", "}", " ", ("b", ",.2f"), ("c", "yyyy-MM-dd")]


@pytest.mark.parametrize("text", ["{a.__class__!r}", "{a:{b}}", "{0.x[1]}", "{a:>99999999}", "{a", "a}", "{}", "{a b}"])
def test_a_template_that_python_would_run_is_refused(text: str) -> None:
    assert problems(f"fields: {{F: {{text: '{text}'}}}}\n")


def test_rows_of_all_kinds() -> None:
    made = spec(
        "related: {lines: {object: L, where: {o: _id}}}\n"
        "fields:\n"
        "  T: {each: lines, key: _id, group: order, fields: {A: {sum: rows.q}}}\n"
        "  S: {each: ids, value: {from: row, ref: employee}, list: append}\n"
        "  X: {rows: [{K: {const: a}}, {K: {const: b}}], key: K}\n"
    )
    assert isinstance(made.fields["T"].rule, Each)
    assert isinstance(made.fields["S"].rule, Each)
    fixed = made.fields["X"].rule
    assert isinstance(fixed, FixedRows)
    assert len(fixed.rows) == 2


def test_match_with_normaliser_and_veto() -> None:
    made = spec("match: [[A, B], [{N: company_name, veto: T}], C]\nfields: {A: a}\n").match
    assert [(dict(one.fields), one.veto) for one in made] == [
        ({"A": None, "B": None}, ()), ({"N": "company_name"}, ("T",)), ({"C": None}, ()),
    ]  # fmt: skip


def test_the_rest_of_the_forms() -> None:
    made = spec(
        "when_changes: {stage: {to: won}, owner: null}\n"
        "once_per: [_id, round]\n"
        "split: {rows: lines, by: row.company}\n"
        "related: {lines: {object: L, where: {o: _id}}}\n"
        "on_leave: {set: {S: {const: B}}}\n"
        "on_delete: delete\n"
        "on_adopt: fill_empty\n"
        "write_back: {ok: {a: id, b: {key: code}, c: {const: number}}, failed: {d: message}}\n"
        "fields: {A: a}\n"
    )
    assert [change.to for change in made.when_changes] == [("won",), None]
    assert [path.name for path in made.once_per] == ["_id", "round"]
    assert made.split is not None
    assert made.split.by.root == "row"
    assert made.on_leave.kind == "set"
    assert made.on_delete.kind == "delete"
    assert made.write_back is not None

    def said(value: WriteBackValue) -> tuple[str, object]:
        return value.kind, value.value

    assert [said(value) for value in made.write_back.ok.values()] == [
        ("key", "id"),
        ("key", "code"),
        ("const", "number"),
    ]
    assert said(made.write_back.failed["d"]) == ("message", "message")


def test_a_lookup_table_may_have_any_keys() -> None:
    made = spec(
        "lookups: {a: {file: x.csv}, b: {file: '1', other: '2'}, c: {x: y, else: keep}, d: {x: y, else: null}}\n"
        "fields: {A: a}\n"
    )
    assert made.lookups["a"].file == "x.csv"
    assert dict(made.lookups["b"].values) == {"file": "1", "other": "2"}
    assert made.lookups["c"].else_kind == "keep"
    assert (made.lookups["d"].else_kind, made.lookups["d"].else_value) == ("const", None)


BASE = HEAD + "fields: {A: a, B: b, C: c}\nlookups: {t: {x: '1'}}\n"


def test_an_overlay_adds_replaces_and_removes() -> None:
    overlay = "extends: base@1\nremove: [B]\nfields: {C: other, D: d}\nlookups: {u: {y: '2'}}\ntarget: {object: Z}\n"
    made = load(overlay, "customer.yaml", find=lambda name: (BASE, f"{name}.yaml"))
    assert list(made.fields) == ["A", "C", "D"]
    assert made.fields["C"].place.file == "customer.yaml"
    assert made.fields["A"].place.file == "base@1.yaml"
    assert set(made.lookups) == {"t", "u"}
    assert (made.target.system, made.target.object) == ("b", "Z")
    assert made.extends == "base@1"


def test_an_overlay_without_its_base_says_so() -> None:
    def nowhere(name: str) -> tuple[str, str]:
        raise NotFound(f"there is no mapping `{name}`", hint="did you mean x?")

    _, found = read("extends: base@2\nfields: {A: a}\n", "c.yaml", find=nowhere)
    assert [problem.message for problem in found] == ["there is no mapping `base@2`"]
    _, found = read("extends: c\nfields: {A: a}\n", "c.yaml", find=lambda name: ("extends: c\nfields: {}\n", "c.yaml"))
    assert found
