"""The simulated platform's envelope around callbacks: AES-256-CBC in blocks of 32, signed with SHA-1.

From the vendor's description, on its own: it shares no line with the connector that opens these envelopes.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import struct
from dataclasses import dataclass
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK = 32


@dataclass(slots=True)
class Seal:
    """Token, key and receive id of one callback address. The key's text has 43 letters of base64."""

    token: str
    key_text: str
    receive_id: str

    def encrypt(self, message: str, *, prefix: bytes | None = None) -> str:
        """The message sealed; `prefix` are the sixteen random bytes."""
        body = message.encode()
        plain = (prefix or secrets.token_bytes(16)) + struct.pack(">I", len(body)) + body + self.receive_id.encode()
        count = _BLOCK - len(plain) % _BLOCK
        encryptor = self._cipher().encryptor()
        return base64.b64encode(encryptor.update(plain + bytes([count]) * count) + encryptor.finalize()).decode()

    def decrypt(self, sealed: str) -> str:
        """The message inside. Raises ValueError for another receiver's."""
        decryptor = self._cipher().decryptor()
        padded = decryptor.update(base64.b64decode(sealed)) + decryptor.finalize()
        plain = padded[: -padded[-1]]
        (length,) = struct.unpack(">I", plain[16:20])
        if plain[20 + length :].decode() != self.receive_id:
            raise ValueError("it is for another receiver")
        return plain[20 : 20 + length].decode()

    def sign(self, timestamp: str, nonce: str, sealed: str) -> str:
        ordered = sorted([self.token, timestamp, nonce, sealed])
        return hashlib.sha1("".join(ordered).encode()).hexdigest()  # noqa: S324 - the vendor's choice

    def address(self, url: str, sealed: str, *, at: int, nonce: str | None = None, **more: str) -> str:
        """The URL with the three signed values; `at` is epoch milliseconds."""
        stamp, nonce = str(at // 1000), nonce or str(secrets.randbelow(10**10))
        query = {"msg_signature": self.sign(stamp, nonce, sealed), "timestamp": stamp, "nonce": nonce, **more}
        return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"

    def envelope(self, sealed: str, agent: str) -> bytes:
        parts = {"ToUserName": self.receive_id, "AgentID": agent, "Encrypt": sealed}
        return f"<xml>{''.join(cdata(name, value) for name, value in parts.items())}</xml>".encode()

    def _cipher(self) -> Cipher[modes.CBC]:
        key = base64.b64decode(self.key_text + "=")
        return Cipher(algorithms.AES(key), modes.CBC(key[:16]))


def cdata(name: str, value: str) -> str:
    return f"<{name}><![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]></{name}>"


def event_xml(corp_id: str, sender: str, at: int, event: str, inner: str, change: str | None = None) -> str:
    """One event's XML; `at` is epoch milliseconds, `inner` the elements of its own."""
    head = cdata("ToUserName", corp_id) + cdata("FromUserName", sender) + f"<CreateTime>{at // 1000}</CreateTime>"
    kind = cdata("MsgType", "event") + cdata("Event", event) + (cdata("ChangeType", change) if change else "")
    return f"<xml>{head}{kind}{inner}</xml>"


def elements(values: dict[str, object]) -> str:
    """Elements in order: text as CDATA, numbers plain, lists as siblings, maps as elements inside; None is left out."""
    found = []
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            if isinstance(one, dict):
                found.append(f"<{name}>{elements(one)}</{name}>")
            elif isinstance(one, int):
                found.append(f"<{name}>{escape(str(one))}</{name}>")
            else:
                found.append(cdata(name, str(one)))
    return "".join(found)
