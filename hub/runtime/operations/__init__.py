"""All that people and outside systems can ask of the hub: one table, for the command line and the API."""

from __future__ import annotations

from hub.runtime.operations import deliveries, ids, inbox, mappings, overview, tables, work
from hub.runtime.operations.operation import OperationTable

OPERATIONS = OperationTable(
    [
        *overview.OPERATIONS,
        *work.OPERATIONS,
        *deliveries.OPERATIONS,
        *inbox.OPERATIONS,
        *ids.OPERATIONS,
        *mappings.OPERATIONS,
        *tables.OPERATIONS,
    ]
)
