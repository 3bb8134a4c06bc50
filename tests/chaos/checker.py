"""The checker: ground truth against what the hub did, by hand-written rules of the business: seven figures and a rate.

It sees the simulators' records and journals and what the world did, and none of the mappings under test. The hub's own
tables are asked for three things only: what they say of records that are nowhere, of deliveries that are not
delivered, and whether what was overwritten was written down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.truth_customers import customers
from tests.chaos.truth_findings import HUB, Finding, Kind
from tests.chaos.truth_ground import Ground
from tests.chaos.truth_history import overwritten
from tests.chaos.truth_ledger import orphans, stuck
from tests.chaos.truth_orders import Orders
from tests.chaos.truth_products import products
from tests.chaos.truth_receipts import Receipts

WRITES_LIMIT = 12.0
"""Writes a change at most. An order is saved, submitted and audited, its number and state are told to the CRM, and an
edit re-opens it first; half of that again is left for answers that were lost. A loop has no such bound."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run is judged by: every count has to be zero, and writes a change bounded.

    `details` are the findings in words, each beginning with its figure's name.
    """

    lost: int = 0
    duplicates: int = 0
    stale: int = 0
    disorder: int = 0
    overwritten: int = 0
    orphans: int = 0
    stuck: int = 0
    writes_per_change: float = 0.0
    details: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    @property
    def wrong(self) -> dict[str, float]:
        """The figures that are not as they have to be."""
        found: dict[str, float] = {kind.value: count for kind in Kind if (count := getattr(self, kind.value))}
        if self.writes_per_change > WRITES_LIMIT:
            found["writes_per_change"] = self.writes_per_change
        return found

    def json(self) -> dict[str, Any]:
        """The figures by name, without the details."""
        return {name: value for name, value in asdict(self).items() if name != "details"}


def check(evidence: Evidence) -> Figures:
    """Lay everything side by side. Take the evidence when all is quiet, or what is still under way counts as wrong."""
    ground = Ground(evidence)
    orders, receipts = Orders(ground), Receipts(ground)
    found: list[Finding] = [
        *products(ground),
        *customers(ground),
        *orders.findings(),
        *receipts.findings(),
        *overwritten(ground),
        *orphans(ground),
        *stuck(ground, orders, receipts),
    ]
    counts = Counter(finding.kind for finding in found)
    return Figures(
        **{kind.value: counts[kind] for kind in Kind},
        writes_per_change=_writes(evidence.crm_journal, evidence.erp_journal) / max(1, evidence.changes),
        details=[str(finding) for finding in found],
    )


def _writes(*journals: Sequence[Any]) -> int:
    return sum(entry["actor"] == HUB for journal in journals for entry in journal)
