"""The simulator's reading of FilterString and OrderString: a safe subset of SQL, answered as SQL Server would."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

Row = Callable[[str], Any]  # field key -> value of the row that is looked at
Test = Callable[[Row], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>[nN]?'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<op><>|!=|>=|<=|=|<|>|\(|\)|,)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*))"
)
_WORDS = frozenset({"and", "or", "not", "in", "like", "is", "null"})


class BadFilter(Exception):
    """The text is not in the subset; Kingdee answers MsgCode 4."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter. `names` are the fields it asks for; `equals` holds, for a field that every hit must carry, the
    values it may have, and `above` what it must reach: what lets the store look in an index instead of at every row."""

    test: Test
    names: frozenset[str]
    equals: dict[str, tuple[Any, ...]]
    above: dict[str, Any]


@dataclass(slots=True)
class _Token:
    kind: str
    value: str


def parse_filter(text: str) -> Filter:
    """Compile a FilterString. Raises BadFilter."""
    tokens = _tokens(text)
    if not tokens:
        return Filter(lambda row: True, frozenset(), {}, {})
    parser = _Parser(tokens)
    node = parser.alternatives()
    if parser.at < len(tokens):
        raise BadFilter(f"“{tokens[parser.at].value}”附近有语法错误")
    return Filter(node.test, frozenset(parser.names), node.equals, node.above)


def parse_order(text: str) -> list[tuple[str, bool]]:
    """`FModifyDate ASC,FID DESC` as (field, descending)."""
    order: list[tuple[str, bool]] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        words = part.split()
        if len(words) > 2 or (len(words) == 2 and words[1].lower() not in ("asc", "desc")):
            raise BadFilter(f"排序“{part}”无法识别")
        order.append((words[0], len(words) == 2 and words[1].lower() == "desc"))
    return order


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, text = 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadFilter(f"“{text[at : at + 20]}”附近有语法错误")
        kind = str(found.lastgroup)
        value = found.group(kind)
        if kind == "name" and value.lower() in _WORDS:
            kind, value = "word", value.lower()
        if kind == "text":
            value = value[value.index("'") + 1 : -1].replace("''", "'")
        tokens.append(_Token(kind, value))
        at = found.end()
    return tokens


@dataclass(slots=True)
class _Node:
    test: Test
    equals: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    above: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Operand:
    name: str | None
    value: Any = None

    def read(self, row: Row) -> Any:
        return self.value if self.name is None else row(self.name)


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.names: set[str] = set()

    def alternatives(self) -> _Node:
        node = self.conjunction()
        while self._word("or"):
            node = _either(node, self.conjunction())
        return node

    def conjunction(self) -> _Node:
        node = self.negation()
        while self._word("and"):
            node = _both(node, self.negation())
        return node

    def negation(self) -> _Node:
        if self._word("not"):
            inner = self.negation().test
            return _Node(lambda row: not inner(row))
        if self._op("("):
            node = self.alternatives()
            self._expect(")")
            return node
        return self.comparison()

    def comparison(self) -> _Node:
        left = self.operand()
        if self._word("is"):
            negated = self._word("not")
            if not self._word("null"):
                raise BadFilter("“is”之后应为 null")
            return _Node(lambda row: (left.read(row) is None) != negated)
        negated = self._word("not")
        if self._word("in"):
            return self._listed(left, negated)
        if self._word("like"):
            pattern = self._pattern()
            return _Node(lambda row: _like(left.read(row), pattern) != negated)
        if negated or self.at >= len(self.tokens) or self.tokens[self.at].kind != "op":
            raise BadFilter("缺少比较符")
        operator = self.tokens[self.at].value
        if operator not in _COMPARE:
            raise BadFilter(f"比较符“{operator}”无法识别")
        self.at += 1
        right = self.operand()
        compare = _COMPARE[operator]
        equals = {left.name: (right.value,)} if operator == "=" and left.name and right.name is None else {}
        above = {left.name: right.value} if operator in (">", ">=") and left.name and right.name is None else {}
        return _Node(lambda row: _compare(left.read(row), right.read(row), compare), equals, above)

    def operand(self) -> _Operand:
        if self.at >= len(self.tokens):
            raise BadFilter("过滤条件不完整")
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "name":
            self.names.add(token.value)
            return _Operand(token.value)
        if token.kind == "text":
            return _Operand(None, token.value)
        if token.kind == "number":
            return _Operand(None, Decimal(token.value))
        raise BadFilter(f"“{token.value}”附近有语法错误")

    def _listed(self, left: _Operand, negated: bool) -> _Node:
        self._expect("(")
        values = [self.operand().value]
        while self._op(","):
            values.append(self.operand().value)
        self._expect(")")
        texts = {fold(str(value)) for value in values}
        numbers = {number for number in map(_as_number, values) if number is not None}

        def test(row: Row) -> bool:
            value = left.read(row)
            if value is None:
                return False
            if isinstance(value, datetime):
                return any(_compare(value, other, _COMPARE["="]) for other in values) != negated
            return (fold(value) in texts if isinstance(value, str) else _number(value) in numbers) != negated

        return _Node(test, {left.name: tuple(values)} if left.name and not negated else {})

    def _pattern(self) -> re.Pattern[str]:
        operand = self.operand()
        if operand.name is not None or not isinstance(operand.value, str):
            raise BadFilter("like 之后应为文本")
        parts = [".*" if char == "%" else "." if char == "_" else re.escape(char) for char in operand.value]
        return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)

    def _word(self, word: str) -> bool:
        return self._take("word", word)

    def _op(self, op: str) -> bool:
        return self._take("op", op)

    def _take(self, kind: str, value: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at].kind == kind and self.tokens[self.at].value == value:
            self.at += 1
            return True
        return False

    def _expect(self, op: str) -> None:
        if not self._op(op):
            raise BadFilter(f"缺少“{op}”")


def _both(left: _Node, right: _Node) -> _Node:
    first, second = left.test, right.test
    return _Node(lambda row: first(row) and second(row), {**right.equals, **left.equals}, {**left.above, **right.above})


def _either(left: _Node, right: _Node) -> _Node:
    first, second = left.test, right.test
    return _Node(lambda row: first(row) or second(row))


def _like(value: Any, pattern: re.Pattern[str]) -> bool:
    return value is not None and pattern.fullmatch(str(value)) is not None


def fold(text: str) -> str:
    """Text as the server's collation compares it: case and trailing blanks don't count."""
    return text.rstrip(" ").casefold()


def _as_number(value: Any) -> Decimal | None:
    try:
        return _number(value)
    except InvalidOperation:
        return None


def _compare(left: Any, right: Any, compare: Callable[[Any, Any], bool]) -> bool:
    if left is None or right is None:
        return False  # as in SQL: unknown is not true
    if isinstance(right, datetime) and not isinstance(left, datetime):
        return _compare(_moment(left), right, compare)
    if isinstance(left, datetime):
        return compare(left, right if isinstance(right, datetime) else _moment(right))
    if isinstance(left, str) and isinstance(right, str):
        return compare(fold(left), fold(right))
    try:
        return compare(_number(left), _number(right))
    except InvalidOperation:
        return compare(fold(str(left)), fold(str(right)))


def _number(value: Any) -> Decimal:
    return Decimal(int(value)) if isinstance(value, bool) else Decimal(value)


def _moment(value: Any) -> datetime:
    try:
        return sql_datetime(datetime.fromisoformat(str(value).strip()))
    except ValueError:
        raise BadFilter(f"“{value}”不是有效的日期") from None


def sql_datetime(moment: datetime) -> datetime:
    """What a `datetime` column of SQL Server keeps: steps of 1/300 s, shown as .000, .003 and .007."""
    ticks = round(moment.microsecond * 300 / 1_000_000)
    base = moment.replace(microsecond=0, tzinfo=None)
    if ticks >= 300:
        return base + timedelta(seconds=1)
    return base.replace(microsecond=round(ticks * 10 / 3) * 1000)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
