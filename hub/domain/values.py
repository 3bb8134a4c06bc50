"""Values between a system's own shape and Python's: read, written and compared by what the schema says of the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from hub.domain.record import Value
from hub.domain.schema import Field, FieldType, Wire

MAX_DIGITS = 40

_PLAIN_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?")
_MILLISECONDS = re.compile(r"-?[0-9]{1,15}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_EPOCH_MS = 253_402_300_799_999  # the last millisecond of the year 9999


class DoesNotFit(ValueError):
    """A value that its field can't hold. `rule` is what failed; the message shows the value masked only."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message


def mask(value: Any) -> str:
    """A value as it may stand in a message: its ends and its length, never the whole."""
    text = value if isinstance(value, str) else str(value)
    if len(text) <= 2:
        return "*" * len(text) if text else "(blank)"
    kept = text[0] if len(text) < 6 else text[:2]
    return f"{kept}*** ({len(text)} characters)"


def _unfit(rule: str, wanted: str, value: Any) -> DoesNotFit:
    return DoesNotFit(rule, f"{mask(value)} is not {wanted}")


def is_blank(value: Any) -> bool:
    """Whether a value counts as empty: null, blank text, an empty list or map."""
    if value.__class__ is str:
        return not value or value.isspace()
    return value is None or (isinstance(value, (list, dict, tuple)) and not value)


# ---- reading: a system's shape -> Python -----------------------------------------------------------------------------


def parse(field: Field, value: Any) -> Any:
    """The Python value of what a system gave: str, int, Decimal, bool, date, aware datetime, time, list; None if empty.

    Raises DoesNotFit.
    """
    if value is None or value == "":
        return None
    if field.many:
        members = value if isinstance(value, (list, tuple)) else [value]
        return [one for one in (_PARSE[field.type](field, member) for member in members) if one is not None] or None
    return _PARSE[field.type](field, value)


def _text(field: Field, value: Any) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise _unfit("text", "text", value)
    return decimal_text(value) if isinstance(value, Decimal) else str(value)


def _integer(field: Field, value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _decimal(field, value)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise _unfit("integer", "a whole number", value)
    return int(number)


def to_decimal(value: Any) -> Decimal | None:
    """A number as an exact decimal; None if it is empty. Raises DoesNotFit: floats are not exact."""
    if value.__class__ is str:
        try:
            number = Decimal(value)
        except InvalidOperation:
            if not value.strip():
                return None
            raise _unfit("decimal", "a decimal number", value) from None
        if number.is_finite() and -MAX_DIGITS <= number.adjusted() <= MAX_DIGITS and "_" not in value:
            return number
    elif isinstance(value, Decimal):
        if value.is_finite() and abs(value.adjusted()) <= MAX_DIGITS:
            return value
    elif value is None:
        return None
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**MAX_DIGITS:
        return Decimal(value)
    raise _unfit("decimal", "a decimal number", value)


def _decimal(field: Field, value: Any) -> Decimal | None:
    return to_decimal(value)


_FLAGS: dict[Wire, dict[Any, bool]] = {
    Wire.ZERO_ONE: {"0": False, "1": True},
    Wire.AB: {"A": False, "B": True},
}
_PLAIN_FLAGS = {"true": True, "false": False, "True": True, "False": False}


def _boolean(field: Field, value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        known = _FLAGS.get(field.wire, _PLAIN_FLAGS)
        if text in known:
            return known[text]
        if text in _PLAIN_FLAGS:
            return _PLAIN_FLAGS[text]
    raise _unfit("boolean", "true or false", value)


def _from_epoch(value: Any) -> datetime | None:
    """An instant given as milliseconds; None if the value is no number at all."""
    if value.__class__ is not int:
        if not isinstance(value, str) or not _MILLISECONDS.fullmatch(value.strip()):
            return None
        value = int(value)
    if abs(value) > _MAX_EPOCH_MS:
        raise _unfit("datetime", "a time", value)
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        raise _unfit("datetime", "a time", value) from None


def _iso(value: Any, rule: str) -> datetime | None:
    """A written day or time; without an offset it stays naive."""
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    raise _unfit(rule, "a day" if rule == "date" else "a time", value)


def _in_zone(moment: datetime, zone: str, rule: str) -> datetime:
    try:
        return moment.astimezone(ZoneInfo(zone))
    except OverflowError:
        raise _unfit(rule, "a time that exists", moment) from None


def _date(field: Field, value: Any) -> date | None:
    if isinstance(value, datetime):
        return _in_zone(value, field.tz, "date").date() if value.tzinfo else value.date()
    if isinstance(value, date):
        return value
    moment = _from_epoch(value) if field.wire is Wire.EPOCH_MS else None
    if moment is None:
        moment = _iso(value, "date")
    if moment is None:
        return None
    return _in_zone(moment, field.tz, "date").date() if moment.tzinfo else moment.date()


def _datetime(field: Field, value: Any) -> datetime | None:
    if isinstance(value, datetime):
        moment: datetime | None = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day)
    else:
        moment = _from_epoch(value) if field.wire is Wire.EPOCH_MS else None
        if moment is None:
            moment = _iso(value, "datetime")
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=ZoneInfo(field.tz))


