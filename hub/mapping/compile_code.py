"""Writes the Python function that a mapping becomes; what a user wrote enters it as bound constants, never as code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

_Lines: TypeAlias = "list[str | _Lines]"


class Code:
    """A function under construction.

    Only fixed text of the compiler and names that it made itself are ever passed to `line`; values go through `bind`.
    """

    def __init__(self) -> None:
        self._lines: _Lines = []
        self._here = self._lines
        self._depth = 0
        self._names: dict[str, Any] = {}
        self._texts: dict[str, str] = {}
        self._made = 0

    def bind(self, value: Any) -> str:
        """A name under which the code finds this value."""
        if value.__class__ is str:
            if value not in self._texts:
                self._texts[value] = self._bind_new("k", value)
            return self._texts[value]
        return self._bind_new("c", value)

    def offer(self, names: Mapping[str, Any]) -> None:
        """Let the code use these names, which are the compiler's own."""
        self._names.update(names)

    def name(self, hint: str = "v") -> str:
        """A fresh local name."""
        self._made += 1
        return f"{hint}{self._made}"

    def line(self, text: str) -> None:
        self._here.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """An indented block; an empty one is left valid."""
        self.line(head + ":")
        self._depth += 1
        self.line("pass")
        start = len(self._here)
        yield
        if len(self._here) > start:
            del self._here[start - 1]
        self._depth -= 1

    def slot(self) -> Slot:
        """A place here, for lines whose need turns out later."""
        lines: _Lines = []
        self._here.append(lines)
        return Slot(lines, self._depth)

    @contextmanager
    def at(self, slot: Slot) -> Iterator[None]:
        """Write into a slot instead of at the end."""
        here, depth = self._here, self._depth
        self._here, self._depth = slot.lines, slot.depth
        yield
        self._here, self._depth = here, depth

    @property
    def source(self) -> str:
        return "\n".join(_flat(self._lines)) + "\n"

    def build(self, name: str) -> Callable[..., Any]:
        """The function `name` that was written."""
        scope = dict(self._names)
        exec(compile(self.source, f"<mapping {name}>", "exec"), scope)  # noqa: S102 - the text is all our own
        built: Callable[..., Any] = scope[name]
        return built

    def _bind_new(self, letter: str, value: Any) -> str:
        name = f"{letter}_{len(self._names)}"
        self._names[name] = value
        return name


class Slot:
    """A place in the code that is still open."""

    def __init__(self, lines: _Lines, depth: int) -> None:
        self.lines = lines
        self.depth = depth


def _flat(lines: _Lines) -> Iterator[str]:
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            yield from _flat(line)
