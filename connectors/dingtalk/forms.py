"""Approval forms: from the vendor's components to fields named by their labels, and values there and back.

People know a form by its labels; the API wants ids, and every value as text. Both are known here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from hub.domain.record import Fields, RowsWrite, Value
from hub.domain.schema import Field, FieldType, Wire

ZONE = "Asia/Shanghai"
LONGEST = 65535  # characters of one value, and of a whole table
ROW = "row"

# Component -> type, several values, and what it refers to.
_KINDS: Mapping[str, tuple[FieldType, bool, str | None]] = {
    "TextField": (FieldType.TEXT, False, None),
    "TextareaField": (FieldType.TEXT, False, None),
    "NumberField": (FieldType.DECIMAL, False, None),
    "MoneyField": (FieldType.MONEY, False, None),
    "DDSelectField": (FieldType.ENUM, False, None),
    "DDMultiSelectField": (FieldType.ENUM, True, None),
    "DDDateField": (FieldType.DATE, False, None),
    "DDDateRangeField": (FieldType.DATE, False, None),
    "DDPhotoField": (FieldType.URL, True, None),
    "TableField": (FieldType.ROWS, False, None),
    "DDAttachment": (FieldType.FILE, True, None),
    "InnerContactField": (FieldType.REFERENCE, True, "user"),
    "DepartmentField": (FieldType.REFERENCE, True, "department"),
    "RelateField": (FieldType.TEXT, True, None),
    "PhoneField": (FieldType.PHONE, False, None),
    "AddressField": (FieldType.TEXT, False, None),
    "StarRatingField": (FieldType.INTEGER, False, None),
}
_DECOR = frozenset({"TextNote", "DDHolidayField"})  # hold no value
_WIRES = {FieldType.DATE: Wire.ISO, FieldType.DATETIME: Wire.LOCAL}


class Unfit(ValueError):
    """A value that the form can't take; `field` is its label."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a form and the fields that it stands for: one, or two of a date range."""

    id: str
    label: str
    kind: str
    alias: str | None
    fields: tuple[Field, ...]
    children: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """The components of one form that hold values, in their order."""

    title: str
    components: tuple[Component, ...]
    fields: dict[str, Field] = field(default_factory=dict)

    def stamp(self, label: str) -> str | None:
        """The text field that holds the hub's key, by its label or its alias `hub_key`."""
        for one in self.components:
            if one.kind in ("TextField", "TextareaField") and (one.label == label or one.alias == "hub_key"):
                return one.fields[0].name
        return None

    def encode(self, values: Fields, rows: Mapping[str, RowsWrite]) -> list[dict[str, str]]:
        """The form as the API wants it. Values that are null are left out. Raises Unfit."""
        for name in (*values, *rows):
            if name not in self.fields:
                raise Unfit(name, f"the form has no field '{name}'; it has {', '.join(self.fields)}")
        made = []
        for one in self.components:
            text = _encoded(one, values, rows)
            if text is None:
                continue
            if len(text) > LONGEST:
                raise Unfit(one.label, f"'{one.label}' has {len(text)} characters; the form takes {LONGEST}")
            made.append({"id": one.id, "name": one.label, "value": text, "componentType": one.kind})
        return made

    def decode(self, values: Sequence[Mapping[str, Any]]) -> Fields:
        """Every field of the form, null where it is empty."""
        by_id = {str(value.get("id")): value for value in values}
        by_label = {str(value.get("name")): value for value in values}
        found: Fields = dict.fromkeys(self.fields)
        for one in self.components:
            given = by_id.get(one.id) or by_label.get(one.label)
            if given is not None:
                found.update(_decoded(one, given))
        return found


def read_form(title: str, items: Sequence[Mapping[str, Any]], taken: frozenset[str] = frozenset()) -> Form:
    """The form of a schema's `items`. A label that is there twice, or is one of `taken`, gets its component's id
    behind it."""
    used = set(taken)
    components = tuple(_component(item, used) for item in items if item.get("componentName") not in _DECOR)
    return Form(title, components, {one.name: one for part in components for one in part.fields})


