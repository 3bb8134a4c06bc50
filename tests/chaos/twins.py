"""Broken twins: the hub with one protection taken away, to prove that the checker would see it gone.

`apply` patches the modules of the process that calls it, before the hub starts there. The product has no switch for any
of this. Each twin is a function that holds the one thing that the hub does not do any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

import hub.api.group_commit
import hub.runtime.project
import hub.sync.capture
import hub.sync.engine
import hub.sync.probe
import hub.sync.reading
import hub.sync.resolve
from hub.connector import fence
from hub.domain.delivery import State
from hub.domain.record import Fields, Order, Reading, RowWrite, order
from hub.domain.schema import ObjectSchema
from hub.mapping.result import Rendered
from hub.store import bulk, claims, deliveries, waits
from hub.store.engine import Store
from hub.store.tables import delivery
from hub.sync.capture import Captured, Seen, capture
from hub.sync.changes import Difference, difference
from hub.sync.entries import Bookkeeper
from hub.sync.flow import Flow
from hub.sync.gather import Gatherer
from hub.sync.reading import Reader
from hub.sync.resolve import Resolver
from hub.sync.work import Sent, Task, Work

Pairs = Sequence[tuple[Work, Task]]


def apply(name: str) -> None:
    """Take one protection away in this process, for good. Raises ValueError with the names that there are."""
    if name not in TWINS:
        raise ValueError(f"there is no twin {name!r}; there are: {', '.join(TWINS)}")
    TWINS[name]()


# -- answers that never came ---------------------------------------------------------------------------------------


def _no_probe() -> None:
    """A write in doubt is sent again blindly."""

    async def probe(_store: Store, _flow: Flow, _works: Sequence[Work]) -> None:
        """Whatever became of it, its intent stays, and leaves once more."""

    find_targets = Resolver._find_targets

    async def find_others(self: Resolver, tasks: Pairs) -> None:
        await find_targets(self, [(work, task) for work, task in tasks if task.intent is None])

    _patch(hub.sync.engine, "probe", probe)
    _patch(Resolver, "_find_targets", find_others)


def _todays_keys() -> None:
    """The probe asks with the keys of the record as it is now, not with those of the write that left."""
    creates = hub.sync.probe._creates

    async def with_todays(store: Store, flow: Flow, pairs: Pairs) -> None:
        results = await Gatherer(store, flow).render([work for work, _ in pairs])
        for (_, task), result in zip(pairs, results, strict=True):
            rendered = result[0] if isinstance(result, list) else None
            if task.intent is not None and isinstance(rendered, Rendered):
                task.intent.match = rendered.match
        await creates(store, flow, pairs)

    _patch(hub.sync.probe, "_creates", with_todays)


def _no_wait() -> None:
    """'Absent' is believed at once, before a late commit or a lagging search could have shown the record."""

    def settling(schema: ObjectSchema, _within: float | None) -> ObjectSchema:
        return replace(schema, facts=replace(schema.facts, settles_within=0.0))

    _patch(hub.runtime.project, "settling", settling)


def _no_fencing() -> None:
    """Whoever held a lease once may still send and settle, whoever holds it now."""

    async def held(conn: AsyncConnection, claimed: Collection[claims.Claimed]) -> dict[int, int]:
        return {id: row.revision for id, row in (await _present(conn, [one.id for one in claimed])).items()}

    settle, settle_delivered = deliveries.settle, deliveries.settle_delivered

    async def settle_anyway(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
        present = await _present(conn, [row[-2] for row in rows])
        await settle(conn, [(*row[:-1], present[row[-2]].lease_token) for row in rows])

    async def delivered_anyway(conn: AsyncConnection, keys: Sequence[tuple[int, int, int]], **more: Any) -> int:
        present = await _present(conn, [id for id, *_ in keys])
        mine = [(id, present[id].lease_token, revision) for id, _, revision in keys]
        return await settle_delivered(conn, mine, **more)

    _patch(claims, "still_held", held)
    _patch(deliveries, "settle", settle_anyway)
    _patch(deliveries, "settle_delivered", delivered_anyway)
    _no_fence()


def _no_fence() -> None:
    """A write leaves however little is left of its lease."""

    def proven(_needed: float) -> None:
        """Nobody looks."""

    _patch(fence, "prove", proven)


async def _present(conn: AsyncConnection, ids: Collection[int]) -> Mapping[int, Any]:
    statement = select(delivery.c.id, delivery.c.lease_token, delivery.c.revision, delivery.c.state)
    return {row.id: row for row in await bulk.fetch(conn, statement, delivery.c.id, ids)}


# -- taking in -----------------------------------------------------------------------------------------------------


def _cursor_first() -> None:
    """The cursor is committed before its page."""
    late: ContextVar[list[Callable[[], Any]] | None] = ContextVar("late", default=None)
    read_stream = Reader._read_stream

    async def postponed(
        store: Store, conn: AsyncConnection, flow: Flow, records: Sequence[Seen], **more: Any
    ) -> Captured:
        pages = late.get()
        if pages is None:
            return await capture(store, conn, flow, records, **more)

        async def page() -> None:
            async with store.begin() as own:
                await capture(store, own, flow, records, **more)

        pages.append(page)
        return Captured(read=len(records))

    async def cursor_then_pages(self: Reader, *given: Any, **more: Any) -> None:
        pages: list[Callable[[], Any]] = []
        token = late.set(pages)
        try:
            await read_stream(self, *given, **more)
        finally:
            late.reset(token)
        for page in pages:
            await page()

    _patch(hub.sync.reading, "capture", postponed)
    _patch(Reader, "_read_stream", cursor_then_pages)


def _ack_first() -> None:
    """A webhook is acknowledged before it is stored."""
    put = hub.api.group_commit.GroupCommit.put
    stored: set[asyncio.Task[None]] = set()

    async def put_later(self: hub.api.group_commit.GroupCommit[Any], item: Any, lane: str = "") -> None:
        task = asyncio.ensure_future(put(self, item, lane))
        stored.add(task)
        task.add_done_callback(stored.discard)

    _patch(hub.api.group_commit.GroupCommit, "put", put_later)


def _any_order() -> None:
    """Whatever was read last counts as the newest."""

    def arrival(new: Reading, known: Reading) -> Order:
        return Order.SAME if new.hash == known.hash else Order.NEWER

    _patch(hub.sync.capture, "order", arrival)


def _no_supersede() -> None:
    """A dead letter stays dead when its record is mended in the source."""
    supersede = deliveries.supersede

    async def living(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]], now: int) -> None:
        present = await _present(conn, [row[-1] for row in rows])
        await supersede(conn, [row for row in rows if present[row[-1]].state != State.DEAD.value], now)

    _patch(deliveries, "supersede", living)


# -- writing -------------------------------------------------------------------------------------------------------


def _no_echo_suppression() -> None:
    """What is read again counts as a change, and a change as one of every field, whatever the target has already."""

    def always_newer(new: Reading, known: Reading) -> Order:
        return Order.NEWER if (found := order(new, known)) is Order.SAME else found

    def everything(rendered: Rendered, sent: Sent, doubt: frozenset[str], **more: Any) -> Difference:
        return difference(rendered, sent, doubt | rendered.fields.keys() | rendered.rows.keys(), **more)

    def not_compared(_self: Resolver, _task: Task, _rendered: Rendered, _found: Difference) -> None:
        """What the target says already is not left out."""

    _patch(hub.sync.capture, "order", always_newer)
    _patch(hub.sync.resolve, "difference", everything)
    _patch(Resolver, "_against_current", not_compared)


def _no_baseline() -> None:
    """Adopting links two records and remembers nothing of what they said."""
    seen_after = Bookkeeper._seen_after

    def link_only(self: Task, _rendered: Rendered, _rows: dict[str, dict[str, str]]) -> None:
        self.new_sent = Sent()

    def unseen(self: Bookkeeper, task: Task) -> dict[str, Any] | None:
        return None if task.adopted is not None else seen_after(self, task)

    _patch(Task, "adopt", link_only)
    _patch(Bookkeeper, "_seen_after", unseen)


def _no_row_pairing() -> None:
    """Adopting takes a record without looking which of its rows are ours."""

    def unpaired(
        _schema: ObjectSchema, _table: str, _wanted: list[RowWrite], _present: list[Fields], _taken: frozenset[str]
    ) -> tuple[dict[str, str], list[str]]:
        return {}, []

    _patch(hub.sync.resolve, "pair_rows", unpaired)


def _no_read_before_write() -> None:
    """A two-way flow writes without looking at what the other side's people have done meanwhile."""
    _patch(Flow, "reads_before_write", property(lambda _self: False))


def _no_wake_up() -> None:
    """What waits for a record is not told that it has come."""

    async def asleep(_conn: AsyncConnection, _entities: Collection[int], _now: int) -> int:
        return 0

    _patch(waits, "wake", asleep)


TWINS: dict[str, Callable[[], None]] = {
    "no-probe": _no_probe,
    "todays-keys": _todays_keys,
    "no-wait": _no_wait,
    "no-fencing": _no_fencing,
    "no-fence": _no_fence,
    "cursor-first": _cursor_first,
    "ack-first": _ack_first,
    "any-order": _any_order,
    "no-supersede": _no_supersede,
    "no-echo-suppression": _no_echo_suppression,
    "no-baseline": _no_baseline,
    "no-row-pairing": _no_row_pairing,
    "no-read-before-write": _no_read_before_write,
    "no-wake-up": _no_wake_up,
}
"""Name -> what takes the protection away."""


def _patch(owner: Any, name: str, broken: Any) -> None:
    """Put it in place of something that is there: a twin of what was renamed must fail, not pass as healthy."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner!r} has no {name} any more: the twin has to be made anew")
    setattr(owner, name, broken)
