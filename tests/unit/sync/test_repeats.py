"""A create that can't be looked up, such as a message: repeated as it was while its system does it once, then held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hub.connector.contract import Write
from hub.domain.clock import ManualClock
from hub.domain.delivery import State
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.store.engine import Store
from tests.unit.sync.test_engine import account, state_of
from tests.unit.sync.worlds import CUSTOMERS, World, make_world

MESSAGES = CUSTOMERS.replace("match: [[TaxNo], [{Name: company_name, veto: TaxNo}]]\n", "")


async def messages(store: Store, clock: ManualClock, within: float | None) -> World:
    world = await make_world(store, clock, {"messages": MESSAGES}, stamp=False)
    flow = world.engine.flows["messages"]
    facts = replace(flow.target_schema.facts, repeats_within=within)
    flow.target_schema = replace(flow.target_schema, facts=facts)
    return world


def lost(kind: OutcomeKind = OutcomeKind.UNKNOWN) -> Callable[[str, Write], Outcome | None]:
    return lambda object, write: Outcome(kind, failure=Failure("no answer"))


def sends(world: World) -> list[Write]:
    """What arrives at the target from now on; it answers well."""
    seen: list[Write] = []

    def keep(object: str, write: Write) -> Outcome | None:
        seen.append(write)
        return Outcome(OutcomeKind.OK, "m1", steps=("save",))

    world.erp.plan = keep
    return seen


async def test_the_very_same_body_goes_again_whatever_the_source_says_now(store: Store, clock: ManualClock) -> None:
    world = await messages(store, clock, 14_400)
    account(world, "a1", tax_no="before")
    world.erp.plan = lost()
    await world.run()
    assert (await state_of(world, "messages", "a1")).state == State.DOUBT
    world.crm.put("Account", "a1", tax_no="after")
    arrived = sends(world)
    await world.engine.read("messages")
    clock.advance(11)
    await world.drain()
    assert arrived[0].fields["TaxNo"] == "before"
    assert world.erp.finds == 0


async def test_it_is_repeated_once_only_and_rests(store: Store, clock: ManualClock) -> None:
    world = await messages(store, clock, 14_400)
    account(world, "a1")
    world.erp.plan = lost()
    await world.run()
    arrived = sends(world)
    clock.advance(11)
    await world.drain()
    clock.advance(3600)
    await world.run()
    assert len(arrived) == 1
    assert (await state_of(world, "messages", "a1")).state == State.DONE


@pytest.mark.parametrize("kind", [OutcomeKind.UNKNOWN, OutcomeKind.NOT_EXECUTED, OutcomeKind.DOWN])
async def test_a_repeat_that_fails_leaves_the_doubt(store: Store, clock: ManualClock, kind: OutcomeKind) -> None:
    world = await messages(store, clock, 14_400)
    account(world, "a1")
    world.erp.plan = lost()
    await world.run()
    world.erp.plan = lost(kind)
    clock.advance(11)
    await world.drain()
    assert (await state_of(world, "messages", "a1")).state == State.DOUBT
    arrived = sends(world)
    clock.advance(3600)
    await world.drain()
    assert len(arrived) == 1


@pytest.mark.parametrize(("within", "later"), [(0.0, 11.0), (14_400.0, 14_400.0)])
async def test_what_can_not_be_repeated_is_held_for_a_person(
    store: Store,
    clock: ManualClock,
    within: float,
    later: float,
) -> None:
    world = await messages(store, clock, within)
    account(world, "a1")
    world.erp.plan = lost()
    await world.run()
    arrived = sends(world)
    clock.advance(later)
    await world.drain()
    line = await state_of(world, "messages", "a1")
    assert (line.state, line.reason) == (State.HELD, "unanswered")
    assert "would do it twice" in str(line.message)
    assert arrived == []


async def test_a_repeat_that_is_refused_is_held_too(store: Store, clock: ManualClock) -> None:
    """The first may have arrived: a refusal of the second is no proof that it has not."""
    world = await messages(store, clock, 14_400)
    account(world, "a1")
    world.erp.plan = lost()
    await world.run()
    world.erp.plan = lost(OutcomeKind.REJECTED)
    clock.advance(11)
    await world.drain()
    assert (await state_of(world, "messages", "a1")).state == State.HELD


async def test_what_has_nothing_to_be_asked_for_by_is_not_taken_for_absent(store: Store, clock: ManualClock) -> None:
    world = await messages(store, clock, None)  # no stamp, no keys, and the vendor says nothing of repeats
    account(world, "a1")
    world.erp.plan = lost()
    await world.run()
    arrived = sends(world)
    clock.advance(11)
    await world.drain()
    line = await state_of(world, "messages", "a1")
    assert (line.state, line.reason) == (State.HELD, "unanswered")
    assert arrived == []
