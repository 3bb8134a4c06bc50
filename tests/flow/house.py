"""A CRM, two ERPs and a hub in this process, over real sockets: what can go wrong is made to go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.erp.kingdee.simulator import KingdeeSimulator
from hub.api.serving import app_of
from hub.connector.breaker import Breaker
from hub.connector.faults import Fault
from hub.connector.serving import serve
from hub.domain.clock import Clock
from hub.runtime.config import FILE, load
from hub.runtime.connectors import Installed
from hub.runtime.hub import Hub
from hub.runtime.operations import OPERATIONS
from hub.runtime.operations.operation import Call, perform, read_params
from hub.runtime.service import Service
from hub.store import ledger

_MAPPING = """
mapping: {flow}
entity: {entity}
source: {{system: crm, object: AccountObj}}
target: {{system: {target}, object: BD_Customer}}
title: name
match: [[FTAXREGISTERCODE]]
fields:
  FName: name
  FTAXREGISTERCODE: tax_no__c
  FTEL: tel
  FCreateOrgId.FNumber: {{const: "100"}}
  FUseOrgId.FNumber: {{const: "100"}}
  FTRADINGCURRID.FNumber: {{const: PRE001}}
"""

_QUICK = "every: 1s, sweep: off, backoff: 300ms, backoff_limit: 2s, settles_within: 2s, webhooks: false"


@dataclass(slots=True)
class House:
    """The house: `crm` is the source of both flows, `a` and `b` their targets."""

    folder: Path
    crm: FxiaokeSimulator
    erps: dict[str, KingdeeSimulator]
    crm_limits: str = ""
    store_url: str = "sqlite:///hub.db"
    flow_settings: str = ""
    more: str = ""
    store_more: str = ""
    erp_more: str = ""
    written: bool = False  # a test has changed what `write` wrote, and keeps it

    def write(self) -> None:
        """`hub.yaml` and the mappings as the tests want them."""
        systems = [f"  crm: {_settings('fxiaoke', self.crm, 'lag: 0.1, overlap: 5' + self.crm_limits)}"]
        flows = []
        for name, erp in self.erps.items():
            systems.append(f"  erp-{name}: {_settings('kingdee', erp, 'overlap: 5, timeout: 60' + self.erp_more)}")
            flow = f"to-{name}"
            mapping = _MAPPING.format(flow=flow, target=f"erp-{name}", entity="customer")
            (self.folder / f"{flow}.yaml").write_text(mapping, encoding="utf-8")
            flows.append(f"  {flow}: {{mapping: {flow}.yaml, {_QUICK}{self.flow_settings}}}")
        lines = [f"store: {{url: '{self.store_url}'{self.store_more}}}", "api: {port: 0}", self.more]
        text = "\n".join([*lines, "systems:", *systems, "flows:", *flows, ""])
        (self.folder / FILE).write_text(text, encoding="utf-8")

    @contextlib.asynccontextmanager
    async def open(self, clock: Clock | None = None) -> AsyncIterator[Hub]:
        """The hub, open and not at work."""
        if not self.written:
            self.write()
        installed = Installed.here()
        async with Hub.open(load(self.folder / FILE, installed), installed=installed, clock=clock) as hub:
            yield hub

    @contextlib.asynccontextmanager
    async def running(self, clock: Clock | None = None) -> AsyncIterator[Service]:
        """The hub at work."""
        async with self.open(clock) as hub:
            service = Service(hub)
            async with service.running(app_of):
                yield service

    async def sell_to(self, count: int, begin: int = 0) -> None:
        """So many new customers in the CRM."""
        for at in range(begin, begin + count):
            fields = {"name": f"客户{at:04d}", "tax_no__c": f"T{at:04d}", "tel": "021-1", "owner": ["1000"]}
            await self.crm.change({"op": "create", "object": "AccountObj", "fields": fields})

    def customers(self, erp: str) -> list[str]:
        """Tax numbers in an ERP, in order; one that stands twice was made twice."""
        return sorted(str(row["FTAXREGISTERCODE"]) for row in self.erps[erp].table("BD_Customer"))

    @contextlib.contextmanager
    def held(self, erp: str) -> Iterator[None]:
        """An ERP that takes every call and answers none of them before the block ends."""
        simulator, free = self.erps[erp], asyncio.Event()
        real = simulator._answer

        async def answer(scope: Any, body: bytes) -> Any:
            await free.wait()
            return await real(scope, body)

        simulator._answer = answer  # type: ignore[method-assign]
        try:
            yield
        finally:
            free.set()
            simulator._answer = real  # type: ignore[method-assign]

    def arm(self, erp: str, **fault: Any) -> None:
        self.erps[erp].faults.arm(Fault.model_validate({"times": None, **fault}))


@contextlib.asynccontextmanager
async def house(folder: Path, *, erps: str = "ab", **how: str) -> AsyncIterator[House]:
    """The simulators, served while the block runs."""
    async with contextlib.AsyncExitStack() as stack:
        crm = FxiaokeSimulator()
        await stack.enter_async_context(serve(crm))
        made = {}
        for name in erps:
            made[name] = KingdeeSimulator()
            await stack.enter_async_context(serve(made[name]))
        yield House(folder, crm, made, **how)


def _settings(connector: str, simulator: Any, more: str) -> str:
    given = {"connector": connector, **simulator.settings()}
    listed = ", ".join(f"{name}: {_text(value)}" for name, value in given.items())
    return f"{{{listed}, {more}}}"


def _text(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


async def until(what: Callable[[], Any], *, seconds: float = 180.0, why: Callable[[], Any] | None = None) -> Any:
    """Wait for the thing itself."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"it did not come about in {seconds:g} s: {why() if why else ''}")


async def ask(hub: Hub, name: str, **params: Any) -> Any:
    """Have an operation done as a person does it."""
    operation = OPERATIONS.get(name)
    result = await perform(operation, Call(hub, "tester"), read_params(operation, params))
    return result.model_dump(mode="json")


def hasten(hub: Hub, system: str) -> Breaker:
    """The system's breaker, with trials every half second: a test has no minutes."""
    breaker = hub.project.system(system).breaker
    breaker._cooldown = breaker._longest = breaker._pause = 0.5
    return breaker


async def states(hub: Hub, flow: str) -> dict[str, int]:
    """How many deliveries of a flow are in which state."""
    return (await hub.counts()).get(flow, {})


async def lines(hub: Hub, flow: str) -> list[ledger.Line]:
    return await ledger.lines(hub.store, ledger.Filter(flow=flow), limit=1000)
