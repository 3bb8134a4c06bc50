"""What a chaos run hands to the checker: the ground truth of both systems, and what the hub believes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
Records = Mapping[object, Mapping[Any, Row]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything as it stands when all is quiet, taken while nothing runs that could change it.

    `crm_records` and `erp_records`: live records, object -> record id -> fields, in the simulators' vocabulary.
    `crm_journal` and `erp_journal`: every committed write in order, as `GET /_sim/journal` gives it. `identities`,
    `deliveries` and `attempts`: rows of the hub's own tables, by column name. `changes`: how many the world made.
    `expected_dead` and `expected_held`: (flow, source id) pairs that the world brought about on purpose. `people`: what
    the world did as persons, in order: side (`crm` or `erp`), op, object, id, fields (None where there are none), at
    (epoch ms by the driver's clock when the simulator had answered).
    """

    crm_records: Records
    erp_records: Records
    crm_journal: Sequence[Row]
    erp_journal: Sequence[Row]
    identities: Sequence[Row]
    deliveries: Sequence[Row]
    attempts: Sequence[Row]
    changes: int
    expected_dead: frozenset[tuple[str, str]] = frozenset()
    expected_held: frozenset[tuple[str, str]] = frozenset()
    people: Sequence[Row] = field(default_factory=tuple)
