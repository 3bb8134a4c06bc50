"""`hub run`: what a process does by its role, in one loop, with its HTTP side; stopped without losing anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from hub.domain.errors import InvalidInput
from hub.runtime.duties import Duties
from hub.runtime.hub import Hub
from hub.runtime.memory import keep_collector_quiet
from hub.runtime.post import Post
from hub.runtime.roles import Part, relays
from hub.store import runs, schedules

log = logging.getLogger("hub.service")

App = Callable[["Service"], Any]
"""Makes the ASGI app of a service; given from above, since the API stands on the runtime."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a hub that runs can be reached."""

    api: str
    hooks: dict[str, str]


class Service:
    """One hub at work. `url` is known once it listens; `owner_token` is the key for commands of this machine's user."""

    def __init__(self, hub: Hub, part: Part = Part.ALL, post: Post | None = None) -> None:
        self.hub = hub
        self.part = part
        self.duties = Duties(hub, part, post)
        self.owner_token = secrets.token_urlsafe(32)
        self.stopping = asyncio.Event()
        self.url = ""

    @property
    def relays(self) -> bool:
        """Whether webhooks are kept for another hub to fetch, instead of becoming hints here."""
        return self.part is Part.INGRESS and relays(self.hub.config)

    def reasons(self) -> list[str]:
        """Why the hub does not do all of its work just now; empty when it does."""
        if self.stopping.is_set():
            return ["the hub is stopping"]
        return [f"{name}: {why}" for name, why in sorted(self.duties.troubles.items())]

    @contextlib.asynccontextmanager
    async def running(self, app: App, *, port: int | None = None) -> AsyncIterator[Ready]:
        """Everything at work while the block runs. Raises InvalidInput when the port is taken."""
        if not self.part.listens:
            async with self._at_work():
                yield Ready("", {})
            return
        settings = self.hub.config.api
        listener = _listen(settings.host, settings.port if port is None else port)
        try:
            self.url = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
            await self._prepare()
            made = app(self)
            server = _Server(_config(made, self.hub.config.run.stop_within))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                await self._listening(server, serving)
                with self._announced():
                    async with self._at_work(prepared=True):
                        yield Ready(self.url, {name: f"{self.url}/hooks/{name}" for name in made.state.hooks})
            finally:
                server.should_exit = True
                await serving
                await made.state.close()
        finally:
            listener.close()

    async def _prepare(self) -> None:
        engine = await self.hub.engine() if self.part.works else None
        if self.hub.store.dialect == "sqlite":
            # Nobody else can have the file: whoever held a lease or ran before is gone.
            if engine is not None:
                await engine.start()
            await schedules.void_leases(self.hub.store)
            await runs.interrupt(self.hub.store)

    @contextlib.asynccontextmanager
    async def _at_work(self, *, prepared: bool = False) -> AsyncIterator[None]:
        if not prepared:
            await self._prepare()
        keep_collector_quiet()
        self.hub.serving = True
        await self.duties.start()
        try:
            yield
        finally:
            self.stopping.set()
            log.info("stopping: letting what is in hand come to rest")
            await self.duties.stop()

    async def until_told(self) -> None:
        """Wait for SIGTERM, SIGINT, or `stopping`."""
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self.stopping.set)
        await self.stopping.wait()

    async def _listening(self, server: _Server, serving: asyncio.Task[None]) -> None:
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            listening.cancel()
            await serving

    @contextlib.contextmanager
    def _announced(self) -> Any:
        """Leave our address and a key for commands of the same user, readable by nobody else, while we run."""
        file = self.hub.config.store_file
        if file is None:
            yield
            return
        key = file.with_name(file.name + ".key")
        _write_private(key, self.owner_token)
        self.hub.store.announce(api=self._local_url(), token_path=str(key))
        try:
            yield
        finally:
            key.unlink(missing_ok=True)

    def _local_url(self) -> str:
        return self.url.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:")


class _Server(uvicorn.Server):
    """A server that tells when it listens, and leaves signals to us."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _config(app: Any, stop_within: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=app.state.protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, min(5, int(stop_within))),
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise InvalidInput(
            f"The hub can't listen on {host}:{port}: {error.strerror}.",
            hint="another program (or another hub) may have the port; choose one under `api: {port: …}` in hub.yaml",
        ) from error
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")
