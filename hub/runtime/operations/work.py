"""Work that a person starts: read and deliver a flow now, look before it writes, link, reconcile."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import Field, model_validator

from hub.connector.turns import for_person
from hub.domain.errors import InvalidInput
from hub.runtime.masking import masked
from hub.runtime.operations.operation import Act, AnyOperation, Call, Operation, Params, Result
from hub.runtime.settings import Role
from hub.runtime.units import ago_or_instant, zone


class SyncParams(Act):
    flow: str = Field(description="The flow's name.")
    full: bool = Field(default=False, description="Read everything, and ask after what is gone.")
    since: str | None = Field(default=None, description="Read again from 2h or 3d ago, or from a date.")
    records: list[str] = Field(default_factory=list, description="Only these source records, by id.")
    deliver: bool = Field(default=True, description="Deliver what is due; else only capture.")

    @model_validator(mode="after")
    def _one_kind(self) -> SyncParams:
        if sum((self.full, self.since is not None, bool(self.records))) > 1:
            raise ValueError("`full`, `since` and `records` exclude each other")
        return self


class PreviewParams(Params):
    """Without `since` and `records`: the first few hundred records that there are."""

    flow: str = Field(description="The flow's name.")
    since: str | None = Field(default=None, description="What changed since 2h or 3d ago, or since a date.")
    records: list[str] = Field(default_factory=list, description="Only these source records, by id.")

    @model_validator(mode="after")
    def _one_kind(self) -> PreviewParams:
        if self.since is not None and self.records:
            raise ValueError("`since` and `records` exclude each other")
        return self


class LinkParams(Act):
    flow: str = Field(description="The flow's name.")
    apply: bool = Field(default=False, description="Link what is certain; else only report.")


class ReconcileParams(Act):
    flow: str = Field(description="The flow's name.")
    repair: bool = Field(default=False, description="Make what is missing or different due again.")
    allow_deletes: int | None = Field(
        default=None,
        ge=0,
        description="So many records may have vanished from either side; else the flow's `delete_share`.",
    )
    restart: bool = Field(default=False, description="Begin anew, although an earlier one was broken off.")


class Synced(Result):
    """What a sync did. `captured` are the books of the read; `delivered` counts what came to rest, by state.

    Of records that were asked for by id, `absent` are those that the source does not have, `unreadable` those that it
    did not show.
    """

    flow: str
    run: str
    captured: dict[str, int]
    absent: list[str]
    unreadable: list[str]
    delivered: dict[str, int]
    states: dict[str, int]
    needs_person: int


class Preview(Result):
    """What one source record would lead to. Personal values are masked."""

    source_id: str
    title: str | None
    what: str
    target_id: str | None
    changes: dict[str, Any]
    rows: dict[str, Any]
    why: str | None


class Previews(Result):
    items: list[Preview]


class Linked(Result):
    """What linking found, and did if it was told to."""

    flow: str
    dry_run: bool
    counts: dict[str, int]
    candidates: list[dict[str, Any]]
    pairs: list[tuple[str, str]]


class Reconciled(Result):
    """The books of both sides. `findings` are samples; personal values are masked. `resumed`: it went on where an
    earlier one was broken off.
    """

    flow: str
    repaired: bool
    resumed: bool
    counts: dict[str, int]
    findings: list[dict[str, Any]]


_SHOWN = 100


class _Steps:
    """Adds up what an engine tells of its progress."""

    def __init__(self, call: Call, what: str) -> None:
        self._call, self._what, self._done = call, what, 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._call.progress(self._what, self._done, None)


async def _sync(call: Call, params: SyncParams) -> Synced:
    hub, flow = call.hub, params.flow
    since = moment(call, flow, params.since)
    engine = await hub.working(flow)
    async with hub.reading(flow):
        if params.records:
            with for_person():
                report = await engine.capture_records(flow, params.records, cause="person")
        else:
            report = await engine.read(
                flow,
                full=params.full,
                since=since,
                cause="person",
                progress=_Steps(call, "reading"),
            )
    delivered: dict[str, int] = {}
    if params.deliver:
        delivered = await engine.drain(flow, progress=_Steps(call, "delivering"))
    hub.signals.wake(*hub.config.flows)
    states = (await hub.counts()).get(flow, {})
    captured = {**asdict(report.counts), "gone": report.gone, "unreadable": len(report.unreadable)}
    absent = [one.id for one in report.seen if one.payload is None]
    return Synced(
        flow=flow,
        run=str(report.run),
        captured=captured,
        absent=absent,
        unreadable=report.unreadable[:_SHOWN],
        delivered=delivered,
        states=states,
        needs_person=states.get("held", 0) + states.get("dead", 0),
    )


async def _preview(call: Call, params: PreviewParams) -> Previews:
    since = moment(call, params.flow, params.since)
    engine = await call.hub.working(params.flow)
    found = await engine.preview(params.flow, ids=params.records, since=since)
    schema = engine.flow(params.flow).target_schema
    return Previews(items=[Preview(**{**asdict(one), "changes": masked(one.changes, schema)}) for one in found])


async def _link(call: Call, params: LinkParams) -> Linked:
    engine = await call.hub.working(params.flow)
    async with call.hub.reading(params.flow):
        report = await engine.link(params.flow, dry_run=not params.apply, progress=_Steps(call, "linking"))
    return Linked(
        flow=report.flow,
        dry_run=report.dry_run,
        counts=_numbers(report),
        candidates=[asdict(one) for one in report.candidates],
        pairs=report.pairs,
    )


async def _reconcile(call: Call, params: ReconcileParams) -> Reconciled:
    engine = await call.hub.working(params.flow)
    async with call.hub.reading(params.flow):
        report = await engine.reconcile(
            params.flow,
            repair=params.repair,
            allow_deletes=params.allow_deletes,
            restart=params.restart,
            progress=_Steps(call, "comparing"),
        )
    call.hub.signals.wake(params.flow)
    schema = engine.flow(params.flow).target_schema
    findings = [{**asdict(one), "fields": masked(one.fields, schema)} for one in report.findings]
    return Reconciled(
        flow=report.flow,
        repaired=report.repaired,
        resumed=report.resumed,
        counts=report.counts(),
        findings=findings,
    )


def moment(call: Call, flow: str, text: str | None) -> int | None:
    """What a person calls a moment, in the flow's time zone; epoch ms."""
    if text is None:
        return None
    settings = call.hub.config.flow(flow).settings
    try:
        return ago_or_instant(text, call.hub.store.clock.now(), zone(settings.tz))
    except ValueError as error:
        raise InvalidInput(f"`{text}` is no moment.", hint=str(error)) from error


def _numbers(report: Any) -> dict[str, int]:
    return {
        name: value for name, value in asdict(report).items() if isinstance(value, int) and not isinstance(value, bool)
    }


OPERATIONS: list[AnyOperation] = [
    Operation(
        "sync", "Read a flow's source and deliver, now.", SyncParams, Synced, Role.OPERATOR, _sync, acts=True, long=True
    ),
    Operation(
        "preview", "What a flow would write, without writing it.", PreviewParams, Previews, Role.VIEWER, _preview
    ),
    Operation(
        "link", "Match what exists on both sides.", LinkParams, Linked, Role.ENGINEER, _link, acts=True, long=True
    ),
    Operation(
        "reconcile",
        "Compare both sides in full.",
        ReconcileParams,
        Reconciled,
        Role.OPERATOR,
        _reconcile,
        acts=True,
        long=True,
    ),
]
