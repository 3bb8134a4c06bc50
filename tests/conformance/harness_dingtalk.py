"""DingTalk for the conformance suite: approvals of one form, the objects that happen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.dingtalk.connector import DingTalkConnector
from connectors.dingtalk.settings import DingTalkSettings
from connectors.dingtalk.simulator import DingTalkSimulator
from connectors.dingtalk.simulator_push import Sealer
from hub.connector.conformance import Harness
from hub.connector.contract import Manifest, WebhookRequest
from hub.connector.kit import Kit
from hub.connector.simulator import Simulator
from hub.domain.record import Fields

_ANOTHER_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


class DingTalkHarness(Harness):
    """Approvals of the sample form `discount`, in pages of twenty, the vendor's most."""

    name = "dingtalk"
    object = "approval:discount"
    key = "报价单号"
    page = 20
    write_op = "^start$"
    read_op = "^(instance_ids|instance)$"
    get_op = "^instance$"
    find_op = "^(instance_ids|instance)$"
    lag = 5.0
    text = "申请原因"
    text_length = 65535
    file = "附件"
    upload_op = "^commit_file$"
    download_op = "^download_file$"

    @property
    def manifest(self) -> Manifest:
        return DingTalkConnector.manifest

    def simulator(self) -> DingTalkSimulator:
        return DingTalkSimulator()

    def connector(self, settings: Mapping[str, Any], kit: Kit) -> DingTalkConnector:
        # Every poll looks at every running approval, which costs calls that a real tenant would rather keep.
        return DingTalkConnector(DingTalkSettings(**{"running_check": 0, **settings}), kit)

    async def seed(self, simulator: Simulator, start: int, count: int) -> list[str]:
        assert isinstance(simulator, DingTalkSimulator)
        known = {row["id"] for row in simulator.table(self.object)}
        now = simulator.clock.now()
        records = [{**_body(self.sample(start + n)), "at": now + n * 50} for n in range(count)]
        simulator.clock.advance(count * 0.05)
        await simulator.bulk(self.object, records)
        rows = [row for row in simulator.table(self.object) if row["id"] not in known]
        return [row["id"] for row in sorted(rows, key=lambda row: row["createTime"])]

    async def edit(self, simulator: Simulator, id: str, n: int) -> None:
        change = {"op": "edit", "object": self.object, "id": id, "fields": self.changed(n), "actor": "manager01"}
        await simulator.change(change)

    async def remove(self, simulator: Simulator, id: str) -> None:
        await simulator.change({"op": "delete", "object": self.object, "id": id})

    def sample(self, n: int) -> Fields:
        return {
            "originator": "zhangwei",
            "originator_dept": "101",
            "报价单号": f"QT{n:06d}",
            "客户名称": "武汉机械厂",
            "报价金额": "1200.50",
            "付款方式": "账期",
            "报价日期": "2026-01-06",
            "申请原因": f"大客户，第{n}单",
        }

    def changed(self, n: int) -> Fields:
        return {"申请原因": f"改：{n}"}

    def invalid(self, n: int) -> Fields:
        return {**self.sample(n), "付款方式": "白条"}

    def wrong(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "client_secret": "not-the-secret-of-this-app"}

    def secrets(self, simulator: Simulator) -> Sequence[str]:
        assert isinstance(simulator, DingTalkSimulator)
        own = [simulator.gate.client_secret, simulator.sealer.token, simulator.sealer.aes_key]
        robots = [part for robot in simulator.messages.robots.values() for part in (robot.token, robot.secret or "")]
        return [*own, *robots, *simulator.gate.issued, *simulator.streams.tickets(), "not-the-secret-of-this-app"]

    def webhook(self, simulator: Simulator, object: str, id: str, *, at: int) -> WebhookRequest:
        assert isinstance(simulator, DingTalkSimulator)
        event = {
            "EventType": "bpms_instance_change",
            "EventTime": at,
            "CorpId": simulator.gate.corp_id,
            "eventId": f"event-{id}",
            "processInstanceId": id,
            "processCode": "PROC-DISCOUNT-0001",
            "type": "finish",
            "result": "agree",
        }
        return _pushed(simulator.sealer, event, at)

    def forgeries(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        query = dict(request.query)
        event = {"EventType": "bpms_instance_change", "processInstanceId": "1", "processCode": "PROC-DISCOUNT-0001"}
        at = int(query["timestamp"])
        stranger = Sealer("hubDingTok1", _ANOTHER_KEY, "dinghubapp0000001")
        another_owner = Sealer("hubDingTok1", "zyxwvutsrqponmlkjihgfedcba9876543210ZYXWVUQ", "dinganotherapp001")
        another_token = Sealer("anotherTok1", "zyxwvutsrqponmlkjihgfedcba9876543210ZYXWVUQ", "dinghubapp0000001")
        unsigned = {name: value for name, value in query.items() if "signature" not in name}
        tampered: list[dict[str, str]] = [
            {**query, "msg_signature": "0" * 40},
            {**query, "msg_signature": "é" * 40},
            unsigned,
            {**query, "nonce": "another"},
            {**query, "timestamp": str(at + 1)},
            {**query, "timestamp": ""},
        ]
        other_body = json.dumps({"encrypt": stranger.seal(json.dumps(event))}).encode()
        return [
            *(_pushed(sealer, event, at) for sealer in (stranger, another_owner, another_token)),
            *(replace(request, query=changed) for changed in tampered),
            replace(request, body=other_body),
        ]

    def made(self, simulator: Simulator, n: int) -> int:
        assert isinstance(simulator, DingTalkSimulator)
        wanted = self.sample(n)[self.key]
        return sum(
            1
            for entry in simulator.journal
            if entry.op == "create"
            and entry.actor == "api"
            and entry.after is not None
            and any(part["name"] == self.key and part["value"] == wanted for part in entry.after.get("form", ()))
        )


def _body(sample: Fields) -> dict[str, Any]:
    """A sample as a person would fill the form."""
    values = [{"name": name, "value": value} for name, value in sample.items() if not name.isascii()]
    return {"originatorUserId": sample["originator"], "deptId": 101, "formComponentValues": values}


def _pushed(sealer: Sealer, event: Mapping[str, Any], at: int) -> WebhookRequest:
    sealed = sealer.seal(json.dumps(event))
    body = json.dumps({"encrypt": sealed}).encode()
    return WebhookRequest("POST", "/hooks/dingtalk", sealer.query(sealed, at), {}, body, at)


def harness() -> DingTalkHarness:
    return DingTalkHarness()
