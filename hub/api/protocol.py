"""HTTP/1.1 with bounds that the server does not have: the size of a request's head, and the time that it may take."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REFUSALS = {
    408: b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
}


def bounded(*, max_head: int, within: float) -> Any:
    """What uvicorn's `http=` takes: a head (request line and headers) has at most `max_head` bytes, and a request is
    whole within `within` seconds after its first byte, or after the connection was made.
    """
    return partial(Bounded, max_head=max_head, within=within)


class Bounded(HttpToolsProtocol):
    """One connection.

    The parser puts a header together before anybody sees it, so a header that never ends has to be counted as bytes
    that came in; and a sender who stops in the middle keeps his connection, and the memory behind it, for ever.
    """

    def __init__(self, *given: Any, max_head: int, within: float, **named: Any) -> None:
        super().__init__(*given, **named)
        self._max_head = max_head
        self._within = within
        self._in_head = True  # what comes next belongs to a head
        self._head = 0  # bytes of chunks that were head from end to end
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        began_in_head = self._in_head
        super().data_received(data)
        if began_in_head and self._in_head:
            self._head += len(data)
            if self._head > self._max_head:
                self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_timer()

    def on_headers_complete(self) -> None:
        self._in_head = False
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._max_head:
            self._refuse(431)
            return
        self._head = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._stop_timer()
        if not self.transport.is_closing():
            super().on_message_complete()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._within, self._refuse, 408)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int) -> None:
        """Say so, unless an answer is already on its way, and hang up."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_REFUSALS[status])
        self.transport.close()
