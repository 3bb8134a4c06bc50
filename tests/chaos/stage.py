"""The stage: two simulators in processes of their own, a store, and a project as `hub init` makes it, made quick."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from hub.cli.demo.desk import Desk, desk
from hub.runtime.config import FILE
from hub.runtime.connectors import Installed
from hub.runtime.scaffold import scaffold
from tests.chaos.database import Database, database
from tests.chaos.hubs import Hubs, hubs

FLOWS = (
    "products",
    "customers-to-erp",
    "customers-to-crm",
    "orders-to-erp",
    "order-status-to-crm",
    "receipts-to-crm",
)

SETTLES = 8.0  # seconds: more than the slowest commit of the weather, the lag of its finds and wrong clocks together
OVERLAP = 30  # seconds: more than late stamps and wrong clocks together

_QUICK = (
    "every: 3s, sweep: off, backoff: 300ms, backoff_limit: 3s, blocked_every: 3s, attempts: 200, "
    f"settles_within: {SETTLES:g}s"
)
_WAIT = "[{{code: '{code}', kind: not_executed, retry: wait, wait: 1, hint: a run has no ten seconds}}]"
_SETTINGS = {
    "fxiaoke": {
        "lag": 0.5,
        "overlap": OVERLAP,
        "concurrency": 16,
        "timeout": 4,
        "path_calls": 5000,
        "errors": _WAIT.format(code=30004),
    },
    "kingdee": {"overlap": OVERLAP, "sessions": 4, "timeout": 4, "errors": _WAIT.format(code=14)},
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run is played on."""

    crm: Desk
    erp: Desk
    database: Database
    hubs: Hubs
    folder: Path

    async def subscribe(self) -> None:
        """Have the CRM call back, to the first of the hub's processes."""
        await self.crm.call_back(f"http://127.0.0.1:{self.hubs.slots[0].port}/hooks/crm")


@contextlib.asynccontextmanager
async def stage(folder: Path, url: str, workers: int, twin: str | None, keep: list[bool]) -> AsyncIterator[Stage]:
    """Simulators at work, the project written, the nursery loaded; no process of the hub is started yet."""
    async with (
        desk("fxiaoke", "--with", f"path_calls={_SETTINGS['fxiaoke']['path_calls']}") as crm,
        desk("kingdee") as erp,
        database(url, folder, keep) as store,
    ):
        token = secrets.token_urlsafe(32)
        ports = _free_ports(workers)
        scaffold(folder, "fxiaoke-kingdee", Installed.here(), simulated=True)
        _fit(folder / FILE, crm, erp, store, ports[0], token)
        async with hubs(folder, ports, token, twin) as processes:
            yield Stage(crm, erp, store, processes, folder)


def _fit(file: Path, crm: Desk, erp: Desk, store: Database, port: int, token: str) -> None:
    """Turn the project towards these simulators and this store; seconds where a company would take minutes."""
    text = file.read_text(encoding="utf-8")
    for base_url, found in (("http://127.0.0.1:9001", crm.base_url), ("http://127.0.0.1:9002", erp.base_url)):
        text = text.replace(base_url, found)
    text = re.sub(r"\n *(?:# .*\n *)?path_calls: \d+", "", text)
    for connector, settings in _SETTINGS.items():
        more = "".join(f"\n    {name}: {value}" for name, value in settings.items())
        text, count = re.subn(rf"    connector: {connector}", f"    connector: {connector}{more}", text, count=1)
        assert count == 1
    text, count = re.subn(r"(\{mapping: mappings/[\w-]+\.yaml), every: \w+", rf"\1, {_QUICK}", text)
    assert count == len(FLOWS)
    text += f"\nstore: {{url: {store.url}}}\n"
    text += f"api: {{port: {port}, tokens: [{{name: chaos, role: admin, token: '${{env:CHAOS_TOKEN}}'}}]}}\n"
    file.write_text(text, encoding="utf-8")
    with file.with_name(".env").open("a", encoding="utf-8") as secrets_file:
        secrets_file.write(f"\nCHAOS_TOKEN={token}\n")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
