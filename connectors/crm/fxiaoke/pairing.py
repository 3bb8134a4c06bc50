"""Which new row got which id: a create does not say so for sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from hub.domain.record import Record, RowWrite
from hub.domain.schema import Field, FieldType, ObjectSchema

_NUMBERS = frozenset({FieldType.DECIMAL, FieldType.MONEY, FieldType.INTEGER})


def detail_ids(answer: Mapping[str, Any], table: str, count: int) -> list[str] | None:
    """The ids that `includeDetailIds` brought, wherever in the answer they stand (their place is not documented)."""
    for key, value in answer.items():
        if key == table and isinstance(value, list) and len(value) == count:
            ids = [item.get("_id") or item.get("id") if isinstance(item, dict) else item for item in value]
            if all(isinstance(id, str) and id for id in ids):
                return [str(id) for id in ids]
        if isinstance(value, dict):
            found = detail_ids(value, table, count)
            if found is not None:
                return found
    return None


def pair_rows(detail: ObjectSchema, sent: Sequence[RowWrite], found: Sequence[Record]) -> dict[str, str]:
    """Row key -> id: by the hub's key in the row where the object has a field for it, else by the values sent.

    Rows that were sent with the same values are the same to everybody, and are paired in their order.
    """
    key = detail.capabilities.stamp_field
    free = list(found)
    paired: dict[str, str] = {}
    for row in sent:
        wanted = row.fields.get(key, row.key) if key is not None else None
        matches = [record for record in free if wanted is not None and record.fields.get(str(key)) == wanted]
        if not matches:
            matches = [record for record in free if _carries(detail, record, row)]
        if matches:
            paired[row.key] = matches[0].id
            free.remove(matches[0])
    return paired


def _carries(detail: ObjectSchema, record: Record, row: RowWrite) -> bool:
    return all(
        _same(detail.fields.get(name), record.fields.get(name), value)
        for name, value in row.fields.items()
        if value is not None and name in record.fields
    )


def _same(field: Field | None, value: Any, sent: Any) -> bool:
    if field is not None and field.type in _NUMBERS and value is not None:
        try:
            # The server rounds to the declared places.
            scale = Decimal(1).scaleb(-(field.scale if field.scale is not None else 10))
            return abs(Decimal(str(value)) - Decimal(str(sent))) <= scale
        except InvalidOperation:
            return False
    return bool(value == sent)
