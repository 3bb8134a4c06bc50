"""The stage: two simulators, a project as `hub init` makes it, and the hub at work on it in this process."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.api.serving import app_of
from hub.cli.demo.desk import Desk, desk
from hub.cli.demo.telling import Teller
from hub.cli.demo.truth import CRM_OBJECTS, ERP_OBJECTS, Snapshot
from hub.domain.delivery import IN_BOOKS
from hub.domain.errors import HubError
from hub.runtime.config import FILE, load
from hub.runtime.connectors import Installed
from hub.runtime.hub import Hub
from hub.runtime.operations import OPERATIONS
from hub.runtime.operations.operation import Call, perform, read_params
from hub.runtime.scaffold import scaffold
from hub.runtime.service import Service
from hub.store import ledger, runs

FLOWS = (
    "products",
    "customers-to-erp",
    "customers-to-crm",
    "orders-to-erp",
    "order-status-to-crm",
    "receipts-to-crm",
)

_LAG = 0.3  # seconds that reads of the CRM stay behind, so that late commits are seen
_OWED = ("pending", "working", "doubt")
_PATIENCE = 120.0  # seconds without any progress until the demo gives up
_LOOK = 0.1
_PAIR = "fxiaoke-kingdee"
_QUICK = "every: 1s, sweep: off, backoff: 300ms, backoff_limit: 3s, blocked_every: 3s, settles_within: 4s"
_CRM_LIMITS = {"path_calls": 5_000}  # the vendor's 100 calls in 20 s would make a long story of a short one
_WAIT = "[{{code: '{code}', kind: not_executed, retry: wait, wait: 1, hint: the demo has no ten seconds}}]"
_CRM_SETTINGS = {"lag": _LAG, "overlap": 10, "concurrency": 16, "errors": _WAIT.format(code=30004)}
_ERP_SETTINGS = {"overlap": 10, "sessions": 4, "errors": _WAIT.format(code=14)}


@dataclass(slots=True)
class Stage:
    """What the story is played on."""

    hub: Hub
    crm: Desk
    erp: Desk
    folder: Path
    api: str
    hooks: Mapping[str, str]
    teller: Teller
    opened: list[str] = field(default_factory=list)

    async def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        """Have the hub do what the command line and the API can ask for."""
        chosen = OPERATIONS.get(operation)
        done = await perform(chosen, Call(self.hub, "demo"), read_params(chosen, params))
        return done.model_dump(mode="json")

    async def open(self, *flows: str) -> None:
        for flow in flows:
            await self.ask("flows.resume", flow=flow, why="its chapter begins")
            self.opened.append(flow)

    async def counts(self, flow: str) -> dict[str, int]:
        """How many deliveries of the flow stand in which state."""
        return (await self.hub.counts()).get(flow, {})

    async def writes(self) -> int:
        """How many writes the hub has made in both systems, by their own journals."""
        return (await self.snapshot_of_writes()).writes

    async def snapshot_of_writes(self) -> Snapshot:
        return Snapshot({}, {}, await self.crm.journal(), await self.erp.journal())

    async def snapshot(self) -> Snapshot:
        """Ground truth of both systems as it is now."""
        crm = {name: await self.crm.records(name) for name in CRM_OBJECTS}
        erp = {name: await self.erp.records(name) for name in ERP_OBJECTS}
        return Snapshot(crm, erp, await self.crm.journal(), await self.erp.journal())

    async def brought(self, label: str, total: int, *flows: str) -> None:
        """Wait until these flows have captured that many records, and brought every one to rest."""

        def state(counts: Mapping[str, Mapping[str, int]]) -> tuple[int, bool]:
            books = [counts.get(flow, {}) for flow in flows]
            captured = sum(sum(book.values()) for book in books)
            owed = sum(book.get(name, 0) for book in books for name in _OWED)
            return captured - owed, captured >= total and owed == 0

        await self._until(label, total, state)

    async def caught_up(self, label: str, *flows: str) -> None:
        """Wait until these flows have read what has happened until now, and brought it to rest."""
        since = self.hub.store.clock.now() + int(_LAG * 1000) + 100
        begun = time.monotonic()
        while not await self._read_since(since, *flows):
            if time.monotonic() - begun > _PATIENCE:
                raise await self._restless(label)
            await asyncio.sleep(_LOOK)
        await self.brought(label, 0, *flows)

    async def _read_since(self, since: int, *flows: str) -> bool:
        latest = await runs.latest(self.hub.store)
        return all(
            flow in latest and latest[flow].started >= since and latest[flow].state == "finished" for flow in flows
        )

    async def quiet(self, label: str) -> None:
        """Wait until a whole round of reads brought nothing that had to be written, in any flow at work."""
        writes = -1
        while writes != (now := await self.writes()):
            writes = now
            await self.caught_up(label, *self.opened)

    async def until(self, label: str, flow: str, rest: Callable[[Mapping[str, int]], bool]) -> None:
        """Wait until the flow's deliveries rest in such states."""
        await self._until(label, 1, lambda counts: (0, rest(counts.get(flow, {}))))

    async def _until(
        self, label: str, total: int, state: Callable[[Mapping[str, Mapping[str, int]]], tuple[int, bool]]
    ) -> None:
        moved = time.monotonic()
        before: Mapping[str, Mapping[str, int]] = {}
        with self.teller.bar(label, total) as step:
            while True:
                counts = await self.hub.counts()
                done, over = state(counts)
                step(done)
                if over:
                    return
                if counts != before:
                    moved, before = time.monotonic(), counts
                if time.monotonic() - moved > _PATIENCE:
                    raise await self._restless(label)
                await asyncio.sleep(_LOOK)

    async def _restless(self, label: str) -> HubError:
        rest = [f"{flow}: {count} {state} ({reason})" for flow, state, reason, count, _ in await self._reasons()]
        return HubError(f"The demo does not come to rest: {label}.", hint="; ".join(rest) or "no flow has read since")

    async def _reasons(self) -> list[tuple[str, str, str | None, int, int]]:
        settled = ("done", "unchanged", "filtered")
        return [one for one in await ledger.reasons(self.hub.store) if one[1] not in settled]

    async def books(self) -> dict[str, dict[str, int]]:
        """The books of every flow: what was captured, and the states in which it stands."""
        counts = await self.hub.counts()
        found = {}
        for flow in FLOWS:
            book = counts.get(flow, {})
            found[flow] = {"captured": sum(book.values()), **{state.value: book.get(state, 0) for state in IN_BOOKS}}
        return found


