"""Gather: all that a claimed batch needs, in a handful of look-ups, so that translation does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from hub.connector.contract import GetAnswer, GetKind
from hub.domain.delivery import State
from hub.domain.record import Fields
from hub.mapping.compile import RelatedNeed
from hub.mapping.result import Asks, Context, Item, RefAnswer, RefKey, RefState, Rendered, Result
from hub.store import claims, deliveries, identities, lookups
from hub.store.engine import Store
from hub.sync.flow import Flow
from hub.sync.payload import Payload
from hub.sync.reading import Reader
from hub.sync.work import Intent, Sent, Task, Verdict, Work


async def load(store: Store, flow: Flow, claimed: Sequence[claims.Claimed]) -> list[Work]:
    """The batch with its payloads, the target records it is about, and the intents that are still open."""
    began = store.clock.now()
    works = [Work(one, title=one.title, revision=one.revision, began=began) for one in claimed]
    await _payloads(store, flow, works)
    await take_targets(store, flow, works)
    await _open_intents(store, flow, [work for work in works if work.claimed.state == State.DOUBT])
    return works


async def take_targets(store: Store, flow: Flow, works: Sequence[Work]) -> None:
    """The target records that these have, each with what is known of its content. What is gone is none."""
    async with store.read() as conn:
        found = await identities.of_entities(
            conn, [work.claimed.entity for work in works], flow.target.name, flow.target_schema.name
        )
        live = {
            entity: [one for one in targets if one.role == "primary" and one.tombstone is None]
            for entity, targets in found.items()
        }
        shadows = await identities.shadows(conn, [one.id for targets in live.values() for one in targets])
    for work in works:
        for target in live.get(work.claimed.entity, []):
            shadow = shadows.get(target.id)
            task = Task(target.facet, target=target)
            if shadow is not None:
                task.sent = Sent.decode(shadow.sent)
                task.seen = orjson.loads(shadow.seen) if shadow.seen else None
                task.doubt = frozenset(orjson.loads(shadow.doubt)) if shadow.doubt else frozenset()
            work.tasks.append(task)


async def _open_intents(store: Store, flow: Flow, works: Sequence[Work]) -> None:
    """What left and was not answered. Of several for one target record the first says what is to be found out."""
    if not works:
        return
    async with store.read() as conn:
        noted = await claims.intents(conn, [work.claimed.id for work in works])
    for work in works:
        for token, text in noted.get(work.claimed.id, ()):
            work.noted.add(token)
            for body in orjson.loads(text):
                _attach(work, Intent.decode(body, dict(flow.mapping.options)))


def _attach(work: Work, intent: Intent) -> None:
    task = next((one for one in work.tasks if one.facet == intent.facet), None)
    if task is None:
        task = Task(intent.facet)
        work.tasks.append(task)
    if task.intent is None:
        task.intent = intent
    else:  # a late worker's write: whatever it carried may stand in the target
        task.doubt |= frozenset(intent.write.fields) | frozenset(intent.write.rows)


async def _payloads(store: Store, flow: Flow, works: list[Work]) -> None:
    """Read the payloads; fetch again what can't be trusted, was dropped, or lacks a field that the mapping now asks
    for.
    """
    await _take_bodies(store, works)
    stale = [work for work in works if _stale(flow, work)]
    if stale:
        await _fetch_again(store, flow, stale)


async def _fetch_again(store: Store, flow: Flow, works: Sequence[Work]) -> None:
    """Read these records now. What turns out to be gone goes back, to be claimed as the deletion that it is."""
    reader = Reader(store, flow)
    ids = [work.claimed.source_id for work in works]
    report = await reader.capture_records(ids, cause="refetch")
    payloads = {one.id: one.payload for one in report.seen}
    kept: list[tuple[int, str]] = []
    async with store.begin() as conn:
        rows = await deliveries.known(conn, flow.name, ids)
        for work in works:
            row = rows[work.claimed.source_id]
            work.revision = row.revision
            work.payload = payloads.get(work.claimed.source_id)
            if work.payload is not None:
                kept.append((work.claimed.id, work.payload.encode()))
            elif row.deleted:
                work.verdict = Verdict(State.PENDING, "deleted")
            else:
                text = f"{flow.source.name} did not answer for this record"
                work.verdict = Verdict(State.PENDING, "source", text, delay=60, spent=True)
        await deliveries.put_payloads(conn, kept)


async def _take_bodies(store: Store, works: Iterable[Work]) -> None:
    async with store.read() as conn:
        bodies = await deliveries.payloads(conn, [work.claimed.id for work in works])
    for work in works:
        body, previous = bodies.get(work.claimed.id, (None, None))
        work.payload = Payload.decode(body) if body is not None else None
        work.previous = Payload.decode(previous) if previous is not None else None


def _stale(flow: Flow, work: Work) -> bool:
    if work.claimed.deleted:
        return False
    payload = work.payload
    if work.claimed.refetch or payload is None:
        return True
    needed = flow.mapping.needs.fields
    lacking = needed is not None and not needed <= payload.record.keys()
    return lacking or any(relation.name not in payload.related for relation in flow.waking)


class Gatherer:
    """Translates a batch: related records, references and lookup rows are fetched for all of it first."""

    def __init__(self, store: Store, flow: Flow) -> None:
        self._store = store
        self._flow = flow

    async def translate(self, works: Sequence[Work]) -> None:
        """Give every work that has a payload its results (`work.tasks[].rendered`) or its verdict."""
        results, resolved = await self._results(works)
        for work, result in zip(works, results, strict=True):
            work.title = getattr(result, "title", None) or work.title
            work.result = result
            work.resolved = resolved

    async def render(self, works: Sequence[Work]) -> list[Result]:
        """The results alone, for a look that changes nothing."""
        results, _ = await self._results(works)
        return results

    async def _results(self, works: Sequence[Work]) -> tuple[list[Result], dict[RefKey, identities.Resolved]]:
        """What the mapping makes of each, and what its references name.

        Whether the target has a record already decides over `on: create`. A mapping with `once_per` says only by its
        result which record that is: a refused approval is there, the one of the next round is not. What turns out to
        be new is translated again as new.
        """
        items = await self.items(works)
        context, resolved = await self.context(items)
        results = self._flow.mapping.run(items, context)
        if not self._flow.mapping.spec.once_per:
            return results, resolved
        new = [
            at
            for at, (work, item, result) in enumerate(zip(works, items, results, strict=True))
            if item.exists and isinstance(result, list) and not _has_round(work, result)
        ]
        if new:
            for at in new:
                items[at].exists = False
            context, more = await self.context([items[at] for at in new])
            resolved |= more
            for at, result in zip(new, self._flow.mapping.run([items[at] for at in new], context), strict=True):
                results[at] = result
        return results, resolved

    async def items(self, works: Sequence[Work]) -> list[Item]:
        """The batch as the compiled mapping takes it."""
        now = self._store.clock.now()
        items = [
            Item(
                work.claimed.source_id,
                work.payload.record if work.payload else {},
                dict(work.payload.related) if work.payload else {},
                waited=(now - work.claimed.captured) / 1000,
                exists=any(task.target is not None for task in work.tasks),
                previous=work.previous.record if work.previous else None,
            )
            for work in works
        ]
        await self._related(items)
        return items

    async def _related(self, items: list[Item]) -> None:
        """Fetch the relations that did not come with the capture, one call an object for the whole batch."""
        captured = {one.name for one in self._flow.waking}
        for relation in self._flow.mapping.needs.related:
            if relation.name in captured:
                continue
            if relation.where:
                await self._where(relation, items)
            elif relation.of:
                await self._per_row(relation, items)
            else:
                await self._single(relation, items)

    async def _single(self, relation: RelatedNeed, items: list[Item]) -> None:
        wanted = {item.id: _text(item.record.get(relation.id or "")) for item in items}
        found = await self._by_id(relation, {one for one in wanted.values() if one})
        for item in items:
            item.related[relation.name] = found.get(wanted[item.id] or "")

    async def _per_row(self, relation: RelatedNeed, items: list[Item]) -> None:
        def ids(item: Item) -> set[str]:
            table = relation.of or ""
            rows: Any = item.related.get(table) or item.record.get(table) or []
            return {one for row in rows if (one := _text(row.get(relation.id)))}

        found = await self._by_id(relation, {one for item in items for one in ids(item)})
        for item in items:
            item.related[relation.name] = {one: found[one] for one in ids(item) if one in found}

    async def _where(self, relation: RelatedNeed, items: list[Item]) -> None:
        """Records of another object by one of its fields (further conditions are applied to what comes back)."""
        (field, path), *others = relation.where.items()
        wanted = {item.id: _text(item.record.get(path)) for item in items}
        values = sorted({one for one in wanted.values() if one})
        children = await self._flow.source.connector.children(relation.object, field, values, relation.fields)
        for item in items:
            item.related[relation.name] = [
                record.fields
                for record in children.get(wanted[item.id] or "", [])
                if all(record.fields.get(name) == item.record.get(other) for name, other in others)
            ]

    async def _by_id(self, relation: RelatedNeed, ids: set[str]) -> dict[str, Fields]:
        if not ids:
            return {}
        answers: list[GetAnswer] = await self._flow.source.connector.get(relation.object, sorted(ids), relation.fields)
        return {one.id: one.record.fields for one in answers if one.kind is GetKind.FOUND and one.record is not None}

    async def context(self, items: Sequence[Item]) -> tuple[Context, dict[RefKey, identities.Resolved]]:
        """References and lookup rows for the batch; with each reference the entity it names, for those who have to
        wait.
        """
        context = Context(params=self._flow.params, now=self._store.clock.now())
        resolved: dict[RefKey, identities.Resolved] = {}
        asked = Asks()
        while True:
            # A facet may itself be a reference: ask again with its answer, until nothing new comes.
            asks = self._flow.mapping.collect(items, context)
            new = Asks(asks.refs - asked.refs, asks.tables - asked.tables)
            if not new.refs and not new.tables:
                return context, resolved
            asked = Asks(asked.refs | asks.refs, asked.tables | asks.tables)
            resolved.update(await self._refs(new))
            refs = {key: _ref_answer(one.target) for key, one in resolved.items()}
            tables = await self._tables(asked)
            context = Context(self._flow.params, refs, tables, context.now)

    async def _tables(self, asked: Asks) -> dict[str, dict[tuple[str, ...], Any]]:
        tables: dict[str, dict[tuple[str, ...], Any]] = {}
        if asked.tables:
            async with self._store.read() as conn:
                rows = await lookups.rows(conn, [(one.table, one.key) for one in asked.tables])
            for (table, key), value in rows.items():
                tables.setdefault(table, {})[key] = value
        return tables

    async def _refs(self, asks: Asks) -> dict[RefKey, identities.Resolved]:
        found: dict[RefKey, identities.Resolved] = {}
        kinds: dict[str, list[RefKey]] = {}
        for key in asks.refs:
            kinds.setdefault(key.kind, []).append(key)
        for kind, keys in kinds.items():
            answers = await identities.resolve(
                self._store,
                self._flow.source.name,
                self._flow.target.name,
                kind,
                [(key.object, key.by, key.value, key.facet) for key in keys],
            )
            found.update(zip(keys, answers, strict=True))
        return found


def _ref_answer(target: identities.Identity | None) -> RefAnswer:
    if target is None:
        return RefAnswer(RefState.MISSING)
    keys = {**(target.keys or {}), **({"number": target.number} if target.number else {})}
    return RefAnswer(RefState.FOUND if target.usable else RefState.UNUSABLE, target.record_id, keys)


async def read_targets(flow: Flow, tasks: Sequence[Task], fields: frozenset[str] | None) -> None:
    """Read the target's records of a batch in one call: what a two-way flow does before it writes."""
    known = [task for task in tasks if task.target is not None]
    if not known:
        return
    answers: list[GetAnswer] = await flow.target.connector.get(
        flow.target_schema.name, [task.target.record_id for task in known if task.target], fields
    )
    for task, answer in zip(known, answers, strict=True):
        task.answer = answer.kind
        task.current = answer.record if answer.kind is GetKind.FOUND else None


def related_ids(relation: RelatedNeed, payload: Payload) -> set[str]:
    """The ids that a record (or its rows) names in a relation by id."""
    if relation.id is None:
        return set()
    holders: Any = [payload.record]
    if relation.of is not None:
        holders = payload.related.get(relation.of) or payload.record.get(relation.of) or []
    return {one for holder in holders if (one := _text(holder.get(relation.id)))}


def _has_round(work: Work, rendered: Sequence[Rendered]) -> bool:
    """Whether the target has every record that was rendered, each for its own round."""
    there = {task.facet for task in work.tasks if task.target is not None}
    return all((one.once or one.facet) in there for one in rendered)


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, list):
        return str(value[0]) if value else None
    return str(value)
