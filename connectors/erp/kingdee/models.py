"""A write as the model that Save wants, and the ids that its rows have afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.erp.kingdee.client import not_executed
from connectors.erp.kingdee.jobs import Job
from connectors.erp.kingdee.queries import Queries, Want
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.values import head_model, in_order, row_model
from hub.connector.contract import Write
from hub.domain.errors import HubError
from hub.domain.record import RowsWrite


def unknown_fields(want: Want, write: Write) -> list[str]:
    """Fields that this form does not have: Kingdee would pass over them without a word."""
    fields = want.schema.fields
    # Without live metadata the catalogue is all we know, and a tenant's own fields are not in it.
    heads = [] if want.schema.origin == "catalogue" else [name for name in write.fields if name not in fields]
    tables = [name for name in write.rows if name not in fields or fields[name].rows is None]
    return [*heads, *tables]


class Models:
    """Makes models, and pairs rows with their ids."""

    def __init__(self, queries: Queries, settings: KingdeeSettings) -> None:
        self._queries = queries
        self._settings = settings

    def model(self, want: Want, job: Job, keep: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The document in the order of typing; `keep` are row ids, by table, that must survive a removal."""
        schema, layout, write = want.schema, want.layout, job.write
        fields = dict(write.fields)
        stamp = schema.capabilities.stamp_field
        if job.id is None and write.stamp and stamp:
            fields[stamp] = write.stamp
        own = {schema.id_field: 0 if job.id is None else _inner(job.id)}
        tables = {table: self._rows(want, table, job, keep.get(table, ())) for table in write.rows}
        return in_order(layout, {**own, **head_model(schema, layout, fields)}, tables)

    def _rows(self, want: Want, table: str, job: Job, keep: Sequence[str]) -> list[dict[str, Any]]:
        described = want.schema.fields[table]
        order, stamp = want.layout.rows_saved.get(table, ()), self.row_stamp(want, table)
        models: list[dict[str, Any]] = []
        for row in job.write.rows[table].upsert:
            fields = dict(row.fields)
            if row.id is None and stamp:
                fields.setdefault(stamp, row.key)
            own = {} if row.id is None else {"FEntryID": _inner(row.id)}
            models.append(row_model(described, order, fields, **own))
        written = {row.id for row in job.write.rows[table].upsert}
        return [*({"FEntryID": _inner(id)} for id in keep if id not in written), *models]

    async def rows_to_keep(self, want: Want, jobs: Sequence[Job]) -> dict[str, dict[str, list[str]]]:
        """Where rows are taken out, all others must be named: a save deletes what it does not name."""
        keep: dict[str, dict[str, list[str]]] = {}
        removing = [job for job in jobs if job.id is not None and any(rows.remove for rows in job.write.rows.values())]
        for table in sorted({table for job in removing for table in job.write.rows}):
            try:
                found, _ = await self._queries.rows(want, table, [str(job.id) for job in removing], ())
            except HubError as error:
                for job in removing:
                    job.settle(not_executed(error))
                return {}
            for job in removing:
                gone = set(job.write.rows[table].remove) if table in job.write.rows else set()
                ids = [str(row["FEntryID"]) for row in found.get(str(job.id), ())]
                keep.setdefault(str(job.id), {})[table] = [id for id in ids if id not in gone]
        return keep

    def paired(self, want: Want, job: Job, returned: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """Row ids by the source's row keys: known ones, then by the stamp that they carry, then by order."""
        pairs: dict[str, dict[str, str]] = {}
        for table, rows in job.write.rows.items():
            known = {row.key: row.id for row in rows.upsert if row.id is not None}
            lines = [each for each in returned.get(table) or () if isinstance(each, dict) and each.get("FEntryID")]
            pairs[table] = {**known, **_new_rows(rows, lines, self.row_stamp(want, table))}
        return pairs

    async def find_rows(self, want: Want, jobs: Sequence[Job]) -> None:
        """Where Save did not return the ids of new rows, ask for them."""
        for table in sorted({table for job in jobs for table in job.write.rows}):
            lacking = [job for job in jobs if table in job.write.rows and _lacks(job, table)]
            if not lacking:
                continue
            stamp = self.row_stamp(want, table)
            try:
                found, _ = await self._queries.rows(
                    want, table, [str(job.id) for job in lacking], (stamp,) if stamp else ()
                )
            except HubError:
                continue  # the save itself is done; rows without an id are paired at the next adoption
            for job in lacking:
                job.rows[table] |= _new_rows(job.write.rows[table], found.get(str(job.id), ()), stamp)

    def row_stamp(self, want: Want, table: str) -> str | None:
        """The field of a table that carries the hub's key of a row, if the tenant has it."""
        stamp = want.layout.row_stamp.get(table) and self._settings.row_stamp_field
        return stamp if stamp and stamp in (want.schema.fields[table].rows or {}) else None


def _inner(id: str) -> int | str:
    return int(id) if id.isdigit() else id


def _new_rows(rows: RowsWrite, lines: Sequence[Mapping[str, Any]], stamp: str | None) -> dict[str, str]:
    """Ids of new rows: by the stamp they carry, else the last ones in the order in which they were sent."""
    new = [row for row in rows.upsert if row.id is None]
    if not new or not lines:
        return {}
    if stamp:
        stamped = {str(line.get(stamp)): str(line["FEntryID"]) for line in lines if line.get(stamp)}
        # A mapping may write that field itself, with a value of its own.
        sent = {row.key: str(row.fields.get(stamp, row.key)) for row in new}
        return {key: stamped[value] for key, value in sent.items() if value in stamped}
    if len(lines) < len(new):
        return {}
    return {row.key: str(line["FEntryID"]) for row, line in zip(new, lines[-len(new) :], strict=True)}


def _lacks(job: Job, table: str) -> bool:
    return any(row.key not in job.rows.get(table, {}) for row in job.write.rows[table].upsert)
