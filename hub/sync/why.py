"""Why: from a number that people know, down the chain to the root cause, in words, with the command that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hub.domain.delivery import State
from hub.domain.errors import NotFound
from hub.store import identities, ledger
from hub.store.engine import Store
from hub.sync.flow import Flow

_DEPTH = 8


@dataclass(slots=True)
class Link:
    """One link of the chain: a delivery, what keeps it, in words, and what to do about it."""

    flow: str
    delivery: int
    title: str | None
    source_id: str
    state: str
    since: str | None
    cause: str
    fix: str
    because: list[Link] = field(default_factory=list)


async def why(store: Store, flows: Mapping[str, Flow], text: str) -> list[Link]:
    """The deliveries that `text` may mean (an order number, a record's id), each with its chain. Raises NotFound."""
    found = await ledger.by_number(store, text)
    if not found:
        entities = await _entities(store, text)
        owed = await ledger.of_entities(store, entities)
        found = [line for lines in owed.values() for line in lines]
    if not found:
        raise NotFound(
            f"the hub knows nothing by the name of {text!r}",
            hint="it may never have been read: `hub sync FLOW --record ID` fetches one record now",
        )
    # What is owed to the source (`orders.back`) explains nothing, unless it is all there is or has gone wrong.
    own = [line for line in found if line.flow in flows or line.state == State.DEAD] or found
    return [await _link(store, flows, line, 0, set()) for line in own]


async def _entities(store: Store, text: str) -> list[int]:
    async with store.read() as conn:
        return sorted({one.entity for one in await identities.find(conn, text)})


async def _link(store: Store, flows: Mapping[str, Flow], line: ledger.Line, depth: int, passed: set[int]) -> Link:
    cause, fix = _words(flows.get(line.flow), line)
    link = Link(line.flow, line.id, line.title, line.source_id, line.state, line.since, cause, fix)
    passed.add(line.id)
    if line.state == State.WAITING and depth < _DEPTH:
        await _parents(store, flows, line, link, depth, passed)
    return link


async def _parents(
    store: Store, flows: Mapping[str, Flow], line: ledger.Line, link: Link, depth: int, passed: set[int]
) -> None:
    flow = flows.get(line.flow)
    whole = await ledger.show(store, line.id)
    entities = [one["entity"] for one in whole["waits_for"] if one["field"] is None]
    owed = await ledger.of_entities(store, entities)
    for entity in entities:
        parents = [
            parent
            for parent in owed.get(entity, [])
            if parent.id not in passed and (flow is None or _brings(flows, parent, flow))
        ]
        for parent in parents:
            link.because.append(await _link(store, flows, parent, depth + 1, passed))
        if not parents:
            link.because.append(await _nobody(store, entity, link))


def _brings(flows: Mapping[str, Flow], parent: ledger.Line, flow: Flow) -> bool:
    other = flows.get(parent.flow)
    return other is not None and other.target.name == flow.target.name


async def _nobody(store: Store, entity: int, link: Link) -> Link:
    async with store.read() as conn:
        known = (await identities.of_entities(conn, [entity])).get(entity, [])
    named = ", ".join(f"{one.system} {one.object} {one.record_id}" for one in known) or "an entity without a record"
    return Link(
        link.flow,
        link.delivery,
        None,
        "",
        "missing",
        None,
        f"no flow has captured {named} yet",
        "run the flow that brings it (`hub sync FLOW --record ID`), or link it by hand (`hub ids link`)",
    )


def _words(flow: Flow | None, line: ledger.Line) -> tuple[str, str]:
    """What a state means, and what to do: no state answers 'unknown'."""
    target = flow.target.name if flow is not None else "the target"
    source = flow.source.name if flow is not None else "the source"
    text = line.message or line.reason or ""
    retry = f"hub deliveries retry --id {line.id}"
    match line.state:
        case State.PENDING if line.attempts or line.reason:
            return (f"it is tried again at {line.due}: {text}", "nothing to do; `" + retry + "` tries it now")
        case State.PENDING:
            return (
                f"it is due since {line.due} and waits for its turn",
                "check that `hub run` is running: `hub status`",
            )
        case State.WORKING:
            return (f"it is being delivered to {target} now", "look again in a moment")
        case State.DOUBT:
            return (
                f"a write left for {target} and no answer came ({text}); it is looked up at {line.due}",
                "nothing to do: the hub asks the target before it sends anything again",
            )
        case State.WAITING:
            return (text or f"it refers to something that {target} does not have yet", "mend what it waits for, below")
        case State.BLOCKED:
            return (
                f"{target} refuses it for now: {text}",
                f"mend it in {target}; it is tried again at {line.due}, or now: `{retry}`",
            )
        case State.HELD if line.reason == "several":
            return (f"more than one record may be meant: {text}", f"decide: `hub ids link …`, then `{retry}`")
        case State.HELD:
            return (
                f"a person has to decide: {text}",
                f"mend it, then `{retry}`, or `hub deliveries skip --id {line.id}`",
            )
        case State.DEAD if line.reason == "refused":
            return (text, f"mend it in {source}, or what it refers to: the change revives it by itself")
        case State.DEAD if line.reason == "invalid":
            return (
                f"it can't be translated: {text}",
                f"mend the record in {source} (the change revives it) or the mapping, then `{retry}`",
            )
        case State.DEAD if line.reason == "retries_spent":
            return (f"{target} did not take it in {line.attempts} attempts: {text}", f"when it is mended: `{retry}`")
        case State.DEAD:
            return (
                f"{target} refuses it: {text}",
                f"mend the record in {source} (the change revives it), or `{retry}`",
            )
        case State.DONE:
            return (f"it is in {target}", "nothing to do")
        case State.UNCHANGED:
            return (f"{target} has it already" + (f" ({text})" if text else ""), "nothing to do")
        case State.FILTERED:
            return (
                f"a rule keeps it from travelling: {text}",
                "change the record so that it satisfies the rule, or the rule",
            )
        case _:
            return (f"it is {line.state}: {text}", f"`{retry}`")
