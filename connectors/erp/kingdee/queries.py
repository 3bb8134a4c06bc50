"""Questions to ExecuteBillQuery: heads by a filter, and their tables by id, so that no bill is ever cut in two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from connectors.erp.kingdee.catalogue import Layout
from connectors.erp.kingdee.client import Found, KingdeeClient
from connectors.erp.kingdee.values import epoch_ms, from_cell, quoted
from hub.domain.errors import InvalidInput, VendorError
from hub.domain.record import Fields, Record, Value
from hub.domain.schema import Field, FieldType, ObjectSchema

T = TypeVar("T")

MOST_ROWS = 2_000  # lines a call: 10,000 by the newer documents, 2,000 in many tenants
_MOST_REFERENCES = 25  # a query joins a table for each, and about 30 is the vendor's limit
_IDS_A_CALL = 200
_TRIES = 3
_ROW_OWN = ("FEntryID", "FSeq")


class Asked(NamedTuple):
    """Between which milliseconds of the hub's clock a question was asked and answered."""

    asked: int
    answered: int

    @classmethod
    def over(cls, times: Sequence[Asked]) -> Asked:
        return cls(min(each.asked for each in times), max(each.answered for each in times))


class Selection(NamedTuple):
    """Records that were selected, and where the selection ended.

    `size` and `last` (the last head's id and stamps) are those of the first question: a record that was saved or
    deleted while its rows were being asked for must not move the place where the next page begins, nor make this page
    look short.
    """

    records: list[Record]
    asked: Asked
    size: int
    last: Fields


@dataclass(frozen=True, slots=True)
class Want:
    """Which fields of an object are to be read: its heads, and tables with all of their fields. `stamp` is a second
    stamp that the first question must bring."""

    schema: ObjectSchema
    layout: Layout
    heads: tuple[str, ...]
    tables: tuple[str, ...]
    stamp: str | None = None

    @classmethod
    def of(cls, schema: ObjectSchema, layout: Layout, names: frozenset[str] | None = None) -> Want:
        """`names` None: all of them. Raises InvalidInput for one that the schema doesn't have."""
        unknown = sorted((names or frozenset()) - schema.fields.keys())
        if unknown:
            raise InvalidInput(f"{schema.name} has no field {', '.join(unknown)}", hint="look at its schema")
        wanted = [name for name in schema.fields if names is None or name in names]
        tables = tuple(name for name in wanted if schema.fields[name].type is FieldType.ROWS)
        return cls(schema, layout, tuple(name for name in wanted if name not in tables), tables)

    @property
    def always(self) -> list[str]:
        """What every query of heads brings: the id, the stamp of the last edit, and the second stamp."""
        names = (self.schema.id_field, self.schema.modified_field, self.stamp)
        return list(dict.fromkeys(name for name in names if name))

    def chunks(self) -> list[list[str]]:
        """Heads in groups with few enough references, at least one group."""
        rest = [name for name in self.heads if name not in self.always]
        return list(_few_references(rest, self.schema.fields)) or [[]]


