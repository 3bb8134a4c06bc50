"""The shortest story in which each broken twin does harm, and the whole hub none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import orjson

from connectors.erp.kingdee.simulator_store import Refused
from tests.chaos.checker import Figures
from tests.chaos.twin_hub import HubProcess
from tests.chaos.twin_stage import (
    CUSTOMERS,
    ORDERS,
    SETTLED,
    Stage,
    account,
    free_port,
    material,
    product,
    sale,
    sell,
)

Play = Callable[[Stage], Awaitable[Figures]]
NO_STAMP = "stamp_field: F_NONE"  # a tenant without a field for the hub's key: match keys are all there is

NO_OVERLAP = "overlap: 0"  # a read begins just where the last one ended, and forgives nothing


@dataclass(frozen=True, slots=True)
class Scene:
    """A story, the figures that must show what the twin lacks, and what the stage needs for it."""

    play: Play
    shows: frozenset[str]
    erp_settings: tuple[str, ...] = ()
    crm_settings: tuple[str, ...] = ()
    fleet: bool = False  # several hubs on one PostgreSQL database


# -- answers that never came ---------------------------------------------------------------------------------------


async def lost_answer(on: Stage) -> Figures:
    """The ERP makes a customer and its answer is lost; a minute later the hub asks whether it is there."""
    hub = await on.hub()
    await on.person("crm", "create", "AccountObj", fields=account(1))
    on.strike("erp", "reset_after_commit", op="BatchSave")
    await on.round(hub, "customers-to-erp")
    on.later(SETTLED)
    await on.settle(hub, *CUSTOMERS)
    return await on.figures(hub)


async def lost_answer_then_renamed(on: Stage) -> Figures:
    """The answer is lost, and before the hub may ask, a salesperson corrects the customer's name and tax code."""
    hub = await on.hub()
    id = await on.person("crm", "create", "AccountObj", fields=account(1))
    on.strike("erp", "reset_after_commit", op="BatchSave")
    await on.round(hub, "customers-to-erp")
    on.later(1)
    new = {name: account(2)[name] for name in ("name", "tax_no__c")}
    await on.person("crm", "update", "AccountObj", id, fields=new)
    on.later(SETTLED)
    await on.settle(hub, *CUSTOMERS)
    return await on.figures(hub)


async def lost_answer_and_lagging_search(on: Stage) -> Figures:
    """The answer is lost, and for half a minute the ERP's searches don't show the new customer."""
    hub = await on.hub()
    await on.person("crm", "create", "AccountObj", fields=account(1))
    on.strike("erp", "reset_after_commit", op="BatchSave")
    on.strike("erp", "find_lag", seconds=30, times=None)
    await on.round(hub, "customers-to-erp")
    await on.round(hub, "customers-to-erp")
    on.calm()
    on.later(SETTLED)
    await on.settle(hub, *CUSTOMERS)
    return await on.figures(hub)


async def paused_past_the_lease(on: Stage) -> Figures:
    """A worker is refused, and stopped before it has written that down; another takes over and succeeds; it wakes.

    What the late one would write down is a dead letter that lives.
    """
    hub = await on.hub()
    goods = await product(on, hub)
    buyer = await on.person("crm", "create", "AccountObj", fields=account(1))
    await on.settle(hub, *CUSTOMERS)
    await sell(on, buyer, sale(goods))
    on.later(1)
    await hub.do("read", flow="orders-to-erp")
    sleeper = await on.hub(failpoint="before-settle:1:stop", alone=False)
    on.erp.refuse_next.append(("BatchSave", Refused("服务器正忙，未能保存", code=9)))
    await sleeper.stops_at("drain", flow="orders-to-erp")
    await on.round(hub, *ORDERS)  # from here on the lease is watched, and stands still
    on.later(600)
    await on.settle(hub, *ORDERS)
    on.later(600)
    await on.settle(hub, *ORDERS)
    sleeper.wake()
    await sleeper.answer()
    on.later(600)  # all that it may leave behind is a doubt, and that is settled by now
    await on.settle(hub, *ORDERS)
    return await on.figures(hub)


async def paused_before_its_write(on: Stage) -> Figures:
    """A worker is stopped when its write is about to leave; another takes over and delivers what is newer; it wakes."""
    async with _ordered(on) as (hub, order):
        sleeper = await on.hub(failpoint="after-intent:1:stop", alone=False)
        on.later(1)
        await on.person("crm", "update", "SalesOrderObj", order, fields={"remark": "second"})
        on.later(1)
        await hub.do("read", flow="orders-to-erp")
        await sleeper.stops_at("drain", flow="orders-to-erp")
        await on.person("crm", "update", "SalesOrderObj", order, fields={"remark": "third"})
        await on.round(hub, *ORDERS)
        on.later(600)
        await on.settle(hub, *ORDERS)
        on.later(600)
        await on.settle(hub, *ORDERS)
        sleeper.wake()
        await sleeper.answer()
        on.later(600)
        await on.settle(hub, *ORDERS)
        return await on.figures(hub)


