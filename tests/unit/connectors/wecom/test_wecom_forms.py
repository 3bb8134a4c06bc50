"""Templates as schemas, and every control's value to the platform's shape and back."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.wecom.forms import Unfit, form_of
from connectors.wecom.simulator_forms import control, options
from hub.domain.schema import FieldType

ZONE = "Asia/Shanghai"


@pytest.mark.parametrize(
    ("kind", "config", "value", "wire"),
    [
        ("Text", {}, "甲", {"text": "甲"}),
        ("Textarea", {}, "a\nb", {"text": "a\nb"}),
        ("Number", {}, "700", {"new_number": "700"}),
        ("Money", {}, "700.00", {"new_money": "700.00"}),
        ("Date", {"date": {"type": "day"}}, "2019-10-01", {"date": {"type": "day", "s_timestamp": "1569859200"}}),
        (
            "Date",
            {"date": {"type": "hour"}},
            "2019-10-01T08:30:00+08:00",
            {"date": {"type": "hour", "s_timestamp": "1569889800"}},
        ),
        (
            "Selector",
            options(("o1", "甲"), ("o2", "乙")),
            "o1",
            {"selector": {"type": "single", "options": [{"key": "o1"}]}},
        ),
        (
            "Selector",
            options(("o1", "甲"), ("o2", "乙"), kind="multi"),
            ["o1", "o2"],
            {"selector": {"type": "multi", "options": [{"key": "o1"}, {"key": "o2"}]}},
        ),
        ("Contact", {"contact": {"mode": "user"}}, ["u1"], {"members": [{"userid": "u1", "name": "u1"}]}),
        (
            "Contact",
            {"contact": {"mode": "department"}},
            ["2"],
            {"departments": [{"openapi_id": "2", "name": "2"}]},
        ),
        ("File", {}, ["m1", "m2"], {"files": [{"file_id": "m1"}, {"file_id": "m2"}]}),
        ("RelatedApproval", {}, ["202601010001"], {"related_approval": [{"sp_no": "202601010001"}]}),
        ("Location", {}, {"location": {"title": "x"}}, {"location": {"title": "x"}}),
    ],
)
def test_a_control_takes_and_gives_back(kind: str, config: dict[str, Any], value: Any, wire: dict[str, Any]) -> None:
    form = form_of([control(kind, "1", "项", **config)], ZONE, ())
    (content,) = form.encode({"项": value})
    assert content == {"control": kind, "id": f"{kind}-1", "value": wire}
    assert form.decode([content]) == {"项": value}


def test_a_span_of_time_is_two_fields_of_one_control() -> None:
    form = form_of([control("DateRange", "1", "行程", date_range={"type": "hour"})], ZONE, ())
    values = {"行程.begin": "2019-10-01T08:00:00+08:00", "行程.end": "2019-10-01T18:00:00+08:00"}
    (content,) = form.encode(values)
    span = {"type": "hour", "new_begin": 1569888000, "new_end": 1569924000, "new_duration": 36000}
    assert content["value"] == {"date_range": span}
    assert form.decode([content]) == values
    with pytest.raises(Unfit, match="its begin and its end"):
        form.encode({"行程.begin": "2019-10-01T08:00:00+08:00"})


def test_a_table_is_a_list_of_rows_that_are_known_by_their_place() -> None:
    children = [control("Text", "11", "产品"), control("Money", "12", "价")]
    form = form_of([control("Table", "1", "明细", table={"children": children})], ZONE, ())
    field = form.fields["明细"]
    assert (field.type, field.row_key, list(field.rows or {})) == (FieldType.ROWS, "_row", ["_row", "产品", "价"])
    (content,) = form.encode({"明细": [{"产品": "轴承", "价": "6.00"}, {"产品": "电机"}]})
    lists = content["value"]["children"]
    assert lists[0]["list"][1] == {"control": "Money", "id": "Money-12", "value": {"new_money": "6.00"}}
    assert form.decode([content]) == {
        "明细": [{"_row": "1", "产品": "轴承", "价": "6.00"}, {"_row": "2", "产品": "电机", "价": None}]
    }


def test_controls_of_one_title_are_told_apart_and_common_names_are_kept() -> None:
    given = [control("Text", str(n), title) for n, title in enumerate(("备注", " 备注 ", "creator", ""))]
    form = form_of(given, ZONE, ("creator",))
    assert list(form.fields) == ["备注", "备注#2", "creator#2", "Text-3"]


def test_what_only_speaks_is_no_field_and_what_is_computed_is_not_written() -> None:
    form = form_of([control("Tips", "1", "提示"), control("Formula", "2", "合计")], ZONE, ())
    assert list(form.fields) == ["合计"]
    assert form.encode({"合计": "5"}) == []
    assert form.decode([{"id": "Formula-2", "value": {"formula": {"value": "5.0"}}}]) == {"合计": "5.0"}


def test_empty_values_are_left_out_and_read_as_null() -> None:
    form = form_of([control("Text", "1", "甲", require=True), control("File", "2", "乙")], ZONE, ())
    assert form.encode({"甲": None, "乙": []}) == []
    assert form.decode([{"id": "Text-1", "value": {"text": ""}}]) == {"甲": None, "乙": None}
    assert form.fields["甲"].required


@pytest.mark.parametrize(
    ("kind", "config", "value"),
    [
        ("Text", {}, ["a"]),
        ("Text", {}, True),
        ("Number", {}, {"a": 1}),
        ("Date", {"date": {"type": "day"}}, "tomorrow"),
        ("Selector", options(("o1", "甲")), "o9"),
        ("Selector", options(("o1", "甲")), {"key": "o1"}),
        ("File", {}, [{"id": 1}]),
        ("Table", {"table": {"children": []}}, "rows"),
        ("Location", {}, "here"),
    ],
)
def test_a_value_of_another_shape_is_refused_by_name(kind: str, config: dict[str, Any], value: Any) -> None:
    form = form_of([control(kind, "1", "项", **config)], ZONE, ())
    with pytest.raises(Unfit) as caught:
        form.encode({"项": value})
    assert caught.value.field == "项"
