"""The story, chapter by chapter: what people do, what the hub makes of it, and what proves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.cli.demo.callbacks import Postman
from hub.cli.demo.stage import FLOWS, Stage
from hub.cli.demo.truth import Wrong, check
from hub.cli.demo.world import World
from hub.cli.output import counted


class Story:
    """One run. `accepted` and `refused`: what the hub answered to callbacks that were made by hand."""

    def __init__(self, stage: Stage, world: World) -> None:
        self._stage = stage
        self._world = world
        self._tell = stage.teller
        self._some = max(1, world.records // 50)
        self.accepted = 0
        self.refused = 0

    async def tell(self) -> list[Wrong]:
        """Play all chapters. Returns what the checker found wrong at the end."""
        await self._two_islands()
        await self._products()
        await self._customers()
        await self._callbacks()
        await self._orders()
        await self._orders_change()
        await self._status()
        await self._receipts()
        return await self._quiet()

    async def _two_islands(self) -> None:
        tell, stage, world = self._tell, self._stage, self._world
        tell.chapter("Two islands")
        await world.settle()
        count = world.records
        tell.say(f"Kingdee keeps {count} products and {world.linked + world.own} customers.")
        tell.say(f"Fxiaoke keeps {count + len(world.leads) + 1} customers. {world.linked} of them stand in both.")
        with tell.bar("hub link", 1):
            found = await stage.ask("link", flow="customers-to-erp", apply=True)
        counts = found["counts"]
        tell.say(
            f"hub link pairs what is the same: {counts['linked']} customers by tax number, "
            f"{counts['several']} doubtful, {counts['none']} on one side only."
        )
        tell.prove("every customer that stands in both is paired", counts["linked"] == world.linked)
        tell.prove("pairing moved no field: no write in either system", await stage.writes() == 0)

    async def _products(self) -> None:
        tell, stage, world = self._tell, self._stage, self._world
        tell.chapter("Products: Kingdee → Fxiaoke")
        await stage.open("products")
        await stage.brought("products", world.records, "products")
        found = await stage.crm.records("ProductObj")
        tell.say(f"{len(found)} audited materials are products in the CRM now; drafts stay at home.")
        some = await world.forbid_products(self._some)
        await stage.caught_up("products that changed", "products")
        found = await stage.crm.records("ProductObj")
        off = sum(row["product_status"] == "2" for row in found)
        tell.say(f"{some} materials were forbidden, {some} got a new price.")
        tell.prove(
            f"{off} products left the shelf, none was made twice", off == some and _distinct(found, "product_code")
        )
        await world.read_products()

    async def _customers(self) -> None:
        tell, stage, world = self._tell, self._stage, self._world
        tell.chapter("Customers: both ways, each field with one owner")
        tell.say("Name, tax number, phone and address belong to sales; number and credit limit to finance.")
        await stage.open("customers-to-erp", "customers-to-crm")
        total = world.records + len(world.leads) + 1 + world.linked + world.own
        await stage.brought("customers", total, "customers-to-erp", "customers-to-crm")
        await stage.caught_up("customers", "customers-to-erp", "customers-to-crm")
        await stage.ask("reconcile", flow="customers-to-crm", repair=True)
        await stage.caught_up("codes and credit limits", "customers-to-erp", "customers-to-crm")
        erp, crm = await stage.erp.records("BD_Customer"), await stage.crm.records("AccountObj")
        tell.say(
            f"Kingdee has {len(erp)} customers now, all audited; Fxiaoke {len(crm)}, with their numbers from the ERP."
        )
        tell.prove("no customer stands twice, on either side", _distinct(erp, "FName") and _distinct(crm, "name"))
        tell.prove(f"{len(world.leads)} customers in approval stayed where they are", len(erp) == total_in_erp(world))

    async def _callbacks(self) -> None:
        tell, stage, world = self._tell, self._stage, self._world
        tell.chapter("Callbacks: signed, encrypted, and not always true")
        await stage.crm.call_back(stage.hooks["crm"])
        changed = 2 * self._some
        await world.move_customers(changed)
        await world.grant_credit(changed)
        await world.meddle(self._some)
        tell.say(f"Sales corrects {changed} phones and addresses; Fxiaoke calls the hub by itself.")
        tell.say(f"Finance sets {changed} credit limits; a clerk overwrites {self._some} phones in the ERP.")
        await stage.caught_up("what changed", "customers-to-erp", "customers-to-crm")
        found = await stage.ask("reconcile", flow="customers-to-erp", repair=True)
        await stage.caught_up("what changed", "customers-to-erp", "customers-to-crm")
        tell.say(f"hub reconcile lays both sides side by side, and mends {found['counts']['different']} that differ.")
        phones = [row["FTEL"] for row in await stage.erp.records("BD_Customer")]
        tell.prove("the clerk's phones are gone: that field belongs to sales", world.NO_PHONE not in phones)
        await self._forge()

    async def _forge(self) -> None:
        tell, stage = self._tell, self._stage
        await stage.quiet("customers")
        writes = await stage.writes()
        post = Postman(stage.hooks["crm"], stage.crm.settings)
        someone = self._world.customers[0].id
        now = stage.hub.store.clock.now()
        statuses = {why: await post.post(body) for why, body in post.unbelievable("AccountObj", someone, now).items()}
        self.refused = sum(status >= 400 for status in statuses.values())
        true = post.sealed("AccountObj", someone, now)
        again = [await post.post(true) for _ in range(3)]
        self.accepted = again.count(200)
        await stage.caught_up("callbacks", "customers-to-erp")
        tell.say(f"Then come forgeries: {', '.join(statuses)}.")
        tell.prove(f"all {len(statuses)} were turned away", self.refused == len(statuses))
        tell.prove(
            "a true one that came three times changed nothing",
            set(again) == {200} and await stage.writes() == writes,
        )

    async def _orders(self) -> None:
        tell, stage, world = self._tell, self._stage, self._world
        tell.chapter("Orders: Fxiaoke → Kingdee, saved, submitted, audited")
        await stage.erp.arm(world.weather(write="BatchSave"))
        tell.say(
            "Kingdee has a bad day from here: it throttles, cuts connections, and loses an answer after it has saved."
        )
        await stage.open("orders-to-erp")
        total = await world.sell()
        await stage.brought("orders", total, "orders-to-erp")
        counts = await stage.counts("orders-to-erp")
        tell.say(
            f"{total} orders were written in the CRM: {counts.get('done', 0)} stand in the ERP with all their lines."
        )
        waiting = counts.get("waiting", 0)
        tell.prove(f"{waiting} wait for customers that are not approved yet", waiting == len(world.leads))
        await stage.until("what salespeople are told", "orders-to-erp.back", _all_told)
        refused = await world.refused_order()
        tell.say(f"{refused['name']} was refused, and the salesperson reads why in the CRM:")
        tell.quote(str(refused.get("sync_msg__c")))
        tell.prove("it says so in the CRM, where people work", "税号" in str(refused.get("sync_msg__c")))
        await world.approve_leads()
        await world.mend_refused()
        tell.say("The customers are approved, the tax number is filled in; nobody touches the orders.")
        await stage.until("orders that waited", "orders-to-erp", _nothing_left)
        counts = await stage.counts("orders-to-erp")
        tell.prove("what waited and what was refused went out by itself", _at_rest(counts) == total)

    async def _orders_change(self) -> None:
        tell, stage, world = self._tell, self._stage, self._world
        tell.chapter("Orders change")
        freight = await world.add_freight(self._some)
        changed = await world.rework_orders(self._some)
        tell.say(f"The warehouse adds a freight line of its own to {freight} orders in the ERP.")
        tell.say(
            f"Sales takes out {changed['removed']} lines, changes {changed['quantities']} quantities and "
            f"{changed['remarks']} remarks, cancels {changed['cancelled']} orders and withdraws {changed['withdrawn']}."
        )
        await stage.caught_up("orders that changed", "orders-to-erp")
        await stage.caught_up("orders that changed", "orders-to-erp")
        struck = await stage.erp.disarm()
        documents = await stage.erp.records("SAL_SaleOrder")
        over = [row for row in documents if "B" in (row["FCancelStatus"], row["FCloseStatus"])]
        tell.prove(f"{len(over)} orders are void in the ERP", len(over) == changed["cancelled"] + changed["withdrawn"])
        tell.prove(f"no order stands twice, though {_weather(struck)}", _distinct(documents, "F_CRM_NO"))

    async def _status(self) -> None:
        tell, stage = self._tell, self._stage
        tell.chapter("Where my order stands: Kingdee → Fxiaoke")
        await stage.open("order-status-to-crm")
        total = len(await stage.erp.records("SAL_SaleOrder"))
        await stage.brought("numbers and states", total, "order-status-to-crm")
        held = (await stage.counts("order-status-to-crm")).get("held", 0)
        if held:
            await stage.ask("deliveries.skip", flow="order-status-to-crm", state="held", why="the order was withdrawn")
            tell.say(f"{counted(held, 'state')} had nowhere to go: the order was withdrawn. A person puts it to rest.")
        orders = await stage.crm.records("SalesOrderObj")
        told = sum(bool(row.get("erp_no__c") and row.get("erp_status__c")) for row in orders)
        tell.prove(
            f"{told} of {len(orders)} orders in the CRM show their number and state in the ERP", told == len(orders)
        )

    async def _receipts(self) -> None:
        tell, stage, world = self._tell, self._stage, self._world
        tell.chapter("Receipts: Kingdee → Fxiaoke, with the orders that they pay")
        await stage.crm.arm(world.weather(write="create|add"))
        tell.say("Now Fxiaoke has the bad day.")
        await stage.open("receipts-to-crm")
        total = await world.collect()
        await stage.brought("receipts", total, "receipts-to-crm")
        found = await stage.crm.records("PaymentObj")
        tell.say(f"{total} receipts were typed in; {len(found)} are booked, and stand at their customers and orders.")
        bounced = await world.bounce(self._some)
        await stage.caught_up("receipts that changed", "receipts-to-crm")
        left = await stage.crm.records("PaymentObj")
        tell.prove(f"{bounced} bounced, and left the CRM", len(left) == len(found) - bounced)
        struck = await stage.crm.disarm()
        tell.prove(f"no payment stands twice, though {_weather(struck)}", _distinct(left, "erp_no__c"))

    async def _quiet(self) -> list[Wrong]:
        tell, stage = self._tell, self._stage
        tell.chapter("Quiet")
        await stage.quiet("until nothing moves")
        books = await stage.books()
        tell.books(books)
        balanced = all(_balances(books[flow]) for flow in FLOWS)
        tell.prove("the books balance: all that was captured stands in exactly one column", balanced)
        tell.say("Now both systems are laid side by side, without asking the hub.")
        wrong = check(await stage.snapshot())
        for kind, meaning in _MEANINGS.items():
            found = [str(one) for one in wrong if one.kind == kind]
            tell.prove(f"{kind:<11} {len(found)}   {meaning}", not found)
            for line in found[:10]:
                tell.quote(line)
        return wrong


_MEANINGS = {
    "duplicates": "nothing stands twice",
    "lost": "nothing is missing",
    "stale": "every field, row and state says the same on both sides",
    "overwritten": "nobody's own field or line was touched",
}


def total_in_erp(world: World) -> int:
    """How many customers the ERP has to hold while some wait for their approval."""
    return world.records + 1 + world.own


def _balances(book: dict[str, int]) -> bool:
    return book["captured"] == sum(count for state, count in book.items() if state != "captured")


def _nothing_left(book: Any) -> bool:
    return all(not count for state, count in book.items() if state not in ("done", "unchanged", "filtered"))


def _distinct(rows: list[dict[str, Any]], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name)]
    return len(values) == len(set(values))


def _weather(struck: dict[str, int]) -> str:
    """What the faults did, in words."""
    throttled, cut = struck.get("throttle", 0), struck.get("reset", 0)
    lost = struck.get("reset_after_commit", 0)
    return f"{throttled} calls were throttled, {cut} cut off, and {lost} answer lost after the commit"


def _all_told(counts: Mapping[str, int]) -> bool:
    """Whether nothing is owed to the CRM any more."""
    return bool(counts) and not counts.get("pending") and not counts.get("working")


def _at_rest(counts: dict[str, int]) -> int:
    """Deliveries whose target says what it should, whether it was written last or had it already."""
    return counts.get("done", 0) + counts.get("unchanged", 0)
