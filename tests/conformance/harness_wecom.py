"""WeCom for the conformance suite: approvals, which are started, watched and never changed through the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from connectors.wecom.connector import WeComConnector
from connectors.wecom.settings import WeComSettings
from connectors.wecom.simulator import WeComSimulator
from connectors.wecom.simulator_seal import Seal
from hub.connector.conformance import Harness
from hub.connector.contract import Manifest, WebhookRequest
from hub.connector.kit import Kit
from hub.connector.simulator import Simulator
from hub.domain.record import Fields

_URL = "http://hub.test/hooks/wecom"
_ANOTHER_KEY = "ZYXWVUTSRQPONMLKJIHGFEDCBA9876543210zyxwvuU"


class WeComHarness(Harness):
    """Discount approvals, in pages of ten."""

    name = "wecom"
    object = "approval:discount"
    key = "报价单号"
    page = 10
    write_op = "^oa/applyevent$"
    read_op = "^oa/getapproval(info|detail)$"
    get_op = "^oa/getapprovaldetail$"
    find_op = "^oa/getapproval(info|detail)$"
    lag = 6.0
    text = "说明"
    text_length = 300
    file = "附件"
    upload_op = "^media/upload$"
    download_op = "^media/get$"

    @property
    def manifest(self) -> Manifest:
        return WeComConnector.manifest

    def simulator(self) -> WeComSimulator:
        return WeComSimulator()

    def connector(self, settings: Mapping[str, Any], kit: Kit) -> WeComConnector:
        # By default a read goes back over a minute on purpose, and the hub's ledger drops what it has; here that would
        # hide what a cursor brings of itself.
        return WeComConnector(WeComSettings(**{"page_size": self.page, "overlap": 1.0, **settings}), kit)

    async def seed(self, simulator: Simulator, start: int, count: int) -> list[str]:
        wecom = company(simulator)
        template = wecom.approvals.templates[0]
        ids = []
        for n in range(start, start + count):
            texts = {**self.sample(n)}
            contents = [
                {
                    "control": shape["property"]["control"],
                    "id": shape["property"]["id"],
                    "title": shape["property"]["title"],
                    "value": {"new_money": texts[name]} if name == "报价金额" else {"text": texts[name]},
                }
                for shape in template.controls
                if (name := shape["property"]["title"][0]["text"]) in texts
            ]
            nodes = [{"any": True, "userid": ["lisi"]}]
            ids.append(wecom.approvals.start(template, "zhangsan", contents, nodes, [], actor="seed"))
        return ids

    async def edit(self, simulator: Simulator, id: str, n: int) -> None:
        change = {"op": "update", "object": self.object, "id": id, "actor": "lisi"}
        await simulator.change({**change, "fields": {"说明": self.changed(n)["说明"]}})

    async def remove(self, simulator: Simulator, id: str) -> None:
        await simulator.change({"op": "delete", "object": self.object, "id": id, "actor": "admin"})

    def sample(self, n: int) -> Fields:
        return {
            "creator": "zhangsan",
            "报价单号": f"QT{n:06d}",
            "客户": "武汉机械厂",
            "报价金额": "1200.50",
            "说明": f"第{n}次",
        }

    def changed(self, n: int) -> Fields:
        return {"说明": f"改为第{n}版"}

    def invalid(self, n: int) -> Fields:
        return {name: value for name, value in self.sample(n).items() if name != "客户"}

    def wrong(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "secret": "not-the-secret-of-this-app"}

    def secrets(self, simulator: Simulator) -> Sequence[str]:
        wecom = company(simulator)
        own = [*wecom.gate.account.secrets.values(), *wecom.messages.robots.values(), "not-the-secret-of-this-app"]
        return [*own, wecom.seal.token, wecom.seal.key_text, *wecom.gate.issued]

    def made(self, simulator: Simulator, n: int) -> int:
        wanted = self.sample(n)[self.key]
        return sum(
            any(one["value"].get("text") == wanted for one in entry.after["contents"])
            for entry in simulator.journal
            if entry.object == self.object and entry.before is None and entry.after and entry.actor == "api"
        )

    def webhook(self, simulator: Simulator, object: str, id: str, *, at: int) -> WebhookRequest:
        wecom = company(simulator)
        template = wecom.approvals.templates[0]
        info = {"SpNo": id, "SpStatus": 2, "TemplateId": template.id, "StatuChangeEvent": 2}
        event = wecom.event("sys_approval_change", {"AgentID": 3010040, "ApprovalInfo": info}, at=at)
        return signed(wecom.seal, event, at)

    def forgeries(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        query = request.query
        stranger = Seal("hubWecomTok1", _ANOTHER_KEY, "ww5f0c1e2d3b4a6978")
        other_corp = Seal("hubWecomTok1", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFE", "ww0000000000000000")
        tampered: list[dict[str, str]] = [
            {**query, "msg_signature": "0" * 40},
            {**query, "msg_signature": ""},
            {name: value for name, value in query.items() if name != "msg_signature"},
            {**query, "nonce": "1"},
            {**query, "timestamp": str(int(query["timestamp"]) + 1)},
            {**query, "timestamp": "now"},
        ]
        plain = b"<xml><Event><![CDATA[sys_approval_change]]></Event></xml>"
        return [
            *(replace(request, query=changed) for changed in tampered),
            replace(request, body=plain),
            replace(request, body=request.body.replace(b"<Encrypt><![CDATA[", b"<Encrypt><![CDATA[AAAA")),
            signed(stranger, "<xml/>", request.received),
            signed(other_corp, "<xml/>", request.received),
        ]


def signed(seal: Seal, event: str, at: int) -> WebhookRequest:
    """The event as it comes over the wire."""
    sealed = seal.encrypt(event)
    query = dict(parse_qsl(urlsplit(seal.address(_URL, sealed, at=at)).query))
    return WebhookRequest("POST", "/hooks/wecom", query, {"content-type": "text/xml"}, seal.envelope(sealed, "1"), at)


def company(simulator: Simulator) -> WeComSimulator:
    assert isinstance(simulator, WeComSimulator)
    return simulator


def harness() -> WeComHarness:
    return WeComHarness()
