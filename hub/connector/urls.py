"""Addresses that a person typed: what the hub may call, so that a setting can't turn it against its own network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from hub.domain.errors import InvalidInput, Unreachable

# Where clouds keep the credentials of their machines, beside the link-local 169.254.169.254.
_METADATA = frozenset({"100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"})
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.tencentyun.com", "metadata.aliyun.com"})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def require_web_address(url: str, *, allow_link_local: bool = False) -> str:
    """The address as it was given, if it is one that the hub may call. Asks no name server.

    Raises InvalidInput for other schemes than http(s), log-ins inside the address, and link-local, metadata, multicast
    and unspecified addresses, however they are spelled. Private networks are allowed: companies' systems live there.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidInput(f"'{_bare(url)}' is no web address", hint="it must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            f"the address of {parts.hostname} holds a log-in", hint="put name and password into their own settings"
        )
    try:
        _ = parts.port
    except ValueError as error:
        raise InvalidInput(f"the port of '{_bare(url)}' is no port", hint="ports go from 1 to 65535") from error
    host = parts.hostname.rstrip(".").lower()
    address = _literal(host)
    if not allow_link_local and (host in _METADATA_NAMES or (address is not None and _forbidden(address))):
        raise _refused(host)
    return url.strip()


async def require_reachable_address(url: str, *, allow_link_local: bool = False) -> str:
    """Like `require_web_address`, and what its name resolves to must be allowed too."""
    checked = require_web_address(url, allow_link_local=allow_link_local)
    host = urlsplit(checked).hostname or ""
    if not allow_link_local and any(map(_forbidden, await _resolved(host))):
        raise _refused(host)
    return checked


async def require_foreign_address(url: str, *, of: str) -> str:
    """An address that came in data (a file's, a next page's) of the system at `of`: the hub may call it if it may be
    called at all, and inside the company's own network only if the system itself stands there.

    Raises InvalidInput, and Unreachable for a name that is not known.
    """
    checked = await require_reachable_address(url)
    host, own = urlsplit(checked).hostname or "", urlsplit(of).hostname or ""
    if all(one.is_global for one in await _resolved(host)) or not all(one.is_global for one in await _resolved(own)):
        return checked
    raise InvalidInput(
        f"{own} sent the hub to {host}, an address inside this network; it was not called",
        hint="data must not lead the hub to systems of your own",
    )


async def _resolved(host: str) -> list[Address]:
    """Raises Unreachable."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"the name {host} is not known", hint="check its spelling, and this machine's DNS") from error
    addresses = [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]
    return [getattr(one, "ipv4_mapped", None) or one for one in addresses]


def _refused(host: str) -> InvalidInput:
    return InvalidInput(
        f"{host} is an address that the hub does not call (link-local, cloud metadata, multicast or none)",
        hint="if a system of yours really answers there, allow it with `allow_link_local: true`",
    )


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # What a C library takes for an address as well: 2852039166, 0xA9FEA9FE, 169.254.43518.
        return ipaddress.ip_address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _forbidden(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None and _forbidden(inner):
            return True
    return address.is_link_local or address.is_multicast or address.is_unspecified or str(address) in _METADATA


def _bare(url: str) -> str:
    """The address without what may be secret in it."""
    return url.strip().partition("?")[0].rpartition("@")[2][:100]
