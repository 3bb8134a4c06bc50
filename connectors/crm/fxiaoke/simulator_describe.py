"""The simulated tenant's metadata: what describe says of each object, and which values a field takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

TEXTS = frozenset({"text", "long_text", "html_rich_text", "url", "email", "phone_number"})
NUMBERS = frozenset({"number", "currency", "percentile"})
PEOPLE = frozenset({"employee", "employee_many"})
DEPARTMENTS = frozenset({"department", "department_many"})
CHOICES = frozenset({"select_one", "record_type", "country", "province", "city", "district"})
LOOKUPS = frozenset({"object_reference", "master_detail"})
LISTS = frozenset({"file_attachment", "image", "signature", "tag", "array"})
READ_ONLY = frozenset({"auto_number", "formula", "count", "quote", "lock_rule"})
ZONE_MS = 8 * 3_600_000  # the vendor's day is that of GMT+8
DAY_MS = 86_400_000


class Refused(Exception):
    """A business refusal. `kind` picks the code from the simulator's (configurable) code table."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldInfo:
    name: str
    label: str
    type: str
    required: bool = False
    unique: bool = False
    system: bool = False
    custom: bool = False
    decimal_places: int = 2
    max_length: int | None = None
    options: Mapping[str, str] | None = None
    target: str | None = None

    @property
    def writable(self) -> bool:
        return not self.system and self.type not in READ_ONLY

    def served(self) -> dict[str, Any]:
        """The field as the vendor's describe shows it."""
        shown: dict[str, Any] = {
            "api_name": self.name,
            "label": self.label,
            "type": self.type,
            "define_type": "custom" if self.custom else "system" if self.system else "package",
            "is_required": self.required,
            "is_unique": self.unique,
            "is_active": True,
        }
        if self.type in NUMBERS or self.type in {"formula", "count"}:
            shown["decimal_places"] = self.decimal_places
        if self.max_length:
            shown["max_length"] = self.max_length
        if self.options is not None:
            shown["options"] = [{"label": label, "value": value} for value, label in self.options.items()]
        if self.target:
            shown["target_api_name"] = self.target
        return shown


@dataclass(slots=True)
class ObjectInfo:
    name: str
    label: str
    fields: dict[str, FieldInfo]
    details: list[str] = field(default_factory=list)
    master: str | None = None
    master_field: str | None = None

    def served(self) -> dict[str, Any]:
        fields = {name: info.served() for name, info in self.fields.items()}
        return {"api_name": self.name, "display_name": self.label, "icon_index": 0, "fields": fields}


def field_info(name: str, given: Mapping[str, Any]) -> FieldInfo:
    known = {key: given[key] for key in FieldInfo.__slots__ if key in given and key != "name"}
    return FieldInfo(name=name, **known)


def stock_tenant() -> dict[str, ObjectInfo]:
    """The objects of the catalogue, as a fresh tenant has them."""
    catalogue = yaml.safe_load(Path(__file__).with_name("objects.yaml").read_text("utf-8"))
    objects: dict[str, ObjectInfo] = {}
    for name, given in catalogue["objects"].items():
        fields = {**catalogue["common"], **given["fields"]}
        objects[name] = ObjectInfo(
            name=name,
            label=given["label"],
            fields={key: field_info(key, value) for key, value in fields.items()},
            details=list(given.get("details", ())),
            master=given.get("master"),
            master_field=given.get("master_field"),
        )
    return objects


def decimal_text(value: Any, places: int) -> str:
    """A number as the vendor stores it: text with the declared decimals, rounded half up."""
    if isinstance(value, bool):
        raise InvalidOperation
    return f"{Decimal(str(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):f}"


def stored(info: FieldInfo, value: Any, exists: Callable[[str, str], bool]) -> Any:
    """The value as it is kept, or Refused. `exists(object, id)` answers for lookups, people and departments."""
    if value is None or value == "" or value == []:
        if info.required:
            raise Refused("required", f"{info.label}不能为空")
        return None
    try:
        return _stored(info, value, exists)
    except (InvalidOperation, ValueError, TypeError):
        raise Refused("illegal_value", f"{info.label}({info.name})的值不合法") from None


def _stored(info: FieldInfo, value: Any, exists: Callable[[str, str], bool]) -> Any:
    kind = info.type
    if kind in TEXTS:
        text = value if isinstance(value, str) else _scalar_text(value)
        if info.max_length and len(text) > info.max_length:
            raise Refused("too_long", f"{info.label}长度不能超过{info.max_length}")
        return text
    if kind in NUMBERS:
        return decimal_text(value, info.decimal_places)
    if kind == "date":
        return (int(value) + ZONE_MS) // DAY_MS * DAY_MS - ZONE_MS
    if kind in {"date_time", "time"}:
        return _integer(value)
    if kind == "true_or_false":
        return _typed(value, bool)
    if kind in CHOICES:
        return _option(info, _typed(value, str))
    if kind == "select_many":
        return [_option(info, _typed(item, str)) for item in _typed(value, list)]
    if kind in PEOPLE or kind in DEPARTMENTS:
        target = "PersonnelObj" if kind in PEOPLE else "DepartmentObj"
        return [_existing(info, target, _typed(item, str), exists) for item in _typed(value, list)]
    if kind in LOOKUPS:
        return _existing(info, info.target, _typed(value, str), exists)
    if kind == "object_reference_many":
        return [_existing(info, info.target, _typed(item, str), exists) for item in _typed(value, list)]
    if kind in LISTS:
        return _typed(value, list)
    if kind == "group":
        return _typed(value, dict)
    return value


def _scalar_text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise TypeError
    return str(value)


def _integer(value: Any) -> int:
    if isinstance(value, (bool, float)):
        raise TypeError
    return int(value)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _option(info: FieldInfo, value: str) -> str:
    if info.options is not None and value not in info.options:
        raise Refused("illegal_option", f"{info.label}的选项值{value}不存在")
    return value


def _existing(info: FieldInfo, target: str | None, value: str, exists: Callable[[str, str], bool]) -> str:
    if target is not None and not exists(target, value):
        raise Refused("lookup_missing", f"{info.label}关联的数据不存在")
    return value
