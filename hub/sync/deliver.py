"""Deliver: intents are committed, then the batch leaves once, and every record gets its own outcome."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.connector.contract import Op, Write
from hub.domain.delivery import State
from hub.domain.errors import HubError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.store import claims, sequences
from hub.store.engine import Store
from hub.sync.failpoints import failpoint
from hub.sync.flow import Flow, System
from hub.sync.locate import key_text, usable
from hub.sync.stumble import STUMBLED, told
from hub.sync.work import Task, Verdict, Work

Pair = tuple[Work, Task]

ACCIDENTS = 2  # answers for one record that were lost, until it is sent alone
_RETRY_RESERVED = 2.0  # seconds until the loser of a reservation looks again


async def commit_intents(store: Store, flow: Flow, pairs: Sequence[Pair]) -> list[Pair]:
    """Write down what is about to leave. What comes back may leave; the others have their verdict.

    The lease is proven in the same transaction: a worker that was paused past it finds its token gone, and sends
    nothing. A create reserves its match keys here. Two orders name the same new customer twice in the source: both
    deliveries find nothing in the target and want to create; the second one's reservation fails, it waits, and
    adopts what the first has made.
    """
    if not pairs:
        return []
    bodies = _bodies(pairs) if not any(task.rendered is not None and task.rendered.numbers for _, task in pairs) else []
    async with store.begin() as conn:
        leaving = await _proven(store, conn, pairs)
        leaving = await _reserve(store, flow, conn, leaving)
        await _draw_numbers(store, conn, leaving)
        if not bodies or len(leaving) < len(pairs):
            bodies = _bodies(leaving)
        await claims.put_intents(conn, bodies)
        failpoint("before-intent")
    for work, _ in leaving:
        work.noted.add(work.claimed.token)
    failpoint("after-intent")
    return leaving


async def _proven(store: Store, conn: AsyncConnection, pairs: Sequence[Pair]) -> list[Pair]:
    """Those that are still ours to send. On SQLite no claim can be lost."""
    if store.dialect == "sqlite":
        return list(pairs)
    held = await claims.still_held(conn, [work.claimed for work, _ in pairs])
    for work, _task in pairs:
        if work.claimed.id not in held and work.open:
            work.verdict = Verdict(State.PENDING, "lease", "the lease passed before the write left")
    return [(work, task) for work, task in pairs if work.open]


def _bodies(pairs: Sequence[Pair]) -> list[tuple[int, int, str]]:
    """The intents of each delivery, as they are kept: (delivery, token, JSON)."""
    found: dict[int, tuple[int, list[object]]] = {}
    for work, task in pairs:
        assert task.intent is not None
        found.setdefault(work.claimed.id, (work.claimed.token, []))[1].append(task.intent.encode())
    return [(one, token, orjson.dumps(body).decode()) for one, (token, body) in found.items()]


async def _reserve(store: Store, flow: Flow, conn: AsyncConnection, pairs: list[Pair]) -> list[Pair]:
    wanted: dict[tuple[str, str, str], Pair] = {}
    lost: set[int] = set()
    system, object_name = flow.target.name, flow.target_schema.name
    for work, task in pairs:
        intent = task.intent
        assert intent is not None
        if intent.write.op is not Op.CREATE or "save" in intent.write.done:
            continue
        key = next((one for one in intent.match if usable(one)), None)
        if key is None:
            continue
        slot = (system, object_name, key_text(key))
        first = wanted.setdefault(slot, (work, task))
        if first[0] is not work:
            lost.add(id(task))
            _lose(task)
    now = store.clock.now()
    rows = [(*slot, work.claimed.id, now) for slot, (work, _) in wanted.items()]
    taken = await claims.reserve(conn, rows) if rows else set()
    for slot in taken:
        task = wanted[slot][1]
        lost.add(id(task))
        _lose(task)
    return [pair for pair in pairs if id(pair[1]) not in lost]


def _lose(task: Task) -> None:
    task.intent = None
    task.verdict = Verdict(
        State.PENDING, "reserved", "another record is about to create the same thing", delay=_RETRY_RESERVED
    )


async def _draw_numbers(store: Store, conn: AsyncConnection, pairs: Sequence[Pair]) -> None:
    """Running numbers are drawn with the intent: whatever happens to the write, the number is this delivery's."""
    for _work, task in pairs:
        assert task.intent is not None
        if task.rendered is None or not task.rendered.numbers or task.intent.write.op is not Op.CREATE:
            continue
        for name, pattern in task.rendered.numbers.items():
            if name not in task.intent.write.fields:
                task.intent.write.fields[name] = await sequences.draw(conn, pattern, store.clock.now())


