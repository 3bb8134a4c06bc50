"""Writing approvals: a create starts one; `withdraw` and `comment` are its operations. Nothing else can be changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.dingtalk.approvals import Approvals
from connectors.dingtalk.client import Answered, Call, DingTalkClient, Refusal
from connectors.dingtalk.describing import Describer, Template
from connectors.dingtalk.forms import Unfit
from connectors.dingtalk.instances import RUNNING, WITHDRAWN, state_of
from connectors.dingtalk.outcomes import not_begun, rejected, sent
from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.contract import Op, Write
from hub.connector.kit import Kit
from hub.domain.errors import HubError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Fields

_INSTANCES = "/v1.0/workflow/processInstances"
_GUARD = 16.0  # seconds: the vendor lets nobody withdraw in the first 15
_OWN = ("originator", "originator_dept", "approvers", "chosen_approvers", "cc")
_ROOT = "1"


class Starter:
    """The writing half of approvals."""

    def __init__(
        self, settings: DingTalkSettings, kit: Kit, client: DingTalkClient, describer: Describer, approvals: Approvals
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._client = client
        self._describer = describer
        self._approvals = approvals

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        try:
            template = await self._describer.template(object)
        except HubError as error:
            return [not_begun(error, self._kit.clock) for _ in batch]
        return list(await asyncio.gather(*(self._one(template, write) for write in batch)))

    async def _one(self, template: Template, write: Write) -> Outcome:
        if write.op is Op.CREATE:
            return await self._start(template, write)
        if write.id is None:
            return rejected("the write names no approval")
        if write.op is Op.OPERATION and write.operation == "withdraw":
            return await self._withdraw(write)
        if write.op is Op.OPERATION and write.operation == "comment":
            return await self._comment(write)
        if write.op is Op.UPDATE:
            return _unchangeable(write)
        known = ", ".join(sorted(template.schema.capabilities.operations))
        what = f"operation '{write.operation}'" if write.op is Op.OPERATION else "delete"
        return rejected(f"an approval has no {what}; it has {known}")

    # --- start --------------------------------------------------------------------------------------------------

    async def _start(self, template: Template, write: Write) -> Outcome:
        try:
            body = self._body(template, write)
        except Unfit as unfit:
            return rejected(str(unfit), field=unfit.field)
        answered = await sent(
            self._client.write(Call("start", "POST", _INSTANCES, body), write.timeout), self._kit.clock
        )
        if isinstance(answered, Outcome):
            return answered
        id = answered.body.get("instanceId")
        if not id:
            return Outcome(OutcomeKind.UNKNOWN, failure=Failure("the approval was started, but its id was not told"))
        return Outcome(OutcomeKind.OK, id=str(id), steps=("save",), rows=_row_ids(write))

    def _body(self, template: Template, write: Write) -> dict[str, Any]:
        """The call that starts an approval. Raises Unfit."""
        given: Fields = {name: value for name, value in write.fields.items() if value is not None}
        own = {name: given.pop(name) for name in _OWN if name in given}
        for name in given:
            field = template.schema.fields.get(name)
            if field is not None and name not in template.form.fields:
                raise Unfit(name, f"'{name}' is told by the system; it can't be written")
        stamp = template.schema.capabilities.stamp_field
        if stamp is not None and write.stamp is not None:
            given.setdefault(stamp, write.stamp)
        originator = own.get("originator")
        if not isinstance(originator, str):
            raise Unfit("originator", "an approval needs its originator, one member's id")
        body: dict[str, Any] = {
            "processCode": template.code,
            "originatorUserId": originator,
            "deptId": self._department(own.get("originator_dept")),
            "formComponentValues": template.form.encode(given, write.rows),
        }
        if self._settings.agent_id is not None:
            body["microappAgentId"] = self._settings.agent_id
        approvers = own.get("approvers")
        if approvers:
            mode = str(write.options.get("approvers", "AND"))
            people = [str(one) for one in approvers] if isinstance(approvers, list) else [str(approvers)]
            # One approver is neither all of them nor any of them: the vendor wants NONE.
            body["approvers"] = [{"actionType": mode if len(people) > 1 else "NONE", "userIds": people}]
        if isinstance(own.get("cc"), list) and own["cc"]:
            body |= {"ccList": own["cc"], "ccPosition": str(write.options.get("cc_position", "FINISH"))}
        chosen = own.get("chosen_approvers")
        if isinstance(chosen, Mapping):
            body["targetSelectActioners"] = [
                {"actionerKey": key, "actionerUserIds": people if isinstance(people, list) else [people]}
                for key, people in chosen.items()
            ]
        return body

    def _department(self, given: Any) -> int:
        text = str(given or _ROOT)
        if not text.isdigit():
            raise Unfit("originator_dept", "a department is named by its number")
        return -1 if text == _ROOT else int(text)

    # --- afterwards ---------------------------------------------------------------------------------------------

    async def _withdraw(self, write: Write) -> Outcome:
        """End it in the originator's name. One that was withdrawn already is done; one that was decided stays so."""
        found = await self._look(str(write.id))
        if isinstance(found, Outcome):
            return found
        state = state_of(found)
        if state == WITHDRAWN:
            return Outcome(OutcomeKind.OK, id=write.id)
        if state != RUNNING:
            return rejected(
                f"the approval has ended ({state}); it can't be withdrawn any more", kind=OutcomeKind.BLOCKED
            )
        body = {
            "processInstanceId": write.id,
            "isSystem": self._settings.acting_user is None,
            "remark": str(write.options.get("remark", "")),
            "operatingUserId": self._settings.acting_user or found.get("originatorUserId"),
        }
        outcome = await self._sent(write, "terminate", f"{_INSTANCES}/terminate", body)
        if outcome.kind is OutcomeKind.BLOCKED:
            # It was running a moment ago: it is too young, or somebody was faster. Asking again settles both.
            outcome.kind, outcome.retry_after = OutcomeKind.NOT_EXECUTED, _GUARD
        return outcome

    async def _comment(self, write: Write) -> Outcome:
        text = write.fields.get("opinion") or write.options.get("remark")
        if not text:
            return rejected("a comment needs its text (option `remark`)")
        user = self._settings.acting_user
        if user is None:
            found = await self._look(str(write.id))
            if isinstance(found, Outcome):
                return found
            user = str(found.get("originatorUserId"))
        body = {"processInstanceId": write.id, "text": str(text), "commentUserId": user}
        return await self._sent(write, "comment", f"{_INSTANCES}/comments", body)

    async def _sent(self, write: Write, op: str, path: str, body: Fields | dict[str, Any]) -> Outcome:
        answered = await sent(self._client.write(Call(op, "POST", path, body), write.timeout), self._kit.clock)
        return answered if isinstance(answered, Outcome) else Outcome(OutcomeKind.OK, id=write.id)

    async def _look(self, id: str) -> dict[str, Any] | Outcome:
        try:
            answered: Answered = await self._approvals.ask(id)
        except Refusal as refusal:
            return refusal.outcome()
        except HubError as error:
            return not_begun(error, self._kit.clock)
        return answered.result or {}


def _unchangeable(write: Write) -> Outcome:
    """A change of what was started: left alone with `when_locked: skip`, else blocked. No call: it would be one of the
    month for every time that the hub tries."""
    if write.options.get("when_locked") == "skip":
        return Outcome(OutcomeKind.OK, id=write.id, steps=("save",))
    message = "the form of an approval that was started can't be changed; withdraw it and start another round"
    return rejected(message, kind=OutcomeKind.BLOCKED)


def _row_ids(write: Write) -> dict[str, dict[str, str]]:
    """The vendor numbers the rows of a table by itself and does not tell: they are known by their place."""
    return {table: {row.key: str(at) for at, row in enumerate(rows.upsert, 1)} for table, rows in write.rows.items()}
