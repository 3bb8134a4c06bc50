"""Translation never crashes, on any JSON and any valid mapping: it gives a result for every record."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from hub.domain.errors import InvalidInput
from hub.domain.schema import Field, FieldType, ObjectSchema, Wire
from hub.domain.values import DoesNotFit, canonical, parse, render
from hub.mapping.compile import compile_mapping
from hub.mapping.document import parse as parse_yaml
from hub.mapping.load import build, load
from hub.mapping.result import Asks, Context, Failed, Filtered, Item, RefAnswer, RefState, Refused, Rendered, Waiting

NAMES = ("a", "b", "c", "d", "e", "x.y")
RESULTS = (Filtered, Refused, Waiting, Failed)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.floats(),
    st.sampled_from(["1.50", "2026-01-06", "13800138000", " ", "0", "-1", "1767628800000", "A", "B", "NaN", "1e400"]),
)  # fmt: skip
json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
records = st.dictionaries(st.sampled_from(NAMES), json, max_size=6)

fields = st.builds(
    lambda type_, wire, many, scale, length, options, reference: Field(
        "",
        type_,
        wire=wire,
        many=many,
        scale=scale,
        length=length,
        options=options,
        reference=reference,
        tz="Asia/Shanghai",
    ),
    st.sampled_from([type_ for type_ in FieldType if type_ is not FieldType.ROWS]),
    st.sampled_from(Wire),
    st.booleans(),
    st.none() | st.integers(0, 4),
    st.none() | st.integers(1, 8),
    st.none() | st.just({"A": "Alpha", "1": "One"}),
    st.none() | st.just("Thing"),
)
schemas = st.dictionaries(st.sampled_from(NAMES), fields, max_size=6)

paths = st.sampled_from([*NAMES, "one.a", "one.b", "record.c", "param.p", "let.l", "lines.a"])
row_paths = st.sampled_from([*NAMES, "record.a", "row.b", "row.two.a", "one.a", "let.l", "let.shared"])
constants = st.sampled_from([None, 1, "x", "2026-01-06", "1.25", True])


def steps(path: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """The steps that may follow, each by itself a valid form."""
    return st.fixed_dictionaries(
        {},
        optional={
            "trim": st.booleans(),
            "case": st.sampled_from(["upper", "lower", "title"]),
            "split": st.sampled_from([",", "1"]),
            "replace": st.just({"1": "2"}),
            "null": st.sampled_from(["clear", "keep"]),
            "default": constants,
            "as": st.sampled_from(
                [
                    "text",
                    "integer",
                    "decimal",
                    "boolean",
                    "date",
                    "datetime",
                    "phone",
                    "email",
                    "url",
                    "list",
                    "label",
                    "time",
                ]
            ),
            "tz": st.just("America/New_York"),
            "region": st.just("CN"),
            "multiply": st.sampled_from(["2", "0.5"]),
            "lookup": st.sampled_from(["inline", "hub"]),
            "else": constants,
            "scale": st.integers(0, 6),
            "round": st.sampled_from(["half_up", "floor"]),
            "on_error": constants,
            "on": st.sampled_from(["create", "change"]),
            "if": st.sampled_from(["record.a == 'x'", "record.b > 1", "size(record.lines) > 0"]),
        },
    )


def origins(path: st.SearchStrategy[str], scope: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(lambda one: {"from": one}, path),
        st.builds(lambda one, facet: {"from": one, "ref": "thing", "facet": facet}, path, path),
        st.builds(lambda one: {"from": one, "ref": "thing", "optional": True, "wait": "1h"}, path),
        st.builds(lambda many: {"first": many}, st.lists(path, min_size=1, max_size=3)),
        st.builds(lambda many: {"join": many, "with": "-"}, st.lists(path, min_size=1, max_size=3)),
        st.builds(lambda one: {"text": "<{" + one + "}|{" + one + ":,.2f}>"}, path),
        st.builds(lambda value: {"const": value}, constants),
        st.builds(lambda name, one: {name: one}, st.sampled_from(["sum", "min", "max", "count", "last"]), path),
        st.builds(
            lambda one, sign, other: {"calc": f"{one} {sign} {other}"},
            path.filter(lambda one: one != "lines.a"),
            st.sampled_from("+-*/%"),
            st.sampled_from(["2", "0", "a", "c"]),
        ),
        st.sampled_from([{"cel": f"{scope}.a"}, {"cel": f"{scope}.a + {scope}.b"}, {"cel": f"has({scope}.a) ? 1 : 2"}]),
        st.just({"param": "q"}),
    )  # fmt: skip


def exprs(path: st.SearchStrategy[str], scope: str) -> st.SearchStrategy[Any]:
    return path | st.builds(lambda origin, more: {**more, **origin}, origins(path, scope), steps(path))


rows = st.builds(
    lambda each, fields, when, group: {"each": each, "fields": fields, **when, **group},
    st.sampled_from(["lines", "e"]),
    st.dictionaries(
        st.sampled_from(NAMES),
        exprs(row_paths.filter(lambda one: "two" not in one and "shared" not in one), "row"),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([{}, {"when": "row.a != null"}, {"when": "row.b > 1"}, {"key": "a"}]),
    st.sampled_from([{}, {"group": "b"}]),
)
lines = st.builds(
    lambda fields: {"each": "lines", "key": "a", "fields": fields},
    st.dictionaries(st.sampled_from(NAMES), exprs(row_paths, "row"), min_size=1, max_size=3),
)
scalar_rows = st.builds(
    lambda value: {"each": "d", "value": value}, exprs(st.sampled_from(["row", "row.a", "record.b"]), "record")
)
mappings = st.builds(
    lambda fields, table, more: {
        "mapping": "m",
        "entity": "e",
        "source": {"system": "s", "object": "A"},
        "target": {"system": "t", "object": "B"},
        "related": {
            "lines": {"object": "L", "where": {"o": "a"}},
            "one": {"object": "O", "id": "b"},
            "two": {"of": "lines", "object": "P", "id": "c"},
        },
        "lookups": {"inline": {"A": "1", "1": "x"}, "hub": {"table": "hub", "keys": ["k"]}},
        "let": {"l": {"from": "c", "trim": True}, "shared": {"apportion": "a", "over": "lines.b"}},
        "fields": {**fields, **table},
        **more,
    },
    st.dictionaries(st.sampled_from(NAMES), exprs(paths, "record"), min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["T", "U"]), rows | lines | scalar_rows, max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "title": paths,
            "when": st.sampled_from(["record.a != 'x'", "record.lines.all(l, l.a != 1)", "record.one.a == null"]),
            "require": st.just([{"that": "record.b != 7", "say": "no"}]),
            "match": st.just([["a", "b"]]),
            "once_per": st.lists(st.sampled_from(NAMES), min_size=1, max_size=2),
            "split": st.just({"rows": "lines", "by": "row.b"}),
            "when_changes": st.just({"a": {"to": ["x", 1]}}),
        },
    ),
)  # fmt: skip


def written(value: Any) -> str:
    """A mapping as YAML; JSON is YAML."""
    return orjson.dumps(value).decode()


def schema(name: str, shapes: dict[str, Field]) -> ObjectSchema:
    return ObjectSchema(name, name, "a", {key: replace(shape, name=key) for key, shape in shapes.items()})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    mapping=mappings,
    record=records,
    previous=st.none() | records,
    related=st.lists(records, max_size=3),
    one=st.none() | records,
    shapes=schemas,
    row_shapes=schemas,
    targets=schemas,
    found=st.sampled_from(RefState),
    exists=st.booleans(),
)
def test_any_record_through_any_valid_mapping(
    mapping: dict[str, Any],
    record: dict[str, Any],
    previous: dict[str, Any] | None,
    related: list[dict[str, Any]],
    one: dict[str, Any] | None,
    shapes: dict[str, Field],
    row_shapes: dict[str, Field],
    targets: dict[str, Field],
    found: RefState,
    exists: bool,
) -> None:
    try:
        compiled = compile_mapping(
            load(written(mapping), "m.yaml"),
            source=schema("A", shapes),
            target=schema("B", targets),
            related={"lines": schema("L", row_shapes), "one": schema("O", row_shapes)},
            plugins={},
        )
    except InvalidInput as error:
        # The one thing that may be wrong with what is made here: arithmetic over a list.
        if all("is a list" in problem.message for problem in error.problems):
            reject()
        raise
    items = [
        Item("1", record, {"lines": related, "one": one, "two": {"x": record}}, previous=previous, exists=exists),
        Item("2", {}, {}),
        Item("3", record, {"lines": [], "one": None, "two": {}}, waited=7200.0),
    ]
    context = Context(params={"p": "1"})
    asked = compiled.collect(items, context)
    assert isinstance(asked, Asks)
    context.refs = {key: RefAnswer(found, "1", {"id": "1"}) for key in asked.refs}
    results = compiled.run(items, context)
    assert len(results) == 3
    for result in results:
        assert isinstance(result, RESULTS) or (
            isinstance(result, list) and all(isinstance(part, Rendered) for part in result)
        )
        if isinstance(result, Waiting):
            # What a run waits for, it has asked for.
            asks = compiled.collect(items, context)
            assert set(result.refs) <= asks.refs
            assert set(result.tables) <= asks.tables
        if isinstance(result, Failed):
            assert all(error.rule != "value" or "(" in error.message for error in result.errors)


def floats_in(value: Any) -> bool:
    if isinstance(value, dict):
        return any(floats_in(below) for below in value.values())
    if isinstance(value, list):
        return any(floats_in(below) for below in value)
    return isinstance(value, (float, Decimal))


@settings(max_examples=300, deadline=None)
@given(shape=fields, value=json)
def test_any_value_is_read_and_written_or_refused(shape: Field, value: Any) -> None:
    try:
        read = parse(shape, value)
        made = render(shape, read)
    except DoesNotFit:
        pass
    else:
        if shape.type not in (FieldType.JSON, FieldType.FILE):
            assert not floats_in(made)
            assert canonical(shape, made) == canonical(shape, value)
    hash(canonical(shape, value))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="ab:{}[]-,'\"&*!|>\n #?", max_size=80))
def test_any_text_is_a_document_or_a_problem(text: str) -> None:
    problems: list[Any] = []
    node = parse_yaml(text, "f.yaml", problems)
    if node is not None:
        build(node, problems)
        assert problems  # no text this short is a whole mapping
