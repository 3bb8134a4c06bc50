"""Personal values, as people who look after the hub may see them: enough to recognise, too little to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.domain.values import is_blank
from hub.domain.values import mask as mask_scalar

_PERSONAL = frozenset({FieldType.PHONE, FieldType.EMAIL})


def mask(value: Any) -> Any:
    """A value masked to its depths. Empty stays empty."""
    if is_blank(value):
        return value
    if isinstance(value, list):
        return [mask(item) for item in value]
    if isinstance(value, Mapping):
        return {key: mask(item) for key, item in value.items()}
    return mask_scalar(value)


def masked(fields: Mapping[str, Any], schema: ObjectSchema | None) -> dict[str, Any]:
    """`fields` with personal ones masked. Without a schema nobody knows which those are: then every text is."""
    if schema is None:
        return {
            name: mask(value) if isinstance(value, str | list | Mapping) else value for name, value in fields.items()
        }
    return {name: _field(value, schema.fields.get(name)) for name, value in fields.items()}


def _field(value: Any, field: Field | None) -> Any:
    if field is None:
        return value
    if field.rows is not None and isinstance(value, list):
        columns = field.rows
        return [
            {name: _field(item, columns.get(name)) for name, item in row.items()} if isinstance(row, Mapping) else row
            for row in value
        ]
    return mask(value) if field.personal or field.type in _PERSONAL else value
