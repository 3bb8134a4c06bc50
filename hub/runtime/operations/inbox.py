"""The inbox: webhooks as they arrived; looked at, taken up again."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from hub.domain.clock import iso
from hub.domain.errors import InvalidInput
from hub.runtime.operations.operation import Act, AnyOperation, Call, Operation, Params, Result
from hub.runtime.settings import Role
from hub.runtime.signals import HINTS
from hub.runtime.units import ago_or_instant
from hub.store import inbox

_PAGE = 1000


class ListParams(Params):
    system: str | None = Field(default=None, description="Only this system.")
    state: str | None = Field(default=None, description="new, handled or failed.")
    before: str | None = Field(default=None, pattern=r"^\d{1,19}$", description="Go on after this id.")
    limit: int = Field(default=50, ge=1, le=1000, description="How many at most.")


class ShowParams(Params):
    id: str = Field(pattern=r"^\d{1,19}$", description="The webhook's id.")


class ReplayParams(Act):
    id: str | None = Field(default=None, pattern=r"^\d{1,19}$", description="Only this webhook.")
    system: str | None = Field(default=None, description="Only of this system.")
    state: str | None = Field(default=None, description="new, handled or failed.")
    since: str | None = Field(default=None, description="Received since 2h or 3d ago, or since a date.")


class Webhook(Result):
    """One webhook. Its body stays in the store: it may be secret."""

    id: str
    system: str
    state: str
    received: str | None
    events: list[dict[str, Any]]
    copies: int
    error: str | None
    handled: str | None
    dedupe: str


class Webhooks(Result):
    items: list[Webhook]


class WholeWebhook(Webhook):
    headers: dict[str, str]
    body_bytes: int


class Replayed(Result):
    """How many webhooks were taken up again, and how many records they tell of."""

    count: int
    records: int


def _webhook(one: inbox.Stored) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "system": one.system,
        "state": one.state,
        "received": iso(one.received),
        "events": one.events,
        "copies": one.copies,
        "error": one.error,
        "handled": iso(one.handled),
        "dedupe": one.dedupe,
    }


async def _list(call: Call, params: ListParams) -> Webhooks:
    before = int(params.before) if params.before else None
    found = await inbox.listing(
        call.hub.store, system=params.system, state=params.state, before=before, limit=params.limit
    )
    return Webhooks(items=[Webhook(**_webhook(one)) for one in found])


async def _show(call: Call, params: ShowParams) -> WholeWebhook:
    one = await inbox.show(call.hub.store, int(params.id))
    return WholeWebhook(**_webhook(one), headers=one.headers, body_bytes=len(one.body))


async def _replay(call: Call, params: ReplayParams) -> Replayed:
    store = call.hub.store
    if params.id is not None:
        records = await inbox.replay(store, [int(params.id)])
        call.hub.signals.wake(HINTS)
        return Replayed(count=1, records=records)
    if params.system is None and params.state is None and params.since is None:
        raise InvalidInput(
            "An empty filter would take up every webhook there is.", hint="name an id, a system, a state or `since`"
        )
    since = _since(call, params.since)
    count = records = 0
    before: int | None = None
    while True:
        page = await inbox.listing(store, system=params.system, state=params.state, before=before, limit=_PAGE)
        wanted = [one.id for one in page if one.received >= since]
        if wanted:
            records += await inbox.replay(store, wanted)
            count += len(wanted)
        if len(page) < _PAGE or len(wanted) < len(page):
            break
        before = page[-1].id
    call.hub.signals.wake(HINTS)
    return Replayed(count=count, records=records)


def _since(call: Call, text: str | None) -> int:
    if text is None:
        return 0
    try:
        return ago_or_instant(text, call.hub.store.clock.now())
    except ValueError as error:
        raise InvalidInput(f"`{text}` is no moment.", hint=str(error)) from error


OPERATIONS: list[AnyOperation] = [
    Operation("inbox.list", "List webhooks, newest first.", ListParams, Webhooks, Role.VIEWER, _list),
    Operation("inbox.show", "Show one webhook.", ShowParams, WholeWebhook, Role.VIEWER, _show),
    Operation("inbox.replay", "Take webhooks up again.", ReplayParams, Replayed, Role.OPERATOR, _replay, acts=True),
]
