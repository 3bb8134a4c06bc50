"""Callbacks from Fxiaoke: data changes (2020 protocol, signed and sealed) and the older app callback.

Both rest on the vendor's published demo code; section 6 of its documents gives no protocol page.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.crm.fxiaoke.settings import FxiaokeSettings
from hub.connector.contract import Event, Received, Reply, WebhookRefused, WebhookRequest
from hub.connector.webhook import (
    aes_decrypt,
    aes_encrypt,
    aes_key,
    read_json,
    require_recent,
    same,
    sha1_hex,
    sorted_sha1,
)

_KNOWN_EVENTS = {
    "create": "created",
    "update": "changed",
    "invalid": "deleted",
    "delete": "deleted",
    "recover": "changed",
}


@dataclass(frozen=True, slots=True)
class ChangeCallback:
    """The data change callback of one subscription. `key` is the base64 text, which is part of what is signed."""

    key: str
    window: float
    ea: str | None = None

    def receive(self, body: Mapping[str, Any], now: int) -> Received:
        """Verify, open and answer one callback. No field values come along: an event is a hint to fetch."""
        try:
            signed = [str(body["timestamp"]), str(body["nonce"]), str(body["messageId"])]
            if body.get("retryTimes") is not None:
                signed.append(str(body["retryTimes"]))
            signed += [str(body["enterpriseAccount"]), str(body["encryptedContent"]), self.key]
            signature, sent = str(body["signature"]), int(body["timestamp"])
        except (KeyError, ValueError, TypeError) as error:
            raise WebhookRefused("a member of the callback is missing or of a wrong type", status=400) from error
        if not same(signature, sha1_hex(*signed)):
            raise WebhookRefused("its signature is not made with our key")
        require_recent(sent, now, window=self.window)
        if self.ea is not None and body["enterpriseAccount"] != self.ea:
            raise WebhookRefused("it is about another enterprise", status=403)
        content = read_json(aes_decrypt(aes_key(self.key), str(body["encryptedContent"])))
        return Received([_event(content)], self.reply("success", now), f"change:{body['messageId']}")

    def reply(self, text: str, now: int, nonce: str | None = None) -> Reply:
        """The sealed and signed answer that the sender checks."""
        nonce = nonce or secrets.token_hex(8)
        sealed = aes_encrypt(aes_key(self.key), text.encode())
        answer = {
            "signature": sha1_hex(str(now), nonce, sealed, self.key),
            "timestamp": now,
            "nonce": nonce,
            "encryptedResult": sealed,
        }
        return Reply(200, orjson.dumps(answer), "application/json; charset=utf-8")


@dataclass(frozen=True, slots=True)
class AppCallback:
    """The app callback of 2015 to 2017: authorisation and chat messages."""

    token: str
    key: str
    app_id: str
    window: float

    def receive(self, body: Mapping[str, Any], now: int) -> Received:
        """Verify and open one callback; the sender wants the plain word `success` within three seconds."""
        try:
            stamp, nonce, content = str(body["timeStamp"]), str(body["nonce"]), str(body["content"])
            signature, sent = str(body["sig"]), int(body["timeStamp"])
        except (KeyError, ValueError, TypeError) as error:
            raise WebhookRefused("a member of the callback is missing or of a wrong type", status=400) from error
        if not same(signature, sorted_sha1([self.token, stamp, nonce, content])):
            raise WebhookRefused("its signature is not made with our token")
        require_recent(sent, now, window=self.window)
        read_json(self.opened(content))
        # It tells of authorisations and chat, never of a record: there is nothing to fetch.
        return Received([], Reply(200, b"success"), f"app:{signature}")

    def opened(self, content: str) -> bytes:
        """The message inside: after 16 random bytes and a length, before the app id; or bare, as one client has it."""
        plain = aes_decrypt(aes_key(self.key), content)
        if plain[:1] == b"{":
            return plain
        if len(plain) < 20:
            raise WebhookRefused("the content is too short to hold a message", status=400)
        (length,) = struct.unpack(">I", plain[16:20])
        message, tail = plain[20 : 20 + length], plain[20 + length :]
        # The vendor pads to 32 bytes before the cipher pads again; what is left of that follows the app's id.
        if len(message) != length or not tail.startswith(self.app_id.encode()):
            raise WebhookRefused("it is about another app", status=403)
        return message


def receive(settings: FxiaokeSettings, request: WebhookRequest) -> Received:
    """Any callback of this connection, by its form. Raises WebhookRefused."""
    try:
        return _received(settings, read_json(request.body), request.received)
    except UnicodeEncodeError as error:
        # JSON may hold half of a surrogate pair, which no text that was signed can.
        raise WebhookRefused("a member of the callback is no text", status=400) from error


def _received(settings: FxiaokeSettings, body: Mapping[str, Any], now: int) -> Received:
    if "encryptedContent" in body:
        if settings.aes_key is None:
            raise WebhookRefused("no aes_key is set, so no data change callback can be trusted", status=403)
        callback = ChangeCallback(settings.aes_key.get_secret_value(), settings.callback_window, settings.ea)
        return callback.receive(body, now)
    if "sig" in body:
        if settings.app_token is None or settings.app_aes_key is None:
            raise WebhookRefused("no app_token and app_aes_key are set, so no app callback can be trusted", status=403)
        app = AppCallback(
            settings.app_token.get_secret_value(),
            settings.app_aes_key.get_secret_value(),
            settings.app_id,
            settings.callback_window,
        )
        return app.receive(body, now)
    raise WebhookRefused("the body is none of the vendor's callbacks", status=400)


def _event(content: Mapping[str, Any]) -> Event:
    object, id = content.get("apiName"), content.get("dataId")
    if not isinstance(object, str) or not isinstance(id, str) or not object or not id:
        raise WebhookRefused("the event names no record", status=400)
    at = content.get("timestamp")
    # Only `update` is published; whatever else comes means: read that record again.
    kind = _KNOWN_EVENTS.get(str(content.get("eventType")), "changed")
    return Event(object, id, kind, at if isinstance(at, int) else None)
