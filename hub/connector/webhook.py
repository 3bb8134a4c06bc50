"""Primitives for webhooks: compare, hash, decrypt, bound; every refusal says why and shows no secret."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hub.connector.contract import WebhookRefused
from hub.connector.http import exact_json

_BLOCK = 16


def same(given: str | bytes, expected: str | bytes) -> bool:
    """Compare in constant time, whatever the type or length."""
    left = given.encode() if isinstance(given, str) else given
    right = expected.encode() if isinstance(expected, str) else expected
    return hmac.compare_digest(left, right)


def sha1_hex(*parts: str) -> str:
    """Lower-case hex SHA-1 of the parts one after another."""
    return hashlib.sha1("".join(parts).encode()).hexdigest()  # noqa: S324 - the vendors' choice, not ours


def sha256_hex(*parts: str) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def hmac_sha256(secret: str | bytes, message: str | bytes) -> bytes:
    key = secret.encode() if isinstance(secret, str) else secret
    data = message.encode() if isinstance(message, str) else message
    return hmac.new(key, data, hashlib.sha256).digest()


def sorted_sha1(parts: Iterable[str]) -> str:
    """SHA-1 over the parts in lexicographic order, as the WeCom family of callbacks signs."""
    return sha1_hex(*sorted(parts))


def aes_key(text: str) -> bytes:
    """A 32-byte key from base64, with or without its padding. Raises ValueError."""
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("the AES key is not base64") from error
    if len(key) != 32:
        raise ValueError(f"the AES key has {len(key)} bytes instead of 32")
    return key


def aes_decrypt(key: bytes, content: str, *, iv: bytes | None = None, block: int = _BLOCK) -> bytes:
    """AES-256-CBC with PKCS7 from base64; the IV is the key's first 16 bytes unless given.

    `block` is the padding's block (32 in WeCom's family). Raises WebhookRefused.
    """
    try:
        sealed = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WebhookRefused("the content is not base64", status=400) from error
    if not sealed or len(sealed) % _BLOCK:
        raise WebhookRefused("the content is not whole AES blocks", status=400)
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv or key[:_BLOCK])).decryptor()
    padded = decryptor.update(sealed) + decryptor.finalize()
    count = padded[-1]
    if not 1 <= count <= block or count > len(padded) or padded[-count:] != bytes([count]) * count:
        raise WebhookRefused("the content does not decrypt with our key", status=400)
    return padded[:-count]


def aes_encrypt(key: bytes, plain: bytes, *, iv: bytes | None = None, block: int = _BLOCK) -> str:
    """The reverse of `aes_decrypt`."""
    count = block - len(plain) % block
    padded = plain + bytes([count]) * count
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv or key[:_BLOCK])).encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def require_recent(sent: int, received: int, *, window: float = 300.0) -> None:
    """Both in epoch milliseconds, `window` in seconds to either side. Raises WebhookRefused."""
    away = abs(received - sent) / 1000
    if away > window:
        raise WebhookRefused(f"its timestamp is {away:.0f} s away from our clock; {window:.0f} s are allowed")


def read_json(body: bytes | str, *, max_bytes: int = 1_000_000, max_depth: int = 32) -> dict[str, Any]:
    """The body as a JSON object within bounds. Raises WebhookRefused."""
    if len(body) > max_bytes:
        raise WebhookRefused(f"the body has more than {max_bytes} bytes", status=413)
    try:
        found = exact_json(body)
    except (ValueError, RecursionError) as error:
        raise WebhookRefused("the body is not JSON", status=400) from error
    if not isinstance(found, dict):
        raise WebhookRefused("the body is not a JSON object", status=400)
    if _deeper_than(found, max_depth):
        raise WebhookRefused(f"the body is nested deeper than {max_depth}", status=400)
    return found


def _deeper_than(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if depth == 0:
        return True
    members = value.values() if isinstance(value, dict) else value
    return any(_deeper_than(member, depth - 1) for member in members)
