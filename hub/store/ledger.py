"""The ledger as people see and steer it: lists by filter, one delivery whole, retry, skip and hold in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, case, func, or_, select, update

from hub.domain.clock import iso
from hub.domain.delivery import State
from hub.domain.errors import InvalidInput, NotFound
from hub.store import bulk, claims
from hub.store.engine import Store
from hub.store.tables import attempt, delivery, payload, waiting, waiting_lookup


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries: all that is given must hold. `title` is the beginning of it, `source_id` and `id` are exact."""

    flow: str | None = None
    state: str | None = None
    reason: str | None = None
    title: str | None = None
    source_id: str | None = None
    id: int | None = None

    @property
    def empty(self) -> bool:
        return all(getattr(self, one.name) is None for one in fields(self))

    def conditions(self) -> list[ColumnElement[bool]]:
        if self.state is not None and self.state not in set(State):
            known = ", ".join(state.value for state in State)
            raise InvalidInput(f"there is no state {self.state!r}", hint=f"states are: {known}")
        exact = {
            "flow": self.flow,
            "state": self.state,
            "reason": self.reason,
            "source_id": self.source_id,
            "id": self.id,
        }
        found: list[ColumnElement[bool]] = [
            delivery.c[name] == value for name, value in exact.items() if value is not None
        ]
        if self.title is not None:
            found.append(delivery.c.title.startswith(self.title, autoescape=True))
        return found


@dataclass(frozen=True, slots=True)
class Line:
    """One delivery in a list; times are ISO 8601 in UTC."""

    id: int
    flow: str
    source_id: str
    title: str | None
    state: str
    reason: str | None
    message: str | None
    attempts: int
    since: str | None
    due: str | None
    captured: str | None
    revision: int
    delivered_revision: int | None
    entity: int


_LINE = (
    delivery.c.id,
    delivery.c.flow,
    delivery.c.source_id,
    delivery.c.title,
    delivery.c.state,
    delivery.c.reason,
    delivery.c.message,
    delivery.c.attempts,
    delivery.c.since,
    delivery.c.due,
    delivery.c.captured,
    delivery.c.revision,
    delivery.c.delivered_revision,
    delivery.c.entity,
)


def _line(row: Any) -> Line:
    values: list[Any] = list(row)
    values[8:11] = [iso(one) for one in values[8:11]]
    return Line(*values)


async def lines(store: Store, given: Filter, *, limit: int = 50, offset: int = 0) -> list[Line]:
    """The deliveries that a filter names, what moved last first."""
    statement: Select[Any] = (
        select(*_LINE)
        .where(*given.conditions())
        .order_by(delivery.c.since.desc(), delivery.c.id)
        .limit(limit)
        .offset(offset)
    )
    async with store.read() as conn:
        return [_line(row) for row in (await conn.execute(statement)).all()]


async def count(store: Store, given: Filter) -> int:
    statement = select(func.count()).select_from(delivery).where(*given.conditions())
    async with store.read() as conn:
        return int((await conn.execute(statement)).scalar_one())


async def reasons(store: Store, flow: str | None = None) -> list[tuple[str, str, str | None, int, int]]:
    """How many deliveries rest in each state and for which reason: (flow, state, reason, how many, oldest since)."""
    statement = select(
        delivery.c.flow, delivery.c.state, delivery.c.reason, func.count(), func.min(delivery.c.since)
    ).group_by(delivery.c.flow, delivery.c.state, delivery.c.reason)
    if flow is not None:
        statement = statement.where(delivery.c.flow == flow)
    async with store.read() as conn:
        return [(row[0], row[1], row[2], row[3], row[4]) for row in (await conn.execute(statement)).all()]


