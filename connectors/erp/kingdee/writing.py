"""Writing: save, submit and audit as separate steps, in batches, with an outcome of its own for every record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.erp.kingdee.answers import CALL_LEVEL, Answer, NoSuchService, Refusal
from connectors.erp.kingdee.catalogue import Forms
from connectors.erp.kingdee.client import KingdeeClient, not_executed
from connectors.erp.kingdee.jobs import Job, failed, still_open
from connectors.erp.kingdee.models import Models, unknown_fields
from connectors.erp.kingdee.queries import Queries, Want, parts
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.values import touched_keys
from hub.connector.contract import Op, Write
from hub.domain.errors import HubError
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.schema import ObjectSchema

_STEPS = {"submit": "Submit", "audit": "Audit"}
_WAY_BACK = {
    "C": ("submit", "audit"),
    "B": ("submit",),
}  # what brings a document back to the state that it was taken out of
_DIRECT = frozenset({"Submit", "Audit", "UnAudit", "CancelAssign"})  # operations with a call of their own
_SPELLINGS = ("ExcuteOperation", "ExecuteOperation")  # the SDKs' and the manual's

# Keys of Save that a mapping may set; all others are this connector's business.
_SAVE_OPTIONS = frozenset(
    {
        "IsVerifyBaseDataField", "InterationFlags", "IgnoreInterationFlag", "IsAutoAdjustField", "ValidateRepeatJson",
        "IsEntryBatchFill", "SubSystemId", "NumberSearch", "IsControlPrecision", "ValidateFlag", "Creator",
    }
)  # fmt: skip


class Writer:
    """The writing half of the connector. Never raises for what Kingdee answered or failed to answer."""

    def __init__(
        self,
        client: KingdeeClient,
        queries: Queries,
        settings: KingdeeSettings,
        forms: Forms,
        describe: Callable[[str], Awaitable[ObjectSchema]],
    ) -> None:
        self._client = client
        self._queries = queries
        self._models = Models(queries, settings)
        self._forms = forms
        self._describe = describe
        self._spelling = 0

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        if not batch:
            return []
        try:
            schema = await self._describe(object)
        except HubError as error:
            return [not_executed(error) for _ in batch]
        jobs = [Job(write, write.id, done=list(write.done)) for write in batch]
        want = Want.of(schema, self._forms.layout(object), frozenset())
        for part in parts(jobs, schema.capabilities.write_batch):
            await self._chunk(want, part)
        return [job.outcome or _unsettled() for job in jobs]

    async def _chunk(self, want: Want, jobs: Sequence[Job]) -> None:
        """One batch: look at the documents, unlock, save, then step by step."""
        for job in jobs:
            unknown = unknown_fields(want, job.write)
            if unknown:
                job.settle(
                    failed(
                        OutcomeKind.REJECTED, f"{want.schema.name} has no field {', '.join(unknown)}", field=unknown[0]
                    )
                )
        await self._look(want, [job for job in still_open(jobs) if job.id is not None])
        saving = [job for job in still_open(jobs) if job.write.op in (Op.CREATE, Op.UPDATE)]
        deleting = [job for job in still_open(jobs) if job.write.op is Op.DELETE]
        to_save = [job for job in saving if "save" not in job.done]
        await self._unlock(want, [*to_save, *deleting])
        await self._save(want, list(still_open(to_save)))
        await self._walk(want, list(still_open(saving)))
        await self._delete(want, list(still_open(deleting)))
        await self._operate(want, [job for job in still_open(jobs) if job.write.op is Op.OPERATION])

    # -- what stands there ----------------------------------------------------------------------------------------

    async def _look(self, want: Want, jobs: Sequence[Job]) -> None:
        """Read the states of documents that exist already: what is locked, what is gone, which steps are missing."""
        if not jobs:
            return
        schema = want.schema
        names = frozenset(filter(None, (schema.facts.state_field, schema.number_field)))
        try:
            found, _ = await self._queries.by_id(Want.of(schema, want.layout, names), [str(job.id) for job in jobs])
        except HubError as error:
            for job in jobs:
                job.settle(not_executed(error))
            return
        except ValueError:
            found = {}
        for job in jobs:
            record = found.get(str(job.id))
            if record is None:
                job.done.clear()
                job.settle(failed(OutcomeKind.GONE, f"{schema.label} {job.id} does not exist (any more)", code="10"))
                continue
            state = record.fields.get(schema.facts.state_field or "")
            job.state = str(state) if state is not None else None
            number = record.fields.get(schema.number_field or "")
            job.number = str(number) if number is not None else None

    async def _unlock(self, want: Want, jobs: Sequence[Job]) -> None:
        """Take documents out of a locked state where the policy allows it; else they are blocked, with the reason."""
        locked = [job for job in still_open(jobs) if job.state in want.schema.facts.locked_states]
        reopening = [job for job in locked if job.write.options.get("when_locked", "hold") == "reopen"]
        for job in locked:
            if job not in reopening:
                options = (want.schema.fields[want.schema.facts.state_field or ""].options or {}).get(
                    job.state or "", ""
                )
                message = (
                    f"{want.schema.label} {job.number or job.id} is locked in state {job.state} {options}".rstrip()
                )
                job.settle(failed(OutcomeKind.BLOCKED, f"{message}; `when_locked: reopen` would un-audit it first"))
        for method, state in (("UnAudit", "C"), ("CancelAssign", "B")):
            group = [job for job in reopening if job.state == state]
            for job, refused in await self._by_ids(want, method, group):
                if refused is None:
                    job.was, job.state = state, "D" if state == "C" else "A"
                else:
                    job.settle(refused)

    # -- save -----------------------------------------------------------------------------------------------------

    async def _save(self, want: Want, jobs: Sequence[Job]) -> None:
        keep = await self._models.rows_to_keep(want, jobs)
        groups: dict[Any, list[tuple[Job, dict[str, Any]]]] = {}
        for job in still_open(jobs):
            model = self._models.model(want, job, keep.get(str(job.id), {}))
            touched = touched_keys(model, want.schema.id_field) if job.id is not None else []
            removes = any(rows.remove for rows in job.write.rows.values())
            options = {key: value for key, value in job.write.options.items() if key in _SAVE_OPTIONS}
            group = (tuple(sorted(touched)), removes, tuple(sorted(options.items())), job.write.timeout)
            groups.setdefault(group, []).append((job, model))
        for (touched, removes, options, timeout), members in groups.items():
            await self._batch_save(want, members, list(touched), removes, dict(options), timeout)
        await self._restore(want, [job for job in jobs if job.was is not None])

    async def _batch_save(
        self,
        want: Want,
        members: Sequence[tuple[Job, dict[str, Any]]],
        touched: list[str],
        removes: bool,
        options: Mapping[str, Any],
        timeout: float,
    ) -> None:
        schema = want.schema
        tables = sorted({table for job, _ in members for table in job.write.rows})
        stamps = [(table, stamp) for table in tables if (stamp := self._models.row_stamp(want, table))]
        data = {
            "NeedUpDateFields": touched,
            "NeedReturnFields": [
                schema.id_field,
                *([schema.number_field] if schema.number_field else []),
                *(f"{table}.FEntryID" for table in tables),
                *(f"{table}.{stamp}" for table, stamp in stamps),
            ],
            "IsDeleteEntry": removes,
            "IsVerifyBaseDataField": True,
            **options,
            "Model": [model for _, model in members],
        }
        jobs = [job for job, _ in members]
        answer = await self._client.write("BatchSave", {"formid": schema.name, "data": data}, timeout)
        by_id = {str(each.get(schema.id_field)): each for each in answer.returned} if isinstance(answer, Answer) else {}
        for at, (job, refused) in enumerate(self._judged(jobs, answer, by_index=True)):
            if refused is not None:
                job.settle(refused)
                continue
            done = next(each for each in answer.done if each.index == at) if isinstance(answer, Answer) else None
            if done is not None:
                job.id, job.number = done.id, done.number or job.number
                job.state = "D" if job.state == "D" else "A"
                job.done.append("save")
                job.rows = self._models.paired(want, job, by_id.get(done.id, {}))
        await self._models.find_rows(want, [job for job in jobs if "save" in job.done])

    async def _restore(self, want: Want, jobs: Sequence[Job]) -> None:
        """A document that we re-opened and whose save was refused goes back to the state that people had left it in."""
        back = [job for job in jobs if job.outcome is not None and job.outcome.kind is not OutcomeKind.UNKNOWN]
        for step in ("submit", "audit"):
            due = [job for job in back if step in _WAY_BACK[str(job.was)] and job.outcome is not None]
            for job, refused in await self._by_ids(want, _STEPS[step], due):
                if refused is not None and job.outcome is not None and job.outcome.failure is not None:
                    words = f"{job.outcome.failure.message}; and it could not be brought back to state {job.was}"
                    job.outcome = replace(job.outcome, failure=replace(job.outcome.failure, message=words))

    # -- steps ----------------------------------------------------------------------------------------------------

    async def _walk(self, want: Want, jobs: Sequence[Job]) -> None:
        """Submit and audit what asked for it and is not there yet."""
        wanted = {id(job): job.write.steps or _WAY_BACK.get(job.was or "", ()) for job in jobs}
        for job in jobs:
            unknown = [step for step in wanted[id(job)] if step not in _STEPS]
            if unknown:
                job.settle(failed(OutcomeKind.REJECTED, f"{want.schema.name} knows no step {', '.join(unknown)}"))
        for step, leads_to in (("submit", "BC"), ("audit", "C")):
            due = [job for job in still_open(jobs) if step in wanted[id(job)]]
            missing = [job for job in due if job.state is None or job.state not in leads_to]
            for job, refused in await self._by_ids(want, _STEPS[step], missing):
                if refused is None:
                    job.state = leads_to[0]
                else:
                    job.settle(refused)
            for job in still_open(due):
                if step not in job.done:
                    job.done.append(step)
        for job in still_open(jobs):
            job.settle(Outcome(OutcomeKind.OK))

    async def _delete(self, want: Want, jobs: Sequence[Job]) -> None:
        for job, refused in await self._by_ids(want, "Delete", jobs):
            job.settle(Outcome(OutcomeKind.OK) if refused is None else refused)

    async def _operate(self, want: Want, jobs: Sequence[Job]) -> None:
        groups: dict[tuple[str, str], list[Job]] = {}
        for job in jobs:
            if job.id is None or not job.write.operation:
                job.settle(failed(OutcomeKind.REJECTED, "an operation needs its name and the id of the record"))
            else:
                orgs = ",".join(map(str, job.write.options.get("organizations") or ()))
                groups.setdefault((job.write.operation, orgs), []).append(job)
        for (name, orgs), members in groups.items():
            extra = {} if name != "Allocate" else await self._allocation(members, orgs)
            for job, refused in await self._by_ids(want, name, list(still_open(members)), extra):
                job.settle(Outcome(OutcomeKind.OK) if refused is None else refused)

    async def _allocation(self, jobs: Sequence[Job], numbers: str) -> dict[str, Any]:
        """Allocate wants inner ids of organisations, not their numbers."""
        organizations = Want.of(
            self._forms.schemas["ORG_Organizations"], self._forms.layout("ORG_Organizations"), frozenset({"FNumber"})
        )
        wanted = [number for number in numbers.split(",") if number]
        listed = ",".join("'" + number.replace("'", "''") + "'" for number in wanted)
        try:
            found = await self._queries.select_all(organizations, f"FNumber in ({listed})") if wanted else []
        except HubError as error:
            for job in jobs:
                job.settle(not_executed(error))
            return {}
        if len(found) < len(set(wanted)) or not wanted:
            for job in jobs:
                job.settle(failed(OutcomeKind.REJECTED, f"Allocate: unknown organisation among '{numbers}'"))
        return {"TOrgIds": ",".join(record.id for record in found)}

    async def _by_ids(
        self, want: Want, name: str, jobs: Sequence[Job], extra: Mapping[str, Any] | None = None
    ) -> list[tuple[Job, Outcome | None]]:
        """One call for many documents; for each job None if it was done, else what became of it."""
        if not jobs:
            return []
        ids = ",".join(str(job.id) for job in jobs)
        timeout = max(job.write.timeout for job in jobs)
        form = want.schema.name
        if name == "Allocate":
            data: dict[str, Any] = {"PkIds": ids, **(extra or {})}
        else:
            data = {"Ids": ids, "Numbers": [], "NetworkCtrl": False, "IgnoreInterationFlag": True}
        if name in _DIRECT or name in ("Delete", "Allocate"):
            answer = await self._call(name, {"formid": form, "data": data}, timeout)
        else:
            answer = await self._excute(form, name, data, timeout)
        if name == "Allocate" and isinstance(answer, Answer):
            # It names the new rows, not those that were given; one organisation that refuses spoils the whole.
            refused = {refusal.index for refusal in answer.refusals}
            answer = replace(answer, done=[each for each in answer.done if each.index not in refused])
        return self._judged(jobs, answer, by_index=name == "Allocate")

    async def _call(self, method: str, body: dict[str, Any], timeout: float) -> Answer | Outcome:
        try:
            return await self._client.write(method, body, timeout)
        except NoSuchService:
            return failed(OutcomeKind.REJECTED, f"this server has no service {method}", code="service")

    async def _excute(self, form: str, name: str, data: dict[str, Any], timeout: float) -> Answer | Outcome:
        """SDKs and manual spell this service differently; a server without one of them has done nothing."""
        body = {"formid": form, "opNumber": name, "data": data}
        for _ in _SPELLINGS:
            try:
                return await self._client.write(_SPELLINGS[self._spelling], body, timeout)
            except NoSuchService:
                self._spelling = 1 - self._spelling
        return failed(OutcomeKind.REJECTED, f"this server has no service {_SPELLINGS[0]}", code="service")

    # -- judgement ------------------------------------------------------------------------------------------------

    def _judged(
        self, jobs: Sequence[Job], answer: Answer | Outcome, *, by_index: bool
    ) -> list[tuple[Job, Outcome | None]]:
        """For each job None if the answer says that it was done, else its own outcome.

        A batch may be partly done, and `IsSuccess` is then false for all: only the two lists tell. What stands in
        neither is unknown, unless the call as a whole was refused.
        """
        if isinstance(answer, Outcome):
            return [(job, replace(answer)) for job in jobs]
        done = {each.index if by_index else each.id for each in answer.done}
        refusals: dict[int, list[Refusal]] = {}
        for refusal in answer.refusals:
            refusals.setdefault(refusal.index, []).append(refusal)
        whole = not answer.done and answer.code in CALL_LEVEL
        # The code belongs to the first refusal; of the others only their words are known.
        first = next(iter(refusals), 0)
        judged: list[tuple[Job, Outcome | None]] = []
        for at, job in enumerate(jobs):
            if (at if by_index else job.id) in done:
                judged.append((job, None))
            elif at in refusals:
                judged.append((job, self._verdict(refusals[at], answer.code if whole or at == first else None)))
            elif whole:
                judged.append((job, self._verdict(list(answer.refusals), answer.code)))
            else:
                judged.append(
                    (
                        job,
                        failed(OutcomeKind.UNKNOWN, f"Kingdee's answer does not mention this record: {answer.message}"),
                    )
                )
        return judged

    def _verdict(self, refusals: Sequence[Refusal], code: str | None) -> Outcome:
        message = "; ".join(refusal.message for refusal in refusals) or f"MsgCode {code}"
        named = next((refusal.field for refusal in refusals if refusal.field), None)
        return self._client.errors.judge(code, message).outcome(message, code=code, field=named)


def _unsettled() -> Outcome:
    return failed(OutcomeKind.UNKNOWN, "the write was not brought to an end")
