"""An approval template as a schema: its controls as fields named by their titles, and their values both ways."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from hub.domain.record import Fields, Value
from hub.domain.schema import Field, FieldType, Wire

ROW = "_row"  # rows of a form have no ids: their place is what tells them apart
_SILENT = frozenset({"Tips"})  # controls that only say something
_TEXTS = {"Text": "text", "Textarea": "text", "Number": "new_number", "Money": "new_money"}
_TYPES = {"Text": FieldType.TEXT, "Textarea": FieldType.TEXT, "Number": FieldType.DECIMAL, "Money": FieldType.MONEY}


class Unfit(ValueError):
    """A value that a control does not take; `field` is the control's name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Control:
    """One control: what it is called here, what the platform calls it, and its schema.

    A DateRange is three fields of one control: `part` says which.
    """

    name: str
    kind: str
    id: str
    field: Field
    variant: str = ""  # day or hour; single or multi; user or department
    children: tuple[Control, ...] = ()
    part: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A template's controls in order; `zone` is the time zone of its days."""

    controls: tuple[Control, ...]
    zone: str

    @property
    def fields(self) -> dict[str, Field]:
        return {control.name: control.field for control in self.controls}

    def encode(self, values: Mapping[str, Value]) -> list[dict[str, Any]]:
        """`apply_data.contents` of these values, by name; empty ones are left out. Raises Unfit."""
        return _encode_all(self.controls, values, self.zone)

    def decode(self, contents: Iterable[Mapping[str, Any]]) -> Fields:
        """The values of a submitted form, by name; null where nobody filled anything in."""
        return _decode_all(self.controls, contents, self.zone)


def form_of(controls: Sequence[Mapping[str, Any]], zone: str, taken: Collection[str]) -> Form:
    """The form of `template_content.controls`. `taken` are names that no control may have: its name gets a number."""
    return Form(_controls(controls, zone, set(taken)), zone)


# ---- what there is ---------------------------------------------------------------------------------------------------


def _controls(given: Sequence[Mapping[str, Any]], zone: str, taken: set[str]) -> tuple[Control, ...]:
    found: list[Control] = []
    for shape in given:
        about = shape.get("property") or {}
        kind, id = str(about.get("control")), str(about.get("id"))
        if kind in _SILENT:
            continue
        name = _name(about, id, taken)
        config = shape.get("config") or {}
        required = bool(about.get("require"))
        if kind == "DateRange":
            variant = str((config.get("date_range") or {}).get("type") or "hour")
            for part in ("begin", "end"):
                field = Field(f"{name}.{part}", FieldType.DATETIME, f"{name} {part}", required, create_only=True,
                              wire=Wire.ISO, tz=zone)  # fmt: skip
                found.append(Control(field.name, kind, id, field, variant, part=part))
            continue
        children: tuple[Control, ...] = ()
        if kind == "Table":
            children = _controls((config.get("table") or {}).get("children") or (), zone, {ROW})
        field, variant = _field(name, kind, config, required, zone, children)
        found.append(Control(name, kind, id, field, variant, children))
    return tuple(found)


def _name(about: Mapping[str, Any], id: str, taken: set[str]) -> str:
    """The control's title; the second of the same name is `NAME#2`."""
    title = " ".join(_text(about.get("title")).split()) or id
    name, count = title, 1
    while name in taken:
        count += 1
        name = f"{title}#{count}"
    taken.add(name)
    return name


def _field(
    name: str, kind: str, config: Mapping[str, Any], required: bool, zone: str, children: tuple[Control, ...]
) -> tuple[Field, str]:
    """The schema of one control, and its variant."""

    def made(type: FieldType, **more: Any) -> Field:
        return Field(name, type, name, required, create_only=True, tz=zone, **more)

    match kind:
        case "Date":
            variant = str((config.get("date") or {}).get("type") or "day")
            return made(FieldType.DATETIME if variant == "hour" else FieldType.DATE, wire=Wire.ISO), variant
        case "Selector":
            selector = config.get("selector") or {}
            options = {str(one["key"]): _text(one.get("value")) for one in selector.get("options") or ()}
            many = selector.get("type") == "multi"
            return made(FieldType.ENUM, options=options, many=many), "multi" if many else "single"
        case "Contact":
            contact = config.get("contact") or {}
            mode = str(contact.get("mode") or "user")
            reference = "department" if mode == "department" else "member"
            return made(FieldType.REFERENCE, reference=reference, many=True), mode
        case "File":
            return made(FieldType.FILE, many=True), ""
        case "RelatedApproval":
            return made(FieldType.TEXT, many=True), ""
        case "Table":
            rows = {ROW: Field(ROW, readonly=True), **{child.name: child.field for child in children}}
            return made(FieldType.ROWS, rows=rows, row_key=ROW), ""
        case "Formula":
            return Field(name, FieldType.DECIMAL, name, readonly=True, computed=True), ""
        case _:
            # Location, leave, attendance, bank account: passed through in the platform's own shape.
            return made(_TYPES.get(kind, FieldType.JSON)), ""


def _text(words: Any) -> str:
    """Chinese of several languages, else whichever stands first."""
    if not isinstance(words, list):
        return ""
    texts = {str(one.get("lang")): str(one.get("text") or "") for one in words if isinstance(one, dict)}
    return texts.get("zh_CN") or next((text for text in texts.values() if text), "")


# ---- values to the platform ------------------------------------------------------------------------------------------


