"""The life of a delivery: its states, which may follow which, and how the books balance."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a delivery stands. The states without a claim ahead of them are *settled*; each tells its reason."""

    PENDING = "pending"  # owed; claimed as soon as it is due
    WORKING = "working"  # claimed under a lease; an open intent says whether a write may have left
    DOUBT = "doubt"  # a write left and no answer came; locate decides after `settles_within`
    WAITING = "waiting"  # refers to an entity that the target does not have yet
    BLOCKED = "blocked"  # the target refuses for now; slow schedule
    HELD = "held"  # a person decides
    DEAD = "dead"  # refused; a newer source record or a person revives it
    DONE = "done"  # the target was written
    UNCHANGED = "unchanged"  # the target has it already
    FILTERED = "filtered"  # a named rule of the mapping, or of the flow, says that it does not travel


CLAIMABLE = frozenset({State.PENDING, State.DOUBT, State.WAITING, State.BLOCKED})
SETTLED = frozenset({State.DONE, State.UNCHANGED, State.FILTERED})
NEEDS_PERSON = frozenset({State.HELD, State.DEAD})
IN_BOOKS = (State.DONE, State.UNCHANGED, State.FILTERED, State.WAITING, State.BLOCKED, State.HELD, State.DEAD)

_FROM_WORK = frozenset(State) - {State.WORKING}

# A newer capture moves every state to pending (working excepted: it is marked, and becomes pending when it settles).
TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.WORKING, State.HELD, State.FILTERED}),
    State.WORKING: _FROM_WORK,
    State.DOUBT: frozenset({State.WORKING, State.HELD}),
    State.WAITING: frozenset({State.WORKING, State.PENDING, State.HELD, State.FILTERED}),
    State.BLOCKED: frozenset({State.WORKING, State.PENDING, State.HELD, State.DEAD, State.FILTERED}),
    State.HELD: frozenset({State.PENDING, State.FILTERED}),
    State.DEAD: frozenset({State.PENDING, State.HELD, State.FILTERED}),
    State.DONE: frozenset({State.PENDING}),
    State.UNCHANGED: frozenset({State.PENDING}),
    State.FILTERED: frozenset({State.PENDING}),
}


def may_follow(before: State, after: State) -> bool:
    """Whether the machine knows this step."""
    return after in TRANSITIONS[before]


class Lane(StrEnum):
    """What just changed goes before bulk."""

    LIVE = "live"
    BULK = "bulk"


def balance(counts: dict[State, int]) -> bool:
    """The books of a quiet hub: everything captured stands in exactly one settled, waiting or decided state."""
    return sum(counts.values()) == sum(counts.get(state, 0) for state in IN_BOOKS)
