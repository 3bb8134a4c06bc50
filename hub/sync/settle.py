"""Settle: what became of a batch is written down in one transaction: identity, seen and sent, ledger, wake-ups."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.connector.contract import Op, Write
from hub.domain.delivery import State
from hub.domain.outcome import Outcome, OutcomeKind
from hub.mapping.compile import TableFacts
from hub.store import claims, deliveries, identities, lookups, waits
from hub.store.engine import Store
from hub.store.identities import IdentityTaken
from hub.sync import write_back
from hub.sync.changes import applied
from hub.sync.failpoints import failpoint
from hub.sync.flow import Flow, OnGone
from hub.sync.gather import related_ids
from hub.sync.payload import Payload
from hub.sync.stumble import STUMBLED
from hub.sync.work import Sent, Task, Verdict, Work

_RANK = (
    State.DOUBT,
    State.HELD,
    State.DEAD,
    State.PENDING,
    State.BLOCKED,
    State.WAITING,
    State.DONE,
    State.UNCHANGED,
    State.FILTERED,
)


_STUMBLES = 2  # times that a connector may raise over a record, the last one alone, before the record is set aside

_MENDABLE = frozenset({"refused", "invalid"})


@dataclass(slots=True)
class _Batch:
    """What the transaction will write."""

    identities: list[identities.NewIdentity] = field(default_factory=list)
    usable: list[tuple[str, bool]] = field(default_factory=list)
    tombstones: list[tuple[str, str, str]] = field(default_factory=list)
    shadows: list[tuple[str, Sent, Task]] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)  # record id -> identity
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    ready: set[int] = field(default_factory=set)


class Settler:
    """Settles batches of one flow."""

    def __init__(self, store: Store, flow: Flow) -> None:
        self._store = store
        self._flow = flow

    def judge(self, works: Iterable[Work]) -> None:
        """Turn outcomes into verdicts: one for each task, the gravest for the delivery."""
        for work in works:
            for task in work.tasks:
                if task.outcome is not None and task.verdict is None:
                    task.verdict = self._verdict(work, task, task.outcome)
            if work.open:
                verdicts = [task.verdict for task in work.tasks if task.verdict is not None]
                work.verdict = min(verdicts, key=lambda one: _RANK.index(one.state), default=Verdict(State.UNCHANGED))

    def _verdict(self, work: Work, task: Task, outcome: Outcome) -> Verdict:
        failure = outcome.failure
        text = failure.message if failure is not None else None
        policy = self._flow.policy
        match outcome.kind:
            case OutcomeKind.OK:
                leaving = task.intent.leaving if task.intent is not None else None
                return Verdict(State.FILTERED, leaving) if leaving else Verdict(State.DONE)
            case OutcomeKind.PARTLY:
                return self._after_part(work, outcome, text)
            case OutcomeKind.UNKNOWN:
                delay = self._flow.target_schema.facts.settles_within
                if failure is not None and failure.code == STUMBLED:
                    return self._stumbled(work, text, delay)
                return Verdict(State.DOUBT, "unknown", text or "no answer came", delay=delay, spent=True)
            case OutcomeKind.DOWN:
                return Verdict(
                    State.PENDING, "down", text, delay=max(1.0, self._flow.target.down_for(self._store.clock.now()))
                )
            case OutcomeKind.NOT_EXECUTED:
                return self._retry(work, "not_executed", text, outcome.retry_after)
            case OutcomeKind.CONFLICT:
                task.doubt = task.doubt | frozenset(task.intent.write.fields if task.intent else ())
                return self._retry(work, "conflict", text, outcome.retry_after)
            case OutcomeKind.BLOCKED:
                return self._blocked(work, text)
            case OutcomeKind.DUPLICATE:
                return Verdict(State.HELD, "duplicate", text)
            case OutcomeKind.GONE if policy.on_gone is OnGone.RECREATE and task.target is not None:
                task.forget_target()
                return Verdict(State.PENDING, "gone", text, spent=True)
            case OutcomeKind.GONE if not (policy.create and self._flow.mapping.creates) and task.target is not None:
                # Nobody is asked what to do: this flow can only update, and there is nothing to update any more.
                task.forget_target()
                return Verdict(State.FILTERED, f"deleted in {self._flow.target.name}", text)
            case OutcomeKind.GONE:
                return Verdict(State.HELD, "gone", text)
            case _:
                return Verdict(State.DEAD, "rejected", _sentence(outcome))

    def _stumbled(self, work: Work, text: str | None, delay: float) -> Verdict:
        """The connector raised: in doubt, with the rest of its batch. Sent alone it shows whether it is the one."""
        if work.claimed.reason == STUMBLED and work.claimed.attempts >= _STUMBLES:
            return Verdict(State.DEAD, STUMBLED, text, spent=True)
        return Verdict(State.DOUBT, STUMBLED, text, delay=delay, spent=True)

    def _after_part(self, work: Work, outcome: Outcome, text: str | None) -> Verdict:
        """A later step stopped: the same rules as for a whole write, but what is done stays done.

        The identity is not usable until every step is done, and that is what makes the next attempt resume.
        """
        match outcome.cause:
            case OutcomeKind.BLOCKED:
                return self._blocked(work, text)
            case OutcomeKind.REJECTED | OutcomeKind.DUPLICATE | OutcomeKind.GONE:
                return Verdict(State.DEAD, "rejected", _sentence(outcome))
            case OutcomeKind.UNKNOWN:
                # The save is certain, so there is no intent to probe for: the next attempt looks how far the steps are.
                delay = self._flow.target_schema.facts.settles_within
                return Verdict(State.PENDING, "unknown", text, delay=delay, spent=True)
            case _:
                return self._retry(work, "not_executed", text, outcome.retry_after)

    def _retry(self, work: Work, reason: str, text: str | None, asked: float | None) -> Verdict:
        """Exponential backoff with full jitter; a wait that the vendor asked for is honoured and spends no attempt."""
        policy = self._flow.policy
        if asked is not None:
            return Verdict(State.PENDING, reason, text, delay=asked + random.uniform(0, 1))  # noqa: S311
        if work.claimed.attempts + 1 >= policy.attempts:
            return Verdict(State.DEAD, "retries_spent", text, spent=True)
        ceiling = min(policy.backoff_limit, policy.backoff * 2.0**work.claimed.attempts)
        return Verdict(State.PENDING, reason, text, delay=random.uniform(0, ceiling), spent=True)  # noqa: S311

    def _blocked(self, work: Work, text: str | None) -> Verdict:
        policy = self._flow.policy
        began = work.claimed.since if work.claimed.state == State.BLOCKED else self._store.clock.now()
        if self._store.clock.now() - began > policy.blocked_for * 1000:
            return Verdict(State.DEAD, "blocked_too_long", text)
        return Verdict(State.BLOCKED, "blocked", text, delay=policy.blocked_every)

    # ---- the transaction -----------------------------------------------------------------------------------------

    async def settle(self, works: Sequence[Work]) -> dict[str, int]:
        """Write it all down. Returns how many deliveries came to stand in which state.

        A record that turns out to belong to somebody else is held for a person, and the others are settled without it.
        """
        failpoint("before-settle")
        while True:
            try:
                counts = await self._settle(works)
            except IdentityTaken as taken:
                if not self._set_aside(works, taken):
                    raise
            else:
                failpoint("after-settle")
                return counts

    def _set_aside(self, works: Sequence[Work], taken: IdentityTaken) -> bool:
        system, object_name, record_id = taken.key
        for work in works:
            for task in work.tasks:
                rows = task.outcome.rows.values() if task.outcome is not None else ()
                same = object_name == self._flow.target_schema.name and task.target_id == record_id
                if (same or any(record_id in ids.values() for ids in rows)) and not task.set_aside:
                    task.set_aside = True
                    work.verdict = task.verdict = Verdict(State.HELD, "taken", str(taken))
                    return system == self._flow.target.name
        return False

    async def _settle(self, works: Sequence[Work]) -> dict[str, int]:
        batch = _Batch()
        for work in works:
            for task in work.tasks:
                self._note(batch, work, task)
        counts: dict[str, int] = {}
        async with self._store.begin() as conn:
            held = await claims.still_held(conn, [work.claimed for work in works])
            mine = [work for work in works if work.claimed.id in held]
            await self._identities(conn, batch)
            await self._put_shadows(conn, batch, await self._doubted_meanwhile(conn, mine, held))
            await deliveries.record_attempts(conn, batch.attempts)
            await claims.free_reservations(conn, [work.claimed.id for work in works if _settled(work)])
            missed = await self._wait(conn, mine)
            rows = [self._row(work, held[work.claimed.id], missed, counts) for work in mine]
            await deliveries.settle(conn, rows)
            await self._after_delivery(conn, mine)
            await waits.wake(conn, batch.ready, self._store.clock.now())
            failpoint("in-settle")
        return counts

    def _note(self, batch: _Batch, work: Work, task: Task) -> None:
        outcome, intent = task.outcome, task.intent
        system, schema = self._flow.target.name, self._flow.target_schema
        if task.set_aside:
            if outcome is not None and intent is not None:
                self._attempt(batch, work, task, outcome)
            return
        if task.gone is not None:
            batch.tombstones.append((system, schema.name, task.gone.record_id))
        if task.adopted is not None and task.new_sent is not None:
            self._link(batch, work, task, task.adopted.id, _keys(schema.number_field, task.adopted.fields), "adopted")
        if outcome is None or intent is None:
            self._note_seen(batch, task)
            return
        self._attempt(batch, work, task, outcome)
        write = intent.write
        if outcome.kind not in (OutcomeKind.OK, OutcomeKind.PARTLY):
            if outcome.kind is OutcomeKind.UNKNOWN and task.target is not None:
                batch.shadows.append((task.target.record_id, task.sent, task))
            return
        record_id = outcome.id or write.id
        assert record_id is not None
        whole = outcome.kind is OutcomeKind.OK
        if write.op is Op.DELETE:
            if whole:  # half deleted (in the recycle bin, say) is still there, and is deleted again
                batch.tombstones.append((system, schema.name, record_id))
            return
        if task.target is None and task.adopted is None:
            self._link(batch, work, task, record_id, outcome.keys, "created", usable=whole)
        elif task.target is not None and task.target.usable is not whole:
            batch.usable.append((record_id, whole))
            if whole:
                batch.ready.add(work.claimed.entity)
        base = task.new_sent or task.sent
        fresh = write.op is Op.CREATE
        sent = applied(base, write.fields, write.rows, outcome.rows, fresh=fresh)
        sent.left = intent.leaving is not None
        if whole and intent.actions and intent.leaving is None:
            sent.actions = list(intent.actions)
        task.doubt = task.doubt - set(write.fields) - set(write.rows)
        task.new_sent = sent
        self._row_identities(batch, work, task, record_id, outcome)
        self._rows_gone(batch, work, task, write)
        batch.shadows.append((record_id, sent, task))

    def _note_seen(self, batch: _Batch, task: Task) -> None:
        """Nothing left, but what was read of the target, and what was found to be there already, is remembered."""
        if task.target is not None and task.current is not None and task.rendered is not None:
            batch.shadows.append((task.target.record_id, task.new_sent or task.sent, task))

    def _link(
        self,
        batch: _Batch,
        work: Work,
        task: Task,
        record_id: str,
        keys: dict[str, str],
        origin: str,
        *,
        usable: bool = True,
    ) -> None:
        schema = self._flow.target_schema
        batch.identities.append(
            identities.NewIdentity(
                work.claimed.entity,
                self._flow.target.name,
                schema.name,
                record_id,
                self._flow.kind,
                facet=task.facet,
                number=keys.get("number"),
                usable=usable,
                origin=origin,
            )
        )
        if usable:
            batch.ready.add(work.claimed.entity)
        if origin == "adopted" and task.new_sent is not None:
            batch.shadows.append((record_id, task.new_sent, task))

    def _row_identities(self, batch: _Batch, work: Work, task: Task, record_id: str, outcome: Outcome) -> None:
        """Rows whose mapping names an entity have identities of their own, so that references can point at a line."""
        for table, given in outcome.rows.items():
            spec = self._flow.mapping.tables.get(table)
            if spec is None or spec.entity is None or spec.object is None:
                continue
            batch.identities.extend(
                identities.NewIdentity(
                    None,
                    self._flow.target.name,
                    f"{self._flow.target_schema.name}.{table}",
                    row_id,
                    spec.entity,
                    parent=(self._flow.target.name, self._flow.target_schema.name, record_id),
                    partner=(self._flow.source.name, spec.object, key),
                    partner_parent=(self._flow.source.name, self._flow.source_schema.name, work.claimed.source_id),
                    origin="created",
                )
                for key, row_id in given.items()
            )

    def _rows_gone(self, batch: _Batch, work: Work, task: Task, write: Write) -> None:
        """Rows that this write took out are deleted records, and so are their source rows that are no longer read."""
        for table, changes in write.rows.items():
            spec = self._flow.mapping.tables.get(table)
            if not changes.remove or spec is None or spec.entity is None or spec.object is None:
                continue
            row_object = f"{self._flow.target_schema.name}.{table}"
            batch.tombstones.extend((self._flow.target.name, row_object, row_id) for row_id in changes.remove)
            there = _source_keys(work.payload, spec)
            removed = set(changes.remove)
            batch.tombstones.extend(
                (self._flow.source.name, spec.object, key)
                for key, row in task.sent.rows.get(table, {}).items()
                if row.id in removed and key not in there
            )

    async def _identities(self, conn: AsyncConnection, batch: _Batch) -> None:
        schema = self._flow.target_schema
        batch.known = {task.target.record_id: task.target.id for *_, task in batch.shadows if task.target is not None}
        if batch.tombstones:
            await identities.tombstone(self._store, conn, batch.tombstones)
        if batch.identities:
            fresh = await identities.put_fresh(self._store, conn, batch.identities)
            if fresh is None:
                batch.ready.update(await identities.put(self._store, conn, batch.identities))
            else:
                batch.known.update(fresh)
        for usable in (True, False):
            ids = [record_id for record_id, value in batch.usable if value is usable]
            await identities.set_usable(conn, self._flow.target.name, schema.name, ids, usable)

    async def _doubted_meanwhile(
        self, conn: AsyncConnection, works: Sequence[Work], held: Mapping[int, int]
    ) -> dict[int, frozenset[str]]:
        """Fields that somebody (a reconcile) put in doubt while these were in work: identity -> names."""
        ids = [
            task.target.id
            for work in works
            if held[work.claimed.id] != work.revision
            for task in work.tasks
            if task.target is not None
        ]
        found = await identities.shadows(conn, ids)
        return {one.identity: frozenset(orjson.loads(one.doubt)) for one in found.values() if one.doubt}

    async def _put_shadows(self, conn: AsyncConnection, batch: _Batch, meanwhile: Mapping[int, frozenset[str]]) -> None:
        if not batch.shadows:
            return
        now = self._store.clock.now()
        unknown = [record_id for record_id, *_ in batch.shadows if record_id not in batch.known]
        joined = await identities.by_ids(conn, self._flow.target.name, self._flow.target_schema.name, unknown)
        batch.known.update({record_id: one.id for record_id, one in joined.items()})
        rows: dict[int, identities.ShadowRow] = {}
        for record_id, sent, task in batch.shadows:
            identity = batch.known.get(record_id)
            if identity is not None:
                seen = self._seen_after(task)
                doubt = self._doubt_after(task) | meanwhile.get(identity, frozenset())
                rows[identity] = (
                    identity,
                    orjson.dumps(seen).decode() if seen is not None else None,
                    now if seen is not None else None,
                    sent.encode(),
                    now,
                    orjson.dumps(sorted(doubt)).decode() if doubt else None,
                )
        await identities.put_shadows(conn, list(rows.values()))

    def _seen_after(self, task: Task) -> dict[str, Any] | None:
        """What the target says as far as we know: as read, with what we wrote on top of it. Only two-way flows ask."""
        if not self._flow.reads_before_write and task.adopted is None:
            return None
        read = task.current or task.adopted
        seen = dict(read.fields) if read is not None else dict(task.seen or {})
        if task.outcome is not None and task.outcome.kind is OutcomeKind.OK and task.intent is not None:
            seen.update(task.intent.write.fields)
        return seen

    def _doubt_after(self, task: Task) -> frozenset[str]:
        if task.outcome is not None and task.outcome.kind is OutcomeKind.UNKNOWN and task.intent is not None:
            return task.doubt | frozenset(task.intent.write.fields) | frozenset(task.intent.write.rows)
        return task.doubt

    def _attempt(self, batch: _Batch, work: Work, task: Task, outcome: Outcome) -> None:
        assert task.intent is not None
        write = task.intent.write
        before = task.overwritten or None
        batch.attempts.append(
            (
                self._store.ids.next(),
                work.claimed.id,
                self._store.clock.now(),
                write.operation or write.op.value,
                outcome.kind.value,
                outcome.id or write.id,
                outcome.failure.code if outcome.failure else None,
                outcome.failure.message if outcome.failure else None,
                None,
                orjson.dumps([*write.fields, *write.rows]).decode(),
                orjson.dumps(before).decode() if before else None,
                task.took,
            )
        )

    async def _wait(self, conn: AsyncConnection, works: Sequence[Work]) -> set[int]:
        """Note who waits for what; the deliveries come back whose entity has arrived meanwhile.

        Waiter and waker lock the entity's identity rows. Worker 1 finds the customer missing; worker 2 creates it,
        looks for waiters, finds none and commits; worker 1 would now go to sleep for ever. So worker 1, under the lock,
        looks once more before it does.
        """
        # `all`: forgetting and noting again is one delete and one insert for the batch, whoever waited before.
        await waits.forget_waiting(conn, [work.claimed.id for work in works if work.claimed.state != State.PENDING])
        await self._wait_for_related(conn, works)
        wanted = [(work.claimed.id, entity, name) for work in works for entity, name in work.waits]
        tables = [(work.claimed.id, table, key) for work in works for table, key in work.waits_lookups]
        if tables:
            await waits.put_waiting_lookups(conn, tables)
        arrived = await lookups.arrived(conn, {(table, key) for _, table, key in tables})
        late = {delivery for delivery, table, key in tables if (table, key) in arrived}
        if not wanted:
            return late
        entities = sorted({one[1] for one in wanted})
        await identities.lock_entities(conn, entities)
        await waits.put_waiting(conn, wanted)
        # An entity that has become part of another since it was looked up has no records any more: look it up again.
        joined = set(entities) - (await identities.of_entities(conn, entities)).keys()
        there = joined | await identities.usable_in(conn, entities, self._flow.target.name)
        began = min(work.began for work in works)
        changed = await waits.captured_since(conn, entities, began)
        return late | {
            delivery for delivery, entity, name in wanted if entity in (changed if name == waits.RELATED else there)
        }

    async def _wait_for_related(self, conn: AsyncConnection, works: Sequence[Work]) -> None:
        """What was refused for what a related record says (a customer without a tax number) wakes when that changes."""
        keys: dict[int, set[tuple[str, str, str]]] = {}
        for work in works:
            if work.verdict is not None and work.verdict.reason in _MENDABLE and work.payload is not None:
                keys[work.claimed.id] = {
                    (self._flow.source.name, relation.object, one)
                    for relation in self._flow.mapping.needs.related
                    for one in related_ids(relation, work.payload)
                }
        known = await identities.by_keys(conn, {key for found in keys.values() for key in found})
        for work in works:
            for key in keys.get(work.claimed.id, ()):
                if key in known:
                    work.waits.add((known[key].entity, waits.RELATED))

    def _row(self, work: Work, revision: int, missed: set[int], counts: dict[str, int]) -> tuple[Any, ...]:
        verdict = work.verdict
        assert verdict is not None
        now = self._store.clock.now()
        state, due = verdict.state, now + int(verdict.delay * 1000)
        newer = revision != work.revision or any(
            task.intent is not None and task.intent.revision != work.revision for task in work.tasks
        )
        if state is not State.DOUBT and (newer or (work.claimed.id in missed and not work.waits_only_owed)):
            state, due = State.PENDING, now if newer or not verdict.spent else due
        counts[state.value] = counts.get(state.value, 0) + 1
        delivered = state in (State.DONE, State.UNCHANGED) or verdict.state in (State.DONE, State.UNCHANGED)
        attempts = 0 if delivered else work.claimed.attempts + int(verdict.spent)
        since = work.claimed.since if state.value == work.claimed.state else now
        return (
            state.value,
            verdict.reason,
            verdict.message,
            work.title,
            due,
            since,
            attempts,
            work.intents(),
            work.revision if delivered else work.claimed.delivered_revision,
            work.claimed.version,
            self._flow.mapping.fingerprint,
            False,
            None,
            None,
            work.claimed.token + 1,
            work.claimed.id,
            work.claimed.token,
        )

    async def _after_delivery(self, conn: AsyncConnection, works: Sequence[Work]) -> None:
        """What delivering brings with it: the source's note of it, and the record that `when_changes` will compare
        with.
        """
        await write_back.owe(self._store, conn, self._flow, works)
        carried = [task.target_id for work in works for task in work.tasks if task.carry and task.target_id]
        if carried and self._flow.partner is not None:
            await deliveries.deliver_again(conn, self._flow.partner.name, carried, self._store.clock.now())
        if self._flow.mapping.spec.when_changes:
            done = [work.claimed.id for work in works if work.verdict and work.verdict.state is State.DONE]
            await deliveries.keep_previous(conn, done)


def _source_keys(payload: Payload | None, spec: TableFacts) -> set[str]:
    """The keys of the source rows that a table is made from, as the record was read."""
    if payload is None or spec.key is None:
        return set()
    rows: Any = payload.related.get(spec.related) if spec.related else payload.record.get(spec.field or "")
    return {str(row[spec.key]) for row in rows or () if row.get(spec.key) is not None}


def _settled(work: Work) -> bool:
    """Whether the create that reserved a key is over, one way or the other."""
    return work.verdict is not None and work.verdict.state is not State.DOUBT


def _keys(number_field: str | None, fields: dict[str, Any]) -> dict[str, str]:
    value = fields.get(number_field) if number_field else None
    return {"number": str(value)} if value else {}


def _sentence(outcome: Outcome) -> str:
    failure = outcome.failure
    if failure is None:
        return "refused without a reason"
    where = f"{failure.field}: " if failure.field else ""
    code = f" [{failure.code}]" if failure.code else ""
    return f"{where}{failure.message}{code}"
