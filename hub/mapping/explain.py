"""Tells of one record, field by field, where each value came from and how it changed on its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as members
from typing import Any

from hub.domain.schema import Field, ObjectSchema
from hub.domain.values import mask
from hub.mapping.compile import CompiledMapping, compile_mapping
from hub.mapping.compile_rows import walk
from hub.mapping.functions import ABSENT
from hub.mapping.lookups import ReadFile
from hub.mapping.model import FieldRule, MappingSpec, Path
from hub.mapping.result import Context, Item, Result

MAX_SHOWN = 200


@dataclass(slots=True)
class FieldStory:
    """One target field (of a row: `Table[1].Field`): the paths it reads, then each step with the value that it gave."""

    field: str
    paths: tuple[str, ...] = ()
    steps: list[tuple[str, str]] = members(default_factory=list)
    personal: bool = False


@dataclass(slots=True)
class Explanation:
    """How a record was translated, and what came of it."""

    stories: list[FieldStory]
    result: Result


class Explainer:
    """Explains records by one mapping; compiled once, like the mapping itself, but with an eye on every step."""

    def __init__(
        self,
        spec: MappingSpec,
        *,
        source: ObjectSchema | None,
        target: ObjectSchema | None,
        related: Mapping[str, ObjectSchema] | None = None,
        plugins: Mapping[str, Callable[..., Any]] | None = None,
        read_file: ReadFile | None = None,
        partial: bool = False,
    ) -> None:
        self._stories: list[FieldStory] = []
        self._rules = dict(_rules(spec))
        self._personal = _personal(spec, source, target, related or {})
        self.mapping: CompiledMapping = compile_mapping(
            spec,
            source=source,
            target=target,
            related=related,
            plugins=plugins,
            read_file=read_file,
            partial=partial,
            trace=self._step,
            trace_field=self._field,
        )

    def explain(self, item: Item, context: Context) -> Explanation:
        """The story of one record. Personal values are masked in it; the result holds them as they are."""
        self._stories = []
        result = self.mapping.run([item], context)[0]
        return Explanation(self._stories, result)

    def _field(self, label: str) -> None:
        name = _name(label)
        rule = self._rules.get(name)
        paths = tuple(dict.fromkeys(path.text for path in walk(rule) if isinstance(path, Path))) if rule else ()
        self._stories.append(FieldStory(label, paths, personal=name in self._personal))

    def _step(self, step: str, value: Any) -> None:
        if not self._stories:
            return
        story = self._stories[-1]
        shown = _shown(value, story.personal)
        # A step that changed nothing tells nothing.
        if not story.steps or story.steps[-1][1] != shown or step == "written":
            story.steps.append((step, shown))


def _shown(value: Any, personal: bool) -> str:
    if value is ABSENT:
        return "(not read)"
    if value is None:
        return "null"
    if personal:
        return mask(value)
    text = str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _name(label: str) -> str:
    """`Table[3].Field` -> `Table.Field`."""
    head, bracket, tail = label.partition("[")
    return head + tail.partition("]")[2] if bracket else label


def _rules(spec: MappingSpec) -> list[tuple[str, FieldRule]]:
    found: list[tuple[str, FieldRule]] = []
    for name, rule in spec.fields.items():
        found.append((name, rule))
        found.extend((f"{name}.{inner.name}", inner) for inner in walk(rule) if isinstance(inner, FieldRule))
    return found


def _personal(
    spec: MappingSpec, source: ObjectSchema | None, target: ObjectSchema | None, related: Mapping[str, ObjectSchema]
) -> frozenset[str]:
    """The target fields that hold, or are made of, personal values."""
    known: dict[str, Mapping[str, Field]] = {"": source.fields if source else {}}
    known |= {name: schema.fields for name, schema in related.items()}
    own = {name for fields in known.values() for name, one in fields.items() if one.personal}
    found = set()
    for name, rule in _rules(spec):
        table, _, inner = name.partition(".")
        shapes = target.fields if target else {}
        shape = shapes.get(name) or (shapes[table].rows or {}).get(inner) if table in shapes else shapes.get(name)
        read = {path.name for path in walk(rule) if isinstance(path, Path)}
        if (shape is not None and shape.personal) or read & own:
            found.add(name)
    return frozenset(found)
