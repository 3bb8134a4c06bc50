"""Settle: what became of a batch is written down in one transaction: identity, seen and sent, ledger, wake-ups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.delivery import State
from hub.domain.outcome import OutcomeKind
from hub.store import claims, deliveries, identities, lookups, waits
from hub.store.engine import Store
from hub.store.identities import IdentityTaken
from hub.sync import write_back
from hub.sync.entries import Bookkeeper, Entries
from hub.sync.failpoints import failpoint
from hub.sync.flow import Flow
from hub.sync.gather import related_ids
from hub.sync.verdicts import Judge
from hub.sync.work import Task, Verdict, Work

_MENDABLE = frozenset({"refused", "invalid"})
_DELIVERED = frozenset({State.DONE, State.UNCHANGED})
_STAYED = frozenset({OutcomeKind.DOWN, OutcomeKind.NOT_EXECUTED})  # for sure nothing happened


class _Moved(Exception):
    """Something is not as it was when the batch was claimed: settle it again, and look at each."""


class Settler:
    """Settles batches of one flow."""

    def __init__(self, store: Store, flow: Flow) -> None:
        self._store = store
        self._flow = flow
        self._books = Bookkeeper(store, flow)

    def judge(self, works: Iterable[Work]) -> None:
        """Turn outcomes into verdicts."""
        Judge(self._store, self._flow).judge(works)

    async def settle(self, works: Sequence[Work]) -> dict[str, int]:
        """Write it all down. Returns how many deliveries came to stand in which state.

        Almost always nothing has moved since the claim, so the first try trusts that, and the ledger's own keys prove
        it. A record that turns out to belong to somebody else is held for a person, and the others are settled without
        it.
        """
        failpoint("before-settle")
        settle = self._trusting
        while True:
            try:
                counts = await settle(works)
            except _Moved:
                settle = self._looking
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

    async def _trusting(self, works: Sequence[Work]) -> dict[str, int]:
        """Settle as if nobody had touched these since the claim. Raises _Moved, and nothing is written, if not."""
        plain: list[Work] = []
        rest: list[Work] = []
        for work in works:
            (plain if self._plain(work) else rest).append(work)
        entries = self._books.entries(works)
        async with self._store.begin() as conn:
            held = await claims.still_held(conn, [work.claimed for work in rest])
            if any(held.get(work.claimed.id) != work.revision for work in rest):
                raise _Moved
            await self._keep(conn, entries, {})
            missed = await self._wait(conn, rest)
            counts: dict[str, int] = {}
            rows = [self._row(work, work.revision, missed, counts) for work in rest]
            await deliveries.settle(conn, rows)
            await self._delivered(conn, plain, counts)
            await self._close(conn, works)
            await self._after_delivery(conn, works)
            await waits.wake(conn, entries.ready, self._store.clock.now())
            failpoint("in-settle")
        return counts

    async def _looking(self, works: Sequence[Work]) -> dict[str, int]:
        """Settle what is still ours, each as it stands now. Of the rest one thing is written: that it is in doubt.

        Worker 1 sends an order and is paused past its lease; worker 2 takes it over, finds nothing, and sends it. Now
        worker 1 wakes up with an answer. What it knows is old, but its write may have reached the target after
        worker 2's, so somebody has to look again.
        """
        counts: dict[str, int] = {}
        async with self._store.begin() as conn:
            held = await claims.still_held(conn, [work.claimed for work in works])
            mine = [work for work in works if work.claimed.id in held]
            entries = self._books.entries(mine)
            await self._keep(conn, entries, await self._doubted_meanwhile(conn, mine, held))
            missed = await self._wait(conn, mine)
            rows = [self._row(work, held[work.claimed.id], missed, counts) for work in mine]
            await deliveries.settle(conn, rows)
            await self._close(conn, mine)
            await self._leave_in_doubt(conn, mine, [work for work in works if work.claimed.id not in held])
            await self._after_delivery(conn, mine)
            await waits.wake(conn, entries.ready, self._store.clock.now())
            failpoint("in-settle")
        return counts

    def _plain(self, work: Work) -> bool:
        """Delivered as it was captured, and there is nothing else to say."""
        verdict = work.verdict
        return (
            verdict is not None
            and verdict.state in _DELIVERED
            and not work.waits
            and not work.waits_lookups
            and work.title == work.claimed.title
            and work.claimed.state == State.PENDING
            and all(task.intent is None or task.intent.revision == work.revision for task in work.tasks)
        )

    async def _delivered(self, conn: AsyncConnection, works: Sequence[Work], counts: dict[str, int]) -> None:
        groups: dict[tuple[State, str | None, str | None], list[tuple[int, int, int]]] = {}
        for work in works:
            verdict = work.verdict
            assert verdict is not None
            key = (verdict.state, verdict.reason, verdict.message)
            groups.setdefault(key, []).append((work.claimed.id, work.claimed.token, work.revision))
        for (state, reason, message), keys in groups.items():
            settled = await deliveries.settle_delivered(
                conn,
                keys,
                state=state,
                reason=reason,
                message=message,
                fingerprint=self._flow.mapping.fingerprint,
                now=self._store.clock.now(),
            )
            if settled < len(keys):
                raise _Moved
            counts[state.value] = counts.get(state.value, 0) + settled

    async def _keep(self, conn: AsyncConnection, entries: Entries, meanwhile: Mapping[int, frozenset[str]]) -> None:
        """Identities, what was sent and seen, and the attempts. `meanwhile`: identity -> fields that came in doubt."""
        await self._identities(conn, entries)
        await self._shadows(conn, entries, meanwhile)
        await deliveries.record_attempts(conn, entries.attempts)

    async def _identities(self, conn: AsyncConnection, entries: Entries) -> None:
        system, object_name = self._flow.target.name, self._flow.target_schema.name
        if entries.tombstones:
            await identities.tombstone(self._store, conn, entries.tombstones)
        if entries.identities:
            fresh = await identities.put_fresh(self._store, conn, entries.identities)
            if fresh is None:
                entries.ready.update(await identities.put(self._store, conn, entries.identities))
            else:
                entries.known.update(fresh)
        for usable in (True, False):
            ids = [record_id for record_id, value in entries.usable if value is usable]
            await identities.set_usable(conn, system, object_name, ids, usable)

    async def _shadows(self, conn: AsyncConnection, entries: Entries, meanwhile: Mapping[int, frozenset[str]]) -> None:
        unknown = [record_id for record_id in entries.shadows if record_id not in entries.known]
        joined = await identities.by_ids(conn, self._flow.target.name, self._flow.target_schema.name, unknown)
        entries.known.update({record_id: one.id for record_id, one in joined.items()})
        now = self._store.clock.now()
        rows: list[identities.ShadowRow] = []
        for record_id, one in entries.shadows.items():
            identity = entries.known.get(record_id)
            if identity is None:
                continue
            names = one.doubt | meanwhile.get(identity, frozenset())
            doubt = orjson.dumps(sorted(names)).decode() if names else None
            rows.append((identity, one.seen, now if one.seen is not None else None, one.sent, now, doubt))
        await identities.put_shadows(conn, rows)

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

    # ---- intents -------------------------------------------------------------------------------------------------

    async def _close(self, conn: AsyncConnection, works: Sequence[Work]) -> None:
        """Answered intents go; those that are still in doubt stay. Keys of creates that are over are free again."""
        looked = [work for work in works if work.verdict is None or not work.verdict.untouched]
        await claims.close_intents(conn, [(work.claimed.id, token) for work in looked for token in work.noted])
        doubtful = [(work.claimed.id, work.claimed.token, body) for work in looked if (body := work.intents())]
        await claims.put_intents(conn, doubtful)
        over = [work.claimed.id for work in works if work.verdict is not None and work.verdict.state is not State.DOUBT]
        await claims.free_reservations(conn, over)

    async def _leave_in_doubt(self, conn: AsyncConnection, mine: Sequence[Work], lost: Sequence[Work]) -> None:
        """What a lease that passed leaves behind: the intents of what went out all the same, and a look at them due."""
        await claims.close_intents(conn, [(work.claimed.id, token) for work in lost for token in work.noted])
        await deliveries.record_attempts(conn, self._books.attempts(lost))
        late = [work for work in lost if any(_left(task) for task in work.tasks)]
        bodies = [
            (work.claimed.id, work.claimed.token, orjson.dumps([one.encode() for one in _intents(work)]).decode())
            for work in late
        ]
        await claims.put_intents(conn, bodies)
        settles = int(self._flow.target_schema.facts.settles_within * 1000)
        await deliveries.doubt(conn, [work.claimed.id for work in late], self._store.clock.now() + settles)
        # And the other way round: what a late worker left of those that we have just settled.
        open_ = await claims.intents(conn, [work.claimed.id for work in mine])
        theirs = [
            work.claimed.id
            for work in mine
            if work.verdict is not None and work.verdict.state is not State.DOUBT and work.claimed.id in open_
        ]
        await deliveries.doubt(conn, theirs, self._store.clock.now() + settles)

    # ---- waiting -------------------------------------------------------------------------------------------------

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

    # ---- the ledger ----------------------------------------------------------------------------------------------

    def _row(self, work: Work, revision: int, missed: set[int], counts: dict[str, int]) -> tuple[Any, ...]:
        verdict = work.verdict
        assert verdict is not None
        now = self._store.clock.now()
        state, due = verdict.state, now + int(verdict.delay * 1000)
        # An older write was answered, and what was captured since is owed; unless a person has to look at it first.
        newer = revision != work.revision or (
            state is not State.HELD
            and any(task.intent is not None and task.intent.revision != work.revision for task in work.tasks)
        )
        if state is not State.DOUBT and (newer or (work.claimed.id in missed and not work.waits_only_owed)):
            state, due = State.PENDING, now if newer or not verdict.spent else due
        counts[state.value] = counts.get(state.value, 0) + 1
        delivered = state in _DELIVERED or verdict.state in _DELIVERED
        return (
            state.value,
            verdict.reason,
            verdict.message,
            work.title,
            due,
            work.claimed.since if state.value == work.claimed.state else now,
            0 if delivered else work.claimed.attempts + int(verdict.spent),
            work.revision if delivered else work.claimed.delivered_revision,
            work.claimed.version,
            self._flow.mapping.fingerprint,
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


def _left(task: Task) -> bool:
    """Whether something of this task may have reached the target."""
    return task.intent is not None and task.outcome is not None and task.outcome.kind not in _STAYED


def _intents(work: Work) -> list[Any]:
    return [task.intent for task in work.tasks if task.intent is not None and _left(task)]
