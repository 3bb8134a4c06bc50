"""The two ways Kingdee lets an application prove itself: LoginBySign, and the signed headers of the official SDKs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote, urlsplit

SIGN_ALGORITHMS = ("sha256", "sha1")
_GATEWAY_KEY = b"0054f397c6234378b09ca7d3e5debce7"  # published in every official SDK: an obfuscation, not a secret


def login_sign(acct_id: str, username: str, app_id: str, app_secret: str, timestamp: int, algorithm: str) -> str:
    """The `sign` of LoginBySign: the five values in ordinal order, hashed; `timestamp` is epoch seconds.

    Servers older than patch PT-146911 (8.0.0.202205) want `sha1`.
    """
    parts = sorted((acct_id, username, app_id, app_secret, str(timestamp)), key=lambda part: part.encode())
    return hashlib.new(algorithm, "".join(parts).encode()).hexdigest()


def client_secret(app_id: str) -> str:
    """The gateway's secret, folded into the second half of the application id.

    An id that doesn't split into `<digits>_<32 characters>` gives an empty secret, as in the official Python SDK.
    """
    parts = app_id.split("_")
    if len(parts) != 2 or len(parts[1]) != 32:
        return ""
    folded = base64.b64decode(parts[1])
    return base64.b64encode(bytes(a ^ b for a, b in zip(folded, _GATEWAY_KEY, strict=False))).decode()


def signed_headers(
    url: str, *, acct_id: str, username: str, app_id: str, app_secret: str, lcid: int, org_num: str, timestamp: int
) -> dict[str, str]:
    """The headers that make a request without a log-in; the time serves as nonce too, as the SDKs do.

    `X-Kd-Signature` is what a private server checks, `X-Api-Signature` what Kingdee's cloud gateway checks.
    """
    halves = app_id.split("_")
    identity = f"{acct_id},{username},{lcid},{org_num}"
    stamp = str(timestamp)
    path = quote(urlsplit(url).path, safe="")
    to_sign = f"POST\n{path}\n\nx-api-nonce:{stamp}\nx-api-timestamp:{stamp}\n"
    return {
        "X-Api-ClientID": halves[0] if len(halves) == 2 else "",
        "X-Api-Auth-Version": "2.0",
        "x-api-timestamp": stamp,
        "x-api-nonce": stamp,
        "x-api-signheaders": "x-api-timestamp,x-api-nonce",
        "X-Api-Signature": _hmac_hex_base64(client_secret(app_id), to_sign),
        "X-Kd-Appkey": app_id,
        "X-Kd-Appdata": base64.b64encode(identity.encode()).decode(),
        "X-Kd-Signature": _hmac_hex_base64(app_secret, app_id + identity),
    }


def _hmac_hex_base64(secret: str, text: str) -> str:
    """It is the lower-case hex text that is Base64-encoded, not the digest."""
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return base64.b64encode(digest.encode()).decode()
