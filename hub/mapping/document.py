"""YAML as a tree of values that know where they stand: YAML 1.2 scalars, exact decimals, no objects, no aliases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import yaml

from hub.domain.errors import Place, Problem

Scalar: TypeAlias = "str | int | bool | Decimal | None"
Step: TypeAlias = "str | int"

MAX_CHARACTERS = 4_000_000
MAX_DEPTH = 60

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
# Without exponents and of bounded length, so that what a person wrote is what is computed with.
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,27})\.[0-9]{1,28}")


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document and its place; lists hold nodes, maps hold nodes by key (`keys` has the keys' places).

    Lists are tuples; maps keep the order of the file.
    """

    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    place: Place
    keys: Mapping[str, Place] = field(default_factory=dict)
    quoted: bool = False

    @property
    def map(self) -> Mapping[str, Node] | None:
        return self.value if isinstance(self.value, Mapping) else None

    @property
    def list(self) -> tuple[Node, ...] | None:
        return self.value if isinstance(self.value, tuple) else None

    @property
    def kind(self) -> str:
        """What a person calls it: `a map`, `a list`, `text`, `a number`, `true or false`, `null`."""
        match self.value:
            case None:
                return "null"
            case bool():
                return "true or false"
            case int() | Decimal():
                return "a number"
            case str():
                return "text"
            case tuple():
                return "a list"
            case _:
                return "a map"

    def at(self, *path: Step) -> Node | None:
        """The node under `path` (keys and list positions), None where it leads nowhere."""
        node: Node | None = self
        for step in path:
            if node is None:
                return None
            if isinstance(step, int):
                items = node.list or ()
                node = items[step] if 0 <= step < len(items) else None
            else:
                node = (node.map or {}).get(step)
        return node

    def place_at(self, *path: Step) -> Place:
        """The place of the key (or list item) under `path`; of the nearest thing above it that exists."""
        node, place = self, self.place
        for step in path:
            below = node.at(step)
            if below is None:
                break
            place = node.keys.get(step, below.place) if isinstance(step, str) else below.place
            node = below
        return place

    def plain(self) -> Any:
        """Python values without places; decimals stay Decimal."""
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        if isinstance(self.value, Mapping):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value

    def walk(self) -> Iterator[Node]:
        """This node and every one below it."""
        yield self
        below = self.value if isinstance(self.value, tuple) else (self.map or {}).values()
        for node in below:
            yield from node.walk()


def parse(text: str, file: str, problems: list[Problem]) -> Node | None:
    """The one document in `text`; what is wrong is added to `problems`. None if there is nothing that can be read."""
    if len(text) > MAX_CHARACTERS:
        problems.append(Problem(f"The file is larger than {MAX_CHARACTERS // 1_000_000} MB.", Place(file), rule="size"))
        return None
    builder = _Builder(file, problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _TooDeep:
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        problems.append(Problem(f"This is not YAML: {error.problem or error.context}.", place, rule="yaml"))
        return None
    except yaml.YAMLError as error:
        problems.append(Problem(f"This is not YAML: {str(error).splitlines()[0]}.", Place(file), rule="yaml"))
        return None
    return builder.root


def scalar(text: str) -> Scalar:
    """A plain scalar by YAML 1.2's core schema. `on`, `yes`, `NO`, `0012` and `1e3` are text."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    return text


_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class _TooDeep(Exception):
    pass


@dataclass(slots=True)
class _Open:
    """A list or map whose end has not come yet."""

    place: Place
    items: list[Node] | None = None
    members: dict[str, Node] | None = None
    keys: dict[str, Place] = field(default_factory=dict)
    key: str | None = None
    awaits_value: bool = False


class _Builder:
    """Builds the tree from the parser's events: nothing is constructed but text, numbers, lists and maps."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.root: Node | None = None
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents == 2:
                    self._wrong("A file holds one document.", self._place(event), "documents", "remove the `---`")
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                place = self._place(event)
                self._wrong("Anchors and aliases are not used here.", place, "alias", "write the value out")
                self._add(Node(None, place))
            case yaml.SequenceStartEvent():
                self._start(event, _Open(self._place(event), items=[]))
            case yaml.MappingStartEvent():
                self._start(event, _Open(self._place(event), members={}))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._end()

    def _start(self, event: Any, opened: _Open) -> None:
        self._check_marks(event)
        if len(self._open) >= MAX_DEPTH:
            self._wrong(f"Nested more than {MAX_DEPTH} deep.", opened.place, "depth")
            raise _TooDeep
        self._open.append(opened)

    def _end(self) -> None:
        done = self._open.pop()
        if done.items is not None:
            self._add(Node(tuple(done.items), done.place))
        else:
            self._add(Node(done.members or {}, done.place, done.keys))

    def _scalar(self, event: Any) -> None:
        self._check_marks(event)
        quoted = event.style in ("'", '"', "|", ">")
        self._add(Node(event.value if quoted else scalar(event.value), self._place(event), quoted=quoted), event.value)

    def _add(self, node: Node, text: str | None = None) -> None:
        if not self._open:
            self.root = self.root if self._documents > 1 else node
            return
        top = self._open[-1]
        if top.items is not None:
            top.items.append(node)
        elif not top.awaits_value:
            top.awaits_value = True
            top.key = self._key(top, node, text)
        else:
            top.awaits_value = False
            if top.key is not None and top.members is not None:
                top.members[top.key] = node

    def _key(self, top: _Open, node: Node, text: str | None) -> str | None:
        if text is None:
            self._wrong("A key has to be text.", node.place, "key")
            return None
        if text in top.keys:
            first = top.keys[text]
            self._wrong(f"`{text}` stands here twice.", node.place, "duplicate", f"the first is on line {first.line}")
            return None
        top.keys[text] = node.place
        return text

    def _check_marks(self, event: Any) -> None:
        if event.anchor is not None:
            self._wrong("Anchors and aliases are not used here.", self._place(event), "alias", "write the value out")
        if event.tag is not None and event.tag != "!":
            self._wrong(
                f"Tags such as `{event.tag}` are not used here.", self._place(event), "tag", "quote it for text"
            )

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _wrong(self, message: str, place: Place, rule: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message, place, hint=hint, rule=rule))