async def deliver(flow: Flow, pairs: Sequence[Pair]) -> None:
    """Send the batch and keep what came back in `task.outcome`. Then the operations that a state asks for."""
    together = [pair for pair in pairs if not _suspect(pair[0])]
    for group in (together, *([pair] for pair in pairs if _suspect(pair[0]))):
        writes = [task.intent.write for _, task in group if task.intent is not None]
        for (_, task), outcome in zip(group, await send(flow.target, flow.target_schema.name, writes), strict=True):
            task.outcome = outcome
    failpoint("after-send")
    await _operate(flow, pairs)


def _suspect(work: Work) -> bool:
    """Whether it may be this very record over which its batches broke: it goes alone, and no other with it.

    One answer that is lost is an accident. A vendor's server that breaks down over one order of fifty answers for none
    of them, and would never answer for the other forty-nine.
    """
    claimed = work.claimed
    return claimed.reason == STUMBLED or (claimed.state == State.DOUBT and claimed.attempts >= ACCIDENTS)


async def _operate(flow: Flow, pairs: Sequence[Pair]) -> None:
    """Do the first operation of each record's list that the target's state allows."""
    waiting = [
        (task, list(task.intent.actions))
        for _, task in pairs
        if task.intent is not None
        and task.intent.actions
        and task.outcome is not None
        and task.outcome.ok
        and task.intent.write.op is not Op.OPERATION
    ]
    waiting += [
        (task, list(task.intent.actions[1:]))
        for _, task in pairs
        if task.intent is not None
        and task.outcome is not None
        and task.intent.write.op is Op.OPERATION
        and task.outcome.kind in (OutcomeKind.BLOCKED, OutcomeKind.REJECTED)
        and task.intent.actions[1:]
    ]
    while waiting:
        failpoint("before-operate")
        batch = [
            Write(Op.OPERATION, task.target_id, operation=names[0], options=flow.write_options)
            for task, names in waiting
        ]
        outcomes = await send(flow.target, flow.target_schema.name, batch)
        again = []
        for (task, names), outcome in zip(waiting, outcomes, strict=True):
            if outcome.kind in (OutcomeKind.BLOCKED, OutcomeKind.REJECTED) and names[1:]:
                again.append((task, names[1:]))
            elif outcome.ok and task.outcome is not None and task.outcome.ok:
                continue
            else:
                task.outcome = outcome if outcome.ok else _partly(task, outcome)
        waiting = again


def _partly(task: Task, outcome: Outcome) -> Outcome:
    """The record was written and its operation was not: what is done stays done."""
    done = task.outcome
    if done is None or not done.ok:
        return outcome
    return Outcome(
        OutcomeKind.PARTLY,
        done.id,
        done.version,
        done.keys,
        done.rows,
        done.steps,
        outcome.kind,
        outcome.failure,
        outcome.retry_after,
    )


async def send(system: System, object_name: str, writes: Sequence[Write]) -> list[Outcome]:
    """One call of the connector. A connector that raises has broken its contract: what it held may have left."""
    if not writes:
        return []
    breaker = system.breaker
    if not breaker.allow():
        words = breaker.down[1] if breaker.down else ""
        failure = Failure(f"{system.name} is down: {words}" if words else f"{system.name} is down")
        return [Outcome(OutcomeKind.DOWN, failure=failure) for _ in writes]
    try:
        outcomes: list[Outcome] = await system.connector.write(object_name, writes)
    except HubError as error:
        outcomes = [Outcome(OutcomeKind.UNKNOWN, failure=Failure(str(error))) for _ in writes]
    except Exception as error:  # whose record it was can't be told: each goes alone when it is sent again
        text = told(error, f"{system.name} stumbled over a write of {object_name}")
        return [Outcome(OutcomeKind.UNKNOWN, failure=Failure(text, code=STUMBLED)) for _ in writes]
    if len(outcomes) != len(writes):
        text = f"{system.name} answered {len(outcomes)} outcomes for {len(writes)} writes"
        outcomes = [Outcome(OutcomeKind.UNKNOWN, failure=Failure(text)) for _ in writes]
    silent = [one.kind in (OutcomeKind.DOWN, OutcomeKind.UNKNOWN) for one in outcomes]
    if all(silent):
        breaker.failure(outcomes[-1].failure.message if outcomes[-1].failure else "")
    elif not silent[-1]:  # a batch that was cut short in the middle is no sign of life
        breaker.success()
    return outcomes
