"""Changes, records by id and records by key: windows on the stamps of edit and audit, walked by key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.erp.kingdee.catalogue import Forms
from connectors.erp.kingdee.queries import Asked, Queries, Selection, Want, literal, parts
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.values import local_time, quoted
from hub.connector.contract import Cursor, FindAnswer, GetAnswer, GetKind, Page, ReadRequest
from hub.domain.clock import Clock
from hub.domain.errors import VendorError
from hub.domain.record import Change, Record
from hub.domain.schema import FieldType, ObjectSchema

_NO_RIGHTS = "2"


class Reader:
    """The reading half of the connector."""

    def __init__(
        self,
        queries: Queries,
        settings: KingdeeSettings,
        forms: Forms,
        clock: Clock,
        describe: Callable[[str], Awaitable[ObjectSchema]],
    ) -> None:
        self._queries = queries
        self._settings = settings
        self._forms = forms
        self._clock = clock
        self._describe = describe

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        want = await self._want(request.object, request.fields)
        if request.full or want.schema.modified_field is None:
            return await self._scan(want, dict(cursor or {}), full=request.full)
        return await self._window(want, dict(cursor or {"from": request.since}))

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None) -> list[GetAnswer]:
        if not ids:
            return []
        want = await self._want(object, fields)
        possible = list(dict.fromkeys(id for id in ids if _is_id(want.schema, id)))
        try:
            found, asked = await self._queries.by_id(want, possible) if possible else ({}, self._now())
        except VendorError as error:
            if error.code == _NO_RIGHTS:
                return [GetAnswer(id, GetKind.NO_RIGHTS) for id in ids]
            raise
        return [
            GetAnswer(id, GetKind.FOUND if id in found else GetKind.GONE, found.get(id), asked.asked, asked.answered)
            for id in ids
        ]

    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None
    ) -> dict[str, list[Record]]:
        keys = [{master_field: master} for master in masters]
        answers = await self.find(object, keys, None if fields is None else fields | {master_field})
        return {master: answer.records for master, answer in zip(masters, answers, strict=True)}

    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None
    ) -> list[FindAnswer]:
        answers: list[FindAnswer | None] = [None] * len(keys)
        asked: dict[tuple[str, ...], list[int]] = {}
        for at, key in enumerate(keys):
            # An empty value matches nothing; a control character can't be asked for, so there is no answer to give.
            if not key or any(value is None or not str(value).strip() for value in key.values()):
                answers[at] = FindAnswer()
            elif any(ord(char) < 32 for value in key.values() for char in str(value)):
                answers[at] = FindAnswer(cant_tell=True)
            else:
                asked.setdefault(tuple(sorted(key)), []).append(at)
        for names, places in asked.items():
            want = await self._want(object, None if fields is None else fields | set(names))
            for part in parts(places, want.schema.capabilities.find_batch):
                condition = self._and(self._keys(want, names, [keys[at] for at in part]), self._org(want))
                records = await self._queries.select_all(want, condition)
                for at in part:
                    answers[at] = FindAnswer([each for each in records if _carries(each, keys[at])])
        return [answer or FindAnswer(cant_tell=True) for answer in answers]

    # -- pages ----------------------------------------------------------------------------------------------------

    async def _scan(self, want: Want, cursor: Cursor, *, full: bool) -> Page:
        """Everything, in the order of ids."""
        pk = want.schema.id_field
        after = f"{pk}>{literal(want.schema, str(cursor['after']))}" if cursor.get("after") else ""
        condition = self._and(after, *self._standing(want))
        selected = await self._queries.select(want, condition, f"{pk} ASC", self._settings.page_size)
        more = selected.size == self._settings.page_size
        if selected.last:
            cursor = {"after": str(selected.last[pk])}
        if not full and not more:
            cursor = {}
        return Page(_changes(selected), cursor, more, *selected.asked, complete=full and not more)

    async def _window(self, want: Want, cursor: Cursor) -> Page:
        """One page of a pass: first what was edited since the last pass, then what was only audited.

        A pass goes back by `overlap` behind the start of the one before, because a commit may come later than its
        stamp, and the server's clock may differ from ours. Within a pass the returned stamp and id are fed back as they
        came: the server rounds times to 1/300 s.
        """
        cursor.setdefault("started", self._clock.now())
        stamp = str(cursor.setdefault("stamp", want.schema.modified_field))
        pk, since = want.schema.id_field, cursor.get("from")
        low = None if since is None else local_time(int(since - self._settings.overlap * 1000), self._settings.zone)
        conditions = [f"{stamp}>='{low}'" if low else ""]
        if stamp != want.schema.modified_field:
            conditions.append(f"{want.schema.modified_field}<'{low}'")  # what was edited too came already
        if cursor.get("at"):
            at, id = quoted(cursor["at"]), literal(want.schema, str(cursor["after"]))
            conditions += [f"{stamp}>={at}", f"({stamp}>{at} or {pk}>{id})"]
        condition = self._and(*conditions, *self._standing(want))
        order = f"{stamp} ASC,{pk} ASC"
        selected = await self._queries.select(replace(want, stamp=stamp), condition, order, self._settings.page_size)
        if selected.size == self._settings.page_size:
            following, more = {**cursor, "at": selected.last[stamp], "after": str(selected.last[pk])}, True
        else:
            following, more = self._next_pass(want, cursor, stamp)
        return Page(_changes(selected), following, more, *selected.asked)

    def _next_pass(self, want: Want, cursor: Cursor, stamp: str) -> tuple[Cursor, bool]:
        """The cursor behind the last page of a stamp, and whether this pass goes on with the other stamp."""
        approved = want.layout.approved
        if stamp == want.schema.modified_field and approved in want.schema.fields and cursor.get("from") is not None:
            return {"from": cursor["from"], "started": cursor["started"], "stamp": approved}, True
        return {"from": cursor["started"]}, False

    # -- conditions -----------------------------------------------------------------------------------------------

    def _standing(self, want: Want) -> list[str]:
        """Conditions that every read of this object carries."""
        schema, layout = want.schema, want.layout
        conditions = [self._settings.filters.get(schema.name, ""), self._org(want)]
        state = schema.facts.state_field
        if self._settings.read_status and state and layout.submits:
            conditions.append(f"{state} in ({','.join(map(quoted, self._settings.read_status))})")
        return conditions

    def _org(self, want: Want) -> str:
        """Base data has a row for each organisation that uses it, with the same number: we want our own."""
        number, field = self._settings.org_num, want.layout.use_org
        return f"{field}={quoted(number)}" if number not in ("", "0") and field in want.schema.fields else ""

    def _keys(self, want: Want, names: Sequence[str], keys: Sequence[Mapping[str, Any]]) -> str:
        columns = [want.layout.query_key(name) for name in names]
        if len(columns) == 1:
            return f"{columns[0]} in ({','.join(quoted(key[names[0]]) for key in keys)})"
        each = [
            " and ".join(f"{column}={quoted(key[name])}" for column, name in zip(columns, names, strict=True))
            for key in keys
        ]
        return " or ".join(f"({one})" for one in each)

    def _and(self, *conditions: str) -> str:
        return " and ".join(f"({condition})" for condition in conditions if condition)

    async def _want(self, object: str, names: frozenset[str] | None) -> Want:
        return Want.of(await self._describe(object), self._forms.layout(object), names)

    def _now(self) -> Asked:
        return Asked(self._clock.now(), self._clock.now())


def _changes(selected: Selection) -> list[Change]:
    return [Change(record) for record in selected.records]


def _is_id(schema: ObjectSchema, id: str) -> bool:
    return schema.fields[schema.id_field].type is not FieldType.INTEGER or (id.isascii() and id.isdigit())


def _carries(record: Record, key: Mapping[str, Any]) -> bool:
    """Whether a record carries exactly this key: the server's collation takes 'abc' for 'ABC ', and we do not."""
    return all(str(record.fields.get(name)) == str(value) for name, value in key.items())
