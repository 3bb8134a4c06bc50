"""Webhooks: verified on the raw bytes, stored durably, and only then acknowledged."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from hub.api.flood import Bucket, Sparing
from hub.api.group_commit import Closed, Full, GroupCommit
from hub.connector.contract import Received, Receives, Reply, WebhookRefused, WebhookRequest
from hub.domain.clock import Clock
from hub.domain.errors import HubError
from hub.store.inbox import Message

log = logging.getLogger("hub.ingress")

# Kept out of the inbox: they may carry secrets, and no replay needs them.
_PRIVATE = frozenset({b"authorization", b"cookie", b"proxy-authorization"})


Commit = Callable[[list[Message]], Awaitable[None]]
"""Writes webhooks, and what they hint at, in one transaction."""


@dataclass(slots=True)
class Counts:
    """What this process has seen since it started."""

    received: int = 0
    rejected: int = 0
    limited: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one system may send to this process: bytes of a body, webhooks a second (`burst` at once after a quiet
    time), and webhooks that wait to be written.
    """

    max_body: int = 1 << 20
    rate: float = 1_000.0
    burst: float = 5_000.0
    waiting: int = 5_000


class Ingress:
    """The ASGI app behind `POST /hooks/{system}`.

    It answers 404 for a system that has no webhooks, 413 for a body that is too large, 429 with Retry-After to a system
    that sends more than its share (before its webhook costs us a look), the connector's status (400, 401) for one that
    is refused, 503 when it could not be stored (the vendor sends it again), and the vendor's own reply once it is
    durable. A caller is never told why.
    """

    def __init__(
        self, receivers: Mapping[str, Receives], commit: Commit, clock: Clock, *, limits: Limits | None = None
    ) -> None:
        self._receivers = receivers
        self._clock = clock
        self._limits = limits = limits or Limits()
        self._buckets = {name: Bucket(clock, rate=limits.rate, burst=limits.burst) for name in receivers}
        self._group = GroupCommit(commit, waiting=limits.waiting)
        self._sparing = Sparing(log, clock)
        self.counts = Counts()

    async def close(self) -> None:
        """Store what has been taken in."""
        await self._group.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path_params"]["system"]
        receiver = self._receivers.get(name)
        if receiver is None:
            await _refuse(send, 404, b"no such hook")
            return
        wait = self._buckets[name].take()
        if wait:
            await self._hold_off(name, send, wait, f"it sends more than {self._limits.rate:g} a second")
            return
        try:
            body = await self._body(scope, receive)
        except ClientDisconnect:
            return
        if body is None:
            self._rejected(name, scope, f"the body is larger than {self._limits.max_body} bytes")
            await _refuse(send, 413, b"too large")
            return
        now = self._clock.now()
        try:
            content = receiver.receive(_request(scope, body, now))
        except WebhookRefused as refused:
            self._rejected(name, scope, refused.reason)
            await _refuse(send, refused.status, b"refused")
            return
        if content.events:
            try:
                await self._group.put(_message(name, now, scope, body, content), name)
            except Full:
                await self._hold_off(name, send, 1.0, f"{self._limits.waiting} of its webhooks wait to be written")
                return
            except (HubError, Closed) as error:
                self.counts.failed += 1
                log.error(  # noqa: TRY400 - the reason is in words already
                    "a webhook of %s could not be stored and was not acknowledged: %s", name, error or "stopping"
                )
                await _refuse(send, 503, b"try again")
                return
        self.counts.received += 1
        await _answer(send, content.reply)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None if it is too large (what is over the limit is never kept)."""
        limit = self._limits.max_body
        if _length(scope) > limit:
            return None
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            return body if len(body) <= limit else None
        parts, size = [body], len(body)
        while message.get("more_body", False):
            if size > limit:
                return None
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
        return b"".join(parts) if size <= limit else None

    def _rejected(self, name: str, scope: Scope, reason: str) -> None:
        self.counts.rejected += 1
        client = scope.get("client")
        self._sparing.warn(name, "refused", f"{reason} (from {client[0] if client else 'an unknown address'})")

    async def _hold_off(self, name: str, send: Send, seconds: float, reason: str) -> None:
        """Ask the sender to come again later. Vendors do; and what they don't send again, the next read finds."""
        self.counts.limited += 1
        self._sparing.warn(name, "put off", reason)
        after = str(max(1, math.ceil(seconds))).encode()
        await _send(send, 429, b"later", b"text/plain; charset=utf-8", (b"retry-after", after))


def _length(scope: Scope) -> int:
    """What the sender says of the body's length; 0 if nothing that makes sense."""
    text = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(text) if text.isdigit() else 0


def _request(scope: Scope, body: bytes, now: int) -> WebhookRequest:
    query = scope["query_string"]
    return WebhookRequest(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {},
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
        received=now,
    )


def _message(system: str, now: int, scope: Scope, body: bytes, content: Received) -> Message:
    """The row of the inbox. Its dedupe key holds what it tells beside the vendor's own key.

    A chat robot's SDK dropped callbacks with the same person and second as copies, and lost what was no copy
    (binarywang/WxJava#1745). So a true copy is one that says the same; and even a copy hints.
    """
    events = [{"object": event.object, "id": event.id, "kind": event.kind, "at": event.at} for event in content.events]
    told = blake2b(orjson.dumps(events), digest_size=8).hexdigest()
    return Message(system, f"{content.dedupe}:{told}", now, events, body, _headers(scope))


def _headers(scope: Scope) -> str:
    kept = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name not in _PRIVATE}
    return orjson.dumps(kept).decode()


async def _answer(send: Send, reply: Reply) -> None:
    await _send(send, reply.status, reply.body, reply.content_type.encode("latin-1"))


async def _refuse(send: Send, status: int, body: bytes) -> None:
    await _send(send, status, body, b"text/plain; charset=utf-8")


async def _send(send: Send, status: int, body: bytes, content_type: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