async def show(store: Store, delivery_id: int) -> dict[str, Any]:
    """One delivery whole: its line, payload, open intent, attempts, and what it waits for. Raises NotFound."""
    async with store.read() as conn:
        row = (await conn.execute(select(*_LINE).where(delivery.c.id == delivery_id))).first()
        if row is None:
            raise NotFound(f"there is no delivery {delivery_id}", hint="`hub deliveries list` shows what there is")
        body = (await conn.execute(select(payload.c.body).where(payload.c.delivery == delivery_id))).scalar()
        left = (await claims.intents(conn, [delivery_id])).get(delivery_id, [])
        tried = (
            await conn.execute(select(attempt).where(attempt.c.delivery == delivery_id).order_by(attempt.c.at))
        ).all()
        entities = (
            await conn.execute(select(waiting.c.entity, waiting.c.field).where(waiting.c.delivery == delivery_id))
        ).all()
        tables = (
            await conn.execute(
                select(waiting_lookup.c.table, waiting_lookup.c.key).where(waiting_lookup.c.delivery == delivery_id)
            )
        ).all()
    return {
        **asdict(_line(row)),
        "payload": orjson.loads(body) if body else None,
        "intent": [one for _, body in left for one in orjson.loads(body)] or None,
        "waits_for": [{"entity": one[0], "field": one[1] or None} for one in entities],
        "waits_for_rows": [{"table": one[0], "key": orjson.loads(one[1])} for one in tables],
        "attempts_made": [_attempt(one) for one in tried],
    }


def _attempt(row: Any) -> dict[str, Any]:
    return {
        "at": iso(row.at),
        "op": row.op,
        "outcome": row.outcome,
        "target_id": row.target_id,
        "code": row.code,
        "message": row.message,
        "fields": orjson.loads(row.fields) if row.fields else [],
        "before": orjson.loads(row.before) if row.before else None,
        "took_ms": row.took,
    }


_REST = (State.WORKING.value, State.DOUBT.value)


async def retry(store: Store, given: Filter) -> int:
    """Make these due now. What is delivered is the last capture there is: an older version is never sent over a
    newer.
    """
    return await _move(store, given, State.PENDING, reason=None, message=None)


async def skip(store: Store, given: Filter, *, why: str) -> int:
    """Put these to rest; the next change of the source revives them."""
    return await _move(store, given, State.FILTERED, reason="skipped", message=why)


async def hold(store: Store, given: Filter, *, why: str) -> int:
    """Keep these until a person decides; the next change of the source revives them."""
    return await _move(store, given, State.HELD, reason="person", message=why)


async def _move(store: Store, given: Filter, state: State, *, reason: str | None, message: str | None) -> int:
    if given.empty:
        raise InvalidInput(
            "an empty filter would name every delivery there is",
            hint="name a flow, a state, a reason, a title, a record or a delivery",
        )
    now = store.clock.now()
    movable: ColumnElement[bool] = delivery.c.state.notin_(_REST)
    values: dict[str, Any] = {"state": state.value, "reason": reason, "message": message, "since": now}
    if state is State.PENDING:
        # A write in doubt keeps its turn, only sooner looked at; the answer must be found before anything is sent.
        values = {
            "state": case((delivery.c.state == State.DOUBT.value, State.DOUBT.value), else_=State.PENDING.value),
            "due": case((delivery.c.state == State.DOUBT.value, delivery.c.due), else_=now),
            "attempts": 0,
        }
        movable = delivery.c.state != State.WORKING.value
    # On SQLite a row does not show that it is in work; see `claims.claim`.
    here = delivery.c.entity.notin_(store.in_work)
    statement = update(delivery).where(*given.conditions(), movable, here).values(**values)
    async with store.begin() as conn:
        return int((await conn.execute(statement)).rowcount)


async def by_number(store: Store, text: str, *, limit: int = 20) -> list[Line]:
    """Deliveries that a person may mean by `text`: their title, their record's id, or their own id."""
    means: list[ColumnElement[bool]] = [delivery.c.title == text, delivery.c.source_id == text]
    if text.isdigit() and len(text) < 19:
        means.append(delivery.c.id == int(text))
    statement = select(*_LINE).where(or_(*means)).order_by(delivery.c.since.desc()).limit(limit)
    async with store.read() as conn:
        return [_line(row) for row in (await conn.execute(statement)).all()]


async def of_entities(store: Store, entities: Sequence[int]) -> dict[int, list[Line]]:
    """What is owed for these entities, in any flow."""
    async with store.read() as conn:
        rows = await bulk.fetch(conn, select(*_LINE), delivery.c.entity, entities)
    found: dict[int, list[Line]] = {}
    for row in rows:
        line = _line(row)
        found.setdefault(line.entity, []).append(line)
    return found
