"""Values between Kingdee's shapes and the hub's: cells of a query, and the ordered model that Save wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from connectors.erp.kingdee.catalogue import Layout
from hub.domain.record import Fields, Value
from hub.domain.schema import Field, FieldType, ObjectSchema, Wire

_LAST = 10_000  # rank of a key that has no place of its own


def from_cell(field: Field, cell: Any) -> Value:
    """One cell of a query. An unset text comes as a blank, an unset date as the year 1."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    match field.type:
        case FieldType.DECIMAL | FieldType.MONEY:
            return decimal_text(str(cell), field.scale)
        case FieldType.INTEGER:
            return int(Decimal(str(cell)))
        case FieldType.BOOLEAN if field.wire is not Wire.AB:
            return cell if isinstance(cell, bool) else str(cell).lower() in ("1", "true")
        case FieldType.DATE | FieldType.DATETIME:
            text = str(cell)
            if text.startswith("0001-"):
                return None
            return text[:10] if field.type is FieldType.DATE else text
        case _:
            return cell if isinstance(cell, str) else str(cell)


def decimal_text(text: str, scale: int | None) -> str:
    """`1200.0000000000` is `1200.00` in a field of two places; what has more places than the field keeps them."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if scale is not None:
        rounded = number.quantize(Decimal(1).scaleb(-scale))
        if rounded == number:
            return format(rounded, "f")
    return format(number.normalize(), "f")


def epoch_ms(text: Value, zone: ZoneInfo) -> int | None:
    """The server's local time as milliseconds."""
    if not isinstance(text, str):
        return None
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


def local_time(at: int, zone: ZoneInfo) -> str:
    """Milliseconds as the server's local time, for a filter."""
    return datetime.fromtimestamp(at / 1000, zone).replace(tzinfo=None).isoformat(timespec="milliseconds")


def quoted(value: Value) -> str:
    """A value inside a filter. Raises ValueError for control characters: Kingdee can't be asked for them safely."""
    text = str(value)
    if any(ord(char) < 32 for char in text):
        raise ValueError("a control character can't stand in a filter of Kingdee")
    return "'" + text.replace("'", "''") + "'"


def head_model(schema: ObjectSchema, layout: Layout, fields: Fields) -> dict[str, Any]:
    """The head of a document, nested, in the order in which it must be typed in."""
    model: dict[str, Any] = {}
    ranks = {name: at for at, name in enumerate(layout.saved)}
    paths = {name: layout.save_path(name) for name in fields}
    for name in sorted(fields, key=lambda name: ranks.get(paths[name][0], _LAST)):
        _nest(model, paths[name], _to_model(schema.fields.get(name), fields[name]))
    return model


def row_model(table: Field, order: Sequence[str], fields: Fields, **own: Any) -> dict[str, Any]:
    """One row, its own keys first (its id), then the fields in the order in which they must be typed in."""
    model: dict[str, Any] = dict(own)
    ranks = {name: at for at, name in enumerate(order)}
    paths = {name: name.split(".") for name in fields}
    known = table.rows or {}
    for name in sorted(fields, key=lambda name: ranks.get(paths[name][0], _LAST)):
        _nest(model, paths[name], _to_model(known.get(name), fields[name]))
    return model


def in_order(layout: Layout, model: dict[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    """Head and tables in one model; tables come last, in their own order."""
    ranks = {name: at for at, name in enumerate(layout.saved)}
    return {**model, **{name: tables[name] for name in sorted(tables, key=lambda name: ranks.get(name, _LAST))}}


def touched_keys(model: Mapping[str, Any], pk: str) -> list[str]:
    """Every key of a model, of its sub-heads and of its rows: what NeedUpDateFields must name."""
    keys: dict[str, None] = {}
    for name, value in model.items():
        if name == pk:
            continue
        keys[name] = None
        inner = value if isinstance(value, list) else [value]
        for each in inner:
            if isinstance(each, dict) and not _is_reference(each):
                keys |= dict.fromkeys(key for key in each if key != "FEntryID")
    return list(keys)


def _is_reference(value: Mapping[str, Any]) -> bool:
    return set(value) <= {"FNumber", "FNUMBER", "FUserID", "Id"}


def _nest(model: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *parents, last = path
    at = model
    for parent in parents:
        at = at.setdefault(parent, {})
    at[last] = value


def _to_model(field: Field | None, value: Value) -> Any:
    """A blank clears a field; a missing key would leave it alone."""
    if value is None:
        return ""
    if field is not None and field.type is FieldType.DATETIME and isinstance(value, str):
        return value.replace("T", " ")
    return value
