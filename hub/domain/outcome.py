"""What a connector reports of one write, and nothing else: the closed list of the architecture page."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class OutcomeKind(StrEnum):
    OK = "ok"
    PARTLY = "partly"  # some steps are done; `steps` lists them
    NOT_EXECUTED = "not_executed"  # refused, throttled, 401: for sure nothing happened
    DOWN = "down"  # the system as a whole does not answer; nothing was sent
    BLOCKED = "blocked"  # locked, in approval, closed period, no credit
    REJECTED = "rejected"  # validation
    DUPLICATE = "duplicate"  # the system says that it has this one already
    GONE = "gone"
    CONFLICT = "conflict"  # somebody was faster
    UNKNOWN = "unknown"  # it left, and no definite answer came


@dataclass(frozen=True, slots=True)
class Failure:
    """The vendor's own words: code, full message, and the field where it names one."""

    message: str
    code: str | None = None
    field: str | None = None


@dataclass(slots=True)
class Outcome:
    """The result of one write.

    `keys` are other keys of the record (`{'number': 'XSDD000001'}`); `rows` maps table -> source row key -> target
    row id; `steps` are the steps that are done, in order, the write itself being `save`; `cause` is what became of the
    step that stopped a PARTLY; `retry_after` is seconds, if the vendor asked for a wait.
    """

    kind: OutcomeKind
    id: str | None = None
    version: int | None = None
    keys: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    cause: OutcomeKind | None = None
    failure: Failure | None = None
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return self.kind is OutcomeKind.OK
