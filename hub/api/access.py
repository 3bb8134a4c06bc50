"""Who calls, and what they may do: bearer tokens, kept as hashes and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from hub.runtime.settings import LOCALHOST, ApiSettings, Role

ON_BEHALF = "x-hub-who"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, for the audit log, and their role."""

    name: str
    role: Role


class NotAllowed(Exception):
    """401 (we don't know you) or 403 (we do, but your role is too small); `detail` says which role it takes."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class _Known:
    digest: bytes
    name: str
    role: Role
    speaks_for_others: bool = False


class Access:
    """Decides who a request comes from.

    `owner_token` is the one in the file beside the store: commands of this machine's user, who name the person at the
    keyboard. Without configured tokens a caller on localhost is an operator; a Host header that is not localhost is
    refused then, so that no web page can reach the hub through a name of its own.
    """

    def __init__(self, settings: ApiSettings, owner_token: str | None = None) -> None:
        self._known = [
            _Known(_digest(token.token.get_secret_value()), token.name, token.role) for token in settings.tokens
        ]
        if owner_token is not None:
            self._known.append(_Known(_digest(owner_token), "cli", Role.ADMIN, speaks_for_others=True))
        self._open = settings.local and not settings.tokens

    def caller(self, request: HTTPConnection) -> Caller:
        """Raises NotAllowed."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if token:
            if scheme.lower() != "bearer":
                raise NotAllowed(401, "Send the token as `Authorization: Bearer TOKEN`.")
            return self._by_token(token.strip(), request)
        if not self._open:
            raise NotAllowed(401, "A token is needed: `Authorization: Bearer TOKEN`.")
        if (request.url.hostname or "") not in LOCALHOST:
            raise NotAllowed(403, "Without tokens the API answers to localhost alone.")
        return Caller("localhost", Role.OPERATOR)

    def _by_token(self, token: str, request: HTTPConnection) -> Caller:
        digest = _digest(token)
        # Every one is compared, so that the time taken tells nothing about which matched.
        matches = [known for known in self._known if hmac.compare_digest(known.digest, digest)]
        if not matches:
            raise NotAllowed(401, "This token is not known.")
        known = matches[0]
        name = request.headers.get(ON_BEHALF) if known.speaks_for_others else None
        return Caller(name or known.name, known.role)


def require(caller: Caller, role: Role) -> None:
    """Raises NotAllowed when the caller's role does not reach."""
    if not caller.role.covers(role):
        raise NotAllowed(403, f"This takes the role {role.value}; {caller.name} is {caller.role.value}.")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
