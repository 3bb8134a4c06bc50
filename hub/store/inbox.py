"""Webhooks as they arrived: stored before they are acknowledged, shown, replayed, purged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.errors import NotFound
from hub.store import bulk, hints
from hub.store.engine import Store
from hub.store.tables import inbox


class InboxState(StrEnum):
    NEW = "new"  # stored only: somebody has to turn it into hints
    HANDLED = "handled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook that proved true. `events` are JSON dicts with at least `object` and `id`; `headers` is JSON text."""

    system: str
    dedupe: str
    received: int
    events: Sequence[Mapping[str, Any]]
    body: bytes
    headers: str = "{}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the inbox. `body` is left empty in lists."""

    id: int
    system: str
    dedupe: str
    received: int
    state: str
    events: list[dict[str, Any]]
    headers: dict[str, str]
    copies: int
    error: str | None
    handled: int | None
    body: bytes = b""


_LISTED = ("id", "system", "dedupe", "received", "state", "events", "headers", "copies", "error", "handled")
_COLUMNS = ("id", "system", "dedupe", "received", "state", "events", "body", "headers", "copies", "error", "handled")


async def receive(store: Store, messages: Sequence[Message]) -> None:
    """Store webhooks and what they hint at, in one transaction: what is acknowledged after it is never lost.

    A copy (the same `dedupe` of a system) is only counted, but hints all the same: two changes may look alike, and a
    hint too many costs one fetch.
    """
    async with store.begin() as conn:
        await put(store, conn, messages, state=InboxState.HANDLED)
        await hints.put(store, conn, _named(messages))


async def put(
    store: Store,
    conn: AsyncConnection,
    messages: Sequence[Message],
    *,
    state: InboxState = InboxState.NEW,
    error: str | None = None,
) -> None:
    """Store webhooks only; those that are there already are counted as copies. `error` says why they FAILED.

    A copy of one that was passed on waits again: it is a hint of its own. It takes a new id, so that the receipt for
    the one before, which may be on its way, does not cover it.
    """
    firsts: dict[tuple[str, str], Message] = {}
    for one in messages:
        firsts.setdefault((one.system, one.dedupe), one)
    copies = Counter((one.system, one.dedupe) for one in messages)
    ids = store.ids.take(len(firsts))
    handled = store.clock.now() if state is InboxState.HANDLED else None
    rows = [
        (
            id_,
            one.system,
            one.dedupe,
            one.received,
            state.value,
            orjson.dumps([dict(event) for event in one.events]).decode(),
            one.body,
            one.headers,
            copies[key],
            error,
            handled,
        )
        for id_, (key, one) in zip(ids, sorted(firsts.items()), strict=True)
    ]
    sets = {"copies": '"inbox"."copies" + excluded."copies"'}
    if state is InboxState.NEW:
        sets |= {name: f'excluded."{name}"' for name in ("id", "received", "state", "handled")}
    await bulk.upsert(conn, inbox, ("system", "dedupe"), _COLUMNS, rows, sets=sets)


async def waiting(store: Store, *, limit: int = 500) -> list[Stored]:
    """Webhooks that are stored only, the oldest first."""
    statement = select(*(inbox.c[name] for name in _LISTED)).where(inbox.c.state == InboxState.NEW.value)
    async with store.read() as conn:
        rows = (await conn.execute(statement.order_by(inbox.c.id).limit(limit))).all()
    return [_stored(row) for row in rows]


async def outgoing(store: Store, *, limit: int, size: int) -> list[Stored]:
    """Webhooks that are stored only, with their bodies, the oldest first: up to `size` bytes of them, at least one."""
    waiting = select(inbox.c.id, func.length(inbox.c.body)).where(inbox.c.state == InboxState.NEW.value)
    async with store.read() as conn:
        chosen: list[int] = []
        for id_, length in (await conn.execute(waiting.order_by(inbox.c.id).limit(limit))).all():
            size -= length
            if chosen and size < 0:
                break
            chosen.append(id_)
        statement = select(*(inbox.c[name] for name in _LISTED), inbox.c.body)
        return sorted(map(_stored, await bulk.fetch(conn, statement, inbox.c.id, chosen)), key=lambda one: one.id)


async def passed_on(store: Store, ids: Collection[int]) -> int:
    """Another hub has stored these. Returns how many were waiting for that."""
    statement = update(inbox).where(inbox.c.state == InboxState.NEW.value)
    values = {"state": InboxState.HANDLED.value, "handled": store.clock.now()}
    async with store.begin() as conn:
        return await bulk.change(conn, statement.values(values), inbox.c.id, list(ids))


async def handle(store: Store, conn: AsyncConnection, messages: Sequence[Stored]) -> int:
    """Turn stored webhooks into hints and mark them. Returns how many records they hint at."""
    now = store.clock.now()
    rows = [(InboxState.HANDLED.value, now, None, one.id) for one in messages]
    await bulk.update(conn, inbox, ("id",), ("state", "handled", "error"), rows)
    return await hints.put(store, conn, _named(messages))


async def fail(conn: AsyncConnection, ids: Collection[int], error: str) -> None:
    """These can't be turned into hints; they stay, with the reason."""
    rows = [(InboxState.FAILED.value, error, one) for one in ids]
    await bulk.update(conn, inbox, ("id",), ("state", "error"), rows)


async def listing(
    store: Store, *, system: str | None = None, state: str | None = None, before: int | None = None, limit: int = 100
) -> list[Stored]:
    """The newest first; `before` is the id that a page before ended with."""
    statement = select(*(inbox.c[name] for name in _LISTED)).order_by(inbox.c.id.desc()).limit(limit)
    if system is not None:
        statement = statement.where(inbox.c.system == system)
    if state is not None:
        statement = statement.where(inbox.c.state == state)
    if before is not None:
        statement = statement.where(inbox.c.id < before)
    async with store.read() as conn:
        return [_stored(row) for row in (await conn.execute(statement)).all()]


async def show(store: Store, id_: int) -> Stored:
    """One of them, with its body. Raises NotFound."""
    statement = select(*(inbox.c[name] for name in _LISTED), inbox.c.body).where(inbox.c.id == id_)
    async with store.read() as conn:
        row = (await conn.execute(statement)).first()
    if row is None:
        raise NotFound(f"the inbox has no webhook {id_}.", hint="`hub inbox list` shows what is there")
    return _stored(row)


async def replay(store: Store, ids: Collection[int]) -> int:
    """Hint again at the records of these webhooks. Returns how many records that are. Raises NotFound."""
    statement = select(*(inbox.c[name] for name in _LISTED))
    async with store.begin() as conn:
        found = [_stored(row) for row in await bulk.fetch(conn, statement, inbox.c.id, ids)]
        if missing := set(ids) - {one.id for one in found}:
            raise NotFound(f"the inbox has no webhook {min(missing)}.", hint="`hub inbox list` shows what is there")
        return await handle(store, conn, found)


async def purge(store: Store, before: int) -> int:
    """Remove handled webhooks that came in before then (epoch ms); new and failed ones stay. Returns how many."""
    done = (inbox.c.state == InboxState.HANDLED.value) & (inbox.c.received < before)
    async with store.begin() as conn:
        return (await conn.execute(delete(inbox).where(done))).rowcount


def _named(messages: Sequence[Message | Stored]) -> list[tuple[str, str, str]]:
    return [(one.system, str(event["object"]), str(event["id"])) for one in messages for event in one.events]


def _stored(row: Any) -> Stored:
    values = dict(row._mapping)
    return Stored(**{**values, "events": orjson.loads(values["events"]), "headers": orjson.loads(values["headers"])})
