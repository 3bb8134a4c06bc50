"""What compiled mappings call while they run: conversions between types, aggregates, templates, plug-ins."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from importlib.metadata import entry_points
from typing import Any, Final
from zoneinfo import ZoneInfo

import phonenumbers

from hub.domain.schema import Field, FieldType, Wire
from hub.domain.values import DoesNotFit, decimal_text, is_blank, mask, parse, to_decimal

PLUGINS = "crm_hub.functions"
MAX_SCALE_DIGITS = 60


class _Absent:
    """What stands for a value that was not read; distinct from null."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()

ROUNDING: Mapping[str, str] = {
    "half_up": "ROUND_HALF_UP",
    "half_even": "ROUND_HALF_EVEN",
    "half_down": "ROUND_HALF_DOWN",
    "up": "ROUND_UP",
    "down": "ROUND_DOWN",
    "ceiling": "ROUND_CEILING",
    "floor": "ROUND_FLOOR",
}


def load_plugins() -> dict[str, Callable[..., Any]]:
    """The functions that packages offer under the entry-point group `crm_hub.functions`."""
    return {point.name: point.load() for point in entry_points(group=PLUGINS)}


# ---- conversions -----------------------------------------------------------------------------------------------------


def as_text(value: Any) -> str:
    """A value as text: decimals as plain digits, days and times in ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)
    raise DoesNotFit("text", f"{type(value).__name__} is not a single value")


def as_decimal(value: Any) -> Decimal | None:
    """A number as an exact decimal; None stays None."""
    return value if value.__class__ is Decimal else to_decimal(value)


_NUMBER = Field("", FieldType.DECIMAL)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_URL = re.compile(r"(https?|ftp)://[^\s/]+\S*", re.IGNORECASE)


def converter(kind: str, *, tz: str | None, region: str | None, source: Field | None) -> Callable[[Any], Any]:
    """A function from a parsed (or still unread) value to one of the type `kind` of `as:`."""
    zone = tz or (source.tz if source else "UTC")
    match kind:
        case "text" | "enum":
            return as_text
        case "integer" | "decimal" | "money" | "boolean" | "time":
            shape = Field("", FieldType(kind), wire=source.wire if source else Wire.PLAIN)
            return lambda value: parse(shape, value)
        case "date" | "datetime":
            # Milliseconds and text are told apart by their looks, where no schema says which they are.
            shape = Field("", FieldType(kind), wire=Wire.EPOCH_MS, tz=zone)
            return lambda value: parse(shape, value)
        case "phone":
            return lambda value: _phone(as_text(value), region)
        case "email":
            return lambda value: _shaped(_EMAIL, "email", "an e-mail address", as_text(value).strip())
        case "url":
            return lambda value: _shaped(_URL, "url", "a web address", as_text(value).strip())
        case "list":
            return lambda value: value if isinstance(value, list) else [value]
        case _:
            return lambda value: value


def _shaped(pattern: re.Pattern[str], rule: str, wanted: str, text: str) -> str:
    if not pattern.fullmatch(text):
        raise DoesNotFit(rule, f"{mask(text)} is not {wanted}")
    return text


def _phone(text: str, region: str | None) -> str:
    """A phone number in E.164; one without a country is read as of `region`."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise DoesNotFit("phone", f"{mask(text)} is not a phone number") from None
    if not phonenumbers.is_possible_number(number):
        raise DoesNotFit("phone", f"{mask(text)} is not a possible phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def labeller(field: Field | None) -> Callable[[Any], Any]:
    """A function from an option's value to its label; without options the value stands for itself."""
    options = field.options if field else None
    if not options:
        return lambda value: value
    labels = options

    def label(value: Any) -> Any:
        if is_blank(value):
            return None
        if isinstance(value, list):
            return [label(one) for one in value]
        found = labels.get(str(value))
        if found is None:
            raise DoesNotFit("label", f"{mask(value)} has no label")
        return found

    return label


def quantize(value: Any, scale: int, rounding: str) -> Decimal:
    """A number rounded to `scale` places."""
    number = as_decimal(value)
    if number is None:
        raise DoesNotFit("scale", "there is no number to round")
    if number.adjusted() + scale > MAX_SCALE_DIGITS:
        raise DoesNotFit("scale", f"{mask(number)} is too long")
    return number.quantize(Decimal(1).scaleb(-scale), rounding)


def replaced(value: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        for old, new in pairs:
            value = value.replace(old, new)
    return value


def split_text(value: Any, separator: str) -> Any:
    """A text as a list of its pieces, without the empty ones."""
    if not isinstance(value, str):
        return value
    return [piece for piece in (part.strip() for part in value.split(separator)) if piece]


# ---- rows ------------------------------------------------------------------------------------------------------------


def column(rows: Any, name: str) -> Any:
    """The values of one column; absent when the rows were not read."""
    if rows is ABSENT:
        return ABSENT
    return [row.get(name) for row in rows or ()]


def aggregate(function: str, values: Any, field: Field | None) -> Any:
    """`sum`, `min`, `max`, `count`, `first` or `last` of a list; empty members don't count."""
    if values is ABSENT or values is None:
        return values
    members = values if isinstance(values, list) else [values]
    if function == "sum":
        return _total(members)
    kept = [member for member in members if not is_blank(member)]
    if function == "count":
        return len(kept)
    if function in ("first", "last"):
        found = kept[0 if function == "first" else -1] if kept else None
        return parse(field, found) if field is not None else found
    shape = field if field is not None and field.type in _ORDERED else _NUMBER
    read: list[Any] = [parse(shape, member) for member in kept]
    return (min if function == "min" else max)(read) if read else None


def _total(members: list[Any]) -> Decimal:
    total = Decimal(0)
    for member in members:
        number = to_decimal(member)
        if number is not None:
            total += number
    return total


_ORDERED = frozenset({FieldType.DATE, FieldType.DATETIME, FieldType.TIME})


def apportion(total: Any, weights: Any, scale: int) -> Any:
    """`total` shared in proportion to `weights`, one share a weight; what rounding leaves goes to the largest.

    Without any weight the shares are even. The shares add up to the total exactly.
    """
    if total is ABSENT or weights is ABSENT:
        return ABSENT
    amount = as_decimal(total)
    if amount is None or not weights:
        return [None] * len(weights or ())
    parts = [as_decimal(weight) or Decimal(0) for weight in weights]
    whole = sum(parts, Decimal(0))
    if whole == 0:
        parts, whole = [Decimal(1)] * len(parts), Decimal(len(parts))
    step = Decimal(1).scaleb(-scale)
    shares = [(amount * part / whole).quantize(step, ROUND_DOWN) for part in parts]
    largest = max(range(len(parts)), key=lambda place: abs(parts[place]))
    shares[largest] += amount - sum(shares, Decimal(0))
    return shares


def share(shares: Any, place: int) -> Any:
    """The share of the row at `place`."""
    return shares[place] if isinstance(shares, list) and place < len(shares) else ABSENT


def grouped(rows: Sequence[Mapping[str, Any]], name: str) -> list[list[Mapping[str, Any]]]:
    """The rows by the value of a column, in the order in which the values first came."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(as_text(row.get(name)) if row.get(name) is not None else "", []).append(row)
    return list(groups.values())


# ---- templates -------------------------------------------------------------------------------------------------------

_DATE_PIECE = re.compile("yyyy|yy|MM|dd|HH|mm|ss")
_DATE_CODES = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


def formatted(value: Any, form: str, field: Field | None) -> str:
    """One value of a template. The loader lets none but number and date formats through."""
    if value is ABSENT or is_blank(value):
        return ""
    read = parse(field, value) if field is not None else value
    if not form:
        return ", ".join(as_text(one) for one in read) if isinstance(read, list) else as_text(read)
    if _DATE_PIECE.search(form):
        zone = field.tz if field is not None else "UTC"
        moment = parse(Field("", FieldType.DATETIME, wire=Wire.EPOCH_MS, tz=zone), read)
        if not isinstance(moment, datetime):
            raise DoesNotFit("template", "there is no time to format")
        local = moment.astimezone(ZoneInfo(zone))
        return _DATE_PIECE.sub(lambda piece: local.strftime(_DATE_CODES[piece[0]]), form)
    number = as_decimal(read)
    if number is None:
        return ""
    if form.endswith("d"):
        return format(int(number), form)
    places = re.search(r"\.([0-9]+)", form)
    if places:
        number = quantize(number, int(places[1]), ROUND_HALF_UP)
    return format(number, form if form.endswith("f") else form + "f")


def joined(values: Sequence[Any], separator: str) -> str | None:
    """Values as one text; None if there are none."""
    try:
        return separator.join(values) or None
    except TypeError:
        return separator.join(as_text(value) for value in values) or None