# -- taking in -----------------------------------------------------------------------------------------------------


async def killed_between_cursor_and_page(on: Stage) -> Figures:
    """The power fails when a page has just been committed; the next read begins an hour later."""
    hub = await on.hub()
    await on.round(hub, *CUSTOMERS)
    await hub.end()
    hub = await on.hub(failpoint="after-capture")
    await on.person("crm", "create", "AccountObj", fields=account(1))
    on.later(1)
    await hub.dies_of("read", flow="customers-to-erp")
    on.later(3600)
    hub = await on.hub()
    await on.settle(hub, *CUSTOMERS)
    return await on.figures(hub)


async def killed_before_the_webhook_was_stored(on: Stage) -> Figures:
    """A salesperson withdraws an order, of which nothing but a webhook tells; the power fails when it comes in.

    The vendor sends a webhook again until it is acknowledged, and not once more.
    """
    async with _ordered(on) as (hub, order):
        await hub.end()
        port = free_port()
        hub = await on.hub(failpoint="before-store")
        await hub.do("listen", port=port)
        on.later(1)
        await on.person("crm", "invalid", "SalesOrderObj", order)
        event = orjson.dumps(on.crm.event("invalid", "SalesOrderObj", order))
        if not await _called_back(on, port, event):
            await hub.end()
            hub = await on.hub()
            await hub.do("listen", port=port)
            assert await _called_back(on, port, event)
        else:
            await hub.end()
            hub = await on.hub()
        await hub.do("fetch")
        await on.settle(hub, *ORDERS)
        return await on.figures(hub)


async def _called_back(on: Stage, port: int, event: bytes) -> bool:
    """One attempt of the vendor's; whether it was acknowledged."""
    body = on.crm.callback_content(event, 0)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        try:
            return on.crm.callback_accepted(await client.post(f"http://127.0.0.1:{port}/hooks/crm", content=body))
        except httpx.HTTPError:
            return False


async def read_from_a_stale_replica(on: Stage) -> Figures:
    """A change has been delivered; then a look-up is answered by a replica that does not have it yet."""
    hub = await on.hub()
    id = await on.person("crm", "create", "AccountObj", fields=account(1, tel="021-1"))
    await on.settle(hub, *CUSTOMERS)
    on.later(1)
    await on.person("crm", "update", "AccountObj", id, fields={"tel": "021-2"})
    await on.round(hub, "customers-to-erp")
    await on.round(hub, "customers-to-erp")
    on.strike("crm", "stale_get", seconds=60, times=None)
    await hub.do("capture", flow="customers-to-erp", ids=[id])
    await hub.do("drain", flow="customers-to-erp")
    on.calm()
    on.later(3600)
    await on.settle(hub, *CUSTOMERS)
    return await on.figures(hub)


async def mended_after_a_refusal(on: Stage) -> Figures:
    """A phone that is too long for the ERP is refused; the salesperson shortens it."""
    hub = await on.hub()
    id = await on.person("crm", "create", "AccountObj", fields=account(1, tel="0" * 60))
    await on.round(hub, "customers-to-erp")
    on.later(1)
    await on.person("crm", "update", "AccountObj", id, fields={"tel": "021-1"})
    await on.settle(hub, *CUSTOMERS)
    return await on.figures(hub)


# -- writing -------------------------------------------------------------------------------------------------------


async def left_alone(on: Stage) -> Figures:
    """One customer is written, and then nobody does anything while the hub goes on looking."""
    hub = await on.hub()
    await on.person("crm", "create", "AccountObj", fields=account(1))
    await on.settle(hub, *CUSTOMERS, rounds=12)
    return await on.figures(hub)


async def known_on_both_sides(on: Stage) -> Figures:
    """Both systems have the product already, and call it by different names; the ERP changes the price alone."""
    hub = await on.hub()
    await on.erp.bulk("BD_MATERIAL", [material(1)])
    ours = {"name": "大号伺服电机", "product_code": "WL00001", "product_spec": "750W", "price": "1200.00"}
    await on.crm.bulk("ProductObj", [{**ours, "unit": "1", "product_status": "1"}])
    await on.round(hub, "products")
    (theirs,) = on.erp.table("BD_MATERIAL")
    await on.person("erp", "update", "BD_MATERIAL", str(theirs["FMATERIALID"]), fields={"F_HUB_PRICE": "1300.00"})
    await on.settle(hub, "products")
    return await on.figures(hub)