@contextlib.asynccontextmanager
async def stage(folder: Path, teller: Teller) -> AsyncIterator[Stage]:
    """Everything up and running, every flow paused; ended with the block. Raises HubError."""
    limits = [f"{name}={value}" for name, value in _CRM_LIMITS.items()]
    async with (
        desk("fxiaoke", *(part for limit in limits for part in ("--with", limit))) as crm,
        desk("kingdee") as erp,
    ):
        installed = Installed.here()
        scaffold(folder, _PAIR, installed, simulated=True)
        _fit(folder / FILE, crm, erp)
        async with Hub.open(load(folder / FILE, installed), installed=installed) as hub:
            service = Service(hub)
            for flow in FLOWS:
                operation = OPERATIONS.get("flows.pause")
                params = read_params(operation, {"flow": flow, "why": "its chapter comes later"})
                await perform(operation, Call(hub, "demo"), params)
            async with service.running(app_of, port=0) as ready:
                yield Stage(hub, crm, erp, folder, ready.api, ready.hooks, teller)


def _fit(file: Path, crm: Desk, erp: Desk) -> None:
    """Turn the project towards these simulators, and make it quick: seconds where a company would take minutes."""
    text = file.read_text(encoding="utf-8")
    for base_url, found in (("http://127.0.0.1:9001", crm.base_url), ("http://127.0.0.1:9002", erp.base_url)):
        text = text.replace(base_url, found)
    text = re.sub(r"path_calls: \d+", f"path_calls: {crm.settings['path_calls']}", text)
    for connector, settings in (("fxiaoke", _CRM_SETTINGS), ("kingdee", _ERP_SETTINGS)):
        more = "".join(f"\n    {name}: {value}" for name, value in settings.items())
        text = text.replace(f"    connector: {connector}", f"    connector: {connector}{more}", 1)
    text = re.sub(r"(\{mapping: mappings/[\w-]+\.yaml), every: \w+", rf"\1, {_QUICK}", text)
    file.write_text(text, encoding="utf-8")