def _time(field: Field, value: Any) -> time | None:
    if isinstance(value, time):
        return value
    if field.wire is Wire.DAY_MS and isinstance(value, int) and 0 <= value < 86_400_000:
        return (_EPOCH + timedelta(milliseconds=value)).time()
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        try:
            return time.fromisoformat(text)
        except ValueError:
            pass
    raise _unfit("time", "a time of day", value)


def _as_is(field: Field, value: Any) -> Any:
    return value


def _rows(field: Field, value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return value or None
    raise _unfit("rows", "a list of rows", type(value).__name__)


_PARSE: dict[FieldType, Callable[[Field, Any], Any]] = {
    FieldType.TEXT: _text,
    FieldType.INTEGER: _integer,
    FieldType.DECIMAL: _decimal,
    FieldType.MONEY: _decimal,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: _date,
    FieldType.DATETIME: _datetime,
    FieldType.TIME: _time,
    FieldType.PHONE: _text,
    FieldType.EMAIL: _text,
    FieldType.URL: _text,
    FieldType.ENUM: _text,
    FieldType.REFERENCE: _text,
    FieldType.FILE: _as_is,
    FieldType.JSON: _as_is,
    FieldType.ROWS: _rows,
}


# ---- writing: Python -> a system's shape -----------------------------------------------------------------------------


def render(field: Field, value: Any) -> Value:
    """A Python value in the field's own shape; None if it is empty. Raises DoesNotFit: nothing is cut or rounded."""
    if value is None or value == "":
        return None
    if field.many:
        members = value if isinstance(value, (list, tuple)) else [value]
        return [_RENDER[field.type](field, member) for member in members if member is not None]
    if isinstance(value, list) and field.type not in (FieldType.JSON, FieldType.FILE, FieldType.ROWS):
        raise _unfit("list", "a single value", f"a list of {len(value)}")
    return _RENDER[field.type](field, value)


def decimal_text(value: Decimal) -> str:
    """A decimal as plain digits, never with an exponent."""
    text = str(value)
    return format(value, "f") if "E" in text else text


def _render_text(field: Field, value: Any) -> Value:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool) or not isinstance(value, (int, Decimal, date, time)):
        raise _unfit("text", "text", value)
    elif isinstance(value, Decimal):
        text = decimal_text(value)
    else:
        text = value.isoformat() if isinstance(value, (date, time)) else str(value)
    if field.length is not None and len(text) > field.length:
        raise DoesNotFit("length", f"{mask(text)} is longer than {field.length} characters")
    return text


def _render_enum(field: Field, value: Any) -> Value:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _unfit("enum", "one of the options", value)
    text = str(value)
    if field.options and text not in field.options:
        raise _unfit("enum", "one of the field's options", value)
    return text


def _render_integer(field: Field, value: Any) -> Value:
    return _integer(field, value)


def _render_decimal(field: Field, value: Any) -> Value:
    number = _decimal(field, value)
    if number is None:
        return None
    if field.scale is not None and _places(number) > field.scale:
        shortened = number.normalize()
        if _places(shortened) > field.scale:
            raise DoesNotFit("scale", f"{mask(number)} has more than {field.scale} decimal places")
        number = number.quantize(Decimal(1).scaleb(-field.scale))
    if field.length is not None and len(number.as_tuple().digits) > field.length:
        raise DoesNotFit("length", f"{mask(number)} has more than {field.length} digits")
    return decimal_text(number)


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


_FLAG_TEXT = {Wire.ZERO_ONE: ("0", "1"), Wire.AB: ("A", "B")}


def _render_boolean(field: Field, value: Any) -> Value:
    flag = _boolean(field, value)
    if flag is None or field.wire not in _FLAG_TEXT:
        return flag
    return _FLAG_TEXT[field.wire][flag]


