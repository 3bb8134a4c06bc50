"""Events over Stream: the hub opens a WebSocket, and every event is acknowledged once it is stored.

Connection and frames as in the vendor's own SDK: a ticket from the gateway, JSON frames of type SYSTEM, EVENT or
CALLBACK, an answer for each with its messageId. What is not acknowledged comes again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidHandshake, InvalidURI

from connectors.dingtalk.client import Call, DingTalkClient, Refusal
from connectors.dingtalk.events import ByCode, dedupe_of, events_of
from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.contract import Pushed, Received, Reply
from hub.connector.http import TransportFailure
from hub.domain.errors import CredentialsRefused, VendorError

_OPEN = "/v1.0/gateway/connections/open"
_BEAT = 60.0  # seconds between our pings, as the vendor's SDK sends them
_LARGEST = 1024 * 1024  # bytes of a frame
_CONNECT = 10.0  # seconds


class Stream:
    """One connection after another; each is opened with a ticket of its own."""

    def __init__(self, settings: DingTalkSettings, client: DingTalkClient, by_code: ByCode) -> None:
        self._settings = settings
        self._client = client
        self._by_code = by_code
        # The library's debug lines show whole addresses and frames: the ticket, and people's data.
        self._quiet = logging.getLogger("hub.connector.stream.wire")
        self._quiet.setLevel(logging.WARNING)

    async def events(self) -> AsyncIterator[Pushed]:
        """Everything that comes over one connection; ends when the other side ends it in good order.

        Raises CredentialsRefused, VendorError, TransportFailure.
        """
        async with await self._connected() as socket:
            try:
                async for text in socket:
                    frame = _frame(text)
                    if frame is None:
                        continue
                    kind = frame.get("type")
                    if kind == "SYSTEM":
                        if _headers(frame).get("topic") == "disconnect":
                            return
                        await _answer(socket, frame, frame.get("data"))
                    elif kind == "EVENT":
                        yield self._pushed(socket, frame, text if isinstance(text, bytes) else text.encode())
                    else:
                        await _answer(socket, frame, "{}", code=404, message="not handled")
            except ConnectionClosedOK:
                return  # it ended in good order, just before an answer of ours
            except ConnectionClosed as closed:
                raise TransportFailure(
                    f"the stream connection broke off: {closed.rcvd.code if closed.rcvd else 'without a word'}",
                    sent=False,
                ) from None

    async def _connected(self) -> ClientConnection:
        address = await self._ticket()
        try:
            return await connect(
                address,
                logger=self._quiet,
                ping_interval=_BEAT,
                open_timeout=_CONNECT,
                max_size=_LARGEST,
                proxy=None,
                close_timeout=2,
            )
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
            # The address holds the ticket: only the kind of the error may be shown.
            raise TransportFailure(f"the stream can't be opened: {type(error).__name__}", sent=False) from None

    async def _ticket(self) -> str:
        body = {
            "clientId": self._settings.client_id,
            "clientSecret": self._settings.client_secret.get_secret_value(),
            "subscriptions": [{"type": "EVENT", "topic": "*"}],
            "ua": "crm-integration-hub",
        }
        try:
            call = Call("stream_open", "POST", _OPEN, body, free=True)
            answered = await self._client.ask_without_token(call)
        except Refusal as refusal:
            if refusal.refuses_us:
                raise CredentialsRefused(refusal.message, hint=refusal.verdict.hint) from None
            raise refusal.verdict.error(refusal.message, code=refusal.code) from None
        endpoint, ticket = answered.body.get("endpoint"), answered.body.get("ticket")
        if not isinstance(endpoint, str) or not isinstance(ticket, str):
            raise VendorError("the gateway answered without an address and a ticket")
        self._client.hide(ticket)
        return f"{endpoint}?ticket={quote(ticket, safe='')}"

    def _pushed(self, socket: ClientConnection, frame: dict[str, Any], raw: bytes) -> Pushed:
        headers = _headers(frame)
        kind = str(headers.get("eventType"))
        try:
            data = orjson.loads(frame.get("data") or "{}")
        except (orjson.JSONDecodeError, TypeError):
            data = {}
        fields = {**(data if isinstance(data, dict) else {})}
        fields |= {"eventId": headers.get("eventId"), "eventTime": headers.get("eventBornTime")}
        # Another organisation's events have no business here; they are acknowledged, so that they stop coming.
        ours = headers.get("eventCorpId") in (None, self._settings.corp_id)
        events = events_of(kind, fields, self._by_code) if ours else []

        async def acknowledge(stored: bool) -> None:
            status = "SUCCESS" if stored else "LATER"
            data = orjson.dumps({"status": status, "message": "ok" if stored else "later"}).decode()
            try:
                await _answer(socket, frame, data)
            except ConnectionClosed as closed:
                raise TransportFailure("the stream ended before an event was acknowledged", sent=False) from closed

        return Pushed(Received(events, Reply(), dedupe_of(kind, fields)), raw, acknowledge)


def _frame(text: str | bytes) -> dict[str, Any] | None:
    """A frame; None for what is none, which nobody could answer."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _headers(frame: dict[str, Any]) -> dict[str, Any]:
    headers = frame.get("headers")
    return headers if isinstance(headers, dict) else {}


async def _answer(
    socket: ClientConnection, frame: dict[str, Any], data: Any, *, code: int = 200, message: str = "OK"
) -> None:
    headers = {"messageId": _headers(frame).get("messageId"), "contentType": "application/json"}
    await socket.send(orjson.dumps({"code": code, "headers": headers, "message": message, "data": data}).decode())
