"""The conformance suite's hands on Kingdee: customers, which are created, submitted and audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from connectors.erp.kingdee.connector import KingdeeConnector
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.simulator import KingdeeSimulator
from hub.connector.conformance import Harness
from hub.connector.contract import Connector, Manifest
from hub.connector.kit import Kit
from hub.connector.simulator import Simulator
from hub.domain.record import Fields


class KingdeeHarness(Harness):
    name = "kingdee"
    object = "BD_Customer"
    key = "FNumber"
    text = "FADDRESS"
    text_length = 255
    page = 7
    lag = 600.0
    write_op = "^BatchSave$"
    read_op = "^ExecuteBillQuery$"
    get_op = "^ExecuteBillQuery$"
    find_op = "^ExecuteBillQuery$"
    step_ops: ClassVar[Mapping[str, str]] = {"submit": "^Submit$", "audit": "^Audit$"}

    @property
    def manifest(self) -> Manifest:
        return KingdeeConnector.manifest

    def simulator(self) -> KingdeeSimulator:
        return KingdeeSimulator()

    def connector(self, settings: Mapping[str, Any], kit: Kit) -> Connector:
        return KingdeeConnector(
            KingdeeSettings.model_validate({**settings, "page_size": self.page, "sessions": 1}), kit
        )

    async def seed(self, simulator: Simulator, start: int, count: int) -> list[str]:
        before = {str(row["FCUSTID"]) for row in simulator.table(self.object)}
        records = [{**self.sample(n), "FDocumentStatus": "A"} for n in range(start, start + count)]
        await simulator.bulk(self.object, records)
        return [id for row in simulator.table(self.object) if (id := str(row["FCUSTID"])) not in before]

    async def edit(self, simulator: Simulator, id: str, n: int) -> None:
        await simulator.change({"op": "update", "object": self.object, "id": id, "fields": self.changed(n)})

    async def remove(self, simulator: Simulator, id: str) -> None:
        await simulator.change({"op": "delete", "object": self.object, "id": id})

    def sample(self, n: int) -> Fields:
        return {
            "FNumber": f"C{n:06d}",
            "FName": f"客户 {n}",
            "FCreateOrgId.FNumber": "100",
            "FUseOrgId.FNumber": "100",
            "FTRADINGCURRID.FNumber": "PRE001",
            "FADDRESS": f"人民路 {n} 号",
            "F_HUB_CREDITLIMIT": "1200.50",
        }

    def changed(self, n: int) -> Fields:
        return {"FADDRESS": f"解放路 {n} 号"}

    def invalid(self, n: int) -> Fields:
        return {**self.sample(n), "FName": None}

    def wrong(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "app_secret": "ffffffffffffffffffffffffffffffff"}

    def secrets(self, simulator: Simulator) -> Sequence[str]:
        assert isinstance(simulator, KingdeeSimulator)
        account = simulator.door.account
        return [account.app_secret, account.password, *simulator.door.sessions]


def harness() -> Harness:
    return KingdeeHarness()