def epoch_ms(moment: datetime) -> int:
    """An aware datetime as milliseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _render_date(field: Field, value: Any) -> Value:
    if isinstance(value, datetime):
        raise DoesNotFit("date", f"{mask(value)} is a time: say which day it is with `as: date` and `tz`")
    day = _date(field, value)
    if day is None:
        return None
    if field.wire is Wire.EPOCH_MS:
        return epoch_ms(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(field.tz)))
    return day.isoformat()


def _render_datetime(field: Field, value: Any) -> Value:
    moment = _datetime(field, value)
    if moment is None:
        return None
    if field.wire is Wire.EPOCH_MS:
        return epoch_ms(moment)
    there = _in_zone(moment, field.tz, "datetime")
    spec = "milliseconds" if there.microsecond else "seconds"
    if field.wire is Wire.LOCAL:
        return there.replace(tzinfo=None).isoformat(timespec=spec)
    return there.isoformat(timespec=spec)


def _render_time(field: Field, value: Any) -> Value:
    moment = _time(field, value)
    if moment is None or field.wire is not Wire.DAY_MS:
        return moment.isoformat() if moment is not None else None
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1000 + moment.microsecond // 1000


_RENDER: dict[FieldType, Callable[[Field, Any], Value]] = {
    FieldType.TEXT: _render_text,
    FieldType.INTEGER: _render_integer,
    FieldType.DECIMAL: _render_decimal,
    FieldType.MONEY: _render_decimal,
    FieldType.BOOLEAN: _render_boolean,
    FieldType.DATE: _render_date,
    FieldType.DATETIME: _render_datetime,
    FieldType.TIME: _render_time,
    FieldType.PHONE: _render_text,
    FieldType.EMAIL: _render_text,
    FieldType.URL: _render_text,
    FieldType.ENUM: _render_enum,
    FieldType.REFERENCE: _render_text,
    FieldType.FILE: _as_is,
    FieldType.JSON: _as_is,
    FieldType.ROWS: _rows,
}


# ---- comparing -------------------------------------------------------------------------------------------------------


def canonical(field: Field, value: Any) -> Hashable:
    """What two values of a field have in common when they mean the same; never raises.

    Blank equals null, text is trimmed (its case counts), decimals compare by value at the field's scale, days and
    instants as such, lists in order, tables row by row. A value that does not fit its type stands for itself.
    """
    if value is None or value == "":
        return None
    if field.many:
        members = value if isinstance(value, (list, tuple)) else [value]
        meant = (_canonical(field, member) for member in members if member is not None)
        return tuple(one for one in meant if one is not None) or None
    return _canonical(field, value)


def same(field: Field, a: Any, b: Any) -> bool:
    """Whether two values of a field mean the same."""
    return a == b or canonical(field, a) == canonical(field, b)


def _canonical(field: Field, value: Any) -> Hashable:
    if field.type is FieldType.ROWS:
        return _canonical_rows(field, value)
    try:
        found = _PARSE[field.type](field, value)
    except (DoesNotFit, InvalidOperation):
        return _frozen(value)
    if isinstance(found, str):
        return found.strip()
    if isinstance(found, Decimal) and field.scale is not None:
        try:
            return found.quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP)
        except InvalidOperation:
            return found
    if isinstance(found, datetime):
        return epoch_ms(found)
    return found if isinstance(found, Hashable) else _frozen(found)


def _canonical_rows(field: Field, value: Any) -> Hashable:
    if not isinstance(value, list):
        return _frozen(value)
    known = field.rows or {}
    rows = []
    for row in value:
        if not isinstance(row, dict):
            return _frozen(value)
        members = [
            (name, canonical(known[name], member) if name in known else _frozen(member)) for name, member in row.items()
        ]
        rows.append(frozenset(pair for pair in members if pair[1] is not None))
    return tuple(rows) or None


def _frozen(value: Any) -> Hashable:
    """JSON as something that can be hashed; blank text is null."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, dict):
        return frozenset((key, _frozen(member)) for key, member in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(member) for member in value) or None
    # True and 1 are equal to Python, and not to a vendor.
    return ("flag", value) if isinstance(value, bool) else value


# ---- prepared for many values ----------------------------------------------------------------------------------------


def parser(field: Field) -> Callable[[Any], Any]:
    """`parse` made ready for one field; faster where many values are read. It is not given None or ``."""
    if field.many:
        return partial(parse, field)
    return to_decimal if _PARSE[field.type] is _decimal else partial(_PARSE[field.type], field)


def copier(field: Field) -> Callable[[Any], Value]:
    """Reads and writes a plain decimal in one step: what is written plainly already goes over as it is."""

    def copy(value: Any) -> Value:
        if value.__class__ is str and _PLAIN_DECIMAL.fullmatch(value):
            return str(value)
        number = to_decimal(value)
        return None if number is None else _render_decimal(field, number)

    return copy


def day_reader(field: Field) -> Callable[[Any], date | None]:
    """`parse` of a day that is written as milliseconds, made ready."""
    zone = ZoneInfo(field.tz)

    def read(value: Any) -> date | None:
        if value.__class__ is int and 0 <= value <= _MAX_EPOCH_MS:
            return datetime.fromtimestamp(value // 1000, zone).date()
        found: date | None = _date(field, value)
        return found

    return read


def renderer(field: Field) -> Callable[[Any], Value]:
    """`render` made ready for one field; it is not given None or ``."""
    return partial(render if field.many else _RENDER[field.type], field)
