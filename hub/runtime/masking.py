"""Personal values, as people who look after the hub may see them: enough to recognise, too little to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.domain.schema import FieldType, ObjectSchema
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


def masked(content: Any, schema: ObjectSchema | None) -> Any:
    """`content` (fields, rows, or whatever holds them under their names) with personal values masked.

    Without a schema nobody knows which those are: then everything is masked.
    """
    return mask(content) if schema is None else _named(content, personal(schema))


def personal(schema: ObjectSchema) -> frozenset[str]:
    """Names of the fields, those of tables among them, whose values are personal."""
    fields = [*schema.fields.values()]
    fields += [column for field in schema.fields.values() for column in (field.rows or {}).values()]
    return frozenset(field.name for field in fields if field.personal or field.type in _PERSONAL)


def _named(content: Any, names: frozenset[str]) -> Any:
    if isinstance(content, Mapping):
        return {key: mask(value) if key in names else _named(value, names) for key, value in content.items()}
    if isinstance(content, list):
        return [_named(item, names) for item in content]
    return content
