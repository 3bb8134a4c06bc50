"""One write on its way through save, submit and audit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hub.connector.contract import Write
from hub.domain.outcome import Failure, Outcome, OutcomeKind


@dataclass(slots=True)
class Job:
    """One write on its way: what is known of its document, the steps that are done, its outcome once settled."""

    write: Write
    id: str | None
    state: str | None = None  # FDocumentStatus, as far as we know it
    was: str | None = None  # the locked state that it was taken out of
    number: str | None = None
    done: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    outcome: Outcome | None = None

    def settle(self, outcome: Outcome) -> None:
        """An outcome for good. What was saved stays saved: a later failure makes it partly done."""
        keys = {"number": self.number} if self.number else {}
        outcome = replace(outcome, id=outcome.id or self.id, keys=keys, rows=self.rows, steps=tuple(self.done))
        if self.done and not outcome.ok:
            outcome = replace(outcome, kind=OutcomeKind.PARTLY, cause=outcome.kind)
        self.outcome = outcome


def still_open(jobs: Iterable[Job]) -> list[Job]:
    """Jobs without an outcome."""
    return [job for job in jobs if job.outcome is None]


def failed(kind: OutcomeKind, message: str, *, code: str | None = None, field: str | None = None) -> Outcome:
    """An outcome in our own words."""
    return Outcome(kind, failure=Failure(message, code, field))
