"""Events over HTTP: signed, sealed, and answered with the sealed word `success` within the vendor's 1.5 seconds.

Rests on the vendor's published callback class; its vectors, and those made with it, are unit tests.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass

import orjson

from connectors.dingtalk.events import ByCode, dedupe_of, events_of
from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.contract import Received, Reply, WebhookRefused, WebhookRequest
from hub.connector.webhook import aes_decrypt, aes_encrypt, aes_key, read_json, require_recent, same, sorted_sha1

_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Envelope:
    """The crypto of one subscription. `owners` are the ids that may stand behind a message: the app's for
    subscriptions of the console, the organisation's for those of the older API."""

    token: str
    key: bytes
    owners: tuple[str, ...]

    def sign(self, timestamp: str, nonce: str, sealed: str) -> str:
        return sorted_sha1([self.token, timestamp, nonce, sealed])

    def open(self, sealed: str) -> tuple[bytes, str]:
        """The message inside, and whose it is: after 16 random bytes and a length. Raises WebhookRefused."""
        plain = aes_decrypt(self.key, sealed, block=_BLOCK)
        if len(plain) < 20:
            raise WebhookRefused("the content is too short to hold a message", status=400)
        (length,) = struct.unpack(">I", plain[16:20])
        message, owner = plain[20 : 20 + length], plain[20 + length :]
        if len(message) != length:
            raise WebhookRefused("the content is shorter than it says", status=400)
        for known in self.owners:
            if same(owner, known):
                return message, known
        raise WebhookRefused("it is about another app or organisation", status=403)

    def seal(self, message: bytes, owner: str, *, random: bytes | None = None) -> str:
        head = (random or secrets.token_hex(8).encode()) + struct.pack(">I", len(message))
        return aes_encrypt(self.key, head + message + owner.encode(), block=_BLOCK)

    def reply(self, owner: str, timestamp: str, nonce: str, *, random: bytes | None = None) -> Reply:
        """The sealed `success` that the sender checks; every value is text, and one name has a capital in it."""
        sealed = self.seal(b"success", owner, random=random)
        body = {
            "msg_signature": self.sign(timestamp, nonce, sealed),
            "timeStamp": timestamp,
            "nonce": nonce,
            "encrypt": sealed,
        }
        return Reply(200, orjson.dumps(body), "application/json; charset=utf-8")


def envelope_of(settings: DingTalkSettings) -> Envelope | None:
    """The subscription of the settings; None where they have none."""
    if settings.callback_token is None or settings.callback_aes_key is None:
        return None
    key = aes_key(settings.callback_aes_key.get_secret_value())
    return Envelope(settings.callback_token.get_secret_value(), key, (settings.client_id, settings.corp_id))


def receive(settings: DingTalkSettings, request: WebhookRequest, by_code: ByCode) -> Received:
    """Verify, open, read and answer one push. `check_url` and events of no concern of ours are answered all the same.

    Raises WebhookRefused.
    """
    envelope = envelope_of(settings)
    if envelope is None:
        raise WebhookRefused("no callback_token and callback_aes_key are set, so no push can be trusted", status=403)
    query = request.query
    signature = query.get("msg_signature") or query.get("signature") or ""
    timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
    sealed = read_json(request.body).get("encrypt")
    if not isinstance(sealed, str) or not sealed.isascii() or not timestamp.isascii() or not timestamp.isdigit():
        raise WebhookRefused("a part of the push is missing or of a wrong type", status=400)
    try:
        expected = envelope.sign(timestamp, nonce, sealed)
    except UnicodeEncodeError as error:
        raise WebhookRefused("a part of the push is no text", status=400) from error
    if not same(signature.encode("utf-8", "replace"), expected):
        raise WebhookRefused("its signature is not made with our token")
    require_recent(_milliseconds(timestamp), request.received, window=settings.callback_window)
    message, owner = envelope.open(sealed)
    content = read_json(message)
    kind = str(content.get("EventType"))
    events = events_of(kind, content, by_code)
    return Received(events, envelope.reply(owner, timestamp, nonce), dedupe_of(kind, content))


def _milliseconds(timestamp: str) -> int:
    """Older pushes count in seconds."""
    return int(timestamp[:16]) * (1000 if len(timestamp) <= 10 else 1)