async def order_known_on_both_sides(on: Stage) -> Figures:
    """The ERP has the order already, line by line; a salesperson changes a quantity."""
    hub = await on.hub()
    goods = await product(on, hub)
    buyer = await on.person("crm", "create", "AccountObj", fields=account(1))
    await on.settle(hub, *CUSTOMERS)
    order = await sell(on, buyer, sale(goods, 2), sale(goods, 5))
    lines = sorted(on.crm.table("SalesOrderProductObj"), key=lambda row: str(row["order_by"]))
    entries = [
        {"FMaterialId.FNumber": "WL00001", "FQty": row["quantity"], "FTaxPrice": "1000", "F_HUB_ROW": row["_id"]}
        for row in lines
    ]
    await on.erp.bulk(
        "SAL_SaleOrder",
        [
            {
                "F_CRM_NO": (on.crm.table("SalesOrderObj").get(order) or {})["name"],
                "FDate": "2026-01-06",
                "FSaleOrgId.FNumber": "100",
                "FBillTypeID.FNumber": "XSDD01_SYS",
                "FCustId.FNumber": "CUST0001",
                "FSaleOrderFinance.FSettleCurrId.FNumber": "PRE001",
                "FNote": "加急",
                "FSaleOrderEntry": entries,
            }
        ],
    )
    await on.settle(hub, *ORDERS, rounds=2)
    on.later(1)
    change = {"quantity": "3", "subtotal": "3000.00"}
    await on.person("crm", "update", "SalesOrderProductObj", lines[0]["_id"], fields=change)
    await on.settle(hub, *ORDERS)
    return await on.figures(hub)


async def both_sides_change_one_field(on: Stage) -> Figures:
    """A salesperson changes a phone, then a clerk of the ERP does the same there, and neither knows of the other."""
    hub = await on.hub()
    id = await on.person("crm", "create", "AccountObj", fields=account(1))
    await on.settle(hub, *CUSTOMERS)
    (theirs,) = on.erp.table("BD_Customer")
    on.later(1)
    await on.person("crm", "update", "AccountObj", id, fields={"tel": "021-1"})
    await on.person("erp", "update", "BD_Customer", str(theirs["FCUSTID"]), fields={"FTEL": "021-2"})
    await on.settle(hub, *CUSTOMERS)
    return await on.figures(hub)


async def order_before_its_customer(on: Stage) -> Figures:
    """An order is read before its customer; soon the customer arrives."""
    hub = await on.hub()
    goods = await product(on, hub)
    buyer = await on.person("crm", "create", "AccountObj", fields=account(1))
    await sell(on, buyer, sale(goods))
    await on.round(hub, "orders-to-erp")
    await on.settle(hub, *CUSTOMERS, *ORDERS)
    return await on.figures(hub)


@asynccontextmanager
async def _ordered(on: Stage) -> AsyncIterator[tuple[HubProcess, str]]:
    """A hub that has brought an order to the ERP, and the order's id."""
    hub = await on.hub()
    goods = await product(on, hub)
    buyer = await on.person("crm", "create", "AccountObj", fields=account(1))
    await on.settle(hub, *CUSTOMERS)
    order = await sell(on, buyer, sale(goods))
    await on.settle(hub, *ORDERS)
    yield hub, order


def _scene(play: Play, *shows: str, **needs: object) -> Scene:
    return Scene(play, frozenset(shows), **needs)  # type: ignore[arg-type]


SCENES: dict[str, Scene] = {
    "no-probe": _scene(lost_answer, "duplicates"),
    "todays-keys": _scene(lost_answer_then_renamed, "duplicates", erp_settings=(NO_STAMP,)),
    "no-wait": _scene(lost_answer_and_lagging_search, "duplicates"),
    "no-fencing": _scene(paused_past_the_lease, "stuck", fleet=True),
    "no-fence": _scene(paused_before_its_write, "disorder", fleet=True),
    "cursor-first": _scene(killed_between_cursor_and_page, "lost", crm_settings=(NO_OVERLAP,)),
    "ack-first": _scene(killed_before_the_webhook_was_stored, "stale"),
    "any-order": _scene(read_from_a_stale_replica, "disorder"),
    "no-supersede": _scene(mended_after_a_refusal, "lost", "stuck"),
    "no-echo-suppression": _scene(left_alone, "writes_per_change"),
    "no-baseline": _scene(known_on_both_sides, "overwritten"),
    "no-row-pairing": _scene(order_known_on_both_sides, "duplicates"),
    "no-read-before-write": _scene(both_sides_change_one_field, "overwritten"),
    "no-wake-up": _scene(order_before_its_customer, "lost", "stuck"),
}
"""Twin -> the scene in which it is caught."""
