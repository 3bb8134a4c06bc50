"""The simulator's ExecuteBillQuery: fields, filter, order, paging, and one row per entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice, product
from typing import Any

from connectors.erp.kingdee.simulator_filter import BadFilter, parse_filter, parse_order, sql_datetime
from connectors.erp.kingdee.simulator_forms import HEAD, Key
from connectors.erp.kingdee.simulator_store import Refused, Store
from hub.connector.table import Row
from hub.domain.schema import FieldType, Wire

HARD_LIMIT = 10_000
DEFAULT_LIMIT = 2_000

Joined = dict[str, Row]  # entity -> its row in this line of the result
Read = Callable[[Joined], Any]


@dataclass(frozen=True, slots=True)
class Column:
    entity: str
    read: Read


class Query:
    """One call. Raises Refused with MsgCode 8 (parameters), 9 (no such field), 4 (bad filter)."""

    def __init__(self, store: Store, data: dict[str, Any]) -> None:
        self.store = store
        self.form = store.form(str(data.get("FormId") or ""))
        self.names = [name.strip() for name in str(data.get("FieldKeys") or "").split(",") if name.strip()]
        if not self.names:
            raise Refused("字段列表FieldKeys不能为空", code=8)
        self.columns = [self.column(name) for name in self.names]
        try:
            self.filter = parse_filter(_filter_text(data.get("FilterString")))
            self.order = parse_order(str(data.get("OrderString") or ""))
        except BadFilter as error:
            raise Refused(f"过滤条件错误：{error}", code=4) from error
        self.start = max(0, int(data.get("StartRow") or 0))
        self.limit = min(int(data.get("Limit") or DEFAULT_LIMIT), HARD_LIMIT)
        top = int(data.get("TopRowCount") or 0)
        if top:
            self.limit = max(0, min(self.limit, top - self.start))  # observed: it is an absolute end row

    def rows(self) -> list[list[Any]]:
        """The result, a list of values a line."""
        asked = {name: self.column(name) for name in self.filter.names}
        order = [(self.column(name), descending) for name, descending in self.order]
        entities = {column.entity for column in (*self.columns, *asked.values(), *(column for column, _ in order))}
        lines = self._matching(asked, [name for name in self.form.tables if name in entities])
        if order and not self._in_order(entities):
            lines = iter(_sorted(list(lines), order))
        try:
            page = list(islice(lines, self.start, self.start + self.limit))
        except BadFilter as error:
            raise Refused(f"过滤条件错误：{error}", code=4) from error
        reads = [column.read for column in self.columns]
        return [[_shown(read(line)) for read in reads] for line in page]

    def column(self, name: str) -> Column:
        """A name of FieldKeys, a filter or an order, made readable."""
        head, dot, member = name.partition(".")
        key = self.form.find(head)
        if head.lower() == self.form.pk.lower():
            return Column(HEAD, lambda line: line[HEAD].get(self.form.pk))
        if key is None:
            raise Refused(f"元数据中标识为{head}的字段不存在", code=9)
        if key.is_reference:
            return Column(key.entity, self._reference(key, member if dot else ""))
        if dot:
            raise Refused(f"元数据中标识为{name}的字段不存在", code=9)
        return Column(key.entity, _plain(key))

    def _reference(self, key: Key, member: str) -> Read:
        entity, inner, target = key.entity, key.inner, key.field.reference or ""
        if not member:
            return lambda line: line[entity].get(inner) or 0
        if member.lower() == "fnumber" and target not in self.store.forms:
            return lambda line: line[entity].get(key.stored)
        form = self.store.forms.get(target)
        known = form.find(member) if form else None
        if known is None:
            raise Refused(f"元数据中标识为{key.key}.{member}的字段不存在", code=9)

        def read(line: Joined) -> Any:
            found = self.store.table(target).get(str(line[entity].get(inner)))
            return None if found is None else found.get(known.stored)

        return read

    def _matching(self, asked: dict[str, Column], tables: list[str]) -> Iterator[Joined]:
        test, reads = self.filter.test, {name: column.read for name, column in asked.items()}
        for head in self._candidates():
            for line in _expanded(head, tables):
                if test(lambda name, line=line: reads[name](line)):  # type: ignore[misc]
                    yield line

    def _candidates(self) -> Iterable[Row]:
        """The heads worth looking at: by the primary key, by an index, or in the order that is asked for."""
        equals = {self._plain_name(name): values for name, values in self.filter.equals.items()}
        if self.form.pk in equals:
            ids = sorted({str(value).strip() for value in equals[self.form.pk]}, key=lambda id: (len(id), id))
            return [row for row in (self.store.shown(self.form.id, id) for id in ids) if row is not None]
        for name, values in equals.items():
            found = self.store.by_text(self.form.id, name, values)
            if found is not None:
                return self._findable(found)
        return self._findable(self._ordered())

    def _ordered(self) -> Iterable[Row]:
        table = self.store.table(self.form.id)
        stamp = self._leading_stamp()
        if stamp is None:
            least = str(self.filter.above.get(self.form.pk) or "")
            return table.after(str(int(least) - 1)) if least.isdigit() else table
        low = self.filter.above.get(stamp)
        try:
            moment = None if low is None else stored_moment(sql_datetime(datetime.fromisoformat(str(low).strip())))
        except ValueError:
            raise Refused(f"过滤条件错误：“{low}”不是有效的日期", code=4) from None
        return table.between(stamp, moment)

    def _leading_stamp(self) -> str | None:
        first = self.order[0] if self.order else None
        table = self.store.table(self.form.id)
        if first is None or first[1] or not table.orders(first[0]):
            return None
        # Rows without the stamp are not in its line; a lower bound leaves them out anyway.
        return first[0] if first[0] == "FModifyDate" or first[0] in self.filter.above else None

    def _in_order(self, entities: set[str]) -> bool:
        """Whether candidates already come in the order that is asked for."""
        if entities - {HEAD} or self._uses_index():
            return False
        names = [name for name, descending in self.order if not descending]
        if len(names) != len(self.order):
            return False
        return names == [self.form.pk] or (self._leading_stamp() is not None and names[1:] in ([], [self.form.pk]))

    def _uses_index(self) -> bool:
        names = {self._plain_name(name) for name in self.filter.equals}
        return any(name == self.form.pk or self.store.has_text(self.form.id, name) for name in names)

    def _plain_name(self, name: str) -> str:
        if name.lower() == self.form.pk.lower():
            return self.form.pk
        key = self.form.find(name)
        return key.stored if key is not None and key.entity == HEAD and not key.is_reference else name

    def _findable(self, rows: Iterable[Row]) -> Iterator[Row]:
        form = self.form
        for row in rows:
            id = str(row[form.pk])
            shown = self.store.shown(form.id, id) if self.store.findable(form.id, id) else None
            if shown is not None:
                yield shown


def stored_moment(moment: datetime) -> str:
    """How records keep a time: fixed width, so that text order is time order."""
    return moment.isoformat(timespec="milliseconds")


def _expanded(head: Row, tables: list[str]) -> Iterator[Joined]:
    """One line per entry; several entities make a cross product; a bill without entries keeps one line."""
    if not tables:
        yield {HEAD: head}
        return
    for combination in product(*[head.get(table) or [{}] for table in tables]):
        yield {HEAD: head, **dict(zip(tables, combination, strict=True))}


def _plain(key: Key) -> Read:
    entity, stored = key.entity, key.stored
    if key.field.type in (FieldType.DECIMAL, FieldType.MONEY):
        return lambda line: Decimal(line[entity].get(stored) or 0)
    if key.field.type in (FieldType.DATE, FieldType.DATETIME):
        return lambda line: _as_moment(line[entity].get(stored))
    if key.field.type is FieldType.BOOLEAN and key.field.wire is not Wire.AB:
        return lambda line: bool(line[entity].get(stored))
    if key.field.type is FieldType.INTEGER:
        return lambda line: line[entity].get(stored)
    return lambda line: line[entity].get(stored) or " "  # an unset text is one blank


def _as_moment(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        text = value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
        return text.rstrip("0") if value.microsecond else text
    return value


def _sorted(lines: list[Joined], order: list[tuple[Column, bool]]) -> list[Joined]:
    for column, descending in reversed(order):
        lines.sort(key=lambda line, read=column.read: _rank(read(line)), reverse=descending)  # type: ignore[misc]
    return lines


def _rank(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    if isinstance(value, bool | int | Decimal):
        return (1, Decimal(value))
    return (2, value.isoformat() if isinstance(value, datetime) else str(value).casefold())


def _filter_text(given: Any) -> str:
    """FilterString as text, or as the newer list of conditions (whose compare codes are those of SQL here)."""
    if not isinstance(given, list):
        return str(given or "")
    parts: list[str] = []
    for at, each in enumerate(given):
        value = str(each.get("Value", "")).replace("'", "''")
        logic = "" if at == len(given) - 1 else str(each.get("Logic") or "and")
        parts.append(
            f"{each.get('Left', '')} {each.get('FieldName', '')} {each.get('Compare', '=')} '{value}'"
            f" {each.get('Right', '')} {logic}"
        )
    return " ".join(parts)