def _encode_all(controls: Sequence[Control], values: Mapping[str, Value], zone: str) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    ranges: dict[str, dict[str, Any]] = {}
    for control in controls:
        value = values.get(control.name)
        if value in (None, "", []) or control.field.computed:
            continue
        if control.part:
            span = ranges.setdefault(control.id, {"type": control.variant})
            span[f"new_{control.part}"] = _seconds(control, value, zone)
            if len(span) == 2:
                contents.append({"control": control.kind, "id": control.id, "value": {"date_range": span}})
            continue
        contents.append({"control": control.kind, "id": control.id, "value": _encode(control, value, zone)})
    for id, span in ranges.items():
        if not {"new_begin", "new_end"} <= span.keys():
            name = next(control.name for control in controls if control.id == id)
            raise Unfit(name, "a span of time needs its begin and its end")
        span["new_duration"] = span["new_end"] - span["new_begin"]
    return contents


def _encode(control: Control, value: Value, zone: str) -> dict[str, Any]:
    match control.kind:
        case "Text" | "Textarea" | "Number" | "Money":
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise Unfit(control.name, f"a {control.kind} takes a text, not a {type(value).__name__}")
            return {_TEXTS[control.kind]: str(value)}
        case "Date":
            return {"date": {"type": control.variant, "s_timestamp": str(_seconds(control, value, zone))}}
        case "Selector":
            keys = _texts(control, value)
            if unknown := set(keys) - set(control.field.options or ()):
                raise Unfit(control.name, f"it has no option {', '.join(sorted(unknown))}")
            return {"selector": {"type": control.variant, "options": [{"key": key} for key in keys]}}
        case "Contact":
            ids = _texts(control, value)
            if control.variant == "department":
                return {"departments": [{"openapi_id": id, "name": id} for id in ids]}
            return {"members": [{"userid": id, "name": id} for id in ids]}
        case "File":
            return {"files": [{"file_id": id} for id in _texts(control, value)]}
        case "RelatedApproval":
            return {"related_approval": [{"sp_no": number} for number in _texts(control, value)]}
        case "Table":
            if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
                raise Unfit(control.name, "a table takes a list of rows")
            rows = [row for row in value if isinstance(row, dict)]
            return {"children": [{"list": _encode_all(control.children, row, zone)} for row in rows]}
        case _:
            if not isinstance(value, dict):
                raise Unfit(control.name, f"a {control.kind} takes its value in the platform's own shape, as a map")
            return value


def _texts(control: Control, value: Value) -> list[str]:
    members = value if isinstance(value, list) else [value]
    for one in members:
        if isinstance(one, bool) or not isinstance(one, (str, int)):
            raise Unfit(control.name, f"a {control.kind} takes texts, not a {type(one).__name__}")
    return [str(one) for one in members]


def _seconds(control: Control, value: Value, zone: str) -> int:
    """A written day or time as Unix seconds; a day begins at midnight in the form's zone."""
    try:
        if control.kind == "Date" and control.variant != "hour":
            moment = datetime.combine(date.fromisoformat(str(value)), time(), ZoneInfo(zone))
        else:
            moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise Unfit(control.name, f"'{value}' is no {'time' if control.variant == 'hour' else 'day'}") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).timestamp())


# ---- values from the platform ----------------------------------------------------------------------------------------


def _decode_all(controls: Sequence[Control], contents: Iterable[Mapping[str, Any]], zone: str) -> Fields:
    by_id = {str(one.get("id")): one.get("value") or {} for one in contents}
    return {control.name: _decode(control, by_id.get(control.id) or {}, zone) for control in controls}


def _decode(control: Control, value: Mapping[str, Any], zone: str) -> Value:
    match control.kind:
        case "Text" | "Textarea" | "Number" | "Money":
            text = value.get(_TEXTS[control.kind])
            return None if text in (None, "") else str(text)
        case "Date":
            return _moment((value.get("date") or {}).get("s_timestamp"), control.variant, zone)
        case "DateRange":
            return _moment((value.get("date_range") or {}).get(f"new_{control.part}"), "hour", zone)
        case "Selector":
            keys: list[Value] = [str(one["key"]) for one in (value.get("selector") or {}).get("options") or ()]
            return _one_or_all(control, keys)
        case "Contact":
            members = [one.get("userid") for one in value.get("members") or ()]
            departments = [one.get("openapi_id") for one in value.get("departments") or ()]
            ids: list[Value] = [str(id) for id in (members or departments) if id]
            return ids or None
        case "File":
            files: list[Value] = [str(one["file_id"]) for one in value.get("files") or () if one.get("file_id")]
            return files or None
        case "RelatedApproval":
            numbers: list[Value] = [str(one["sp_no"]) for one in value.get("related_approval") or ()]
            return numbers or None
        case "Table":
            rows = value.get("children") or ()
            return [
                {ROW: str(place), **_decode_all(control.children, row.get("list") or (), zone)}
                for place, row in enumerate(rows, start=1)
            ]
        case "Formula":
            result = (value.get("formula") or {}).get("value")
            return None if result in (None, "") else str(result)
        case _:
            return dict(value) or None


def _one_or_all(control: Control, members: list[Value]) -> Value:
    if control.field.many:
        return members or None
    return members[0] if members else None


def _moment(seconds: Any, variant: str, zone: str) -> str | None:
    if seconds in (None, "", "0", 0) or not str(seconds).isdigit():
        return None
    there = datetime.fromtimestamp(int(seconds), UTC).astimezone(ZoneInfo(zone))
    return there.isoformat() if variant == "hour" else there.date().isoformat()
