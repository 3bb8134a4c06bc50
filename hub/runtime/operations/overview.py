"""Where things stand: status, runs, why, the audit log; and flows, paused and resumed."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Any

from pydantic import Field
from sqlalchemy import func, select

from hub.domain.clock import iso
from hub.domain.errors import NotFound
from hub.runtime.operations.operation import Act, AnyOperation, Call, Operation, Params, Result
from hub.runtime.operations.systems import SystemLine, explained, resting, system_lines
from hub.runtime.settings import Role
from hub.runtime.signals import SCHEDULES
from hub.runtime.triggers import Trigger, of_flow
from hub.store import audit, hints, ledger, processes, runs, schedules
from hub.store import flows as flow_rows
from hub.store.tables import identity, inbox
from hub.sync import why as whys


class FlowParams(Act):
    flow: str = Field(description="The flow's name.")


class RunsParams(Params):
    flow: str | None = Field(default=None, description="Only this flow.")
    limit: int = Field(default=20, ge=1, le=500, description="How many at most.")


class WhyParams(Params):
    text: str = Field(min_length=1, description="An order number, a record's id, a delivery's id.")


class AuditParams(Params):
    subject: str | None = Field(default=None, description="Only what was done to this flow, delivery or record.")
    limit: int = Field(default=50, ge=1, le=500, description="How many at most.")


class FlowLine(Result):
    """A flow: its way, its schedule, whether it rests."""

    name: str
    source: str
    target: str
    entity: str
    partner: str | None
    schedule: str
    next_due: str | None
    paused: bool
    reason: str | None


class Flows(Result):
    items: list[FlowLine]


class FlowStatus(FlowLine):
    """A flow, what it owes by state, and its last read."""

    states: dict[str, int]
    last_run: str | None
    last_run_state: str | None


class ReasonLine(Result):
    """How many deliveries rest for a reason, and since when the oldest does."""

    flow: str
    state: str
    reason: str | None
    count: int
    since: str | None


class ProcessLine(Result):
    """A process of the hub. `alive`: it gave a sign of life within the last half minute."""

    role: str
    host: str
    pid: int
    started: str | None
    beat: str | None
    alive: bool


class Status(Result):
    """Where everything stands. `running`: a `hub run` is at work on this store."""

    running: bool
    processes: list[ProcessLine]
    flows: list[FlowStatus]
    reasons: list[ReasonLine]
    inbox: dict[str, int]
    hints: int
    identities: int
    needs_person: int
    systems: list[SystemLine]


class RunLine(Result):
    id: str
    flow: str
    kind: str
    cause: str
    state: str
    started: str | None
    ended: str | None
    counts: dict[str, Any]
    error: str | None


class Runs(Result):
    items: list[RunLine]


class Why(Result):
    """Chains from what was asked for down to the root cause."""

    links: list[dict[str, Any]]


class AuditLine(Result):
    at: str | None
    who: str
    act: str
    subject: str
    detail: dict[str, Any] | None
    why: str | None


class AuditLog(Result):
    items: list[AuditLine]


class Done(Result):
    flow: str
    paused: bool


_RESTING = ("doubt", "waiting", "blocked", "held", "dead")


async def _flow_lines(call: Call) -> list[dict[str, Any]]:
    hub = call.hub
    specs = hub.project.mappings()
    paused = await flow_rows.paused(hub.store)
    planned = {(one.flow, one.kind): one for one in await schedules.listing(hub.store)}
    ends = {(one.entity, one.source.system, one.source.object): name for name, one in specs.items()}
    lines = []
    for name, spec in specs.items():
        row = planned.get((name, "read"))
        trigger = Trigger.decode(row.trigger) if row else of_flow(hub.config.flows[name].settings)["read"]
        partner = ends.get((spec.entity, spec.target.system, spec.target.object))
        turned = specs.get(partner) if partner else None
        two_way = turned is not None and (turned.target.system, turned.target.object) == (
            spec.source.system,
            spec.source.object,
        )
        lines.append(
            {
                "name": name,
                "source": f"{spec.source.system} {spec.source.object}",
                "target": f"{spec.target.system} {spec.target.object}",
                "entity": spec.entity,
                "partner": partner if two_way else None,
                "schedule": str(trigger),
                "next_due": iso(row.next_due) if row and name not in paused else None,
                "paused": name in paused,
                "reason": paused[name].reason if name in paused else None,
            }
        )
    return lines


async def _flows(call: Call, params: Params) -> Flows:
    return Flows(items=[FlowLine(**line) for line in await _flow_lines(call)])


async def _status(call: Call, params: Params) -> Status:
    hub = call.hub
    states = await hub.counts()
    last = await runs.latest(hub.store)
    flows = []
    for line in await _flow_lines(call):
        run = last.get(line["name"])
        flows.append(
            FlowStatus(
                **line,
                states=states.get(line["name"], {}),
                last_run=iso(run.started) if run else None,
                last_run_state=run.state if run else None,
            )
        )
    rest = [found for found in await ledger.reasons(hub.store) if found[1] in _RESTING]
    async with hub.store.read() as conn:
        hooks = (await conn.execute(select(inbox.c.state, func.count()).group_by(inbox.c.state))).all()
        known = (await conn.execute(select(func.count()).select_from(identity))).scalar_one()
    now = hub.store.clock.now()
    at_work = await processes.listing(hub.store)
    return Status(
        running=hub.serving or any(one.alive(now) for one in at_work),
        processes=[
            ProcessLine(
                role=one.role,
                host=one.host,
                pid=one.pid,
                started=iso(one.started),
                beat=iso(one.beat),
                alive=one.alive(now),
            )
            for one in at_work
        ],
        flows=flows,
        reasons=[
            ReasonLine(flow=f, state=s, reason=r, count=n, since=iso(at)) for f, s, r, n, at in sorted(rest, key=str)
        ],
        inbox={row[0]: row[1] for row in hooks},
        hints=await hints.count(hub.store),
        identities=known,
        needs_person=sum(one[3] for one in rest if one[1] in ("held", "dead")),
        systems=await system_lines(call),
    )


async def _runs(call: Call, params: RunsParams) -> Runs:
    found = await runs.listing(call.hub.store, flow=params.flow, limit=params.limit)
    return Runs(
        items=[
            RunLine(
                id=str(one.id),
                flow=one.flow,
                kind=one.kind,
                cause=one.cause,
                state=one.state,
                started=iso(one.started),
                ended=iso(one.ended),
                counts=one.counts,
                error=one.error,
            )
            for one in found
        ]
    )


async def _why(call: Call, params: WhyParams) -> Why:
    flows = await call.hub.project.flows()
    found = await whys.why(call.hub.store, flows, params.text)
    targets, held = {name: flow.target.name for name, flow in flows.items()}, await resting(call)
    return Why(links=[_link(explained(asdict(one), targets, held)) for one in found])


def _link(link: dict[str, Any]) -> dict[str, Any]:
    return {**link, "delivery": str(link["delivery"]), "because": [_link(one) for one in link["because"]]}


async def _audit(call: Call, params: AuditParams) -> AuditLog:
    found = await audit.listing(call.hub.store, subject=params.subject, limit=params.limit)
    return AuditLog(
        items=[
            AuditLine(at=iso(one.at), who=one.who, act=one.act, subject=one.subject, detail=one.detail, why=one.why)
            for one in found
        ]
    )


async def _pause(call: Call, params: FlowParams) -> Done:
    call.hub.config.flow(params.flow)
    await flow_rows.pause(call.hub.store, params.flow, f"{call.who}: {params.why}" if params.why else f"by {call.who}")
    return Done(flow=params.flow, paused=True)


async def _resume(call: Call, params: FlowParams) -> Done:
    call.hub.config.flow(params.flow)
    if await flow_rows.resume(call.hub.store, params.flow) and (call.hub.serving or call.hub.store.dialect != "sqlite"):
        with contextlib.suppress(NotFound):  # no scheduler has run on this store yet
            await schedules.run_now(call.hub.store, f"{params.flow}/read")
    call.hub.signals.wake(SCHEDULES, params.flow)
    return Done(flow=params.flow, paused=False)


OPERATIONS: list[AnyOperation] = [
    Operation("status", "Where every flow stands, and why.", Params, Status, Role.VIEWER, _status),
    Operation("why", "From a number down to the root cause.", WhyParams, Why, Role.VIEWER, _why),
    Operation("runs.list", "List runs, newest first.", RunsParams, Runs, Role.VIEWER, _runs),
    Operation("audit.list", "Who did what, and why.", AuditParams, AuditLog, Role.ENGINEER, _audit),
    Operation("flows.list", "List the flows.", Params, Flows, Role.VIEWER, _flows),
    Operation("flows.pause", "Stop reading and delivering a flow.", FlowParams, Done, Role.OPERATOR, _pause, acts=True),
    Operation("flows.resume", "Let a flow go on.", FlowParams, Done, Role.OPERATOR, _resume, acts=True),
]
