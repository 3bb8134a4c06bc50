"""The inbox of an ingress in a DMZ, for the inner hub to empty: what it has stored it acknowledges, and only that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from hub.api.access import Access, Caller, require
from hub.runtime.pull import LIMIT, PAGE, PATH, WAIT, Event, Taken, Waiting, Webhook
from hub.runtime.settings import Role
from hub.store import inbox
from hub.store.engine import Store
from hub.store.inbox import Message, Stored

_LOOK = 1.0  # seconds between two looks of somebody who waits, whom a stopping hub must not keep


class Outbox:
    """Webhooks that wait to be fetched."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._came = asyncio.Event()

    async def keep(self, messages: Sequence[Message]) -> None:
        """Store them durably."""
        async with self._store.begin() as conn:
            await inbox.put(self._store, conn, messages)
        self._came.set()

    async def waiting(self, *, limit: int, wait: float, stopping: asyncio.Event) -> list[Stored]:
        """The oldest; for `wait` seconds at most until there is one."""
        left = wait
        while True:
            self._came.clear()
            found = await inbox.outgoing(self._store, limit=limit, size=PAGE)
            if found or left <= 0 or stopping.is_set():
                return found
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), min(_LOOK, left))
            left -= _LOOK

    async def passed_on(self, ids: Sequence[str]) -> int:
        """They are stored elsewhere."""
        return await inbox.passed_on(self._store, [int(one) for one in ids])


def router(outbox: Outbox, access: Access, stopping: asyncio.Event) -> APIRouter:
    """The two routes that `hub.runtime.pull` calls; both take the role operator."""

    def allowed(request: Request) -> Caller:
        caller = access.caller(request)
        require(caller, Role.OPERATOR)
        return caller

    made = APIRouter(tags=["relay"], dependencies=[Depends(allowed)])

    @made.get(PATH, summary="Webhooks that wait to be fetched, the oldest first.", response_model=Waiting)
    async def waiting(
        wait: Annotated[float, Query(ge=0, le=WAIT, description="Seconds to wait until there is one.")] = 0,
        limit: Annotated[int, Query(ge=1, le=LIMIT, description="How many at most.")] = LIMIT,
    ) -> Response:
        found = await outbox.waiting(limit=limit, wait=wait, stopping=stopping)
        return Response(
            Waiting(items=[_webhook(one) for one in found]).model_dump_json(), media_type="application/json"
        )

    @made.post(f"{PATH}/taken", summary="These are stored elsewhere, and need not wait any more.")
    async def taken(given: Taken) -> dict[str, int]:
        return {"taken": await outbox.passed_on(given.ids)}

    return made


def _webhook(one: Stored) -> Webhook:
    return Webhook.model_construct(
        id=str(one.id),
        system=one.system,
        dedupe=one.dedupe,
        received=one.received,
        events=[Event.model_construct(**event) for event in one.events],
        headers=one.headers,
        body=one.body,
    )
