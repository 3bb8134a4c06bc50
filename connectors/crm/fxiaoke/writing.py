"""Writing to Fxiaoke: one record a call, many calls side by side, every step of a write reported."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from connectors.crm.fxiaoke.client import Answered, FxiaokeClient, Refusal
from connectors.crm.fxiaoke.describing import Describer
from connectors.crm.fxiaoke.pairing import detail_ids
from connectors.crm.fxiaoke.paths import LOCK, UNLOCK, data_path
from connectors.crm.fxiaoke.readback import Job, Readback
from connectors.crm.fxiaoke.reading import Reader
from connectors.crm.fxiaoke.schema import ID, STATE
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from hub.connector.codes import Retry
from hub.connector.contract import GetKind, Op, Write
from hub.connector.http import BadAnswer, TransportFailure
from hub.connector.kit import Kit
from hub.domain.errors import HubError, QuotaSpent, VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Fields, RowsWrite, RowWrite
from hub.domain.schema import FieldType, ObjectSchema

SAVE = "save"
OWNER = "owner"
_IN_APPROVAL = frozenset({"under_review", "in_change", "ineffective"})


class _Stopped(Exception):
    """A step of a write did not succeed; `outcome` says how."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class Writer:
    """The writing half of the connector."""

    def __init__(
        self, settings: FxiaokeSettings, kit: Kit, client: FxiaokeClient, describer: Describer, reader: Reader
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._client = client
        self._describer = describer
        self._reader = reader
        self._readback = Readback(kit, describer, reader)
        self._few = asyncio.Semaphore(settings.concurrency)

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        """One outcome a write, in order. Writes of one record go in turn, others side by side."""
        try:
            schema = await self._describer.schema(object)
        except HubError as error:
            return [self._not_begun(error) for _ in batch]
        jobs = [Job(write, schema, write.id, list(write.done)) for write in batch]
        try:
            await self._readback.present_rows([job for job in jobs if job.write.op is Op.UPDATE])
        except HubError as error:
            return [self._not_begun(error) for _ in batch]
        turns: dict[str, list[int]] = {}
        for at, job in enumerate(jobs):
            turns.setdefault(job.id or f"new {at}", []).append(at)
        outcomes: dict[int, Outcome] = {}

        async def in_turn(places: list[int]) -> None:
            for at in places:
                async with self._few:
                    outcomes[at] = await self._done(jobs[at])

        await asyncio.gather(*(in_turn(places) for places in turns.values()))
        fresh = [(jobs[at], outcome) for at, outcome in outcomes.items() if jobs[at].fresh and outcome.ok]
        await self._readback.new_rows(fresh)
        await self._readback.new_numbers(schema, fresh)
        return [outcomes[at] for at in range(len(jobs))]

    # --- one write ----------------------------------------------------------------------------------------------

    async def _done(self, job: Job) -> Outcome:
        try:
            await self._perform(job)
        except _Stopped as stopped:
            return self._reported(job, stopped.outcome)
        return Outcome(OutcomeKind.OK, id=job.id, rows=job.rows, steps=tuple(job.done), keys=self._sent_keys(job))

    def _reported(self, job: Job, outcome: Outcome) -> Outcome:
        """The outcome of a write that stopped.

        A save of several calls counts as a whole: until it is done nothing of it is, and what stopped it is the
        outcome. The next attempt does it all again, which harms nothing but rows: they would be added twice. So they
        are found by the hub's key; where their object has no field for that, the outcome is unknown, and the hub looks.
        """
        outcome.id = outcome.id or job.id
        outcome.rows, outcome.steps = job.rows, tuple(job.done)
        if outcome.kind is OutcomeKind.UNKNOWN:
            return outcome
        if job.keyless and SAVE not in job.done:
            outcome.kind = OutcomeKind.UNKNOWN
        elif len(job.done) > len(job.write.done):
            outcome.kind, outcome.cause = OutcomeKind.PARTLY, outcome.kind
        return outcome

    async def _perform(self, job: Job) -> None:
        write = job.write
        if write.op is Op.CREATE:
            await self._create(job)
        elif write.op is Op.UPDATE:
            await self._step(job.done, SAVE, partial(self._update, job))
        elif write.op is Op.DELETE:
            await self._delete(job, job.schema.name, self._id(job), job.done)
        else:
            await self._step(job.done, str(write.operation), partial(self._operate, job, str(write.operation)))
        for step in write.steps:
            await self._step(job.done, step, partial(self._operate, job, step))

    def _id(self, job: Job) -> str:
        """The id, which every call but the creation needs."""
        if job.id is None:
            raise _Stopped(Outcome(OutcomeKind.REJECTED, failure=Failure("the write names no record id")))
        return job.id

    async def _step(self, done: list[str], name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do a step unless an earlier attempt has done it."""
        if name not in done:
            await work()
            done.append(name)

    async def _create(self, job: Job) -> None:
        write, schema = job.write, job.schema
        if SAVE in job.done:
            job.fresh = True
            job.id = job.id or await self._by_stamp(job)
            return
        data = self._object_data(schema, {k: v for k, v in write.fields.items() if v is not None})
        data.setdefault("owner", [self._settings.user_id])
        stamp_field = schema.capabilities.stamp_field
        if stamp_field is not None and write.stamp is not None:
            data.setdefault(stamp_field, write.stamp)
        body = self._saving({"object_data": data}, write)
        details = {name: await self._row_data(name, rows) for name, rows in write.rows.items() if rows.upsert}
        if details:
            body["data"]["details"] = details
            body["includeDetailIds"] = True
        answered = await self._send(job, data_path(schema.name, "create"), body)
        job.done.append(SAVE)
        job.fresh = True
        job.id = str(answered.body["dataId"]) if answered.body.get("dataId") else await self._by_stamp(job)
        for name, rows in write.rows.items():
            ids = detail_ids(answered.body, name, len(rows.upsert))
            if ids:
                job.rows[name] = {row.key: id for row, id in zip(rows.upsert, ids, strict=True)}

    async def _by_stamp(self, job: Job) -> str:
        """The id of a record that was made, by the hub's key: custom objects may answer a create without it."""
        key, stamp = job.schema.capabilities.stamp_field, job.write.stamp
        if key is not None and stamp is not None:
            try:
                (found,) = await self._reader.find(job.schema.name, [{key: stamp}], frozenset({key}))
            except HubError:
                found = None
            if found is not None and len(found.records) == 1:
                return found.records[0].id
        raise _Stopped(Outcome(OutcomeKind.UNKNOWN, failure=Failure("the record was made, but its id was not told")))

    async def _update(self, job: Job) -> None:
        write, schema = job.write, job.schema
        fields = {name: value for name, value in write.fields.items() if name != OWNER}
        if fields:
            data = {**self._object_data(schema, fields), ID: self._id(job)}
            await self._send(job, data_path(schema.name, "update"), self._saving({"object_data": data}, write))
        if OWNER in write.fields:
            await self._operate(job, "changeOwner")
        for table, rows in write.rows.items():
            await self._update_rows(job, table, rows)

    async def _update_rows(self, job: Job, table: str, rows: RowsWrite) -> None:
        """Rows one by one through their own object: what `details` of an update does is not documented."""
        detail = await self._schema(table)
        known = job.rows.setdefault(table, {})
        for row in rows.upsert:
            row_id = row.id or job.present.get(table, {}).get(row.key)
            if row_id is not None:
                known[row.key] = row_id
                data = {**self._object_data(detail, row.fields), ID: row_id}
                await self._send(
                    job, data_path(table, "update"), self._saving({"object_data": data}, job.write), row_id, table
                )
            else:
                known[row.key] = await self._add_row(job, detail, row)
        for id in rows.remove:
            try:
                await self._delete(job, table, id, [])
            except _Stopped as stopped:
                if stopped.outcome.kind is not OutcomeKind.GONE:
                    raise

    async def _add_row(self, job: Job, detail: ObjectSchema, row: RowWrite) -> str:
        (data,) = await self._row_data(detail.name, RowsWrite([row]))
        data.update({str(detail.master_field): self._id(job), "dataObjectApiName": detail.name})
        data.setdefault("owner", [self._settings.user_id])
        body = self._saving({"object_data": data}, job.write)
        answered = await self._send(job, data_path(detail.name, "create"), body)
        if not answered.body.get("dataId"):
            failure = Failure(f"{detail.name}: a row was made, but its id was not told")
            raise _Stopped(Outcome(OutcomeKind.UNKNOWN, failure=failure))
        job.keyless = job.keyless or detail.capabilities.stamp_field is None
        return str(answered.body["dataId"])

    async def _delete(self, job: Job, object: str, id: str, done: list[str]) -> None:
        """Two steps: into the recycle bin, then out of it."""
        try:
            await self._step(done, "invalid", partial(self._invalidate, job, object, id))
        except _Stopped as stopped:
            # Gone, or already in the bin: then a person, or an earlier attempt, did the first step.
            if stopped.outcome.kind is not OutcomeKind.GONE or not await self._in_bin(object, id):
                raise
            done.append("invalid")
        body = {"data": {"dataObjectApiName": object, "idList": [id]}}
        await self._step(done, "delete", partial(self._send, job, data_path(object, "delete"), body, id, object))

    async def _invalidate(self, job: Job, object: str, id: str) -> None:
        body = {"data": {"dataObjectApiName": object, "object_data_id": id}}
        await self._send(job, data_path(object, "invalid"), body, id, object)

    async def _operate(self, job: Job, operation: str) -> None:
        """A named operation on the record."""
        name, id = job.schema.name, self._id(job)
        if operation == "invalid":
            await self._invalidate(job, name, id)
        elif operation == "delete":
            await self._delete(job, name, id, [])
        elif operation == "recover":
            await self._send(job, data_path(name, operation), {"data": {"dataObjectApiName": name, "idList": [id]}})
        elif operation in {"lock", "unlock"}:
            strategy = job.write.options.get("detailObjStrategy", 1)
            body = {"data": {"dataObjectApiName": name, "dataIds": [id], "detailObjStrategy": strategy}}
            await self._send(job, LOCK if operation == "lock" else UNLOCK, body)
        elif operation == "changeOwner":
            owner = job.write.fields.get(OWNER)
            people = owner if isinstance(owner, list) else [owner]
            body = {"data": {"dataObjectApiName": name, "Data": [{"objectDataId": id, "ownerId": people}]}}
            await self._send(job, data_path(name, operation), body)
        else:
            words = ", ".join(sorted(job.schema.capabilities.operations))
            failure = Failure(f"{name} has no operation '{operation}'; it has {words}")
            raise _Stopped(Outcome(OutcomeKind.REJECTED, failure=failure))

    # --- one call -----------------------------------------------------------------------------------------------

    async def _send(
        self, job: Job, path: str, body: dict[str, Any], id: str | None = None, object: str | None = None
    ) -> Answered:
        """One call of a write, or _Stopped. `id` and `object` are the record that it is about, if not the job's own."""
        try:
            return await self._client.write(path, body, job.write.timeout)
        except (TransportFailure, BadAnswer) as failure:
            raise _Stopped(failure.outcome()) from None
        except Refusal as refusal:
            outcome = await self._refused(refusal, object or job.schema.name, id or job.id)
            raise _Stopped(outcome) from None
        except HubError as error:
            raise _Stopped(self._not_begun(error)) from None

    async def _refused(self, refusal: Refusal, object: str, id: str | None) -> Outcome:
        """What a refused write means.

        Business refusals have no published codes. An unknown one is explained by the record itself, as far as that can
        be read: gone, locked or in approval; else it is rejected, in the vendor's words.
        """
        verdict = refusal.verdict
        outcome = verdict.outcome(refusal.message, code=refusal.code)
        if verdict.retry is Retry.DAY:
            outcome.retry_after = max(0.0, (self._client.midnight() - self._kit.clock.now()) / 1000)
        if verdict.known or id is None:
            return outcome
        try:
            answer = await self._reader.get_one(await self._describer.schema(object), id)
        except HubError:
            return outcome
        if answer.kind is GetKind.GONE:
            outcome.kind = OutcomeKind.GONE
        elif answer.record is not None and (
            answer.record.fields.get("lock_status") == "1" or answer.record.fields.get(STATE) in _IN_APPROVAL
        ):
            outcome.kind = OutcomeKind.BLOCKED
        return outcome

    async def _in_bin(self, object: str, id: str) -> bool:
        """Whether a record that is gone lies in the recycle bin, from where it can be deleted."""
        body = {"data": {"dataObjectApiName": object, "objectDataId": id}}
        try:
            answered = await self._client.ask(data_path(object, "get"), body)
        except (Refusal, HubError):
            return False
        return (answered.data or {}).get(STATE) == "invalid"

    def _not_begun(self, error: HubError) -> Outcome:
        """Nothing left: a spent quota, refused credentials, a log-in or a description that could not be had."""
        if isinstance(error, TransportFailure):
            return Outcome(OutcomeKind.DOWN, failure=Failure(error.message, code="transport"))
        after = error.retry_after if isinstance(error, VendorError) else None
        if isinstance(error, QuotaSpent):
            after = max(0.0, (error.resumes_at - self._kit.clock.now()) / 1000)
        code = error.code if isinstance(error, VendorError) else None
        return Outcome(OutcomeKind.NOT_EXECUTED, failure=Failure(error.message, code=code), retry_after=after)

    # --- bodies -------------------------------------------------------------------------------------------------

    def _saving(self, data: dict[str, Any], write: Write) -> dict[str, Any]:
        """The body around a save; a mapping's options go before the settings."""
        option, settings = write.options.get, self._settings
        return {
            "triggerApprovalFlow": bool(option("trigger_approval", settings.trigger_approval)),
            "triggerWorkFlow": bool(option("trigger_workflow", settings.trigger_workflow)),
            "data": {
                **data,
                "optionInfo": {
                    "isDuplicateSearch": bool(option("duplicate_search", settings.duplicate_search)),
                    "useValidationRule": bool(option("validation_rules", settings.validation_rules)),
                    "skipFuncValidate": bool(option("skip_function_validation", settings.skip_function_validation)),
                },
            },
        }

    def _object_data(self, schema: ObjectSchema, fields: Fields) -> dict[str, Any]:
        """The record part of a save. What the object lacks is refused here: the server would drop it silently."""
        for name in fields:
            known = schema.fields.get(name)
            # `<field>__o` carries the free text of the option 'other'.
            if known is None and schema.fields.get(name.removesuffix("__o")) is None:
                message = f"{schema.name} has no field '{name}'"
                raise _Stopped(Outcome(OutcomeKind.REJECTED, failure=Failure(message, field=name)))
            if known is not None and known.type is FieldType.ROWS:
                message = f"'{name}' is a table of {schema.name}, not a field"
                raise _Stopped(Outcome(OutcomeKind.REJECTED, failure=Failure(message, field=name)))
        return {"dataObjectApiName": schema.name, **fields}

    async def _row_data(self, table: str, rows: RowsWrite) -> list[dict[str, Any]]:
        """New rows as `details` takes them, with the hub's key of the row where the object has a field for it."""
        detail = await self._schema(table)
        key = detail.capabilities.stamp_field
        made = []
        for row in rows.upsert:
            data = self._object_data(detail, {k: v for k, v in row.fields.items() if v is not None})
            del data["dataObjectApiName"]
            if key is not None:
                data.setdefault(key, row.key)
            made.append(data)
        return made

    async def _schema(self, table: str) -> ObjectSchema:
        try:
            return await self._describer.schema(table)
        except HubError as error:
            raise _Stopped(self._not_begun(error)) from None

    def _sent_keys(self, job: Job) -> dict[str, str]:
        number = job.schema.number_field
        value = job.write.fields.get(number) if number is not None else None
        return {"number": value} if isinstance(value, str) else {}