def _component(item: Mapping[str, Any], used: set[str]) -> Component:
    props = item.get("props") or {}
    kind, id = str(item.get("componentName")), str(props.get("id"))
    label = str(props.get("label") or id)
    inner: set[str] = {ROW}
    children = tuple(
        _component(child, inner) for child in item.get("children") or () if child.get("componentName") not in _DECOR
    )
    # A date range is labelled with a JSON list of two labels.
    labels = _json_list(label) if kind == "DDDateRangeField" else None
    if kind == "DDDateRangeField" and (labels is None or len(labels) != 2):
        labels = [f"{label}.from", f"{label}.to"]
    fields = tuple(_field(str(name), id, kind, props, children, used) for name in labels or [label])
    return Component(id, label, kind, props.get("bizAlias"), fields, children)


def _field(
    label: str, id: str, kind: str, props: Mapping[str, Any], children: tuple[Component, ...], used: set[str]
) -> Field:
    name = label if label not in used else f"{label} ({id})"
    used.add(name)
    type, many, target = _KINDS.get(kind, (FieldType.TEXT, False, None))
    if type is FieldType.DATE and "HH" in str(props.get("format") or props.get("unit") or ""):
        type = FieldType.DATETIME
    made = Field(
        name,
        type,
        label=label,
        required=bool(props.get("required")),
        create_only=True,
        many=many,
        reference=target,
        wire=_WIRES.get(type, Wire.PLAIN),
        tz=ZONE,
        length=LONGEST if type is FieldType.TEXT and not many else None,
    )
    if type is FieldType.ENUM:
        words = [_option(option) for option in props.get("options") or ()]
        made = replace(made, options={word: word for word in words} or None)
        # An enum without options would refuse every value.
        return made if words else replace(made, type=FieldType.TEXT)
    if type is FieldType.ROWS:
        rows = {ROW: Field(ROW, readonly=True, label="行号")}
        rows |= {one.name: one for child in children for one in child.fields}
        return replace(made, rows=rows, row_key=ROW, many=False)
    return made


def _option(option: Any) -> str:
    """Options are plain words, maps, or JSON text of such maps."""
    if isinstance(option, str) and option.startswith("{"):
        try:
            option = orjson.loads(option)
        except orjson.JSONDecodeError:
            return str(option)
    return str(option.get("value")) if isinstance(option, dict) else str(option)


# ---- to the vendor ---------------------------------------------------------------------------------------------------


def _encoded(one: Component, values: Fields, rows: Mapping[str, RowsWrite]) -> str | None:
    if one.kind == "TableField":
        return _table(one, values, rows)
    given = [values.get(each.name) for each in one.fields]
    if all(value is None for value in given):
        return None
    if one.kind == "DDDateRangeField":
        return _dump([_scalar(each, value) for each, value in zip(one.fields, given, strict=True)])
    return _value(one.fields[0], one.kind, given[0])


def _table(one: Component, values: Fields, rows: Mapping[str, RowsWrite]) -> str | None:
    (field,) = one.fields
    written = rows.get(field.name)
    if written is None:
        if values.get(field.name) is not None:
            raise Unfit(field.name, f"'{field.name}' is a table; it is written by rows")
        return None
    columns = {each.name: child for child in one.children for each in child.fields}
    made = []
    for row in written.upsert:
        for name in row.fields:
            if name not in columns:
                raise Unfit(f"{field.name}.{name}", f"the table '{field.name}' has no column '{name}'")
        cells = [(child.label, _encoded(child, row.fields, {})) for child in one.children]
        made.append([{"name": label, "value": text} for label, text in cells if text is not None])
    return _dump(made) if made else None


def _value(field: Field, kind: str, value: Value) -> str:
    if kind == "DepartmentField":
        return ",".join(_scalar(field, member) for member in _members(field, value))
    if field.type is FieldType.FILE:
        return _dump([_attachment(field, member) for member in _members(field, value)])
    if field.many:
        return _dump([_scalar(field, member) for member in _members(field, value)])
    return _scalar(field, value)


