"""From what describe says, live or in the catalogue, to the hub's schema; from records as they come to its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from hub.connector.catalogue import Catalogue
from hub.domain.record import Fields, Record, Value
from hub.domain.schema import Capabilities, Facts, Field, FieldType, ObjectSchema, Wire

_TYPES: Mapping[str, FieldType] = {
    "text": FieldType.TEXT, "long_text": FieldType.TEXT, "html_rich_text": FieldType.TEXT,
    "auto_number": FieldType.TEXT, "lock_rule": FieldType.TEXT, "tag": FieldType.TEXT, "array": FieldType.TEXT,
    "url": FieldType.URL, "email": FieldType.EMAIL, "phone_number": FieldType.PHONE,
    "number": FieldType.DECIMAL, "percentile": FieldType.DECIMAL, "currency": FieldType.MONEY,
    "formula": FieldType.TEXT, "quote": FieldType.TEXT, "count": FieldType.DECIMAL,
    "date": FieldType.DATE, "date_time": FieldType.DATETIME, "time": FieldType.TIME,
    "true_or_false": FieldType.BOOLEAN, "select_one": FieldType.ENUM, "select_many": FieldType.ENUM,
    "record_type": FieldType.ENUM, "country": FieldType.ENUM, "province": FieldType.ENUM, "city": FieldType.ENUM,
    "district": FieldType.ENUM, "employee": FieldType.REFERENCE, "employee_many": FieldType.REFERENCE,
    "department": FieldType.REFERENCE, "department_many": FieldType.REFERENCE,
    "object_reference": FieldType.REFERENCE, "object_reference_many": FieldType.REFERENCE,
    "master_detail": FieldType.REFERENCE, "file_attachment": FieldType.FILE, "image": FieldType.FILE,
    "signature": FieldType.FILE, "group": FieldType.JSON,
}  # fmt: skip
_MANY = frozenset(
    {
        "select_many", "employee", "employee_many", "department", "department_many", "object_reference_many",
        "file_attachment", "image", "signature", "tag", "array",
    }
)  # fmt: skip
_TARGETS = {"employee": "PersonnelObj", "employee_many": "PersonnelObj"} | dict.fromkeys(
    ("department", "department_many"), "DepartmentObj"
)
_COMPUTED = frozenset({"auto_number", "formula", "count", "quote", "lock_rule"})
_LIVE = frozenset({"formula", "count", "quote"})  # worked out when asked for; findSimple leaves them as they were
_WIRES = {"date": Wire.EPOCH_MS, "date_time": Wire.EPOCH_MS, "time": Wire.DAY_MS}
_DECIMALS = frozenset({"number", "percentile", "currency", "formula", "count"})

ID = "_id"
VERSION = "version"
MODIFIED = "last_modified_time"
STATE = "life_status"
SETTLES_WITHIN = 75.0  # the gateway's own time-out, and the lag of its search
_OPERATIONS = frozenset({"invalid", "recover", "lock", "unlock", "changeOwner"})


def field_of(name: str, given: Mapping[str, Any], timezone: str) -> Field:
    """A field of the hub's schema from one of describe's (or of the catalogue, which has a few more words)."""
    kind = str(given.get("type", "text"))
    type_ = _TYPES.get(kind, FieldType.TEXT)
    if kind in _LIVE and given.get("decimal_places") is not None:
        type_ = FieldType.DECIMAL
    system = bool(given.get("system")) or name in _SYSTEM
    scale = given.get("decimal_places")
    return Field(
        name=name,
        type=type_,
        label=str(given.get("label") or ""),
        # The owner is the acting employee unless a write says otherwise.
        required=name != "owner" and bool(given.get("is_required", given.get("required", False))),
        readonly=system or kind in _COMPUTED,
        computed=kind in _COMPUTED or name in _MOVING,
        create_only=kind == "master_detail",
        unique=bool(given.get("is_unique", given.get("unique", False))),
        many=kind in _MANY,
        personal=bool(given.get("personal")) or kind in {"phone_number", "email"},
        wire=_WIRES.get(kind, Wire.PLAIN),
        tz=timezone if kind in _WIRES else "UTC",
        length=int(given["max_length"]) if given.get("max_length") else None,
        scale=int(scale) if scale is not None and kind in _DECIMALS else None,
        options=_options(given.get("options")) if type_ is FieldType.ENUM else None,
        reference=_TARGETS.get(kind) or given.get("target_api_name") or given.get("target"),
    )


_SYSTEM = frozenset(
    {
        ID, VERSION, MODIFIED, STATE, "last_modified_by", "lock_status", "lock_rule", "created_by", "create_time",
        "is_deleted", "tenant_id", "owner_department", "owner_department_id", "object_describe_api_name", "submit_time",
        "extend_obj_data_id", "mc_functional_currency", "mc_exchange_rate_version",
    }
)  # fmt: skip
_MOVING = frozenset({VERSION, MODIFIED, "last_modified_by"})  # they differ after every write, ours included


def _options(given: Any) -> dict[str, str] | None:
    if isinstance(given, Mapping):
        return {str(value): str(label) for value, label in given.items()} or None
    if isinstance(given, list):
        return {str(item["value"]): str(item.get("label", item["value"])) for item in given if "value" in item} or None
    return None


@dataclass(frozen=True, slots=True)
class Stock:
    """The catalogue: what describe says of a stock tenant, and what no describe says."""

    common: Mapping[str, Any]
    objects: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls) -> Stock:
        found = yaml.safe_load(Path(__file__).with_name("objects.yaml").read_text(encoding="utf-8"))
        return cls(found["common"], found["objects"])

    def catalogue(self, timezone: str, stamp_field: str, details: Mapping[str, list[str]]) -> Catalogue:
        """Schemas of all catalogue objects, tables included."""
        flat = {
            name: self.schema(name, str(given["label"]), given["fields"], timezone, stamp_field, origin="catalogue")
            for name, given in self.objects.items()
        }
        return Catalogue(
            {name: with_tables(flat[name], [flat[d] for d in self.details_of(name, details)]) for name in flat}
        )

    def details_of(self, name: str, extra: Mapping[str, list[str]]) -> list[str]:
        """The detail objects of a master, by the catalogue and by the settings."""
        known = list(self.objects.get(name, {}).get("details", ()))
        return [*known, *(detail for detail in extra.get(name, ()) if detail not in known)]

    def schema(
        self, name: str, label: str, fields: Mapping[str, Any], timezone: str, stamp_field: str, *, origin: str
    ) -> ObjectSchema:
        """One object's schema, without its tables: `fields` as described, merged with the catalogue's facts."""
        known = self.objects.get(name, {})
        extra = known.get("fields", {})
        made = {key: field_of(key, given, timezone) for key, given in self.common.items()}
        for key, given in fields.items():
            words = {**self._words(key, extra), **given} if origin == "live" else given
            made[key] = field_of(key, words, timezone)
        masters = [
            (key, str(made[key].reference)) for key, given in fields.items() if given.get("type") == "master_detail"
        ]
        master_field, master = masters[0] if masters else (known.get("master_field"), known.get("master"))
        number = known.get("number_field")
        return ObjectSchema(
            name=name,
            label=label,
            id_field=ID,
            fields=made,
            title_field="name" if "name" in made else None,
            number_field=number if number in made else None,
            modified_field=MODIFIED,
            version_field=VERSION,
            master=known.get("master", master),
            master_field=master_field,
            capabilities=_capabilities(known.get("capabilities", {}), stamp_field if stamp_field in made else None),
            facts=_facts(known.get("facts", {}), made),
            origin=origin,
        )

    def _words(self, key: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        """What the catalogue knows of a field beside describe: whether it is the system's, whether personal."""
        found = {**self.common, **extra}.get(key, {})
        return {word: found[word] for word in ("system", "personal", "target") if word in found}


