"""Reconcile against the simulators: planted differences are found, exactly these, and mended through the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.flow.shop import Shop, shop

_WRONG = ("different", "missing", "ghost", "owed", "unclear", "deleted", "extra", "refused")


def books(found: dict[str, Any]) -> dict[str, int]:
    return {name: found["counts"][name] for name in _WRONG if found["counts"][name]}


async def erp_of(made: Shop, account: str) -> str:
    found = await made.ask("ids.show", record=f"crm:AccountObj:{account}")
    return str(next(one["id"] for one in found["items"] if one["system"] == "erp"))


async def test_planted_differences_are_found_exactly_these_and_mended(tmp_path: Path) -> None:
    async with shop(tmp_path / "shop") as made:
        accounts = [await made.account(number) for number in range(12)]
        assert await made.sync("customers-to-erp") == {"done": 12}
        assert books(await made.ask("reconcile", flow="customers-to-erp")) == {}

        changed, gone = await erp_of(made, accounts[1]), await erp_of(made, accounts[2])
        await made.erp.person("update", "BD_Customer", changed, fields={"FTEL": "000"})
        await made.erp.person("delete", "BD_Customer", gone)
        own = {
            "FName": "自有客户",
            "FCreateOrgId.FNumber": "100",
            "FUseOrgId.FNumber": "100",
            "FTRADINGCURRID.FNumber": "PRE001",
        }
        added = (await made.erp.person("create", "BD_Customer", fields=own))["id"]
        late = await made.account(50)
        await made.crm.person("delete", "AccountObj", accounts[3])

        found = await made.ask("reconcile", flow="customers-to-erp")
        assert books(found) == {"different": 1, "missing": 1, "ghost": 1, "deleted": 1, "extra": 1}
        assert {(one["kind"], one["source_id"], one["target_id"]) for one in found["findings"]} == {
            ("different", accounts[1], changed),
            ("ghost", accounts[2], gone),
            ("deleted", accounts[3], None),
            ("missing", late, None),
            ("extra", None, added),
        }
        (different,) = (one for one in found["findings"] if one["kind"] == "different")
        assert list(different["fields"]) == ["FTEL"]
        assert "000" not in str(different["fields"]), "a phone number is personal, and masked"

        assert (await made.ask("reconcile", flow="customers-to-erp", repair=True))["counts"]["refused"] == 0
        engine = await made.hub.engine()
        await engine.drain("customers-to-erp")
        assert books(await made.ask("reconcile", flow="customers-to-erp")) == {"extra": 1}
        names = {row["FName"] for row in await made.erp.records("BD_Customer")}
        assert {"客户 1", "客户 2", "客户 50", "自有客户"} <= names


async def test_a_lost_line_a_changed_line_and_a_line_of_the_warehouse(tmp_path: Path) -> None:
    async with shop(tmp_path / "shop") as made:
        products = [await made.product(number) for number in ("M1", "M2", "M3")]
        account = await made.account(1)
        await made.sync("customers-to-erp")
        await made.order(account, *((product, str(place + 1)) for place, product in enumerate(products)))
        assert await made.sync("orders-to-erp") == {"done": 1}
        (document,) = await made.documents()
        rows = document["FSaleOrderEntry"]
        freight = {"FMaterialId.FNumber": "M3", "FQty": 9, "FTaxPrice": 1}
        await made.take_out("SAL_SaleOrder", str(document["FID"]), "FSaleOrderEntry", str(rows[1]["FEntryID"]))
        edited = [{"FEntryID": rows[0]["FEntryID"], "FQty": 7}, freight]
        await made.erp.person("update", "SAL_SaleOrder", str(document["FID"]), fields={"FSaleOrderEntry": edited})

        found = await made.ask("reconcile", flow="orders-to-erp")
        assert books(found) == {"different": 1}
        table = found["findings"][0]["fields"]["FSaleOrderEntry"]
        assert (table["ours"], table["theirs"], len(table["missing"]), len(table["different"])) == (3, 3, 1, 1)

        await made.ask("reconcile", flow="orders-to-erp", repair=True)
        await (await made.hub.engine()).drain("orders-to-erp")
        assert books(await made.ask("reconcile", flow="orders-to-erp")) == {}
        (document,) = await made.documents()
        assert sorted(int(float(row["FQty"])) for row in document["FSaleOrderEntry"]) == [1, 2, 3, 9]
        assert document["FDocumentStatus"] == "C"
