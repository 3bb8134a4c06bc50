"""An open hub: configuration, store, project and engine together; what operations are done on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import insert, select

from hub.domain.clock import Clock, SystemClock
from hub.domain.errors import WrongTenant
from hub.runtime.config import Config
from hub.runtime.connectors import Installed
from hub.runtime.project import Project
from hub.runtime.signals import Signals
from hub.runtime.snapshots import StoredSnapshots
from hub.store import flows as flow_rows
from hub.store.engine import Store
from hub.store.tables import audit, system

if TYPE_CHECKING:
    from hub.sync.engine import Engine
    from hub.sync.flow import Flow


class Hub:
    """Made by `open`. The engine, and with it every schema and mapping, is made when it is first asked for."""

    def __init__(self, config: Config, store: Store, project: Project) -> None:
        self.config = config
        self.store = store
        self.project = project
        self.signals = Signals()
        self._engine: Engine | None = None
        self._making = asyncio.Lock()
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, config: Config, *, installed: Installed | None = None, clock: Clock | None = None
    ) -> AsyncIterator[Hub]:
        """The hub of this configuration; closed when the block ends. Raises StoreError."""
        clock = clock or SystemClock()
        store = await Store.open(config.store_url, clock=clock)
        try:
            project = Project(config, installed, clock=clock, snapshots=StoredSnapshots(store))
            try:
                yield cls(config, store, project)
            finally:
                await project.aclose()
        finally:
            await store.close()

    async def engine(self) -> Engine:
        """The engine over all flows. Raises InvalidInput when mappings don't fit, WrongTenant, Unreachable."""
        from hub.sync.engine import Engine

        async with self._making:
            if self._engine is None:
                self.project.mappings()
                await self.prove_tenants()
                started = {name: await flow_rows.started(self.store, name) for name in self.config.flows}
                flows = await self.project.flows(started)
                self._engine = Engine(self.store, flows, self.store.clock)
            return self._engine

    async def flow(self, name: str) -> Flow:
        """Raises NotFound with the nearest name."""
        self.config.flow(name)
        return (await self.engine()).flows[name]

    def reading(self, flow: str) -> asyncio.Lock:
        """Held while a flow's source is read: a flow never overlaps with itself."""
        return self._reading[flow]

    async def prove_tenants(self) -> None:
        """Refuse a system whose tenant is not the one that the store knows by that name. Raises WrongTenant."""
        async with self.store.read() as conn:
            known = dict((await conn.execute(select(system.c.name, system.c.fingerprint))).tuples().all())
        fresh = []
        for name, chosen in self.config.systems.items():
            print_ = await self.project.connector(name).fingerprint()
            if name not in known:
                row = {"name": name, "connector": chosen.connector, "fingerprint": print_}
                fresh.append({**row, "first_seen": self.store.clock.now()})
            elif known[name] != print_:
                raise WrongTenant(
                    f"`{name}` is another tenant than before: known as {known[name]}, now {print_}.",
                    hint="give the new tenant a name of its own in hub.yaml, or correct its settings",
                )
        if fresh:
            async with self.store.begin() as conn:
                await conn.execute(insert(system), fresh)

    async def note(self, who: str, act: str, subject: str, detail: dict[str, Any], why: str | None) -> None:
        """Write down who did what and why."""
        row = {
            "id": self.store.ids.next(),
            "at": self.store.clock.now(),
            "who": who,
            "act": act,
            "subject": subject,
            "detail": orjson.dumps(detail).decode(),
            "why": why,
        }
        async with self.store.begin() as conn:
            await conn.execute(insert(audit).values(row))
