"""A flow as the engine knows it: a compiled mapping between two systems, with its policies and its partner."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hub.connector.breaker import Breaker
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
class Stream:
    """One source object that a flow reads: its own, or a detail object whose changes bring their master along."""

    name: str
    object: str
    master_field: str | None = None


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

    @property
    def kind(self) -> str:
        """The kind of entity that both sides are."""
        return self.mapping.entity
