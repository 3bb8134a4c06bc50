"""WeCom at work with a CRM: people linked by mobile, quotes decided, orders told once, customers as leads.

All over real sockets; what comes home comes by callback in one run and by polling alone in the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.crm.fxiaoke.simulator import FxiaokeSimulator
from connectors.wecom.simulator import WeComSimulator
from hub.api.serving import app_of
from hub.connector.faults import Fault, FaultKind
from hub.connector.serving import serve
from hub.runtime.config import load
from hub.runtime.connectors import Installed
from hub.runtime.hub import Hub
from hub.runtime.service import Service
from hub.store import ledger

MAPPINGS = Path(__file__).parents[2] / "mappings" / "wecom-fxiaoke"
FORM = "approval:discount"
PATIENCE = 30.0
FLOWS = ("employees-to-wecom", "quote-approval", "order-card", "order-robot", "contacts-to-leads")


@dataclass
class World:
    """Both simulators and the hub between them."""

    crm: FxiaokeSimulator
    wecom: WeComSimulator
    hub: Hub

    async def until(self, what: str, look: Callable[[], Any]) -> Any:
        """Wait for it, not for a time."""
        ends = time.monotonic() + PATIENCE
        while not (found := look()):
            if time.monotonic() > ends:
                lines = await ledger.lines(self.hub.store, ledger.Filter())
                told = [(line.flow, line.source_id, line.state, line.reason, line.message) for line in lines]
                raise AssertionError(f"{what} never came; {told}")
            await asyncio.sleep(0.05)
        return found

    async def settled(self, look: Callable[[dict[str, dict[str, int]]], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        while not look(counts := await self.hub.counts()):
            assert time.monotonic() < ends, counts
            await asyncio.sleep(0.05)

    async def add(self, object: str, fields: dict[str, Any], **more: Any) -> str:
        made = await self.crm.change({"op": "create", "object": object, "fields": fields, **more})
        return str(made["id"])

    async def edit(self, object: str, id: str, **fields: Any) -> None:
        await self.crm.change({"op": "update", "object": object, "id": id, "fields": fields})

    async def quote(self) -> str:
        """A salesperson makes a quote and sends it for approval."""
        account = await self.add("AccountObj", {"name": "武汉机械厂", "owner": ["1001"]})
        product = await self.add("ProductObj", {"name": "轴承", "price": "6", "owner": ["1001"]})
        lines = [{"product_id": product, "quantity": "2", "sales_price": "600.25"}]
        quote = {
            "account_id": account,
            "owner": ["1001"],
            "quote_amount": "1200.50",
            "quote_discount": "85",
            "discount_reason__c": "老客户续约",
            "submit_round__c": "1",
            "approval_state__c": "submit",
        }
        return await self.add("QuoteObj", quote, details={"QuoteLinesObj": lines})

    def rounds(self) -> list[dict[str, Any]]:
        return list(self.wecom.table(FORM))

    def seen(self, quote: str) -> dict[str, Any]:
        """The quote as the CRM has it now."""
        row = self.crm.table("QuoteObj").get(quote)
        assert row is not None
        return row

    async def state(self, quote: str, state: str) -> dict[str, Any]:
        await self.until(state, lambda: self.seen(quote)["approval_state__c"] == state)
        return self.seen(quote)

    async def click(self, number: str, operation: str, actor: str, opinion: str) -> None:
        change = {"op": "operation", "object": FORM, "id": number, "operation": operation, "actor": actor}
        await self.wecom.change({**change, "fields": {"opinion": opinion}})


@contextlib.asynccontextmanager
async def working(folder: Path, *, callbacks: bool) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        crm, wecom = FxiaokeSimulator(), WeComSimulator()
        crm.gate.limits.path_calls = 10_000
        for simulator in (crm, wecom):
            await stack.enter_async_context(serve(simulator))
        systems = {
            "crm": {"connector": "fxiaoke", **crm.settings(), "lag": 0.2, "overlap": 10, "path_calls": 10_000},
            "wecom": {"connector": "wecom", **wecom.settings(), "lag": 0.2},
        }
        polled = "1h" if callbacks else "1s"
        flows = dict.fromkeys(FLOWS, "every: 1s")
        flows |= dict.fromkeys(("order-card", "order-robot"), "every: 1s, first_sight: baseline, settles_within: 1s")
        flows |= {"quote-approval": "every: 1s, settles_within: 2s", "quote-approval-result": f"every: {polled}"}
        lines = ["systems:"]
        lines += [f"  {name}: {json.dumps(given, ensure_ascii=False)}" for name, given in systems.items()]
        lines += ["params: {crm_url: 'https://crm.example.com', owner: ['1000']}", "flows:"]
        lines += [f"  {name}: {{mapping: {MAPPINGS / name}.yaml, {how}}}" for name, how in flows.items()]
        (folder / "hub.yaml").write_text("\n".join(lines), encoding="utf-8")
        installed = Installed.here()
        hub = await stack.enter_async_context(Hub.open(load(folder / "hub.yaml", installed), installed=installed))
        ready = await stack.enter_async_context(Service(hub).running(app_of, port=0))
        crm.callback_url = ready.hooks["crm"]
        if callbacks:
            assert await wecom.verify_callback(ready.hooks["wecom"])
            wecom.callback_url = ready.hooks["wecom"]
        yield World(crm, wecom, hub)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with working(tmp_path, callbacks=True) as made:
        yield made


@pytest.mark.parametrize("callbacks", [True, False])
async def test_a_quote_is_refused_sent_again_and_agreed(tmp_path: Path, callbacks: bool) -> None:
    async with working(tmp_path, callbacks=callbacks) as world:
        quote = await world.quote()
        (first,) = await world.until("the first round", world.rounds)
        assert first["applyer"]["userid"] == "zhangsan"
        await world.state(quote, "running")

        await world.click(first["sp_no"], "refuse", "lisi", "折扣过低")
        seen = await world.state(quote, "refused")
        assert (seen["approval_opinion__c"], seen["approved_by__c"]) == ("折扣过低", ["1002"])

        await world.edit("QuoteObj", quote, quote_discount="90", submit_round__c="2", approval_state__c="submit")
        second = (await world.until("the second round", lambda: len(world.rounds()) == 2 and world.rounds()))[1]
        await world.click(second["sp_no"], "agree", "lisi", "同意")
        seen = await world.state(quote, "agreed")
        assert (seen["approval_opinion__c"], seen["approval_no__c"]) == ("同意", second["sp_no"])
        assert len(world.rounds()) == 2


@pytest.mark.parametrize("kind", [FaultKind.RESET_AFTER_COMMIT, FaultKind.RESET])
async def test_an_answer_that_was_lost_starts_one_approval(world: World, kind: FaultKind) -> None:
    world.wecom.faults.arm(Fault(kind=kind, op="^oa/applyevent$"))
    quote = await world.quote()
    seen = await world.state(quote, "running")
    assert world.wecom.faults.struck
    assert [row["sp_no"] for row in world.rounds()] == [seen["approval_no__c"]]


async def test_a_confirmed_order_is_told_once_although_the_answer_was_lost(world: World) -> None:
    account = await world.add("AccountObj", {"name": "苏州某某机械厂", "owner": ["1002"]})
    order = {"account_id": account, "order_time": 1_767_110_400_000, "order_amount": "12000.5", "owner": ["1002"]}
    told = await world.add("SalesOrderObj", {**order, "order_status": "6"})
    names = ("order-card", "order-robot")
    await world.settled(lambda counts: all(sum(counts.get(name, {}).values()) for name in names))

    world.wecom.faults.arm(Fault(kind=FaultKind.RESET_AFTER_COMMIT, op="^message/send$"))
    world.wecom.faults.arm(Fault(kind=FaultKind.RESET_AFTER_COMMIT, op="^webhook/send$"))
    await world.edit("SalesOrderObj", told, order_status="7")
    # The card goes again and is delivered once; the robot keeps no account, so a person decides.
    await world.settled(lambda counts: counts["order-card"].get("done") == 1 and counts["order-robot"].get("held") == 1)
    await world.edit("SalesOrderObj", told, remark="电话已确认")
    cards = list(world.wecom.table("message:textcard"))
    assert [card["delivered"] for card in cards] == [["lisi"]]
    assert world.wecom.counts["suppressed"] == 1
    assert len(world.wecom.table("robot:sales")) == 1


async def test_a_customer_who_is_followed_becomes_a_lead(world: World) -> None:
    await world.until("the people", lambda: world.wecom.counts["user/getuserid"] >= 4)
    fields = {"name": "王女士", "state": "expo-2026", "add_way": 1, "remark_mobiles": ["13900000001"]}
    change = {"op": "create", "object": "external_contact", "id": "wmA", "actor": "zhangsan", "fields": fields}
    await world.wecom.change(change)
    (lead,) = await world.until("the lead", lambda: list(world.crm.table("LeadsObj")))
    assert (lead["name"], lead["owner"], lead["campaign__c"]) == ("王女士", ["1001"], "expo-2026")