class Queries:
    """Reads records whole, as a `Want` says. Raises VendorError and Unreachable; an error is never 'nothing'."""

    def __init__(self, client: KingdeeClient, zone: ZoneInfo) -> None:
        self._client = client
        self._zone = zone

    async def select(self, want: Want, condition: str, order: str, limit: int) -> Selection:
        """The first records that meet a condition, in an order, with their tables."""
        chunks = want.chunks()
        heads, asked = await self._heads(want, chunks[0], condition, order, limit)
        size, last = len(heads), dict(next(reversed(heads.values()), {}))
        moved, unseen = await self._fill(want, chunks[1:], heads)
        for _ in range(_TRIES):
            # Somebody saved between our questions: a head of before with rows of after is no state of the record.
            if not moved:
                break
            again, _asked = await self._heads(want, chunks[0], in_ids(want.schema, moved), "", len(moved))
            heads = {id: again.get(id, head) for id, head in heads.items() if id not in moved or id in again}
            moved, more = await self._fill(want, chunks[1:], {id: heads[id] for id in moved if id in heads})
            unseen |= more
        if unseen:
            # No line at all came of these: they have no rows, or they were deleted meanwhile.
            there, _asked = await self._heads(want, (), in_ids(want.schema, list(unseen)), "", len(unseen))
            heads = {id: head for id, head in heads.items() if id not in unseen or id in there}
        return Selection([self._record(want, id, head) for id, head in heads.items()], asked, size, last)

    async def select_all(self, want: Want, condition: str) -> list[Record]:
        """All records that meet a condition, walked by id."""
        pk, found, after = want.schema.id_field, list[Record](), ""
        while True:
            selected = await self.select(want, f"({condition}){after}", f"{pk} ASC", MOST_ROWS)
            found += selected.records
            if selected.size < MOST_ROWS:
                return found
            after = f" and {pk}>{literal(want.schema, str(selected.last[pk]))}"

    async def by_id(self, want: Want, ids: Sequence[str]) -> tuple[dict[str, Record], Asked]:
        """Records by id; an id that is missing in the answer is missing in Kingdee (or may not be seen)."""
        found: dict[str, Record] = {}
        times: list[Asked] = []
        for part in parts(ids, _IDS_A_CALL):
            selected = await self.select(want, in_ids(want.schema, part), "", len(part))
            found |= {record.id: record for record in selected.records}
            times.append(selected.asked)
        return found, Asked.over(times)

    async def rows(
        self, want: Want, table: str, ids: Sequence[str], names: Sequence[str]
    ) -> tuple[dict[str, list[Fields]], dict[str, Value]]:
        """A table's rows by the head's id, in their order, and the stamp that each head had by then."""
        fields = want.schema.fields[table].rows or {}
        heads = want.always
        merged: dict[str, dict[str, Fields]] = {id: {} for id in ids}
        stamps: dict[str, Value] = {}
        inner = [name for name in names if name not in _ROW_OWN]
        for chunk in list(_few_references(inner, fields)) or [[]]:
            columns = [*_ROW_OWN, *chunk]
            keys = [*map(want.layout.query_key, heads), *(want.layout.row_query_key(table, name) for name in columns)]
            known = [
                *(want.schema.fields[name] for name in heads),
                *(fields.get(name) or Field(name) for name in columns),
            ]
            for part in parts(ids, _IDS_A_CALL):
                for cells in await self._lines(want.schema, keys, part, keys[len(heads)]):
                    values = [from_cell(field, cell) for field, cell in zip(known, cells, strict=True)]
                    id, row = str(values[0]), dict(zip(columns, values[len(heads) :], strict=True))
                    stamps[id] = values[1] if len(heads) > 1 else None
                    if not row["FEntryID"]:
                        continue  # a bill without rows brings one line without a row's id
                    merged[id].setdefault(str(row["FEntryID"]), {}).update(row)
        return {id: sorted(rows.values(), key=_place) for id, rows in merged.items()}, stamps

    async def _lines(
        self, schema: ObjectSchema, keys: list[str], ids: Sequence[str], row_id: str
    ) -> list[list[object]]:
        """Every line of these heads' rows, walked by the row's id: offsets would shift under an edit."""
        found: list[list[object]] = []
        at, after = keys.index(row_id), ""
        while True:
            answer = await self._ask(schema, keys, f"{in_ids(schema, ids)}{after}", f"{row_id} ASC", MOST_ROWS)
            found += answer.body
            numbered = [line[at] for line in answer.body if line[at]]
            if len(answer.body) < MOST_ROWS or not numbered:
                return found
            after = f" and {row_id}>{numbered[-1]}"

    async def _heads(
        self, want: Want, names: Sequence[str], condition: str, order: str, limit: int
    ) -> tuple[dict[str, Fields], Asked]:
        columns = [*want.always, *names]
        keys = [want.layout.query_key(name) for name in columns]
        answer = await self._ask(want.schema, keys, condition, order, limit)
        fields = [want.schema.fields[name] for name in columns]
        heads: dict[str, Fields] = {}
        for cells in answer.body:
            values = [from_cell(field, cell) for field, cell in zip(fields, cells, strict=True)]
            heads[str(values[0])] = dict(zip(columns, values, strict=True))
        return heads, Asked(answer.asked, answer.answered)

    async def _ask(self, schema: ObjectSchema, keys: Sequence[str], condition: str, order: str, limit: int) -> Found:
        data = {
            "FormId": schema.name,
            "FieldKeys": ",".join(keys),
            "FilterString": condition,
            "OrderString": order,
            "StartRow": 0,
            "Limit": limit,
            "TopRowCount": 0,
        }
        answer = await self._client.query(data)
        if any(len(line) != len(keys) for line in answer.body):
            raise VendorError(f"{schema.name}: a query for {len(keys)} fields was answered with another number of them")
        return answer

    async def _fill(
        self, want: Want, chunks: Sequence[Sequence[str]], heads: dict[str, Fields]
    ) -> tuple[list[str], set[str]]:
        """Add further heads and tables to these heads. Returns the ids whose record changed between the questions, and
        those of which a table brought no line."""
        moved: dict[str, None] = {}
        unseen: set[str] = set()
        stamp = want.schema.modified_field
        ids = list(heads)
        for chunk in chunks if ids else ():
            for part in parts(ids, _IDS_A_CALL):
                more, _ = await self._heads(want, chunk, in_ids(want.schema, part), "", len(part))
                for id in part:
                    if id in more and (stamp is None or more[id][stamp] == heads[id][stamp]):
                        heads[id].update(more[id])
                    else:
                        moved[id] = None
        for table in want.tables if ids else ():
            rows, stamps = await self.rows(want, table, ids, list(want.schema.fields[table].rows or {}))
            for id in ids:
                heads[id][table] = list(rows[id])
                if id not in stamps:
                    unseen.add(id)
                elif stamp is not None and stamps[id] != heads[id][stamp]:
                    moved[id] = None
        return list(moved), unseen

    def _record(self, want: Want, id: str, head: Fields) -> Record:
        stamp = want.schema.modified_field
        modified = epoch_ms(head.get(stamp), self._zone) if stamp else None
        fields = {name: head.get(name) for name in (*want.heads, *want.tables)}
        return Record(want.schema.name, id, fields, version=modified, modified=modified)


def in_ids(schema: ObjectSchema, ids: Sequence[str]) -> str:
    return f"{schema.id_field} in ({','.join(literal(schema, id) for id in ids)})"


def literal(schema: ObjectSchema, id: str) -> str:
    """An id inside a filter; most are numbers, a few forms have texts. Raises ValueError for what can be neither."""
    if schema.fields[schema.id_field].type is FieldType.INTEGER:
        return str(int(id))
    return quoted(id)


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def _few_references(names: Sequence[str], fields: Mapping[str, Field]) -> Iterator[list[str]]:
    chunk: list[str] = []
    references = 0
    for name in names:
        refers = name in fields and fields[name].type is FieldType.REFERENCE
        if refers and references == _MOST_REFERENCES:
            yield chunk
            chunk, references = [], 0
        chunk.append(name)
        references += refers
    if chunk:
        yield chunk


def _place(row: Fields) -> tuple[int, int]:
    """The order of rows: their numbers, then their ids."""
    return (int(str(row.get("FSeq") or 0)), int(str(row.get("FEntryID") or 0)))
