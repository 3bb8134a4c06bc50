"""Deliveries: what flows owe their targets; looked at, tried again, put to rest, held."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hub.runtime.masking import masked
from hub.runtime.operations.operation import Act, AnyOperation, Call, Operation, Params, Result
from hub.runtime.settings import Role
from hub.store import ledger
from hub.sync import write_back


class _Which(BaseModel):
    """A filter; all that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    flow: str | None = Field(default=None, description="The flow's name.")
    state: str | None = Field(default=None, description="pending, waiting, blocked, held, dead, doubt, done, ...")
    reason: str | None = Field(default=None, description="The reason's code.")
    title: str | None = Field(default=None, description="How the title begins, e.g. an order number.")
    source_id: str | None = Field(default=None, description="The record's id in the source system.")
    id: str | None = Field(default=None, pattern=r"^\d{1,19}$", description="The delivery's id.")

    def filter(self) -> ledger.Filter:
        return ledger.Filter(
            flow=self.flow,
            state=self.state,
            reason=self.reason,
            title=self.title,
            source_id=self.source_id,
            id=int(self.id) if self.id is not None else None,
        )


class ListParams(_Which, Params):
    limit: int = Field(default=50, ge=1, le=1000, description="How many at most.")
    offset: int = Field(default=0, ge=0, description="How many to leave out.")


class ShowParams(Params):
    id: str = Field(pattern=r"^\d{1,19}$", description="The delivery's id.")


class MoveParams(_Which, Act):
    """Which deliveries; an empty filter is refused."""


class DeliveryLine(Result):
    """One delivery. Its id is text, since it is longer than numbers in JavaScript may be."""

    id: str
    flow: str
    source_id: str
    title: str | None
    state: str
    reason: str | None
    message: str | None
    attempts: int
    since: str | None
    due: str | None
    captured: str | None
    revision: int
    delivered_revision: int | None
    entity: str


class Deliveries(Result):
    """A page of deliveries, and how many the filter names in all."""

    total: int
    items: list[DeliveryLine]


class Delivery(DeliveryLine):
    """One delivery whole. Personal values are masked."""

    payload: dict[str, Any] | None
    intent: Any
    waits_for: list[dict[str, Any]]
    waits_for_rows: list[dict[str, Any]]
    attempts_made: list[dict[str, Any]]


class Moved(Result):
    """How many deliveries were moved."""

    count: int


def line(found: ledger.Line) -> dict[str, Any]:
    return {**asdict(found), "id": str(found.id), "entity": str(found.entity)}


async def _list(call: Call, params: ListParams) -> Deliveries:
    store, chosen = call.hub.store, params.filter()
    found = await ledger.lines(store, chosen, limit=params.limit, offset=params.offset)
    return Deliveries(total=await ledger.count(store, chosen), items=[DeliveryLine(**line(one)) for one in found])


async def _show(call: Call, params: ShowParams) -> Delivery:
    whole = await ledger.show(call.hub.store, int(params.id))
    whole |= {"id": str(whole["id"]), "entity": str(whole["entity"])}
    whole["waits_for"] = [{**one, "entity": str(one["entity"])} for one in whole["waits_for"]]
    await _mask(call, whole)
    return Delivery(**whole)


async def _mask(call: Call, whole: dict[str, Any]) -> None:
    name = whole["flow"].removesuffix(write_back.SUFFIX)
    source, related, target = await call.hub.project.known_schemas(name)
    if name != whole["flow"]:  # what is told to the source
        target = source
    payload = whole["payload"]
    if payload:
        payload["record"] = masked(payload["record"], source)
        if "related" in payload:
            payload["related"] = {name: masked(rows, related.get(name)) for name, rows in payload["related"].items()}
    if whole["intent"]:
        whole["intent"] = masked(whole["intent"], target)
    for attempt in whole["attempts_made"]:
        attempt["before"] = masked(attempt["before"], target)


async def _retry(call: Call, params: MoveParams) -> Moved:
    count = await ledger.retry(call.hub.store, params.filter())
    call.hub.signals.wake(*call.hub.config.flows)
    return Moved(count=count)


async def _skip(call: Call, params: MoveParams) -> Moved:
    return Moved(count=await ledger.skip(call.hub.store, params.filter(), why=_said(call, params)))


async def _hold(call: Call, params: MoveParams) -> Moved:
    return Moved(count=await ledger.hold(call.hub.store, params.filter(), why=_said(call, params)))


def _said(call: Call, params: MoveParams) -> str:
    return f"{call.who}: {params.why}" if params.why else f"by {call.who}"


OPERATIONS: list[AnyOperation] = [
    Operation("deliveries.list", "List deliveries, what moved last first.", ListParams, Deliveries, Role.VIEWER, _list),
    Operation("deliveries.show", "Show one delivery whole.", ShowParams, Delivery, Role.VIEWER, _show),
    Operation(
        "deliveries.retry",
        "Make deliveries due now; what goes out is the latest capture, never an older one.",
        MoveParams,
        Moved,
        Role.OPERATOR,
        _retry,
        acts=True,
    ),
    Operation(
        "deliveries.skip",
        "Put deliveries to rest until their source changes again.",
        MoveParams,
        Moved,
        Role.OPERATOR,
        _skip,
        acts=True,
    ),
    Operation(
        "deliveries.hold",
        "Keep deliveries until a person decides.",
        MoveParams,
        Moved,
        Role.OPERATOR,
        _hold,
        acts=True,
    ),
]