def with_tables(schema: ObjectSchema, details: Iterable[ObjectSchema]) -> ObjectSchema:
    """The master's schema with a table for each of its detail objects, named by the detail."""
    fields = dict(schema.fields)
    for detail in details:
        fields[detail.name] = Field(
            name=detail.name,
            type=FieldType.ROWS,
            label=detail.label,
            rows={name: _in_row(field, detail) for name, field in detail.fields.items()},
            row_key=ID,
            row_object=detail.name,
        )
    return replace(schema, fields=fields)


def _in_row(field: Field, detail: ObjectSchema) -> Field:
    # The server fills the master of a row that is written with its master.
    return replace(field, required=False, readonly=True) if field.name == detail.master_field else field


def live_fields(schema: ObjectSchema, described: Mapping[str, Any]) -> frozenset[str]:
    """The fields that the vendor works out when it is asked."""
    return frozenset(key for key, given in described.items() if given.get("type") in _LIVE and key in schema.fields)


def tables_of(schema: ObjectSchema, fields: frozenset[str] | None) -> list[Field]:
    """The tables that were asked for."""
    return [
        field
        for name, field in schema.fields.items()
        if field.type is FieldType.ROWS and (fields is None or name in fields)
    ]


def plain_of(schema: ObjectSchema, fields: frozenset[str] | None) -> list[Field]:
    """The fields that were asked for and are no tables; id, version and stamp always come along."""
    return [
        field
        for name, field in schema.fields.items()
        if field.type is not FieldType.ROWS and (fields is None or name in fields or name in {ID, VERSION, MODIFIED})
    ]


