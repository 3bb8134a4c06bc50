"""What generated code calls: getters that tell absent from null, answers to references, results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Any

from hub.domain.values import DoesNotFit, decimal_text, is_blank, mask, to_decimal
from hub.mapping import functions
from hub.mapping.expressions_cel import seen
from hub.mapping.functions import ABSENT, as_text
from hub.mapping.result import (
    Failed,
    FieldError,
    Filtered,
    MatchKey,
    RefAnswer,
    RefKey,
    RefState,
    Refused,
    Rendered,
    RenderedRow,
    TableKey,
    Waiting,
)

Getter = Callable[..., Any]


def absent_getter(name: str, default: Any = None) -> Any:
    """A record that was not read: every field is absent."""
    return default


def null_getter(name: str, default: Any = None) -> Any:
    """A record that is not there: every field is null."""
    return None


def getter(record: Any) -> Getter:
    if isinstance(record, dict):
        return record.get
    return absent_getter if record is ABSENT else null_getter


def member_getter(records: Any, key: Any) -> Getter:
    """The getter of the record with this id among `records` (id -> fields)."""
    if key is ABSENT or records is ABSENT:
        return absent_getter
    if is_blank(key):
        return null_getter
    found = records.get(key if isinstance(key, str) else str(key), ABSENT)
    return getter(found)


def rows_of(value: Any) -> Any:
    """Rows as a list; ABSENT where they were not read."""
    if value is ABSENT:
        return ABSENT
    if is_blank(value):
        return []
    if not isinstance(value, list):
        raise DoesNotFit("rows", "this is no list of rows")
    for row in value:
        if not isinstance(row, dict):
            raise DoesNotFit("rows", "this is no list of rows")
    return value


def members_of(value: Any) -> Any:
    """The members of a list of scalars; a single value is a list of one."""
    if value is ABSENT:
        return ABSENT
    if is_blank(value):
        return []
    return value if isinstance(value, list) else [value]


def by_id(value: Any) -> Any:
    return value if isinstance(value, dict) else ABSENT


def whole(get: Getter) -> Any:
    """The record behind a getter."""
    if get is absent_getter:
        return ABSENT
    return getattr(get, "__self__", None) if get is not null_getter else None


def param(params: Mapping[str, Any], name: str) -> Any:
    if name not in params:
        raise DoesNotFit("param", f"the parameter `{name}` is not set; add it under `params:` of hub.yaml")
    return params[name]


def any_absent(values: Iterable[Any]) -> bool:
    return any(value is ABSENT for value in values)


def decided(test: Callable[[Any], Any], variables: dict[str, Any], undecided: Any) -> Any:
    """What an expression gives of a partial record; `undecided` where it depends on what was not given."""
    given, lacks = _given(variables)
    try:
        return test(given)
    except DoesNotFit:
        if lacks:
            return undecided
        raise


def _given(variables: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    given: dict[str, Any] = {}
    lacks = False
    for name, value in variables.items():
        if value is ABSENT:
            lacks = True
        elif isinstance(value, dict):
            given[name], below = _given(value)
            lacks = lacks or below
        else:
            given[name] = value
    return given, lacks


def cel_row(row: Any, converters: Mapping[str, Callable[[Any], Any]]) -> Any:
    """A record for CEL: the fields that the schema has, and those that the record has besides."""
    if not isinstance(row, dict):
        return None
    known = {name: convert(row.get(name)) for name, convert in converters.items()}
    return {**{name: seen(value) for name, value in row.items() if name not in converters}, **known}


def cel_rows(rows: Any, converters: Mapping[str, Callable[[Any], Any]]) -> Any:
    if rows is ABSENT:
        return []
    return [{name: convert(row.get(name)) for name, convert in converters.items()} for row in rows]


def wrong(field: str, error: Exception) -> FieldError:
    """What a person reads of a value that did not fit. Unforeseen errors give their type only: no values."""
    if isinstance(error, DoesNotFit):
        return FieldError(field, error.rule, f"{field}: {error.message}")
    if isinstance(error, DivisionByZero) or (isinstance(error, InvalidOperation) and "Division" in str(error)):
        return FieldError(field, "calc", f"{field}: division by zero")
    if isinstance(error, InvalidOperation):
        return FieldError(field, "calc", f"{field}: the result is no number that can be kept")
    return FieldError(field, "value", f"{field}: the value can't be used ({type(error).__name__})")


def row_label(table: str, place: int, field: str) -> str:
    return f"{table}[{place + 1}].{field}"


def too_long(text: str, length: int) -> DoesNotFit:
    return DoesNotFit("length", f"{mask(text)} is longer than {length} characters")


def no_entry(table: str, value: Any) -> DoesNotFit:
    shown = " | ".join(mask(one) for one in value) if isinstance(value, tuple) else mask(value)
    return DoesNotFit("lookup", f"the table `{table}` has no entry for {shown}")


def key_text(value: Any) -> str:
    """A value as the key of a table or of a reference."""
    return value if value.__class__ is str else as_text(value)


def answered(answer: RefAnswer, take: str, kind: str) -> str:
    """The id or key that is taken from an answer."""
    found = answer.id if take == "id" else answer.keys.get(take)
    if found is None:
        raise DoesNotFit("ref", f"this {kind} has no `{take}` in the target")
    return found


def taken(row: Any, take: str | None, keys: tuple[str, ...], table: str) -> Any:
    """The column that is taken from a hub table's row; a row that is a single value stands for itself."""
    if not isinstance(row, Mapping):
        return row
    if take is None:
        rest = [name for name in row if name not in keys]
        if len(rest) != 1:
            raise DoesNotFit("lookup", f"the table `{table}` has several columns: say which with `take`")
        take = rest[0]
    if take not in row:
        raise DoesNotFit("lookup", f"the table `{table}` has no column `{take}`")
    return row[take]


