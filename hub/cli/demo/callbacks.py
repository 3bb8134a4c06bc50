"""Callbacks as Fxiaoke sends them, made by hand: a true one to send again, and some that nobody should believe."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from hub.connector.webhook import aes_encrypt, aes_key, sha1_hex

_OLD = 2 * 86_400_000  # milliseconds: far outside of what a receiver allows


class Postman:
    """Knows the shared secret of one subscription, and posts to the hub's ingress."""

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self._url = url
        self._ea = str(settings["ea"])
        self._key = str(settings["aes_key"])

    def sealed(self, object: str, id: str, at: int, *, key: str | None = None) -> bytes:
        """A change callback about this record, sent at `at` (epoch ms); signed with another `key` it is a forgery."""
        key = key or self._key
        message, nonce = secrets.token_hex(16).upper(), secrets.token_hex(8)
        event = {"eventType": "update", "apiName": object, "dataId": id, "timestamp": at, "messageId": message}
        content = aes_encrypt(aes_key(key), orjson.dumps(event))
        body = {
            "signature": sha1_hex(str(at), nonce, message, self._ea, content, key),
            "timestamp": at,
            "nonce": nonce,
            "messageId": message,
            "enterpriseAccount": self._ea,
            "encryptedContent": content,
        }
        return orjson.dumps(body)

    def unbelievable(self, object: str, id: str, now: int) -> dict[str, bytes]:
        """Bodies that must be refused, by what is wrong with them."""
        true = orjson.loads(self.sealed(object, id, now))
        other = orjson.loads(self.sealed(object, id, now))
        return {
            "signed with another key": self.sealed(object, id, now, key="QUFB" * 10 + "QUE="),
            "its content exchanged": orjson.dumps({**true, "encryptedContent": other["encryptedContent"]}),
            "two days old": self.sealed(object, id, now - _OLD),
            "no callback at all": b'{"hello": "hub"}',
        }

    async def post(self, body: bytes) -> int:
        """Send it; the status of the answer."""
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
            return (await client.post(self._url, content=body)).status_code
