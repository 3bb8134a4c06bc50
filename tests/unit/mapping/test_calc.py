"""The grammar of `calc:`."""

from __future__ import annotations

import pytest

from hub.mapping.expressions import NotArithmetic, names, parse_calc


def test_paths_are_found_once_they_are_read() -> None:
    assert list(names(parse_calc("row.小计 / (row.quantity + max(let.a, 2)) - value"))) == [
        "row.小计", "row.quantity", "let.a", "value",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "(1",
        "1)",
        "a b",
        "f(1)",
        "__import__('os')",
        "a[0]",
        "a.b()",
        "1 ** 2",
        "'x'",
        "max()",
        "round(1, a)",
        "1 // 2",
        "a = 1",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(NotArithmetic):
        parse_calc(text)


def test_depth_and_length_are_bounded() -> None:
    with pytest.raises(NotArithmetic):
        parse_calc("(" * 200 + "1" + ")" * 200)
    with pytest.raises(NotArithmetic):
        parse_calc("-" * 900 + "1")
    with pytest.raises(NotArithmetic):
        parse_calc("1 + " * 2000 + "1")
