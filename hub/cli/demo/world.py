"""The made-up company: what stands in both systems at first, and what its people do there later. All from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hub.cli.demo.desk import Desk, Row

_CHINA = timezone(timedelta(hours=8))
_ORG = {"FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100"}
_SALES = ("1001", "1002", "1003")
_LEADS = 4  # customers that are approved later, each with an order that waits for it

_GOODS = (
    "伺服电机",
    "减速机",
    "变频器",
    "控制器",
    "触摸屏",
    "编码器",
    "导轨",
    "联轴器",
    "传感器",
    "电缆",
    "接触器",
    "电源模块",
)
_MAKES = ("标准型", "紧凑型", "高速型", "防爆型", "低温型", "加强型")
_CITIES = (
    "上海",
    "苏州",
    "杭州",
    "宁波",
    "南京",
    "无锡",
    "深圳",
    "东莞",
    "佛山",
    "武汉",
    "成都",
    "青岛",
    "天津",
    "厦门",
)
_WORDS = ("华", "瑞", "恒", "鑫", "远", "盛", "博", "科", "达", "泰", "诚", "宏", "捷", "立", "明", "锐")
_TRADES = ("自动化", "机械", "精密制造", "电气", "包装设备", "机器人", "轨道装备", "新能源", "仪表", "环保科技")
_ROADS = ("张江路", "人民路", "科技大道", "创新路", "中山北路", "工业园一路", "湖滨街", "长江路")


@dataclass(slots=True)
class Customer:
    """A customer as the CRM's people know it."""

    id: str
    name: str
    tax: str | None
    fields: Row


