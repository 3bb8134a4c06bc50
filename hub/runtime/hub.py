"""An open hub: configuration, store, project and engine together; what operations are done on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from hub.domain.clock import Clock, SystemClock
from hub.domain.errors import HubError, said_by
from hub.runtime import turns
from hub.runtime.config import Config
from hub.runtime.connectors import Installed
from hub.runtime.project import Project
from hub.runtime.signals import Signals
from hub.runtime.snapshots import StoredSnapshots
from hub.store import audit, deliveries, systems
from hub.store import flows as flow_rows
from hub.store.engine import Store

if TYPE_CHECKING:
    from hub.sync.engine import Engine


class Hub:
    """Made by `open`. The engine, and with it every schema and mapping, is made when it is first asked for."""

    def __init__(self, config: Config, store: Store, project: Project) -> None:
        self.config = config
        self.store = store
        self.project = project
        self.signals = Signals()
        self.serving = False  # a service is at work on it, in this process
        self._engine: Engine | None = None
        self._making = asyncio.Lock()
        self._proven: set[str] = set()
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, config: Config, *, installed: Installed | None = None, clock: Clock | None = None
    ) -> AsyncIterator[Hub]:
        """The hub of this configuration; closed when the block ends. Raises StoreError."""
        store = await Store.open(config.store_url, clock=clock or SystemClock())
        try:
            # The store's clock for all: on PostgreSQL it is the database's, whatever machine this is.
            project = Project(config, installed, clock=store.clock, snapshots=StoredSnapshots(store), store=store)
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
                started = {name: await flow_rows.started(self.store, name) for name in self.config.flows}
                flows = await self.project.flows(started)
                self._engine = Engine(self.store, flows, self.store.clock)
            return self._engine

    async def working(self, flow: str) -> Engine:
        """The engine, once this flow's systems have proven who they are. Raises NotFound with the nearest name."""
        self.config.flow(flow)
        await self.prove(flow)
        return await self.engine()

    @asynccontextmanager
    async def reading(self, flow: str, *, claimed: bool = False) -> AsyncIterator[None]:
        """Held while a flow's source is read: a flow never overlaps with itself, in no process of a fleet.

        `claimed`: its schedule is held already. Raises StoreError.
        """
        if claimed or self.store.dialect == "sqlite":
            async with self._reading[flow]:
                yield
            return
        # The schedule first, as its own run has it: else that run, with the schedule in hand, would wait for the one
        # who waits for the schedule.
        async with turns.held(self.store, flow), self._reading[flow]:
            yield

    async def paused(self, flow: str) -> bool:
        """Whether a person, or the hub itself, has paused the flow."""
        return flow in await flow_rows.paused(self.store)

    async def counts(self) -> dict[str, dict[str, int]]:
        """How many deliveries each flow has in each state."""
        return await deliveries.counts(self.store)

    async def prove(self, flow: str) -> None:
        """Refuse a flow whose system leads to another tenant than the one the store knows by that name; asked once.

        Raises WrongTenant, Unreachable, CredentialsRefused.
        """
        spec = self.project.mappings()[flow]
        for name in (spec.source.system, spec.target.system):
            if name not in self._proven:
                try:
                    mark = await self.project.connector(name).fingerprint()
                except HubError as error:
                    raise said_by(name, error) from None
                await systems.prove(self.store, name, self.config.systems[name].connector, mark)
                self._proven.add(name)

    async def note(self, who: str, act: str, subject: str, detail: dict[str, Any], why: str | None) -> None:
        """Write down who did what and why."""
        async with self.store.begin() as conn:
            await audit.note(self.store, conn, who=who, act=act, subject=subject, detail=detail, why=why)
