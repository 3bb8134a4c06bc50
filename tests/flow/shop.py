"""A small company for flow tests: both simulators in this process, over real sockets, and a project between them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hub.cli.demo.desk import Desk
from hub.connector.contract import Op, Write
from hub.connector.serving import serve
from hub.domain.record import RowsWrite
from hub.runtime.config import FILE, load
from hub.runtime.connectors import Installed
from hub.runtime.hub import Hub
from hub.runtime.operations import OPERATIONS
from hub.runtime.operations.operation import Call, perform, read_params
from hub.runtime.scaffold import scaffold

TAX = "91310000MA1K000{:02}X"


@dataclass(slots=True)
class Shop:
    hub: Hub
    crm: Desk
    erp: Desk

    async def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        """Have the hub do what the command line and the API can ask for."""
        chosen = OPERATIONS.get(operation)
        done = await perform(chosen, Call(self.hub, "test"), read_params(chosen, params))
        return done.model_dump(mode="json")

    async def sync(self, flow: str) -> dict[str, int]:
        """Read everything and deliver; how many deliveries stand in which state."""
        done: dict[str, int] = (await self.ask("sync", flow=flow, full=True))["states"]
        return done

    async def account(self, number: int, **fields: Any) -> str:
        """A customer that a salesperson makes."""
        given = {"name": f"客户 {number}", "tax_no__c": TAX.format(number), "owner": ["1001"], **fields}
        return str((await self.crm.person("create", "AccountObj", fields=given))["id"])

    async def product(self, number: str) -> str:
        """An article that the warehouse makes, as the CRM gets it."""
        fields = {
            "FNumber": number, "FName": f"物料 {number}", "F_HUB_PRICE": "10", "FBaseUnitId.FNumber": "Pcs",
            "FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100",
        }  # fmt: skip
        await self.erp.person("create", "BD_MATERIAL", fields=fields)
        assert await self.sync("products")
        return next(row["_id"] for row in await self.crm.records("ProductObj") if row.get("product_code") == number)

    async def order(self, account: str, *lines: tuple[str, str]) -> str:
        """An order with (product, quantity) lines of ten each."""
        rows = [
            {"product_id": product, "quantity": quantity, "subtotal": str(10 * int(quantity))}
            for product, quantity in lines
        ]
        fields = {"account_id": account, "order_time": 1767628800000, "order_status": "7", "owner": ["1001"]}
        details = {"SalesOrderProductObj": rows}
        return str((await self.crm.person("create", "SalesOrderObj", fields=fields, details=details))["id"])

    async def take_out(self, object: str, id: str, table: str, row: str) -> None:
        """Somebody else's program takes a row out of an ERP document."""
        write = Write(
            Op.UPDATE,
            id,
            rows={table: RowsWrite(remove=[row])},
            steps=("submit", "audit"),
            options={"when_locked": "reopen"},
        )
        (outcome,) = await self.hub.project.system("erp").connector.write(object, [write])
        assert outcome.ok, outcome

    async def documents(self) -> list[dict[str, Any]]:
        return await self.erp.records("SAL_SaleOrder")


@contextlib.asynccontextmanager
async def shop(folder: Path, **mappings: tuple[str, str]) -> AsyncIterator[Shop]:
    """The project that `hub init` makes. `mappings`: file name -> (what stands there, what is to stand there)."""
    installed = Installed.here()
    crm: Any = installed.simulator("fxiaoke")(path_calls=100_000)
    erp: Any = installed.simulator("kingdee")()
    async with serve(crm) as crm_at, serve(erp) as erp_at, httpx.AsyncClient(trust_env=False) as client:
        scaffold(folder, "fxiaoke-kingdee", installed, simulated=True)
        text = (folder / FILE).read_text(encoding="utf-8").replace("http://127.0.0.1:9001", crm_at.base_url)
        text = text.replace("http://127.0.0.1:9002", erp_at.base_url)
        text = text.replace("    connector: fxiaoke", "    connector: fxiaoke\n    lag: 0", 1)
        text = re.sub(r"path_calls: \d+", "path_calls: 100000", text)
        (folder / FILE).write_text(text, encoding="utf-8")
        for name, (before, after) in mappings.items():
            file = folder / "mappings" / f"{name.replace('_', '-')}.yaml"
            written = file.read_text(encoding="utf-8")
            assert before in written, f"{before} does not stand in {file.name}"
            file.write_text(written.replace(before, after), encoding="utf-8")
        async with Hub.open(load(folder / FILE, installed), installed=installed) as hub:
            yield Shop(
                hub,
                Desk("fxiaoke", crm_at.base_url, crm.settings(), client),
                Desk("kingdee", erp_at.base_url, erp.settings(), client),
            )
