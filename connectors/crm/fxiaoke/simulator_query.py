"""The simulated query: operators, order and paging rules of section 2.5 of the vendor's documents, over one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from connectors.crm.fxiaoke.simulator_describe import Refused
from hub.connector.table import Row, Table

LIMIT_MAX = 100
OFFSET_MAX = 10_000


def search(
    table: Table, numbers: frozenset[str], info: Mapping[str, Any], visible: Callable[[Row], bool]
) -> tuple[list[Row], int, int]:
    """Answer a `search_query_info`: (rows of the page, offset, limit). Raises Refused for what the vendor refuses.

    `numbers` are the fields that are kept as text and compare by value.
    """
    limit, offset = _paging(info)
    filters = [_filter(numbers, item) for item in info.get("filters") or ()]
    matching = (row for row in _candidates(table, filters) if visible(row) and all(test(row) for _, test in filters))
    orders = [(item["fieldName"], item.get("isAsc", True) is not False) for item in info.get("orders") or ()]
    if not orders or orders[0] == ("_id", True):
        page: list[Row] = []
        for at, row in enumerate(matching):
            if at >= offset + limit:
                break
            if at >= offset:
                page.append(row)
        return page, offset, limit
    rows = list(matching)
    for name, ascending in reversed(orders):
        rows.sort(key=partial(_sortable, name, name in numbers), reverse=not ascending)
    return rows[offset : offset + limit], offset, limit


def count(table: Table, numbers: frozenset[str], info: Mapping[str, Any], visible: Callable[[Row], bool]) -> int:
    """How many records match, whatever the page."""
    filters = [_filter(numbers, item) for item in info.get("filters") or ()]
    return sum(1 for row in _candidates(table, filters) if visible(row) and all(test(row) for _, test in filters))


def _paging(info: Mapping[str, Any]) -> tuple[int, int]:
    limit, offset = int(info.get("limit", 20)), int(info.get("offset", 0))
    if not 0 < limit <= LIMIT_MAX:
        raise Refused("limit", f"limit不能超过{LIMIT_MAX}")
    if offset > OFFSET_MAX:
        raise Refused("offset", f"offset out of range {OFFSET_MAX}")
    if offset < 0 or offset % limit:
        raise Refused("offset_step", "offset必须是limit的整数倍")
    return limit, offset


Filter = tuple[tuple[str, str, list[Any]], Callable[[Row], bool]]


def _filter(numbers: frozenset[str], item: Mapping[str, Any]) -> Filter:
    try:
        name, operator, values = item["field_name"], item["operator"], item["field_values"]
    except KeyError as missing:
        raise Refused("query", f"filters缺少参数{missing.args[0]}") from None
    if not isinstance(values, list):
        raise Refused("query", "field_values必须是列表")
    test = OPERATORS.get(operator)
    if test is None:
        raise Refused("query", f"operator {operator} is not supported")
    if operator in {"BETWEEN", "NBETWEEN"} and len(values) != 2:
        raise Refused("query", "BETWEEN需要两个值")
    if name in numbers:
        return (name, operator, values), lambda row: test(_number(row.get(name)), values)
    return (name, operator, values), lambda row: test(row.get(name), values)


def _candidates(table: Table, filters: Sequence[Filter]) -> Iterable[Row]:
    """The rows worth testing, in the order of ids: by an index where a filter can use one."""
    above, low, high = None, None, None
    for (name, operator, values), _ in filters:
        if operator in {"EQ", "IN"} and name == "_id":
            return [row for id in sorted(set(map(str, values))) if (row := table.get(id)) is not None]
        if operator in {"EQ", "IN"} and table.indexes(name):
            found = {row["_id"]: row for value in values for row in table.equal(name, value)}
            return [found[id] for id in sorted(found)]
        if name == "_id" and operator == "GT" and values:
            above = str(values[0])
        if name == "last_modified_time" and operator == "GTE":
            low = int(values[0])
        if name == "last_modified_time" and operator == "LT":
            high = int(values[0])
    if low is not None and table.orders("last_modified_time"):
        window = list(table.between("last_modified_time", low, high))
        if len(window) * 4 < len(table):
            return sorted(window, key=lambda row: str(row["_id"]))
    return table.after(above)


def _number(value: Any) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool):
        return str(wanted).lower() == str(value).lower()
    if isinstance(value, list):
        return str(wanted) in [str(item) for item in value]
    if isinstance(value, (int, Decimal)):
        return _number(wanted) == value
    return isinstance(value, str) and value == str(wanted)


def _compare(value: Any, wanted: Any) -> int | None:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        number = _number(wanted)
        return None if number is None else (value > number) - (value < number)
    if not isinstance(value, str):
        return None
    return (value > str(wanted)) - (value < str(wanted))


def _eq(value: Any, wanted: list[Any]) -> bool:
    return bool(wanted) and _same(value, wanted[0])


def _in(value: Any, wanted: list[Any]) -> bool:
    return any(_same(value, item) for item in wanted)


def _contains(value: Any, wanted: list[Any]) -> bool:
    return isinstance(value, list) and all(_same(value, item) for item in wanted)


def _any_of(value: Any, wanted: list[Any]) -> bool:
    return isinstance(value, list) and any(_same(value, item) for item in wanted)


def _between(value: Any, wanted: list[Any]) -> bool:
    low, high = _compare(value, wanted[0]), _compare(value, wanted[1])
    return low is not None and high is not None and low >= 0 and high <= 0


def _ordered(accept: Callable[[int], bool]) -> Callable[[Any, list[Any]], bool]:
    def test(value: Any, wanted: list[Any]) -> bool:
        order = _compare(value, wanted[0]) if wanted else None
        return order is not None and accept(order)

    return test


def _text(accept: Callable[[str, str], bool]) -> Callable[[Any, list[Any]], bool]:
    def test(value: Any, wanted: list[Any]) -> bool:
        return isinstance(value, str) and bool(wanted) and accept(value.lower(), str(wanted[0]).lower())

    return test


def _not(test: Callable[[Any, list[Any]], bool]) -> Callable[[Any, list[Any]], bool]:
    return lambda value, wanted: not test(value, wanted)


def _empty(value: Any, _wanted: list[Any]) -> bool:
    return value is None or value == "" or value == []


_like = _text(lambda value, wanted: wanted in value)

OPERATORS: dict[str, Callable[[Any, list[Any]], bool]] = {
    "EQ": _eq,
    "N": _not(_eq),
    "GT": _ordered(lambda order: order > 0),
    "GTE": _ordered(lambda order: order >= 0),
    "LT": _ordered(lambda order: order < 0),
    "LTE": _ordered(lambda order: order <= 0),
    "LIKE": _like,
    "NLIKE": _not(_like),
    "STARTWITH": _text(lambda value, wanted: value.startswith(wanted)),
    "ENDWITH": _text(lambda value, wanted: value.endswith(wanted)),
    "IN": _in,
    "NIN": _not(_in),
    "BETWEEN": _between,
    "NBETWEEN": _not(_between),
    "IS": _empty,
    "ISN": _not(_empty),
    "CONTAINS": _contains,
    "HASANYOF": _any_of,
    "NHASANYOF": _not(_any_of),
}


def _sortable(name: str, numeric: bool, row: Row) -> tuple[int, Any]:
    value = _number(row.get(name)) if numeric else row.get(name)
    if value is None:
        return (0, 0)
    return (1, value) if isinstance(value, (int, Decimal)) else (2, str(value))
