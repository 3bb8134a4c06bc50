"""The company while it is under attack: what stands in both systems, and whose deed comes next. All from one seed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hub.cli.demo.desk import Desk
from hub.cli.demo.world import Customer, World
from tests.chaos.diary import Diary, News
from tests.chaos.evidence import Row

_NEWS_EVERY = 8  # deeds
_UNSOLD = 10  # one in so many products is never sold, so that it may be taken off the shelf


@dataclass(slots=True)
class Order:
    """An order as the CRM's people know it. `over`: cancelled or taken out; `paid`: somebody has paid it."""

    id: str
    customer: str
    name: str | None = None
    lines: dict[str, Row] = field(default_factory=dict)  # by id
    over: bool = False
    paid: bool = False
    remark: str | None = None

    def stands_in(self, document: Row) -> bool:
        """Whether the ERP's document says what the order says, as far as people change it."""
        ours = {row["F_HUB_ROW"]: Decimal(row["FQty"]) for row in document["FSaleOrderEntry"] if row.get("F_HUB_ROW")}
        same = ours == {id: Decimal(line["quantity"]) for id, line in self.lines.items()}
        return same and (document.get("FNote") or None) == (self.remark or None)


class Company(World):
    """The demo's company, with a memory of what its people have done."""

    def __init__(self, seed: int, records: int, crm: Desk, erp: Desk) -> None:
        super().__init__(seed, records, crm, erp)
        self.diary = Diary(crm, erp)
        self.dice = self._dice
        self.orders: dict[str, Order] = {}
        self.waiting: list[Customer] = []  # customers in approval, with orders that wait for them
        self.refused_orders: set[str] = set()
        self.in_erp: dict[str, Row] = {}  # audited customers of the ERP, by id
        self.materials: dict[str, Row] = {}
        self.booked: dict[str, Row] = {}  # orders that live in the ERP, by the CRM's number
        self.receipts: dict[str, Row] = {}
        self.on_sale: list[Row] = []
        self.unsold: set[str] = set()  # numbers of products that nobody sells
        self._news = News(crm, erp)

    async def begin(self) -> None:
        """Both systems as they are before the hub has been heard of, and an order that has to be refused."""
        await self.settle()
        self.waiting = list(self.leads)
        await self.learn()

    async def open_shop(self) -> None:
        """Once the products are in the CRM: the order of the customer without a tax number, and those that wait."""
        await self.read_products()
        self.unsold = {row["product_code"] for row in self.products[::_UNSOLD]}
        self.on_sale = [row for row in self.products if row["product_code"] not in self.unsold]
        self.products = self.on_sale
        found = await self.write_order(self.nameless)
        assert found is not None
        self.orders.pop(found)
        self.refused_orders.add(found)
        for lead in self.waiting:
            await self.write_order(lead)

    async def write_order(self, customer: Customer) -> str | None:
        """A salesperson writes an order of this customer's."""
        order = self._order(customer)
        details = order.pop("details")
        id = await self.diary.crm("create", "SalesOrderObj", fields=order, details=details, actor=order["owner"][0])
        if id is not None:
            self.orders[id] = Order(id, customer.id)
        return id

    async def approve(self, lead: Customer) -> None:
        """A customer that orders wait for becomes a real one."""
        self.waiting.remove(lead)
        await self.diary.crm("update", "AccountObj", lead.id, fields={"life_status": "normal"}, actor="1000")
        self.customers.append(lead)

    async def close_shop(self) -> None:
        """What has to happen for nothing to wait any more."""
        for lead in tuple(self.waiting):
            await self.approve(lead)

    async def learn(self) -> None:
        """Look at what has happened in both systems since."""
        crm, erp = await self._news.since()
        for entry in crm:
            self._learn_crm(entry["object"], entry["id"], entry["after"])
        for entry in erp:
            self._learn_erp(entry["object"], str(entry["id"]), entry["after"])

    def _learn_crm(self, object: str, id: str, after: Row | None) -> None:
        if object == "SalesOrderObj" and id in self.orders and after is not None:
            self.orders[id].name, self.orders[id].remark = after["name"], after.get("remark")
        elif object == "SalesOrderProductObj":
            for order in (self.orders.get(after["order_id"]),) if after else self.orders.values():
                if order is not None and after is not None:
                    order.lines[id] = after
                elif order is not None:
                    order.lines.pop(id, None)

    def _learn_erp(self, object: str, id: str, after: Row | None) -> None:
        settled = after is not None and after.get("FDocumentStatus") == "C"
        if object == "BD_Customer":
            _keep(self.in_erp, id, after, settled)
        elif object == "BD_MATERIAL":
            _keep(self.materials, id, after, settled)
        elif object == "AR_RECEIVEBILL":
            _keep(self.receipts, id, after, after is not None)
        elif object == "SAL_SaleOrder" and after is not None and after["F_CRM_NO"]:
            lives = settled and after["FCancelStatus"] == after["FCloseStatus"] == "A"
            _keep(self.booked, after["F_CRM_NO"], after, lives)


def _keep(among: dict[str, Row], id: str, row: Row | None, wanted: bool) -> None:
    if wanted and row is not None:
        among[id] = row
    else:
        among.pop(id, None)


Deed = Callable[[Company], Awaitable[Any]]


async def live(company: Company, deeds: dict[Deed, int], *, changes: int, seconds: float, stop: asyncio.Event) -> float:
    """Have people do things at an even rate, until that many changes more are made. Returns how many seconds it took.

    Late deeds are made up for: when the machine is slow, work still piles up as fast.
    """
    began = time.monotonic()
    first = company.diary.changes
    kinds, weights = list(deeds), list(deeds.values())
    done = 0
    while (made := company.diary.changes - first) < changes and not stop.is_set():
        ahead = began + seconds * made / changes - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
        if done % _NEWS_EVERY == 0:
            await company.learn()
        await company.dice.choices(kinds, weights)[0](company)
        done += 1
    return time.monotonic() - began
