"""The fence around a claim's writes: what is left of the lease must exceed the write's time-out; a read may be late."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from hub.connector import fence
from hub.connector.http import Http, Response, TransportFailure, repeat
from hub.domain.clock import SystemClock

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """A client of a server that says ok to everything."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = Http(f"http://127.0.0.1:{port}", clock=SystemClock(), logger=logging.getLogger("test"), timeout=10)
        yield client
        await client.aclose()


async def test_a_write_is_sent_only_while_the_lease_outlasts_its_answer(http: Http) -> None:
    with fence.guarded(lambda: 11.0):
        assert (await http.send("POST", "/")).status == 200
    with fence.guarded(lambda: 9.0), pytest.raises(TransportFailure, match="not sent") as failure:
        await http.send("POST", "/")
    assert not failure.value.sent


async def test_a_read_is_sent_however_little_of_the_lease_is_left(http: Http) -> None:
    async def once() -> Response:
        return await http.send("POST", "/", timeout=10)  # as connectors do whose vendor has POST for everything

    with fence.guarded(lambda: 0.0):
        assert (await repeat(once)).status == 200
        assert (await http.read("GET", "/")).status == 200
