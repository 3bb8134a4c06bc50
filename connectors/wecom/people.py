"""The address book (通讯录): members, found by their mobile, and departments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.wecom.client import Refusal
from connectors.wecom.desk import Desk, carries, refused
from hub.connector.contract import Cursor, FindAnswer, Page, ReadRequest, Write
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Change, Fields, Record
from hub.domain.schema import ObjectSchema

# What a key is called at the interface that looks members up by it, and what else that wants.
_LOOKUPS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mobile": ("user/getuserid", "mobile", {}),
    "biz_mail": ("user/get_userid_by_email", "email", {"email_type": 1}),
    "email": ("user/get_userid_by_email", "email", {"email_type": 2}),
}
_NUMBERS = ("department", "main_department")


class Members(Desk):
    """Members. An app made since 2022 is not shown their mobiles: it can only ask whose a mobile is."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._unknown: dict[tuple[str, str], int] = {}  # (key, value) that nobody has -> until when that is believed

    async def read(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        """A department a page. A member of several departments comes with the first of them."""
        asked = self.kit.clock.now()
        listed = (await self.client.read("department/simplelist")).body.get("department_id") or ()
        visible = sorted(int(one["id"]) for one in listed)
        left = [id for id in visible if id > cursor.get("after", 0)]
        if not left:
            return self.one_pass([], {}, more=False, asked=asked, full=request.full)
        answer = await self.client.read("user/list", params={"department_id": str(left[0])})
        changes = [
            Change(self._record(schema, row, request.fields))
            for row in answer.body.get("userlist") or ()
            if left[0] == min((id for id in row.get("department") or () if id in visible), default=left[0])
        ]
        more = len(left) > 1
        return self.one_pass(changes, {"after": left[0]}, more=more, asked=asked, full=request.full)

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record | None:
        answer = await self.client.ask("user/get", params={"userid": id})
        return self._record(schema, answer.body, fields)

    async def find(
        self, schema: ObjectSchema, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None
    ) -> list[FindAnswer]:
        return await self.each(keys, lambda key: self._find(schema, key, fields))

    async def _find(self, schema: ObjectSchema, key: Mapping[str, Any], fields: frozenset[str] | None) -> FindAnswer:
        if not key or any(value in (None, "", []) for value in key.values()):
            return FindAnswer()
        name = next((name for name in ("userid", *_LOOKUPS) if name in key), None)
        if name is None:
            # A name is no key: the platform has no search, and reading everybody for one name is not worth its price.
            return FindAnswer(cant_tell=True)
        try:
            id = str(key[name]) if name == "userid" else await self._userid(name, str(key[name]))
            record = await self.get_one(schema, id, None) if id is not None else None
        except Refusal as refusal:
            if refusal.verdict.kind is OutcomeKind.GONE or refusal.code == "40003":
                return FindAnswer()
            if refusal.refuses_us:
                raise refusal.error() from None
            return FindAnswer(cant_tell=True)
        if record is None:
            return FindAnswer()
        if name != "userid":
            # The platform has said that this mobile is theirs, whether it shows it or not, and however it is spelled.
            record.fields[name] = key[name]
        return FindAnswer([_only(record, fields, key)] if carries(record, key) else [])

    async def _userid(self, name: str, value: str) -> str | None:
        """Whose mobile or e-mail this is. Too many wrong numbers block the interface for a day, so what nobody has is
        not asked for again for a while."""
        now = self.kit.clock.now()
        if self._unknown.get((name, value), 0) > now:
            return None
        path, called, more = _LOOKUPS[name]
        try:
            answer = await self.client.ask(path, {called: _number(value) if name == "mobile" else value, **more})
        except Refusal as refusal:
            if refusal.verdict.kind is not OutcomeKind.GONE:
                raise
            self._unknown = {one: until for one, until in self._unknown.items() if until > now}
            self._unknown[name, value] = now + int(self.settings.forget_unknown * 1000)
            return None
        return str(answer.body.get("userid") or "") or None

    async def create(self, schema: ObjectSchema, write: Write) -> Outcome:
        userid = write.fields.get("userid")
        if not isinstance(userid, str) or not userid:
            return refused("a member needs a userid", field="userid")
        try:
            body = _wire(write.fields)
        except ValueError:
            return refused("departments are named by their numbers", field="department")
        answer = await self.sent("user/create", body, write)
        self._unknown.clear()
        return answer if isinstance(answer, Outcome) else Outcome(OutcomeKind.OK, id=userid)

    async def update(self, schema: ObjectSchema, write: Write) -> Outcome:
        fields = {name: value for name, value in write.fields.items() if name != "userid"}
        try:
            body = {**_wire(fields), "userid": write.id}
        except ValueError:
            return refused("departments are named by their numbers", field="department")
        answer = await self.sent("user/update", body, write)
        self._unknown.clear()
        return answer if isinstance(answer, Outcome) else Outcome(OutcomeKind.OK, id=write.id)

    async def delete(self, schema: ObjectSchema, write: Write) -> Outcome:
        answer = await self.sent("user/delete", None, write, userid=str(write.id))
        return answer if isinstance(answer, Outcome) else Outcome(OutcomeKind.OK, id=write.id)

    def _record(self, schema: ObjectSchema, row: Mapping[str, Any], fields: frozenset[str] | None) -> Record:
        values: Fields = {name: row.get(name) for name in schema.fields}
        values["department"] = [str(id) for id in row.get("department") or ()] or None
        main = row.get("main_department")
        values["main_department"] = str(main) if main else None
        for name in ("status", "gender"):
            values[name] = str(row[name]) if row.get(name) not in (None, "") else None
        return self.record(schema, str(row.get("userid")), values, fields)


class Departments(Desk):
    """Departments: few enough to be read in one call."""

    async def read(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        asked = self.kit.clock.now()
        changes = [Change(self._record(schema, row, request.fields)) for row in await self._all()]
        return self.one_pass(changes, {}, more=False, asked=asked, full=request.full)

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record | None:
        answer = await self.client.ask("department/get", params={"id": id})
        return self._record(schema, answer.body.get("department") or {}, fields)

    async def find(
        self, schema: ObjectSchema, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None
    ) -> list[FindAnswer]:
        if not keys:
            return []
        records = [self._record(schema, row, None) for row in await self._all()]
        return [FindAnswer([_only(one, fields, key) for one in records if carries(one, key)]) for key in keys]

    async def _all(self) -> list[dict[str, Any]]:
        return list((await self.client.read("department/list")).body.get("department") or ())

    def _record(self, schema: ObjectSchema, row: Mapping[str, Any], fields: frozenset[str] | None) -> Record:
        values: Fields = {name: row.get(name) for name in schema.fields}
        id, parent = str(row.get("id")), row.get("parentid")
        values |= {"id": id, "parentid": str(parent) if parent else None}
        return self.record(schema, id, values, fields)


def _number(mobile: str) -> str:
    """A mobile as the address book spells it: eleven digits for the mainland, a plus and digits for all others."""
    digits = "".join(letter for letter in mobile if letter.isdigit())
    if digits.startswith("86") and len(digits) == 13:
        return digits[2:]
    return f"+{digits}" if mobile.strip().startswith("+") else digits


def _wire(fields: Fields) -> dict[str, Any]:
    """A member's fields as the platform takes them: departments by number, empty texts for what is cleared."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            found[name] = [] if name in ("department", "direct_leader") else ""
        elif name in _NUMBERS:
            found[name] = [int(str(one)) for one in value] if isinstance(value, list) else int(str(value))
        else:
            found[name] = value
    return found


def _only(record: Record, fields: frozenset[str] | None, key: Mapping[str, Any]) -> Record:
    if fields is not None:
        wanted = fields | key.keys()
        record.fields = {name: value for name, value in record.fields.items() if name in wanted}
    return record
