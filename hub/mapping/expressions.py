"""The arithmetic of `calc:`: a small grammar of its own, read into a tree; nothing of it is ever run as code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

MAX_LENGTH = 1000
MAX_DEPTH = 40
FUNCTIONS = {"min": (2, 20), "max": (2, 20), "round": (1, 2), "abs": (1, 1)}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]{1,28}(?:\.[0-9]{1,28})?)|(?P<name>[^\W\d][\w$]*(?:\.[\w$]+)*)|(?P<sign>[-+*/%(),]))"
)
_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2}


class NotArithmetic(ValueError):
    """The text is no expression of `calc:`; `offset` is where it stops making sense."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Number:
    value: Decimal


@dataclass(frozen=True, slots=True)
class Name:
    """A path, or `value`: what the steps before gave."""

    text: str


@dataclass(frozen=True, slots=True)
class Negative:
    of: Tree


@dataclass(frozen=True, slots=True)
class Operation:
    sign: str
    left: Tree
    right: Tree


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    arguments: tuple[Tree, ...]


Tree: TypeAlias = "Number | Name | Negative | Operation | Function"


def parse_calc(text: str) -> Tree:
    """The tree of an expression. Raises NotArithmetic."""
    if len(text) > MAX_LENGTH:
        raise NotArithmetic(f"is longer than {MAX_LENGTH} characters", MAX_LENGTH)
    parser = _Parser(list(_tokens(text)), len(text))
    tree = parser.expression(0, 0)
    parser.end()
    return tree


def names(tree: Tree) -> Iterator[str]:
    """The paths that an expression reads."""
    match tree:
        case Name(text):
            yield text
        case Negative(of):
            yield from names(of)
        case Operation(_, left, right):
            yield from names(left)
            yield from names(right)
        case Function(_, arguments):
            for argument in arguments:
                yield from names(argument)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    offset = 0
    end = len(text.rstrip())
    while offset < end:
        found = _TOKEN.match(text, offset)
        if found is None or found.lastgroup is None:
            raise NotArithmetic(f"`{text[offset:].strip()[:12]}` is not arithmetic", offset)
        yield found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)
        offset = found.end()


class _Parser:
    def __init__(self, tokens: list[tuple[str, str, int]], length: int) -> None:
        self._tokens = tokens
        self._length = length
        self._next = 0

    def expression(self, binds: int, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise NotArithmetic("is nested too deep", self._offset())
        left = self._operand(depth)
        while (sign := self._sign()) in _BINDS and _BINDS[sign] > binds:
            self._next += 1
            left = Operation(sign, left, self.expression(_BINDS[sign], depth + 1))
        return left

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise NotArithmetic(f"`{self._tokens[self._next][1]}` is not expected here", self._offset())

    def _operand(self, depth: int) -> Tree:
        kind, text, offset = self._take()
        if kind == "number":
            return Number(Decimal(text))
        if kind == "name":
            return self._function(text, offset, depth) if self._sign() == "(" else Name(text)
        if text == "-":
            return Negative(self.expression(2, depth + 1))
        if text == "(":
            inner = self.expression(0, depth + 1)
            self._expect(")")
            return inner
        raise NotArithmetic(f"`{text}` is not expected here", offset)

    def _function(self, name: str, offset: int, depth: int) -> Tree:
        if name not in FUNCTIONS:
            raise NotArithmetic(f"there is no function `{name}`; there are min, max, round and abs", offset)
        self._expect("(")
        arguments = [self.expression(0, depth + 1)]
        while self._sign() == ",":
            self._next += 1
            arguments.append(self.expression(0, depth + 1))
        self._expect(")")
        low, high = FUNCTIONS[name]
        if not low <= len(arguments) <= high:
            raise NotArithmetic(f"`{name}` takes {low} to {high} values", offset)
        if name == "round" and len(arguments) == 2 and not isinstance(arguments[1], Number):
            raise NotArithmetic("`round` takes its places as a number", offset)
        return Function(name, tuple(arguments))

    def _sign(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self) -> tuple[str, str, int]:
        if self._next >= len(self._tokens):
            raise NotArithmetic("ends too early", self._length)
        self._next += 1
        return self._tokens[self._next - 1]

    def _expect(self, sign: str) -> None:
        if self._sign() != sign:
            raise NotArithmetic(f"lacks a `{sign}`", self._offset())
        self._next += 1

    def _offset(self) -> int:
        return self._tokens[self._next][2] if self._next < len(self._tokens) else self._length