class World:
    """What people do. `products` are known once the hub has brought them to the CRM."""

    NO_PHONE = "0000"

    def __init__(self, seed: int, records: int, crm: Desk, erp: Desk) -> None:
        self.records = records
        self.crm = crm
        self.erp = erp
        self._dice = random.Random(seed)  # noqa: S311 - a replayable story, no secrets
        self._serial = 0
        self.customers: list[Customer] = []  # of the CRM, approved and with a tax number
        self.leads: list[Customer] = []
        self.nameless: Customer  # the one without a tax number
        self.linked = 0  # how many customers stand in both systems from the beginning
        self.own = 0  # how many only the ERP knows
        self.products: list[Row] = []

    # -- the two islands -------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Both systems as they are before anybody has heard of a hub."""
        await self.erp.seed("BD_MATERIAL", [self._material(at) for at in range(self.records)])
        in_crm = [self._customer() for _ in range(self.records)]
        self.customers = in_crm
        self.linked = self.records // 3
        self.own = max(3, self.records // 6)
        shared = self._dice.sample(in_crm, self.linked)
        strangers = [self._customer() for _ in range(self.own)]
        await self.erp.seed("BD_Customer", [self._in_erp(one) for one in (*shared, *strangers)])
        self.leads = [self._customer(life_status="under_review") for _ in range(_LEADS)]
        self.nameless = self._customer()
        self.nameless.tax = None
        self.nameless.fields["tax_no__c"] = None
        await self.crm.seed("AccountObj", [one.fields for one in (*in_crm, *self.leads, self.nameless)])

    def _material(self, at: int) -> Row:
        price = Decimal(self._dice.randint(900, 900_000)) / 100
        return {
            "FNumber": f"WL{at + 1:05d}",
            "FName": f"{self._dice.choice(_GOODS)}{self._dice.choice(_MAKES)}",
            "FSpecification": f"{self._dice.choice((24, 48, 220, 380))}V {self._dice.randint(1, 75) * 100}W",
            "FBaseUnitId.FNumber": "kg" if self._dice.random() < 0.1 else "Pcs",
            "F_HUB_PRICE": f"{price:.2f}",
            "FDocumentStatus": "A" if at % 40 == 39 else "C",
            **_ORG,
        }

    def _customer(self, life_status: str = "normal") -> Customer:
        self._serial += 1
        dice = self._dice
        city = dice.choice(_CITIES)
        word = dice.choice(_WORDS) + dice.choice(_WORDS)
        name = f"{city}{word}{dice.choice(_TRADES)}有限公司{self._serial:04d}"
        tax = f"91{dice.randint(110000, 659999)}MA{self._serial:06d}{dice.choice('ABCDEFGHJKLM')}{dice.randint(0, 9)}"
        id = f"{dice.getrandbits(96):024x}"
        fields = {
            "_id": id,
            "name": name,
            "tax_no__c": tax,
            "tel": self._phone(),
            "address": self._address(city),
            "life_status": life_status,
        }
        return Customer(id, name, tax, fields)

    def _phone(self) -> str:
        return f"0{self._dice.randint(20, 29)}-{self._dice.randint(20_000_000, 89_999_999)}"

    def _address(self, city: str) -> str:
        return f"{city}市{self._dice.choice(_ROADS)}{self._dice.randint(1, 999)}号"

    def _in_erp(self, one: Customer) -> Row:
        return {
            "FName": one.name,
            "FTAXREGISTERCODE": one.tax,
            "FTEL": one.fields["tel"],
            "FADDRESS": one.fields["address"],
            "FTRADINGCURRID.FNumber": "PRE001",
            "F_HUB_CREDITLIMIT": self._limit(),
            **_ORG,
        }

    def _limit(self) -> str:
        return f"{self._dice.randint(5, 200) * 10_000}.00"

    # -- products and customers ------------------------------------------------------------------------------------

    async def forbid_products(self, count: int) -> int:
        """The ERP's people take materials off the shelf, and change prices of as many others. Returns how many."""
        materials = [row for row in await self.erp.records("BD_MATERIAL") if row["FDocumentStatus"] == "C"]
        chosen = self._dice.sample(materials, 2 * count)
        for row in chosen[:count]:
            await self.erp.person("operation", "BD_MATERIAL", str(row["FMATERIALID"]), operation="Forbid")
        for row in chosen[count:]:
            price = f"{Decimal(row['F_HUB_PRICE']) * Decimal('1.05'):.2f}"
            await self.erp.person("update", "BD_MATERIAL", str(row["FMATERIALID"]), fields={"F_HUB_PRICE": price})
        return count

    async def read_products(self) -> None:
        """What salespeople can choose from."""
        found = await self.crm.records("ProductObj")
        self.products = sorted(
            (row for row in found if row["product_status"] == "1"), key=lambda row: row["product_code"]
        )

    async def move_customers(self, count: int) -> None:
        """Salespeople correct phones and addresses; the callbacks tell the hub."""
        for one in self._dice.sample(self.customers, count):
            change = {"tel": self._phone(), "address": self._address(self._dice.choice(_CITIES))}
            await self.crm.person("update", "AccountObj", one.id, fields=change, actor=self._dice.choice(_SALES))

    async def grant_credit(self, count: int) -> None:
        """Finance sets new limits."""
        for row in self._dice.sample(await self.erp.records("BD_Customer"), count):
            change = {"F_HUB_CREDITLIMIT": self._limit()}
            await self.erp.person("update", "BD_Customer", str(row["FCUSTID"]), fields=change)

    async def meddle(self, count: int) -> None:
        """Clerks of the ERP overwrite phones that are the salespeople's to keep."""
        for row in self._dice.sample(await self.erp.records("BD_Customer"), count):
            await self.erp.person("update", "BD_Customer", str(row["FCUSTID"]), fields={"FTEL": self.NO_PHONE})

    # -- orders ----------------------------------------------------------------------------------------------------

    async def sell(self) -> int:
        """A day's orders; most were there before, the last tenth is written now, with callbacks. Returns how many."""
        live = max(3, self.records // 10)
        await self.crm.seed(
            "SalesOrderObj", [self._order(self._dice.choice(self.customers)) for _ in range(self.records - live)]
        )
        for _ in range(live):
            await self._write(self._order(self._dice.choice(self.customers)))
        for lead in self.leads:
            await self._write(self._order(lead))
        await self._write(self._order(self.nameless))
        return self.records + len(self.leads) + 1

    def _order(self, customer: Customer) -> Row:
        today = datetime.now(_CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
        day = today - timedelta(days=self._dice.randint(0, 20))
        lines = [self._sale(product) for product in self._dice.sample(self.products, self._dice.randint(1, 5))]
        return {
            "account_id": customer.id,
            "order_time": int(day.timestamp() * 1000),
            "order_status": "7",
            "remark": self._dice.choice((None, "加急", "周五前发货", "含安装", "样机")),
            "owner": [self._dice.choice(_SALES)],
            "details": {"SalesOrderProductObj": lines},
        }

    def _sale(self, product: Row) -> Row:
        quantity = Decimal(self._dice.randint(1, 40))
        rebate = Decimal(self._dice.randint(80, 100)) / 100
        subtotal = (Decimal(product["price"]) * quantity * rebate).quantize(Decimal("0.01"), ROUND_HALF_UP)
        return {"product_id": product["_id"], "quantity": str(quantity), "subtotal": str(subtotal)}

    async def _write(self, order: Row) -> None:
        details = order.pop("details")
        await self.crm.person("create", "SalesOrderObj", fields=order, details=details, actor=order["owner"][0])

    async def approve_leads(self) -> None:
        """The customers that orders wait for become real ones."""
        for lead in self.leads:
            await self.crm.person("update", "AccountObj", lead.id, fields={"life_status": "normal"}, actor="1000")

    async def mend_refused(self) -> None:
        """A salesperson reads what stands on the refused order, and fills in the customer's tax number."""
        tax = {"tax_no__c": "91310000MA9K77777X"}
        await self.crm.person("update", "AccountObj", self.nameless.id, fields=tax, actor="1001")

    async def refused_order(self) -> Row:
        orders = await self.crm.records("SalesOrderObj")
        return next(row for row in orders if row["account_id"] == self.nameless.id)

    async def add_freight(self, count: int) -> int:
        """The warehouse adds a line of its own to orders that the hub has brought. Returns to how many."""
        documents = [row for row in await self.erp.records("SAL_SaleOrder") if row["FDocumentStatus"] == "C"]
        materials = await self.erp.records("BD_MATERIAL")
        number = next(row["FNumber"] for row in materials if row["FForbidStatus"] == "A")
        for row in self._dice.sample(documents, count):
            freight = {"FMaterialId.FNumber": number, "FQty": "1", "FTaxPrice": "50", "FEntryNote": "运费"}
            await self.erp.person("update", "SAL_SaleOrder", str(row["FID"]), fields={"FSaleOrderEntry": [freight]})
        return count

    async def rework_orders(self, count: int) -> dict[str, int]:
        """New quantities, removed lines, remarks, cancelled and withdrawn orders. Returns how many of each."""
        orders = [row for row in await self.crm.records("SalesOrderObj") if row["order_status"] == "7"]
        lines: dict[str, list[Row]] = {}
        for line in await self.crm.records("SalesOrderProductObj"):
            lines.setdefault(line["order_id"], []).append(line)
        several = [order for order in orders if len(lines[order["_id"]]) > 1]
        removed = self._dice.sample(several, min(count, len(several)))
        rest = [order for order in orders if order not in removed]
        chosen = self._dice.sample(rest, min(4 * count, len(rest)))
        for order in removed:
            await self.crm.person(
                "invalid", "SalesOrderProductObj", lines[order["_id"]][-1]["_id"], actor=order["owner"][0]
            )
        for order in chosen[0::4]:
            line = lines[order["_id"]][0]
            quantity = Decimal(line["quantity"]) + 1
            change = {
                "quantity": str(quantity),
                "subtotal": f"{Decimal(line['subtotal']) / (quantity - 1) * quantity:.2f}",
            }
            await self.crm.person("update", "SalesOrderProductObj", line["_id"], fields=change, actor=order["owner"][0])
        for order in chosen[1::4]:
            await self.crm.person("update", "SalesOrderObj", order["_id"], fields={"remark": "客户要求分批发货"})
        for order in chosen[2::4]:
            await self.crm.person("update", "SalesOrderObj", order["_id"], fields={"order_status": "99"})
        for order in chosen[3::4]:
            await self.crm.person("invalid", "SalesOrderObj", order["_id"])
        return {
            "removed": len(removed),
            "quantities": len(chosen[0::4]),
            "remarks": len(chosen[1::4]),
            "cancelled": len(chosen[2::4]),
            "withdrawn": len(chosen[3::4]),
        }

    # -- receipts --------------------------------------------------------------------------------------------------

    async def collect(self) -> int:
        """Finance books the money that has come in: a receipt pays one to three orders. Returns how many."""
        open_orders: dict[str, list[Row]] = {}
        for row in await self.erp.records("SAL_SaleOrder"):
            if row["FDocumentStatus"] == "C" and row["FCancelStatus"] == row["FCloseStatus"] == "A" and row["F_CRM_NO"]:
                open_orders.setdefault(row["FCustId.FNumber"], []).append(row)
        booked = 0
        for number in sorted(open_orders):
            waiting = open_orders[number]
            while waiting:
                share = self._dice.randint(1, 3)
                paid, waiting = waiting[:share], waiting[share:]
                await self.erp.person("create", "AR_RECEIVEBILL", fields=self._receipt(number, paid))
                booked += 1
        return booked

    def _receipt(self, customer: str, orders: list[Row]) -> Row:
        amounts = [Decimal(order["FSaleOrderFinance.FBillAllAmount"]) for order in orders]
        paid: list[dict[str, Any]] = [
            {
                "FSRCBILLTYPEID": "SAL_SaleOrder",
                "FSRCBILLNO": order["FBillNo"],
                "FORDERBILLNO": order["FBillNo"],
                "FREALRECAMOUNTFOR_S": str(amount),
            }
            for order, amount in zip(orders, amounts, strict=True)
        ]
        advance = Decimal(self._dice.randint(1, 50) * 100) if self._dice.random() < 0.1 else Decimal(0)
        return {
            "FDATE": datetime.now(_CHINA).date().isoformat(),
            "FPAYORGID.FNumber": "100",
            "FCONTACTUNITTYPE": "BD_Customer",
            "FCONTACTUNIT.FNumber": customer,
            "FPAYUNITTYPE": "BD_Customer",
            "FPAYUNIT.FNumber": customer,
            "FCURRENCYID.FNumber": "PRE001",
            "FDocumentStatus": "B" if self._dice.random() < 0.03 else "C",
            "FRECEIVEBILLENTRY": [
                {"FRECTOTALAMOUNTFOR": str(sum(amounts) + advance), "FSETTLETYPEID.FNumber": "JSFS04_SYS"}
            ],
            "FRECEIVEBILLSRCENTRY": paid,
        }

    async def bounce(self, count: int) -> int:
        """Cheques that bounced: finance takes the audit back. Returns how many."""
        booked = [row for row in await self.erp.records("AR_RECEIVEBILL") if row["FDocumentStatus"] == "C"]
        chosen = self._dice.sample(booked, min(count, len(booked)))
        for row in chosen:
            await self.erp.person("operation", "AR_RECEIVEBILL", str(row["FID"]), operation="UnAudit")
        return len(chosen)

    # -- weather ---------------------------------------------------------------------------------------------------

    def weather(self, *, write: str) -> list[Row]:
        """Faults for one system: `write` names the calls that save; one of their answers is lost after the commit."""
        dice = self._dice
        return [
            {
                "kind": "throttle",
                "times": 3,
                "skip": dice.randint(2, 6),
                "probability": 0.3,
                "seed": dice.getrandbits(16),
            },
            {"kind": "reset", "times": 3, "skip": dice.randint(2, 6), "probability": 0.3, "seed": dice.getrandbits(16)},
            {"kind": "reset_after_commit", "op": write, "times": 1, "skip": dice.randint(0, 1)},
        ]
