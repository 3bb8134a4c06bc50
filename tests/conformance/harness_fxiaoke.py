"""Fxiaoke for the conformance suite."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from connectors.crm.fxiaoke.connector import FxiaokeConnector
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.crm.fxiaoke.simulator_events import Sealer
from connectors.crm.fxiaoke.simulator_tenant import Actor
from hub.connector.conformance import Harness
from hub.connector.contract import Manifest, WebhookRequest
from hub.connector.kit import Kit
from hub.connector.simulator import Simulator
from hub.domain.record import Fields

_ANOTHER_KEY = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
_ACCOUNT = "a" * 24
_PRODUCT = "b" * 24


class FxiaokeHarness(Harness):
    """Orders with a line each, in pages of ten."""

    name = "fxiaoke"
    object = "SalesOrderObj"
    key = "erp_no__c"
    page = 10
    write_op = "^create$"
    update_op = "^update$"
    read_op = "^(query|findSimple)$"
    get_op = "^(query|findSimple|get)$"
    find_op = "^(query|findSimple)$"
    lag = 5.0
    text = "ship_to_add"
    text_length = 300
    step_ops: ClassVar[Mapping[str, str]] = {"lock": "^lock$"}
    detail = ("SalesOrderProductObj", "order_id")

    @property
    def manifest(self) -> Manifest:
        return FxiaokeConnector.manifest

    def simulator(self) -> FxiaokeSimulator:
        simulator = FxiaokeSimulator()
        person = Actor("1001", person=True)
        simulator.tenant.seed("AccountObj", [{"_id": _ACCOUNT, "name": "武汉机械厂"}], person)
        simulator.tenant.seed("ProductObj", [{"_id": _PRODUCT, "name": "轴承", "price": "6.00"}], person)
        return simulator

    def connector(self, settings: Mapping[str, Any], kit: Kit) -> FxiaokeConnector:
        # By default a read goes back over five minutes on purpose, and the hub's ledger drops what it has; here that
        # would hide what a cursor brings of itself.
        chosen = {"page_size": self.page, "overlap": 0.5, **settings}
        return FxiaokeConnector(FxiaokeSettings(**chosen), kit)

    async def seed(self, simulator: Simulator, start: int, count: int) -> list[str]:
        lines = {"SalesOrderProductObj": [{"product_id": _PRODUCT, "quantity": "2", "sales_price": "600.25"}]}
        records = [{**self.sample(n), "_id": f"{n + 1:024x}", "details": lines} for n in range(start, start + count)]
        await simulator.bulk(self.object, records)
        return [str(record["_id"]) for record in records]

    async def edit(self, simulator: Simulator, id: str, n: int) -> None:
        await simulator.change({"op": "update", "object": self.object, "id": id, "fields": self.changed(n)})

    async def remove(self, simulator: Simulator, id: str) -> None:
        await simulator.change({"op": "delete", "object": self.object, "id": id})

    def sample(self, n: int) -> Fields:
        return {
            "account_id": _ACCOUNT,
            "order_time": 1_767_110_400_000,
            "order_amount": "1200.50",
            "order_status": "7",
            "erp_no__c": f"XSDD{n:06d}",
            "ship_to_add": f"解放大道{n}号",
            "owner": ["1001"],
        }

    def changed(self, n: int) -> Fields:
        return {"ship_to_add": f"中山路{n}号", "order_amount": f"{n}.25"}

    def invalid(self, n: int) -> Fields:
        return {**self.sample(n), "order_status": "no such status"}

    def wrong(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "app_secret": "not-the-secret-of-this-app"}

    def secrets(self, simulator: Simulator) -> Sequence[str]:
        assert isinstance(simulator, FxiaokeSimulator)
        account = simulator.account
        own = [account.app_secret, account.permanent_code, simulator.sealer.aes_key, "not-the-secret-of-this-app"]
        return [*own, *simulator.gate.tokens()]

    def webhook(self, simulator: Simulator, object: str, id: str, *, at: int) -> WebhookRequest:
        assert isinstance(simulator, FxiaokeSimulator)
        body = simulator.sealer.sealed(simulator.event("update", object, id), at=at)
        return WebhookRequest("POST", "/hooks/crm", {}, {"content-type": "application/json"}, body, at)

    def forgeries(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        sent = json.loads(request.body)
        stranger = Sealer("demoea", _ANOTHER_KEY)
        event = {"apiName": self.object, "dataId": "2", "eventType": "update", "messageId": sent["messageId"]}
        tampered: list[dict[str, Any]] = [
            {**sent, "signature": "0" * 40},
            {**sent, "signature": ""},
            {name: value for name, value in sent.items() if name != "signature"},
            {**sent, "nonce": "another"},
            {**sent, "messageId": "another"},
            {**sent, "retryTimes": 1},
            {**sent, "enterpriseAccount": "another"},
            {**sent, "timestamp": sent["timestamp"] + 1},
            {**sent, "encryptedContent": stranger.encrypt(json.dumps(event))},
        ]
        sealed_by_stranger = stranger.sealed(event, at=sent["timestamp"])
        return [
            replace(request, body=sealed_by_stranger),
            *(replace(request, body=json.dumps(body).encode()) for body in tampered),
        ]


def harness() -> FxiaokeHarness:
    return FxiaokeHarness()
