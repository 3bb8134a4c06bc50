"""DingTalk at work with a CRM: people linked, discounts decided on the phone, notices sent once. All over real sockets.

Events come both ways: pushed over HTTP, and over a Stream connection that the hub opens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.dingtalk.simulator import DingTalkSimulator
from hub.api.serving import app_of
from hub.connector.faults import Fault, FaultKind
from hub.connector.serving import serve
from hub.runtime.config import load
from hub.runtime.connectors import Installed
from hub.runtime.hub import Hub
from hub.runtime.service import Service
from hub.store import ledger
from hub.store.tables import attempt

MAPPINGS = Path(__file__).parents[2] / "mappings" / "dingtalk-fxiaoke"
FORM = "approval:discount"
PATIENCE = 30.0
FLOWS = {
    "departments": "every: 1s",
    "employees": "every: 1s",
    "discount-to-dingtalk": "every: 1s, settles_within: 1s",
    "discount-to-crm": "every: 1h",  # so what comes home comes by events
    "won-orders-to-people": "every: 1s, first_sight: baseline, settles_within: 1s",
    "won-orders-to-group": "every: 1s, first_sight: baseline, settles_within: 1s",
}


@dataclass
class World:
    """Both simulators and the hub between them."""

    crm: FxiaokeSimulator
    ding: DingTalkSimulator
    hub: Hub
    hooks: dict[str, str]

    async def until(self, what: str, look: Callable[[], Any]) -> Any:
        """Wait for it, not for a time."""
        ends = time.monotonic() + PATIENCE
        while not (found := look()):
            if time.monotonic() > ends:
                raise AssertionError(f"{what} never came; {await ledger.reasons(self.hub.store)}")
            await asyncio.sleep(0.05)
        return found

    async def quote(self, **fields: Any) -> str:
        """A salesperson makes a quote and submits it."""
        account = await self.crm.change(
            {"op": "create", "object": "AccountObj", "fields": {"name": "武汉机械厂", "owner": ["1001"]}}
        )
        product = await self.crm.change(
            {"op": "create", "object": "ProductObj", "fields": {"name": "轴承", "price": "6", "owner": ["1001"]}}
        )
        quote = {
            "account_id": account["id"],
            "owner": ["1001"],
            "quote_amount": "1200.50",
            "quote_discount": "85",
            "quote_time": 1_767_628_800_000,
            "receipt_type__c": "3",
            "discount_reason__c": "老客户续约",
            "submit_round__c": "1",
            "approval_state__c": "submit",
            **fields,
        }
        lines = [{"product_id": product["id"], "quantity": "2", "sales_price": "600.25"}]
        made = await self.crm.change(
            {"op": "create", "object": "QuoteObj", "fields": quote, "details": {"QuoteLinesObj": lines}}
        )
        return str(made["id"])

    async def edit(self, object: str, id: str, **fields: Any) -> None:
        await self.crm.change({"op": "update", "object": object, "id": id, "fields": fields})

    async def click(self, op: str, id: str, actor: str = "manager01", **fields: Any) -> str:
        change = {"op": op, "object": FORM, "id": id, "actor": actor, "fields": fields}
        return str((await self.ding.change(change))["id"])

    def instances(self, quote: str) -> list[dict[str, Any]]:
        """The approvals that the hub started for this quote, the oldest first."""
        rows = [
            row for row in self.ding.table(FORM) if self.form(row).get("集成键", "").startswith(f"crm:QuoteObj:{quote}")
        ]
        return sorted(rows, key=lambda row: row["createTime"])

    @staticmethod
    def form(row: dict[str, Any]) -> dict[str, str]:
        return {part["name"]: part["value"] for part in row["form"]}

    def seen(self, quote: str) -> dict[str, Any]:
        """The quote as the CRM has it now."""
        row = self.crm.table("QuoteObj").get(quote)
        assert row is not None
        return row

    async def started(self, quote: str, round: int = 1) -> dict[str, Any]:
        """The approval of this round, once it runs."""
        rows = await self.until(
            f"round {round}", lambda: found if len(found := self.instances(quote)) >= round else None
        )
        assert len(rows) == round
        return dict(rows[round - 1])


@pytest.fixture(params=["http", "stream"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        crm, ding = FxiaokeSimulator(), DingTalkSimulator()
        for simulator in (crm, ding):
            await stack.enter_async_context(serve(simulator))
        ding_settings = {**ding.settings(), "events": request.param, "lag": 0.2}
        crm_settings = {**crm.settings(), "lag": 0.2, "overlap": 10, "path_calls": 10_000}
        crm.gate.limits.path_calls = 10_000
        lines = ["systems:"]
        for name, connector, settings in (("crm", "fxiaoke", crm_settings), ("dingtalk", "dingtalk", ding_settings)):
            lines.append(f"  {name}: {json.dumps({'connector': connector, **settings}, ensure_ascii=False)}")
        lines += ["params: {order_url: 'https://crm.example.com/'}", "flows:"]
        lines += [f"  {name}: {{mapping: {MAPPINGS / name}.yaml, {how}}}" for name, how in FLOWS.items()]
        (tmp_path / "hub.yaml").write_text("\n".join(lines), encoding="utf-8")
        installed = Installed.here()
        hub = await stack.enter_async_context(Hub.open(load(tmp_path / "hub.yaml", installed), installed=installed))
        service = Service(hub)
        ready = await stack.enter_async_context(service.running(app_of, port=0))
        crm.callback_url = ready.hooks["crm"]
        if request.param == "http":
            ding.callback_url = ready.hooks["dingtalk"]
        made = World(crm, ding, hub, ready.hooks)
        if request.param == "stream":
            await made.until("the stream", lambda: ding.streams.connections)
        yield made


async def settled(world: World, look: Callable[[], Awaitable[bool]]) -> None:
    ends = time.monotonic() + PATIENCE
    while not await look():
        assert time.monotonic() < ends, await world.hub.counts()
        await asyncio.sleep(0.05)


async def test_a_discount_is_decided_on_the_phone_and_comes_home(world: World) -> None:
    """Submitted, refused with an opinion, corrected, submitted again, agreed: two rounds, one outcome in the CRM."""
    quote = await world.quote()
    first = await world.started(quote)
    form = world.form(first)
    assert (first["originator"], first["status"]) == ("zhangwei", "RUNNING")
    assert (form["客户名称"], form["报价金额"], form["付款方式"]) == ("武汉机械厂", "1200.50", "账期")
    cells = {cell["label"]: cell["value"] for cell in json.loads(form["报价明细"])[0]["rowValue"]}
    assert cells == {"产品": "轴承", "数量": "2", "单价": "600.25"}
    await world.until("running", lambda: world.seen(quote)["approval_state__c"] == "running")

    await world.click("refuse", first["id"], remark="折扣过低")
    await world.until("refused", lambda: world.seen(quote)["approval_state__c"] == "refused")
    assert world.seen(quote)["approval_opinion__c"] == "折扣过低"
    assert world.seen(quote)["approved_by__c"] == ["1000"]

    await world.edit("QuoteObj", quote, quote_discount="90", submit_round__c="2", approval_state__c="submit")
    second = await world.started(quote, 2)
    assert world.form(second)["折扣"] == "90"
    await world.click("agree", second["id"], remark="同意")
    await world.until("agreed", lambda: world.seen(quote)["approval_state__c"] == "agreed")
    seen = world.seen(quote)
    assert (seen["approval_opinion__c"], seen["approval_no__c"]) == ("同意", second["businessId"])
    assert len(world.instances(quote)) == 2


async def test_an_answer_that_was_lost_starts_no_second_approval(world: World) -> None:
    await world.until("the people", lambda: world.ding.counts["v2_user_list"] > 3)
    world.ding.faults.arm(Fault(kind=FaultKind.RESET_AFTER_COMMIT, op="^start$"))
    quote = await world.quote()
    first = await world.started(quote)
    world.ding.clock.advance(1)
    await world.click("agree", first["id"], remark="同意")
    await world.until("agreed", lambda: world.seen(quote)["approval_state__c"] == "agreed")
    assert len(world.instances(quote)) == 1


async def test_a_quote_that_is_taken_back_takes_its_approval_with_it(world: World) -> None:
    quote = await world.quote()
    first = await world.started(quote)
    await world.until("running", lambda: world.seen(quote)["approval_state__c"] == "running")
    world.ding.clock.advance(30)
    await world.edit("QuoteObj", quote, approval_state__c="cancelled")

    def withdrawn() -> bool:
        row = world.ding.table(FORM).get(first["id"])
        return row is not None and row["status"] == "TERMINATED"

    await world.until("withdrawn", withdrawn)


async def test_an_edit_of_a_quote_whose_approval_runs_leaves_it_as_it_is(world: World) -> None:
    """`when_locked: skip`: what was decided is what was submitted, and comes home all the same."""
    quote = await world.quote()
    first = await world.started(quote)
    await world.until("running", lambda: world.seen(quote)["approval_state__c"] == "running")
    await world.edit("QuoteObj", quote, quote_discount="70")

    async def met() -> bool:
        async with world.hub.store.read() as conn:
            found = await conn.execute(select(attempt.c.outcome).where(attempt.c.op == "update"))
            return "ok" in set(found.scalars())

    await settled(world, met)
    await world.click("agree", first["id"], remark="同意")
    await world.until("agreed", lambda: world.seen(quote)["approval_state__c"] == "agreed")

    async def rested() -> bool:
        counts = (await world.hub.counts())["discount-to-dingtalk"]
        return set(counts) <= {"done", "unchanged"}

    await settled(world, rested)
    (row,) = world.instances(quote)
    assert world.form(row)["折扣"] == "85"


async def test_a_confirmed_order_is_told_once_to_its_owner_and_to_the_group(world: World) -> None:
    account = await world.crm.change(
        {"op": "create", "object": "AccountObj", "fields": {"name": "苏州某某机械厂", "owner": ["1002"]}}
    )
    order = {
        "account_id": account["id"],
        "order_time": 1_767_110_400_000,
        "order_amount": "12000.5",
        "order_status": "6",
    }
    made = await world.crm.change({"op": "create", "object": "SalesOrderObj", "fields": {**order, "owner": ["1002"]}})

    async def rested() -> bool:
        counts = await world.hub.counts()
        return all(sum(counts.get(flow, {}).values()) for flow in ("won-orders-to-people", "won-orders-to-group"))

    await settled(world, rested)
    world.ding.faults.arm(Fault(kind=FaultKind.RESET_AFTER_COMMIT, op="^robot$"))
    world.ding.faults.arm(Fault(kind=FaultKind.RESET_AFTER_COMMIT, op="^notify$"))
    await world.edit("SalesOrderObj", made["id"], order_status="7")
    await world.until("the post", lambda: len(world.ding.table("robot:sales")) == 1)

    async def done() -> bool:
        counts = await world.hub.counts()
        return all(counts[flow].get("done") for flow in ("won-orders-to-people", "won-orders-to-group"))

    await settled(world, done)
    await world.edit("SalesOrderObj", made["id"], remark="电话已确认")
    rows = list(world.ding.table("work_notification"))
    told = [person for row in rows for person in world.ding.messages.delivered(row["task_id"])]
    assert told == ["lina"]
    assert len(world.ding.table("robot:sales")) == 1
