"""Forms: fields named by their labels, every component's encoding as the vendor documents it, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.dingtalk.forms import Unfit, read_form
from hub.domain.record import Fields, RowsWrite, RowWrite
from hub.domain.schema import FieldType


def item(kind: str, label: str, *children: dict[str, Any], **props: Any) -> dict[str, Any]:
    return {
        "componentName": kind,
        "props": {"id": f"{kind}-{label}", "label": label, **props},
        "children": list(children),
    }


# component, value of the hub, the text that the vendor wants
ENCODINGS: list[tuple[dict[str, Any], Any, str]] = [
    (item("TextField", "a"), "text", "text"),
    (item("TextareaField", "a"), "one\ntwo", "one\r\ntwo"),
    (item("NumberField", "a"), "100", "100"),
    (item("MoneyField", "a"), "100.50", "100.50"),
    (item("DDSelectField", "a", options=["选项1", "选项2"]), "选项1", "选项1"),
    (item("DDSelectField", "a", options=['{"key":"k","value":"选项1"}']), "选项1", "选项1"),
    (item("DDMultiSelectField", "a", options=["选项1", "选项2"]), ["选项1", "选项2"], '["选项1","选项2"]'),
    (item("DDDateField", "a"), "2021-08-17", "2021-08-17"),
    (item("DDDateField", "a", format="yyyy-MM-dd HH:mm"), "2021-08-17T09:30:00", "2021-08-17 09:30"),
    (item("DDPhotoField", "a"), ["http://url1"], '["http://url1"]'),
    (item("InnerContactField", "a"), ["userid"], '["userid"]'),
    (item("DepartmentField", "a"), ["123", "456"], "123,456"),
    (item("RelateField", "a"), ["PI-1"], '["PI-1"]'),
    (item("PhoneField", "a"), "13800000000", "13800000000"),
    (item("AddressField", "a"), "北京,北京市,河东区", "北京,北京市,河东区"),
    (item("StarRatingField", "a"), 5, "5"),
]


@pytest.mark.parametrize(("component", "value", "text"), ENCODINGS, ids=lambda given: str(given)[:40])
def test_values_are_encoded_as_the_vendor_wants_them_and_read_back(
    component: dict[str, Any], value: Any, text: str
) -> None:
    form = read_form("f", [component])
    (made,) = form.encode({"a": value}, {})
    assert (made["id"], made["name"], made["value"]) == (component["props"]["id"], "a", text)
    back = form.decode([{"id": made["id"], "name": "a", "value": text}])["a"]
    assert back == (value.replace("T", " ")[:16] if "T" in str(value) and "HH" in str(component) else value)


def test_numbers_are_written_as_a_person_reads_them() -> None:
    form = read_form("f", [item("NumberField", "a"), item("MoneyField", "b")])
    for number, text in (("2.0000", "2"), ("0.50", "0.5"), ("100", "100"), ("-1.0", "-1"), ("0.0", "0")):
        assert [one["value"] for one in form.encode({"a": number, "b": number}, {})] == [text, number]


def test_a_date_range_is_two_fields_under_its_two_labels() -> None:
    form = read_form("f", [item("DDDateRangeField", '["开始时间","结束时间"]')])
    assert list(form.fields) == ["开始时间", "结束时间"]
    (made,) = form.encode({"开始时间": "2019-02-19", "结束时间": "2019-02-25"}, {})
    assert (made["name"], made["value"]) == ('["开始时间","结束时间"]', '["2019-02-19","2019-02-25"]')
    assert form.decode([made]) == {"开始时间": "2019-02-19", "结束时间": "2019-02-25"}


TABLE = item("TableField", "明细", item("TextField", "单行"), item("NumberField", "数字"))


def test_a_table_is_rows_of_cells_named_by_their_columns() -> None:
    form = read_form("f", [TABLE])
    rows = {"明细": RowsWrite([RowWrite("l1", None, {"单行": "a", "数字": "1"}), RowWrite("l2", None, {"单行": "b"})])}
    (made,) = form.encode({}, rows)
    assert json.loads(made["value"]) == [
        [{"name": "单行", "value": "a"}, {"name": "数字", "value": "1"}],
        [{"name": "单行", "value": "b"}],
    ]
    assert form.fields["明细"].row_key == "row"
    as_sent = form.decode([made])
    assert as_sent == {"明细": [{"row": "1", "单行": "a", "数字": "1"}, {"row": "2", "单行": "b", "数字": None}]}
    cells = [{"label": "单行", "key": "TextField-单行", "value": "a"}, {"label": "数字", "value": "1"}]
    shown = json.dumps([{"rowNumber": "TableField_1", "rowValue": cells}])
    assert form.decode([{"id": "TableField-明细", "value": shown}]) == {
        "明细": [{"row": "1", "单行": "a", "数字": "1"}]
    }


def test_an_attachment_travels_as_the_five_members_that_the_vendor_wants() -> None:
    form = read_form("f", [item("DDAttachment", "附件")])
    assert (form.fields["附件"].type, form.fields["附件"].many) == (FieldType.FILE, True)
    file: Fields = {"spaceId": "163", "fileName": "a.pdf", "fileSize": "333", "fileType": "pdf", "fileId": "643"}
    (made,) = form.encode({"附件": [file]}, {})
    assert json.loads(made["value"]) == [file]
    assert form.decode([made]) == {"附件": [file]}
    with pytest.raises(Unfit, match="uploaded"):
        form.encode({"附件": ["a.pdf"]}, {})


def test_ids_of_people_are_taken_from_beside_their_names() -> None:
    form = read_form("f", [item("InnerContactField", "负责人"), item("DepartmentField", "部门")])
    values = [
        {"id": "InnerContactField-负责人", "value": "张伟", "extValue": '[{"emplId":"zhangwei","name":"张伟"}]'},
        {"id": "DepartmentField-部门", "value": "华东", "extValue": '[{"id":"101","name":"华东"}]'},
    ]
    assert form.decode(values) == {"负责人": ["zhangwei"], "部门": ["101"]}


def test_what_the_form_does_not_have_or_take_is_refused_with_its_label() -> None:
    form = read_form("f", [item("TextField", "客户"), TABLE])
    for values, rows, field in (
        ({"客户名": "x"}, {}, "客户名"),
        ({"客户": ["x"]}, {}, "客户"),
        ({"客户": {"a": 1}}, {}, "客户"),
        ({"明细": "x"}, {}, "明细"),
        ({"客户": "x" * 65536}, {}, "客户"),
        ({}, {"明细": RowsWrite([RowWrite("l1", None, {"价格": "1"})])}, "明细.价格"),
    ):
        with pytest.raises(Unfit) as unfit:
            form.encode(values, rows)  # type: ignore[arg-type]
        assert unfit.value.field == field


def test_labels_that_stand_twice_or_are_taken_get_their_components_id() -> None:
    twice = [item("TextField", "金额"), {"componentName": "NumberField", "props": {"id": "N-2", "label": "金额"}}]
    form = read_form("f", [*twice, item("TextField", "title")], frozenset({"title"}))
    assert list(form.fields) == ["金额", "金额 (N-2)", "title (TextField-title)"]
    made = form.encode({"金额": "a", "金额 (N-2)": "1"}, {})
    assert [(one["id"], one["name"], one["value"]) for one in made] == [
        ("TextField-金额", "金额", "a"),
        ("N-2", "金额", "1"),
    ]


def test_decoration_holds_no_value_and_unknown_components_are_text() -> None:
    form = read_form("f", [item("TextNote", "说明"), item("SomethingNew", "新控件")])
    assert list(form.fields) == ["新控件"]
    assert form.fields["新控件"].type is FieldType.TEXT


def test_every_field_is_there_and_null_where_the_form_is_empty() -> None:
    form = read_form("f", [item("TextField", "a"), item("NumberField", "b"), TABLE])
    assert form.decode([{"id": "TextField-a", "value": ""}, {"name": "b", "value": None}]) == {
        "a": None,
        "b": None,
        "明细": None,
    }