def record_of(schema: ObjectSchema, raw: Mapping[str, Any], fields: frozenset[str] | None) -> Record:
    """A record as the vendor sent it, whole: derived keys away, every asked field there, empty ones null."""
    values: Fields = {field.name: value_of(field, raw.get(field.name)) for field in plain_of(schema, fields)}
    version, modified = raw.get(VERSION), raw.get(MODIFIED)
    return Record(
        object=schema.name,
        id=str(raw[ID]),
        fields=values,
        version=int(version) if version not in (None, "") else None,
        modified=int(modified) if modified not in (None, "") else None,
    )


def value_of(field: Field, raw: Any) -> Value:
    """One value in the hub's form; an empty text or list is null."""
    if raw is None or raw == "" or raw == []:
        return None
    if field.many:
        members = raw if isinstance(raw, list) else [raw]
        return [_single(field, member) for member in members]
    if isinstance(raw, list) and field.type is not FieldType.JSON:
        raw = raw[0]
    return _single(field, raw)


def _single(field: Field, raw: Any) -> Value:
    match field.type:
        case FieldType.DATE | FieldType.DATETIME | FieldType.TIME:
            return int(raw) if isinstance(raw, int) or str(raw).lstrip("-").isdigit() else str(raw)
        case FieldType.BOOLEAN:
            return raw if isinstance(raw, bool) else str(raw).lower() in {"true", "1"}
        case FieldType.JSON | FieldType.FILE:
            value: Value = raw
            return value
        case _:
            return raw if isinstance(raw, str) else _text(raw)


def _text(raw: Any) -> Value:
    if isinstance(raw, bool):
        return raw
    return str(raw) if isinstance(raw, int) else raw


def _capabilities(given: Mapping[str, Any], stamp_field: str | None) -> Capabilities:
    writes = bool(given.get("create", True))
    return Capabilities(
        create=writes,
        update=bool(given.get("update", True)),
        delete=bool(given.get("delete", True)),
        operations=frozenset(given["operations"]) if "operations" in given else _OPERATIONS if writes else frozenset(),
        stamp_field=stamp_field,
        webhooks=bool(given.get("webhooks", True)),
        # No call writes several records; a batch is written by calls side by side.
        write_batch=50,
    )


def _facts(given: Mapping[str, Any], fields: Mapping[str, Field]) -> Facts:
    groups = [frozenset(name for name in group if name in fields) for group in given.get("together", ())]
    return Facts(
        settles_within=float(given.get("settles_within", SETTLES_WITHIN)),
        together=tuple(group for group in groups if len(group) > 1),
        state_field=STATE,
        locked_states=frozenset({"under_review", "in_change"}),
    )
