"""The toy at the bench: proves that the suite passes what is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from hub.connector.conformance import Harness
from hub.connector.contract import Connector, Manifest, WebhookRequest
from hub.connector.kit import Kit
from hub.connector.simulator import Simulator
from hub.domain.record import Fields
from tests.conformance.toy.connector import ToyConnector, ToySettings
from tests.conformance.toy.simulator import ToySimulator


class ToyHarness(Harness):
    name = "toy"
    object = "note"
    key = "code"
    text = "body"
    text_length = 40
    page = 5
    lag = 1.0
    write_op = "^save$"
    read_op = "^list$"
    get_op = "^get$"
    find_op = "^find$"
    step_ops: ClassVar[Mapping[str, str]] = {"publish": "^publish$"}
    detail = ("line", "note")
    file = "paper"
    upload_op = "^upload$"
    download_op = "^file$"

    @property
    def manifest(self) -> Manifest:
        return ToyConnector.manifest

    def simulator(self) -> ToySimulator:
        return ToySimulator()

    def connector(self, settings: Mapping[str, Any], kit: Kit) -> Connector:
        return ToyConnector(ToySettings.model_validate(settings), kit)

    async def seed(self, simulator: Simulator, start: int, count: int) -> list[str]:
        toy = _toy(simulator)
        return [toy.put(None, self.sample(n), actor="seed") for n in range(start, start + count)]

    async def edit(self, simulator: Simulator, id: str, n: int) -> None:
        await simulator.change({"op": "update", "object": "note", "id": id, "fields": self.changed(n)})

    async def remove(self, simulator: Simulator, id: str) -> None:
        await simulator.change({"op": "delete", "object": "note", "id": id})

    def sample(self, n: int) -> Fields:
        return {"code": f"code-{n:05d}", "body": f"text {n}", "amount": "12.50"}

    def changed(self, n: int) -> Fields:
        return {"body": f"changed {n}"}

    def invalid(self, n: int) -> Fields:
        return {**self.sample(n), "code": None}

    def wrong(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "secret": "another secret"}

    def secrets(self, simulator: Simulator) -> Sequence[str]:
        toy = _toy(simulator)
        return [toy.secret, toy.hook_secret, "another secret", *toy.issued]

    def webhook(self, simulator: Simulator, object: str, id: str, *, at: int) -> WebhookRequest:
        body, headers = _toy(simulator).hook(id, at)
        return WebhookRequest("POST", "/hook", {}, headers, body, at)

    def forgeries(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        return [
            replace(request, body=request.body.replace(b'"note"', b'"mote"')),
            replace(request, headers={**request.headers, "x-toy-sign": "0" * 64}),
            replace(request, headers={**request.headers, "x-toy-at": str(int(request.headers["x-toy-at"]) + 1)}),
        ]


def _toy(simulator: Simulator) -> ToySimulator:
    assert isinstance(simulator, ToySimulator)
    return simulator


def harness() -> Harness:
    return ToyHarness()
