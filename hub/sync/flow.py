"""A flow as the engine knows it: a compiled mapping between two systems, with its policies and its partner."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from hub.connector.breaker import Breaker
from hub.domain import values
from hub.domain.record import Value
from hub.domain.schema import ObjectSchema
from hub.mapping.compile import CompiledMapping
from hub.mapping.model import Expr, From


class FirstSight(StrEnum):
    """What becomes of a record that a flow sees for the first time."""

    SEND = "send"
    BASELINE = "baseline"  # remember it as it is, send what changes from here on


class OnAdopt(StrEnum):
    """What adopting a target record that was there before writes to it."""

    NOTHING = "nothing"
    FILL_EMPTY = "fill_empty"
    SOURCE = "source"
    HOLD = "hold"


class OnGone(StrEnum):
    RECREATE = "recreate"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Policy:
    """How a flow behaves. Times are seconds, `start` is epoch milliseconds.

    `start`: records last changed before it are not sent. `create=False`: never makes a record in the target.
    `attempts` bounds retries of writes that were surely not executed; `blocked_for` how long the target may refuse
    before the delivery dies.
    """

    start: int | None = None
    first_sight: FirstSight = FirstSight.SEND
    create: bool = True
    priority: int = 0
    on_adopt: OnAdopt = OnAdopt.NOTHING
    on_gone: OnGone = OnGone.HOLD
    attempts: int = 12
    backoff: float = 2.0
    backoff_limit: float = 3600.0
    blocked_every: float = 900.0
    blocked_for: float = 7 * 86400.0
    delete_share: float = 0.1
    batch: int = 500


@dataclass(slots=True)
class System:
    """One configured connection: its name and the connector that speaks for it."""

    name: str
    connector: Any
    breaker: Breaker

    def down_for(self, now: int) -> float:
        """Seconds until the system may be asked again; 0 when it may be asked now."""
        retry_at = self.breaker.retry_at
        return 0.0 if retry_at is None else max(0.0, (retry_at - now) / 1000)


@dataclass(frozen=True, slots=True)
class Waking:
    """A detail object whose changes bring their master along; its rows are captured with the record."""

    name: str
    object: str
    master_field: str
    fields: frozenset[str] | None


@dataclass
class Flow:
    """A mapping put to work. `partner` is the flow of the opposite direction, if the pair is two-way."""

    name: str
    mapping: CompiledMapping
    source: System
    target: System
    source_schema: ObjectSchema
    target_schema: ObjectSchema
    policy: Policy = field(default_factory=Policy)
    params: dict[str, Any] = field(default_factory=dict)
    related_schemas: dict[str, ObjectSchema] = field(default_factory=dict)
    partner: Flow | None = None

    _not_ours: frozenset[str] = frozenset()
    _unowned: frozenset[str] = frozenset()

    def pair_with(self, partner: Flow) -> None:
        """Make the two one two-way flow: who owns which field follows from both mappings."""
        for one, other in ((self, partner), (partner, self)):
            one.partner = other
            owners = {
                name: one.mapping.owners.get(name) or other.mapping.owners.get(path)
                for name, path in _straight(one.mapping).items()
                if _straight(other.mapping).get(path) == name
            }
            one._not_ours = frozenset(name for name, owner in owners.items() if owner == one.target.name)
            one._unowned = frozenset(name for name, owner in owners.items() if owner is None)

    @property
    def kind(self) -> str:
        """The kind of entity that both sides are."""
        return self.mapping.spec.entity

    @property
    def reads_before_write(self) -> bool:
        """Two-way flows look at the target first: what a person changed there is not overwritten unseen. So do flows
        that add to a list, or care for rows which the other side added.
        """
        foreign = any(table.foreign != "keep" for table in self.mapping.tables.values())
        return self.partner is not None or foreign or bool(self.mapping.append_only)

    @property
    def not_ours(self) -> frozenset[str]:
        """Target fields that the target's own side owns: filled by a create, never by an update."""
        return self._not_ours

    @property
    def unowned(self) -> frozenset[str]:
        """Target fields that both directions map and nobody owns: if both sides change one, a person decides."""
        return self._unowned

    @cached_property
    def source_fields(self) -> frozenset[str] | None:
        """What is read of a source record: all that the mapping reads, and what names it. None: everything."""
        needed = self.mapping.needs.fields
        schema = self.source_schema
        named = (schema.id_field, schema.number_field, self.title_field)
        return None if needed is None else needed | {name for name in named if name is not None}

    @cached_property
    def target_fields(self) -> frozenset[str]:
        """What is read of a target record: all that the mapping writes, matches or vetoes by, and what names it."""
        schema = self.target_schema
        named = {schema.id_field, schema.number_field, schema.title_field, schema.facts.state_field}
        keys = {name for match in self.mapping.match for name in (*match.fields, *match.veto)}
        known = self.mapping.written | keys | self.mapping.spec.ensure.keys() | {name for name in named if name}
        return frozenset(name for name in known if name in schema.fields)

    @cached_property
    def title_field(self) -> str | None:
        """The source field that people know a record by, where it stands in the record itself."""
        title = self.mapping.spec.title
        if title is None:
            return self.source_schema.title_field
        if isinstance(title.origin, From) and len(title.origin.paths) == 1:
            path = title.origin.paths[0]
            return path.name if path.root in ("scope", "record") else None
        return None

    @cached_property
    def waking(self) -> list[Waking]:
        """Relations whose changes bring the record: its own detail objects."""
        found: list[Waking] = []
        for one in self.mapping.needs.related:
            masters = [name for name, path in one.where.items() if path == self.source_schema.id_field]
            if one.wakes and masters:
                found.append(Waking(one.name, one.object, masters[0], one.fields))
        return found

    @cached_property
    def write_options(self) -> dict[str, Any]:
        """What the mapping tells the target's connector beside the fields."""
        return {**self.mapping.options, "when_locked": self.mapping.when_locked}

    def same(self, name: str, ours: Value, theirs: Value) -> bool:
        """Whether a target field says the same, in the schema's canonical form."""
        found = self.target_schema.fields.get(name)
        if found is None:
            return ours == theirs
        try:
            return values.same(found, ours, theirs)
        except values.DoesNotFit:
            return False


def _straight(mapping: CompiledMapping) -> dict[str, str]:
    """Target field -> the one source field that it is filled from: what can be mapped back."""
    found: dict[str, str] = {}
    for name, rule in mapping.spec.fields.items():
        origin = rule.rule.origin if isinstance(rule.rule, Expr) else None
        if isinstance(origin, From) and len(origin.paths) == 1 and origin.paths[0].root in ("scope", "record"):
            found[name] = origin.paths[0].name
    return found