def index_refs(refs: Mapping[RefKey, RefAnswer]) -> dict[tuple[str, str | None, str], dict[tuple[str, str], RefAnswer]]:
    """The answers by what kind of question they answer, so that translation makes no key objects."""
    index: dict[tuple[str, str | None, str], dict[tuple[str, str], RefAnswer]] = {}
    for key, answer in refs.items():
        site = (key.kind, key.object, key.by)
        found = index.get(site)
        if found is None:
            found = index[site] = {}
        found[key.facet, key.value] = answer
    return index


def match_key(
    out: Mapping[str, Any], fields: tuple[tuple[str, str | None], ...], veto: tuple[str, ...]
) -> MatchKey | None:
    """The key by which a record is recognised; None when a field is empty, for empty values never match."""
    values = {}
    for name, _ in fields:
        value = out.get(name)
        if is_blank(value):
            return None
        values[name] = value
    against = {name: out[name] for name in veto if not is_blank(out.get(name))} if veto else {}
    return MatchKey(values, against, {name: normaliser for name, normaliser in fields if normaliser})


def changed(before: Any, after: Any, from_: frozenset[Any] | None, to: frozenset[Any] | None) -> bool:
    """Whether a field went from one of `from_` to one of `to` (None: from anything, to anything)."""
    return before != after and (from_ is None or before in from_) and (to is None or after in to)


def free(value: Any) -> Any:
    """A value in plain JSON, where no schema says how it is written: decimals, days and times as text."""
    if isinstance(value, (list, tuple)):
        return [free(one) for one in value]
    if isinstance(value, dict):
        return {str(key): free(one) for key, one in value.items()}
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return as_text(value)


NAMES: Mapping[str, Any] = {
    "absent_getter": absent_getter,
    "answered": answered,
    "any_absent": any_absent,
    "by_id": by_id,
    "cel_row": cel_row,
    "cel_rows": cel_rows,
    "changed": changed,
    "getter": getter,
    "index_refs": index_refs,
    "is_blank": is_blank,
    "key_text": key_text,
    "match_key": match_key,
    "member_getter": member_getter,
    "members_of": members_of,
    "no_entry": no_entry,
    "param": param,
    "row_label": row_label,
    "rows_of": rows_of,
    "seen": seen,
    "to_decimal": to_decimal,
    "taken": taken,
    "too_long": too_long,
    "whole": whole,
    "wrong": wrong,
    "ABSENT": ABSENT,
    "FOUND": RefState.FOUND,
    "Failed": Failed,
    "Filtered": Filtered,
    "RefKey": RefKey,
    "Refused": Refused,
    "Rendered": Rendered,
    "RenderedRow": RenderedRow,
    "TableKey": TableKey,
    "Waiting": Waiting,
    "aggregate": functions.aggregate,
    "apportion": functions.apportion,
    "as_decimal": functions.as_decimal,
    "as_text": as_text,
    "date": date,
    "decided": decided,
    "column": functions.column,
    "decimal_text": decimal_text,
    "formatted": functions.formatted,
    "grouped": functions.grouped,
    "joined": functions.joined,
    "quantize": functions.quantize,
    "replaced": functions.replaced,
    "share": functions.share,
    "split_text": functions.split_text,
    "EMPTY": {},
    "Decimal": Decimal,
    "DoesNotFit": DoesNotFit,
    "FieldError": FieldError,
}
