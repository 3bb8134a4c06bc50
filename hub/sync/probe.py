"""Probe: a write left and no answer came. The target is asked with the intent's own keys, not today's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hub.connector.contract import GetKind, Op
from hub.domain.delivery import State
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Fields, Record, RowWrite
from hub.store.engine import Store
from hub.sync.changes import pair_rows
from hub.sync.deliver import send
from hub.sync.flow import Flow
from hub.sync.gather import read_targets
from hub.sync.locate import Found, Want, can_ask, locate
from hub.sync.work import Task, Verdict, Work

Pair = tuple[Work, Task]


async def probe(store: Store, flow: Flow, works: Sequence[Work]) -> None:
    """Find out what became of writes in doubt; a task whose intent is taken away is resolved anew.

    A create that is found by the hub's stamp or the intent's match keys is taken as done, as far as its save goes; one
    that is absent after `settles_within` never happened, several are held. Of an update the rows that it added are
    recognised by what they say, so that they are not added twice, and its fields, which are in doubt, go out again.
    What can't be looked for is repeated as it was while its system does it once, and held after that.
    """
    settles = int(flow.target_schema.facts.settles_within * 1000)
    now = store.clock.now()
    asked: list[Pair] = []
    for work in works:
        for task in work.tasks:
            if task.intent is None:
                continue
            if now < task.intent.at + settles:
                delay = (task.intent.at + settles - now) / 1000
                work.verdict = task.verdict = Verdict(State.DOUBT, "unknown", "no answer came", delay=delay)
            else:
                asked.append((work, task))
    asked = [(work, task) for work, task in asked if work.open]
    creates = [pair for pair in asked if _op(pair) is Op.CREATE]
    if flow.target_schema.facts.repeats_within is None:
        await _creates(store, flow, creates)
    else:
        await _repeat(store, flow, creates, flow.target_schema.facts.repeats_within)
    await _others(flow, [pair for pair in asked if _op(pair) is not Op.CREATE])


def _op(pair: Pair) -> Op | None:
    intent = pair[1].intent
    return intent.write.op if intent is not None else None


async def _creates(store: Store, flow: Flow, pairs: Sequence[Pair]) -> None:
    wants = [
        Want(work.claimed.entity, task.intent.match, task.intent.write.stamp)
        for work, task in pairs
        if task.intent is not None
    ]
    located = await locate(store, flow, wants, flow.target_fields) if wants else []
    for (work, task), want, answer in zip(pairs, wants, located, strict=True):
        match answer.found:
            case Found.ONE:
                assert answer.record is not None
                task.outcome = _found(flow, task, answer.record)
            case Found.ABSENT if not can_ask(flow, want):
                text = f"no answer came, and the record has nothing that {flow.target.name} could be asked for it by"
                work.verdict = task.verdict = Verdict(State.HELD, "unanswered", text)
            case Found.ABSENT:
                task.intent = None
            case Found.SEVERAL:
                work.verdict = task.verdict = Verdict(State.HELD, "several", answer.why)
            case Found.CANT_TELL:
                work.verdict = task.verdict = Verdict(State.DOUBT, "cant_tell", answer.why, delay=30)


async def _repeat(store: Store, flow: Flow, pairs: Sequence[Pair], within: float) -> None:
    """Send the very same creates again: their system does each of them once within that time of the first.

    A message leaves, the hub dies, the deal is renamed: rendered anew the message would be another one, and be read
    twice. So the intent's own body goes, under its own time. A worker whose lease has passed does no harm here: what
    both of them send is done once.
    """
    fresh: list[Pair] = []
    for work, task in pairs:
        assert task.intent is not None
        if store.clock.now() < task.intent.at + (within - task.intent.write.timeout) * 1000:
            fresh.append((work, task))
            continue
        text = f"no answer came; {flow.target.name} keeps no list to look it up in, and would do it twice if told again"
        work.verdict = task.verdict = Verdict(State.HELD, "unanswered", text)
    writes = [task.intent.write for _, task in fresh if task.intent is not None]
    for (work, task), outcome in zip(fresh, await send(flow.target, flow.target_schema.name, writes), strict=True):
        text = outcome.failure.message if outcome.failure is not None else "no answer came"
        if outcome.ok:
            task.outcome = outcome
        elif outcome.kind in (OutcomeKind.UNKNOWN, OutcomeKind.NOT_EXECUTED, OutcomeKind.DOWN):
            # This one was not executed for sure; of the first nobody knows, so the doubt stays.
            delay = outcome.retry_after or flow.target_schema.facts.settles_within
            work.verdict = task.verdict = Verdict(State.DOUBT, "unknown", text, delay=delay)
        else:
            work.verdict = task.verdict = Verdict(State.HELD, "unanswered", text)


def _found(flow: Flow, task: Task, record: Record) -> Outcome:
    """The write had gone through: what it made, as if its answer had come. Steps that follow the save are looked at
    again.
    """
    assert task.intent is not None
    number = flow.target_schema.number_field
    keys = {"number": str(record.fields[number])} if number and record.fields.get(number) else {}
    kind = OutcomeKind.PARTLY if task.intent.write.steps else OutcomeKind.OK
    cause = OutcomeKind.NOT_EXECUTED if task.intent.write.steps else None
    rows = row_ids(flow, task, record)
    return Outcome(kind, record.id, record.version, keys, rows, ("save",), cause, retry_after=0.0)


def row_ids(flow: Flow, task: Task, record: Record) -> dict[str, dict[str, str]]:
    """Which of the record's rows are the ones that the intent asked for: table -> source key -> row id."""
    if task.intent is None:
        return {}
    found: dict[str, dict[str, str]] = {}
    for table, changes in task.intent.write.rows.items():
        present = record.fields.get(table)
        rows = cast("list[Fields]", present) if isinstance(present, list) else []
        known = {key: row.id for key, row in task.sent.rows.get(table, {}).items() if row.id}
        fresh = [row for row in changes.upsert if row.id is None and row.key not in known]
        paired, _ = pair_rows(flow.target_schema, table, fresh, rows, frozenset(known.values()))
        found[table] = {**{row.key: known[row.key] for row in changes.upsert if row.key in known}, **paired}
    return found


