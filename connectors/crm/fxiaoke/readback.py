"""What a write does not answer and has to be read: ids of rows, numbers, and which rows are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from connectors.crm.fxiaoke.describing import Describer
from connectors.crm.fxiaoke.pairing import pair_rows
from connectors.crm.fxiaoke.reading import PAGE, Reader
from hub.connector.contract import Write
from hub.connector.kit import Kit
from hub.domain.errors import HubError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.schema import ObjectSchema


@dataclass(slots=True)
class Job:
    """One write under way: the steps that are done, and the rows whose ids are known.

    `present` are rows that the record has already, by the hub's key in them; `keyless` tells that a row was added which
    carries no key; `fresh` that the record was made just now, so that ids of its rows may still have to be read.
    """

    write: Write
    schema: ObjectSchema
    id: str | None
    done: list[str]
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    present: dict[str, dict[str, str]] = field(default_factory=dict)
    keyless: bool = False
    fresh: bool = False


Made = Sequence[tuple[Job, Outcome]]


class Readback:
    """Reads for a whole batch at once."""

    def __init__(self, kit: Kit, describer: Describer, reader: Reader) -> None:
        self._kit = kit
        self._describer = describer
        self._reader = reader

    async def present_rows(self, jobs: Sequence[Job]) -> None:
        """Find rows that an earlier attempt has added, so that no row is added twice: one query a table.

        An attempt adds row 1 and dies before its answer is written down; the next one has row 1 among its new rows
        again. The hub's key in the row tells that it is there. Raises what a read raises.
        """
        for table in {name for job in jobs for name, rows in job.write.rows.items() if rows.upsert}:
            adding = [
                job
                for job in jobs
                if job.id is not None
                and table in job.write.rows
                and any(row.id is None for row in job.write.rows[table].upsert)
            ]
            detail = await self._describer.schema(table)
            key = detail.capabilities.stamp_field
            if not adding or key is None:
                continue
            masters = [str(job.id) for job in adding]
            found = await self._reader.children(table, str(detail.master_field), masters, frozenset({key}))
            for job in adding:
                job.present[table] = {str(row.fields[key]): row.id for row in found[str(job.id)] if row.fields.get(key)}

    async def new_rows(self, made: Made) -> None:
        """The ids of rows that were made with their masters: one query a table.

        Without them the write is unknown: the hub must not think of those rows as missing and add them again.
        """
        for table in {name for job, _ in made for name, rows in job.write.rows.items() if rows.upsert}:
            unread = [(job, outcome) for job, outcome in made if table in job.write.rows and table not in job.rows]
            if not unread:
                continue
            try:
                detail = await self._describer.schema(table)
                masters = [str(job.id) for job, _ in unread]
                found = await self._reader.children(table, str(detail.master_field), masters)
            except HubError as error:
                for _, outcome in unread:
                    _doubt(outcome, f"the record was made, but the ids of its rows can't be read: {error.message}")
                continue
            for job, outcome in unread:
                sent = job.write.rows[table].upsert
                paired = outcome.rows[table] = pair_rows(detail, sent, found[str(job.id)])
                if len(paired) < len(sent):
                    lost = len(sent) - len(paired)
                    _doubt(
                        outcome, f"the record was made, but {lost} of its {len(sent)} rows in {table} can't be found"
                    )

    async def new_numbers(self, schema: ObjectSchema, made: Made) -> None:
        """The numbers that the server gave, in lists of a hundred. Without an answer they stay unsaid."""
        number = schema.number_field
        if number is None or not schema.fields[number].computed:
            return
        by_id = {str(outcome.id): outcome for _, outcome in made}
        ids = list(by_id)
        for at in range(0, len(ids), PAGE):
            try:
                answers = await self._reader.get(schema.name, ids[at : at + PAGE], frozenset({number}))
            except HubError as error:
                self._kit.logger.warning("numbers of new %s records are unread: %s", schema.name, error.message)
                return
            for answer in answers:
                value = answer.record.fields.get(number) if answer.record is not None else None
                if isinstance(value, str):
                    by_id[answer.id].keys["number"] = value


def _doubt(outcome: Outcome, why: str) -> None:
    outcome.kind, outcome.failure = OutcomeKind.UNKNOWN, Failure(why)
