"""Bench `ingress`: Fxiaoke callbacks verified, decrypted, stored durably and acknowledged, beside the bare framework.

The server is uvicorn in a process of its own, as in `hub run`; the load comes from this process over kept connections.
The limit is the same framework with the same verification that answers without storing. Both in turns, in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.report import Report, peak_mb_of, print_report
from connectors.crm.fxiaoke.connector import FxiaokeConnector
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from connectors.crm.fxiaoke.simulator_events import Sealer
from hub.api.ingress import Ingress, Limits
from hub.connector.contract import Received, WebhookRequest
from hub.connector.kit import Kit
from hub.domain.clock import SystemClock
from hub.store import inbox
from hub.store.engine import Store

EA = "demoea"
KEY = base64.b64encode(bytes(range(32))).decode()
RECORDS = 20_000


# ---- the server's side -----------------------------------------------------------------------------------------------


def connector() -> FxiaokeConnector:
    settings = FxiaokeSettings(
        base_url="http://127.0.0.1:1",
        app_id="FSAID_bench",
        app_secret="bench",  # type: ignore[arg-type]
        permanent_code="bench",  # type: ignore[arg-type]
        ea=EA,
        aes_key=KEY,  # type: ignore[arg-type]
    )
    return FxiaokeConnector(settings, Kit.local("crm"))


def bare_app() -> FastAPI:
    """Verifies and answers, as a developer would write it; keeps nothing."""
    receiver = connector()

    async def hook(request: Request) -> Response:
        content: Received = receiver.receive(
            WebhookRequest(
                method=request.method,
                path=request.url.path,
                query=dict(request.query_params),
                headers=dict(request.headers),
                body=await request.body(),
                received=time.time_ns() // 1_000_000,
            )
        )
        return Response(content.reply.body, content.reply.status, media_type=content.reply.content_type)

    app = FastAPI()
    app.router.routes.insert(0, Route("/hooks/{system}", hook, methods=["POST"]))
    return app


def our_app(store: Store) -> FastAPI:
    async def commit(messages: list[inbox.Message]) -> None:
        await inbox.receive(store, messages)

    app = FastAPI()
    ingress = Ingress({"crm": connector()}, commit, SystemClock(), limits=Limits(rate=1e9, burst=1e9))
    app.router.routes.insert(0, Route("/hooks/{system}", ingress))
    return app


async def serve(kind: str, port: int, folder: Path) -> None:
    store = await Store.open(f"sqlite:///{folder / 'bench.db'}") if kind == "ours" else None
    config = uvicorn.Config(
        our_app(store) if store is not None else bare_app(),
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        if store is not None:
            await store.close()


# ---- the load --------------------------------------------------------------------------------------------------------


def requests(count: int, seed: int) -> list[bytes]:
    """Whole HTTP requests with true callbacks, made beforehand, so that the load costs next to nothing."""
    dice = random.Random(seed)
    sealer = Sealer(EA, KEY)
    now = time.time_ns() // 1_000_000
    made = []
    for number in range(count):
        event = {
            "tenantId": 100001,
            "eventType": "update",
            "apiName": "AccountObj",
            "dataId": f"65aa17a9f318b9{dice.randrange(RECORDS):010x}",
            "timestamp": now,
            "messageId": f"{seed:08X}{number:024X}",
        }
        body = sealer.sealed(event, at=now)
        head = (
            "POST /hooks/crm HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"user-agent: fs-open\r\naccept: */*\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


@dataclass(slots=True)
class Load:
    """What the senders share: requests that are left, and how long each took (seconds)."""

    left: list[bytes]
    took: list[float] = field(default_factory=list)
    wrong: int = 0


class Sender(asyncio.Protocol):
    """One kept connection: the next request goes when the answer to the one before is whole."""

    def __init__(self, load: Load, done: asyncio.Future[None]) -> None:
        self._load = load
        self._done = done
        self._buffer = b""
        self._sent = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._load.took.append(time.perf_counter() - self._sent)
        if not head.startswith(b"HTTP/1.1 200"):
            self._load.wrong += 1
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _next(self) -> None:
        if not self._load.left:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(self._load.left.pop())


async def send(port: int, load: Load, connections: int) -> float:
    """Send everything; seconds that it took."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(connections)]
    start = time.perf_counter()
    for done in futures:
        await loop.create_connection(lambda done=done: Sender(load, done), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*futures)
    return time.perf_counter() - start


# ---- the measurement -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Server:
    """A server process, and the most memory that it has held."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def peak_mb(self) -> float:
        return peak_mb_of(self.process.pid)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def start(kind: str, folder: Path) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bench.ingress", "--serve", kind, "--port", str(port), "--folder", str(folder)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return Server(process, port)
    raise SystemExit(f"the server `{kind}` did not start")


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(given: argparse.Namespace, folder: Path) -> Report:
    rates: dict[str, float] = {"bare": 0.0, "ours": 0.0}
    p99: dict[str, float] = {"bare": 0.0, "ours": 0.0}
    servers = {kind: start(kind, folder) for kind in rates}
    stored = 0
    try:
        for kind, server in servers.items():  # warm, so that nobody pays for first use
            uvloop.run(send(server.port, Load(requests(500, seed=90 + len(kind))), given.connections))
            stored += 500 if kind == "ours" else 0
        for turn in range(given.turns):
            for kind, server in servers.items():
                load = Load(requests(given.count, seed=turn + 1))
                seconds = uvloop.run(send(server.port, load, given.connections))
                if load.wrong or len(load.took) != given.count:
                    raise SystemExit(f"{load.wrong} of {given.count} callbacks were not acknowledged by `{kind}`")
                if given.count / seconds > rates[kind]:
                    rates[kind], p99[kind] = given.count / seconds, quantile(load.took, 0.99) * 1000
            stored += given.count
        peak = servers["ours"].peak_mb
    finally:
        for server in servers.values():
            server.stop()
    kept = asyncio.run(count(folder))
    if kept != stored:
        raise SystemExit(f"{stored} callbacks were acknowledged, and {kept} are in the store")
    extra = {"p99_ms": round(p99["ours"], 1), "p99_ms_bare": round(p99["bare"], 1), "stored": kept}
    return Report("ingress", "webhooks/s", rates["ours"], rates["bare"], {}, peak, extra)


async def count(folder: Path) -> int:
    """How many webhooks the store has, read after its process has ended."""
    from sqlalchemy import func, select

    from hub.store.tables import inbox as table

    store = await Store.open(f"sqlite:///{folder / 'bench.db'}")
    async with store.read() as conn:
        kept = int((await conn.execute(select(func.sum(table.c.copies)))).scalar_one())
    await store.close()
    return kept


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="print one JSON object")
    arguments.add_argument("--count", type=int, default=4000, help="callbacks a turn")
    arguments.add_argument("--turns", type=int, default=6, help="how often each is measured; the best counts")
    arguments.add_argument("--connections", type=int, default=64, help="kept connections")
    arguments.add_argument("--serve", choices=["ours", "bare"], help=argparse.SUPPRESS)
    arguments.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.serve:
        uvloop.run(serve(given.serve, given.port, given.folder))
        return
    with tempfile.TemporaryDirectory(prefix="bench-ingress-") as folder:
        print_report(measure(given, Path(folder)), as_json=given.json)


if __name__ == "__main__":
    main()
