"""Simulators on real sockets: inside a running loop for tests and the demo, or as a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import TypeVar

import uvicorn

from hub.connector.simulator import Simulator

S = TypeVar("S", bound=Simulator)


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that is being served."""

    simulator: Simulator
    base_url: str
    port: int


class _InLoop(uvicorn.Server):
    """A server that tells when it listens, stops when it is told, and leaves signals to whoever owns the loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        # The original looks every tenth of a second whether it should stop; a test suite pays for that in minutes.
        await self.on_tick(0)
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        for server in self.servers:
            await server.wait_closed()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def serve(simulator: Simulator, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[Running]:
    """Serve a simulator in the current loop while the block runs; port 0 takes a free one."""
    # IPPROTO_TCP is said outright, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    port = listener.getsockname()[1]
    simulator.base_url = f"http://{host}:{port}"
    server = _InLoop(_config(simulator))
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    listening = asyncio.ensure_future(server.listening.wait())
    try:
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield Running(simulator, simulator.base_url, port)
    finally:
        listening.cancel()
        await simulator.aclose()
        server.stopping.set()
        await task
        listener.close()


def run(simulator: Simulator, port: int, host: str = "127.0.0.1") -> None:
    """Serve a simulator until the process is told to stop."""
    simulator.base_url = f"http://{host}:{port}"
    config = _config(simulator)
    config.host, config.port = host, port
    uvicorn.Server(config).run()


def _config(simulator: Simulator) -> uvicorn.Config:
    return uvicorn.Config(
        simulator,
        http="httptools",
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
    )
