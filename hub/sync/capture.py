"""Capture: what was read becomes what is owed, in one transaction with the cursor that moves past it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.delivery import State
from hub.domain.record import Order, Reading, order
from hub.store import deliveries, identities, waits
from hub.store.engine import Store
from hub.sync.flow import FirstSight, Flow
from hub.sync.payload import DELETED, Payload, digest


@dataclass(slots=True)
class Seen:
    """One source record as a read saw it. `payload` is None when it is gone."""

    id: str
    payload: Payload | None
    version: int | None
    modified: int | None
    asked: int
    answered: int


@dataclass(slots=True)
class Captured:
    """What a capture did, for the run's books: read = new + newer + same + older + unclear + unknown_gone."""

    read: int = 0
    new: int = 0
    newer: int = 0
    same: int = 0
    older: int = 0
    unclear: int = 0
    unknown_gone: int = 0
    rested: int = 0  # of the new ones, those that a rule of the flow put to rest at once (start, baseline)

    def add(self, other: Captured) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def owed(self) -> int:
        """Deliveries that this capture made due."""
        return self.new - self.rested + self.newer + self.unclear


@dataclass(slots=True)
class _Rows:
    """What will be written, table by table."""

    add: list[tuple[object, ...]] = field(default_factory=list)
    supersede: list[tuple[object, ...]] = field(default_factory=list)
    payloads: list[tuple[int, str]] = field(default_factory=list)
    new_payloads: list[tuple[int, str, str | None]] = field(default_factory=list)
    unclear: list[int] = field(default_factory=list)
    entities: list[int] = field(default_factory=list)
    changed: list[Seen] = field(default_factory=list)


async def capture(
    store: Store,
    conn: AsyncConnection,
    flow: Flow,
    records: Sequence[Seen],
    *,
    started: int,
    lane: int,
    run: int | None,
) -> Captured:
    """Note what is owed for these records. The caller's transaction also moves the cursor.

    There is one ledger row a flow and source record, for ever. The same content touches nothing; a newer reading
    supersedes whatever state the row is in; an older one never replaces a newer; two that can't be put in order make
    the record be fetched again before it is delivered.
    """
    await deliveries.in_turn(store, conn, flow.name)
    counts = Captured(read=len(records))
    latest = {record.id: record for record in records}
    known = await deliveries.known(conn, flow.name, latest.keys())
    fresh = [one for one in latest.values() if one.id not in known and one.payload is not None]
    mapped = await _identities(store, conn, flow, fresh, new=True)
    now = store.clock.now()
    rows = _Rows()
    ids = iter(store.ids.take(len(fresh)))
    needed = flow.mapping.needs.fields
    for seen in latest.values():
        content = DELETED if seen.payload is None else digest(seen.payload, needed)
        title = _title(flow, seen)
        before = known.get(seen.id)
        if before is None:
            if seen.payload is None:
                counts.unknown_gone += 1
                continue
            state, reason = _first_state(flow, seen, started, mapped[seen.id])
            counts.new += 1
            counts.rested += state is not State.PENDING
            delivery = next(ids)
            rows.add.append(
                (
                    delivery, flow.name, seen.id, mapped[seen.id].entity, state.value, reason, title, lane, now, now,
                    False, seen.version, content, seen.asked, seen.answered, now, run,
                )
            )  # fmt: skip
            body = seen.payload.encode()
            rows.new_payloads.append((delivery, body, body if state is State.FILTERED else None))
            continue
        reading = Reading(seen.asked, seen.answered, seen.version, content)
        match order(reading, Reading(before.asked, before.answered, before.version, before.hash)):
            case Order.SAME if before.refetch:
                _supersede(rows, counts, before, seen, content, title, lane, now, run)
            case Order.SAME:
                counts.same += 1
            case Order.OLDER:
                counts.older += 1
            case Order.UNDECIDABLE:
                counts.unclear += 1
                rows.unclear.append(before.id)
            case Order.NEWER:
                _supersede(rows, counts, before, seen, content, title, lane, now, run)
    counts.same += len(records) - len(latest)
    if rows.changed and flow.source_schema.number_field is not None:
        await _identities(store, conn, flow, rows.changed, new=False)  # a number may have been given since
    # As every waker does (see Settler._wait), and before any row of the ledger: who settles goes in this order too, and
    # two who lock the same rows in another order would wait for each other.
    await identities.lock_entities(conn, rows.entities)
    await deliveries.add(conn, rows.add)
    await deliveries.supersede(conn, rows.supersede, now)
    await deliveries.add_payloads(conn, rows.new_payloads)
    await deliveries.put_payloads(conn, rows.payloads)
    await deliveries.ask_again(conn, rows.unclear, now)
    if rows.entities:
        await waits.wake_blocked(conn, rows.entities, now)
        await waits.wake_related(conn, rows.entities, now)
    return counts


async def _identities(
    store: Store, conn: AsyncConnection, flow: Flow, records: Sequence[Seen], *, new: bool
) -> dict[str, identities.Identity]:
    """The identities of source records, with the number that others refer to them by."""
    schema = flow.source_schema
    numbers: dict[str, str] = {}
    if schema.number_field is not None:
        for one in records:
            number = one.payload.record.get(schema.number_field) if one.payload is not None else None
            if number not in (None, ""):
                numbers[one.id] = str(number)
    return await identities.ensure(
        store,
        conn,
        flow.source.name,
        schema.name,
        flow.kind,
        [one.id for one in records],
        origin="captured",
        numbers=numbers,
        mostly_new=new,
    )


def _supersede(
    rows: _Rows,
    counts: Captured,
    before: deliveries.Known,
    seen: Seen,
    content: str,
    title: str | None,
    lane: int,
    now: int,
    run: int | None,
) -> None:
    counts.newer += 1
    rows.supersede.append(
        (seen.payload is None, seen.version, content, seen.asked, seen.answered, now, title, lane, now, run, before.id)
    )
    if seen.payload is not None:
        rows.payloads.append((before.id, seen.payload.encode()))
        rows.changed.append(seen)
    rows.entities.append(before.entity)


def _title(flow: Flow, seen: Seen) -> str | None:
    """The number that people know the record by, as far as it stands in the record itself."""
    name = flow.title_field
    if seen.payload is None or name is None:
        return None
    value = seen.payload.record.get(name)
    return None if value is None else str(value)


def _first_state(flow: Flow, seen: Seen, started: int, identity: identities.Identity) -> tuple[State, str | None]:
    """What becomes of a record that the flow has never seen: a rule may put it to rest, and then it is named.

    `start` and `baseline` speak of what was there before: a record without a modification time counts as new.
    """
    policy = flow.policy
    if identity.role == "alias":
        return State.FILTERED, deliveries.MERGED
    if seen.modified is not None:
        if policy.start is not None and seen.modified < policy.start:
            return State.FILTERED, "start"
        if policy.first_sight is FirstSight.BASELINE and seen.modified < started:
            return State.FILTERED, "baseline"
    return State.PENDING, None