def _members(field: Field, value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]


def _attachment(field: Field, value: Value) -> dict[str, str]:
    if not isinstance(value, dict) or not value.get("fileId"):
        raise Unfit(field.name, f"'{field.name}' takes files that were uploaded to the organisation's space")
    return {name: str(value.get(name) or "") for name in ("spaceId", "fileName", "fileSize", "fileType", "fileId")}


def _scalar(field: Field, value: Value) -> str:
    if isinstance(value, list | dict) or value is None:
        raise Unfit(field.name, f"'{field.name}' takes one value, not {'a list' if isinstance(value, list) else value}")
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if field.type is FieldType.DECIMAL and re.fullmatch(r"-?\d+\.\d+", text):
        # A person reads it: 2, not 2.0000.
        return text.rstrip("0").rstrip(".")
    if field.type is FieldType.DATETIME:
        return text.replace("T", " ")[:16]
    # The form's own line breaks are CR LF.
    return text.replace("\r\n", "\n").replace("\n", "\r\n") if field.type is FieldType.TEXT else text


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


# ---- from the vendor -------------------------------------------------------------------------------------------------


def _decoded(one: Component, given: Mapping[str, Any]) -> Fields:
    text, more = given.get("value"), given.get("extValue")
    if one.kind == "DDDateRangeField":
        ends = _json_list(text) or []
        pairs = zip(one.fields, [*ends, None, None], strict=False)
        return {each.name: None if end in (None, "") else str(end)[:10] for each, end in pairs}
    (field,) = one.fields
    if text in (None, "", "null"):
        return {field.name: None}
    if one.kind == "TableField":
        return {field.name: [_row(one, at, row) for at, row in enumerate(_json_list(text) or (), 1)]}
    if one.kind == "InnerContactField":
        return {field.name: _ids(text, more, "emplId")}
    if one.kind == "DepartmentField":
        return {field.name: _ids(text, more, "id")}
    if field.type is FieldType.FILE:
        return {field.name: [_exact(member) for member in _json_list(text) or ()]}
    if field.many:
        members = _json_list(text)
        return {field.name: [str(member) for member in (str(text).split(",") if members is None else members)]}
    return {field.name: _read(field, text)}


def _read(field: Field, text: Any) -> Value:
    if field.type is FieldType.INTEGER:
        return int(text) if str(text).lstrip("-").isdigit() else str(text)
    return str(text).replace("\r\n", "\n")


def _row(one: Component, at: int, row: Any) -> Fields:
    """A row as it is shown ({rowNumber, rowValue: cells}) or as it was sent (cells).

    It is known by its place: a form never changes, and who starts an approval is not told the vendor's own numbers.
    """
    cells = row.get("rowValue") if isinstance(row, dict) else row
    named = [cell for cell in cells or () if isinstance(cell, dict)]
    by_id = {str(cell.get("key") or cell.get("id")): cell for cell in named}
    by_label = {str(cell.get("label") or cell.get("name")): cell for cell in named}
    found: Fields = {ROW: str(at)}
    for child in one.children:
        cell = by_id.get(child.id) or by_label.get(child.label)
        found.update(_decoded(child, cell) if cell is not None else dict.fromkeys(each.name for each in child.fields))
    return found


def _ids(text: Any, more: Any, key: str) -> list[Value]:
    """Ids of people or departments: the value may hold names only, and the ids stand beside it."""
    for source in (more, text):
        members = _json_list(source)
        if members:
            return [str(one.get(key)) if isinstance(one, dict) else str(one) for one in members]
    return [part.strip() for part in str(text).split(",") if part.strip()]


def _exact(member: Any) -> Value:
    """A file's reference, its numbers as text."""
    return {str(name): str(value) for name, value in member.items()} if isinstance(member, dict) else str(member)


def _json_list(text: Any) -> list[Any] | None:
    if isinstance(text, list):
        return text
    if not isinstance(text, str) or not text.startswith("["):
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, list) else None
