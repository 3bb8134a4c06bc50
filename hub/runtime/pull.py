"""Empties the inboxes of ingresses elsewhere: fetched, stored here durably, and only then acknowledged there.

The inner hub calls, so that a firewall lets connections out only. Whatever is killed in between, a webhook stands in
one of the two stores: what was stored here and not acknowledged there comes again, and is one more copy.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any

import httpx
import orjson
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from hub.domain.errors import CredentialsRefused, HubError, NotFound, Unreachable
from hub.runtime.config import Config
from hub.runtime.hub import Hub
from hub.runtime.settings import IngressSettings
from hub.runtime.signals import HINTS
from hub.runtime.triggers import Trigger
from hub.store import inbox, schedules
from hub.sync.failpoints import failpoint

log = logging.getLogger("hub.pull")

KIND = "pull"
PATH = "/relay/inbox"
WAIT = 20  # seconds that an ingress keeps an empty answer back, in case something comes in
LIMIT = 500  # webhooks of one answer
PAGE = 4 << 20  # bytes of bodies in one answer, unless one alone is larger
_LARGEST = 64 << 20  # bytes of an answer that no ingress of ours would send
_AGAIN = 10.0  # seconds after which an ingress that failed is asked again
_PREFIX = "inbox_from/"


class Event(BaseModel):
    """What changed: a record's object and id."""

    model_config = ConfigDict(extra="ignore")

    object: str = Field(max_length=200)
    id: str = Field(max_length=1000)
    kind: str | None = Field(default=None, max_length=100)
    at: int | None = None


class Webhook(BaseModel):
    """One webhook as an ingress hands it over. It proved true there; its events are hints to fetch, and no more."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(max_length=40)
    system: str = Field(max_length=200)
    dedupe: str = Field(max_length=1000)
    received: int
    events: list[Event] = Field(max_length=10_000)
    headers: dict[str, str] = Field(default_factory=dict, max_length=200)
    body: Base64Bytes


class Waiting(BaseModel):
    """An answer of an ingress: what waits in its inbox, the oldest first."""

    items: Annotated[list[Webhook], Field(max_length=LIMIT)]


class Taken(BaseModel):
    """These are stored elsewhere now: the ids that `Waiting` gave."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Annotated[str, Field(pattern=r"^[0-9]{1,19}$")]], Field(max_length=LIMIT)]


def planned(config: Config, now: int) -> list[schedules.Planned]:
    """A schedule row for each ingress: whoever holds it empties that inbox, and when he dies another takes it over."""
    trigger = Trigger(every=_AGAIN)
    names = [_PREFIX + one.name for one in config.inbox_from]
    return [schedules.Planned(name, name, KIND, trigger.encode(), now) for name in names]


async def empty(hub: Hub, row: str) -> None:
    """Fetch from the ingress of this schedule until cancelled.

    Raises Unreachable, CredentialsRefused, HubError for an answer that makes no sense.
    """
    chosen = next((one for one in hub.config.inbox_from if _PREFIX + one.name == row), None)
    if chosen is None:
        raise NotFound(f"hub.yaml has no ingress `{row.removeprefix(_PREFIX)}` under `inbox_from`.")
    headers = {"authorization": f"Bearer {chosen.token.get_secret_value()}"}
    timeout = httpx.Timeout(10.0, read=WAIT + 20.0)
    async with httpx.AsyncClient(base_url=chosen.url, headers=headers, timeout=timeout) as client:
        while True:
            waiting = await _fetch(client, chosen)
            if waiting:
                await _store(hub, chosen, waiting)
                failpoint("after-pull-stored")
                await _call(client, chosen, "POST", f"{PATH}/taken", json={"ids": [one.id for one in waiting]})


async def _fetch(client: httpx.AsyncClient, ingress: IngressSettings) -> list[Webhook]:
    answer = await _call(client, ingress, "GET", PATH, params={"wait": WAIT, "limit": LIMIT})
    try:
        return Waiting.model_validate_json(answer).items
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in detail["loc"])
        raise HubError(
            f"The ingress `{ingress.name}` answers what can't be understood ({where}: {detail['msg']}).",
            hint="both hubs should be of the same release",
        ) from None


async def _store(hub: Hub, ingress: IngressSettings, waiting: list[Webhook]) -> None:
    """Durably, with what they hint at. What names no system of ours is kept as failed: it would come for ever else."""
    known = [_message(one) for one in waiting if one.system in hub.config.systems]
    strange = [_message(one) for one in waiting if one.system not in hub.config.systems]
    if known:
        await inbox.receive(hub.store, known)
        hub.signals.wake(HINTS)
    if strange:
        names = ", ".join(sorted({one.system for one in strange}))
        log.error("%d webhooks from %s name systems that hub.yaml does not have: %s", len(strange), ingress.name, names)
        error = f"from the ingress `{ingress.name}`: hub.yaml has no such system"
        async with hub.store.begin() as conn:
            await inbox.put(hub.store, conn, strange, state=inbox.InboxState.FAILED, error=error)


def _message(one: Webhook) -> inbox.Message:
    events = [event.model_dump() for event in one.events]
    return inbox.Message(one.system, one.dedupe, one.received, events, one.body, orjson.dumps(one.headers).decode())


async def _call(client: httpx.AsyncClient, ingress: IngressSettings, method: str, path: str, **what: Any) -> bytes:
    try:
        async with client.stream(method, path, **what) as response:
            if response.status_code in (401, 403):
                raise CredentialsRefused(
                    f"The ingress `{ingress.name}` refuses our token ({response.status_code}).",
                    hint="`inbox_from` needs a token of role operator from that ingress's `api: {tokens: …}`",
                )
            if response.status_code != 200:
                raise Unreachable(
                    f"The ingress `{ingress.name}` at {ingress.url} answers {response.status_code}.",
                    hint="look at its log; it has to run with `--role ingress` and an inbox of its own",
                )
            parts, size = [], 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > _LARGEST:
                    raise HubError(f"The ingress `{ingress.name}` sends an answer of more than {_LARGEST} bytes.")
                parts.append(part)
            return b"".join(parts)
    except httpx.HTTPError as error:
        raise Unreachable(
            f"The ingress `{ingress.name}` at {ingress.url} can't be reached: {type(error).__name__} {error}".strip(),
            hint="its webhooks wait there; nothing is lost",
        ) from error
