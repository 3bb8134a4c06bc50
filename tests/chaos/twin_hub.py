"""A hub in a process of its own that does what it is told, step by step, so that a scene always plays out the same.

The processes are forked from one that has the hub's modules loaded, and are real: they can be stopped and killed.
"""

from __future__ import annotations

import asyncio
import importlib
import mmap
import multiprocessing
import os
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import select

from hub.api.serving import app_of
from hub.domain.clock import SystemClock
from hub.runtime.config import FILE, load
from hub.runtime.connectors import Installed
from hub.runtime.hub import Hub
from hub.runtime.service import Service
from hub.store.tables import metadata
from hub.sync import failpoints
from tests.chaos import twins

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.chaos.twin_hub"])

Command = tuple[str, dict[str, Any]]


class SharedClock:
    """The machine's clock, moved by as much as a file says: all processes of a scene move together."""

    def __init__(self, file: Path) -> None:
        self._system = SystemClock()
        if not file.exists():
            file.write_bytes(struct.pack("q", 0))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 8)

    def now(self) -> int:
        return self._system.now() + self._moved()

    def monotonic(self) -> float:
        return self._system.monotonic() + self._moved() / 1000

    def advance(self, seconds: float) -> None:
        self._shared[:8] = struct.pack("q", self._moved() + int(seconds * 1000))

    def _moved(self) -> int:
        (moved,) = struct.unpack("q", self._shared[:8])
        return int(moved)


@dataclass(frozen=True, slots=True)
class Order:
    """What a hub process is started with. `failpoint` is as in HUB_FAILPOINT."""

    folder: Path
    clock: Path
    twin: str | None = None
    failpoint: str | None = None


class HubProcess:
    """A started hub process. Its death shows as EOFError of the command that it died of."""

    def __init__(self, order: Order) -> None:
        self._ours, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_main, args=(theirs, order), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    async def do(self, command: str, **given: Any) -> Any:
        """What the hub answers. Raises EOFError when it dies of it, AssertionError with its words when it fails."""
        self.tell(command, **given)
        return await self.answer()

    def tell(self, command: str, **given: Any) -> None:
        self._ours.send((command, given))

    async def answer(self) -> Any:
        well, told = await asyncio.to_thread(self._ours.recv)
        assert well, told
        return told

    async def dies_of(self, command: str, **given: Any) -> None:
        """Do what an armed failpoint ends it at. Raises AssertionError if it lives on."""
        try:
            told = await self.do(command, **given)
        except EOFError:
            await self.end()
            return
        raise AssertionError(f"the hub was to die of {command} and answered {told!r}")

    async def stops_at(self, command: str, **given: Any) -> None:
        """Do what an armed failpoint stops it at; `wake` lets it go on."""
        self.tell(command, **given)
        async with asyncio.timeout(60):
            while _state(self.pid) != "T":  # noqa: ASYNC110 - nobody tells that a process was stopped
                await asyncio.sleep(0.01)

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def end(self) -> None:
        """Kill it, as a power cut would."""
        self._process.kill()
        await asyncio.to_thread(self._process.join, 10)
        self._ours.close()


def _state(pid: int) -> str:
    """A process's state, as Linux writes it: R, S, T (stopped), Z."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0]


# -- inside the process --------------------------------------------------------------------------------------------


def _main(pipe: Connection[tuple[bool, Any], Command], order: Order) -> None:
    if order.failpoint is not None:
        _arm(order.failpoint)
    if order.twin is not None:
        twins.apply(order.twin)
    asyncio.run(_serve(pipe, order))


def _arm(text: str) -> None:
    """As a process does that is started with HUB_FAILPOINT: this one had its modules loaded before."""
    os.environ[failpoints.VARIABLE] = text
    importlib.reload(failpoints)
    for name, module in list(sys.modules.items()):
        if name.startswith("hub.") and callable(vars(module).get("failpoint")):
            vars(module)["failpoint"] = failpoints.failpoint


async def _serve(pipe: Connection[tuple[bool, Any], Command], order: Order) -> None:
    installed = Installed.here()
    config = load(order.folder / FILE, installed)
    async with Hub.open(config, installed=installed, clock=SharedClock(order.clock)) as hub:
        commands = _Commands(hub)
        try:
            while True:
                name, given = await asyncio.to_thread(pipe.recv)
                do: Callable[..., Awaitable[Any]] = getattr(commands, name)
                try:
                    pipe.send((True, await do(**given)))
                except Exception as error:
                    pipe.send((False, f"{type(error).__name__}: {error}"))
        except EOFError:
            await commands.close()


class _Commands:
    """What a hub process can be told to do."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """What a hub does that owns its store alone: whoever worked before is gone."""
        await (await self._hub.engine()).start()

    async def read(self, flow: str) -> None:
        await (await self._hub.engine()).read(flow)

    async def capture(self, flow: str, ids: Sequence[str]) -> None:
        await (await self._hub.engine()).capture_records(flow, ids)

    async def fetch(self) -> int:
        return await (await self._hub.engine()).fetch_hints()

    async def drain(self, flow: str) -> dict[str, int]:
        return await (await self._hub.engine()).drain(flow)

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """A table of the store, as evidence."""
        async with self._hub.store.read() as conn:
            found = (await conn.execute(select(metadata.tables[table]))).mappings().all()
        return [dict(row) for row in found]

    async def listen(self, port: int) -> None:
        """Take webhooks in at this port, as the real HTTP side does."""
        listener = socket.create_server(("127.0.0.1", port))
        app = app_of(Service(self._hub))
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def close(self) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
