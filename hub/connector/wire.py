"""A simulator's grip on the connection: answers cut short, real resets, silence."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence

from starlette.types import Message, Receive, Send

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: closing sends RST instead of FIN


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    return b"".join(parts)


async def send_response(send: Send, messages: Sequence[Message], *, cut: bool = False) -> None:
    """Send an answer that was kept back; `cut` announces all of it and sends half."""
    for message in messages:
        if cut and message["type"] == "http.response.body":
            body = message["body"]
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            return
        await send(message)


async def abort(receive: Receive) -> None:
    """Reset the TCP connection under this request, and return when it is gone."""
    transport: asyncio.Transport = receive.__self__.transport  # type: ignore[attr-defined]
    # What was written before (half an answer) is still on its way through the kernel when RST overtakes it;
    # only a connection with nothing said yet is reset, the other is cut.
    found = transport.get_extra_info("socket")
    begun = receive.__self__.response_started  # type: ignore[attr-defined]
    if found is not None and not begun and not transport.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
    else:
        transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass


async def hang(receive: Receive, closing: asyncio.Event) -> None:
    """Say nothing until the client gives up or the simulator closes; then cut."""
    gone = asyncio.ensure_future(_disconnected(receive))
    shut = asyncio.ensure_future(closing.wait())
    await asyncio.wait({gone, shut}, return_when=asyncio.FIRST_COMPLETED)
    shut.cancel()
    if not gone.done():
        gone.cancel()
        await abort(receive)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