async def _others(flow: Flow, pairs: Sequence[Pair]) -> None:
    """Updates and operations are sent again, whole; but a row that was added is not added twice."""
    with_rows = [(work, task) for work, task in pairs if task.intent is not None and task.intent.write.rows]
    deletes = [(work, task) for work, task in pairs if _op((work, task)) is Op.DELETE and task.target is not None]
    await read_targets(flow, [task for _, task in (*with_rows, *deletes)], flow.target_fields)
    for work, task in deletes:
        if task.answer is GetKind.GONE:  # should the source want it again meanwhile, it is made anew
            task.forget_target()
        elif task.answer is not GetKind.FOUND:
            text = f"{flow.target.name} did not answer for it"
            work.verdict = task.verdict = Verdict(State.DOUBT, "cant_tell", text, delay=30)
    for work, task in with_rows:
        if task.answer is not GetKind.FOUND or task.current is None:
            text = f"{flow.target.name} did not answer for it"
            work.verdict = task.verdict = Verdict(State.DOUBT, "cant_tell", text, delay=30)
            continue
        for table, paired in row_ids(flow, task, task.current).items():
            rows = task.sent.rows.setdefault(table, {})
            rows.update({key: RowWrite(key, row_id, {}) for key, row_id in paired.items()})
    for work, task in pairs:
        if work.open and task.intent is not None:
            # Compared with `sent` alone, a source that went back to its old value would have nothing to write.
            write = task.intent.write
            task.doubt = task.doubt | frozenset(write.fields) | frozenset(write.rows)
            task.unfinished = bool(write.steps)
            task.lost = task.intent
            task.intent = None
