"""Reads single values out of a document's nodes by the kinds of the form table, and collects what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from hub.domain.errors import Place, Problem
from hub.mapping.document import Node
from hub.mapping.forms import Form, section
from hub.mapping.model import Cel, Constant

T = TypeVar("T")

_DURATION = re.compile(r"([0-9]{1,6})\s*(s|m|h|d|)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest right name, or lists the few there are."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [
        item for item in names if item.casefold() == name.casefold()
    ]
    if close:
        return f"did you mean `{close[0]}`?"
    if 0 < len(names) <= 8:
        return "one of: " + ", ".join(f"`{item}`" for item in names)
    return None


class Reader:
    """Reads nodes; a node that is wrong becomes a problem and None, so that all problems come out at once."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def wrong(self, message: str, place: Place, hint: str | None = None, rule: str = "form") -> None:
        self.problems.append(Problem(message, place, hint=hint, rule=rule))

    def section(self, node: Node | None, name: str, what: str) -> Mapping[str, Node]:
        """The members of a map that are forms of this section; what is unknown or lacking is a problem."""
        if node is None:
            return {}
        members = node.map
        if members is None:
            self.wrong(f"{what} has to be a map, and is {node.kind}.", node.place)
            return {}
        forms = section(name)
        for key in members:
            if key not in forms:
                self.wrong(f"{what} has no `{key}`.", node.keys[key], nearest(key, forms), rule="unknown-key")
        for form in forms.values():
            if form.required and form.key not in members:
                self.wrong(f"{what} lacks `{form.key}`.", node.place, _example(form), rule="lacks")
        return {key: value for key, value in members.items() if key in forms}

    def text(self, node: Node | None, what: str) -> str | None:
        if node is None:
            return None
        if isinstance(node.value, str):
            return node.value
        if isinstance(node.value, (int, Decimal)) and not isinstance(node.value, bool):
            return str(node.value)
        self._not(node, what, "text")
        return None

    def flag(self, node: Node | None, what: str) -> bool | None:
        if node is None or isinstance(node.value, bool):
            return None if node is None else bool(node.value)
        self._not(node, what, "`true` or `false`")
        return None

    def integer(self, node: Node | None, what: str, low: int, high: int) -> int | None:
        if node is None:
            return None
        if isinstance(node.value, int) and not isinstance(node.value, bool) and low <= node.value <= high:
            return node.value
        self._not(node, what, f"a whole number from {low} to {high}")
        return None

    def decimal(self, node: Node | None, what: str) -> Decimal | None:
        if node is None:
            return None
        try:
            number = Decimal(str(node.value)) if not isinstance(node.value, bool) else Decimal("NaN")
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or abs(number.adjusted()) > 28:
            self._not(node, what, "a number")
            return None
        return number

    def duration(self, node: Node | None, what: str) -> int | None:
        """Seconds."""
        if node is None:
            return None
        found = _DURATION.fullmatch(str(node.value)) if isinstance(node.value, (str, int)) else None
        if found is None:
            self._not(node, what, "a time such as `90s`, `30m`, `2h` or `1d`")
            return None
        return int(found[1]) * _SECONDS[found[2]]

    def choice(self, node: Node | None, what: str, choices: Iterable[str]) -> str | None:
        if node is None:
            return None
        options = list(choices)
        if isinstance(node.value, str) and node.value in options:
            return node.value
        said = f"`{node.value}`" if isinstance(node.value, str) else node.kind
        hint = nearest(node.value if isinstance(node.value, str) else "", options)
        self.wrong(f"{what} can't be {said}.", node.place, hint, rule="choice")
        return None

    def constant(self, node: Node | None, what: str) -> Constant:
        if node is None or node.list is not None or node.map is not None:
            if node is not None:
                self._not(node, what, "a single value")
            return None
        value = node.value
        return value if isinstance(value, (str, int, bool, Decimal)) else None

    def cel(self, node: Node | None, what: str) -> Cel | None:
        if node is None:
            return None
        if isinstance(node.value, bool):
            return Cel("true" if node.value else "false", node.place)
        if isinstance(node.value, str) and node.value.strip():
            return Cel(node.value.strip(), node.place)
        self._not(node, what, "an expression in quotes")
        return None

    def one_or_many(self, node: Node | None) -> tuple[Node, ...]:
        if node is None:
            return ()
        return node.list if node.list is not None else (node,)

    def items(self, node: Node | None, what: str) -> tuple[Node, ...]:
        if node is None:
            return ()
        if node.list is None:
            self._not(node, what, "a list")
            return ()
        return node.list

    def members(self, node: Node | None, what: str) -> Mapping[str, Node]:
        if node is None:
            return {}
        if node.map is None:
            self._not(node, what, "a map")
            return {}
        return node.map

    def texts(self, node: Node | None, what: str) -> tuple[str, ...]:
        """One text, or a list of them."""
        return tuple(self.kept(self.one_or_many(node), lambda item: self.text(item, what)))

    def kept(self, nodes: Iterable[Node], read: Callable[[Node], T | None]) -> list[T]:
        """What could be read of these nodes."""
        return [value for value in map(read, nodes) if value is not None]

    def _not(self, node: Node, what: str, wanted: str) -> None:
        self.wrong(f"{what} has to be {wanted}, and is {node.kind}.", node.place)


def _example(form: Form) -> str | None:
    return f"for example `{form.key}: {form.example}`" if form.example else None
