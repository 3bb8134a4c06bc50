"""Verdicts: what the target answered becomes where each delivery comes to stand."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hub.domain.delivery import State
from hub.domain.outcome import Outcome, OutcomeKind
from hub.store.engine import Store
from hub.sync.flow import Flow, OnGone
from hub.sync.stumble import STUMBLED
from hub.sync.work import Task, Verdict, Work

_RANK = {
    state: rank
    for rank, state in enumerate(
        (
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
    )
}
_DONE = Verdict(State.DONE)
_SOON = 5.0  # seconds
_STUMBLES = 2  # times that a connector may raise over a record, the last one alone, before the record is set aside


class Judge:
    """Judges the outcomes of one flow."""

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
                work.verdict = (
                    verdicts[0]
                    if len(verdicts) == 1
                    else min(verdicts, key=lambda one: _RANK[one.state], default=Verdict(State.UNCHANGED))
                )

    def _verdict(self, work: Work, task: Task, outcome: Outcome) -> Verdict:
        failure = outcome.failure
        text = failure.message if failure is not None else None
        policy = self._flow.policy
        match outcome.kind:
            case OutcomeKind.OK:
                leaving = task.intent.leaving if task.intent is not None else None
                return Verdict(State.FILTERED, leaving) if leaving else _DONE
            case OutcomeKind.PARTLY:
                return self._after_part(work, outcome, text)
            case OutcomeKind.UNKNOWN:
                delay = self._flow.target_schema.facts.settles_within
                if failure is not None and failure.code == STUMBLED:
                    return self._stumbled(work, text, delay)
                # Twice as long each time, from the third on: what never answers is asked ever more rarely.
                delay *= 2.0 ** min(5, max(0, work.claimed.attempts - 1))
                return Verdict(State.DOUBT, "unknown", text or "no answer came", delay=delay, spent=True)
            case OutcomeKind.DOWN:
                # Nothing is claimed while the breaker is open; who is due soon goes as soon as it has closed.
                away = self._flow.target.down_for(self._store.clock.now())
                return Verdict(State.PENDING, "down", text, delay=max(1.0, min(_SOON, away)))
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


def _sentence(outcome: Outcome) -> str:
    failure = outcome.failure
    if failure is None:
        return "refused without a reason"
    where = f"{failure.field}: " if failure.field else ""
    code = f" [{failure.code}]" if failure.code else ""
    return f"{where}{failure.message}{code}"
