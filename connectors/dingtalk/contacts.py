"""The address book: departments level by level, members department by department, a member by id or by mobile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.dingtalk.client import Answered, DingTalkClient, Refusal, old
from connectors.dingtalk.describing import DEPARTMENT, USER, Describer
from connectors.dingtalk.outcomes import not_begun, rejected, sent
from hub.connector.contract import Cursor, FindAnswer, GetAnswer, GetKind, Op, Page, ReadRequest, Write
from hub.connector.kit import Kit
from hub.domain.errors import HubError, VendorError
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Change, Fields, Record, Value
from hub.domain.schema import FieldType, ObjectSchema

_ROOT = "1"
_PAGE = 100
_NO_MOBILE = frozenset({"60121", "40104"})  # nobody has it, or it is none


class Contacts:
    """Reading and writing members and departments. All calls are free of the month's quota."""

    def __init__(self, kit: Kit, client: DingTalkClient, describer: Describer) -> None:
        self._kit = kit
        self._client = client
        self._describer = describer

    # --- streams ------------------------------------------------------------------------------------------------

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        """One department, or a page of its members, a call: the vendor keeps no time of change, so every read goes over
        all, and the ledger tells what is new. Events bring changes at once."""
        schema = await self._describer.schema(request.object)
        todo: list[str] = list((cursor or {}).get("todo") or [_ROOT])
        offset = int((cursor or {}).get("offset") or 0)
        asked = self._kit.clock.now()
        department = todo[0]
        if request.object == DEPARTMENT:
            changes = [Change(await self._department(schema, department, request.fields))]
        else:
            changes, offset = await self._members(schema, department, offset, request.fields)
        if offset == 0:
            todo = [*(await self._below(department)), *todo[1:]]
        following: Cursor = {"todo": todo, "offset": offset} if todo else {}
        now = self._kit.clock.now()
        return Page(changes, following, bool(todo), asked, now, complete=request.full and not todo)

    async def _below(self, department: str) -> list[str]:
        call = old("v2_department_listsub", "/topapi/v2/department/listsub", {"dept_id": int(department)}, free=True)
        return [str(one["dept_id"]) for one in (await self._client.read(call)).result or ()]

    async def _department(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record:
        call = old("v2_department_get", "/topapi/v2/department/get", {"dept_id": int(id)}, free=True)
        return _record(schema, (await self._client.read(call)).result or {}, fields)

    async def _members(
        self, schema: ObjectSchema, department: str, offset: int, fields: frozenset[str] | None
    ) -> tuple[list[Change], int]:
        """A page of those whose first department this is: who is in several is met in each."""
        body = {"dept_id": int(department), "cursor": offset, "size": _PAGE, "contain_access_limit": False}
        answered = await self._client.read(old("v2_user_list", "/topapi/v2/user/list", body, free=True))
        result = answered.result or {}
        changes = [
            Change(_record(schema, one, fields))
            for one in result.get("list") or ()
            if str((one.get("dept_id_list") or [department])[0]) == department
        ]
        return changes, int(result.get("next_cursor") or 0) if result.get("has_more") else 0

    # --- by id and by key ---------------------------------------------------------------------------------------

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        schema = await self._describer.schema(object)
        wanted = list(dict.fromkeys(ids))
        found = await asyncio.gather(*(self._get(schema, id, fields) for id in wanted))
        answers = dict(zip(wanted, found, strict=True))
        return [answers[id] for id in ids]

    async def _get(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> GetAnswer:
        if schema.name == DEPARTMENT and not id.isdigit():
            now = self._kit.clock.now()
            return GetAnswer(id, GetKind.GONE, None, now, now)
        asked = self._kit.clock.now()
        try:
            answered = await self._ask(schema.name, id)
        except Refusal as refusal:
            kind = GetKind.CANT_TELL
            if refusal.verdict.kind is OutcomeKind.GONE:
                kind = GetKind.GONE
            elif refusal.refuses_us or refusal.verdict.kind is OutcomeKind.BLOCKED:
                kind = GetKind.NO_RIGHTS
            return GetAnswer(id, kind, None, asked, self._kit.clock.now())
        record = _record(schema, answered.result or {}, fields)
        return GetAnswer(id, GetKind.FOUND, record, answered.asked, answered.answered)

    async def _ask(self, object: str, id: str) -> Answered:
        if object == USER:
            return await self._client.ask(old("v2_user_get", "/topapi/v2/user/get", {"userid": id}, free=True))
        body = {"dept_id": int(id)}
        return await self._client.ask(old("v2_department_get", "/topapi/v2/department/get", body, free=True))

    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        """Members by mobile in a call each, without seeing anybody's; whatever else in one walk over all."""
        schema = await self._describer.schema(object)
        usable = [key if key and all(value not in (None, "", []) for value in key.values()) else None for key in keys]
        asked = None if fields is None else fields | {name for key in keys for name in key}
        if object == USER and all(key is None or set(key) == {"mobile"} for key in usable):
            return list(await asyncio.gather(*(self._by_mobile(schema, key, asked) for key in usable)))
        answers = [FindAnswer() for _ in keys]
        if not any(usable):
            return answers
        async for record in self._everything(object, asked):
            for answer, key in zip(answers, usable, strict=True):
                if key is not None and all(_equal(record.fields.get(name), value) for name, value in key.items()):
                    answer.records.append(record)
        return answers

    async def _by_mobile(
        self, schema: ObjectSchema, key: Mapping[str, Any] | None, fields: frozenset[str] | None
    ) -> FindAnswer:
        if key is None:
            return FindAnswer()
        mobile = _bare(key["mobile"])
        if not mobile.isdigit():
            return FindAnswer()
        call = old("v2_user_getbymobile", "/topapi/v2/user/getbymobile", {"mobile": mobile}, free=True)
        try:
            answered = await self._client.ask(call)
        except Refusal as refusal:
            return FindAnswer(cant_tell=refusal.code not in _NO_MOBILE)
        id = str((answered.result or {}).get("userid"))
        found = await self._get(schema, id, fields)
        if found.record is None:
            return FindAnswer(cant_tell=found.kind is not GetKind.GONE)
        # New apps are not shown mobiles: the look-up itself says whose it is.
        if found.record.fields.get("mobile") is None and (fields is None or "mobile" in fields):
            found.record.fields["mobile"] = str(key["mobile"])
        return FindAnswer([found.record])

    async def _everything(self, object: str, fields: frozenset[str] | None) -> Any:
        cursor: Cursor | None = None
        while True:
            page = await self.read(ReadRequest(object, fields=fields, full=True), cursor)
            for change in page.changes:
                yield change.record
            cursor = page.cursor
            if not page.more:
                return

    # --- writes -------------------------------------------------------------------------------------------------

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        try:
            schema = await self._describer.schema(object)
        except HubError as error:
            return [not_begun(error, self._kit.clock) for _ in batch]
        return list(await asyncio.gather(*(self._one(schema, write) for write in batch)))

    async def _one(self, schema: ObjectSchema, write: Write) -> Outcome:
        if schema.name != USER or write.op is not Op.UPDATE:
            return rejected(
                "the address book takes changes of members only; who joins or leaves is the console's business"
            )
        if write.id is None:
            return rejected("the write names no member")
        body: dict[str, Any] = {"userid": write.id}
        for name, value in write.fields.items():
            field = schema.fields.get(name)
            if field is None or field.readonly or field.computed:
                return rejected(f"a member's '{name}' can't be written", field=name)
            body[name] = _sent(name, value)
        call = old("v2_user_update", "/topapi/v2/user/update", body, free=True)
        answered = await sent(self._client.write(call, write.timeout), self._kit.clock)
        return answered if isinstance(answered, Outcome) else Outcome(OutcomeKind.OK, id=write.id)


def _sent(name: str, value: Value) -> Any:
    if isinstance(value, list):
        return ",".join(str(member) for member in value)
    return "" if value is None else value


def _record(schema: ObjectSchema, raw: Mapping[str, Any], fields: frozenset[str] | None) -> Record:
    """A member or department as a record, every field of the schema there."""
    id = raw.get(schema.id_field)
    if id is None:
        raise VendorError(f"{schema.name}: an entry came without {schema.id_field}", retryable=False)
    leaders = [str(one.get("dept_id")) for one in raw.get("leader_in_dept") or () if one.get("leader")]
    given = {**raw, "leader_of": leaders}
    wanted = schema.fields if fields is None else fields & schema.fields.keys()
    values: Fields = {name: _shown(schema, name, given.get(name)) for name in schema.fields if name in wanted}
    return Record(schema.name, str(id), values)


def _shown(schema: ObjectSchema, name: str, value: Any) -> Value:
    field = schema.fields[name]
    if field.many:
        return [str(member) for member in value or ()]
    if value is None or value == "":
        return None
    if field.type in (FieldType.BOOLEAN, FieldType.INTEGER, FieldType.DATETIME):
        shown: Value = value
        return shown
    return str(value)


def _bare(mobile: object) -> str:
    """A number as the look-up wants it: Chinese ones without their country's code."""
    text = str(mobile).strip().replace(" ", "").replace("-", "")
    return text.removeprefix("+86") if text.startswith("+86") else text.removeprefix("+")


def _equal(theirs: Value, ours: Any) -> bool:
    if isinstance(theirs, list):
        return [str(one) for one in theirs] == [str(one) for one in (ours if isinstance(ours, list) else [ours])]
    return theirs is not None and str(theirs) == str(ours)
