"""The stage of a scene: both simulators on real sockets, a project, hub processes, one time for all, and evidence."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.erp.kingdee.simulator import KingdeeSimulator
from hub.connector.faults import Fault
from hub.connector.serving import serve
from hub.connector.simulator import Simulator
from hub.runtime.config import FILE
from hub.runtime.connectors import Installed
from hub.runtime.scaffold import scaffold
from tests.chaos.checker import Figures, check
from tests.chaos.evidence import Evidence, Row
from tests.chaos.twin_hub import HubProcess, Order, SharedClock

ORG = {"FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100"}
CUSTOMERS = ("customers-to-erp", "customers-to-crm")
ORDERS = ("orders-to-erp", "order-status-to-crm")
SETTLED = 61.0  # seconds after which a customer that was sent without an answer is there, or never will be


@dataclass(slots=True)
class Stage:
    """Everything that a scene is played with. `twin` is what its hubs lack."""

    folder: Path
    crm: FxiaokeSimulator
    erp: KingdeeSimulator
    clock: SharedClock
    twin: str | None
    changes: int = 0
    people: list[Row] = field(default_factory=list)
    _hubs: list[HubProcess] = field(default_factory=list)

    # -- the hub ---------------------------------------------------------------------------------------------------

    async def hub(self, *, failpoint: str | None = None, alone: bool = True) -> HubProcess:
        """Start a hub process; `alone`: nobody else works on the store, so that old leases are void."""
        hub = HubProcess(Order(self.folder, self.folder / "clock", self.twin, failpoint))
        self._hubs.append(hub)
        if alone:
            await hub.do("start")
        return hub

    async def round(self, hub: HubProcess, *flows: str) -> None:
        """Read and deliver these flows, a second later than what happened before."""
        for flow in flows:
            self.later(1)
            await hub.do("read", flow=flow)
            await hub.do("drain", flow=flow)

    async def settle(self, hub: HubProcess, *flows: str, rounds: int = 3) -> None:
        """Until both systems have heard of each other."""
        for _ in range(rounds):
            await self.round(hub, *flows)

    def later(self, seconds: float) -> None:
        """Move the time of the hub and of both systems."""
        self.clock.advance(seconds)
        self.crm.clock.advance(seconds)
        self.erp.clock.advance(seconds)

    # -- the two systems -------------------------------------------------------------------------------------------

    async def person(self, side: str, op: str, object: str, id: str | None = None, **more: Any) -> str:
        """A person's edit at the screen; returns the record's id."""
        done = await self._system(side).change({"op": op, "object": object, "id": id, **more})
        self.changes += 1
        at = self.clock.now()
        fields = more.get("fields")
        self.people.append({"side": side, "op": op, "object": object, "id": done["id"], "fields": fields, "at": at})
        return str(done["id"])

    def strike(self, side: str, kind: str, **more: Any) -> None:
        """Arm a fault of one system."""
        self._system(side).faults.arm(Fault.model_validate({"kind": kind, **more}))

    def calm(self) -> None:
        """No more faults."""
        self.crm.faults.clear()
        self.erp.faults.clear()

    def _system(self, side: str) -> Simulator:
        return self.crm if side == "crm" else self.erp

    # -- what came of it -------------------------------------------------------------------------------------------

    async def figures(self, hub: HubProcess, **expected: frozenset[tuple[str, str]]) -> Figures:
        """What the checker says of the scene; `expected` as in Evidence."""
        evidence = Evidence(
            crm_records=_records(self.crm),
            erp_records=_records(self.erp),
            crm_journal=[entry.json() for entry in self.crm.journal],
            erp_journal=[entry.json() for entry in self.erp.journal],
            identities=await hub.do("rows", table="identity"),
            deliveries=await hub.do("rows", table="delivery"),
            attempts=await hub.do("rows", table="attempt"),
            changes=self.changes,
            people=self.people,
            **expected,
        )
        return check(evidence)

    async def close(self) -> None:
        for hub in self._hubs:
            await hub.end()


def _records(simulator: Simulator) -> dict[object, dict[Any, Row]]:
    return {
        name: {simulator.id_of(name, row): row for row in table}
        for name, table in simulator.tables.items()
        if name not in ("PersonnelObj", "DepartmentObj")
    }


@contextlib.asynccontextmanager
async def stage(
    folder: Path,
    twin: str | None,
    *,
    store: str | None = None,
    crm_settings: Sequence[str] = (),
    erp_settings: Sequence[str] = (),
) -> AsyncIterator[Stage]:
    """Two simulators and a project between them. `store` is a URL; settings are lines of hub.yaml."""
    crm, erp = FxiaokeSimulator(path_calls=5000), KingdeeSimulator()
    async with serve(crm), serve(erp):
        scaffold(folder, "fxiaoke-kingdee", Installed.here(), simulated=True)
        file = folder / FILE
        text = file.read_text(encoding="utf-8")
        text = text.replace("http://127.0.0.1:9001", crm.base_url).replace("http://127.0.0.1:9002", erp.base_url)
        text = text.replace("path_calls: 100", "path_calls: 5000")
        for connector, lines in (("fxiaoke", ("lag: 0", *crm_settings)), ("kingdee", erp_settings)):
            more = "".join(f"\n    {line}" for line in lines)
            text = text.replace(f"    connector: {connector}", f"    connector: {connector}{more}", 1)
        if store is not None:
            text += f"\nstore: {store}\n"
        file.write_text(text, encoding="utf-8")
        clock = SharedClock(folder / "clock")
        playing = Stage(folder, crm, erp, clock, twin)
        try:
            yield playing
        finally:
            await playing.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# -- records that scenes use ---------------------------------------------------------------------------------------


def account(serial: int, **fields: Any) -> dict[str, Any]:
    """A salesperson's customer."""
    return {
        "name": f"上海华瑞自动化有限公司{serial}",
        "tax_no__c": f"91310000MA1K{serial:05d}X",
        "tel": f"021-555500{serial:02d}",
        "address": f"张江路{serial}号",
        **fields,
    }


def material(serial: int) -> dict[str, Any]:
    """Something to sell."""
    return {
        "FNumber": f"WL{serial:05d}",
        "FName": f"伺服电机{serial}",
        "FSpecification": "750W",
        "FBaseUnitId.FNumber": "Pcs",
        "F_HUB_PRICE": "1200.00",
        **ORG,
    }


async def product(on: Stage, hub: HubProcess, serial: int = 1) -> str:
    """Have a material, and the hub bring it to the CRM; returns the product's id there."""
    await on.erp.bulk("BD_MATERIAL", [material(serial)])
    await on.settle(hub, "products", rounds=1)
    return str(next(row["_id"] for row in on.crm.table("ProductObj") if row["product_code"] == f"WL{serial:05d}"))


def sale(product_id: str, quantity: int = 2) -> dict[str, Any]:
    """A line of an order."""
    return {"product_id": product_id, "quantity": str(quantity), "subtotal": f"{quantity * 1000}.00"}


async def sell(on: Stage, account_id: str, *lines: dict[str, Any], **fields: Any) -> str:
    """A salesperson writes an order; returns its id."""
    order = {"account_id": account_id, "order_time": 1_767_628_800_000, "order_status": "7", "remark": "加急", **fields}
    details = {"SalesOrderProductObj": list(lines)}
    return await on.person("crm", "create", "SalesOrderObj", fields=order, details=details)
