"""Reading Fxiaoke: windows over the modification time, scans by id, records in bulk, look-ups by key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.crm.fxiaoke.client import Answered, FxiaokeClient, Refusal
from connectors.crm.fxiaoke.describing import Describer
from connectors.crm.fxiaoke.paths import FIND_SIMPLE, data_path
from connectors.crm.fxiaoke.schema import ID, MODIFIED, STATE, VERSION, plain_of, record_of, tables_of
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from hub.connector.contract import Cursor, FindAnswer, GetAnswer, GetKind, Page, ReadRequest
from hub.connector.kit import Kit
from hub.domain.outcome import OutcomeKind
from hub.domain.record import Change, ChangeKind, Fields, Record
from hub.domain.schema import Field, FieldType, ObjectSchema

PAGE = 100  # the vendor's most for one query, and what we ask for in one IN list
_IMPOSSIBLE_ID = "0" * 24
_NUMBERS = frozenset({FieldType.DECIMAL, FieldType.MONEY, FieldType.INTEGER})

Filter = dict[str, Any]


def condition(field: str, operator: str, *values: object) -> Filter:
    """One filter; the vendor wants every value in a list, and as text."""
    return {"field_name": field, "operator": operator, "field_values": [_word(value) for value in values]}


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Reader:
    """The reading half of the connector."""

    def __init__(self, settings: FxiaokeSettings, kit: Kit, client: FxiaokeClient, describer: Describer) -> None:
        self._settings = settings
        self._kit = kit
        self._client = client
        self._describer = describer
        self._few = asyncio.Semaphore(settings.concurrency)
        self._missing: dict[str, str | None] = {}  # object -> the code for 'no such record', once it was learned

    # --- streams ------------------------------------------------------------------------------------------------

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        """The next page of a full scan, or of the window [W, U) over the modification time.

        Both go by `_id` ascending from the last id seen, so that a page is never shifted by what changes meanwhile: a
        record that is saved during the read leaves the window, and the next window has it.
        """
        schema = await self._describer.schema(request.object)
        if request.full:
            return await self._scan(schema, request, cursor or {})
        cursor = cursor or {"from": request.since or 0, "first": True}
        upper = cursor.get("until")
        if upper is None:
            upper = self._kit.clock.now() - int(self._settings.lag * 1000)
            if upper <= cursor["from"]:
                now = self._kit.clock.now()
                return Page([], cursor, more=False, asked=now, answered=now)
        overlap = 0 if cursor.get("first") else int(self._settings.overlap * 1000)
        filters = [condition(MODIFIED, "GTE", max(0, cursor["from"] - overlap)), condition(MODIFIED, "LT", upper)]
        changes, last, answered = await self._page(schema, request, filters, cursor.get("id"))
        if last is None:
            return Page(changes, {"from": upper}, more=False, asked=answered.asked, answered=answered.answered)
        following = {**cursor, "until": upper, "id": last}
        return Page(changes, following, more=True, asked=answered.asked, answered=answered.answered)

    async def _scan(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        changes, last, answered = await self._page(schema, request, [], cursor.get("id"))
        following: Cursor = {} if last is None else {"id": last}
        return Page(
            changes,
            following,
            more=last is not None,
            asked=answered.asked,
            answered=answered.answered,
            complete=last is None,
        )

    async def _page(
        self, schema: ObjectSchema, request: ReadRequest, filters: list[Filter], after: str | None
    ) -> tuple[list[Change], str | None, Answered]:
        """One page after an id: its changes, the id to go on from (None: it was the last), and when it was read."""
        if after is not None:
            filters = [*filters, condition(ID, "GT", after)]
        size = self._settings.page_size
        raw, answered = await self._query(schema, filters, size, request.fields)
        records = [record_of(schema, row, request.fields) for row in raw]
        await self._fill_tables(schema, records, request.fields)
        changes = [
            Change(record, ChangeKind.DELETED if _in_bin(row) else ChangeKind.SAVED)
            for record, row in zip(records, raw, strict=True)
        ]
        return changes, (records[-1].id if len(records) == size else None), answered

    # --- by id, by master, by key -------------------------------------------------------------------------------

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        """Whole records in lists; what a list leaves out is asked for alone, to tell gone from hidden."""
        schema = await self._describer.schema(object)
        wanted = list(dict.fromkeys(ids))
        chunks = [wanted[at : at + PAGE] for at in range(0, len(wanted), PAGE)]
        found: dict[str, GetAnswer] = {}
        for part in await asyncio.gather(*(self._get_listed(schema, chunk, fields) for chunk in chunks)):
            found.update(part)
        absent = [id for id in wanted if id not in found]
        for answer in await asyncio.gather(*(self.get_one(schema, id, fields) for id in absent)):
            found[answer.id] = answer
        records = [answer.record for answer in found.values() if answer.record is not None]
        await self._fill_tables(schema, records, fields)
        return [found[id] for id in ids]

    async def _get_listed(
        self, schema: ObjectSchema, ids: list[str], fields: frozenset[str] | None
    ) -> dict[str, GetAnswer]:
        raw, answered = await self._query(schema, [condition(ID, "IN", *ids)], PAGE, fields)
        return {
            str(row[ID]): GetAnswer(
                str(row[ID]), GetKind.FOUND, record_of(schema, row, fields), answered.asked, answered.answered
            )
            for row in raw
            if not _in_bin(row)
        }

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None = None) -> GetAnswer:
        """One record without its tables, by the call that tells why it is not there."""
        body = {"data": {"dataObjectApiName": schema.name, "objectDataId": id}}
        async with self._few:
            asked = self._kit.clock.now()
            try:
                answered = await self._client.ask(data_path(schema.name, "get"), body)
            except Refusal as refusal:
                kind = await self._why_absent(schema.name, refusal)
                return GetAnswer(id, kind, None, asked, self._kit.clock.now())
        raw = answered.data
        if not raw or _in_bin(raw):
            return GetAnswer(id, GetKind.GONE, None, answered.asked, answered.answered)
        record = record_of(schema, {ID: id, **raw}, fields)
        return GetAnswer(id, GetKind.FOUND, record, answered.asked, answered.answered)

    async def _why_absent(self, object: str, refusal: Refusal) -> GetKind:
        """What a refused get means.

        The vendor publishes no code for 'no such record'. So we ask once for an id that can't exist: if that is refused
        with the same code, we know which code it is.
        """
        if refusal.verdict.kind is OutcomeKind.GONE:
            return GetKind.GONE
        if refusal.refuses_us:
            return GetKind.NO_RIGHTS
        if refusal.verdict.known or not self._settings.learn_missing:
            return GetKind.CANT_TELL
        if object not in self._missing:
            self._missing[object] = await self._learn_missing(object)
        return GetKind.GONE if self._missing[object] == refusal.code else GetKind.CANT_TELL

    async def _learn_missing(self, object: str) -> str | None:
        body = {"data": {"dataObjectApiName": object, "objectDataId": _IMPOSSIBLE_ID}}
        try:
            await self._client.ask(data_path(object, "get"), body)
        except Refusal as refusal:
            return None if refusal.verdict.known else refusal.code
        return None

    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None = None
    ) -> dict[str, list[Record]]:
        """All records of a detail object whose master is one of these, in the order of the rows."""
        schema = await self._describer.schema(object)
        asked = None if fields is None else fields | {master_field, "order_by"}
        wanted = list(dict.fromkeys(masters))
        chunks = [wanted[at : at + PAGE] for at in range(0, len(wanted), PAGE)]
        by_master: dict[str, list[tuple[Any, Record]]] = {master: [] for master in wanted}
        for rows in await asyncio.gather(
            *(self._all(schema, [condition(master_field, "IN", *c)], asked) for c in chunks)
        ):
            for raw in rows:
                master = str(raw.get(master_field))
                if master in by_master and not _in_bin(raw):
                    by_master[master].append((_row_order(raw), record_of(schema, raw, fields)))
        return {
            master: [record for _, record in sorted(rows, key=lambda row: row[0])] for master, rows in by_master.items()
        }

    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        """Records by keys: in lists where keys have one field, else a call a key. Empty values match nothing."""
        schema = await self._describer.schema(object)
        asked = None if fields is None else fields | {name for key in keys for name in key}
        answers = [FindAnswer() for _ in keys]
        lists: dict[str, dict[str, list[int]]] = {}
        alone: list[int] = []
        for at, key in enumerate(keys):
            if not key or any(value in (None, "", []) for value in key.values()):
                continue
            if len(key) == 1:
                (name,) = key
                lists.setdefault(name, {}).setdefault(_word(key[name]), []).append(at)
            else:
                alone.append(at)
        questions: list[tuple[list[Filter], list[int]]] = []
        for name, places in lists.items():
            words = list(places)
            for start in range(0, len(words), PAGE):
                chunk = words[start : start + PAGE]
                questions.append(([condition(name, "IN", *chunk)], [at for word in chunk for at in places[word]]))
        questions += [([condition(name, "EQ", value) for name, value in keys[at].items()], [at]) for at in alone]
        found = await asyncio.gather(*(self._all(schema, filters, asked) for filters, _ in questions))
        for rows, (_, places_asked) in zip(found, questions, strict=True):
            for raw in rows:
                record = record_of(schema, raw, asked)
                for at in places_asked:
                    if not _in_bin(raw) and _carries(schema, record.fields, keys[at]):
                        answers[at].records.append(record)
        unique = {id(record): record for answer in answers for record in answer.records}
        await self._fill_tables(schema, list(unique.values()), fields)
        return answers

    # --- queries ------------------------------------------------------------------------------------------------

    async def _all(self, schema: ObjectSchema, filters: list[Filter], fields: frozenset[str] | None) -> list[Any]:
        """Every record that matches, by the keyset."""
        rows: list[Any] = []
        after: list[Filter] = []
        while True:
            page, _ = await self._query(schema, [*filters, *after], PAGE, fields)
            rows += page
            if len(page) < PAGE:
                return rows
            after = [condition(ID, "GT", page[-1][ID])]

    async def _query(
        self, schema: ObjectSchema, filters: list[Filter], limit: int, fields: frozenset[str] | None
    ) -> tuple[list[Any], Answered]:
        info: dict[str, Any] = {
            "limit": limit,
            "offset": 0,
            "filters": filters,
            "orders": [{"fieldName": ID, "isAsc": True}],
        }
        data: dict[str, Any] = {
            "dataObjectApiName": schema.name,
            "find_explicit_total_num": False,
            "search_query_info": info,
        }
        projection = None
        if fields is not None:
            projection = sorted({field.name for field in plain_of(schema, fields)} | {ID, VERSION, MODIFIED, STATE})
        # What the vendor works out on the fly is only worth its price where somebody asked for it.
        if projection is not None and not self._describer.live(schema.name).intersection(projection):
            path, data["field_projection"] = FIND_SIMPLE, projection
        else:
            path = data_path(schema.name, "query")
            if projection is not None:
                info["fieldProjection"] = projection
        async with self._few:
            answered = await self._client.read(path, {"data": data})
        return list((answered.data or {}).get("dataList") or ()), answered

    async def _fill_tables(
        self, schema: ObjectSchema, records: Sequence[Record], fields: frozenset[str] | None
    ) -> None:
        """Put the rows of every asked table into the records: one query a table for up to a hundred masters."""
        if not records:
            return
        for table in tables_of(schema, fields):
            rows = await self._rows(table, [record.id for record in records])
            for record in records:
                record.fields[table.name] = [dict(row.fields) for row in rows[record.id]]

    async def _rows(self, table: Field, masters: Sequence[str]) -> dict[str, list[Record]]:
        detail = await self._describer.schema(table.name)
        return await self.children(table.name, str(detail.master_field), masters)


def _in_bin(raw: Mapping[str, Any]) -> bool:
    return raw.get(STATE) == "invalid" or raw.get("is_deleted") in (True, "true", "1")


def _row_order(raw: Mapping[str, Any]) -> tuple[Decimal, str]:
    try:
        place = Decimal(str(raw.get("order_by") or 0))
    except InvalidOperation:
        place = Decimal()
    return place, str(raw[ID])


def _carries(schema: ObjectSchema, values: Fields, key: Mapping[str, Any]) -> bool:
    """Whether a record really has the key: the vendor's own comparison may be looser than ours (case, blanks)."""
    return all(_equal(schema.fields.get(name), values.get(name), wanted) for name, wanted in key.items())


def _equal(field: Field | None, value: Any, wanted: Any) -> bool:
    if isinstance(value, list):
        members = wanted if isinstance(wanted, list) else [wanted]
        return [str(member) for member in value] == [str(member) for member in members]
    if field is not None and field.type in _NUMBERS:
        try:
            return value is not None and Decimal(str(value)) == Decimal(str(wanted))
        except InvalidOperation:
            return False
    return value is not None and _word(value) == _word(wanted)
