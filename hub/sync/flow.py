"""A flow as the engine knows it: a compiled mapping between two systems, with its policies and its partner."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hub.connector.breaker import Breaker
from hub.domain import values
from hub.domain.record import Value
from hub.domain.schema import ObjectSchema

if TYPE_CHECKING:
    from hub.mapping.compile import CompiledMapping


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

    `start`: records last changed before it are not sent. `create=False`: never makes a record in the target. `attempts` bounds
    retries of writes that were surely not executed; `blocked_for` how long the target may refuse before the delivery dies.
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


@dataclass(slots=True)
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
            owners = one.mapping.owners
            one._not_ours = frozenset(name for name, owner in owners.items() if owner == one.target.name)
            shared = one.mapping.target_fields & other.mapping.needs.fields
            one._unowned = frozenset(shared - owners.keys())

    @property
    def kind(self) -> str:
        """The kind of entity that both sides are."""
        return self.mapping.entity

    @property
    def reads_before_write(self) -> bool:
        """Two-way flows look at the target first: what a person changed there is not overwritten unseen."""
        return self.partner is not None

    @property
    def not_ours(self) -> frozenset[str]:
        """Target fields that the target's own side owns: filled by a create, never by an update."""
        return self._not_ours

    @property
    def unowned(self) -> frozenset[str]:
        """Target fields that both directions map and nobody owns: if both sides change one, a person decides."""
        return self._unowned

    @property
    def target_fields(self) -> frozenset[str]:
        """What is read of a target record: all that the mapping writes, matches or vetoes by, and what names it."""
        schema = self.target_schema
        named = {schema.id_field, schema.number_field, schema.title_field, schema.facts.state_field}
        known = self.mapping.target_fields | {name for name in named if name}
        return frozenset(name for name in known if name in schema.fields)

    @property
    def write_options(self) -> dict[str, Any]:
        """What the mapping tells the target's connector beside the fields."""
        return {**self.mapping.options, "when_locked": self.mapping.when_locked}

    def same(self, name: str, ours: Value, theirs: Value) -> bool:
        """Whether a target field says the same, in the schema's canonical form."""
        found = self.target_schema.fields.get(name)
        return ours == theirs if found is None else values.same(found, ours, theirs)
