"""Values between a system's shape and Python's, and when two of them mean the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from hub.domain.schema import Field, FieldType, Wire
from hub.domain.values import DoesNotFit, canonical, copier, day_reader, mask, parse, parser, render, renderer, same

SHANGHAI = "Asia/Shanghai"


def field(type_: FieldType = FieldType.TEXT, **more: Any) -> Field:
    return Field("f", type_, **more)


MS = field(FieldType.DATETIME, wire=Wire.EPOCH_MS, tz=SHANGHAI)
LOCAL = field(FieldType.DATETIME, wire=Wire.LOCAL, tz=SHANGHAI)
ISO = field(FieldType.DATETIME, wire=Wire.ISO)
DAY_AS_MS = field(FieldType.DATE, wire=Wire.EPOCH_MS, tz=SHANGHAI)
NOON = datetime(2026, 1, 6, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shape", "given", "python", "written"),
    [
        (field(), "x", "x", "x"),
        (field(), " ", None, None),
        (field(), 12, "12", "12"),
        (field(FieldType.INTEGER), "12", 12, 12),
        (field(FieldType.INTEGER), "12.0", 12, 12),
        (field(FieldType.DECIMAL), "1200.00", Decimal("1200.00"), "1200.00"),
        (field(FieldType.DECIMAL), 5, Decimal(5), "5"),
        (field(FieldType.DECIMAL), "1E+2", Decimal("1E+2"), "100"),
        (field(FieldType.MONEY, scale=2), "1.500", Decimal("1.500"), "1.50"),
        (field(FieldType.BOOLEAN), True, True, True),
        (field(FieldType.BOOLEAN, wire=Wire.ZERO_ONE), "1", True, "1"),
        (field(FieldType.BOOLEAN, wire=Wire.ZERO_ONE), 0, False, "0"),
        (field(FieldType.BOOLEAN, wire=Wire.AB), "A", False, "A"),
        (field(FieldType.DATE), "2026-01-06", date(2026, 1, 6), "2026-01-06"),
        (field(FieldType.DATE), "2026-01-06T00:00:00", date(2026, 1, 6), "2026-01-06"),
        (DAY_AS_MS, 1767628800000, date(2026, 1, 6), 1767628800000),
        (DAY_AS_MS, "1767628800000", date(2026, 1, 6), 1767628800000),
        (MS, 1767672000000, NOON, 1767672000000),
        (LOCAL, "2026-01-06T12:00:00", NOON, "2026-01-06T12:00:00"),
        (LOCAL, "2026-01-06 12:00:00.53", NOON.replace(microsecond=530000), "2026-01-06T12:00:00.530"),
        (ISO, "2026-01-06T12:00:00+08:00", NOON, "2026-01-06T04:00:00+00:00"),
        (ISO, "2026-01-06T04:00:00Z", NOON, "2026-01-06T04:00:00+00:00"),
        (field(FieldType.TIME, wire=Wire.DAY_MS), 3_600_000, time(1, 0), 3_600_000),
        (field(FieldType.TIME), "01:30", time(1, 30), "01:30:00"),
        (field(many=True), ["a", "", "b"], ["a", "b"], ["a", "b"]),
        (field(many=True), "a", ["a"], ["a"]),
        (field(many=True), [], None, None),
        (field(FieldType.ENUM, options={"1": "x"}), "1", "1", "1"),
    ],
)
def test_there_and_back(shape: Field, given: Any, python: Any, written: Any) -> None:
    read = parse(shape, given)
    assert read == python
    assert type(read) is type(python)
    assert render(shape, read) == written
    if given not in ("", " ") and read is not None:
        assert parser(shape)(given) == python
        assert renderer(shape)(read) == written


@pytest.mark.parametrize(
    ("shape", "value", "rule"),
    [
        (field(), True, "text"),
        (field(), {"a": 1}, "text"),
        (field(), 1.5, "text"),
        (field(FieldType.INTEGER), "1.5", "integer"),
        (field(FieldType.DECIMAL), 1.5, "decimal"),
        (field(FieldType.DECIMAL), "1,200", "decimal"),
        (field(FieldType.DECIMAL), "1_0", "decimal"),
        (field(FieldType.DECIMAL), "NaN", "decimal"),
        (field(FieldType.DECIMAL), "Infinity", "decimal"),
        (field(FieldType.DECIMAL), "1e999999", "decimal"),
        (field(FieldType.DECIMAL), True, "decimal"),
        (field(FieldType.BOOLEAN), "maybe", "boolean"),
        (field(FieldType.BOOLEAN), 2, "boolean"),
        (field(FieldType.DATE), "tomorrow", "date"),
        (MS, 10**18, "datetime"),
        (MS, "9" * 30, "datetime"),
        (field(FieldType.TIME, wire=Wire.DAY_MS), 86_400_000, "time"),
        (field(FieldType.ROWS), [1], "rows"),
    ],
)
def test_what_can_not_be_read(shape: Field, value: Any, rule: str) -> None:
    with pytest.raises(DoesNotFit) as caught:
        parse(shape, value)
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("shape", "value", "rule"),
    [
        (field(length=3), "four", "length"),
        (field(FieldType.MONEY, scale=2), Decimal("1.005"), "scale"),
        (field(FieldType.DECIMAL, length=3), Decimal("1234"), "length"),
        (field(FieldType.DATE), NOON, "date"),
        (field(FieldType.ENUM, options={"1": "x"}), "2", "enum"),
        (field(), ["a", "b"], "list"),
        (field(FieldType.INTEGER), Decimal("1.5"), "integer"),
    ],
)
def test_nothing_is_cut_rounded_or_guessed_when_it_is_written(shape: Field, value: Any, rule: str) -> None:
    with pytest.raises(DoesNotFit) as caught:
        render(shape, value)
    assert caught.value.rule == rule


def test_messages_show_no_whole_value() -> None:
    with pytest.raises(DoesNotFit) as caught:
        parse(field(FieldType.DECIMAL), "13800138000x")
    assert "13800138000" not in str(caught.value)
    assert mask("x") == "*"
    assert mask("13800138000") == "13*** (11 characters)"


@pytest.mark.parametrize(
    ("shape", "one", "other"),
    [
        (field(), " x ", "x"),
        (field(), "", None),
        (field(), "  ", None),
        (field(FieldType.DECIMAL), "1.50", "1.5"),
        (field(FieldType.MONEY, scale=2), "1.499999", "1.5"),
        (field(FieldType.BOOLEAN, wire=Wire.AB), "B", True),
        (MS, 1767672000000, "1767672000000"),
        (ISO, "2026-01-06T12:00:00+08:00", "2026-01-06T04:00:00Z"),
        (field(FieldType.DATE), "2026-01-06", "2026-01-06T00:00:00"),
        (field(many=True), [], None),
        (field(many=True), ["a "], ["a"]),
        (field(FieldType.JSON), {"a": [1, ""], "b": None}, {"b": "", "a": [1, None]}),
        (
            field(FieldType.ROWS, rows={"q": field(FieldType.DECIMAL)}),
            [{"q": "1.0", "x": ""}],
            [{"q": 1}],
        ),
        (field(FieldType.DECIMAL), " junk ", "junk"),
    ],
)
def test_two_that_mean_the_same(shape: Field, one: Any, other: Any) -> None:
    assert same(shape, one, other)
    assert canonical(shape, one) == canonical(shape, other)
    assert hash(canonical(shape, one)) == hash(canonical(shape, other))


@pytest.mark.parametrize(
    ("shape", "one", "other"),
    [
        (field(), "x", "X"),
        (field(FieldType.DECIMAL), "1.50", "1.51"),
        (field(FieldType.DECIMAL), "0", None),
        (field(FieldType.BOOLEAN), False, None),
        (field(many=True), ["a", "b"], ["b", "a"]),
        (field(FieldType.JSON), {"a": 1}, {"a": True}),
        (MS, 1767672000000, 1767672000001),
        (field(FieldType.ROWS, rows={}), [{"q": "1"}, {"q": "2"}], [{"q": "2"}, {"q": "1"}]),
    ],
)
def test_two_that_do_not(shape: Field, one: Any, other: Any) -> None:
    assert not same(shape, one, other) or one == other
    assert canonical(shape, one) != canonical(shape, other)


def test_the_short_ways_lead_to_the_same_place() -> None:
    plain = field(FieldType.DECIMAL)
    for value in ("1.50", " 1.5 ", "-0.10", "+3", "007", 5, "", None):
        assert copier(plain)(value) == render(plain, parse(plain, value))
    for value in (1767628800000, 1767628799999, 0, -1, "1767628800000"):
        assert day_reader(DAY_AS_MS)(value) == parse(DAY_AS_MS, value)
