"""Which types convert into which, and whether what is known of a value fits the field that it is for."""

from __future__ import annotations

from hub.domain.errors import Place
from hub.domain.schema import Field, FieldType
from hub.mapping.check_scope import Known, Report, did_you_mean

T = FieldType

NUMBERS = frozenset({T.INTEGER, T.DECIMAL, T.MONEY})
EXACT = frozenset({T.DECIMAL, T.MONEY})
WORDS = frozenset({T.TEXT, T.PHONE, T.EMAIL, T.URL, T.ENUM})
_NAMES = {T.INTEGER: "whole number", T.DATETIME: "date and time", T.BOOLEAN: "true/false", T.ROWS: "table"}

# What a value of a type may be read as. Text may become anything; one that does not fit is its record's error.
_CONVERTS: dict[FieldType, frozenset[FieldType]] = {
    T.TEXT: frozenset(T) - {T.ROWS, T.FILE},
    T.INTEGER: NUMBERS | {T.TEXT, T.BOOLEAN, T.ENUM, T.REFERENCE},
    T.DECIMAL: NUMBERS | {T.TEXT},
    T.MONEY: NUMBERS | {T.TEXT},
    T.BOOLEAN: frozenset({T.BOOLEAN, T.TEXT, T.ENUM, T.INTEGER}),
    T.DATE: frozenset({T.DATE, T.DATETIME, T.TEXT}),
    T.DATETIME: frozenset({T.DATE, T.DATETIME, T.TEXT}),
    T.TIME: frozenset({T.TIME, T.TEXT}),
    T.PHONE: WORDS,
    T.EMAIL: WORDS,
    T.URL: WORDS,
    T.ENUM: WORDS | NUMBERS | {T.BOOLEAN, T.REFERENCE},
    T.REFERENCE: frozenset({T.REFERENCE, T.TEXT, T.ENUM, T.INTEGER}),
    T.FILE: frozenset({T.FILE}),
    T.JSON: frozenset({T.JSON, T.TEXT}),
    T.ROWS: frozenset({T.JSON}),
}

# What is not done silently, because something is lost: a time of day, or which words stand for true and false.
_ONLY_IN_WORDS = frozenset({(T.BOOLEAN, T.TEXT), (T.BOOLEAN, T.ENUM), (T.DATETIME, T.DATE)})


def converts(given: FieldType | None, wanted: FieldType | None) -> bool:
    """Whether values of one type can become the other; what is not known passes."""
    if given is None or wanted is None or wanted is T.JSON:
        return True
    return given is wanted or wanted in _CONVERTS[given]


def a(kind: FieldType) -> str:
    """`a date`, `an enum`."""
    name = _NAMES.get(kind, kind.value)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def fits(known: Known, spec: Field, place: Place, report: Report, owner: str) -> None:
    """Report what can't go, or may not go whole, into a target field."""
    name = spec.name
    if known.type is T.ROWS or (spec.type is T.ROWS and known.type is not None):
        if spec.type is not T.JSON and not (spec.type is T.ROWS and known.constant):
            _rows(known, spec, place, report)
        return
    if known.many and not spec.many and spec.type not in (T.JSON, T.ROWS):
        way = "`join:` it" if spec.type is T.TEXT else "add `first: true`"
        message = f"{name}: {known.what} is a list, and {owner}.{name} takes one value; {way}"
        return report.error(place, message, "type")
    if known.cel and spec.type in EXACT:
        message = f"{name}: CEL computes in binary fractions and can't feed {a(spec.type)} field; use `calc:`"
        return report.error(place, message, "cel-money")
    if known.type is not None and (known.type, spec.type) in _ONLY_IN_WORDS:
        message = (
            f"{name}: {known.what} is {a(known.type)}, and {owner}.{name} is {a(spec.type)}; "
            f"say so with `as: {spec.type.value}`, or use `lookup:`"
        )
        return report.error(place, message, "type")
    if known.type is not None and not converts(known.type, spec.type):
        message = f"{name}: {known.what} is {a(known.type)}, and {owner}.{name} is {a(spec.type)}"
        return report.error(place, message, "type")
    if known.type is T.REFERENCE and spec.type is T.REFERENCE and known.kind is None and not known.constant:
        message = f"{name}: {known.what} is an id of the source system; name what it is with `ref:`, or use `lookup:`"
        return report.error(place, message, "type")
    _values(known, spec, place, report, owner)
    _size(known, spec, place, report, owner)


def _rows(known: Known, spec: Field, place: Place, report: Report) -> None:
    if spec.type is T.ROWS:
        report.error(place, f"{spec.name} is a table; fill it with `each:` or `rows:`", "type")
    else:
        message = f"{spec.name} takes one value, and {known.what} is a table; use `first:`, `sum:` or their like"
        report.error(place, message, "type")


def _values(known: Known, spec: Field, place: Place, report: Report, owner: str) -> None:
    if known.values is None or spec.type is not T.ENUM or not spec.options:
        return
    lacking = sorted(known.values - spec.options.keys())
    if lacking:
        hint = did_you_mean(lacking[0], spec.options) or "; it takes " + ", ".join(sorted(spec.options))
        said = ", ".join(f'"{value}"' for value in lacking)
        report.error(place, f"{spec.name}: {owner}.{spec.name} has no option {said}{hint}", "enum")


def _size(known: Known, spec: Field, place: Place, report: Report, owner: str) -> None:
    name = spec.name
    if spec.length is not None and known.length is not None and known.length > spec.length and spec.type in WORDS:
        message = f"{name}: {known.what} may have {known.length} characters, and {owner}.{name} holds {spec.length}"
        if known.constant:
            message = f"{name}: {known.what} has {known.length} characters, and {owner}.{name} holds {spec.length}"
            return report.error(place, message, "length")
        return report.warning(place, message, "length")
    if spec.scale is not None and known.scale is not None and known.scale > spec.scale and spec.type in EXACT:
        message = (
            f"{name}: {known.what} may have {known.scale} decimal places, and {owner}.{name} keeps {spec.scale}; "
            f"say how it is rounded with `scale: {spec.scale}`"
        )
        report.warning(place, message, "scale")
    return None
