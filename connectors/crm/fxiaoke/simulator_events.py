"""The simulated sender of data change callbacks: sealed, signed, counted, with its reply checked (section 6.1)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_EVENT_TYPES = {"create": "create", "invalid": "invalid", "recover": "recover", "delete": "delete"}


def event_type(operation: str) -> str:
    """The event that a committed operation is told as; whatever has no word of its own is an update."""
    return _EVENT_TYPES.get(operation, "update")


class Sealer:
    """One subscription's shared secret at work, on the sender's side."""

    def __init__(self, ea: str, aes_key: str) -> None:
        self.ea = ea
        self.aes_key = aes_key
        self._key = base64.b64decode(aes_key)

    def sealed(self, event: dict[str, Any], *, at: int, retry_times: int = 0, nonce: str | None = None) -> bytes:
        """The body of one attempt. The first one carries no `retryTimes`."""
        nonce = nonce or secrets.token_hex(8)
        content = self.encrypt(json.dumps(event, separators=(",", ":"), ensure_ascii=False))
        retried = str(retry_times) if retry_times else ""
        signed = f"{at}{nonce}{event['messageId']}{retried}{self.ea}{content}{self.aes_key}"
        body: dict[str, Any] = {
            "signature": _sha1(signed),
            "timestamp": at,
            "nonce": nonce,
            "messageId": event["messageId"],
            "enterpriseAccount": self.ea,
            "encryptedContent": content,
        }
        if retry_times:
            body["retryTimes"] = retry_times
        return json.dumps(body).encode()

    def accepts(self, reply: bytes) -> bool:
        """Whether the receiver's reply is signed with our key and says success."""
        try:
            given = json.loads(reply)
            signed = f"{given['timestamp']}{given['nonce']}{given['encryptedResult']}{self.aes_key}"
            return bool(given["signature"] == _sha1(signed) and self.decrypt(given["encryptedResult"]) == "success")
        except (ValueError, KeyError, TypeError):
            return False

    def encrypt(self, text: str) -> str:
        padder = padding.PKCS7(128).padder()
        padded = padder.update(text.encode()) + padder.finalize()
        encryptor = self._cipher().encryptor()
        return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()

    def decrypt(self, sealed: str) -> str:
        decryptor = self._cipher().decryptor()
        padded = decryptor.update(base64.b64decode(sealed)) + decryptor.finalize()
        unpadder = padding.PKCS7(128).unpadder()
        return (unpadder.update(padded) + unpadder.finalize()).decode()

    def _cipher(self) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES(self._key), modes.CBC(self._key[:16]))


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - the vendor's choice
